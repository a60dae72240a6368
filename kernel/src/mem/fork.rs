//! Copying an address space: pages of its own become copy-on-write on both sides, but for those that are pinned, which are
//! copied; shared memory and the boot image are shared, what is wired is left out. Pages of windows that nobody has touched
//! come with their first use on both sides.
//!
//! Nobody knows the copy before it is complete, so its regions simply grow with its pages, and giving up
//! halfway means to end it.
#![forbid(unsafe_code)]

use super::frames::{Memory, Use};
use super::region::{Kind, Region};
use super::space::{Found, Space};
use super::{Run, halves, join};
use crate::arch::UserPtr;
use crate::base::NONE;
use crate::base::budget::Budget;
use ring_abi::Errno;
use rmm::{FRAME_SIZE, Leaf, Tenure};

/// What copying a page is reckoned to cost, what giving one to both is, and what each page table of such pages costs beside.
const COPY: u32 = 1_000;
const LEND: u32 = 75;
const TABLE: u32 = 800;
/// What passing a region is reckoned to cost.
const REGION: u32 = 300;

/// A copy on its way.
#[derive(Clone, Copy, Debug)]
pub struct Fork {
    /// The space that is copied.
    pub parent: u32,
    /// The copy.
    pub child: u32,
    /// The copy's last region, or `NONE`.
    last: u32,
    cursor: u64,
}

impl Fork {
    /// Makes an empty copy, held once. The parent must stay held meanwhile.
    pub fn start(memory: &Memory, parent: u32) -> Result<Fork, Errno> {
        let child = memory.create_space()?;
        memory.space(child).inherit(memory.space(parent));
        Ok(Fork { parent, child, last: NONE, cursor: 0 })
    }

    /// Goes on. After an error the copy is to be let go.
    pub fn run(&mut self, memory: &Memory, budget: &Budget) -> Run {
        let parent = memory.space(self.parent);
        while let Some(id) = parent.regions.first_from(&memory.regions, self.cursor) {
            let region = memory.regions.at(id);
            if region.busy.get() || !budget.spend(REGION) {
                return Run::More;
            }
            if region.kind.get() != Kind::Wired {
                self.cursor = self.cursor.max(region.body());
                match self.copy_region(memory, region, budget) {
                    Ok(true) => {}
                    Ok(false) => return Run::More,
                    Err(error) => return Run::Done(Err(error)),
                }
            }
            self.cursor = region.end();
        }
        Run::Done(Ok(u64::from(self.child)))
    }

    /// Copies pages of a region from the cursor on; `false` if the budget ran out.
    fn copy_region(&mut self, memory: &Memory, region: &Region, budget: &Budget) -> Result<bool, Errno> {
        let next = if region.kind.get() == Kind::Private && !memory.may_share() {
            self.copy_pages(memory, region.end(), budget)?
        } else {
            self.lend_pages(memory, region.end(), budget)?
        };
        if next == self.cursor {
            return Ok(false);
        }
        self.extend(memory, region, next)?;
        self.cursor = next;
        Ok(next == region.end())
    }

    /// Copies the pages from the cursor up to `end` that are there, as far as the budget goes: up to which one.
    fn copy_pages(&self, memory: &Memory, end: u64, budget: &Budget) -> Result<u64, Errno> {
        let (parent, child) = (memory.space(self.parent), memory.space(self.child));
        parent.each_mapped(memory, (self.cursor, end), (budget, COPY), |page, leaf| {
            let leaf = match leaf.tenure {
                // Nobody has written it, and whoever may write it has a page of his own.
                Tenure::CopyOnWrite => share(memory, leaf)?,
                _ => copy(memory, child, leaf)?,
            };
            child.add_page(memory, page.number(), leaf)
        })
    }

    /// Gives the same pages to both, but for those that are held.
    fn lend_pages(&self, memory: &Memory, end: u64, budget: &Budget) -> Result<u64, Errno> {
        let (parent, child) = (memory.space(self.parent), memory.space(self.child));
        let mut at = self.cursor;
        while at < end {
            match parent.first_mapped(memory, (at, end), budget) {
                Found::Page(page, _) => at = page.number(),
                Found::None => return Ok(end),
                Found::Paused(page) => return Ok(page),
            }
            if !budget.has(TABLE) {
                return Ok(at);
            }
            budget.spend(TABLE);
            let (next, held) = parent.lend(memory, child, (at, end), (budget, LEND))?;
            if let Some((page, leaf)) = held {
                if !budget.spend(COPY) {
                    return Ok(page);
                }
                child.add_page(memory, page, copy(memory, child, leaf)?)?;
            }
            at = next;
        }
        Ok(at)
    }

    /// Makes the pages from the cursor up to `next` part of the copy's last region, or of a new one.
    fn extend(&mut self, memory: &Memory, region: &Region, next: u64) -> Result<(), Errno> {
        let child = memory.space(self.child);
        if let Some(last) = memory.regions.get(self.last)
            && last.end() == self.cursor
            && self.cursor > region.body()
            && (last.rights.get(), last.kind.get()) == (region.rights.get(), region.kind.get())
            && last.object.get() == region.object.get()
        {
            child.regions.resize(&memory.regions, self.last, last.first(), next);
            return Ok(());
        }
        let id = memory.regions.take(memory)?;
        let guard = region.has_guard() && self.cursor == region.body();
        let first = self.cursor.wrapping_sub(u64::from(guard));
        let copy = memory.regions.at(id);
        copy.open(first, next, guard);
        copy.resemble(region);
        copy.offset.set(region.offset.get().wrapping_add(first.wrapping_sub(region.first()) as u32));
        memory.hold_object(region);
        child.insert(memory, id);
        self.last = id;
        Ok(())
    }

    /// As words, while it waits for its next slice.
    pub fn to_words(self) -> [u64; 4] {
        [join(self.parent, self.child), join(self.last, 0), self.cursor, 0]
    }

    /// The copy that these words are.
    pub fn from_words(words: [u64; 4]) -> Fork {
        let [spaces, last, cursor, _] = words;
        let (parent, child) = halves(spaces);
        Fork { parent, child, last: halves(last).0, cursor }
    }
}

/// The same frame for the child.
fn share(memory: &Memory, leaf: Leaf) -> Result<Leaf, Errno> {
    memory.frames.share(leaf.frame).map(|()| leaf).map_err(|_| Errno::NOMEM)
}

/// A copy for the child.
fn copy(memory: &Memory, child: &Space, leaf: Leaf) -> Result<Leaf, Errno> {
    if memory.is_refused(child.pages.get()) {
        return Err(Errno::NOMEM);
    }
    let frame = memory.take_user(Use::Program)?;
    memory.machine.copy(UserPtr::new(frame, 0), UserPtr::new(leaf.frame, 0), FRAME_SIZE as usize);
    Ok(Leaf { frame, ..leaf })
}
