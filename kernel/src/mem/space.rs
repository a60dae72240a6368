//! One address space: a page table and the regions that say what its pages are, changed together.
//!
//! Changes that a program asks for are values that run in slices: [`super::fill`] maps, [`super::clear`]
//! unmaps, [`super::protect`] changes rights, [`super::fork`] copies; [`super::ending`] takes spaces apart.
//! Between slices regions and page table agree, so whatever comes in between finds a space in order.
//!
//! Invariants:
//!
//! - a page is mapped only if it lies in the body of a region, and no program can do with it what the region does not allow,
//!   except in regions that are `busy`;
//! - a page of the program's own memory, or of a window ([`super::object`]), is mapped from its first use on
//!   ([`super::touch`]), all others always; one that is mapped copy-on-write, as the page of zeros is, is not written before it
//!   is the space's own;
//! - `refs` counts contexts, files, operations and wired blocks; at zero the space ends.
#![forbid(unsafe_code)]

use super::arena::Record;
use super::frames::Memory;
use super::region::{Kind, Regions};
use super::user::Access;
use crate::arch::UserPtr;
use crate::base::NONE;
use crate::base::budget::Budget;
use crate::base::list::{Link, List};
use crate::base::name::Named;
use crate::bug;
use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use ring_abi::Errno;
use ring_abi::boot::USER_END;
use ring_abi::context::End;
use rmm::{
    Frame, Leaf, Next, Page, PageRange, PageRights, PageTable, Protected, Teardown, Tenure, UserFrame,
};

/// Bytes of a page.
pub const PAGE_BYTES: u64 = rmm::FRAME_SIZE;
/// The page after the last one that a program may have.
pub const END: u64 = USER_END / PAGE_BYTES;
/// Pages below this are for the first space only, and page 0 for nobody.
const LOW: u64 = 0x1_0000 / PAGE_BYTES;
/// Where memory goes that may be anywhere, if no program image lies below.
const ANYWHERE: u64 = 0x1000_0000 / PAGE_BYTES;

/// Pages of a leaf table.
const LEAF_PAGES: u32 = 512;
const LEAF_PAGES_MASK: u64 = LEAF_PAGES as u64 - 1;
/// Entries of page tables that a search looks at in one go, what one is reckoned to cost, and all of them.
const STEPS: u32 = 64;
const STEP: u32 = 6;
const SEARCH: u32 = STEPS * STEP;

/// Bit of a futex key's object that says it is a shared object, not a space.
pub const SHARED_KEY: u32 = 1 << 31;

/// What a search for a page found.
pub(super) enum Found {
    /// This page, with what it has.
    Page(Page, Leaf),
    /// The budget ran out: go on from this page.
    Paused(u64),
    /// None is there.
    None,
}

/// The pages from `from` up to `to`.
fn pages(from: u64, to: u64) -> PageRange {
    match Page::new(from).and_then(|page| PageRange::new(page, to.wrapping_sub(from))) {
        Some(range) => range,
        None => bug!("pages above the lower half, or none"),
    }
}

/// A space's page table, whatever becomes of it.
#[derive(Debug, Default)]
pub(super) enum Table {
    /// The record is free.
    #[default]
    None,
    /// The space lives.
    Live(PageTable),
    /// It is being taken apart.
    Ending(Teardown),
}

/// An address space.
#[derive(Debug)]
pub struct Space {
    root: Cell<u32>,
    /// Which of all spaces it is.
    life: Cell<u64>,
    pub(super) table: RefCell<Table>,
    /// What its addresses mean.
    pub regions: Regions,
    /// The contexts that run in it.
    pub contexts: List,
    /// Contexts, files, operations and wired blocks that hold it.
    pub refs: Cell<u32>,
    /// Pages that are mapped.
    pub pages: Cell<u32>,
    /// Regions of shared objects.
    shared: Cell<u32>,
    /// Whether it is the first space, which may use low addresses.
    first: Cell<bool>,
    /// End of the program image: the highest page below [`ANYWHERE`] that was mapped by address, and one.
    image_end: Cell<u64>,
    handler: Cell<(u64, u64)>,
    /// Operations that change it in slices.
    changes: Cell<u32>,
    /// How its contexts end, while they are being ended in slices. None of them runs, and none is added.
    pub doom: Cell<Option<End>>,
    /// The next of them to end.
    pub next_doomed: Cell<u32>,
    /// How many of them are marked and run on other processors.
    pub awaited: Cell<u32>,
    /// What contexts that are made in it may use, if that is not everything; or `NONE`.
    pub bounds: Cell<u32>,
    /// Blocks of rings that have room for more.
    pub(super) ring_blocks: List,
    /// Place in the list of spaces whose contexts are being ended, later of those that end themselves; threads
    /// the free list.
    pub link: Link,
}

impl Default for Space {
    fn default() -> Self {
        Space {
            root: Cell::new(NONE),
            life: Cell::new(0),
            table: RefCell::default(),
            regions: Regions::default(),
            contexts: List::new(),
            refs: Cell::new(0),
            pages: Cell::new(0),
            shared: Cell::new(0),
            first: Cell::new(false),
            image_end: Cell::new(0),
            handler: Cell::new((0, 0)),
            changes: Cell::new(0),
            doom: Cell::new(None),
            next_doomed: Cell::new(NONE),
            awaited: Cell::new(0),
            bounds: Cell::new(NONE),
            ring_blocks: List::new(),
            link: Link::default(),
        }
    }
}

impl Named for Space {}

impl Record for Space {
    fn free_link(&self) -> &Cell<u32> {
        self.link.cell()
    }
}

/// Making spaces.
impl Memory {
    /// Makes an empty space, held once.
    pub fn create_space(&self) -> Result<u32, Errno> {
        let id = self.spaces.take(self)?;
        match self.new_table() {
            Ok(table) => {
                self.lives.set(self.lives.get().wrapping_add(1));
                self.spaces.at(id).open(table, self.lives.get());
                Ok(id)
            }
            Err(error) => {
                self.spaces.give(id);
                Err(error)
            }
        }
    }

    /// Makes the first space, which may map low addresses, held once.
    pub fn create_first_space(&self) -> Result<u32, Errno> {
        let id = self.create_space()?;
        self.spaces.at(id).first.set(true);
        Ok(id)
    }

    /// One more holder of a space.
    pub fn hold_space(&self, id: u32) {
        let refs = &self.spaces.at(id).refs;
        refs.set(refs.get().wrapping_add(1));
    }

    fn new_table(&self) -> Result<PageTable, Errno> {
        let stock = self.take_tables(1)?;
        let table = PageTable::new(self, self.kernel_half(), &stock).ok_or(Errno::NOMEM)?;
        self.stocked(&stock);
        Ok(table)
    }
}

/// Looking.
impl Space {
    fn open(&self, table: PageTable, life: u64) {
        self.life.set(life);
        self.root.set(table.root().frame().number());
        self.table.replace(Table::Live(table));
        self.refs.set(1);
        self.pages.set(0);
        self.shared.set(0);
        self.first.set(false);
        self.image_end.set(0);
        self.handler.set((0, 0));
    }

    /// Which of all spaces that ever were it is: a record is used again.
    pub(super) fn life(&self) -> u64 {
        self.life.get()
    }

    /// The root of its page table.
    #[inline(always)]
    pub fn root(&self) -> Frame {
        Frame::new(self.root.get())
    }

    /// Where an address of it lies in memory, if its page is there and allows the access.
    #[inline]
    pub fn place(&self, memory: &Memory, address: u64, access: Access) -> Option<UserPtr> {
        if memory.machine.linear(self.root()) {
            return Some(memory.machine.linear_pointer(address));
        }
        let page = Page::containing(address)?;
        let table = self.table.borrow();
        let Table::Live(table) = &*table else { return None };
        let (frame, rights) = table.walk(&memory.machine, page)?;
        let is_known = match access {
            Access::Read => true,
            Access::Write => rights == PageRights::ReadWrite,
            Access::Execute => rights == PageRights::ReadExecute,
            // The region decides.
            Access::Own => false,
        };
        if !is_known {
            return None;
        }
        Some(UserPtr::new(frame, (address & 0xfff) as usize))
    }

    /// The same for a page that may not be there yet, or not allow the access yet: it is [touched](super::touch) then.
    #[inline]
    pub fn reach(&self, memory: &Memory, address: u64, access: Access) -> Result<UserPtr, Errno> {
        match self.place(memory, address, access) {
            Some(place) => Ok(place),
            None => self.touch_at(memory, address, access),
        }
    }

    /// Where an address of it lies from which on so many bytes are about to be written, all in one page, by a holder of the
    /// space, who may write whatever the program itself may do; but not in rings, arenas and the boot image.
    pub fn place_for_owner(&self, memory: &Memory, address: u64, length: u64) -> Result<UserPtr, Errno> {
        if memory.machine.linear(self.root()) {
            return Ok(memory.machine.linear_pointer(address));
        }
        let page = Page::containing(address).ok_or(Errno::FAULT)?;
        let frame = self.touch(memory, page, Access::Own, length == PAGE_BYTES)?;
        Ok(UserPtr::new(frame, (address & 0xfff) as usize))
    }

    #[cold]
    #[inline(never)]
    fn touch_at(&self, memory: &Memory, address: u64, access: Access) -> Result<UserPtr, Errno> {
        let page = Page::containing(address).ok_or(Errno::FAULT)?;
        let frame = self.touch(memory, page, access, false)?;
        Ok(UserPtr::new(frame, (address & 0xfff) as usize))
    }

    /// The name of a word for those who wait for it: its space and address, or its shared object and offset
    /// there. `id` is this space's index.
    #[inline]
    pub fn futex_key(&self, memory: &Memory, id: u32, address: u64) -> (u32, u64) {
        if self.shared.get() == 0 {
            return (id, address);
        }
        self.shared_key(memory, address).unwrap_or((id, address))
    }

    fn shared_key(&self, memory: &Memory, address: u64) -> Option<(u32, u64)> {
        let page = address / PAGE_BYTES;
        let region = memory.regions.at(self.regions.find(&memory.regions, page)?);
        if region.kind.get() != Kind::Shared {
            return None;
        }
        let index = page.wrapping_sub(region.first()).wrapping_add(u64::from(region.offset.get()));
        if let Some(word) = memory.objects.at(region.object.get()).word(index, address & 0xfff) {
            return Some(word);
        }
        let offset = index.wrapping_mul(PAGE_BYTES) | address & 0xfff;
        Some((region.object.get() | SHARED_KEY, offset))
    }

    /// Whether the record is a space that lives.
    pub fn is_live(&self) -> bool {
        matches!(&*self.table.borrow(), Table::Live(_))
    }

    /// First instruction of the handler of old system calls, and the bytes in which such a call is a mistake.
    /// Zero if there is none.
    pub fn call_handler(&self) -> (u64, u64) {
        self.handler.get()
    }

    /// Names that handler.
    pub fn set_call_handler(&self, address: u64, length: u64) {
        self.handler.set((address, length));
    }

    /// One more operation changes it in slices.
    pub fn begin_change(&self) {
        self.changes.set(self.changes.get().wrapping_add(1));
    }

    /// One such operation fewer.
    pub fn end_change(&self) {
        self.changes.set(self.changes.get().wrapping_sub(1));
    }

    /// Whether it may have pages from `first` up to `end`.
    pub fn allows(&self, first: u64, end: u64) -> bool {
        let low = if self.first.get() { 1 } else { LOW };
        first >= low && first < end && end <= END
    }

    /// A free range of `pages` pages: above the program image if that is low, so that a small program needs
    /// few page tables.
    pub(super) fn vacant(&self, memory: &Memory, pages: u64) -> Result<u64, Errno> {
        let low = match self.image_end.get() {
            0 => ANYWHERE,
            end => end,
        };
        self.regions.vacant(&memory.regions, low, pages, END).ok_or(Errno::NOMEM)
    }

    /// Notes that somebody chose this range by address.
    pub(super) fn chosen(&self, end: u64) {
        if end <= ANYWHERE {
            self.image_end.set(self.image_end.get().max(end));
        }
    }

    /// What a copy of it starts with.
    pub(super) fn inherit(&self, parent: &Space) {
        self.image_end.set(parent.image_end.get());
        self.handler.set(parent.handler.get());
    }
}

/// Pages.
impl Space {
    pub(super) fn with_table<R>(&self, look: impl FnOnce(&PageTable) -> R) -> R {
        match &*self.table.borrow() {
            Table::Live(table) => look(table),
            _ => bug!("a space that ended is changed"),
        }
    }

    /// How many page tables a page needs that are not there.
    pub(super) fn tables_missing(&self, memory: &Memory, page: Page) -> u32 {
        self.with_table(|table| table.tables_missing(&memory.machine, page))
    }

    /// Maps a page whose tables are in `stock`, whatever was there. The caller's share of the frame moves in.
    pub(super) fn map_page(&self, memory: &Memory, page: Page, leaf: Leaf, stock: &rmm::TableStock<'_, '_>) {
        let before = self.with_table(|table| match table.map(memory, page, leaf, stock) {
            Ok(()) => None,
            Err(rmm::MapError::Taken) => table.replace(memory, page, leaf),
            Err(rmm::MapError::StockTooSmall) => bug!("the page tables of a mapping were not ensured"),
        });
        match before {
            Some(stale) => memory.discard(self.root(), stale),
            None => self.pages.set(self.pages.get().wrapping_add(1)),
        }
    }

    /// Maps a page to a frame with tables taken now. On an error the share is given up.
    pub(super) fn add_page(&self, memory: &Memory, page: u64, leaf: Leaf) -> Result<(), Errno> {
        let Some(page) = Page::new(page) else { bug!("a page above the lower half") };
        let missing = self.tables_missing(memory, page);
        match memory.take_tables(missing) {
            Ok(stock) => {
                self.map_page(memory, page, leaf, &stock);
                memory.stocked(&stock);
                Ok(())
            }
            Err(error) => {
                memory.release(leaf.frame);
                Err(error)
            }
        }
    }

    /// Takes the pages from `from` up to `to` out of the page table, those that are there: as many as the budget allows, at
    /// `cost` units each. Gives the page up to which none is there any more.
    pub(super) fn unmap_pages(
        &self,
        memory: &Memory,
        (from, to): (u64, u64),
        (budget, cost): (&Budget, u32),
    ) -> u64 {
        let unmap = |page, _| -> Result<(), Infallible> {
            self.unmap_page(memory, page);
            Ok(())
        };
        let Ok(done) = self.each_mapped(memory, (from, to), (budget, cost), unmap);
        done
    }

    /// Takes a page out of the page table, if it is there.
    pub(super) fn unmap_page(&self, memory: &Memory, page: Page) {
        if let Some(stale) = self.with_table(|table| table.unmap(memory, page)) {
            memory.discard(self.root(), stale);
            self.pages.set(self.pages.get().wrapping_sub(1));
        }
    }

    /// Calls `act` for each page from `from` up to `to` that is there, at `cost` units each beside the search. Gives the page
    /// up to which it came with the budget.
    pub(super) fn each_mapped<E>(
        &self,
        memory: &Memory,
        (from, to): (u64, u64),
        (budget, cost): (&Budget, u32),
        mut act: impl FnMut(Page, Leaf) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut at = from;
        while at < to && budget.has(SEARCH.saturating_add(cost)) {
            match self.first_mapped(memory, (at, to), budget) {
                Found::Page(page, leaf) => {
                    budget.spend(cost);
                    act(page, leaf)?;
                    at = page.number().wrapping_add(1);
                }
                Found::Paused(page) => at = page,
                Found::None => at = to,
            }
        }
        Ok(at)
    }

    /// The first page from `from` up to `to` that is there.
    pub(super) fn first_mapped(&self, memory: &Memory, (from, to): (u64, u64), budget: &Budget) -> Found {
        if !budget.has(SEARCH) {
            return Found::Paused(from);
        }
        let mut steps = STEPS;
        let next = self.with_table(|table| table.next_mapped(&memory.machine, pages(from, to), &mut steps));
        budget.spend(STEPS.wrapping_sub(steps).wrapping_mul(STEP));
        match next {
            Next::User(page, leaf) => Found::Page(page, leaf),
            Next::Device(_) => bug!("a device in a region of memory"),
            Next::Paused(page) => Found::Paused(page.number()),
            Next::End => Found::None,
        }
    }

    /// Gives pages from `from`, which is there, up to `to` to a copy as well, at `price` units each, as far as the budget and
    /// the page table of the first of them go. Gives the page to go on from, and one before it that the copy must have its own
    /// of.
    pub(super) fn lend(
        &self,
        memory: &Memory,
        copy: &Space,
        (from, to): (u64, u64),
        (budget, price): (&Budget, u32),
    ) -> Result<(u64, Option<(u64, Leaf)>), Errno> {
        let range = pages(from, to);
        let stock = memory.take_tables(copy.tables_missing(memory, range.first()))?;
        let most = budget.left_of(LEAF_PAGES.wrapping_mul(STEP.wrapping_add(price))) / STEP;
        let mut steps = most;
        let lent = copy.with_table(|other| {
            self.with_table(|table| {
                table.lend(memory, (other, &stock), range, (&mut steps, price.div_ceil(STEP)))
            })
        });
        let Ok(lent) = lent else { bug!("the page tables of a copy were not taken") };
        memory.stocked(&stock);
        budget.spend(most.wrapping_sub(steps).wrapping_mul(STEP));
        copy.pages.set(copy.pages.get().wrapping_add(u32::from(lent.pages)));
        if let Some(stale) = lent.narrowed {
            memory.flush(self.root(), stale);
        }
        let next = lent.next.map_or((from | LEAF_PAGES_MASK).wrapping_add(1).min(to), Page::number);
        Ok(match lent.held {
            Some(leaf) => (next.wrapping_add(1), Some((next, leaf))),
            None => (next, None),
        })
    }

    /// Changes the rights of a page that is there.
    pub(super) fn protect_page(&self, memory: &Memory, page: Page, rights: PageRights) {
        self.flush_narrowed(memory, self.with_table(|table| table.protect(memory, page, rights)));
    }

    /// Lets a page that is there have its frame on other terms.
    pub(super) fn hold_page(&self, memory: &Memory, page: Page, tenure: Tenure, rights: PageRights) {
        self.flush_narrowed(memory, self.with_table(|table| table.hold(memory, page, tenure, rights)));
    }

    fn flush_narrowed(&self, memory: &Memory, done: Protected) {
        if let Protected::Narrowed(stale) = done {
            memory.flush(self.root(), stale);
        }
    }

    /// What a page that is there has.
    pub(super) fn leaf(&self, memory: &Memory, page: u64) -> Option<Leaf> {
        let page = Page::new(page)?;
        self.with_table(|table| table.leaf(&memory.machine, page))
    }
}

/// Regions.
impl Space {
    /// Puts a region in.
    pub(super) fn insert(&self, memory: &Memory, id: u32) {
        if memory.regions.at(id).kind.get() == Kind::Shared {
            self.shared.set(self.shared.get().wrapping_add(1));
        }
        self.regions.insert(&memory.regions, id);
    }

    /// Takes a region out, gives its record back, and lets go of what it was part of.
    pub(super) fn remove(&self, memory: &Memory, id: u32) {
        self.regions.remove(&memory.regions, id);
        let region = memory.regions.at(id);
        let object = region.object();
        if region.kind.get() == Kind::Shared {
            self.shared.set(self.shared.get().wrapping_sub(1));
        }
        memory.regions.give(id);
        if let Some(object) = object {
            memory.let_go_object(object);
        }
    }

    /// Divides a region at a page of its body, with a record that was taken before. Gives the upper part.
    pub(super) fn split(&self, memory: &Memory, id: u32, at: u64, spare: u32) -> u32 {
        let (region, upper) = (memory.regions.at(id), memory.regions.at(spare));
        let (first, end) = (region.first(), region.end());
        self.regions.resize(&memory.regions, id, first, at);
        upper.open(at, end, false);
        upper.resemble(region);
        let moved = at.wrapping_sub(first) as u32;
        upper.offset.set(region.offset.get().wrapping_add(moved));
        memory.hold_object(region);
        self.insert(memory, spare);
        spare
    }

    /// Takes the pages from `from` up to `to`, which all belong to one region, out of it. If that leaves two
    /// parts, the upper one takes the record in `spare`, which then is `NONE`.
    pub(super) fn cut(&self, memory: &Memory, id: u32, from: u64, to: u64, spare: &mut u32) {
        let region = memory.regions.at(id);
        let (first, body, end) = (region.first(), region.body(), region.end());
        if from <= body && to >= end {
            self.remove(memory, id);
        } else if from <= body {
            self.regions.resize(&memory.regions, id, to, end);
        } else if to >= end {
            self.regions.resize(&memory.regions, id, first, from);
        } else {
            let upper = self.split(memory, id, from, core::mem::replace(spare, NONE));
            self.regions.resize(&memory.regions, upper, to, end);
        }
    }

    /// Makes a region one with its neighbours where it can be.
    pub(super) fn merge(&self, memory: &Memory, id: u32) {
        for free in self.regions.merge(&memory.regions, id).into_iter().flatten() {
            memory.regions.give(free);
        }
    }
}

/// A page of a program's own memory.
pub(super) fn private(frame: UserFrame, rights: PageRights) -> Leaf {
    Leaf { frame, rights, tenure: Tenure::Private }
}
