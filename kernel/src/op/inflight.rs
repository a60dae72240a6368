//! The record of an operation that waits. It is the only thing that remembers it.
//!
//! It is filed under the one thing that can wake it, and in its ring's circle so that it can be cancelled.
//! A forwarded operation whose asker is gone or has cancelled it by force is detached: its ring is `NONE`,
//! and only the daemon's reply or death frees it.
//! A wait for several words has a record more for each word, which no ring has.
//! A record whose plain read was answered may wait at its link for the next one (see [`crate::scheme::link`]).
#![forbid(unsafe_code)]

use crate::base::NONE;
use crate::base::list::Link;
use crate::base::name::{Named, Room};
use crate::mem::arena::Record;
use crate::ring::flight::{LINK_OFFSET, OP_ROOM};
use core::cell::Cell;
use core::mem::offset_of;
use ring_abi::Opcode;

/// What an operation waits for, and so where its `queue` link is filed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Wait {
    /// Nothing: the record is free, or waits at its link for a request, or its operation is just starting.
    #[default]
    Free,
    /// The daemon's reply; `slot_tag` is out.
    Reply,
    /// Room at the link: in its `waiting`.
    Room,
    /// Its turn at the file's cursor: in its `turns`.
    Turn,
    /// A futex's wake-up, a file's event or an interrupt: on a channel.
    Channel,
    /// One of several words: its arms are on their channels (see [`super::several`]).
    Several,
    /// Only its deadline.
    Time,
    /// A context's end or its standing still: in its `watchers`.
    End,
    /// Its next slice of work: in the system's work list.
    Work,
    /// Other processors, which have to forget translations: in the system's list of flushes.
    Flush,
    /// The end of the one before it in its chain, or the rest of a chain that is not taken whole yet: it has not started.
    Chain,
    /// A barrier, or as one what was submitted before it: in its ring's [`Line`](crate::ring::tie::Line). It has not
    /// started.
    Barrier,
    /// Nothing any more: in the system's list of those that are to start, or to end without that.
    Due,
    /// Room in another ring's completion queue: in its port's `waiting`.
    Message,
    /// A page of a window: its `queue` names who waits (see [`super::page_in`]).
    Page,
}

/// Mark of an operation: it has its turn at the file's cursor.
pub const HAS_TURN: u8 = 1;
/// Mark of an operation: there is a [`Tie`](crate::ring::tie::Tie) of it, and `tag` is its name.
pub const TIED: u8 = 2;
/// Mark of an operation: it is the last one before a barrier of its ring.
pub const GUARD: u8 = 4;

/// How far the notice of a cancel has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Notice {
    /// There is none.
    #[default]
    None,
    /// It waits in the link's `cancels` (through `queue`).
    Pending,
    /// The daemon was told.
    Told,
}

/// An operation that waits.
#[derive(Debug)]
#[repr(C)]
pub struct Op {
    /// What it waits for.
    pub wait: Cell<Wait>,
    /// What was asked.
    pub opcode: Cell<Opcode>,
    /// Whether the daemon was asked to cancel it; the deadline is then the grace's end.
    pub notice: Cell<Notice>,
    /// [`HAS_TURN`] and its like.
    pub marks: Cell<u8>,
    /// The ring that its completion goes to, or `NONE` if it is detached. Of no meaning while the record is free.
    pub ring: Cell<u32>,
    /// The asker's tag; with the mark [`TIED`] its [`Tie`](crate::ring::tie::Tie), which has the tag.
    pub tag: Cell<u32>,
    /// The tag in the daemon's hands, or the one that goes out next while the record waits at its link.
    pub slot_tag: Cell<u32>,
    /// The file it works on, held; or `NONE`. Of no meaning while the record is free.
    pub file: Cell<u32>,
    /// When it started, in ticks of the processor (low 32 bits).
    pub started: Cell<u32>,
    /// The link, channel, context or port that its `queue` belongs to.
    pub object: Cell<u32>,
    /// Position in the timer heap, or `NONE`.
    pub timer: Cell<u32>,
    /// Place in its ring's circle.
    pub of_ring: Link,
    /// Place in what it waits for; also chains the records that wait at a link.
    pub queue: Link,
    /// Arguments, as the opcode has them (of a plain read or open not the fourth, but where its slot of the arena
    /// begins); work keeps its progress here.
    pub args: [Cell<u64>; 5],
}

impl Default for Op {
    fn default() -> Self {
        Op {
            wait: Cell::default(),
            opcode: Cell::new(Opcode::Nop),
            notice: Cell::default(),
            marks: Cell::new(0),
            ring: Cell::new(NONE),
            tag: Cell::new(0),
            slot_tag: Cell::new(0),
            file: Cell::new(NONE),
            object: Cell::new(NONE),
            timer: Cell::new(NONE),
            started: Cell::new(0),
            of_ring: Link::default(),
            queue: Link::default(),
            args: [const { Cell::new(0) }; 5],
        }
    }
}

impl Named for Op {
    const ROOM: Room = Room::Near(OP_ROOM);
}

impl Record for Op {
    fn free_link(&self) -> &Cell<u32> {
        self.queue.cell()
    }
}

const _: () = assert!(size_of::<Op>() <= 96);
const _: () = assert!(offset_of!(Op, of_ring) == LINK_OFFSET);

/// What an operation waits for, what was asked, its notice and its marks, for one store and one compare on the shortest
/// road.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// What it waits for.
    pub wait: Wait,
    /// What was asked.
    pub opcode: Opcode,
    /// Whether the daemon was asked to cancel it.
    pub notice: Notice,
    /// [`HAS_TURN`] and its like.
    pub marks: u8,
}

impl Shape {
    /// The same as a number.
    #[inline(always)]
    pub const fn number(self) -> u32 {
        u32::from_le_bytes([self.wait as u8, self.opcode as u8, self.notice as u8, self.marks])
    }
}

/// An operation in a daemon's hands that nothing special is about: a read with its own offset, whose asker waits for
/// it. (One that was detached has a notice as long as its daemon lives.)
pub const PLAIN_READ: Shape =
    Shape { wait: Wait::Reply, opcode: Opcode::Read, notice: Notice::None, marks: 0 };

/// The same of an open.
pub const PLAIN_OPEN: Shape = Shape { opcode: Opcode::OpenAt, ..PLAIN_READ };

/// A swap that waits, and nothing special is about it: it is no part of a chain.
pub const PLAIN_SWAP: Shape =
    Shape { wait: Wait::Channel, opcode: Opcode::FutexSwap, notice: Notice::None, marks: 0 };

impl Op {
    /// Argument `index`, 0 where there is none.
    #[inline(always)]
    pub fn arg(&self, index: usize) -> u64 {
        self.args.get(index).map_or(0, Cell::get)
    }

    /// Sets an argument.
    #[inline(always)]
    pub fn set_arg(&self, index: usize, value: u64) {
        if let Some(cell) = self.args.get(index) {
            cell.set(value);
        }
    }

    /// What it waits for, what was asked, its notice and its marks.
    #[inline(always)]
    pub fn shape(&self) -> Shape {
        let (wait, opcode) = (self.wait.get(), self.opcode.get());
        Shape { wait, opcode, notice: self.notice.get(), marks: self.marks.get() }
    }

    /// Sets all of that.
    #[inline(always)]
    pub fn set_shape(&self, shape: Shape) {
        self.wait.set(shape.wait);
        self.opcode.set(shape.opcode);
        self.notice.set(shape.notice);
        self.marks.set(shape.marks);
    }

    /// Its shape and its ring, in one number.
    #[inline(always)]
    pub fn kin(&self) -> u64 {
        u64::from(self.shape().number()) | u64::from(self.ring.get()) << 32
    }

    /// Its file and, in the upper half, when it started, in one number.
    #[inline(always)]
    pub fn lot(&self) -> u64 {
        u64::from(self.file.get()) | u64::from(self.started.get()) << 32
    }

    /// Sets a mark.
    pub fn mark(&self, mark: u8) {
        self.marks.set(self.marks.get() | mark);
    }

    /// Takes a mark away: whether it was there.
    pub fn unmark(&self, mark: u8) -> bool {
        let before = self.marks.get();
        self.marks.set(before & !mark);
        before & mark != 0
    }

    /// Whether a mark is there.
    pub fn is_marked(&self, mark: u8) -> bool {
        self.marks.get() & mark != 0
    }

    /// Whether nobody waits for its completion any more.
    pub fn is_detached(&self) -> bool {
        self.ring.get() == NONE
    }
}
