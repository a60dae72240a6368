//! Waits that signals end, with their mask; and waits that relent.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::args::{self, CURRENT, LOWEST};
use ring_abi::enter::{COMPLETIONS, MASK, NO_DEADLINE, RELENT, REQUESTS, SIGNALS};
use ring_abi::layout::{Sizes, word};
use ring_abi::{Errno, Sqe, signal};
use world::{DATA, FIRST, Mode, Program, World};

const INTR: Option<u64> = Some(Errno::INTR.to_result());
const TIMEDOUT: Option<u64> = Some(Errno::TIMEDOUT.to_result());

/// A program that waits, and the first program, which has a handle to it.
fn scene() -> (World, Program) {
    let mut world = World::new();
    let app = world.program();
    (world, app)
}

fn raise(world: &mut World, app: Program, signals: u64) -> Result<u64, Errno> {
    let context = app.handle(world);
    FIRST.call(world, args::SignalRaise { context, signals }.encode(0))
}

fn enter(world: &mut World, app: Program, min: u64, flags: u64, deadline: u64) {
    app.enter(world, 0, u64::MAX, min, flags, deadline);
}

/// What the wait returned, if it has ended.
fn ended(world: &mut World, app: Program) -> Option<u64> {
    for _ in 0..3 {
        world.run_until_idle();
        if world.mode(app) == Mode::Own {
            return app.returned(world);
        }
        // Whoever is ready gets its turn.
        FIRST.call(world, args::Nop {}.encode(0)).unwrap();
        world.advance(0);
        if let Some(at) = world.machine().timer()
            && at <= world.machine().now() + 5_000_000
        {
            world.advance_to_timer();
        }
    }
    (world.mode(app) == Mode::Own).then(|| app.returned(world)).flatten()
}

fn set(world: &World, app: Program, index: usize, value: u64) {
    signal::set_word(&world.ring(app, 0).view, index, value);
}

fn pending(world: &World, app: Program) -> u64 {
    signal::pending(&world.ring(app, 0).view)
}

fn forever() -> Sqe {
    args::Timeout { nanoseconds: 1 << 60, flags: 0 }.encode(0)
}

#[test]
fn a_signal_ends_a_wait_that_asks_for_it() {
    for flags in [SIGNALS, SIGNALS | COMPLETIONS] {
        let (mut world, app) = scene();
        app.submit(&mut world, forever());
        enter(&mut world, app, 1, flags, NO_DEADLINE);
        assert_eq!(ended(&mut world, app), None);
        assert_eq!(raise(&mut world, app, 1 << 63), Ok(0));
        assert_eq!(ended(&mut world, app), INTR);
        assert_eq!(pending(&world, app), 1 << 63, "it is for the program to take");
        assert_eq!(signal::take(&world.ring(app, 0).view, u64::MAX), 1 << 63);
        assert_eq!(pending(&world, app), 0);
    }
}

#[test]
fn a_wait_that_does_not_ask_goes_on() {
    let (mut world, app) = scene();
    app.submit(&mut world, args::Timeout { nanoseconds: 1 << 40, flags: 0 }.encode(0));
    enter(&mut world, app, 1, COMPLETIONS, NO_DEADLINE);
    assert_eq!(raise(&mut world, app, 1), Ok(0));
    assert_eq!(ended(&mut world, app), None);
    world.advance(1 << 40);
    assert_eq!(ended(&mut world, app), Some(0));
    assert_eq!(pending(&world, app), 1);
}

#[test]
fn a_signal_that_came_before_ends_the_wait_at_once() {
    let (mut world, app) = scene();
    assert_eq!(raise(&mut world, app, 2), Ok(0));
    app.submit(&mut world, forever());
    enter(&mut world, app, 1, SIGNALS | COMPLETIONS, NO_DEADLINE);
    assert_eq!((world.mode(app), app.returned(&mut world)), (Mode::Own, INTR), "in the same step");
    // What is waited for comes first.
    app.submit(&mut world, args::Nop {}.encode(0));
    enter(&mut world, app, 1, SIGNALS | COMPLETIONS, NO_DEADLINE);
    assert_eq!(app.returned(&mut world), Some(0));
}

#[test]
fn a_masked_signal_ends_no_wait() {
    let (mut world, app) = scene();
    set(&world, app, word::MASK, 0b101);
    assert_eq!(raise(&mut world, app, 0b001), Ok(0));
    enter(&mut world, app, 0, SIGNALS, NO_DEADLINE);
    assert_eq!(ended(&mut world, app), None, "pending before, masked");
    assert_eq!(raise(&mut world, app, 0b100), Ok(0));
    assert_eq!(ended(&mut world, app), None, "raised meanwhile, masked");
    assert_eq!(raise(&mut world, app, 0b010), Ok(0));
    assert_eq!(ended(&mut world, app), INTR);
    assert_eq!(pending(&world, app), 0b111);
}

#[test]
fn the_mask_of_a_wait_holds_for_that_wait_alone() {
    let (mut world, app) = scene();
    set(&world, app, word::MASK, u64::MAX);
    set(&world, app, word::WAIT_MASK, !0b10);
    assert_eq!(raise(&mut world, app, 0b01), Ok(0));
    enter(&mut world, app, 0, SIGNALS | MASK, NO_DEADLINE);
    assert_eq!(ended(&mut world, app), None);
    assert_eq!(raise(&mut world, app, 0b10), Ok(0));
    assert_eq!(ended(&mut world, app), INTR);
    // Pending before, and there is no moment between the mask and the wait.
    enter(&mut world, app, 0, SIGNALS | MASK, NO_DEADLINE);
    assert_eq!((world.mode(app), app.returned(&mut world)), (Mode::Own, INTR));
    // The next wait has the mask that holds otherwise.
    let soon = world.machine().now() + 1_000;
    enter(&mut world, app, 0, SIGNALS, soon);
    assert_eq!(world.mode(app), Mode::Entered);
    world.advance(1_000);
    assert_eq!(ended(&mut world, app), TIMEDOUT);
}

#[test]
fn signals_that_the_mask_of_a_wait_hides_stay_pending() {
    let (mut world, app) = scene();
    set(&world, app, word::WAIT_MASK, u64::MAX);
    let later = world.machine().now() + 1_000_000_000;
    enter(&mut world, app, 0, SIGNALS | MASK, later);
    assert_eq!(raise(&mut world, app, 5), Ok(0));
    assert_eq!(world.mode(app), Mode::Entered);
    world.advance(1_000_000_000);
    assert_eq!(ended(&mut world, app), TIMEDOUT);
    enter(&mut world, app, 0, SIGNALS, NO_DEADLINE);
    assert_eq!((world.mode(app), app.returned(&mut world)), (Mode::Own, INTR));
}

#[test]
fn a_signal_ends_a_wait_in_any_ring_of_its_context() {
    let (mut world, app) = scene();
    let ring = app.ring(&mut world, Sizes { sq: 3, cq: 3, service: Some(3) });
    app.push(&mut world);
    for flags in [SIGNALS | REQUESTS, SIGNALS | COMPLETIONS, SIGNALS | REQUESTS | COMPLETIONS] {
        signal::take(&world.ring(app, 0).view, u64::MAX);
        app.enter(&mut world, ring, 0, 1, flags, NO_DEADLINE);
        assert_eq!(ended(&mut world, app), None, "{flags:#x}");
        assert_eq!(raise(&mut world, app, 1), Ok(0));
        assert_eq!(ended(&mut world, app), INTR, "{flags:#x}");
    }
}

#[test]
fn flags_without_sense_are_refused() {
    let (mut world, app) = scene();
    for flags in [MASK, MASK | COMPLETIONS, RELENT, RELENT | SIGNALS, 1 << 7, SIGNALS | 1 << 9] {
        enter(&mut world, app, 0, flags, NO_DEADLINE);
        assert_eq!(app.returned(&mut world), Some(Errno::INVAL.to_result()), "{flags:#x}");
    }
}

#[test]
fn signals_reach_only_what_a_handle_leads_to() {
    let (mut world, app) = scene();
    let raise_at = |context| args::SignalRaise { context, signals: 1 }.encode(0);
    assert_eq!(app.call(&mut world, raise_at(99)), Err(Errno::BADF));
    assert_eq!(app.call(&mut world, raise_at(0)), Err(Errno::BADF), "a handle of another kind");
    assert_eq!(app.call(&mut world, raise_at(CURRENT)), Ok(0));
    assert_eq!(pending(&world, app), 1);
    let context = app.handle(&mut world);
    world.kill(app);
    assert_eq!(FIRST.call(&mut world, raise_at(context)), Err(Errno::SRCH));
}

#[test]
fn what_is_pending_stays_across_exec() {
    for sizes in [Sizes::SMALLEST, Sizes { sq: 9, cq: 9, service: None }] {
        let (mut world, app) = scene();
        assert_eq!(raise(&mut world, app, 0x8000_0001_0000_0002), Ok(0));
        let space = FIRST.call(&mut world, args::SpaceCreate {}.encode(0)).unwrap();
        let table = world.home(app)[1];
        let lent = args::HandleDup { fd: space, table, target: LOWEST, flags: 0 };
        let space = FIRST.call(&mut world, lent.encode(0)).unwrap();
        world.give_cpu(app);
        app.exec(&mut world, space, sizes);
        world.run_until("it goes on", |world| world.mode(app) == Mode::Own && world.replaced(app) == 1);
        assert_eq!(pending(&world, app), 0x8000_0001_0000_0002);
    }
}

#[test]
fn a_stopped_context_keeps_the_signal_for_when_it_runs() {
    let (mut world, app) = scene();
    enter(&mut world, app, 0, SIGNALS, NO_DEADLINE);
    let context = app.handle(&mut world);
    assert_eq!(FIRST.call(&mut world, args::ContextStop { context }.encode(0)), Ok(0));
    assert_eq!(raise(&mut world, app, 1), Ok(0));
    assert_eq!(ended(&mut world, app), None, "it stands still");
    assert_eq!(FIRST.call(&mut world, args::ContextStart { context }.encode(0)), Ok(0));
    world.run_until("it goes on", |world| world.mode(app) == Mode::Own);
    assert_eq!(app.returned(&mut world), INTR);
}

/// Two timeouts of 10 and 40 milliseconds, waited for together, relenting after `relents` milliseconds.
fn wait_for_both(relents: u64, deadline: u64) -> (World, Program) {
    const MS: u64 = 1_000_000;
    let (mut world, app) = scene();
    let start = world.machine().now();
    for at in [10, 40] {
        let timeout = args::Timeout { nanoseconds: start + at * MS, flags: args::timeout::ABSOLUTE };
        app.submit(&mut world, timeout.encode(0));
    }
    set(&world, app, word::RELENT_AT, start + relents * MS);
    let deadline = if deadline == NO_DEADLINE { deadline } else { start + deadline * MS };
    enter(&mut world, app, 2, COMPLETIONS | RELENT, deadline);
    (world, app)
}

/// Lets time pass by the millisecond until the wait ends: when, and with what.
fn ends_at(world: &mut World, app: Program) -> (u64, Option<u64>) {
    for ms in 0..100 {
        if world.mode(app) == Mode::Own {
            return (ms, app.returned(world));
        }
        world.advance(1_000_000);
        world.run_until_idle();
    }
    panic!("the wait never ends");
}

#[test]
fn a_wait_relents_when_its_time_has_come() {
    // Two are there before; one is there; one comes later.
    for (relents, wanted) in [(60, 40), (20, 20), (5, 10), (0, 10)] {
        let (mut world, app) = wait_for_both(relents, NO_DEADLINE);
        let (at, value) = ends_at(&mut world, app);
        assert_eq!(
            (at.abs_diff(wanted) <= 1, value),
            (true, Some(0)),
            "after {relents}: at {at}, not {wanted}"
        );
        assert!(app.completion(&mut world).is_some());
    }
}

#[test]
fn a_deadline_still_ends_a_wait_that_relents() {
    for (relents, deadline, wanted) in [(60, 5, 5), (3, 7, 7), (20, 15, 15)] {
        let (mut world, app) = wait_for_both(relents, deadline);
        let (at, value) = ends_at(&mut world, app);
        assert_eq!((at.abs_diff(wanted) <= 1, value), (true, TIMEDOUT), "{relents} {deadline}: at {at}");
    }
}

#[test]
fn what_ends_a_patient_wait_early_leaves_nothing_of_it() {
    let (mut world, app) = scene();
    app.submit(&mut world, forever());
    set(&world, app, word::RELENT_AT, world.machine().now() + 1_000_000);
    enter(&mut world, app, 2, COMPLETIONS | RELENT | SIGNALS, NO_DEADLINE);
    assert_eq!(raise(&mut world, app, 1), Ok(0));
    world.run_until("it goes on", |world| world.mode(app) == Mode::Own);
    assert_eq!(app.returned(&mut world), INTR);
    // Nothing is taken up again when the time comes.
    enter(&mut world, app, 1, COMPLETIONS, NO_DEADLINE);
    world.advance(10_000_000);
    assert_eq!(ended(&mut world, app), None, "an ordinary wait");
    world.kill(app);
}

#[test]
fn a_patient_wait_can_be_stopped_and_started() {
    let (mut world, app) = wait_for_both(20, NO_DEADLINE);
    let context = app.handle(&mut world);
    assert_eq!(FIRST.call(&mut world, args::ContextStop { context }.encode(0)), Ok(0));
    world.advance(25_000_000);
    world.run_until_idle();
    assert_eq!(world.mode(app), Mode::Entered);
    assert_eq!(FIRST.call(&mut world, args::ContextStart { context }.encode(0)), Ok(0));
    world.run_until("it goes on", |world| world.mode(app) == Mode::Own);
    assert_eq!(app.returned(&mut world), Some(0));
    assert!(app.completion(&mut world).is_some());
    assert!(app.write(&mut world, DATA, &[1]), "and runs");
}
