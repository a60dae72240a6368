//! How late a deadline's waiter runs, while others want the processor: one that spins, and one that floods a daemon.
//!
//! The waiter sleeps most of the time, so it has used less than the others and is to go first whenever it wakes. What it
//! waits for is the step that runs then, the interrupt, and its own way back.
#![forbid(unsafe_code)]

use crate::footprint::number;
use crate::harness::{Bench, Failure, Outcome, ensure};
use alloc::boxed::Box;
use alloc::vec::Vec;
use bare::clock::ticks;
use bare::{Bare, Ring, context};
use bench::report::Unit;
use core::ptr;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;
use core::time::Duration;
use posix::file::close;
use posix::flags::O_RDONLY;
use posix::open::open;
use ring_abi::args::Read;
use ring_abi::context::End;
use ring_abi::layout::Sizes;
use uring::op::time::after;

/// Wake-ups of a row.
const COUNT: usize = 2000;
/// How long each is slept, and a number that the length of a step has nothing to do with.
const NANOSECONDS: u64 = 203_417;
/// Reads that are in flight at once.
const DEPTH: u64 = 32;
const RING: Sizes = Sizes { sq: 5, cq: 5, service: None };
const STACK: u64 = 16384;

/// The rows.
pub(crate) const ROWS: &[&str] =
    &["latency.spinner", "latency.spinner.p999", "latency.flood", "latency.flood.p999"];

/// What the neighbour sees.
struct Stage {
    /// Not zero when it is to end.
    stop: AtomicU64,
    /// The file that it reads.
    fd: u64,
    /// Where the bytes go.
    sink: AtomicU64,
}

fn spin(_: &Ring, stage: &'static Stage) -> u8 {
    while stage.stop.load(Relaxed) == 0 {
        core::hint::spin_loop();
    }
    0
}

fn flood(ring: &Ring, stage: &'static Stage) -> u8 {
    let buffer = ptr::from_ref(&stage.sink).addr() as u64;
    while stage.stop.load(Relaxed) == 0 {
        for tag in 0..DEPTH {
            let read = Read { fd: stage.fd, buffer, length: 1, offset: 0 };
            if ring.push(read.encode(tag as u32)).is_err() {
                return 1;
            }
        }
        if ring.enter(DEPTH) != 0 {
            return 1;
        }
        ring.drop_all();
    }
    0
}

pub(crate) fn run(bench: &mut Bench) -> Outcome {
    let fd = open(b"/scheme/null/zero", O_RDONLY, 0)?;
    for (name, last, body) in [
        ("latency.spinner", "latency.spinner.p999", spin as context::Body<Stage>),
        ("latency.flood", "latency.flood.p999", flood),
    ] {
        let stage: &'static Stage =
            Box::leak(Box::new(Stage { stop: AtomicU64::new(0), fd: fd.0, sink: AtomicU64::new(0) }));
        let neighbour = context::start(body, stage, STACK, RING)?;
        let readings = wake_ups();
        stage.stop.store(1, Relaxed);
        end(neighbour)?;
        let mut readings = readings?;
        bench.row(name, Unit::Instructions, bench.spread(&readings, 1)?);
        readings.sort_unstable();
        let late = readings.iter().rev().nth(COUNT / 1000).copied().unwrap_or_default();
        bench.exact(last, Unit::Instructions, bench.scale().instructions(late, 1));
    }
    close(fd)?;
    Ok(())
}

fn end(neighbour: Bare) -> Outcome {
    let end = neighbour.join()?;
    ensure(end == End::Exited(0), "the neighbour failed")
}

/// Ticks from each deadline to its waiter.
fn wake_ups() -> Result<Vec<u64>, Failure> {
    let per_second = number("/scheme/sys/step", "ticks_per_second")?;
    let wanted = u128::from(per_second).saturating_mul(u128::from(NANOSECONDS)) / 1_000_000_000;
    let wanted = u64::try_from(wanted).map_err(|_| Failure::Wrong("the counter is too fast"))?;
    let mut readings = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        let start = ticks();
        after(Duration::from_nanos(NANOSECONDS)).wait()?;
        let late = ticks().wrapping_sub(start).checked_sub(wanted);
        readings.push(late.ok_or(Failure::Wrong("a timeout ended early"))?);
    }
    Ok(readings)
}
