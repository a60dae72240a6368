//! Handles: numbers, copies, and passing them on.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::args::{self, CURRENT, LOWEST, handle};
use ring_abi::layout::Sizes;
use ring_abi::{Cqe, CqeKind, Errno, Opcode};
use world::{DATA, World, read};

#[test]
fn the_lowest_free_number_comes_first() {
    let mut world = World::new();
    world.daemon("disk");
    let app = world.program();
    let fds: Vec<_> = (0..70).map(|_| app.open(&mut world, "/scheme/disk/a")).collect();
    let first = fds[0];
    assert_eq!(fds, (first..first + 70).collect::<Vec<_>>());
    for fd in [first + 66, first + 3, first + 40] {
        app.call(&mut world, args::Close { fd }.encode(0)).unwrap();
    }
    let again: Vec<_> = (0..4).map(|_| app.open(&mut world, "/scheme/disk/a")).collect();
    assert_eq!(again, [first + 3, first + 40, first + 66, first + 70]);
}

#[test]
fn a_copy_on_a_number_closes_what_was_there() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let (a, b) = (app.open(&mut world, "/scheme/disk/a"), app.open(&mut world, "/scheme/disk/b"));
    let onto = |target| args::HandleDup { fd: a, table: CURRENT, target, flags: 0 }.encode(0);
    assert_eq!(app.call(&mut world, onto(b)), Ok(b));
    world.run_until_idle();
    assert_eq!(disk.closed(&mut world), [101]);
    assert_eq!(app.call(&mut world, onto(a)), Ok(a), "onto itself changes nothing");
    world.run_until_idle();
    assert_eq!(disk.closed(&mut world), []);
    assert_eq!(app.call(&mut world, onto(4095)), Ok(4095));
    assert_eq!(app.call(&mut world, onto(4096)), Err(Errno::BADF));
    for fd in [a, b, 4095] {
        app.call(&mut world, args::Close { fd }.encode(0)).unwrap();
    }
    world.run_until_idle();
    assert_eq!(disk.closed(&mut world), [100]);
}

#[test]
fn a_full_table_says_so_and_a_file_that_found_no_number_is_closed() {
    let mut world = World::new();
    world.audit_every = 64;
    let disk = world.daemon("disk");
    let app = world.program();
    let a = app.open(&mut world, "/scheme/disk/a");
    let dup = args::HandleDup { fd: a, table: CURRENT, target: LOWEST, flags: 0 };
    let mut last = 0;
    let error = loop {
        match app.call(&mut world, dup.encode(0)) {
            Ok(fd) => last = fd,
            Err(error) => break error,
        }
    };
    assert_eq!((last, error), (4095, Errno::MFILE));
    assert_eq!(app.try_open(&mut world, "/scheme/disk/b"), Err(Errno::MFILE));
    world.run_until_idle();
    let closed = disk.closed(&mut world);
    assert!(closed.is_empty() || closed == [101], "{closed:?}");
}

#[test]
fn threads_share_their_handles_and_a_copied_table_does_not() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let thread = world.thread(app, Sizes::SMALLEST);
    let fd = app.open(&mut world, "/scheme/disk/a");
    let space = app.call(&mut world, args::SpaceFork {}.encode(0)).unwrap();
    let table = app.call(&mut world, args::TableCreate { copy: 1 }.encode(0)).unwrap();
    let child = world.context(app, space, table, Sizes::SMALLEST);
    thread.call(&mut world, args::Close { fd }.encode(0)).unwrap();
    assert_eq!(app.call(&mut world, read(fd, DATA, 1)), Err(Errno::BADF));
    world.run_until_idle();
    assert_eq!(disk.closed(&mut world), [], "the copy still has it");
    child.call(&mut world, args::Close { fd }.encode(0)).unwrap();
    world.run_until_idle();
    assert_eq!(disk.closed(&mut world), [100]);
}

#[test]
fn flags_belong_to_a_handle() {
    let mut world = World::new();
    world.daemon("disk");
    let app = world.program();
    let fd = app.open(&mut world, "/scheme/disk/a");
    let dup = args::HandleDup { fd, table: CURRENT, target: LOWEST, flags: handle::CLOSE_ON_EXEC };
    let copy = app.call(&mut world, dup.encode(0)).unwrap();
    let look = |fd| args::HandleFlags { fd, flags: u64::MAX }.encode(0);
    assert_eq!(app.call(&mut world, look(fd)), Ok(0));
    assert_eq!(app.call(&mut world, look(copy)), Ok(handle::CLOSE_ON_EXEC));
    let clear = args::HandleFlags { fd: copy, flags: 0 };
    assert_eq!(app.call(&mut world, clear.encode(0)), Ok(handle::CLOSE_ON_EXEC));
    assert_eq!(app.call(&mut world, look(copy)), Ok(0));
    let bad = args::HandleFlags { fd, flags: 2 };
    assert_eq!(app.call(&mut world, bad.encode(0)), Err(Errno::INVAL));
}

#[test]
fn a_handle_is_sent_to_a_daemon() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let other = world.daemon("other");
    let app = world.program();
    let fd = app.open(&mut world, "/scheme/disk/a");
    let sent = app.open(&mut world, "/scheme/other/b");
    let send = args::Sendfd { fd, sent, flags: 5, argument: 6 };
    let ticket = app.submit(&mut world, send.encode(0));
    world.run_until_idle();
    let request = disk.request(&mut world).unwrap();
    assert_eq!(request.opcode, Opcode::Sendfd.raw());
    assert_eq!(request.args[..4], [100, 0, 5, 6]);
    app.call(&mut world, args::Close { fd: sent }.encode(0)).unwrap();

    let obtain = args::ObtainFd { tag: request.tag };
    assert!(disk.program.call(&mut world, obtain.encode(0)).is_err(), "only on the ring that serves");
    let got = disk.program.call_on(&mut world, disk.ring, obtain.encode(0)).expect("it is in its hands");
    disk.reply(&mut world, request, Ok(0));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, ticket), Some(Ok(0)));
    assert!(disk.program.call_on(&mut world, disk.ring, obtain.encode(0)).is_err(), "and only while it is");

    // The daemon is now a client of the other one.
    let ticket = disk.program.submit(&mut world, read(got, DATA, 8));
    world.run_until_idle();
    let request = other.request(&mut world).expect("the handle works");
    other.reply(&mut world, request, Ok(2));
    world.run_until_idle();
    assert_eq!(disk.program.result(&mut world, ticket), Some(Ok(2)));
    disk.program.call(&mut world, args::Close { fd: got }.encode(0)).unwrap();
    world.run_until_idle();
    assert_eq!(other.closed(&mut world), [100]);
}

#[test]
fn a_sent_handle_that_nobody_takes_is_let_go() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let other = world.daemon("other");
    let app = world.program();
    let fd = app.open(&mut world, "/scheme/disk/a");
    for (round, dies) in [(0, false), (1, true)] {
        let sent = app.open(&mut world, "/scheme/other/b");
        let ticket = app.submit(&mut world, args::Sendfd { fd, sent, flags: 0, argument: 0 }.encode(0));
        world.run_until_idle();
        app.call(&mut world, args::Close { fd: sent }.encode(0)).unwrap();
        if dies {
            disk.kill(&mut world);
        } else {
            let request = disk.request(&mut world).unwrap();
            disk.reply(&mut world, request, Err(Errno::PERM));
        }
        world.run_until_idle();
        let expected = if dies { Errno::CONNRESET } else { Errno::PERM };
        assert_eq!(app.result(&mut world, ticket), Some(Err(expected)));
        assert_eq!(other.closed(&mut world), [100 + round]);
    }
}

#[test]
fn a_handle_is_received_from_a_daemon() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let other = world.daemon("other");
    let app = world.program();
    let fd = app.open(&mut world, "/scheme/disk/a");
    let own = disk.program.open(&mut world, "/scheme/other/b");
    let ticket = app.submit(&mut world, args::Recvfd { fd, flags: 0, argument: 0 }.encode(0));
    world.run_until_idle();
    let request = disk.request(&mut world).unwrap();
    disk.reply_with(&mut world, Cqe::new(request.tag, Ok(own)).with_kind(CqeKind::WithFd));
    world.run_until_idle();
    let got = app.result(&mut world, ticket).expect("it completed").expect("a handle");
    assert_eq!(disk.program.call(&mut world, read(own, DATA, 1)), Err(Errno::BADF), "it moved");
    let ticket = app.submit(&mut world, read(got, DATA, 8));
    world.run_until_idle();
    let request = other.request(&mut world).expect("the handle works");
    other.reply(&mut world, request, Ok(3));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, ticket), Some(Ok(3)));

    // A handle that the daemon does not have, and a number that is no handle of it.
    for (number, kind) in [(3000, CqeKind::WithFd), (got, CqeKind::Regular)] {
        let ticket = app.submit(&mut world, args::Recvfd { fd, flags: 0, argument: 0 }.encode(0));
        world.run_until_idle();
        let request = disk.request(&mut world).unwrap();
        disk.reply_with(&mut world, Cqe::new(request.tag, Ok(number)).with_kind(kind));
        world.run_until_idle();
        assert_eq!(app.result(&mut world, ticket), Some(Err(Errno::IO)));
    }
}
