//! One ring as the kernel sees it: the kernel's four ends and what the ring belongs to.
//!
//! Invariants:
//!
//! - a completion's place is promised (`cq.claim`) before its operation starts and filled exactly once;
//! - every operation in flight is in `ops` (see [`super::flight`]) exactly once, unless it was detached from its ring;
//! - `waits` is set only while the owner waits on this ring.
#![forbid(unsafe_code)]

use super::flight::RING_ROOM;
use crate::base::NONE;
use crate::base::list::Link;
use crate::base::name::{Named, Room};
use crate::mem::arena::Record;
use crate::mem::user::PageCache;
use core::cell::Cell;
use ring_abi::enter;
use ring_abi::layout::{flags, word};
use ring_abi::map::{self, CqeQueue};
use ring_abi::ring::{Consumer, Corrupt, Producer, Promiser};
use ring_abi::sync::Ordering::Relaxed;

/// Flag in [`Ring::waits`]: the owner has a deadline, is to stop when it wakes, or is limited to some processors.
pub const ODD: u8 = 1 << 7;
/// Flag in [`Ring::waits`], beside that of completions: the next one ends the wait, whatever [`Ring::wake_at`] is.
pub const NEXT: u8 = 1 << 6;

/// A mark of a ring: submissions stayed for lack of room, and the program was told so.
pub const STARVED: u8 = 1;
/// A mark of a ring: handles lead to it (see [`super::port`]), so completions may come that no operation of its own brings.
pub const OPEN: u8 = 1 << 1;
/// A mark of a ring: messages wait for room in its completion queue, and none is known there.
pub const BACKLOG: u8 = 1 << 2;

/// A mark of a ring: its owner may not use all that the short roads do without a look, so no room is known in its
/// completion queue between two entries, and none of its entries takes such a road.
pub const GUARDED: u8 = 1 << 3;

/// A mark of a ring: processors that have nobody to run may look for its entries (see `op::polled`). No room is known in
/// its completion queue between two entries, as for one that is guarded.
pub const POLLED: u8 = 1 << 4;
/// A mark of a ring: one does, so an entry takes no submissions.
pub const WATCHED: u8 = 1 << 5;

/// A ring of a context.
///
/// In this order, so that it is two cache lines and `ops` lies where [`super::flight`] can name it.
#[derive(Debug)]
#[repr(C)]
pub struct Ring {
    /// The memory that both ends map.
    pub memory: Cell<map::Ring>,
    /// Submissions taken.
    pub sq: Consumer,
    /// Operations in flight: the ring's node in their circle.
    pub ops: Link,
    /// The last page that its operations touched.
    pub cache: PageCache,
    /// Completions given.
    pub cq: Promiser,
    /// Its own name.
    pub id: Cell<u32>,
    /// The context that owns it.
    pub owner: Cell<u32>,
    /// Position of the completion queue at which the wait ends, unless the next completion ends it.
    pub wake_at: Cell<u32>,
    /// The link that is served through it.
    pub link: Cell<u32>,
    /// Requests given.
    pub rq: Producer,
    /// Replies taken.
    pub rp: Consumer,
    /// The owner's address space.
    pub space: Cell<u32>,
    /// Which page of rings it lies in, and where in it (see [`super::place`]); threads the free list.
    pub page: Cell<u32>,
    /// What is taken and has not started: a [`Line`](super::tie::Line), [`REFUSING`](super::tie::REFUSING), or `NONE`.
    pub line: Cell<u32>,
    /// What it was fitted out with (see [`super::outfit`]), or `NONE`.
    pub outfit: Cell<u32>,
    /// Position of the completion queue up to which the tracer has printed.
    pub traced: Cell<u32>,
    /// [`ring_abi::enter`] flags that the owner waits with, [`NEXT`] and [`ODD`]; zero when it does not wait.
    pub waits: Cell<u8>,
    /// What is not as usual about it: [`STARVED`], [`OPEN`], [`BACKLOG`], [`GUARDED`], [`POLLED`],
    /// [`WATCHED`].
    pub marks: Cell<u8>,
    /// Its place in its page.
    pub slot: Cell<u8>,
}

const _: () = assert!(size_of::<Ring>() == 128);

impl Default for Ring {
    fn default() -> Self {
        Ring {
            memory: Cell::default(),
            sq: Consumer::new(),
            cq: Promiser::new(),
            marks: Cell::new(0),
            cache: PageCache::default(),
            ops: Link::default(),
            id: Cell::new(NONE),
            owner: Cell::new(NONE),
            space: Cell::new(NONE),
            waits: Cell::new(0),
            wake_at: Cell::new(0),
            link: Cell::new(NONE),
            rq: Producer::new(),
            rp: Consumer::new(),
            page: Cell::new(NONE),
            slot: Cell::new(0),
            line: Cell::new(NONE),
            traced: Cell::new(0),
            outfit: Cell::new(NONE),
        }
    }
}

impl Named for Ring {
    const ROOM: Room = Room::Near(RING_ROOM);
}

impl Record for Ring {
    fn free_link(&self) -> &Cell<u32> {
        &self.page
    }
}

impl Ring {
    /// Shows so many completions that were written into the places that were promised for them: the position that
    /// completions go up to now.
    #[inline(always)]
    #[must_use = "an owner that waited for this must be woken"]
    pub fn show(&self, count: u32) -> u32 {
        let memory = self.memory.get();
        let position = self.cq.filled(count);
        self.cq.publish_to(&memory.cq(), position);
        position
    }

    /// The owner, which waits here, is to stop when it wakes.
    pub fn be_odd(&self) {
        self.waits.set(self.waits.get() | ODD);
    }

    /// Whether the owner waits for what a flag of [`ring_abi::enter`] names.
    #[inline(always)]
    pub fn waits_for(&self, flag: u64) -> bool {
        u64::from(self.waits.get()) & flag != 0
    }

    /// Whether the owner waits for what a flag of [`ring_abi::enter`] names and nothing else, and nothing is [odd](ODD) about that.
    #[inline(always)]
    pub fn waits_alone_for(&self, flag: u64) -> bool {
        u64::from(self.waits.get()) == flag
    }

    /// Whether the program has taken every completion that it was given, so that it can wait for the next one.
    #[inline(always)]
    pub fn is_drained(&self, completions: &CqeQueue<'_>) -> bool {
        self.cq.is_drained(completions, self.cq.position())
    }

    /// Whether the owner waits for the next completion and nothing else, and nothing is [odd](ODD) about that.
    #[inline(always)]
    pub fn waits_for_next(&self) -> bool {
        self.waits.get() == enter::COMPLETIONS as u8 | NEXT
    }

    /// Position of the completion queue at which the owner's wait for completions ends.
    pub fn ends_at(&self) -> u32 {
        if self.waits.get() & NEXT != 0 { self.cq.position().wrapping_add(1) } else { self.wake_at.get() }
    }

    /// Whether the completion that the owner waits for comes before a position of the completion queue, behind which
    /// there is a new one.
    #[inline(always)]
    pub fn reaches(&self, position: u32) -> bool {
        self.waits.get() & NEXT != 0 || (position.wrapping_sub(self.wake_at.get()) as i32) >= 0
    }

    /// Sets the position at which a wait for `min_complete` completions ends, counted from what the program
    /// has taken. How many are missing.
    ///
    /// A wait that only completions can end (`alone`) is clamped to what can still come, unless [others](Self::may_get_others)
    /// may come: all that are promised but those that `stay` until the program submits more. An index that cannot be is found when it
    /// matters: here if it says that there is enough, otherwise when room is looked for.
    #[inline(always)]
    pub fn aim(&self, min_complete: u64, alone: bool, stay: impl FnOnce() -> u32) -> Result<u32, Corrupt> {
        let memory = self.memory.get();
        let untaken = u64::from(self.cq.lag(&memory.cq()));
        if untaken >= min_complete {
            return self.cq.untaken(&memory.cq()).map(|_| 0);
        }
        // Others may fill the queue; a full one ends every wait.
        let most = if alone && !(self.is_marked(OPEN | WATCHED) && self.may_get_others()) {
            u64::from(self.cq.held().wrapping_sub(stay()))
        } else {
            self.places_left(untaken)
        };
        let missing = min_complete.wrapping_sub(untaken).min(most) as u32;
        self.wake_at.set(self.cq.position().wrapping_add(missing));
        Ok(missing)
    }

    /// Whether completions may come that are not promised: messages, or those of submissions that are still to be taken.
    #[cold]
    pub fn may_get_others(&self) -> bool {
        self.is_marked(OPEN) || self.is_marked(WATCHED) && !self.sq.is_empty(&self.memory.get().sq())
    }

    /// Places of the completion queue behind so many entries that the program has not taken.
    fn places_left(&self, untaken: u64) -> u64 {
        u64::from(self.memory.get().cq().capacity()).saturating_sub(untaken)
    }

    /// Whether something is not as usual.
    #[inline(always)]
    pub fn is_marked(&self, mark: u8) -> bool {
        self.marks.get() & mark != 0
    }

    /// Somebody looked for room in the completion queue: a ring whose entries must not take a short road forgets what was
    /// found. Others may come first, which are paused or held, or wait with messages, or its owner may not use everything; or
    /// a processor takes its entries.
    pub fn guard(&self) {
        if self.is_marked(STARVED | BACKLOG | GUARDED | POLLED) || self.line.get() != NONE {
            self.cq.forget_room();
        }
    }

    /// Sets or clears a mark, and tells the program what it has to know of it.
    #[cold]
    pub fn mark(&self, mark: u8, on: bool) {
        let marks = if on { self.marks.get() | mark } else { self.marks.get() & !mark };
        self.marks.set(marks);
        let starved = if marks & STARVED != 0 { flags::NEED_ENTER } else { 0 };
        let backlog = if marks & BACKLOG != 0 { flags::BACKLOG } else { 0 };
        self.memory.get().header(word::FLAGS).store(starved | backlog, Relaxed);
    }
}
