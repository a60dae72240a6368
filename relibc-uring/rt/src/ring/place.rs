//! Makes the ends of a ring whose address the kernel gave.
#![allow(unsafe_code, reason = "the ring is given by address")]

use super::ends::{Ends, corrupt};
use core::ptr::{self, NonNull};
use core::sync::atomic::Ordering::Relaxed;
use ring_abi::layout::{Sizes, word};
use ring_abi::map::Ring;

/// This program's ends of the ring at an address that the kernel gave. Its sizes are known or stand in its header.
pub(crate) fn attach(address: usize, number: u64, sizes: Option<Sizes>) -> Ends {
    let Some(base) = NonNull::new(ptr::with_exposed_provenance_mut::<u8>(address)) else { corrupt() };
    let Some(sizes) = sizes.or_else(|| written_sizes(base)) else { corrupt() };
    // SAFETY: the kernel made a ring of these sizes here, which stays as long as this context does.
    let ring = unsafe { Ring::from_raw(base, sizes) };
    Ends::new(number, ring, sizes)
}

/// The same for a ring that a `RingCreate` with these sizes made, by its result: the address plus the number.
pub(crate) fn attach_made(place: u64, sizes: Sizes) -> Ends {
    let number = place & 63; // rings are aligned to 64 bytes
    attach((place & !63) as usize, number, Some(sizes))
}

fn written_sizes(base: NonNull<u8>) -> Option<Sizes> {
    // SAFETY: the kernel made a ring here; none is smaller than this, and only its header is read.
    let ring = unsafe { Ring::from_raw(base, Sizes::SMALLEST) };
    Sizes::unpack(ring.header(word::SIZES).load(Relaxed))
}
