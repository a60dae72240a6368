//! A program that is replaced by another, and what that does to all it had.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::args::{self, CURRENT, LOWEST, handle};
use ring_abi::context::{End, Reason};
use ring_abi::layout::Sizes;
use ring_abi::{Errno, enter};
use world::{DATA, Mode, Program, World, map_data, read};

/// A space with memory in it, as a handle of this program.
fn new_space(world: &mut World, app: Program) -> u64 {
    let space = app.call(world, args::SpaceCreate {}.encode(0)).expect("there is memory");
    app.call(world, map_data(space)).expect("there is memory");
    space
}

fn forever() -> ring_abi::Sqe {
    args::Timeout { nanoseconds: 1 << 60, flags: 0 }.encode(0)
}

#[test]
fn the_caller_goes_on_in_the_other_space_with_a_fresh_ring() {
    let mut world = World::new();
    let app = world.program();
    world.identify(app, 50, 7, 8);
    app.write(&mut world, DATA, b"old");
    let space = new_space(&mut world, app);
    app.write(&mut world, DATA + 64, b"new");
    let fill = args::SpaceWrite { space, target: DATA, buffer: DATA + 64, length: 3 };
    app.call(&mut world, fill.encode(0)).unwrap();
    app.submit(&mut world, forever());
    app.push(&mut world);

    let sizes = Sizes { sq: 4, cq: 5, service: None };
    app.exec(&mut world, space, sizes);
    world.give_cpu(app);
    assert_eq!(world.mode(app), Mode::Own);
    assert_eq!(app.read(&mut world, DATA, 3).unwrap(), b"new");
    assert_eq!(world.ring(app, 0).sizes, sizes);
    assert_eq!(app.completion(&mut world), None, "nothing of the old ring is there");
    assert_eq!(app.call(&mut world, args::Nop {}.encode(0)), Ok(0));

    // Who it is has stayed.
    let disk = world.daemon("disk");
    let fd = app.open(&mut world, "/scheme/disk/a");
    app.submit(&mut world, read(fd, DATA, 8));
    world.run_until_idle();
    let request = disk.request(&mut world).unwrap();
    assert_eq!((request.caller, request.args[5]), (50, 7 | 8 << 32));
    // Its creator still waits for the same end.
    world.kill(app);
    assert_eq!(world.end_of(app), End::Ended(Reason::Killed));
}

#[test]
fn the_others_of_the_old_space_end() {
    let mut world = World::new();
    let app = world.program();
    let running = world.thread(app, Sizes::SMALLEST);
    let waiting = world.thread(app, Sizes::SMALLEST);
    waiting.submit(&mut world, forever());
    waiting.enter(&mut world, 0, 8, 1, enter::COMPLETIONS, enter::NO_DEADLINE);
    let space = new_space(&mut world, app);
    app.exec(&mut world, space, Sizes::SMALLEST);
    world.run_until_idle();
    for thread in [running, waiting] {
        assert!(world.has_ended(thread));
        assert_eq!(world.end_of(thread), End::Ended(Reason::Replaced));
    }
    assert!(!world.has_ended(app));
}

#[test]
fn handles_that_close_on_exec_close_and_others_stay() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let kept = app.open(&mut world, "/scheme/disk/kept");
    let closing = app.open(&mut world, "/scheme/disk/closing");
    let flags = args::HandleFlags { fd: closing, flags: handle::CLOSE_ON_EXEC };
    assert_eq!(app.call(&mut world, flags.encode(0)), Ok(0));
    let in_flight = args::Read { fd: closing, buffer: DATA, length: 8, offset: 0 };
    app.submit(&mut world, in_flight.encode(0));
    world.run_until_idle();
    let request = disk.request(&mut world).unwrap();

    let space = new_space(&mut world, app);
    app.exec(&mut world, space, Sizes::SMALLEST);
    world.run_until_idle();
    assert_eq!(disk.cancelled(&mut world), [request.tag], "its operations are cancelled");
    assert_eq!(disk.closed(&mut world), [], "the request still holds the file");
    disk.fill(&mut world, &request, &[9; 8]);
    disk.reply(&mut world, request, Ok(8));
    world.run_until_idle();
    assert_eq!(disk.closed(&mut world), [101]);
    assert_eq!(app.read(&mut world, DATA, 8).unwrap(), [0; 8], "late bytes go nowhere");
    assert_eq!(app.call(&mut world, read(closing, DATA, 8)), Err(Errno::BADF));
    let ticket = app.submit(&mut world, read(kept, DATA, 8));
    world.run_until_idle();
    let request = disk.request(&mut world).expect("the other handle works");
    disk.reply(&mut world, request, Ok(1));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, ticket), Some(Ok(1)));
}

#[test]
fn a_failure_leaves_everything_as_it_was() {
    let mut world = World::new();
    let app = world.program();
    let thread = world.thread(app, Sizes::SMALLEST);
    let other = world.program();
    let waiting = app.submit(&mut world, args::Timeout { nanoseconds: 1 << 20, flags: 0 }.encode(0));
    let space = new_space(&mut world, app);
    let fork = app.call(&mut world, args::SpaceFork {}.encode(0)).unwrap();
    let table = app.call(&mut world, args::TableCreate { copy: 0 }.encode(0)).unwrap();
    let user = world.context(app, fork, table, Sizes::SMALLEST);
    for bad in [0, 1, 77, table, fork, u64::MAX] {
        let ticket = app.exec(&mut world, bad, Sizes::SMALLEST);
        let result = app.result(&mut world, ticket).expect("a failure completes");
        assert!(matches!(result, Err(Errno::BADF | Errno::BUSY)), "{bad}: {result:?}");
    }
    let commit = args::ExecCommit { space, entry: 1 << 47, stack: 0, argument: 0, sizes: 0 };
    assert_eq!(app.call(&mut world, commit.encode(0)), Err(Errno::INVAL));
    world.advance(1 << 20);
    world.run_until_idle();
    assert_eq!(app.result(&mut world, waiting), Some(Ok(0)));
    for program in [app, thread, other, user] {
        assert_eq!(program.call(&mut world, args::Nop {}.encode(0)), Ok(0));
    }
}

#[test]
fn a_daemon_that_is_replaced_serves_no_more() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let fd = app.open(&mut world, "/scheme/disk/a");
    let ticket = app.submit(&mut world, read(fd, DATA, 8));
    world.run_until_idle();
    let space = new_space(&mut world, disk.program);
    disk.obliging(&mut world, false);
    world.retire(disk);
    disk.program.exec(&mut world, space, Sizes::SMALLEST);
    world.run_until_idle();
    assert_eq!(app.result(&mut world, ticket), Some(Err(Errno::CONNRESET)));
    assert_eq!(app.try_open(&mut world, "/scheme/disk/a"), Err(Errno::NODEV));
}

#[test]
fn nothing_is_lost_when_programs_are_replaced_again_and_again() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let round = |world: &mut World| {
        let fd = app.open(world, "/scheme/disk/a");
        let flags = args::HandleFlags { fd, flags: handle::CLOSE_ON_EXEC };
        app.call(world, flags.encode(0)).unwrap();
        app.map(world, 1 << 16);
        let space = new_space(world, app);
        let dup = args::HandleDup { fd: space, table: CURRENT, target: LOWEST, flags: handle::CLOSE_ON_EXEC };
        let copy = app.call(world, dup.encode(0)).unwrap();
        app.call(world, args::Close { fd: space }.encode(0)).unwrap();
        app.exec(world, copy, Sizes::SMALLEST);
        world.run_until_idle();
        world.give_cpu(app);
        disk.closed(world);
    };
    round(&mut world);
    round(&mut world);
    let before = world.accounts();
    for _ in 0..5 {
        round(&mut world);
    }
    assert_eq!(world.accounts(), before);
}
