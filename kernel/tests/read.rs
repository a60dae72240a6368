//! The path of a read and a write, from the program to the daemon and back.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::args::{self, CURSOR};
use ring_abi::{Cqe, CqeKind, Errno, Opcode, Sqe};
use world::{DATA, World, read, write};

#[test]
fn a_read_is_parked_until_its_daemon_answers() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let file = app.open(&mut world, "/scheme/disk/a");

    let ticket = app.submit(&mut world, read(file, DATA, 64));
    world.run_until_idle();
    assert_eq!(app.completion(&mut world), None);

    let request = disk.request(&mut world).expect("the read was forwarded");
    disk.reply(&mut world, request, Ok(12));
    world.run_until_idle();
    assert_eq!(app.completion(&mut world), Some((ticket, Ok(12))));
}

#[test]
fn what_the_daemon_writes_reaches_the_buffer_and_no_more() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let file = app.open(&mut world, "/scheme/disk/a");
    app.write(&mut world, DATA + 4090, &[0xee; 32]);

    let ticket = app.submit(&mut world, read(file, DATA + 4090, 20));
    world.run_until_idle();
    let request = disk.request(&mut world).unwrap();
    disk.fill(&mut world, &request, b"bytes of two pages!!");
    disk.reply(&mut world, request, Ok(12));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, ticket), Some(Ok(12)));
    let bytes = app.read(&mut world, DATA + 4090, 14).unwrap();
    assert_eq!(&bytes, b"bytes of two\xee\xee");
}

#[test]
fn the_daemon_sees_who_asks_for_what() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    world.identify(app, 41, 1000, 100);
    let first = app.open(&mut world, "/scheme/disk/a");
    let second = app.open(&mut world, "/scheme/disk/b");
    assert_ne!(first, second);

    let sqe = args::Read { fd: second, buffer: DATA, length: 64, offset: 512 }.encode(0);
    app.submit(&mut world, sqe);
    world.run_until_idle();
    let request = disk.request(&mut world).unwrap();
    let [id, buffer, length, offset, _, who] = request.args;
    assert_eq!((request.opcode, request.flags, request.group), (Opcode::Read.raw(), 0, 0));
    assert_eq!((id, length, offset), (101, 64, 512));
    assert_eq!((request.caller, who), (41, 1000 | 100 << 32));
    assert!((disk.arena..disk.arena + 8 * 4096).contains(&buffer), "the buffer is a slot of its arena");
}

#[test]
fn the_daemon_is_told_the_path_below_its_scheme() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    disk.obliging(&mut world, false);
    let app = world.program();
    for (path, rest) in [("/scheme/disk/a/b", "a/b"), ("/scheme/disk", ""), ("/scheme/disk/", "")] {
        let (buffer, length) = app.name(&mut world, path);
        let flags = 0o1_000_644;
        let open = args::OpenAt { fd: args::CURRENT, buffer, length, flags, capacity: 0 };
        let ticket = app.submit(&mut world, open.encode(0));
        world.run_until_idle();
        let request = disk.request(&mut world).expect("the open was forwarded");
        assert_eq!(disk.payload(&mut world, &request), rest.as_bytes());
        assert_eq!((request.args[0], request.args[3], request.args[4]), (7, flags, 0));
        disk.reply(&mut world, request, Err(Errno::NOENT));
        world.run_until_idle();
        assert_eq!(app.result(&mut world, ticket), Some(Err(Errno::NOENT)));
    }
}

#[test]
fn a_path_that_leads_nowhere_is_refused() {
    let mut world = World::new();
    world.daemon("disk");
    let app = world.program();
    assert_eq!(app.try_open(&mut world, "/scheme/nothing/a"), Err(Errno::NODEV));
    assert_eq!(app.try_open(&mut world, "/bin/sh"), Err(Errno::NOENT));
    assert_eq!(app.try_open(&mut world, ""), Err(Errno::NOENT));
    assert_eq!(app.try_open(&mut world, "/scheme/NOTHING"), Err(Errno::NODEV));
}

#[test]
fn a_path_that_is_not_utf8_never_reaches_the_daemon() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    disk.obliging(&mut world, false);
    let app = world.program();
    app.write(&mut world, DATA, b"/scheme/disk/\xff\xfe");
    let open = args::OpenAt { fd: args::CURRENT, buffer: DATA, length: 15, flags: 0, capacity: 0 };
    assert_eq!(app.call(&mut world, open.encode(0)), Err(Errno::ILSEQ));
    assert_eq!(disk.request(&mut world), None);
}

#[test]
fn a_symbolic_link_comes_back_with_its_target() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    disk.obliging(&mut world, false);
    let app = world.program();
    let (buffer, length) = app.name(&mut world, "/scheme/disk/link");
    for (capacity, extra, answer) in [(64, 15, Errno::XDEV), (8, 15, Errno::NAMETOOLONG)] {
        let open = args::OpenAt { fd: args::CURRENT, buffer, length, flags: 0, capacity };
        app.name(&mut world, "/scheme/disk/link");
        let ticket = app.submit(&mut world, open.encode(0));
        world.run_until_idle();
        let mut request = disk.request(&mut world).unwrap();
        let tag = request.tag;
        request.args[2] = 4096;
        disk.fill(&mut world, &request, b"/scheme/other/x");
        disk.reply_with(&mut world, Cqe::new(tag, Err(Errno::XDEV)).with_extra(extra));
        world.run_until_idle();
        let cqe = app.completed(&mut world, ticket).expect("it completed");
        assert_eq!(cqe.result(), Err(answer));
        if answer == Errno::XDEV {
            assert_eq!(cqe.extra(), 15);
            assert_eq!(app.read(&mut world, buffer, 15).unwrap(), b"/scheme/other/x");
        }
    }
}

#[test]
fn a_count_above_what_was_asked_is_an_error_of_the_daemon() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let file = app.open(&mut world, "/scheme/disk/a");
    for lie in [65, 4096, 1 << 40, u64::MAX >> 1] {
        let ticket = app.submit(&mut world, read(file, DATA, 64));
        world.run_until_idle();
        let request = disk.request(&mut world).unwrap();
        disk.reply(&mut world, request, Ok(lie));
        world.run_until_idle();
        assert_eq!(app.result(&mut world, ticket), Some(Err(Errno::IO)));
    }
    assert_eq!(app.read(&mut world, DATA, 64).unwrap(), [0; 64]);
}

#[test]
fn a_bad_buffer_is_an_error_and_nothing_is_written() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let file = app.open(&mut world, "/scheme/disk/a");
    let page = app.map(&mut world, 4096);
    assert!(app.write(&mut world, page, &[1; 16]));

    // Its second page is not mapped, which shows when the bytes are delivered.
    let ticket = app.submit(&mut world, read(file, page + 4000, 200));
    world.run_until_idle();
    let request = disk.request(&mut world).unwrap();
    disk.fill(&mut world, &request, &[7; 200]);
    disk.reply(&mut world, request, Ok(200));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, ticket), Some(Err(Errno::FAULT)));
    assert_eq!(app.read(&mut world, page + 4000, 96).unwrap(), [0; 96]);

    // What can never be memory is refused at once.
    for (buffer, length) in [(u64::MAX, 8), (1 << 47, 8), (DATA, u64::MAX), (0x7fff_ffff_f000, 1)] {
        assert_eq!(app.call(&mut world, read(file, buffer, length)), Err(Errno::FAULT));
        assert_eq!(app.call(&mut world, write(file, buffer, length)), Err(Errno::FAULT));
    }
    assert_eq!(app.call(&mut world, write(file, 0x3000, 8)), Err(Errno::FAULT));
    assert_eq!(disk.request(&mut world), None);
}

#[test]
fn a_write_brings_its_bytes_as_far_as_a_slot_reaches() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let file = app.open(&mut world, "/scheme/disk/a");
    let bytes: Vec<u8> = (0..5000_u32).map(|i| (i * 7) as u8).collect();
    app.write(&mut world, DATA + 100, &bytes);

    let ticket = app.submit(&mut world, write(file, DATA + 100, 5000));
    world.run_until_idle();
    let request = disk.request(&mut world).unwrap();
    assert_eq!(request.args[2], 4096);
    assert_eq!(disk.payload(&mut world, &request), &bytes[..4096]);
    disk.reply(&mut world, request, Ok(4096));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, ticket), Some(Ok(4096)));
}

#[test]
fn a_waiting_daemon_gets_the_processor_at_once_and_so_does_the_client() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let file = app.open(&mut world, "/scheme/disk/a");
    world.run_until_idle();
    disk.wait(&mut world);
    assert_eq!(disk.program.returned(&mut world), None, "it waits");

    let ticket = app.submit(&mut world, read(file, DATA, 8));
    world.give_cpu(app);
    let before = world.steps();
    app.wait(&mut world, 1);
    assert_eq!((world.on_cpu(), world.steps()), (Some(disk.program), before + 1));
    let request = disk.request(&mut world).unwrap();
    disk.reply(&mut world, request, Ok(0));
    disk.wait(&mut world);
    assert_eq!((world.on_cpu(), world.steps()), (Some(app), before + 2));
    assert_eq!(app.returned(&mut world), Some(0));
    assert_eq!(app.completion(&mut world), Some((ticket, Ok(0))));
}

#[test]
fn reads_that_move_a_cursor_take_turns() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let file = app.open(&mut world, "/scheme/disk/positioned");
    let tickets: Vec<_> = (0..3).map(|_| app.submit(&mut world, read(file, DATA, 100))).collect();
    let mut offsets = Vec::new();
    for count in [100, 10, 0] {
        world.run_until_idle();
        let request = disk.request(&mut world).expect("one at a time");
        assert_eq!(disk.request(&mut world), None);
        offsets.push(request.args[3]);
        disk.reply(&mut world, request, Ok(count));
    }
    world.run_until_idle();
    assert_eq!(offsets, [0, 100, 110]);
    for (ticket, count) in tickets.into_iter().zip([100, 10, 0]) {
        assert_eq!(app.result(&mut world, ticket), Some(Ok(count)));
    }
    let seek = args::Seek { fd: file, offset: 5, whence: 1 };
    assert_eq!(app.call(&mut world, seek.encode(0)), Ok(115));
}

#[test]
fn a_file_without_a_cursor_passes_the_question_on() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let file = app.open(&mut world, "/scheme/disk/a");
    app.submit(&mut world, read(file, DATA, 100));
    app.submit(&mut world, read(file, DATA, 100));
    world.run_until_idle();
    for _ in 0..2 {
        assert_eq!(disk.request(&mut world).unwrap().args[3], CURSOR);
    }
}

#[test]
fn only_the_daemon_that_was_asked_may_answer() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let other = world.daemon("other");
    let app = world.program();
    let file = app.open(&mut world, "/scheme/disk/a");
    let ticket = app.submit(&mut world, read(file, DATA, 64));
    world.run_until_idle();
    let request = disk.request(&mut world).unwrap();

    other.reply(&mut world, request, Ok(1));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, ticket), None);

    disk.reply(&mut world, Sqe { tag: request.tag ^ 1, ..request }, Ok(2));
    disk.reply(&mut world, Sqe { tag: request.tag ^ 0x1_0000, ..request }, Ok(3));
    disk.reply(&mut world, request, Ok(4));
    disk.reply(&mut world, request, Ok(5));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, ticket), Some(Ok(4)));
    assert_eq!(app.completion(&mut world), None);
}

#[test]
fn a_reply_of_a_kind_that_is_not_one_fails_the_read() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let file = app.open(&mut world, "/scheme/disk/a");
    for kind in [CqeKind::ObtainFd, CqeKind::WithMultipleFds, CqeKind::NotifyOnDetach, CqeKind::WithFd] {
        let ticket = app.submit(&mut world, read(file, DATA, 64));
        world.run_until_idle();
        let request = disk.request(&mut world).unwrap();
        disk.reply_with(&mut world, Cqe::new(request.tag, Ok(0)).with_kind(kind));
        world.run_until_idle();
        let result = app.result(&mut world, ticket).expect("it completed");
        assert!(result.is_err(), "{kind:?} gave {result:?}");
    }
}

#[test]
fn a_call_goes_both_ways() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let file = app.open(&mut world, "/scheme/disk/a");
    app.write(&mut world, DATA, b"question");
    let call = args::Call { fd: file, buffer: DATA, length: 8, verb: 3, argument: 4 };
    let ticket = app.submit(&mut world, call.encode(0));
    world.run_until_idle();
    let request = disk.request(&mut world).unwrap();
    assert_eq!(disk.payload(&mut world, &request), b"question");
    assert_eq!((request.args[3], request.args[4]), (3, 4));
    disk.fill(&mut world, &request, b"answer");
    disk.reply_with(&mut world, Cqe::new(request.tag, Ok(99)).with_extra(6));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, ticket), Some(Ok(99)));
    assert_eq!(app.read(&mut world, DATA, 8).unwrap(), b"answeron");
}

#[test]
fn the_last_close_is_told_to_the_daemon_once() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let file = app.open(&mut world, "/scheme/disk/a");
    let dup = args::HandleDup { fd: file, table: args::CURRENT, target: args::LOWEST, flags: 0 };
    let copy = app.call(&mut world, dup.encode(0)).unwrap();
    let ticket = app.submit(&mut world, read(file, DATA, 64));
    world.run_until_idle();
    for fd in [file, copy] {
        app.call(&mut world, args::Close { fd }.encode(0)).unwrap();
    }
    world.run_until_idle();
    assert_eq!(disk.closed(&mut world), [], "a read in flight holds the file");

    let request = disk.request(&mut world).unwrap();
    disk.reply(&mut world, request, Ok(1));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, ticket), Some(Ok(1)));
    assert_eq!(disk.closed(&mut world), [100]);
    assert_eq!(app.call(&mut world, read(file, DATA, 64)), Err(Errno::BADF));
}

#[test]
fn a_daemon_can_be_asked_by_many_and_answers_in_any_order() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let apps: Vec<_> = (0..4).map(|_| world.program()).collect();
    let mut tickets = Vec::new();
    for app in &apps {
        let file = app.open(&mut world, "/scheme/disk/a");
        tickets.push(app.submit(&mut world, read(file, DATA, 64)));
    }
    world.run_until_idle();
    let mut requests: Vec<_> = std::iter::from_fn(|| disk.request(&mut world)).collect();
    assert_eq!(requests.len(), 4);
    requests.reverse();
    for request in requests {
        disk.fill(&mut world, &request, &request.args[0].to_le_bytes());
        disk.reply(&mut world, request, Ok(8));
    }
    world.run_until_idle();
    for (number, (app, ticket)) in apps.into_iter().zip(tickets).enumerate() {
        assert_eq!(app.result(&mut world, ticket), Some(Ok(8)));
        let id = 100 + number as u64;
        assert_eq!(app.read(&mut world, DATA, 8).unwrap(), id.to_le_bytes());
    }
}
