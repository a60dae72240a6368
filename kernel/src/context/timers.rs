//! Deadlines, soonest first. An item is an operation, or a context that waits in `ring_enter`.
//!
//! Memory for an entry is made in the check part of an operation ([`Timers::ensure_one`]); adding it then
//! cannot fail.
#![forbid(unsafe_code)]

use crate::arch::Slab;
use crate::base::heap::{Entry, Heap, Slots};
use crate::mem::frames::Memory;
use core::cell::Cell;
use ring_abi::Errno;

/// Bit of an item that says it is a context, not an operation.
pub const CONTEXT: u32 = 1 << 31;

/// One place of the heap.
#[derive(Debug, Default)]
pub struct Place {
    deadline: Cell<u64>,
    item: Cell<u32>,
}

/// All deadlines of the system.
pub struct Timers {
    heap: Heap,
    places: Slab<Place>,
}

/// Where the items keep their position.
pub trait Positions {
    /// The cell in which an item keeps its position in the heap.
    fn position(&self, item: u32) -> &Cell<u32>;
}

struct View<'a, P>(&'a Slab<Place>, &'a P);

impl<P: Positions> Slots for View<'_, P> {
    fn capacity(&self) -> u32 {
        self.0.len()
    }

    fn get(&self, position: u32) -> Entry {
        match self.0.get(position) {
            Some(place) => Entry { deadline: place.deadline.get(), item: place.item.get() },
            None => crate::bug!("timer heap ends before {position}"),
        }
    }

    fn set(&self, position: u32, entry: Entry) {
        if let Some(place) = self.0.get(position) {
            place.deadline.set(entry.deadline);
            place.item.set(entry.item);
        }
    }

    fn position(&self, item: u32) -> u32 {
        self.1.position(item).get()
    }

    fn moved(&self, item: u32, position: u32) {
        self.1.position(item).set(position);
    }
}

impl Timers {
    /// No deadlines.
    pub fn new(memory: &Memory, most: u32) -> Timers {
        Timers { heap: Heap::new(), places: Slab::reserve(&memory.machine, most) }
    }

    /// Makes sure that one more [`add`](Self::add) has memory.
    pub fn ensure_one(&self, memory: &Memory) -> Result<(), Errno> {
        if self.heap.len() < self.places.len() { Ok(()) } else { memory.grow(&self.places) }
    }

    /// Adds an item's deadline; its memory was ensured.
    pub fn add(&self, positions: &impl Positions, item: u32, deadline: u64) {
        if self.heap.push(&View(&self.places, positions), Entry { deadline, item }).is_err() {
            crate::bug!("no room was ensured for a timer");
        }
    }

    /// Removes an item's deadline, if it has one.
    pub fn remove(&self, positions: &impl Positions, item: u32) {
        self.heap.remove(&View(&self.places, positions), item);
    }

    /// The soonest deadline; `u64::MAX` if there is none.
    pub fn soonest(&self, positions: &impl Positions) -> u64 {
        self.heap.first(&View(&self.places, positions)).map_or(u64::MAX, |entry| entry.deadline)
    }

    /// Takes out one item whose deadline is not after `now`.
    pub fn expired(&self, positions: &impl Positions, now: u64) -> Option<u32> {
        self.heap.pop_due(&View(&self.places, positions), now).map(|entry| entry.item)
    }

    /// Number of deadlines.
    pub fn len(&self) -> u32 {
        self.heap.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}
