//! Polls and requests that complete more than once, in every way in which they can end.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::args::{self, CURRENT, LOWEST, Strength, event};
use ring_abi::layout::{Sizes, flags, word};
use ring_abi::sync::Ordering::Relaxed;
use ring_abi::{Cqe, CqeFlags, CqeKind, Errno, Opcode, Sqe, SqeFlags};
use world::{DATA, Daemon, Mode, Program, Ticket, World};

const LONG: u64 = 10_000_000_000;
/// A completion after which others come, and the last one.
const MORE: bool = true;
const LAST: bool = false;

/// A program with a file of a daemon, and a completion queue of so many places.
struct Scene {
    world: World,
    disk: Daemon,
    app: Program,
    file: u64,
}

impl Scene {
    fn new(places: u8) -> Scene {
        let mut world = World::new();
        let disk = world.daemon_with("disk", 2);
        let app = world.program_with(Sizes { sq: 3, cq: places, service: None });
        let file = app.open(&mut world, "/scheme/disk/file");
        Scene { world, disk, app, file }
    }

    fn submit(&mut self, sqe: Sqe) -> Ticket {
        let ticket = self.app.submit(&mut self.world, sqe);
        self.app.push(&mut self.world);
        self.world.run_until_idle();
        ticket
    }

    /// Completions of an operation that are there, in order. The program enters afterwards.
    fn taken(&mut self, ticket: Ticket) -> Vec<(Result<u64, Errno>, bool)> {
        let mut all = Vec::new();
        while let Some(cqe) = self.app.completed(&mut self.world, ticket) {
            all.push((cqe.result(), cqe.flags & CqeFlags::MORE.bits() != 0));
        }
        self.world.run_until_idle();
        all
    }

    /// Entries of the completion queue that the program has not taken.
    fn untaken(&self) -> u32 {
        let view = self.world.ring(self.app, 0).view;
        view.header(word::CQ_TAIL).load(Relaxed).wrapping_sub(view.header(word::CQ_HEAD).load(Relaxed))
    }

    fn needs_enter(&self) -> bool {
        self.world.ring(self.app, 0).view.header(word::FLAGS).load(Relaxed) & flags::NEED_ENTER != 0
    }

    fn request(&mut self) -> Option<Sqe> {
        self.world.run_until_idle();
        self.disk.request(&mut self.world)
    }

    /// The daemon answers, and does not want to be asked again.
    fn reply(&mut self, request: Sqe, result: Result<u64, Errno>) {
        self.disk.reply(&mut self.world, request, result);
        self.world.run_until_idle();
    }

    /// The daemon answers, and wants to be asked again.
    fn reply_more(&mut self, request: Sqe, result: Result<u64, Errno>) {
        let mut reply = Cqe::new(request.tag, result);
        reply.flags = CqeFlags::MORE.bits();
        self.disk.reply_with(&mut self.world, reply);
        self.world.run_until_idle();
    }

    /// The daemon says that the file has events.
    fn tell(&mut self, events: u64) {
        let tell = Cqe { tag: events as u32, ..Cqe::new(0, Ok(100)) };
        self.disk.reply_with(&mut self.world, tell.with_kind(CqeKind::SendFevent));
        self.world.run_until_idle();
    }

    fn cancel(&mut self, ticket: Ticket, strength: Strength) -> Result<u64, Errno> {
        let cancel = args::CancelTag { tag: ticket.0, strength: strength as u32, grace: LONG };
        self.app.call(&mut self.world, cancel.encode(0))
    }

    /// Nothing is owed, promised or left.
    fn end(mut self) {
        self.world.run_until_idle();
        while self.app.completion(&mut self.world).is_some() {}
        assert_eq!(self.world.owed(self.app), 0);
        self.world.check();
        let before = self.world.kernel.state.live_ops();
        assert_eq!(before, 0, "an operation is left");
    }
}

fn multishot(sqe: Sqe) -> Sqe {
    sqe.with_flags(SqeFlags::MULTISHOT)
}

fn poll(fd: u64, mask: u64) -> Sqe {
    multishot(args::Poll { fd, mask }.encode(0))
}

fn accept(fd: u64) -> Sqe {
    multishot(args::Dup { fd, buffer: DATA, length: 6 }.encode(0))
}

fn receive(fd: u64) -> Sqe {
    multishot(args::Recvfd { fd, flags: 3, argument: 4 }.encode(0))
}

/// A poll that waits for events, of which there are none yet.
fn polling(places: u8, mask: u64) -> (Scene, Ticket) {
    let mut scene = Scene::new(places);
    let ticket = scene.submit(poll(scene.file, mask));
    let request = scene.request().unwrap();
    assert_eq!((request.opcode, request.flags), (Opcode::Fevent.raw(), 0));
    assert_eq!(request.args[1..5], [mask, 0, 0, 0]);
    scene.reply(request, Ok(0));
    assert_eq!(scene.taken(ticket), []);
    (scene, ticket)
}

#[test]
fn a_poll_completes_each_time_that_its_daemon_tells() {
    let (mut scene, ticket) = polling(4, event::ALL);
    scene.tell(event::READ);
    assert_eq!(scene.taken(ticket), [(Ok(event::READ), MORE)]);
    scene.tell(event::WRITE);
    scene.tell(event::ALL);
    assert_eq!(scene.taken(ticket), [(Ok(event::WRITE), MORE), (Ok(event::ALL), MORE)]);
    scene.tell(4);
    assert_eq!(scene.taken(ticket), [], "no event that was asked for");
    assert_eq!(scene.request(), None, "the daemon is not asked again");
    assert_eq!(scene.cancel(ticket, Strength::Force), Ok(1));
    assert_eq!(scene.taken(ticket), [(Err(Errno::CANCELED), LAST)]);
    scene.end();
}

#[test]
fn a_poll_begins_with_what_the_file_has() {
    let mut scene = Scene::new(4);
    let ticket = scene.submit(poll(scene.file, event::READ));
    let request = scene.request().unwrap();
    scene.reply(request, Ok(event::ALL));
    assert_eq!(scene.taken(ticket), [(Ok(event::READ), MORE)], "only what was asked for");
    scene.tell(event::WRITE);
    assert_eq!(scene.taken(ticket), []);
    scene.tell(event::READ);
    assert_eq!(scene.taken(ticket), [(Ok(event::READ), MORE)]);
    let refused = scene.submit(poll(scene.file, event::READ));
    let request = scene.request().unwrap();
    scene.reply(request, Err(Errno::PERM));
    assert_eq!(scene.taken(refused), [(Err(Errno::PERM), LAST)]);
    assert_eq!(scene.cancel(ticket, Strength::Ask), Ok(1));
    assert_eq!(scene.taken(ticket), [(Err(Errno::CANCELED), LAST)]);
    scene.end();
}

#[test]
fn a_poll_that_finds_no_place_tells_all_in_one_and_looks_again() {
    let (mut scene, ticket) = polling(1, event::ALL);
    scene.tell(event::READ);
    assert!(!scene.needs_enter());
    // The other place is promised for the end.
    scene.tell(event::WRITE);
    assert!(scene.needs_enter());
    scene.tell(event::READ);
    assert_eq!(scene.untaken(), 1);
    assert_eq!(scene.request(), None, "a paused poll costs the daemon nothing");
    assert_eq!(scene.taken(ticket), [(Ok(event::READ), MORE)]);
    let request = scene.request().expect("what happened meanwhile is asked for");
    assert_eq!(request.args[1..5], [event::ALL, 0, 0, 0]);
    assert_eq!(scene.taken(ticket), []);
    scene.reply(request, Ok(event::READ));
    assert_eq!(scene.taken(ticket), [(Ok(event::ALL), MORE)], "with what was not told");
    assert!(!scene.needs_enter());
    scene.tell(event::WRITE);
    assert_eq!(scene.taken(ticket), [(Ok(event::WRITE), MORE)], "it waits as before");
    assert_eq!(scene.cancel(ticket, Strength::Force), Ok(1));
    assert_eq!(scene.taken(ticket), [(Err(Errno::CANCELED), LAST)]);
    scene.end();
}

#[test]
fn whoever_ends_with_new_room_and_paused_polls_leaves_nothing() {
    for flags in [0, args::exit::SPACE] {
        let (mut scene, ticket) = polling(2, event::ALL);
        for _ in 0..4 {
            scene.tell(event::READ);
        }
        assert!(scene.needs_enter());
        // Too many to end in one step.
        for _ in 0..64 {
            scene.world.thread(scene.app, Sizes::SMALLEST);
        }
        let before = scene.untaken();
        while scene.app.completed(&mut scene.world, ticket).is_some() {}
        assert!(scene.untaken() < before);
        // Their room is seen by the first submission, and the second ends the program.
        scene.app.submit(&mut scene.world, args::Nop {}.encode(0));
        scene.app.submit(&mut scene.world, args::Exit { code: 0, flags }.encode(0));
        scene.app.push(&mut scene.world);
        scene.world.run_until_idle();
        assert!(scene.world.has_ended(scene.app));
        assert_eq!(scene.world.kernel.state.live_ops(), 0);
    }
}

#[test]
fn serial_input_is_told_at_each_input() {
    let mut world = World::new();
    let app = world.program();
    let fd = app.open(&mut world, "/scheme/debug");
    let ticket = app.submit(&mut world, poll(fd, event::ALL));
    app.push(&mut world);
    let took = |world: &mut World| {
        world.run_until_idle();
        app.completed(world, ticket).map(|cqe| (cqe.result(), cqe.flags & CqeFlags::MORE.bits() != 0))
    };
    assert_eq!(took(&mut world), Some((Ok(event::WRITE), MORE)));
    for _ in 0..30 {
        world.machine().type_in(b"x");
        assert_eq!(took(&mut world), Some((Ok(event::READ), MORE)));
        assert_eq!(took(&mut world), None, "once for each input");
    }
    // Whoever reads is not disturbed by those who poll.
    let read = args::Read { fd, buffer: DATA, length: 64, offset: 0 }.encode(0);
    assert_eq!(app.call(&mut world, read), Ok(30));
    let waits = app.submit(&mut world, read);
    let single = app.submit(&mut world, args::Poll { fd, mask: event::READ }.encode(0));
    world.run_until_idle();
    world.machine().type_in(b"yz");
    assert_eq!(took(&mut world), Some((Ok(event::READ), MORE)));
    assert_eq!(app.result(&mut world, waits), Some(Ok(2)));
    assert_eq!(app.result(&mut world, single), None, "the read took it all");
    // Without room it pauses, and says once what it missed.
    for _ in 0..20 {
        world.machine().type_in(b"x");
        world.run_until_idle();
    }
    let mut told = 0;
    while took(&mut world).is_some() {
        told += 1;
    }
    assert!((3..=8).contains(&told), "{told}");
    let always = app.open(&mut world, "/scheme/sys/counters");
    let ready = app.submit(&mut world, poll(always, event::ALL));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, ready), Some(Ok(event::ALL)));
    assert_eq!(app.call(&mut world, args::CancelAll { strength: 1, grace: 0 }.encode(0)), Ok(2));
}

#[test]
fn a_daemon_gives_one_handle_after_the_other() {
    for sqe in [accept as fn(u64) -> Sqe, receive] {
        let mut scene = Scene::new(4);
        let ticket = scene.submit(sqe(scene.file));
        let mut handles = Vec::new();
        for round in 0..20 {
            let request = scene.request().expect("it is asked again");
            assert_eq!(request.flags, SqeFlags::MULTISHOT.bits());
            assert_eq!(request.args[0], 100, "the same file");
            assert_eq!(scene.request(), None, "once for each answer");
            let mut reply = Cqe::new(request.tag, Ok(500 + round));
            reply.flags = CqeFlags::MORE.bits();
            if request.opcode == Opcode::Recvfd.raw() {
                assert_eq!(request.args[1..5], [3, 4, 0, 0]);
                reply.result = handle_of(&mut scene);
                reply = reply.with_kind(CqeKind::WithFd);
            }
            scene.disk.reply_with(&mut scene.world, reply);
            scene.world.run_until_idle();
            let [(Ok(handle), MORE)] = scene.taken(ticket)[..] else { panic!("no handle") };
            assert!(!handles.contains(&handle));
            handles.push(handle);
        }
        // Each handle leads to the file of its answer.
        for (round, handle) in handles.iter().enumerate() {
            let length = scene.submit(args::Fsize { fd: *handle }.encode(0));
            let mut requests = [scene.request().unwrap(), scene.request().unwrap_or_default()];
            requests.sort_by_key(|request| request.opcode != Opcode::Fsize.raw());
            let leads =
                if sqe(0).opcode == Opcode::Dup.raw() { 500 + round as u64 } else { 101 + round as u64 };
            assert_eq!(requests[0].args[0], leads);
            scene.reply(requests[0], Ok(0));
            assert_eq!(scene.taken(length), [(Ok(0), LAST)]);
            if round == 0 {
                scene.world.hands(scene.disk).push(requests[1]);
            }
        }
        let open = scene.world.hands(scene.disk).pop().unwrap();
        scene.reply(open, Err(Errno::CONNRESET));
        assert_eq!(scene.taken(ticket), [(Err(Errno::CONNRESET), LAST)]);
        scene.end();
    }
}

/// A handle of the daemon's own, to a fresh file.
fn handle_of(scene: &mut Scene) -> u64 {
    let disk = scene.disk.program;
    disk.open(&mut scene.world, "/scheme/disk/other")
}

#[test]
fn an_answer_that_is_no_more_is_the_last() {
    let mut scene = Scene::new(3);
    let ticket = scene.submit(accept(scene.file));
    let request = scene.request().unwrap();
    scene.reply(request, Ok(500));
    let [(Ok(handle), LAST)] = scene.taken(ticket)[..] else { panic!("no handle") };
    assert_eq!(scene.request(), None);
    assert_eq!(scene.app.call(&mut scene.world, args::Close { fd: handle }.encode(0)), Ok(0));
    scene.world.run_until_idle();
    assert_eq!(scene.disk.closed(&mut scene.world), [500]);
    scene.end();
}

#[test]
fn more_of_what_was_asked_once_is_an_error() {
    let mut scene = Scene::new(3);
    let dup = args::Dup { fd: scene.file, buffer: DATA, length: 6 }.encode(0);
    for sqe in [
        dup,
        args::Fsize { fd: scene.file }.encode(0),
        args::Recvfd { fd: scene.file, flags: 0, argument: 0 }.encode(0),
    ] {
        let ticket = scene.submit(sqe);
        let request = scene.request().unwrap();
        assert_eq!(request.flags, 0);
        scene.reply_more(request, Ok(500));
        assert_eq!(scene.taken(ticket), [(Err(Errno::IO), LAST)]);
        assert_eq!(scene.request(), None);
    }
    let ticket = scene.submit(poll(scene.file, 1));
    let request = scene.request().unwrap();
    scene.reply_more(request, Ok(1));
    assert_eq!(scene.taken(ticket), [(Err(Errno::IO), LAST)], "a poll is asked once for each time");
    scene.end();
}

#[test]
fn what_cannot_be_asked_again_takes_no_flag() {
    let mut scene = Scene::new(3);
    let fd = scene.file;
    let sqes = [
        args::Read { fd, buffer: DATA, length: 6, offset: 0 }.encode(0),
        args::Write { fd, buffer: DATA, length: 6, offset: 0 }.encode(0),
        args::Fsize { fd }.encode(0),
        args::OpenAt { fd, buffer: DATA, length: 6, flags: 0, capacity: 0 }.encode(0),
        args::FutexWait { address: DATA, expected: 0, deadline: u64::MAX }.encode(0),
        args::Nop {}.encode(0),
    ];
    for sqe in sqes {
        assert_eq!(scene.app.call(&mut scene.world, multishot(sqe)), Err(Errno::INVAL), "{sqe:?}");
    }
    let kernel = scene.app.open(&mut scene.world, "/scheme/debug");
    assert_eq!(scene.app.call(&mut scene.world, accept(kernel)), Err(Errno::OPNOTSUPP));
    assert_eq!(scene.app.call(&mut scene.world, accept(77)), Err(Errno::BADF));
    let far = multishot(args::Dup { fd, buffer: 0x5000, length: 6 }.encode(0));
    assert_eq!(scene.app.call(&mut scene.world, far), Err(Errno::FAULT));
    scene.end();
}

#[test]
fn a_slow_program_keeps_nothing_of_the_link_and_loses_nothing() {
    let mut scene = Scene::new(2);
    let other = scene.world.program();
    let theirs = other.open(&mut scene.world, "/scheme/disk/theirs");
    let ticket = scene.submit(accept(scene.file));
    let mut given = 500;
    // Two places are free beside that of the end, and one of them is promised for the answer.
    while let Some(request) = scene.request() {
        scene.reply_more(request, Ok(given));
        given += 1;
    }
    assert_eq!((given, scene.untaken()), (503, 3), "what finds no place is not asked for");
    assert!(scene.needs_enter());
    // The daemon has all of its slots for others.
    let reads: Vec<_> =
        (0..4).map(|_| other.submit(&mut scene.world, args::Fsize { fd: theirs }.encode(0))).collect();
    let requests: Vec<_> = (0..4).map(|_| scene.request().unwrap()).collect();
    for (request, read) in requests.into_iter().zip(reads) {
        scene.reply(request, Ok(7));
        assert_eq!(other.result(&mut scene.world, read), Some(Ok(7)));
    }
    let all = scene.taken(ticket);
    assert!(all.len() == 3 && all.iter().all(|(result, more)| result.is_ok() && *more), "{all:?}");
    let request = scene.request().expect("there is room again");
    scene.reply_more(request, Ok(given));
    assert_eq!(scene.taken(ticket).len(), 1);
    assert_eq!(scene.cancel(ticket, Strength::Force), Ok(1));
    assert_eq!(scene.taken(ticket), [(Err(Errno::CANCELED), LAST)]);
    let request = scene.request().unwrap();
    scene.reply_more(request, Ok(900));
    assert_eq!(scene.disk.closed(&mut scene.world), [900], "a handle that comes too late is closed");
    assert_eq!(scene.request(), None);
    scene.end();
}

#[test]
fn an_accept_that_begins_without_room_waits_for_it() {
    let mut scene = Scene::new(1);
    let timer = scene.submit(args::Timeout { nanoseconds: 1 << 60, flags: 0 }.encode(0));
    scene.submit(accept(scene.file));
    assert_eq!(scene.request(), None, "both places are promised");
    assert!(scene.needs_enter());
    let remove = args::TimeoutRemove { tag: timer.0 }.encode(0);
    assert!(scene.app.try_submit_as(&mut scene.world, 0, Sqe { tag: 9, ..remove }));
    scene.world.run_until_idle();
    assert_eq!(scene.app.result(&mut scene.world, Ticket(9)), None, "nor is there room to ask for that");
    scene.world.kill(scene.app);
    scene.world.check();
}

#[test]
fn an_accept_is_cancelled_wherever_it_is() {
    for strength in [Strength::Force, Strength::Ask] {
        // In the daemon's hands.
        let mut scene = Scene::new(3);
        let ticket = scene.submit(accept(scene.file));
        let request = scene.request().unwrap();
        assert_eq!(scene.cancel(ticket, strength), Ok(1));
        scene.world.run_until_idle();
        assert_eq!(scene.disk.cancelled(&mut scene.world), [request.tag]);
        if strength == Strength::Ask {
            // An answer that comes in time is the last, whatever the daemon says.
            assert_eq!(scene.taken(ticket), []);
            scene.reply_more(request, Ok(500));
            assert!(matches!(scene.taken(ticket)[..], [(Ok(_), LAST)]));
        } else {
            assert_eq!(scene.taken(ticket), [(Err(Errno::CANCELED), LAST)]);
            scene.reply(request, Err(Errno::CANCELED));
        }
        assert_eq!(scene.request(), None);
        scene.end();

        // Waiting for room at the link.
        let mut scene = Scene::new(4);
        for _ in 0..4 {
            let fsize = args::Fsize { fd: scene.file }.encode(0);
            scene.submit(fsize);
        }
        let ticket = scene.submit(accept(scene.file));
        assert_eq!(scene.cancel(ticket, strength), Ok(1));
        assert_eq!(scene.taken(ticket), [(Err(Errno::CANCELED), LAST)]);
        while let Some(request) = scene.request() {
            scene.reply(request, Ok(0));
        }
        scene.end();

        // Paused.
        let mut scene = Scene::new(1);
        let ticket = scene.submit(accept(scene.file));
        let request = scene.request().unwrap();
        scene.reply_more(request, Ok(500));
        assert!(scene.needs_enter());
        let cqe = scene.app.take(&mut scene.world, 0).unwrap();
        assert!(cqe.result().is_ok());
        let cancel = args::CancelTag { tag: ticket.0, strength: strength as u32, grace: LONG };
        let cancel = scene.app.submit(&mut scene.world, cancel.encode(0));
        scene.app.push(&mut scene.world);
        assert_eq!(scene.app.result(&mut scene.world, cancel), Some(Ok(1)));
        assert_eq!(scene.taken(ticket), [(Err(Errno::CANCELED), LAST)]);
        assert!(!scene.needs_enter());
        assert_eq!(scene.request(), None);
        scene.end();
    }
}

#[test]
fn the_grace_ends_an_accept_of_a_silent_daemon() {
    let mut scene = Scene::new(3);
    let ticket = scene.submit(accept(scene.file));
    let request = scene.request().unwrap();
    scene.cancel(ticket, Strength::Ask).unwrap();
    scene.world.advance(2 * LONG);
    assert_eq!(scene.taken(ticket), [(Err(Errno::CANCELED), LAST)]);
    scene.reply_more(request, Ok(500));
    assert_eq!(scene.disk.closed(&mut scene.world), [500]);
    scene.end();
}

/// What an operation of many completions waits for when its daemon dies.
#[test]
fn a_daemons_death_ends_it_once() {
    type State = (&'static str, u8, fn(&mut Scene, Ticket));
    let states: [State; 4] = [
        ("the daemon has it", 3, |_, _| ()),
        ("it was answered", 3, |scene, ticket| {
            let request = scene.request().unwrap();
            scene.reply_more(request, Ok(500));
            assert_eq!(scene.taken(ticket).len(), 1);
        }),
        ("it is paused", 1, |scene, _| {
            let request = scene.request().unwrap();
            scene.reply_more(request, Ok(500));
            assert!(scene.needs_enter());
        }),
        ("it waits for room", 4, |scene, _| {
            for _ in 0..6 {
                let fsize = args::Fsize { fd: scene.file }.encode(0);
                scene.submit(fsize);
            }
        }),
    ];
    for (name, places, bring) in states {
        let mut scene = Scene::new(places);
        let ticket = scene.submit(accept(scene.file));
        bring(&mut scene, ticket);
        scene.disk.kill(&mut scene.world);
        scene.world.run_until_idle();
        let mut all = scene.taken(ticket);
        scene.app.push(&mut scene.world);
        all.extend(scene.taken(ticket));
        let last = all.pop().unwrap();
        assert!(matches!(last, (Err(Errno::CONNRESET | Errno::NODEV), LAST)), "{name}: {last:?}");
        assert!(all.iter().all(|(_, more)| *more), "{name}: {all:?}");
        scene.end();
    }
    let (mut scene, ticket) = polling(2, event::ALL);
    scene.disk.kill(&mut scene.world);
    assert_eq!(scene.taken(ticket), [(Err(Errno::CONNRESET), LAST)]);
    scene.end();
    let (mut scene, ticket) = polling(1, event::ALL);
    scene.tell(event::READ);
    scene.tell(event::WRITE);
    scene.disk.kill(&mut scene.world);
    assert_eq!(scene.taken(ticket), [(Ok(event::READ), MORE)]);
    assert_eq!(scene.taken(ticket), [(Ok(event::WRITE), LAST)], "what it had to tell is told");
    scene.end();
}

#[test]
fn a_programs_death_leaves_nothing_wherever_it_is() {
    let mut world = World::new();
    let disk = world.daemon_with("disk", 1);
    let round = |world: &mut World| {
        for (sqe, answers) in [
            (accept as fn(u64) -> Sqe, 0),
            (accept, 1),
            (accept, 2),
            (receive, 0),
            (|fd| poll(fd, 1), 0),
            (|fd| poll(fd, 1), 1),
            (|fd| poll(fd, 1), 2),
        ] {
            let app = world.program_with(Sizes { sq: 3, cq: 1, service: None });
            let fd = app.open(world, "/scheme/disk/file");
            app.submit(world, sqe(fd));
            app.push(world);
            for _ in 0..answers {
                if let Some(request) = disk.request(world) {
                    let mut reply = Cqe::new(request.tag, Ok(1));
                    if request.opcode == Opcode::Dup.raw() {
                        reply.flags = CqeFlags::MORE.bits();
                    }
                    disk.reply_with(world, reply);
                }
                world.run_until_idle();
            }
            world.kill(app);
            world.forget(app);
            while let Some(request) = disk.request(world) {
                let mut late = Cqe::new(request.tag, Ok(2));
                late.flags = request.flags & SqeFlags::MULTISHOT.bits() >> 2;
                disk.reply_with(world, late);
                world.run_until_idle();
            }
            disk.cancelled(world);
            disk.closed(world);
        }
    };
    round(&mut world);
    let before = world.accounts();
    round(&mut world);
    assert_eq!(world.accounts(), before);
}

#[test]
fn a_program_without_handles_left_is_told_so_at_last() {
    let mut scene = Scene::new(3);
    scene.world.audit_every = 101;
    let ticket = scene.submit(accept(scene.file));
    let request = scene.request().unwrap();
    let app = scene.app;
    let mut copies = 0;
    loop {
        let dup = args::HandleDup { fd: scene.file, table: CURRENT, target: LOWEST, flags: 0 };
        match app.call(&mut scene.world, dup.encode(0)) {
            Ok(_) => copies += 1,
            Err(error) => {
                assert_eq!(error, Errno::MFILE);
                break;
            }
        }
    }
    assert!(copies > 4000);
    scene.reply_more(request, Ok(500));
    assert_eq!(scene.taken(ticket), [(Err(Errno::MFILE), LAST)]);
    assert_eq!(scene.disk.closed(&mut scene.world), [500]);
    scene.end();
}

#[test]
fn without_memory_an_answer_is_the_last_but_not_lost() {
    let mut scene = Scene::new(4);
    let ticket = scene.submit(accept(scene.file));
    let (mut number, mut ended) = (0, false);
    // Up to the end of the memory that there is for files, however much that is.
    while !ended {
        let request = scene.request().unwrap();
        let mut reply = Cqe::new(request.tag, Ok(1000 + number));
        reply.flags = CqeFlags::MORE.bits();
        scene.disk.reply_with(&mut scene.world, reply);
        let disk = scene.disk;
        scene.world.give_cpu(disk.program);
        scene.world.starve(0);
        disk.program.enter(&mut scene.world, disk.ring, 0, 0, 0, u64::MAX);
        scene.world.feed();
        let [(Ok(_), more)] = scene.taken(ticket)[..] else { panic!("an answer is lost") };
        ended = !more;
        number += 1;
        assert!(number < 1000);
    }
    assert!(number > 1);
    assert_eq!(scene.request(), None);
    scene.end();
}

#[test]
fn two_daemons_of_one_program_share_its_room() {
    let mut scene = Scene::new(3);
    let file = scene.app.open(&mut scene.world, "/scheme/disk/second");
    let (one, two) = (scene.submit(accept(scene.file)), scene.submit(accept(file)));
    let mut counts = [0, 0];
    for number in 0..200 {
        if let Some(request) = scene.request() {
            scene.reply_more(request, Ok(1000 + number));
        }
        if number % 3 == 0 {
            // One at a time, as a slow program would.
            if let Some(cqe) = scene.app.take(&mut scene.world, 0) {
                counts[usize::from(cqe.tag == two.0)] += 1;
                scene
                    .app
                    .call(&mut scene.world, args::Close { fd: cqe.result().unwrap() }.encode(0))
                    .unwrap();
            }
        }
    }
    assert!(counts.iter().all(|count| *count > 10), "{counts:?}");
    for ticket in [one, two] {
        assert_eq!(scene.cancel(ticket, Strength::Force), Ok(1));
    }
    scene.world.kill(scene.app);
    scene.world.check();
}

#[test]
fn who_waits_for_more_than_can_come_wakes_with_the_last() {
    let mut scene = Scene::new(5);
    let app = scene.app;
    let accept = accept(scene.file);
    let ticket = app.submit(&mut scene.world, accept);
    app.wait(&mut scene.world, 2);
    assert_eq!(scene.world.mode(app), Mode::Entered);
    scene.disk.kill(&mut scene.world);
    scene.world.run_until_idle();
    scene.world.run_until("nothing else can come", |world| world.mode(app) == Mode::Own);
    assert_eq!(scene.taken(ticket), [(Err(Errno::CONNRESET), LAST)]);
    scene.end();
}

#[test]
fn who_waits_wakes_when_there_is_room_for_what_is_paused() {
    let mut scene = Scene::new(3);
    let (app, file) = (scene.app, scene.file);
    let soon = args::Interval { first: 1_000_000, period: 1_000_000, count: 0, flags: 0 };
    let ticks = app.submit(&mut scene.world, multishot(soon.encode(0)));
    for _ in 0..7 {
        let read = args::Read { fd: file, buffer: DATA, length: 8, offset: 0 }.encode(0);
        app.submit(&mut scene.world, read.with_flags(SqeFlags::SKIP_SUCCESS));
    }
    app.push(&mut scene.world);
    scene.world.advance(3_000_000);
    app.wait(&mut scene.world, 1);
    let requests: Vec<_> = std::iter::from_fn(|| scene.request()).collect();
    assert!(!requests.is_empty());
    for request in requests {
        scene.disk.fill(&mut scene.world, &request, &[1; 8]);
        scene.reply(request, Ok(8));
    }
    while let Some(request) = scene.request() {
        scene.disk.fill(&mut scene.world, &request, &[1; 8]);
        scene.reply(request, Ok(8));
    }
    for _ in 0..3 {
        scene.world.advance(1_000_000);
        scene.world.run_until_idle();
    }
    scene.world.run_until("there is room for what is paused", |world| world.mode(app) == Mode::Own);
    app.enter(&mut scene.world, 0, 0, 0, 0, u64::MAX);
    assert!(!scene.taken(ticks).is_empty());
    assert_eq!(scene.cancel(ticks, Strength::Force), Ok(1));
    let _ = scene.taken(ticks);
    scene.end();
}

#[test]
fn a_poll_that_was_cancelled_ends_when_its_daemon_has_answered() {
    for (events, wanted) in [(0, Err(Errno::CANCELED)), (1, Ok(1))] {
        for more in [false, true] {
            let mut scene = Scene::new(5);
            let poll = args::Poll { fd: scene.file, mask: 1 }.encode(0);
            let ticket = scene.submit(if more { multishot(poll) } else { poll });
            let request = scene.request().expect("the daemon is asked");
            assert_eq!(scene.cancel(ticket, Strength::Ask), Ok(1));
            scene.reply(request, Ok(events));
            assert_eq!(scene.taken(ticket), [(wanted, LAST)]);
            scene.world.advance(2 * LONG);
            scene.end();
        }
    }
}
