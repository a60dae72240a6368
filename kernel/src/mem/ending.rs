//! The end of address spaces, of large wired blocks and of large pins, in slices. It never needs memory.
#![forbid(unsafe_code)]

use super::arena::Arena;
use super::frames::Memory;
use super::space::{Space, Table};
use super::wired;
use crate::base::budget::Budget;
use crate::base::list::{Chain, Link};
use crate::bug;
use rmm::{PageTable, Progress, Teardown};

/// What taking a region out is reckoned to cost.
const REGION: u32 = 400;
/// Entries of page tables that are looked at in one go, and what that is reckoned to cost.
const ENTRIES: u32 = 16;
const ENTRIES_COST: u32 = 2_000;

/// Spaces that end.
pub(super) struct ByEnding<'a>(pub(super) &'a Arena<Space>);

impl Chain for ByEnding<'_> {
    fn link(&self, node: u32) -> &Link {
        &self.0.at(node).link
    }
}

impl Memory {
    /// One holder of a space fewer; the last one ends it. `true` if it was the last.
    pub fn let_go_space(&self, id: u32) -> bool {
        let space = self.spaces.at(id);
        let left = space.refs.get().wrapping_sub(1);
        space.refs.set(left);
        if left == 0 {
            self.end_space(id);
        }
        left == 0
    }

    /// Ends a space that nobody holds. The rest follows in slices.
    pub fn end_space(&self, id: u32) {
        self.dying_spaces.push_back(&ByEnding(&self.spaces), id);
    }

    /// Whether nothing is being taken apart.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.dying_spaces.is_empty() && self.dying_blocks.is_empty() && self.dying_pins.is_empty()
    }

    /// Takes what ends a little further apart. `false`: there was nothing.
    pub fn slice_ending(&self, budget: &Budget) -> bool {
        if wired::slice_ending(self, budget) || self.slice_pins(budget) {
            return true;
        }
        let id = self.dying_spaces.first();
        let Some(space) = self.spaces.get(id) else { return false };
        if space.take_apart(self, budget) {
            self.dying_spaces.remove(&ByEnding(&self.spaces), id);
            self.spaces.give(id);
        }
        true
    }
}

impl Space {
    /// Goes on taking it apart; `true` when nothing is left of it.
    fn take_apart(&self, memory: &Memory, budget: &Budget) -> bool {
        while let Some(region) = self.regions.any() {
            if !budget.spend(REGION) {
                return false;
            }
            self.remove(memory, region);
        }
        while budget.spend(ENTRIES_COST) {
            let teardown = match self.table.take() {
                Table::Live(table) => match self.retire(memory, table) {
                    Ok(teardown) => teardown,
                    Err(table) => {
                        self.table.replace(Table::Live(table));
                        return false;
                    }
                },
                Table::Ending(teardown) => teardown,
                Table::None => return true,
            };
            match step(memory, teardown) {
                Some(rest) => drop(self.table.replace(Table::Ending(rest))),
                None => return true,
            }
        }
        false
    }

    /// Makes sure that no processor uses the page table any more. One that still holds something of it is made to forget,
    /// and the table comes back meanwhile.
    fn retire(&self, memory: &Memory, table: PageTable) -> Result<Teardown, PageTable> {
        memory.machine.leave(self.root());
        let holders = if memory.machine.cpus() > 1 { memory.machine.holders(self.root()) } else { 0 };
        if holders != 0 {
            memory.warn(self.root());
            memory.hurry(holders);
            return Err(table);
        }
        Ok(table.retire(&memory.frames).flush_alone(memory))
    }
}

/// Gives a few pages and tables back; what is left, if anything.
fn step(memory: &Memory, teardown: Teardown) -> Option<Teardown> {
    let before = teardown.tables();
    let mut steps = ENTRIES;
    match teardown.step(memory, &mut steps, |owner| memory.credit(owner)) {
        Ok(Progress::More(rest)) => {
            memory.credit_tables(rest.tables().wrapping_sub(before));
            Some(rest)
        }
        Ok(Progress::Done { tables }) => {
            memory.credit_tables(tables.wrapping_sub(before));
            None
        }
        Err(misuse) => bug!("taking a space apart: {misuse:?}"),
    }
}
