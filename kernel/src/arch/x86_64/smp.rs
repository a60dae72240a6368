//! Starting and poking other CPUs.
//!
//! A CPU wakes up in real mode, below 1 MiB. There it finds a page of code and three page tables: the first two megabytes
//! as they are, the kernel's half as everywhere. The code goes to long mode at once, takes its stack from words behind
//! itself, and calls [`arrived`] at its place in the kernel's half. CPUs start one after the other, since they share that
//! page. One that does not come up in time is left out, and the system goes on without it.

use core::arch::global_asm;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::acpi::Controllers;
use super::memory::{self, direct, entry};
use super::percpu::{PerCpu, cpu_of};
use super::{apic, cpu, leave, lock, serial, tables, timer};

/// Pages below 1 MiB that a start needs: code, then tables of three levels.
pub(super) const PAGES: u64 = 4;
const PAGE: u64 = 4096;

/// How long a CPU rests between being reset and being started, and how long it may take, in nanoseconds.
const RESET: u64 = 10_000_000;
const FIRST_TRY: u64 = 200_000;
const PATIENCE: u64 = 1_000_000_000;

unsafe extern "C" {
    static trampoline: u8;
    static trampoline_long: u8;
    static trampoline_end: u8;
}

/// Offsets in the code's page: four words (the tables, the stack, the CPU's number, where to go), the pointer to the
/// segments, the far address of the code for long mode, the segments.
const WORDS: u64 = 8;
const STACK: u64 = WORDS + 8;
const NUMBER: u64 = WORDS + 16;
const CALL: u64 = WORDS + 24;
const SEGMENTS_POINTER: u64 = 40;
const LONG_POINTER: u64 = 48;
const SEGMENTS: u64 = 56;

// Code for an unknown page below 1 MiB: in real mode `cs` says which, and later everything is relative.
global_asm!(
    ".pushsection .text.trampoline, \"ax\", @progbits",
    ".balign 16",
    "trampoline:",
    ".code16",
    "jmp 2f",
    ".org trampoline + {words}",
    ".quad 0, 0, 0, 0",
    ".org trampoline + {segments_pointer}",
    ".word 23",
    ".long 0",
    ".org trampoline + {long_pointer}",
    ".long 0",
    ".word 8",
    ".org trampoline + {segments}",
    ".quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff",
    "2:",
    "cli",
    "cld",
    "mov ax, cs",
    "mov ds, ax",
    "lgdt ds:[{segments_pointer}]",
    // Physical address extension, then the tables.
    "mov eax, 0x20",
    "mov cr4, eax",
    "mov eax, dword ptr ds:[{words}]",
    "mov cr3, eax",
    // Long mode, and pages that cannot be executed, since the kernel has some.
    "mov ecx, 0xc0000080",
    "rdmsr",
    "or eax, 0x900",
    "wrmsr",
    "mov eax, 0x80010001",
    "mov cr0, eax",
    // The far jump through the pointer, with an offset of 32 bits.
    ".byte 0x66, 0xff, 0x2e",
    ".word {long_pointer}",
    ".code64",
    ".balign 16",
    "trampoline_long:",
    "mov eax, 16",
    "mov ds, eax",
    "mov es, eax",
    "mov ss, eax",
    "mov rsp, [rip + trampoline + {stack}]",
    "mov rdi, [rip + trampoline + {number}]",
    "call [rip + trampoline + {call}]",
    "ud2",
    "trampoline_end:",
    ".popsection",
    words = const WORDS,
    segments_pointer = const SEGMENTS_POINTER,
    long_pointer = const LONG_POINTER,
    segments = const SEGMENTS,
    stack = const STACK,
    number = const NUMBER,
    call = const CALL,
);

/// How many CPUs have arrived.
static ARRIVED: AtomicUsize = AtomicUsize::new(1);

/// How many CPUs have started.
pub(super) fn count() -> usize {
    ARRIVED.load(Ordering::Relaxed)
}

/// Starts the other CPUs, with pages below 1 MiB if there are some to be had. Gives how many CPUs there are now.
pub(super) fn start_others(controllers: &Controllers, low: Option<u64>) -> usize {
    let own = apic::number();
    let mut started = 1_usize;
    let mut others = controllers.iter().filter(|number| *number != own).peekable();
    if others.peek().is_none() {
        return started;
    }
    let Some(page) = low else {
        serial::print(format_args!("annulus: cpus: no room below 1 MiB to start others\n"));
        return started;
    };
    prepare_page(page);
    for controller in others {
        let Some(cpu) = cpu_of(started) else { break };
        cpu.prepare(started, controller);
        memory::make_guard(cpu.stack_guard());
        if start_one(page, cpu, started) {
            started = started.wrapping_add(1);
        } else {
            serial::print(format_args!("annulus: cpus: the one at {controller} does not start\n"));
            // It is not to come late, to a stack that the next one has.
            apic::reset(controller);
        }
    }
    if started > 1 {
        lock::share();
        tables::share_system_call();
    }
    started
}

/// Resets and starts one CPU; `false` if it does not arrive.
fn start_one(page: u64, cpu: &'static PerCpu, number: usize) -> bool {
    set(page, STACK, cpu.stack_top());
    set(page, NUMBER, number as u64);
    apic::reset(cpu.controller());
    rest(RESET, || false);
    for patience in [FIRST_TRY, PATIENCE] {
        apic::start_at(cpu.controller(), page);
        if rest(patience, || ARRIVED.load(Ordering::Acquire) > number) {
            return true;
        }
    }
    false
}

/// Lets time pass, but no longer than until something is so. Gives whether it is.
fn rest(nanoseconds: u64, done: impl Fn() -> bool) -> bool {
    let end = timer::now().saturating_add(nanoseconds);
    while timer::now() < end {
        if done() {
            return true;
        }
        core::hint::spin_loop();
    }
    done()
}

/// Copies the code to its page and fills the tables behind it.
fn prepare_page(page: u64) {
    let start = &raw const trampoline;
    let length = (&raw const trampoline_end as usize).wrapping_sub(start as usize);
    let place = direct::<u8>(page);
    // SAFETY: the page was found to be usable memory, nobody else has it, and the code is shorter than it.
    unsafe { super::copy::copy(start, place, length) }

    let long = (&raw const trampoline_long as u64).wrapping_sub(start as u64);
    set(page, SEGMENTS_POINTER.wrapping_add(2), page.wrapping_add(SEGMENTS) as u32);
    set(page, LONG_POINTER, page.wrapping_add(long) as u32);

    let table = |level: u64| page.wrapping_add(level.wrapping_mul(PAGE));
    for level in 1..PAGES {
        memory::zero_frame(memory::frame_at(table(level)));
    }
    let kernel = memory::kernel_root().start().raw();
    for index in 256..512 {
        memory::write_entry(table(1), index, memory::read_entry(kernel, index));
    }
    let present = entry::PRESENT | entry::WRITABLE;
    memory::write_entry(table(1), 0, table(2) | present);
    memory::write_entry(table(2), 0, table(3) | present);
    memory::write_entry(table(3), 0, present | entry::LARGE);
    set(page, WORDS, table(1) as u32);
    set(page, CALL, arrived as *const () as u64);
}

/// Sets a number in the copied code.
fn set<T>(page: u64, offset: u64, value: T) {
    let place = direct::<T>(page.wrapping_add(offset));
    // SAFETY: the place lies in the page, which is ours; the CPU that reads it is started afterwards.
    unsafe { place.write_unaligned(value) }
}

/// The first call of another CPU, on its own stack: makes it one that can enter the kernel, and lets it sleep.
extern "sysv64" fn arrived(number: usize) -> ! {
    memory::activate(memory::kernel_root().start().raw());
    cpu::set_control_registers();
    let Some(cpu) = cpu_of(number) else {
        loop {
            x86_64::instructions::hlt();
        }
    };
    tables::load(cpu);
    apic::start_local();
    ARRIVED.store(number.wrapping_add(1), Ordering::Release);
    leave::wait()
}
