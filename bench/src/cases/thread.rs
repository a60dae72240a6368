//! A thread's whole life.
//!
//! A stack of 16 KiB is mapped and zeroed (2,048 words), a context is created and started, it exits, its end is
//! waited for, handle and stack are given back: five operations, each a blocking call.
#![forbid(unsafe_code)]

use crate::harness::{Bench, Outcome};
use bare::{Ring, context};
use ring_abi::Errno;
use ring_abi::context::End;
use ring_abi::layout::Sizes;

const STACK: u64 = 16 * 1024;
static NOTHING: () = ();

fn body(_: &Ring, _: &'static ()) -> u8 {
    0
}

pub(crate) fn run(bench: &mut Bench) -> Outcome {
    bench.time_some("thread.create_join", 1, bench.few_samples(), || {
        match context::start(body, &NOTHING, STACK, Sizes::SMALLEST)?.join()? {
            End::Exited(0) => Ok(()),
            _ => Err(Errno::IO),
        }
    })
}
