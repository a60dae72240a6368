//! What a CPU looks at that has nobody to run and polls: indices that programs write in their rings.
//!
//! It looks without the kernel's lock, so others go on meanwhile. What it looks at may be taken away from its program, but not
//! become anything else before this CPU has entered the kernel: whoever takes memory away asks it to forget, as one that may
//! have translations of it ([`Debt::ask`](tickets::Debt::ask)), and that it enters for.

use core::cell::Cell;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Places at most: the two queues of each ring that can be polled.
const MOST: usize = 32;

/// A word, and what was in it.
type Place = (&'static AtomicU32, u32);

/// The places that a CPU looks at.
pub(super) struct Watch {
    places: [Cell<Option<Place>>; MOST],
    on: AtomicBool,
}

impl Watch {
    pub(super) const fn new() -> Self {
        Self { places: [const { Cell::new(None) }; MOST], on: AtomicBool::new(false) }
    }

    /// Begins to look at these places. The CPU has the lock.
    pub(super) fn begin(&self, places: impl Iterator<Item = Place>) {
        let mut places = places;
        self.places.iter().for_each(|place| place.set(places.next()));
        self.on.store(true, Ordering::Relaxed);
    }

    /// Ends that. The CPU has the lock.
    pub(super) fn end(&self) {
        self.on.store(false, Ordering::Relaxed);
    }

    /// Whether the CPU looks at places of programs. For others that have the lock.
    pub(super) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Whether a word has changed.
    pub(super) fn sees_news(&self) -> bool {
        let places = self.places.iter().map_while(Cell::get);
        places.into_iter().any(|(word, before)| word.load(Ordering::Relaxed) != before)
    }
}
