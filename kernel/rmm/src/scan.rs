//! Loops over many pages, in slices that a budget of steps bounds.
//!
//! A step is one entry looked at. What is left when the steps run out is a range or a page to
//! go on from, so a long change is resumed and never blocks a CPU.
#![forbid(unsafe_code)]

use crate::addr::{Page, PageRange};
use crate::flush::Stale;
use crate::frames::TableFrame;
use crate::machine::{Machine, Memory};
use crate::table::{Leaf, PageTable, ROOT, read};
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

impl PageTable {
    /// Finds the first mapped page of `range`. Each entry looked at takes one of `steps`.
    pub fn next_mapped<M: Machine>(&self, machine: &M, range: PageRange, steps: &mut u32) -> Next {
        let (mut table, mut level) = (self.root(), ROOT);
        let mut page = range.first();
        loop {
            let Some(left) = steps.checked_sub(1) else { return Next::Paused(page) };
            *steps = left;
            let entry = read(machine, table, page, level);
            match (entry.is_present(), level) {
                (true, 0) => {
                    return entry.as_leaf().map_or(Next::Device(page), |leaf| Next::User(page, leaf));
                }
                (true, _) => {
                    table = TableFrame::of(entry.frame());
                    level = level.wrapping_sub(1);
                }
                (false, _) => {
                    match page.next_entry(level).filter(|&next| next <= range.last()) {
                        Some(next) => page = next,
                        None => return Next::End,
                    }
                    if page.index(level) == 0 {
                        (table, level) = (self.root(), ROOT);
                    }
                }
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
