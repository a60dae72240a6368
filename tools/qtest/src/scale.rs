//! `qtest --scale TASKS`: how much so many tasks get done, for `cargo xtask scale`.
//!
//! Two kinds of work, one after the other: contexts that compute, and contexts that read from daemons, each with a daemon of
//! its own. Each prints one line: `scale: WORK count=N ticks=N`, with what was done in between two readings of the clock, and
//! how the lock around the kernel's state was used meanwhile. Then one context whose ring is polled; its line ends with how
//! often it entered the kernel all the same.
#![forbid(unsafe_code)]

use crate::cases::kernel::lock_use;
use crate::guest::Guest;
use crate::on_ring::{Check, Running, call, on_ring, same, start};
use crate::verdict::{Failed, Verdict};
use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use bare::Ring;
use bare::clock::ticks;
use core::hint::{black_box, spin_loop};
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;
use posix::flags::O_RDONLY;
use posix::open::open;
use ring_abi::args::{Nop, Read, RingPoll, polling};
use ring_abi::layout::{Sizes, word};
use uring::println;

/// Milliseconds before the first reading, in which tasks spread over processors and records come into use.
const WARM: u64 = 300;
/// Milliseconds between the two readings.
const WINDOW: u64 = 1000;
/// Operations through a ring that is polled, and how many of them are shown at once.
const OPERATIONS: u64 = 8_000;
const AT_ONCE: u64 = 4;
/// Rounds of computation that count as one.
const ROUNDS: u64 = 1000;

/// A task's count: on a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Count(AtomicU64);

/// Measures both kinds of work.
pub(crate) fn measure(tasks: u64) -> Verdict {
    let guest = Guest::new("scale");
    one(&guest, "compute", tasks, |_, count| start(Sizes::SMALLEST, computes(count)))?;
    one(&guest, "rings", tasks, |index, count| {
        let name = format!("scale{index}");
        guest.daemon(&["null", &name])?;
        let file = open(format!("/scheme/{name}/zero").as_bytes(), O_RDONLY, 0)?;
        start(Sizes::SMALLEST, reads(file.0, count))
    })?;
    polled()
}

/// Does operations through a ring that is polled, a few at a time, and counts how often the kernel had to be entered for one.
fn polled() -> Verdict {
    static FOUND: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
    on_ring(|ring| {
        let others = ring.call(RingPoll { idle: polling::LONGEST }.encode(1));
        same(1, u64::from(others.is_ok()), 1)?;
        while others != Ok(0) && ring.header(word::SQ_SLEEPS).load(Relaxed) != 0 {
            call(2, ring, Nop {}.encode(1), Ok(0))?;
        }
        let (began, mut traps) = (ticks(), 0_u64);
        for _ in 0..OPERATIONS / AT_ONCE {
            for _ in 0..AT_ONCE {
                same(3, u64::from(ring.push(Nop {}.encode(1)).is_ok()), 1)?;
            }
            if ring.show() {
                traps = traps.wrapping_add(1);
                same(4, ring.enter(0), 0)?;
            }
            for _ in 0..AT_ONCE {
                while ring.pop().is_none() {
                    spin_loop();
                }
            }
        }
        for (place, found) in FOUND.iter().zip([ticks().wrapping_sub(began), traps]) {
            place.store(found, Relaxed);
        }
        Ok(())
    })?;
    let [took, traps] = FOUND.each_ref().map(|place| place.load(Relaxed));
    println!("scale: polled count={OPERATIONS} ticks={took} traps={traps}");
    Ok(())
}

fn one(
    guest: &Guest,
    work: &str,
    tasks: u64,
    begin: impl Fn(u64, &'static Count) -> Result<Running, Failed>,
) -> Verdict {
    let mut all = Vec::new();
    for index in 0..tasks {
        let count: &'static Count = Box::leak(Box::default());
        all.push((begin(index, count)?, count));
    }
    let sum = || all.iter().fold(0_u64, |sum, (_, count)| sum.wrapping_add(count.0.load(Relaxed)));
    guest.sleep(WARM)?;
    let used = lock_use()?;
    let (before, began) = (sum(), ticks());
    guest.sleep(WINDOW)?;
    let (after, ended) = (sum(), ticks());
    let mut lock = lock_use()?;
    lock.iter_mut().zip(used).for_each(|(after, before)| *after = after.wrapping_sub(before));
    let [taken, waits, sleeps, waited, held] = lock;
    println!(
        "scale: {work} count={} ticks={} taken={taken} waits={waits} sleeps={sleeps} waited={waited} held={held}",
        after.wrapping_sub(before),
        ended.wrapping_sub(began),
    );
    for (running, _) in all {
        running.kill()?;
        running.end()?;
    }
    Ok(())
}

/// Computes for ever, and counts.
fn computes(count: &'static Count) -> impl Fn(&Ring) -> Check + Send + Sync + 'static {
    move |_| {
        let mut number = 1_u64;
        loop {
            for _ in 0..ROUNDS {
                number = black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
            }
            count.0.store(count.0.load(Relaxed).wrapping_add(1), Relaxed);
        }
    }
}

/// Reads a byte for ever, each time with a call of its own as the library makes it, and counts.
fn reads(file: u64, count: &'static Count) -> impl Fn(&Ring) -> Check + Send + Sync + 'static {
    move |ring| {
        let byte = [1_u8];
        let buffer = byte.as_ptr().addr() as u64;
        loop {
            let read = Read { fd: file, buffer, length: 1, offset: 0 }.encode(1);
            same(1, u64::from(ring.push(read).is_ok()), 1)?;
            same(2, ring.enter_for_one(), 0)?;
            same(3, ring.pop().map_or(0, |entry| entry.result().unwrap_or(0)), 1)?;
            count.0.store(count.0.load(Relaxed).wrapping_add(1), Relaxed);
        }
    }
}
