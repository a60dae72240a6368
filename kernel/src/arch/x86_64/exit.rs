//! Ends the machine: QEMU's exit device first, then a halt for machines without one.

use x86_64::instructions::port::Port;
use x86_64::instructions::{hlt, interrupts};

/// The port of QEMU's `isa-debug-exit`; the host sees `status * 2 + 1` as the exit status.
const EXIT_PORT: u16 = 0xf4;

/// Stops the machine for good and tells the emulator why.
pub fn exit(status: u32) -> ! {
    interrupts::disable();
    stop_others();
    // SAFETY: the port is either the exit device, which ends the machine, or nothing at all.
    unsafe { Port::new(EXIT_PORT).write(status) };
    stand_still()
}

/// Stops all other CPUs, whatever they do. Only the first call does something.
pub(super) fn stop_others() {
    if !super::panic::is_over() {
        super::panic::all_over();
        if super::lock::is_shared() {
            super::apic::shout();
        }
    }
}

/// Stops this CPU for good.
pub(super) fn stand_still() -> ! {
    interrupts::disable();
    loop {
        hlt();
    }
}
