//! Turns mapped memory into the queues of a ring: the only unsafe code of this crate.
//!
//! Everything in shared memory is an atomic word, so a peer that scribbles on it can spoil its own data
//! but never our memory safety. Sizes and offsets are this end's own copies, fixed when it is made;
//! what stands in the shared header is for people to read.
#![allow(unsafe_code, reason = "memory given by address becomes references here")]

use crate::layout::{HEADER_BYTES, Sizes, word};
use crate::sync::{AtomicU32, AtomicU64};
use core::ptr::NonNull;

/// One queue of entries of `W` words: its indices and its slots.
#[derive(Clone, Copy)]
pub struct Queue<'m, const W: usize> {
    head: &'m AtomicU32,
    tail: &'m AtomicU32,
    sleeps: &'m AtomicU32,
    slots: NonNull<[AtomicU64; W]>,
    mask: u32,
}

/// One slot of a queue: the words of an entry.
pub type Slot<const W: usize> = [AtomicU64; W];
/// Submissions or requests.
pub type SqeQueue<'m> = Queue<'m, 8>;
/// Completions or replies.
pub type CqeQueue<'m> = Queue<'m, 2>;

impl<'m, const W: usize> Queue<'m, W> {
    /// A queue over these words. `sleeps` says whether the consumer must be told of new entries.
    ///
    /// # Panics
    ///
    /// If the number of slots is not a power of two of at most 32768.
    pub fn new(
        head: &'m AtomicU32,
        tail: &'m AtomicU32,
        sleeps: &'m AtomicU32,
        slots: &'m [[AtomicU64; W]],
    ) -> Self {
        assert!(slots.len().is_power_of_two() && slots.len() <= 32768, "queue sizes are powers of two");
        let mask = (slots.len() as u32).wrapping_sub(1);
        Queue { head, tail, sleeps, slots: NonNull::from(slots).cast(), mask }
    }

    /// Index of the next entry to take, kept by the consumer.
    #[inline(always)]
    pub fn head(&self) -> &'m AtomicU32 {
        self.head
    }

    /// Index of the next entry to fill, kept by the producer.
    #[inline(always)]
    pub fn tail(&self) -> &'m AtomicU32 {
        self.tail
    }

    /// One while the consumer must be told of new entries.
    #[inline(always)]
    pub fn sleeps(&self) -> &'m AtomicU32 {
        self.sleeps
    }

    /// Number of slots.
    #[inline(always)]
    pub fn capacity(&self) -> u32 {
        self.mask.wrapping_add(1)
    }

    /// The slot under a ring position; positions wrap around.
    #[inline(always)]
    pub fn slot(&self, at: u32) -> &'m [AtomicU64; W] {
        // SAFETY: `slots` points to `mask + 1` slots (`new` and `Ring::queue` see to it), and the masked
        // index is below that.
        let slot = unsafe { self.slots.add((at & self.mask) as usize) };
        // SAFETY: those slots are aligned, made of atomics, and live for `'m`.
        unsafe { slot.as_ref() }
    }

    /// The slots from a ring position on, `most` of them or up to where the queue's memory ends: for loops that ask only
    /// once where that is. Never none, if `most` is not zero.
    #[inline(always)]
    pub fn stretch(&self, at: u32, most: u32) -> &'m [Slot<W>] {
        let first = at & self.mask;
        let length = most.min(self.capacity().wrapping_sub(first));
        // SAFETY: `slots` points to `mask + 1` slots, as above, and `first` is below that.
        let slots = unsafe { self.slots.add(first as usize) };
        // SAFETY: `first + length` is no more than that; they are aligned, made of atomics, and live for `'m`.
        unsafe { core::slice::from_raw_parts(slots.as_ptr(), length as usize) }
    }
}

/// An entry that nobody writes to: plain memory, of which a compiler leaves out what is not looked at.
#[cfg(not(loom))]
#[derive(Clone, Copy)]
pub struct Settled<'m>(&'m Slot<8>);

#[cfg(not(loom))]
impl<'m> Settled<'m> {
    /// The entry at a position.
    ///
    /// # Safety
    ///
    /// It was shown by a peer that is trusted not to write to it before it is taken off, as the kernel is by programs,
    /// and it is not taken off as long as this is used.
    #[inline(always)]
    pub unsafe fn at(queue: &SqeQueue<'m>, position: u32) -> Self {
        Settled(queue.slot(position))
    }

    /// All words.
    #[inline(always)]
    pub fn words(self) -> [u64; 8] {
        // SAFETY: `at` was promised that nobody writes.
        self.0.each_ref().map(|word| unsafe { word.as_ptr().read() })
    }
}

/// One end's view of a ring's memory.
///
/// Holds no right to free the memory: whoever made it keeps the memory mapped as long as the view lives.
/// Packed, since the kernel keeps one for each ring and has a use for the four bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed(4))]
pub struct Ring {
    base: NonNull<u8>,
    sq_mask: u16,
    cq_mask: u16,
    service_mask: u16,
    has_service: bool,
    cq_offset: u32,
    rq_offset: u32,
    rp_offset: u32,
}

/// A ring's worth of memory that no program sees.
#[cfg(not(loom))]
#[repr(align(64))]
struct Nowhere([AtomicU64; Sizes::SMALLEST.bytes() / 8]);

#[cfg(not(loom))]
static NOWHERE: Nowhere = Nowhere([const { AtomicU64::new(0) }; Sizes::SMALLEST.bytes() / 8]);

#[cfg(not(loom))]
impl Default for Ring {
    /// A view of a ring that nobody uses, for records that are always initialised.
    fn default() -> Ring {
        // SAFETY: `NOWHERE` is as long and as aligned as the smallest ring, lives for ever, and is
        // reached through such views only.
        unsafe { Ring::from_raw(NonNull::from(&NOWHERE.0).cast(), Sizes::SMALLEST) }
    }
}

impl Ring {
    /// A view of the ring at `base`.
    ///
    /// # Safety
    ///
    /// `base` must be aligned to 64 bytes and lead to `sizes.bytes()` bytes of readable and writable memory
    /// that stay so while the view (or a copy of one of its queues) lives, and that nobody in this
    /// program reaches except through such views. Other programs may do with it what they want.
    pub unsafe fn from_raw(base: NonNull<u8>, sizes: Sizes) -> Ring {
        let mask = |entries: usize| (entries as u16).wrapping_sub(1);
        // Without a service pair, its queues are one slot each, in the SQ: so every view stays inside the memory.
        let (rq_offset, rp_offset) = if sizes.service.is_some() {
            (sizes.rq_offset(), sizes.rp_offset())
        } else {
            (HEADER_BYTES, HEADER_BYTES)
        };
        Ring {
            base,
            sq_mask: mask(sizes.sq_entries()),
            cq_mask: mask(sizes.cq_entries()),
            service_mask: sizes.service.map_or(0, |_| mask(sizes.service_entries())),
            has_service: sizes.service.is_some(),
            cq_offset: sizes.cq_offset() as u32,
            rq_offset: rq_offset as u32,
            rp_offset: rp_offset as u32,
        }
    }

    /// Address of the ring as this end sees it.
    pub fn address(&self) -> usize {
        self.base.as_ptr() as usize
    }

    /// A 32-bit word of the header, see [`word`].
    ///
    /// # Panics
    ///
    /// If `index` is not one of the header's words; it is a constant everywhere.
    #[inline(always)]
    pub fn header(&self, index: usize) -> &AtomicU32 {
        assert!(index < word::COUNT, "no such header word");
        // SAFETY: the header has `COUNT` words and lies in the memory that `from_raw` was promised.
        let word = unsafe { self.base.cast::<AtomicU32>().add(index) };
        // SAFETY: that memory is aligned to 64, is reached as atomics only, and outlives this view.
        unsafe { word.as_ref() }
    }

    /// Submissions, for as long as the caller likes: whoever made the view keeps the memory mapped as long as a copy of
    /// one of its queues lives.
    #[inline(always)]
    pub fn lasting_sq<'m>(&self) -> SqeQueue<'m> {
        let Queue { head, tail, sleeps, slots, mask } = self.sq();
        // SAFETY: what `from_raw` was promised.
        let [head, tail, sleeps] = [head, tail, sleeps].map(|word| unsafe { NonNull::from(word).as_ref() });
        Queue { head, tail, sleeps, slots, mask }
    }

    /// Where the submissions' producer says how far it is, and where that of replies does if there is a service pair; for as
    /// long as the caller likes, as above.
    pub fn lasting_tails<'m>(&self) -> [Option<&'m AtomicU32>; 2] {
        let replies = self.has_service.then(|| self.header(word::RP_TAIL));
        // SAFETY: what `from_raw` was promised.
        [Some(self.header(word::SQ_TAIL)), replies]
            .map(|word| word.map(|word| unsafe { NonNull::from(word).as_ref() }))
    }

    /// Submissions.
    #[inline(always)]
    pub fn sq(&self) -> SqeQueue<'_> {
        self.queue([word::SQ_HEAD, word::SQ_TAIL, word::SQ_SLEEPS], HEADER_BYTES as u32, self.sq_mask)
    }

    /// Completions.
    #[inline(always)]
    pub fn cq(&self) -> CqeQueue<'_> {
        self.queue([word::CQ_HEAD, word::CQ_TAIL, word::CQ_SLEEPS], self.cq_offset, self.cq_mask)
    }

    /// Whether the ring has a service pair.
    #[inline(always)]
    pub fn has_service(&self) -> bool {
        self.has_service
    }

    /// Requests, if the ring has a service pair.
    #[inline(always)]
    pub fn requests(&self) -> Option<SqeQueue<'_>> {
        self.has_service.then(|| self.service_requests())
    }

    /// Replies, if the ring has a service pair.
    #[inline(always)]
    pub fn replies(&self) -> Option<CqeQueue<'_>> {
        self.has_service.then(|| self.service_replies())
    }

    /// Requests of a ring that is known to have a service pair. (Of any other, a queue of one slot that lies in the SQ.)
    #[inline(always)]
    pub fn service_requests(&self) -> SqeQueue<'_> {
        self.queue([word::RQ_HEAD, word::RQ_TAIL, word::RQ_SLEEPS], self.rq_offset, self.service_mask)
    }

    /// Replies of a ring that is known to have a service pair. (Of any other, a queue of one slot that lies in the SQ.)
    #[inline(always)]
    pub fn service_replies(&self) -> CqeQueue<'_> {
        self.queue([word::RP_HEAD, word::RP_TAIL, word::RP_SLEEPS], self.rp_offset, self.service_mask)
    }

    /// `offset` and `mask` come from the `Sizes` that `from_raw` was given.
    #[inline(always)]
    fn queue<const W: usize>(&self, words: [usize; 3], offset: u32, mask: u16) -> Queue<'_, W> {
        let [head, tail, sleeps] = words;
        // SAFETY: `offset` lies within the memory that `from_raw` was promised.
        let slots = unsafe { self.base.add(offset as usize) }.cast();
        Queue {
            head: self.header(head),
            tail: self.header(tail),
            sleeps: self.header(sleeps),
            slots,
            mask: u32::from(mask),
        }
    }
}
