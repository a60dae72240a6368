//! Forgetting translations on this CPU.

use core::arch::asm;

use x86_64::registers::control::{Cr4, Cr4Flags};

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

/// Makes this CPU forget everything, the kernel half too.
pub(super) fn forget_everything() {
    let flags = Cr4::read();
    // SAFETY: switching global pages off and on forgets all translations and changes nothing else.
    unsafe { Cr4::write(flags.difference(Cr4Flags::PAGE_GLOBAL)) };
    // SAFETY: as above.
    unsafe { Cr4::write(flags) };
}
