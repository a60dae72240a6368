//! A ring is replaced by another one while it is in use: nothing is lost, nothing completes twice, and order stays.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::args::{self, CURRENT, Strength};
use ring_abi::layout::Sizes;
use ring_abi::{Errno, Sqe, SqeFlags, enter};
use std::collections::BTreeMap;
use world::{DATA, Dice, Mode, Program, World, is_message};

const SMALL: Sizes = Sizes { sq: 3, cq: 3, service: None };
const LARGE: Sizes = Sizes { sq: 6, cq: 6, service: None };

fn move_from(world: &mut World, app: Program, to: usize, from: u64) -> Result<u64, Errno> {
    take_over(world, app, to, args::RingMove { from }.encode(0))
}

/// Does an operation on a ring. Its completion is not mixed up with those of others, whose tickets stay open in the ring
/// that they were submitted to; so the world's own books are moved as well.
fn take_over(world: &mut World, app: Program, ring: usize, sqe: Sqe) -> Result<u64, Errno> {
    let ticket = app.submit_on(world, ring, sqe);
    app.enter(world, ring, u64::MAX, 0, 0, u64::MAX);
    world.share_books(app);
    let mut result = None;
    world.run_until("the move ends", |world| {
        result = app.result(world, ticket);
        result.is_some()
    });
    result.unwrap()
}

fn at(world: &World, ms: u64) -> Sqe {
    let nanoseconds = world.machine().now() + ms * 1_000_000;
    args::Timeout { nanoseconds, flags: args::timeout::ABSOLUTE }.encode(0)
}

#[test]
fn what_is_in_flight_completes_in_the_new_ring() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program_with(SMALL);
    let fd = app.open(&mut world, "/scheme/disk/a");
    let read = app.submit(&mut world, args::Read { fd, buffer: DATA, length: 8, offset: 0 }.encode(0));
    let futex = app.submit(
        &mut world,
        args::FutexWait { address: DATA + 64, expected: 0, deadline: u64::MAX }.encode(0),
    );
    let timeout = at(&world, 5);
    let timeout = app.submit(&mut world, timeout);
    let poll = app.submit(&mut world, args::Poll { fd, mask: 1 }.encode(0));
    // One is complete and not taken.
    let done = app.submit(&mut world, args::Nop {}.encode(0));
    world.run_until_idle();
    let ring = app.ring(&mut world, LARGE);
    assert_eq!(move_from(&mut world, app, ring, 0), Ok(0), "nothing is promised there any more");

    let requests: Vec<_> = std::iter::from_fn(|| disk.request(&mut world)).collect();
    assert_eq!(requests.len(), 2);
    for request in requests {
        disk.reply(&mut world, request, Ok(1));
    }
    world.advance(5_000_000);
    app.submit_on(&mut world, ring, args::FutexWake { address: DATA + 64, count: 9 }.encode(0));
    world.run_until_idle();
    for ticket in [read, timeout, poll] {
        let result = app.result(&mut world, ticket);
        assert!(matches!(result, Some(Ok(0 | 1))), "{result:?}");
    }
    assert_eq!(app.result(&mut world, futex), Some(Ok(0)));
    assert_eq!(app.result(&mut world, done), Some(Ok(0)));
    assert_eq!(world.owed(app), 0);
}

#[test]
fn what_finds_no_room_stays_and_is_moved_later() {
    let mut world = World::new();
    let app = world.program_with(Sizes { sq: 5, cq: 5, service: None });
    let sqe = at(&world, 50);
    let tickets: Vec<_> = (0..20).map(|_| app.submit(&mut world, sqe)).collect();
    app.push(&mut world);
    let ring = app.ring(&mut world, SMALL);
    // Eight places: one is for the move itself.
    assert_eq!(move_from(&mut world, app, ring, 0), Ok(13));
    assert_eq!(move_from(&mut world, app, ring, 0), Ok(13), "still no room");
    world.advance(50_000_000);
    world.run_until_idle();
    for ticket in tickets {
        assert_eq!(app.result(&mut world, ticket), Some(Ok(0)), "wherever it was");
    }
}

#[test]
fn a_moved_operation_can_be_cancelled_where_it_is() {
    let mut world = World::new();
    let app = world.program_with(SMALL);
    let sqe = at(&world, 50);
    let ticket = app.submit(&mut world, sqe);
    app.push(&mut world);
    let ring = app.ring(&mut world, LARGE);
    assert_eq!(move_from(&mut world, app, ring, 0), Ok(0));
    let cancel = args::CancelTag { tag: ticket.0, strength: Strength::Force as u32, grace: 0 }.encode(0);
    assert_eq!(app.call_on(&mut world, 0, cancel), Err(Errno::NOENT), "it is not here any more");
    let cancels = app.submit_on(&mut world, ring, cancel);
    world.run_until_idle();
    assert_eq!(app.result(&mut world, cancels), Some(Ok(1)));
    assert_eq!(app.result(&mut world, ticket), Some(Err(Errno::CANCELED)));
}

#[test]
fn a_paused_operation_goes_on_with_its_count() {
    let mut world = World::new();
    let app = world.program_with(Sizes { sq: 2, cq: 1, service: None });
    let every = args::Interval { first: 1_000_000, period: 1_000_000, count: 10, flags: 0 };
    let sqe = every.encode(0).with_flags(SqeFlags::MULTISHOT);
    let ticket = app.submit(&mut world, sqe);
    app.push(&mut world);
    for _ in 0..6 {
        world.advance(1_000_000);
        world.run_until_idle();
    }
    // The one free place is taken, and what came after is a number.
    let ring_made = app.take(&mut world, 0).expect("a completion");
    let ring = app.ring(&mut world, LARGE);
    assert_eq!(move_from(&mut world, app, ring, 0), Ok(0));
    for _ in 0..10 {
        world.advance(1_000_000);
        world.run_until_idle();
    }
    let mut told = ring_made.result;
    while let Some(cqe) = app.completed(&mut world, ticket) {
        told += cqe.result().unwrap();
    }
    assert_eq!(told, 10, "every expiry was told");
}

#[test]
fn handles_lead_to_the_new_ring_and_messages_that_waited_come_there() {
    let mut world = World::new();
    let app = world.program_with(SMALL);
    let door = args::RingHandle { ring: CURRENT, tag: 0, flags: 0 }.encode(0);
    let fd = app.call(&mut world, door).unwrap();
    let other = world.thread(app, LARGE);
    let send = |value| args::MessageSend { fd, tag: 1, value, extra: 0, deadline: u64::MAX }.encode(0);
    for value in 0..12 {
        other.submit(&mut world, send(value));
    }
    other.push(&mut world);
    let mut values: Vec<_> = (0..2).map(|_| app.take(&mut world, 0).unwrap().result).collect();
    let ring = app.ring(&mut world, LARGE);
    assert_eq!(move_from(&mut world, app, ring, 0), Ok(0));
    assert_eq!(other.call(&mut world, send(12)), Ok(0));
    app.enter(&mut world, ring, 0, 0, 0, u64::MAX);
    values.extend(
        app.messages(&mut world).iter().inspect(|cqe| assert!(is_message(cqe))).map(|cqe| cqe.result),
    );
    assert_eq!(values, (0..13).collect::<Vec<_>>());
    assert_eq!(
        app.call_on(&mut world, ring, args::RingDrop { ring: 0 }.encode(0)),
        Err(Errno::BADF),
        "the first stays"
    );
}

#[test]
fn a_ring_ends_only_when_nothing_is_left_in_it() {
    let mut world = World::new();
    let before = world.accounts();
    let app = world.program_with(LARGE);
    let ring = app.ring(&mut world, SMALL);
    let drops = |ring| args::RingDrop { ring }.encode(0);
    assert_eq!(app.call_on(&mut world, ring, drops(1)), Err(Errno::BUSY), "it is entered");
    assert_eq!(app.call(&mut world, drops(2)), Err(Errno::BADF));
    assert_eq!(app.call(&mut world, drops(0)), Err(Errno::BADF));
    assert_eq!(app.call(&mut world, args::RingMove { from: 0 }.encode(0)), Err(Errno::INVAL));
    assert_eq!(app.call(&mut world, args::RingMove { from: 3 }.encode(0)), Err(Errno::BADF));
    let sqe = at(&world, 50);
    let ticket = app.submit_on(&mut world, ring, sqe);
    app.enter(&mut world, ring, 9, 0, 0, u64::MAX);
    assert_eq!(app.call(&mut world, drops(1)), Err(Errno::BUSY));
    assert_eq!(move_from(&mut world, app, 0, 1), Ok(0));
    assert_eq!(app.call(&mut world, drops(1)), Ok(0));
    world.forget_ring(app, 1);
    world.advance(50_000_000);
    world.run_until_idle();
    assert_eq!(app.result(&mut world, ticket), Some(Ok(0)));
    // Its number is free again.
    for _ in 0..5 {
        assert_eq!(app.ring(&mut world, LARGE), 1);
        assert_eq!(app.call(&mut world, drops(1)), Ok(0));
        world.forget_ring(app, 1);
    }
    world.kill(app);
    world.forget(app);
    assert_eq!(world.accounts(), before);
}

#[test]
fn a_server_does_not_lose_its_ring() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let drops = args::RingDrop { ring: disk.ring as u64 }.encode(0);
    assert_eq!(disk.program.call(&mut world, drops), Err(Errno::BUSY));
}

#[test]
fn many_operations_move_in_slices_while_they_complete() {
    for seed in 1..=6 {
        let mut world = World::new();
        world.audit_every = 11;
        let mut dice = Dice::new(seed);
        let huge = Sizes { sq: 10, cq: 10, service: None };
        let app = world.program_with(huge);
        let mut open = BTreeMap::new();
        let mut rings = vec![0];
        for _ in 0..900 {
            let sqe = at(&world, 1 + dice.roll(40));
            open.insert(app.submit(&mut world, sqe), ());
        }
        app.push(&mut world);
        rings.push(app.ring(&mut world, huge));
        // There and back again, while time passes.
        let mut here = 0;
        while !open.is_empty() {
            let there = 1 - here;
            let ticket =
                app.submit_on(&mut world, rings[there], args::RingMove { from: here as u64 }.encode(0));
            app.enter(&mut world, rings[there], 1, 0, 0, u64::MAX);
            world.share_books(app);
            world.advance(dice.roll(3_000_000));
            open.retain(|ticket, ()| match app.result(&mut world, *ticket) {
                Some(result) => {
                    assert_eq!(result, Ok(0), "seed {seed}");
                    false
                }
                None => true,
            });
            world.run_until("the move ends", |world| app.result(world, ticket).is_some());
            here = there;
        }
        assert_eq!(world.owed(app), 0, "seed {seed}");
        world.check();
    }
}

#[test]
fn a_ring_with_more_than_operations_is_not_moved() {
    let mut world = World::with_cpus(64 << 20, 2);
    let app = world.program_with(SMALL);
    let ring = app.ring(&mut world, LARGE);
    let poll = |idle| args::RingPoll { idle }.encode(0);
    for polled in [0, ring] {
        assert!(take_over(&mut world, app, polled, poll(1_000_000)).is_ok());
        assert_eq!(move_from(&mut world, app, ring, 0), Err(Errno::BUSY));
        assert!(take_over(&mut world, app, polled, poll(0)).is_ok());
    }
    // Held back by a barrier.
    let later = at(&world, 5);
    let first = app.submit(&mut world, later);
    let behind = app.submit(&mut world, args::Nop {}.encode(0).with_flags(SqeFlags::DRAIN));
    app.push(&mut world);
    assert_eq!(move_from(&mut world, app, ring, 0), Err(Errno::BUSY));
    world.advance(6_000_000);
    assert_eq!(app.result(&mut world, first), Some(Ok(0)));
    assert_eq!(app.result(&mut world, behind), Some(Ok(0)));
    assert_eq!(move_from(&mut world, app, ring, 0), Ok(0));
    world.check();
}

#[test]
fn a_chain_ends_in_the_ring_in_which_it_began() {
    let mut world = World::new();
    let app = world.program_with(SMALL);
    let ring = app.ring(&mut world, LARGE);
    let later = at(&world, 5);
    let first = app.submit(&mut world, later.with_flags(SqeFlags::LINK));
    let second = app.submit(&mut world, args::Nop {}.encode(0));
    app.push(&mut world);
    let alone = at(&world, 3);
    let alone = app.submit(&mut world, alone);
    app.push(&mut world);
    let left = move_from(&mut world, app, ring, 0).expect("it can be tried");
    assert!(left > 0, "the chain stays");
    world.advance(6_000_000);
    for ticket in [first, second, alone] {
        assert_eq!(app.result(&mut world, ticket), Some(Ok(0)));
    }
    assert_eq!(move_from(&mut world, app, ring, 0), Ok(0));
    assert_eq!(world.owed(app), 0);
    world.check();
}

#[test]
fn who_waits_where_everything_moves_away_wakes() {
    let mut world = World::new();
    let huge = Sizes { sq: 10, cq: 10, service: None };
    let app = world.program_with(huge);
    for _ in 0..900 {
        let sqe = at(&world, 1_000_000);
        app.submit(&mut world, sqe);
    }
    app.push(&mut world);
    let ring = app.ring(&mut world, huge);
    world.share_books(app);
    let moved = app.submit_on(&mut world, ring, args::RingMove { from: 0 }.encode(0));
    app.enter(&mut world, ring, u64::MAX, 0, 0, u64::MAX);
    assert_eq!(app.result(&mut world, moved), None, "it takes more than a step");
    app.enter(&mut world, 0, 0, 900, enter::COMPLETIONS, u64::MAX);
    assert_eq!(world.mode(app), Mode::Entered);
    world.run_until("nothing is left to come", |world| world.mode(app) == Mode::Own);
    assert!(app.result(&mut world, moved).is_some());
}
