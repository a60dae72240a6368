//! Changing what a program may do with pages.
//!
//! First it looks whether all of them are there; then it changes region by region. A region is divided where
//! the range begins or ends inside it, for which two records are taken at the start. While its pages are
//! changed it is `busy`.
#![forbid(unsafe_code)]

use super::frames::Memory;
use super::region::{Kind, Region};
use super::space::Space;
use super::{Run, halves, join};
use crate::base::NONE;
use crate::base::budget::Budget;
use core::convert::Infallible;
use ring_abi::Errno;
use rmm::{Leaf, PageRights, Tenure};

/// What changing a page is reckoned to cost.
const PROTECT: u32 = 300;
/// What looking at a region is reckoned to cost, and what changing one is.
const LOOK: u32 = 100;
const REGION: u32 = 400;

/// A change of rights on its way.
#[derive(Clone, Copy, Debug)]
pub struct Protect {
    /// Records for the two ends of the range.
    spares: [u32; 2],
    first: u64,
    end: u64,
    cursor: u64,
    rights: PageRights,
    looking: bool,
    /// The region whose pages are being changed, or `NONE`.
    region: u32,
}

impl Protect {
    /// Takes what is needed to change the pages from `first` up to `end`.
    pub fn start(
        memory: &Memory,
        space: &Space,
        (first, end): (u64, u64),
        rights: PageRights,
    ) -> Result<Protect, Errno> {
        if !space.allows(first, end) {
            return Err(Errno::INVAL);
        }
        let one = memory.regions.take(memory)?;
        let other = memory.regions.take(memory).inspect_err(|_| memory.regions.give(one))?;
        let spares = [one, other];
        Ok(Protect { spares, first, end, cursor: first, rights, looking: true, region: NONE })
    }

    /// Goes on.
    pub fn run(&mut self, memory: &Memory, space: &Space, budget: &Budget) -> Run {
        if self.looking {
            match self.look(memory, space, budget) {
                Run::Done(Ok(_)) => self.looking = false,
                Run::Done(Err(error)) => return self.stop(memory, error),
                Run::More => return Run::More,
            }
            self.cursor = self.first;
        }
        while self.cursor < self.end {
            if self.region == NONE {
                match self.enter(memory, space, budget) {
                    Run::Done(Ok(_)) => {}
                    Run::Done(Err(error)) => return self.stop(memory, error),
                    Run::More => return Run::More,
                }
            }
            if !self.change(memory, space, budget) {
                return Run::More;
            }
        }
        self.give_spares(memory);
        Run::Done(Ok(0))
    }

    /// Looks whether all pages are there and may be changed.
    fn look(&mut self, memory: &Memory, space: &Space, budget: &Budget) -> Run {
        while self.cursor < self.end {
            if !budget.spend(LOOK) {
                return Run::More;
            }
            match self.find(memory, space) {
                Ok(id) => self.cursor = memory.regions.at(id).end(),
                Err(error) => return Run::Done(Err(error)),
            }
        }
        Run::Done(Ok(0))
    }

    /// The region at the cursor, if its rights may be changed.
    fn find(&self, memory: &Memory, space: &Space) -> Result<u32, Errno> {
        let id = space.regions.find(&memory.regions, self.cursor).ok_or(Errno::NOMEM)?;
        let region = memory.regions.at(id);
        if self.cursor < region.body() {
            return Err(Errno::NOMEM);
        }
        match region.kind.get() {
            Kind::Wired => Err(Errno::ACCES),
            Kind::Image if self.rights == PageRights::ReadWrite => Err(Errno::ACCES),
            Kind::Shared if self.rights == PageRights::ReadWrite && !is_writable(memory, region) => {
                Err(Errno::ACCES)
            }
            _ => Ok(id),
        }
    }

    /// Makes the region at the cursor one that lies inside the range, and ours.
    fn enter(&mut self, memory: &Memory, space: &Space, budget: &Budget) -> Run {
        let mut id = match self.find(memory, space) {
            Ok(id) => id,
            Err(error) => return Run::Done(Err(error)),
        };
        let region = memory.regions.at(id);
        if region.busy.get() || !budget.spend(REGION) {
            return Run::More;
        }
        let (body, end) = (region.body(), region.end());
        let cuts = usize::from(self.cursor > body).wrapping_add(usize::from(end > self.end));
        if region.rights.get() != self.rights {
            if !self.has_spares(memory, cuts) {
                return Run::Done(Err(Errno::NOMEM));
            }
            if self.cursor > body {
                id = space.split(memory, id, self.cursor, self.take_spare());
            }
            if end > self.end {
                space.split(memory, id, self.end, self.take_spare());
            }
            memory.regions.at(id).rights.set(self.rights);
        } else {
            self.cursor = end.min(self.end);
            return Run::Done(Ok(0));
        }
        memory.regions.at(id).busy.set(true);
        self.region = id;
        Run::Done(Ok(0))
    }

    /// Changes pages of our region; `false` if the budget ran out.
    fn change(&mut self, memory: &Memory, space: &Space, budget: &Budget) -> bool {
        let Some(region) = memory.regions.get(self.region) else { return true };
        let leaves = self.rights == PageRights::ReadWrite && !memory.may_share();
        let protect = |page, leaf: Leaf| -> Result<(), Infallible> {
            if leaves && leaf.tenure == Tenure::CopyOnWrite {
                // It shows a window still, and comes back as a page of its own.
                space.unmap_page(memory, page);
            } else {
                space.protect_page(memory, page, self.rights);
            }
            Ok(())
        };
        let range = (self.cursor, region.end());
        let Ok(done) = space.each_mapped(memory, range, (budget, PROTECT), protect);
        self.cursor = done;
        if done < region.end() {
            return false;
        }
        region.busy.set(false);
        space.merge(memory, core::mem::replace(&mut self.region, NONE));
        true
    }

    fn stop(&mut self, memory: &Memory, error: Errno) -> Run {
        self.give_spares(memory);
        Run::Done(Err(error))
    }

    /// Whether there are as many records. The two from the start are enough unless somebody maps or unmaps
    /// in the range meanwhile.
    fn has_spares(&mut self, memory: &Memory, count: usize) -> bool {
        while self.spares.iter().filter(|spare| **spare != NONE).count() < count {
            let Some(place) = self.spares.iter_mut().find(|spare| **spare == NONE) else { return false };
            match memory.regions.take(memory) {
                Ok(spare) => *place = spare,
                Err(_) => return false,
            }
        }
        true
    }

    fn take_spare(&mut self) -> u32 {
        let spare = self.spares.iter_mut().find(|spare| **spare != NONE);
        spare.map_or(NONE, |spare| core::mem::replace(spare, NONE))
    }

    fn give_spares(&mut self, memory: &Memory) {
        for spare in &mut self.spares {
            if *spare != NONE {
                memory.regions.give(core::mem::replace(spare, NONE));
            }
        }
    }
}

/// As words, while it waits for its next slice.
impl Protect {
    /// The words.
    pub fn to_words(self) -> [u64; 4] {
        let [one, other] = self.spares;
        let rights = match self.rights {
            PageRights::Read => 0,
            PageRights::ReadWrite => 1,
            PageRights::ReadExecute => 2,
        };
        // Page numbers have 35 bits. The region is known by its place while it is ours.
        let ours = u64::from(self.region != NONE);
        [
            join(one, other),
            self.first | rights << 56 | u64::from(self.looking) << 60,
            self.end,
            self.cursor | ours << 60,
        ]
    }

    /// The change that these words are.
    pub fn from_words(words: [u64; 4], memory: &Memory, space: &Space) -> Protect {
        let [spares, place, end, cursor] = words;
        let (one, other) = halves(spares);
        let rights = match place >> 56 & 3 {
            0 => PageRights::Read,
            1 => PageRights::ReadWrite,
            _ => PageRights::ReadExecute,
        };
        let mut protect = Protect {
            spares: [one, other],
            first: place & PAGE_NUMBER,
            end,
            cursor: cursor & PAGE_NUMBER,
            rights,
            looking: place >> 60 & 1 != 0,
            region: NONE,
        };
        if cursor >> 60 & 1 != 0 {
            protect.region = space.regions.find(&memory.regions, protect.cursor).unwrap_or(NONE);
        }
        protect
    }
}

/// Bits of a page number.
const PAGE_NUMBER: u64 = (1 << 36) - 1;

/// Whether a shared region may be written.
fn is_writable(memory: &Memory, region: &Region) -> bool {
    region.object().is_none_or(|object| memory.objects.at(object).is_writable())
}
