//! What an unmapping took away, and the ways it comes back.
#![forbid(unsafe_code)]

use crate::addr::Frame;
use crate::entry::{Entry, PageRights, Tenure};
use crate::flush::Stale;
use crate::frames::{Frames, Misuse, Owner, TableFrame, UserFrame};
use crate::info::NONE;
use crate::machine::{Machine, Memory};

/// A mapping that is gone: its share of the frame, and the tables that became empty with it.
#[must_use = "give it back, or the frame leaks"]
#[derive(Debug)]
pub struct Unmapped {
    entry: Entry,
    /// The first of a list of tables.
    emptied: u32,
}

/// What giving a mapping back changed in the accounts.
#[must_use = "the owners of what came back are to be credited"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discarded {
    /// Who paid for the frame, if this was its last share.
    pub frame: Option<Owner>,
    /// How many tables of the space are gone; who paid for the space paid for them.
    pub tables: u32,
}

impl Unmapped {
    pub(crate) const fn new(entry: Entry, emptied: u32) -> Self {
        Self { entry, emptied }
    }

    /// The frame; none for a device.
    #[inline]
    pub fn frame(&self) -> Option<UserFrame> {
        self.entry.as_user()
    }

    /// What the program could do with it.
    #[inline]
    pub fn rights(&self) -> PageRights {
        self.entry.rights()
    }

    /// How the mapping held its frame.
    #[inline]
    pub fn tenure(&self) -> Tenure {
        self.entry.tenure()
    }

    /// Whether the program wrote to it through this mapping.
    #[inline]
    pub fn is_dirty(&self) -> bool {
        self.entry.is_dirty()
    }
}

impl<M: Machine> Memory<'_, M> {
    /// Flushes the page here and gives the mapping's share and tables back: at once if this is
    /// the only CPU, else when every CPU has flushed. The accounts change at once either way.
    #[inline]
    pub fn discard(&self, stale: Stale<Unmapped>) -> Result<Discarded, Misuse> {
        match stale.flush(self) {
            Ok(gone) => self.frames.give_back(gone),
            Err(stale) => self.frames.defer(stale),
        }
    }

    /// The same where debtors are named: what some CPU owes a flush for comes back when it has paid.
    pub fn discard_among(&self, stale: Stale<Unmapped>) -> Result<Discarded, Misuse> {
        match stale.flush_among(self) {
            Ok(gone) => self.frames.give_back(gone),
            Err(stale) => self.frames.defer(stale),
        }
    }
}

impl Frames<'_> {
    /// Gives back what every CPU has forgotten.
    #[inline(always)]
    pub fn give_back(&self, gone: Unmapped) -> Result<Discarded, Misuse> {
        let frame = match gone.frame() {
            Some(frame) => self.release(frame)?.owner(),
            None => None,
        };
        let mut tables = 0;
        if gone.emptied != NONE {
            tables = self.give_tables(gone.emptied, Self::free_table)?;
        }
        Ok(Discarded { frame, tables })
    }

    /// Gives a mapping back without a flush: its frames are free when every CPU has flushed and
    /// [`reclaim`](Self::reclaim) ran. Right for many pages and one flush at the end.
    pub fn defer(&self, stale: Stale<Unmapped>) -> Result<Discarded, Misuse> {
        let (gone, epoch) = stale.into_parts();
        let frame = match gone.frame() {
            Some(frame) => self.release_later(frame, epoch)?.owner(),
            None => None,
        };
        let tables = self.give_tables(gone.emptied, Self::free_table_later)?;
        Ok(Discarded { frame, tables })
    }

    /// Gives back every table of a list, and counts them.
    #[cold]
    #[inline(never)]
    fn give_tables(
        &self,
        mut next: u32,
        give: impl Fn(&Self, TableFrame) -> Result<(), Misuse>,
    ) -> Result<u32, Misuse> {
        let mut count = 0_u32;
        while let Some(info) = self.pool.info(next) {
            let table = TableFrame::of(Frame::new(next));
            next = info.link.get(); // before the table's info becomes a link of another list
            give(self, table)?;
            count = count.wrapping_add(1);
        }
        Ok(count)
    }
}
