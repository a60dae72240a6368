//! A ring that the kernel looks after by itself: what is shown is taken, and completed, without an entry.
//!
//! Instead of entering, this thread looks whether somebody looks ([`Producer::look`](ring_abi::ring::Producer::look)), and
//! then waits for what it wants by looking at its queues for a while. It enters if nobody looks, if the kernel wants it to, and
//! if it has looked for long: then somebody else may have the processor.
#![forbid(unsafe_code)]

use crate::op::system::ring_poll;
use crate::ring::current::local;
use crate::ring::ends::Ends;
use crate::ring::local::Local;
use core::hint::spin_loop;
use core::sync::atomic::Ordering::Relaxed;
use core::time::Duration;
use ring_abi::layout::word;
use ring_abi::ring::Doorbell;
use ring_abi::{Errno, enter};

/// Beside the flags of entries: the ring is polled.
pub(crate) const POLLED: u64 = 1 << 63;
/// Looks at the queues before a wait goes on in the kernel.
const PATIENCE: u32 = 4096;

/// Lets processors that have nobody to run look after this thread's ring: operations that it awaits, and batches, then go to
/// the kernel without an entry, and so do the answers of a scheme that it serves. How many other processors there are; with none
/// nothing changes.
///
/// It ends by itself when nothing has come for `idle`, at most a second, and begins again with the next operation; with a time
/// of zero it ends for good. A blocking call of one operation enters all the same. Whoever wants another ring resizes before.
pub fn poll_ring(idle: Duration) -> Result<u64, Errno> {
    let local = local();
    let nanoseconds = u64::try_from(idle.as_nanos()).unwrap_or(u64::MAX);
    let others = ring_poll(nanoseconds).wait()?;
    local.set_polled(others != 0 && nanoseconds != 0);
    Ok(others)
}

/// What [`Ends::enter_with`] does on such a ring.
#[cold]
#[inline(never)]
pub(crate) fn enter(ends: &Ends, min_complete: u64, flags: u64) -> u64 {
    if flags == 0 {
        return show(ends);
    }
    if flags & !(enter::COMPLETIONS | enter::REQUESTS) == 0 {
        for _ in 0..PATIENCE {
            if has_come(ends, min_complete, flags) {
                return if must_enter(ends) { ends.trap(0, 0) } else { 0 };
            }
            if must_enter(ends) {
                break;
            }
            spin_loop();
        }
    }
    ends.trap(min_complete, flags)
}

/// Lets the kernel take what was shown. It does, as long as it need not be entered.
fn show(ends: &Ends) -> u64 {
    while !must_enter(ends) {
        if ends.sq.lag(&ends.ring.sq()) == 0 {
            return 0;
        }
        spin_loop();
    }
    ends.trap(0, 0)
}

/// Whether nobody looks after the ring, or the kernel wants to be entered for another reason.
fn must_enter(ends: &Ends) -> bool {
    ends.sq.look(&ends.ring.sq()) == Doorbell::Ring || ends.ring.header(word::FLAGS).load(Relaxed) != 0
}

/// Whether what is waited for is there.
fn has_come(ends: &Ends, min_complete: u64, flags: u64) -> bool {
    let requests = flags & enter::REQUESTS != 0 && ends.waiting_requests() != 0;
    requests || flags & enter::COMPLETIONS != 0 && ends.waiting_completions() >= min_complete
}

impl Local {
    /// The kernel looks after this thread's ring from now on, or not.
    pub(crate) fn set_polled(&self, polled: bool) {
        let ends = self.ends();
        if ends.is_polled() != polled {
            ends.set_polled(polled);
            // While the ring is polled, something may always come, so every wait looks for it.
            if polled { self.slots.discard() } else { self.slots.discarded() }
        }
    }
}
