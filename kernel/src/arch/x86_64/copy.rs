//! Moving bytes and words to and from frames, with short paths for short sizes.
//!
//! A string instruction counts every element, so words are copied, an eighth of the price of bytes; and blocks of what is
//! long go through vector registers, if the CPU has AVX. These are free in the kernel: a program that entered with `ring_enter`
//! has nothing in them, as a caller of a function, and any other had them saved. They are cleared before anybody sees them.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};

/// Bytes of a page.
const PAGE: usize = 4096;
/// Bytes that go through vector registers at once.
const BLOCK: usize = 256;

/// Whether there are vector registers of 32 bytes.
static WIDE: AtomicBool = AtomicBool::new(false);

/// From now on there are.
pub(super) fn widen() {
    WIDE.store(true, Ordering::Relaxed);
}

/// The bytes of `length` that are whole blocks.
#[inline(always)]
fn in_blocks(length: usize) -> usize {
    if WIDE.load(Ordering::Relaxed) { length & !BLOCK.wrapping_sub(1) } else { 0 }
}

/// Copies whole blocks.
///
/// # Safety
///
/// As [`copy`], and `length` is a multiple of [`BLOCK`] and not zero; the vector registers must be free.
#[inline(always)]
unsafe fn copy_blocks(from: *const u8, to: *mut u8, length: usize) {
    // SAFETY: our caller's promise.
    unsafe {
        asm!(
            "2:",
            "vmovdqu ymm0, [{from}]",
            "vmovdqu ymm1, [{from} + 32]",
            "vmovdqu ymm2, [{from} + 64]",
            "vmovdqu ymm3, [{from} + 96]",
            "vmovdqu ymm4, [{from} + 128]",
            "vmovdqu ymm5, [{from} + 160]",
            "vmovdqu ymm6, [{from} + 192]",
            "vmovdqu ymm7, [{from} + 224]",
            "vmovdqu [{to}], ymm0",
            "vmovdqu [{to} + 32], ymm1",
            "vmovdqu [{to} + 64], ymm2",
            "vmovdqu [{to} + 96], ymm3",
            "vmovdqu [{to} + 128], ymm4",
            "vmovdqu [{to} + 160], ymm5",
            "vmovdqu [{to} + 192], ymm6",
            "vmovdqu [{to} + 224], ymm7",
            "add {from}, {block}",
            "add {to}, {block}",
            "sub {left}, {block}",
            "jnz 2b",
            "vzeroall",
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            left = inout(reg) length => _,
            block = const BLOCK,
            options(nostack),
        );
    }
}

/// Fills whole blocks with zeros.
///
/// # Safety
///
/// `to` must be writable for `length` bytes, a multiple of [`BLOCK`] and not zero; the vector registers must be free.
#[inline(always)]
unsafe fn zero_blocks(to: *mut u8, length: usize) {
    // SAFETY: our caller's promise.
    unsafe {
        asm!(
            "vpxor xmm0, xmm0, xmm0",
            "2:",
            "vmovdqu [{to}], ymm0",
            "vmovdqu [{to} + 32], ymm0",
            "vmovdqu [{to} + 64], ymm0",
            "vmovdqu [{to} + 96], ymm0",
            "vmovdqu [{to} + 128], ymm0",
            "vmovdqu [{to} + 160], ymm0",
            "vmovdqu [{to} + 192], ymm0",
            "vmovdqu [{to} + 224], ymm0",
            "add {to}, {block}",
            "sub {left}, {block}",
            "jnz 2b",
            to = inout(reg) to => _,
            left = inout(reg) length => _,
            block = const BLOCK,
            options(nostack),
        );
    }
}

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

/// More than 16 bytes: whole blocks, whole words, then one word that ends where the range ends.
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
    let blocks = in_blocks(length);
    if blocks != 0 {
        // SAFETY: blocks that lie within the promised lengths; the registers are free, as said above.
        unsafe { copy_blocks(from, to, blocks) }
    }
    let words = length.wrapping_sub(blocks) >> 3;
    if words != 0 {
        // SAFETY: whole words that lie within the promised lengths; the direction flag is clear in the kernel.
        unsafe {
            asm!(
                "rep movsq",
                inout("rcx") words => _,
                inout("rsi") from.wrapping_add(blocks) => _,
                inout("rdi") to.wrapping_add(blocks) => _,
                options(nostack, preserves_flags),
            );
        }
    }
    // SAFETY: `last` leaves room for one word before the end.
    let tail_to = unsafe { to.add(last) };
    // SAFETY: the last word of the target.
    unsafe { tail_to.cast::<u64>().write_unaligned(tail) };
}

/// Fills a page with zeros.
///
/// # Safety
///
/// `to` must be writable for 4096 bytes.
#[inline(always)]
pub(super) unsafe fn zero_page(to: *mut u64) {
    if in_blocks(PAGE) != 0 {
        // SAFETY: our caller's promise; the registers are free, as said above.
        unsafe { zero_blocks(to.cast(), PAGE) }
    } else {
        // SAFETY: our caller's promise.
        unsafe { zero(to, PAGE >> 3) }
    }
}

/// Fills `words` words with zeros.
///
/// # Safety
///
/// `to` must be writable for `words * 8` bytes.
#[inline(always)]
unsafe fn zero(to: *mut u64, words: usize) {
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
