//! Futexes: who waits, who is woken, and when.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::args::{self, CURRENT};
use ring_abi::layout::Sizes;
use ring_abi::{Errno, Sqe};
use world::{DATA, World};

fn wait(address: u64, expected: u32) -> Sqe {
    wait_until(address, expected, u64::MAX)
}

fn wait_until(address: u64, expected: u32, deadline: u64) -> Sqe {
    args::FutexWait { address, expected, deadline }.encode(0)
}

fn wake(address: u64, count: u64) -> Sqe {
    args::FutexWake { address, count }.encode(0)
}

#[test]
fn those_who_came_first_are_woken_first() {
    let mut world = World::new();
    let app = world.program();
    let other = world.thread(app, Sizes::SMALLEST);
    let tickets: Vec<_> = (0..4).map(|_| app.submit(&mut world, wait(DATA, 0))).collect();
    app.push(&mut world);
    assert_eq!(other.call(&mut world, wake(DATA + 4, 9)), Ok(0), "another word");
    assert_eq!(other.call(&mut world, wake(DATA, 0)), Ok(0));
    assert_eq!(other.call(&mut world, wake(DATA, 1)), Ok(1));
    assert_eq!(app.completion(&mut world), Some((tickets[0], Ok(0))));
    assert_eq!(app.completion(&mut world), None);
    assert_eq!(other.call(&mut world, wake(DATA, 2)), Ok(2));
    assert_eq!(app.completion(&mut world), Some((tickets[1], Ok(0))));
    assert_eq!(app.completion(&mut world), Some((tickets[2], Ok(0))));
    assert_eq!(other.call(&mut world, wake(DATA, u64::MAX)), Ok(1));
    assert_eq!(app.completion(&mut world), Some((tickets[3], Ok(0))));
    assert_eq!(other.call(&mut world, wake(DATA, 1)), Ok(0));
}

#[test]
fn a_word_with_another_value_is_not_waited_for() {
    let mut world = World::new();
    let app = world.program();
    app.write(&mut world, DATA, &7_u32.to_le_bytes());
    assert_eq!(app.call(&mut world, wait(DATA, 8)), Err(Errno::AGAIN));
    let ticket = app.submit(&mut world, wait(DATA, 7));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, ticket), None);
    assert_eq!(app.call(&mut world, wait(DATA + 2, 7)), Err(Errno::INVAL), "not aligned");
    assert_eq!(app.call(&mut world, wake(DATA + 1, 7)), Err(Errno::INVAL), "not aligned");
    assert_eq!(app.call(&mut world, wait(0x5000, 0)), Err(Errno::FAULT));
    assert_eq!(app.call(&mut world, wake(1 << 50, 0)), Err(Errno::FAULT));
}

#[test]
fn a_wait_with_a_deadline_ends_there_and_not_before() {
    let mut world = World::new();
    let app = world.program();
    let late = world.machine().now() + 1_000_000_000;
    let tickets = [wait_until(DATA, 0, late), wait_until(DATA, 0, late + 1_000_000_000)];
    let tickets = tickets.map(|sqe| app.submit(&mut world, sqe));
    app.push(&mut world);
    world.advance(late - 1 - world.machine().now());
    assert_eq!(app.result(&mut world, tickets[0]), None);
    world.advance(1);
    assert_eq!(app.result(&mut world, tickets[0]), Some(Err(Errno::TIMEDOUT)));
    assert_eq!(app.call(&mut world, wake(DATA, 9)), Ok(1), "only the other one is left");
    assert_eq!(app.result(&mut world, tickets[1]), Some(Ok(0)));
    assert_eq!(app.call(&mut world, wait_until(DATA, 0, 5)), Err(Errno::TIMEDOUT), "long past");
}

#[test]
fn the_same_address_in_another_space_is_another_word() {
    let mut world = World::new();
    let (app, other) = (world.program(), world.program());
    let ticket = app.submit(&mut world, wait(DATA, 0));
    app.push(&mut world);
    assert_eq!(other.call(&mut world, wake(DATA, 9)), Ok(0));
    assert_eq!(app.result(&mut world, ticket), None);
}

#[test]
fn a_great_crowd_is_woken_in_slices_and_completely() {
    let mut world = World::new();
    let app = world.program_with(Sizes { sq: 10, cq: 10, service: None });
    let other = world.thread(app, Sizes::SMALLEST);
    let tickets: Vec<_> = (0..1000).map(|_| app.submit(&mut world, wait(DATA, 0))).collect();
    app.push(&mut world);
    world.run_until("all wait", |world| app.returned(world).is_some());
    let before = world.steps();
    assert_eq!(other.call(&mut world, wake(DATA, 900)), Ok(900));
    world.run_until_idle();
    assert!(world.steps() > before + 5, "one step is bounded");
    for ticket in &tickets[..900] {
        assert_eq!(app.completion(&mut world), Some((*ticket, Ok(0))));
    }
    assert_eq!(app.completion(&mut world), None);
    // Whoever comes while a crowd is being woken is not part of it.
    assert_eq!(other.call(&mut world, wake(DATA, 1000)), Ok(100));
    let late = other.submit(&mut world, wait(DATA, 0));
    world.run_until_idle();
    assert_eq!(other.result(&mut world, late), None);
    assert_eq!(other.call(&mut world, wake(DATA, 1000)), Ok(1));
}

#[test]
fn a_crowd_that_dies_while_it_is_woken_leaves_nothing() {
    let mut world = World::new();
    let keeper = world.program();
    let round = |world: &mut World| {
        let app = world.program_with(Sizes { sq: 9, cq: 9, service: None });
        for _ in 0..400 {
            app.submit(world, wait(DATA, 0));
        }
        app.push(world);
        world.run_until("all wait", |world| app.returned(world).is_some());
        app.submit(world, wake(DATA, 300));
        app.submit(world, args::Exit { code: 0, flags: 0 }.encode(0));
        app.push(world);
        world.run_until_idle();
        assert!(world.has_ended(app));
        world.forget(app);
    };
    round(&mut world);
    let before = world.accounts();
    round(&mut world);
    assert_eq!(world.accounts(), before);
    assert_eq!(keeper.call(&mut world, args::Nop {}.encode(0)), Ok(0));
}

#[test]
fn a_word_that_was_mapped_anew_is_another_one() {
    let mut world = World::new();
    let app = world.program();
    let other = world.thread(app, Sizes::SMALLEST);
    let address = app.map(&mut world, 4096);
    app.write(&mut world, address, &7_u32.to_le_bytes());
    let ticket = app.submit(&mut world, wait(address, 7));
    app.push(&mut world);
    assert_eq!(other.call(&mut world, wake(address, 1)), Ok(1));
    assert_eq!(app.result(&mut world, ticket), Some(Ok(0)));
    let unmap = args::Unmap { space: CURRENT, address, length: 4096 };
    assert_eq!(app.call(&mut world, unmap.encode(0)), Ok(0));
    assert_eq!(app.call(&mut world, wait(address, 7)), Err(Errno::FAULT), "it is gone");
    assert_eq!(app.call(&mut world, wake(address, 1)), Err(Errno::FAULT), "it is gone");
    let flags = args::map::READ | args::map::WRITE | args::map::PRIVATE | args::map::FIXED;
    let again = args::Map { space: CURRENT, address, length: 4096, flags };
    assert_eq!(app.call(&mut world, again.encode(0)), Ok(address));
    assert_eq!(app.call(&mut world, wait(address, 7)), Err(Errno::AGAIN), "there are zeros now");
    let ticket = app.submit(&mut world, wait(address, 0));
    app.push(&mut world);
    assert_eq!(other.call(&mut world, wake(address, 1)), Ok(1));
    assert_eq!(app.result(&mut world, ticket), Some(Ok(0)));
}

#[test]
fn the_space_that_follows_has_words_of_its_own() {
    let mut world = World::new();
    let keeper = world.program();
    for value in 1..20_u32 {
        let app = world.program();
        let other = world.thread(app, Sizes::SMALLEST);
        assert_eq!(app.call(&mut world, wait(DATA, value)), Err(Errno::AGAIN), "fresh memory is zero");
        app.write(&mut world, DATA, &value.to_le_bytes());
        let ticket = app.submit(&mut world, wait(DATA, value));
        app.push(&mut world);
        assert_eq!(keeper.call(&mut world, wake(DATA, 9)), Ok(0));
        assert_eq!(other.call(&mut world, wake(DATA, 9)), Ok(1));
        assert_eq!(app.result(&mut world, ticket), Some(Ok(0)));
        app.submit(&mut world, wait(DATA, value));
        app.push(&mut world);
        for program in [app, other] {
            world.kill(program);
            world.forget(program);
        }
        world.run_until_idle();
    }
}

#[test]
fn more_words_than_are_remembered_are_all_woken() {
    let mut world = World::new();
    let app = world.program_with(Sizes { sq: 9, cq: 9, service: None });
    let other = world.thread(app, Sizes::SMALLEST);
    let words = app.map(&mut world, 16 * 4096);
    let before = world.accounts();
    // Words of one place in their pages, and words side by side: neither kind all fit.
    let all = (0..16).flat_map(|page| (0..16).map(move |word| words + page * 4096 + word * 4));
    let mut tickets: Vec<_> =
        all.map(|address| (address, app.submit(&mut world, wait(address, 0)))).collect();
    app.push(&mut world);
    world.run_until("all wait", |world| app.returned(world).is_some());
    tickets.reverse();
    for (address, ticket) in tickets {
        assert_eq!(app.result(&mut world, ticket), None);
        assert_eq!(other.call(&mut world, wake(address, 2)), Ok(1), "{address:#x}");
        assert_eq!(app.result(&mut world, ticket), Some(Ok(0)), "{address:#x}");
        assert_eq!(other.call(&mut world, wake(address, 2)), Ok(0), "{address:#x}");
    }
    assert_eq!(world.accounts(), before, "channels that are only remembered are no channels");
}
