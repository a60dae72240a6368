//! Slots of the operations in flight. The index of a slot is the tag of its operation.
//!
//! - A slot is free again only after the operation's final completion, so a tag never names two operations.
//! - The slot of an operation that was dropped keeps what the kernel may still write to.
//! - There is one slot less than the CQ has places: the last place is for blocking calls, which therefore
//!   cannot be locked out by what is awaited.
#![forbid(unsafe_code)]

use crate::ring::leaked::Leaked;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::cell::Cell;
use core::task::Waker;
use ring_abi::CqeFlags;

/// An index that is none.
pub(crate) const NONE: u32 = u32::MAX;

/// Anything: what a slot keeps alive for the kernel's sake.
pub(crate) trait Held {
    /// The kernel has let go, with an answer that nobody takes.
    fn unclaimed(self: Box<Self>, answer: Answer);
}

/// What is kept and has no use for an answer.
pub(crate) struct Mute<T>(pub(crate) T);

impl<T> Held for Mute<T> {
    fn unclaimed(self: Box<Self>, _: Answer) {}
}

/// How far an operation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The slot has no operation.
    #[default]
    Free,
    /// The kernel has it.
    Flying,
    /// The kernel has answered and nobody has looked.
    Done,
    /// Dropped, but the kernel still has it.
    Orphan,
    /// Dropped, and the kernel has let go of it.
    Gone,
    /// Nobody's: it stands for a place in the CQ that another one's completions may need.
    Reserved,
}

/// What becomes of completions with `MORE` that nobody has looked at yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gather {
    /// Each is kept.
    #[default]
    Each,
    /// Their results are added up.
    Sum,
    /// Their results are or-ed.
    Or,
}

/// The kernel's answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Flags and `extra` of the completion.
    pub(crate) head: u32,
    /// Result as in the completion; take it apart with [`ring_abi::errno::demux`].
    pub(crate) result: u64,
}

impl Answer {
    /// The completion's `extra`.
    pub(crate) fn extra(self) -> u32 {
        self.head >> 8
    }

    /// Whether the operation goes on.
    #[inline(always)]
    pub(crate) fn has_more(self) -> bool {
        self.head as u8 & CqeFlags::MORE.bits() != 0
    }
}

/// One operation in flight.
#[derive(Default)]
pub(crate) struct Slot {
    pub(crate) stage: Cell<Stage>,
    /// The result is a handle that must be closed if nobody takes it.
    pub(crate) makes_handle: Cell<bool>,
    /// The task to wake, or [`NONE`].
    pub(crate) task: Cell<u32>,
    next: Cell<u32>,
    /// Whether it is among those that need care.
    cared: Cell<bool>,
    pub(crate) answer: Cell<Answer>,
    /// Answers with `MORE` that nobody has looked at, and what is done with them.
    pub(crate) more: Cell<VecDeque<Answer>>,
    pub(crate) gather: Cell<Gather>,
    pub(crate) held: Cell<Option<Box<dyn Held>>>,
    /// Whom to wake, if it is no task of ours.
    pub(crate) waker: Cell<Option<Waker>>,
}

impl Slot {
    /// Keeps an answer after which there will be others.
    pub(crate) fn gather(&self, answer: Answer) {
        let mut more = self.more.take();
        let result = answer.result;
        match (self.gather.get(), more.back_mut()) {
            (Gather::Sum, Some(last)) => last.result = last.result.saturating_add(result),
            (Gather::Or, Some(last)) => last.result |= result,
            _ => more.push_back(answer),
        }
        self.more.set(more);
    }

    /// The oldest answer that was kept.
    pub(crate) fn next_answer(&self) -> Option<Answer> {
        let mut more = self.more.take();
        let answer = more.pop_front();
        self.more.set(more);
        answer
    }
}

/// All slots of a thread.
pub(crate) struct Slots {
    all: Cell<&'static [Slot]>,
    /// The same, and those that were there before.
    pub(crate) tables: Leaked<[Slot]>,
    free: Cell<u32>,
    /// Slots that are not free, and operations in flight whose answers nobody wants.
    used: Cell<u32>,
    /// Slots that need care once it is safe to run code of others.
    after: Cell<u32>,
    /// Whether there are such slots, or other things to look after then.
    care: Cell<bool>,
}

impl Slots {
    /// No slots yet.
    pub(crate) const fn new() -> Slots {
        Slots {
            all: Cell::new(&[]),
            tables: Leaked::new(),
            free: Cell::new(NONE),
            used: Cell::new(0),
            after: Cell::new(NONE),
            care: Cell::new(false),
        }
    }

    /// The slot of a tag.
    #[inline(always)]
    pub(crate) fn get(&self, tag: u32) -> Option<&'static Slot> {
        self.all.get().get(tag as usize)
    }

    /// Takes a free slot; `None` while all are in use, or before there are any.
    #[inline(always)]
    pub(crate) fn take(&self) -> Option<(u32, &'static Slot)> {
        let index = self.free.get();
        let slot = self.get(index)?;
        self.free.set(slot.next.get());
        self.used.set(self.used.get().wrapping_add(1));
        Some((index, slot))
    }

    /// Makes `count` fresh slots. Nothing may be in flight. The old ones stay in memory: a thread does this
    /// at most once or twice in its life.
    pub(crate) fn resize(&self, count: usize) {
        let count = count.clamp(1, 1 << 15);
        let fresh = self.tables.keep((0..count).map(|_| Slot::default()).collect());
        let mut next = NONE;
        for (index, slot) in fresh.iter().enumerate().rev() {
            slot.next.set(next);
            slot.task.set(NONE);
            next = index as u32;
        }
        self.free.set(next);
        self.all.set(fresh);
    }

    /// Makes it `count` slots, if there are some, but fewer; those in use keep their index.
    pub(crate) fn grow(&self, count: usize) {
        let old = self.all.get();
        if old.is_empty() || old.len() >= count.min(1 << 15) {
            return;
        }
        self.resize(count);
        // The lowest are those that there were, with what is in them.
        let first_new = old.len() as u32;
        let (mut free, fresh) = (first_new, self.all.get());
        for (index, (slot, before)) in fresh.iter().zip(old).enumerate().rev() {
            slot.stage.set(before.stage.get());
            slot.makes_handle.set(before.makes_handle.get());
            slot.task.set(before.task.get());
            slot.next.set(before.next.get());
            slot.answer.set(before.answer.get());
            slot.more.set(before.more.take());
            slot.gather.set(before.gather.get());
            slot.cared.set(before.cared.get());
            slot.held.set(before.held.take());
            slot.waker.set(before.waker.take());
            if before.stage.get() == Stage::Free {
                slot.next.set(free);
                free = index as u32;
            }
        }
        self.free.set(free);
    }

    /// The thread ends, and nothing is in flight: there are no slots from now on.
    pub(crate) fn retire(&self) {
        self.all.set(&[]);
        self.free.set(NONE);
        self.after.set(NONE);
        self.care.set(false);
    }

    /// Gives a slot back.
    #[inline(always)]
    pub(crate) fn free(&self, index: u32, slot: &Slot) {
        slot.stage.set(Stage::Free);
        slot.next.set(self.free.get());
        self.free.set(index);
        self.used.set(self.used.get().wrapping_sub(1));
    }

    /// Notes that a slot needs care after the completions have been taken.
    pub(crate) fn care(&self, index: u32, slot: &Slot) {
        if slot.cared.replace(true) {
            return;
        }
        slot.next.set(self.after.get());
        self.after.set(index);
        self.care.set(true);
    }

    /// Asks for care although no slot needs it.
    pub(crate) fn call_for_care(&self) {
        self.care.set(true);
    }

    /// Whether something needs care.
    #[inline(always)]
    pub(crate) fn needs_care(&self) -> bool {
        self.care.get()
    }

    /// Care begins: from now on only what comes up anew counts.
    pub(crate) fn begin_care(&self) {
        self.care.set(false);
    }

    /// The next slot that needs care.
    pub(crate) fn next_care(&self) -> Option<(u32, &'static Slot)> {
        let index = self.after.get();
        let slot = self.get(index)?;
        self.after.set(slot.next.get());
        slot.cared.set(false);
        Some((index, slot))
    }

    /// An operation without a slot begins whose answer nobody wants.
    pub(crate) fn discard(&self) {
        self.used.set(self.used.get().wrapping_add(1));
    }

    /// The answer of such an operation has come.
    pub(crate) fn discarded(&self) {
        self.used.set(self.used.get().saturating_sub(1));
    }

    /// After a fork: what was to be discarded does not come.
    pub(crate) fn recount(&self) {
        let used = self.all.get().iter().filter(|slot| slot.stage.get() != Stage::Free).count();
        self.used.set(used as u32);
    }

    /// Whether any operation has a slot or is to be discarded: whether a completion may come.
    #[inline(always)]
    pub(crate) fn any_used(&self) -> bool {
        self.used.get() != 0
    }

    /// Whether there are no slots yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.get().is_empty()
    }

    /// Whether any slot is in the given stage.
    pub(crate) fn any(&self, stage: Stage) -> bool {
        self.all.get().iter().any(|slot| slot.stage.get() == stage)
    }

    /// Every slot with its index.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &'static Slot)> {
        self.all.get().iter().enumerate().map(|(index, slot)| (index as u32, slot))
    }
}
