//! Where rings lie. Small ones of one space share pages (five of the smallest in one); a bigger one has a
//! contiguous block of its own.
#![forbid(unsafe_code)]

use super::duplex::Ring;
use super::flight;
use crate::base::NONE;
use crate::mem::arena::Arena;
use crate::mem::frames::{Memory, Use};
use crate::mem::wired::{self, Block, Making};
use ring_abi::ABI_VERSION;
use ring_abi::Errno;
use ring_abi::layout::{Sizes, word};
use ring_abi::map;
use ring_abi::sync::Ordering::Relaxed;

/// Instead of a slot: the ring has all of its block. A page has far fewer slots.
const WHOLE: u8 = u8::MAX;

/// A ring of more bytes has a block of its own.
const SMALL: usize = 2048;
/// Rings are aligned to cache lines.
const ALIGN: usize = 64;

/// Whether a ring of these sizes shares a page with others, so that making it is cheap.
pub fn is_small(sizes: Sizes) -> bool {
    sizes.bytes() <= SMALL
}

/// Begins a ring that is not small: its record, and everything that its memory needs.
pub fn begin(
    memory: &Memory,
    rings: &Arena<Ring>,
    space_id: u32,
    sizes: Sizes,
    owner: u32,
) -> Result<(u32, Making), Errno> {
    let id = rings.take(memory)?;
    let making = Making::start(memory, space_id, sizes.bytes(), Use::Rings);
    let making = making.inspect_err(|_| rings.give(id))?;

    let ring = rings.at(id);
    ring.id.set(id);
    flight::open(ring, id);
    ring.owner.set(owner);
    ring.space.set(space_id);
    ring.page.set(NONE);
    ring.slot.set(WHOLE);
    ring.link.set(NONE);
    ring.line.set(NONE);
    Ok((id, making))
}

/// A ring's memory is ready: it begins.
pub fn finish(memory: &Memory, ring: &Ring, making: &Making, sizes: Sizes) {
    open(memory, ring, (making.block, NONE), sizes);
}

/// Gives a ring up whose memory is not ready.
pub fn abandon(memory: &Memory, rings: &Arena<Ring>, id: u32, making: Making) {
    making.abandon(memory);
    rings.give(id);
}

/// Makes a ring in a space in one go: its record and its memory, mapped and ready. Result: the ring.
pub fn make(
    memory: &Memory,
    rings: &Arena<Ring>,
    space_id: u32,
    sizes: Sizes,
    owner: u32,
) -> Result<u32, Errno> {
    let id = rings.take(memory)?;
    let bytes = sizes.bytes();
    let taken = if is_small(sizes) {
        wired::take_slot(memory, space_id, bytes.next_multiple_of(ALIGN) as u32)
    } else {
        wired::make(memory, space_id, bytes, Use::Rings).map(|block| (block, NONE))
    };
    let place = taken.inspect_err(|_| rings.give(id))?;

    let ring = rings.at(id);
    open(memory, ring, place, sizes);
    ring.id.set(id);
    flight::open(ring, id);
    ring.owner.set(owner);
    ring.space.set(space_id);
    Ok(id)
}

/// Lets a ring begin in zeroed memory: a block, and a slot of it or `NONE` for all of it.
fn open(memory: &Memory, ring: &Ring, (block_id, slot): (u32, u32), sizes: Sizes) {
    let block = memory.blocks.at(block_id);
    let offset = offset(block, slot);
    let Some(view) = block.wired(memory).ring(&memory.machine, offset, sizes) else {
        crate::bug!("a ring does not fit the place that was taken for it");
    };
    reset(ring, view);
    ring.page.set(block_id);
    ring.slot.set(u8::try_from(slot).unwrap_or(WHOLE));
    write_header(&view, sizes);
}

/// Address of a ring in its owner's space.
pub fn address(memory: &Memory, ring: &Ring) -> u64 {
    let block = memory.blocks.at(ring.page.get());
    block.address().wrapping_add(offset(block, slot(ring)) as u64)
}

/// A ring's slot in its block, or `NONE` if it has all of it.
fn slot(ring: &Ring) -> u32 {
    match ring.slot.get() {
        WHOLE => NONE,
        slot => u32::from(slot),
    }
}

/// Where a ring begins in its block.
fn offset(block: &Block, slot: u32) -> usize {
    if slot == NONE { 0 } else { block.offset(slot) }
}

/// Makes a record that of a ring that nobody has used.
fn reset(ring: &Ring, view: map::Ring) {
    debug_assert!(flight::is_empty(ring), "a free ring has no operations");
    debug_assert!(ring.outfit.get() == NONE, "a free ring was stripped");
    ring.memory.set(view);
    ring.sq.reset();
    ring.cq.reset();
    ring.rq.reset();
    ring.rp.reset();
    ring.cache.forget();
    ring.marks.set(0);
    ring.waits.set(0);
    ring.wake_at.set(0);
    ring.link.set(NONE);
    ring.line.set(NONE);
}

fn write_header(view: &map::Ring, sizes: Sizes) {
    let words = [(word::VERSION, ABI_VERSION), (word::SIZES, sizes.packed()), (word::SQ_SLEEPS, 1)];
    for (index, value) in words {
        view.header(index).store(value, Relaxed);
    }
    if sizes.service.is_some() {
        view.header(word::RP_SLEEPS).store(1, Relaxed);
    }
}

/// Ends a ring that has no operations left.
pub fn drop(memory: &Memory, rings: &Arena<Ring>, id: u32) {
    let ring = rings.at(id);
    let block = ring.page.replace(NONE);
    let slot = slot(ring);
    reset(ring, map::Ring::default());
    ring.owner.set(NONE);
    ring.space.set(NONE);
    rings.give(id);
    if slot == NONE {
        wired::release(memory, block);
    } else {
        wired::give_slot(memory, block, slot);
    }
}
