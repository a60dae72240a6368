//! What the entry stubs call, and how a step's answer becomes what the processor does.
//!
//! `main.rs` gives these functions the symbols that the stubs know.
#![forbid(unsafe_code)]

use super::enter::{Road, Single};
use super::event::{Event, Fault, Resume};
use super::kernel::{End, Kernel};
use super::poller;
use crate::arch::x86_64::{Filled, Place, ThisOne};
use crate::arch::{self, Only, Which};
use crate::base::trace;
use crate::op::stats::count;
use crate::ring::duplex::Ring;
use core::convert::Infallible;
use core::hint::cold_path;
use ring_abi::Errno;
use ring_abi::enter::Control;

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

/// A ring was entered on a machine with one processor. Returns to the same context with this value, or does not return.
#[inline(always)]
pub fn enter(kernel: Running, control: u64, deadline: u64, ring: u32) -> u64 {
    enter_on(kernel, Only, control, deadline, ring)
}

/// The same on a machine with several.
#[inline(always)]
pub fn enter_of_many(kernel: Running, control: u64, deadline: u64, ring: u32) -> u64 {
    enter_on(kernel, ThisOne, control, deadline, ring)
}

/// The first look needs no frame; the short roads are [leapt](arch::leap) onto, the long one is called in its place.
#[inline(always)]
fn enter_on<W: Which>(kernel: Running, cpu: W, control: u64, deadline: u64, ring: u32) -> u64 {
    let control = Control(control);
    match kernel.get().look(cpu, ring, control) {
        Road::Done => 0,
        Road::Refused(error) => refuse(kernel, error),
        Road::Read(single) => arch::leap(Read { kernel, cpu, single }),
        Road::Swap(single) => arch::leap(Swap { kernel, cpu, single }),
        Road::Other(single) => arch::leap(Other { kernel, cpu, single }),
        Road::Serve(ring) => arch::leap(Serve { kernel, cpu, ring }),
        Road::Long(ring) => long(kernel, cpu, ring, control, deadline),
        Road::Summoned => summoned(kernel, cpu, ring, control, deadline),
    }
}

#[cold]
#[inline(never)]
fn summoned<W: Which>(kernel: Running, cpu: W, ring: u32, control: Control, deadline: u64) -> u64 {
    let resume = kernel.get().summoned(cpu, ring, control, deadline);
    Return(kernel, cpu).end(resume)
}

#[cold]
#[inline(never)]
fn refuse(kernel: Running, error: Errno) -> u64 {
    count(&kernel.state.stats.refused);
    to_value(error.refusal())
}

/// The roads of a single submission.
macro_rules! single {
    ($(#[doc = $what:literal] $Road:ident by $method:ident;)+) => {$(
        #[doc = $what]
        #[derive(Clone, Copy)]
        struct $Road<W> {
            kernel: Running,
            cpu: W,
            single: Single<'static>,
        }

        impl<W: Which> arch::Road for $Road<W> {
            #[inline(always)]
            fn go(self) -> ! {
                let $Road { kernel, cpu, single } = self;
                match kernel.get().$method(cpu, single, GoOn(kernel, cpu)) {}
            }
        }
    )+};
}

single! {
    /// The road of a read.
    Read by read;
    /// The road of a swap.
    Swap by swap;
    /// The road of any other submission.
    Other by single;
}

/// The road of a daemon's reply.
#[derive(Clone, Copy)]
struct Serve<W> {
    kernel: Running,
    cpu: W,
    ring: &'static Ring,
}

impl<W: Which> arch::Road for Serve<W> {
    #[inline(always)]
    fn go(self) -> ! {
        let Serve { kernel, cpu, ring } = self;
        match kernel.get().serve(cpu, ring, GoOn(kernel, cpu)) {}
    }
}

#[inline(never)]
fn long<W: Which>(kernel: Running, cpu: W, ring: &'static Ring, control: Control, deadline: u64) -> u64 {
    kernel.get().long(cpu, ring, control, deadline, Return(kernel, cpu))
}

/// Goes to the context that entered, or to any other.
struct GoOn<W>(Running, W);

impl<W: Which> End for GoOn<W> {
    type Outcome = Infallible;

    #[inline(always)]
    fn end(self, resume: Resume) -> Infallible {
        match resume {
            Resume::Same(value) => arch::back(&self.0.state.memory.machine, self.1, to_value(value)),
            Resume::Waiter(id) => return_to(self.0, self.1, id),
            Resume::Context(id) => go_to(self.0, self.1, id),
            other => leave(self.0, self.1, other),
        }
    }
}

/// Goes to the context that entered by returning, to any other by leaving.
struct Return<W>(Running, W);

impl<W: Which> End for Return<W> {
    type Outcome = u64;

    #[inline(always)]
    fn end(self, resume: Resume) -> u64 {
        match resume {
            Resume::Same(value) => to_value(value),
            Resume::Context(id) => go_to(self.0, self.1, id),
            other => leave(self.0, self.1, other),
        }
    }
}

fn to_value(value: i32) -> u64 {
    i64::from(value) as u64
}

/// The road of an interrupt.
#[derive(Clone, Copy)]
struct Interrupt<W> {
    kernel: Running,
    cpu: W,
    line: u8,
}

impl<W: Which> arch::Road for Interrupt<W> {
    #[inline(always)]
    fn go(self) -> ! {
        let Interrupt { kernel, cpu, line } = self;
        match kernel.get().interrupt(cpu, line, GoOn(kernel, cpu)) {}
    }
}

/// A device's line was raised on a machine with one processor.
#[inline(always)]
pub fn interrupt(kernel: Running, line: u8) -> ! {
    arch::leap(Interrupt { kernel, cpu: Only, line })
}

/// The same on a machine with several.
#[inline(always)]
pub fn interrupt_of_many(kernel: Running, line: u8) -> ! {
    arch::leap(Interrupt { kernel, cpu: ThisOne, line })
}

/// Something else happened; the numbers are those of the stubs.
pub fn event(kernel: Running, kind: u64, a: u64, b: u64, c: u64) -> ! {
    let event = match kind {
        0 => Event::Timer,
        2 => Event::Fault(Fault { vector: a as u8, code: b, address: c }),
        3 => Event::Call,
        _ => Event::Again,
    };
    if kernel.state.memory.machine.cpus() > 1 {
        cold_path();
        step(kernel, ThisOne, event)
    }
    step(kernel, Only, event)
}

#[inline(always)]
fn step<W: Which>(kernel: Running, cpu: W, event: Event) -> ! {
    let resume = kernel.step(cpu, event);
    leave(kernel, cpu, resume)
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
fn leave<W: Which>(kernel: Running, cpu: W, resume: Resume) -> ! {
    let s = &kernel.get().state;
    let machine = &s.memory.machine;
    match resume {
        Resume::Waiter(id) => return_to(kernel, cpu, id),
        Resume::Context(id) => go_to(kernel, cpu, id),
        Resume::Touched => arch::go_on(machine, cpu),
        Resume::Same(_) => crate::bug!("nobody to return to"),
        Resume::Again => arch::again(machine, cpu),
        Resume::Poll => arch::poll(machine, cpu, poller::places(s)),
        Resume::Idle => arch::idle(machine, cpu),
        Resume::Halt(status) => {
            s.say(format_args!("exit status={status}"));
            arch::exit(status)
        }
    }
}

/// Goes on with a context that waits in `ring_enter`, which returns zero.
#[inline(always)]
fn return_to<W: Which>(kernel: Running, cpu: W, id: u32) -> ! {
    let s = &kernel.get().state;
    arch::resume_waiter(&s.memory.machine, cpu, &s.contexts.at(id).regs)
}

/// Goes on with a context.
#[inline(always)]
fn go_to<W: Which>(kernel: Running, cpu: W, id: u32) -> ! {
    let s = &kernel.get().state;
    arch::resume(&s.memory.machine, cpu, &s.contexts.at(id).regs, |block| {
        if W::MANY {
            // Others may take it as soon as the lock is free, and the registers are not loaded then.
            s.this_cpu().lent.set(block);
        } else {
            // Nobody takes the block before the registers are loaded: interrupts are off.
            s.blocks.give(block);
        }
        &s.blocks.at(block).state
    })
}
