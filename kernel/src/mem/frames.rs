//! The machine and its frames: everything above takes its memory here.
//!
//! Every frame that is not free is counted under what it is for ([`Use`]), so that the sizes of all kinds
//! add up to the size of memory at any time ([`Memory::audit`]). A long change reserves its frames before
//! its first slice; what is reserved is not given to anybody else, so the change cannot fail halfway.
#![forbid(unsafe_code)]

use super::arena::Arena;
use super::object::Object;
use super::pin::{Page, Pin};
use super::region::Region;
use super::runs::Runs;
use super::shoot::Debts;
use super::space::Space;
use super::wired::Block;
use crate::arch::{FrameSource, Machine, Slab};
use crate::base::NONE;
use crate::base::budget::{Budget, STEP};
use crate::base::list::List;
use crate::bug;
use core::cell::{Cell, OnceCell};
use core::ops::Deref;
use ring_abi::Errno;
use rmm::{Discarded, Frame, FrameInfo, Frames, KernelFrame, KernelHalf, Misuse, Owner, Released};
use rmm::{Stale, TableStock, Unmapped, UserFrame, UserRun};

/// Greatest number of address spaces.
const MOST_SPACES: u32 = 1 << 16;
/// Greatest number of regions.
const MOST_REGIONS: u32 = 1 << 22;
/// Greatest number of objects.
const MOST_OBJECTS: u32 = 1 << 20;
/// Greatest number of wired blocks.
const MOST_BLOCKS: u32 = 1 << 20;

/// Greatest number of pins.
const MOST_PINS: u32 = 1 << 20;
/// Greatest number of pinned pages.
const MOST_PINNED: u32 = 1 << 22;

/// One in so many frames is not for spaces that have more than one in [`MANY`]: who takes all of the memory is refused before
/// others, who only touch what they have.
const LAST: u32 = 32;
const MANY: u32 = 8;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Use {
    /// Records of the kernel, and the page of zeros.
    Records = 0,
    /// Page tables of address spaces.
    Tables = 1,
    /// Anonymous memory of programs.
    Program = 2,
    /// Rings.
    Rings = 3,
    /// Arenas of schemes.
    Arenas = 4,
    /// The boot image, where programs have it mapped in place.
    Image = 5,
}

impl Use {
    /// All of them, in order.
    pub const ALL: [Use; 6] = [Use::Records, Use::Tables, Use::Program, Use::Rings, Use::Arenas, Use::Image];

    const fn owner(self) -> Owner {
        Owner(self as u32)
    }
}

/// Frames, address spaces, and what is wired. As a machine with frames it is also [`rmm::Memory`].
pub struct Memory {
    core: rmm::Memory<'static, Machine>,
    /// Address spaces.
    pub spaces: Arena<Space>,
    /// What their addresses mean.
    pub regions: Arena<Region>,
    /// What regions can be parts of.
    pub objects: Arena<Object>,
    /// Memory that the kernel shares with programs.
    pub blocks: Arena<Block>,
    /// Memory of programs that the kernel holds on to.
    pub pins: Arena<Pin>,
    /// The pages of that, a row for each pin.
    pub pinned: Runs<Page>,
    /// Spaces that nobody uses any more.
    pub(super) dying_spaces: List,
    /// Large blocks that nobody uses any more.
    pub(super) dying_blocks: List,
    /// Objects that nobody maps any more, and that hold a file.
    pub(super) dying_objects: List,
    /// The page that the last touch was to ask for.
    pub(super) missing: Cell<(u32, u32)>,
    /// How many spaces there ever were.
    pub(super) lives: Cell<u64>,
    /// Which other processors have to forget translations.
    pub(super) debts: Debts,
    /// Pins of many pages that nobody uses any more.
    pub(super) dying_pins: List,
    /// What the running step may still do.
    pub budget: Budget,
    half: OnceCell<KernelHalf>,
    /// The one page of zeros, which is mapped where memory is read that was never written.
    zeros: UserFrame,
    used: [Cell<u32>; Use::ALL.len()],
    reserved: Cell<u32>,
    #[cfg(any(test, not(target_os = "none")))]
    fails_at: Cell<Option<u64>>,
}

impl Deref for Memory {
    type Target = rmm::Memory<'static, Machine>;

    #[inline(always)]
    fn deref(&self) -> &Self::Target {
        &self.core
    }
}

/// Making it.
impl Memory {
    /// Takes over the machine's memory: `usable` ranges of free frames (the first, and how many), and
    /// `infos`, one for each frame of the machine.
    pub fn new(
        machine: Machine,
        infos: &'static [FrameInfo],
        usable: impl IntoIterator<Item = (Frame, u32)>,
    ) -> Result<Memory, Misuse> {
        let frames = Frames::new(infos);
        for (first, count) in usable {
            frames.add_range(first, count)?;
        }
        if machine.cpus() > 1 {
            // Debtors are named from now on.
            frames.stop_cpu(0);
        }
        let zeros = frames.allocate_user(Use::Records.owner()).ok_or(Misuse::NotOurs)?;
        rmm::Machine::zero_frame(&machine, zeros.frame());
        let used = [const { Cell::new(0) }; Use::ALL.len()];
        used.iter().take(1).for_each(|records| records.set(1));
        Ok(Memory {
            spaces: Arena::on(&machine, MOST_SPACES),
            regions: Arena::on(&machine, MOST_REGIONS),
            objects: Arena::on(&machine, MOST_OBJECTS),
            blocks: Arena::on(&machine, MOST_BLOCKS),
            pins: Arena::on(&machine, MOST_PINS),
            pinned: Runs::on(&machine, MOST_PINNED),
            dying_spaces: List::new(),
            dying_blocks: List::new(),
            dying_objects: List::new(),
            missing: Cell::new((NONE, 0)),
            lives: Cell::new(0),
            debts: Debts::default(),
            dying_pins: List::new(),
            budget: Budget::of(STEP),
            half: OnceCell::new(),
            zeros,
            used,
            reserved: Cell::new(0),
            #[cfg(any(test, not(target_os = "none")))]
            fails_at: Cell::new(None),
            core: rmm::Memory::new(machine, frames),
        })
    }

    /// The kernel's half of every address space.
    pub(super) fn kernel_half(&self) -> &KernelHalf {
        self.half.get_or_init(|| match KernelHalf::new(self.core.machine.kernel_entries()) {
            Some(half) => half,
            None => bug!("a kernel half that no space can share"),
        })
    }
}

/// Looking.
impl Memory {
    /// A number that moves whenever a mapping is taken away or loses rights. What was found out about a
    /// program's pages is good while it stays.
    #[inline(always)]
    pub fn mappings(&self) -> u64 {
        self.frames.translation_changes()
    }

    /// The address space under an index that the kernel holds.
    #[inline(always)]
    pub fn space(&self, id: u32) -> &Space {
        self.spaces.at(id)
    }

    /// Frames that are used for something.
    pub fn used(&self, what: Use) -> u32 {
        self.count(what.owner()).map_or(0, Cell::get)
    }

    /// Frames that anybody can have now.
    pub fn available(&self) -> u32 {
        self.frames.free_count().saturating_sub(self.reserved.get())
    }

    /// Frames that anybody can have who wants many at once, or has many.
    pub(super) fn available_to_many(&self) -> u32 {
        self.available().saturating_sub(self.total() / LAST)
    }

    /// Whether a space with so many pages is refused another one: it has many, and the last frames are for those who have
    /// few.
    #[inline]
    pub(super) fn is_refused(&self, pages: u32) -> bool {
        pages > self.total() / MANY && self.available_to_many() == 0
    }

    /// Frames that are neither used nor on their way back.
    pub fn free(&self) -> u32 {
        self.frames.free_count()
    }

    /// All frames.
    pub fn total(&self) -> u32 {
        self.frames.total()
    }

    /// Checks that every frame is free, waits for a flush, or is counted under its use. Says what it found
    /// otherwise.
    pub fn audit(&self) -> Result<(), &'static str> {
        let used = self.used.iter().map(|count| u64::from(count.get())).sum::<u64>();
        let others = u64::from(self.frames.free_count()).saturating_add(u64::from(self.frames.stale_count()));
        if used.saturating_add(others) != u64::from(self.total()) {
            return Err("the frames do not add up");
        }
        if self.reserved.get() > self.frames.free_count() {
            return Err("more frames are reserved than are free");
        }
        Ok(())
    }

    fn count(&self, owner: Owner) -> Option<&Cell<u32>> {
        self.used.get(owner.0 as usize)
    }
}

/// Taking.
impl Memory {
    /// Sets frames aside for a change that must not fail later. All of them, or `ENOMEM`.
    pub fn reserve(&self, count: u32) -> Result<(), Errno> {
        if !self.may_take(count) {
            return Err(Errno::NOMEM);
        }
        self.reserved.set(self.reserved.get().wrapping_add(count));
        Ok(())
    }

    /// Gives up what is left of a reservation.
    pub fn unreserve(&self, count: u32) {
        self.reserved.set(self.reserved.get().wrapping_sub(count));
    }

    /// A frame for programs with one share; its bytes are what they were.
    pub fn take_user(&self, what: Use) -> Result<UserFrame, Errno> {
        if self.may_take(1) { self.take_user_now(what) } else { Err(Errno::NOMEM) }
    }

    /// Fills a frame with zeros.
    pub(super) fn zero(&self, frame: UserFrame) {
        rmm::Machine::zero_frame(&self.machine, frame.frame());
    }

    /// Whether several mappings that are written may have one frame until they are.
    ///
    /// With several processors they may not yet: whoever gets a frame of its own would have to wait until the others that run
    /// the space have forgotten the one before, or they would go on reading it.
    pub(super) fn may_share(&self) -> bool {
        self.machine.cpus() == 1
    }

    /// A share of the page of zeros. `None` if it is not to be had.
    pub(super) fn zeros(&self) -> Option<UserFrame> {
        if !self.may_share() {
            return None;
        }
        self.frames.share(self.zeros).ok().map(|()| self.zeros)
    }

    /// Whether it is that page.
    pub(super) fn is_zeros(&self, frame: UserFrame) -> bool {
        frame == self.zeros
    }

    /// A frame out of a reservation.
    pub(super) fn take_reserved(&self, what: Use) -> UserFrame {
        self.unreserve(1);
        match self.take_user_now(what) {
            Ok(frame) => frame,
            Err(_) => bug!("a reserved frame is not there"),
        }
    }

    fn take_user_now(&self, what: Use) -> Result<UserFrame, Errno> {
        let frame = self.frames.allocate_user(what.owner()).ok_or(Errno::NOMEM)?;
        self.add(what.owner(), 1);
        Ok(frame)
    }

    /// 2^order frames in a row for programs, with one share each.
    pub fn take_run(&self, order: u8, what: Use) -> Result<UserRun, Errno> {
        let count = 1_u32.checked_shl(u32::from(order)).ok_or(Errno::NOMEM)?;
        if !self.may_take(count) {
            return Err(Errno::NOMEM);
        }
        let run = self.frames.allocate_user_run(order, what.owner()).ok_or(Errno::NOMEM)?;
        self.add(what.owner(), count);
        Ok(run)
    }

    /// Page tables in stock. What is used of them is to be told with [`stocked`](Self::stocked).
    pub(super) fn take_tables(&self, count: u32) -> Result<TableStock<'_, 'static>, Errno> {
        if count > 0 && !self.may_take(count) {
            return Err(Errno::NOMEM);
        }
        self.frames.table_stock(Use::Tables.owner(), count).ok_or(Errno::NOMEM)
    }

    /// Page tables out of a reservation.
    pub(super) fn take_reserved_tables(&self, count: u32) -> TableStock<'_, 'static> {
        self.unreserve(count);
        match self.frames.table_stock(Use::Tables.owner(), count) {
            Some(stock) => stock,
            None => bug!("a reserved frame is not there"),
        }
    }

    /// Counts the tables that became part of a space.
    pub(super) fn stocked(&self, stock: &TableStock<'_, '_>) {
        self.add(Use::Tables.owner(), stock.used());
    }

    /// Makes a frame of the boot image one that programs can map.
    pub(super) fn adopt(&self, frame: Frame) -> Result<UserFrame, Misuse> {
        let frame = self.frames.adopt(frame, Use::Image.owner())?;
        self.add(Use::Image.owner(), 1);
        Ok(frame)
    }

    /// Adds records to a table.
    pub fn grow<T: Default>(&self, slab: &Slab<T>) -> Result<(), Errno> {
        let source = Source { memory: self, taken: [const { Cell::new(None) }; GROWTH] };
        slab.grow(&self.machine, &source).map_err(|_| Errno::NOMEM)
    }

    /// Whether that many frames are there for somebody without a reservation.
    fn may_take(&self, count: u32) -> bool {
        self.available() >= count && !self.fails_now()
    }

    fn add(&self, owner: Owner, count: u32) {
        if let Some(cell) = self.count(owner) {
            cell.set(cell.get().wrapping_add(count));
        }
    }
}

/// Giving back.
impl Memory {
    /// Gives a mapping of the space with this root back: flushes it, and counts what came free with it.
    pub(super) fn discard(&self, root: Frame, stale: Stale<Unmapped>) {
        let given = if self.machine.cpus() == 1 {
            self.core.discard(stale)
        } else {
            self.warn(root);
            self.core.discard_among(stale)
        };
        match given {
            Ok(Discarded { frame, tables }) => {
                frame.into_iter().for_each(|owner| self.remove(owner, 1));
                self.remove(Use::Tables.owner(), tables);
            }
            Err(misuse) => bug!("giving a mapping back: {misuse:?}"),
        }
    }

    /// Flushes a translation of the space with this root that was narrowed. Whoever promises that parks until the other
    /// processors have paid.
    pub(super) fn flush(&self, root: Frame, stale: Stale<()>) {
        self.warn(root);
        let _ = stale.flush(&self.core);
    }

    /// Gives a share of a frame up that no translation leads to.
    pub(super) fn release(&self, frame: UserFrame) {
        match self.frames.release(frame) {
            Ok(Released::Last(owner)) => self.remove(owner, 1),
            Ok(Released::Shared) => {}
            Err(misuse) => bug!("giving a frame back: {misuse:?}"),
        }
    }

    /// Counts one frame less for whoever had it.
    pub(super) fn credit(&self, owner: Owner) {
        self.remove(owner, 1);
    }

    /// Counts page tables that came back.
    pub(super) fn credit_tables(&self, tables: u32) {
        self.remove(Use::Tables.owner(), tables);
    }

    fn remove(&self, owner: Owner, count: u32) {
        if let Some(cell) = self.count(owner) {
            cell.set(cell.get().wrapping_sub(count));
        }
    }
}

/// Failing on purpose, for tests.
#[cfg(any(test, not(target_os = "none")))]
impl Memory {
    /// Lets `count` more allocations succeed and the one after them fail; those after that succeed again.
    pub fn fail_after(&self, count: Option<u64>) {
        self.fails_at.set(count);
    }

    /// Whether an allocation that was to fail is still to come.
    pub fn will_fail(&self) -> bool {
        self.fails_at.get().is_some()
    }

    fn fails_now(&self) -> bool {
        let left = self.fails_at.get();
        self.fails_at.set(left.and_then(|left| left.checked_sub(1)));
        left == Some(0)
    }

    /// Checks the counts against what the allocator knows about each frame. Slow.
    pub fn audit_owners(&self, frames: u32) -> Result<(), &'static str> {
        let mut found = [0_u32; Use::ALL.len()];
        for owner in (0..frames).filter_map(|number| self.frames.owner(Frame::new(number))) {
            let count = found.get_mut(owner.0 as usize).ok_or("a frame has an owner that is none")?;
            *count = count.wrapping_add(1);
        }
        if self.used.iter().map(Cell::get).ne(found) {
            return Err("a count differs from the frames' owners");
        }
        Ok(())
    }
}

#[cfg(all(not(test), target_os = "none"))]
impl Memory {
    #[inline(always)]
    fn fails_now(&self) -> bool {
        false
    }
}

/// Frames that one growth of a table can take: of a record, and page tables.
const GROWTH: usize = 8;

/// The frames of one growth, so that those that were not needed can be given back.
struct Source<'m> {
    memory: &'m Memory,
    taken: [Cell<Option<KernelFrame>>; GROWTH],
}

impl FrameSource for Source<'_> {
    fn take(&self) -> Option<Frame> {
        let place = self.taken.iter().find(|place| place.get().is_none())?;
        if !self.memory.may_take(1) {
            return None;
        }
        let frame = self.memory.frames.allocate(0, Use::Records.owner())?;
        self.memory.add(Use::Records.owner(), 1);
        place.set(Some(frame));
        Some(frame.frame())
    }

    fn give(&self, frame: Frame) {
        let is_it =
            |place: &&Cell<Option<KernelFrame>>| place.get().is_some_and(|taken| taken.frame() == frame);
        let Some(taken) = self.taken.iter().find(is_it).and_then(Cell::take) else {
            bug!("a frame comes back that was not taken");
        };
        match self.memory.frames.free(taken, 0, Use::Records.owner()) {
            Ok(()) => self.memory.remove(Use::Records.owner(), 1),
            Err(misuse) => bug!("giving a frame back: {misuse:?}"),
        }
    }
}
