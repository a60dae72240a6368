//! Numbers that a program chose, as large as they get: no step is longer for them.
//!
//! The world refuses a step that touches more than [`world::LONGEST`] says.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::args::{self, CURRENT, Strength, handle};
use ring_abi::context::{End, Reason};
use ring_abi::layout::Sizes;
use ring_abi::{Errno, Sqe};
use world::{Daemon, FIRST, Program, Ticket, World};

/// Memory of these worlds.
const MEMORY: usize = 256 << 20;
/// Contexts of one space.
const MANY: usize = 20_000;
/// Submissions of one step that surely fit into its budget.
const BATCH: usize = 8;

fn world() -> World {
    let mut world = World::with_memory(MEMORY);
    world.audit_every = 1 << 20;
    world
}

/// Makes a context that nothing in the test plays: it is ready to run, and would be ended by its first instruction.
fn stranger(start: bool) -> Sqe {
    args::ContextCreate {
        space: CURRENT,
        table: CURRENT,
        entry: 0x1000,
        stack: 0x2000,
        argument: 0,
        sizes_flags: if start { args::context::START } else { 0 },
    }
    .encode(0)
}

/// Submits all of these, a few in each step, while nobody else gets the processor. Gives the results.
fn batches(world: &mut World, app: Program, all: impl IntoIterator<Item = Sqe>) -> Vec<Result<u64, Errno>> {
    let mut all = all.into_iter().peekable();
    let mut results = Vec::new();
    while all.peek().is_some() {
        let tickets: Vec<_> = all.by_ref().take(BATCH).map(|sqe| app.submit(world, sqe)).collect();
        app.push(world);
        assert_eq!(world.on_cpu(), Some(app), "it all fits into a step");
        results.extend(tickets.into_iter().map(|ticket| app.result(world, ticket).expect("it completed")));
    }
    results
}

/// Many contexts in a program's space, all of them ready, to which nobody has a handle.
fn crowd(world: &mut World, app: Program, number: usize) {
    world.give_cpu(app);
    for _ in (0..number).step_by(BATCH) {
        let made = batches(world, app, (0..BATCH).map(|_| stranger(true)));
        let close =
            |handle: Result<u64, Errno>| args::Close { fd: handle.expect("there is memory") }.encode(0);
        batches(world, app, made.into_iter().map(close));
    }
}

/// How many contexts were ended by a mistake of theirs.
fn mistakes(world: &World) -> u64 {
    world.kernel.state.stats.killed.get()
}

/// A program with many contexts ends with all of them, or ends all others, by what `end` does; each watched
/// thread ends once, as `expected`. Nothing is left.
fn all_end(number: usize, expected: End, end: fn(&mut World, Program)) {
    let mut world = world();
    let before = world.accounts();
    let app = world.program_with(Sizes { sq: 4, cq: 4, service: None });
    let threads: Vec<_> = (0..3).map(|_| world.thread(app, Sizes::SMALLEST)).collect();
    threads[1].submit(&mut world, args::Timeout { nanoseconds: 1 << 60, flags: 0 }.encode(0));
    threads[1].wait(&mut world, 1);
    let mut waits = Vec::new();
    for thread in &threads {
        let context = thread.handle(&mut world);
        waits.push(FIRST.submit(&mut world, args::ContextWait { context }.encode(0)));
    }
    world.run_until_idle();
    crowd(&mut world, app, number);
    assert!(world.kernel.state.contexts.live() as usize > number);
    end(&mut world, app);

    // From now on none of them can be named as one that lives, and none runs.
    for thread in &threads {
        let context = thread.handle(&mut world);
        let start = args::ContextStart { context }.encode(0);
        assert_eq!(FIRST.call(&mut world, start), Err(Errno::SRCH));
    }
    world.run_until_idle();
    world.check();
    assert_eq!(mistakes(&world), 0, "one of them ran");
    for (thread, wait) in threads.iter().zip(waits) {
        assert!(world.has_ended(*thread));
        assert_eq!(FIRST.result(&mut world, wait), Some(Ok(expected.to_raw())));
        assert_eq!(FIRST.result(&mut world, wait), None, "a second completion");
        world.forget(*thread);
    }
    world.kill(app);
    world.forget(app);
    assert_eq!(world.accounts(), before);
}

fn exit(world: &mut World, app: Program) {
    app.submit(world, args::Exit { code: 9, flags: args::exit::SPACE }.encode(0));
    app.push(world);
}

fn exec(world: &mut World, app: Program) {
    let space = batches(world, app, [args::SpaceCreate {}.encode(0)])[0].expect("there is memory");
    app.exec(world, space, Sizes::SMALLEST);
}

#[test]
fn a_space_with_many_contexts_exits() {
    all_end(8, End::Exited(9), exit);
    all_end(MANY, End::Exited(9), exit);
}

#[test]
fn a_program_with_many_contexts_is_replaced() {
    all_end(8, End::Ended(Reason::Replaced), exec);
    all_end(MANY, End::Ended(Reason::Replaced), exec);
}

#[test]
fn a_space_that_is_being_ended_takes_no_further_context() {
    let mut world = world();
    let app = world.program();
    // Nothing of the crowd comes before the first program has its turn.
    world.weigh(app, 1);
    let thread = world.thread(app, Sizes::SMALLEST);
    let [space, table] = world.home(thread);
    let make = args::ContextCreate { space, table, entry: 0x1000, stack: 0, argument: 0, sizes_flags: 0 };
    world.give_cpu(app);
    world.advance(100_000);
    crowd(&mut world, app, 2000);
    exit(&mut world, app);
    assert_eq!(FIRST.call(&mut world, make.encode(0)), Err(Errno::BUSY));
    world.run_until_idle();
    assert!(FIRST.call(&mut world, make.encode(0)).is_ok(), "it is over");
}

#[test]
fn many_wait_for_the_same_end() {
    let mut world = world();
    let app = world.program();
    let watcher = world.program_with(Sizes { sq: 4, cq: 12, service: None });
    let context = app.handle(&mut world);
    let table = world.home(watcher)[1];
    let dup = args::HandleDup { fd: context, table, target: args::LOWEST, flags: 0 };
    let context = FIRST.call(&mut world, dup.encode(0)).unwrap();
    let mut waits = Vec::new();
    for _ in 0..512 {
        waits.extend((0..BATCH).map(|_| watcher.submit(&mut world, args::ContextWait { context }.encode(0))));
        watcher.push(&mut world);
    }
    world.kill(app);
    for wait in waits {
        assert_eq!(watcher.result(&mut world, wait), Some(Ok(End::Ended(Reason::Killed).to_raw())));
    }
}

/// Bytes of the largest slot of an arena.
const SLOT: u64 = 65536;

/// A program with a file of a daemon whose slots are the largest, and so many bytes of memory.
fn movers(world: &mut World, slots: u8) -> (Daemon, Program, u64, u64) {
    let daemon = world.daemon_of("disk", slots, SLOT as u32);
    let app = world.program_with(Sizes { sq: 6, cq: 6, service: None });
    let file = app.open(world, "/scheme/disk/a");
    let buffer = app.map(world, SLOT);
    (daemon, app, file, buffer)
}

/// Everything of these completes with `result`, sooner or later.
fn all_complete(world: &mut World, app: Program, tickets: Vec<Ticket>, result: Result<u64, Errno>) {
    for ticket in tickets {
        let mut found = None;
        world.run_until("it completes", |world| {
            found = app.result(world, ticket);
            found.is_some()
        });
        assert_eq!(found, Some(result));
    }
}

#[test]
fn writes_of_whole_slots() {
    let mut world = world();
    let (daemon, app, fd, buffer) = movers(&mut world, 6);
    let write = args::Write { fd, buffer, length: SLOT, offset: 0 };
    let tickets: Vec<_> = (0..30).map(|_| app.submit(&mut world, write.encode(0))).collect();
    world.run_until("all are forwarded", |world| daemon.waiting(world) == 30);
    while let Some(request) = daemon.request(&mut world) {
        daemon.reply(&mut world, request, Ok(SLOT));
    }
    all_complete(&mut world, app, tickets, Ok(SLOT));
}

#[test]
fn writes_of_whole_slots_that_waited_for_room() {
    let mut world = world();
    let (daemon, app, fd, buffer) = movers(&mut world, 4);
    let write = args::Write { fd, buffer, length: SLOT, offset: 0 };
    let tickets: Vec<_> = (0..32).map(|_| app.submit(&mut world, write.encode(0))).collect();
    for _ in 0..2 {
        world.run_until("all that fit are forwarded", |world| daemon.waiting(world) == 16);
        while let Some(request) = daemon.request(&mut world) {
            daemon.reply(&mut world, request, Ok(1));
        }
    }
    all_complete(&mut world, app, tickets, Ok(1));
}

#[test]
fn reads_of_whole_slots() {
    let mut world = world();
    let (daemon, app, fd, buffer) = movers(&mut world, 6);
    let read = args::Read { fd, buffer, length: SLOT, offset: 0 };
    let tickets: Vec<_> = (0..30).map(|_| app.submit(&mut world, read.encode(0))).collect();
    world.run_until("all are forwarded", |world| daemon.waiting(world) == 30);
    while let Some(request) = daemon.request(&mut world) {
        daemon.reply(&mut world, request, Ok(SLOT));
    }
    all_complete(&mut world, app, tickets, Ok(SLOT));
}

/// A program with as many timeouts as a completion queue has places, less a few; every second has the tag 7.
fn full_queue(world: &mut World) -> (Program, u32) {
    let app = world.program_with(Sizes { sq: 6, cq: 12, service: None });
    let mut number = 0;
    while number < 4080 {
        for _ in 0..BATCH {
            let tag = if number % 2 == 0 { 7 } else { 0x8000_0000 + number };
            let mut forever = args::Timeout { nanoseconds: 1 << 60, flags: 0 }.encode(0);
            forever.tag = tag;
            assert!(app.try_submit_as(world, 0, forever));
            number += 1;
        }
        app.push(world);
    }
    (app, number / 2)
}

fn cancel(tag: u32) -> Sqe {
    args::CancelTag { tag, strength: Strength::Force as u32, grace: 0 }.encode(0)
}

#[test]
fn a_cancel_looks_at_a_full_queue() {
    let mut world = world();
    let (app, number) = full_queue(&mut world);
    // None of them has this tag.
    let nothing: Vec<_> = (0..4).map(|_| app.submit(&mut world, cancel(3))).collect();
    all_complete(&mut world, app, nothing, Err(Errno::NOENT));
    // Half of them have that one. Those that are started with it meanwhile are not meant.
    let meant = app.submit(&mut world, cancel(7));
    app.push(&mut world);
    assert_eq!(app.result(&mut world, meant), None, "it is too much for one step");
    let mut late = args::Timeout { nanoseconds: 1 << 60, flags: 0 }.encode(0);
    late.tag = 7;
    assert!(app.try_submit_as(&mut world, 0, late));
    all_complete(&mut world, app, vec![meant], Ok(u64::from(number)));
    for _ in 0..number {
        assert_eq!(app.result(&mut world, Ticket(7)), Some(Err(Errno::CANCELED)));
    }
    assert_eq!(app.result(&mut world, Ticket(7)), None, "the late one goes on");
    world.check();
}

#[test]
fn a_cancel_is_cancelled_itself() {
    let mut world = world();
    let (app, number) = full_queue(&mut world);
    let meant = app.submit(&mut world, cancel(7));
    app.push(&mut world);
    let found = app.call(&mut world, cancel(meant.0));
    assert_eq!(found, Ok(1));
    assert_eq!(app.result(&mut world, meant), Some(Err(Errno::CANCELED)));
    let gone = (0..number).filter(|_| app.result(&mut world, Ticket(7)).is_some()).count();
    assert!(gone > 0 && gone < number as usize, "it had begun: {gone}");
    world.kill(app);
    world.check();
}

/// A program that is about to be replaced, with as much of everything as there can be: operations in flight on
/// two rings, some in the hands of a daemon, and handles that close. Gives it with the space to go to.
fn loaded(world: &mut World, daemon: Daemon) -> (Program, u64, Vec<u64>) {
    let (app, _) = full_queue(world);
    let second = app.ring(world, Sizes { sq: 5, cq: 5, service: None });
    let (buffer, length) = app.name(world, "/scheme/disk/a");
    let open = args::OpenAt { fd: CURRENT, buffer, length, flags: 0, capacity: 0 }.encode(0);
    let file = app.call(world, open).expect("it is served");
    let close = handle::CLOSE_ON_EXEC;
    let dup = args::HandleDup { fd: file, table: CURRENT, target: args::LOWEST, flags: close }.encode(0);
    let dups: Vec<_> = (0..3000).map(|_| dup).collect();
    let closing: Vec<_> =
        batches(world, app, dups).into_iter().map(|fd| fd.expect("there is room")).collect();
    let space = batches(world, app, [args::SpaceCreate {}.encode(0)])[0].expect("there is memory");
    daemon.obliging(world, false);
    for _ in 0..8 {
        app.submit_on(world, second, open);
    }
    world.give_cpu(app);
    app.enter(world, second, u64::from(u32::MAX), 0, 0, u64::MAX);
    (app, space, closing)
}

/// Sizes of a ring that takes many steps to make.
const LARGE: Sizes = Sizes { sq: 12, cq: 12, service: None };

#[test]
fn a_program_with_much_in_flight_is_replaced() {
    let mut world = world();
    let disk = world.daemon_with("disk", 4);
    let (app, space, closing) = loaded(&mut world, disk);
    app.exec(&mut world, space, LARGE);
    assert_eq!(world.replaced(app), 0, "it is too much for one step");
    // The opens that were in flight succeed now. Nobody gets their handles.
    while let Some(request) = disk.request(&mut world) {
        disk.reply(&mut world, request, Ok(77));
    }
    world.run_until("it goes on", |world| world.replaced(app) == 1);
    assert_eq!(world.ring(app, 0).sizes, LARGE);
    let free = (closing[0]..closing[9]).chain([closing[2999], space + 1, space + 2]);
    for fd in free {
        assert_eq!(app.call(&mut world, args::Close { fd }.encode(0)), Err(Errno::BADF));
    }
    assert_eq!(app.call(&mut world, args::Close { fd: closing[0] - 1 }.encode(0)), Ok(0), "it was to stay");
    world.run_until_idle();
    world.check();
    world.kill(app);
}

#[test]
fn it_is_ended_at_every_slice_of_being_replaced() {
    let mut world = world();
    let disk = world.daemon_with("disk", 4);
    let before = world.accounts();
    let mut slices = 0;
    loop {
        disk.obliging(&mut world, true);
        let (app, space, _) = loaded(&mut world, disk);
        app.exec(&mut world, space, LARGE);
        for _ in 0..slices {
            world.advance_to_timer();
        }
        let done = world.replaced(app) == 1;
        world.kill(app);
        assert_eq!(world.end_of(app), End::Ended(Reason::Killed));
        world.forget(app);
        while let Some(request) = disk.request(&mut world) {
            disk.reply(&mut world, request, Err(Errno::IO));
        }
        world.run_until_idle();
        world.check();
        assert_eq!(world.accounts(), before, "after {slices} slices");
        if done {
            break;
        }
        slices += 7;
    }
    assert!(slices > 20, "it took {slices}");
}

#[test]
fn a_table_full_of_handles_to_its_own_contexts() {
    let mut world = world();
    let before = world.accounts();
    let app = world.program_with(Sizes { sq: 4, cq: 4, service: None });
    world.give_cpu(app);
    let made = batches(&mut world, app, (0..4000).map(|_| stranger(false)));
    assert!(made.iter().all(Result::is_ok));
    world.kill(app);
    world.forget(app);
    assert_eq!(world.accounts(), before);
}
