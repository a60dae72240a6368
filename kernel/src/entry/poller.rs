//! The processor that polls: one that has nobody to run and looks for the entries of polled rings (`op::polled`).
//!
//! It takes them for their programs by what an entry takes them with ([`enter::take_shown`]). Those functions know the asker as
//! one that runs. It may run on another processor, and is left alone then; if it waits in a ring, or for its turn, it is put
//! [`Aside`] meanwhile, and looks afterwards whether what it waits for has come.
//!
//! It never polls while somebody is ready on it: whoever is about to run here puts the bells up first ([`leave`]).
#![forbid(unsafe_code)]

use super::enter::{self, Shown};
use crate::base::budget::ENTRY;
use crate::base::is_none;
use crate::context::context::{Context, State as Run};
use crate::context::cpu::Cpu;
use crate::op::polled::{self, Fit, Seat};
use crate::op::state::State;
use crate::op::turns::bit;
use crate::op::{chain, signal};
use crate::ring::duplex::{ODD, Ring, WATCHED};
use ring_abi::sync::AtomicU32;
use ring_abi::{Errno, enter as flags};

/// A processor has nobody to run: whether it polls now. If so, all awake rings are watched, and its timer goes off when the
/// first of them is to sleep.
pub fn begin(s: &State, cpu: &Cpu) -> bool {
    let here = s.cpu.get();
    if s.memory.machine.cpus() == 1 || s.polls.poller().is_some_and(|poller| poller != here) {
        return false;
    }
    let now = s.memory.machine.now();
    let mut soonest = u64::MAX;
    for (number, seat) in s.polls.in_turn().filter(|(number, _)| s.polls.is_awake(*number)) {
        let ring = s.rings.at(seat.ring.get());
        let is_over = seat.until.get() <= now;
        if is_over && (!ring.is_marked(WATCHED) || polled::unwatch(ring) == Ok(false)) {
            s.polls.set_awake(number, false);
            continue;
        }
        // If its time is over and something has come all the same, its bell comes down again.
        if !ring.is_marked(WATCHED) {
            polled::watch(ring);
        }
        soonest = soonest.min(seat.until.get().max(now));
    }
    let polls = soonest != u64::MAX;
    s.polls.set_poller(polls.then_some(here));
    if soonest < cpu.timer.get() {
        cpu.timer.set(soonest);
        s.memory.machine.set_timer(now, soonest);
    }
    polls
}

/// What the poller looks at without the lock: for each queue where its author says how far he is, and how far it was taken.
pub fn places(s: &State) -> impl Iterator<Item = (&'static AtomicU32, u32)> {
    let rings = s.polls.seats().iter().filter_map(|seat| s.rings.get(seat.ring.get()));
    let rings = rings.filter(|ring| ring.is_marked(WATCHED));
    rings.flat_map(|ring| {
        let [submissions, replies] = ring.memory.get().lasting_tails();
        let replies = replies.filter(|_| !is_none(ring.link.get()));
        let places = [submissions.zip(Some(ring.sq.position())), replies.zip(Some(ring.rp.position()))];
        places.into_iter().flatten()
    })
}

/// If this processor polls and has entered the kernel: takes what programs have shown, unless somebody is to run here.
#[inline(always)]
pub fn attend_if(s: &State, cpu: &Cpu) {
    if s.polls.is_poller(s.cpu.get()) {
        attend(s, cpu);
    }
}

#[cold]
#[inline(never)]
fn attend(s: &State, cpu: &Cpu) {
    if cpu.has_ready() || !is_none(s.step.handoff()) {
        return leave(s);
    }
    for (number, seat) in s.polls.in_turn() {
        let Some(ring) = s.rings.get(seat.ring.get()) else { continue };
        if ring.is_marked(WATCHED) && polled::has_news(ring) && s.memory.budget.has(ENTRY) {
            take(s, number, seat, ring);
        }
    }
    make_room(s);
}

/// Whoever was woken runs on another processor if one sleeps, so that this one can go on.
fn make_room(s: &State) {
    let woken = s.step.handoff();
    if !is_none(woken) && s.several.sleeping.get() & s.contexts.at(woken).cpus.get() != 0 {
        s.step.take_handoff();
        s.make_ready(woken);
    }
}

/// This processor polls no more: all bells go up. What came before is taken in slices, and another processor may go on.
#[cold]
#[inline(never)]
pub fn leave(s: &State) {
    s.polls.set_poller(None);
    for (number, seat) in s.polls.in_turn() {
        let Some(ring) = s.rings.get(seat.ring.get()) else { continue };
        if ring.is_marked(WATCHED) && polled::unwatch(ring) != Ok(false) {
            s.polls.set_due(number, true);
            s.step.rearm();
        }
    }
    polled::call_another(s);
}

/// Takes some of what nobody looks for and nobody will be told of. `false`: there is nothing.
pub fn slice(s: &State) -> bool {
    if s.polls.nothing_is_due() {
        return false;
    }
    for (number, seat) in s.polls.in_turn().filter(|(number, _)| s.polls.is_due(*number)) {
        if !s.memory.budget.has(ENTRY) {
            break;
        }
        s.polls.set_due(number, false);
        let ring = s.rings.at(seat.ring.get());
        if seat.idle.get() == 0 && ring.is_marked(WATCHED) {
            // It is to be polled no more. What came before is taken now, whatever it is.
            let _ = polled::unwatch(ring);
        }
        take(s, number, seat, ring);
    }
    true
}

/// Takes what a ring's program has shown, as far as the budget allows.
fn take(s: &State, number: usize, seat: &Seat, ring: &Ring) {
    let owner = ring.owner.get();
    let context = s.contexts.at(owner);
    match polled::fit(s, context) {
        Fit::Up => {}
        Fit::Still => {
            // When it goes on, what is there is due.
            let _ = polled::unwatch(ring);
            return s.polls.set_awake(number, false);
        }
        Fit::Ending => return polled::end(s, ring),
    }
    let name = seat.ring.get();
    let aside = Aside::put(s, owner, context);
    let shown = enter::take_shown(s, ring);
    aside.back(s, owner, context);
    if seat.ring.get() != name {
        return;
    }
    match shown {
        // It has ended, or is about to.
        Shown::Gone => return polled::end(s, ring),
        Shown::Some if !ring.is_marked(WATCHED) => s.polls.set_due(number, true),
        Shown::Some | Shown::All => {}
        Shown::NoRoom => {
            // The program was told to enter when it has made room.
            let _ = polled::unwatch(ring);
            s.polls.set_awake(number, false);
        }
    }
    polled::refresh(s, seat);
    chain::clamp(s, ring);
    if seat.idle.get() == 0 && !ring.is_marked(WATCHED) && !s.polls.is_due(number) {
        polled::end(s, ring);
    }
}

/// Where a context was that does not run, while its entries are taken as if it did.
enum Aside<'a> {
    /// It runs, on another processor.
    Runs,
    /// It waited for its turn, and was to run next or was first in line if so.
    Ready { handed: bool, held: bool },
    /// It waited in this ring for these, when its completions went up to this position.
    Waited { ring: &'a Ring, waits: u8, position: u32 },
}

impl<'a> Aside<'a> {
    fn put(s: &'a State, id: u32, context: &Context) -> Aside<'a> {
        if context.state.get() == Run::Ready {
            let (handed, held) = (s.step.handoff() == id, s.home(context).held.get() == id);
            s.take_out(id);
            context.state.set(Run::Active);
            return Aside::Ready { handed, held };
        }
        match s.waits_in(context) {
            Some(ring) => Aside::Waited { ring, waits: ring.waits.replace(0), position: ring.cq.position() },
            None => Aside::Runs,
        }
    }

    /// It goes on as it was, unless one of its own entries made it something else.
    fn back(self, s: &State, id: u32, context: &Context) {
        if context.state.get() != Run::Active {
            return;
        }
        match self {
            Aside::Runs => {}
            Aside::Ready { .. } if context.marks.stop() => s.stand_still(id, context),
            Aside::Ready { handed, held } => {
                context.state.set(Run::Ready);
                let home = s.home(context);
                if handed {
                    s.hand(id);
                } else if context.cpus.get() & bit(usize::from(context.cpu.get())) == 0 {
                    s.make_ready(id);
                } else if held {
                    s.hold(home, id);
                } else {
                    s.queue(home, id);
                }
            }
            Aside::Waited { ring, waits, position } => {
                let odd = if context.marks.any() { ODD } else { 0 };
                ring.waits.set(waits | odd);
                look_again(s, context, ring, position);
            }
        }
    }
}

/// Ends the wait of a context if what it waits for has come since its completions went up to a position.
fn look_again(s: &State, context: &Context, ring: &Ring, position: u32) {
    if ring.cq.position() != position {
        s.rouse_at(ring, ring.cq.position());
    }
    if ring.waits_for(flags::REQUESTS) && ring.rq.lag(&ring.memory.get().service_requests()) != 0 {
        s.hand_any(s.rouse(ring, flags::REQUESTS));
    }
    let waits = u64::from(ring.waits.get());
    if waits & flags::SIGNALS != 0 && signal::is_due(s, context, ring, waits) {
        s.wake_with(ring, Err(Errno::INTR));
    }
    chain::clamp(s, ring);
}
