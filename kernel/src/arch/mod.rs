//! Layer 2: the machine. All unsafe code of the kernel is below this folder.
//!
//! Two machines offer the same names: `x86_64`, and `fake`, whose memory is a vector and whose time is an
//! input. This is the only place that chooses between them.

mod many;
pub use many::{LockUse, MOST_CPUS, Only, Which};

#[cfg(not(target_os = "none"))]
pub mod fake;
#[cfg(not(target_os = "none"))]
pub use fake::{
    FrameSource, IRQ_LINES, IRQ_SERIAL, IRQ_TEST, Machine, NoMemory, Regs, Slab, Start, StateBlock, UserPtr,
    Wired, near_link,
};

#[cfg(target_os = "none")]
pub mod x86_64;
#[cfg(target_os = "none")]
pub use x86_64::{
    FrameSource, IRQ_LINES, IRQ_SERIAL, IRQ_TEST, Machine, NoMemory, Regs, Road, Slab, Start, StateBlock,
    UserPtr, Wired, again, back, exit, go_on, idle, leap, near_link, poll, resume, resume_waiter,
};
