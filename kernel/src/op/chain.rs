//! Operations that were held: how they start, how they end, and who is next.
//!
//! An operation starts in the record that held it, so it keeps its place among those of its ring. Whoever ends hands on to
//! the next of its chain, which is then *due*: it starts before the step ends if the budget allows, otherwise in a later
//! one. Nothing starts within another's end, so no chain is deep.
//!
//! A failure ends a chain: each that is left completes with `ECANCELED`, one after the other. What is cancelled before it
//! started counts as failed as well; behind a `HARD_LINK` the next one keeps its turn.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::inflight::{Op, TIED, Wait};
use super::state::{ByWait, State};
use super::{Outcome, barrier, dispatch, limit, order};
use crate::base::NONE;
use crate::base::budget::ENTRY;
use crate::mem::object::ASK;
use crate::ring::duplex::{BACKLOG, Ring, STARVED};
use crate::ring::tie::{DRAIN, RELEASED, Tie};
use ring_abi::sqe::SqeFlags;
use ring_abi::{Cqe, Errno, Opcode, enter};

impl State {
    /// The tie of an operation that has one.
    pub fn tie(&self, op: u32) -> &Tie {
        let op = self.ops.at(op);
        debug_assert!(op.is_marked(TIED), "an operation has ties");
        self.ties.at(op.tag.get())
    }

    /// The tag that an operation was submitted with.
    #[inline(always)]
    pub fn tag_of(&self, op: &Op) -> u32 {
        if op.is_marked(TIED) { self.ties.at(op.tag.get()).head().tag() } else { op.tag.get() }
    }
}

/// A promised completion does not come, since its operation succeeded silently. A wait that it could have ended ends
/// with what can still come.
pub fn forgo(s: &State, ring: &Ring) {
    ring.cq.give_back();
    gave_back(s, ring);
}

/// Places that were promised will not be filled: a wait that they could have ended ends with what can still come, and if
/// something waits for room, its owner is woken, who lets it go on when it enters.
pub fn gave_back(s: &State, ring: &Ring) {
    clamp(s, ring);
    if ring.is_marked(STARVED | BACKLOG) && ring.waits_for(enter::COMPLETIONS) {
        s.wake(ring);
    }
}

/// Less can come to a ring than before: a wait that only completions can end ends with what can.
pub fn clamp(s: &State, ring: &Ring) {
    let is_alone = !ring.may_get_others() && !ring.waits_for(enter::REQUESTS | enter::SIGNALS);
    if ring.waits_for(enter::COMPLETIONS) && is_alone {
        let to_come = ring.cq.held().wrapping_sub(order::gathered(s, ring));
        let most = ring.cq.position().wrapping_add(to_come);
        if (ring.ends_at().wrapping_sub(most) as i32) > 0 {
            ring.wake_at.set(most);
            s.rouse_at(ring, ring.cq.position());
        }
    }
}

/// An operation that was held is to start, or to end with this.
pub fn due(s: &State, id: u32, verdict: Option<Errno>) {
    s.tie(id).set_verdict(verdict);
    s.ops.at(id).wait.set(Wait::Due);
    s.due.push_back(&ByWait(&s.ops), id);
    s.step.set_due(true);
}

/// Starts those that are due, as far as the step's budget goes. `false`: there were none.
pub fn run(s: &State) -> bool {
    if s.due.is_empty() {
        // What was due may have been cancelled.
        s.step.set_due(false);
        return false;
    }
    s.step.measure(&s.memory.machine);
    while !s.due.is_empty() && s.memory.budget.spend(ENTRY) {
        if let Some(id) = s.due.pop_front(&ByWait(&s.ops)) {
            go(s, id);
        }
    }
    s.step.set_due(false);
    if !s.due.is_empty() {
        // A later step goes on.
        s.step.rearm();
    }
    true
}

fn go(s: &State, id: u32) {
    let (op, tie) = (s.ops.at(id), s.tie(id));
    let ring = s.rings.at(op.ring.get());
    let context = s.contexts.at(ring.owner.get());
    if !context.lives() || s.is_doomed(context) {
        // Its asker's end leaves it.
        op.wait.set(Wait::Chain);
        return;
    }
    let is_released = tie.marks.get() & RELEASED != 0;
    match tie.verdict() {
        Some(error) => end_unstarted(s, ring, id, error),
        None => start(s, id),
    }
    if is_released {
        barrier::released(s, ring);
    }
}

/// Starts an operation that was held.
pub fn start(s: &State, id: u32) {
    let op = s.ops.at(id);
    let ring = s.rings.at(op.ring.get());
    let name = op.tag.get();
    let tie = s.ties.at(name);
    let head = tie.head();
    op.wait.set(Wait::Chain);
    if let Err(error) = limit::arm(s, id, tie) {
        return end_unstarted(s, ring, id, error);
    }
    s.stats.start(head.opcode());
    s.held.set(id);
    let cx = Cx { slot: head.group(), ..Cx::new(s, ring, head.tag()) };
    let outcome = dispatch::start_any(cx, head, tie.entry());
    let is_unused = s.held.replace(NONE) == id;
    let outcome = match outcome {
        Err(ASK) if is_unused => s.park_held(ring, id).map(|()| Outcome::Parked),
        Err(ASK) => Err(Errno::IO),
        outcome => outcome,
    };
    let result = match outcome {
        Ok(Outcome::Parked | Outcome::Gone) => return,
        Ok(Outcome::Done(value)) => Ok(value),
        Err(error) => Err(error),
    };
    if is_unused {
        barrier::unfile(s, ring, op);
        s.drop_op(id);
    }
    settle(s, ring, name, result, 0);
}

/// Ends an operation that has ties, or guards a barrier, and that is filed nowhere but in its ring.
#[cold]
#[inline(never)]
pub fn end(s: &State, ring: &Ring, id: u32, result: Result<u64, Errno>, details: u32) {
    let op = s.ops.at(id);
    barrier::unfile(s, ring, op);
    s.note_latency(op.opcode.get(), op.started.get(), 1);
    let tag = op.tag.get();
    let is_tied = op.unmark(TIED);
    s.drop_op(id);
    complete(s, ring, (tag, is_tied), result, details);
}

/// The same for one that has not started.
fn end_unstarted(s: &State, ring: &Ring, id: u32, error: Errno) {
    let op = s.ops.at(id);
    barrier::unfile(s, ring, op);
    let name = op.tag.get();
    s.drop_op(id);
    settle(s, ring, name, Err(error), 0);
}

/// An operation without its record, for [`complete`]: its tag, or the name of its tie, and which it is.
pub type Whose = (u32, bool);

/// Who an operation is, whose record may be gone when it completes.
pub fn whose(op: &Op) -> Whose {
    (op.tag.get(), op.is_marked(TIED))
}

/// Parts an operation from its ties.
pub fn untie(op: &Op) -> Whose {
    let whose = whose(op);
    op.unmark(TIED);
    whose
}

/// Completes what an operation's record does not stand for any more.
pub fn complete(s: &State, ring: &Ring, (tag, is_tied): Whose, result: Result<u64, Errno>, details: u32) {
    if is_tied {
        settle(s, ring, tag, result, details);
    } else {
        s.post(ring, Cqe::new(tag, result).with_details(details));
    }
}

/// Completes an operation by its tie, and hands on to the next of its chain.
fn settle(s: &State, ring: &Ring, name: u32, result: Result<u64, Errno>, details: u32) {
    let tie = s.ties.at(name);
    let (head, next, limit) = (tie.head(), tie.next.get(), limit::part(s, tie));
    let failed = result.map_or(true, |count| is_short(tie, count));
    let severs = tie.verdict().is_some() || failed && !tie.has(SqeFlags::HARD_LINK);
    let is_silent = !failed && tie.has(SqeFlags::SKIP_SUCCESS);
    unlink(s, tie);
    s.ties.give(name);
    if is_silent {
        forgo(s, ring);
    } else {
        s.post(ring, Cqe::new(head.tag(), result).with_details(details));
    }
    if limit != NONE {
        limit::over(s, ring, limit);
    }
    if next != NONE {
        due(s, next, severs.then_some(Errno::CANCELED));
    }
}

/// Whether a transfer moved less than it was asked to, which counts as a failure for what is linked behind it.
fn is_short(tie: &Tie, count: u64) -> bool {
    let opcode = tie.head().opcode();
    (opcode == Opcode::Read as u8 || opcode == Opcode::Write as u8) && count < tie.arg(2)
}

/// Takes a tie out of its chain: the neighbours do not know each other.
fn unlink(s: &State, tie: &Tie) {
    let (prev, next) = (tie.prev.replace(NONE), tie.next.replace(NONE));
    if prev != NONE {
        s.tie(prev).next.set(NONE);
    }
    if next != NONE {
        s.tie(next).prev.set(NONE);
    }
}

/// Cancels an operation that has not started.
pub fn cancel(s: &State, id: u32, error: Errno) {
    let op = s.ops.at(id);
    let tie = s.tie(id);
    let ring = s.rings.at(op.ring.get());
    let limit = limit::take_off(s, id, tie);
    let keeps_turn = tie.has(SqeFlags::HARD_LINK) && tie.next.get() != NONE;
    match op.wait.get() {
        Wait::Due => {
            let is_released = tie.marks.get() & RELEASED != 0;
            s.due.remove(&ByWait(&s.ops), id);
            end_unstarted(s, ring, id, error);
            if is_released {
                barrier::released(s, ring);
            }
        }
        Wait::Barrier => cancel_barred(s, ring, id, error),
        _ => {
            if keeps_turn {
                let (prev, next) = (tie.prev.get(), tie.next.get());
                unlink(s, tie);
                s.tie(next).prev.set(prev);
                if prev != NONE {
                    s.tie(prev).next.set(next);
                }
            }
            end_unstarted(s, ring, id, error);
        }
    }
    if limit != NONE {
        end_unstarted(s, ring, limit, Errno::CANCELED);
    }
}

/// Cancels one that waits for a barrier, or as one. Who comes behind it waits for what was before it all the same.
fn cancel_barred(s: &State, ring: &Ring, id: u32, error: Errno) {
    let (op, tie) = (s.ops.at(id), s.tie(id));
    let keeps_turn = tie.has(SqeFlags::HARD_LINK) && tie.next.get() != NONE;
    let Some(line) = order::line(s, ring) else { crate::bug!("a barrier without a line") };
    // While one that was let through has not started, nobody guards the next.
    let is_first = line.barred.first() == id && !line.releasing.get();
    if is_first {
        barrier::dismiss(s, op);
    }
    if keeps_turn {
        let next = tie.next.get();
        unlink(s, tie);
        s.ops.at(next).wait.set(Wait::Barrier);
        s.tie(next).marks.set(tie.marks.get());
        line.barred.replace(&ByWait(&s.ops), id, next);
    } else {
        let heir = op.queue.next();
        if tie.marks.get() & DRAIN != 0 && heir != NONE {
            s.tie(heir).marks.set(DRAIN);
        }
        line.barred.remove(&ByWait(&s.ops), id);
    }
    end_unstarted(s, ring, id, error);
    if is_first {
        barrier::look(s, line);
    }
    order::tidy(s, ring);
}

/// An operation's ring ends: takes it out of what it waits for to start, and lets go of its tie.
pub fn abandon(s: &State, op: &Op, id: u32) {
    let Some(ring) = s.rings.get(op.ring.get()) else { return };
    if op.wait.get() == Wait::Due {
        s.due.remove(&ByWait(&s.ops), id);
    }
    if let Some(line) = order::line(s, ring) {
        if op.wait.get() == Wait::Barrier {
            if line.barred.first() == id && !line.releasing.get() {
                barrier::dismiss(s, op);
            }
            line.barred.remove(&ByWait(&s.ops), id);
        }
        if line.first.get() == id {
            // Its chain will not be whole.
            line.forget_chain();
        }
    }
    if let (name, true) = untie(op) {
        unlink(s, s.ties.at(name));
        let _ = limit::part(s, s.ties.at(name));
        s.ties.give(name);
    }
}
