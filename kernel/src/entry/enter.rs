//! A ring was entered: take the replies, take the submissions, then wait if asked.
//!
//! The same loop serves one entry and many. What exceeds the step's budget stays in the rings and is
//! taken up when the context has its next turn; the program notices nothing of it.
#![forbid(unsafe_code)]

use super::event::Enter;
use crate::base::NONE;
use crate::base::budget::Budget;
use crate::context::context::{Context, State as Run, Unfinished};
use crate::context::timers::CONTEXT;
use crate::op::cx::Cx;
use crate::op::state::State;
use crate::op::{Outcome, dispatch, forward, nop, reply, tracer};
use crate::ring::duplex::Ring;
use ring_abi::ring::{Entry, PushError};
use ring_abi::sqe::{Head, Words};
use ring_abi::{Cqe, Errno, enter};

/// So many entries in one step are too few for it to be the longest.
const BRIEF: u32 = 4;

/// What becomes of the context that entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It goes on with this value.
    Go(i32),
    /// It waits.
    Wait,
    /// It goes on with the rest of its submissions in its next turn.
    Later,
    /// It has ended or was stopped.
    Gone,
}

/// Handles one `ring_enter` of the running context.
#[inline(always)]
pub fn enter(s: &State, context_id: u32, args: Enter, budget: &Budget) -> Then {
    let context = s.contexts.at(context_id);
    let ring_id = context.ring(args.ring);
    let Some(ring) = s.rings.get(ring_id) else { return fail(Errno::BADF) };
    if args.flags & !enter::ALL != 0 {
        return fail(Errno::INVAL);
    }

    if s.traced.get() != 0 {
        tracer::entered(s, context, ring, args.to_submit);
    }
    let before = ring.cq.position();
    let link_id = ring.link.get();
    if link_id != NONE && !take_replies(s, ring, link_id, budget) {
        return if is_corrupt(ring) { condemn(s, context_id) } else { postpone(context, rest(&args, 0)) };
    }
    match submit(s, ring_id, ring, args, budget) {
        Submitted::All => {}
        Submitted::Some(taken) => return postpone(context, rest(&args, taken)),
        Submitted::Corrupt => return condemn(s, context_id),
        Submitted::Gone => return Then::Gone,
    }
    if context.state.get() != Run::Running {
        return Then::Gone;
    }
    // What completed in this very step cannot have been taken: then there is nothing to wait for.
    let completed = u64::from(ring.cq.position().wrapping_sub(before));
    if args.flags == 0 || args.flags == enter::COMPLETIONS && completed >= args.min_complete {
        return Then::Go(0);
    }
    wait(s, context_id, context, ring, args)
}

/// The context goes on, and its `ring_enter` fails.
#[cold]
fn fail(error: Errno) -> Then {
    Then::Go(i32::from(error.raw()).wrapping_neg())
}

/// Takes every reply that the daemon has shown. `false` if the budget ran out or the queue is corrupt.
///
/// A function of its own, so that the loop has the registers for itself.
#[inline(never)]
fn take_replies(s: &State, ring: &Ring, link_id: u32, budget: &Budget) -> bool {
    let memory = ring.memory.get();
    let Some(replies) = memory.replies() else { return true };
    let Ok(ready) = ring.rp.ready(&replies) else { return false };
    let link = s.links.at(link_id);
    let end = ring.rp.position().wrapping_add(ready);
    if budget.begin(ready) > BRIEF {
        s.this_cpu().measure.set(true);
    }
    while budget.next() {
        let words = ring.rp.peek(&replies, 0).copy();
        ring.rp.advance(1);
        reply::take(s, link_id, link, words);
    }
    ring.rp.publish(&replies);
    forward::refill(s, link_id);
    ring.rp.position() == end
}

/// The replies were not all taken: whether that is because the daemon's index cannot be.
#[cold]
#[inline(never)]
fn is_corrupt(ring: &Ring) -> bool {
    let memory = ring.memory.get();
    memory.replies().is_some_and(|replies| ring.rp.ready(&replies).is_err())
}

/// What is left of a `ring_enter` after it took some submissions.
#[inline(always)]
fn rest(args: &Enter, taken: u32) -> Unfinished {
    Unfinished {
        ring: args.ring as u8,
        flags: args.flags as u8,
        to_submit: args.to_submit.saturating_sub(u64::from(taken)).min(u64::from(u32::MAX)) as u32,
        min_complete: args.min_complete.min(u64::from(u32::MAX)) as u32,
        deadline: args.deadline,
    }
}

enum Submitted {
    /// As many as asked for, or as there were, or as there was room for.
    All,
    /// The budget ran out after so many.
    Some(u32),
    /// The program's index cannot be.
    Corrupt,
    /// An operation ended the context.
    Gone,
}

/// Takes submissions.
#[inline(always)]
fn submit(s: &State, ring_id: u32, ring: &Ring, args: Enter, budget: &Budget) -> Submitted {
    if args.to_submit == 0 {
        return Submitted::All;
    }
    let memory = ring.memory.get();
    let sq = memory.sq();
    let Ok(ready) = ring.sq.ready(&sq) else { return Submitted::Corrupt };
    let wanted = u64::from(ready).min(args.to_submit) as u32;
    let end = ring.sq.position().wrapping_add(wanted);
    if budget.begin(wanted) > BRIEF {
        s.this_cpu().measure.set(true);
    }
    let cq = memory.cq();
    while budget.next() {
        match ring.cq.claim(&cq) {
            Ok(()) => {}
            Err(PushError::Full) => {
                ring.starve(true);
                ring.sq.publish(&sq);
                return Submitted::All;
            }
            Err(PushError::Corrupt) => return Submitted::Corrupt,
        }
        let entry = ring.sq.peek(&sq, 0);
        ring.sq.advance(1);
        let head = Head(entry.word(0));
        s.stats.start(head.opcode());
        if head.shape() == dispatch::NOP {
            s.post(ring, Cqe::new(head.tag(), Ok(nop::ANSWER)));
        } else if !one(s, ring_id, ring, budget, head, entry) {
            return Submitted::Gone;
        }
    }
    ring.sq.publish(&sq);
    if ring.starved.get() {
        ring.starve(false);
    }
    match end.wrapping_sub(ring.sq.position()) {
        0 => Submitted::All,
        left => Submitted::Some(wanted.wrapping_sub(left)),
    }
}

/// Starts one operation. `false`: the context has ended.
///
/// A function of its own, so that the loops of nops and of replies have the registers for themselves.
#[inline(never)]
fn one(s: &State, ring_id: u32, ring: &Ring, budget: &Budget, head: Head, entry: Entry<'_, 8>) -> bool {
    let context_id = ring.owner.get();
    let context = s.contexts.at(context_id);
    let cx = Cx { s, ring_id, ring, context_id, context, budget, tag: head.tag() };
    match dispatch::start(cx, head, entry) {
        Ok(Outcome::Parked) => {}
        Ok(Outcome::Done(value)) => s.post(ring, Cqe::new(head.tag(), Ok(value))),
        Err(error) => s.post(ring, Cqe::new(head.tag(), Err(error))),
        Ok(Outcome::Gone) => return false,
    }
    true
}

/// The step's budget is spent: the context goes on with the rest in its next turn.
#[cold]
#[inline(never)]
fn postpone(context: &Context, rest: Unfinished) -> Then {
    if context.state.get() != Run::Running {
        // It was ended by what it just did.
        return Then::Gone;
    }
    context.unfinished.set(Some(rest));
    Then::Later
}

/// A program wrote an index that cannot be: it ends.
#[cold]
#[inline(never)]
fn condemn(s: &State, context_id: u32) -> Then {
    s.condemn(context_id);
    Then::Gone
}

/// Lets the context wait for what `args` names, unless it is there already.
#[inline(always)]
fn wait(s: &State, context_id: u32, context: &Context, ring: &Ring, args: Enter) -> Then {
    if args.flags & enter::COMPLETIONS != 0 {
        let wanted = args.min_complete.min(u64::from(u32::MAX)) as u32;
        match ring.aim(wanted, args.flags & enter::REQUESTS == 0) {
            Ok(true) => return Then::Go(0),
            Ok(false) => {}
            Err(_) => return condemn(s, context_id),
        }
    }
    if args.flags & enter::REQUESTS != 0 {
        let memory = ring.memory.get();
        let Some(requests) = memory.requests() else { return fail(Errno::INVAL) };
        match ring.rq.untaken(&requests) {
            Ok(0) => {}
            Ok(_) => return Then::Go(0),
            Err(_) => return condemn(s, context_id),
        }
    }
    if args.deadline != enter::NO_DEADLINE
        && let Err(error) = wait_until(s, context_id, args.deadline)
    {
        return fail(error);
    }
    ring.waits.set(args.flags as u8);
    context.waiting.set(args.ring as u8);
    context.state.set(Run::Waiting);
    Then::Wait
}

/// Sets the deadline of a wait. `ETIMEDOUT` if it has passed.
#[cold]
#[inline(never)]
fn wait_until(s: &State, context_id: u32, deadline: u64) -> Result<(), Errno> {
    if deadline <= s.memory.machine.now() {
        return Err(Errno::TIMEDOUT);
    }
    s.timers.ensure_one(&s.memory)?;
    s.timers.add(s, context_id | CONTEXT, deadline);
    s.this_cpu().rearm.set(true);
    Ok(())
}
