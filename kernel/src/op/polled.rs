//! `RingPoll`: rings whose entries a processor that has nobody to run looks for by itself.
//!
//! A polled ring has a *seat*. While it is *awake* it may be looked for; while it is *watched* a processor does: the *poller*,
//! of which there is one, since one is enough. Its program is told by the word that says whether the kernel must be entered
//! (its *bell*), which is zero exactly while the ring is watched. The poller takes entries under the lock, by the functions
//! that an entry takes them with (`entry::poller`); between that it looks at nothing but the indices that programs write,
//! without the lock.
//!
//! The bell goes up when nothing came for the ring's time, when the poller has somebody to run, and when the ring's owner
//! stands still. Whoever puts it up looks once more, behind a fence, for what came before; what is found then and does not fit
//! into the step is *due*, and taken in slices. So an entry is taken by the poller, or by slices, or by its program's own call.
//!
//! Invariants:
//!
//! - a ring is marked `POLLED` exactly while it has a seat, and `WATCHED` only while there is a poller and its seat is awake;
//! - the poller runs nobody.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::state::State;
use super::turns::bit;
use super::{OpResult, Outcome};
use crate::base::NONE;
use crate::context::context::{Context, Fate, State as Run};
use crate::ring::duplex::{POLLED, Ring, WATCHED};
use core::cell::Cell;
use ring_abi::args::{RingPoll, polling};
use ring_abi::ring::Corrupt;
use ring_abi::{Errno, Words};

/// Rings that can be polled at once: the poller looks at them all between two looks for interrupts.
pub const MOST: usize = 16;
/// No processor polls.
const NOBODY: usize = usize::MAX;

/// A ring that is polled.
#[derive(Debug)]
pub struct Seat {
    /// Its ring, or `NONE`.
    pub ring: Cell<u32>,
    /// Nanoseconds without an entry after which it sleeps; zero if it is to be polled no more.
    pub idle: Cell<u64>,
    /// When that will be.
    pub until: Cell<u64>,
}

/// A seat with its number.
pub type Numbered<'a> = (usize, &'a Seat);

/// All that are.
#[derive(Debug)]
pub struct Polls {
    seats: [Seat; MOST],
    /// Seats that are awake, as bits.
    awake: Cell<u16>,
    /// Seats with entries that are to be taken in slices, as bits.
    due: Cell<u16>,
    /// The processor that polls, or [`NOBODY`].
    poller: Cell<usize>,
    /// Submissions are being taken without their owner's entering.
    takes: Cell<bool>,
    /// The seat that was first when the seats were looked at last.
    turn: Cell<usize>,
}

impl Default for Polls {
    fn default() -> Self {
        let seat = || Seat { ring: Cell::new(NONE), idle: Cell::new(0), until: Cell::new(0) };
        Polls {
            seats: core::array::from_fn(|_| seat()),
            awake: Cell::new(0),
            due: Cell::new(0),
            poller: Cell::new(NOBODY),
            takes: Cell::new(false),
            turn: Cell::new(0),
        }
    }
}

impl Polls {
    /// Whether a processor is the one that polls.
    #[inline(always)]
    pub fn is_poller(&self, cpu: usize) -> bool {
        self.poller.get() == cpu
    }

    /// The processor that polls, if one does.
    pub fn poller(&self) -> Option<usize> {
        Some(self.poller.get()).filter(|cpu| *cpu != NOBODY)
    }

    /// A processor polls from now on, or nobody does.
    pub fn set_poller(&self, cpu: Option<usize>) {
        self.poller.set(cpu.unwrap_or(NOBODY));
    }

    /// Of some processors that sleep, those that do not poll if there are such.
    pub fn spared(&self, sleeping: u16) -> u16 {
        let others = self.poller().map_or(sleeping, |cpu| sleeping & !bit(cpu));
        if others == 0 { sleeping } else { others }
    }

    /// Whether submissions are being taken without their owner's entering.
    pub fn takes(&self) -> bool {
        self.takes.get()
    }

    /// From now on they are, or are not.
    pub fn set_takes(&self, takes: bool) {
        self.takes.set(takes);
    }

    /// The seats.
    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// The seats, another one first each time.
    pub fn in_turn(&self) -> impl Iterator<Item = Numbered<'_>> {
        let first = self.turn.get().wrapping_add(1) % MOST;
        self.turn.set(first);
        let rest = self.seats.iter().enumerate().take(first);
        self.seats.iter().enumerate().skip(first).chain(rest)
    }

    /// Whether a seat is awake.
    pub fn is_awake(&self, number: usize) -> bool {
        self.awake.get() & bit(number) != 0
    }

    /// A seat is awake from now on, or sleeps.
    pub fn set_awake(&self, number: usize, awake: bool) {
        set(&self.awake, number, awake);
    }

    /// Whether nothing is left to be taken in slices.
    #[inline]
    pub fn nothing_is_due(&self) -> bool {
        self.due.get() == 0
    }

    /// Whether a seat has entries that are to be taken in slices.
    pub fn is_due(&self, number: usize) -> bool {
        self.due.get() & bit(number) != 0
    }

    /// A seat has such entries from now on, or none.
    pub fn set_due(&self, number: usize, due: bool) {
        set(&self.due, number, due);
    }

    /// The seat of a ring.
    pub fn of(&self, ring: &Ring) -> Option<Numbered<'_>> {
        if !ring.is_marked(POLLED) {
            return None;
        }
        self.seats.iter().enumerate().find(|(_, seat)| seat.ring.get() == ring.id.get())
    }
}

fn set(mask: &Cell<u16>, number: usize, on: bool) {
    let bit = bit(number);
    mask.set(if on { mask.get() | bit } else { mask.get() & !bit });
}

/// Lets the ring be polled, or no more.
pub fn start(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let (s, ring) = (cx.s, cx.ring);
    let args = RingPoll::decode(entry)?;
    if args.idle > polling::LONGEST {
        return Err(Errno::INVAL);
    }
    let others = s.memory.machine.cpus().wrapping_sub(1) as u64;
    if args.idle == 0 {
        if let Some((number, seat)) = s.polls.of(ring) {
            stop(s, ring, number, seat);
        }
        return Ok(Outcome::Done(others));
    }
    let mut seats = s.polls.seats.iter().enumerate();
    let found = s.polls.of(ring).or_else(|| seats.find(|(_, seat)| seat.ring.get() == NONE));
    let (number, seat) = found.ok_or(Errno::BUSY)?;

    seat.ring.set(ring.id.get());
    seat.idle.set(args.idle);
    ring.marks.set(ring.marks.get() | POLLED);
    ring.guard();
    rouse(s, number, seat);
    Ok(Outcome::Done(others))
}

/// A ring is to be polled no more. If it is watched, what comes before the bell goes up is taken.
fn stop(s: &State, ring: &Ring, number: usize, seat: &Seat) {
    seat.idle.set(0);
    if ring.is_marked(WATCHED) || s.polls.is_due(number) {
        s.polls.set_due(number, true);
        s.step.rearm();
        call(s);
    } else {
        end(s, ring);
    }
}

/// A ring is not polled any more: it is about to be gone, or nothing that it was shown is left to be taken.
pub fn end(s: &State, ring: &Ring) {
    if let Some((number, seat)) = s.polls.of(ring) {
        seat.ring.set(NONE);
        s.polls.set_awake(number, false);
        s.polls.set_due(number, false);
        ring.marks.set(ring.marks.get() & !(POLLED | WATCHED));
    }
}

/// The owner of a ring has entered with submissions, and they were taken: they are looked for again.
#[cold]
#[inline(never)]
pub fn submitted(s: &State, ring: &Ring) {
    ring.guard();
    if let Some((number, seat)) = s.polls.of(ring)
        && !ring.is_marked(WATCHED)
        && seat.idle.get() != 0
    {
        rouse(s, number, seat);
    }
}

/// A ring serves from now on, so there is more to look for.
pub fn serves(s: &State, ring: &Ring) {
    if ring.is_marked(WATCHED) {
        call(s);
    }
}

/// A context that stood still goes on: what was shown in its polled rings before is to be taken.
pub fn goes_on(s: &State, context: &Context) {
    for ring in context.rings().map(|(_, ring)| s.rings.at(ring)) {
        if let Some((number, _)) = s.polls.of(ring) {
            s.polls.set_due(number, true);
            s.step.rearm();
        }
    }
}

/// A ring is awake, for its time from now on.
fn rouse(s: &State, number: usize, seat: &Seat) {
    refresh(s, seat);
    s.polls.set_awake(number, true);
    call(s);
}

/// Something came: the time of a seat begins anew.
pub fn refresh(s: &State, seat: &Seat) {
    seat.until.set(s.memory.machine.now().wrapping_add(seat.idle.get()));
}

/// The seats have changed: the poller looks at them, or if there is none a processor that sleeps.
fn call(s: &State) {
    match s.polls.poller() {
        Some(poller) if poller == s.cpu.get() => {}
        Some(poller) => s.poke(poller),
        None => call_another(s),
    }
}

/// Lets another processor poll, if one sleeps.
pub fn call_another(s: &State) {
    let sleeping = s.several.sleeping.get() & !bit(s.cpu.get());
    if s.polls.awake.get() != 0 && sleeping != 0 && s.memory.machine.cpus() > 1 {
        s.poke(sleeping.trailing_zeros() as usize);
    }
}

/// A processor looks for a ring's entries from now on.
pub fn watch(ring: &Ring) {
    let memory = ring.memory.get();
    ring.marks.set(ring.marks.get() | WATCHED);
    ring.sq.wake(&memory.sq());
    if let Some(replies) = memory.replies() {
        ring.rp.wake(&replies);
    }
}

/// None does any more: the bell goes up. Whether something came before of which nobody will be told.
pub fn unwatch(ring: &Ring) -> Result<bool, Corrupt> {
    let memory = ring.memory.get();
    ring.marks.set(ring.marks.get() & !WATCHED);
    let submissions = ring.sq.sleep(&memory.sq());
    let replies = memory.replies().map_or(Ok(0), |replies| ring.rp.sleep(&replies));
    Ok(submissions? != 0 || replies? != 0 && ring.link.get() != NONE)
}

/// Whether a ring has entries to be taken, as far as its indices say.
pub fn has_news(ring: &Ring) -> bool {
    let memory = ring.memory.get();
    let has_replies = || memory.replies().is_some_and(|replies| !ring.rp.is_empty(&replies));
    !ring.sq.is_empty(&memory.sq()) || ring.link.get() != NONE && has_replies()
}

/// What becomes of the entries of a context's rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// They are taken.
    Up,
    /// They stay until it goes on.
    Still,
    /// They stay for ever, since it is about to end.
    Ending,
}

/// What becomes of the entries of a context's rings now.
pub fn fit(s: &State, context: &Context) -> Fit {
    if !context.lives() || context.fate.get() != Fate::None || s.is_doomed(context) {
        return Fit::Ending;
    }
    if matches!(context.state.get(), Run::Active | Run::Ready) { Fit::Up } else { Fit::Still }
}
