//! The global allocator of guest programs: `talc` over memory that the kernel maps.
#![allow(unsafe_code, reason = "an allocator hands out raw memory")]

use crate::op::file::Fd;
use crate::op::memory;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use ring_abi::args::map::{READ, WRITE};
use talc::TalcLock;
use talc::lock_api::{GuardSend, RawMutex};
use talc::source::GlobalAllocSource;

/// Bytes that are asked of the kernel at least.
const BLOCK: usize = 32 * 1024;

#[global_allocator]
static HEAP: TalcLock<Lock, GlobalAllocSource<Pages>> =
    TalcLock::new(GlobalAllocSource::with_block_size(Pages, BLOCK));

/// Memory by the page, from the kernel.
#[derive(Debug)]
struct Pages;

// SAFETY: the kernel maps fresh memory that nothing else uses, aligned to 4096, which is more than the
// allocator above asks for; what is given back was got here.
unsafe impl GlobalAlloc for Pages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match memory::map(layout.size(), READ | WRITE).wait() {
            Ok(address) if layout.align() <= 4096 => ptr::with_exposed_provenance_mut(address as usize),
            _ => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller promises that this came from `alloc` and that nobody uses it.
        let unmap = unsafe { memory::unmap(Fd::CURRENT, pointer.addr() as u64, layout.size() as u64) };
        // An address that `alloc` gave can be unmapped; if not, it is only lost.
        let _ = unmap.wait();
    }
}

/// A lock that lets the kernel wake those who wait. Values: 0 free, 1 taken, 2 taken and waited for.
struct Lock(AtomicU32);

// SAFETY: only one `compare_exchange` from 0 or `swap` that finds 0 succeeds until `unlock` stores 0.
unsafe impl RawMutex for Lock {
    const INIT: Lock = Lock(AtomicU32::new(0));
    type GuardMarker = GuardSend;

    #[inline]
    fn lock(&self) {
        if !self.try_lock() {
            self.wait();
        }
    }

    #[inline]
    fn try_lock(&self) -> bool {
        self.0.compare_exchange(0, 1, Acquire, Relaxed).is_ok()
    }

    #[inline]
    unsafe fn unlock(&self) {
        if self.0.swap(0, Release) == 2 {
            // Fails only for a bad address.
            let _ = crate::op::sync::futex_wake(&self.0, 1).wait();
        }
    }
}

impl Lock {
    #[cold]
    fn wait(&self) {
        while self.0.swap(2, Acquire) != 0 {
            // Ends at once if the lock was freed meanwhile.
            let _ = crate::op::sync::futex_wait(&self.0, 2, u64::MAX).wait();
        }
    }
}
