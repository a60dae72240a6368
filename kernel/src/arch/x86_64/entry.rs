//! The stubs: every way into the kernel, and every way out.
//!
//! In: save registers, go to the top of this CPU's one stack, call up. `ring_enter` keeps what a function call keeps;
//! everything else fills the spare state block. The task state segment names the end of that block's frame, so the CPU
//! itself pushes its part in place.
//!
//! Out: [`quick`] for a context that waits in `ring_enter`, [`full`] for one with a state block, [`wait`] for nobody.
//! While the kernel runs, interrupts are off; `gs` is the CPU's own block, and the program's `gs` base is always zero.

use core::arch::{asm, global_asm, naked_asm};
use core::mem::offset_of;

use super::percpu::Hot;
use super::regs::Regs;
use super::start::BootInfo;
use super::state::{FRAME, INITIAL_VECTORS, StateBlock, VECTORS};
use super::tables::{USER_CODE, USER_DATA};

/// Exceptions with a small stack of their own.
pub(super) const DEBUG: u8 = 1;
pub(super) const NMI: u8 = 2;
pub(super) const DOUBLE_FAULT: u8 = 8;
pub(super) const MACHINE_CHECK: u8 = 18;
/// The one exception that programs may raise with an `int` instruction.
pub(super) const BREAKPOINT: u8 = 3;
/// The number under which a foreign `syscall` is filed, above all vectors.
pub(super) const SYSTEM_CALL: u64 = 0x100;

/// The number of the only system call.
const RING_ENTER: u64 = 0x7000_0000;
/// Flags of a program that comes back from `ring_enter`: interrupts on, nothing else.
const FLAGS: u64 = 0x202;
/// The parts of the vector state that exist: x87, SSE, AVX.
const VECTOR_PARTS: u64 = 7;
const FS_BASE: u64 = 0xc000_0100;

/// Bytes from one interrupt stub to the next.
const STUB_BYTES: u64 = 16;

unsafe extern "sysv64" {
    fn kernel_enter(ring: u64, to_submit: u64, min_complete: u64, flags: u64, deadline: u64) -> u64;
    /// The first of 256 stubs.
    static interrupt_stubs: u8;
}

/// Where the gate of `vector` leads.
pub(super) fn stub_address(vector: u8) -> u64 {
    (&raw const interrupt_stubs as u64).wrapping_add(u64::from(vector).wrapping_mul(STUB_BYTES))
}

/// The `syscall` instruction leads here, with the program's stack and everything else but `rcx` and `r11`.
#[unsafe(naked)]
pub(super) extern "sysv64" fn system_call() {
    naked_asm!(
        "swapgs",
        "cmp rax, {ring_enter}",
        "jne {other}",
        "mov rax, gs:[{current}]",
        "mov [rax + {rsp}], rsp",
        "mov [rax + {rip}], rcx",
        "mov [rax + {rbx}], rbx",
        "mov [rax + {rbp}], rbp",
        "mov [rax + {r12}], r12",
        "mov [rax + {r13}], r13",
        "mov [rax + {r14}], r14",
        "mov [rax + {r15}], r15",
        "mov rsp, gs:[{stack_top}]",
        "mov rcx, r10",
        "call {kernel_enter}",
        // The same context goes on: its kept registers are where they were.
        "mov rdi, gs:[{current}]",
        "mov rsp, [rdi + {rsp}]",
        "mov rcx, [rdi + {rip}]",
        "mov r11d, {flags}",
        "xor edi, edi",
        "xor esi, esi",
        "xor edx, edx",
        "xor r8d, r8d",
        "xor r9d, r9d",
        "xor r10d, r10d",
        "swapgs",
        "sysretq",
        ring_enter = const RING_ENTER,
        flags = const FLAGS,
        current = const offset_of!(Hot, current),
        stack_top = const offset_of!(Hot, stack_top),
        rsp = const offset_of!(Regs, rsp),
        rip = const offset_of!(Regs, rip),
        rbx = const offset_of!(Regs, rbx),
        rbp = const offset_of!(Regs, rbp),
        r12 = const offset_of!(Regs, r12),
        r13 = const offset_of!(Regs, r13),
        r14 = const offset_of!(Regs, r14),
        r15 = const offset_of!(Regs, r15),
        other = sym foreign_call,
        kernel_enter = sym kernel_enter,
    )
}

/// A `syscall` with any other number: builds in the spare block what an interrupt would have left there.
#[unsafe(naked)]
extern "sysv64" fn foreign_call() {
    naked_asm!(
        "mov gs:[{scratch}], rsp",
        "mov rsp, gs:[{spare}]",
        "lea rsp, [rsp + {top}]",
        "push {user_data}",
        "push gs:[{scratch}]",
        "push r11",
        "push {user_code}",
        "push rcx",
        "push 0",
        "push {number}",
        "jmp {save}",
        scratch = const offset_of!(Hot, scratch),
        spare = const offset_of!(Hot, spare),
        top = const VECTORS,
        user_data = const USER_DATA,
        user_code = const USER_CODE,
        number = const SYSTEM_CALL,
        save = sym save_all,
    )
}

// One stub a vector: those without an error code push a zero, so every frame looks alike.
global_asm!(
    ".pushsection .text.interrupt_stubs, \"ax\", @progbits",
    ".balign 16",
    "interrupt_stubs:",
    ".set vector, 0",
    ".rept 256",
    ".balign 16",
    // Double fault, segment and page faults, alignment and control protection bring an error code.
    ".if (vector != 8) && (vector != 10) && (vector != 11) && (vector != 12) && (vector != 13) && (vector != 14) && (vector != 17) && (vector != 21)",
    "push 0",
    ".endif",
    "push vector",
    ".if (vector == 2) || (vector == 8) || (vector == 18)",
    "jmp {special}",
    ".elseif vector == 1",
    "jmp {debug}",
    ".else",
    "jmp {interrupted}",
    ".endif",
    ".set vector, vector + 1",
    ".endr",
    ".popsection",
    special = sym special,
    debug = sym debug,
    interrupted = sym interrupted,
);

/// Every interrupt and fault but those with their own stack: a program's fills the spare block.
#[unsafe(naked)]
extern "sysv64" fn interrupted() {
    naked_asm!(
        "test byte ptr [rsp + 24], 3",
        "jz {from_kernel}",
        "swapgs",
        "jmp {save}",
        from_kernel = sym from_kernel,
        save = sym save_all,
    )
}

/// Saves the rest of a program's state below what is in the spare block already, and calls up.
#[unsafe(naked)]
extern "sysv64" fn save_all() {
    naked_asm!(
        "push rax",
        "push rbx",
        "push rcx",
        "push rdx",
        "push rsi",
        "push rdi",
        "push rbp",
        "push r8",
        "push r9",
        "push r10",
        "push r11",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "cld",
        "clac",
        "mov rdi, rsp",
        "mov eax, {parts}",
        "xor edx, edx",
        "xsave64 [rdi + {vectors}]",
        "mov rsp, gs:[{stack_top}]",
        "call {stopped}",
        "ud2",
        parts = const VECTOR_PARTS,
        vectors = const VECTORS - FRAME,
        stack_top = const offset_of!(Hot, stack_top),
        stopped = sym super::interrupt::stopped,
    )
}

/// An interrupt that met the kernel: welcome while it idles, a bug anywhere else.
#[unsafe(naked)]
extern "sysv64" fn from_kernel() {
    naked_asm!(
        "push rax",
        "lea rax, [rip + idle_first]",
        "cmp [rsp + 24], rax",
        "jb 2f",
        "lea rax, [rip + idle_last]",
        "cmp [rsp + 24], rax",
        "ja 2f",
        "mov rdi, [rsp + 8]",
        "mov rsp, gs:[{stack_top}]",
        "call {woken}",
        "2:",
        "pop rax",
        "jmp {special}",
        stack_top = const offset_of!(Hot, stack_top),
        woken = sym super::interrupt::woken,
        special = sym special,
    )
}

/// Events that only log, set a flag or stop. They may come at any instruction, so `gs` is not touched.
#[unsafe(naked)]
extern "sysv64" fn special() {
    naked_asm!(
        "push rax",
        "push rbx",
        "push rcx",
        "push rdx",
        "push rsi",
        "push rdi",
        "push rbp",
        "push r8",
        "push r9",
        "push r10",
        "push r11",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "cld",
        "mov rdi, rsp",
        "mov rbx, rsp",
        "and rsp, -16",
        "call {handler}",
        "mov rsp, rbx",
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
        "iretq",
        handler = sym super::interrupt::special,
    )
}

/// A debug exception: a program's own is moved from the small stack to the spare block and is a fault like others.
#[unsafe(naked)]
extern "sysv64" fn debug() {
    naked_asm!(
        "test byte ptr [rsp + 24], 3",
        "jz {special}",
        "swapgs",
        "mov gs:[{scratch}], rax",
        "mov rax, rsp",
        "mov rsp, gs:[{spare}]",
        "lea rsp, [rsp + {top}]",
        "push [rax + 48]",
        "push [rax + 40]",
        "push [rax + 32]",
        "push [rax + 24]",
        "push [rax + 16]",
        "push [rax + 8]",
        "push [rax]",
        "mov rax, gs:[{scratch}]",
        "jmp {save}",
        scratch = const offset_of!(Hot, scratch),
        spare = const offset_of!(Hot, spare),
        top = const VECTORS,
        special = sym special,
        save = sym save_all,
    )
}

/// Returns to a context that waits in `ring_enter`.
///
/// # Safety
///
/// `regs` must be the registers of such a context, valid as [`Regs`] keeps them, and its space must be active.
#[inline(always)]
pub(super) unsafe fn quick(regs: &Regs) -> ! {
    // SAFETY: our caller's promise; the stack is abandoned, and nothing on it is needed again.
    unsafe {
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
            "mov rax, [rdi + {result}]",
            "mov r11d, {flags}",
            "xor edi, edi",
            "xor esi, esi",
            "xor edx, edx",
            "xor r8d, r8d",
            "xor r9d, r9d",
            "xor r10d, r10d",
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
            result = const offset_of!(Regs, result),
            in("rdi") regs,
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
            "xor eax, eax",
            "xor ebx, ebx",
            "xor ebp, ebp",
            "xor r8d, r8d",
            "xor r9d, r9d",
            "xor r10d, r10d",
            "xor r12d, r12d",
            "xor r13d, r13d",
            "xor r14d, r14d",
            "xor r15d, r15d",
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
        asm!(
            "mov gs:[{current}], rdi",
            "mov eax, {parts}",
            "xor edx, edx",
            "xrstor64 [rsi + {vectors}]",
            "mov ecx, {fs_msr}",
            "mov eax, [rdi + {fs_base}]",
            "mov edx, [rdi + {fs_base} + 4]",
            "wrmsr",
            "lea rsp, [rsi + {frame}]",
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
            current = const offset_of!(Hot, current),
            parts = const VECTOR_PARTS,
            fs_msr = const FS_BASE,
            fs_base = const offset_of!(Regs, fs_base),
            vectors = const VECTORS,
            frame = const FRAME,
            in("rdi") regs,
            in("rsi") block,
            options(noreturn),
        )
    }
}

/// Waits for an interrupt at the top of the stack; [`from_kernel`] knows the two places where one is welcome.
#[unsafe(naked)]
pub(super) extern "sysv64" fn wait() -> ! {
    naked_asm!(
        "mov rsp, gs:[{stack_top}]",
        "2:",
        "sti",
        "idle_first:",
        "hlt",
        "idle_last:",
        "jmp 2b",
        stack_top = const offset_of!(Hot, stack_top),
    )
}

/// Leaves the loader's stack for the CPU's own, from its very top.
pub(super) fn on_own_stack(info: &'static BootInfo) -> ! {
    // SAFETY: the loader's stack is abandoned; the CPU's own is mapped, painted and unused.
    unsafe {
        asm!(
            "mov rsp, gs:[{stack_top}]",
            "xor ebp, ebp",
            "call {on_top}",
            stack_top = const offset_of!(Hot, stack_top),
            on_top = sym super::start::on_top,
            in("rdi") info,
            options(noreturn),
        )
    }
}
