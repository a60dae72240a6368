//! Operations that complete again and again, and the end of many at once.
#![forbid(unsafe_code)]

use super::pingpong::{start, stop};
use crate::harness::{Bench, Failure, Outcome, ensure};
use alloc::vec::Vec;
use bare::clock::ticks;
use bench::report::Unit;
use core::hint::black_box;
use core::time::Duration;
use posix::file::{close, write};
use posix::flags::O_RDWR;
use posix::open::open;
use ring_abi::Errno;
use ring_abi::args::event;
use uring::block_on;
use uring::op::repeat::{events, incoming};
use uring::op::system::{Cancel, cancel_all, nop};
use uring::op::time::{after, every};

/// How often an interval expires: no oftener than the kernel lets it complete.
const PERIOD: Duration = Duration::from_micros(200);
/// Rounds of a loop that takes some tens of periods.
const ROUNDS: u64 = 200_000;
/// Operations that are cancelled at once.
const CROWD: u64 = 32;

/// How much longer a computation takes for each expiry of an interval meanwhile.
pub(crate) fn interval(bench: &mut Bench) -> Outcome {
    let mut readings = Vec::new();
    compute();
    for _ in 0..bench.few_samples() / 4 {
        let alone = compute();
        let mut stream = every(PERIOD).submit();
        let beside = compute();
        let expired = block_on(stream.next()).ok_or(Failure::Wrong("an interval ended"))??;
        ensure(expired > 10, "an interval expired too seldom")?;
        drop(stream);
        // Its cancel goes with the next entry.
        nop().wait()?;
        readings.push(beside.saturating_sub(alone).checked_div(expired).unwrap_or(0));
    }
    bench.row("timer.repeat", Unit::Instructions, bench.spread(&readings, 1)?);
    Ok(())
}

/// Ticks of a loop.
fn compute() -> u64 {
    let start = ticks();
    for round in 0..ROUNDS {
        black_box(round);
    }
    ticks().wrapping_sub(start)
}

/// A byte into a pipe, and the event of its other end.
pub(crate) fn poll(bench: &mut Bench) -> Outcome {
    let relay = start(&["relay", "bench-events"])?;
    let near = open(b"/scheme/bench-events/0", O_RDWR, 0)?;
    let far = open(b"/scheme/bench-events/1", O_RDWR, 0)?;
    let mut stream = events(far, event::READ).submit();
    after(Duration::from_millis(1)).wait()?;
    let outcome = bench.time("poll.multishot", 1, || {
        write(near, b"x")?;
        block_on(stream.next()).unwrap_or(Err(Errno::IO)).map(|_| ())
    });
    drop(stream);
    close(near)?;
    close(far)?;
    stop(relay)?;
    outcome
}

/// A handle that comes in, and is closed.
pub(crate) fn accept(bench: &mut Bench) -> Outcome {
    let relay = start(&["relay", "bench-accept"])?;
    let fd = open(b"/scheme/bench-accept/0", O_RDWR, 0)?;
    let mut stream = incoming(fd, b"endless".to_vec());
    let outcome = bench.time("accept.multishot", 1, || {
        let handle = block_on(stream.next()).unwrap_or(Err(Errno::IO))?;
        close(handle)
    });
    drop(stream);
    close(fd)?;
    stop(relay)?;
    outcome
}

/// The end of many timeouts by one cancel, each.
pub(crate) fn cancel(bench: &mut Bench) -> Outcome {
    let mut readings = Vec::new();
    for _ in 0..bench.few_samples() {
        let crowd: Vec<_> = (0..CROWD).map(|_| after(Duration::from_secs(3600)).submit()).collect();
        let start = ticks();
        let ended = cancel_all(Cancel::Force).wait();
        readings.push(ticks().wrapping_sub(start));
        ensure(ended == Ok(CROWD), "not all were cancelled")?;
        drop(crowd);
    }
    bench.row("cancel.all", Unit::Instructions, bench.spread(&readings, CROWD)?);
    Ok(())
}
