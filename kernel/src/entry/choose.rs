//! Who runs next.
//!
//! A context that was woken by the one that now waits runs at once, on the slice that is left
//! (direct handoff); everybody else waits in a queue, in which who has used least is first (`super::turns`). The timer is
//! set only while there is somebody to give a turn to or a deadline to meet.
#![forbid(unsafe_code)]

use super::enter::{Then, Wait};
use super::event::Resume;
use super::poller;
use super::turns::{self, DONATIONS};
use crate::arch::Which;
use crate::base::budget::{Budget, ENTRY};
use crate::base::{NONE, is_none};
use crate::context::context::{State as Run, Unfinished};
use crate::context::cpu::{Cpu, SLICE};
use crate::op::state::State;
use crate::op::stats::count;
use crate::op::turns::bit;
use crate::op::{death, graph, work};
use core::hint::cold_path;

/// Whether a context may be handed the processor: nobody in the queue has waited too long for it. Counts it if so.
#[inline(always)]
pub fn may_hand_over(cpu: &Cpu) -> bool {
    if cpu.queue.is_empty() {
        return true;
    }
    cold_path();
    let donated = cpu.donated.get();
    cpu.donated.set(donated.wrapping_add(1).min(DONATIONS));
    donated < DONATIONS
}

/// Whether two contexts may exchange places: nothing is to be seen to at the step's end, and nobody else waits.
///
/// One question, since the answer is yes nearly always. Where it is no, the general road asks what it is.
#[inline(always)]
pub fn may_exchange(s: &State, cpu: &Cpu) -> bool {
    s.step.chores() | cpu.queue.filled() == 0 || may_exchange_all_the_same(s, cpu)
}

/// The same where something is to be seen to, or somebody waits.
#[cold]
#[inline(never)]
fn may_exchange_all_the_same(s: &State, cpu: &Cpu) -> bool {
    s.step.is_brief() && may_hand_over(cpu)
}

/// Goes on with a context that is handed the processor, as it may be.
#[inline(always)]
pub fn hand_over(cpu: &Cpu, next: u32) {
    cpu.current.set(next);
}

/// Whether the daemon that is first in line ([`hold_woken`]) may run on the time of the context that now waits for an answer,
/// since nobody else waits for a turn.
pub fn may_give_to_held(s: &State, cpu: &Cpu) -> bool {
    let Some(held) = s.contexts.get(cpu.held.get()) else { return false };
    cpu.queue.is_empty()
        && cpu.payer.get() == cpu.current.get()
        && s.memory.machine.cpus() == 1
        && !s.has_doomed()
        && !held.marks.any()
        && held.unfinished.get().is_none()
        && turns::serves(s, held)
        && turns::waits_for_answers(s, s.contexts.at(cpu.current.get()))
}

/// Whether this daemon, which the context that runs has asked, is first in line, and may go on as
/// [`may_give_to_held`] says. The step is [brief](crate::op::step::Step::is_brief), so nobody is to be ended.
#[inline(always)]
pub fn is_first_in_line<W: Which>(s: &State, cpu: &Cpu, daemon: u32) -> bool {
    let held = s.contexts.at(daemon);
    !W::MANY
        && cpu.held.get() == daemon
        && cpu.queue.is_empty()
        && cpu.payer.get() == cpu.current.get()
        && !held.marks.any()
        && held.unfinished.get().is_none()
}

/// Lets it run: which one.
#[inline(always)]
pub fn give_to_held(s: &State, cpu: &Cpu) -> u32 {
    let next = cpu.held.replace(NONE);
    count(&s.stats.switches);
    s.contexts.at(next).state.set(Run::Active);
    hand_over(cpu, next);
    next
}

/// Whether a daemon that was woken by a context that goes on may be first in line, instead of in the queue: nobody else
/// waits for a turn, and no other processor could take it from there.
pub fn may_hold_woken(s: &State, cpu: &Cpu) -> bool {
    !cpu.has_ready()
        && cpu.payer.get() == cpu.current.get()
        && s.memory.machine.cpus() == 1
        && turns::serves(s, s.contexts.at(s.step.handoff()))
}

/// Lets it be first in line, and the slice of the one that goes on end.
pub fn hold_woken(s: &State, cpu: &Cpu) {
    if turns::ends_soon(cpu) {
        cpu.held.set(s.step.take_handoff());
        return;
    }
    s.settle(cpu);
    s.hold(cpu, s.step.take_handoff());
    cpu.woken.set(true);
    set_timer(s, cpu);
}

/// The general road after a `ring_enter`.
pub fn after_enter(s: &State, cpu: &Cpu, current: u32, then: Then) -> Resume {
    let context = s.contexts.at(current);
    if let Then::Go(value) = then
        && s.halt.get().is_none()
    {
        if !context.marks.stop() && s.may_run_here(context) {
            turns::pay_oneself(s, cpu, current);
            queue_held(s, cpu);
            queue_handoff(s);
            set_timer(s, cpu);
            if s.reload.replace(false) {
                context.regs.set_result(value);
                return Resume::Context(current);
            }
            return Resume::Same(value);
        }
        context.regs.set_result(value);
        cpu.current.set(NONE);
        stay_away(s, current);
    }
    cpu.current.set(NONE);
    s.settle(cpu);
    let gives = leave(s, cpu, current, then);
    next(s, cpu, &s.memory.budget, gives)
}

/// A context does not run on. Whether it gives what is left of its slice to whom it has woken.
fn leave(s: &State, cpu: &Cpu, id: u32, then: Then) -> bool {
    let context = s.contexts.at(id);
    match then {
        Then::Wait => !is_none(s.step.handoff()) && turns::waits_for_answers(s, context),
        Then::Later => {
            context.state.set(Run::Ready);
            if s.may_run_here(context) {
                s.queue(cpu, id);
            } else {
                s.make_ready(id);
            }
            false
        }
        Then::Go(_) | Then::Gone => false,
    }
}

/// Takes the running context off its processor; its full registers were saved in the spare block.
/// It stays first in line: only the end of its slice, or somebody who deserves it more, sends it into the queue.
#[inline(always)]
pub fn pause<W: Which>(_: W, s: &State, cpu: &Cpu) {
    let id = cpu.current.replace(NONE);
    let context = s.contexts.at(id);
    context.regs.attach(cpu.spare.replace(NONE));
    context.state.set(Run::Ready);
    if W::MANY || !is_none(cpu.held.get()) {
        return hold_instead(s, cpu, id);
    }
    cpu.held.set(id);
}

/// A context that would go on does not, since it is to stop or may not run here any more.
#[cold]
fn stay_away(s: &State, id: u32) {
    let context = s.contexts.at(id);
    if context.marks.stop() {
        s.stand_still(id, context);
    } else {
        move_on(s, id);
    }
}

/// A context that may not run here any more takes its turn elsewhere.
#[cold]
fn move_on(s: &State, id: u32) {
    s.contexts.at(id).state.set(Run::Ready);
    s.make_ready(id);
}

/// The same where its time may be another processor's, or where somebody is first in line who was interrupted before.
#[cold]
#[inline(never)]
fn hold_instead(s: &State, cpu: &Cpu, id: u32) {
    queue_held(s, cpu);
    s.hold(cpu, id);
}

/// Whoever was interrupted and is first in line takes its turn like others. What was used so far is paid.
fn queue_held(s: &State, cpu: &Cpu) {
    let held = cpu.held.replace(NONE);
    if !is_none(held) {
        s.settle(cpu);
        s.queue(cpu, held);
        cpu.woken.set(true);
    }
}

/// Sees to what a context needs that is handed the processor by an interrupt: a spare block for its own preemption, somebody
/// who pays, and the end of the slice. `false`: there is no block.
#[inline(always)]
pub fn is_prepared(s: &State, cpu: &Cpu, now: u64) -> bool {
    if is_none(cpu.spare.get()) && !refill_spare(s, cpu) {
        return false;
    }
    if is_none(cpu.payer.get()) {
        cpu.since.set(now);
        turns::pay(s, cpu, s.step.handoff());
    }
    if cpu.has_ready() {
        start_slice(s, cpu, now);
    }
    true
}

/// A context that was woken but cannot run at once takes its turn.
fn queue_handoff(s: &State) {
    let id = s.step.take_handoff();
    if id != NONE {
        s.make_ready(id);
    }
}

/// Chooses somebody to run; does a slice of pending work on the way.
/// `gives` is as [`turns::arrange`] has it.
pub fn next(s: &State, cpu: &Cpu, budget: &Budget, gives: bool) -> Resume {
    if let Some(status) = s.halt.get() {
        cpu.payer.set(NONE);
        return Resume::Halt(status);
    }
    if cpu.spare.get() == NONE && !refill_spare(s, cpu) {
        // Without memory for a preemption nobody may enter user mode: end who asked last, and try again.
        death::no_memory(s);
        cpu.payer.set(NONE);
        return Resume::Again;
    }
    let held = cpu.held.get();
    if !is_none(held) && !s.may_run_here(s.contexts.at(held)) {
        s.take_out(held);
        s.make_ready(held);
    }
    poller::attend_if(s, cpu);
    turns::arrange(s, cpu, gives);
    let worked = poller::slice(s) | work::slice(s, budget);
    if worked {
        queue_handoff(s);
        cpu.since.set(s.memory.machine.now());
    }
    while let Some(id) = somebody(s, cpu) {
        let context = s.contexts.at(id);
        if !s.may_run_here(context) {
            move_on(s, id);
            continue;
        }
        if s.is_doomed(context) {
            if budget.spend(ENTRY) {
                s.end_doomed(id, context);
                continue;
            }
            return again(s, cpu, id);
        }
        if context.marks.stop() {
            s.stand_still(id, context);
            continue;
        }
        let Some(left) = context.unfinished.take() else {
            return run(s, cpu, id);
        };
        if !budget.has(crate::base::budget::STEP / 2) || !budget.spend(ENTRY) {
            context.unfinished.set(Some(left));
            return again(s, cpu, id);
        }
        if let Some(resume) = go_on(s, cpu, id, left) {
            return resume;
        }
    }
    rest(s, cpu, worked)
}

/// Nobody is ready: goes on with work, or sleeps.
fn rest(s: &State, cpu: &Cpu, worked: bool) -> Resume {
    cpu.current.set(NONE);
    set_timer(s, cpu);
    if (worked || !s.work_is_done()) && may_work(s) {
        return Resume::Again;
    }
    if s.memory.machine.cpus() > 1 {
        // One that polls comes when it is poked, as one that sleeps does.
        s.several.sleeping.set(s.several.sleeping.get() | bit(s.cpu.get()));
        if poller::begin(s, cpu) {
            return Resume::Poll;
        }
        if !s.all_sleep() {
            return Resume::Idle;
        }
    }
    graph::watch(s);
    Resume::Idle
}

/// The budget does not suffice for what a context is to do before it runs: that is first in the next step.
fn again(s: &State, cpu: &Cpu, id: u32) -> Resume {
    s.hold(cpu, id);
    cpu.payer.set(NONE);
    set_timer(s, cpu);
    Resume::Again
}

/// Takes whoever is to run next. This processor does not poll then.
fn somebody(s: &State, cpu: &Cpu) -> Option<u32> {
    let id = turns::take_first(s, cpu).or_else(|| steal(s, cpu))?;
    if s.polls.is_poller(s.cpu.get()) {
        poller::leave(s);
    }
    Some(id)
}

/// Takes a context out of another processor's queue.
fn steal(s: &State, cpu: &Cpu) -> Option<u32> {
    if s.memory.machine.cpus() > 1 { s.steal(cpu) } else { None }
}

/// Whether this processor is the one that goes on with work while it has nobody to run: one is enough.
fn may_work(s: &State) -> bool {
    if s.memory.machine.cpus() > 1 {
        if s.several.worker.get().is_some() {
            return false;
        }
        s.several.worker.set(Some(s.cpu.get()));
    }
    true
}

/// Goes on with a `ring_enter` that ran out of budget.
fn go_on(s: &State, cpu: &Cpu, id: u32, left: Unfinished) -> Option<Resume> {
    turns::pay(s, cpu, id);
    cpu.current.set(id);
    let context = s.contexts.at(id);
    context.state.set(Run::Active);
    let then = Wait {
        min_complete: u64::from(left.min_complete),
        flags: u64::from(left.flags),
        deadline: left.deadline.get(),
    };
    let then = super::enter::long(s, s.rings.at(left.ring), u64::from(left.to_submit), then);
    if let Then::Go(value) = then
        && context.state.get() == Run::Active
    {
        context.regs.set_result(value);
        if !context.marks.stop() && s.may_run_here(context) {
            return Some(run(s, cpu, id));
        }
        cpu.current.set(NONE);
        stay_away(s, id);
    }
    cpu.current.set(NONE);
    s.settle(cpu);
    let gives = leave(s, cpu, id, then);
    turns::arrange(s, cpu, gives);
    None
}

/// Runs a context, on its own time unless it was given some.
fn run(s: &State, cpu: &Cpu, id: u32) -> Resume {
    queue_handoff(s);
    let begins = turns::pay(s, cpu, id);
    let context = s.contexts.at(id);
    cpu.current.set(id);
    context.state.set(Run::Active);
    count(&s.stats.switches);
    set_timer(s, cpu);
    s.invite(cpu);
    if begins && turns::serves(s, context) {
        // Whom it answers runs on its own time: its next step is not a brief handoff.
        s.look_next(cpu);
    }
    Resume::Context(id)
}

/// Sets the timer to the soonest of the deadlines and, if anybody waits for a turn, the end of the slice.
fn set_timer(s: &State, cpu: &Cpu) {
    // While contexts are being ended, each one that is to run next is looked at.
    s.step.rearmed(s.has_doomed());
    let mut wanted = s.timers.soonest(s);
    if s.memory.machine.cpus() > 1 && s.others_look_before(wanted) {
        wanted = u64::MAX;
    }
    if cpu.has_ready() || !s.work_is_done() {
        wanted = wanted.min(turns::slice_end(s, cpu));
    }
    if cpu.timer.replace(wanted) != wanted {
        s.memory.machine.set_timer(s.memory.machine.now(), wanted);
    }
}

/// Lets the running slice end, or a new one if it has ended. Deadlines are seen to already.
#[inline(always)]
fn start_slice(s: &State, cpu: &Cpu, now: u64) {
    if cpu.slice_end.get() <= now {
        cpu.slice_end.set(now.wrapping_add(SLICE));
    }
    let end = cpu.slice_end.get();
    if end < cpu.timer.get() {
        cpu.timer.set(end);
        s.memory.machine.set_timer(now, end);
    }
}

/// Makes sure that the next preemption has a state block. `false`: no memory.
#[inline(always)]
fn refill_spare(s: &State, cpu: &Cpu) -> bool {
    match s.blocks.take(&s.memory) {
        Ok(block) => {
            cpu.spare.set(block);
            s.memory.machine.set_spare(&s.blocks.at(block).state);
            true
        }
        Err(_) => false,
    }
}
