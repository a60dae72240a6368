//! Timeouts and intervals: when they complete, how often, and what changes that.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::args::{self, Strength, timeout::ABSOLUTE};
use ring_abi::layout::{Sizes, flags, word};
use ring_abi::sync::Ordering::Relaxed;
use ring_abi::{Cqe, CqeFlags, Errno, Sqe, SqeFlags, enter};
use world::{DATA, Dice, FIRST, Program, Ticket, World};

const MS: u64 = 1_000_000;
const FOREVER: u64 = 1 << 60;

fn interval(first: u64, period: u64, count: u64) -> Sqe {
    args::Interval { first, period, count, flags: 0 }.encode(0).with_flags(SqeFlags::MULTISHOT)
}

fn timeout(nanoseconds: u64) -> Sqe {
    args::Timeout { nanoseconds, flags: 0 }.encode(0)
}

fn update(ticket: Ticket, nanoseconds: u64, flags: u64) -> Sqe {
    args::TimeoutUpdate { tag: ticket.0, nanoseconds, flags }.encode(0)
}

fn remove(ticket: Ticket) -> Sqe {
    args::TimeoutRemove { tag: ticket.0 }.encode(0)
}

fn now(world: &World) -> u64 {
    world.machine().now()
}

/// One operation that is answered at once, while no time passes.
fn now_call(world: &mut World, app: Program, sqe: Sqe) -> Result<u64, Errno> {
    let ticket = app.submit(world, sqe);
    app.push(world);
    app.result(world, ticket).expect("it is answered at once")
}

/// Lets a program wait for ever, so that no time passes for its sake.
fn lull(world: &mut World, program: Program) {
    program.submit(world, args::FutexWait { address: DATA + 64, expected: 0, deadline: u64::MAX }.encode(0));
    program.wait(world, 1);
}

/// A program that has submitted something, and that alone does anything.
fn scene(sqe: Sqe) -> (World, Program, Ticket) {
    let mut world = World::new();
    let app = world.program();
    lull(&mut world, FIRST);
    let ticket = app.submit(&mut world, sqe);
    app.push(&mut world);
    (world, app, ticket)
}

/// All completions of an operation that are there: results, and whether more follow.
fn taken(world: &mut World, app: Program, ticket: Ticket) -> Vec<(Result<u64, Errno>, bool)> {
    let mut all = Vec::new();
    while let Some(cqe) = app.completed(world, ticket) {
        all.push((cqe.result(), has_more(cqe)));
    }
    all
}

fn has_more(cqe: Cqe) -> bool {
    cqe.flags & CqeFlags::MORE.bits() != 0
}

/// Lets time pass until a point, with every deadline on the way seen in time.
fn pass_to(world: &mut World, then: u64) {
    while let Some(next) = world.machine().timer().filter(|&next| next <= then) {
        world.advance(next.saturating_sub(now(world)));
    }
    let left = then.saturating_sub(now(world));
    world.advance(left);
}

#[test]
fn an_interval_completes_at_each_multiple_of_its_period() {
    let (mut world, app, ticket) = scene(interval(5 * MS, 2 * MS, 4));
    let start = now(&world);
    let mut seen = Vec::new();
    for tenth in 1..=200 {
        pass_to(&mut world, start + tenth * MS / 10);
        let at = now(&world) - start;
        seen.extend(taken(&mut world, app, ticket).into_iter().map(|what| (at, what)));
    }
    let more = |at| (at * MS, (Ok(1), true));
    assert_eq!(seen, [more(5), more(7), more(9), (11 * MS, (Ok(1), false))]);
    assert_eq!(world.owed(app), 0);
    assert!(world.kernel.state.timers.is_empty());
}

#[test]
fn an_interval_that_is_seen_late_does_not_drift() {
    let (mut world, app, ticket) = scene(interval(MS, MS, 0));
    let start = now(&world);
    // It is looked at a little after each expiry, and once long after several.
    // The last but two comes so soon after the one before that it waits for the end of the gap.
    for (after, expired) in
        [(1_300_000, 1), (2_900_000, 1), (7_999_999, 5), (8_000_000, 0), (8_099_999, 1), (9_000_000, 1)]
    {
        let left = start + after - now(&world);
        world.machine().advance(left);
        world.advance(0);
        let results: Vec<_> = taken(&mut world, app, ticket).into_iter().map(|(result, _)| result).collect();
        let expected: &[_] = if expired == 0 { &[] } else { &[Ok(expired)] };
        assert_eq!(results, expected, "after {after}");
    }
}

#[test]
fn an_absolute_interval_begins_when_it_says() {
    let mut world = World::new();
    let app = world.program();
    let first = now(&world) + 3 * MS;
    let sqe = args::Interval { first, period: MS, count: 2, flags: ABSOLUTE };
    let ticket = app.submit(&mut world, sqe.encode(0).with_flags(SqeFlags::MULTISHOT));
    app.push(&mut world);
    pass_to(&mut world, first - 1);
    assert_eq!(taken(&mut world, app, ticket), []);
    pass_to(&mut world, first);
    assert_eq!(taken(&mut world, app, ticket), [(Ok(1), true)]);
    pass_to(&mut world, first + MS);
    assert_eq!(taken(&mut world, app, ticket), [(Ok(1), false)]);
    // One that should have begun long ago makes up for it.
    world.advance(10 * MS);
    let late = args::Interval { first, period: MS, count: 3, flags: ABSOLUTE };
    let ticket = app.submit(&mut world, late.encode(0).with_flags(SqeFlags::MULTISHOT));
    app.push(&mut world);
    world.advance(1);
    assert_eq!(taken(&mut world, app, ticket), [(Ok(3), false)]);
}

#[test]
fn an_interval_without_sense_is_refused() {
    let mut world = World::new();
    let app = world.program();
    let plain = args::Interval { first: MS, period: MS, count: 0, flags: 0 };
    assert_eq!(app.call(&mut world, plain.encode(0)), Err(Errno::INVAL), "it has no flag");
    assert_eq!(app.call(&mut world, interval(MS, 0, 1)), Err(Errno::INVAL), "it has no period");
    let odd = args::Interval { flags: 2, ..plain }.encode(0).with_flags(SqeFlags::MULTISHOT);
    assert_eq!(app.call(&mut world, odd), Err(Errno::INVAL));
    let linked = interval(MS, MS, 0).with_flags(SqeFlags::MULTISHOT | SqeFlags::BUFFER_SELECT);
    assert_eq!(app.call(&mut world, linked), Err(Errno::INVAL));
    let single = timeout(MS).with_flags(SqeFlags::MULTISHOT);
    assert_eq!(app.call(&mut world, single), Err(Errno::INVAL), "a timeout completes once");
}

#[test]
fn a_short_period_is_no_way_to_stop_the_others() {
    let mut world = World::new();
    let app = world.program_with(Sizes { sq: 3, cq: 5, service: None });
    let ticket = app.submit(&mut world, interval(1, 1, 0));
    app.push(&mut world);
    let start = now(&world);
    let before = world.steps();
    pass_to(&mut world, start + MS);
    assert!(world.steps() - before <= 2 * 10 + 2, "{} steps", world.steps() - before);
    let counts = taken(&mut world, app, ticket).into_iter().map(|(result, more)| {
        assert!(more);
        result.unwrap()
    });
    let counts: Vec<_> = counts.collect();
    assert!((2..=11).contains(&counts.len()), "{counts:?}");
    assert!((900_000..=1_000_000).contains(&counts.iter().sum::<u64>()), "{counts:?}");
}

#[test]
fn a_short_period_ends_in_time() {
    let (mut world, app, ticket) = scene(interval(1000, 1000, 5));
    let start = now(&world);
    pass_to(&mut world, start + 5000);
    let all = taken(&mut world, app, ticket);
    assert_eq!(all.iter().map(|(result, _)| result.unwrap()).sum::<u64>(), 5);
    assert_eq!(all.last().map(|(_, more)| *more), Some(false));
}

#[test]
fn an_interval_that_finds_no_place_counts_and_goes_on() {
    let mut world = World::new();
    let app = world.program_with(Sizes { sq: 3, cq: 2, service: None });
    let ticket = app.submit(&mut world, interval(MS, MS, 0));
    app.push(&mut world);
    let start = now(&world);
    pass_to(&mut world, start + 3 * MS);
    assert!(!needs_enter(&world, app));
    // Three places are filled, and the last one is promised for the end.
    pass_to(&mut world, start + 9 * MS);
    assert!(needs_enter(&world, app), "the program is told to make room");
    assert!(world.kernel.state.timers.is_empty(), "a paused interval costs nothing");
    assert_eq!(taken(&mut world, app, ticket), [(Ok(1), true); 3]);
    pass_to(&mut world, start + 12 * MS + 1);
    app.push(&mut world);
    assert!(!needs_enter(&world, app));
    assert_eq!(taken(&mut world, app, ticket), [(Ok(9), true)], "none is lost");
    pass_to(&mut world, start + 13 * MS);
    assert_eq!(taken(&mut world, app, ticket), [(Ok(1), true)], "nor late");
    assert_eq!(now_call(&mut world, app, remove(ticket)), Ok(0));
    assert_eq!(taken(&mut world, app, ticket), [(Err(Errno::CANCELED), false)]);
}

fn needs_enter(world: &World, app: Program) -> bool {
    world.ring(app, 0).view.header(word::FLAGS).load(Relaxed) & flags::NEED_ENTER != 0
}

#[test]
fn every_kind_of_entry_lets_a_paused_interval_go_on() {
    for (submits, waits) in [(0, 0), (1, 0), (0, 1), (1, 1), (3, 0), (2, 1)] {
        let mut world = World::new();
        let app = world.program_with(Sizes { sq: 3, cq: 2, service: None });
        let ticket = app.submit(&mut world, interval(MS, MS, 0));
        app.push(&mut world);
        world.advance(MS);
        world.advance(MS);
        world.advance(MS);
        world.advance(MS);
        assert!(needs_enter(&world, app));
        assert_eq!(taken(&mut world, app, ticket), [(Ok(1), true); 3]);
        for _ in 0..submits {
            app.submit(&mut world, timeout(FOREVER));
        }
        let flags = if waits == 0 { 0 } else { enter::COMPLETIONS };
        app.enter(&mut world, 0, submits, waits, flags, enter::NO_DEADLINE);
        let all = taken(&mut world, app, ticket);
        let found = if submits == 3 { vec![] } else { vec![(Ok(1), true)] };
        assert_eq!(all, found, "{submits} submissions, wait for {waits}");
        assert_eq!(needs_enter(&world, app), submits == 3, "places that are promised are not free");
    }
}

#[test]
fn several_paused_intervals_share_the_room() {
    let mut world = World::new();
    let app = world.program_with(Sizes { sq: 3, cq: 3, service: None });
    let tickets = [0, 1, 2].map(|late| app.submit(&mut world, interval(MS + late, MS, 0)));
    app.push(&mut world);
    let start = now(&world);
    pass_to(&mut world, start + 4 * MS);
    let mut counts = [0; 3];
    for round in 5..40 {
        for (ticket, count) in tickets.into_iter().zip(&mut counts) {
            // A slow program takes one at a time.
            if let Some(cqe) = app.completed(&mut world, ticket) {
                assert!(has_more(cqe));
                *count += cqe.result().unwrap();
            }
        }
        app.push(&mut world);
        pass_to(&mut world, start + round * MS);
    }
    while let Some((ticket, result)) = app.completion(&mut world) {
        counts[tickets.iter().position(|other| *other == ticket).unwrap()] += result.unwrap();
        app.push(&mut world);
    }
    let most = (now(&world) - start) / MS;
    assert!(counts.iter().all(|&count| count >= most - 1 && count <= most), "{counts:?} of {most}");
}

#[test]
fn what_ends_a_wait_ends_an_interval_once() {
    type End = (&'static str, fn(Ticket) -> Sqe, Result<u64, Errno>);
    let ends: [End; 4] = [
        ("removed", remove, Ok(0)),
        ("cancelled", |ticket| cancel(ticket, Strength::Force), Ok(1)),
        ("asked", |ticket| cancel(ticket, Strength::Ask), Ok(1)),
        ("all cancelled", |_| args::CancelAll { strength: 1, grace: 0 }.encode(0), Ok(1)),
    ];
    for paused in [false, true] {
        for (name, end, result) in &ends {
            let mut world = World::new();
            let app = world.program_with(Sizes { sq: 3, cq: 1, service: None });
            let ticket = app.submit(&mut world, interval(MS, MS, 0));
            app.push(&mut world);
            if paused {
                world.advance(MS);
                world.advance(3 * MS);
                assert!(needs_enter(&world, app));
                assert_eq!(taken(&mut world, app, ticket), [(Ok(1), true)]);
                // The end finds room before the interval does.
            }
            assert_eq!(app.call(&mut world, end(ticket)), *result, "{name}, paused: {paused}");
            assert_eq!(taken(&mut world, app, ticket), [(Err(Errno::CANCELED), false)], "{name}");
            assert!(world.kernel.state.timers.is_empty());
            app.push(&mut world);
            assert!(!needs_enter(&world, app));
            assert_eq!(app.call(&mut world, end(ticket)), Err(Errno::NOENT), "{name}");
        }
    }
}

fn cancel(ticket: Ticket, strength: Strength) -> Sqe {
    args::CancelTag { tag: ticket.0, strength: strength as u32, grace: u64::MAX }.encode(0)
}

#[test]
fn an_interval_ends_with_its_program_running_or_paused() {
    let mut world = World::new();
    let round = |world: &mut World| {
        for advances in [0, 1, 5] {
            let app = world.program_with(Sizes { sq: 3, cq: 1, service: None });
            app.submit(world, interval(MS, MS, 0));
            app.push(world);
            (0..advances).for_each(|_| world.advance(MS));
            world.kill(app);
            world.forget(app);
        }
    };
    round(&mut world);
    let before = world.accounts();
    round(&mut world);
    assert_eq!(world.accounts(), before);
}

#[test]
fn an_interval_that_cannot_pause_for_lack_of_memory_tells_what_it_has() {
    let mut world = World::new();
    let app = world.program_with(Sizes { sq: 3, cq: 1, service: None });
    let crowd = world.program_with(Sizes { sq: 9, cq: 9, service: None });
    let wait =
        |word: u64| args::FutexWait { address: DATA + word * 4, expected: 0, deadline: u64::MAX }.encode(0);
    // There is memory for deadlines and many operations.
    crowd.submit(&mut world, timeout(FOREVER));
    (0..400).for_each(|_| _ = crowd.submit(&mut world, wait(0)));
    crowd.push(&mut world);
    world.run_until("the crowd waits", |world| crowd.returned(world).is_some());
    assert_eq!(crowd.call(&mut world, args::FutexWake { address: DATA, count: 400 }.encode(0)), Ok(400));
    world.run_until_idle();
    while crowd.completion(&mut world).is_some() {}
    // But the channels for which there is some are taken: each word has its own.
    world.starve(0);
    for word in 0..400 {
        crowd.submit(&mut world, wait(word));
        crowd.push(&mut world);
        if let Some((_, result)) = crowd.completion(&mut world) {
            assert_eq!(result, Err(Errno::NOMEM));
            break;
        }
    }
    world.starve(0);
    let ticket = app.submit(&mut world, interval(MS, MS, 0));
    app.push(&mut world);
    world.advance(MS);
    world.advance(MS);
    world.feed();
    assert_eq!(taken(&mut world, app, ticket), [(Ok(1), true), (Ok(1), false)]);
}

#[test]
fn a_timeout_completes_when_it_was_moved_to() {
    let (mut world, app, ticket) = scene(timeout(10 * MS));
    let start = now(&world);
    assert_eq!(now_call(&mut world, app, update(ticket, start + 20 * MS, ABSOLUTE)), Ok(0));
    pass_to(&mut world, start + 20 * MS - 1);
    assert_eq!(taken(&mut world, app, ticket), []);
    assert_eq!(now_call(&mut world, app, update(ticket, 5 * MS, 0)), Ok(0));
    pass_to(&mut world, start + 24 * MS);
    assert_eq!(taken(&mut world, app, ticket), []);
    pass_to(&mut world, start + 26 * MS);
    assert_eq!(taken(&mut world, app, ticket), [(Ok(0), false)]);
    assert_eq!(now_call(&mut world, app, update(ticket, MS, 0)), Err(Errno::NOENT));
    assert_eq!(now_call(&mut world, app, update(ticket, MS, 2)), Err(Errno::INVAL));
}

#[test]
fn a_timer_of_another_ring_is_not_found() {
    let (mut world, app, ticket) = scene(timeout(FOREVER));
    let number = app.ring(&mut world, Sizes::SMALLEST);
    for sqe in [update(ticket, MS, 0), remove(ticket)] {
        assert_eq!(app.call_on(&mut world, number, sqe), Err(Errno::NOENT));
    }
    assert_eq!(taken(&mut world, app, ticket), []);
}

#[test]
fn a_timeout_that_is_moved_into_the_past_completes_at_once() {
    let (mut world, app, ticket) = scene(timeout(10 * MS));
    assert_eq!(now_call(&mut world, app, update(ticket, 1, ABSOLUTE)), Ok(0));
    assert_eq!(taken(&mut world, app, ticket), [(Ok(0), false)]);
    assert!(world.kernel.state.timers.is_empty());
}

#[test]
fn a_removed_timeout_is_cancelled() {
    let (mut world, app, ticket) = scene(timeout(10 * MS));
    assert_eq!(now_call(&mut world, app, remove(ticket)), Ok(0));
    assert_eq!(taken(&mut world, app, ticket), [(Err(Errno::CANCELED), false)]);
    assert_eq!(now_call(&mut world, app, remove(ticket)), Err(Errno::NOENT));
    // Only timers are meant, not whatever else has the tag.
    let wait = args::FutexWait { address: DATA, expected: 0, deadline: FOREVER };
    let futex = app.submit(&mut world, wait.encode(0));
    app.push(&mut world);
    assert_eq!(now_call(&mut world, app, remove(futex)), Err(Errno::NOENT));
    assert_eq!(now_call(&mut world, app, update(futex, MS, 0)), Err(Errno::NOENT));
    assert_eq!(taken(&mut world, app, futex), []);
}

#[test]
fn a_timeout_whose_time_has_come_is_neither_moved_nor_removed() {
    for sqe in [update as fn(Ticket, u64, u64) -> Sqe, |ticket, _, _| remove(ticket)] {
        let (mut world, app, ticket) = scene(timeout(10 * MS));
        // Time has passed, and the timer's interrupt has not come in yet.
        world.machine().advance(10 * MS);
        assert_eq!(now_call(&mut world, app, sqe(ticket, MS, 0)), Err(Errno::ALREADY));
        world.advance(0);
        assert_eq!(taken(&mut world, app, ticket), [(Ok(0), false)]);
    }
}

#[test]
fn an_interval_that_is_moved_goes_on_from_there() {
    let (mut world, app, ticket) = scene(interval(MS, MS, 4));
    let start = now(&world);
    pass_to(&mut world, start + MS);
    assert_eq!(taken(&mut world, app, ticket), [(Ok(1), true)]);
    assert_eq!(now_call(&mut world, app, update(ticket, start + 10 * MS + 7, ABSOLUTE)), Ok(0));
    pass_to(&mut world, start + 10 * MS);
    assert_eq!(taken(&mut world, app, ticket), []);
    pass_to(&mut world, start + 10 * MS + 7);
    assert_eq!(taken(&mut world, app, ticket), [(Ok(1), true)]);
    // What expired before it was moved is told with what comes after.
    world.machine().advance(MS);
    assert_eq!(now_call(&mut world, app, update(ticket, start + 20 * MS, ABSOLUTE)), Ok(0));
    pass_to(&mut world, start + 20 * MS);
    assert_eq!(taken(&mut world, app, ticket), [(Ok(2), false)]);
}

#[test]
fn an_interval_whose_end_has_come_is_not_moved() {
    let (mut world, app, ticket) = scene(interval(MS, MS, 1));
    world.machine().advance(MS);
    assert_eq!(now_call(&mut world, app, update(ticket, MS, 0)), Err(Errno::ALREADY));
    world.advance(0);
    assert_eq!(taken(&mut world, app, ticket), [(Ok(1), false)]);
}

#[test]
fn a_paused_interval_is_moved_too() {
    let mut world = World::new();
    let app = world.program_with(Sizes { sq: 3, cq: 1, service: None });
    lull(&mut world, FIRST);
    let ticket = app.submit(&mut world, interval(MS, MS, 0));
    app.push(&mut world);
    let start = now(&world);
    pass_to(&mut world, start + 3 * MS);
    assert!(needs_enter(&world, app));
    assert_eq!(taken(&mut world, app, ticket), [(Ok(1), true)]);
    assert_eq!(now_call(&mut world, app, update(ticket, start + 50 * MS, ABSOLUTE)), Ok(0));
    assert_eq!(taken(&mut world, app, ticket), []);
    app.push(&mut world);
    assert_eq!(taken(&mut world, app, ticket), [(Ok(2), true)], "those before it was moved");
    app.push(&mut world);
    pass_to(&mut world, start + 50 * MS - 1);
    assert_eq!(taken(&mut world, app, ticket), []);
    pass_to(&mut world, start + 50 * MS);
    assert_eq!(taken(&mut world, app, ticket), [(Ok(1), true)]);
}

#[test]
fn an_interval_wakes_who_waits_for_it() {
    let (mut world, app, ticket) = scene(interval(MS, MS, 0));
    let start = now(&world);
    for round in 1..5 {
        app.wait(&mut world, 1);
        assert_eq!(app.returned(&mut world), None);
        pass_to(&mut world, start + round * MS);
        assert_eq!(app.returned(&mut world), Some(0));
        assert_eq!(taken(&mut world, app, ticket), [(Ok(1), true)]);
    }
}

/// Intervals of any period, taken by a program that is sometimes slow: every expiry is told once.
#[test]
fn no_expiry_is_lost_whatever_the_program_does() {
    for seed in 1..40 {
        let mut dice = Dice::new(seed);
        let mut world = World::new();
        world.audit_every = 7;
        let app = world.program_with(Sizes { sq: 3, cq: 1 + dice.roll(3) as u8, service: None });
        let most = if dice.one_in(2) { 1 } else { 2 };
        let plans: Vec<_> = (0..most).map(|_| (1 + dice.roll(3 * MS), 1 + dice.roll(40))).collect();
        let tickets: Vec<_> = plans
            .iter()
            .map(|(period, count)| app.submit(&mut world, interval(*period, *period, *count)))
            .collect();
        app.push(&mut world);
        let mut told = vec![0; plans.len()];
        let mut ended = vec![false; plans.len()];
        for _ in 0..4000 {
            match dice.roll(6) {
                0 => app.push(&mut world),
                1 | 2 => {
                    if let Some(cqe) = app.take(&mut world, 0) {
                        let at = tickets.iter().position(|ticket| ticket.0 == cqe.tag).unwrap();
                        assert!(!ended[at], "seed {seed}");
                        told[at] += cqe.result().unwrap();
                        ended[at] = !has_more(cqe);
                    }
                }
                _ => {
                    let time = dice.roll(MS);
                    world.advance(time);
                }
            }
            if ended.iter().all(|ended| *ended) {
                break;
            }
        }
        let expected: Vec<_> = plans.iter().map(|(_, count)| *count).collect();
        assert_eq!((told, world.owed(app)), (expected, 0), "seed {seed}: {plans:?}");
    }
}
