//! A deadline to its waiter: how much later than asked a timeout ends.
//!
//! The machine is idle meanwhile, so setting the timer, its interrupt and the way back to the waiter are all of it.
#![forbid(unsafe_code)]

use crate::footprint::number;
use crate::harness::{Bench, Failure, Outcome};
use alloc::vec::Vec;
use bare::clock::ticks;
use bench::report::Unit;
use core::time::Duration;
use uring::op::time::after;

/// How long a timeout is: longer than setting it takes.
const NANOSECONDS: u64 = 1_000_000;

pub(crate) fn run(bench: &mut Bench) -> Outcome {
    let per_second = number("/scheme/sys/step", "ticks_per_second")?;
    let wanted = u128::from(per_second).saturating_mul(u128::from(NANOSECONDS)) / 1_000_000_000;
    let wanted = u64::try_from(wanted).map_err(|_| Failure::Wrong("the counter is too fast"))?;
    let mut readings = Vec::new();
    for _ in 0..bench.few_samples() {
        let start = ticks();
        after(Duration::from_nanos(NANOSECONDS)).wait()?;
        let late = ticks().wrapping_sub(start).checked_sub(wanted);
        readings.push(late.ok_or(Failure::Wrong("a timeout ended early"))?);
    }
    bench.row("timer.wait", Unit::Instructions, bench.spread(&readings, 1)?);
    Ok(())
}
