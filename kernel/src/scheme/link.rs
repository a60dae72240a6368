//! One daemon's service pair: where requests go out and replies are matched to what was asked.
//!
//! A request in a daemon's hands holds one slot: an index of 16 bits that is at once its place in the
//! table of tags, its part of the arena, and (since there are as many slots as places in the queue) its
//! claim to a place. The tag is the index and a generation of 16 bits, so one compare finds a stale or
//! made-up tag. Only this link's table is looked at, so no daemon can answer for another.
//!
//! Invariants:
//!
//! - a slot's `op` is an operation exactly while its tag is out; otherwise it threads the free list;
//! - an operation that found no room, or has its turn at a cursor now, is in `waiting`, in order, and holds nothing of
//!   the link;
//! - what must be told without a reply (closings, cancels) waits in a list of its own and never gets lost.
#![forbid(unsafe_code)]

use crate::arch::UserPtr;
use crate::base::list::{Link as Neighbours, List};
use crate::base::name::{Named, Room};
use crate::base::{NONE, is_none};
use crate::mem::arena::Record;
use crate::mem::runs::{Cellular, Runs};
use core::cell::Cell;

/// Added to a tag to make the next generation of its index.
const GENERATION: u32 = 1 << 16;
/// Bit of the tag in a free slot. No index that is looked up has it, so one compare covers index,
/// generation and whether the tag is out.
const FREE: u32 = 1 << 15;

const _: () = assert!(1_u32 << ring_abi::layout::MAX_LOG2 <= FREE);

/// One place in a link's table of requests.
#[derive(Debug, Default)]
pub struct Slot {
    /// The tag that is out, or, with [`FREE`], that goes out next.
    tag: Cell<u32>,
    /// The operation, or the name of the next free slot.
    op: Cell<u32>,
}

impl Slot {
    /// The operation, while the tag is out.
    #[inline(always)]
    pub fn op(&self) -> u32 {
        self.op.get()
    }
}

impl Named for Slot {
    const ROOM: Room = Room::Near(6);
}

impl Cellular for Slot {
    fn free_link(&self) -> &Cell<u32> {
        &self.op
    }
}

/// A daemon's service pair.
#[derive(Debug)]
pub struct Link {
    /// The ring, or `NONE` when the daemon is gone.
    pub ring: Cell<u32>,
    /// Its row in [`Runs`].
    slots: Cell<u32>,
    /// log2 of the number of slots.
    pub log2: Cell<u8>,
    /// Number of slots less one.
    mask: Cell<u32>,
    /// Name of the first free slot, or `NONE`.
    free: Cell<u32>,
    /// Bytes of a slot of the arena.
    slot_bytes: Cell<u64>,
    /// The arena, as the kernel reaches it.
    pub arena: Cell<UserPtr>,
    /// The arena, as the daemon sees it.
    pub arena_address: Cell<u64>,
    /// The arena's wired block (see `mem::wired`).
    pub block: Cell<u32>,
    /// Requests go the general road, and there may be something to send when the daemon looks: something waits in one of
    /// the three lists below, or did until now; or the daemon is gone.
    pub held_up: Cell<bool>,
    /// Operations that wait for room.
    pub waiting: List,
    /// Operations whose cancel is to be told.
    pub cancels: List,
    /// Files whose end is to be told.
    pub closings: List,
    /// All files of this link's daemon, names that lead here, plus one while the daemon lives.
    pub refs: Cell<u32>,
    /// Slots looked at since the daemon died.
    pub progress: Cell<u32>,
    /// Whether it is in the list of links whose waiting operations may find room.
    pub to_refill: Cell<bool>,
    /// Place in that list.
    pub refill: Neighbours,
    /// Threads the free list, or the list of links to take apart.
    pub link: Neighbours,
}

impl Default for Link {
    fn default() -> Self {
        Link {
            ring: Cell::new(NONE),
            slots: Cell::new(NONE),
            log2: Cell::new(0),
            mask: Cell::new(0),
            free: Cell::new(NONE),
            slot_bytes: Cell::new(0),
            arena: Cell::default(),
            arena_address: Cell::new(0),
            block: Cell::new(NONE),
            held_up: Cell::new(false),
            waiting: List::new(),
            cancels: List::new(),
            closings: List::new(),
            refs: Cell::new(0),
            progress: Cell::new(0),
            to_refill: Cell::new(false),
            refill: Neighbours::default(),
            link: Neighbours::default(),
        }
    }
}

impl Named for Link {
    const ROOM: Room = Room::Near(7);
}

impl Record for Link {
    fn free_link(&self) -> &Cell<u32> {
        self.link.cell()
    }
}

impl Link {
    /// Takes a fresh row of `1 << log2` slots into use.
    pub fn open(&self, table: &Runs<Slot>, first: u32, log2: u8) {
        self.slots.set(first);
        self.log2.set(log2);
        let count = 1_u32 << log2;
        self.mask.set(count.wrapping_sub(1));
        for index in 0..count {
            let slot = table.named(table.name(first, index));
            slot.tag.set(slot.tag.get() & !GENERATION.wrapping_sub(1) | FREE | index);
            let next = index.wrapping_add(1);
            slot.op.set(if next == count { NONE } else { table.name(first, next) });
        }
        self.free.set(first);
    }

    /// Sets the bytes of a slot of the arena: `1 << log2`.
    pub fn set_slot_bytes(&self, log2: u8) {
        self.slot_bytes.set(1 << log2);
    }

    /// First slot of its row.
    pub fn row(&self) -> u32 {
        self.slots.get()
    }

    /// Number of slots.
    pub fn count(&self) -> u32 {
        self.mask.get().wrapping_add(1)
    }

    /// Whether a request finds a slot.
    #[inline(always)]
    pub fn has_slot(&self) -> bool {
        !is_none(self.free.get())
    }

    /// Whether a request goes out at once: the daemon lives, there is a slot, and nobody waits for one.
    #[inline(always)]
    pub fn takes_at_once(&self) -> bool {
        self.has_slot() && !self.held_up.get()
    }

    /// Whether something waits to be sent.
    pub fn has_waiting(&self) -> bool {
        !(self.waiting.is_empty() && self.cancels.is_empty() && self.closings.is_empty())
    }

    /// Hands a free slot to an operation; returns the tag that goes out, and the byte offset of the slot's part of the
    /// arena. There must be a free one.
    #[inline(always)]
    pub fn ask(&self, table: &Runs<Slot>, op: u32) -> (u32, usize) {
        let slot = table.named(self.free.get());
        self.free.set(slot.op.replace(op));
        let tag = slot.tag.get() ^ FREE;
        slot.tag.set(tag);
        (tag, self.offset(tag))
    }

    /// The operation behind a tag, if that tag is out.
    #[inline(always)]
    pub fn asked(&self, table: &Runs<Slot>, tag: u32) -> Option<u32> {
        Some(table.named(self.find(table, tag)?).op())
    }

    /// The name of the slot behind a tag, if that tag is out.
    #[inline(always)]
    pub fn find(&self, table: &Runs<Slot>, tag: u32) -> Option<u32> {
        let index = tag & 0xffff;
        if index > self.mask.get() {
            return None;
        }
        let name = table.name(self.slots.get(), index);
        (table.named(name).tag.get() == tag).then_some(name)
    }

    /// Takes the slot of a tag back, which is out: it goes stale.
    pub fn take_back(&self, table: &Runs<Slot>, tag: u32) {
        let index = tag & self.mask.get();
        self.answered(table, table.name(self.slots.get(), index), tag);
    }

    /// Takes a slot back, whose tag is out: it goes stale.
    #[inline(always)]
    pub fn answered(&self, table: &Runs<Slot>, name: u32, tag: u32) {
        let slot = table.named(name);
        slot.tag.set(tag.wrapping_add(GENERATION | FREE));
        slot.op.set(self.free.replace(name));
    }

    /// Number of slots in the daemon's hands. Looks at all of them.
    pub fn owed(&self, table: &Runs<Slot>) -> usize {
        (0..self.count()).filter(|&index| self.owed_at(table, index).is_some()).count()
    }

    /// The operation in slot `index`, if its tag is out.
    pub fn owed_at(&self, table: &Runs<Slot>, index: u32) -> Option<u32> {
        let slot = table.named(table.name(self.slots.get(), index & self.mask.get()));
        (slot.tag.get() & FREE == 0).then(|| slot.op.get())
    }

    /// Byte offset of a tag's part of the arena; the tag is out.
    #[inline(always)]
    pub fn offset(&self, tag: u32) -> usize {
        u64::from(tag & 0xffff).wrapping_mul(self.slot_bytes.get()) as usize
    }

    /// Bytes of a slot.
    #[inline(always)]
    pub fn slot_bytes(&self) -> u64 {
        self.slot_bytes.get()
    }

    /// Whether the daemon lives.
    pub fn lives(&self) -> bool {
        !is_none(self.ring.get())
    }
}
