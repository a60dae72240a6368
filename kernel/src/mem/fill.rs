//! Mapping anonymous memory, and what windows show.
//!
//! Everything that can fail is done by [`Fill::start`]: records are taken, and frames are reserved if pages are to be there at
//! once. From then on the region belongs to this change (it is `busy`). If it is to replace what is there, it grows over it
//! bit by bit, so no page of the range is ever free in between.
//!
//! Pages of a program's own memory and of windows come with their first use; a mapping of them is done when its region is in.
//! Pages of shared memory, and those that are asked for at once, are mapped one by one.
#![forbid(unsafe_code)]

use super::frames::{Memory, Use};
use super::region::Kind;
use super::space::{END, Space};
use super::user::Access;
use super::{Run, halves, join};
use crate::base::NONE;
use crate::base::budget::{Budget, PAGE};
use crate::bug;
use ring_abi::Errno;
use rmm::{Leaf, Page, PageRange, PageRights, Tenure};

/// Greatest number of pages of a region.
const MOST_PAGES: u32 = u32::MAX - 1;
/// What taking a page out is reckoned to cost.
const UNDO: u32 = 400;
/// What looking at a region is reckoned to cost.
const LOOK: u32 = 100;

/// Where a mapping goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// Anywhere; with a guard page below if asked.
    Anywhere {
        /// The page below stays empty.
        guard: bool,
    },
    /// At this page if nothing is there, otherwise anywhere.
    Near {
        /// The page.
        first: u64,
        /// The page below stays empty, or that below the place that is taken instead.
        guard: bool,
    },
    /// At this page, if nothing is there.
    Free(u64),
    /// At this page, instead of what is there.
    Replacing(u64),
}

impl Where {
    /// Whether a free place is looked for, which nobody depends on.
    const fn is_open(self) -> bool {
        matches!(self, Where::Anywhere { .. } | Where::Near { .. })
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Where.
    pub at: Where,
    /// How many pages.
    pub pages: u64,
    /// What the program may do.
    pub rights: PageRights,
    /// Whether a fork shares it.
    pub shared: bool,
    /// What it shows, held by the caller too; or `NONE` if it is anonymous memory.
    pub object: u32,
    /// Whether its pages are to be there at once.
    pub populated: bool,
}

impl Wanted {
    /// Whether pages are mapped before anybody touches them.
    const fn fills(&self) -> bool {
        self.shared && self.object == NONE || self.populated
    }

    /// Whether frames are set aside for all of them.
    const fn reserves(&self) -> bool {
        self.fills() && self.object == NONE
    }
}

/// How far a mapping is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It looks whether it may replace what is there, up to the cursor.
    Looking = 0,
    /// Its region has its final extent, and it maps pages.
    Filling = 1,
    /// It lengthens its region, over what is there.
    Replacing = 2,
    /// It takes out what is in its region, from the first page on.
    Undoing = 3,
}

/// A mapping on its way.
#[derive(Clone, Copy, Debug)]
pub struct Fill {
    /// Its region; in the space from the first page on, or from the start if nothing is replaced.
    region: u32,
    /// A record in case something is cut in two.
    spare: u32,
    /// First page of memory.
    first: u64,
    /// Next page.
    cursor: u64,
    /// The page after the last.
    end: u64,
    /// Frames that are still reserved.
    reserved: u32,
    phase: Phase,
    /// Whether pages are mapped before anybody touches them.
    fills: bool,
}

impl Fill {
    /// Checks and takes everything that the mapping needs. An error leaves all as it was.
    pub fn start(memory: &Memory, space: &Space, wanted: &Wanted) -> Result<Fill, Errno> {
        if wanted.pages == 0 {
            return Err(Errno::INVAL);
        }
        let most = if wanted.reserves() { memory.available_to_many() } else { MOST_PAGES };
        if wanted.pages > u64::from(most) {
            return Err(Errno::NOMEM);
        }
        let (first, guard) = find(memory, space, wanted)?;
        let end = first.wrapping_add(wanted.pages);
        // Where it may lie anywhere, a free place was looked for.
        let is_free = wanted.at.is_open() || space.regions.is_free(&memory.regions, first, end);
        if matches!(wanted.at, Where::Free(_)) && !is_free {
            return Err(Errno::EXIST);
        }
        let range =
            Page::new(first).and_then(|page| PageRange::new(page, wanted.pages)).ok_or(Errno::INVAL)?;
        let reserved =
            if wanted.reserves() { (wanted.pages as u32).saturating_add(range.tables_needed()) } else { 0 };
        let region = take_region(memory, wanted, first.wrapping_sub(u64::from(guard)), end, guard)?;
        let mut fill = Fill {
            region,
            spare: NONE,
            first,
            cursor: first,
            end,
            reserved: 0,
            phase: Phase::Filling,
            fills: wanted.fills(),
        };
        if let Err(error) = fill.take_rest(memory, reserved, !is_free) {
            fill.drop_region(memory);
            return Err(error);
        }

        if !wanted.at.is_open() {
            space.chosen(end);
        }
        if is_free {
            memory.regions.at(region).busy.set(true);
            space.insert(memory, region);
        }
        Ok(fill)
    }

    fn take_rest(&mut self, memory: &Memory, reserved: u32, replaces: bool) -> Result<(), Errno> {
        if reserved > 0 {
            memory.reserve(reserved)?;
        }
        if replaces {
            match memory.regions.take(memory) {
                Ok(spare) => self.spare = spare,
                Err(error) => {
                    memory.unreserve(reserved);
                    return Err(error);
                }
            }
            self.phase = Phase::Looking;
        }
        self.reserved = reserved;
        Ok(())
    }

    /// Goes on. The result is the address of the first page.
    pub fn run(&mut self, memory: &Memory, space: &Space, budget: &Budget) -> Run {
        if self.phase == Phase::Undoing {
            return self.undo(memory, space, budget);
        }
        if self.phase == Phase::Looking {
            match self.look(memory, space, budget) {
                Run::Done(Ok(_)) => {
                    self.phase = Phase::Replacing;
                    self.cursor = self.first;
                }
                Run::Done(Err(error)) => return self.refuse(memory, error),
                Run::More => return Run::More,
            }
        }
        if self.phase == Phase::Replacing {
            match self.replace(memory, space, budget) {
                Run::Done(Ok(_)) => {
                    self.phase = Phase::Filling;
                    self.cursor = self.first;
                }
                Run::Done(Err(_)) => {
                    self.abandon();
                    return self.undo(memory, space, budget);
                }
                Run::More => return Run::More,
            }
        }
        while self.fills && self.cursor < self.end {
            if !budget.spend(PAGE) {
                return Run::More;
            }
            self.map_next(memory, space);
        }
        self.finish(memory, space);
        Run::Done(Ok(self.first.wrapping_mul(super::space::PAGE_BYTES)))
    }

    /// The asker is gone: from now on what was mapped is taken out again. What was replaced stays gone.
    pub fn abandon(&mut self) {
        self.cursor = self.first;
        self.phase = Phase::Undoing;
    }

    fn undo(&mut self, memory: &Memory, space: &Space, budget: &Budget) -> Run {
        // A region that is in is busy as long as it is ours.
        let region = memory.regions.at(self.region);
        if !region.busy.get() {
            return self.refuse(memory, Errno::ACCES);
        }
        loop {
            let (from, end) = (region.body(), region.end());
            let to = space.unmap_pages(memory, (from, end), (budget, UNDO));
            if to == end {
                break;
            }
            if to == from {
                return Run::More;
            }
            // Nobody touches what is no part of it any more.
            space.regions.resize(&memory.regions, self.region, to, end);
        }
        space.remove(memory, self.region);
        self.give_rest(memory);
        Run::Done(Err(Errno::ACCES))
    }

    /// Looks for what cannot be replaced, before anything is changed.
    fn look(&mut self, memory: &Memory, space: &Space, budget: &Budget) -> Run {
        while self.cursor < self.end
            && let Some(id) = space.regions.first_from(&memory.regions, self.cursor)
        {
            let region = memory.regions.at(id);
            if region.first() >= self.end {
                break;
            }
            if region.kind.get() == Kind::Wired {
                return Run::Done(Err(Errno::ACCES));
            }
            if region.busy.get() || !budget.spend(LOOK) {
                return Run::More;
            }
            self.cursor = region.end().min(self.end);
        }
        Run::Done(Ok(0))
    }

    /// Lengthens our region from the cursor to the end, over what is there.
    fn replace(&mut self, memory: &Memory, space: &Space, budget: &Budget) -> Run {
        while self.cursor < self.end {
            if !budget.spend(LOOK) {
                return Run::More;
            }
            let to = match space.regions.first_from(&memory.regions, self.cursor) {
                Some(id) if memory.regions.at(id).first() <= self.cursor => {
                    match self.make_way(memory, space, id, budget) {
                        Run::Done(Ok(to)) => to,
                        other => return other,
                    }
                }
                next => next.map_or(self.end, |id| memory.regions.at(id).first().min(self.end)),
            };
            self.lengthen(memory, space, to);
        }
        Run::Done(Ok(0))
    }

    /// Takes pages from the cursor on out of the region that has them: up to which one.
    fn make_way(&mut self, memory: &Memory, space: &Space, id: u32, budget: &Budget) -> Run {
        let region = memory.regions.at(id);
        if region.kind.get() == Kind::Wired {
            // Somebody put a ring or an arena there since this change looked.
            return Run::Done(Err(Errno::ACCES));
        }
        if region.busy.get() {
            return Run::More;
        }
        if self.spare == NONE {
            // Only if somebody maps into the range meanwhile.
            match memory.regions.take(memory) {
                Ok(spare) => self.spare = spare,
                Err(_) => return Run::More,
            }
        }
        let end = region.end().min(self.end);
        let to = space.unmap_pages(memory, (self.cursor, end), (budget, UNDO));
        if to == self.cursor {
            return Run::More;
        }
        space.cut(memory, id, self.cursor, to, &mut self.spare);
        Run::Done(Ok(to))
    }

    /// Makes the free pages from the cursor up to `to` part of our region.
    fn lengthen(&mut self, memory: &Memory, space: &Space, to: u64) {
        if self.cursor == self.first {
            let region = memory.regions.at(self.region);
            let object = region.object.get();
            region.open(self.first, to, false);
            region.object.set(object);
            region.busy.set(true);
            space.insert(memory, self.region);
        } else {
            space.regions.resize(&memory.regions, self.region, self.first, to);
        }
        self.cursor = to;
    }

    /// Maps the next page, unless somebody has touched it meanwhile.
    fn map_next(&mut self, memory: &Memory, space: &Space) {
        let Some(page) = Page::new(self.cursor) else { bug!("a page above the lower half") };
        self.cursor = self.cursor.wrapping_add(1);
        if space.leaf(memory, page.number()).is_some() {
            return;
        }
        let region = memory.regions.at(self.region);
        if region.object().is_some_and(|object| memory.objects.at(object).is_window()) {
            // What is out of reach now may be there when it is touched.
            let _ = space.touch(memory, page, Access::Read, false);
            return;
        }
        let frame = memory.take_reserved(Use::Program);
        memory.zero(frame);
        let missing = space.tables_missing(memory, page);
        let stock = memory.take_reserved_tables(missing);
        let tenure = if region.kind.get() == Kind::Shared { Tenure::Shared } else { Tenure::Private };
        space.map_page(memory, page, Leaf { frame, rights: region.rights.get(), tenure }, &stock);
        memory.stocked(&stock);
        self.reserved = self.reserved.wrapping_sub(missing).wrapping_sub(1);
    }

    fn finish(&mut self, memory: &Memory, space: &Space) {
        self.give_rest(memory);
        memory.regions.at(self.region).busy.set(false);
        space.merge(memory, self.region);
    }

    /// Gives everything back before anything was changed.
    fn refuse(&mut self, memory: &Memory, error: Errno) -> Run {
        self.give_rest(memory);
        self.drop_region(memory);
        Run::Done(Err(error))
    }

    fn give_rest(&mut self, memory: &Memory) {
        memory.unreserve(core::mem::take(&mut self.reserved));
        if self.spare != NONE {
            memory.regions.give(core::mem::replace(&mut self.spare, NONE));
        }
    }

    /// Gives the record of a region back that is not in.
    fn drop_region(&self, memory: &Memory) {
        let region = memory.regions.at(self.region);
        let object = region.object();
        memory.regions.give(self.region);
        if let Some(object) = object {
            memory.let_go_object(object);
        }
    }
}

/// Whether so many pages from `first` on may be mapped and are free, with a guard page below if asked.
fn is_vacant(memory: &Memory, space: &Space, first: u64, (pages, guard): (u64, bool)) -> bool {
    let Some(low) = first.checked_sub(u64::from(guard)) else { return false };
    let end = first.saturating_add(pages);
    space.allows(low, end) && space.regions.is_free(&memory.regions, low, end)
}

/// Finds the first page of memory, and whether a guard page lies before it.
fn find(memory: &Memory, space: &Space, wanted: &Wanted) -> Result<(u64, bool), Errno> {
    match wanted.at {
        Where::Near { first, guard } if is_vacant(memory, space, first, (wanted.pages, guard)) => {
            Ok((first, guard))
        }
        Where::Anywhere { guard } | Where::Near { guard, .. } => {
            let empty = u64::from(guard);
            let first = space.vacant(memory, wanted.pages.wrapping_add(empty))?;
            Ok((first.wrapping_add(empty), guard))
        }
        Where::Free(first) | Where::Replacing(first) => {
            let end = first.checked_add(wanted.pages).filter(|end| *end <= END).ok_or(Errno::NOMEM)?;
            if space.allows(first, end) { Ok((first, false)) } else { Err(Errno::INVAL) }
        }
    }
}

fn take_region(memory: &Memory, wanted: &Wanted, first: u64, end: u64, guard: bool) -> Result<u32, Errno> {
    let id = memory.regions.take(memory)?;
    let region = memory.regions.at(id);
    region.open(first, end, guard);
    region.rights.set(wanted.rights);
    region.kind.set(if wanted.shared { Kind::Shared } else { Kind::Private });
    region.object.set(wanted.object);
    memory.hold_object(region);
    if wanted.shared && wanted.object == NONE {
        match memory.create_shared() {
            Ok(object) => region.object.set(object),
            Err(error) => {
                memory.regions.give(id);
                return Err(error);
            }
        }
    }
    Ok(id)
}

/// As words, while it waits for its next slice.
impl Fill {
    /// The words.
    pub fn to_words(self) -> [u64; 4] {
        // The cursor is at most the end, and both lie above the first page by less than 2^32.
        let done = self.cursor.wrapping_sub(self.first);
        let pages = self.end.wrapping_sub(self.first);
        [
            join(self.region, self.spare),
            self.first | (self.phase as u64) << 56 | u64::from(self.fills) << 60,
            join(done as u32, pages as u32),
            u64::from(self.reserved),
        ]
    }

    /// The mapping that these words are.
    pub fn from_words(words: [u64; 4]) -> Fill {
        let [records, place, extent, reserved] = words;
        let (region, spare) = halves(records);
        let (done, pages) = halves(extent);
        let first = place << 8 >> 8;
        let phase = match place >> 56 & 3 {
            0 => Phase::Looking,
            1 => Phase::Filling,
            2 => Phase::Replacing,
            _ => Phase::Undoing,
        };
        Fill {
            region,
            spare,
            first,
            cursor: first.wrapping_add(u64::from(done)),
            end: first.wrapping_add(u64::from(pages)),
            reserved: reserved as u32,
            phase,
            fills: place >> 60 & 1 != 0,
        }
    }
}
