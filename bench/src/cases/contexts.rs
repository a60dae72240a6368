//! Many contexts of one process, blocked at once: how many bytes each one takes, and how many there can be.
//!
//! Each has its own ring of the smallest size, one page of stack and an empty page below it. They are made in a child
//! process, which ends with all of them.
#![forbid(unsafe_code)]

use super::pingpong::{start as start_daemon, stop};
use crate::footprint::Footprint;
use crate::harness::{Bench, Failure, Outcome};
use alloc::boxed::Box;
use bare::context::start;
use bare::{Ring, shared};
use bench::report::Unit;
use bench::stats::Figure;
use core::ptr;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::Relaxed;
use core::time::Duration;
use posix::flags::O_RDONLY;
use posix::fork::{Fork, fork};
use posix::open::open;
use posix::process::{exit, wait_end};
use posix::protocol::{Target, Wait};
use ring_abi::args::{FutexWait, Read};
use ring_abi::context::End;
use ring_abi::layout::Sizes;
use ring_abi::{Errno, Sqe};
use uring::op::time::after;
use uring::{eprintln, println};

const PAGE: u64 = 4096;
/// More than fit into any guest that this is meant for.
const MOST: u64 = 1_000_000;
/// Kernel records and page tables of each, as counted at 10,000: rows of section "memory" of the table.
pub(crate) const ROWS: &[&str] = &["mem.context", "mem.context_total"];

/// In what they wait.
#[derive(Clone, Copy)]
enum In {
    Futex,
    Read,
}

/// What all of them see.
struct Crowd {
    /// How many have come to the point where they wait.
    arrived: &'static [AtomicU32],
    /// A file whose daemon never answers, for those who read.
    fd: u64,
}

/// Waits for a word on its own stack that nobody ever wakes.
fn in_futex(ring: &Ring, crowd: &'static Crowd) -> u8 {
    let word = AtomicU32::new(0);
    let address = ptr::from_ref(&word).addr() as u64;
    wait(ring, crowd, FutexWait { address, expected: 0, deadline: u64::MAX }.encode(0))
}

/// Waits for a byte that never comes.
fn in_read(ring: &Ring, crowd: &'static Crowd) -> u8 {
    let byte = AtomicU32::new(0);
    let buffer = ptr::from_ref(&byte).addr() as u64;
    wait(ring, crowd, Read { fd: crowd.fd, buffer, length: 1, offset: 0 }.encode(0))
}

fn wait(ring: &Ring, crowd: &'static Crowd, entry: Sqe) -> u8 {
    for count in crowd.arrived {
        count.fetch_add(1, Relaxed);
    }
    let _ = ring.call(entry);
    1 // nobody ends the wait but the end of all
}

pub(crate) fn futex_1k(bench: &mut Bench) -> Outcome {
    in_child(|| count(bench, "contexts.futex.1000", In::Futex, 1000))
}

pub(crate) fn futex_10k(bench: &mut Bench) -> Outcome {
    in_child(|| count(bench, "contexts.futex.10000", In::Futex, 10_000))
}

pub(crate) fn futex_100k(bench: &mut Bench) -> Outcome {
    in_child(|| count(bench, "contexts.futex.100000", In::Futex, 100_000))
}

pub(crate) fn read_1k(bench: &mut Bench) -> Outcome {
    beside_mute(|| count(bench, "contexts.read.1000", In::Read, 1000))
}

pub(crate) fn read_10k(bench: &mut Bench) -> Outcome {
    beside_mute(|| count(bench, "contexts.read.10000", In::Read, 10_000))
}

pub(crate) fn read_100k(bench: &mut Bench) -> Outcome {
    beside_mute(|| count(bench, "contexts.read.100000", In::Read, 100_000))
}

/// As many as there is memory for.
pub(crate) fn fill(bench: &mut Bench) -> Outcome {
    in_child(|| {
        let total = Footprint::now()?.bytes("frames.total")?;
        if !(900 << 20..=1 << 30).contains(&total) {
            return Err(Failure::Wrong("the guest does not have 1 GiB: run it with --memory 1G"));
        }
        let crowd = Crowd::new(In::Futex)?;
        let made = crowd.make(In::Futex, MOST, true)?;
        crowd.await_all(made)?;
        bench.exact("contexts.1gib", Unit::Contexts, Figure::whole(made));
        Ok(())
    })
}

fn beside_mute(act: impl FnOnce() -> Outcome) -> Outcome {
    let mute = start_daemon(&["mute", "bench-mute", "6"])?;
    let outcome = in_child(act);
    stop(mute)?;
    outcome
}

/// Does something in a process of its own, whose memory goes with it.
fn in_child(act: impl FnOnce() -> Outcome) -> Outcome {
    let pid = match fork()? {
        Fork::Parent(pid) => pid,
        Fork::Child => exit(act().map_or_else(
            |why| {
                eprintln!("bench: {why}");
                1
            },
            |()| 0,
        )),
    };
    match wait_end(Wait { target: Target::Process(pid), at_once: false })? {
        Some((_, End::Exited(0))) => Ok(()),
        Some((_, End::Exited(_))) => Err(Failure::Wrong("see the line above")),
        _ => Err(Failure::Wrong("the process that makes the contexts was ended")),
    }
}

impl Crowd {
    fn new(what: In) -> Result<&'static Crowd, Failure> {
        let fd = match what {
            In::Futex => 0,
            In::Read => open(b"/scheme/bench-mute/x", O_RDONLY, 0)?.0,
        };
        Ok(Box::leak(Box::new(Crowd { arrived: shared::words(1)?, fd })))
    }

    /// Makes `most` contexts; fewer only if `until_full`. How many.
    fn make(&'static self, what: In, most: u64, until_full: bool) -> Result<u64, Failure> {
        let body = match what {
            In::Futex => in_futex,
            In::Read => in_read,
        };
        for made in 0..most {
            match self.one(body) {
                Ok(()) => {}
                Err(Errno::NOMEM) if until_full => return Ok(made),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(most)
    }

    fn one(&'static self, body: bare::context::Body<Crowd>) -> Result<(), Errno> {
        start(body, self, PAGE, Sizes::SMALLEST)?.let_go()
    }

    /// Waits until so many have come.
    fn await_all(&self, count: u64) -> Outcome {
        for _ in 0..10_000 {
            let arrived = self.arrived.first().map_or(0, |count| count.load(Relaxed));
            if u64::from(arrived) == count {
                // The last one is on its way into the kernel: a moment later it waits there.
                after(Duration::from_millis(2)).wait()?;
                return Ok(());
            }
            after(Duration::from_millis(5)).wait()?;
        }
        Err(Failure::Wrong("not all contexts ran"))
    }
}

/// Makes contexts and prints what each one takes.
fn count(bench: &Bench, name: &str, what: In, count: u64) -> Outcome {
    let crowd = Crowd::new(what)?;
    crowd.make(what, 64, false)?; // what grows by large pieces grows now
    crowd.await_all(64)?;
    let before = Footprint::settled()?;
    crowd.make(what, count, false)?;
    crowd.await_all(count.wrapping_add(64))?;
    let after = Footprint::settled()?;
    after.check_since(&before)?;
    let more = |name| Ok::<u64, Failure>(after.bytes(name)?.wrapping_sub(before.bytes(name)?));
    let operations = after.live("operations")?.wrapping_sub(before.live("operations")?);
    if operations != count {
        return Err(Failure::Differ("operations that wait, contexts", operations, count));
    }
    let each = |bytes: u64| Figure::quotient(bytes, count);
    let kernel = after.kernel()?.wrapping_sub(before.kernel()?);
    let (rings, user) = (more("frames.rings")?, more("frames.program")?);
    for (part, bytes) in [("kernel", kernel), ("rings", rings), ("user", user)] {
        bench.exact(&alloc::format!("{name}.{part}"), Unit::Bytes, each(bytes));
    }
    if bench.verbose {
        for (kind, more, size) in after.more_than(&before) {
            println!("bench: {name}: {more} {kind} of {size} bytes");
        }
    }
    if name == "contexts.futex.10000" {
        // A ring is its memory and the kernel's record of it, an operation its record: who has more than one of them pays
        // for each. The channel of the futex that each one alone waits on is counted.
        let apart = more("operations")?.saturating_add(more("rings")?);
        bench.exact("mem.context", Unit::Bytes, each(kernel.saturating_sub(apart)));
        bench.exact("mem.context_total", Unit::Bytes, each(kernel.saturating_add(rings)));
    }
    Ok(())
}
