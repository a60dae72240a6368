//! An empty operation: what a ring costs by itself.
#![forbid(unsafe_code)]

use crate::harness::{Bench, Outcome};
use uring::op::batch::Batch;
use uring::op::system::nop;

/// One per trap: a blocking call of the runtime.
pub(crate) fn one(bench: &mut Bench) -> Outcome {
    bench.time("nop.1", 1, || nop().wait())
}

/// Eight per trap.
pub(crate) fn eight(bench: &mut Bench) -> Outcome {
    batch(bench, "nop.8", 8)
}

/// Thirty-two per trap.
pub(crate) fn thirty_two(bench: &mut Bench) -> Outcome {
    batch(bench, "nop.32", 32)
}

/// A hundred and twenty-eight per trap.
pub(crate) fn many(bench: &mut Bench) -> Outcome {
    batch(bench, "nop.128", 128)
}

fn batch(bench: &Bench, name: &str, depth: u64) -> Outcome {
    let mut batch = Batch::new((0..depth).map(|_| nop()));
    bench.time(name, depth, || {
        batch.wait();
        Ok(())
    })?;
    batch.finish().into_iter().collect::<Result<(), _>>()?;
    Ok(())
}
