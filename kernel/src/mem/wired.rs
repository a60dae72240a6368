//! Memory that the kernel shares with one space for good: rings and arenas of schemes.
//!
//! A block is contiguous in physical memory, so that the kernel reaches it without a walk; it is never
//! copied, inherited or taken away by the program. It holds its space, so the mapping is there as long as
//! the block. Small rings of one space share blocks of one page, each in a slot of its own.
#![forbid(unsafe_code)]

use super::arena::{Arena, Record};
use super::frames::{Memory, Use};
use super::region::Kind;
use super::space::{PAGE_BYTES, Space};
use crate::arch::{UserPtr, Wired};
use crate::base::NONE;
use crate::base::budget::Budget;
use crate::base::list::{Chain, Link};
use crate::bug;
use core::cell::Cell;
use ring_abi::Errno;
use rmm::{Leaf, MAX_ORDER, Page, PageRange, PageRights, Tenure, UserRun};

/// Bytes of a page.
const BYTES: usize = PAGE_BYTES as usize;
/// Blocks of so many pages are given back at once, greater ones in slices.
const AT_ONCE: u32 = 4;
/// What giving a page back is reckoned to cost.
const GIVE: u32 = 300;
/// Blocks with room that are looked at for a slot.
const LOOKS: usize = 8;

/// A wired block.
#[derive(Debug)]
pub struct Block {
    run: Cell<Option<UserRun>>,
    /// Pages, from the start of `run`.
    pages: Cell<u32>,
    /// The space that maps it.
    space: Cell<u32>,
    /// Its first page there.
    page: Cell<u64>,
    /// Bytes of a slot, if it has slots.
    unit: Cell<u32>,
    /// One bit for each slot in use.
    used: Cell<u32>,
    /// Place among the blocks with room, or among those that end; threads the free list.
    link: Link,
}

impl Default for Block {
    fn default() -> Self {
        Block {
            run: Cell::new(None),
            pages: Cell::new(0),
            space: Cell::new(NONE),
            page: Cell::new(0),
            unit: Cell::new(0),
            used: Cell::new(0),
            link: Link::default(),
        }
    }
}

impl Record for Block {
    fn free_link(&self) -> &Cell<u32> {
        self.link.cell()
    }
}

struct ByBlock<'a>(&'a Arena<Block>);

impl Chain for ByBlock<'_> {
    fn link(&self, node: u32) -> &Link {
        &self.0.at(node).link
    }
}

impl Block {
    /// The memory.
    pub fn wired(&self, memory: &Memory) -> Wired {
        match self.run.get().and_then(|run| run.get(0)) {
            Some(first) => Wired::new(&memory.machine, first, self.pages.get()),
            None => bug!("a wired block without memory"),
        }
    }

    /// Its address in its space.
    pub fn address(&self) -> u64 {
        self.page.get().wrapping_mul(PAGE_BYTES)
    }

    /// Slots of a page.
    fn slots(&self) -> u32 {
        (PAGE_BYTES as u32).checked_div(self.unit.get()).unwrap_or(0)
    }

    fn is_full(&self) -> bool {
        self.used.get().count_ones() >= self.slots()
    }

    /// Byte offset of a slot.
    pub fn offset(&self, slot: u32) -> usize {
        (self.unit.get() as usize).wrapping_mul(slot as usize)
    }
}

/// An arena as both sides see it.
#[derive(Clone, Copy, Debug)]
pub struct Mapped {
    /// Where the kernel reaches it.
    pub place: UserPtr,
    /// Its address in the space.
    pub address: u64,
    /// Its block, to be given back with [`release`].
    pub block: u32,
}

/// Makes an arena of zeroed memory and maps it into a space. At most 4 MiB.
pub fn map(memory: &Memory, space_id: u32, bytes: usize) -> Result<Mapped, Errno> {
    let block = make(memory, space_id, bytes, Use::Arenas)?;
    let record = memory.blocks.at(block);
    let Some(place) = record.wired(memory).at(0) else { bug!("a wired block without memory") };
    Ok(Mapped { place, address: record.address(), block })
}

/// Makes a block of zeroed memory and maps it into a space, which it holds.
pub fn make(memory: &Memory, space_id: u32, bytes: usize, what: Use) -> Result<u32, Errno> {
    let pages = bytes.div_ceil(BYTES).max(1);
    let order = pages.checked_next_power_of_two().ok_or(Errno::NOMEM)?.trailing_zeros() as u8;
    if order > MAX_ORDER {
        return Err(Errno::NOMEM);
    }
    let block = memory.blocks.take(memory)?;
    let made = take_memory(memory, memory.space(space_id), pages as u32, order, what);
    let made = made.and_then(|(run, tables)| {
        memory.regions.take(memory).map(|region| (run, tables, region)).inspect_err(|_| {
            memory.unreserve(tables);
            give_run(memory, run, 0);
        })
    });
    let (run, tables, region) = made.inspect_err(|_| memory.blocks.give(block))?;
    let space = memory.space(space_id);
    let Ok(page) = find(memory, space, run, pages as u64) else {
        memory.regions.give(region);
        memory.unreserve(tables);
        give_run(memory, run, 0);
        memory.blocks.give(block);
        return Err(Errno::NOMEM);
    };

    give_run(memory, run, pages as u32);
    let record = memory.blocks.at(block);
    record.run.set(Some(run));
    record.pages.set(pages as u32);
    record.space.set(space_id);
    record.page.set(page);
    record.unit.set(0);
    record.used.set(0);
    memory.hold_space(space_id);
    map_block(memory, space, record, tables);
    add_region(memory, space, region, (page, page.wrapping_add(pages as u64)), block);
    Ok(block)
}

/// Takes frames, and reserves the page tables that mapping them can need.
fn take_memory(
    memory: &Memory,
    space: &Space,
    pages: u32,
    order: u8,
    what: Use,
) -> Result<(UserRun, u32), Errno> {
    // The address is not known yet; wherever it is, a range of this length needs no more tables.
    let _ = space;
    let range = PageRange::new(Page::FIRST, u64::from(pages).wrapping_add(511)).ok_or(Errno::NOMEM)?;
    let tables = range.tables_needed().saturating_add(2);
    memory.reserve(tables)?;
    match memory.take_run(order, what) {
        Ok(run) => Ok((run, tables)),
        Err(error) => {
            memory.unreserve(tables);
            Err(error)
        }
    }
}

/// Gives the frames of a run back from an index on.
fn give_run(memory: &Memory, run: UserRun, from: u32) {
    for frame in run.iter().skip(from as usize) {
        memory.release(frame);
    }
}

/// Where the block goes. Hosted spaces have every frame at a fixed address.
fn find(memory: &Memory, space: &Space, run: UserRun, pages: u64) -> Result<u64, Errno> {
    if !memory.machine.linear(space.root()) {
        return space.vacant(memory, pages);
    }
    let first = run.get(0).ok_or(Errno::NOMEM)?;
    let page = memory.machine.hosted_address(first) / PAGE_BYTES;
    let end = page.wrapping_add(pages);
    let is_free = space.allows(page, end) && space.regions.is_free(&memory.regions, page, end);
    if is_free { Ok(page) } else { Err(Errno::NOMEM) }
}

/// Zeroes and maps a block; each mapping takes a share of its frame beside the block's own.
fn map_block(memory: &Memory, space: &Space, block: &Block, tables: u32) {
    let mut left = tables;
    let frames = block.run.get().into_iter().flat_map(|run| (0..run.count()).filter_map(move |i| run.get(i)));
    for (number, frame) in (block.page.get()..).zip(frames.take(block.pages.get() as usize)) {
        let Some(page) = Page::new(number) else { bug!("a page above the lower half") };
        memory.zero(frame);
        if memory.frames.share(frame).is_err() {
            bug!("a fresh frame cannot be shared");
        }
        let missing = space.tables_missing(memory, page);
        let stock = memory.take_reserved_tables(missing);
        left = left.wrapping_sub(missing);
        let leaf = Leaf { frame, rights: PageRights::ReadWrite, tenure: Tenure::Wired };
        space.map_page(memory, page, leaf, &stock);
        memory.stocked(&stock);
    }
    memory.unreserve(left);
}

fn add_region(memory: &Memory, space: &Space, id: u32, (first, end): (u64, u64), block: u32) {
    let region = memory.regions.at(id);
    region.open(first, end, false);
    region.rights.set(PageRights::ReadWrite);
    region.kind.set(Kind::Wired);
    region.object.set(block);
    space.insert(memory, id);
}

/// Gives a block back; `NONE` is none. A large one goes in slices.
pub fn release(memory: &Memory, id: u32) {
    let Some(block) = memory.blocks.get(id) else { return };
    if block.pages.get() > AT_ONCE {
        memory.dying_blocks.push_back(&ByBlock(&memory.blocks), id);
        return;
    }
    while block.pages.get() > 0 {
        give_page(memory, block);
    }
    bury(memory, id, block);
}

/// Gives a little of the large blocks back. `false`: there was nothing.
pub(super) fn slice_ending(memory: &Memory, budget: &Budget) -> bool {
    let id = memory.dying_blocks.first();
    let Some(block) = memory.blocks.get(id) else { return false };
    while block.pages.get() > 0 {
        if !budget.spend(GIVE) {
            return true;
        }
        give_page(memory, block);
    }
    memory.dying_blocks.remove(&ByBlock(&memory.blocks), id);
    bury(memory, id, block);
    true
}

/// Gives the last page of a block back.
fn give_page(memory: &Memory, block: &Block) {
    let left = block.pages.get().wrapping_sub(1);
    block.pages.set(left);
    let page = block.page.get().wrapping_add(u64::from(left));
    memory.space(block.space.get()).unmap_pages(memory, page, page.wrapping_add(1));
    if let Some(frame) = block.run.get().and_then(|run| run.get(left)) {
        memory.release(frame);
    }
}

/// The last of a block whose pages are gone.
fn bury(memory: &Memory, id: u32, block: &Block) {
    let space_id = block.space.replace(NONE);
    let space = memory.space(space_id);
    match space.regions.find(&memory.regions, block.page.get()) {
        Some(region) => space.remove(memory, region),
        None => bug!("the region of a wired block is gone"),
    }
    block.run.set(None);
    memory.blocks.give(id);
    memory.let_go_space(space_id);
}

/// Takes a zeroed slot for a small ring: its block and its number there.
pub fn take_slot(memory: &Memory, space_id: u32, unit: u32) -> Result<(u32, u32), Errno> {
    let id = match find_room(memory, memory.space(space_id), unit) {
        Some(id) => id,
        None => {
            let id = make(memory, space_id, BYTES, Use::Rings)?;
            memory.blocks.at(id).unit.set(unit);
            memory.space(space_id).ring_blocks.push_front(&ByBlock(&memory.blocks), id);
            id
        }
    };
    let block = memory.blocks.at(id);
    let slot = block.used.get().trailing_ones();
    block.used.set(block.used.get() | 1 << slot);
    if block.is_full() {
        memory.space(space_id).ring_blocks.remove(&ByBlock(&memory.blocks), id);
    }
    if let Some(place) = block.wired(memory).at(block.offset(slot)) {
        memory.machine.zero_user(place, unit as usize);
    }
    Ok((id, slot))
}

/// A block with room for a slot of this size, among the first few.
fn find_room(memory: &Memory, space: &Space, unit: u32) -> Option<u32> {
    let mut at = space.ring_blocks.first();
    for _ in 0..LOOKS {
        let block = memory.blocks.get(at)?;
        if block.unit.get() == unit {
            return Some(at);
        }
        at = block.link.next();
    }
    None
}

/// Gives a slot back; the block goes with its last one.
pub fn give_slot(memory: &Memory, id: u32, slot: u32) {
    let block = memory.blocks.at(id);
    let list = &memory.space(block.space.get()).ring_blocks;
    if block.is_full() {
        list.push_front(&ByBlock(&memory.blocks), id);
    }
    block.used.set(block.used.get() & !(1 << slot));
    if block.used.get() == 0 {
        list.remove(&ByBlock(&memory.blocks), id);
        release(memory, id);
    }
}
