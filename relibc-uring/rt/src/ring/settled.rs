//! Requests as plain memory.
#![allow(unsafe_code, reason = "what the kernel has written is not read as atomic words")]

use ring_abi::map::{Settled, SqeQueue};

/// Shows a request that is there and was not taken off.
#[inline(always)]
pub(super) fn show(requests: &SqeQueue<'_>, at: u32, to: impl FnOnce(Settled<'_>)) {
    // SAFETY: the other end of a request queue is the kernel's, which leaves an entry alone until it is taken off and
    // writes only while we are in it. `to` copies the words that it wants before it runs code of others.
    to(unsafe { Settled::at(requests, at) });
}
