//! Who runs next.
//!
//! A context that was woken by the one that now waits runs at once, on the slice that is left
//! (direct handoff); everybody else waits in a queue, first come first served. The timer is set only while
//! there is somebody to give a turn to or a deadline to meet.
#![forbid(unsafe_code)]

use super::enter::{Then, Wait};
use super::event::Resume;
use crate::base::budget::{Budget, ENTRY};
use crate::base::{NONE, is_none};
use crate::context::context::State as Run;
use crate::context::cpu::{Cpu, SLICE};
use crate::op::state::{ByTurn, State};
use crate::op::stats::count;
use crate::op::turns::bit;
use crate::op::{death, graph, work};
use core::hint::cold_path;

/// Handoffs in a row before the run queue is looked at.
const DONATIONS: u32 = 64;

/// Whether a context may be handed the processor: nobody in the queue has waited too long for it. Counts it if so.
#[inline(always)]
pub fn may_hand_over(cpu: &Cpu) -> bool {
    if cpu.ready.is_empty() {
        return true;
    }
    cold_path();
    let donated = cpu.donated.get();
    cpu.donated.set(donated.wrapping_add(1).min(DONATIONS));
    donated < DONATIONS
}

/// Goes on with a context that is handed the processor, as it may be.
#[inline(always)]
pub fn hand_over(cpu: &Cpu, next: u32) {
    cpu.current.set(next);
}

/// The general road after a `ring_enter`.
pub fn after_enter(s: &State, cpu: &Cpu, current: u32, then: Then) -> Resume {
    match then {
        Then::Go(value) if s.halt.get().is_none() => {
            if s.contexts.at(current).marks.stop() {
                s.contexts.at(current).regs.set_result(value);
                cpu.current.set(NONE);
                s.stand_still(current, s.contexts.at(current));
                return next(s, cpu, &s.memory.budget);
            }
            if !s.may_run_here(s.contexts.at(current)) {
                s.contexts.at(current).regs.set_result(value);
                cpu.current.set(NONE);
                move_on(s, current);
                return next(s, cpu, &s.memory.budget);
            }
            queue_handoff(s);
            set_timer(s, cpu);
            if s.reload.replace(false) {
                s.contexts.at(current).regs.set_result(value);
                return Resume::Context(current);
            }
            return Resume::Same(value);
        }
        Then::Go(_) | Then::Wait | Then::Gone => {}
        Then::Later => {
            let context = s.contexts.at(current);
            context.state.set(Run::Ready);
            s.make_ready(current);
        }
    }
    cpu.current.set(NONE);
    next(s, cpu, &s.memory.budget)
}

/// Takes the running context off its processor; its full registers were saved in the spare block.
/// It stays first in line: only the end of its slice sends it to the end.
#[inline(always)]
pub fn pause(s: &State, cpu: &Cpu) {
    let id = cpu.current.replace(NONE);
    let context = s.contexts.at(id);
    context.regs.attach(cpu.spare.replace(NONE));
    if !s.may_run_here(context) {
        return move_on(s, id);
    }
    context.state.set(Run::Ready);
    s.put_first(cpu, id);
}

/// A context that may not run here any more takes its turn elsewhere.
#[cold]
fn move_on(s: &State, id: u32) {
    s.contexts.at(id).state.set(Run::Ready);
    s.make_ready(id);
}

/// Sees to what a context needs that is handed the processor from one that was preempted: a spare block for its own
/// preemption, and the end of the slice. `false`: there is no block.
#[inline(always)]
pub fn is_prepared(s: &State, cpu: &Cpu) -> bool {
    if is_none(cpu.spare.get()) && !refill_spare(s, cpu) {
        return false;
    }
    if !cpu.ready.is_empty() {
        start_slice(s, cpu);
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
pub fn next(s: &State, cpu: &Cpu, budget: &Budget) -> Resume {
    if let Some(status) = s.halt.get() {
        return Resume::Halt(status);
    }
    if cpu.spare.get() == NONE && !refill_spare(s, cpu) {
        // Without memory for a preemption nobody may enter user mode: end who asked last, and try again.
        death::no_memory(s);
        return Resume::Again;
    }
    if cpu.donated.replace(0) >= DONATIONS {
        queue_handoff(s);
    }
    let worked = work::slice(s, budget);
    loop {
        let handed = s.step.take_handoff();
        let id = if handed != NONE { Some(handed) } else { cpu.ready.pop_front(&ByTurn(&s.contexts)) };
        let Some(id) = id.or_else(|| steal(s)) else { break };
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
            s.put_first(cpu, id);
            set_timer(s, cpu);
            return Resume::Again;
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
            s.put_first(cpu, id);
            set_timer(s, cpu);
            return Resume::Again;
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
        s.several.sleeping.set(s.several.sleeping.get() | bit(s.cpu.get()));
        if !s.all_sleep() {
            return Resume::Idle;
        }
    }
    graph::watch(s);
    Resume::Idle
}

/// Takes a context out of another processor's queue.
fn steal(s: &State) -> Option<u32> {
    let id = if s.memory.machine.cpus() > 1 { s.steal() } else { NONE };
    (id != NONE).then_some(id)
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
fn go_on(s: &State, cpu: &Cpu, id: u32, left: crate::context::context::Unfinished) -> Option<Resume> {
    cpu.current.set(id);
    let context = s.contexts.at(id);
    context.state.set(Run::Active);
    let then = Wait {
        min_complete: u64::from(left.min_complete),
        flags: u64::from(left.flags),
        deadline: left.deadline,
    };
    match super::enter::long(s, s.rings.at(left.ring), u64::from(left.to_submit), then) {
        Then::Go(value) if context.state.get() == Run::Active => {
            context.regs.set_result(value);
            if context.marks.stop() {
                s.stand_still(id, context);
            } else if s.may_run_here(context) {
                queue_handoff(s);
                return Some(run(s, cpu, id));
            } else {
                move_on(s, id);
            }
        }
        Then::Later => {
            context.state.set(Run::Ready);
            s.make_ready(id);
        }
        Then::Go(_) | Then::Wait | Then::Gone => {}
    }
    cpu.current.set(NONE);
    None
}

/// Runs a context: a fresh slice, and the timer if somebody else waits.
fn run(s: &State, cpu: &Cpu, id: u32) -> Resume {
    queue_handoff(s);
    cpu.current.set(id);
    s.contexts.at(id).state.set(Run::Active);
    count(&s.stats.switches);
    set_timer(s, cpu);
    s.invite(cpu);
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
    if !cpu.ready.is_empty() || !s.work_is_done() {
        let now = s.memory.machine.now();
        if cpu.slice_end.get() <= now {
            cpu.slice_end.set(now.wrapping_add(SLICE));
        }
        wanted = wanted.min(cpu.slice_end.get());
    }
    if cpu.timer.replace(wanted) != wanted {
        s.memory.machine.set_timer(wanted);
    }
}

/// Lets the running slice end, or a new one if it has ended. Deadlines are seen to already.
#[inline(always)]
fn start_slice(s: &State, cpu: &Cpu) {
    let now = s.memory.machine.now();
    if cpu.slice_end.get() <= now {
        cpu.slice_end.set(now.wrapping_add(SLICE));
    }
    let end = cpu.slice_end.get();
    if end < cpu.timer.get() {
        cpu.timer.set(end);
        s.memory.machine.set_timer(end);
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
