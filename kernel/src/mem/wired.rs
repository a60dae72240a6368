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
use super::{halves, join};
use crate::arch::{UserPtr, Wired};
use crate::base::NONE;
use crate::base::budget::{Budget, PAGE};
use crate::base::list::{Chain, Link};
use crate::base::name::Named;
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

impl Named for Block {}

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

/// Makes a block of zeroed memory and maps it into a space, which it holds, in one go.
pub fn make(memory: &Memory, space_id: u32, bytes: usize, what: Use) -> Result<u32, Errno> {
    let mut making = Making::start(memory, space_id, bytes, what)?;
    while !making.run(memory, &Budget::of(u32::MAX)) {}
    Ok(making.block)
}

/// A block on its way: it has its memory and its address, and its pages are being zeroed and mapped.
#[derive(Clone, Copy, Debug)]
pub struct Making {
    /// The block.
    pub block: u32,
    /// Pages that are ready.
    ready: u32,
    /// Frames that are reserved for page tables.
    tables: u32,
}

impl Making {
    /// Takes everything that a block needs, at most 4 MiB. An error leaves all as it was.
    pub fn start(memory: &Memory, space_id: u32, bytes: usize, what: Use) -> Result<Making, Errno> {
        let pages = bytes.div_ceil(BYTES).max(1);
        let order = pages.checked_next_power_of_two().ok_or(Errno::NOMEM)?.trailing_zeros() as u8;
        if order > MAX_ORDER {
            return Err(Errno::NOMEM);
        }
        let space = memory.space(space_id);
        let block = memory.blocks.take(memory)?;
        let region = memory.regions.take(memory).inspect_err(|_| memory.blocks.give(block))?;
        let taken = take_memory(memory, space, pages as u32, order, what);
        let (run, page, tables) = taken.inspect_err(|_| {
            memory.regions.give(region);
            memory.blocks.give(block);
        })?;

        give_run(memory, run, pages as u32);
        let record = memory.blocks.at(block);
        record.run.set(Some(run));
        record.pages.set(pages as u32);
        record.space.set(space_id);
        record.page.set(page);
        record.unit.set(0);
        record.used.set(0);
        memory.hold_space(space_id);
        add_region(memory, space, region, (page, page.wrapping_add(pages as u64)), block);
        Ok(Making { block, ready: 0, tables })
    }

    /// Goes on; `true` when the block is ready.
    pub fn run(&mut self, memory: &Memory, budget: &Budget) -> bool {
        let block = memory.blocks.at(self.block);
        while self.ready < block.pages.get() {
            if !budget.spend(PAGE) {
                return false;
            }
            let used = map_page(memory, block, self.ready);
            self.tables = self.tables.wrapping_sub(used);
            self.ready = self.ready.wrapping_add(1);
        }
        memory.unreserve(core::mem::take(&mut self.tables));
        true
    }

    /// Gives it up.
    pub fn abandon(self, memory: &Memory) {
        memory.unreserve(self.tables);
        release(memory, self.block);
    }

    /// Its address in its space.
    pub fn address(&self, memory: &Memory) -> u64 {
        memory.blocks.at(self.block).address()
    }

    /// An arena as both sides see it, when it is ready.
    pub fn mapped(&self, memory: &Memory) -> Mapped {
        let record = memory.blocks.at(self.block);
        let Some(place) = record.wired(memory).at(0) else { bug!("a wired block without memory") };
        Mapped { place, address: record.address(), block: self.block }
    }

    /// As words, while it waits for its next slice.
    pub fn to_words(self) -> [u64; 2] {
        [join(self.block, self.ready), u64::from(self.tables)]
    }

    /// The block on its way that these words are.
    pub fn from_words([extent, tables]: [u64; 2]) -> Making {
        let (block, ready) = halves(extent);
        Making { block, ready, tables: tables as u32 }
    }
}

/// Takes frames and an address, and reserves the page tables that the mapping can need.
fn take_memory(
    memory: &Memory,
    space: &Space,
    pages: u32,
    order: u8,
    what: Use,
) -> Result<(UserRun, u64, u32), Errno> {
    let run = memory.take_run(order, what)?;
    let found = find(memory, space, run, u64::from(pages)).and_then(|page| {
        let range = Page::new(page).and_then(|page| PageRange::new(page, u64::from(pages)));
        let tables = range.ok_or(Errno::NOMEM)?.tables_needed();
        memory.reserve(tables)?;
        Ok((run, page, tables))
    });
    found.inspect_err(|_| give_run(memory, run, 0))
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

/// Zeroes and maps a page of a block, which takes a share of its frame beside the block's own. Says how many
/// page tables it took.
fn map_page(memory: &Memory, block: &Block, index: u32) -> u32 {
    let space = memory.space(block.space.get());
    let page = Page::new(block.page.get().wrapping_add(u64::from(index)));
    let frame = block.run.get().and_then(|run| run.get(index));
    let (Some(page), Some(frame)) = (page, frame) else { bug!("a page of a wired block is none") };
    memory.zero(frame);
    if memory.frames.share(frame).is_err() {
        bug!("a fresh frame cannot be shared");
    }
    let missing = space.tables_missing(memory, page);
    let stock = memory.take_reserved_tables(missing);
    let leaf = Leaf { frame, rights: PageRights::ReadWrite, tenure: Tenure::Wired };
    space.map_page(memory, page, leaf, &stock);
    memory.stocked(&stock);
    missing
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
    if let Some(page) = Page::new(block.page.get().wrapping_add(u64::from(left))) {
        memory.space(block.space.get()).unmap_page(memory, page);
    }
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
            memory.budget.charge(PAGE);
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
