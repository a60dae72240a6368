//! Memory that a fork shares, as atomic words.
#![allow(unsafe_code, reason = "mapped memory becomes a slice")]

use core::ptr;
use core::sync::atomic::AtomicU64;
use ring_abi::Errno;
use ring_abi::args::map::{READ, SHARED, WRITE};
use uring::Fd;
use uring::op::memory;

/// Maps so many zeroed words that children of a fork share. They stay mapped until the program ends.
pub fn words(count: usize) -> Result<&'static [AtomicU64], Errno> {
    let length = (count as u64).checked_mul(8).ok_or(Errno::INVAL)?;
    // SAFETY: it may lie anywhere, so it takes nothing away.
    let address = unsafe { memory::map_in(Fd::CURRENT, 0, length, READ | WRITE | SHARED) }.wait()?;
    let place = ptr::with_exposed_provenance::<AtomicU64>(address as usize);
    // SAFETY: the kernel mapped `length` zeroed bytes there, which are never unmapped and only used as atomics.
    Ok(unsafe { core::slice::from_raw_parts(place, count) })
}
