//! Operations that complete more than once, as streams.
//!
//! A stream has a slot of its own, and a second one that stands for a place in the CQ: so it gets on although everything
//! else that may be in flight is. Completions that nobody looks at add up where that makes sense, and are kept where each
//! matters.

use super::shape::{self, Shots};
use crate::exec::index_of;
use crate::ring::current::local;
use crate::ring::local::{Crowded, Local};
use crate::ring::slots::{Held, Mute, NONE, Slot, Stage};
use alloc::boxed::Box;
use core::future::poll_fn;
use core::marker::PhantomData;
use core::task::{Context, Poll};

/// An operation that completes more than once. It is sent when its first item is asked for, or [submitted](Self::submit);
/// dropping it cancels it.
#[must_use = "a stream does nothing until an item is asked for, or it is submitted"]
pub struct Stream<S: Shots + 'static> {
    /// `None` once it has ended.
    asked: Option<S>,
    /// Slot of the operation in flight, or [`NONE`].
    slot: u32,
    /// The slot that it keeps free of others, or [`NONE`].
    reserve: u32,
    /// Both are slots of this thread.
    stays: PhantomData<*const ()>,
}

impl<S: Shots + 'static> Stream<S> {
    pub(crate) fn new(asked: S) -> Stream<S> {
        Stream { asked: Some(asked), slot: NONE, reserve: NONE, stays: PhantomData }
    }

    /// Sends it now instead of when its first item is asked for, if there is room.
    pub fn submit(mut self) -> Stream<S> {
        if self.slot == NONE && self.begin(local()).is_ok() {
            local().flush();
        }
        self
    }

    /// The next item; `None` after the last one.
    pub async fn next(&mut self) -> Option<S::Item> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The same, as it is polled.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let local = local();
        if self.asked.is_none() {
            return Poll::Ready(None);
        }
        if self.slot == NONE && self.begin(local).is_err() {
            local.queue_up(cx.waker());
            return Poll::Pending;
        }
        let (Some(slot), Some(asked)) = (local.slots.get(self.slot), &self.asked) else {
            return Poll::Pending;
        };
        if let Some(answer) = slot.next_answer() {
            return Poll::Ready(Some(asked.item(answer)));
        }
        if slot.stage.get() == Stage::Done {
            let item = asked.item(slot.answer.get());
            self.end(local, slot);
            return Poll::Ready(Some(item));
        }
        match index_of(cx.waker()) {
            Some(task) => slot.task.set(task),
            None => {
                slot.task.set(NONE);
                slot.waker.set(Some(cx.waker().clone()));
            }
        }
        Poll::Pending
    }

    /// The operation's tag on this thread's ring while it is in flight, for what names one; otherwise one that no
    /// operation of this kind has.
    pub(crate) fn tag(&self) -> u32 {
        self.slot
    }

    fn begin(&mut self, local: &Local) -> Result<(), Crowded> {
        let Some(asked) = &mut self.asked else { return Ok(()) };
        if self.reserve == NONE {
            let (index, slot) = local.take_slot().ok_or(Crowded::Slots)?;
            slot.stage.set(Stage::Reserved);
            self.reserve = index;
        }
        self.slot = match shape::begin_shots(local, asked) {
            Err(Crowded::Queue) => {
                local.flush();
                shape::begin_shots(local, asked)
            }
            other => other,
        }
        .inspect_err(|_| give_back(local, &mut self.reserve))?;
        Ok(())
    }

    fn end(&mut self, local: &Local, slot: &Slot) {
        local.free(self.slot, slot);
        self.slot = NONE;
        give_back(local, &mut self.reserve);
        self.asked = None;
    }
}

/// Gives the slot that was kept free of others to them.
fn give_back(local: &Local, reserve: &mut u32) {
    if let Some(slot) = local.slots.get(*reserve) {
        local.free(*reserve, slot);
    }
    *reserve = NONE;
}

impl<S: Shots + 'static> Drop for Stream<S> {
    fn drop(&mut self) {
        let local = local();
        if self.slot != NONE {
            let held = self.asked.take().map(|asked| Box::new(Mute(asked)) as Box<dyn Held>);
            local.abandon(self.slot, held);
        }
        give_back(local, &mut self.reserve);
    }
}
