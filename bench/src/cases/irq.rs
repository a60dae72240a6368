//! An interrupt to its waiter in user mode.
//!
//! Writing to `/scheme/irq/test` makes the processor's interrupt controller interrupt it, which happens as soon as the
//! writer is back in user mode. The waiter, another thread, looks at the clock as soon as it runs. What comes before
//! the interrupt is taken off: it is what a write of no bytes takes, which goes the same way through the kernel and raises
//! nothing. Both ways end with taking a completion, which is taken off with it. What is left begins with the first
//! instruction of the interrupt's stub and ends with the first one of the waiter in user mode.
#![forbid(unsafe_code)]

use crate::harness::{Bench, Failure, Outcome};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use bare::clock::ticks;
use bare::{Ring, context, shared};
use bench::report::Unit;
use bench::stats::Spread;
use core::ptr;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;
use core::time::Duration;
use posix::file::close;
use posix::flags::O_RDWR;
use posix::open::open;
use ring_abi::args::{CURSOR, Read};
use ring_abi::context::End;
use ring_abi::layout::Sizes;
use uring::op::file::{At, write};
use uring::op::time::after;

const WARM_UP: usize = 20;

struct Wire {
    fd: u64,
    /// The counter when the waiter ran, for each interrupt; the last word is where reads go.
    seen: &'static [AtomicU64],
}

/// Waits for one interrupt after the other.
fn waiter(ring: &Ring, wire: &'static Wire) -> u8 {
    let Some((room, seen)) = wire.seen.split_last() else { return 1 };
    let buffer = ptr::from_ref(room).addr() as u64;
    for place in seen {
        let result = ring.call(Read { fd: wire.fd, buffer, length: 8, offset: CURSOR }.encode(1));
        place.store(ticks(), Relaxed);
        if result != Ok(8) {
            return 1;
        }
    }
    0
}

pub(crate) fn run(bench: &mut Bench) -> Outcome {
    let count = bench.few_samples().wrapping_add(WARM_UP);
    let fd = open(b"/scheme/irq/test", O_RDWR, 0)?;
    let wire: &'static Wire =
        Box::leak(Box::new(Wire { fd: fd.0, seen: shared::words(count.wrapping_add(1))? }));
    let waiter = context::start(waiter, wire, 8192, Sizes::SMALLEST)?;
    after(Duration::from_millis(1)).wait()?;
    let mut starts = vec![0; count];
    for (start, seen) in starts.iter_mut().zip(wire.seen) {
        *start = ticks();
        write(fd, &b"1"[..], At::Cursor).wait().0?;
        // The waiter has run by now, unless the slice ended here. Two interrupts before it runs would be one for it, and it
        // would wait for the last for ever.
        while seen.load(Relaxed) == 0 {
            after(Duration::from_millis(1)).wait()?;
        }
    }
    match waiter.join()? {
        End::Exited(0) => {}
        _ => return Err(Failure::Wrong("a wait for an interrupt failed")),
    }
    let way_there = way_there(bench, count, || write(fd, &b""[..], At::Cursor).wait().0.map(|_| ()))?;
    close(fd)?;
    let pairs = starts.iter().zip(wire.seen).skip(WARM_UP);
    let readings: Vec<u64> = pairs.map(|(start, seen)| seen.load(Relaxed).wrapping_sub(*start)).collect();
    bench.row("irq.wait", Unit::Instructions, bench.spread(&readings, 1)?.less(way_there.median));
    Ok(())
}

/// What it costs to ask the kernel for something about the file and to come back.
fn way_there(
    bench: &Bench,
    count: usize,
    mut ask: impl FnMut() -> Result<(), ring_abi::Errno>,
) -> Result<Spread, Failure> {
    let mut readings = vec![0; count];
    for reading in &mut readings {
        let start = ticks();
        ask()?;
        *reading = ticks().wrapping_sub(start);
    }
    bench.spread(readings.get(WARM_UP..).unwrap_or_default(), 1)
}
