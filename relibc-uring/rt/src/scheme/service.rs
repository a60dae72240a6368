//! What a thread that serves schemes remembers besides its ring.
#![forbid(unsafe_code)]

use super::pending::Pending;
use crate::ring::ends::{Ends, Full, full};
use core::cell::Cell;
use core::sync::atomic::{AtomicU32, AtomicU64};
use core::task::Waker;
use ring_abi::map::CqeQueue;
use ring_abi::ring::Producer;

/// Who waits for requests, and which requests wait for their answers.
pub(crate) struct Service {
    wants: Cell<bool>,
    waiter: Cell<Option<Waker>>,
    pub(crate) pending: Pending,
    pub(crate) stopping: Cell<bool>,
    /// Bytes of a slot of the arena.
    pub(crate) slot_bytes: Cell<u32>,
    /// Where replies go: nowhere, while the ring has no service pair.
    replies: Cell<CqeQueue<'static>>,
    producer: Producer,
}

impl Service {
    /// Nobody serves.
    pub(crate) fn new() -> Service {
        Service {
            wants: Cell::new(false),
            waiter: Cell::new(None),
            pending: Pending::new(),
            stopping: Cell::new(false),
            slot_bytes: Cell::new(0),
            replies: Cell::new(nowhere()),
            producer: Producer::new(),
        }
    }

    /// Replies go to this ring from now on.
    pub(crate) fn serve_on(&self, ends: &'static Ends) {
        self.replies.set(ends.ring.replies().unwrap_or_else(nowhere));
        self.producer.reset();
    }

    /// Pushes a reply and shows it to the kernel, which takes it at the next entry.
    #[inline(always)]
    pub(crate) fn reply(&self, entry: [u64; 2]) -> Result<(), Full> {
        let queue = self.replies.get();
        self.producer.push_first(&queue, entry, 2).map_err(full)?;
        self.producer.publish(&queue);
        Ok(())
    }

    /// Whether a request must end a wait too.
    #[inline(always)]
    pub(crate) fn is_wanted(&self) -> bool {
        self.wants.get()
    }

    /// Wakes this one when requests have come.
    pub(crate) fn want(&self, waker: &Waker) {
        self.wants.set(true);
        self.waiter.set(Some(waker.clone()));
    }

    /// Wakes who waits for requests, if some have come.
    #[inline(always)]
    pub(crate) fn look(&self, ends: &Ends) {
        if self.wants.get() && ends.waiting_requests() != 0 {
            self.wake();
        }
    }

    /// Wakes who waits for requests.
    pub(crate) fn wake(&self) {
        self.wants.set(false);
        if let Some(waker) = self.waiter.take() {
            waker.wake();
        }
    }
}

/// A queue that nobody reads.
fn nowhere() -> CqeQueue<'static> {
    static INDICES: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];
    static SLOTS: [[AtomicU64; 2]; 1] = [[const { AtomicU64::new(0) }; 2]];
    let [head, tail, sleeps] = &INDICES;
    CqeQueue::new(head, tail, sleeps, &SLOTS)
}
