//! Every interleaving of a few who want the lock: one has it at a time, in the order of tickets, and none sleeps for ever.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p tickets --test loom`
//!
//! Who waits lies down at once here. The last tests break the protocol, one thing at a time, and want loom to notice.
#![cfg(loom)]
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use loom::model;
use loom::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use loom::sync::atomic::{AtomicBool, AtomicU32};
use loom::sync::{Arc, Notify};
use loom::thread;
use std::array;
use tickets::Tickets;

/// Where tickets start: they wrap around on the way.
const START: u32 = u32::MAX;

/// The lock, a call for each who can sleep, and what the lock guards.
struct Place<const BEDS: usize> {
    tickets: Tickets<BEDS>,
    calls: [Notify; BEDS],
    guarded: AtomicU32,
}

impl<const BEDS: usize> Place<BEDS> {
    fn new() -> Arc<Self> {
        let tickets = Tickets {
            serving: AtomicU32::new(START),
            next: AtomicU32::new(START),
            beds: array::from_fn(|_| AtomicU32::new(0)),
        };
        Arc::new(Place { tickets, calls: array::from_fn(|_| Notify::new()), guarded: AtomicU32::new(START) })
    }

    fn take(&self, who: u8) -> u32 {
        let ticket = self.tickets.draw();
        if !self.tickets.serves(ticket) && self.tickets.lie_down(ticket, who) {
            loop {
                self.calls[usize::from(who)].wait();
                if self.tickets.is_called(ticket) {
                    break;
                }
            }
        }
        while !self.tickets.serves(ticket) {
            thread::yield_now();
        }
        self.tickets.begin(ticket);
        ticket
    }

    fn let_go(&self) {
        if let Some(who) = self.tickets.call_next() {
            self.calls[usize::from(who)].notify();
        }
        self.tickets.serve_next();
    }

    /// Does something that only one may do at a time, in the order of tickets.
    fn turn(&self, ticket: u32) {
        assert_eq!(self.guarded.load(Relaxed), ticket, "out of turn");
        self.guarded.store(ticket.wrapping_add(1), Relaxed);
    }
}

/// Takes the lock so often, and does what it guards.
fn visit<const BEDS: usize>(place: &Place<BEDS>, who: u8, rounds: u32) {
    for _ in 0..rounds {
        let ticket = place.take(who);
        place.turn(ticket);
        place.let_go();
    }
}

/// This thread and others take the lock so often each; all of them get it.
fn all_get_it<const BEDS: usize>(others: u8, rounds: u32) {
    let place = Place::<BEDS>::new();
    let others: Vec<_> = (1..=others)
        .map(|who| {
            let place = place.clone();
            thread::spawn(move || visit(&place, who, rounds))
        })
        .collect();
    visit(&place, 0, rounds);
    for other in others {
        other.join().expect("it ends");
    }
}

#[test]
fn two_take_turns_twice() {
    model(|| all_get_it::<2>(1, 2));
}

#[test]
fn three_take_turns() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(|| all_get_it::<4>(2, 1));
}

/// One has the lock and lets go while another comes and lies down at once: it is woken, or it does not sleep.
fn no_sleeper_is_forgotten(let_go: fn(&Place<2>) -> Option<u8>, lie_down: fn(&Place<2>, u32) -> bool) {
    model(move || {
        let place = Place::<2>::new();
        let first = place.tickets.draw();
        assert!(place.tickets.serves(first));
        place.tickets.begin(first);
        let theirs = place.clone();
        let other = thread::spawn(move || {
            let ticket = theirs.tickets.draw();
            !theirs.tickets.serves(ticket) && lie_down(&theirs, ticket)
        });
        let woken = let_go(&place);
        let sleeps = other.join().expect("it ends");
        assert_eq!(woken.is_some(), sleeps, "somebody sleeps for ever");
    });
}

fn call_and_serve(place: &Place<2>) -> Option<u8> {
    let woken = place.tickets.call_next();
    place.tickets.serve_next();
    woken
}

fn lie_down(place: &Place<2>, ticket: u32) -> bool {
    place.tickets.lie_down(ticket, 1)
}

#[test]
fn who_lies_down_is_woken() {
    no_sleeper_is_forgotten(call_and_serve, lie_down);
}

#[test]
#[should_panic(expected = "somebody sleeps for ever")]
fn without_the_mark_of_a_call_somebody_sleeps_for_ever() {
    let look = |place: &Place<2>| {
        let next = place.tickets.serving.load(Relaxed).wrapping_add(1);
        let found = place.tickets.beds[next as usize & 1].load(Acquire);
        place.tickets.serve_next();
        found.checked_sub(2).map(|_| 1)
    };
    no_sleeper_is_forgotten(look, lie_down);
}

#[test]
#[should_panic(expected = "somebody sleeps for ever")]
fn who_lies_down_in_a_bed_without_looking_sleeps_for_ever() {
    let fall = |place: &Place<2>, ticket: u32| {
        place.tickets.beds[ticket as usize & 1].store(3, Release);
        true
    };
    no_sleeper_is_forgotten(call_and_serve, fall);
}

/// A sleeper whose wake-ups are interrupts. It may come back before its wake-up, which then interrupts it later, and it takes the
/// lock in that interrupt too. As long as an interrupt is in service its controller holds the next one back.
struct Interrupted {
    /// A wake-up waits in the controller.
    pending: AtomicBool,
    /// The interrupt ends before the lock is waited for, and not behind that.
    ends_first: bool,
}

impl Interrupted {
    fn take(&self, place: &Place<2>, in_service: bool) -> u32 {
        let ticket = place.tickets.draw();
        if !place.tickets.serves(ticket) && place.tickets.lie_down(ticket, 1) {
            assert!(!in_service, "its wake-up is held back for ever");
            // Anything may end the halt.
            while !self.pending.swap(false, AcqRel) && !place.tickets.is_called(ticket) {
                thread::yield_now();
            }
            while !place.tickets.is_called(ticket) {
                thread::yield_now();
            }
        }
        while !place.tickets.serves(ticket) {
            thread::yield_now();
        }
        place.tickets.begin(ticket);
        ticket
    }

    fn runs(&self, place: &Place<2>) {
        let ticket = self.take(place, false);
        place.turn(ticket);
        place.let_go();
        if self.pending.swap(false, AcqRel) {
            let ticket = self.take(place, !self.ends_first);
            place.turn(ticket);
            place.let_go();
        }
    }
}

/// One takes the lock three times beside such a sleeper.
fn a_late_wake_up_holds_none_back(ends_first: bool) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let place = Place::<2>::new();
        let sleeper = Arc::new(Interrupted { pending: AtomicBool::new(false), ends_first });
        let (theirs, itself) = (place.clone(), sleeper.clone());
        let other = thread::spawn(move || itself.runs(&theirs));
        for _ in 0..3 {
            let ticket = place.take(0);
            place.turn(ticket);
            if place.tickets.call_next() == Some(1) {
                sleeper.pending.store(true, Release);
            }
            place.tickets.serve_next();
        }
        other.join().expect("it ends");
    });
}

#[test]
fn a_wake_up_that_ends_before_the_lock_is_waited_for_holds_none_back() {
    a_late_wake_up_holds_none_back(true);
}

#[test]
#[should_panic(expected = "its wake-up is held back for ever")]
fn a_wake_up_that_ends_with_the_lock_holds_the_next_one_back() {
    a_late_wake_up_holds_none_back(false);
}
