//! Layer 8: one step.
//!
//! - [`kernel`]: the kernel as a value; `step` takes an event and says what to run.
//! - [`event`]: what can enter the kernel, and what a step can answer.
//! - [`enter`]: a ring was entered: replies, submissions, the wait.
//! - [`swap`]: one submission that wakes a program and waits to be woken by it.
//! - [`poller`]: entries that are taken without one, by a processor that has nobody to run.
//! - [`patience`]: waits that a signal ends, or that relent.
//! - [`interrupt`], [`fault`]: the other events.
//! - [`choose`]: who runs next; [`turns`]: whose turn that is, and who pays.
//! - [`machine`]: what the entry stubs call.
#![forbid(unsafe_code)]

#[cfg(not(target_os = "none"))]
pub mod audit;
#[cfg(not(target_os = "none"))]
mod audit_order;
pub mod choose;
pub mod enter;
pub mod event;
pub mod fault;
pub mod interrupt;
pub mod kernel;
#[cfg(target_os = "none")]
pub mod machine;
pub mod patience;
pub mod poller;
pub mod swap;
pub mod turns;
