//! Rows of small records: a power of two of neighbours under the name of the first.
//!
//! The request slots of a link are such a row: a tag from outside is masked and looked up in it. Rows are
//! recycled by size and never split or merged.
#![forbid(unsafe_code)]

use super::frames::Memory;
use crate::arch::{Machine, Slab};
use crate::base::name::{NONE, Named, most_of, name_of};
use core::cell::Cell;
use ring_abi::Errno;
use ring_abi::layout::MAX_LOG2;

/// What can live in a row.
pub trait Cellular: Named {
    /// The cell that threads free rows, in a row's first record.
    fn free_link(&self) -> &Cell<u32>;
}

const SIZES: usize = MAX_LOG2 as usize + 1;

/// All rows of one kind of record.
pub struct Runs<T> {
    slab: Slab<T>,
    free: [Cell<u32>; SIZES],
    used: Cell<u32>,
    live: Cell<u32>,
}

impl<T: Cellular> Runs<T> {
    /// Room for at most `most` records.
    pub fn new(memory: &Memory, most: u32) -> Runs<T> {
        Runs::on(&memory.machine, most)
    }

    /// The same, before there is a [`Memory`].
    pub(super) fn on(machine: &Machine, most: u32) -> Runs<T> {
        Runs {
            slab: Slab::reserve_named(machine, most_of::<T>(most)),
            free: [const { Cell::new(NONE) }; SIZES],
            used: Cell::new(0),
            live: Cell::new(0),
        }
    }

    /// The name of record `index` of a row, which has that many.
    #[inline(always)]
    pub fn name(&self, row: u32, index: u32) -> u32 {
        row.wrapping_add(name_of::<T>(index))
    }

    /// The record of this name.
    #[inline(always)]
    pub fn named(&self, name: u32) -> &T {
        self.slab.named(name)
    }

    /// Takes a row of `1 << log2` records: its name.
    pub fn take(&self, memory: &Memory, log2: u8) -> Result<u32, Errno> {
        let free = self.free.get(usize::from(log2)).ok_or(Errno::INVAL)?;
        let count = 1_u32 << log2;
        let first = free.get();
        if first != NONE {
            free.set(self.named(first).free_link().get());
        } else {
            self.extend(memory, count)?;
        }
        let first = if first == NONE {
            name_of::<T>(self.used.replace(self.used.get().wrapping_add(count)))
        } else {
            first
        };
        self.live.set(self.live.get().wrapping_add(count));
        Ok(first)
    }

    /// Gives a row back.
    pub fn give(&self, first: u32, log2: u8) {
        if let Some(free) = self.free.get(usize::from(log2)) {
            self.named(first).free_link().set(free.get());
            free.set(first);
            self.live.set(self.live.get().wrapping_sub(1 << log2));
        }
    }

    /// Records in rows that are in use.
    pub fn live(&self) -> u32 {
        self.live.get()
    }

    fn extend(&self, memory: &Memory, count: u32) -> Result<(), Errno> {
        let wanted = self.used.get().checked_add(count).ok_or(Errno::NOMEM)?;
        while self.slab.len() < wanted {
            memory.grow(&self.slab)?;
        }
        Ok(())
    }
}
