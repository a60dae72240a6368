//! Typed operations. Each is a value that is sent when it is awaited, and owns its buffers until it ends.
//!
//! - `.await` sends it with the next entry into the kernel, together with whatever else was asked meanwhile.
//! - [`submit`](Op::submit) sends it now.
//! - [`wait`](Op::wait) sends it and blocks the thread until it has ended, without the executor. Only here may
//!   buffers be borrowed.
//! - Dropping an unfinished one cancels it. Its buffer lives until the kernel has let go of it.

pub mod batch;
pub mod chain;
pub mod context;
pub mod file;
pub mod handle;
pub mod memory;
pub mod message;
pub mod name;
pub mod provided;
pub mod registered;
pub mod repeat;
pub(crate) mod shape;
pub mod signal;
pub mod stream;
pub mod sync;
pub mod system;
pub mod time;

pub use file::Fd;
pub use shape::{Operation, Shots};
pub use stream::Stream;

use crate::exec::index_of;
use crate::ring::current::local;
use crate::ring::local::Crowded;
use crate::ring::slots::{Answer, Held, NONE, Slot, Stage};
use alloc::boxed::Box;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll};

/// An operation that has not ended.
#[must_use = "an operation does nothing until it is awaited, submitted or waited for"]
pub struct Op<O: Operation> {
    /// `None` once it has ended.
    asked: Option<O>,
    /// Slot of the operation in flight, or [`NONE`].
    slot: u32,
    /// Makes what was asked into something that a slot can keep.
    keep: fn(O) -> Option<Box<dyn Held>>,
    /// The slot is one of this thread's.
    stays: PhantomData<*const ()>,
}

impl<O: Operation> Op<O> {
    #[inline(always)]
    pub(crate) fn new(asked: O) -> Op<O> {
        Op { asked: Some(asked), slot: NONE, keep: |_| None, stays: PhantomData }
    }

    /// Does it now, and blocks this thread until it has ended. No task runs meanwhile.
    ///
    /// # Panics
    ///
    /// If it has been submitted: then it can only be awaited.
    #[inline(always)]
    pub fn wait(mut self) -> O::Output {
        match self.asked.take() {
            Some(mut asked) if self.slot == NONE => {
                let answer = shape::call(local(), &mut asked);
                asked.finish(answer)
            }
            _ => panic!("only an operation that was not submitted can be waited for"),
        }
    }
}

impl<O: Operation> Op<O> {
    /// The operation's tag on this thread's ring while it is in flight, for what names one; otherwise one that no
    /// operation of this kind has.
    pub(crate) fn tag(&self) -> u32 {
        self.slot
    }
}

impl<O: Operation + 'static> Op<O> {
    /// Sends it now instead of when it is first awaited.
    ///
    /// As many operations as the ring's CQ has places, less one, can be in flight. One that finds no place is sent
    /// when it is awaited and there is one.
    pub fn submit(mut self) -> Op<O> {
        if self.slot == NONE && self.begin().is_ok() {
            local().flush();
        }
        self
    }

    /// Puts it into the ring, if there is room.
    #[inline(always)]
    fn begin(&mut self) -> Result<(), Crowded> {
        let Some(asked) = &mut self.asked else { panic!("an operation was polled after it had ended") };
        self.slot = match shape::begin(local(), asked) {
            Ok(slot) => slot,
            Err(Crowded::Slots) => return Err(Crowded::Slots),
            Err(Crowded::Queue) => {
                local().flush();
                shape::begin(local(), asked)?
            }
        };
        self.keep = keep;
        Ok(())
    }

    #[inline(always)]
    fn take(&mut self, slot: &Slot) -> Option<O::Output> {
        let answer = slot.answer.get();
        local().free(self.slot, slot);
        self.slot = NONE;
        self.asked.take().map(|asked| asked.finish(answer))
    }
}

fn keep<O: Operation + 'static>(asked: O) -> Option<Box<dyn Held>> {
    core::mem::needs_drop::<O>().then(|| Box::new(Kept(asked)) as Box<dyn Held>)
}

/// An operation that was dropped before its answer was taken.
struct Kept<O>(O);

impl<O: Operation> Held for Kept<O> {
    fn unclaimed(self: Box<Self>, answer: Answer) {
        drop(self.0.finish(answer));
    }
}

impl<O: Operation + 'static> Future for Op<O> {
    type Output = O::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O::Output> {
        let op = self.get_mut();
        if op.slot == NONE && op.begin().is_err() {
            local().queue_up(cx.waker());
            return Poll::Pending;
        }
        let Some(slot) = local().slots.get(op.slot) else { return Poll::Pending };
        if slot.stage.get() == Stage::Done
            && let Some(output) = op.take(slot)
        {
            return Poll::Ready(output);
        }
        match index_of(cx.waker()) {
            Some(task) => slot.task.set(task),
            None => wake_foreign(slot, cx),
        }
        Poll::Pending
    }
}

#[cold]
fn wake_foreign(slot: &Slot, cx: &Context<'_>) {
    slot.task.set(NONE);
    slot.waker.set(Some(cx.waker().clone()));
}

impl<O: Operation> Drop for Op<O> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.slot != NONE {
            let held = self.asked.take().and_then(self.keep);
            local().abandon(self.slot, held);
        }
    }
}
