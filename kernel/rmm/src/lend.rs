//! Giving the pages of one address space to another one as well, a leaf table at a time: what a fork does.
//!
//! Shared pages are shared on. The space's own become copy-on-write on both sides, and there is one flush for all of them.
//! A page of its own whose frame has another share is held by somebody who is no mapping, and is left to the caller.
#![forbid(unsafe_code)]

use crate::addr::{Page, PageRange};
use crate::entry::{Entry, PageRights, Tenure};
use crate::flush::Stale;
use crate::frames::Frames;
use crate::info::Kind;
use crate::machine::{Machine, Memory};
use crate::stock::TableStock;
use crate::table::{Leaf, MapError, PageTable, put_over};

/// What was lent.
#[must_use = "pages that lost the right to be written are to be flushed"]
#[derive(Debug)]
pub struct Lent {
    /// How many pages the other space has got.
    pub pages: u16,
    /// The page to go on from; none if that is behind the range, or behind the leaf table of its first page.
    pub next: Option<Page>,
    /// What that page has, if it is one that is held.
    pub held: Option<Leaf>,
    /// Some TLB may still allow to write what is copied on a write now.
    pub narrowed: Option<Stale<()>>,
}

impl PageTable {
    /// Gives the pages of `range` that lie in the leaf table of its first page to `other` as well, which has none of them.
    /// Each entry looked at takes one of `steps`, each page lent `price` more. Missing tables come out of `stock`, which must
    /// have those of the first page: else that is the error, and nothing was changed.
    pub fn lend<M: Machine>(
        &self,
        memory: &Memory<'_, M>,
        (other, stock): (&PageTable, &TableStock<'_, '_>),
        range: PageRange,
        (steps, price): (&mut u32, u32),
    ) -> Result<Lent, MapError> {
        let mut lent = Lent { pages: 0, next: None, held: None, narrowed: None };
        let (machine, first) = (&memory.machine, range.first());
        if stock.left() < other.tables_missing(machine, first) {
            return Err(MapError::StockTooSmall);
        }
        let Some(table) = self.leaf_table(machine, first) else { return Ok(lent) };
        let mut target = None;
        let mut narrowed = false;
        for at in first.index(0)..first.index_after(0, range.last()) {
            let page = || first.skip_entries(0, at.wrapping_sub(first.index(0)));
            let Some(left) = steps.checked_sub(1) else {
                lent.next = page();
                break;
            };
            *steps = left;
            let entry = Entry::from_bits(machine.read_entry(table, at));
            let Some(leaf) = entry.as_leaf() else { continue };
            if !memory.frames.lend(leaf) {
                lent.next = page();
                lent.held = Some(leaf);
                break;
            }
            *steps = steps.saturating_sub(price);
            let into = target.or_else(|| other.leaf_table_with(memory, first, stock));
            let into = into.ok_or(MapError::StockTooSmall)?;
            target = Some(into);
            let shared = if leaf.tenure == Tenure::Private {
                let lent = entry.with_tenure(Tenure::CopyOnWrite, leaf.rights);
                put_over(machine, (table, at), lent);
                narrowed |= leaf.rights == PageRights::ReadWrite;
                lent
            } else {
                entry
            };
            machine.write_entry(into, at, shared.unused().bits());
            lent.pages = lent.pages.wrapping_add(1);
        }
        if let Some(into) = target {
            memory.frames.entries_added(into, lent.pages);
        }
        lent.narrowed = narrowed.then(|| Stale::space((), &memory.frames));
        Ok(lent)
    }
}

impl Frames<'_> {
    /// Adds a share to the frame of a page, unless somebody holds it who is no mapping, or it has too many.
    #[inline]
    fn lend(&self, leaf: Leaf) -> bool {
        let Ok(info) = self.expect_kind(leaf.frame.frame(), Kind::User) else { return false };
        let shares = info.shares.get();
        if shares == u32::MAX || shares > 1 && leaf.tenure == Tenure::Private {
            return false;
        }
        info.shares.set(shares.wrapping_add(1));
        true
    }
}
