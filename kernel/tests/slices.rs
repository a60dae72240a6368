//! Operations that take many steps: they complete, and wherever they are when they are cancelled or their
//! asker dies, nothing is lost and the rest of the system has gone on.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::args::{self, CURRENT, Strength, map};
use ring_abi::layout::Sizes;
use ring_abi::{Errno, Sqe};
use world::{FIRST, Program, World};

const PAGE: u64 = 4096;
const PAGES: u64 = 200;
/// Where the programs have a large piece of memory.
const LARGE: u64 = 0x2000_0000;
/// Slices after which each of the operations is surely complete.
const SLICES: u32 = 30;

/// A program, ready to ask for something large.
struct Scene {
    app: Program,
    space: u64,
    name: (u64, u64),
    service: usize,
}

fn map_at(address: u64, pages: u64, flags: u64) -> Sqe {
    let flags = map::READ | map::WRITE | map::PRIVATE | map::POPULATE | flags;
    args::Map { space: CURRENT, address, length: pages * PAGE, flags }.encode(0)
}

fn scene(world: &mut World) -> Scene {
    let app = world.program();
    app.call(world, map_at(LARGE, PAGES, map::FIXED)).expect("there is memory");
    let space = app.call(world, args::SpaceCreate {}.encode(0)).expect("there is memory");
    let flags = map::READ | map::PRIVATE | map::FIXED;
    let there = args::Map { space, address: LARGE, length: PAGES * PAGE, flags };
    app.call(world, there.encode(0)).expect("there is memory");
    let service = app.ring(world, Sizes { sq: 3, cq: 3, service: Some(5) });
    let name = app.name(world, "slow");
    Scene { app, space, name, service }
}

/// What a program can ask for that takes many steps, and on which of its rings.
type Large = (&'static str, fn(&Scene) -> (usize, Sqe));

const LARGES: &[Large] = &[
    ("map", |_| (0, map_at(0, PAGES, 0))),
    ("map shared", |_| {
        let flags = map::READ | map::WRITE | map::SHARED;
        (0, args::Map { space: CURRENT, address: 0, length: PAGES * PAGE, flags }.encode(0))
    }),
    ("map elsewhere", |scene| {
        let flags = map::READ | map::WRITE | map::PRIVATE | map::FIXED_NOREPLACE | map::POPULATE;
        (0, args::Map { space: scene.space, address: 0x20_0000, length: PAGES * PAGE, flags }.encode(0))
    }),
    ("map over", |_| (0, map_at(LARGE + 5 * PAGE, PAGES, map::FIXED))),
    ("unmap", |_| {
        (0, args::Unmap { space: CURRENT, address: LARGE + PAGE, length: (PAGES - 2) * PAGE }.encode(0))
    }),
    ("protect", |_| {
        let (address, length) = (LARGE + PAGE, (PAGES - 2) * PAGE);
        (0, args::Protect { space: CURRENT, address, length, rights: map::READ }.encode(0))
    }),
    ("advise", |_| {
        let (address, length) = (LARGE + PAGE, (PAGES - 2) * PAGE);
        (0, args::Advise { space: CURRENT, address, length, advice: args::advice::DONTNEED }.encode(0))
    }),
    ("fork", |_| (0, args::SpaceFork {}.encode(0))),
    ("write", |scene| {
        let length = PAGES * PAGE - 100;
        (0, args::SpaceWrite { space: scene.space, target: LARGE + 50, buffer: LARGE, length }.encode(0))
    }),
    ("ring", |_| {
        (0, args::RingCreate { sizes: Sizes { sq: 9, cq: 9, service: Some(9) }.packed() }.encode(0))
    }),
    ("context", |_| {
        let sizes = Sizes { sq: 9, cq: 9, service: Some(9) };
        let make = args::ContextCreate {
            space: CURRENT,
            table: CURRENT,
            entry: 0x1000,
            stack: 0x2000,
            argument: 0,
            sizes_flags: u64::from(sizes.packed()) | args::context::START,
        };
        (0, make.encode(0))
    }),
    ("register", |scene| {
        let (buffer, length) = scene.name;
        let register = args::SchemeRegister { buffer, length, slot: 32768, namespace: CURRENT, root: 1 };
        (scene.service, register.encode(0))
    }),
];

/// Lets the kernel go on for so many slices, with interrupts in between.
fn go_on(world: &mut World, slices: u32) {
    for _ in 0..slices {
        if !world.advance_to_timer() {
            return;
        }
    }
}

#[test]
fn each_of_them_takes_many_steps_and_completes() {
    let mut world = World::new();
    for (name, large) in LARGES {
        let scene = scene(&mut world);
        let (ring, sqe) = large(&scene);
        let ticket = scene.app.submit_on(&mut world, ring, sqe);
        world.give_cpu(scene.app);
        scene.app.enter(&mut world, ring, 1, 0, 0, u64::MAX);
        assert!(scene.app.returned(&mut world).is_some(), "{name}: the asker runs on");
        assert_eq!(scene.app.result(&mut world, ticket), None, "{name} is too large for one step");
        world.run_until_idle();
        let result = scene.app.result(&mut world, ticket);
        assert!(matches!(result, Some(Ok(_))), "{name}: {result:?}");
        world.kill(scene.app);
        world.forget(scene.app);
    }
}

#[test]
fn cancelled_at_every_slice() {
    for (name, large) in LARGES {
        let mut world = World::new();
        let before = world.accounts();
        let mut cancelled = 0;
        for slices in 0..SLICES {
            let scene = scene(&mut world);
            let (ring, sqe) = large(&scene);
            let ticket = scene.app.submit_on(&mut world, ring, sqe);
            world.give_cpu(scene.app);
            scene.app.enter(&mut world, ring, 1, 0, 0, u64::MAX);
            go_on(&mut world, slices);
            let cancel = args::CancelTag { tag: ticket.0, strength: Strength::Force as u32, grace: 0 };
            let found = scene.app.call_on(&mut world, ring, cancel.encode(0));
            let result = scene.app.result(&mut world, ticket).expect("it has ended, one way or the other");
            match found {
                Ok(count) => {
                    assert_eq!((count, result), (1, Err(Errno::CANCELED)), "{name}");
                    cancelled += 1;
                }
                Err(error) => {
                    assert!(error == Errno::NOENT && result.is_ok(), "{name}: {error:?} {result:?}")
                }
            }
            world.run_until_idle();
            world.kill(scene.app);
            world.forget(scene.app);
            assert_eq!(world.accounts(), before, "{name} after {slices} slices");
        }
        assert!((1..SLICES).contains(&cancelled), "{name}: cancelled {cancelled} times");
    }
}

#[test]
fn its_asker_dies_at_every_slice() {
    for (name, large) in LARGES {
        let mut world = World::new();
        let before = world.accounts();
        for slices in 0..SLICES {
            let scene = scene(&mut world);
            let (ring, sqe) = large(&scene);
            // A thread asks where it can, so that the address space lives on.
            let asker = if ring == 0 { world.thread(scene.app, Sizes::SMALLEST) } else { scene.app };
            asker.submit_on(&mut world, ring, sqe);
            world.give_cpu(asker);
            asker.enter(&mut world, ring, 1, 0, 0, u64::MAX);
            go_on(&mut world, slices);
            world.kill(asker);
            world.forget(asker);
            if asker != scene.app {
                let page = scene.app.call(&mut world, map_at(0, 3, 0)).expect("the space is in order");
                assert!(scene.app.write(&mut world, page, b"alive"));
                world.kill(scene.app);
                world.forget(scene.app);
            }
            assert_eq!(world.accounts(), before, "{name} after {slices} slices");
        }
    }
}

#[test]
fn others_run_between_the_slices() {
    let mut world = World::new();
    let scene = scene(&mut world);
    let ticket = scene.app.submit(&mut world, map_at(0, 512, 0));
    scene.app.push(&mut world);
    let mut turns = 0;
    while scene.app.result(&mut world, ticket).is_none() {
        FIRST.call(&mut world, args::Nop {}.encode(0)).expect("a nop succeeds");
        go_on(&mut world, 1);
        turns += 1;
        assert!(turns < 1_000, "it makes no headway");
    }
    assert!(turns > 10, "it takes many turns: {turns}");
}
