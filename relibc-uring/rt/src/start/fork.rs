//! Going on in the child of a fork, which has a copy of this thread's memory and a fresh ring.
#![allow(unsafe_code, reason = "the child's ring is given by address")]

use crate::ring::current::{Thread, thread};
use crate::ring::ends::Ends;
#[cfg(target_os = "redox")]
use crate::ring::place::attach;
use alloc::boxed::Box;
use core::mem::MaybeUninit;

/// What a thread takes with it into the child, made before the memory is copied.
pub struct Renewal {
    thread: &'static Thread,
    /// Room for the ends of the child's ring: nothing can be allocated before they are there.
    ends: Box<MaybeUninit<Ends>>,
}

impl Renewal {
    /// For this thread. Stacks that are kept for further threads would be copied for nothing.
    pub fn prepare() -> Renewal {
        // What cannot be given back is copied.
        let _ = crate::thread::trim();
        Renewal { thread: thread(), ends: Box::new(MaybeUninit::uninit()) }
    }

    /// Goes on in the child. What was in flight belongs to the parent, and is cancelled here.
    ///
    /// # Safety
    ///
    /// This must be the child's copy of the value, in the child's first thread, before anything else of this
    /// crate is used there; `ring` is the address of that thread's ring.
    #[cfg(target_os = "redox")]
    pub unsafe fn renew(self, ring: usize) {
        let ends: &'static Ends = Box::leak(Box::write(self.ends, attach(ring, 0, None)));
        self.thread.local.renew(ends, || super::begin::install(self.thread));
    }

    /// A host thread is not copied.
    ///
    /// # Safety
    ///
    /// None: it only says that it cannot be.
    #[cfg(not(target_os = "redox"))]
    pub unsafe fn renew(self, ring: usize) {
        let _ = (self.thread, self.ends);
        unreachable!("a host thread has no ring at {ring:#x} to go on with");
    }
}
