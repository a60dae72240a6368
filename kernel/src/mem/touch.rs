//! What a page becomes when it is touched.
//!
//! A page of a program's own memory is there from its first use on: read first, it is the one page of zeros; written, a
//! frame of its own. One whose frame others may have too is copied when it is written, but for the last who has it.
//!
//! A touch looks, sets frames aside, then changes something: so one that fails has changed nothing, and of several pages
//! all are ready or none is changed.
#![forbid(unsafe_code)]

use super::frames::{Memory, Use};
use super::region::{Kind, Region};
use super::space::{PAGE_BYTES, Space};
use super::user::Access;
use crate::arch::UserPtr;
use crate::base::is_none;
use crate::bug;
use core::cell::Cell;
use ring_abi::Errno;
use rmm::{Leaf, Page, PageRights, TableStock, Tenure, UserFrame};

/// A frame of a window with more shares than this gets no more: one step adds fewer than what is left.
const MOST_SHARES: u32 = u32::MAX / 2;

/// Frames that are set aside for pages about to be touched. What is left of them comes back with it.
pub struct Purse<'m> {
    memory: &'m Memory,
    left: Cell<u32>,
}

impl<'m> Purse<'m> {
    /// Sets frames aside. All of them, or `ENOMEM`.
    pub fn new(memory: &'m Memory, frames: u32) -> Result<Purse<'m>, Errno> {
        if frames > 0 {
            memory.reserve(frames)?;
        }
        Ok(Purse { memory, left: Cell::new(frames) })
    }

    fn frame(&self) -> UserFrame {
        self.left.set(self.left.get().wrapping_sub(1));
        self.memory.take_reserved(Use::Program)
    }

    fn tables(&self, count: u32) -> TableStock<'m, 'static> {
        self.left.set(self.left.get().wrapping_sub(count));
        self.memory.take_reserved_tables(count)
    }
}

impl Drop for Purse<'_> {
    fn drop(&mut self) {
        self.memory.unreserve(self.left.get());
    }
}

/// What an access to a page takes.
#[derive(Clone, Copy)]
struct Plan {
    way: Way,
    /// The rights that the page has by its region.
    rights: PageRights,
    /// Page tables that are not there.
    tables: u32,
}

/// How a page gets what an access needs.
#[derive(Clone, Copy)]
enum Way {
    /// It has it.
    There(UserFrame),
    /// Its rights are about to be changed, and have not been yet.
    Adjust(UserFrame),
    /// It is the last that has its frame.
    Keep(UserFrame),
    /// It is mapped to the page of zeros.
    Zeros,
    /// It is mapped to this frame of a window, until it is written.
    Show(UserFrame),
    /// It is mapped to this frame of a window.
    Join(UserFrame),
    /// It gets a frame.
    Fresh,
    /// It gets a frame with what is in this one.
    Copy(UserFrame),
}

impl Access {
    /// Rights that a mapping must have for it.
    const fn needs(self) -> PageRights {
        match self {
            Access::Read | Access::Own => PageRights::Read,
            Access::Write => PageRights::ReadWrite,
            Access::Execute => PageRights::ReadExecute,
        }
    }

    /// Whether it writes.
    pub const fn writes(self) -> bool {
        matches!(self, Access::Write | Access::Own)
    }
}

/// Touching.
impl Space {
    /// Makes a page ready for an access: its frame. If it is about to be overwritten as a `whole`, what was in it is not kept.
    /// `EFAULT` if the program may not, `EACCES` if nobody may who is no program, `ENOMEM` if there is no frame.
    pub fn touch(
        &self,
        memory: &Memory,
        page: Page,
        access: Access,
        whole: bool,
    ) -> Result<UserFrame, Errno> {
        let plan = self.plan(memory, page, access)?;
        let purse = Purse::new(memory, self.cost(memory, plan)?)?;
        Ok(self.go(memory, page, plan, &purse, whole))
    }

    /// How many frames a touch can need. The errors are those of [`touch`](Self::touch).
    pub fn need(&self, memory: &Memory, page: Page, access: Access) -> Result<u32, Errno> {
        self.cost(memory, self.plan(memory, page, access)?)
    }

    /// The same out of what was set aside for it.
    pub fn touch_with(
        &self,
        purse: &Purse<'_>,
        page: Page,
        access: Access,
        whole: bool,
    ) -> Result<UserFrame, Errno> {
        let memory = purse.memory;
        self.plan(memory, page, access).map(|plan| self.go(memory, page, plan, purse, whole))
    }

    #[inline(always)]
    fn plan(&self, memory: &Memory, page: Page, access: Access) -> Result<Plan, Errno> {
        let id = self.regions.find(&memory.regions, page.number()).ok_or(Errno::FAULT)?;
        let region = memory.regions.at(id);
        let rights = region.rights.get();
        if page.number() < region.body() || !rights.covers(access.needs()) {
            return Err(Errno::FAULT);
        }
        let leaf = self.with_table(|table| table.leaf(&memory.machine, page));
        let way = match leaf {
            None => absent(memory, region, page, access)?,
            Some(_) if access == Access::Own && !is_of_programs(region) => return Err(Errno::ACCES),
            Some(leaf) if leaf.tenure == Tenure::CopyOnWrite && access.writes() => {
                match memory.frames.shares(leaf.frame) {
                    1 => Way::Keep(leaf.frame),
                    _ => Way::Copy(leaf.frame),
                }
            }
            Some(leaf) if leaf.rights.covers(access.needs()) => Way::There(leaf.frame),
            Some(leaf) => Way::Adjust(leaf.frame),
        };
        let tables = if leaf.is_none() { self.tables_missing(memory, page) } else { 0 };
        Ok(Plan { way, rights, tables })
    }

    /// How many frames that can need. `ENOMEM` if the space has too many to get more now.
    #[inline(always)]
    fn cost(&self, memory: &Memory, plan: Plan) -> Result<u32, Errno> {
        match plan.way {
            Way::There(_) | Way::Adjust(_) | Way::Keep(_) => Ok(0),
            _ if memory.is_refused(self.pages.get()) => Err(Errno::NOMEM),
            Way::Copy(_) | Way::Zeros | Way::Show(_) | Way::Join(_) | Way::Fresh => {
                Ok(plan.tables.wrapping_add(1))
            }
        }
    }

    #[inline(always)]
    fn go(
        &self,
        memory: &Memory,
        page: Page,
        Plan { way, rights, tables }: Plan,
        purse: &Purse<'_>,
        whole: bool,
    ) -> UserFrame {
        let (frame, tenure) = match way {
            Way::There(frame) => return frame,
            Way::Adjust(frame) => {
                self.protect_page(memory, page, rights);
                return frame;
            }
            Way::Keep(frame) => {
                self.hold_page(memory, page, Tenure::Private, rights);
                return frame;
            }
            Way::Zeros => match memory.zeros() {
                Some(zeros) => (zeros, Tenure::CopyOnWrite),
                None => (fresh(purse, false), Tenure::Private),
            },
            Way::Fresh => (fresh(purse, whole), Tenure::Private),
            Way::Show(frame) => (shared(memory, frame), Tenure::CopyOnWrite),
            Way::Join(frame) => (shared(memory, frame), Tenure::Shared),
            Way::Copy(from) if whole || memory.is_zeros(from) => (fresh(purse, whole), Tenure::Private),
            Way::Copy(from) => {
                let frame = purse.frame();
                memory.machine.copy(UserPtr::new(frame, 0), UserPtr::new(from, 0), PAGE_BYTES as usize);
                (frame, Tenure::Private)
            }
        };
        let stock = purse.tables(tables);
        self.map_page(memory, page, Leaf { frame, rights, tenure }, &stock);
        memory.stocked(&stock);
        frame
    }
}

/// A share of a frame of a window, which has room for more.
fn shared(memory: &Memory, frame: UserFrame) -> UserFrame {
    match memory.frames.share(frame) {
        Ok(()) => frame,
        Err(misuse) => bug!("sharing a frame: {misuse:?}"),
    }
}

fn fresh(purse: &Purse<'_>, whole: bool) -> UserFrame {
    let frame = purse.frame();
    if !whole {
        purse.memory.zero(frame);
    }
    frame
}

/// What an access to a page takes that is not mapped.
fn absent(memory: &Memory, region: &Region, page: Page, access: Access) -> Result<Way, Errno> {
    match region.kind.get() {
        Kind::Private if is_none(region.object.get()) => {
            Ok(if access.writes() { Way::Fresh } else { Way::Zeros })
        }
        Kind::Private | Kind::Shared => from_object(memory, region, page, access),
        Kind::Wired | Kind::Image => Err(Errno::FAULT),
    }
}

/// The same for a page of an object.
///
/// With several processors a page that can be written is the space's own at once: while somebody still reads it nobody could
/// replace it.
#[cold]
fn from_object(memory: &Memory, region: &Region, page: Page, access: Access) -> Result<Way, Errno> {
    let frame = memory.page_of_object(region, page.number())?;
    let is_written = access.writes() || region.rights.get() == PageRights::ReadWrite && !memory.may_share();
    let way = match region.kind.get() {
        Kind::Shared => Way::Join,
        _ if is_written => return Ok(Way::Copy(frame)),
        _ => Way::Show,
    };
    if memory.frames.shares(frame) > MOST_SHARES { Err(Errno::NOMEM) } else { Ok(way(frame)) }
}

/// Whether it is programs that decide what is in a region.
fn is_of_programs(region: &Region) -> bool {
    matches!(region.kind.get(), Kind::Private | Kind::Shared)
}
