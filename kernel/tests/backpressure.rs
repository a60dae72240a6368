//! Full queues stop starts; they never lose a completion.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::args::{self, CURSOR};
use ring_abi::layout::{Sizes, flags, word};
use ring_abi::sync::Ordering::Relaxed;
use ring_abi::{Errno, Sqe, enter};
use std::collections::BTreeSet;
use world::{DATA, Program, World, read};

fn nop() -> Sqe {
    args::Nop {}.encode(0)
}

fn forever() -> Sqe {
    args::Timeout { nanoseconds: 1 << 60, flags: 0 }.encode(0)
}

fn needs_enter(world: &World, app: Program) -> bool {
    world.ring(app, 0).view.header(word::FLAGS).load(Relaxed) & flags::NEED_ENTER != 0
}

#[test]
fn a_full_completion_queue_stops_starts_until_it_is_reaped() {
    let mut world = World::new();
    let app = world.program_with(Sizes { sq: 5, cq: 2, service: None });
    let tickets: Vec<_> = (0..20).map(|_| app.submit(&mut world, nop())).collect();
    app.push(&mut world);
    assert_eq!(world.ring(app, 0).unsubmitted(), 16, "four places, four starts");
    assert!(needs_enter(&world, app));

    let mut done = Vec::new();
    while done.len() < 20 {
        let (ticket, result) = app.completion(&mut world).expect("reaping makes room");
        assert_eq!(result, Ok(0));
        done.push(ticket);
        app.push(&mut world);
    }
    assert_eq!(done, tickets, "and in order");
    assert_eq!(world.ring(app, 0).unsubmitted(), 0);
    app.push(&mut world);
    assert!(!needs_enter(&world, app), "the flag goes when nothing is left");
}

#[test]
fn operations_in_flight_hold_their_places() {
    let mut world = World::new();
    let app = world.program_with(Sizes { sq: 4, cq: 2, service: None });
    let waiting: Vec<_> = (0..4).map(|_| app.submit(&mut world, forever())).collect();
    let late = app.submit(&mut world, nop());
    app.push(&mut world);
    world.run_until_idle();
    assert_eq!(world.ring(app, 0).unsubmitted(), 1, "no place is left for the last");
    assert_eq!(app.completion(&mut world), None);

    // Even a cancel needs a place, so it waits in line like everything else; time makes one.
    world.advance(1 << 60);
    world.run_until_idle();
    for ticket in waiting {
        assert_eq!(app.result(&mut world, ticket), Some(Ok(0)));
    }
    world.run_until_idle();
    assert_eq!(app.result(&mut world, late), Some(Ok(0)));
}

#[test]
fn a_full_daemon_parks_its_clients_in_order() {
    let mut world = World::new();
    let disk = world.daemon_with("disk", 1);
    let app = world.program_with(Sizes { sq: 4, cq: 4, service: None });
    let fd = app.open(&mut world, "/scheme/disk/a");
    let at = |offset| args::Read { fd, buffer: DATA, length: 8, offset }.encode(0);
    let tickets: Vec<_> = (0..8).map(|offset| app.submit(&mut world, at(offset))).collect();
    world.run_until_idle();
    let mut seen = Vec::new();
    let mut in_hand = Vec::new();
    while seen.len() < 8 {
        while let Some(request) = disk.request(&mut world) {
            seen.push(request.args[3]);
            in_hand.push(request);
        }
        assert!(in_hand.len() <= 2, "no more than its places");
        disk.reply(&mut world, in_hand.remove(0), Ok(1));
        world.run_until_idle();
    }
    assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6, 7]);
    for request in in_hand {
        disk.reply(&mut world, request, Ok(1));
    }
    world.run_until_idle();
    for ticket in tickets {
        assert_eq!(app.result(&mut world, ticket), Some(Ok(1)), "never a spurious error");
    }
}

#[test]
fn a_request_that_fails_takes_no_place() {
    let mut world = World::new();
    let disk = world.daemon_with("disk", 1);
    let app = world.program();
    let fd = app.open(&mut world, "/scheme/disk/a");
    for _ in 0..20 {
        // Its bytes cannot be brought along, which shows after it has its place.
        let write = args::Write { fd, buffer: 0x3000, length: 8, offset: 0 };
        assert_eq!(app.call(&mut world, write.encode(0)), Err(Errno::FAULT));
    }
    let tickets = [(); 2].map(|()| app.submit(&mut world, read(fd, DATA, 8)));
    world.run_until_idle();
    for _ in 0..2 {
        let request = disk.request(&mut world).expect("both places are free");
        disk.reply(&mut world, request, Ok(0));
    }
    world.run_until_idle();
    for ticket in tickets {
        assert_eq!(app.result(&mut world, ticket), Some(Ok(0)));
    }
}

#[test]
fn a_daemon_that_does_not_look_is_told_everything_later() {
    let mut world = World::new();
    let disk = world.daemon_with("disk", 1);
    let app = world.program_with(Sizes { sq: 4, cq: 4, service: None });
    let fds: Vec<_> = (0..6).map(|_| app.open(&mut world, "/scheme/disk/a")).collect();
    world.run_until_idle();
    disk.obliging(&mut world, false);
    for fd in &fds {
        app.call(&mut world, args::Close { fd: *fd }.encode(0)).unwrap();
    }
    world.run_until_idle();
    disk.obliging(&mut world, true);
    let mut closed = BTreeSet::new();
    for _ in 0..10 {
        closed.extend(disk.closed(&mut world));
        world.run_until_idle();
    }
    assert_eq!(closed, (100..106).collect());
}

#[test]
fn a_wait_that_nothing_can_end_returns_at_once() {
    let mut world = World::new();
    let app = world.program();
    app.wait(&mut world, 5);
    assert_eq!(app.returned(&mut world), Some(0));

    app.submit(&mut world, nop());
    app.submit(&mut world, nop());
    app.wait(&mut world, u64::MAX);
    assert_eq!(app.returned(&mut world), Some(0), "clamped to what can still come");
    assert!(app.completion(&mut world).is_some());
    app.wait(&mut world, 2);
    assert_eq!(app.returned(&mut world), Some(0));
}

#[test]
fn a_wait_counts_what_lies_in_the_queue() {
    let mut world = World::new();
    let app = world.program();
    let first = app.submit(&mut world, args::Timeout { nanoseconds: 1000, flags: 0 }.encode(0));
    app.submit(&mut world, args::Timeout { nanoseconds: 2000, flags: 0 }.encode(0));
    app.submit(&mut world, args::Timeout { nanoseconds: 3000, flags: 0 }.encode(0));
    app.wait(&mut world, 2);
    assert_eq!(app.returned(&mut world), None);
    world.advance(1000);
    assert_eq!(app.returned(&mut world), None, "one of two");
    world.advance(1000);
    world.run_until("two are there", |world| app.returned(world) == Some(0));
    assert_eq!(app.completion(&mut world), Some((first, Ok(0))));
    app.wait(&mut world, 1);
    assert_eq!(app.returned(&mut world), Some(0), "one still lies there");
}

#[test]
fn a_wait_ends_at_its_deadline() {
    let mut world = World::new();
    let app = world.program();
    app.submit(&mut world, forever());
    let soon = world.machine().now() + 5000;
    app.enter(&mut world, 0, 8, 1, enter::COMPLETIONS, soon);
    assert_eq!(app.returned(&mut world), None);
    world.advance(4999);
    assert_eq!(app.returned(&mut world), None);
    world.advance(1);
    world.run_until("the deadline", |world| app.returned(world).is_some());
    assert_eq!(app.returned(&mut world), Some(Errno::TIMEDOUT.to_result()));
    app.enter(&mut world, 0, 8, 1, enter::COMPLETIONS, soon);
    assert_eq!(app.returned(&mut world), Some(Errno::TIMEDOUT.to_result()), "a deadline in the past");
}

#[test]
fn more_than_a_steps_work_is_done_in_slices() {
    let mut world = World::new();
    let app = world.program_with(Sizes { sq: 12, cq: 12, service: None });
    let other = world.program();
    for _ in 0..4096 {
        app.submit(&mut world, nop());
    }
    let steps = world.steps();
    app.wait(&mut world, 4096);
    world.run_until("all are done", |world| app.returned(world).is_some());
    assert!(world.steps() > steps + 10, "one step is bounded");
    for _ in 0..4096 {
        assert!(app.completion(&mut world).is_some());
    }
    assert_eq!(world.owed(app), 0);
    world.give_cpu(other);
}

#[test]
fn a_flood_of_reads_through_a_small_daemon_loses_nothing() {
    let mut world = World::new();
    let disk = world.daemon_with("disk", 2);
    let apps: Vec<_> = (0..3).map(|_| world.program_with(Sizes { sq: 4, cq: 2, service: None })).collect();
    let fds: Vec<_> = apps.iter().map(|app| app.open(&mut world, "/scheme/disk/a")).collect();
    let mut left = vec![100; apps.len()];
    let mut done = 0;
    while done < 300 {
        for (number, app) in apps.iter().enumerate() {
            while left[number] > 0 {
                let sqe = args::Read { fd: fds[number], buffer: DATA, length: 8, offset: CURSOR }.encode(0);
                if app.try_submit_on(&mut world, 0, sqe).is_none() {
                    break;
                }
                left[number] -= 1;
            }
        }
        world.run_until_idle();
        while let Some(request) = disk.request(&mut world) {
            disk.reply(&mut world, request, Ok(8));
            world.run_until_idle();
        }
        for app in &apps {
            while let Some((_, result)) = app.completion(&mut world) {
                assert_eq!(result, Ok(8));
                done += 1;
            }
        }
    }
    for app in apps {
        assert_eq!(world.owed(app), 0);
        assert_eq!(app.completion(&mut world), None);
    }
}

#[test]
fn two_daemons_woken_by_one_enter_both_get_their_turn() {
    let mut world = World::new();
    let disks = [world.daemon("one"), world.daemon("two")];
    let app = world.program();
    let fds = [app.open(&mut world, "/scheme/one/a"), app.open(&mut world, "/scheme/two/a")];
    world.run_until_idle();
    let others: Vec<_> = (0..world.programs()).map(Program).filter(|program| *program != app).collect();
    for disk in disks {
        disk.obliging(&mut world, false);
        disk.wait(&mut world);
    }
    let before = world.machine().now();
    // Everybody else sleeps, so no timer runs.
    for program in others {
        if disks.iter().all(|disk| disk.program != program) {
            program.submit(&mut world, forever());
            program.wait(&mut world, 1);
        }
    }
    world.give_cpu(app);
    for _ in 0..3 {
        world.advance(50_000_000);
    }
    for fd in fds {
        app.submit(&mut world, read(fd, DATA, 8));
    }
    app.wait(&mut world, 2);
    assert_eq!(world.on_cpu(), Some(disks[0].program));
    // The first runs for ever, and still the second gets its turn.
    world.run_until("the second runs", |world| world.on_cpu() == Some(disks[1].program));
    assert!(world.machine().now() < before + 1_000_000_000, "and soon");
}
