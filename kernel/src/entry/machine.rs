//! What the entry stubs call, and how a step's answer becomes what the processor does.
//!
//! `main.rs` gives these functions the symbols that the stubs know.
#![forbid(unsafe_code)]

use super::enter::{self, Road, Single, Wait};
use super::event::{Enter, Event, Fault, Resume};
use super::kernel::Kernel;
use crate::arch::{self, x86_64::Filled, x86_64::Place};
use crate::base::trace;
use crate::context::context::Context;
use crate::op::stats::count;
use crate::ring::duplex::Ring;
use ring_abi::Errno;
use ring_abi::ring::Entry;
use ring_abi::sqe::Head;

/// The processor that runs the kernel.
const CPU: usize = 0;

/// The kernel of this machine; filled at boot.
pub static KERNEL: Place<Kernel> = Place::empty();

/// Names [`KERNEL`]'s place.
pub struct TheKernel;

impl arch::x86_64::Single for TheKernel {
    type Value = Kernel;

    #[inline(always)]
    fn place() -> &'static Place<Kernel> {
        &KERNEL
    }
}

/// [`KERNEL`], which was filled.
type Running = Filled<TheKernel>;

/// A ring was entered. Returns to the same context with this value, or does not return.
///
/// The first look needs no frame; what follows it is called in its place, with what is still of use in registers.
#[inline(always)]
pub fn enter(
    kernel: Running,
    ring: u64,
    to_submit: u64,
    min_complete: u64,
    flags: u64,
    deadline: u64,
) -> u64 {
    let flags = enter::flags(flags);
    kernel.get().look(CPU, &Enter { ring, to_submit, min_complete, flags, deadline }, |road| match road {
        Road::Done => 0,
        Road::Refused(error) => refuse(kernel, error),
        Road::Alone(Single { ring, context, head, entry }) => {
            alone(kernel, ring, context, head.0, entry, deadline)
        }
        Road::Serve(ring) => serve(kernel, ring, to_submit, deadline),
        Road::Long(ring) => long(kernel, ring, to_submit, min_complete, flags, deadline),
    })
}

#[cold]
#[inline(never)]
fn refuse(kernel: Running, error: Errno) -> u64 {
    count(&kernel.state.stats.refused);
    to_value(enter::refusal(error))
}

#[inline(never)]
fn alone(
    kernel: Running,
    ring: &'static Ring,
    context: &'static Context,
    head: u64,
    entry: Entry<'_, 8>,
    deadline: u64,
) -> u64 {
    let single = Single { ring, context, head: Head(head), entry };
    kernel.alone(CPU, single, deadline, |resume| return_to(kernel, resume))
}

#[inline(never)]
fn serve(kernel: Running, ring: &'static Ring, to_submit: u64, deadline: u64) -> u64 {
    kernel.serve(CPU, ring, to_submit, deadline, |resume| return_to(kernel, resume))
}

#[inline(never)]
fn long(
    kernel: Running,
    ring: &'static Ring,
    to_submit: u64,
    min_complete: u64,
    flags: u64,
    deadline: u64,
) -> u64 {
    let then = Wait { min_complete, flags, deadline };
    kernel.long(CPU, ring, to_submit, then, |resume| return_to(kernel, resume))
}

/// To the same context by returning, to any other by leaving.
#[inline(always)]
fn return_to(kernel: Running, resume: Resume) -> u64 {
    match resume {
        Resume::Same(value) => to_value(value),
        Resume::Context(id) => go_to(kernel, id),
        other => leave(kernel, other),
    }
}

fn to_value(value: i32) -> u64 {
    i64::from(value) as u64
}

/// Something else happened; the numbers are those of the stubs.
pub fn event(kernel: Running, kind: u64, a: u64, b: u64, c: u64) -> ! {
    let event = match kind {
        0 => Event::Timer,
        1 => Event::Interrupt(a as u8),
        2 => Event::Fault(Fault { vector: a as u8, code: b, address: c }),
        3 => Event::Call,
        _ => Event::Again,
    };
    let resume = kernel.step(CPU, event);
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
#[cold]
#[inline(never)]
pub fn leave(kernel: Running, resume: Resume) -> ! {
    let s = &kernel.get().state;
    let machine = &s.memory.machine;
    match resume {
        Resume::Context(id) => go_to(kernel, id),
        Resume::Same(_) => crate::bug!("nobody to return to"),
        Resume::Again => arch::again(machine),
        Resume::Idle => arch::idle(machine),
        Resume::Halt(status) => {
            s.say(format_args!("exit status={status}"));
            arch::exit(status)
        }
    }
}

/// Goes on with a context.
#[inline(always)]
fn go_to(kernel: Running, id: u32) -> ! {
    let s = &kernel.get().state;
    arch::resume(&s.memory.machine, &s.contexts.at(id).regs, |block| {
        // Nobody takes the block before the registers are loaded: interrupts are off.
        s.blocks.give(block);
        &s.blocks.at(block).state
    })
}
