//! Operations with more than one completion: those before the last have the flag `MORE`.
//!
//! Such an operation has the promised place of its last completion only. For each other it takes a place if one is free.
//! If none is, it pauses: it leaves what it waits for, so that it costs nothing, and waits on a channel of its ring until
//! the program has made room and enters. What it would have told meanwhile it keeps as a number in its record, or leaves
//! where it is:
//!
//! - an interval computes how often it expired ([`super::interval`]);
//! - a poll keeps the events, and asks again what the file has ([`super::poll`]);
//! - a request whose daemon may answer with `MORE` is sent only when a place is promised for its answer, once for each
//!   answer ([`super::incoming`]).
//!
//! While an operation of a ring is paused, the ring says `NEED_ENTER`, and none of its places is known to be free: so every
//! entry takes a road on which paused operations go on. One that cannot even pause, for lack of a channel's memory, ends:
//! its last completion has its place.
#![forbid(unsafe_code)]

use super::channel::{self, Key};
use super::inflight::{Op, Wait};
use super::state::State;
use super::{chain, incoming, interval, poll};
use crate::base::budget::ENTRY;
use crate::ring::duplex::{Ring, STARVED};
use ring_abi::ring::PushError;
use ring_abi::{Cqe, CqeFlags, Errno, Opcode};

/// Bit of the first argument of a poll or of a request that completes more than once: programs have no say in that word.
const MARK: u64 = 1 << 63;

/// Notes that a poll or a request completes more than once.
pub fn mark(op: &Op) {
    op.set_arg(0, op.arg(0) | MARK);
}

/// Whether it does.
pub fn is_marked(op: &Op) -> bool {
    op.arg(0) & MARK != 0
        && matches!(op.opcode.get(), Opcode::Poll | Opcode::Fevent | Opcode::Dup | Opcode::Recvfd)
}

/// What became of the operations of a ring that were paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relief {
    /// None is.
    All,
    /// There is no room for some.
    Some,
    /// The budget ran out.
    Later,
}

/// Completes an operation, which goes on. `false`: there is no place for that.
pub fn more(s: &State, op: &Op, value: u64) -> bool {
    let ring = s.rings.at(op.ring.get());
    if !has_place(s, ring) {
        return false;
    }
    promise(ring);
    tell(s, ring, op, value);
    true
}

/// Completes an operation, which goes on, in a place that is promised for that.
pub fn tell(s: &State, ring: &Ring, op: &Op, value: u64) {
    let mut entry = Cqe::new(s.tag_of(op), Ok(value));
    entry.flags = CqeFlags::MORE.bits();
    s.post(ring, entry);
}

/// Promises a place that was [found](has_place).
pub fn promise(ring: &Ring) {
    ring.cq.claim_known(1);
    ring.guard();
}

/// A promised place will not be filled.
pub fn release(s: &State, ring: &Ring) {
    ring.cq.release(1);
    ring.guard();
    chain::gave_back(s, ring);
}

/// Whether a completion that was not promised finds a place.
pub fn has_place(s: &State, ring: &Ring) -> bool {
    match ring.cq.ensure_room(&ring.memory.get().cq()) {
        Ok(()) => true,
        Err(PushError::Full) => false,
        Err(PushError::Corrupt) => {
            s.condemn(ring.owner.get());
            false
        }
    }
}

/// Lets an operation that waits for nothing wait for a place. It was found that there is none.
pub fn pause(s: &State, id: u32) -> Result<(), Errno> {
    let ring = s.rings.at(s.ops.at(id).ring.get());
    let channel = channel::open(s, Key::Place(ring.id.get()))?;
    channel::join(s, channel, id, Wait::Channel);
    ring.mark(STARVED, true);
    Ok(())
}

/// Lets the paused operations of a ring go on, as far as there is room.
#[cold]
#[inline(never)]
pub fn relieve(s: &State, ring: &Ring) -> Relief {
    while let Some(channel) = channel::find(s, Key::Place(ring.id.get())) {
        if !has_place(s, ring) {
            return Relief::Some;
        }
        if !s.memory.budget.spend(ENTRY) {
            ring.cq.forget_room();
            return Relief::Later;
        }
        resume(s, channel::first(s, channel));
    }
    ring.guard();
    Relief::All
}

/// Whether an operation of a ring waits for a place there. It is to be [resumed](resume) wherever it goes.
pub fn is_paused(s: &State, ring: &Ring, op: &Op) -> bool {
    op.wait.get() == Wait::Channel
        && channel::find(s, Key::Place(ring.id.get())).is_some_and(|channel| op.object.get() == channel)
}

/// There may be a place for the next completion of an operation that was paused.
pub fn resume(s: &State, id: u32) {
    let opcode = s.ops.at(id).opcode.get();
    if opcode == Opcode::Interval {
        return interval::expired(s, id);
    }
    channel::leave(s, id);
    s.ops.at(id).wait.set(Wait::Free);
    match opcode {
        Opcode::Fevent => poll::ask_again(s, id),
        Opcode::Poll => super::irq::poll_again(s, id),
        _ => incoming::ask(s, id),
    }
}
