//! Barriers: operations that start when all before them in their ring have ended, and what waits behind them.
//!
//! What a ring has in flight is filed in the order of submission, so a barrier may start when nothing is before it there.
//! Its neighbour before it bears a mark ([`GUARD`]); when that one leaves, the mark passes to the neighbour before that, or
//! the barrier is let through. So a barrier costs those that end before it nothing but the mark's road, and without one
//! nobody looks.
//!
//! What is submitted while there is a barrier waits behind it, and is let through one by one: each when the one before it
//! has started.
#![forbid(unsafe_code)]

use super::inflight::{GUARD, Op};
use super::state::{ByWait, State};
use super::{chain, order};
use crate::base::NONE;
use crate::ring::duplex::Ring;
use crate::ring::flight;
use crate::ring::tie::{DRAIN, Line, RELEASED};

/// Lets the first in line through, or sets a guard before it.
pub fn look(s: &State, line: &Line) {
    let first = line.barred.first();
    if first == NONE {
        return;
    }
    let before = flight::before(&s.ops.at(first).of_ring);
    if s.tie(first).marks.get() & DRAIN != 0 && before != NONE {
        return s.ops.at(before).mark(GUARD);
    }
    release(s, line, first);
}

/// Lets the first in line through.
fn release(s: &State, line: &Line, first: u32) {
    line.barred.remove(&ByWait(&s.ops), first);
    line.releasing.set(true);
    s.tie(first).marks.set(RELEASED);
    chain::due(s, first, None);
}

/// The one that was let through has started, or ended without that.
pub fn released(s: &State, ring: &Ring) {
    if let Some(line) = order::line(s, ring)
        && line.releasing.replace(false)
    {
        look(s, line);
        order::tidy(s, ring);
    }
}

/// The first in line, which is not let through, goes: its guard does as well.
pub fn dismiss(s: &State, op: &Op) {
    let before = flight::before(&op.of_ring);
    if before != NONE {
        s.ops.at(before).unmark(GUARD);
    }
}

/// Takes an operation out of its ring's circle. If it was a guard, another one is, or the barrier opens.
#[inline(always)]
pub fn unfile(s: &State, ring: &Ring, op: &Op) {
    if op.is_marked(GUARD) {
        return unfile_guard(s, ring, op);
    }
    flight::remove(s, &op.of_ring);
}

#[cold]
#[inline(never)]
fn unfile_guard(s: &State, ring: &Ring, op: &Op) {
    let before = flight::before(&op.of_ring);
    flight::remove(s, &op.of_ring);
    op.unmark(GUARD);
    if before != NONE {
        return s.ops.at(before).mark(GUARD);
    }
    if let Some(line) = order::line(s, ring)
        && line.barred.first() != NONE
    {
        release(s, line, line.barred.first());
    }
}

/// Moves an operation behind another one that is before it, and a guard's mark to who stands before the barrier then.
pub fn move_behind(s: &State, at: u32, id: u32) {
    let op = s.ops.at(id);
    if flight::before(&op.of_ring) == at {
        return;
    }
    let next = flight::after(&op.of_ring);
    let guards = op.unmark(GUARD);
    flight::remove(s, &op.of_ring);
    flight::insert_after(s, at, id);
    if guards {
        s.ops.at(flight::before(&s.ops.at(next).of_ring)).mark(GUARD);
    }
    if s.ops.at(at).unmark(GUARD) {
        op.mark(GUARD);
    }
}
