//! Checks that need a ring without a runtime: they run in a bare context, entry by entry.
//!
//! Such a check must not allocate or print. What it finds wrong it gives back as an [`Odd`].
#![forbid(unsafe_code)]

use crate::verdict::{Failed, Verdict};
use alloc::boxed::Box;
use alloc::format;
use bare::{Bare, Ring, context};
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use ring_abi::context::End;
use ring_abi::layout::Sizes;
use ring_abi::{Errno, Sqe, errno};

/// Bytes of a check's stack.
const STACK: u64 = 32 * 1024;

/// What a check found wrong: at which step, what came, and what should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Odd {
    /// Where in the check, for who reads it.
    pub(crate) step: u64,
    /// What was found.
    pub(crate) found: u64,
    /// What was wanted.
    pub(crate) wanted: u64,
}

/// The end of a check.
pub(crate) type Check = Result<(), Odd>;

/// Two numbers must be the same.
pub(crate) fn same(step: u64, found: u64, wanted: u64) -> Check {
    if found == wanted { Ok(()) } else { Err(Odd { step, found, wanted }) }
}

/// A result must be this one.
pub(crate) fn gives(step: u64, found: Result<u64, Errno>, wanted: Result<u64, Errno>) -> Check {
    same(step, errno::mux(found), errno::mux(wanted))
}

/// An operation must end with this result.
pub(crate) fn call(step: u64, ring: &Ring, entry: Sqe, wanted: Result<u64, Errno>) -> Check {
    gives(step, ring.call(entry), wanted)
}

struct Run<F> {
    check: F,
    /// Step, found, wanted.
    odd: [AtomicU64; 3],
}

fn body<F: Fn(&Ring) -> Check>(ring: &Ring, run: &'static Run<F>) -> u8 {
    let Err(Odd { step, found, wanted }) = (run.check)(ring) else { return 0 };
    for (place, value) in run.odd.iter().zip([step, found, wanted]) {
        place.store(value, Release);
    }
    1
}

/// A check that runs.
pub(crate) struct Running {
    context: Bare,
    odd: &'static [AtomicU64; 3],
}

/// Starts a check on a ring of these sizes.
pub(crate) fn start<F>(sizes: Sizes, check: F) -> Result<Running, Failed>
where
    F: Fn(&Ring) -> Check + Send + Sync + 'static,
{
    let run: &'static Run<F> = Box::leak(Box::new(Run { check, odd: [const { AtomicU64::new(0) }; 3] }));
    let context = context::start(body, run, STACK, sizes)?;
    Ok(Running { context, odd: &run.odd })
}

impl Running {
    /// Waits for its end, however that is.
    pub(crate) fn end(self) -> Result<End, Failed> {
        Ok(self.context.join()?)
    }

    /// Waits for its end; it must have found nothing wrong.
    pub(crate) fn verdict(self) -> Verdict {
        let odd = self.odd;
        match self.context.join()? {
            End::Exited(0) => Ok(()),
            End::Exited(_) => {
                let [step, found, wanted] = odd.each_ref().map(|place| place.load(Acquire));
                Err(Failed(format!("step {step}: found {}, wanted {}", show(found), show(wanted))))
            }
            End::Ended(reason) => Err(Failed(format!("its context was ended: {reason:?}"))),
        }
    }

    /// Its context's handle.
    pub(crate) fn handle(&self) -> uring::Fd {
        self.context.fd
    }

    /// Ends it from outside.
    pub(crate) fn kill(&self) -> Result<(), Errno> {
        uring::op::context::kill(self.context.fd).wait()
    }
}

/// A result as text.
fn show(raw: u64) -> alloc::string::String {
    match errno::demux(raw) {
        Ok(number) => format!("{number}"),
        Err(error) => format!("{error:?}"),
    }
}

/// Runs a check on the smallest ring.
pub(crate) fn on_ring(check: impl Fn(&Ring) -> Check + Send + Sync + 'static) -> Verdict {
    start(Sizes::SMALLEST, check)?.verdict()
}

/// Runs a check that must end its context.
pub(crate) fn ends_with(wanted: End, check: impl Fn(&Ring) -> Check + Send + Sync + 'static) -> Verdict {
    crate::verdict::equal(start(Sizes::SMALLEST, check)?.end()?, wanted)
}

/// A counter that a check may use: relaxed, since one processor is enough for it.
pub(crate) fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
