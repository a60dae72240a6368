//! Memory that a fork shares, as atomic words.
#![allow(unsafe_code, reason = "mapped memory becomes a slice")]

use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicU64};
use ring_abi::Errno;
use ring_abi::args::map::{READ, SHARED, WRITE};
use uring::Fd;
use uring::op::memory;

/// Words that may lie in shared memory and are valid when zero.
pub trait Word: sealed::Sealed + Sync + 'static {}
impl Word for AtomicU32 {}
impl Word for AtomicU64 {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for core::sync::atomic::AtomicU32 {}
    impl Sealed for core::sync::atomic::AtomicU64 {}
}

/// Maps so many zeroed words that children of a fork share. They stay mapped until the program ends.
pub fn words<W: Word>(count: usize) -> Result<&'static [W], Errno> {
    let length = count.checked_mul(size_of::<W>()).ok_or(Errno::INVAL)?;
    // SAFETY: it may lie anywhere, so it takes nothing away.
    let map = unsafe { memory::map_in(Fd::CURRENT, 0, length as u64, READ | WRITE | SHARED) };
    let place = ptr::with_exposed_provenance::<W>(map.wait()? as usize);
    // SAFETY: the kernel mapped `length` zeroed bytes there, which are never unmapped and only used as atomics.
    Ok(unsafe { core::slice::from_raw_parts(place, count) })
}
