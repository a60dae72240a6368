//! A heap of deadlines, soonest first, in a growable array of somebody else's.
//!
//! Each entry names an item, and the item is told where its entry lies, so a
//! timer that is cancelled, as most are, leaves in O(log n) steps without a
//! search. Every node has four children: a heap of 100,000 timers is nine levels
//! deep, and a new deadline, usually a late one, seldom moves up.
//!
//! - No entry has a sooner deadline than its parent's.
//! - An item has at most one entry, and [`Slots::position`] says where.
//! - Growing the array is the caller's business, before [`Heap::push`]; nothing
//!   here takes memory. Entries with the same deadline leave in no promised order.

#![forbid(unsafe_code)]

use core::cell::Cell;

use crate::base::NONE;

/// How many children a node has.
const CHILDREN: u32 = 4;

/// One deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub deadline: u64,
    /// Whose.
    pub item: u32,
}

/// The array that holds a heap's entries, and the items' memory of where.
///
/// Positions given to these functions are below [`capacity`](Self::capacity).
pub trait Slots {
    /// How many entries there is room for.
    fn capacity(&self) -> u32;

    /// The entry at `position`, as it was last set.
    fn get(&self, position: u32) -> Entry;

    /// Sets the entry at `position`.
    fn set(&self, position: u32, entry: Entry);

    /// The position that `item` was last told, [`NONE`] before it ever was.
    fn position(&self, item: u32) -> u32;

    /// Tells `item` where its entry lies from now on: [`NONE`] once it is gone.
    fn moved(&self, item: u32, position: u32);
}

/// There is no room for another entry: grow the array first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A heap. The same `slots` go with it in every call.
#[derive(Debug, Default)]
pub struct Heap {
    len: Cell<u32>,
}

impl Heap {
    /// An empty heap.
    pub const fn new() -> Self {
        Self { len: Cell::new(0) }
    }

    /// How many entries there are.
    #[inline]
    pub fn len(&self) -> u32 {
        self.len.get()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len.get() == 0
    }

    /// The entry with the soonest deadline.
    #[inline]
    pub fn first<S: Slots>(&self, slots: &S) -> Option<Entry> {
        (!self.is_empty()).then(|| slots.get(0))
    }

    /// Adds an entry. Its item must not have one yet.
    #[inline]
    pub fn push<S: Slots>(&self, slots: &S, entry: Entry) -> Result<(), Full> {
        let position = self.len.get();
        if position >= slots.capacity() {
            return Err(Full);
        }
        self.len.set(position.wrapping_add(1));
        self.rise(slots, position, entry);
        Ok(())
    }

    /// Takes out the entry with the soonest deadline, if that is `now` or past.
    /// Every entry is due at `u64::MAX`.
    #[inline]
    pub fn pop_due<S: Slots>(&self, slots: &S, now: u64) -> Option<Entry> {
        let entry = self.first(slots).filter(|entry| entry.deadline <= now)?;
        self.take(slots, 0, entry);
        Some(entry)
    }

    /// Takes out the entry of `item`, if it has one.
    #[inline]
    pub fn remove<S: Slots>(&self, slots: &S, item: u32) -> Option<Entry> {
        let position = slots.position(item);
        if position >= self.len.get() {
            return None;
        }
        let entry = slots.get(position);
        if entry.item != item {
            return None;
        }
        self.take(slots, position, entry);
        Some(entry)
    }

    /// Takes `entry` out of `position` and puts the last one in its place.
    #[inline]
    fn take<S: Slots>(&self, slots: &S, position: u32, entry: Entry) {
        let end = self.len.get().wrapping_sub(1); // it holds at least `entry`
        self.len.set(end);
        slots.moved(entry.item, NONE);
        if position == end {
            return;
        }
        let last = slots.get(end);
        if last.deadline < entry.deadline {
            self.rise(slots, position, last);
        } else {
            self.sink(slots, position, last);
        }
    }

    /// Puts `entry` at `position` or, while its parent is later, above.
    #[inline]
    fn rise<S: Slots>(&self, slots: &S, position: u32, entry: Entry) {
        let mut at = position;
        while at > 0 {
            let parent_at = at.wrapping_sub(1) / CHILDREN;
            let parent = slots.get(parent_at);
            if parent.deadline <= entry.deadline {
                break;
            }
            put(slots, at, parent);
            at = parent_at;
        }
        put(slots, at, entry);
    }

    /// Puts `entry` at `position` or, while a child is sooner, below.
    #[inline]
    fn sink<S: Slots>(&self, slots: &S, position: u32, entry: Entry) {
        let mut at = position;
        while let Some((child_at, child)) = self.soonest_child(slots, at) {
            if child.deadline >= entry.deadline {
                break;
            }
            put(slots, at, child);
            at = child_at;
        }
        put(slots, at, entry);
    }

    #[inline]
    fn soonest_child<S: Slots>(&self, slots: &S, position: u32) -> Option<(u32, Entry)> {
        let len = self.len.get();
        let first_at = position.checked_mul(CHILDREN)?.checked_add(1)?;
        if first_at >= len {
            return None;
        }
        let mut best = (first_at, slots.get(first_at));
        for at in first_at.wrapping_add(1)..len.min(first_at.saturating_add(CHILDREN)) {
            let child = slots.get(at);
            if child.deadline < best.1.deadline {
                best = (at, child);
            }
        }
        Some(best)
    }
}

#[inline]
fn put<S: Slots>(slots: &S, position: u32, entry: Entry) {
    slots.set(position, entry);
    slots.moved(entry.item, position);
}

#[cfg(test)]
mod tests;
