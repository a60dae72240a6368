//! Page tables in reserve, taken before a change so that the change cannot fail.
#![forbid(unsafe_code)]

use core::cell::Cell;

use crate::addr::Frame;
use crate::frames::{Frames, Owner, TableFrame};
use crate::info::NONE;

/// Table frames in hand. What is not used goes back when this is dropped.
#[must_use = "a stock is there to be mapped from"]
pub struct TableStock<'f, 'm> {
    frames: &'f Frames<'m>,
    head: Cell<u32>,
    left: Cell<u32>,
    used: Cell<u32>,
    owner: Owner,
}

impl<'m> Frames<'m> {
    /// Takes `count` tables in reserve, or none at all.
    #[inline]
    pub fn table_stock(&self, owner: Owner, count: u32) -> Option<TableStock<'_, 'm>> {
        let stock =
            TableStock { frames: self, head: Cell::new(NONE), left: Cell::new(0), used: Cell::new(0), owner };
        for _ in 0..count {
            let (table, info) = self.allocate_table(owner)?;
            info.link.set(stock.head.replace(table.frame().number()));
            stock.left.set(stock.left.get().wrapping_add(1));
        }
        Some(stock)
    }
}

impl TableStock<'_, '_> {
    /// How many tables are left.
    #[inline]
    pub fn left(&self) -> u32 {
        self.left.get()
    }

    /// How many became part of an address space: charge these to the owner.
    #[inline]
    pub fn used(&self) -> u32 {
        self.used.get()
    }

    /// Who owns the tables.
    #[inline]
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Takes one out; its bytes are what they were.
    pub(crate) fn take(&self) -> Option<TableFrame> {
        let table = self.pop()?;
        self.used.set(self.used.get().wrapping_add(1));
        Some(table)
    }

    #[inline]
    fn pop(&self) -> Option<TableFrame> {
        let number = self.head.get();
        let info = self.frames.pool.info(number)?;
        self.head.set(info.link.get());
        self.left.set(self.left.get().wrapping_sub(1));
        Some(TableFrame::of(Frame::new(number)))
    }
}

impl Drop for TableStock<'_, '_> {
    #[inline]
    fn drop(&mut self) {
        while let Some(table) = self.pop() {
            let freed = self.frames.free_table(table);
            debug_assert!(freed.is_ok());
        }
    }
}
