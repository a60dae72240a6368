//! Whose turn it is, and for how long.
//!
//! Who has used the least virtual time ([`crate::context::share`]) is next, and runs for a slice. Within its slice it may
//! hand the processor on, and who gets it runs on the giver's time: that is what a client does for a daemon while it waits
//! for its answer. The giver pays until the slice ends, or until who got it enters without waiting, or waits for requests.
//!
//! Who is woken by an interrupt or a deadline goes at once if it has used less than who pays now; if it was woken by who
//! runs, that one may go on for a moment ([`GRAIN`]), since most often it is about to wait anyway.
#![forbid(unsafe_code)]

use crate::base::{NONE, is_none};
use crate::context::context::{Context, State as Run};
use crate::context::cpu::{Cpu, SLICE};
use crate::context::queue::{BUCKET, Turns};
use crate::context::share::{Time, UNIT};
use crate::op::state::{ByTurn, State};
use ring_abi::context::weight;
use ring_abi::enter;

/// Handoffs in a row before the run queue is looked at.
pub const DONATIONS: u32 = 64;
/// How long a context goes on, in nanoseconds, when it has woken one that has used less.
const GRAIN: u64 = 500_000;
/// How much less that must be, in virtual time, that it is worth a change.
const MARGIN: u64 = BUCKET;
/// How far a slice moves the virtual time of its payer at most: light contexts have short slices.
const STRIDE: u64 = 32 * BUCKET;
/// Below this weight that matters.
const LIGHT: u64 = SLICE * weight::DEFAULT as u64 / (STRIDE * UNIT) + 1;

/// Says who is first in line after a step: it is then held, or nobody is and the queue decides. What has passed is paid.
///
/// `gives`: who ran waits for an answer, and gives the rest of its slice to whom it has woken.
pub fn arrange(s: &State, cpu: &Cpu, gives: bool) {
    let (held, woken) = (cpu.held.replace(NONE), s.step.take_handoff());
    let handed = cpu.donated.replace(0) < DONATIONS;
    let is_over = cpu.slice_end.get() <= cpu.since.get() && !cpu.queue.is_empty();
    let payer = cpu.payer.get();
    match (is_none(held), is_none(woken)) {
        (true, true) => cpu.payer.set(NONE),
        (false, true) if is_over => end_slice(s, cpu, held),
        (false, true) => cpu.held.set(held),
        (true, false) if handed && !is_over && !is_none(payer) && (gives || payer == woken) => {
            cpu.held.set(woken);
        }
        (true, false) => begin(s, cpu, woken),
        (false, false) => {
            s.admit(cpu, woken);
            let pays = if is_none(payer) { held } else { payer };
            if is_over {
                end_slice(s, cpu, held);
                begin_admitted(s, cpu, woken);
            } else if pays == woken {
                take_back(s, cpu, held, woken);
            } else if time(s, woken).after(time(s, pays)) <= 0 {
                // Who ran on somebody's time is worth no more than that.
                begin_admitted(s, cpu, woken);
                queue(s, cpu, held);
            } else {
                s.queue(cpu, woken);
                cpu.held.set(held);
            }
        }
    }
}

/// A payer goes on within its slice, in place of one that ran on its time.
fn take_back(s: &State, cpu: &Cpu, held: u32, payer: u32) {
    s.queue(cpu, held);
    cpu.held.set(payer);
    cpu.woken.set(true);
}

/// A context goes to the queue since its slice is over.
fn end_slice(s: &State, cpu: &Cpu, id: u32) {
    cpu.payer.set(NONE);
    if s.memory.machine.cpus() > 1 { s.end_slice(cpu, id) } else { s.queue(cpu, id) }
}

/// A context goes to the queue, and with it the claim on what was left of the slice.
fn queue(s: &State, cpu: &Cpu, id: u32) {
    cpu.payer.set(NONE);
    s.queue(cpu, id);
}

/// A context begins a slice of its own, unless somebody in the queue comes first.
fn begin(s: &State, cpu: &Cpu, id: u32) {
    cpu.payer.set(NONE);
    s.admit(cpu, id);
    begin_admitted(s, cpu, id);
}

/// The same for one whose time may be in the queue.
fn begin_admitted(s: &State, cpu: &Cpu, id: u32) {
    let next = cpu.queue.peek();
    if !is_none(next) && time(s, next).after(time(s, id)) < 0 {
        s.queue(cpu, id);
    } else {
        cpu.held.set(id);
    }
}

fn time(s: &State, id: u32) -> Time {
    ByTurn(&s.contexts).time(id)
}

/// Takes whoever is first in line.
pub fn take_first(s: &State, cpu: &Cpu) -> Option<u32> {
    let held = cpu.held.replace(NONE);
    if !is_none(held) {
        return Some(held);
    }
    cpu.payer.set(NONE);
    cpu.queue.pop(&ByTurn(&s.contexts))
}

/// A context is about to run: if nobody pays, it begins a slice. Whether it does.
pub fn pay(s: &State, cpu: &Cpu, id: u32) -> bool {
    if !is_none(cpu.payer.get()) {
        return false;
    }
    if s.memory.machine.cpus() > 1 {
        s.admit(cpu, id);
    }
    cpu.payer.set(id);
    if !cpu.queue.is_empty() {
        cpu.queue.advance(&ByTurn(&s.contexts), time(s, id));
    }
    cpu.slice_end.set(cpu.since.get().wrapping_add(slice(s, id)));
    true
}

/// Whether the slice ends in a moment anyhow, and the timer is set for that: then whoever is woken now has its turn as early
/// as [`slice_end`] would have it.
pub fn ends_soon(cpu: &Cpu) -> bool {
    let moment = cpu.since.get().wrapping_add(GRAIN);
    cpu.since.get() < cpu.slice_end.get()
        && cpu.slice_end.get() <= moment
        && cpu.timer.get() <= cpu.slice_end.get()
}

/// A context goes on by itself: what was given to it is used up, and from now on it pays.
pub fn pay_oneself(s: &State, cpu: &Cpu, id: u32) {
    s.settle(cpu);
    if s.memory.machine.cpus() > 1 {
        s.admit(cpu, id);
    }
    cpu.payer.set(id);
}

/// When the running slice is to end, now that somebody waits for a turn or work is left.
pub fn slice_end(s: &State, cpu: &Cpu) -> u64 {
    let now = cpu.since.get();
    let payer = cpu.payer.get();
    if cpu.slice_end.get() <= now {
        cpu.slice_end.set(now.wrapping_add(slice(s, payer)));
    }
    if cpu.woken.replace(false) && !is_none(payer) {
        let held = cpu.held.get();
        let next = if is_none(held) { cpu.queue.peek() } else { held };
        if !is_none(next) && time(s, payer).after(time(s, next)) > MARGIN as i64 {
            cpu.slice_end.set(cpu.slice_end.get().min(now.wrapping_add(GRAIN)));
        }
    }
    cpu.slice_end.get()
}

fn slice(s: &State, payer: u32) -> u64 {
    match s.contexts.get(payer).map(|payer| payer.share.get()) {
        Some(share) if u64::from(share.weight()) < LIGHT => share.nanoseconds(STRIDE),
        _ => SLICE,
    }
}

/// Whether a context that just entered waits for answers, and for nothing else.
pub fn waits_for_answers(s: &State, context: &Context) -> bool {
    context.state.get() == Run::Active
        && s.waits_in(context).is_some_and(|ring| !ring.waits_for(enter::REQUESTS))
}

/// Whether a context serves a scheme.
pub fn serves(s: &State, context: &Context) -> bool {
    context.rings().any(|(_, ring)| !is_none(s.rings.at(ring).link.get()))
}
