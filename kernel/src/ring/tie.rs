//! How operations of a ring depend on each other. Most do not, and have none of this.
//!
//! A [`Tie`] belongs to one operation that was submitted with a flag, or behind a barrier. It keeps the submission until the
//! operation starts, since no word of it is read twice, and says who comes behind it in its chain. The operation's record
//! names its tie in place of its tag.
//!
//! A [`Line`] belongs to a ring that has taken what must not start yet: a chain that is not taken whole, or a barrier and
//! what is behind it. While a ring has one, no slot of its completion queue is known to be free, so the short roads leave it
//! alone.
#![forbid(unsafe_code)]

use crate::base::NONE;
use crate::base::list::List;
use crate::base::name::Named;
use crate::mem::arena::Record;
use core::cell::Cell;
use ring_abi::opcode::Origin;
use ring_abi::sqe::{Head, SqeFlags};
use ring_abi::{Errno, Opcode, Sqe, Words, args};

/// In place of a line: there was no memory for one, and what is left of a chain that fails for that is refused.
pub const REFUSING: u32 = 0x7fff_ffff;

/// Mark of a tie: the operation starts only when all before it in its ring have ended.
pub const DRAIN: u8 = 1;
/// Mark of a tie: the operation was let through its ring's barrier, and the next one there waits for it to start.
pub const RELEASED: u8 = 2;

/// One operation's ties to others.
#[derive(Debug, Default)]
pub struct Tie {
    /// First word of the submission.
    head: Cell<u64>,
    /// Its arguments, as far as the opcode has them.
    args: [Cell<u64>; 6],
    /// The operation before it in its chain, if that has not ended.
    pub prev: Cell<u32>,
    /// The operation behind it in its chain, which has not started.
    pub next: Cell<u32>,
    /// The linked timeout that bounds it, or the operation that it bounds.
    pub limit: Cell<u32>,
    /// Number of the error that it is to end with instead of starting, or zero.
    verdict: Cell<u16>,
    /// [`DRAIN`] and [`RELEASED`].
    pub marks: Cell<u8>,
}

const _: () = assert!(size_of::<Tie>() <= 80);

impl Named for Tie {}

impl Record for Tie {
    fn free_link(&self) -> &Cell<u32> {
        &self.next
    }
}

impl Tie {
    /// What it is to end with instead of starting.
    pub fn verdict(&self) -> Option<Errno> {
        Errno::from_raw(u64::from(self.verdict.get()))
    }

    /// Lets it end so instead of starting.
    pub fn set_verdict(&self, verdict: Option<Errno>) {
        self.verdict.set(verdict.map_or(0, Errno::raw));
    }

    /// Becomes the tie of a submission, whose first word was read; reads the others that its opcode has.
    pub fn open(&self, head: Head, entry: &impl Words) {
        self.head.set(head.0);
        let named = Opcode::from_raw(head.opcode()).map_or(0, words_of);
        for (index, cell) in self.args.iter().enumerate() {
            cell.set(if named >> index & 1 != 0 { entry.arg(index) } else { 0 });
        }
        self.prev.set(NONE);
        self.next.set(NONE);
        self.limit.set(NONE);
        self.verdict.set(0);
        self.marks.set(if self.has(SqeFlags::DRAIN) { DRAIN } else { 0 });
    }

    /// First word of the submission.
    pub fn head(&self) -> Head {
        Head(self.head.get())
    }

    /// Whether it was submitted with one of these flags.
    pub fn has(&self, flags: SqeFlags) -> bool {
        self.head().flags() & flags.bits() != 0
    }

    /// Argument `index` of the submission.
    pub fn arg(&self, index: usize) -> u64 {
        self.args.get(index).map_or(0, Cell::get)
    }

    /// The submission.
    pub fn entry(&self) -> Sqe {
        let [a, b, c, d, e, f] = self.args.each_ref().map(Cell::get);
        Sqe::from_words([self.head.get(), a, b, c, d, e, f, 0])
    }
}

/// A bit for each argument word that an operation reads. What a daemon is to see is read as it is.
fn words_of(opcode: Opcode) -> u8 {
    if opcode.origin() == Origin::Forwarded {
        return 0b1_1111;
    }
    args::fields(opcode).iter().fold(0, |bits, (_, index)| bits | 1_u8.wrapping_shl(*index as u32))
}

/// What a ring has taken that must not start yet.
#[derive(Debug)]
pub struct Line {
    /// Barriers and what is behind them, in the order of submission; of a chain its head.
    pub barred: List,
    /// First operation of the chain that is not taken whole, or `NONE`.
    pub first: Cell<u32>,
    /// Its last operation so far.
    pub last: Cell<u32>,
    /// How many it has so far.
    pub count: Cell<u32>,
    /// What is left of a chain that failed is refused.
    pub refusing: Cell<bool>,
    /// What is submitted next is a barrier: it comes behind a chain that has one inside.
    pub drain_next: Cell<bool>,
    /// One was let through the barrier and has not started yet.
    pub releasing: Cell<bool>,
}

impl Default for Line {
    fn default() -> Self {
        Line {
            barred: List::new(),
            first: Cell::new(NONE),
            last: Cell::new(NONE),
            count: Cell::new(0),
            refusing: Cell::new(false),
            drain_next: Cell::new(false),
            releasing: Cell::new(false),
        }
    }
}

impl Named for Line {}

impl Record for Line {
    fn free_link(&self) -> &Cell<u32> {
        &self.first
    }
}

impl Line {
    /// Becomes the line of a ring, with nothing in it.
    pub fn open(&self) {
        debug_assert!(self.barred.is_empty(), "a free line has nobody in it");
        self.forget_chain();
        self.refusing.set(false);
        self.drain_next.set(false);
        self.releasing.set(false);
    }

    /// The chain is whole, or given up.
    pub fn forget_chain(&self) {
        self.first.set(NONE);
        self.last.set(NONE);
        self.count.set(0);
    }

    /// Whether a chain is not taken whole yet.
    pub fn gathers(&self) -> bool {
        self.first.get() != NONE
    }

    /// Whether there is a barrier, so that what is submitted now does not start.
    pub fn bars(&self) -> bool {
        !self.barred.is_empty() || self.releasing.get()
    }

    /// Whether nothing is left that it is for.
    pub fn is_idle(&self) -> bool {
        !self.gathers() && !self.bars() && !self.refusing.get() && !self.drain_next.get()
    }
}
