//! The runtime of one thread: its ring, what is in flight, and the tasks that wait for it.
//!
//! Everything is a `Cell` of one thread, so nothing is locked and nothing is borrowed across a call.
//!
//! - A blocking call takes every completion but polls no task and runs no foreign code: what is woken or freed
//!   by others' completions is dealt with in [`settle`](Local::settle), after the call has its own answer.
//! - Tags below the number of slots are slots; from [`BLOCKING`] up they are places of the blocking call that
//!   is being waited for; [`DISCARD`] is for answers that nobody wants. Messages of others have tags in between.
#![allow(unsafe_code, reason = "an entry in a ring makes the kernel write to memory; `unsafe fn` says so")]

use crate::exec::Tasks;
use crate::ring::ends::{Ends, corrupt};
use crate::ring::inbox::Mail;
use crate::ring::leaked::Leaked;
use crate::ring::slots::{Answer, Held, NONE, Slot, Slots, Stage};
use crate::ring::taken::Taken;
use crate::scheme::Service;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::Cell;
use core::task::Waker;
use ring_abi::args::{CancelTag, Close, RingMove, Strength};
use ring_abi::group::MOST_GROUPS;
use ring_abi::registered::{MOST_BUFFERS, MOST_FILES};
use ring_abi::{Errno, Sqe, enter, errno};

/// First tag of the blocking call: the only tags with the highest bit set.
pub(crate) const BLOCKING: u32 = 1 << 31;
/// Tag of an operation whose answer nobody wants.
pub(crate) const DISCARD: u32 = BLOCKING - 1;
/// How long a daemon may take to answer a request that was dropped: 100 milliseconds.
const GRACE: u64 = 100_000_000;

/// Why an operation cannot start yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crowded {
    /// As many operations are awaited as there may be.
    Slots,
    /// The kernel has not taken what is in the SQ.
    Queue,
}

/// The runtime of one thread.
pub(crate) struct Local {
    ends: Cell<&'static Ends>,
    /// Those of the first ring, where signals are.
    first: Cell<&'static Ends>,
    /// Those of the ring for the heap's calls: see [`aside`](super::aside).
    pub(crate) aside: Cell<Option<&'static Ends>>,
    /// The ends of all rings but the first.
    pub(crate) rings: Leaked<Ends>,
    pub(crate) slots: Slots,
    pub(crate) tasks: Tasks,
    pub(crate) service: Service,
    pub(crate) mail: Mail,
    /// Tags still to be cancelled, for want of room in the SQ.
    cancels: Cell<Vec<u32>>,
    /// Who waits for room in the SQ or for a slot, and whether anybody does.
    crowd: Cell<Vec<Waker>>,
    crowded: Cell<bool>,
    /// Slots of the ring's registered files and buffers.
    pub(crate) fixed_files: Taken,
    pub(crate) fixed_buffers: Taken,
    /// Groups of buffers of the ring.
    pub(crate) groups: Taken,
}

impl Local {
    /// The runtime over a first ring.
    pub(crate) fn new(ends: &'static Ends) -> Local {
        Local {
            ends: Cell::new(ends),
            first: Cell::new(ends),
            aside: Cell::new(None),
            rings: Leaked::new(),
            slots: Slots::new(),
            tasks: Tasks::new(),
            service: Service::new(),
            mail: Mail::new(),
            cancels: Cell::new(Vec::new()),
            crowd: Cell::new(Vec::new()),
            crowded: Cell::new(false),
            fixed_files: Taken::new(MOST_FILES),
            fixed_buffers: Taken::new(MOST_BUFFERS),
            groups: Taken::new(MOST_GROUPS),
        }
    }

    /// The ring that operations go to.
    #[inline(always)]
    pub(crate) fn ends(&self) -> &'static Ends {
        self.ends.get()
    }

    /// The first ring.
    pub(crate) fn first(&self) -> &'static Ends {
        self.first.get()
    }

    /// Waits for a signal that is not in the mask for waits.
    pub(crate) fn pause(&self) {
        loop {
            let result = self.ends().enter_with(0, enter::SIGNALS | enter::MASK);
            if errno::demux(result) == Err(Errno::INTR) {
                return;
            }
            self.entered(result);
        }
    }

    /// Sends operations to another ring from now on. What is in flight goes on there, if that is not smaller. `EBUSY` if
    /// either ring has what cannot be moved; nothing has changed then.
    pub(crate) fn switch(&self, ends: &'static Ends) -> Result<(), Errno> {
        if self.slots.any_used() {
            self.move_to(ends)?;
            self.slots.grow(ends.most_awaited());
        } else if !self.slots.is_empty() {
            self.slots.resize(ends.most_awaited());
        }
        self.ends.set(ends);
        self.service.serve_on(ends);
        Ok(())
    }

    /// Moves what is in flight to another ring.
    #[cold]
    fn move_to(&self, ends: &'static Ends) -> Result<(), Errno> {
        let old = self.ends();
        while !old.sq_is_taken() {
            self.make_room(old);
        }
        loop {
            let entry = RingMove { from: old.number() }.encode(BLOCKING).to_words();
            if ends.push(entry, 2).is_err() {
                corrupt();
            }
            self.entered(ends.enter());
            let mut moved = None;
            let mut deliver = |tag, found: Answer| match tag {
                BLOCKING => moved = Some(errno::demux(found.result)),
                _ => self.deliver(tag, found),
            };
            ends.reap(&mut deliver);
            old.reap(&mut deliver);
            match moved {
                Some(Ok(0)) => break,
                Some(Ok(_)) => {
                    // What is left ends there: the rest of a chain, or what the kernel works at.
                    self.entered(old.enter());
                    old.reap(|tag, answer| self.deliver(tag, answer));
                }
                Some(Err(error)) => return Err(error),
                None => {}
            }
        }
        self.settle_if_needed();
        Ok(())
    }

    /// After a fork: goes on in the child, whose ring is fresh and empty. What was in flight belongs to the
    /// parent, and is cancelled here. `found` makes this the runtime that the thread finds.
    #[cfg_attr(not(target_os = "redox"), expect(dead_code, reason = "a host thread is not forked"))]
    pub(crate) fn renew(&self, ends: &'static Ends, found: impl FnOnce()) {
        self.ends.set(ends);
        self.first.set(ends);
        self.aside.set(None);
        self.service.serve_on(ends);
        found();
        self.slots.begin_care(); // it comes below, when there is a ring for the heap
        if !self.slots.is_empty() {
            self.part();
        }
        for (index, slot) in self.slots.iter() {
            if matches!(slot.stage.get(), Stage::Flying | Stage::Orphan) {
                self.deliver(index, Answer { head: 0, result: Errno::CANCELED.to_result() });
            }
        }
        self.cancels.take();
        self.mail.end();
        self.slots.recount();
        self.settle();
    }

    /// Calls, of the heap too, go to the first ring from now on.
    pub(crate) fn to_first(&self) {
        self.aside.set(None);
        self.ends.set(self.first());
    }

    /// Nobody waits for room any more, and nothing is to be cancelled.
    pub(crate) fn forget_who_waits(&self) {
        self.crowded.set(false);
        self.crowd.take();
        self.cancels.take();
    }

    /// Takes a free slot; `None` while all are in use.
    #[inline(always)]
    pub(crate) fn take_slot(&self) -> Option<(u32, &'static Slot)> {
        self.slots.take().or_else(|| self.first_slot())
    }

    /// Starts an operation that is awaited; its slot, if there is room. The kernel sees it at the next entry.
    ///
    /// # Safety
    ///
    /// The memory that the entry names may be used by the kernel as the operation says until its completion.
    #[inline(always)]
    pub(crate) unsafe fn begin(&self, mut entry: [u64; 8], words: usize) -> Result<u32, Crowded> {
        let ends = self.ends();
        let Some((index, slot)) = self.take_slot() else { return Err(Crowded::Slots) };
        entry[0] |= u64::from(index) << 32;
        if ends.push(entry, words).is_err() {
            self.slots.free(index, slot);
            return Err(Crowded::Queue);
        }
        slot.stage.set(Stage::Flying);
        slot.task.set(NONE);
        Ok(index)
    }

    /// Does one operation and waits for it, without a slot and without the executor.
    ///
    /// # Safety
    ///
    /// As for [`begin`](Self::begin).
    #[inline(always)]
    pub(crate) unsafe fn call(&self, mut entry: [u64; 8], words: usize) -> Answer {
        entry[0] |= u64::from(BLOCKING) << 32;
        let ends = self.ends();
        // Whatever is not the usual goes on in a cold function that ends the call, so that nothing has to be kept in
        // registers or memory for it here.
        if ends.push(entry, words).is_err() {
            let [a, b, c, d, e, f, g, h] = entry;
            return self.call_when_there_is_room(ends, [a, b, c, d, e, f, g, h], words);
        }
        let result = ends.enter();
        let Some(Answer { head, result: value }) = ends.take_only() else {
            return self.wait_for_call(ends, result);
        };
        if result | u64::from(self.slots.needs_care()) != 0 {
            return self.end_call(result, Answer { head, result: value });
        }
        Answer { head, result: value }
    }

    #[cold]
    #[inline(never)]
    fn call_when_there_is_room(&self, ends: &Ends, entry: [u64; 8], words: usize) -> Answer {
        while ends.push(entry, words).is_err() {
            self.make_room(ends);
        }
        self.wait_for_call(ends, ends.enter())
    }

    /// The end of a blocking call after which there is more to do.
    #[cold]
    #[inline(never)]
    fn end_call(&self, entered: u64, answer: Answer) -> Answer {
        self.entered(entered);
        self.settle_if_needed();
        answer
    }

    /// The rest of a blocking call among whose completions are those of others.
    #[cold]
    #[inline(never)]
    fn wait_for_call(&self, ends: &Ends, entered: u64) -> Answer {
        self.entered(entered);
        let mut answer = None;
        loop {
            ends.reap(|tag, found| match tag {
                BLOCKING => answer = Some(found),
                _ => self.deliver(tag, found),
            });
            if let Some(answer) = answer {
                self.settle_if_needed();
                return answer;
            }
            self.entered(ends.enter());
        }
    }

    /// Does many operations and waits for all: `entry` makes an entry of each item, `answers` gets the answers in
    /// the same order.
    ///
    /// # Safety
    ///
    /// As for [`begin`](Self::begin), for every entry.
    #[inline(always)]
    pub(crate) unsafe fn call_all<O, T: From<Answer>>(
        &self,
        words: usize,
        items: &mut [O],
        mut entry: impl FnMut(&mut O) -> [u64; 8],
        answers: &mut [T],
    ) {
        let ends = self.ends();
        let mut rest = items;
        let mut flying = 0_u32;
        let mut tag = u64::from(BLOCKING) << 32;
        while !rest.is_empty() || flying != 0 {
            let pushed = ends.push_many(words, rest, |item| {
                let mut words = entry(item);
                // The entry has no tag yet: the sum, unlike the union, is the last one's plus a constant.
                words[0] = words[0].wrapping_add(tag);
                tag = tag.wrapping_add(1 << 32);
                words
            });
            rest = rest.get_mut(pushed as usize..).unwrap_or_default();
            flying = flying.wrapping_add(pushed);
            let enough = flying.min(ends.most_completions());
            self.entered(ends.enter_with(u64::from(enough), enter::COMPLETIONS));
            flying = flying.wrapping_sub(self.collect(ends, answers));
        }
        self.settle_if_needed();
    }

    /// Does the operations of a chain and waits for all: `fill` puts as many into the ring as there are places in `answers`.
    ///
    /// # Safety
    ///
    /// As for [`begin`](Self::begin), for every entry.
    #[inline(always)]
    pub(crate) unsafe fn call_chain(&self, answers: &mut [Answer], fill: impl FnOnce(&Ends)) {
        let ends = self.ends();
        let mut flying = answers.len() as u32;
        if ends.free_entries() < flying {
            self.make_room_for(ends, flying);
        }
        fill(ends);
        ends.show();
        while flying != 0 {
            self.entered(ends.enter_with(u64::from(flying), enter::COMPLETIONS));
            flying = flying.wrapping_sub(self.collect(ends, answers));
        }
        self.settle_if_needed();
    }

    /// Lets the kernel take entries until there is room for so many: a chain goes as a whole.
    #[cold]
    #[inline(never)]
    fn make_room_for(&self, ends: &Ends, count: u32) {
        assert!(count as usize <= ends.sizes.sq_entries(), "a chain is longer than the queue");
        self.entered(ends.enter_with(0, 0));
        ends.reap(|tag, answer| self.deliver(tag, answer));
        while ends.free_entries() < count {
            self.entered(ends.enter());
            ends.reap(|tag, answer| self.deliver(tag, answer));
        }
    }

    /// Takes the completions of a blocking call that are there; how many. A function of its own has registers
    /// enough for its loop.
    #[inline(never)]
    fn collect<T: From<Answer>>(&self, ends: &Ends, answers: &mut [T]) -> u32 {
        let mut others = 0_u32;
        let taken = ends.reap_words(|head, result| {
            match answers.get_mut((head >> 32) as usize ^ BLOCKING as usize) {
                Some(place) => *place = Answer { head: head as u32, result }.into(),
                None => {
                    others = others.wrapping_add(1);
                    self.deliver_words(head, result);
                }
            }
        });
        taken.wrapping_sub(others)
    }

    /// Files an answer, as it stands in the completion, with its slot.
    #[cold]
    #[inline(never)]
    fn deliver_words(&self, head: u64, result: u64) {
        self.deliver((head >> 32) as u32, Answer { head: head as u32, result });
    }

    /// Lets the kernel take submissions and replies, without waiting for anything.
    pub(crate) fn flush(&self) {
        let ends = self.ends();
        self.entered(ends.enter_with(0, 0));
        self.reap();
    }

    /// Nobody can send messages to this thread any more.
    #[cold]
    pub(crate) fn end_mail(&self) {
        for _ in 0..self.mail.end() {
            self.slots.discarded();
        }
        self.mail.wake();
    }

    /// Takes completions and wakes who waited for them.
    #[inline(always)]
    pub(crate) fn reap(&self) -> u32 {
        let taken = self.ends().reap(|tag, answer| self.deliver(tag, answer));
        if taken != 0 {
            self.settle_if_needed();
        }
        taken
    }

    /// Waits until something can go on: a completion, or if this thread serves a request.
    #[inline(always)]
    pub(crate) fn wait(&self, serves: bool) -> u32 {
        // While nothing is in flight no completion can end the wait, and nobody need look for one.
        if serves && !self.slots.any_used() {
            self.entered(self.ends().serve());
            return 0;
        }
        let requests = if serves { enter::REQUESTS } else { 0 };
        self.entered(self.ends().enter_with(1, requests | enter::COMPLETIONS));
        self.reap()
    }

    /// The SQ is full: lets the kernel take entries, and waits for a completion if it has no room for them.
    #[cold]
    #[inline(never)]
    fn make_room(&self, ends: &Ends) {
        self.entered(ends.enter_with(0, 0));
        let taken = ends.reap(|tag, answer| self.deliver(tag, answer));
        if taken == 0 && ends.sq.refresh(&ends.ring.sq()) == Ok(0) {
            self.entered(ends.enter());
            ends.reap(|tag, answer| self.deliver(tag, answer));
        }
    }

    /// Looks at the result of an entry into the kernel: only a wait that timed out is no bug.
    #[inline(always)]
    pub(crate) fn entered(&self, result: u64) {
        if result != 0 {
            refused(result);
        }
    }

    /// Files an answer with its slot.
    #[inline(never)]
    fn deliver(&self, tag: u32, answer: Answer) {
        if self.crowded.get() {
            self.slots.call_for_care();
        }
        if tag == DISCARD {
            return self.slots.discarded();
        }
        let Some(slot) = self.slots.get(tag) else {
            if self.mail.take(tag, answer) {
                self.slots.call_for_care();
            }
            return;
        };
        if answer.has_more() {
            return self.deliver_more(tag, slot, answer);
        }
        match slot.stage.get() {
            Stage::Flying => {
                slot.stage.set(Stage::Done);
                slot.answer.set(answer);
                match slot.task.get() {
                    NONE => self.slots.care(tag, slot),
                    task => self.tasks.wake(task),
                }
            }
            Stage::Orphan => {
                slot.stage.set(Stage::Gone);
                slot.answer.set(answer);
                self.slots.care(tag, slot);
            }
            Stage::Free | Stage::Done | Stage::Gone | Stage::Reserved => {}
        }
    }

    /// Files an answer of an operation that goes on.
    #[cold]
    fn deliver_more(&self, tag: u32, slot: &Slot, answer: Answer) {
        slot.gather(answer);
        match slot.task.get() {
            NONE => self.slots.care(tag, slot),
            task => self.tasks.wake(task),
        }
    }

    /// Whether there is anything to [`settle`](Self::settle) is one compare in the usual case.
    #[inline(always)]
    fn settle_if_needed(&self) {
        if self.slots.needs_care() {
            self.settle();
        }
    }

    /// Runs what may be code of others: wakes foreign wakers, drops the buffers of dropped operations.
    #[cold]
    #[inline(never)]
    pub(crate) fn settle(&self) {
        self.slots.begin_care();
        while let Some((index, slot)) = self.slots.next_care() {
            if matches!(slot.stage.get(), Stage::Orphan | Stage::Gone) {
                self.close_unseen(slot);
                if slot.stage.get() == Stage::Orphan {
                    continue; // what it had to say so far was for nobody
                }
                let held = slot.held.take();
                let answer = slot.answer.get();
                self.close_unclaimed(slot, answer);
                self.slots.free(index, slot);
                if let Some(held) = held {
                    held.unclaimed(answer);
                }
            } else if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
        self.mail.wake();
        for tag in self.cancels.take() {
            if self.slots.get(tag).is_some_and(|slot| slot.stage.get() == Stage::Orphan) {
                self.cancel(tag);
            }
        }
        if self.crowded.get() {
            self.let_in();
        }
    }

    /// Waits for room: wakes `waker` when a slot is free or a completion has come.
    #[cold]
    pub(crate) fn queue_up(&self, waker: &Waker) {
        let mut crowd = self.crowd.take();
        if !crowd.iter().any(|other| other.will_wake(waker)) {
            crowd.push(waker.clone());
        }
        self.crowd.set(crowd);
        self.crowded.set(true);
    }

    /// Gives the slot of an operation that has ended back.
    #[inline(always)]
    pub(crate) fn free(&self, index: u32, slot: &Slot) {
        self.slots.free(index, slot);
        if self.crowded.get() {
            self.let_in();
        }
    }

    /// There is room: wakes who waits for it.
    #[cold]
    #[inline(never)]
    fn let_in(&self) {
        self.crowded.set(false);
        for waker in self.crowd.take() {
            waker.wake();
        }
    }

    /// An operation was dropped. Its slot keeps `held` until the kernel has let go, and the kernel is asked to.
    #[cold]
    pub(crate) fn abandon(&self, index: u32, held: Option<Box<dyn Held>>) {
        let Some(slot) = self.slots.get(index) else { return };
        slot.waker.take();
        slot.task.set(NONE);
        self.close_unseen(slot);
        match slot.stage.get() {
            Stage::Flying => {
                slot.held.set(held);
                slot.stage.set(Stage::Orphan);
                self.cancel(index);
            }
            Stage::Done => {
                let answer = slot.answer.get();
                self.close_unclaimed(slot, answer);
                self.slots.free(index, slot);
                if let Some(held) = held {
                    held.unclaimed(answer);
                }
            }
            Stage::Free | Stage::Orphan | Stage::Gone | Stage::Reserved => {}
        }
    }

    /// Asks the kernel to end an operation; forced after the grace.
    fn cancel(&self, tag: u32) {
        let entry =
            CancelTag { tag, strength: Strength::Ask as u32, grace: GRACE }.encode(DISCARD).to_words();
        if self.ends().push(entry, 4).is_err() {
            let mut cancels = self.cancels.take();
            cancels.push(tag);
            self.cancels.set(cancels);
            return self.slots.call_for_care();
        }
        self.slots.discard();
    }

    /// Closes the handles that came with answers that nobody will look at.
    fn close_unseen(&self, slot: &Slot) {
        while let Some(answer) = slot.next_answer() {
            self.close_unclaimed(slot, answer);
        }
    }

    /// Closes the handle that an operation made after nobody wanted it any more.
    fn close_unclaimed(&self, slot: &Slot, answer: Answer) {
        if slot.makes_handle.get()
            && let Ok(fd) = errno::demux(answer.result)
        {
            self.forget(Close { fd }.encode(0));
        }
    }

    /// Sends an operation that names no memory and whose answer nobody wants.
    #[cold]
    pub(crate) fn forget(&self, mut entry: Sqe) {
        entry.tag = DISCARD;
        let ends = self.ends();
        while ends.push(entry.to_words(), 8).is_err() {
            self.make_room(ends);
        }
        self.slots.discard();
    }
}

/// `ring_enter` was refused: this runtime asked for something that cannot be.
#[cold]
#[inline(never)]
fn refused(result: u64) {
    match errno::demux(result) {
        Ok(_) | Err(Errno::TIMEDOUT) => {}
        Err(error) => panic!("the kernel refused to enter the ring: {error}"),
    }
}
