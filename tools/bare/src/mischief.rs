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

/// Goes on at an address where no code is.
pub fn jump(address: u64) {
    // SAFETY: none: that is the test. The kernel ends a context that executes what is not code.
    unsafe { core::arch::asm!("call {}", in(reg) address, clobber_abi("C")) };
}

/// Executes an instruction that only the kernel may.
pub fn halt() {
    // SAFETY: outside of the kernel it raises an exception.
    unsafe { core::arch::asm!("hlt", options(nomem, nostack)) };
}

/// Calls itself until the stack is used up.
#[inline(never)]
pub fn overflow(depth: u64) -> u64 {
    let room = core::hint::black_box([depth; 32]);
    match depth {
        u64::MAX => 0,
        _ => overflow(depth.wrapping_add(1)).wrapping_add(core::hint::black_box(room)[0]),
    }
}

/// Makes a `syscall` that is no `ring_enter`; what `rax` held afterwards. Without a handler for such it is the
/// context's end; the handler of this file is the only one that may be set where it is called.
#[cfg(target_os = "redox")]
pub fn old_call(number: u64, argument: u64) -> u64 {
    let result;
    // SAFETY: `handler` changes `rax` and nothing else but what a `syscall` itself changes.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") argument,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// On a host there is nothing to call.
#[cfg(not(target_os = "redox"))]
pub fn old_call(_: u64, _: u64) -> u64 {
    0
}

/// Argument of [`old_call`] for which [`handler`] makes such a call itself.
pub const NESTED: u64 = 13;

/// A handler of old calls: answers with the number and its argument together. `rcx` holds where to go on.
#[unsafe(naked)]
unsafe extern "C" fn handler() {
    core::arch::naked_asm!("cmp rdi, {nested}", "je 2f", "add rax, rdi", "jmp rcx", "2:", "syscall", "ud2", nested = const NESTED)
}

/// Makes [`handler`] the one of this address space.
pub fn set_handler() -> Result<(), ring_abi::Errno> {
    let address = (handler as *const ()).addr() as u64;
    // SAFETY: it does what `old_call`, the only one who makes such calls, expects.
    unsafe { uring::op::memory::call_handler(address, 32) }.wait()
}
