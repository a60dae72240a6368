//! What a processor may still know of address spaces, and what others ask of it about that.
//!
//! Who has the lock may take away what another processor knows. It then *asks* that one to forget, and what was taken away
//! becomes nothing else before the answer. A processor answers when it enters the kernel, while it waits for the lock, and by
//! loading another space. The last of these it does when it has let go of the lock already: so it says under the lock what
//! it is about to leave, and until it has left, it counts as one that may know it.
//!
//! Invariants: who answers has forgotten all that it knew when it was asked, and learns nothing anew that was taken away
//! before. A question that comes while another space is loaded may not be answered by that, but by the next entry.

use ring_abi::sync::Ordering::{Acquire, Relaxed, Release, SeqCst};
use ring_abi::sync::{AtomicU32, AtomicU64};

/// What a processor owes. All questions but [`is_leaving`](Self::is_leaving), [`ask`](Self::ask) and
/// [`has_answered`](Self::has_answered) are its own, and these are for who has the lock.
#[derive(Debug)]
pub struct Debt {
    /// How often others have asked.
    pub asked: AtomicU32,
    /// The last of these that was answered.
    pub answered: AtomicU32,
    /// The space that is loaded still while another one is about to be, or [`NOTHING`](Self::NOTHING).
    pub leaving: AtomicU64,
}

impl Debt {
    /// The address of no space: it is not the beginning of a page.
    pub const NOTHING: u64 = 1;

    /// Asks the processor to forget everything.
    pub fn ask(&self) {
        self.asked.store(self.asked.load(Relaxed).wrapping_add(1), SeqCst);
    }

    /// Whether it has done so since it was asked last.
    pub fn has_answered(&self) -> bool {
        self.answered.load(Acquire) == self.asked.load(Relaxed)
    }

    /// Whether it has a space loaded still that it has said it leaves.
    pub fn is_leaving(&self, space: u64) -> bool {
        self.leaving.load(Acquire) == space
    }

    /// Whether it was asked, and has not answered.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Acquire) != self.answered.load(Relaxed)
    }

    /// Answers, if it was asked.
    #[inline(always)]
    pub fn answer(&self, forget: impl FnOnce()) {
        let asked = self.asked.load(Acquire);
        if asked != self.answered.load(Relaxed) {
            forget();
            self.answered.store(asked, Release);
        }
    }

    /// It has the lock, and is about to load another space in place of this one when it has let go.
    #[inline(always)]
    pub fn will_leave(&self, space: u64) {
        self.leaving.store(space, Relaxed);
    }

    /// Loads the other space, and so forgets everything.
    #[inline(always)]
    pub fn leave(&self, load: impl FnOnce()) {
        // What is asked from here on may be about what it learns after that.
        let asked = self.asked.load(Acquire);
        load();
        self.answered.store(asked, Release);
        self.leaving.store(Self::NOTHING, Release);
    }

    /// It has the lock, so nobody asks, and has forgotten everything.
    pub fn has_forgotten(&self) {
        self.answered.store(self.asked.load(Relaxed), Release);
    }
}
