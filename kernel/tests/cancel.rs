//! Every state in which an operation can wait, cancelled, in both strengths and at every point.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::args::{self, CURRENT, Strength, event, timeout};
use ring_abi::{Errno, Sqe};
use world::{DATA, Daemon, Program, Ticket, World, read};

/// A grace that no daemon of these tests exceeds by accident.
const LONG: u64 = 10_000_000_000;

/// A world in which an operation can come to wait.
struct Scene {
    world: World,
    disk: Daemon,
    app: Program,
    other: Program,
    file: u64,
}

impl Scene {
    fn new() -> Scene {
        let mut world = World::new();
        let disk = world.daemon_with("disk", 1);
        let app = world.program();
        let other = world.thread(app, ring_abi::layout::Sizes::SMALLEST);
        let file = app.open(&mut world, "/scheme/disk/positioned");
        Scene { world, disk, app, other, file }
    }

    fn submit(&mut self, sqe: Sqe) -> Ticket {
        let ticket = self.app.submit(&mut self.world, sqe);
        self.world.run_until_idle();
        ticket
    }

    fn result(&mut self, ticket: Ticket) -> Option<Result<u64, Errno>> {
        self.world.run_until_idle();
        self.app.result(&mut self.world, ticket)
    }

    fn cancel(&mut self, ticket: Ticket, strength: Strength, grace: u64) -> Result<u64, Errno> {
        let cancel = args::CancelTag { tag: ticket.0, strength: strength as u32, grace };
        self.app.call(&mut self.world, cancel.encode(0))
    }

    fn read(&self, offset: u64) -> Sqe {
        args::Read { fd: self.file, buffer: DATA, length: 64, offset }.encode(0)
    }
}

/// A wait that only the kernel knows: `start` brings an operation into it.
type Wait = (&'static str, fn(&mut Scene) -> Ticket);

const WAITS: &[Wait] = &[
    ("time", |scene| {
        scene.submit(args::Timeout { nanoseconds: u64::MAX / 2, flags: timeout::ABSOLUTE }.encode(0))
    }),
    ("a futex", |scene| {
        scene.submit(args::FutexWait { address: DATA, expected: 0, deadline: u64::MAX }.encode(0))
    }),
    ("a futex with a deadline", |scene| {
        scene.submit(args::FutexWait { address: DATA, expected: 0, deadline: u64::MAX / 2 }.encode(0))
    }),
    ("a swap", |scene| {
        let swap = args::FutexSwap { address: DATA, expected: 0, deadline: u64::MAX, wake: DATA + 64 };
        scene.submit(swap.encode(0))
    }),
    ("a context's end", |scene| {
        let context = args::ContextCreate {
            space: CURRENT,
            table: CURRENT,
            entry: 0x40_0000,
            stack: 0x8000,
            argument: 0,
            sizes_flags: u64::from(ring_abi::layout::Sizes::SMALLEST.packed()),
        };
        let context = scene.app.call(&mut scene.world, context.encode(0)).unwrap();
        scene.submit(args::ContextWait { context }.encode(0))
    }),
    ("input", |scene| {
        let fd = scene.app.open(&mut scene.world, "/scheme/debug");
        scene.submit(read(fd, DATA, 1))
    }),
    ("an interrupt", |scene| {
        let fd = scene.app.open(&mut scene.world, "/scheme/irq/test");
        scene.submit(read(fd, DATA, 8))
    }),
    ("an event", |scene| {
        let poll = scene.submit(args::Poll { fd: scene.file, mask: event::READ }.encode(0));
        // The daemon has no event now and will tell.
        let request = scene.disk.request(&mut scene.world).expect("the daemon is asked");
        scene.disk.reply(&mut scene.world, request, Ok(0));
        scene.world.run_until_idle();
        poll
    }),
    ("room at the link", |scene| {
        for _ in 0..2 {
            let sqe = scene.read(0);
            scene.submit(sqe);
        }
        let sqe = scene.read(0);
        scene.submit(sqe)
    }),
    ("its turn at the cursor", |scene| {
        scene.submit(read(scene.file, DATA, 64));
        scene.submit(read(scene.file, DATA, 64))
    }),
];

#[test]
fn every_wait_of_the_kernel_ends_when_it_is_cancelled() {
    for strength in [Strength::Force, Strength::Ask] {
        for (name, start) in WAITS {
            let mut scene = Scene::new();
            let ticket = start(&mut scene);
            assert_eq!(scene.result(ticket), None, "it waits for {name}");
            assert_eq!(scene.cancel(ticket, strength, u64::MAX), Ok(1), "{name} {strength:?}");
            assert_eq!(scene.result(ticket), Some(Err(Errno::CANCELED)), "{name} {strength:?}");
            assert_eq!(scene.cancel(ticket, strength, 0), Err(Errno::NOENT), "{name} {strength:?}");
            finish(scene);
        }
    }
}

#[test]
fn every_wait_ends_with_its_program() {
    for (name, start) in WAITS {
        let mut scene = Scene::new();
        let ticket = start(&mut scene);
        assert_eq!(scene.result(ticket), None, "it waits for {name}");
        let app = scene.app;
        scene.world.kill(app);
        let other = scene.other;
        scene.world.kill(other);
        let disk = scene.disk;
        while let Some(request) = disk.request(&mut scene.world) {
            disk.reply(&mut scene.world, request, Ok(0));
            scene.world.run_until_idle();
        }
    }
}

#[test]
fn a_cancelled_wait_leaves_what_it_waited_for_intact() {
    for (name, start) in WAITS {
        let mut scene = Scene::new();
        let first = start(&mut scene);
        assert_eq!(scene.cancel(first, Strength::Force, 0), Ok(1), "{name}");
        assert_eq!(scene.result(first), Some(Err(Errno::CANCELED)), "{name}");
        // The timer, the input and the interrupt now come for nobody.
        scene.world.advance(1);
        scene.world.machine().type_in(b"x");
        scene.world.machine().raise_test_irq();
        let disk = scene.disk;
        disk.program.submit(&mut scene.world, args::FutexWake { address: DATA, count: 9 }.encode(0));
        scene.world.run_until_idle();
        assert_eq!(scene.result(first), None);
        finish(scene);
    }
}

/// Everything that is still asked of the daemon is answered, and nothing is owed after that.
fn finish(mut scene: Scene) {
    let Scene { disk, app, .. } = scene;
    scene.world.run_until_idle();
    while let Some(request) = disk.request(&mut scene.world) {
        disk.reply(&mut scene.world, request, Ok(0));
        scene.world.run_until_idle();
    }
    while app.completion(&mut scene.world).is_some() {}
    assert_eq!(scene.world.owed(app), 0);
}

#[test]
fn an_asked_daemon_may_still_succeed() {
    let mut scene = Scene::new();
    let sqe = scene.read(0);
    let ticket = scene.submit(sqe);
    let request = scene.disk.request(&mut scene.world).unwrap();
    assert_eq!(scene.cancel(ticket, Strength::Ask, LONG), Ok(1));
    scene.world.run_until_idle();
    assert_eq!(scene.disk.cancelled(&mut scene.world), [request.tag]);
    assert_eq!(scene.result(ticket), None, "it goes on");
    scene.disk.reply(&mut scene.world, request, Ok(5));
    assert_eq!(scene.result(ticket), Some(Ok(5)));
    finish(scene);
}

#[test]
fn an_asked_daemon_that_agrees_ends_the_operation() {
    let mut scene = Scene::new();
    let sqe = scene.read(0);
    let ticket = scene.submit(sqe);
    let request = scene.disk.request(&mut scene.world).unwrap();
    scene.cancel(ticket, Strength::Ask, LONG).unwrap();
    scene.disk.reply(&mut scene.world, request, Err(Errno::CANCELED));
    assert_eq!(scene.result(ticket), Some(Err(Errno::CANCELED)));
    finish(scene);
}

#[test]
fn the_grace_ends_the_wait_for_a_daemon_that_does_not_answer() {
    let mut scene = Scene::new();
    let sqe = scene.read(0);
    let ticket = scene.submit(sqe);
    let request = scene.disk.request(&mut scene.world).unwrap();
    let before = scene.world.machine().now();
    scene.cancel(ticket, Strength::Ask, LONG).unwrap();
    scene.world.advance(before + LONG - 1 - scene.world.machine().now());
    assert_eq!(scene.app.result(&mut scene.world, ticket), None);
    scene.world.advance(LONG);
    assert_eq!(scene.result(ticket), Some(Err(Errno::CANCELED)));
    scene.disk.reply(&mut scene.world, request, Ok(5));
    assert_eq!(scene.result(ticket), None, "a late answer is nobody's");
    finish(scene);
}

#[test]
fn force_ends_a_request_at_once_and_the_daemon_keeps_its_slot() {
    let mut scene = Scene::new();
    let tickets = [0, 1].map(|offset| {
        let sqe = scene.read(offset);
        scene.submit(sqe)
    });
    let requests = [0, 1].map(|_| scene.disk.request(&mut scene.world).unwrap());
    assert_eq!(scene.cancel(tickets[0], Strength::Force, 0), Ok(1));
    assert_eq!(scene.result(tickets[0]), Some(Err(Errno::CANCELED)));
    scene.world.run_until_idle();
    assert_eq!(scene.disk.cancelled(&mut scene.world), [requests[0].tag]);

    // Both slots are still in the daemon's hands, so a third read finds no room.
    let sqe = scene.read(2);
    let third = scene.submit(sqe);
    assert_eq!(scene.disk.request(&mut scene.world), None);
    scene.disk.fill(&mut scene.world, &requests[0], &[9; 64]);
    scene.disk.reply(&mut scene.world, requests[0], Ok(64));
    scene.world.run_until_idle();
    assert_eq!(scene.app.read(&mut scene.world, DATA, 64).unwrap(), [0; 64], "its bytes go nowhere");
    let request = scene.disk.request(&mut scene.world).expect("the slot is free again");
    assert_eq!(request.args[3], 2);
    scene.disk.reply(&mut scene.world, request, Ok(3));
    assert_eq!(scene.result(third), Some(Ok(3)));
    scene.disk.reply(&mut scene.world, requests[1], Ok(1));
    assert_eq!(scene.result(tickets[1]), Some(Ok(1)));
    finish(scene);
}

#[test]
fn a_file_that_was_opened_too_late_is_closed_again() {
    let mut scene = Scene::new();
    let Scene { disk, app, .. } = scene;
    disk.obliging(&mut scene.world, false);
    let (buffer, length) = app.name(&mut scene.world, "/scheme/disk/late");
    let ticket = scene.submit(args::OpenAt { fd: CURRENT, buffer, length, flags: 0, capacity: 0 }.encode(0));
    let request = disk.request(&mut scene.world).unwrap();
    scene.cancel(ticket, Strength::Force, 0).unwrap();
    assert_eq!(scene.result(ticket), Some(Err(Errno::CANCELED)));
    scene.world.run_until_idle();
    disk.obliging(&mut scene.world, true);
    disk.reply(&mut scene.world, request, Ok(555));
    scene.world.run_until_idle();
    assert_eq!(disk.closed(&mut scene.world), [555]);
    finish(scene);
}

#[test]
fn a_tag_cancels_all_its_operations_and_no_others() {
    let mut scene = Scene::new();
    let (app, other) = (scene.app, scene.other);
    let wait = |tag| args::FutexWait { address: DATA, expected: 0, deadline: u64::MAX }.encode(tag);
    for tag in [7000, 7000, 7000 + 256, 7000] {
        assert!(app.try_submit_as(&mut scene.world, 0, wait(tag)));
    }
    assert!(other.try_submit_as(&mut scene.world, 0, wait(7000)));
    scene.world.run_until_idle();
    assert_eq!(scene.cancel(Ticket(7000), Strength::Force, 0), Ok(3));
    scene.world.run_until_idle();
    for _ in 0..3 {
        assert_eq!(scene.app.result(&mut scene.world, Ticket(7000)), Some(Err(Errno::CANCELED)));
    }
    assert_eq!(scene.app.result(&mut scene.world, Ticket(7256)), None);
    assert_eq!(other.result(&mut scene.world, Ticket(7000)), None, "another ring's operations are its own");
    let wake = args::FutexWake { address: DATA, count: 9 };
    assert_eq!(app.call(&mut scene.world, wake.encode(0)), Ok(2));
}

#[test]
fn a_cancel_with_no_sense_is_refused() {
    let mut scene = Scene::new();
    let ticket = scene.submit(args::Timeout { nanoseconds: 1 << 60, flags: 0 }.encode(0));
    let bad = args::CancelTag { tag: ticket.0, strength: 2, grace: 0 };
    assert_eq!(scene.app.call(&mut scene.world, bad.encode(0)), Err(Errno::INVAL));
    assert_eq!(scene.cancel(Ticket(12345), Strength::Force, 0), Err(Errno::NOENT));
    assert_eq!(scene.result(ticket), None);
}

/// One read from beginning to end, with a cancel after `point` of its steps.
fn cancel_at(point: usize, strength: Strength) -> Result<u64, Errno> {
    let mut scene = Scene::new();
    let Scene { disk, app, .. } = scene;
    let sqe = scene.read(0);
    let ticket = app.submit(&mut scene.world, sqe);
    let mut request = None;
    for step in 0..5 {
        if step == point {
            let cancel = args::CancelTag { tag: ticket.0, strength: strength as u32, grace: LONG };
            app.submit(&mut scene.world, cancel.encode(0));
            app.push(&mut scene.world);
        }
        match step {
            0 => app.push(&mut scene.world),
            1 => request = disk.request(&mut scene.world),
            2 => {
                if let Some(request) = request {
                    disk.reply(&mut scene.world, request, Ok(6));
                }
            }
            3 => scene.world.run_until_idle(),
            _ => {}
        }
    }
    scene.world.advance(2 * LONG);
    scene.world.run_until_idle();
    let result = app.result(&mut scene.world, ticket).expect("it completes whatever happens");
    assert_eq!(app.result(&mut scene.world, ticket), None, "once");
    finish(scene);
    result
}

#[test]
fn a_read_completes_once_wherever_it_is_cancelled() {
    for strength in [Strength::Force, Strength::Ask] {
        let results: Vec<_> = (0..5).map(|point| cancel_at(point, strength)).collect();
        let cancelled = Err(Errno::CANCELED);
        // Before its end the read is cancelled by force; a daemon that was asked answers in time.
        let expected = match strength {
            Strength::Force => [cancelled, cancelled, cancelled, cancelled, Ok(6)],
            Strength::Ask => [Ok(6); 5],
        };
        assert_eq!(results, expected, "{strength:?}");
    }
}

#[test]
fn a_cancel_that_lets_a_failing_operation_go_on_finds_the_others() {
    let mut scene = Scene::new();
    let Scene { disk, app, file, .. } = scene;
    // The first has its turn at the cursor. When it goes, the second fails at once; the third has the tag.
    let first = args::Write { fd: file, buffer: DATA, length: 8, offset: args::CURSOR };
    let second = args::Write { fd: file, buffer: 0x3000, length: 8, offset: args::CURSOR };
    let third = args::Timeout { nanoseconds: 1 << 60, flags: 0 };
    let sqes = [first.encode(9000), second.encode(9001), third.encode(9000)];
    for sqe in sqes {
        assert!(app.try_submit_as(&mut scene.world, 0, sqe));
    }
    scene.world.run_until_idle();
    let request = disk.request(&mut scene.world).unwrap();
    assert_eq!(scene.cancel(Ticket(9000), Strength::Force, 0), Ok(2));
    assert_eq!(scene.result(Ticket(9000)), Some(Err(Errno::CANCELED)));
    assert_eq!(scene.result(Ticket(9000)), Some(Err(Errno::CANCELED)));
    assert_eq!(scene.result(Ticket(9001)), Some(Err(Errno::FAULT)));
    disk.reply(&mut scene.world, request, Ok(8));
    finish(scene);
}
