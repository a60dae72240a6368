//! On a host: a runtime over a ring that a test made.
#![allow(unsafe_code, reason = "the ring's memory is given by address")]

use crate::ring::current::{self, Thread};
use crate::ring::ends::Ends;
use crate::ring::local::Local;
use core::ptr::NonNull;
use ring_abi::layout::Sizes;
use ring_abi::map::Ring;
use ring_abi::{Errno, args, errno};
use std::boxed::Box;

/// Makes the ring at `base` the first ring of this host thread, whose runtime starts afresh.
///
/// # Safety
///
/// As for [`Ring::from_raw`], and for as long as the thread lives.
pub unsafe fn install(base: NonNull<u8>, sizes: Sizes) {
    // SAFETY: our caller's promise.
    let ring = unsafe { Ring::from_raw(base, sizes) };
    let ends = Box::leak(Box::new(Ends::new(0, ring, sizes)));
    current::set(Box::leak(Box::new(Thread::new(Local::new(ends)))));
}

/// Lets so many nanoseconds pass, by an operation that goes to the kernel as those of a guest program's heap do.
pub fn wait_aside(nanoseconds: u64) -> Result<u64, Errno> {
    let entry = args::Timeout { nanoseconds, flags: 0 }.encode(0);
    // SAFETY: it names no memory.
    errno::demux(unsafe { current::local().call_aside(entry.to_words()) }.result)
}
