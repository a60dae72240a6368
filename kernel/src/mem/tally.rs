//! What of a region is in memory, for people to look at.
#![forbid(unsafe_code)]

use super::frames::Memory;
use super::space::Space;
use crate::base::budget::Budget;

/// Units that looking at a page costs beside the search.
const LOOK: u32 = 80;

/// Pages of a part of a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The page behind the part.
    pub end: u64,
    /// Pages that have frames; the page of zeros is none.
    pub resident: u32,
    /// Those of them whose frames others have, too: another mapping, a registered buffer, the boot image.
    pub shared: u32,
}

impl Space {
    /// Counts pages from `from` up to `to`, as far as the budget goes; at least one if it has 1,000 units.
    pub fn tally(&self, memory: &Memory, (from, to): (u64, u64), budget: &Budget) -> Tally {
        let mut tally = Tally { end: from, ..Tally::default() };
        let looked = self.each_mapped::<()>(memory, (from, to), (budget, LOOK), |_, leaf| {
            if !memory.is_zeros(leaf.frame) {
                let is_shared = memory.frames.shares(leaf.frame) > 1;
                tally.resident = tally.resident.wrapping_add(1);
                tally.shared = tally.shared.wrapping_add(u32::from(is_shared));
            }
            Ok(())
        });
        tally.end = looked.unwrap_or(to);
        tally
    }
}
