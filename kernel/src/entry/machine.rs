//! What the entry stubs call, and how a step's answer becomes what the processor does.
//!
//! `main.rs` gives these functions the symbols that the stubs know.
#![forbid(unsafe_code)]

use super::enter::{Road, Single};
use super::event::{Event, Fault, Resume};
use super::kernel::{End, Kernel};
use crate::arch::{self, x86_64::Filled, x86_64::Place};
use crate::base::trace;
use crate::op::stats::count;
use crate::ring::duplex::Ring;
use core::convert::Infallible;
use ring_abi::Errno;
use ring_abi::enter::Control;

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
/// The first look needs no frame; the short roads are [leapt](arch::leap) onto, the long one is called in its place.
#[inline(always)]
pub fn enter(kernel: Running, control: u64, deadline: u64, ring: u32) -> u64 {
    let control = Control(control);
    match kernel.get().look(ring, control) {
        Road::Done => 0,
        Road::Refused(error) => refuse(kernel, error),
        Road::Alone(single) => arch::leap(Alone { kernel, single }),
        Road::Serve(ring) => arch::leap(Serve { kernel, ring }),
        Road::Long(ring) => long(kernel, ring, control, deadline),
    }
}

#[cold]
#[inline(never)]
fn refuse(kernel: Running, error: Errno) -> u64 {
    count(&kernel.state.stats.refused);
    to_value(error.refusal())
}

/// The road of a single submission.
#[derive(Clone, Copy)]
struct Alone {
    kernel: Running,
    single: Single<'static>,
}

impl arch::Road for Alone {
    #[inline(always)]
    fn go(self) -> ! {
        let Alone { kernel, single } = self;
        match kernel.get().alone(CPU, single, GoOn(kernel)) {}
    }
}

/// The road of a daemon's reply.
#[derive(Clone, Copy)]
struct Serve {
    kernel: Running,
    ring: &'static Ring,
}

impl arch::Road for Serve {
    #[inline(always)]
    fn go(self) -> ! {
        let Serve { kernel, ring } = self;
        match kernel.get().serve(CPU, ring, GoOn(kernel)) {}
    }
}

#[inline(never)]
fn long(kernel: Running, ring: &'static Ring, control: Control, deadline: u64) -> u64 {
    kernel.get().long(CPU, ring, control, deadline, Return(kernel))
}

/// Goes to the context that entered, or to any other.
struct GoOn(Running);

impl End for GoOn {
    type Outcome = Infallible;

    #[inline(always)]
    fn end(self, resume: Resume) -> Infallible {
        match resume {
            Resume::Same(value) => arch::back(&self.0.state.memory.machine, to_value(value)),
            Resume::Context(id) => go_to(self.0, id),
            other => leave(self.0, other),
        }
    }
}

/// Goes to the context that entered by returning, to any other by leaving.
struct Return(Running);

impl End for Return {
    type Outcome = u64;

    #[inline(always)]
    fn end(self, resume: Resume) -> u64 {
        match resume {
            Resume::Same(value) => to_value(value),
            Resume::Context(id) => go_to(self.0, id),
            other => leave(self.0, other),
        }
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
