//! `RingMove` and `RingDrop`: what is in flight goes on in another ring of the same context, and the old ring ends.
//!
//! This is how a ring is resized while it is in use. Nothing has to stand still for it: at every moment each operation
//! belongs to one ring, which has a place promised for it, and what has completed stays where the program finds it. So
//! there is nothing to lose, wherever the move stops.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::inflight::{Op, TIED, Wait};
use super::state::State;
use super::{OpResult, Outcome, chain, incoming, multishot, port, work};
use crate::base::budget::Budget;
use crate::base::{ABSENT, NONE, is_none};
use crate::ring::duplex::{POLLED, Ring, WATCHED};
use crate::ring::{flight, place};
use ring_abi::args::{RingDrop, RingMove};
use ring_abi::{Errno, Opcode, Words};

/// What moving an operation is reckoned to cost.
const MOVE: u32 = 100;

/// Where a move stands.
enum Stand {
    /// It is over.
    Over,
    /// The budget ran out.
    Later,
}

/// Moves the operations of another ring of the caller to the ring of this submission.
pub fn start(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let s = cx.s;
    let args = RingMove::decode(entry)?;
    let from_id = cx.context.ring(args.from);
    if from_id == ABSENT {
        return Err(Errno::BADF);
    }
    if from_id == cx.ring_id {
        return Err(Errno::INVAL);
    }
    if !is_plain(s.rings.at(from_id)) || !is_plain(cx.ring) {
        return Err(Errno::BUSY);
    }
    s.ops.ensure_one(&s.memory)?;

    let from = s.rings.at(from_id);
    port::hand_over(s, from, cx.ring);
    if let Stand::Over = run(s, from, cx.ring, cx.budget) {
        return Ok(Outcome::Done(u64::from(from.cq.held())));
    }
    let Ok(id) = cx.start_op(Opcode::RingMove) else { crate::bug!("an operation's record was ensured") };
    s.ops.at(id).set_arg(0, u64::from(from_id));
    work::add(s, id);
    Ok(Outcome::Parked)
}

/// Goes on with a move. `false`: it has ended.
pub fn slice(s: &State, id: u32, budget: &Budget) -> bool {
    let op = s.ops.at(id);
    let Some(to) = s.rings.get(op.ring.get()) else {
        s.end_op(id, Err(Errno::CANCELED), 0);
        return false;
    };
    let from_id = op.arg(0) as u32;
    // The other ring may have ended meanwhile, if nothing was left in it.
    let is_there = s.contexts.at(to.owner.get()).rings().any(|(_, ring)| ring == from_id);
    let from = s.rings.at(from_id);
    if is_there && from_id != op.ring.get() {
        let stand = run(s, from, to, budget);
        // Its owner may wait there for what comes elsewhere now.
        chain::gave_back(s, from);
        if let Stand::Later = stand {
            return true;
        }
    }
    let left = if is_there { from.cq.held() } else { 0 };
    s.end_op(id, Ok(u64::from(left)), 0);
    false
}

/// Whether a ring has nothing but operations: no entries that are held back, nothing registered with it, and no processor that
/// looks after it.
fn is_plain(ring: &Ring) -> bool {
    is_none(ring.line.get()) && ring.outfit.get() == NONE && !ring.is_marked(POLLED | WATCHED)
}

/// Moves operations, the latest first, so that they keep their order in front of those that are there.
fn run(s: &State, from: &Ring, to: &Ring, budget: &Budget) -> Stand {
    loop {
        let id = flight::last(from);
        if id == NONE {
            return Stand::Over;
        }
        let op = s.ops.at(id);
        // What works, and what is tied to others, ends where it is.
        if op.wait.get() == Wait::Work || op.is_marked(TIED) || !is_plain(from) || !is_plain(to) {
            return Stand::Over;
        }
        let places = 1_u32.wrapping_add(u32::from(incoming::holds_place(op)));
        // An index that cannot be is found when its author enters.
        let room = to.cq.refresh(&to.memory.get().cq()).unwrap_or(0);
        let affords = room >= places && budget.spend(MOVE);
        if affords {
            move_one(s, from, to, (id, op), places);
        }
        to.guard();
        if !affords {
            return if room < places { Stand::Over } else { Stand::Later };
        }
    }
}

fn move_one(s: &State, from: &Ring, to: &Ring, (id, op): (u32, &Op), places: u32) {
    let was_paused = multishot::is_paused(s, from, op);
    flight::remove(s, &op.of_ring);
    from.cq.release(places);
    from.guard();
    to.cq.claim_known(places);
    op.ring.set(to.id.get());
    flight::push_front(s, to.id.get(), id);
    if was_paused {
        multishot::resume(s, id);
    }
}

/// Ends a further ring of the caller.
pub fn drop_ring(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let s = cx.s;
    let args = RingDrop::decode(entry)?;
    let id = cx.context.ring(args.ring);
    if id == ABSENT || args.ring == 0 {
        return Err(Errno::BADF);
    }
    let ring = s.rings.at(id);
    let is_used = !flight::is_empty(ring) || ring.cq.held() != 0 || ring.link.get() != NONE;
    if id == cx.ring_id || is_used || !is_plain(ring) {
        return Err(Errno::BUSY);
    }

    port::end(s, ring);
    cx.context.take_ring(args.ring as usize);
    place::drop(&s.memory, &s.rings, id);
    Ok(Outcome::Done(0))
}
