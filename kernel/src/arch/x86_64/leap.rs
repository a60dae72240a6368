//! Going on in another function without a way back.
//!
//! A function that returns keeps the registers that calls preserve, and so does every function that may be called by
//! one. But at an entry the stub has stored those, and a road that ends by leaving for a context never returns: it is
//! jumped to, with all registers its own.

use core::arch::asm;
use core::mem::{MaybeUninit, transmute_copy};

/// What goes on, with up to three words of its own.
pub trait Road: Copy + 'static {
    /// Goes on, and leaves.
    fn go(self) -> !;
}

type Words = [MaybeUninit<u64>; 3];

/// Goes on as `road` says, and abandons the stack as it is.
#[inline(always)]
pub fn leap<R: Road>(road: R) -> ! {
    const { assert!(size_of::<R>() <= size_of::<Words>() && align_of::<R>() <= align_of::<Words>()) };
    let mut words: Words = [MaybeUninit::uninit(); 3];
    // SAFETY: the words have room for a road, and are no less aligned.
    unsafe { words.as_mut_ptr().cast::<R>().write(road) };
    let [a, b, c] = words;
    // SAFETY: `land` takes these three behind four that it ignores; it expects nothing of the other registers, nor of the
    // stack's alignment, since the kernel has no vector instructions; it never returns; and what is on the stack has no
    // destructor that matters and is not referred to: a road is `'static`.
    unsafe {
        asm!(
            "jmp {land}",
            land = sym land::<R>,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            options(noreturn, nostack),
        )
    }
}

/// The other side of [`leap`]. The first four arguments of this convention lie in `r12` to `r15`.
extern "rust-preserve-none" fn land<R: Road>(
    _: MaybeUninit<u64>,
    _: MaybeUninit<u64>,
    _: MaybeUninit<u64>,
    _: MaybeUninit<u64>,
    a: MaybeUninit<u64>,
    b: MaybeUninit<u64>,
    c: MaybeUninit<u64>,
) -> ! {
    let words: Words = [a, b, c];
    // SAFETY: the bytes of a road, from `leap` alone; roads are `Copy`.
    let road: R = unsafe { transmute_copy(&words) };
    road.go()
}
