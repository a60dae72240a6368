//! Waiting for words of memory, and waking those who do.
#![forbid(unsafe_code)]

use super::file::{done, number, plain};
use super::shape::sealed::Sealed;
use super::{Op, Operation};
use crate::ring::slots::Answer;
use alloc::boxed::Box;
use core::ptr;
use core::sync::atomic::AtomicU32;
use ring_abi::futex::{WORD_BYTES, Word};
use ring_abi::{Errno, Opcode, Sqe, args};

plain! {
    FutexWait -> () = done;
    FutexWake -> u64 = number;
    FutexSwap -> () = done;
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

/// Wakes the one that has waited longest for the word `theirs`, if there is one, and waits until `mine` is woken: a turn that
/// is handed on and awaited, for which the processor goes straight to who was woken. `AGAIN` and `TIMEDOUT` as
/// [`futex_wait`] has them; the other one was woken all the same.
pub fn futex_swap(mine: &AtomicU32, expected: u32, theirs: &AtomicU32, deadline: u64) -> Op<args::FutexSwap> {
    let [address, wake] = [mine, theirs].map(|word| ptr::from_ref(word).addr() as u64);
    Op::new(args::FutexSwap { address, expected, deadline, wake })
}

/// A wait for one of several words.
#[derive(Debug)]
pub struct FutexSeveral {
    words: Box<[[u8; WORD_BYTES]]>,
    deadline: u64,
}

impl Sealed for FutexSeveral {}

impl Operation for FutexSeveral {
    /// Index of the word that was woken.
    type Output = Result<usize, Errno>;
    const OPCODE: Opcode = Opcode::FutexWaitMany;

    fn entry(&mut self) -> Sqe {
        let words = self.words.as_ptr().addr() as u64;
        // Too many are the kernel's to refuse.
        let count = u32::try_from(self.words.len()).unwrap_or(u32::MAX);
        args::FutexWaitMany { words, count, deadline: self.deadline }.encode(0)
    }

    fn finish(self, answer: Answer) -> Self::Output {
        number(answer).map(|index| index as usize)
    }
}

/// Waits until one of several words is woken, and gives its index. Each has the value that it must have beside it; else
/// as [`futex_wait`]. There are at most [`MOST`](ring_abi::futex::MOST), and none is named twice: otherwise `INVAL`.
pub fn futex_wait_several(words: &[(&AtomicU32, u32)], deadline: u64) -> Op<FutexSeveral> {
    let bytes = |&(word, expected): &(&AtomicU32, u32)| {
        Word { address: ptr::from_ref(word).addr() as u64, expected }.to_bytes()
    };
    Op::new(FutexSeveral { words: words.iter().map(bytes).collect(), deadline })
}
