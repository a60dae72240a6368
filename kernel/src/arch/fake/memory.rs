//! The fake machine's physical memory: one block of host memory.
//!
//! Physical address `p` lies at host address `base + p`. The block is aligned like a large page, so alignment
//! is the same on both sides, and the host commits its pages only when they are touched.
//!
//! - An address outside the block is a bug of whoever computed it, and stops the test, with one exception:
//! - once a *hosted* space exists, whose user addresses are host addresses, an address outside the block
//!   (`v - base`, wrapping) names ordinary memory of this host process. Whoever made that space answers for it.

use super::effort;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

/// Alignment of the block, and the unit of its size.
pub(super) const BLOCK_ALIGN: usize = 2 << 20;

/// The block.
#[derive(Debug)]
pub(super) struct Memory {
    allocation: NonNull<u8>,
    base: NonNull<u8>,
    bytes: usize,
    open: Cell<bool>,
}

impl Memory {
    /// A block of `bytes` zeroed bytes.
    ///
    /// # Panics
    ///
    /// If `bytes` is zero or not a multiple of 2 MiB.
    pub(super) fn new(bytes: usize) -> Memory {
        assert!(bytes > 0 && bytes.is_multiple_of(BLOCK_ALIGN), "memory comes in multiples of 2 MiB");
        let layout = Self::layout(bytes);
        // SAFETY: the layout has a size above zero.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(allocation) = NonNull::new(start) else { handle_alloc_error(layout) };
        let padding = start.align_offset(BLOCK_ALIGN);
        // SAFETY: the layout is one alignment longer than the block, so the padding lies within it.
        let base = unsafe { allocation.add(padding) };
        Memory { allocation, base, bytes, open: Cell::new(false) }
    }

    /// Bytes of the block.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Host address of physical address zero.
    pub(super) fn base(&self) -> u64 {
        self.base.as_ptr().expose_provenance() as u64
    }

    /// From now on, addresses outside the block name memory of the host process.
    pub(super) fn open(&self) {
        self.open.set(true);
    }

    /// The host's pointer to `length` bytes at a physical address.
    ///
    /// # Panics
    ///
    /// If they do not lie in memory.
    fn host(&self, at: u64, length: usize) -> *mut u8 {
        let room = (self.bytes as u64).checked_sub(at);
        if room.is_some_and(|room| length as u64 <= room) {
            return self.base.as_ptr().wrapping_add(at as usize);
        }
        assert!(self.open.get(), "{length} bytes at physical address {at:#x} are not in memory");
        ptr::with_exposed_provenance_mut(self.base().wrapping_add(at) as usize)
    }

    /// The host's pointer to memory of the block only.
    ///
    /// # Panics
    ///
    /// If the bytes do not lie in the block.
    pub(super) fn within(&self, at: u64, length: usize) -> NonNull<u8> {
        let room = (self.bytes as u64).checked_sub(at);
        let fits = room.is_some_and(|room| length as u64 <= room);
        assert!(fits, "{length} bytes at physical address {at:#x} are not in memory");
        // SAFETY: `at` was just checked to lie within the block.
        unsafe { self.base.add(at as usize) }
    }

    pub(super) fn read(&self, at: u64, bytes: &mut [u8]) {
        effort::bytes(bytes.len());
        let from = self.host(at, bytes.len());
        // SAFETY: the block (or the host program, for a hosted space) holds these bytes, and no Rust
        // reference into them exists: rings are reached by atomic words only.
        unsafe { ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) }
    }

    pub(super) fn write(&self, at: u64, bytes: &[u8]) {
        effort::bytes(bytes.len());
        let to = self.host(at, bytes.len());
        // SAFETY: as in `read`.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) }
    }

    pub(super) fn copy(&self, to: u64, from: u64, length: usize) {
        effort::bytes(length);
        let from = self.host(from, length);
        let to = self.host(to, length);
        // SAFETY: as in `read`; the ranges may overlap where a program passes one buffer twice.
        unsafe { ptr::copy(from, to, length) }
    }

    pub(super) fn zero(&self, at: u64, length: usize) {
        effort::bytes(length);
        let to = self.host(at, length);
        // SAFETY: as in `read`.
        unsafe { ptr::write_bytes(to, 0, length) }
    }

    pub(super) fn load_u64(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        self.read(at, &mut bytes);
        u64::from_ne_bytes(bytes)
    }

    pub(super) fn store_u64(&self, at: u64, value: u64) {
        self.write(at, &value.to_ne_bytes());
    }

    pub(super) fn load_u32(&self, at: u64) -> u32 {
        self.word(at).load(Ordering::SeqCst)
    }

    pub(super) fn store_u32(&self, at: u64, value: u32) {
        self.word(at).store(value, Ordering::SeqCst);
    }

    fn word(&self, at: u64) -> &AtomicU32 {
        assert!(at.is_multiple_of(4), "the word at {at:#x} is not aligned");
        let at = self.host(at, 4).cast();
        // SAFETY: four aligned bytes of the block (or of the host program, for a hosted space), which other
        // threads reach only by atomic words.
        unsafe { AtomicU32::from_ptr(at) }
    }

    fn layout(bytes: usize) -> Layout {
        match Layout::from_size_align(bytes.saturating_add(BLOCK_ALIGN), 16) {
            Ok(layout) => layout,
            Err(_) => panic!("{bytes} bytes are more than a host has"),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let layout = Self::layout(self.bytes);
        // SAFETY: `new` allocated it with this layout, and the block ends with its owner.
        unsafe { dealloc(self.allocation.as_ptr(), layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_zero_and_keeps_what_is_written() {
        let memory = Memory::new(BLOCK_ALIGN);
        assert_eq!(memory.load_u64(4096), 0);
        memory.write(4090, b"across pages");
        let mut bytes = [0; 12];
        memory.read(4090, &mut bytes);
        assert_eq!(&bytes, b"across pages");
        memory.copy(8192, 4090, 12);
        memory.zero(8192, 7);
        memory.read(8192, &mut bytes);
        assert_eq!(&bytes, b"\0\0\0\0\0\0\0pages");
        assert!((memory.base() as usize).is_multiple_of(BLOCK_ALIGN));
    }

    #[test]
    #[should_panic(expected = "not in memory")]
    fn an_address_outside_is_caught() {
        Memory::new(BLOCK_ALIGN).load_u64(BLOCK_ALIGN as u64 - 4);
    }

    #[test]
    fn an_open_memory_reaches_the_host() {
        let memory = Memory::new(BLOCK_ALIGN);
        memory.open();
        let word = Box::new(AtomicU32::new(7));
        let address = (word.as_ptr().expose_provenance() as u64).wrapping_sub(memory.base());
        assert_eq!(memory.load_u32(address), 7);
        memory.store_u32(address, 8);
        assert_eq!(word.load(Ordering::SeqCst), 8);
    }
}
