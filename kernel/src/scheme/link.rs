//! One daemon's service pair: where requests go out and replies are matched to what was asked.
//!
//! A request in a daemon's hands holds one slot: an index of 16 bits that is at once its place in the
//! table of tags, its part of the arena, and (since there are as many slots as places in the queue) its
//! claim to a place. The tag is the index and a generation of 16 bits, and the operation's record keeps it,
//! so one compare finds a stale or made-up tag. Only this link's table is looked at, so no daemon can answer
//! for another.
//!
//! A record whose request was answered may keep its slot, and waits for the next request: then neither has to be found
//! again.
//!
//! Invariants:
//!
//! - a slot's `op` is a record that has it, which is out or in `bound`; or nobody's, and the slot is in `holes`
//!   or not before `fresh`;
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
/// The part of a tag that is an index.
const INDEX: u32 = GENERATION - 1;

const _: () = assert!(1_u32 << ring_abi::layout::MAX_LOG2 <= INDEX);

/// The record of an operation that never is: it has the slots that nobody has.
pub const NOBODY: u32 = 0;
/// The tag of [`NOBODY`]: no slot has such an index.
pub const NO_TAG: u32 = u32::MAX;

/// Where the records of operations are.
pub trait Records {
    /// A record's tag: the one that is out, or the next one while it waits for a request.
    fn tag(&self, op: u32) -> &Cell<u32>;
    /// What chains records that wait for a request.
    fn next(&self, op: u32) -> &Cell<u32>;
    /// Whether a daemon has it.
    fn is_out(&self, op: u32) -> bool;
}

/// One place in a link's table of requests.
#[derive(Debug, Default)]
pub struct Slot {
    /// The record that has it.
    op: Cell<u32>,
    /// While nobody has it: the next generation, and in `holes` the index of the next such slot.
    hole: Cell<u32>,
}

impl Named for Slot {
    const ROOM: Room = Room::Near(6);
}

impl Cellular for Slot {
    fn free_link(&self) -> &Cell<u32> {
        &self.op
    }
}

/// What decides whether a request goes out at once, read as one number.
#[derive(Debug)]
#[repr(C, align(8))]
struct Front {
    /// First record that has a slot and waits for a request, or `NONE`.
    bound: Cell<u32>,
    /// One if requests go the general road, and there may be something to send when the daemon looks: something waits in
    /// one of the link's three lists, or did until now; or the daemon is gone. Otherwise zero.
    held_up: Cell<u32>,
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
    front: Front,
    /// Index of the first slot that nobody has, or [`INDEX`].
    holes: Cell<u32>,
    /// Index of the first slot that nobody has had since the link began, nor any behind it.
    fresh: Cell<u32>,
    /// Bytes of a slot of the arena.
    slot_bytes: Cell<u64>,
    /// The arena, as the kernel reaches it.
    pub arena: Cell<UserPtr>,
    /// The arena, as the daemon sees it.
    pub arena_address: Cell<u64>,
    /// The arena's wired block (see `mem::wired`).
    pub block: Cell<u32>,
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
            front: Front { bound: Cell::new(NONE), held_up: Cell::new(0) },
            holes: Cell::new(INDEX),
            fresh: Cell::new(0),
            slot_bytes: Cell::new(0),
            arena: Cell::default(),
            arena_address: Cell::new(0),
            block: Cell::new(NONE),
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
    /// Takes a row of `1 << log2` slots into use, which nobody has: whoever had the row before took its records out.
    pub fn open(&self, table: &Runs<Slot>, first: u32, log2: u8) {
        self.slots.set(first);
        self.log2.set(log2);
        self.mask.set((1_u32 << log2).wrapping_sub(1));
        // While the row was free this was its place among free rows.
        self.slot(table, 0).op.set(NOBODY);
        self.holes.set(INDEX);
        self.fresh.set(0);
        self.front.bound.set(NONE);
    }

    /// Takes the index of a slot that nobody has.
    fn take_index(&self, table: &Runs<Slot>) -> Option<u32> {
        let index = self.holes.get();
        if index != INDEX {
            self.holes.set(self.slot(table, index).hole.get() & INDEX);
            return Some(index);
        }
        let fresh = self.fresh.get();
        if fresh == self.count() {
            return None;
        }
        debug_assert!(self.slot(table, fresh).op.get() == NOBODY, "a fresh slot is nobody's");
        self.fresh.set(fresh.wrapping_add(1));
        Some(fresh)
    }

    #[inline(always)]
    fn slot<'a>(&self, table: &'a Runs<Slot>, index: u32) -> &'a Slot {
        table.named(table.name(self.slots.get(), index))
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
    pub fn has_slot(&self) -> bool {
        self.has_record() || self.holes.get() != INDEX || self.fresh.get() != self.count()
    }

    /// Whether a request finds a record that has a slot.
    #[inline(always)]
    pub fn has_record(&self) -> bool {
        !is_none(self.front.bound.get())
    }

    /// Whether a request goes out at once with a record of the link's: the daemon lives, there is one, and nobody
    /// waits.
    #[inline(always)]
    pub fn takes_at_once(&self) -> bool {
        u64::from(self.front.held_up.get()) << 32 | u64::from(self.front.bound.get()) <= i32::MAX as u64
    }

    /// Whether requests go the general road, and the daemon may be sent something that waits.
    #[inline(always)]
    pub fn is_held_up(&self) -> bool {
        self.front.held_up.get() != 0
    }

    /// Sends requests the general road, or no longer.
    pub fn hold_up(&self, held_up: bool) {
        self.front.held_up.set(u32::from(held_up));
    }

    /// Whether something waits to be sent.
    pub fn has_waiting(&self) -> bool {
        !(self.waiting.is_empty() && self.cancels.is_empty() && self.closings.is_empty())
    }

    /// Takes a record that has a slot, for a request: its name and the tag that goes out. There must be one.
    #[inline(always)]
    pub fn ask(&self, records: &impl Records) -> (u32, u32) {
        let op = self.front.bound.get();
        self.front.bound.set(records.next(op).get());
        (op, records.tag(op).get())
    }

    /// Where the part of the arena begins that the record has which goes out next. There must be one.
    #[inline(always)]
    pub fn next_offset(&self, records: &impl Records) -> usize {
        self.offset(records.tag(self.front.bound.get()).get())
    }

    /// Gives a slot to a record that has none: the tag that goes out, and the record that had the slot, if one waited
    /// with it. There must be one.
    pub fn bind(&self, table: &Runs<Slot>, records: &impl Records, op: u32) -> (u32, Option<u32>) {
        let Some(index) = self.take_index(table) else {
            let (spare, tag) = self.ask(records);
            self.slot(table, tag & INDEX).op.set(op);
            records.tag(op).set(tag);
            return (tag, Some(spare));
        };
        let slot = self.slot(table, index);
        let tag = slot.hole.get() & !INDEX | index;
        slot.op.set(op);
        records.tag(op).set(tag);
        (tag, None)
    }

    /// Takes the slot of a tag, which is out, from its record: the tag goes stale.
    pub fn unbind(&self, table: &Runs<Slot>, tag: u32) {
        let index = tag & self.mask.get();
        let slot = self.slot(table, index);
        slot.op.set(NOBODY);
        slot.hole.set((tag & !INDEX).wrapping_add(GENERATION) | self.holes.get());
        self.holes.set(index);
    }

    /// Keeps a record, whose tag is out, with its slot for the next request: the tag goes stale.
    #[inline(always)]
    pub fn put_back(&self, records: &impl Records, op: u32, tag: u32) {
        self.put_before(records, op, tag, self.front.bound.replace(op));
    }

    /// The same, before another record that waits, or `NONE`; the link learns of it by [`set_bound`](Self::set_bound).
    #[inline(always)]
    pub fn put_before(&self, records: &impl Records, op: u32, tag: u32, next: u32) {
        records.tag(op).set(tag.wrapping_add(GENERATION));
        records.next(op).set(next);
    }

    /// First record that has a slot and waits for a request, or `NONE`.
    #[inline(always)]
    pub fn bound(&self) -> u32 {
        self.front.bound.get()
    }

    /// Makes a record the first one that waits: one that was put before the one that was.
    #[inline(always)]
    pub fn set_bound(&self, op: u32) {
        self.front.bound.set(op);
    }

    /// Takes its slot from a record that waits, if there is one.
    pub fn pop_record(&self, table: &Runs<Slot>, records: &impl Records) -> Option<u32> {
        if !self.has_record() {
            return None;
        }
        let (op, tag) = self.ask(records);
        self.unbind(table, tag);
        Some(op)
    }

    /// The record that has a tag, if that tag is out or is the one that goes out next.
    #[inline(always)]
    pub fn find(&self, table: &Runs<Slot>, records: &impl Records, tag: u32) -> Option<u32> {
        // One that is too large has another one's slot, but then not its tag.
        let op = self.slot(table, tag & self.mask.get()).op.get();
        (records.tag(op).get() == tag).then_some(op)
    }

    /// The operation behind a tag, if that tag is out.
    pub fn asked(&self, table: &Runs<Slot>, records: &impl Records, tag: u32) -> Option<u32> {
        self.find(table, records, tag).filter(|&op| records.is_out(op))
    }

    /// Number of slots in the daemon's hands. Looks at all of them.
    pub fn owed(&self, table: &Runs<Slot>, records: &impl Records) -> usize {
        (0..self.count()).filter(|&index| self.owed_at(table, records, index).is_some()).count()
    }

    /// The operation in slot `index`, if its tag is out.
    pub fn owed_at(&self, table: &Runs<Slot>, records: &impl Records, index: u32) -> Option<u32> {
        let op = self.slot(table, index & self.mask.get()).op.get();
        records.is_out(op).then_some(op)
    }

    /// Byte offset of a tag's part of the arena; the tag is out.
    #[inline(always)]
    pub fn offset(&self, tag: u32) -> usize {
        u64::from(tag & INDEX).wrapping_mul(self.slot_bytes.get()) as usize
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
