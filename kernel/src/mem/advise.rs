//! What a program says of memory that it has: it needs the contents of pages no more, or is about to use them.
//!
//! First it looks whether all pages are mapped; then it does what is said, region by region. Of pages that are not the space's
//! own nothing can be given up.
#![forbid(unsafe_code)]

use super::Run;
use super::frames::Memory;
use super::region::{Kind, Region};
use super::space::Space;
use super::user::Access;
use crate::base::budget::{Budget, PAGE};
use ring_abi::Errno;
use rmm::{Page, PageRights};

/// What looking at a region is reckoned to cost, and what giving a page up is.
const LOOK: u32 = 100;
const GIVE: u32 = 400;

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// The pages will be used.
    WillNeed = 0,
    /// Their contents are not needed any more: from now on they are zero, or what their window shows.
    DontNeed = 1,
}

/// An advice that is being taken.
#[derive(Clone, Copy, Debug)]
pub struct Advise {
    advice: Advice,
    first: u64,
    end: u64,
    cursor: u64,
    looking: bool,
}

impl Advise {
    /// About the pages from `first` up to `end`.
    pub fn start(space: &Space, (first, end): (u64, u64), advice: Advice) -> Result<Advise, Errno> {
        if !space.allows(first, end) {
            return Err(Errno::INVAL);
        }
        Ok(Advise { advice, first, end, cursor: first, looking: true })
    }

    /// Goes on.
    pub fn run(&mut self, memory: &Memory, space: &Space, budget: &Budget) -> Run {
        while self.cursor < self.end {
            if !budget.spend(LOOK) {
                return Run::More;
            }
            let found = space.regions.find(&memory.regions, self.cursor).map(|id| memory.regions.at(id));
            let Some(region) = found.filter(|region| self.cursor >= region.body()) else {
                return Run::Done(Err(Errno::NOMEM));
            };
            let end = region.end().min(self.end);
            match region.kind.get() {
                Kind::Wired => return Run::Done(Err(Errno::ACCES)),
                Kind::Private | Kind::Shared if !self.looking => {
                    if region.busy.get() {
                        return Run::More;
                    }
                    let to = self.take(memory, space, (end, region), budget);
                    if to == self.cursor {
                        return Run::More;
                    }
                    self.cursor = to;
                }
                _ => self.cursor = end,
            }
            if self.looking && self.cursor >= self.end {
                self.looking = false;
                self.cursor = self.first;
            }
        }
        Run::Done(Ok(0))
    }

    /// Takes the advice for pages of one region, from the cursor up to `end`: up to which one.
    fn take(&self, memory: &Memory, space: &Space, (end, region): (u64, &Region), budget: &Budget) -> u64 {
        let (is_shared, access) = (region.kind.get() == Kind::Shared, use_of(region));
        if self.advice == Advice::DontNeed && is_shared {
            return end;
        }
        if self.advice == Advice::DontNeed {
            return space.unmap_pages(memory, (self.cursor, end), (budget, GIVE));
        }
        let mut at = self.cursor;
        while at < end && budget.spend(PAGE) {
            // It is an advice: what there is no memory for comes with its use, or not.
            let made = Page::new(at).map(|page| space.touch(memory, page, access, false));
            at = if matches!(made, Some(Ok(_))) { at.wrapping_add(1) } else { end };
        }
        at
    }

    /// As words, while it waits for its next slice.
    pub fn to_words(self) -> [u64; 4] {
        [self.first, self.end, self.cursor, self.advice as u64 | u64::from(self.looking) << 8]
    }

    /// The advice that these words are.
    pub fn from_words([first, end, cursor, state]: [u64; 4]) -> Advise {
        let advice = if state & 1 == 0 { Advice::WillNeed } else { Advice::DontNeed };
        Advise { advice, first, end, cursor, looking: state >> 8 != 0 }
    }
}

/// How pages of a region are made ready: those of anonymous memory that can be written get frames of their own.
fn use_of(region: &Region) -> Access {
    match (region.rights.get(), region.object()) {
        (PageRights::ReadWrite, None) => Access::Write,
        _ => Access::Read,
    }
}
