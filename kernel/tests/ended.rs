//! Contexts that end, stop or are refused in the middle of what they asked for: nothing of them goes on.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::args::{self, CURRENT};
use ring_abi::layout::{Sizes, word};
use ring_abi::sync::Ordering::Relaxed;
use ring_abi::{Errno, enter};
use world::{DATA, FIRST, Mode, Program, World};

/// A context that serves a scheme condemns itself by its own request, and goes on with the batch.
fn self_condemned(world: &mut World) -> (Program, u64) {
    let disk = world.daemon_with("disk", 1);
    let app = disk.program;
    let fd = app.open(world, "/scheme/disk/a");
    let space = app.call(world, args::SpaceCreate {}.encode(0)).unwrap();
    world.run_until_idle();
    disk.obliging(world, false);
    world.ring(app, disk.ring).view.header(word::RQ_HEAD).store(0x4000_0000, Relaxed);
    for _ in 0..4 {
        app.submit(world, args::Read { fd, buffer: DATA, length: 8, offset: 0 }.encode(0));
    }
    (app, space)
}

#[test]
fn a_condemned_context_executes_nothing_more() {
    let mut world = World::new();
    let (app, space) = self_condemned(&mut world);
    app.exec(&mut world, space, Sizes::SMALLEST);
    world.run_until_idle();
    assert!(world.has_ended(app), "{:?}", world.mode(app));
    world.check();
}

#[test]
fn a_condemned_context_ends_once() {
    let mut world = World::new();
    let (app, _) = self_condemned(&mut world);
    app.submit(&mut world, args::Exit { code: 3, flags: args::exit::SPACE }.encode(0));
    let context = app.handle(&mut world);
    app.push(&mut world);
    world.run_until_idle();
    assert!(world.has_ended(app));
    world.check();
    let other = world.program();
    world.run_until_idle();
    let kill = FIRST.call(&mut world, args::ContextKill { context }.encode(0));
    assert_eq!(kill, Err(Errno::SRCH), "the handle of an ended context leads to another one");
    assert!(!world.has_ended(other));
}

#[test]
fn a_condemned_context_makes_no_other() {
    let mut world = World::new();
    let (app, _) = self_condemned(&mut world);
    let live = world.kernel.state.contexts.live();
    let create = args::ContextCreate {
        space: CURRENT,
        table: CURRENT,
        entry: 0x1000,
        stack: 0x2000,
        argument: 0,
        sizes_flags: args::context::START,
    };
    app.submit(&mut world, create.encode(0));
    app.push(&mut world);
    assert!(world.kernel.state.contexts.live() <= live, "an ended context made another");
}

/// The rest of a batch, in a later step, condemns its author; `ring_enter` with no wait then goes on.
#[test]
fn a_context_condemned_in_a_later_slice_does_not_go_on() {
    let mut world = World::new();
    let disk = world.daemon_with("disk", 1);
    let app = disk.program;
    let fd = app.open(&mut world, "/scheme/disk/a");
    let ring = app.ring(&mut world, Sizes { sq: 7, cq: 7, service: None });
    world.run_until_idle();
    disk.obliging(&mut world, false);
    world.ring(app, disk.ring).view.header(word::RQ_HEAD).store(0x4000_0000, Relaxed);
    for _ in 0..50 {
        app.submit_on(&mut world, ring, args::Nop {}.encode(0));
    }
    for _ in 0..4 {
        app.submit_on(&mut world, ring, args::Read { fd, buffer: DATA, length: 8, offset: 0 }.encode(0));
    }
    app.enter(&mut world, ring, u64::from(u32::MAX), 0, 0, enter::NO_DEADLINE);
    (0..5).for_each(|_| world.advance(10_000_000));
    world.run_until_idle();
    world.check();
    assert!(world.has_ended(app));
}

/// `waiting` of an earlier wait names a ring that belongs to somebody else by now.
#[test]
fn the_end_of_a_space_leaves_the_waits_of_others() {
    let mut world = World::new();
    let app = world.program();
    let space = app.call(&mut world, args::SpaceCreate {}.encode(0)).unwrap();
    app.submit(&mut world, args::Timeout { nanoseconds: 1000, flags: 0 }.encode(0));
    app.wait(&mut world, 1);
    world.advance_to_timer();
    world.run_until_idle();
    app.exec(&mut world, space, Sizes::SMALLEST);
    world.run_until_idle();
    let victim = world.program();
    let ticket = victim.submit(&mut world, args::Timeout { nanoseconds: 1 << 30, flags: 0 }.encode(0));
    victim.wait(&mut world, 1);
    app.submit(&mut world, args::Exit { code: 3, flags: args::exit::SPACE }.encode(0));
    app.push(&mut world);
    world.run_until_idle();
    world.advance(1 << 31);
    world.run_until_idle();
    assert_eq!(world.mode(victim), Mode::Own, "the victim never wakes");
    assert_eq!(victim.result(&mut world, ticket), Some(Ok(0)));
}

/// Nothing is asked, and nobody is told.
#[test]
fn a_bad_read_wakes_no_daemon() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let fd = app.open(&mut world, "/scheme/disk/a");
    world.run_until_idle();
    let daemon = disk.program;
    daemon.enter(&mut world, disk.ring, 0, 0, enter::REQUESTS, enter::NO_DEADLINE);
    assert_eq!(daemon.returned(&mut world), None, "it waits");
    disk.obliging(&mut world, false);
    for _ in 0..2 {
        app.submit(&mut world, args::Read { fd, buffer: 1 << 60, length: 8, offset: 0 }.encode(0));
    }
    app.push(&mut world);
    for _ in 0..50 {
        world.advance(10_000_000);
    }
    assert_eq!(daemon.returned(&mut world), None, "nobody asked anything");
}

/// Flags that make no sense are refused while rings are traced, too.
#[test]
fn flags_that_make_no_sense_are_refused_while_rings_are_traced() {
    let mut world = World::new();
    let app = world.program();
    for traced in [0, 77] {
        world.kernel.state.trace_rings(traced);
        app.submit(&mut world, args::Nop {}.encode(0));
        app.enter(&mut world, 0, 1, 0, u64::MAX, enter::NO_DEADLINE);
        assert_eq!(
            app.returned(&mut world),
            Some((-i64::from(Errno::INVAL.raw())) as u64),
            "traced {traced}"
        );
        app.push(&mut world);
        while app.completion(&mut world).is_some() {}
    }
}

/// The same read has the same result whichever road it takes.
#[test]
fn a_buffer_beyond_the_lower_half_is_refused_on_every_road() {
    let mut world = World::new();
    world.daemon("disk");
    let app = world.program();
    let fd = app.open(&mut world, "/scheme/disk/a");
    let ask = args::Read { fd, buffer: DATA, length: (1 << 47) - 1, offset: 0 };
    let plain = app.submit(&mut world, ask.encode(0));
    app.push(&mut world);
    let general =
        app.submit(&mut world, args::Write { fd, buffer: DATA, length: (1 << 47) - 1, offset: 0 }.encode(0));
    app.push(&mut world);
    assert_eq!(app.result(&mut world, general), Some(Err(Errno::FAULT)));
    assert_eq!(app.result(&mut world, plain), Some(Err(Errno::FAULT)));
}

/// Many contexts whose rest of a batch is nothing but a mistake.
fn rests(corrupt: bool) {
    let mut world = World::with_memory(512 << 20);
    world.audit_every = 1 << 30;
    let app = world.program();
    let threads: Vec<_> =
        (0..1000).map(|_| world.thread(FIRST, Sizes { sq: 6, cq: 6, service: None })).collect();
    for idle in [FIRST, app] {
        idle.submit(&mut world, args::Timeout { nanoseconds: 1 << 60, flags: 0 }.encode(0));
        idle.wait(&mut world, 1);
    }
    for thread in &threads {
        (0..45).for_each(|_| {
            thread.submit(&mut world, args::Nop {}.encode(0));
        });
    }
    for entered in 1..=threads.len() {
        let now = world.on_cpu().expect("somebody runs");
        if entered == threads.len() {
            for other in threads.iter().filter(|other| **other != now) {
                let view = world.ring(*other, 0).view;
                let tail = if corrupt { 0x4000_0000 } else { view.header(word::SQ_HEAD).load(Relaxed) };
                view.header(word::SQ_TAIL).store(tail, Relaxed);
            }
        }
        now.wait(&mut world, 64);
    }
}
#[test]
fn rests_of_batches_that_are_mistakes_take_their_turns() {
    rests(true);
}
#[test]
fn rests_of_batches_that_are_empty_take_their_turns() {
    rests(false);
}

/// A context that stops itself in the rest of a batch does not run on.
#[test]
fn a_context_stopped_in_a_later_slice_does_not_go_on() {
    let mut world = World::new();
    let app = world.program_with(Sizes { sq: 7, cq: 7, service: None });
    let context = app.handle(&mut world);
    let table = world.home(app)[1];
    let dup = args::HandleDup { fd: context, table, target: args::LOWEST, flags: 0 };
    let own = FIRST.call(&mut world, dup.encode(0)).unwrap();
    (0..60).for_each(|_| {
        app.submit(&mut world, args::Nop {}.encode(0));
    });
    app.submit(&mut world, args::ContextStop { context: own }.encode(0));
    app.push(&mut world);
    for _ in 0..20 {
        world.advance(10_000_000);
        let contexts = &world.kernel.state.contexts;
        let stopped = contexts.names().any(|id| contexts.at(id).marks.stop());
        assert!(!stopped || world.on_cpu() != Some(app), "it runs on");
    }
}
