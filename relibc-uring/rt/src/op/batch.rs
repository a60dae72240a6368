//! Many operations of one kind at once, with as few entries into the kernel as the ring's size allows.
#![forbid(unsafe_code)]

use super::{Op, Operation, shape};
use crate::ring::current::local;
use crate::ring::slots::{Answer, NONE};
use alloc::vec::Vec;

/// Sends many operations and blocks this thread until all have ended; outputs in their order.
///
/// For operations that were not submitted; as with [`Op::wait`], buffers may be borrowed.
pub fn wait_all<O: Operation>(ops: Vec<Op<O>>) -> Vec<O::Output> {
    let mut asked: Vec<O> = ops.into_iter().filter_map(unsent).collect();
    let mut answers: Vec<Answer> = asked.iter().map(|_| Answer { result: 0, extra: 0 }).collect();
    send_all(&mut asked, &mut answers);
    asked.into_iter().zip(answers).map(|(asked, answer)| asked.finish(answer)).collect()
}

fn unsent<O: Operation>(mut op: Op<O>) -> Option<O> {
    assert!(op.slot == NONE, "only operations that were not submitted can be waited for");
    op.asked.take()
}

/// Operations to send again and again: what a server of a known load, or a benchmark, keeps.
pub struct Batch<O: Operation> {
    asked: Vec<O>,
    answers: Vec<Answer>,
}

impl<O: Operation> Batch<O> {
    /// These operations, none of which was submitted.
    pub fn new(ops: impl IntoIterator<Item = Op<O>>) -> Batch<O> {
        let asked: Vec<O> = ops.into_iter().filter_map(unsent).collect();
        let answers = asked.iter().map(|_| Answer { result: 0, extra: 0 }).collect();
        Batch { asked, answers }
    }

    /// Sends all of them and blocks until all have ended. The raw results, in their order; see
    /// [`ring_abi::errno::demux`].
    #[inline]
    pub fn wait(&mut self) -> impl ExactSizeIterator<Item = u64> {
        send_all(&mut self.asked, &mut self.answers);
        self.answers.iter().map(|answer| answer.result)
    }

    /// The operations' outputs after the last [`wait`](Self::wait).
    pub fn finish(self) -> Vec<O::Output> {
        self.asked.into_iter().zip(self.answers).map(|(asked, answer)| asked.finish(answer)).collect()
    }
}

#[inline(always)]
fn send_all<O: Operation>(asked: &mut [O], answers: &mut [Answer]) {
    shape::call_all(local(), asked, |index, answer| {
        if let Some(place) = answers.get_mut(index) {
            *place = answer;
        }
    });
}
