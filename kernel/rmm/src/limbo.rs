//! Frames that are nobody's any more, until every CPU has forgotten them.
//!
//! Three bags: `filling` takes what comes, `waiting` waits for its epoch to pass, `ready` holds
//! what may be handed out again and is emptied in slices. Two bags before `ready` are enough: a
//! bag that filled for ever would never pass. The bags are lists through the frames' infos.
#![forbid(unsafe_code)]

use core::cell::Cell;

use crate::info::{FrameInfo, Kind, NONE};
use crate::pool::Pool;

/// A list of frames with both ends known.
struct Bag {
    head: Cell<u32>,
    tail: Cell<u32>,
    count: Cell<u32>,
    /// The youngest epoch of anything in it.
    epoch: Cell<u64>,
}

impl Bag {
    const fn new() -> Self {
        Self { head: Cell::new(NONE), tail: Cell::new(NONE), count: Cell::new(0), epoch: Cell::new(0) }
    }

    fn is_empty(&self) -> bool {
        self.head.get() == NONE
    }

    fn push(&self, number: u32, info: &FrameInfo) {
        if self.is_empty() {
            self.tail.set(number);
        }
        info.link.set(self.head.replace(number));
        self.count.set(self.count.get().wrapping_add(1));
    }

    fn pop<'m>(&self, pool: &Pool<'m>) -> Option<(u32, &'m FrameInfo)> {
        let number = self.head.get();
        let info = pool.info(number)?;
        self.head.set(info.link.get());
        self.count.set(self.count.get().wrapping_sub(1));
        Some((number, info))
    }

    /// Puts all of `other` before what is here.
    fn append(&self, other: &Self, pool: &Pool<'_>) {
        let Some(last) = pool.info(other.tail.get()).filter(|_| !other.is_empty()) else { return };
        if self.is_empty() {
            self.tail.set(other.tail.get());
        }
        last.link.set(self.head.replace(other.head.replace(NONE)));
        self.count.set(self.count.get().wrapping_add(other.count.replace(0)));
        self.epoch.set(self.epoch.get().max(other.epoch.get()));
    }
}

/// The three bags.
pub(crate) struct Limbo {
    filling: Bag,
    waiting: Bag,
    ready: Bag,
}

impl Limbo {
    pub(crate) const fn new() -> Self {
        Self { filling: Bag::new(), waiting: Bag::new(), ready: Bag::new() }
    }

    /// Takes a frame that some TLB may reach until `epoch` has passed.
    pub(crate) fn push(&self, number: u32, info: &FrameInfo, epoch: u64) {
        info.kind.set(Kind::Stale);
        self.filling.epoch.set(epoch);
        self.filling.push(number, info);
    }

    /// Every epoch below `slowest` has passed.
    pub(crate) fn advance(&self, slowest: u64, pool: &Pool<'_>) {
        for _ in 0..2 {
            if self.waiting.is_empty() {
                self.waiting.epoch.set(0);
                self.waiting.append(&self.filling, pool);
            }
            if self.waiting.epoch.get() < slowest {
                self.ready.append(&self.waiting, pool);
            }
        }
    }

    /// Moves up to `most` frames that everybody has forgotten to the free ones.
    pub(crate) fn reclaim(&self, most: u32, pool: &Pool<'_>) -> u32 {
        let mut done = 0_u32;
        while done < most {
            let Some((number, info)) = self.ready.pop(pool) else { break };
            pool.give_one(number, info);
            done = done.wrapping_add(1);
        }
        done
    }

    /// Frames in all three bags.
    pub(crate) fn count(&self) -> u32 {
        self.filling.count.get().wrapping_add(self.waiting.count.get()).wrapping_add(self.ready.count.get())
    }

    /// Frames that could be free at once.
    pub(crate) fn ready_count(&self) -> u32 {
        self.ready.count.get()
    }
}
