//! Bytes of an operation in flight, and of a small process.
#![forbid(unsafe_code)]

use super::pingpong::{start, start_program, stop};
use crate::footprint::Footprint;
use crate::harness::{Bench, Failure, Outcome, ensure};
use alloc::vec;
use alloc::vec::Vec;
use bench::report::Unit;
use bench::stats::Figure;
use posix::flags::O_RDONLY;
use posix::open::open;
use uring::op::file::{At, read};

/// Operations in flight: fewer than this program's completion queue and the daemon's request queue hold.
const OPERATIONS: u64 = 200;
/// Processes at once.
const PROCESSES: u64 = 16;

/// Kernel bytes of a read that a daemon has and does not answer: its record, and its entry in the daemon's table of
/// tags. That there are as many records more as reads were sent is checked.
pub(crate) fn operation(bench: &mut Bench) -> Outcome {
    let mute = start(&["mute", "bench-mute", "8"])?;
    let outcome = count_operations(bench);
    stop(mute)?;
    outcome
}

fn count_operations(bench: &Bench) -> Outcome {
    let fd = open(b"/scheme/bench-mute/x", O_RDONLY, 0)?;
    let before = Footprint::settled()?;
    let reads: Vec<_> = (0..OPERATIONS).map(|_| read(fd, vec![0_u8; 1], At::Offset(0)).submit()).collect();
    let after = Footprint::now()?;
    after.check_since(&before)?;
    let more = after.live("operations")?.wrapping_sub(before.live("operations")?);
    if more != OPERATIONS {
        return Err(Failure::Differ("records of operations, reads", more, OPERATIONS));
    }
    let each = after.each("operations")?.saturating_add(after.each("slots")?);
    bench.exact("mem.op", Unit::Bytes, Figure::whole(each));
    drop(reads); // cancelled; the daemon's end settles them
    Ok(())
}

/// Rows of a small process beside the kernel's part.
pub(crate) const PROCESS_ROWS: &[&str] = &["mem.process.rings", "mem.process.user"];

/// Bytes of a process of one thread that waits (program `still`): what the kernel keeps for itself, page tables among
/// it; its ring's page; its own memory. What the process table in `bootstrap` adds is in none of them.
pub(crate) fn process(bench: &mut Bench) -> Outcome {
    let first = start_program(&["still"])?; // tables that grow by more than one grow now
    let before = Footprint::settled()?;
    let mut all = vec![first];
    for _ in 0..PROCESSES {
        all.push(start_program(&["still"])?);
    }
    let after = Footprint::settled()?;
    for pid in all {
        stop(pid)?;
    }
    after.check_since(&before)?;
    let more = after.live("contexts")?.wrapping_sub(before.live("contexts")?);
    ensure(more == PROCESSES, "each process should have one context")?;
    let each = |bytes: u64| Figure::quotient(bytes, PROCESSES);
    let more = |name| Ok::<u64, Failure>(after.bytes(name)?.wrapping_sub(before.bytes(name)?));
    bench.exact("mem.process", Unit::Bytes, each(after.kernel()?.wrapping_sub(before.kernel()?)));
    bench.exact("mem.process.rings", Unit::Bytes, each(more("frames.rings")?));
    bench.exact("mem.process.user", Unit::Bytes, each(more("frames.program")?));
    Ok(())
}
