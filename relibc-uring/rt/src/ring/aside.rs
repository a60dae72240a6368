//! The ring of the heap's calls: a second one of its thread, in which nothing else is ever in flight.
//!
//! A blocking call takes off every completion that it meets and files it, for which it may need memory. The heap can
//! neither file nor wait for others to be taken off when it asks the kernel for memory: it may have been entered by who is
//! filing. So what it asks never goes to a ring with which somebody else may have to do:
//!
//! - as long as a thread has neither slots nor inboxes, its own ring brings it nothing but answers of its blocking calls
//!   and answers that nobody wants, which need no memory; the heap calls there;
//! - before it gets the first slot or inbox ([`Local::part`]), it makes this second ring, where the heap calls from then
//!   on, one operation at a time. Both its queues are empty when a call begins, so the call never waits for room, whatever
//!   fills the thread's own ring, and the one completion that comes is its own.
//!
//! So a call of the heap files nothing of others, wakes nobody, runs no code of theirs and needs no memory: it never leads
//! to another one, and what it brings is never lost.
#![allow(unsafe_code, reason = "an entry in a ring makes the kernel write to memory; `unsafe fn` says so")]

use super::ends::corrupt;
use super::local::{BLOCKING, Local};
use super::place::attach_made;
use super::slots::{Answer, Slot};
use crate::op::system::ring_create;
use alloc::boxed::Box;
use ring_abi::Errno;
use ring_abi::layout::Sizes;

impl Local {
    /// Makes the ring for the heap's calls, if there is none: other completions than those of blocking calls may come from
    /// now on.
    ///
    /// # Panics
    ///
    /// If there can be none: for want of memory, or because this thread has given up the right to make rings.
    #[cold]
    pub(crate) fn part(&self) {
        if let Err(error) = self.try_part() {
            panic!("no ring for the calls of the heap: {error}");
        }
    }

    /// The same, if there can be one.
    pub(crate) fn try_part(&self) -> Result<(), Errno> {
        if self.aside.get().is_none() {
            let sizes = Sizes::SMALLEST;
            let place = ring_create(sizes).wait()?;
            self.aside.set(Some(self.rings.keep(Box::new(attach_made(place, sizes)))));
        }
        Ok(())
    }

    /// The first operation of a thread makes its slots. `None` if it has some, all in use.
    #[cold]
    #[inline(never)]
    pub(crate) fn first_slot(&self) -> Option<(u32, &'static Slot)> {
        if !self.slots.is_empty() {
            return None;
        }
        self.part();
        self.slots.resize(self.ends().most_awaited());
        self.slots.take()
    }

    /// Does one operation and waits for it, as the heap does: takes off nothing that was for others.
    ///
    /// # Safety
    ///
    /// As for [`begin`](Self::begin).
    #[cold]
    pub(crate) unsafe fn call_aside(&self, mut entry: [u64; 8]) -> Answer {
        let Some(ends) = self.aside.get() else {
            // SAFETY: our caller's promise.
            return unsafe { self.call(entry, entry.len()) };
        };
        entry[0] |= u64::from(BLOCKING) << 32;
        if ends.push(entry, entry.len()).is_err() {
            corrupt();
        }
        loop {
            self.entered(ends.enter());
            if let Some(answer) = ends.take_only() {
                return answer;
            }
        }
    }
}
