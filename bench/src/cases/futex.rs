//! Two contexts that wake each other in turn.
//!
//! Both sides are bare contexts: a loop over a ring's ends, as a lock's slow path would be. Each turn is one entry
//! into the kernel: with one operation that wakes the other and waits, or with two.
#![forbid(unsafe_code)]

use crate::harness::{Bench, Failure, Outcome};
use alloc::boxed::Box;
use alloc::vec::Vec;
use bare::clock::ticks;
use bare::{Bare, Ring, context, shared};
use bench::report::Unit;
use core::ptr;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicU32, AtomicU64};
use posix::fork::{Fork, fork};
use posix::process::{exit, wait_end};
use posix::protocol::{Target, Wait};
use ring_abi::args::{FutexSwap, FutexWait, FutexWake};
use ring_abi::context::End;
use ring_abi::layout::Sizes;

/// Bytes of a side's stack.
const STACK: u64 = 8192;
/// Rounds whose times are dropped.
const WARM_UP: usize = 50;

/// What both sides see.
struct Game {
    /// The round that the first side has begun, and the one that the second has answered.
    turns: &'static [AtomicU32],
    /// Ticks of each round.
    times: &'static [AtomicU64],
}

impl Game {
    fn new(rounds: usize) -> Result<&'static Game, Failure> {
        let game = Game { turns: shared::words(32)?, times: shared::words(rounds)? };
        Ok(Box::leak(Box::new(game)))
    }

    /// The word of the first side, and that of the second, in lines of their own.
    fn words(&self) -> Option<(&AtomicU32, &AtomicU32)> {
        Some((self.turns.first()?, self.turns.get(16)?))
    }
}

/// A turn is one operation.
const SWAP: u8 = 1;
/// A turn is two.
const PAIR: u8 = 2;

/// Shows `round` in the other side's word, wakes it, and waits until the own word shows `until`.
#[inline(always)]
fn pass<const WAY: u8>(ring: &Ring, mine: &AtomicU32, other: &AtomicU32, round: u32, until: u32) -> bool {
    other.store(round, Release);
    let wait = |expected| FutexWait { address: address(mine), expected, deadline: u64::MAX }.encode(2);
    let is_through = if WAY == SWAP {
        let (expected, wake) = (until.wrapping_sub(1), address(other));
        let swap = FutexSwap { address: address(mine), expected, deadline: u64::MAX, wake }.encode(1);
        ring.push_first(swap, 5).is_ok() && ring.enter_for_one() == 0
    } else {
        let wake = FutexWake { address: address(other), count: 1 }.encode(1);
        let pushed = ring.push_first(wake, 3).and_then(|()| ring.push_first(wait(until.wrapping_sub(1)), 4));
        pushed.is_ok() && ring.enter(2) == 0
    };
    if !is_through {
        return false;
    }
    // What they say the word says too.
    ring.drop_all();
    // Usually true at once; another wake of the word is allowed.
    while mine.load(Acquire) != until {
        let seen = mine.load(Acquire);
        if seen != until && ring.call(wait(seen)) == Err(ring_abi::Errno::FAULT) {
            return false;
        }
    }
    true
}

fn address(word: &AtomicU32) -> u64 {
    ptr::from_ref(word).addr() as u64
}

/// The side that counts: one round is from here to the other side and back.
fn first<const WAY: u8>(ring: &Ring, game: &'static Game) -> u8 {
    let Some((mine, other)) = game.words() else { return 1 };
    for (round, time) in (1..).zip(game.times) {
        let start = ticks();
        if !pass::<WAY>(ring, mine, other, round, round) {
            return 1;
        }
        time.store(ticks().wrapping_sub(start), Relaxed);
    }
    0
}

/// The side that answers. It waits for the first round before, and does not wait after the last.
fn second<const WAY: u8>(ring: &Ring, game: &'static Game) -> u8 {
    let Some((other, mine)) = game.words() else { return 1 };
    let last = game.times.len() as u32;
    let mut round = 0;
    while mine.load(Acquire) == 0 {
        let wait = FutexWait { address: address(mine), expected: 0, deadline: u64::MAX }.encode(2);
        if ring.call(wait) == Err(ring_abi::Errno::FAULT) {
            return 1;
        }
    }
    while round != last.wrapping_sub(1) {
        round = round.wrapping_add(1);
        if !pass::<WAY>(ring, mine, other, round, round.wrapping_add(1)) {
            return 1;
        }
    }
    other.store(last, Release);
    u8::from(ring.call(FutexWake { address: address(other), count: 1 }.encode(1)).is_err())
}

fn side(body: context::Body<Game>, game: &'static Game) -> Result<Bare, Failure> {
    Ok(context::start(body, game, STACK, Sizes::SMALLEST)?)
}

fn join(side: Bare) -> Outcome {
    match side.join()? {
        End::Exited(0) => Ok(()),
        _ => Err(Failure::Wrong("one of the two sides failed")),
    }
}

fn print(bench: &Bench, name: &str, game: &Game) -> Outcome {
    let readings: Vec<u64> = game.times.iter().skip(WARM_UP).map(|time| time.load(Relaxed)).collect();
    bench.row(name, Unit::Instructions, bench.spread(&readings, 1)?);
    Ok(())
}

/// Two threads of one address space.
pub(crate) fn threads(bench: &mut Bench) -> Outcome {
    play(bench, "futex.rtt", first::<SWAP>, second::<SWAP>)
}

/// The same with two operations a turn.
pub(crate) fn pairs(bench: &mut Bench) -> Outcome {
    play(bench, "futex.rtt.pair", first::<PAIR>, second::<PAIR>)
}

fn play(bench: &Bench, name: &str, first: context::Body<Game>, second: context::Body<Game>) -> Outcome {
    let game = Game::new(bench.samples().wrapping_add(WARM_UP))?;
    let answers = side(second, game)?;
    let counts = side(first, game)?;
    join(counts)?;
    join(answers)?;
    print(bench, name, game)
}

/// Two processes that share the words.
pub(crate) fn processes(bench: &mut Bench) -> Outcome {
    let game = Game::new(bench.samples().wrapping_add(WARM_UP))?;
    let pid = match fork()? {
        Fork::Child => exit(u8::from(side(second::<SWAP>, game).and_then(join).is_err())),
        Fork::Parent(pid) => pid,
    };
    join(side(first::<SWAP>, game)?)?;
    match wait_end(Wait { target: Target::Process(pid), at_once: false })? {
        Some((_, End::Exited(0))) => print(bench, "futex.rtt.process", game),
        _ => Err(Failure::Wrong("the other process failed")),
    }
}
