//! A queue's two ends: a single producer, a single consumer, and no trust between them.
//!
//! Kernel and programs run this same code. Each end keeps its own index in a plain cell and only shows it
//! to the peer, so whatever the peer writes there is never believed:
//!
//! - an index that cannot be is [`Corrupt`], never a slot outside the queue;
//! - an entry is read word by word, each word as often as the reader asks for it and no oftener;
//! - nothing is ever dropped: a full queue is [`PushError::Full`].
//!
//! `push` and `take` come in two halves each (fill, publish; peek, consume), so that a batch shows its
//! index once.
#![forbid(unsafe_code)]

use crate::map::{Queue, Slot};
use crate::sqe::Words;
use crate::sync::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::sync::{AtomicU64, fence};
use core::cell::Cell;

/// The peer's index cannot be: it is outside the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// Why an entry was not taken into a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    /// No free slot.
    Full,
    /// The peer's index cannot be.
    Corrupt,
}

/// Whether the consumer has to be told about new entries.
#[must_use = "a sleeping consumer stays asleep until its doorbell is rung"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doorbell {
    /// The consumer is awake and will look by itself.
    Quiet,
    /// The consumer sleeps: enter the kernel to wake it.
    Ring,
}

/// What the producer remembers: its own index, and how far it may go without another look at the peer's.
#[derive(Debug, Default)]
pub struct Producer {
    tail: Cell<u32>,
    end: Cell<u32>,
}

impl Producer {
    /// The end of a fresh queue.
    pub const fn new() -> Producer {
        Producer::at(0)
    }

    /// The end of an empty queue whose indices stand at `position`.
    pub const fn at(position: u32) -> Producer {
        Producer { tail: Cell::new(position), end: Cell::new(position) }
    }

    /// Becomes the end of a fresh queue again.
    pub fn reset(&self) {
        self.tail.set(0);
        self.end.set(0);
    }

    /// Position of the next entry.
    #[inline(always)]
    pub fn position(&self) -> u32 {
        self.tail.get()
    }

    /// Slots known to be free, without a look at the peer's index.
    #[inline(always)]
    pub fn known_room(&self) -> u32 {
        self.end.get().wrapping_sub(self.tail.get())
    }

    /// Looks at the peer's index and says how many slots are free.
    #[inline]
    pub fn refresh<const W: usize>(&self, queue: &Queue<'_, W>) -> Result<u32, Corrupt> {
        self.refresh_behind(queue, self.tail.get())
    }

    /// The same, where all slots before `taken` are spoken for; that is not before the next entry.
    #[inline(always)]
    fn refresh_behind<const W: usize>(&self, queue: &Queue<'_, W>, taken: u32) -> Result<u32, Corrupt> {
        let head = queue.head().load(Acquire);
        let room = queue.capacity().checked_sub(taken.wrapping_sub(head)).ok_or(Corrupt)?;
        // What is promised but not shown cannot have been taken off.
        if self.tail.get().wrapping_sub(head) > queue.capacity() {
            return Err(Corrupt);
        }
        self.end.set(taken.wrapping_add(room));
        Ok(room)
    }

    /// Entries that the peer has not taken yet, if its index can be; otherwise any number.
    #[inline(always)]
    pub fn lag<const W: usize>(&self, queue: &Queue<'_, W>) -> u32 {
        self.tail.get().wrapping_sub(queue.head().load(Acquire))
    }

    /// Whether the peer has taken exactly the entries before `position`.
    #[inline(always)]
    pub fn is_drained<const W: usize>(&self, queue: &Queue<'_, W>, position: u32) -> bool {
        queue.head().load(Acquire) == position
    }

    /// Entries that the peer has not taken yet.
    #[inline(always)]
    pub fn untaken<const W: usize>(&self, queue: &Queue<'_, W>) -> Result<u32, Corrupt> {
        let untaken = self.lag(queue);
        if untaken <= queue.capacity() { Ok(untaken) } else { Err(Corrupt) }
    }

    /// Makes sure that the next [`put`](Self::put) finds a free slot.
    #[inline(always)]
    pub fn ensure_room<const W: usize>(&self, queue: &Queue<'_, W>) -> Result<(), PushError> {
        if self.tail.get() == self.end.get() { or_full(self.refresh(queue)).map(|_| ()) } else { Ok(()) }
    }

    /// Counts `count` slots that were filled, from the next one on: the position behind them. The peer sees them only
    /// after [`publish`](Self::publish).
    #[inline(always)]
    pub fn advance(&self, count: u32) -> u32 {
        debug_assert!(self.known_room() >= count, "no more slots than are free");
        let position = self.tail.get().wrapping_add(count);
        self.tail.set(position);
        position
    }

    /// Fills the next slot, which is known to be free: [`known_room`](Self::known_room) is not zero. The peer sees it
    /// only after [`publish`](Self::publish).
    #[inline(always)]
    pub fn put<const W: usize>(&self, queue: &Queue<'_, W>, entry: [u64; W]) {
        debug_assert!(self.known_room() != 0, "no slot is known to be free");
        let tail = self.tail.get();
        store(queue.slot(tail), entry);
        self.tail.set(tail.wrapping_add(1));
    }

    /// Fills the next slot. The peer sees it only after [`publish`](Self::publish).
    #[inline(always)]
    pub fn push<const W: usize>(&self, queue: &Queue<'_, W>, entry: [u64; W]) -> Result<(), PushError> {
        self.ensure_room(queue)?;
        self.put(queue, entry);
        Ok(())
    }

    /// Fills the first `count` words of the next slot, for an entry whose other words have no meaning.
    #[inline(always)]
    pub fn push_first<const W: usize>(
        &self,
        queue: &Queue<'_, W>,
        entry: [u64; W],
        count: usize,
    ) -> Result<(), PushError> {
        let tail = self.tail.get();
        if tail == self.end.get() {
            self.look_for_room(queue)?;
        }
        for (word, value) in queue.slot(tail).iter().zip(entry).take(count) {
            word.store(value, Relaxed);
        }
        self.tail.set(tail.wrapping_add(1));
        Ok(())
    }

    #[cold]
    fn look_for_room<const W: usize>(&self, queue: &Queue<'_, W>) -> Result<u32, PushError> {
        or_full(self.refresh(queue))
    }

    /// Makes an entry of each item and fills slots with their first `count` words, as far as there is room;
    /// how many.
    #[inline(always)]
    pub fn push_many<const W: usize, T>(
        &self,
        queue: &Queue<'_, W>,
        count: usize,
        items: &mut [T],
        mut entry: impl FnMut(&mut T) -> [u64; W],
    ) -> Result<u32, Corrupt> {
        let most = u32::try_from(items.len()).unwrap_or(u32::MAX);
        let known = self.known_room();
        let room = if known < most { self.refresh(queue)? } else { known };
        let number = room.min(most);
        let mut at = self.tail.get();
        let mut rest = items.get_mut(..number as usize).unwrap_or_default();
        while !rest.is_empty() {
            let slots = queue.stretch(at, rest.len() as u32);
            let (now, later) = rest.split_at_mut(slots.len());
            for (slot, item) in slots.iter().zip(now) {
                for (word, value) in slot.iter().zip(entry(item)).take(count) {
                    word.store(value, Relaxed);
                }
            }
            at = at.wrapping_add(slots.len() as u32);
            rest = later;
        }
        self.tail.set(at);
        Ok(number)
    }

    /// Shows every pushed entry to the peer.
    #[inline(always)]
    pub fn publish<const W: usize>(&self, queue: &Queue<'_, W>) {
        queue.tail().store(self.tail.get(), Release);
    }

    /// Shows every entry before `position`, which is all that were pushed, to the peer.
    #[inline(always)]
    pub fn publish_to<const W: usize>(&self, queue: &Queue<'_, W>, position: u32) {
        debug_assert!(position == self.tail.get(), "all entries are shown");
        queue.tail().store(position, Release);
    }

    /// Shows every pushed entry to the peer and says whether it must be told.
    #[inline]
    pub fn publish_and_look<const W: usize>(&self, queue: &Queue<'_, W>) -> Doorbell {
        self.publish(queue);
        self.look(queue)
    }

    /// Whether the peer must be told of what it was shown.
    ///
    /// The fence pairs with the one in [`Consumer::sleep`]: of the new index and the sleep flag, at least one side sees
    /// the other's.
    #[inline]
    pub fn look<const W: usize>(&self, queue: &Queue<'_, W>) -> Doorbell {
        fence(SeqCst);
        if queue.sleeps().load(Relaxed) == 0 { Doorbell::Quiet } else { Doorbell::Ring }
    }
}

fn or_full(room: Result<u32, Corrupt>) -> Result<u32, PushError> {
    match room {
        Ok(0) => Err(PushError::Full),
        Ok(room) => Ok(room),
        Err(Corrupt) => Err(PushError::Corrupt),
    }
}

/// A producer that promises places: how many it has promised is one more thing that it remembers.
///
/// A promise ([`claim`](Self::claim)) is kept by [`fill`](Self::fill), which cannot fail: this is how a
/// completion has its place before its operation starts.
#[derive(Debug, Default)]
pub struct Promiser {
    out: Producer,
    claimed: Cell<u32>,
}

impl Promiser {
    /// The end of a fresh queue.
    pub const fn new() -> Promiser {
        Promiser::at(0)
    }

    /// The end of an empty queue whose indices stand at `position`.
    pub const fn at(position: u32) -> Promiser {
        Promiser { out: Producer::at(position), claimed: Cell::new(position) }
    }

    /// Becomes the end of a fresh queue again.
    pub fn reset(&self) {
        self.out.reset();
        self.claimed.set(0);
    }

    /// What does not count promises.
    pub fn out(&self) -> &Producer {
        &self.out
    }

    /// Position of the next entry.
    #[inline(always)]
    pub fn position(&self) -> u32 {
        self.out.position()
    }

    /// Slots known to be free and not promised, without a look at the peer's index.
    #[inline(always)]
    pub fn known_room(&self) -> u32 {
        self.out.end.get().wrapping_sub(self.claimed.get())
    }

    /// Places promised and not yet filled.
    #[inline(always)]
    pub fn held(&self) -> u32 {
        self.claimed.get().wrapping_sub(self.out.tail.get())
    }

    /// Looks at the peer's index and says how many slots are free and not promised.
    #[inline]
    pub fn refresh<const W: usize>(&self, queue: &Queue<'_, W>) -> Result<u32, Corrupt> {
        self.out.refresh_behind(queue, self.claimed.get())
    }

    /// Whether all slots are promised or filled and not taken. An index that cannot be counts as full.
    pub fn is_full<const W: usize>(&self, queue: &Queue<'_, W>) -> bool {
        let taken = self.claimed.get().wrapping_sub(queue.head().load(Acquire));
        taken >= queue.capacity()
    }

    /// Makes sure that there is a slot that is free and not promised.
    #[inline(always)]
    pub fn ensure_room<const W: usize>(&self, queue: &Queue<'_, W>) -> Result<(), PushError> {
        if self.known_room() == 0 { self.look_for_room(queue).map(|_| ()) } else { Ok(()) }
    }

    #[cold]
    fn look_for_room<const W: usize>(&self, queue: &Queue<'_, W>) -> Result<u32, PushError> {
        or_full(self.refresh(queue))
    }

    /// Entries that the peer has not taken yet, if its index can be; otherwise any number.
    #[inline(always)]
    pub fn lag<const W: usize>(&self, queue: &Queue<'_, W>) -> u32 {
        self.out.lag(queue)
    }

    /// Whether the peer has taken exactly the entries before `position`.
    #[inline(always)]
    pub fn is_drained<const W: usize>(&self, queue: &Queue<'_, W>, position: u32) -> bool {
        self.out.is_drained(queue, position)
    }

    /// Entries that the peer has not taken yet.
    #[inline(always)]
    pub fn untaken<const W: usize>(&self, queue: &Queue<'_, W>) -> Result<u32, Corrupt> {
        self.out.untaken(queue)
    }

    /// Promises a place.
    #[inline(always)]
    pub fn claim<const W: usize>(&self, queue: &Queue<'_, W>) -> Result<(), PushError> {
        self.ensure_room(queue)?;
        self.claim_known(1);
        Ok(())
    }

    /// Promises places that are known to be free: [`known_room`](Self::known_room) is not below `count`.
    #[inline(always)]
    pub fn claim_known(&self, count: u32) {
        debug_assert!(self.known_room() >= count, "no more slots than are free");
        self.claimed.set(self.claimed.get().wrapping_add(count));
    }

    /// Takes a promise back: that completion will not come. The slot counts as free only when the peer's index is looked
    /// at again.
    #[inline]
    pub fn give_back(&self) {
        debug_assert!(self.held() != 0, "no more places than are promised");
        self.claimed.set(self.claimed.get().wrapping_sub(1));
        self.out.end.set(self.out.end.get().wrapping_sub(1));
    }

    /// Takes promises of places back, which will not be filled.
    pub fn release(&self, count: u32) {
        debug_assert!(self.held() >= count, "no more places than are promised");
        self.claimed.set(self.claimed.get().wrapping_sub(count));
    }

    /// Forgets which slots are free, so that whoever needs one looks at the peer's index again.
    pub fn forget_room(&self) {
        self.out.end.set(self.claimed.get());
    }

    /// Fills a promised place. The peer sees it only after [`publish`](Self::publish).
    #[inline(always)]
    pub fn fill<const W: usize>(&self, queue: &Queue<'_, W>, entry: [u64; W]) {
        self.put_next(queue, entry);
        self.filled(1);
    }

    /// Fills the next slot, which is promised. It counts only after [`filled`](Self::filled).
    #[inline(always)]
    pub fn put_next<const W: usize>(&self, queue: &Queue<'_, W>, entry: [u64; W]) {
        store(queue.slot(self.out.tail.get()), entry);
    }

    /// Counts `count` promised places that were filled, from the next one on: the position behind them. The peer sees
    /// them only after [`publish`](Self::publish).
    #[inline(always)]
    pub fn filled(&self, count: u32) -> u32 {
        debug_assert!(self.held() >= count, "no more places than are promised");
        self.out.advance(count)
    }

    /// Counts `count` slots that were filled without a promise, from the next one on: the position behind them. The peer
    /// sees them only after [`publish`](Self::publish).
    #[inline(always)]
    pub fn advance(&self, count: u32) -> u32 {
        self.claim_known(count);
        self.out.advance(count)
    }

    /// Fills the next slot, which is known to be free and was not promised. The peer sees it only after
    /// [`publish`](Self::publish).
    #[inline(always)]
    pub fn put<const W: usize>(&self, queue: &Queue<'_, W>, entry: [u64; W]) {
        self.claim_known(1);
        self.out.put(queue, entry);
    }

    /// Fills the next slot. The peer sees it only after [`publish`](Self::publish).
    #[inline(always)]
    pub fn push<const W: usize>(&self, queue: &Queue<'_, W>, entry: [u64; W]) -> Result<(), PushError> {
        self.claim(queue)?;
        self.out.put(queue, entry);
        Ok(())
    }

    /// Shows every filled entry to the peer.
    #[inline(always)]
    pub fn publish<const W: usize>(&self, queue: &Queue<'_, W>) {
        self.out.publish(queue);
    }

    /// Shows every entry before `position`, which is all that were filled, to the peer.
    #[inline(always)]
    pub fn publish_to<const W: usize>(&self, queue: &Queue<'_, W>, position: u32) {
        self.out.publish_to(queue, position);
    }

    /// As [`Producer::publish_and_look`].
    #[inline]
    pub fn publish_and_look<const W: usize>(&self, queue: &Queue<'_, W>) -> Doorbell {
        self.out.publish_and_look(queue)
    }
}

/// What the consumer remembers: its own index.
#[derive(Debug, Default)]
pub struct Consumer {
    head: Cell<u32>,
}

/// An entry that still lies in shared memory. Reading a word twice may give two values.
#[derive(Clone, Copy)]
pub struct Entry<'m, const W: usize>(&'m [AtomicU64; W]);

impl<'m, const W: usize> Entry<'m, W> {
    /// The entry at a position of a queue, which the caller knows to be there.
    #[inline(always)]
    pub fn at(queue: &Queue<'m, W>, position: u32) -> Entry<'m, W> {
        Entry(queue.slot(position))
    }

    /// The entry in a slot.
    #[inline(always)]
    pub fn of(slot: &'m Slot<W>) -> Entry<'m, W> {
        Entry(slot)
    }

    /// Word `index`, read now; 0 where there is none.
    #[inline(always)]
    pub fn load(&self, index: usize) -> u64 {
        self.0.get(index).map_or(0, |word| word.load(Relaxed))
    }

    /// All words, each read once.
    #[inline(always)]
    pub fn copy(&self) -> [u64; W] {
        core::array::from_fn(|index| self.load(index))
    }
}

impl Words for Entry<'_, 8> {
    #[inline(always)]
    fn word(&self, index: usize) -> u64 {
        self.load(index)
    }
}

impl Consumer {
    /// The end of a fresh queue.
    pub const fn new() -> Consumer {
        Consumer::at(0)
    }

    /// The end of an empty queue whose indices stand at `position`.
    pub const fn at(position: u32) -> Consumer {
        Consumer { head: Cell::new(position) }
    }

    /// Becomes the end of a fresh queue again.
    pub fn reset(&self) {
        self.head.set(0);
    }

    /// Position of the oldest entry.
    #[inline(always)]
    pub fn position(&self) -> u32 {
        self.head.get()
    }

    /// How many entries are there to be taken.
    #[inline(always)]
    pub fn ready<const W: usize>(&self, queue: &Queue<'_, W>) -> Result<u32, Corrupt> {
        let ready = queue.tail().load(Acquire).wrapping_sub(self.head.get());
        if ready <= queue.capacity() { Ok(ready) } else { Err(Corrupt) }
    }

    /// Whether exactly one entry is there.
    #[inline(always)]
    pub fn has_one<const W: usize>(&self, queue: &Queue<'_, W>) -> bool {
        queue.tail().load(Acquire).wrapping_sub(self.head.get()) == 1
    }

    /// Whether exactly two entries are there.
    #[inline(always)]
    pub fn has_two<const W: usize>(&self, queue: &Queue<'_, W>) -> bool {
        queue.tail().load(Acquire).wrapping_sub(self.head.get()) == 2
    }

    /// Whether no entry is there.
    #[inline(always)]
    pub fn is_empty<const W: usize>(&self, queue: &Queue<'_, W>) -> bool {
        queue.tail().load(Acquire) == self.head.get()
    }

    /// The entry `ahead` places after the oldest; the caller knows from [`ready`](Self::ready) that it is there.
    #[inline(always)]
    pub fn peek<'m, const W: usize>(&self, queue: &Queue<'m, W>, ahead: u32) -> Entry<'m, W> {
        Entry(queue.slot(self.head.get().wrapping_add(ahead)))
    }

    /// Position behind the entries that the peer has shown, if it is to be believed.
    #[inline(always)]
    pub fn end<const W: usize>(&self, queue: &Queue<'_, W>) -> u32 {
        queue.tail().load(Acquire)
    }

    /// Takes `count` entries off, without showing it to the peer yet.
    #[inline(always)]
    pub fn advance(&self, count: u32) {
        self.head.set(self.head.get().wrapping_add(count));
    }

    /// Takes all entries before a position off, which the caller knows to be there, without showing it to the peer yet.
    #[inline(always)]
    pub fn move_to(&self, position: u32) {
        self.head.set(position);
    }

    /// Shows the peer which entries have been taken.
    #[inline(always)]
    pub fn publish<const W: usize>(&self, queue: &Queue<'_, W>) {
        queue.head().store(self.head.get(), Release);
    }

    /// Copies out the oldest entry, exactly once, and frees its slot.
    #[inline]
    pub fn pop<const W: usize>(&self, queue: &Queue<'_, W>) -> Result<Option<[u64; W]>, Corrupt> {
        if self.ready(queue)? == 0 {
            return Ok(None);
        }
        let entry = self.peek(queue, 0).copy();
        self.advance(1);
        self.publish(queue);
        Ok(Some(entry))
    }

    /// Says that this end is about to sleep; `true` if nothing came meanwhile, so that it may.
    pub fn try_sleep<const W: usize>(&self, queue: &Queue<'_, W>) -> Result<bool, Corrupt> {
        if self.sleep(queue)? == 0 {
            return Ok(true);
        }
        self.wake(queue);
        Ok(false)
    }

    /// Says that this end sleeps, whatever is there: how many entries came of which it may not be told. It has to see to
    /// those; of any that come later it is told.
    ///
    /// The fence pairs with the one in [`Producer::publish_and_look`].
    pub fn sleep<const W: usize>(&self, queue: &Queue<'_, W>) -> Result<u32, Corrupt> {
        queue.sleeps().store(1, Relaxed);
        fence(SeqCst);
        self.ready(queue)
    }

    /// Says that this end is awake again.
    pub fn wake<const W: usize>(&self, queue: &Queue<'_, W>) {
        queue.sleeps().store(0, Relaxed);
    }
}

/// Writes an entry into a slot that the caller knows to be its own.
#[inline(always)]
pub fn store<const W: usize>(slot: &[AtomicU64; W], entry: [u64; W]) {
    store_at(slot, 0, entry);
}

/// The same from word `first` on, as many as there are. The others stay as they are.
#[inline(always)]
pub fn store_at<const W: usize, const N: usize>(slot: &[AtomicU64; W], first: usize, words: [u64; N]) {
    for (word, value) in slot.iter().skip(first).zip(words) {
        word.store(value, Relaxed);
    }
}
