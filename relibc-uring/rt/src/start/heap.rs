//! The global allocator of guest programs: `talc` over memory that the kernel maps.
//!
//! It asks the kernel while it holds its lock, and it may be entered by who files the answers of others. So all that it
//! asks goes by [`Local::call_aside`], which files nothing, runs no code of others and needs no memory: the heap never
//! enters itself, and its holder waits for nobody but the kernel.
#![allow(unsafe_code, reason = "an allocator hands out raw memory")]

use crate::ring::current::local;
#[cfg(doc)]
use crate::ring::local::Local;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use ring_abi::args::map::{PRIVATE, READ, WRITE};
use ring_abi::args::{CURRENT, FutexWait, FutexWake, Map, Unmap};
use ring_abi::enter::NO_DEADLINE;
use ring_abi::{Errno, Sqe, errno};
use talc::TalcLock;
use talc::lock_api::{GuardSend, RawMutex};
use talc::source::GlobalAllocSource;

/// Bytes that are asked of the kernel at least.
const BLOCK: usize = 32 * 1024;

#[global_allocator]
static HEAP: TalcLock<Lock, GlobalAllocSource<Pages>> =
    TalcLock::new(GlobalAllocSource::with_block_size(Pages, BLOCK));

/// Does one operation.
///
/// # Safety
///
/// As for [`Local::call_aside`].
unsafe fn call(entry: Sqe) -> Result<u64, Errno> {
    // SAFETY: our caller's promise.
    errno::demux(unsafe { local().call_aside(entry.to_words()) }.result)
}

/// Memory by the page, from the kernel.
#[derive(Debug)]
struct Pages;

// SAFETY: the kernel maps fresh memory that nothing else uses, aligned to 4096, which is more than the
// allocator above asks for; what is given back was got here.
unsafe impl GlobalAlloc for Pages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let map =
            Map { space: CURRENT, address: 0, length: layout.size() as u64, flags: READ | WRITE | PRIVATE };
        // SAFETY: it may lie anywhere, so it takes nothing away.
        match unsafe { call(map.encode(0)) } {
            Ok(address) if layout.align() <= 4096 => ptr::with_exposed_provenance_mut(address as usize),
            _ => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let unmap = Unmap { space: CURRENT, address: pointer.addr() as u64, length: layout.size() as u64 };
        // An address that `alloc` gave can be unmapped; if not, it is only lost.
        // SAFETY: the caller promises that this came from `alloc` and that nobody uses it.
        let _ = unsafe { call(unmap.encode(0)) };
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
            let wake = FutexWake { address: self.address(), count: 1 };
            // Fails only for a bad address.
            // SAFETY: it names no memory that is written to.
            let _ = unsafe { call(wake.encode(0)) };
        }
    }
}

impl Lock {
    #[cold]
    fn wait(&self) {
        while self.0.swap(2, Acquire) != 0 {
            let wait = FutexWait { address: self.address(), expected: 2, deadline: NO_DEADLINE };
            // Ends at once if the lock was freed meanwhile.
            // SAFETY: it names no memory that is written to.
            let _ = unsafe { call(wait.encode(0)) };
        }
    }

    fn address(&self) -> u64 {
        ptr::from_ref(&self.0).addr() as u64
    }
}
