//! Cancelling by handle, all of a ring, one or all that match; and thousands, in slices.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::args::{self, CURRENT, LOWEST, Strength, cancel::FIRST as ONE};
use ring_abi::layout::Sizes;
use ring_abi::{Errno, Sqe};
use world::{DATA, Daemon, Program, Ticket, World};

const FORCE: u32 = Strength::Force as u32;
const ASK: u32 = Strength::Ask as u32;
/// A grace that no daemon of these tests exceeds by accident.
const LONG: u64 = 10_000_000_000;

struct Scene {
    world: World,
    disk: Daemon,
    app: Program,
}

impl Scene {
    fn new() -> Scene {
        let mut world = World::new();
        let disk = world.daemon_with("disk", 5);
        let app = world.program_with(Sizes { sq: 5, cq: 5, service: None });
        Scene { world, disk, app }
    }

    fn open(&mut self, name: &str) -> u64 {
        self.app.open(&mut self.world, &format!("/scheme/disk/{name}"))
    }

    fn submit(&mut self, sqe: Sqe) -> Ticket {
        let ticket = self.app.submit(&mut self.world, sqe);
        self.world.run_until_idle();
        ticket
    }

    fn call(&mut self, sqe: Sqe) -> Result<u64, Errno> {
        self.app.call(&mut self.world, sqe)
    }

    fn result(&mut self, ticket: Ticket) -> Option<Result<u64, Errno>> {
        self.world.run_until_idle();
        self.app.result(&mut self.world, ticket)
    }

    /// Which of these operations have ended, all of them by being cancelled.
    fn ended(&mut self, tickets: &[Ticket]) -> Vec<bool> {
        let ended = |ticket: &Ticket| match self.result(*ticket) {
            None => false,
            Some(result) => {
                assert_eq!(result, Err(Errno::CANCELED));
                true
            }
        };
        tickets.iter().map(ended).collect()
    }
}

fn read(fd: u64) -> Sqe {
    args::Read { fd, buffer: DATA, length: 64, offset: 0 }.encode(0)
}

fn by_handle(fd: u64, strength: u32) -> Sqe {
    args::CancelHandle { fd, strength, grace: LONG }.encode(0)
}

fn all(strength: u32) -> Sqe {
    args::CancelAll { strength, grace: LONG }.encode(0)
}

fn forever() -> Sqe {
    args::Timeout { nanoseconds: 1 << 60, flags: 0 }.encode(0)
}

#[test]
fn a_handle_cancels_what_works_on_its_file_and_nothing_else() {
    let mut scene = Scene::new();
    let (one, other) = (scene.open("one"), scene.open("other"));
    let sqes = [read(one), read(other), forever(), args::Poll { fd: one, mask: 1 }.encode(0), read(one)];
    let tickets = sqes.map(|sqe| scene.submit(sqe));
    assert_eq!(scene.call(by_handle(one, FORCE)), Ok(3));
    assert_eq!(scene.ended(&tickets), [true, false, false, true, true]);
    assert_eq!(scene.call(by_handle(one, FORCE)), Err(Errno::NOENT));
    assert_eq!(scene.call(by_handle(77, FORCE)), Err(Errno::BADF));
    assert_eq!(scene.call(by_handle(one, 2)), Err(Errno::INVAL));
    assert_eq!(scene.call(by_handle(one, 2 * ONE)), Err(Errno::INVAL));
}

#[test]
fn it_is_the_description_that_counts_not_the_number() {
    let mut scene = Scene::new();
    let file = scene.open("one");
    let dup = args::HandleDup { fd: file, table: CURRENT, target: LOWEST, flags: 0 };
    let copy = scene.call(dup.encode(0)).unwrap();
    let first = scene.submit(read(file));
    // Another handle to the same description finds it.
    assert_eq!(scene.call(by_handle(copy, FORCE)), Ok(1));
    assert_eq!(scene.ended(&[first]), [true]);
    // A number that leads elsewhere now does not.
    let second = scene.submit(read(file));
    assert_eq!(scene.call(args::Close { fd: file }.encode(0)), Ok(0));
    assert_eq!(scene.open("two"), file, "the lowest free number");
    assert_eq!(scene.call(by_handle(file, FORCE)), Err(Errno::NOENT));
    assert_eq!(scene.ended(&[second]), [false]);
    assert_eq!(scene.call(by_handle(copy, FORCE)), Ok(1));
    assert_eq!(scene.ended(&[second]), [true]);
}

#[test]
fn a_wait_for_a_context_is_an_operation_on_its_handle() {
    let mut scene = Scene::new();
    let other = scene.world.thread(scene.app, Sizes::SMALLEST);
    let context = other.handle(&mut scene.world);
    let first = world::FIRST;
    let wait = first.submit(&mut scene.world, args::ContextWait { context }.encode(0));
    scene.world.run_until_idle();
    assert_eq!(first.call(&mut scene.world, by_handle(context, ASK)), Ok(1));
    assert_eq!(first.result(&mut scene.world, wait), Some(Err(Errno::CANCELED)));
}

#[test]
fn all_operations_of_a_ring_are_cancelled_and_none_of_another() {
    let mut scene = Scene::new();
    let other = scene.world.thread(scene.app, Sizes::SMALLEST);
    let stays = other.submit(&mut scene.world, forever());
    let file = scene.open("one");
    let futex = args::FutexWait { address: DATA, expected: 0, deadline: u64::MAX }.encode(0);
    let sqes = [read(file), forever(), futex, read(file), args::Poll { fd: file, mask: 1 }.encode(0)];
    let tickets = sqes.map(|sqe| scene.submit(sqe));
    assert_eq!(scene.call(all(FORCE)), Ok(5));
    assert_eq!(scene.ended(&tickets), [true; 5]);
    assert_eq!(scene.call(all(FORCE)), Err(Errno::NOENT));
    assert_eq!(other.result(&mut scene.world, stays), None);
    assert_eq!(scene.call(all(7)), Err(Errno::INVAL));
}

#[test]
fn one_of_several_is_the_one_that_started_last() {
    let mut scene = Scene::new();
    let file = scene.open("one");
    let tickets = [read(file), read(file), forever()].map(|sqe| scene.submit(sqe));
    assert_eq!(scene.call(by_handle(file, FORCE | ONE)), Ok(1));
    assert_eq!(scene.ended(&tickets), [false, true, false]);
    assert_eq!(scene.call(all(FORCE | ONE)), Ok(1));
    assert_eq!(scene.ended(&[tickets[0], tickets[2]]), [false, true]);
    for _ in 0..2 {
        assert!(scene.app.try_submit_as(&mut scene.world, 0, Sqe { tag: 9000, ..forever() }));
    }
    let one = args::CancelTag { tag: 9000, strength: FORCE | ONE, grace: 0 }.encode(0);
    assert_eq!(scene.call(one), Ok(1));
    assert_eq!(scene.ended(&[Ticket(9000), Ticket(9000)]), [true, false]);
    assert_eq!(scene.call(one), Ok(1));
    assert_eq!(scene.call(one), Err(Errno::NOENT));
}

#[test]
fn whoever_is_asked_may_still_succeed_and_waits_of_the_kernel_end() {
    let mut scene = Scene::new();
    let file = scene.open("one");
    let reads = [0, 1].map(|_| scene.submit(read(file)));
    let timer = scene.submit(forever());
    assert_eq!(scene.call(all(ASK)), Ok(3));
    assert_eq!(scene.ended(&[timer]), [true]);
    let requests = [0, 1].map(|_| scene.disk.request(&mut scene.world).unwrap());
    let mut told = scene.disk.cancelled(&mut scene.world);
    told.sort_unstable();
    let mut tags = requests.map(|request| request.tag);
    tags.sort_unstable();
    assert_eq!(told, tags);
    scene.disk.reply(&mut scene.world, requests[0], Ok(5));
    assert_eq!(scene.result(reads[0]), Some(Ok(5)));
    scene.world.advance(2 * LONG);
    assert_eq!(scene.result(reads[1]), Some(Err(Errno::CANCELED)));
    scene.disk.reply(&mut scene.world, requests[1], Ok(5));
    assert_eq!(scene.result(reads[1]), None);
}

/// A program with thousands of operations: every second one on `file`, the others timeouts.
fn crowd(world: &mut World, file: &str) -> (Program, u64, Vec<Ticket>) {
    let app = world.program_with(Sizes { sq: 6, cq: 12, service: None });
    let fd = app.open(world, file);
    let mut tickets = Vec::new();
    while tickets.len() < 4000 {
        let batch = [0; 4].map(|_| [args::Poll { fd, mask: 1 }.encode(0), forever()]);
        tickets.extend(batch.into_iter().flatten().map(|sqe| app.submit(world, sqe)));
        app.push(world);
    }
    (app, fd, tickets)
}

fn big_world() -> World {
    let mut world = World::with_memory(256 << 20);
    world.audit_every = 499;
    world
}

#[test]
fn thousands_are_cancelled_in_slices() {
    for (name, pick) in [("handle", 0), ("all", 1)] {
        let mut world = big_world();
        world.daemon_with("disk", 4);
        let (app, fd, tickets) = crowd(&mut world, "/scheme/disk/one");
        let sqe = if pick == 0 { by_handle(fd, FORCE) } else { all(FORCE) };
        let before = world.steps();
        let cancel = app.submit(&mut world, sqe);
        app.push(&mut world);
        assert_eq!(app.result(&mut world, cancel), None, "{name}: it is too much for one step");
        // The handle may close meanwhile, and its number may lead elsewhere.
        assert_eq!(app.call(&mut world, args::Close { fd }.encode(0)), Ok(0));
        let late = app.submit(&mut world, forever());
        world.run_until_idle();
        assert!(world.steps() > before + 20);
        let number = if pick == 0 { tickets.len() / 2 } else { tickets.len() } as u64;
        assert_eq!(app.result(&mut world, cancel), Some(Ok(number)), "{name}");
        for (at, ticket) in tickets.iter().enumerate() {
            let ends = pick == 1 || at % 2 == 0;
            let expected = ends.then_some(Err(Errno::CANCELED));
            // Looking for one that has not ended looks at all: a few will do.
            if ends || at < 20 {
                assert_eq!(app.result(&mut world, *ticket), expected, "{name} {at}");
            }
        }
        assert_eq!(app.result(&mut world, late), None, "it started later");
        world.check();
    }
}

#[test]
fn whoever_dies_in_the_middle_of_a_great_cancel_leaves_nothing() {
    let mut world = big_world();
    let disk = world.daemon_with("disk", 4);
    let round = |world: &mut World| {
        let (app, fd, _) = crowd(world, "/scheme/disk/one");
        for sqe in [by_handle(fd, FORCE), all(FORCE), by_handle(fd, ASK)] {
            app.submit(world, sqe);
        }
        app.push(world);
        world.kill(app);
        world.forget(app);
        while let Some(request) = disk.request(world) {
            disk.reply(world, request, Ok(0));
        }
        disk.cancelled(world);
        disk.closed(world);
        world.run_until_idle();
    };
    round(&mut world);
    let before = world.accounts();
    round(&mut world);
    assert_eq!(world.accounts(), before);
}

#[test]
fn two_great_cancels_at_once_cancel_each_operation_once() {
    let mut world = big_world();
    world.daemon_with("disk", 4);
    let (app, fd, tickets) = crowd(&mut world, "/scheme/disk/one");
    let first = app.submit(&mut world, by_handle(fd, FORCE));
    let second = app.submit(&mut world, all(FORCE));
    app.push(&mut world);
    world.run_until_idle();
    let found = app.result(&mut world, second).unwrap().unwrap();
    let by_first = match app.result(&mut world, first).unwrap() {
        Ok(count) => count,
        // The second found the first among the others.
        Err(error) => {
            assert_eq!(error, Errno::CANCELED);
            let ended = tickets.len() as u64 + 1 - found;
            assert!(ended < tickets.len() as u64);
            ended
        }
    };
    assert!(by_first + found >= tickets.len() as u64);
    let ended = tickets.iter().filter(|ticket| app.result(&mut world, **ticket).is_some()).count();
    assert_eq!(ended, tickets.len());
    assert_eq!(world.owed(app), 0);
}

#[test]
fn a_timer_is_found_among_thousands_in_slices() {
    let mut world = big_world();
    world.daemon_with("disk", 4);
    let app = world.program_with(Sizes { sq: 6, cq: 12, service: None });
    let sought = app.submit(&mut world, forever());
    let file = app.open(&mut world, "/scheme/disk/one");
    for _ in 0..500 {
        for _ in 0..8 {
            app.submit(&mut world, args::Poll { fd: file, mask: 1 }.encode(0));
        }
        app.push(&mut world);
    }
    let soon = world.machine().now() + (1 << 40);
    let update =
        args::TimeoutUpdate { tag: sought.0, nanoseconds: soon, flags: args::timeout::ABSOLUTE }.encode(0);
    let change = app.submit(&mut world, update);
    app.push(&mut world);
    assert_eq!(app.result(&mut world, change), None, "it is too much for one step");
    world.run_until_idle();
    assert_eq!(app.result(&mut world, change), Some(Ok(0)));
    let change = app.submit(&mut world, args::TimeoutRemove { tag: sought.0 }.encode(0));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, change), Some(Ok(0)));
    assert_eq!(app.result(&mut world, sought), Some(Err(Errno::CANCELED)));
    let change = app.submit(&mut world, args::TimeoutRemove { tag: sought.0 }.encode(0));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, change), Some(Err(Errno::NOENT)));
}
