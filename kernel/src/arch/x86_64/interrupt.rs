//! What the stubs call: says upwards, in the kernel's words, why a program or the idle CPU was stopped.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use super::apic::{self, IRQ_SERIAL, Source};
use super::entry::{DEBUG, DOUBLE_FAULT, MACHINE_CHECK, NMI, SYSTEM_CALL};
use super::lock;
use super::percpu::this_cpu;
use super::state::Frame;

const PAGE_FAULT: u64 = 14;

/// The kinds of event that the kernel is told.
mod kind {
    pub(super) const TIMER: u64 = 0;
    pub(super) const FAULT: u64 = 2;
    pub(super) const CALL: u64 = 3;
    pub(super) const NOTHING: u64 = 4;
}

unsafe extern "sysv64" {
    /// The kernel's answer to everything but `ring_enter` and lines; defined above this layer, an arrow that points up.
    safe fn kernel_event(kind: u64, a: u64, b: u64, c: u64) -> !;
    /// The kernel's answer to the lines of devices where there is one CPU; defined above this layer too.
    safe fn kernel_interrupt(line: u64) -> !;
    /// The same where there are several.
    safe fn kernel_interrupt_of_many(line: u64) -> !;
    /// The kernel's answer to `ring_enter` where there are several CPUs; defined above this layer too.
    fn kernel_enter_of_many(ring: u64, control: u64, deadline: u64) -> u64;
}

/// A ring was entered on a machine with several CPUs. Its name was read before the lock was taken: a context that runs
/// keeps its rings.
pub(super) extern "sysv64" fn entered(ring: u64, control: u64, deadline: u64) -> u64 {
    let cpu = this_cpu();
    lock::take(cpu);
    // SAFETY: it is defined above this layer, with this signature, and these are what the stub made.
    let value = unsafe { kernel_enter_of_many(ring, control, deadline) };
    lock::let_go(cpu);
    value
}

/// A program has raised an exception, or made a foreign system call; its state is in the spare block.
pub(super) extern "sysv64" fn stopped(vector: u64, error: u64) -> ! {
    lock::enter();
    if vector == SYSTEM_CALL {
        kernel_event(kind::CALL, 0, 0, 0);
    }
    let address = if vector == PAGE_FAULT { fault_address() } else { 0 };
    kernel_event(kind::FAULT, vector, error, address)
}

/// A program was interrupted; its state is in the spare block.
pub(super) extern "sysv64" fn interrupted(vector: u64, _: u64) -> ! {
    if lock::is_shared() {
        interrupted_of_many(vector)
    }
    interrupt(vector, kernel_interrupt)
}

#[cold]
fn interrupted_of_many(vector: u64) -> ! {
    apic::take_wake_up(vector);
    lock::enter();
    interrupt(vector, kernel_interrupt_of_many)
}

/// An interrupt ended the wait of an idle CPU.
pub(super) extern "sysv64" fn woken(vector: u64) -> ! {
    apic::take_wake_up(vector);
    let shared = lock::enter();
    this_cpu().watch().end();
    interrupt(vector, if shared { kernel_interrupt_of_many } else { kernel_interrupt })
}

/// A stub would have begun elsewhere than at the top of the stack.
pub(super) extern "sysv64" fn lost_top(begun: u64) -> ! {
    panic!("an entry begins at {begun:#x}, which is not the top of the stack: {:#x}", this_cpu().stack_top())
}

/// Whether this CPU, which polls, has to enter the kernel: a word that it watches has changed, or it is to forget what it
/// knows of programs.
pub(super) extern "sysv64" fn glance() -> u32 {
    let cpu = this_cpu();
    u32::from(cpu.watch().sees_news() || cpu.debt().is_asked())
}

/// No interrupt came while they were let in, or this CPU polls and has seen something.
pub(super) extern "sysv64" fn breathed() -> ! {
    lock::enter();
    this_cpu().watch().end();
    kernel_event(kind::NOTHING, 0, 0, 0)
}

/// Answers the interrupt controller, and says upwards what it was; lines by this function.
#[inline(always)]
fn interrupt(vector: u64, line_was_raised: extern "sysv64" fn(u64) -> !) -> ! {
    match apic::acknowledge(vector) {
        Source::Timer => kernel_event(kind::TIMER, 0, 0, 0),
        Source::Line(line) => {
            if line == IRQ_SERIAL {
                super::serial::collect();
            }
            line_was_raised(u64::from(line))
        }
        Source::Spurious => kernel_event(kind::NOTHING, 0, 0, 0),
    }
}

/// Events that never enter a step, counted.
static IGNORED: AtomicU64 = AtomicU64::new(0);

/// Non-maskable interrupts and stray debug exceptions so far.
pub fn ignored_events() -> u64 {
    IGNORED.load(Ordering::Relaxed)
}

/// An event that only logs, sets a flag or stops: it returns, or it is the end.
pub(super) extern "sysv64" fn special(frame: &Frame) {
    if frame.vector == u64::from(NMI) && super::panic::is_over() {
        super::exit::stand_still();
    }
    if frame.vector == u64::from(NMI) || frame.vector == u64::from(DEBUG) {
        IGNORED.fetch_add(1, Ordering::Relaxed);
        return;
    }
    if apic::is_of_the_kernel(frame.vector) {
        return;
    }
    let name = match u8::try_from(frame.vector) {
        Ok(DOUBLE_FAULT) => "double fault (kernel stack exhausted?)",
        Ok(MACHINE_CHECK) => "machine check",
        _ => "fault in the kernel",
    };
    super::panic::die_at(
        frame,
        format_args!(
            "{name}: vector {}, error {:#x}, address {:#x}",
            frame.vector,
            frame.error,
            fault_address()
        ),
    )
}

/// The address that the last page fault was about.
fn fault_address() -> u64 {
    let address;
    // SAFETY: reading CR2 changes nothing.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) }
    address
}
