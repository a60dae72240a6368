//! Interrupts and those who wait for them: who runs next, and what is left of a wait that ended otherwise.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use kernel::arch::IRQ_TEST;
use ring_abi::args::{self, CURRENT, Strength};
use ring_abi::layout::Sizes;
use ring_abi::{Errno, Sqe};
use world::{DATA, Program, World, read};

fn nop() -> Sqe {
    args::Nop {}.encode(0)
}

/// A program that waits for the test line, and another one that runs.
fn waiter_and_runner(world: &mut World) -> (Program, u64, Program) {
    let (app, other) = (world.program(), world.program());
    let fd = app.open(world, "/scheme/irq/test");
    app.submit(world, read(fd, DATA, 8));
    app.wait(world, 1);
    assert_eq!(other.call(world, nop()), Ok(0));
    (app, fd, other)
}

#[test]
fn who_waits_for_an_interrupt_runs_at_once_and_the_other_goes_on_later() {
    let mut world = World::new();
    let (app, fd, other) = waiter_and_runner(&mut world);
    for count in 1..300_u64 {
        world.give_cpu(other);
        let before = world.steps();
        world.interrupt(IRQ_TEST);
        if world.on_cpu() == Some(app) {
            assert_eq!(world.steps(), before + 1);
            assert!(world.machine().timer().is_some(), "the other one's turn comes");
        }
        world.give_cpu(app);
        assert_eq!(app.completion(&mut world).unwrap().1, Ok(8));
        assert_eq!(app.read(&mut world, DATA, 8).unwrap(), count.to_le_bytes());
        app.submit(&mut world, read(fd, DATA, 8));
        app.wait(&mut world, 1);
        assert_eq!(other.call(&mut world, nop()), Ok(0));
    }
}

#[test]
fn all_who_wait_for_a_line_are_told() {
    let mut world = World::new();
    let (app, _, other) = waiter_and_runner(&mut world);
    let fd = other.open(&mut world, "/scheme/irq/test");
    let second = other.submit(&mut world, read(fd, DATA, 8));
    let third = other.submit(&mut world, read(fd, DATA + 8, 8));
    other.push(&mut world);
    world.interrupt(IRQ_TEST);
    world.run_until_idle();
    assert_eq!(app.completion(&mut world).unwrap().1, Ok(8));
    assert_eq!(other.result(&mut world, second), Some(Ok(8)));
    assert_eq!(other.result(&mut world, third), Some(Ok(8)));
    assert_eq!(other.read(&mut world, DATA, 16).unwrap(), [1, 0, 0, 0, 0, 0, 0, 0].repeat(2));
}

#[test]
fn a_wait_that_was_cancelled_or_died_is_not_told() {
    let mut world = World::new();
    let app = world.program();
    let other = world.program();
    let fd = app.open(&mut world, "/scheme/irq/test");
    let before = world.accounts();
    let ticket = app.submit(&mut world, read(fd, DATA, 8));
    app.push(&mut world);
    let cancel = args::CancelTag { tag: ticket.0, strength: Strength::Force as u32, grace: 0 };
    assert_eq!(app.call(&mut world, cancel.encode(0)), Ok(1));
    assert_eq!(app.result(&mut world, ticket), Some(Err(Errno::CANCELED)));
    assert_eq!(world.accounts(), before);
    world.interrupt(IRQ_TEST);
    assert_eq!(app.completion(&mut world), None);
    assert_eq!(app.call(&mut world, read(fd, DATA, 8)), Ok(8), "it was counted");
    app.submit(&mut world, read(fd, DATA, 8));
    app.wait(&mut world, 1);
    world.kill(app);
    world.run_until_idle();
    world.interrupt(IRQ_TEST);
    assert_eq!(other.call(&mut world, nop()), Ok(0));
    assert!(world.has_ended(app));
}

#[test]
fn a_buffer_that_is_gone_when_the_interrupt_comes_is_an_error() {
    let mut world = World::new();
    let app = world.program();
    let other = world.thread(app, Sizes::SMALLEST);
    let fd = app.open(&mut world, "/scheme/irq/test");
    let buffer = app.map(&mut world, 4096);
    for round in 0..3 {
        let ticket = app.submit(&mut world, read(fd, buffer + 8, 8));
        app.push(&mut world);
        if round == 2 {
            let unmap = args::Unmap { space: CURRENT, address: buffer, length: 4096 };
            assert_eq!(other.call(&mut world, unmap.encode(0)), Ok(0));
        }
        world.interrupt(IRQ_TEST);
        let result = if round == 2 { Err(Errno::FAULT) } else { Ok(8) };
        assert_eq!(app.result(&mut world, ticket), Some(result), "round {round}");
    }
    // A word that is in two pages.
    let buffer = app.map(&mut world, 8192);
    let ticket = app.submit(&mut world, read(fd, buffer + 4092, 8));
    app.push(&mut world);
    world.interrupt(IRQ_TEST);
    world.run_until_idle();
    assert_eq!(app.result(&mut world, ticket), Some(Ok(8)));
    assert_ne!(app.read(&mut world, buffer + 4092, 8).unwrap(), [0; 8]);
}
