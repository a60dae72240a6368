//! A thread's whole life.
//!
//! `thread.create_join` is a thread of the library, as programs have it: a context on a stack of 16 KiB with a runtime of
//! its own, whose function returns, and whose end is waited for. As elsewhere, the stack is one that an earlier thread
//! left, if there is such. `.fresh` is the same with none kept: the stack is mapped, zeroed (2,048 words) and unmapped.
//! `.bare` is a context without a runtime on a stack that is mapped each time: what the kernel's operations cost.
#![forbid(unsafe_code)]

use crate::harness::{Bench, Outcome};
use bare::{Ring, context};
use ring_abi::Errno;
use ring_abi::context::End;
use ring_abi::layout::Sizes;
use uring::thread;

/// The rows of [`run`].
pub(crate) const ROWS: &[&str] = &["thread.create_join.fresh", "thread.create_join.bare"];

const STACK: u64 = 16 * 1024;
static NOTHING: () = ();

fn body(_: &Ring, _: &'static ()) -> u8 {
    0
}

pub(crate) fn run(bench: &mut Bench) -> Outcome {
    let samples = bench.few_samples();
    bench.time_some("thread.create_join.fresh", 1, samples, || {
        one()?;
        thread::trim()
    })?;
    bench.time_some("thread.create_join.bare", 1, samples, || {
        match context::start(body, &NOTHING, STACK, Sizes::SMALLEST)?.join()? {
            End::Exited(0) => Ok(()),
            _ => Err(Errno::IO),
        }
    })?;
    // The last, so that this is what a profile of the case shows.
    bench.time_some("thread.create_join", 1, samples, one)
}

fn one() -> Result<(), Errno> {
    let thread = thread::spawn(STACK, || 7)?;
    if thread.join()? == Ok(7) { Ok(()) } else { Err(Errno::IO) }
}
