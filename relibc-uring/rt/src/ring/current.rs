//! Finds the runtime of the current thread.
//!
//! In the guest the segment register `fs` leads to a [`Thread`], whose first word is its own address (the
//! layout of the thread control block of Redox: end of the TLS, its length, address and length of the block).
//! On a host it is a thread-local variable, filled by [`install`](crate::host::install).
#![allow(unsafe_code, reason = "the thread's own memory is found through a register")]

use crate::ring::local::Local;

/// What `fs` leads to.
#[repr(C, align(64))]
pub(crate) struct Thread {
    /// Its own address.
    myself: core::cell::Cell<usize>,
    /// TLS length, address and length of this block; zero until there is TLS.
    tls: [usize; 3],
    /// For the library above: its own data of this thread.
    pub(crate) above: core::cell::Cell<usize>,
    pub(crate) local: Local,
}

impl Thread {
    /// The block of a thread whose runtime is `local`.
    pub(crate) fn new(local: Local) -> Thread {
        Thread { myself: core::cell::Cell::new(0), tls: [0; 3], above: core::cell::Cell::new(0), local }
    }

    /// Makes it point to itself, where it stays from now on. The address is the base of `fs`.
    pub(crate) fn settle(&'static self) -> u64 {
        let address = core::ptr::from_ref(self).addr();
        self.myself.set(address);
        address as u64
    }
}

/// The block of this thread.
#[cfg(target_os = "redox")]
#[inline(always)]
pub(crate) fn thread() -> &'static Thread {
    let address: *const Thread;
    // SAFETY: every thread of this runtime sets the base of `fs` to its `Thread` before it runs any other
    // code (`start`, `thread`), and the first word there never changes.
    unsafe {
        core::arch::asm!(
            "mov {}, fs:[0]",
            out(reg) address,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    // SAFETY: a `Thread` that `fs` leads to lives as long as its thread, and no reference leaves the thread
    // because `Local` is not `Sync`.
    unsafe { &*address }
}

/// The runtime of this thread.
#[cfg(target_os = "redox")]
#[inline(always)]
pub(crate) fn local() -> &'static Local {
    &thread().local
}

#[cfg(not(target_os = "redox"))]
pub(crate) use host::{local, set, thread};

#[cfg(not(target_os = "redox"))]
mod host {
    use super::{Local, Thread};
    use std::cell::Cell;

    std::thread_local! {
        static THREAD: Cell<Option<&'static Thread>> = const { Cell::new(None) };
    }

    /// Makes this the block of the current host thread.
    pub(crate) fn set(thread: &'static Thread) {
        THREAD.with(|place| place.set(Some(thread)));
    }

    /// The block of this thread.
    pub(crate) fn thread() -> &'static Thread {
        match THREAD.with(Cell::get) {
            Some(thread) => thread,
            None => panic!("this host thread has no ring: call `uring::host::install` first"),
        }
    }

    /// The runtime of this thread.
    pub(crate) fn local() -> &'static Local {
        &thread().local
    }
}
