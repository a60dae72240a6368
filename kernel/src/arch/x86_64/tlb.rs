//! Forgetting translations on this CPU.

use core::arch::asm;

/// Makes this CPU forget the translation of one page.
#[inline(always)]
pub(super) fn forget_page(address: u64) {
    // SAFETY: forgetting a translation only makes the CPU walk the tables again.
    unsafe { asm!("invlpg [{}]", in(reg) address, options(nostack, preserves_flags)) }
}

/// Makes this CPU forget every translation of the lower half.
pub(super) fn forget_all() {
    let root: u64;
    // SAFETY: reading CR3 changes nothing.
    unsafe { asm!("mov {}, cr3", out(reg) root, options(nomem, nostack, preserves_flags)) }
    // SAFETY: the same root is loaded again.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) }
}
