//! A thread's stack: mapped memory with a page below it that stays empty, so that running over its end is a fault.
#![allow(unsafe_code, reason = "memory that nothing runs on any more is taken away")]

use super::shelf::Shelf;
use crate::op::{Fd, memory};
use ring_abi::Errno;
use ring_abi::args::map::{GUARD, PRIVATE, READ, WRITE};

/// Bytes of a page.
pub(super) const PAGE: u64 = 4096;

/// This program's stacks on which nothing runs.
static SHELF: Shelf = Shelf::new();

/// A stack, by its lowest address.
#[derive(Debug)]
pub(super) struct Stack {
    address: u64,
    pages: u64,
}

impl Stack {
    /// A stack of at least so many bytes. Its memory is zeroed, or what an earlier thread of this program left there.
    #[inline]
    pub(super) fn get(bytes: u64) -> Result<Stack, Errno> {
        let pages = bytes.div_ceil(PAGE);
        match SHELF.take(pages) {
            Some(address) => Ok(Stack { address, pages }),
            None => Stack::map(pages),
        }
    }

    #[cold]
    fn map(pages: u64) -> Result<Stack, Errno> {
        let length = pages.checked_mul(PAGE).ok_or(Errno::INVAL)?;
        // SAFETY: it may lie anywhere, so it takes nothing away.
        let address =
            unsafe { memory::map_in(Fd::CURRENT, 0, length, READ | WRITE | PRIVATE | GUARD) }.wait()?;
        Ok(Stack { address, pages })
    }

    /// The address above it.
    pub(super) fn end(&self) -> u64 {
        self.address.wrapping_add(self.pages.wrapping_mul(PAGE))
    }

    /// Keeps it for another thread, or takes it away if enough are kept.
    ///
    /// # Safety
    ///
    /// Nothing may run on it, and nobody may use what lies there.
    #[inline]
    pub(super) unsafe fn give(self) -> Result<(), Errno> {
        if SHELF.put(self.address, self.pages) {
            return Ok(());
        }
        // SAFETY: our caller's promise.
        unsafe { self.unmap() }
    }

    /// Takes it away.
    ///
    /// # Safety
    ///
    /// As for [`give`](Self::give).
    #[cold]
    pub(super) unsafe fn unmap(self) -> Result<(), Errno> {
        // SAFETY: our caller's promise.
        unsafe { memory::unmap(Fd::CURRENT, self.address, self.pages.wrapping_mul(PAGE)) }.wait()
    }
}

/// Gives the memory of all stacks back that are kept for further threads.
pub fn trim() -> Result<(), Errno> {
    while let Some((address, pages)) = SHELF.take_any() {
        // SAFETY: nothing runs on a stack that was kept, and now it is ours alone.
        unsafe { Stack { address, pages }.unmap() }?;
    }
    Ok(())
}
