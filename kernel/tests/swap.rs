//! Swaps of futexes: one operation that wakes another program and waits.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::args;
use ring_abi::layout::Sizes;
use ring_abi::{Errno, Sqe, SqeFlags, enter};
use world::{DATA, World};

fn wait(address: u64, expected: u32) -> Sqe {
    args::FutexWait { address, expected, deadline: u64::MAX }.encode(0)
}

fn wake(address: u64, count: u64) -> Sqe {
    args::FutexWake { address, count }.encode(0)
}

fn swap(address: u64, wake: u64) -> Sqe {
    args::FutexSwap { address, expected: 0, deadline: u64::MAX, wake }.encode(0)
}

#[test]
fn a_swap_hands_the_processor_over_in_one_step() {
    let mut world = World::new();
    let app = world.program();
    let other = world.thread(app, Sizes::SMALLEST);
    for program in [app, other] {
        // Once, so that what is looked for is known.
        let word = if program == app { DATA } else { DATA + 64 };
        assert_eq!(program.call(&mut world, wait(word, 1)), Err(Errno::AGAIN));
    }
    let mut waits = other.submit(&mut world, wait(DATA + 64, 0));
    other.wait(&mut world, 1);
    // Nobody else waits for a turn.
    world::FIRST.submit(&mut world, args::Timeout { nanoseconds: 1 << 50, flags: 0 }.encode(0));
    world::FIRST.wait(&mut world, 1);
    let live = world.accounts();
    for round in 0..100 {
        let (from, to, mine, its) =
            if round % 2 == 0 { (app, other, DATA, DATA + 64) } else { (other, app, DATA + 64, DATA) };
        let woken = waits;
        waits = from.submit(&mut world, swap(mine, its));
        world.give_cpu(from);
        let before = world.steps();
        from.wait(&mut world, 1);
        assert_eq!((world.on_cpu(), world.steps()), (Some(to), before + 1), "round {round}");
        assert_eq!(from.completion(&mut world), None);
        assert_eq!(to.completion(&mut world), Some((woken, Ok(0))));
        assert_eq!(to.completion(&mut world), None);
        assert_eq!(world.accounts(), live, "round {round}");
    }
}

#[test]
fn a_swap_that_does_not_wait_wakes_all_the_same() {
    let mut world = World::new();
    let app = world.program();
    let other = world.thread(app, Sizes::SMALLEST);
    let (mine, theirs) = (DATA, DATA + 64);
    for is_known in [false, true] {
        let late = args::FutexSwap { address: mine, expected: 0, deadline: 5, wake: theirs }.encode(0);
        let differs =
            args::FutexSwap { address: mine, expected: 7, deadline: u64::MAX, wake: theirs }.encode(0);
        for (sqe, error) in [(differs, Errno::AGAIN), (late, Errno::TIMEDOUT)] {
            let waits = other.submit(&mut world, wait(theirs, 0));
            other.push(&mut world);
            assert_eq!(app.call(&mut world, sqe), Err(error), "{is_known}");
            assert_eq!(other.result(&mut world, waits), Some(Ok(0)), "{error:?} {is_known}");
            // There may be nobody.
            assert_eq!(app.call(&mut world, sqe), Err(error), "{is_known}");
        }
        // The words are remembered from now on.
        assert_eq!(app.call(&mut world, wait(mine, 1)), Err(Errno::AGAIN));
        assert_eq!(app.call(&mut world, wake(mine, 1)), Ok(0));
    }
}

#[test]
fn a_swap_that_fails_wakes_nobody() {
    let mut world = World::new();
    let app = world.program_with(Sizes { sq: 10, cq: 10, service: None });
    let other = world.thread(app, Sizes::SMALLEST);
    let mut waits = other.submit(&mut world, wait(DATA + 64, 0));
    other.push(&mut world);
    let call = |world: &mut World, address, wake| app.call(world, swap(address, wake));
    assert_eq!(call(&mut world, DATA + 1, DATA + 64), Err(Errno::INVAL));
    assert_eq!(call(&mut world, 0x5000, DATA + 64), Err(Errno::FAULT));
    assert_eq!(call(&mut world, DATA, DATA + 66), Err(Errno::INVAL));
    assert_eq!(call(&mut world, DATA, 0x5000), Err(Errno::FAULT));
    assert_eq!(call(&mut world, DATA, 1 << 50), Err(Errno::FAULT));
    assert_eq!(other.result(&mut world, waits), None);
    // Each takes a record, until there is no memory for the next one.
    for _ in 0..1000 {
        let ticket = app.submit(&mut world, swap(DATA, DATA + 64));
        world.starve(0);
        app.push(&mut world);
        world.feed();
        let result = app.result(&mut world, ticket);
        if result.is_some() {
            assert_eq!(result, Some(Err(Errno::NOMEM)));
            assert_eq!(other.result(&mut world, waits), None);
            return;
        }
        assert_eq!(other.result(&mut world, waits), Some(Ok(0)));
        waits = other.submit(&mut world, wait(DATA + 64, 0));
        other.push(&mut world);
    }
    panic!("there was always memory");
}

#[test]
fn a_swap_that_waits_ends_by_its_deadline_a_cancel_or_the_end_of_its_ring() {
    let mut world = World::new();
    let app = world.program();
    let keeper = world.thread(app, Sizes::SMALLEST);
    let before = world.accounts();
    let at = world.machine().now() + 1_000_000_000;
    let timed = args::FutexSwap { address: DATA, expected: 0, deadline: at, wake: DATA + 64 }.encode(0);
    let ticket = app.submit(&mut world, timed);
    app.push(&mut world);
    world.advance(at - 1 - world.machine().now());
    assert_eq!(app.result(&mut world, ticket), None);
    world.advance(1);
    assert_eq!(app.result(&mut world, ticket), Some(Err(Errno::TIMEDOUT)));

    let ticket = app.submit(&mut world, swap(DATA, DATA + 64));
    app.push(&mut world);
    let cancel = args::CancelTag { tag: ticket.0, strength: args::Strength::Ask as u32, grace: u64::MAX };
    assert_eq!(app.call(&mut world, cancel.encode(0)), Ok(1));
    assert_eq!(app.result(&mut world, ticket), Some(Err(Errno::CANCELED)));
    assert_eq!(world.accounts(), before);

    // Two that hand to each other; then one dies while it waits, in the record that was the other's.
    let other = world.thread(app, Sizes::SMALLEST);
    let waits = other.submit(&mut world, swap(DATA + 64, DATA));
    other.wait(&mut world, 1);
    app.submit(&mut world, swap(DATA, DATA + 64));
    app.wait(&mut world, 1);
    assert_eq!(other.result(&mut world, waits), Some(Ok(0)));
    other.submit(&mut world, swap(DATA + 64, DATA));
    other.wait(&mut world, 1);
    world.kill(other);
    world.run_until_idle();
    assert_eq!(keeper.call(&mut world, wake(DATA + 64, 9)), Ok(0), "who is dead waits for nothing");
    world.check();
}

/// What others wait with at a word when a swap wakes there.
#[derive(Clone, Copy, Debug)]
enum Waiter {
    Nobody,
    Wait,
    Swap,
    Timed,
    Linked,
    Several,
    Two,
}

/// The entries with which another program waits, which may write what they need.
fn entries(world: &mut World, other: world::Program, waiter: Waiter) -> Vec<Sqe> {
    let its = DATA + 64;
    let bytes = [its, 0, DATA + 192, 0].map(u64::to_le_bytes);
    other.write(world, DATA + 256, bytes.as_flattened());
    let several = args::FutexWaitMany { words: DATA + 256, count: 2, deadline: u64::MAX }.encode(0);
    let timed = args::FutexSwap { address: its, expected: 0, deadline: 1 << 50, wake: DATA + 192 }.encode(0);
    let plain = swap(its, DATA + 192);
    match waiter {
        Waiter::Nobody => vec![],
        Waiter::Wait => vec![wait(its, 0)],
        Waiter::Swap => vec![plain],
        Waiter::Timed => vec![timed],
        Waiter::Linked => vec![plain.with_flags(SqeFlags::LINK), args::Nop {}.encode(0)],
        Waiter::Several => vec![several],
        Waiter::Two => vec![plain, plain],
    }
}

/// What two programs see of a swap by one of them, which is taken as the only submission with any number (`submit`), or as
/// one of just one.
fn outcome(entry: Sqe, waiter: Waiter, submit: u64, is_known: bool) -> String {
    let mut world = World::new();
    let app = world.program();
    let other = world.thread(app, Sizes::SMALLEST);
    let keeper = world.thread(app, Sizes::SMALLEST);
    let its = DATA + 64;
    if is_known {
        for word in [DATA, its, DATA + 128] {
            assert_eq!(app.call(&mut world, wait(word, 1)), Err(Errno::AGAIN), "it is remembered");
        }
    }
    let entries = entries(&mut world, other, waiter);
    let number = entries.len() as u64;
    for sqe in entries {
        other.submit(&mut world, sqe);
    }
    if number != 0 {
        other.wait(&mut world, number);
    }
    let mut seen = String::new();
    for _ in 0..2 {
        let ticket = app.submit(&mut world, entry);
        world.give_cpu(app);
        app.enter(&mut world, 0, submit, 1, enter::COMPLETIONS, enter::NO_DEADLINE);
        world.check();
        world.run_until_idle();
        seen += &format!("{:?}", app.result(&mut world, ticket));
        while let Some(come) = other.completion(&mut world) {
            seen += &format!(" {come:?}");
        }
        // Whatever waits still is woken.
        let woken = [DATA, DATA + 128, its].map(|word| keeper.call(&mut world, wake(word, 9)));
        world.run_until("it goes on", |world| app.returned(world).is_some());
        seen += &format!(" {woken:?} {:?}", app.result(&mut world, ticket));
        seen += "\n";
    }
    while let Some(come) = other.completion(&mut world) {
        seen += &format!(" {come:?}");
    }
    seen + &format!("{:?}", world.accounts())
}

#[test]
fn a_swap_does_the_same_on_every_road() {
    let its = DATA + 64;
    let with =
        |expected, deadline| args::FutexSwap { address: DATA, expected, deadline, wake: its }.encode(0);
    let menu = [
        swap(DATA, its),
        swap(its, its),
        swap(DATA + 128, its),
        swap(DATA, DATA + 128),
        swap(DATA, DATA + 130),
        swap(0x5000, its),
        with(7, u64::MAX),
        with(0, 5),
        with(0, 1 << 50),
        with(0, u64::MAX).with_flags(SqeFlags::DRAIN),
    ];
    use Waiter::{Linked, Nobody, Several, Swap, Timed, Two, Wait};
    for entry in menu {
        for waiter in [Nobody, Wait, Swap, Timed, Linked, Several, Two] {
            let seen = [(enter::MOST, true), (1, true), (enter::MOST, false)]
                .map(|(submit, is_known)| outcome(entry, waiter, submit, is_known));
            assert!(seen.iter().all(|one| *one == seen[0]), "{entry:?} {waiter:?}: {seen:#?}");
        }
    }
}
