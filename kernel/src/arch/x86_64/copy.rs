//! Moving bytes and words to and from frames, with short paths for short sizes.
//!
//! Word copies are used throughout: a string instruction counts every element, so eight bytes an element is an eighth
//! of the price of one.

use core::arch::asm;

/// Copies `length` bytes between places that do not overlap.
///
/// # Safety
///
/// `from` must be readable and `to` writable for `length` bytes, and the two must not overlap.
#[inline(always)]
pub(super) unsafe fn copy(from: *const u8, to: *mut u8, length: usize) {
    // SAFETY: our caller's promise.
    if !unsafe { copy_short(from, to, length) } {
        // SAFETY: our caller's promise.
        unsafe { copy_long(from, to, length) }
    }
}

/// At most 16 bytes: two overlapping accesses of the greatest size that fits. `false`: there are more, and none moved.
///
/// # Safety
///
/// As [`copy`], if `length <= 16`.
#[inline(always)]
pub(super) unsafe fn copy_short(from: *const u8, to: *mut u8, length: usize) -> bool {
    if length == 1 {
        // SAFETY: one byte is within the promise.
        unsafe { copy_ends::<u8>(from, to, length) }
        return true;
    }
    match length {
        // SAFETY: both accesses lie within `length` bytes, as our caller promised them.
        8..=16 => unsafe { copy_ends::<u64>(from, to, length) },
        // SAFETY: as above.
        4..=7 => unsafe { copy_ends::<u32>(from, to, length) },
        // SAFETY: as above.
        2..=3 => unsafe { copy_ends::<u16>(from, to, length) },
        0 => {}
        _ => return false,
    }
    true
}

/// Copies the first and the last `T` of a range that is between one and two of them long.
///
/// # Safety
///
/// As [`copy`], and `size_of::<T>() <= length <= 2 * size_of::<T>()`.
#[inline(always)]
unsafe fn copy_ends<T: Copy>(from: *const u8, to: *mut u8, length: usize) {
    let last = length.wrapping_sub(size_of::<T>());
    // SAFETY: the first `T` of the source.
    let head = unsafe { from.cast::<T>().read_unaligned() };
    // SAFETY: `last` leaves room for one `T` before the end.
    let tail_from = unsafe { from.add(last) };
    // SAFETY: the last `T` of the source.
    let tail = unsafe { tail_from.cast::<T>().read_unaligned() };
    // SAFETY: the first `T` of the target.
    unsafe { to.cast::<T>().write_unaligned(head) };
    // SAFETY: `last` leaves room for one `T` before the end.
    let tail_to = unsafe { to.add(last) };
    // SAFETY: the last `T` of the target.
    unsafe { tail_to.cast::<T>().write_unaligned(tail) };
}

/// More than 16 bytes: whole words, then one word that ends where the range ends.
///
/// # Safety
///
/// As [`copy`], and `length >= 8`.
#[inline(never)]
unsafe fn copy_long(from: *const u8, to: *mut u8, length: usize) {
    let last = length.wrapping_sub(8);
    // SAFETY: `last` leaves room for one word before the end.
    let tail_from = unsafe { from.add(last) };
    // SAFETY: the last word of the source.
    let tail = unsafe { tail_from.cast::<u64>().read_unaligned() };
    // SAFETY: whole words that lie within the promised lengths; the direction flag is clear in the kernel.
    unsafe {
        asm!(
            "rep movsq",
            inout("rcx") length >> 3 => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags),
        );
    }
    // SAFETY: `last` leaves room for one word before the end.
    let tail_to = unsafe { to.add(last) };
    // SAFETY: the last word of the target.
    unsafe { tail_to.cast::<u64>().write_unaligned(tail) };
}

/// Fills `words` words with zeros.
///
/// # Safety
///
/// `to` must be writable for `words * 8` bytes.
#[inline(always)]
pub(super) unsafe fn zero(to: *mut u64, words: usize) {
    // SAFETY: our caller's promise; the direction flag is clear in the kernel.
    unsafe {
        asm!(
            "rep stosq",
            in("rax") 0_u64,
            inout("rcx") words => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags),
        );
    }
}

/// Fills `length` bytes with zeros: whole words, then the bytes that are left.
///
/// # Safety
///
/// `to` must be writable for `length` bytes.
pub(super) unsafe fn zero_bytes(to: *mut u8, length: usize) {
    let words = length >> 3;
    // SAFETY: whole words that lie within the promised length.
    unsafe { zero(to.cast(), words) }
    for index in words.wrapping_mul(8)..length {
        // SAFETY: `index` is below the promised length.
        unsafe { to.wrapping_add(index).write(0) }
    }
}
