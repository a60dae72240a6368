//! Taking mappings away, region by region; what costs is the pages that are there.
//!
//! The pages that a slice takes leave regions and page table together, so stopping after any slice leaves
//! the space in order.
#![forbid(unsafe_code)]

use super::frames::Memory;
use super::region::Kind;
use super::space::Space;
use super::{Run, halves, join};
use crate::base::NONE;
use crate::base::budget::Budget;
use ring_abi::Errno;

/// What taking a page away is reckoned to cost.
const UNMAP: u32 = 400;
/// What changing a region is reckoned to cost.
const REGION: u32 = 400;

/// Mappings on their way out.
#[derive(Clone, Copy, Debug)]
pub struct Clear {
    /// A record in case a region is cut in two.
    spare: u32,
    cursor: u64,
    end: u64,
}

impl Clear {
    /// Takes what is needed to clear the pages from `first` up to `end`.
    pub fn start(memory: &Memory, space: &Space, first: u64, end: u64) -> Result<Clear, Errno> {
        if !space.allows(first, end) {
            return Err(Errno::INVAL);
        }
        let spare = memory.regions.take(memory)?;
        Ok(Clear { spare, cursor: first, end })
    }

    /// Goes on.
    pub fn run(&mut self, memory: &Memory, space: &Space, budget: &Budget) -> Run {
        while let Some(id) = space.regions.first_from(&memory.regions, self.cursor) {
            let region = memory.regions.at(id);
            if region.first() >= self.end {
                break;
            }
            if region.kind.get() == Kind::Wired {
                return self.stop(memory, Errno::ACCES);
            }
            let (from, end) = (self.cursor.max(region.first()), self.end.min(region.end()));
            if region.busy.get() || !budget.spend(REGION) {
                return Run::More;
            }
            if self.spare == NONE && self.needs_record(memory).is_err() {
                return self.stop(memory, Errno::NOMEM);
            }
            let to = space.unmap_pages(memory, (from, end), (budget, UNMAP));
            if to == from {
                return Run::More;
            }
            space.cut(memory, id, from, to, &mut self.spare);
            self.cursor = to;
        }
        self.give_spare(memory);
        Run::Done(Ok(0))
    }

    /// Ends it where it is.
    pub fn stop(&mut self, memory: &Memory, error: Errno) -> Run {
        self.give_spare(memory);
        Run::Done(Err(error))
    }

    /// Takes another record. The first one is used where the range begins inside a region that goes on
    /// behind the slice; another is needed only if somebody maps into the range meanwhile.
    fn needs_record(&mut self, memory: &Memory) -> Result<(), Errno> {
        self.spare = memory.regions.take(memory)?;
        Ok(())
    }

    fn give_spare(&mut self, memory: &Memory) {
        if self.spare != NONE {
            memory.regions.give(core::mem::replace(&mut self.spare, NONE));
        }
    }

    /// As words, while it waits for its next slice.
    pub fn to_words(self) -> [u64; 4] {
        [join(self.spare, 0), self.cursor, self.end, 0]
    }

    /// The change that these words are.
    pub fn from_words(words: [u64; 4]) -> Clear {
        let [records, cursor, end, _] = words;
        let (spare, _) = halves(records);
        Clear { spare, cursor, end }
    }
}
