//! A ring was entered: take the replies, take the submissions, then wait if asked.
//!
//! There are several roads. What a nop needs is done by [`look`] itself, without a frame. A single submission whose
//! program waits for a completion takes [`read_alone`], [`swap`](super::swap::swap) or [`other_alone`], and a daemon that gives
//! one reply and waits takes [`serve`], all in a straight line that ends in an exchange of places.
//! Everything else takes [`long`]: replies first, then any number of submissions, then any wait.
//!
//! What exceeds the step's budget stays in the rings and is taken up when the context has its next turn; the
//! program notices nothing of it.
#![forbid(unsafe_code)]

use super::{choose, patience};
use crate::arch::Which;
use crate::base::budget::STEP;
use crate::base::{NONE, is_none};
use crate::context::context::{Context, State as Run, Unfinished};
use crate::context::cpu::Cpu;
use crate::context::timers::CONTEXT;
use crate::op::multishot::{self, Relief};
use crate::op::state::State;
use crate::op::stats::count;
use crate::op::{
    dispatch, forward, futex, handle, message, nop, open, order, polled, read, reply, reply_run, tracer,
};
use crate::ring::duplex::{BACKLOG, GUARDED, NEXT, ODD, POLLED, Ring, STARVED, WATCHED};
use core::hint::cold_path;
use core::num::NonZeroU64;
use ring_abi::enter::Control;
use ring_abi::ring::{self, Entry, PushError};
use ring_abi::sqe::{Head, Words};
use ring_abi::{Errno, Opcode, enter};

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

/// Which road an entry takes.
pub enum Road<'a> {
    /// None: it was a nop, which is answered.
    Done,
    /// None: the arguments make no sense.
    Refused(Errno),
    /// One submission and a wait for a completion: a plain read.
    Read(Single<'a>),
    /// The same: a plain swap.
    Swap(Single<'a>),
    /// The same: anything else.
    Other(Single<'a>),
    /// A daemon's replies, and a wait for requests.
    Serve(&'a Ring),
    /// Any other.
    Long(&'a Ring),
    /// Another processor has marked the context: that is seen to first.
    Summoned,
}

/// A submission that was looked at but not taken, alone in its queue, whose completion has a place.
#[derive(Clone, Copy)]
pub struct Single<'a> {
    /// Its ring.
    pub ring: &'a Ring,
    /// The first word, which was read.
    pub head: Head,
    /// The words, which are not to be read twice.
    pub entry: Entry<'a, 8>,
}

/// What is left to do at the end of a road.
pub enum Left {
    /// The context waits, and nothing else is to be seen to: the one that it woke goes on.
    HandOver(u32),
    /// The same, and that one is on its processor already.
    GoOn(u32),
    /// What [`finish`](super::kernel::Kernel) does.
    Rest(Then),
}

impl Left {
    /// The same, which never meets the end of the shortest roads: they have it for themselves.
    #[inline(always)]
    fn apart(self) -> Left {
        match self {
            Left::HandOver(next) | Left::GoOn(next) => Left::GoOn(next),
            Left::Rest(then) => Left::Rest(then),
        }
    }
}

/// Looks at what the running context entered with: a ring of this name, which may be [`ABSENT`].
#[inline(always)]
pub fn look(s: &State, ring: u32, control: Control) -> Road<'_> {
    let ring = s.rings.at(ring);
    if control.0 == s.call.get() {
        // The view is fetched anew for each queue: it is less to keep in registers.
        if ring.cq.known_room() == 0 || !ring.sq.has_one(&ring.memory.get().sq()) {
            return long_or_refused(ring);
        }
    } else if control.0 == s.serve.get() && !is_none(ring.link.get()) {
        return Road::Serve(ring);
    } else {
        return long_or_refused(ring);
    }
    let memory = ring.memory.get();
    let entry = ring.sq.peek(&memory.lasting_sq(), 0);
    let head = Head(entry.word(0));
    if head.shape() != dispatch::NOP {
        let single = Single { ring, head, entry };
        return match head.shape() {
            dispatch::READ => Road::Read(single),
            futex::SWAP => Road::Swap(single),
            _ => Road::Other(single),
        };
    }
    ring.sq.advance(1);
    let memory = ring.memory.get();
    ring.sq.publish(&memory.sq());
    count(&s.stats.lone_nops);
    // Nobody waits for it: the owner runs.
    ring.cq.put(&memory.cq(), nop_answer(head));
    ring.cq.publish(&memory.cq());
    Road::Done
}

#[inline(always)]
fn long_or_refused(ring: &Ring) -> Road<'_> {
    if ring.id.get() == NONE { Road::Refused(Errno::BADF) } else { Road::Long(ring) }
}

/// Takes the one submission that [`look`] has seen, which is a plain read, and waits for a completion.
#[inline(always)]
pub fn read_alone<W: Which>(s: &State, _: W, cpu: &Cpu, single: Single<'_>) -> Left {
    let Single { ring, head, entry } = single;
    ring.sq.advance(1);
    ring.cq.claim_known(1);
    let context = s.contexts.at(ring.owner.get());
    let Some(daemon) = read::start(s, context, ring, head.tag(), entry) else {
        cold_path();
        ring.sq.publish(&ring.memory.get().sq());
        return Left::Rest(wait_for_completions(s, ring, ONE_COMPLETION));
    };
    let daemon = s.rings.at(daemon);
    let memory = ring.memory.get();
    ring.sq.publish(&memory.sq());
    if ring.is_drained(&memory.cq())
        && daemon.waits_alone_for(enter::REQUESTS)
        && !waits_oddly::<W>(s, ring)
        && choose::may_exchange(s, cpu)
    {
        count(&s.stats.asked);
        return change_places(ring, enter::COMPLETIONS as u8 | NEXT, daemon);
    }
    cold_path();
    s.stats.start(Opcode::Read as u8);
    s.took_idle(1);
    s.hand_any(s.rouse(daemon, enter::REQUESTS));
    Left::Rest(wait_for_completions(s, ring, ONE_COMPLETION))
}

/// The same for anything else but a [swap](super::swap::swap).
#[inline(always)]
pub fn other_alone<W: Which>(s: &State, which: W, cpu: &Cpu, single: Single<'_>) -> Left {
    let Single { ring, head, entry } = single;
    ring.sq.advance(1);
    ring.cq.claim_known(1);
    match head.shape() {
        dispatch::OPEN => open_alone(s, which, cpu, ring, head, entry),
        dispatch::CLOSE => close_alone(s, which, cpu, ring, head, entry),
        _ => Left::Rest(start_any_alone(s, ring, head, entry)),
    }
}

/// An open goes to its daemon as a read does.
#[inline(always)]
fn open_alone<W: Which>(s: &State, _: W, cpu: &Cpu, ring: &Ring, head: Head, entry: Entry<'_, 8>) -> Left {
    let Some(daemon) = open::start_alone(s, ring, head.tag(), entry) else {
        cold_path();
        ring.sq.publish(&ring.memory.get().sq());
        return Left::Rest(wait_for_completions(s, ring, ONE_COMPLETION));
    };
    let daemon = s.rings.at(daemon);
    let memory = ring.memory.get();
    ring.sq.publish(&memory.sq());
    if ring.is_drained(&memory.cq()) && !waits_oddly::<W>(s, ring) && choose::may_exchange(s, cpu) {
        let waits = enter::COMPLETIONS as u8 | NEXT;
        if daemon.waits_alone_for(enter::REQUESTS) {
            return go_on_with(s, cpu, ring, waits, daemon);
        }
        if choose::is_first_in_line::<W>(s, cpu, daemon.owner.get()) {
            count(&s.stats.enters);
            ring.waits.set(waits);
            return Left::GoOn(choose::give_to_held(s, cpu));
        }
    }
    cold_path();
    s.hand_any(s.rouse(daemon, enter::REQUESTS));
    Left::Rest(wait_for_completions(s, ring, ONE_COMPLETION))
}

/// A close is answered at once. Who is told of it goes on when the program waits.
#[inline(always)]
fn close_alone<W: Which>(s: &State, _: W, cpu: &Cpu, ring: &Ring, head: Head, entry: Entry<'_, 8>) -> Left {
    s.stats.start(head.opcode());
    let context = s.contexts.at(ring.owner.get());
    let answer = handle::close_plain(s, context, &entry);
    if context.state.get() != Run::Active {
        // It closed the last handle to what kept it.
        return Left::Rest(Then::Gone);
    }
    let memory = ring.memory.get();
    ring.sq.publish(&memory.sq());
    // Nobody waits for it: the owner runs.
    ring.cq.put_next(&memory.cq(), [u64::from(head.tag()) << 32, answer]);
    let _ = ring.show(1);
    if !W::MANY && s.step.is_handed_briefly() && choose::may_hold_woken(s, cpu) {
        choose::hold_woken(s, cpu);
    }
    Left::Rest(Then::Go(0))
}

#[inline(always)]
fn start_any_alone(s: &State, ring: &Ring, head: Head, entry: Entry<'_, 8>) -> Then {
    if !dispatch::start_other(s, ring, head, entry) {
        return Then::Gone;
    }
    ring.sq.publish(&ring.memory.get().sq());
    if !is_none(ring.line.get()) && !order::cut(s, ring) {
        return Then::Gone;
    }
    wait_for_completions(s, ring, ONE_COMPLETION)
}

/// Whether the wait of a ring's owner would be odd. In a [brief](crate::op::step::Step::is_brief) step that is so only if it
/// is limited to some processors.
#[inline(always)]
pub(super) fn waits_oddly<W: Which>(s: &State, ring: &Ring) -> bool {
    W::MANY && s.contexts.at(ring.owner.get()).marks.any()
}

/// The end of a [brief](crate::op::step::Step::is_brief) step: a context that runs waits in its ring, without a
/// deadline, and the owner of another one goes on, which waits there for what has come.
#[inline(always)]
pub(super) fn change_places(ring: &Ring, waits: u8, other: &Ring) -> Left {
    other.waits.set(0);
    ring.waits.set(waits);
    Left::HandOver(other.owner.get())
}

/// The flags that let a context wait.
const WAITS: u64 = enter::COMPLETIONS | enter::REQUESTS | enter::SIGNALS;

/// What a `ring_enter` waits for when its submissions are taken.
#[derive(Clone, Copy)]
pub struct Wait {
    /// Completions that end the wait.
    pub min_complete: u64,
    /// Flags of [`ring_abi::enter`].
    pub flags: u64,
    /// When it ends, in nanoseconds of the monotonic clock.
    pub deadline: u64,
}

/// What [`Control::CALL`] waits for.
pub(super) const ONE_COMPLETION: Wait =
    Wait { min_complete: 1, flags: Control::CALL.flags(), deadline: enter::NO_DEADLINE };
/// What [`Control::SERVE`] waits for.
const REQUESTS: Wait = Wait { min_complete: 0, flags: Control::SERVE.flags(), deadline: enter::NO_DEADLINE };

impl Wait {
    /// What an entry says. A deadline is of no meaning without its flag.
    pub fn new(control: Control, deadline: u64) -> Wait {
        let flags = control.flags();
        let deadline = if flags & enter::DEADLINE != 0 { deadline } else { enter::NO_DEADLINE };
        Wait { min_complete: control.min_complete(), flags, deadline }
    }
}

/// Takes the reply of a daemon that waits for requests, if there is one and nothing else to do.
#[inline(always)]
pub fn serve<W: Which>(s: &State, _: W, cpu: &Cpu, ring: &Ring) -> Left {
    let memory = ring.memory.get();
    let replies = memory.service_replies();
    if !ring.rp.has_one(&replies) {
        return Left::Rest(serve_apart(s, ring));
    }
    let words = ring.rp.peek(&replies, 0).copy();
    let link_id = ring.link.get();
    let link = s.links.at(link_id);
    let Some((client, position)) = reply::take(s, link, words) else {
        cold_path();
        return serve_other::<W>(s, cpu, ring).apart();
    };
    ring.rp.advance(1);
    ring.rp.publish(&replies);
    forward::refill(s, link_id, link);
    if ring.rq.lag(&ring.memory.get().service_requests()) == 0
        && client.waits_for_next()
        && !waits_oddly::<W>(s, ring)
        && choose::may_exchange(s, cpu)
    {
        count(&s.stats.answered);
        return change_places(ring, enter::REQUESTS as u8, client);
    }
    cold_path();
    s.gave_idle(1);
    s.rouse_at(client, position);
    Left::Rest(wait(s, ring, REQUESTS))
}

/// The same as [`serve`], for a reply that is not to a read, or that a read cannot take at once. It is looked at again.
#[inline(never)]
fn serve_other<W: Which>(s: &State, cpu: &Cpu, ring: &Ring) -> Left {
    let memory = ring.memory.get();
    let replies = memory.service_replies();
    let words = ring.rp.peek(&replies, 0).copy();
    ring.rp.advance(1);
    ring.rp.publish(&replies);
    let link_id = ring.link.get();
    let link = s.links.at(link_id);
    let Some((client, position)) = reply::take_opened(s, link, words) else {
        s.step.measure(&s.memory.machine);
        reply::take_other(s, link_id, link, words);
        forward::refill(s, link_id, link);
        return Left::Rest(wait(s, ring, REQUESTS));
    };
    forward::refill(s, link_id, link);
    s.gave_idle(1);
    if ring.rq.lag(&ring.memory.get().service_requests()) == 0
        && client.waits_for_next()
        && !waits_oddly::<W>(s, ring)
        && choose::may_exchange(s, cpu)
    {
        return go_on_with(s, cpu, ring, enter::REQUESTS as u8, client);
    }
    s.rouse_at(client, position);
    Left::Rest(wait(s, ring, REQUESTS))
}

/// The same as [`change_places`], where that is counted and goes no shortest road.
#[inline(always)]
fn go_on_with(s: &State, cpu: &Cpu, ring: &Ring, waits: u8, other: &Ring) -> Left {
    count(&s.stats.enters);
    count(&s.stats.switches);
    other.waits.set(0);
    ring.waits.set(waits);
    choose::hand_over(cpu, other.owner.get());
    Left::GoOn(other.owner.get())
}

/// The same as [`serve`], for any number of replies.
#[inline(never)]
fn serve_apart(s: &State, ring: &Ring) -> Then {
    match take_replies(s, ring, ring.link.get()) {
        Taken::All => wait(s, ring, REQUESTS),
        other => stop(s, ring, other, 0, REQUESTS),
    }
}

/// Handles an entry of any kind.
#[inline(always)]
pub fn long(s: &State, ring: &Ring, to_submit: u64, then: Wait) -> Then {
    let flags = then.flags;
    if flags & !enter::PLAIN != 0 && !patience::makes_sense(flags) {
        return fail(Errno::INVAL);
    }
    if s.traced.get() != 0 {
        tracer::entered(s, s.contexts.at(ring.owner.get()), ring, to_submit);
    }
    if flags & enter::NO_REPLIES == 0 && has_link(ring) {
        let link_id = ring.link.get();
        if to_submit != 0 && !ring.sq.is_empty(&ring.memory.get().sq()) {
            s.step.measure(&s.memory.machine);
        }
        match take_replies(s, ring, link_id) {
            Taken::All if s.contexts.at(ring.owner.get()).state.get() != Run::Active => return Then::Gone,
            Taken::All => {}
            other => return stop(s, ring, other, to_submit, then),
        }
    }
    if to_submit != 0 {
        match take_submissions(s, ring, to_submit) {
            Taken::All => {}
            other => return stop(s, ring, other, to_submit, then),
        }
    } else if ring.is_marked(STARVED | BACKLOG) && relieve(s, ring) == Relief::Later {
        return stop(s, ring, Taken::Some(0), to_submit, then);
    }
    wait(s, ring, then)
}

/// Whether replies may come through a ring. Asked only of those that do not say that there are none.
#[inline(always)]
fn has_link(ring: &Ring) -> bool {
    cold_path();
    !is_none(ring.link.get())
}

/// Lets paused operations of a ring go on, whose completions found no place, then messages come in, and tells the program
/// whether anything still waits for one.
#[cold]
#[inline(never)]
fn relieve(s: &State, ring: &Ring) -> Relief {
    s.step.measure(&s.memory.machine);
    if ring.is_marked(STARVED) {
        let relief = multishot::relieve(s, ring);
        ring.guard();
        match relief {
            Relief::All if ring.sq.is_empty(&ring.memory.get().sq()) => ring.mark(STARVED, false),
            Relief::Later => return Relief::Later,
            Relief::All | Relief::Some => {}
        }
    }
    if ring.is_marked(BACKLOG) && !message::take_in(s, ring) { Relief::Later } else { Relief::All }
}

/// How far what a ring's program has shown was taken without its entering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// All that was there.
    All,
    /// The budget ran out.
    Some,
    /// As far as there is room for completions.
    NoRoom,
    /// The program is gone.
    Gone,
}

/// Takes what the program of a ring has shown, as if it had entered, without a wait. To those that are called here its owner
/// runs: it does, on another processor, or was put aside.
#[cold]
#[inline(never)]
pub fn take_shown(s: &State, ring: &Ring) -> Shown {
    let owner = ring.owner.get();
    let context = s.contexts.at(owner);
    if s.traced.get() != 0 {
        tracer::entered(s, context, ring, enter::MOST);
    }
    let before = ring.sq.position().wrapping_add(ring.rp.position());
    let link_id = ring.link.get();
    let replies = if is_none(link_id) { Taken::All } else { take_replies(s, ring, link_id) };
    s.polls.set_takes(true);
    let taken = match replies {
        Taken::All if context.state.get() != Run::Active => Taken::Gone,
        Taken::All => take_submissions(s, ring, enter::MOST),
        other => other,
    };
    s.polls.set_takes(false);
    let shown = match taken {
        Taken::Corrupt => {
            s.condemn(owner);
            return Shown::Gone;
        }
        Taken::Gone => return Shown::Gone,
        Taken::Some(_) => Shown::Some,
        Taken::All if ring.cq.refresh(&ring.memory.get().cq()) != Ok(0) => Shown::All,
        Taken::All if ring.sq.is_empty(&ring.memory.get().sq()) => Shown::All,
        Taken::All => Shown::NoRoom,
    };
    ring.guard();
    let after = ring.sq.position().wrapping_add(ring.rp.position());
    s.stats.polled.set(s.stats.polled.get().wrapping_add(u64::from(after.wrapping_sub(before))));
    shown
}

/// How far a queue was taken.
#[derive(Clone, Copy)]
pub(super) enum Taken {
    /// As far as asked for, or as there was room for.
    All,
    /// The budget ran out after so many.
    Some(u32),
    /// The program's index cannot be.
    Corrupt,
    /// An operation ended the context.
    Gone,
}

/// The entry ends here, for now or for good.
#[cold]
#[inline(never)]
fn stop(s: &State, ring: &Ring, taken: Taken, to_submit: u64, then: Wait) -> Then {
    let taken = match taken {
        Taken::Gone => return Then::Gone,
        Taken::Corrupt => return condemn(s, ring.owner.get()),
        Taken::All => 0,
        Taken::Some(taken) => taken,
    };
    let context = s.contexts.at(ring.owner.get());
    if context.state.get() != Run::Active {
        // It was ended by what it just did.
        return Then::Gone;
    }
    context.unfinished.set(Some(Unfinished {
        ring: ring.id.get(),
        flags: then.flags as u8,
        patient: false,
        to_submit: to_submit.saturating_sub(u64::from(taken)) as u32,
        min_complete: then.min_complete as u32,
        deadline: NonZeroU64::new(then.deadline).unwrap_or(NonZeroU64::MIN),
    }));
    Then::Later
}

/// Takes every reply that the daemon has shown, and sends what waited for that.
fn take_replies(s: &State, ring: &Ring, link_id: u32) -> Taken {
    match ring.rp.ready(&ring.memory.get().service_replies()) {
        Ok(0) => {
            forward::refill(s, link_id, s.links.at(link_id));
            Taken::All
        }
        Ok(ready) => take_many_replies(s, ring, link_id, ready),
        Err(_) => Taken::Corrupt,
    }
}

/// A function of its own, so that the loop has the registers for itself.
#[inline(never)]
fn take_many_replies(s: &State, ring: &Ring, link_id: u32, ready: u32) -> Taken {
    let link = s.links.at(link_id);
    let budget = &s.memory.budget;
    let end = ring.rp.position().wrapping_add(ready);
    budget.begin(ready);
    let began = s.memory.machine.ticks();
    while budget.left() != 0 {
        reply_run::take(s, link_id, link, ring, budget);
    }
    ring.rp.publish(&ring.memory.get().service_replies());
    forward::refill(s, link_id, link);
    s.stats.note_step(s.memory.machine.ticks().wrapping_sub(began), 0);
    if ring.rp.position() == end { Taken::All } else { Taken::Some(0) }
}

/// Takes submissions, if there are some.
#[inline(never)]
fn take_submissions(s: &State, ring: &Ring, to_submit: u64) -> Taken {
    let memory = ring.memory.get();
    let sq = memory.sq();
    let Ok(ready) = ring.sq.ready(&sq) else { return Taken::Corrupt };
    let wanted = u64::from(ready).min(to_submit) as u32;
    let end = ring.sq.position().wrapping_add(wanted);
    let mut left = wanted;
    if wanted <= FEW && is_none(ring.line.get()) && ring.marks.get() == 0 && has_room(ring, wanted) {
        left = match take_few(s, ring, end) {
            Few::All => return Taken::All,
            Few::Gone => return gone(ring),
            Few::Some(left) => left,
        };
    }
    let budget = &s.memory.budget;
    budget.begin(left);
    let began = s.memory.machine.ticks();
    let context = s.contexts.at(ring.owner.get());
    if !is_none(ring.line.get()) {
        return take_held(s, context, ring, end, wanted);
    }
    // First word of the oldest submission, if it was read already: nothing is read twice, but for that of a nop.
    let mut seen = dispatch::UNREAD;
    while budget.left() != 0 {
        if ring.cq.known_room() == 0
            && let Err(taken) = look_for_room(s, ring)
        {
            return taken;
        }
        let head = if seen == dispatch::UNREAD { Head(ring.sq.peek(&sq, 0).word(0)) } else { seen };
        let Some((done, next)) = take_next(s, context, ring, head, budget.left()) else {
            budget.took(1);
            return take_held(s, context, ring, end, wanted);
        };
        if context.state.get() != Run::Active {
            // One of them led to a mistake of the asker's own, as the daemon that it is too: it has ended.
            return gone(ring);
        }
        budget.took(done);
        seen = next;
    }
    s.stats.note_step(s.memory.machine.ticks().wrapping_sub(began), 0);
    ring.sq.publish(&sq);
    if ring.is_marked(STARVED | BACKLOG | POLLED) {
        return relieve_taken(s, ring, end, wanted);
    }
    taken(ring, end, wanted)
}

/// No room is known for the next completion: looks for some. If there is none, or if the next submission is another's to take,
/// the rest stays where it is.
#[cold]
#[inline(never)]
fn look_for_room(s: &State, ring: &Ring) -> Result<(), Taken> {
    if ring.is_marked(WATCHED) && !s.polls.takes() {
        let is_owed = ring.is_marked(STARVED | BACKLOG);
        return Err(if is_owed && relieve(s, ring) == Relief::Later { Taken::Some(0) } else { Taken::All });
    }
    let memory = ring.memory.get();
    match ring.cq.ensure_room(&memory.cq()) {
        Ok(()) => return Ok(()),
        Err(PushError::Full) => {}
        Err(PushError::Corrupt) => return Err(Taken::Corrupt),
    }
    if !is_none(ring.line.get()) {
        order::starved(s, ring);
    }
    ring.mark(STARVED, true);
    ring.sq.publish(&memory.sq());
    Err(Taken::All)
}

/// The owner goes in the middle of its submissions, perhaps to come back. If operations of its ring are paused or held,
/// they still come before whatever is submitted then.
#[cold]
#[inline(never)]
pub(super) fn gone(ring: &Ring) -> Taken {
    ring.guard();
    Taken::Gone
}

/// How far a queue was taken up to a position, where so many entries were to be taken.
#[inline(always)]
fn taken(ring: &Ring, end: u32, wanted: u32) -> Taken {
    match end.wrapping_sub(ring.sq.position()) {
        0 => Taken::All,
        left => Taken::Some(wanted.wrapping_sub(left)),
    }
}

/// The same, where entries were left for lack of room before, or operations are paused for that, or messages wait. None is
/// left for that now, paused operations go on, and if all entries were taken, messages come next. Or the ring is polled.
#[cold]
#[inline(never)]
fn relieve_taken(s: &State, ring: &Ring, end: u32, wanted: u32) -> Taken {
    if ring.is_marked(POLLED) && wanted != 0 {
        polled::submitted(s, ring);
    }
    let left = end.wrapping_sub(ring.sq.position());
    if ring.is_marked(STARVED) {
        match multishot::relieve(s, ring) {
            Relief::All => ring.mark(STARVED, false),
            Relief::Some => {}
            Relief::Later => return Taken::Some(wanted.wrapping_sub(left)),
        }
    }
    if left == 0 && ring.is_marked(BACKLOG) && !message::take_in(s, ring) {
        return Taken::Some(wanted);
    }
    taken(ring, end, wanted)
}

/// So many submissions are so few that they are taken without a budget for the whole, while so much is left of the step's.
const FEW: u32 = 4;
const LITTLE: u32 = STEP / 4 * 3;

/// Whether there are so many places for completions. If not, the general loop says why.
#[inline(always)]
pub(super) fn has_room(ring: &Ring, wanted: u32) -> bool {
    ring.cq.known_room() >= wanted
        || ring.cq.refresh(&ring.memory.get().cq()).is_ok_and(|room| room >= wanted)
}

/// How many of a few submissions were taken.
enum Few {
    /// All.
    All,
    /// So many are left.
    Some(u32),
    /// One of them ended the asker.
    Gone,
}

/// Takes a few submissions, up to a position, which are there and for which there is room: as long as they spend little.
#[inline(always)]
fn take_few(s: &State, ring: &Ring, end: u32) -> Few {
    let memory = ring.memory.get();
    let sq = memory.sq();
    let context = s.contexts.at(ring.owner.get());
    while ring.sq.position() != end {
        if ring.cq.known_room() == 0 || ring.is_marked(GUARDED) {
            // One of them took more than its own place, or rights away.
            return Few::Some(end.wrapping_sub(ring.sq.position()));
        }
        let entry = ring.sq.peek(&sq, 0);
        let head = Head(entry.word(0));
        if futex::is_plain(head) {
            ring.sq.advance(1);
            ring.cq.claim_known(1);
            futex::start(s, ring, head, &entry);
        } else if !take_one(s, context, ring, head) {
            if context.state.get() != Run::Active {
                return Few::Gone;
            }
            // Some may have to wait for others.
            return Few::Some(end.wrapping_sub(ring.sq.position()));
        } else if !s.memory.budget.has(LITTLE) {
            return Few::Some(end.wrapping_sub(ring.sq.position()));
        }
    }
    ring.sq.publish(&sq);
    Few::All
}

/// Takes a submission, whose first word was read. `false`: the asker is gone, and with it its ring.
#[inline(never)]
pub(super) fn take_one(s: &State, context: &Context, ring: &Ring, head: Head) -> bool {
    take_some(s, context, ring, head, 1).is_some() && context.state.get() == Run::Active
}

/// Takes submissions one by one, where some may have to wait for others, or the asker is gone already.
#[cold]
#[inline(never)]
fn take_held(s: &State, context: &Context, ring: &Ring, end: u32, wanted: u32) -> Taken {
    if context.state.get() != Run::Active {
        return gone(ring);
    }
    let memory = ring.memory.get();
    let (sq, budget) = (memory.sq(), &s.memory.budget);
    s.step.measure(&s.memory.machine);
    while budget.left() != 0 {
        if ring.cq.known_room() == 0
            && let Err(taken) = look_for_room(s, ring)
        {
            return taken;
        }
        let entry = ring.sq.peek(&sq, 0);
        let head = Head(entry.word(0));
        ring.sq.advance(1);
        ring.cq.claim_known(1);
        if !dispatch::start_other(s, ring, head, entry) {
            return gone(ring);
        }
        budget.took(1);
    }
    if ring.sq.position() == end && !order::cut(s, ring) {
        return gone(ring);
    }
    ring.sq.publish(&sq);
    let taken = if ring.is_marked(STARVED | BACKLOG | POLLED) {
        relieve_taken(s, ring, end, wanted)
    } else {
        taken(ring, end, wanted)
    };
    order::pause(s, ring);
    ring.guard();
    taken
}

/// Takes a submission, whose first word was read, and perhaps those that follow it, but not more than `most`. `None`: the asker is gone, and with it its ring; or it was one
/// behind which no other is taken like this.
#[inline(always)]
fn take_some(s: &State, context: &Context, ring: &Ring, head: Head, most: u32) -> Option<dispatch::Taking> {
    Some(match head.shape() {
        dispatch::NOP => answer_nops(s, ring, head, most),
        dispatch::READ => {
            let (done, next) = read::start_run(s, context, ring, head, most);
            (done, next.unwrap_or(dispatch::UNREAD))
        }
        _ => return take_other(s, ring, head),
    })
}

/// The same for any ring: a submission may have taken rights away from those behind it.
#[inline(always)]
fn take_next(s: &State, context: &Context, ring: &Ring, head: Head, most: u32) -> Option<dispatch::Taking> {
    if ring.is_marked(GUARDED) {
        take_guarded(s, ring, head)
    } else {
        take_some(s, context, ring, head, most)
    }
}

/// Takes a submission, whose first word was read, by the road on which all are looked at.
#[inline(always)]
fn take_other(s: &State, ring: &Ring, head: Head) -> Option<dispatch::Taking> {
    let memory = ring.memory.get();
    let entry = ring.sq.peek(&memory.sq(), 0);
    ring.sq.advance(1);
    ring.cq.claim_known(1);
    let goes_on = dispatch::start_other(s, ring, head, entry) && is_none(ring.line.get());
    goes_on.then_some((1, dispatch::UNREAD))
}

/// The same for a ring whose owner may not use everything.
#[cold]
#[inline(never)]
fn take_guarded(s: &State, ring: &Ring, head: Head) -> Option<dispatch::Taking> {
    let taken = take_other(s, ring, head);
    ring.cq.forget_room();
    taken
}

/// Answers a nop, whose first word was read, and those that follow it, as far as there is room, but not more than
/// `most`: how many. Also the first word of the next submission if it was read and there is room for that one.
#[inline(never)]
fn answer_nops(s: &State, ring: &Ring, first: Head, most: u32) -> dispatch::Taking {
    let memory = ring.memory.get();
    let (sq, cq) = (memory.sq(), memory.cq());
    let most = most.min(ring.cq.known_room());
    let (from, to) = (ring.sq.position(), ring.cq.position());
    let (mut done, mut head, mut other) = (0_u32, first, dispatch::UNREAD);
    // Each round ends where the memory of one of the queues does.
    'all: loop {
        let left = most.wrapping_sub(done);
        let places = cq.stretch(to.wrapping_add(done), left);
        if left <= 1 {
            places.iter().for_each(|place| ring::store(place, nop_answer(head)));
            done = done.wrapping_add(left);
            break;
        }
        let following = sq.stretch(from.wrapping_add(done).wrapping_add(1), left.wrapping_sub(1));
        for (place, entry) in places.iter().zip(following) {
            ring::store(place, nop_answer(head));
            done = done.wrapping_add(1);
            head = Head(Entry::of(entry).word(0));
            if head.shape() != dispatch::NOP {
                other = head;
                break 'all;
            }
        }
    }
    s.stats.start_many(Opcode::Nop as u8, done);
    ring.sq.advance(done);
    // Nobody waits for them: the owner runs.
    ring.cq.publish_to(&cq, ring.cq.advance(done));
    (done, other)
}

/// The completion of a nop. Its first word is the submission's tag, which is all that stands there beside the shape.
#[inline(always)]
fn nop_answer(head: Head) -> [u64; 2] {
    [head.0 ^ u64::from(dispatch::NOP), nop::ANSWER]
}

/// The context goes on, and its `ring_enter` fails.
#[cold]
pub(super) fn fail(error: Errno) -> Then {
    Then::Go(error.refusal())
}

/// A program wrote an index that cannot be: it ends.
#[cold]
#[inline(never)]
fn condemn(s: &State, context_id: u32) -> Then {
    s.condemn(context_id);
    Then::Gone
}

/// Lets the context wait for what it asked for, unless it is there already.
#[inline(always)]
pub(super) fn wait(s: &State, ring: &Ring, then: Wait) -> Then {
    if then.flags & enter::REQUESTS != 0 {
        let memory = ring.memory.get();
        if !memory.has_service() {
            return fail(Errno::INVAL);
        }
        if ring.rq.lag(&memory.service_requests()) != 0 {
            return requests_are_there(s, ring);
        }
    }
    if then.flags & enter::COMPLETIONS != 0 {
        return wait_for_completions(s, ring, then);
    }
    if then.flags & WAITS == 0 { Then::Go(0) } else { park(s, ring, then, 0) }
}

#[cold]
#[inline(never)]
fn requests_are_there(s: &State, ring: &Ring) -> Then {
    match ring.rq.untaken(&ring.memory.get().service_requests()) {
        Ok(_) => Then::Go(0),
        Err(_) => condemn(s, ring.owner.get()),
    }
}

#[inline(always)]
pub(super) fn wait_for_completions(s: &State, ring: &Ring, then: Wait) -> Then {
    let stay = || if is_none(ring.line.get()) { 0 } else { order::gathered(s, ring) };
    match ring.aim(then.min_complete, then.flags & (enter::REQUESTS | enter::SIGNALS) == 0, stay) {
        Ok(0) => Then::Go(0),
        Ok(missing) => park(s, ring, then, u8::from(missing == 1).wrapping_mul(NEXT)),
        Err(_) => condemn(s, ring.owner.get()),
    }
}

#[inline(always)]
fn park(s: &State, ring: &Ring, then: Wait, next: u8) -> Then {
    let context = s.contexts.at(ring.owner.get());
    if context.state.get() != Run::Active {
        // It was ended by what it just did.
        return Then::Gone;
    }
    if then.flags & !enter::PLAIN != 0 {
        return patience::park(s, ring, context, then);
    }
    if then.deadline != enter::NO_DEADLINE
        && let Err(error) = wait_until(s, ring.owner.get(), then.deadline)
    {
        return fail(error);
    }
    let is_odd = context.marks.any() || !is_none(context.timer.get());
    ring.waits.set((then.flags & WAITS) as u8 | next | if is_odd { ODD } else { 0 });
    Then::Wait
}

/// Sets the deadline of a wait. `ETIMEDOUT` if it has passed.
#[cold]
#[inline(never)]
pub(super) fn wait_until(s: &State, context_id: u32, deadline: u64) -> Result<(), Errno> {
    if deadline <= s.memory.machine.now() {
        return Err(Errno::TIMEDOUT);
    }
    s.timers.ensure_one(&s.memory)?;
    s.timers.add(s, context_id | CONTEXT, deadline);
    s.step.rearm();
    Ok(())
}
