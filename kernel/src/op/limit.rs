//! `LinkTimeout`: bounds the operation before it in its chain.
//!
//! When that operation starts, its limit leaves the chain and waits for its time, and the two know each other. Whoever ends
//! first sees to the other: the operation's end cancels the limit, and the limit cancels the operation, as a `CancelTag`
//! would. What comes behind the two in the chain comes behind the operation.
#![forbid(unsafe_code)]

use super::inflight::Wait;
use super::state::State;
use super::{OpResult, barrier, cancel, chain};
use crate::base::NONE;
use crate::ring::duplex::Ring;
use crate::ring::tie::Tie;
use ring_abi::args::LinkTimeout;
use ring_abi::args::timeout::ABSOLUTE;
use ring_abi::sqe::SqeFlags;
use ring_abi::{Cqe, Errno, Opcode};

/// One that starts like any other bounds nothing.
pub fn start() -> OpResult {
    Err(Errno::INVAL)
}

/// Whether this is the tie of a limit.
pub fn is_one(tie: &Tie) -> bool {
    tie.head().opcode() == Opcode::LinkTimeout.raw()
}

/// The limit behind an operation in its chain, or `NONE`.
fn behind(s: &State, tie: &Tie) -> u32 {
    let next = tie.next.get();
    if next != NONE && !is_one(tie) && is_one(s.tie(next)) { next } else { NONE }
}

/// An operation is about to start: its limit, if it has one, begins to run. An error leaves everything as it was.
pub fn arm(s: &State, id: u32, tie: &Tie) -> Result<(), Errno> {
    let limit = behind(s, tie);
    if limit == NONE {
        return Ok(());
    }
    let args = LinkTimeout::decode(&s.tie(limit).entry())?;
    if args.flags & !ABSOLUTE != 0 {
        return Err(Errno::INVAL);
    }
    s.timers.ensure_one(&s.memory)?;

    detach(s, id, tie, limit);
    tie.limit.set(limit);
    s.tie(limit).limit.set(id);
    let now = s.memory.machine.now();
    let deadline =
        if args.flags & ABSOLUTE != 0 { args.nanoseconds } else { now.saturating_add(args.nanoseconds) };
    s.stats.start(Opcode::LinkTimeout.raw());
    let op = s.start_held(limit, Opcode::LinkTimeout);
    op.wait.set(Wait::Time);
    s.timers.add(s, limit, deadline);
    s.step.rearm();
    Ok(())
}

/// Takes the limit behind an operation out of the chain of the two.
fn detach(s: &State, id: u32, tie: &Tie, limit: u32) {
    let other = s.tie(limit);
    let next = other.next.replace(NONE);
    other.prev.set(NONE);
    tie.next.set(next);
    if next != NONE {
        s.tie(next).prev.set(id);
    }
}

/// An operation is cancelled before it starts: its limit, which leaves the chain, or `NONE`.
pub fn take_off(s: &State, id: u32, tie: &Tie) -> u32 {
    let limit = behind(s, tie);
    if limit != NONE {
        detach(s, id, tie, limit);
    }
    limit
}

/// An operation has ended, or a limit: parts the two. Gives the limit that is to end with its operation, or `NONE`.
pub fn part(s: &State, tie: &Tie) -> u32 {
    let other = tie.limit.replace(NONE);
    if other == NONE {
        return NONE;
    }
    s.tie(other).limit.set(NONE);
    if is_one(tie) { NONE } else { other }
}

/// A limit's operation has ended first. That is what it hoped for, so a silent one says nothing.
pub fn over(s: &State, ring: &Ring, limit: u32) {
    let op = s.ops.at(limit);
    barrier::unfile(s, ring, op);
    let (name, _) = chain::untie(op);
    s.drop_op(limit);
    let tie = s.ties.at(name);
    let (tag, is_silent) = (tie.head().tag(), tie.has(SqeFlags::SKIP_SUCCESS));
    s.ties.give(name);
    if is_silent {
        chain::forgo(s, ring);
    } else {
        s.post(ring, Cqe::new(tag, Err(Errno::CANCELED)));
    }
}

/// A limit's time has come: its operation is cancelled.
pub fn expired(s: &State, id: u32) {
    let tie = s.tie(id);
    let (bounded, grace) = (tie.limit.get(), tie.arg(2));
    part(s, tie);
    if bounded != NONE {
        cancel::ask_or_force(s, bounded, grace);
    }
    s.end_op(id, Err(Errno::TIMEDOUT), 0);
}
