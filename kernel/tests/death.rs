//! A daemon or a caller ends, at every point of what they do together.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::args::{self, CURRENT, event};
use ring_abi::context::{End, Reason};
use ring_abi::layout::Sizes;
use ring_abi::{Errno, enter};
use world::{DATA, Daemon, Mode, Program, World, read, write};

/// Who dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Daemon,
    Caller,
    Both,
}

/// Steps of [`play`].
const POINTS: usize = 9;

/// Opens a file, reads and closes, step by step; at `point` the victim ends.
/// Gives the read's result if the caller lives to see it.
fn play(world: &mut World, victim: Victim, point: usize) -> Option<Result<u64, Errno>> {
    let disk = world.daemon("disk");
    disk.obliging(world, false);
    let app = world.program();
    let (buffer, length) = app.name(world, "/scheme/disk/a");
    let open = args::OpenAt { fd: CURRENT, buffer, length, flags: 0, capacity: 0 };
    let mut ticket = None;
    let mut request = None;
    for step in 0..POINTS {
        if step == point {
            end(world, victim, disk, app);
        }
        if world.has_ended(app) {
            break;
        }
        let lives = !world.has_ended(disk.program);
        match (step, request) {
            (0, _) => ticket = Some(app.submit(world, open.encode(0))),
            (1, _) => app.push(world),
            (2 | 5, _) if lives => request = disk.request(world),
            (3 | 6, Some(request)) if lives => disk.reply(world, request, Ok(64)),
            (4, _) => {
                world.run_until_idle();
                match app.result(world, ticket?).expect("the open completes") {
                    Ok(fd) => ticket = Some(app.submit(world, read(fd, DATA, 64))),
                    error => return Some(error),
                }
                app.push(world);
            }
            (7, _) => world.run_until_idle(),
            _ => {}
        }
    }
    world.run_until_idle();
    if world.has_ended(app) {
        return None;
    }
    let result = app.result(world, ticket?).expect("the read completes");
    assert_eq!(world.owed(app), 0);
    Some(result)
}

fn end(world: &mut World, victim: Victim, disk: Daemon, app: Program) {
    if victim != Victim::Caller {
        disk.kill(world);
    }
    if victim != Victim::Daemon {
        world.kill(app);
    }
}

#[test]
fn a_caller_learns_of_its_daemons_death_wherever_it_comes() {
    let expected = [
        Err(Errno::NODEV),     // nobody serves the name
        Err(Errno::CONNRESET), // the caller enters while the daemon is being ended
        Err(Errno::CONNRESET), // the open is in the daemon's hands
        Err(Errno::CONNRESET),
        Err(Errno::CONNRESET), // its reply was never shown to the kernel
        Err(Errno::CONNRESET), // so it is with the read
        Err(Errno::CONNRESET),
        Err(Errno::CONNRESET),
        Ok(64),
    ];
    for (point, expected) in expected.into_iter().enumerate() {
        let mut world = World::new();
        assert_eq!(play(&mut world, Victim::Daemon, point), Some(expected), "point {point}");
    }
}

#[test]
fn a_daemon_outlives_its_callers_and_serves_others() {
    for point in 0..POINTS {
        let mut world = World::new();
        assert_eq!(play(&mut world, Victim::Caller, point), None, "point {point}");
        let disk = world.known_daemon(0);
        disk.obliging(&mut world, true);
        let app = world.program();
        let fd = app.open(&mut world, "/scheme/disk/b");
        let ticket = app.submit(&mut world, read(fd, DATA, 64));
        world.run_until_idle();
        while let Some(request) = disk.request(&mut world) {
            disk.reply(&mut world, request, Ok(1));
            world.run_until_idle();
        }
        assert_eq!(app.result(&mut world, ticket), Some(Ok(1)), "point {point}");
    }
}

#[test]
fn nothing_is_left_of_the_dead() {
    for victim in [Victim::Daemon, Victim::Caller, Victim::Both] {
        for point in 0..POINTS {
            let mut world = World::new();
            // The first round may grow tables, which stay; the second must leave no trace.
            round(&mut world, victim, point);
            let before = world.accounts();
            round(&mut world, victim, point);
            assert_eq!(world.accounts(), before, "{victim:?} at point {point}");
        }
    }
}

fn round(world: &mut World, victim: Victim, point: usize) {
    let programs = world.programs();
    play(world, victim, point);
    for number in programs..world.programs() {
        let program = Program(number);
        if !world.has_ended(program) {
            world.kill(program);
        }
        world.forget(program);
    }
    world.run_until_idle();
}

#[test]
fn files_of_a_dead_daemon_are_dead_but_can_be_closed() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let fd = app.open(&mut world, "/scheme/disk/a");
    disk.kill(&mut world);
    assert_eq!(app.call(&mut world, read(fd, DATA, 64)), Err(Errno::NODEV));
    assert_eq!(app.call(&mut world, write(fd, DATA, 64)), Err(Errno::NODEV));
    assert_eq!(app.try_open(&mut world, "/scheme/disk/a"), Err(Errno::NODEV));
    assert_eq!(app.call(&mut world, args::Close { fd }.encode(0)), Ok(0));
    assert_eq!(app.call(&mut world, args::Close { fd }.encode(0)), Err(Errno::BADF));
}

#[test]
fn a_name_is_free_again_when_its_daemon_is_gone() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let old = app.open(&mut world, "/scheme/disk/a");
    disk.kill(&mut world);
    let disk = world.daemon("disk");
    let fd = app.open(&mut world, "/scheme/disk/a");
    assert_ne!(fd, old);
    assert_eq!(app.call(&mut world, read(old, DATA, 64)), Err(Errno::NODEV), "the old file stays dead");
    let ticket = app.submit(&mut world, read(fd, DATA, 64));
    world.run_until_idle();
    let request = disk.request(&mut world).unwrap();
    disk.reply(&mut world, request, Ok(3));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, ticket), Some(Ok(3)));
}

#[test]
fn a_dead_daemon_fails_all_that_it_owed_and_all_that_waited() {
    let mut world = World::new();
    let disk = world.daemon_with("disk", 1);
    let app = world.program();
    let fd = app.open(&mut world, "/scheme/disk/positioned");
    let at = |offset| args::Read { fd, buffer: DATA, length: 64, offset }.encode(0);
    let owed = [app.submit(&mut world, at(0)), app.submit(&mut world, read(fd, DATA, 64))];
    let room = app.submit(&mut world, at(1));
    let turn = app.submit(&mut world, read(fd, DATA, 64));
    world.run_until_idle();
    disk.kill(&mut world);
    for ticket in owed {
        assert_eq!(app.result(&mut world, ticket), Some(Err(Errno::CONNRESET)));
    }
    for ticket in [room, turn] {
        let result = app.result(&mut world, ticket).expect("it completed");
        assert!(matches!(result, Err(Errno::CONNRESET | Errno::NODEV)), "{result:?}");
    }
    assert_eq!(world.owed(app), 0);
}

#[test]
fn a_poll_ends_with_its_daemon() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let fd = app.open(&mut world, "/scheme/disk/a");
    let poll = app.submit(&mut world, args::Poll { fd, mask: event::READ }.encode(0));
    world.run_until_idle();
    let request = disk.request(&mut world).unwrap();
    disk.reply(&mut world, request, Ok(0));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, poll), None);
    disk.kill(&mut world);
    let result = app.result(&mut world, poll).expect("it completed");
    assert!(matches!(result, Err(Errno::CONNRESET | Errno::NODEV)), "{result:?}");
}

#[test]
fn a_death_is_told_to_those_who_wait_for_it() {
    let mut world = World::new();
    let victim = world.program();
    assert_eq!(world.mode(victim), Mode::Own);
    victim.submit(&mut world, args::Exit { code: 3, flags: 0 }.encode(0));
    victim.push(&mut world);
    assert!(world.has_ended(victim));
    assert_eq!(world.end_of(victim), End::Exited(3));

    let victim = world.program();
    world.kill(victim);
    assert_eq!(world.end_of(victim), End::Ended(Reason::Killed));

    let victim = world.program();
    world.give_cpu(victim);
    world.fault(6, 0, 0);
    assert!(world.has_ended(victim));
    assert_eq!(world.end_of(victim), End::Ended(Reason::InvalidOpcode));

    let victim = world.program();
    assert!(!victim.write(&mut world, 0x5000, b"x"));
    assert_eq!(world.end_of(victim), End::Ended(Reason::PageFault));

    let victim = world.program();
    world.give_cpu(victim);
    world.old_call();
    assert_eq!(world.end_of(victim), End::Ended(Reason::BadCall));
}

#[test]
fn a_waiting_context_can_be_killed() {
    let mut world = World::new();
    let before = {
        let warm = world.program();
        world.kill(warm);
        world.forget(warm);
        world.accounts()
    };
    let victim = world.program();
    victim.submit(&mut world, args::Timeout { nanoseconds: 1 << 60, flags: 0 }.encode(0));
    let soon = world.machine().now() + (1 << 50);
    victim.enter(&mut world, 0, 8, 1, enter::COMPLETIONS, soon);
    assert_eq!(world.mode(victim), Mode::Entered);
    world.kill(victim);
    assert_eq!(world.end_of(victim), End::Ended(Reason::Killed));
    world.forget(victim);
    world.run_until_idle();
    assert_eq!(world.accounts(), before);
}

#[test]
fn the_last_context_takes_its_space_with_it() {
    let mut world = World::new();
    let app = world.program();
    let thread = world.thread(app, Sizes::SMALLEST);
    let page = app.map(&mut world, 4096);
    assert!(thread.write(&mut world, page, b"shared"));
    app.submit(&mut world, args::Exit { code: 0, flags: 0 }.encode(0));
    app.push(&mut world);
    assert_eq!(thread.read(&mut world, page, 6).unwrap(), b"shared", "a thread lives on");

    let other = world.program();
    let sibling = world.thread(other, Sizes::SMALLEST);
    other.submit(&mut world, args::Exit { code: 1, flags: args::exit::SPACE }.encode(0));
    other.push(&mut world);
    world.run_until_idle();
    assert!(world.has_ended(other) && world.has_ended(sibling), "its process has ended");
}

#[test]
fn an_end_word_is_zeroed_and_woken() {
    let mut world = World::new();
    let app = world.program();
    let thread = world.thread(app, Sizes::SMALLEST);
    app.write(&mut world, DATA, &[1, 0, 0, 0]);
    thread.call(&mut world, args::EndWord { address: DATA }.encode(0)).unwrap();
    let wait = args::FutexWait { address: DATA, expected: 1, deadline: u64::MAX };
    let ticket = app.submit(&mut world, wait.encode(0));
    app.push(&mut world);
    thread.submit(&mut world, args::Exit { code: 0, flags: 0 }.encode(0));
    thread.push(&mut world);
    world.run_until_idle();
    assert_eq!(app.result(&mut world, ticket), Some(Ok(0)));
    assert_eq!(app.read(&mut world, DATA, 4).unwrap(), [0; 4]);
}

#[test]
fn the_first_programs_end_is_the_systems_end() {
    let mut world = World::new();
    world::FIRST.submit(&mut world, args::Exit { code: 5, flags: 0 }.encode(0));
    world::FIRST.push(&mut world);
    assert!(world.halted().is_some());
    assert!(!world.machine().printed().is_empty(), "it says why");
}
