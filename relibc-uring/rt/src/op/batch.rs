//! Many operations of one kind at once, with as few entries into the kernel as the ring's size allows.
#![forbid(unsafe_code)]

use super::{Op, Operation, shape};
use crate::ring::current::local;
use crate::ring::slots::{Answer, NONE};
use alloc::vec;
use alloc::vec::Vec;

/// Sends many operations and blocks this thread until all have ended; outputs in their order.
///
/// For operations that were not submitted; as with [`Op::wait`], buffers may be borrowed.
pub fn wait_all<O: Operation>(ops: Vec<Op<O>>) -> Vec<O::Output> {
    let mut asked: Vec<O> = ops.into_iter().filter_map(unsent).collect();
    let mut answers = vec![Answer::default(); asked.len()];
    shape::call_all(local(), &mut asked, &mut answers);
    asked.into_iter().zip(answers).map(|(asked, answer)| asked.finish(answer)).collect()
}

/// What an operation asks for that was not sent.
pub(super) fn unsent<O: Operation>(mut op: Op<O>) -> Option<O> {
    assert!(op.slot == NONE, "only operations that were not submitted can be waited for");
    op.asked.take()
}

/// Operations to send again and again: what a server of a known load, or a benchmark, keeps.
pub struct Batch<O: Operation> {
    asked: Vec<O>,
    results: Vec<RawResult>,
}

/// A result as in the completion; take it apart with [`ring_abi::errno::demux`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawResult(pub u64);

impl From<Answer> for RawResult {
    #[inline(always)]
    fn from(answer: Answer) -> RawResult {
        RawResult(answer.result)
    }
}

impl<O: Operation> Batch<O> {
    /// These operations, none of which was submitted.
    pub fn new(ops: impl IntoIterator<Item = Op<O>>) -> Batch<O> {
        const { assert!(!O::NEEDS_EXTRA, "a batch keeps results only") };
        let asked: Vec<O> = ops.into_iter().filter_map(unsent).collect();
        let results = vec![RawResult::default(); asked.len()];
        Batch { asked, results }
    }

    /// Sends all of them and blocks until all have ended; their results, in their order.
    #[inline(always)]
    pub fn wait(&mut self) -> &[RawResult] {
        shape::call_all(local(), &mut self.asked, &mut self.results);
        &self.results
    }

    /// The operations' outputs after the last [`wait`](Self::wait).
    pub fn finish(self) -> Vec<O::Output> {
        let answer = |result: RawResult| Answer { head: 0, result: result.0 };
        self.asked.into_iter().zip(self.results).map(|(asked, result)| asked.finish(answer(result))).collect()
    }
}
