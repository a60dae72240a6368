//! Weights of contexts: who may set them, and who begins with which.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::Errno;
use ring_abi::args::{self, CURRENT};
use world::{Mode, World};

#[test]
fn weight_is_given_and_taken_but_not_made() {
    let mut world = World::new();
    let app = world.program();
    let thread = app.call(&mut world, {
        let args = args::ContextCreate {
            space: CURRENT,
            table: CURRENT,
            entry: 0x1000,
            stack: 0x2000,
            argument: 0,
            sizes_flags: 0,
        };
        args.encode(0)
    });
    let thread = thread.unwrap();
    let mut weigh = |context: u64, weight: u32, capability: u64| {
        app.call(&mut world, args::ContextWeight { context, weight, capability }.encode(0))
    };
    assert_eq!(weigh(thread, 0, CURRENT), Err(Errno::INVAL));
    assert_eq!(weigh(thread, 1001, CURRENT), Err(Errno::INVAL));
    assert_eq!(weigh(thread, 1 << 16 | 50, CURRENT), Err(Errno::INVAL));
    assert_eq!(weigh(77, 50, CURRENT), Err(Errno::BADF));
    assert_eq!(weigh(0, 50, CURRENT), Err(Errno::BADF), "no handle to a context");
    assert_eq!(weigh(thread, 101, CURRENT), Err(Errno::PERM));
    assert_eq!(weigh(thread, 101, thread), Err(Errno::PERM), "no capability");
    assert_eq!(weigh(thread, 50, CURRENT), Ok(100));
    assert_eq!(weigh(thread, 100, CURRENT), Ok(50), "up to its own");
    assert_eq!(weigh(CURRENT, 60, CURRENT), Ok(100));
    assert_eq!(weigh(CURRENT, 61, CURRENT), Err(Errno::PERM), "not even what it had");
    assert_eq!(weigh(thread, 61, CURRENT), Err(Errno::PERM));
    assert_eq!(weigh(thread, 1000, 1), Ok(100), "with the capability");
    let kill = args::ContextKill { context: thread }.encode(0);
    assert_eq!(app.call(&mut world, kill), Ok(0));
    let late = args::ContextWeight { context: thread, weight: 5, capability: CURRENT };
    assert_eq!(app.call(&mut world, late.encode(0)), Err(Errno::SRCH));
    assert_eq!(world.mode(app), Mode::Own);
}

#[test]
fn a_weight_is_passed_on() {
    let mut world = World::new();
    let app = world.program();
    world.weigh(app, 30);
    let child = world.context(app, CURRENT, CURRENT, ring_abi::layout::Sizes::SMALLEST);
    let other = world.program();
    let weight = |world: &World, program| {
        world.kernel.state.contexts.at(world.context_of(program)).share.get().weight()
    };
    assert_eq!([weight(&world, app), weight(&world, child), weight(&world, other)], [30, 30, 100]);
}
