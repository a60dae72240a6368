//! What the kernel tells of itself after all that: boot, its longest step, how deep its stack was.
#![forbid(unsafe_code)]

use crate::footprint::number;
use crate::harness::{Bench, Failure, Outcome};
use bench::report::Unit;
use bench::stats::Figure;
use posix::file::{close, write_all};
use posix::flags::O_WRONLY;
use posix::open::open;
use uring::println;
use uring::start::env::var;

const STEP: &str = "/scheme/sys/step";
/// The rows.
pub(crate) const ROWS: &[&str] =
    &["boot.to_init", "boot.to_bench", "step.longest", "stack.high_water", "stack.boot", "stack.side"];

/// Instructions of the kernel's longest step, and what kind of event it was for.
pub(crate) fn longest_step(bench: &Bench) -> Result<(Figure, u64), Failure> {
    let ticks = number(STEP, "longest_step_ticks")?;
    Ok((bench.scale().whole_instructions(ticks), number(STEP, "longest_step_kind")?))
}

/// From now on the longest step is sought anew.
pub(crate) fn forget_longest_step() -> Outcome {
    let fd = open(STEP.as_bytes(), O_WRONLY, 0)?;
    write_all(fd, b"0")?;
    Ok(close(fd)?)
}

pub(crate) fn run(bench: &mut Bench) -> Outcome {
    let boot = bench.started.wrapping_sub(number(STEP, "boot_ticks")?);
    bench.exact("boot.to_bench", Unit::Instructions, bench.scale().whole_instructions(boot));
    if let Some(began) = var("INIT_TICKS").and_then(|ticks| ticks.parse::<u64>().ok()) {
        let boot = began.wrapping_sub(number(STEP, "boot_ticks")?);
        bench.exact("boot.to_init", Unit::Instructions, bench.scale().whole_instructions(boot));
    }
    let (longest, kind) = longest_step(bench)?;
    bench.exact("step.longest", Unit::Instructions, longest);
    println!("bench: the longest step was of kind {kind}");
    bench.exact("stack.high_water", Unit::Bytes, Figure::whole(number(STEP, "stack_high_water")?));
    bench.exact("stack.boot", Unit::Bytes, Figure::whole(number(STEP, "stack_of_boot")?));
    bench.exact("stack.side", Unit::Bytes, Figure::whole(number(STEP, "side_stack_bytes")?));
    Ok(())
}
