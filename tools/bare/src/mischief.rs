//! What only a broken program does: wild memory accesses, instructions that are none, old system calls.
#![allow(unsafe_code, reason = "being wrong on purpose")]

use core::ptr;

/// Ends this context by an instruction that is none.
pub fn stop() -> ! {
    // SAFETY: `ud2` raises an exception, for which the kernel ends this context.
    unsafe { core::arch::asm!("ud2", options(noreturn, nostack)) }
}

/// Reads a word of memory that may not be there.
pub fn peek(address: u64) -> u64 {
    let place = ptr::with_exposed_provenance::<u64>(address as usize);
    // SAFETY: none: that is the test. The kernel ends a context that touches what is not there, before it
    // gets a value, so no value is ever made up.
    unsafe { place.read_volatile() }
}

/// Writes a word of memory that may not be there or not be writable.
pub fn poke(address: u64) {
    let place = ptr::with_exposed_provenance_mut::<u64>(address as usize);
    // SAFETY: as for `peek`; callers give addresses that nothing else uses.
    unsafe { place.write_volatile(0) };
}

/// Executes an instruction that only the kernel may.
pub fn halt() {
    // SAFETY: outside of the kernel it raises an exception.
    unsafe { core::arch::asm!("hlt", options(nomem, nostack)) };
}

/// Makes a `syscall` that is no `ring_enter`; what `rax` held afterwards.
///
/// # Safety
///
/// This address space's handler must do with `number` what it may.
#[cfg(target_os = "redox")]
pub unsafe fn old_call(number: u64, argument: u64) -> u64 {
    let result;
    // SAFETY: our caller's promise; the handler keeps what the C convention keeps.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") argument,
            clobber_abi("C"),
        );
    }
    result
}

/// On a host there is nothing to call.
///
/// # Safety
///
/// Always safe here; the signature is that of the guest.
#[cfg(not(target_os = "redox"))]
pub unsafe fn old_call(_: u64, _: u64) -> u64 {
    0
}
