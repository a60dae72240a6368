//! Waiting for words of memory, and waking those who do.
#![forbid(unsafe_code)]

use super::file::{done, number, plain};
use super::shape::sealed::Sealed;
use super::{Op, Operation};
use crate::ring::slots::Answer;
use core::ptr;
use core::sync::atomic::AtomicU32;
use ring_abi::{Errno, Opcode, Sqe, args};

plain! {
    FutexWait -> () = done;
    FutexWake -> u64 = number;
}

/// Waits until the word is woken; `AGAIN` at once if its value is not `expected`, `TIMEDOUT` at the deadline
/// (nanoseconds of the monotonic clock, `u64::MAX` for never).
///
/// The kernel only reads the word, when the wait begins.
pub fn futex_wait(word: &AtomicU32, expected: u32, deadline: u64) -> Op<args::FutexWait> {
    Op::new(args::FutexWait { address: ptr::from_ref(word).addr() as u64, expected, deadline })
}

/// Wakes up to `count` of those who wait for the word; how many it were.
pub fn futex_wake(word: &AtomicU32, count: u64) -> Op<args::FutexWake> {
    Op::new(args::FutexWake { address: ptr::from_ref(word).addr() as u64, count })
}
