//! Plain reads of a daemon's file, one after the other: what is kept from one for the next, and what is not.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::args::{self, CURRENT, CURSOR};
use ring_abi::layout::Sizes;
use ring_abi::{Errno, Opcode, Sqe, enter};
use world::{DATA, Daemon, FIRST, Mode, Program, Ticket, World};

/// From a tag to the next one of its slot.
const GENERATION: u32 = 0x1_0000;
/// Bytes of a page.
const PAGE: u64 = 4096;

/// A read with its own offset.
fn plain(fd: u64, buffer: u64, length: u64) -> Sqe {
    args::Read { fd, buffer, length, offset: 0 }.encode(0)
}

/// A daemon with `1 << log2` slots, and a program with a file of it.
fn scene(log2: u8) -> (World, Daemon, Program, u64) {
    let mut world = World::new();
    let disk = world.daemon_with("disk", log2);
    let app = world.program_with(Sizes { sq: 4, cq: 4, service: None });
    let fd = app.open(&mut world, "/scheme/disk/a");
    world.run_until_idle();
    (world, disk, app, fd)
}

/// Submits this many plain reads and takes those requests for them that go out.
fn ask(world: &mut World, disk: Daemon, app: Program, fd: u64, count: usize) -> (Vec<Ticket>, Vec<Sqe>) {
    let tickets = (0..count).map(|_| app.submit(world, plain(fd, DATA, 8))).collect();
    world.run_until_idle();
    (tickets, std::iter::from_fn(|| disk.request(world)).collect())
}

/// All of these complete with a count, when their requests have been answered with it.
fn answer(world: &mut World, disk: Daemon, app: Program, asked: (Vec<Ticket>, Vec<Sqe>), count: u64) {
    let (tickets, requests) = asked;
    world.run_until("the daemon is back from its wait", |world| world.mode(disk.program) == Mode::Own);
    requests.into_iter().for_each(|request| disk.reply(world, request, Ok(count)));
    world.run_until_idle();
    for ticket in tickets {
        assert_eq!(app.result(world, ticket), Some(Ok(count)), "{ticket:?} was answered");
    }
}

/// Records that links keep for their next requests.
fn kept(world: &World) -> u32 {
    // One more record is nobody's.
    world.kernel.state.idle_ops() - 1
}

fn stale_tags(world: &World) -> u64 {
    world.kernel.state.stats.stale_tags.get()
}

/// The daemon enters with its replies: it waits for requests, or does not.
fn enter_with_replies(world: &mut World, disk: Daemon, waits: bool) {
    let flags = if waits { enter::REQUESTS } else { 0 };
    disk.program.enter(world, disk.ring, u64::from(u32::MAX), 0, flags, enter::NO_DEADLINE);
}

/// After a read was answered, an answer to another tag of its slot changes nothing, on either road.
fn comes_to_nothing(wrong: fn(u32) -> u32) {
    for waits in [false, true] {
        let (mut world, disk, app, fd) = scene(3);
        let first = ask(&mut world, disk, app, fd, 1);
        let request = first.1[0];
        answer(&mut world, disk, app, first, 3);
        let (stale, live) = (stale_tags(&world), world.kernel.state.live_ops());
        app.write(&mut world, DATA, &[0xee; 8]);

        disk.fill(&mut world, &request, &[7; 8]);
        disk.reply(&mut world, Sqe { tag: wrong(request.tag), ..request }, Ok(8));
        enter_with_replies(&mut world, disk, waits);
        world.run_until_idle();
        assert_eq!(app.completion(&mut world), None, "nothing was asked (waits: {waits})");
        assert_eq!(
            app.read(&mut world, DATA, 8).unwrap(),
            [0xee; 8],
            "nothing is delivered (waits: {waits})"
        );
        assert_eq!(stale_tags(&world), stale + 1, "it is counted (waits: {waits})");
        assert_eq!(world.kernel.state.live_ops(), live, "no record comes or goes (waits: {waits})");

        let next = ask(&mut world, disk, app, fd, 1);
        assert_eq!(next.1.len(), 1, "the next read goes out (waits: {waits})");
        assert_eq!(next.1[0].tag, request.tag.wrapping_add(GENERATION), "with the next tag (waits: {waits})");
        answer(&mut world, disk, app, next, 5);
        assert_eq!(stale_tags(&world), stale + 1, "that was no stale one (waits: {waits})");
    }
}

#[test]
fn a_second_answer_to_a_read_changes_nothing() {
    comes_to_nothing(|tag| tag);
}

#[test]
fn an_answer_to_a_request_that_did_not_go_out_changes_nothing() {
    comes_to_nothing(|tag| tag.wrapping_add(GENERATION));
}

#[test]
fn wrong_answers_behind_the_right_one_change_nothing() {
    let (mut world, disk, app, fd) = scene(3);
    for round in 1..=5 {
        let (tickets, requests) = ask(&mut world, disk, app, fd, 1);
        let stale = stale_tags(&world);
        let tag = requests[0].tag;
        for (tag, count) in [(tag, 4), (tag, 5), (tag.wrapping_add(GENERATION), 6), (tag, 7)] {
            disk.reply(&mut world, Sqe { tag, ..requests[0] }, Ok(count));
        }
        world.run_until_idle();
        assert_eq!(app.completion(&mut world), Some((tickets[0], Ok(4))), "the first answer counts");
        assert_eq!(app.completion(&mut world), None, "no other one counts in round {round}");
        assert_eq!(stale_tags(&world), stale + 3, "the others are counted in round {round}");
    }
}

#[test]
fn a_tag_goes_round_and_its_first_answer_still_counts() {
    let (mut world, disk, app, fd) = scene(1);
    world.audit_every = 1 << 30;
    let first = ask(&mut world, disk, app, fd, 1);
    let tag = first.1[0].tag;
    answer(&mut world, disk, app, first, 0);
    for number in 1..=0x1_0000_u32 {
        let next = ask(&mut world, disk, app, fd, 1);
        assert_eq!(next.1[0].tag, tag.wrapping_add(number.wrapping_mul(GENERATION)), "each has the next tag");
        answer(&mut world, disk, app, next, 8);
    }
    world.check();
}

/// A daemon serves some reads, and dies with so many more in its hands or waiting for room.
fn a_daemons_life(world: &mut World, app: Program, more: usize) {
    let disk = world.daemon_with("disk", 2);
    let fd = app.open(world, "/scheme/disk/a");
    for count in [1, 4, 2, 4, 3, 4, 1, 4, 4, 1] {
        let asked = ask(world, disk, app, fd, count);
        answer(world, disk, app, asked, 8);
    }
    let (tickets, _) = ask(world, disk, app, fd, more);
    disk.kill(world);
    for ticket in tickets {
        let result = app.result(world, ticket).expect("its daemon is dead");
        assert!(matches!(result, Err(Errno::CONNRESET | Errno::NODEV)), "{result:?}");
    }
    app.call(world, args::Close { fd }.encode(0)).unwrap();
    world.forget(disk.program);
    world.run_until_idle();
}

#[test]
fn a_dead_daemon_gives_the_records_back_that_waited_for_its_next_requests() {
    let mut world = World::new();
    let app = world.program_with(Sizes { sq: 4, cq: 4, service: None });
    a_daemons_life(&mut world, app, 0);
    let before = world.accounts();
    let state = &world.kernel.state;
    let (live, records) = (state.live_ops(), state.ops.live());
    for more in [0, 1, 3, 4, 7] {
        a_daemons_life(&mut world, app, more);
        assert_eq!(world.kernel.state.live_ops(), live, "as many operations, {more} were out");
        assert_eq!(world.kernel.state.ops.live(), records, "as many records, {more} were out");
        assert_eq!(kept(&world), 0, "none is kept for a link, {more} were out");
        assert_eq!(world.accounts(), before, "{more} were out");
    }
}

#[test]
fn a_read_too_many_waits_for_room_and_goes_out_when_one_is_answered() {
    let (mut world, disk, app, fd) = scene(2);
    for round in 0..3 {
        let mut asked = ask(&mut world, disk, app, fd, 4);
        assert_eq!(asked.1.len(), 4, "as many as there are slots, in round {round}");
        let (late, none) = ask(&mut world, disk, app, fd, 2);
        assert_eq!(none, [], "the daemon has all slots in round {round}");
        asked.0.extend(late);
        for _ in 0..2 {
            let request = asked.1.remove(0);
            disk.reply(&mut world, request, Ok(8));
            world.run_until_idle();
            let next = disk.request(&mut world).expect("there is room for one more");
            assert_eq!(next.tag, request.tag.wrapping_add(GENERATION), "it has the slot that was given back");
            assert_eq!(disk.request(&mut world), None, "and only for one");
            asked.1.push(next);
        }
        answer(&mut world, disk, app, asked, 8);
    }
    assert_eq!(kept(&world), 4, "each slot keeps a record");
}

#[test]
fn no_read_overtakes_one_that_waits_for_room() {
    for offset in [0, CURSOR] {
        let (mut world, disk, app, fd) = scene(2);
        let warm = ask(&mut world, disk, app, fd, 4);
        let last = warm.1[3];
        answer(&mut world, disk, app, warm, 8);
        disk.obliging(&mut world, false);
        // The daemon answers one that it has not taken: a slot is free, and there is no place in the queue.
        (0..4).for_each(|_| {
            app.submit(&mut world, plain(fd, DATA, 8));
        });
        world.run_until_idle();
        disk.reply(&mut world, Sqe { tag: last.tag.wrapping_add(GENERATION), ..last }, Ok(8));
        world.run_until_idle();
        assert!(app.completion(&mut world).is_some(), "the tag is out");
        assert_eq!(kept(&world), 1, "a slot keeps its record");
        app.submit(&mut world, plain(fd, DATA, 5));
        app.push(&mut world);
        let taken = [(); 4].map(|()| disk.raw_request(&mut world).expect("four went out").args[2]);
        assert_eq!(taken, [8; 4], "the fifth waits");

        // Now there is a place, but the kernel has not looked at what waits.
        app.submit(&mut world, args::Read { fd, buffer: DATA, length: 6, offset }.encode(0));
        app.push(&mut world);
        assert_eq!(disk.raw_request(&mut world), None, "it waits behind the other one");
        world.run_until_idle();
        assert_eq!(disk.raw_request(&mut world).expect("there is room").args[2], 5, "the first of them");
    }
}

#[test]
fn an_open_takes_the_slot_of_a_record_that_waits() {
    let (mut world, disk, app, fd) = scene(2);
    let warm = ask(&mut world, disk, app, fd, 4);
    answer(&mut world, disk, app, warm, 8);
    assert_eq!(kept(&world), 4, "each slot keeps a record");
    let live = world.kernel.state.live_ops();
    disk.obliging(&mut world, false);
    let (buffer, length) = app.name(&mut world, "/scheme/disk/b");
    let open = args::OpenAt { fd: CURRENT, buffer, length, flags: 0, capacity: 0 }.encode(0);

    // The slots are taken in this order: two reads, an open, a read; the others wait for room.
    let reads = [(); 2].map(|()| app.submit(&mut world, plain(fd, DATA, 8)));
    let first_open = app.submit(&mut world, open);
    let third = app.submit(&mut world, plain(fd, DATA, 8));
    let second_open = app.submit(&mut world, open);
    let late = app.submit(&mut world, plain(fd, DATA, 8));
    world.run_until_idle();
    assert_eq!(world.kernel.state.live_ops(), live + 6, "all six are in flight");
    assert_eq!(kept(&world), 0, "no record waits");
    let mut out: Vec<_> = std::iter::from_fn(|| disk.request(&mut world)).collect();
    let asked = |requests: &[Sqe]| requests.iter().map(|request| request.opcode).collect::<Vec<_>>();
    let [open, read] = [Opcode::OpenAt, Opcode::Read].map(Opcode::raw);
    assert_eq!(asked(&out), [read, read, open, read], "as many as there are slots, in order");
    let slots: std::collections::BTreeSet<_> = out.iter().map(|request| request.tag & 0xffff).collect();
    assert_eq!(slots, (0..4).collect(), "each has a slot of its own");

    // A read's slot goes to the open that waits first.
    let done = out.remove(0);
    disk.reply(&mut world, done, Ok(1));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, reads[0]), Some(Ok(1)), "it was answered");
    let next = disk.request(&mut world).expect("there is room for one more");
    assert_eq!((next.opcode, next.tag), (open, done.tag.wrapping_add(GENERATION)), "the open was first");
    assert_eq!(disk.request(&mut world), None, "the read still waits");
    out.push(next);

    // An open's slot goes to the read.
    let done = out.remove(1);
    assert_eq!(done.opcode, open, "the first open");
    disk.reply(&mut world, done, Ok(501));
    world.run_until_idle();
    let opened = app.result(&mut world, first_open).expect("it was answered").unwrap();
    let next = disk.request(&mut world).expect("there is room for one more");
    assert_eq!((next.opcode, next.tag), (read, done.tag.wrapping_add(GENERATION)), "the late read");
    out.push(next);

    assert_eq!(asked(&out), [read, read, open, read], "what is out");
    for (request, count) in out.into_iter().zip([2, 3, 502, 4]) {
        disk.reply(&mut world, request, Ok(count));
    }
    world.run_until_idle();
    for (ticket, count) in [(reads[1], 2), (third, 3), (late, 4)] {
        assert_eq!(app.result(&mut world, ticket), Some(Ok(count)), "each has its own answer");
    }
    assert!(matches!(app.result(&mut world, second_open), Some(Ok(fd)) if fd != opened), "another handle");
    assert_eq!(world.kernel.state.live_ops(), live, "nothing is in flight");
    assert_eq!(kept(&world), 3, "the slot of the last open is nobody's");
}

/// The daemon answers and waits, and the client, which waits for this alone, goes on in the same step.
fn serve(world: &mut World, disk: Daemon, request: Sqe) {
    disk.reply(world, request, Ok(8));
    world.give_cpu(disk.program);
    let before = world.steps();
    disk.wait(world);
    assert_eq!(world.steps(), before + 1, "one step does it all");
}

#[test]
fn a_wait_that_a_reply_ends_returns_no_earlier_timeout() {
    for again in [false, true] {
        let (mut world, disk, app, fd) = scene(3);
        let first = app.submit(&mut world, plain(fd, DATA, 8));
        let soon = world.machine().now() + 5000;
        app.enter(&mut world, 0, 8, 1, enter::COMPLETIONS, soon);
        assert_eq!(app.returned(&mut world), None, "it waits");
        world.advance(5000);
        world.run_until("the deadline", |world| app.returned(world).is_some());
        assert_eq!(app.returned(&mut world), Some(Errno::TIMEDOUT.to_result()), "nobody answered");

        // The next wait is for the same read, or for another one that it is entered with.
        let mut request = disk.request(&mut world).expect("it was asked");
        let mut ticket = first;
        if again {
            ticket = app.submit(&mut world, plain(fd, DATA, 8));
        }
        app.wait(&mut world, 1);
        assert_eq!(app.returned(&mut world), None, "it waits again");
        if again {
            request = disk.request(&mut world).expect("it was asked");
        }
        serve(&mut world, disk, request);
        assert_eq!(world.on_cpu(), Some(app), "the daemon waits, and the client goes on");
        assert_eq!(app.returned(&mut world), Some(0), "with another read: {again}");
        assert_eq!(app.result(&mut world, ticket), Some(Ok(8)), "it was answered");
    }
}

#[test]
fn a_context_that_was_stopped_in_its_wait_stands_still_when_the_reply_comes() {
    let (mut world, disk, app, fd) = scene(3);
    let ticket = app.submit(&mut world, plain(fd, DATA, 8));
    app.wait(&mut world, 1);
    let context = app.handle(&mut world);
    assert_eq!(FIRST.call(&mut world, args::ContextStop { context }.encode(0)), Ok(0));
    let request = disk.request(&mut world).expect("it was asked");
    serve(&mut world, disk, request);
    for _ in 0..50 {
        assert_ne!(world.on_cpu(), Some(app), "it is stopped");
        world.advance(10_000_000);
    }
    assert_eq!(world.mode(app), Mode::Entered, "its wait is over, and it does not run");
    assert_eq!(FIRST.call(&mut world, args::ContextStart { context }.encode(0)), Ok(0));
    world.run_until("it runs", |world| world.mode(app) == Mode::Own);
    assert_eq!(app.returned(&mut world), Some(0), "its wait ended well");
    assert_eq!(app.result(&mut world, ticket), Some(Ok(8)), "its read was answered meanwhile");
}

#[test]
fn a_deadline_goes_with_the_wait_that_a_reply_ends() {
    let (mut world, disk, app, fd) = scene(3);
    let before = world.kernel.state.timers.len();
    let ticket = app.submit(&mut world, plain(fd, DATA, 8));
    let late = world.machine().now() + (1 << 40);
    app.enter(&mut world, 0, 8, 1, enter::COMPLETIONS, late);
    assert_eq!(app.returned(&mut world), None, "it waits");
    world.give_cpu(disk.program);
    assert_eq!(world.kernel.state.timers.len(), before + 1, "until then");
    let request = disk.request(&mut world).expect("it was asked");
    serve(&mut world, disk, request);
    assert_eq!(world.kernel.state.timers.len(), before, "its deadline is gone");
    world.run_until("it goes on", |world| app.returned(world).is_some());
    assert_eq!(app.returned(&mut world), Some(0), "the reply ended it");
    assert_eq!(app.result(&mut world, ticket), Some(Ok(8)), "it was answered");

    // A later wait is not ended by it.
    app.submit(&mut world, plain(fd, DATA, 8));
    app.wait(&mut world, 1);
    for _ in 0..5 {
        world.advance(1 << 40);
    }
    assert_eq!(app.returned(&mut world), None, "it has no deadline");
}

/// Bytes of a read in the first two pages of the program's memory arrive, and no others change.
fn arrives(world: &mut World, disk: Daemon, app: Program, fd: u64, at: u64, length: u64) {
    let bytes: Vec<_> = (0..length).map(|index| (at + index * 3) as u8 | 1).collect();
    app.write(world, DATA, &[0; 2 * PAGE as usize]);
    let ticket = app.submit(world, plain(fd, DATA + at, length));
    world.run_until_idle();
    let request = disk.request(world).expect("it was asked");
    disk.fill(world, &request, &bytes);
    disk.reply(world, request, Ok(length));
    world.run_until_idle();
    assert_eq!(app.result(world, ticket), Some(Ok(length)), "{length} bytes at {at}");
    let mut expected = vec![0; 2 * PAGE as usize];
    expected[at as usize..][..length as usize].copy_from_slice(&bytes);
    let found = app.read(world, DATA, expected.len()).unwrap();
    let wrong = (0..expected.len()).find(|&index| found[index] != expected[index]);
    assert_eq!(wrong, None, "{length} bytes at {at}");
}

/// Does `what` after the ring's last operations went nowhere special, to the first page, and to the second.
fn wherever_the_last_went(what: impl Fn(&mut World, Daemon, Program, u64)) {
    for last in [None, Some(100), Some(PAGE + 100)] {
        let (mut world, disk, app, fd) = scene(3);
        world.audit_every = 1 << 30;
        // Frames that lie otherwise than the pages.
        app.write(&mut world, DATA + PAGE, &[0]);
        app.write(&mut world, DATA + 2 * PAGE, &[0]);
        app.write(&mut world, DATA, &[0]);
        last.into_iter().for_each(|at| arrives(&mut world, disk, app, fd, at, 8));
        what(&mut world, disk, app, fd);
        world.check();
    }
}

#[test]
fn a_read_into_the_last_bytes_of_a_page_arrives() {
    wherever_the_last_went(|world, disk, app, fd| {
        for length in 1..=17 {
            arrives(world, disk, app, fd, PAGE - length, length);
        }
        for left in 1..=16 {
            arrives(world, disk, app, fd, PAGE - left, 1);
        }
    });
}

#[test]
fn a_read_that_crosses_into_the_next_page_arrives() {
    wherever_the_last_went(|world, disk, app, fd| {
        for left in 1..=16 {
            for length in [left + 1, 16, 17, 40] {
                arrives(world, disk, app, fd, PAGE - left, length);
            }
        }
    });
}
