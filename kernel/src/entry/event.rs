//! What can enter the kernel, and what a step can answer.
#![forbid(unsafe_code)]

use ring_abi::enter::Control;

/// Something that enters the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The running context entered one of its rings.
    Enter(Enter),
    /// The timer of this processor.
    Timer,
    /// A device's interrupt line.
    Interrupt(u8),
    /// The running context made a mistake, or so the processor says.
    Fault(Fault),
    /// The running context made a system call that is not `ring_enter`.
    Call,
    /// Nothing: there was work left, and interrupts were let in before going on with it.
    Again,
}

/// The arguments of `ring_enter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enter {
    /// Which of the context's rings.
    pub ring: u64,
    /// What to take and what to wait for.
    pub control: Control,
    /// When the wait ends, in nanoseconds of the monotonic clock, if the control has that flag.
    pub deadline: u64,
}

/// An exception of the processor, in user mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its number (Intel SDM volume 3, table 6-1).
    pub vector: u8,
    /// Its error code, zero if it has none.
    pub code: u64,
    /// The address that was touched, for a page fault.
    pub address: u64,
}

/// What the processor does after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// The context that entered goes on; its `ring_enter` returns this: zero, or the negative of an error number.
    Same(i32),
    /// The context that was stopped goes on as it was: a page that it touched is ready.
    Touched,
    /// This context goes on.
    Context(u32),
    /// This context goes on, which waits in `ring_enter`: that returns zero.
    Waiter(u32),
    /// Nobody is ready, but there is work: let interrupts in and come back with [`Event::Again`].
    Again,
    /// Nobody is ready: look for entries of polled rings, with interrupts let in between, and come back with [`Event::Again`]
    /// when there are some.
    Poll,
    /// Nobody is ready: sleep until an interrupt.
    Idle,
    /// The system ends with this status.
    Halt(u32),
}
