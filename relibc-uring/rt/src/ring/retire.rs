//! The end of a thread's runtime: what it has in memory is given back, in an order in which the heap can always call the
//! kernel (see [`aside`](super::aside)) and nothing is given back that a completion might be filed in.
#![allow(unsafe_code, reason = "what was leaked for the thread is given back")]

use super::local::Local;
use super::slots::Stage;

impl Local {
    /// Drops the tasks that have not ended, waits for the ends of operations that were dropped (a bounded time: they are
    /// cancelled), and gives back what stays in memory otherwise. `false`: something is in flight that nobody dropped (a future
    /// that was forgotten, or an inbox that somebody may send to), so the rest stays.
    ///
    /// # Safety
    ///
    /// No task may be running. Afterwards this may be used for blocking calls only.
    pub(crate) unsafe fn retire(&self) -> bool {
        self.tasks.retire();
        // SAFETY: our caller's promise; who is not polled keeps no reference to a task, and from now on there are none.
        unsafe { self.tasks.tables.give_back() };
        if self.slots.any_used() && !self.has_ended() {
            return false;
        }
        // Nothing but messages for inboxes that are closed can come any more, and they find none.
        self.mail.retire();
        self.forget_who_waits();
        self.slots.retire();
        // SAFETY: no operation has a slot, so nobody knows one, and from now on there are none.
        unsafe { self.slots.tables.give_back() };
        self.to_first();
        // SAFETY: blocking calls go to the first ring from now on, whose ends are not among these.
        unsafe { self.rings.give_back() };
        true
    }

    /// Waits for the ends of operations that were dropped; whether nothing is in flight then.
    #[cold]
    fn has_ended(&self) -> bool {
        self.settle();
        while self.slots.any(Stage::Orphan) {
            self.wait(false);
        }
        self.flush(); // answers that nobody wants are taken off
        !self.slots.any_used()
    }
}
