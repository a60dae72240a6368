//! Points in time.
#![forbid(unsafe_code)]

use super::file::{done, plain};
use super::shape::sealed::Sealed;
use super::{Op, Operation};
use crate::ring::slots::Answer;
use core::time::Duration;
use ring_abi::{Errno, Opcode, Sqe, args};

plain! { Timeout -> () = done; }

/// Ends after some time.
pub fn after(duration: Duration) -> Op<args::Timeout> {
    let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    Op::new(args::Timeout { nanoseconds, flags: 0 })
}

/// Ends at a point of the monotonic clock, in nanoseconds.
pub fn at(nanoseconds: u64) -> Op<args::Timeout> {
    Op::new(args::Timeout { nanoseconds, flags: args::timeout::ABSOLUTE })
}
