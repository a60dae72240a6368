//! The buddy system: free blocks of 2^order frames, in one list an order.
//!
//! A block is aligned to its size, so its buddy is one flipped bit away. The lists run through
//! the infos of the blocks' first frames. Two buddies of one order are never both free, except
//! at the greatest order.
#![forbid(unsafe_code)]

use core::cell::Cell;

use crate::info::{FrameInfo, Kind, NONE};
use crate::pool::MAX_ORDER;

const ORDERS: usize = MAX_ORDER as usize + 1;

/// The lists of free blocks.
pub(crate) struct Buddy<'m> {
    infos: &'m [FrameInfo],
    heads: [Cell<u32>; ORDERS],
    /// Bit `order` says that the list of that order has a block.
    filled: Cell<u32>,
}

impl<'m> Buddy<'m> {
    pub(crate) const fn new(infos: &'m [FrameInfo]) -> Self {
        Self { infos, heads: [const { Cell::new(NONE) }; ORDERS], filled: Cell::new(0) }
    }

    #[inline(always)]
    pub(crate) fn infos(&self) -> &'m [FrameInfo] {
        self.infos
    }

    #[inline(always)]
    pub(crate) fn info(&self, number: u32) -> Option<&'m FrameInfo> {
        self.infos.get(number as usize)
    }

    /// The order of the smallest free block that holds `order`.
    pub(crate) fn fitting(&self, order: u8) -> Option<u8> {
        let fit = self.filled.get() & u32::MAX.wrapping_shl(u32::from(order));
        if fit == 0 { None } else { Some(fit.trailing_zeros() as u8) }
    }

    /// Takes a block, splitting a greater one where it must.
    pub(crate) fn take(&self, order: u8) -> Option<u32> {
        let mut level = self.fitting(order)?;
        let block = self.heads.get(usize::from(level))?.get();
        self.unlink(block, level)?;
        while level > order {
            level = level.wrapping_sub(1);
            self.link(block.wrapping_add(1 << level), level)?;
        }
        Some(block)
    }

    /// Gives a block back and joins it with every buddy that is free.
    pub(crate) fn give(&self, block: u32, order: u8) {
        let (mut block, mut order) = (block, order);
        while order < MAX_ORDER {
            let buddy = block ^ (1 << order);
            match self.info(buddy) {
                Some(info) if info.kind.get() == Kind::Free && info.order.get() == order => {}
                _ => break,
            }
            if self.unlink(buddy, order).is_none() {
                break;
            }
            if let Some(upper) = self.info(block | buddy) {
                upper.kind.set(Kind::Inner);
            }
            block &= buddy;
            order = order.wrapping_add(1);
        }
        let linked = self.link(block, order);
        debug_assert!(linked.is_some());
    }

    fn link(&self, block: u32, order: u8) -> Option<()> {
        let info = self.info(block)?;
        let head = self.heads.get(usize::from(order))?;
        let next = head.replace(block);
        info.kind.set(Kind::Free);
        info.order.set(order);
        info.link.set(next);
        info.owner.set(NONE);
        if let Some(next) = self.info(next) {
            next.owner.set(block);
        }
        self.filled.set(self.filled.get() | 1 << order);
        Some(())
    }

    fn unlink(&self, block: u32, order: u8) -> Option<()> {
        let info = self.info(block)?;
        let head = self.heads.get(usize::from(order))?;
        let (next, previous) = (info.link.get(), info.owner.get());
        if let Some(next) = self.info(next) {
            next.owner.set(previous);
        }
        match self.info(previous) {
            Some(previous) => previous.link.set(next),
            None => {
                head.set(next);
                if next == NONE {
                    self.filled.set(self.filled.get() & !(1 << order));
                }
            }
        }
        info.kind.set(Kind::Inner);
        Some(())
    }
}
