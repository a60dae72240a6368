//! Records of one kind, under dense indices that never move and are used again.
//!
//! Taking a record is a pop from a free list; when that is empty, the arena grows by one frame. A record is
//! always initialised: whoever takes one sets what it needs, whoever gives one back leaves it blank where
//! that matters. Indices inside the kernel are kept true by teardown, so there is no generation here;
//! names that cross the boundary (handles, reply tags) are checked where they come in.
#![forbid(unsafe_code)]

use super::frames::Memory;
use crate::arch::{Machine, Slab};
use crate::base::{NONE, is_none};
use core::cell::Cell;
use ring_abi::Errno;

/// What can live in an arena.
pub trait Record: Default {
    /// The cell that threads the free list while the record is free.
    fn free_link(&self) -> &Cell<u32>;
}

/// All records of one kind.
pub struct Arena<T> {
    slab: Slab<T>,
    free: Cell<u32>,
    live: Cell<u32>,
    threaded: Cell<u32>,
}

impl<T: Record> Arena<T> {
    /// An empty arena for at most `most` records.
    pub fn new(memory: &Memory, most: u32) -> Arena<T> {
        Arena::on(&memory.machine, most)
    }

    /// The same, before there is a [`Memory`].
    pub(super) fn on(machine: &Machine, most: u32) -> Arena<T> {
        Arena {
            slab: Slab::reserve(machine, most),
            free: Cell::new(NONE),
            live: Cell::new(0),
            threaded: Cell::new(0),
        }
    }

    /// The record under an index that the kernel holds.
    #[inline(always)]
    pub fn at(&self, index: u32) -> &T {
        self.slab.at(index)
    }

    /// The record under an index that the kernel holds, or nothing under `NONE`.
    #[inline(always)]
    pub fn get(&self, index: u32) -> Option<&T> {
        (!is_none(index)).then(|| self.slab.at(index))
    }

    /// Takes a record. `ENOMEM` leaves everything as it was.
    #[inline(always)]
    pub fn take(&self, memory: &Memory) -> Result<u32, Errno> {
        self.ensure_one(memory)?;
        Ok(self.take_ensured().0)
    }

    /// Takes a record that was [ensured](Self::ensure_one): its index and itself.
    #[inline(always)]
    pub fn take_ensured(&self) -> (u32, &T) {
        let index = self.free.get();
        let record = self.at(index);
        self.free.set(record.free_link().get());
        self.live.set(self.live.get().wrapping_add(1));
        (index, record)
    }

    /// Makes sure that the next [`take`](Self::take) cannot fail.
    #[inline(always)]
    pub fn ensure_one(&self, memory: &Memory) -> Result<(), Errno> {
        if is_none(self.free.get()) { self.grow(memory) } else { Ok(()) }
    }

    /// Gives a record back.
    #[inline(always)]
    pub fn give(&self, index: u32) {
        self.at(index).free_link().set(self.free.get());
        self.free.set(index);
        self.live.set(self.live.get().wrapping_sub(1));
    }

    /// Records in use.
    pub fn live(&self) -> u32 {
        self.live.get()
    }

    /// Records for which there is memory.
    pub fn capacity(&self) -> u32 {
        self.threaded.get()
    }

    /// Bytes of one record.
    pub const fn record_bytes(&self) -> usize {
        size_of::<T>()
    }

    #[cold]
    #[inline(never)]
    fn grow(&self, memory: &Memory) -> Result<(), Errno> {
        memory.grow(&self.slab)?;
        // Thread the new records so that the lowest index is taken first.
        let first = self.threaded.get();
        let end = self.slab.len();
        let mut next = self.free.get();
        for index in (first..end).rev() {
            self.at(index).free_link().set(next);
            next = index;
        }
        self.free.set(next);
        self.threaded.set(end);
        Ok(())
    }
}
