//! Two contexts that send each other messages in turn, from ring to ring.
//!
//! Both sides are bare contexts. Each turn is one entry into the kernel with one operation, the message, and a wait for its
//! completion and for the other side's message.
#![forbid(unsafe_code)]

use crate::harness::{Bench, Failure, Outcome};
use alloc::boxed::Box;
use alloc::vec::Vec;
use bare::clock::ticks;
use bare::{Bare, Ring, context, shared};
use bench::report::Unit;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicU32, AtomicU64};
use ring_abi::args::{CURRENT, MessageSend, RingHandle};
use ring_abi::context::End;
use ring_abi::enter;
use ring_abi::layout::Sizes;
use uring::Fd;
use uring::op::handle;

/// Bytes of a side's stack.
const STACK: u64 = 8192;
/// Rounds whose times are dropped.
const WARM_UP: usize = 50;
/// Name of the row that is one way of it.
pub(crate) const ONE_WAY: &[&str] = &["msg.ring"];

/// What both sides see.
struct Game {
    /// The handles to the two rings, and one.
    doors: &'static [AtomicU32],
    /// When the message of this round was sent.
    sent: AtomicU64,
    /// Ticks from there to the other side, of each round.
    ways: &'static [AtomicU64],
    /// Ticks of each round.
    times: &'static [AtomicU64],
}

/// Makes a handle to the own ring, and waits for the other side's.
fn meet(ring: &Ring, mine: &AtomicU32, other: &AtomicU32) -> Option<u64> {
    let open = RingHandle { ring: CURRENT, tag: 0, flags: 0 }.encode(1);
    mine.store((ring.call(open).ok()? as u32).wrapping_add(1), Release);
    loop {
        match other.load(Acquire).checked_sub(1) {
            Some(door) => return Some(u64::from(door)),
            None => ring.enter_with(0, 0, 0, enter::NO_DEADLINE).ok()?,
        }
    }
}

/// Sends a message and waits for so many completions; takes them off.
#[inline(always)]
fn send(ring: &Ring, fd: u64, value: u64, wait: u64) -> bool {
    let send = MessageSend { fd, tag: 2, value, extra: 0, deadline: enter::NO_DEADLINE }.encode(1);
    if ring.push(send).is_err() || ring.enter(wait) != 0 {
        return false;
    }
    (0..wait).all(|_| ring.pop().is_some())
}

/// The side that counts: one round is from here to the other side and back.
fn first(ring: &Ring, game: &'static Game) -> u8 {
    let [mine, other] = game.doors else { return 1 };
    let Some(door) = meet(ring, mine, other) else { return 1 };
    for (round, time) in (1..).zip(game.times) {
        let start = ticks();
        game.sent.store(start, Relaxed);
        if !send(ring, door, round, 2) {
            return 1;
        }
        time.store(ticks().wrapping_sub(start), Relaxed);
    }
    0
}

/// The side that answers. It waits for the first message before, and for none after the last.
fn second(ring: &Ring, game: &'static Game) -> u8 {
    let [other, mine] = game.doors else { return 1 };
    let Some(door) = meet(ring, mine, other) else { return 1 };
    if ring.enter(1) != 0 || ring.pop().is_none() {
        return 1;
    }
    let last = game.ways.len().wrapping_sub(1);
    for (round, way) in game.ways.iter().enumerate() {
        way.store(ticks().wrapping_sub(game.sent.load(Relaxed)), Relaxed);
        if !send(ring, door, 0, if round == last { 1 } else { 2 }) {
            return 1;
        }
    }
    0
}

fn join(side: Bare) -> Outcome {
    match side.join()? {
        End::Exited(0) => Ok(()),
        _ => Err(Failure::Wrong("one of the two sides failed")),
    }
}

fn print(bench: &Bench, name: &str, ticks: &[AtomicU64]) -> Outcome {
    let readings: Vec<u64> = ticks.iter().skip(WARM_UP).map(|time| time.load(Relaxed)).collect();
    bench.row(name, Unit::Instructions, bench.spread(&readings, 1)?);
    Ok(())
}

/// There and back, and one way of it.
pub(crate) fn run(bench: &mut Bench) -> Outcome {
    let rounds = bench.samples().wrapping_add(WARM_UP);
    let game: &'static Game = Box::leak(Box::new(Game {
        doors: shared::words(2)?,
        sent: AtomicU64::new(0),
        ways: shared::words(rounds)?,
        times: shared::words(rounds)?,
    }));
    let answers = context::start(second, game, STACK, Sizes::SMALLEST)?;
    let counts = context::start(first, game, STACK, Sizes::SMALLEST)?;
    join(counts)?;
    join(answers)?;
    for door in game.doors {
        if let Some(door) = door.load(Relaxed).checked_sub(1) {
            handle::close(Fd(u64::from(door))).wait()?;
        }
    }
    print(bench, "msg.rtt", game.times)?;
    print(bench, "msg.ring", game.ways)
}
