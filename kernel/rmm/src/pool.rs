//! The free frames: the buddy system, and a short list of single frames before it.
//!
//! Single frames come and go far more often than blocks, and a lone frame that is taken from a
//! large block and given back would split and join it ten times. So single frames go through a
//! list of at most `HOT_MOST`; only when it runs out or over does the buddy system move some.
//! A block that cannot be had calls the list in first, so it never causes a failure.
#![forbid(unsafe_code)]

use core::cell::Cell;

use crate::buddy::Buddy;
use crate::info::{FrameInfo, Kind, NONE};

/// The greatest block has 2^10 frames, 4 MiB.
pub const MAX_ORDER: u8 = 10;

const HOT_MOST: u32 = 64;
const HOT_SPILL: u32 = 32;
/// A refill takes a block of at most this order.
const REFILL_ORDER: u8 = 4;

/// Every free frame.
pub(crate) struct Pool<'m> {
    buddy: Buddy<'m>,
    hot: Cell<u32>,
    hot_count: Cell<u32>,
    free: Cell<u32>,
}

impl<'m> Pool<'m> {
    pub(crate) const fn new(infos: &'m [FrameInfo]) -> Self {
        Self { buddy: Buddy::new(infos), hot: Cell::new(NONE), hot_count: Cell::new(0), free: Cell::new(0) }
    }

    #[inline(always)]
    pub(crate) fn infos(&self) -> &'m [FrameInfo] {
        self.buddy.infos()
    }

    #[inline(always)]
    pub(crate) fn info(&self, number: u32) -> Option<&'m FrameInfo> {
        self.buddy.info(number)
    }

    #[inline]
    pub(crate) fn free_count(&self) -> u32 {
        self.free.get()
    }

    /// Takes a single frame.
    #[inline]
    pub(crate) fn take_one(&self) -> Option<(u32, &'m FrameInfo)> {
        if self.hot.get() == NONE {
            self.refill();
        }
        let number = self.hot.get();
        let info = self.info(number)?;
        self.hot.set(info.link.get());
        self.hot_count.set(self.hot_count.get().wrapping_sub(1));
        self.free.set(self.free.get().wrapping_sub(1));
        Some((number, info))
    }

    /// Gives a single frame back. Its info is `info`.
    #[inline]
    pub(crate) fn give_one(&self, number: u32, info: &FrameInfo) {
        self.free.set(self.free.get().wrapping_add(1));
        self.push_hot(number, info);
        if self.hot_count.get() > HOT_MOST {
            self.spill(HOT_SPILL);
        }
    }

    /// Takes a block. Its frames are marked as inner ones.
    pub(crate) fn take_block(&self, order: u8) -> Option<u32> {
        let block = match self.buddy.take(order) {
            Some(block) => block,
            None => {
                self.spill(u32::MAX);
                self.buddy.take(order)?
            }
        };
        self.free.set(self.free.get().wrapping_sub(1 << order));
        Some(block)
    }

    /// Gives a block back.
    pub(crate) fn give_block(&self, block: u32, order: u8) {
        self.free.set(self.free.get().wrapping_add(1 << order));
        self.buddy.give(block, order);
    }

    #[inline]
    fn push_hot(&self, number: u32, info: &FrameInfo) {
        info.kind.set(Kind::Hot);
        info.link.set(self.hot.replace(number));
        self.hot_count.set(self.hot_count.get().wrapping_add(1));
    }

    /// Moves a small block into the list, lowest frame on top.
    #[cold]
    #[inline(never)]
    fn refill(&self) {
        let Some(order) = self.buddy.fitting(0).map(|order| order.min(REFILL_ORDER)) else { return };
        let Some(block) = self.buddy.take(order) else { return };
        for number in (block..block.wrapping_add(1 << order)).rev() {
            if let Some(info) = self.info(number) {
                self.push_hot(number, info);
            }
        }
    }

    /// Moves up to `most` frames of the list back into blocks.
    #[cold]
    #[inline(never)]
    fn spill(&self, most: u32) {
        for _ in 0..most {
            let number = self.hot.get();
            let Some(info) = self.info(number) else { return };
            self.hot.set(info.link.get());
            self.hot_count.set(self.hot_count.get().wrapping_sub(1));
            info.kind.set(Kind::Inner);
            self.buddy.give(number, 0);
        }
    }
}
