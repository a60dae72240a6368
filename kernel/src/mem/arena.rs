//! Records of one kind, under [names](crate::base::name) that never move and are used again.
//!
//! Taking a record is a pop from a free list; when that is empty, the arena grows by one frame. A record is
//! always initialised: whoever takes one sets what it needs, whoever gives one back leaves it blank where
//! that matters. Names are kept true by teardown, so there is no generation here; what crosses the boundary
//! (handles, reply tags) is checked where it comes in.
#![forbid(unsafe_code)]

use super::frames::Memory;
use crate::arch::{Machine, Slab};
use crate::base::name::{ABSENT, NONE, Named, is_none, most_of, name_of};
use core::cell::Cell;
use ring_abi::Errno;

/// What can live in an arena.
pub trait Record: Named {
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
            slab: Slab::reserve_named(machine, most_of::<T>(most)),
            free: Cell::new(NONE),
            live: Cell::new(0),
            threaded: Cell::new(0),
        }
    }

    /// The record of this name.
    #[inline(always)]
    pub fn at(&self, name: u32) -> &T {
        self.slab.named(name)
    }

    /// The record of this name, or nothing for `NONE`.
    #[inline(always)]
    pub fn get(&self, name: u32) -> Option<&T> {
        (!is_none(name)).then(|| self.slab.named(name))
    }

    /// The names of all records for which there is memory, in use or not.
    pub fn names(&self) -> impl Iterator<Item = u32> {
        (0..self.threaded.get()).map(name_of::<T>)
    }

    /// How many records there is memory for, in use or not; their numbers are less.
    pub fn made(&self) -> u32 {
        self.threaded.get()
    }

    /// Takes a record: its name. `ENOMEM` leaves everything as it was.
    #[inline(always)]
    pub fn take(&self, memory: &Memory) -> Result<u32, Errno> {
        self.ensure_one(memory)?;
        let name = self.free.get();
        self.free.set(self.at(name).free_link().get());
        self.live.set(self.live.get().wrapping_add(1));
        Ok(name)
    }

    /// Sets the first record apart as that of nothing, named [`ABSENT`], which is never given back and does not count.
    /// Where names of records may lead to it, nobody needs to ask whether there is one.
    pub fn set_absent_apart(&self, memory: &Memory) -> Result<(), Errno> {
        let name = self.take(memory)?;
        if name != ABSENT {
            crate::bug!("the first record is {name}");
        }
        self.live.set(self.live.get().wrapping_sub(1));
        Ok(())
    }

    /// Makes sure that the next [`take`](Self::take) cannot fail.
    #[inline(always)]
    pub fn ensure_one(&self, memory: &Memory) -> Result<(), Errno> {
        if is_none(self.free.get()) { self.grow(memory) } else { Ok(()) }
    }

    /// Gives a record back.
    #[inline(always)]
    pub fn give(&self, name: u32) {
        self.at(name).free_link().set(self.free.get());
        self.free.set(name);
        self.live.set(self.live.get().wrapping_sub(1));
    }

    /// Records in use.
    pub fn live(&self) -> u32 {
        self.live.get()
    }

    /// Bytes of one record.
    pub const fn record_bytes(&self) -> usize {
        size_of::<T>()
    }

    #[cold]
    #[inline(never)]
    fn grow(&self, memory: &Memory) -> Result<(), Errno> {
        memory.grow(&self.slab)?;
        // Thread the new records so that the first one is taken first.
        let first = self.threaded.get();
        let end = self.slab.len();
        let mut next = self.free.get();
        for name in (first..end).rev().map(name_of::<T>) {
            self.at(name).free_link().set(next);
            next = name;
        }
        self.free.set(next);
        self.threaded.set(end);
        Ok(())
    }
}
