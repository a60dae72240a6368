//! The time-stamp counter, how far it moves in an instruction, and whose it is.
#![allow(unsafe_code, reason = "single instructions")]

/// The counter now.
#[inline(always)]
pub fn ticks() -> u64 {
    // SAFETY: every processor of this architecture has the counter, and the kernel lets programs read it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Ticks of a pair of readings with nothing in between.
#[inline(never)]
pub fn empty_pair() -> u64 {
    let start = ticks();
    ticks().wrapping_sub(start)
}

/// Ticks of a pair of readings with a thousand instructions in between that do nothing.
#[inline(never)]
pub fn thousand_nops() -> u64 {
    let start = ticks();
    // SAFETY: `nop` does nothing, a thousand times.
    unsafe { core::arch::asm!(".rept 1000", "nop", ".endr", options(nomem, nostack, preserves_flags)) };
    ticks().wrapping_sub(start)
}

/// The number under which the interrupt controller of the processor that runs this is known: under QEMU its own.
pub fn processor() -> u64 {
    u64::from(core::arch::x86_64::__cpuid(1).ebx >> 24)
}
