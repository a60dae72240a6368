//! Waits for several words: which one ends them, and that all are left then.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::args::{self, Strength, map};
use ring_abi::futex::{MOST, Word};
use ring_abi::layout::Sizes;
use ring_abi::{Errno, Sqe};
use world::{DATA, Dice, Program, Ticket, World};

/// Where arrays of words go.
const ARRAY: u64 = DATA + 0x2000;
const MS: u64 = 1_000_000;

/// A wait for words at these offsets, which are expected to be zero.
fn wait(world: &mut World, app: Program, offsets: &[u64]) -> Sqe {
    wait_for(world, app, &offsets.iter().map(|offset| (DATA + offset, 0)).collect::<Vec<_>>())
}

fn wait_for(world: &mut World, app: Program, words: &[(u64, u32)]) -> Sqe {
    let bytes: Vec<u8> =
        words.iter().flat_map(|&(address, expected)| Word { address, expected }.to_bytes()).collect();
    assert!(app.write(world, ARRAY, &bytes), "it has its memory");
    args::FutexWaitMany { words: ARRAY, count: words.len() as u32, deadline: u64::MAX }.encode(0)
}

/// The program waits for these words.
fn begin(world: &mut World, app: Program, offsets: &[u64]) -> Ticket {
    let sqe = wait(world, app, offsets);
    let ticket = app.submit(world, sqe);
    app.push(world);
    assert_eq!(app.result(world, ticket), None, "it waits");
    ticket
}

fn wake(offset: u64, count: u64) -> Sqe {
    args::FutexWake { address: DATA + offset, count }.encode(0)
}

/// Nobody waits any more.
fn nothing_is_left(world: &World) {
    let s = &world.kernel.state;
    assert_eq!((kernel::op::sys::live_channels(s), s.timers.len()), (0, 0));
    assert!(world.kernel.state.channel_work.is_empty());
}

#[test]
fn each_of_the_words_ends_the_wait_and_says_so() {
    for count in [1, 2, 7, MOST] {
        for woken in 0..count {
            let mut world = World::new();
            let app = world.program();
            let other = world.thread(app, Sizes::SMALLEST);
            let offsets: Vec<_> = (0..count as u64).map(|word| word * 4).collect();
            let ticket = begin(&mut world, app, &offsets);
            assert_eq!(other.call(&mut world, wake(0x1000, 9)), Ok(0), "another word");
            assert_eq!(other.call(&mut world, wake(offsets[woken], 9)), Ok(1));
            assert_eq!(app.result(&mut world, ticket), Some(Ok(woken as u64)));
            assert_eq!(app.result(&mut world, ticket), None, "once");
            for offset in offsets {
                assert_eq!(other.call(&mut world, wake(offset, 9)), Ok(0), "it waits for none any more");
            }
            nothing_is_left(&world);
        }
    }
}

#[test]
fn a_wait_that_makes_no_sense_changes_nothing() {
    let mut world = World::new();
    let app = world.program();
    let mut refused = |sqe: Sqe, error| {
        assert_eq!(app.call(&mut world, sqe), Err(error), "{sqe:?}");
        nothing_is_left(&world);
    };
    let sized = |count| args::FutexWaitMany { words: ARRAY, count, deadline: u64::MAX }.encode(0);
    refused(sized(0), Errno::INVAL);
    refused(sized(MOST as u32 + 1), Errno::INVAL);
    refused(sized(u32::MAX), Errno::INVAL);
    // Zeros are addresses at which nothing is.
    refused(sized(1), Errno::FAULT);
    for words in [0x5000, 1 << 50, u64::MAX - 7] {
        refused(args::FutexWaitMany { words, count: 2, deadline: u64::MAX }.encode(0), Errno::FAULT);
    }
    let cases: [(&[(u64, u32)], Errno); 5] = [
        (&[(DATA, 0), (DATA + 4, 1)], Errno::AGAIN),
        (&[(DATA, 1), (DATA + 4, 0)], Errno::AGAIN),
        (&[(DATA, 0), (DATA + 4, 0), (DATA, 0)], Errno::INVAL),
        (&[(DATA, 0), (DATA + 6, 0)], Errno::INVAL),
        (&[(DATA, 0), (0x5000, 0)], Errno::FAULT),
    ];
    for (words, error) in cases {
        let sqe = wait_for(&mut world, app, words);
        assert_eq!(app.call(&mut world, sqe), Err(error), "{words:x?}");
        nothing_is_left(&world);
    }
    let sqe = wait(&mut world, app, &[0, 4]);
    app.write(&mut world, ARRAY + 16 + 12, &[1]);
    assert_eq!(app.call(&mut world, sqe), Err(Errno::INVAL), "the spare bytes are not zero");
    nothing_is_left(&world);
}

#[test]
fn an_array_may_lie_across_pages_but_not_beyond_memory() {
    let mut world = World::new();
    let app = world.program();
    let other = world.thread(app, Sizes::SMALLEST);
    let page = app.map(&mut world, 8192);
    let words: Vec<u8> =
        [0, 4, 8].iter().flat_map(|at| Word { address: DATA + at, expected: 0 }.to_bytes()).collect();
    app.write(&mut world, page + 4096 - 24, &words);
    let at = |words| args::FutexWaitMany { words, count: 3, deadline: u64::MAX }.encode(0);
    let ticket = app.submit(&mut world, at(page + 4096 - 24));
    app.push(&mut world);
    assert_eq!(other.call(&mut world, wake(8, 1)), Ok(1));
    assert_eq!(app.result(&mut world, ticket), Some(Ok(2)));
    app.write(&mut world, page + 8192 - 40, &words[..40]);
    assert_eq!(app.call(&mut world, at(page + 8192 - 40)), Err(Errno::FAULT));
    nothing_is_left(&world);
}

#[test]
fn a_wait_for_several_words_has_its_turn_at_each() {
    let mut world = World::new();
    let app = world.program();
    let other = world.thread(app, Sizes::SMALLEST);
    let single =
        |offset| args::FutexWait { address: DATA + offset, expected: 0, deadline: u64::MAX }.encode(0);
    let first = app.submit(&mut world, single(0));
    app.push(&mut world);
    let several = begin(&mut world, app, &[4, 0]);
    let last = app.submit(&mut world, single(0));
    app.push(&mut world);
    assert_eq!(other.call(&mut world, wake(0, 1)), Ok(1));
    assert_eq!(app.result(&mut world, first), Some(Ok(0)));
    assert_eq!(app.result(&mut world, several), None);
    assert_eq!(other.call(&mut world, wake(0, 2)), Ok(2));
    assert_eq!(app.result(&mut world, several), Some(Ok(1)));
    assert_eq!(app.result(&mut world, last), Some(Ok(0)));
    nothing_is_left(&world);
}

#[test]
fn whatever_ends_the_wait_ends_it_once() {
    let cancel = |tag, strength| args::CancelTag { tag, strength, grace: u64::MAX }.encode(0);
    for strength in [Strength::Ask as u32, Strength::Force as u32] {
        let mut world = World::new();
        let app = world.program();
        let ticket = begin(&mut world, app, &[0, 4, 8]);
        assert_eq!(app.call(&mut world, cancel(ticket.0, strength)), Ok(1));
        assert_eq!(app.result(&mut world, ticket), Some(Err(Errno::CANCELED)));
        assert_eq!(app.call(&mut world, cancel(ticket.0, strength)), Err(Errno::NOENT));
        nothing_is_left(&world);
    }
    let mut world = World::new();
    let app = world.program();
    let sqe = wait(&mut world, app, &[0, 4, 8]);
    let deadline = world.machine().now() + 50 * MS;
    let args = args::FutexWaitMany { words: ARRAY, count: 3, deadline };
    assert_eq!(Sqe { args: [sqe.args[0], 3, deadline, 0, 0, 0], ..sqe }, args.encode(0));
    let ticket = app.submit(&mut world, args.encode(0));
    app.push(&mut world);
    world.advance(40 * MS);
    assert_eq!(app.result(&mut world, ticket), None);
    world.advance(10 * MS);
    assert_eq!(app.result(&mut world, ticket), Some(Err(Errno::TIMEDOUT)));
    assert_eq!(app.call(&mut world, wake(0, 1)), Ok(0));
    assert_eq!(app.call(&mut world, args.encode(0)), Err(Errno::TIMEDOUT), "long past");
    nothing_is_left(&world);
}

#[test]
fn a_wait_dies_with_its_program() {
    let mut world = World::new();
    let round = |world: &mut World| {
        let app = world.program();
        let keeper = world.thread(app, Sizes::SMALLEST);
        begin(world, app, &[0, 4, 8]);
        begin(world, app, &[8, 4]);
        world.kill(app);
        assert_eq!(keeper.call(world, wake(8, 9)), Ok(0), "the dead are not woken");
        world.kill(keeper);
        world.forget(keeper);
        world.forget(app);
    };
    round(&mut world);
    let before = world.accounts();
    round(&mut world);
    assert_eq!(world.accounts(), before);
}

#[test]
fn without_memory_it_fails_and_leaves_nothing() {
    let mut world = World::new();
    let app = world.program();
    let other = world.thread(app, Sizes { sq: 9, cq: 9, service: None });
    // Up to the end of the memory that there is for channels and operations, however much that is.
    let mut failed = 0;
    for number in 0..200_u64 {
        let single = args::FutexWait { address: DATA + 4 * number, expected: 0, deadline: u64::MAX };
        other.submit(&mut world, single.encode(0));
        other.push(&mut world);
        let offsets: Vec<_> = (0..MOST as u64).map(|word| 0x1000 + 4 * word).collect();
        let before = (world.kernel.state.channels.live(), world.kernel.state.live_ops());
        let sqe = wait(&mut world, app, &offsets);
        let ticket = app.submit(&mut world, sqe);
        world.starve(0);
        app.push(&mut world);
        world.feed();
        match app.result(&mut world, ticket) {
            Some(result) => {
                assert_eq!(result, Err(Errno::NOMEM));
                failed += 1;
            }
            None => {
                let all = args::CancelAll { strength: Strength::Force as u32, grace: 0 };
                assert_eq!(app.call(&mut world, all.encode(0)), Ok(1));
                assert_eq!(app.result(&mut world, ticket), Some(Err(Errno::CANCELED)));
            }
        }
        let after = (world.kernel.state.channels.live(), world.kernel.state.live_ops());
        assert_eq!(after, before);
        world.check();
    }
    assert!(failed > 3, "{failed}");
}

#[test]
fn processes_that_share_memory_meet() {
    let mut world = World::new();
    let app = world.program();
    let flags = map::READ | map::WRITE | map::SHARED;
    let shared = args::Map { space: args::CURRENT, address: 0, length: 4096, flags };
    let at = app.call(&mut world, shared.encode(0)).unwrap();
    let again = [(at, 0), (DATA, 0), (at + 4, 0)];
    let sqe = wait_for(&mut world, app, &again);
    let ticket = app.submit(&mut world, sqe);
    app.push(&mut world);
    let wake_at = args::FutexWake { address: at + 4, count: 1 };
    let thread = world.thread(app, Sizes::SMALLEST);
    assert_eq!(thread.call(&mut world, wake_at.encode(0)), Ok(1));
    assert_eq!(app.result(&mut world, ticket), Some(Ok(2)));
}

#[test]
fn a_great_crowd_is_woken_completely_and_each_once() {
    let mut world = World::new();
    let app = world.program_with(Sizes { sq: 6, cq: 8, service: None });
    let other = world.thread(app, Sizes::SMALLEST);
    let mut tickets = Vec::new();
    for _ in 0..200 {
        tickets.push(begin(&mut world, app, &[0, 4, 8]));
    }
    // Those that one word is about to wake, another one wakes first.
    let wakes = [wake(0, 90), wake(4, 150), wake(8, u64::MAX)].map(|sqe| other.submit(&mut world, sqe));
    other.push(&mut world);
    world.run_until_idle();
    let told: u64 = wakes.into_iter().map(|wake| other.result(&mut world, wake).unwrap().unwrap()).sum();
    let mut by_word = [0; 3];
    for ticket in tickets {
        let Some(Ok(index)) = app.result(&mut world, ticket) else { panic!("{ticket:?} was not woken") };
        by_word[index as usize] += 1;
        assert_eq!(app.result(&mut world, ticket), None, "once");
    }
    assert_eq!(by_word.iter().sum::<u64>(), 200);
    assert!(by_word[0] >= 90 && told >= 200, "{by_word:?}, {told}");
    nothing_is_left(&world);
}

/// Waits and wakes by chance, against a model of who is woken by what.
#[test]
fn a_model_agrees_on_who_is_woken() {
    for seed in 1..30 {
        let mut dice = Dice::new(seed);
        let mut world = World::new();
        world.audit_every = 11;
        let app = world.program_with(Sizes { sq: 5, cq: 5, service: None });
        let mut waiting: Vec<(Ticket, Vec<u64>)> = Vec::new();
        for _ in 0..300 {
            if waiting.len() < 20 && dice.one_in(2) {
                let mut offsets: Vec<_> = (0..8).map(|word| word * 4).filter(|_| dice.one_in(2)).collect();
                if dice.one_in(2) {
                    offsets.reverse();
                }
                if !offsets.is_empty() {
                    let ticket = begin(&mut world, app, &offsets);
                    waiting.push((ticket, offsets));
                }
            } else {
                let (offset, count) = (dice.roll(8) * 4, dice.roll(4));
                let woken = waiting.iter().filter(|(_, offsets)| offsets.contains(&offset));
                let woken: Vec<_> = woken.take(count as usize).cloned().collect();
                let number = woken.len() as u64;
                assert_eq!(app.call(&mut world, wake(offset, count)), Ok(number), "seed {seed}");
                for (ticket, offsets) in woken {
                    let index = offsets.iter().position(|at| *at == offset).unwrap() as u64;
                    assert_eq!(app.result(&mut world, ticket), Some(Ok(index)), "seed {seed}");
                    waiting.retain(|(other, _)| *other != ticket);
                }
                assert!(app.completion(&mut world).is_none(), "seed {seed}: somebody else was woken");
            }
        }
    }
}

#[test]
fn a_crowd_at_many_words_is_woken_in_short_steps() {
    let mut world = World::with_memory(64 << 20);
    let app = world.program_with(Sizes { sq: 6, cq: 9, service: None });
    let other = world.thread(app, Sizes::SMALLEST);
    let offsets: Vec<_> = (0..MOST as u64).map(|word| word * 4).collect();
    let tickets: Vec<_> = (0..300).map(|_| begin(&mut world, app, &offsets)).collect();
    let before = world.steps();
    // The world refuses a step that is too long.
    assert_eq!(other.call(&mut world, wake(8, 290)), Ok(290));
    world.run_until_idle();
    assert!(world.steps() > before + 50);
    for (number, ticket) in tickets.iter().enumerate() {
        let expected = (number < 290).then_some(Ok(2));
        assert_eq!(app.result(&mut world, *ticket), expected, "{number}");
    }
    let all = args::CancelAll { strength: Strength::Force as u32, grace: 0 };
    assert_eq!(app.call(&mut world, all.encode(0)), Ok(10));
    world.run_until_idle();
    nothing_is_left(&world);
}
