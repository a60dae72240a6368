//! Shares of the processor over ten seconds, where time is counted instructions: `qtest --counted`.
//!
//! Each context measures itself: it reads the counter in a loop, and what lies between two readings is its own unless it is
//! so long that somebody else must have run. For a client that includes its daemon, which runs on its time.
#![forbid(unsafe_code)]

use super::tests;
use crate::guest::Guest;
use crate::on_ring::{Check, Running, call, start};
use crate::verdict::{Failed, Verdict, ensure, equal};
use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use bare::Ring;
use bare::clock::ticks;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;
use posix::flags::O_RDONLY;
use posix::open::open;
use ring_abi::args::Read;
use ring_abi::context::{End, Reason};
use ring_abi::layout::Sizes;
use uring::op::context::weigh;
use uring::println;

tests! {
    shares_are_within_two_percent_of_the_weights_over_ten_seconds,
}

/// Milliseconds before the first reading.
const WARM: u64 = 300;
/// Milliseconds between the two readings.
const WINDOW: u64 = 10_000;
/// Ticks between two readings that somebody else must have used: much less than a turn, and more than any read takes.
const GAP: u64 = 200_000;
/// How far a share may be from what its weight says, in thousandths of that.
const OFF: u64 = 20;

/// What a context had of the processor, in ticks: on a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Had(AtomicU64);

impl Had {
    fn fresh() -> &'static Had {
        Box::leak(Box::default())
    }

    /// Adds what has passed since the last reading, and is this one.
    fn until_now(&self, last: &mut u64) {
        let now = ticks();
        let passed = now.wrapping_sub(*last);
        *last = now;
        if passed < GAP {
            self.0.store(self.0.load(Relaxed).wrapping_add(passed), Relaxed);
        }
    }
}

/// Somebody who always wants the processor.
struct Wants {
    what: &'static str,
    weight: u16,
    had: &'static Had,
    running: Running,
}

impl Wants {
    fn with(
        what: &'static str,
        weight: u16,
        body: impl Fn(&Ring, &'static Had) -> Check + Send + Sync + 'static,
    ) -> Result<Wants, Failed> {
        let had = Had::fresh();
        let running = start(Sizes::SMALLEST, move |ring| body(ring, had))?;
        weigh(running.handle(), weight).wait()?;
        Ok(Wants { what, weight, had, running })
    }

    /// Computes for ever.
    fn spinner(weight: u16) -> Result<Wants, Failed> {
        Wants::with("spinner", weight, |_, had| {
            let mut last = ticks();
            loop {
                had.until_now(&mut last);
            }
        })
    }

    /// Reads so many bytes for ever, each time with a call of its own, from a daemon that serves nobody else.
    fn client(guest: &Guest, what: &'static str, weight: u16, length: usize) -> Result<Wants, Failed> {
        let scheme = format!("shares{weight}");
        guest.daemon(&["null", &scheme])?;
        let fd = open(format!("/scheme/{scheme}/zero").as_bytes(), O_RDONLY, 0)?.0;
        let room: &'static [u8] = alloc::vec![1; length].leak();
        Wants::with(what, weight, move |ring, had| {
            let (buffer, length) = (room.as_ptr().addr() as u64, room.len() as u64);
            let mut last = ticks();
            loop {
                call(1, ring, Read { fd, buffer, length, offset: 0 }.encode(1), Ok(length))?;
                had.until_now(&mut last);
            }
        })
    }
}

fn shares_are_within_two_percent_of_the_weights_over_ten_seconds(guest: &Guest) -> Verdict {
    let mut all = Vec::new();
    for weight in [20, 30, 40, 60, 100] {
        all.push(Wants::spinner(weight)?);
    }
    all.push(Wants::client(guest, "client that reads a byte at a time", 50, 1)?);
    all.push(Wants::client(guest, "client that reads a page at a time", 80, 4096)?);
    let had = || all.iter().map(|one| one.had.0.load(Relaxed)).collect::<Vec<_>>();
    guest.sleep(WARM)?;
    let (before, began) = (had(), ticks());
    guest.sleep(WINDOW)?;
    let (after, ended) = (had(), ticks());
    let had: Vec<u64> = after.iter().zip(before).map(|(after, before)| after.wrapping_sub(before)).collect();
    let sum: u64 = had.iter().sum();
    let weights: u64 = all.iter().map(|one| u64::from(one.weight)).sum();
    let span = ended.wrapping_sub(began);
    println!("measured: {sum} of {span} ticks were used");
    let mut is_fair = true;
    for (one, had) in all.iter().zip(had) {
        let per_weight = had.saturating_mul(weights) / u64::from(one.weight);
        let thousandths = per_weight.saturating_mul(1000) / sum.max(1);
        println!("measured: {} of weight {}: {had} ticks, {thousandths} thousandths", one.what, one.weight);
        is_fair &= thousandths.abs_diff(1000) <= OFF;
    }
    for one in all {
        one.running.kill()?;
        equal(one.running.end()?, End::Ended(Reason::Killed))?;
    }
    ensure(span > WINDOW.saturating_mul(900_000), "the time was not ten seconds")?;
    ensure(sum > span / 100 * 97, "much of the time was nobody's")?;
    ensure(is_fair, "a share is more than 2 % off its weight")
}
