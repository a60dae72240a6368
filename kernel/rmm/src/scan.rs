//! Loops over many pages, in slices that a budget of steps bounds.
//!
//! A step is one entry looked at; a slice needs eight or more, since four only lead from the root
//! to a page. What is left when the steps run out is a range or a page to
//! go on from, so a long change is resumed and never blocks a CPU.
#![forbid(unsafe_code)]

use core::ops::Range;

use crate::addr::{Page, PageRange};
use crate::entry::Entry;
use crate::flush::Stale;
use crate::frames::TableFrame;
use crate::machine::{Machine, Memory};
use crate::table::{Leaf, PageTable, ROOT};
use crate::unmapped::Unmapped;

/// What a search for a mapped page found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This page has this frame.
    User(Page, Leaf),
    /// This page has a frame of a device.
    Device(Page),
    /// There is none.
    End,
    /// The steps ran out; go on from this page.
    Paused(Page),
}

/// What [`PageTable::search`] found.
pub(crate) enum Search {
    /// This page is mapped, by this entry of this leaf table.
    Found(Page, TableFrame, Entry),
    End,
    Paused(Page),
}

impl PageTable {
    /// Finds the first mapped page of `range`. Each entry looked at takes one of `steps`.
    #[inline]
    pub fn next_mapped<M: Machine>(&self, machine: &M, range: PageRange, steps: &mut u32) -> Next {
        match self.search(machine, range, steps) {
            Search::Found(page, _, entry) => match entry.as_leaf() {
                Some(leaf) => Next::User(page, leaf),
                None => Next::Device(page),
            },
            Search::End => Next::End,
            Search::Paused(page) => Next::Paused(page),
        }
    }

    /// The first mapped page of `range`: mostly in the leaf table of its first page, or found
    /// from the root down.
    #[inline(always)]
    pub(crate) fn search<M: Machine>(&self, machine: &M, range: PageRange, steps: &mut u32) -> Search {
        let mut page = range.first();
        if let Some(table) = self.leaf_table(machine, page) {
            let (first, end) = (page.index(0), page.index_after(0, range.last()));
            let (at, found) = find_present(machine, table, first..end, steps);
            match page.skip_entries(0, at.wrapping_sub(first)) {
                Some(next) if next <= range.last() => page = next,
                _ => return Search::End,
            }
            if let Some(entry) = found {
                return Search::Found(page, table, entry);
            }
        }
        self.search_from_root(machine, (page, range.last()), steps)
    }

    #[inline(never)]
    fn search_from_root<M: Machine>(
        &self,
        machine: &M,
        (mut page, last): (Page, Page),
        steps: &mut u32,
    ) -> Search {
        let (mut table, mut level) = (self.root(), ROOT);
        loop {
            let (first, end) = (page.index(level), page.index_after(level, last));
            let (at, found) = find_present(machine, table, first..end, steps);
            match page.skip_entries(level, at.wrapping_sub(first)) {
                Some(next) if next <= last => page = next,
                _ => return Search::End,
            }
            match found {
                Some(entry) if level == 0 => return Search::Found(page, table, entry),
                Some(entry) => (table, level) = (TableFrame::of(entry.frame()), level.wrapping_sub(1)),
                None if at < end => return Search::Paused(page),
                None => (table, level) = (self.root(), ROOT),
            }
        }
    }

    /// Unmaps every page of `range` and hands the tokens to `sink`. Gives what is left of the
    /// range when the steps ran out.
    pub fn unmap_range<M: Machine>(
        &self,
        memory: &Memory<'_, M>,
        range: PageRange,
        steps: &mut u32,
        mut sink: impl FnMut(Page, Stale<Unmapped>),
    ) -> Option<PageRange> {
        let mut rest = Some(range);
        while let Some(range) = rest {
            let page = match self.next_mapped(&memory.machine, range, steps) {
                Next::User(page, _) | Next::Device(page) => page,
                Next::End => return None,
                Next::Paused(page) => return range.starting_at(page),
            };
            if let Some(stale) = self.unmap(memory, page) {
                sink(page, stale);
            }
            rest = range.after(page);
        }
        None
    }
}

/// Looks for an entry in use among `indices` of a table, one of `steps` each. Gives where the
/// search ended: at that entry, where the steps ran out, or at the end of the indices.
#[inline]
pub(crate) fn find_present<M: Machine>(
    machine: &M,
    table: TableFrame,
    indices: Range<u16>,
    steps: &mut u32,
) -> (u16, Option<Entry>) {
    let most = u32::from(indices.end.wrapping_sub(indices.start)).min(*steps) as u16;
    let end = indices.start.wrapping_add(most);
    for at in indices.start..end {
        let entry = Entry::from_bits(machine.read_entry(table, at));
        if entry.is_present() {
            *steps = steps.wrapping_sub(u32::from(at.wrapping_sub(indices.start))).wrapping_sub(1);
            return (at, Some(entry));
        }
    }
    *steps = steps.wrapping_sub(u32::from(most));
    (end, None)
}
