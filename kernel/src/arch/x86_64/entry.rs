//! The stubs: every way into the kernel.
//!
//! They save registers, go to the top of this CPU's one stack, call up. `ring_enter` keeps what a function call keeps
//! (but for the control words, which the kernel does not touch: [`leave`](super::leave) keeps them if somebody else is
//! to run); everything else fills the spare state block. The task state segment names the end of that block's frame, so the CPU
//! itself pushes its part in place.
//!
//! While the kernel runs, interrupts are off; `gs` is the CPU's own block, and the program's `gs` base is always zero.

use core::arch::{global_asm, naked_asm};
use core::mem::offset_of;

use ring_abi::enter::{RING_ENTER, RINGS};

use super::percpu::Hot;
use super::regs::Regs;
use super::state::{FRAME, Frame, VECTORS};
use super::tables::{USER_CODE, USER_DATA};

/// Exceptions with a small stack of their own.
pub(super) const DEBUG: u8 = 1;
pub(super) const NMI: u8 = 2;
pub(super) const DOUBLE_FAULT: u8 = 8;
pub(super) const MACHINE_CHECK: u8 = 18;
/// The one exception that programs may raise with an `int` instruction.
pub(super) const BREAKPOINT: u8 = 3;
/// Below this, vectors are exceptions.
pub(super) const FIRST_INTERRUPT: u8 = 32;
/// The number under which a foreign `syscall` is filed, above all vectors.
pub(super) const SYSTEM_CALL: u64 = 0x100;

/// Flags of a program that comes back from `ring_enter`: interrupts on, nothing else.
pub(super) const FLAGS: u64 = 0x202;
/// The parts of the vector state that exist: x87, SSE, AVX.
pub(super) const VECTOR_PARTS: u64 = 7;

/// Bytes from one interrupt stub to the next.
const STUB_BYTES: u64 = 16;

unsafe extern "sysv64" {
    fn kernel_enter(ring: u64, control: u64, deadline: u64) -> u64;
    /// The first of 256 stubs.
    static interrupt_stubs: u8;
}

/// Goes to the top of this CPU's one stack, whose word there is its own address: an entry that starts anywhere else ends
/// the kernel.
macro_rules! to_top {
    () => {
        "mov rsp, gs:[{stack_top}]; cmp rsp, [rsp]; jne {wrong_top}"
    };
}
pub(super) use to_top;

/// What a stub took for the top of the stack is none. Says so on a small stack, since there is no other to trust.
#[unsafe(naked)]
pub(super) extern "sysv64" fn wrong_top() {
    naked_asm!(
        "mov rdi, rsp",
        "mov rsp, gs:[{last_resort}]",
        "call {lost_top}",
        "ud2",
        last_resort = const offset_of!(Hot, last_resort),
        lost_top = sym super::interrupt::lost_top,
    )
}

/// Where the gate of `vector` leads.
pub(super) fn stub_address(vector: u8) -> u64 {
    (&raw const interrupt_stubs as u64).wrapping_add(u64::from(vector).wrapping_mul(STUB_BYTES))
}

/// The `syscall` instruction leads here, with the program's stack and everything else but `rcx` and `r11`: to a function
/// of the kernel, and back.
macro_rules! system_call {
    ($kernel_enter:path) => {
        naked_asm!(
            "swapgs",
            "sub rax, {ring_enter}",
            "cmp rax, {rings}",
            "jae {other}",
            "mov rdi, gs:[{current}]",
            "mov [rdi + {rsp}], rsp",
            "mov [rdi + {rip}], rcx",
            "mov [rdi + {rbx}], rbx",
            "mov [rdi + {rbp}], rbp",
            "mov [rdi + {r12}], r12",
            "mov [rdi + {r13}], r13",
            "mov [rdi + {r14}], r14",
            "mov [rdi + {r15}], r15",
            "mov edi, [rdi + rax * 4 + {names}]",
            to_top!(),
            "call {kernel_enter}",
            // The same context goes on: its kept registers are where they were.
            "mov rdi, gs:[{current}]",
            "mov rsp, [rdi + {rsp}]",
            "mov rcx, [rdi + {rip}]",
            "mov r11d, {flags}",
            "xor edi, edi; xor esi, esi; xor edx, edx",
            "xor r8d, r8d; xor r9d, r9d; xor r10d, r10d",
            "swapgs",
            "sysretq",
            ring_enter = const RING_ENTER,
            flags = const FLAGS,
            current = const offset_of!(Hot, current),
            stack_top = const offset_of!(Hot, stack_top),
            wrong_top = sym wrong_top,
            rsp = const offset_of!(Regs, rsp),
            rip = const offset_of!(Regs, rip),
            rbx = const offset_of!(Regs, rbx),
            rbp = const offset_of!(Regs, rbp),
            r12 = const offset_of!(Regs, r12),
            r13 = const offset_of!(Regs, r13),
            r14 = const offset_of!(Regs, r14),
            r15 = const offset_of!(Regs, r15),
            rings = const RINGS,
            names = const offset_of!(Regs, rings),
            other = sym foreign_call,
            kernel_enter = sym $kernel_enter,
        )
    };
}

/// The stub on a machine with one CPU.
#[unsafe(naked)]
pub(super) extern "sysv64" fn system_call() {
    system_call!(kernel_enter)
}

/// The stub on a machine with several, where the lock is taken and let go of in between.
#[unsafe(naked)]
pub(super) extern "sysv64" fn system_call_of_many() {
    system_call!(super::interrupt::entered)
}

/// Saves the rest of a program's state below what is in the spare block already, and calls up with vector and error code.
/// `first` leads here from where the processor has begun.
macro_rules! stop {
    ([$($first:expr),*], $stopped:path, $($operands:tt)*) => {
        naked_asm!(
            $($first,)*
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
            "mov eax, {parts}",
            "xor edx, edx",
            "xsave64 [rsp + {vectors}]",
            "mov rdi, [rsp + {vector}]",
            "mov rsi, [rsp + {error}]",
            to_top!(),
            "call {stopped}",
            "ud2",
            vector = const offset_of!(Frame, vector),
            error = const offset_of!(Frame, error),
            parts = const VECTOR_PARTS,
            vectors = const VECTORS - FRAME,
            stack_top = const offset_of!(Hot, stack_top),
            wrong_top = sym wrong_top,
            stopped = sym $stopped,
            $($operands)*
        )
    };
}

/// A `syscall` with any other number: builds in the spare block what an interrupt would have left there.
#[unsafe(naked)]
extern "sysv64" fn foreign_call() {
    naked_asm!(
        "add rax, {ring_enter}",
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
        ring_enter = const RING_ENTER,
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
    ".elseif vector < {first_interrupt}",
    "jmp {faulted}",
    ".else",
    "jmp {interrupted}",
    ".endif",
    ".set vector, vector + 1",
    ".endr",
    ".popsection",
    special = sym special,
    debug = sym debug,
    faulted = sym faulted,
    interrupted = sym interrupted,
    first_interrupt = const FIRST_INTERRUPT,
);

/// Every fault but those with their own stack: a program's fills the spare block.
#[unsafe(naked)]
extern "sysv64" fn faulted() {
    naked_asm!(
        "test byte ptr [rsp + 24], 3",
        "jz {from_kernel}",
        "swapgs",
        "jmp {save}",
        from_kernel = sym from_kernel,
        save = sym save_all,
    )
}

/// The rest of a fault, or of what is like one.
#[unsafe(naked)]
extern "sysv64" fn save_all() {
    stop!([], super::interrupt::stopped,)
}

/// What comes from outside, in a straight line.
#[unsafe(naked)]
extern "sysv64" fn interrupted() {
    stop!(
        ["test byte ptr [rsp + 24], 3", "jz {from_kernel}", "swapgs"],
        super::interrupt::interrupted,
        from_kernel = sym from_kernel,
    )
}

/// An interrupt that met the kernel: welcome at the four places of [`leave`](super::leave), a bug anywhere else.
#[unsafe(naked)]
extern "sysv64" fn from_kernel() {
    naked_asm!(
        "push rax",
        "lea rax, [rip + wait_first]",
        "cmp [rsp + 24], rax",
        "je 3f",
        "lea rax, [rip + wait_last]",
        "cmp [rsp + 24], rax",
        "je 3f",
        "lea rax, [rip + breathe_last]",
        "cmp [rsp + 24], rax",
        "je 3f",
        "lea rax, [rip + poll_last]",
        "cmp [rsp + 24], rax",
        "jne 2f",
        "3:",
        "mov rdi, [rsp + 8]",
        to_top!(),
        "call {woken}",
        "ud2",
        "2:",
        "pop rax",
        "jmp {special}",
        stack_top = const offset_of!(Hot, stack_top),
        wrong_top = sym wrong_top,
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
