//! Every way out of the kernel: [`quick`] for a context that waits in `ring_enter`, [`fresh`] for one that has never
//! run, [`full`] for one with a state block, [`wait`], [`breathe`] and [`poll`] for nobody.
//!
//! None of them can fault, since every value was checked when it was set. Where there are several CPUs the kernel's lock is
//! free already: what they load is this CPU's while the context runs here, which was said under the lock. That is so for the
//! state block that [`full`] reads, too, until this CPU enters again.

use core::arch::{asm, naked_asm};
use core::mem::offset_of;

use super::entry::{FLAGS, VECTOR_PARTS, to_top, wrong_top};
use super::percpu::{self, Hot};
use super::regs::Regs;
use super::start::BootInfo;
use super::state::{FRAME, INITIAL_VECTORS, StateBlock, VECTORS};

/// The model-specific register with the base of `fs`. It is loaded on every switch: a program can clear it by loading
/// a selector, so what it holds is not known.
const FS_BASE: u64 = 0xc000_0100;

/// Keeps the control words of the context that ran last, which are in the CPU until another one's are loaded.
#[inline(always)]
pub(super) fn keep_control_words() {
    // SAFETY: `current` leads to registers that live as long as the kernel: a context's, or nobody's.
    unsafe {
        asm!(
            "mov {regs}, gs:[{current}]",
            "stmxcsr [{regs} + {mxcsr}]",
            "fnstcw [{regs} + {fcw}]",
            regs = out(reg) _,
            current = const offset_of!(Hot, current),
            mxcsr = const offset_of!(Regs, mxcsr),
            fcw = const offset_of!(Regs, fcw),
            options(nostack, preserves_flags),
        )
    }
}

/// The way back into `ring_enter`, with an instruction of the caller's own that makes the result.
macro_rules! return_quickly {
    ($regs:expr, $result:literal, $($operands:tt)*) => {
        asm!(
            "mov gs:[{current}], rdi",
            // Scrub: every vector register becomes zero, then this context's two control words.
            "mov eax, {parts}",
            "xor edx, edx",
            "xrstor64 [rip + {initial}]",
            "fldcw [rdi + {fcw}]",
            "ldmxcsr [rdi + {mxcsr}]",
            "mov ecx, {fs_msr}",
            "mov eax, [rdi + {fs_base}]",
            "mov edx, [rdi + {fs_base} + 4]",
            "wrmsr",
            "mov rsp, [rdi + {rsp}]",
            "mov rcx, [rdi + {rip}]",
            "mov rbx, [rdi + {rbx}]",
            "mov rbp, [rdi + {rbp}]",
            "mov r12, [rdi + {r12}]",
            "mov r13, [rdi + {r13}]",
            "mov r14, [rdi + {r14}]",
            "mov r15, [rdi + {r15}]",
            $result,
            "mov r11d, {flags}",
            "xor edi, edi; xor esi, esi; xor edx, edx",
            "xor r8d, r8d; xor r9d, r9d; xor r10d, r10d",
            "swapgs",
            "sysretq",
            current = const offset_of!(Hot, current),
            parts = const VECTOR_PARTS,
            initial = sym INITIAL_VECTORS,
            fs_msr = const FS_BASE,
            flags = const FLAGS,
            fcw = const offset_of!(Regs, fcw),
            mxcsr = const offset_of!(Regs, mxcsr),
            fs_base = const offset_of!(Regs, fs_base),
            rsp = const offset_of!(Regs, rsp),
            rip = const offset_of!(Regs, rip),
            rbx = const offset_of!(Regs, rbx),
            rbp = const offset_of!(Regs, rbp),
            r12 = const offset_of!(Regs, r12),
            r13 = const offset_of!(Regs, r13),
            r14 = const offset_of!(Regs, r14),
            r15 = const offset_of!(Regs, r15),
            $($operands)*
            in("rdi") $regs,
            options(noreturn),
        )
    };
}

/// Returns zero to a context that waits in `ring_enter`.
///
/// # Safety
///
/// `regs` must be the registers of such a context, valid as [`Regs`] keeps them, and its space must be active.
#[inline(always)]
pub(super) unsafe fn quick(regs: &Regs) -> ! {
    // SAFETY: our caller's promise; the stack is abandoned, and nothing on it is needed again.
    unsafe { return_quickly!(regs, "xor eax, eax",) }
}

/// Returns the result that was set to a context that waits in `ring_enter`.
///
/// # Safety
///
/// As [`quick`].
#[cold]
pub(super) unsafe fn quick_with_result(regs: &Regs) -> ! {
    // SAFETY: our caller's promise; the stack is abandoned, and nothing on it is needed again.
    unsafe {
        return_quickly!(
            regs,
            "movsxd rax, dword ptr [rdi + {result}]",
            result = const offset_of!(Regs, result),
        )
    }
}

/// Returns to the context that entered with `ring_enter`, where the stub did not get control back.
///
/// # Safety
///
/// The stub must have stored that context's registers, and its space must be active.
#[cold]
pub(super) unsafe fn back(value: u64) -> ! {
    // SAFETY: our caller's promise; the stack is abandoned, and nothing on it is needed again.
    unsafe {
        asm!(
            "mov rdi, gs:[{current}]",
            "mov rsp, [rdi + {rsp}]",
            "mov rcx, [rdi + {rip}]",
            "mov rbx, [rdi + {rbx}]",
            "mov rbp, [rdi + {rbp}]",
            "mov r12, [rdi + {r12}]",
            "mov r13, [rdi + {r13}]",
            "mov r14, [rdi + {r14}]",
            "mov r15, [rdi + {r15}]",
            "mov r11d, {flags}",
            "xor edi, edi; xor esi, esi; xor edx, edx",
            "xor r8d, r8d; xor r9d, r9d; xor r10d, r10d",
            "swapgs",
            "sysretq",
            current = const offset_of!(Hot, current),
            flags = const FLAGS,
            rsp = const offset_of!(Regs, rsp),
            rip = const offset_of!(Regs, rip),
            rbx = const offset_of!(Regs, rbx),
            rbp = const offset_of!(Regs, rbp),
            r12 = const offset_of!(Regs, r12),
            r13 = const offset_of!(Regs, r13),
            r14 = const offset_of!(Regs, r14),
            r15 = const offset_of!(Regs, r15),
            in("rax") value,
            options(noreturn),
        )
    }
}

/// Starts a context that has never run: its three arguments lie where kept registers will.
///
/// # Safety
///
/// As [`quick`], and the registers must have been set by [`Regs::start`].
#[cold]
pub(super) unsafe fn fresh(regs: &Regs) -> ! {
    // SAFETY: our caller's promise; the stack is abandoned, and nothing on it is needed again.
    unsafe {
        asm!(
            "mov gs:[{current}], rdi",
            "mov eax, {parts}",
            "xor edx, edx",
            "xrstor64 [rip + {initial}]",
            "mov ecx, {fs_msr}",
            "mov eax, [rdi + {fs_base}]",
            "mov edx, [rdi + {fs_base} + 4]",
            "wrmsr",
            "mov rsp, [rdi + {rsp}]",
            "mov rcx, [rdi + {rip}]",
            "mov rsi, [rdi + {r13}]",
            "mov rdx, [rdi + {r14}]",
            "mov rdi, [rdi + {r12}]",
            "mov r11d, {flags}",
            "xor eax, eax; xor ebx, ebx; xor ebp, ebp",
            "xor r8d, r8d; xor r9d, r9d; xor r10d, r10d",
            "xor r12d, r12d; xor r13d, r13d; xor r14d, r14d; xor r15d, r15d",
            "swapgs",
            "sysretq",
            current = const offset_of!(Hot, current),
            parts = const VECTOR_PARTS,
            initial = sym INITIAL_VECTORS,
            fs_msr = const FS_BASE,
            flags = const FLAGS,
            fs_base = const offset_of!(Regs, fs_base),
            rsp = const offset_of!(Regs, rsp),
            rip = const offset_of!(Regs, rip),
            r12 = const offset_of!(Regs, r12),
            r13 = const offset_of!(Regs, r13),
            r14 = const offset_of!(Regs, r14),
            in("rdi") regs,
            options(noreturn),
        )
    }
}

/// The registers of a frame, from `r15` at the stack pointer on, and back to where the frame says.
macro_rules! pop_frame {
    ([$($first:expr),*], $($operands:tt)*) => {
        asm!(
            $($first,)*
            "pop r15",
            "pop r14",
            "pop r13",
            "pop r12",
            "pop r11",
            "pop r10",
            "pop r9",
            "pop r8",
            "pop rbp",
            "pop rdi",
            "pop rsi",
            "pop rdx",
            "pop rcx",
            "pop rbx",
            "pop rax",
            "add rsp, 16",
            "swapgs",
            "iretq",
            parts = const VECTOR_PARTS,
            $($operands)*
            options(noreturn),
        )
    };
}

/// Returns to a context that was stopped at an arbitrary instruction.
///
/// # Safety
///
/// `block` must hold such a context's state, valid as [`StateBlock`] keeps it, `regs` must be the registers of the same
/// context, and its space must be active.
pub(super) unsafe fn full(regs: &Regs, block: &StateBlock) -> ! {
    // SAFETY: our caller's promise; the stack is abandoned. The block serves as stack until `iretq`, and only the
    // events with stacks of their own can come in between.
    unsafe {
        pop_frame!(
            [
                "mov gs:[{current}], rdi",
                "mov eax, {parts}",
                "xor edx, edx",
                "xrstor64 [rsi + {vectors}]",
                "mov ecx, {fs_msr}",
                "mov eax, [rdi + {fs_base}]",
                "mov edx, [rdi + {fs_base} + 4]",
                "wrmsr",
                "lea rsp, [rsi + {frame}]"
            ],
            current = const offset_of!(Hot, current),
            fs_msr = const FS_BASE,
            fs_base = const offset_of!(Regs, fs_base),
            vectors = const VECTORS,
            frame = const FRAME,
            in("rdi") regs,
            in("rsi") block,
        )
    }
}

/// Returns to the context that was stopped last, whose state the stub has put into the spare block.
///
/// # Safety
///
/// Nobody may have changed that block, or the registers that no block keeps.
pub(super) unsafe fn stopped() -> ! {
    // SAFETY: our caller's promise, and as for `full`.
    unsafe {
        pop_frame!(
            [
                "mov rsp, gs:[{spare}]",
                "mov eax, {parts}",
                "xor edx, edx",
                "xrstor64 [rsp + {vectors}]",
                "add rsp, {frame}"
            ],
            spare = const offset_of!(Hot, spare),
            vectors = const VECTORS,
            frame = const FRAME,
        )
    }
}

/// Waits for an interrupt at the top of the stack.
#[unsafe(naked)]
pub(super) extern "sysv64" fn wait() -> ! {
    naked_asm!(
        to_top!(),
        "2:",
        "sti",
        "wait_first:",
        "hlt",
        "wait_last:",
        "jmp 2b",
        stack_top = const offset_of!(Hot, stack_top),
        wrong_top = sym wrong_top,
    )
}

/// Lets an interrupt in, at the top of the stack; comes back as an event if there is none.
#[unsafe(naked)]
pub(super) extern "sysv64" fn breathe() -> ! {
    naked_asm!(
        to_top!(),
        "sti",
        "nop",
        "breathe_last:",
        "cli",
        "call {breathed}",
        "ud2",
        stack_top = const offset_of!(Hot, stack_top),
        wrong_top = sym wrong_top,
        breathed = sym super::interrupt::breathed,
    )
}

/// Looks at what this CPU watches again and again, at the top of the stack, and lets interrupts in between; comes back as an
/// event when there is something.
#[unsafe(naked)]
pub(super) extern "sysv64" fn poll() -> ! {
    naked_asm!(
        to_top!(),
        "2:",
        "pause",
        "sti",
        // Not `pause`: QEMU would let nobody in behind it.
        "nop",
        "poll_last:",
        "cli",
        "call {glance}",
        "test eax, eax",
        "jz 2b",
        "call {breathed}",
        "ud2",
        stack_top = const offset_of!(Hot, stack_top),
        wrong_top = sym wrong_top,
        glance = sym super::interrupt::glance,
        breathed = sym super::interrupt::breathed,
    )
}

/// Leaves the loader's stack for the CPU's own, from its very top: boots, paints anew what that used, and enters the
/// first step as every other is entered.
pub(super) fn on_own_stack(info: &'static BootInfo) -> ! {
    // SAFETY: the loader's stack is abandoned; the CPU's own is mapped, painted and unused, and unused again once the
    // boot has returned: below its top there is nothing but paint.
    unsafe {
        asm!(
            to_top!(),
            "xor ebp, ebp",
            "call {on_top}",
            to_top!(),
            "lea rdi, [rsp - {bytes}]",
            "mov rax, {paint}",
            "mov ecx, {bytes} / 8",
            "rep stosq",
            "call {breathed}",
            "ud2",
            stack_top = const offset_of!(Hot, stack_top),
            wrong_top = sym wrong_top,
            bytes = const percpu::PAINTED_BYTES,
            paint = const percpu::PAINT,
            on_top = sym super::start::on_top,
            breathed = sym super::interrupt::breathed,
            in("rdi") info,
            options(noreturn),
        )
    }
}
