//! What the entry stubs call, and how a step's answer becomes what the processor does.
//!
//! `main.rs` gives these functions the symbols that the stubs know.
#![forbid(unsafe_code)]

use super::event::{Enter, Event, Fault, Resume};
use super::kernel::Kernel;
use crate::arch::{self, x86_64::Place};
use crate::base::trace;

/// The kernel of this machine; filled at boot.
pub static KERNEL: Place<Kernel> = Place::empty();

/// A ring was entered. Returns to the same context with this value, or does not return.
#[inline(always)]
pub fn enter(ring: u64, to_submit: u64, min_complete: u64, flags: u64, deadline: u64) -> u64 {
    let kernel = KERNEL.get();
    let enter = Enter { ring, to_submit, min_complete, flags, deadline };
    match kernel.enter(0, enter) {
        Resume::Same(value) => i64::from(value) as u64,
        other => leave(kernel, other),
    }
}

/// Something else happened; the numbers are those of the stubs.
pub fn event(kind: u64, a: u64, b: u64, c: u64) -> ! {
    let kernel = KERNEL.get();
    let event = match kind {
        0 => Event::Timer,
        1 => Event::Interrupt(a as u8),
        2 => Event::Fault(Fault { vector: a as u8, code: b, address: c }),
        3 => Event::Call,
        _ => Event::Again,
    };
    let resume = kernel.step(0, event);
    leave(kernel, resume)
}

/// Prints the recent events, for the panic handler.
pub fn dump(out: &mut dyn core::fmt::Write) {
    if let Some(kernel) = KERNEL.look() {
        // A dying kernel prints what it can.
        let _ = trace::Trace::dump(&kernel.state.trace, out);
    }
}

/// Does what a step said.
#[inline(always)]
pub fn leave(kernel: &'static Kernel, resume: Resume) -> ! {
    let s = &kernel.state;
    let machine = &s.memory.machine;
    match resume {
        Resume::Context(id) => {
            let context = s.contexts.at(id);
            let root = s.memory.space(context.space.get()).root();
            let block = context.regs.detach().map(|block| {
                // Nobody takes the block before the registers are loaded: interrupts are off.
                s.blocks.give(block);
                &s.blocks.at(block).state
            });
            arch::resume(machine, &context.regs, block, root)
        }
        Resume::Same(_) => crate::bug!("nobody to return to"),
        Resume::Again => arch::again(machine),
        Resume::Idle => arch::idle(machine),
        Resume::Halt(status) => {
            s.say(format_args!("exit status={status}"));
            arch::exit(status)
        }
    }
}
