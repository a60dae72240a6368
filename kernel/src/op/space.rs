//! `SpaceCreate`, `SpaceFork`, `SpaceWrite`: address spaces as objects; and their end.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::inflight::Op;
use super::memory::{end_work, park, set_words, space_of, words};
use super::state::State;
use super::{OpResult, Outcome, page_in, restrict};
use crate::base::NONE;
use crate::base::budget::Budget;
use crate::context::context::Context;
use crate::context::file::Kind;
use crate::mem::Run;
use crate::mem::fork::Fork;
use crate::mem::object::ASK;
use crate::mem::space::{PAGE_BYTES, Space};
use crate::mem::user::{self, Access, UserRange};
use ring_abi::args::SpaceWrite;
use ring_abi::{Errno, Opcode, Words};

/// What a piece of a copy costs beside its bytes, its page being made ready.
const PIECE: u32 = 400;

/// Makes an empty address space. Result: a handle.
pub fn create(cx: &Cx<'_>) -> OpResult {
    let s = cx.s;
    let id = s.memory.create_space()?;
    match cx.open(Kind::Space, id, 0) {
        Ok(handle) => {
            restrict::pass_on(s, cx.context, s.memory.space(id));
            Ok(Outcome::Done(handle))
        }
        Err(error) => {
            s.release_space(id);
            Err(error)
        }
    }
}

/// Copies the caller's address space. Result: a handle.
pub fn fork(cx: &Cx<'_>) -> OpResult {
    let s = cx.s;
    s.ops.ensure_one(&s.memory)?;
    let parent = cx.context.space.get();
    let mut fork = Fork::start(&s.memory, parent)?;

    match fork.run(&s.memory, cx.budget) {
        Run::Done(result) => end_fork(s, (cx.context, cx.slot), &fork, result).map(Outcome::Done),
        Run::More => Ok(park(cx, Opcode::SpaceFork, parent, fork.to_words())),
    }
}

/// Gives the copy a handle, or lets it go.
fn end_fork(
    s: &State,
    (owner, slot): (&Context, u16),
    fork: &Fork,
    result: Result<u64, Errno>,
) -> Result<u64, Errno> {
    let opened = result.and_then(|_| {
        let table = s.tables.at(owner.table.get());
        let place = s.vacant_for(slot, table)?;
        let file = s.files.take(&s.memory)?;
        s.files.at(file).open(Kind::Space, fork.child, 0);
        let before = table.put(&s.chunks, place, file, 0);
        debug_assert_eq!(before, NONE, "the place was vacant");
        Ok(u64::from(place.number()))
    });
    match opened {
        Ok(_) => restrict::pass_on(s, owner, s.memory.space(fork.child)),
        Err(_) => s.release_space(fork.child),
    }
    opened
}

/// Copies bytes of the caller into another address space.
pub fn write(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = SpaceWrite::decode(entry)?;
    let (id, target) = space_of(cx, args.space)?;
    if id == cx.context.space.get() {
        return Err(Errno::INVAL);
    }
    UserRange::new(args.buffer, args.length)?;
    UserRange::new(args.target, args.length)?;
    cx.s.ops.ensure_one(&cx.s.memory)?;
    let mut copy = Copy { to: args.target, from: args.buffer, left: args.length };

    match copy.run(cx.s, cx.space(), target, cx.budget) {
        // It goes on where it is, as work that waits.
        Run::Done(Err(ASK)) => Ok(park(cx, Opcode::SpaceWrite, id, [copy.to, copy.from, copy.left, 0])),
        Run::Done(result) => result.map(Outcome::Done),
        Run::More => Ok(park(cx, Opcode::SpaceWrite, id, [copy.to, copy.from, copy.left, 0])),
    }
}

/// Bytes on their way from one space to another.
struct Copy {
    to: u64,
    from: u64,
    left: u64,
}

impl Copy {
    /// Goes on, piece by piece; a piece lies in one page on both sides.
    fn run(&mut self, s: &State, source: &Space, target: &Space, budget: &Budget) -> Run {
        while self.left > 0 {
            let room = |address: u64| PAGE_BYTES.wrapping_sub(address & PAGE_BYTES.wrapping_sub(1));
            let count = self.left.min(room(self.to)).min(room(self.from));
            if !budget.spend(PIECE.wrapping_add((count >> 3) as u32)) {
                return Run::More;
            }
            let from = match user::page_place(&s.memory, source, self.from, Access::Read) {
                Ok(place) => place,
                Err(error) => return Run::Done(Err(error)),
            };
            match target.place_for_owner(&s.memory, self.to, count) {
                Ok(to) => s.memory.machine.copy(to, from, count as usize),
                Err(error) => return Run::Done(Err(error)),
            }
            self.to = self.to.wrapping_add(count);
            self.from = self.from.wrapping_add(count);
            self.left = self.left.wrapping_sub(count);
        }
        Run::Done(Ok(0))
    }
}

/// Goes on with one of these operations. `false`: it has ended.
pub fn slice(s: &State, id: u32, budget: &Budget) -> bool {
    let op = s.ops.at(id);
    let run = match op.opcode.get() {
        Opcode::SpaceFork => slice_fork(s, op, budget),
        _ => slice_write(s, op, budget),
    };
    match run {
        Run::More => true,
        Run::Done(Err(ASK)) => {
            wait_for_page(s, id);
            false
        }
        Run::Done(result) => {
            end_work(s, id, result);
            false
        }
    }
}

/// An operation that works needs a page that a daemon is asked for.
fn wait_for_page(s: &State, id: u32) {
    let parked = match s.rings.get(s.ops.at(id).ring.get()) {
        Some(ring) => s.park_op(page_in::Who::Work, ring, id),
        None => Err(Errno::CANCELED),
    };
    if let Err(error) = parked {
        end_work(s, id, Err(error));
    }
}

fn slice_fork(s: &State, op: &Op, budget: &Budget) -> Run {
    let mut fork = Fork::from_words(words(op));
    let Some(ring) = s.rings.get(op.ring.get()) else {
        s.release_space(fork.child);
        return Run::Done(Err(Errno::CANCELED));
    };
    match fork.run(&s.memory, budget) {
        Run::More => {
            set_words(op, fork.to_words());
            Run::More
        }
        Run::Done(result) => {
            let owner = s.contexts.at(ring.owner.get());
            Run::Done(end_fork(s, (owner, s.slot_of(op)), &fork, result))
        }
    }
}

fn slice_write(s: &State, op: &Op, budget: &Budget) -> Run {
    let Some(ring) = s.rings.get(op.ring.get()) else { return Run::Done(Err(Errno::CANCELED)) };
    let [to, from, left, _] = words(op);
    let mut copy = Copy { to, from, left };
    let run = copy.run(s, s.memory.space(ring.space.get()), s.memory.space(op.object.get()), budget);
    set_words(op, [copy.to, copy.from, copy.left, 0]);
    run
}

/// Whether no address space is being taken apart.
#[inline]
pub fn is_idle(s: &State) -> bool {
    s.memory.is_idle()
}

/// Takes an address space that ends a little further apart. `false`: there is none.
pub fn slice_ending(s: &State, budget: &Budget) -> bool {
    s.memory.slice_ending(budget)
}

/// Ends an address space that nobody holds any more; the rest follows in slices.
pub fn end(s: &State, id: u32) {
    s.release_bounds(&s.memory.space(id).bounds);
    s.memory.end_space(id);
    s.step.rearm();
}
