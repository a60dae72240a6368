//! What the kernel tells of itself after all that: boot, its longest step, how deep its stack was.
#![forbid(unsafe_code)]

use crate::footprint::number;
use crate::harness::{Bench, Outcome};
use bench::report::Unit;
use bench::stats::Figure;
use uring::println;

const STEP: &str = "/scheme/sys/step";
/// The rows.
pub(crate) const ROWS: &[&str] = &["boot.to_bench", "step.longest", "stack.high_water", "stack.side"];

pub(crate) fn run(bench: &mut Bench) -> Outcome {
    let boot = bench.started.wrapping_sub(number(STEP, "boot_ticks")?);
    bench.exact("boot.to_bench", Unit::Instructions, bench.scale().whole_instructions(boot));
    let longest = number(STEP, "longest_step_ticks")?;
    bench.exact("step.longest", Unit::Instructions, bench.scale().whole_instructions(longest));
    println!("bench: the longest step was one of kind {}", number(STEP, "longest_step_kind")?);
    bench.exact("stack.high_water", Unit::Bytes, Figure::whole(number(STEP, "stack_high_water")?));
    bench.exact("stack.side", Unit::Bytes, Figure::whole(number(STEP, "side_stack_bytes")?));
    Ok(())
}
