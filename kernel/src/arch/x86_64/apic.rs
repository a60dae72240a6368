//! The interrupt controllers: local (xAPIC, memory mapped), I/O, and the old pair, which is silenced.

use core::arch::asm;
use core::cell::Cell;

use x86_64::instructions::port::Port;
use x86_64::registers::model_specific::ApicBase;

use super::acpi::IoApic;
use super::memory::direct;
use super::serial;

/// The lines that can be waited for: those of the first I/O controller, then the test line.
pub const IRQ_LINES: u8 = 25;
/// The line of the debug console.
pub const IRQ_SERIAL: u8 = serial::LINE;
/// A line with no device: [`raise_test_line`] interrupts on it.
pub const IRQ_TEST: u8 = 24;

/// Lines below this are ISA's: edge triggered, active high. Those above are PCI's: level triggered, active low.
const ISA_LINES: u8 = 16;

const FIRST_LINE: u8 = 0x20;
const TIMER: u8 = 0xe0;
/// Another CPU wants this one to enter the kernel.
const POKE: u8 = 0xe1;
/// The kernel's lock is about to be let go of, and this CPU is next.
const WAKE: u8 = 0xf0;
const SPURIOUS: u8 = 0xff;

/// Physical address of the local controller, as every PC has it after reset.
pub(super) const LOCAL: u64 = 0xfee0_0000;
const NUMBER: u64 = 0x20;
const TASK_PRIORITY: u64 = 0x80;
const END_OF_INTERRUPT: u64 = 0xb0;
const SPURIOUS_VECTOR: u64 = 0xf0;
const COMMAND: u64 = 0x300;
const COMMAND_TO: u64 = 0x310;
const TIMER_VECTOR: u64 = 0x320;
const LINT0: u64 = 0x350;
const LINT1: u64 = 0x360;
const ERROR: u64 = 0x370;
const TIMER_START: u64 = 0x380;
const TIMER_NOW: u64 = 0x390;
const TIMER_DIVIDE: u64 = 0x3e0;

const MASKED: u32 = 1 << 16;
const ENABLED: u32 = 1 << 8;
const NMI_DELIVERY: u32 = 4 << 8;
const DIVIDE_BY_16: u32 = 3;
/// Fixed delivery, asserted, to this CPU.
const TO_SELF: u32 = 1 << 18 | 1 << 14;
/// To all CPUs but this one.
const TO_OTHERS: u32 = 3 << 18 | 1 << 14;
const ASSERT: u32 = 1 << 14;
/// A command that is still on its way.
const PENDING: u32 = 1 << 12;
/// How often is looked whether a command has left.
const PATIENCE: u32 = 100_000;
const RESET: u32 = 5 << 8;
const START: u32 = 6 << 8;

/// Who interrupted.
pub(super) enum Source {
    /// The one-shot timer.
    Timer,
    /// A line, or the test line.
    Line(u8),
    /// Nobody that is known.
    Spurious,
}

/// Where the I/O controller is; written once at boot.
struct Routes {
    io: Cell<u64>,
}

// SAFETY: written by the first CPU before any interrupt is on, and only read afterwards.
unsafe impl Sync for Routes {}

static ROUTES: Routes = Routes { io: Cell::new(0) };

/// Silences the old controllers, and switches on this CPU's and the I/O controller with all lines masked.
pub(super) fn start(io: &IoApic) {
    silence_old_controllers();
    start_local();
    ROUTES.io.set(io.address);
    for line in 0..IRQ_TEST {
        enable_line(line, false);
    }
}

/// Switches on this CPU's own controller. Call once on each CPU.
pub(super) fn start_local() {
    let (frame, flags) = ApicBase::read_raw();
    // SAFETY: the address stays as it is; bit 11 enables the controller.
    unsafe { ApicBase::write_raw(frame, flags | 1 << 11) };
    write(TASK_PRIORITY, 0);
    write(LINT0, MASKED);
    write(LINT1, NMI_DELIVERY);
    write(ERROR, MASKED);
    write(TIMER_VECTOR, u32::from(TIMER));
    write(TIMER_DIVIDE, DIVIDE_BY_16);
    write(SPURIOUS_VECTOR, ENABLED | u32::from(SPURIOUS));
}

/// The number under which this CPU's controller is known.
pub(super) fn number() -> u8 {
    (read(NUMBER) >> 24) as u8
}

/// Makes another CPU enter the kernel, once it is not there.
pub(super) fn poke(controller: u8) {
    command(controller, ASSERT | u32::from(POKE));
}

/// Ends the halt of a CPU that waits for the lock.
pub(super) fn wake(controller: u8) {
    command(controller, ASSERT | u32::from(WAKE));
}

/// Halts this CPU, in the midst of the kernel, until somebody [wakes](wake) it; other interrupts wait. It may come back early.
pub(super) fn halt_until_woken() {
    const ABOVE_OTHERS: u64 = WAKE as u64 / 16 - 1;
    // SAFETY: the priority lets nothing in but what `is_of_the_kernel` knows, which uses the stack like a call and changes no
    // register. `sti` takes effect behind the `hlt`, so a wake-up does not come between them.
    unsafe {
        asm!(
            "mov cr8, {above}",
            "sti",
            "hlt",
            "cli",
            "mov cr8, {all}",
            above = in(reg) ABOVE_OTHERS,
            all = in(reg) 0_u64,
        )
    }
}

/// Whether an interrupt is one that may meet the kernel while it [halts](halt_until_woken). That is all there is to it.
pub(super) fn is_of_the_kernel(vector: u64) -> bool {
    take_wake_up(vector) || vector == u64::from(SPURIOUS)
}

/// Ends an interrupt that was to end a [halt](halt_until_woken), and says whether it was one.
///
/// It may come late, to a CPU that did not need it, and must be ended before that CPU waits for the lock: as long as it is in
/// service the controller lets no other of its class through, and a halt that needs one would never end.
pub(super) fn take_wake_up(vector: u64) -> bool {
    let is_wake_up = vector == u64::from(WAKE);
    if is_wake_up {
        write(END_OF_INTERRUPT, 0);
    }
    is_wake_up
}

/// Interrupts all other CPUs, whatever they do.
pub(super) fn shout() {
    write(COMMAND, TO_OTHERS | NMI_DELIVERY);
}

/// Resets another CPU, which then waits to be started.
pub(super) fn reset(controller: u8) {
    command(controller, ASSERT | RESET);
}

/// Starts a CPU that was reset, at a page below 1 MiB.
pub(super) fn start_at(controller: u8, page: u64) {
    command(controller, ASSERT | START | (page >> 12) as u32 & 0xff);
}

fn command(controller: u8, what: u32) {
    for _ in 0..PATIENCE {
        if read(COMMAND) & PENDING == 0 {
            break;
        }
    }
    write(COMMAND_TO, u32::from(controller) << 24);
    write(COMMAND, what);
}

/// Tells the controller that the interrupt has been seen, and says what it was. A level-triggered line is masked until
/// it is enabled again, since its device may hold it still. A wake-up was [taken](take_wake_up) before.
pub(super) fn acknowledge(vector: u64) -> Source {
    let vector = vector as u8;
    if vector == SPURIOUS || vector == WAKE {
        return Source::Spurious;
    }
    let line = vector.wrapping_sub(FIRST_LINE);
    if (ISA_LINES..IRQ_TEST).contains(&line) {
        enable_line(line, false);
    }
    write(END_OF_INTERRUPT, 0);
    match line {
        0..IRQ_LINES => Source::Line(line),
        _ if vector == TIMER => Source::Timer,
        _ => Source::Spurious,
    }
}

/// Lets a line through to this CPU, or not. The test line is always on.
pub(super) fn enable_line(line: u8, on: bool) {
    if line >= IRQ_TEST {
        return;
    }
    let mut low = u32::from(FIRST_LINE.wrapping_add(line));
    if line >= ISA_LINES {
        low |= 1 << 15 | 1 << 13;
    }
    if !on {
        low |= MASKED;
    }
    let register = u32::from(line).wrapping_mul(2).wrapping_add(0x10);
    write_io(register | 1, 0);
    write_io(register, low);
}

/// Interrupts this CPU on the test line.
pub(super) fn raise_test_line() {
    write(COMMAND, TO_SELF | u32::from(FIRST_LINE + IRQ_TEST));
}

/// Starts the one-shot timer; zero stops it.
#[inline(always)]
pub(super) fn start_timer(count: u32) {
    write(TIMER_START, count);
}

/// What is left of the timer's count.
pub(super) fn timer_left() -> u32 {
    read(TIMER_NOW)
}

fn read(register: u64) -> u32 {
    // SAFETY: the controller's registers belong to this file alone.
    unsafe { direct::<u32>(LOCAL | register).read_volatile() }
}

#[inline(always)]
fn write(register: u64, value: u32) {
    // SAFETY: the controller's registers belong to this file alone; they are no memory of anybody.
    unsafe { direct::<u32>(LOCAL | register).write_volatile(value) }
}

fn write_io(register: u32, value: u32) {
    let base = ROUTES.io.get();
    if base == 0 {
        return;
    }
    // SAFETY: the controller's registers belong to this file alone; the first word selects.
    unsafe { direct::<u32>(base).write_volatile(register) }
    // SAFETY: as above; the word at offset 16 is the selected register.
    unsafe { direct::<u32>(base | 0x10).write_volatile(value) }
}

/// Moves the old controllers' vectors away from the exceptions and masks all their lines.
fn silence_old_controllers() {
    let script = [
        (0x20_u16, 0x11_u8),
        (0xa0, 0x11),
        (0x21, 0xf0),
        (0xa1, 0xf8),
        (0x21, 4),
        (0xa1, 2),
        (0x21, 1),
        (0xa1, 1),
        (0x21, 0xff),
        (0xa1, 0xff),
    ];
    for (port, value) in script {
        // SAFETY: the old interrupt controllers are used by nobody else.
        unsafe { Port::new(port).write(value) }
    }
}
