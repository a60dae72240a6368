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
use ring_abi::{Errno, Sqe, SqeFlags, enter};
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

#[test]
fn a_turn_hands_the_processor_over_in_one_step() {
    let mut world = World::new();
    let app = world.program();
    let other = world.thread(app, Sizes::SMALLEST);
    for program in [app, other] {
        // Once, so that what is looked for is known.
        let word = if program == app { DATA } else { DATA + 64 };
        assert_eq!(program.call(&mut world, wait(word, 1)), Err(Errno::AGAIN));
    }
    other.submit(&mut world, wait(DATA + 64, 0));
    other.wait(&mut world, 1);
    // Nobody else waits for a turn.
    world::FIRST.submit(&mut world, args::Timeout { nanoseconds: 1 << 50, flags: 0 }.encode(0));
    world::FIRST.wait(&mut world, 1);
    for round in 0..100 {
        let (from, to, mine, its) =
            if round % 2 == 0 { (app, other, DATA, DATA + 64) } else { (other, app, DATA + 64, DATA) };
        let woken = from.submit(&mut world, wake(its, 1));
        let waits = from.submit(&mut world, wait(mine, 0));
        world.give_cpu(from);
        let before = world.steps();
        from.wait(&mut world, 2);
        assert_eq!((world.on_cpu(), world.steps()), (Some(to), before + 1), "round {round}");
        assert_eq!(from.completion(&mut world), Some((woken, Ok(1))));
        assert_eq!(from.result(&mut world, waits), None);
        while to.completion(&mut world).is_some() {}
    }
}

/// What two programs see of a turn with these two entries, where each of `words` has a waiter if it is set, and the order of
/// what is done is the same but for the road: all submissions that are there, or just two.
fn turn(entries: [Sqe; 2], words: [bool; 2], submit: u64) -> String {
    let mut world = World::new();
    let app = world.program();
    let others = [(); 2].map(|()| world.thread(app, Sizes::SMALLEST));
    let keeper = world.thread(app, Sizes::SMALLEST);
    for (other, word) in others.into_iter().zip([DATA, DATA + 64]) {
        assert_eq!(app.call(&mut world, wait(word, 1)), Err(Errno::AGAIN), "it is remembered");
        other.submit(&mut world, wait(word, 0));
    }
    for (other, waits) in others.into_iter().zip(words) {
        if waits {
            other.wait(&mut world, 1);
        }
    }
    let mut seen = String::new();
    for round in 0..2 {
        let tickets = entries.map(|entry| app.submit(&mut world, entry));
        world.give_cpu(app);
        app.enter(&mut world, 0, submit, 2, enter::COMPLETIONS, enter::NO_DEADLINE);
        let runs = world.on_cpu().map(|program| program == app);
        world.check();
        world.advance(3_000_000);
        let returned = app.returned(&mut world);
        seen += &format!("{round}: {runs:?} {returned:?} {:?}", tickets.map(|_| app.completion(&mut world)));
        for (other, word) in others.into_iter().zip([DATA, DATA + 64]) {
            let come = other.completion(&mut world);
            seen += &format!(" {come:?}");
            if come.is_some() {
                world.run_until("it runs", |world| other.returned(world).is_some());
                other.submit(&mut world, wait(word, 0));
                other.wait(&mut world, 1);
            }
        }
        // Whatever it waits for still, on a word of its own, is over.
        keeper.call(&mut world, wake(DATA + 128, 9)).expect("it wakes");
        world.run_until("it goes on", |world| app.returned(world).is_some());
        while let Some(come) = app.completion(&mut world) {
            seen += &format!(" {come:?}");
        }
        seen += "\n";
    }
    world.run_until_idle();
    seen + &format!("{:?}", world.accounts())
}

#[test]
fn a_turn_does_what_two_submissions_do() {
    let later = |address| args::FutexWait { address, expected: 0, deadline: 1 << 50 }.encode(0);
    let flagged = wake(DATA, 1).with_flags(SqeFlags::SKIP_SUCCESS);
    let menu = [
        wake(DATA, 1),
        wake(DATA, 9),
        wake(DATA, 0),
        wake(DATA + 64, 1),
        wake(DATA + 128, 1),
        wake(DATA + 1, 1),
        flagged,
        wait(DATA + 128, 0),
        wait(DATA + 128, 7),
        later(DATA + 128),
        wait(0x5000, 0),
        args::Nop {}.encode(0),
    ];
    for first in menu {
        for second in menu {
            for words in [[true, true], [false, false]] {
                let turns = [enter::MOST, 2].map(|submit| turn([first, second], words, submit));
                assert_eq!(turns[0], turns[1], "{first:?} {second:?} {words:?}");
            }
        }
    }
}
