//! Layer 5: who runs, and what it holds. The kernel knows no processes.
//!
//! - [`context`]: a thread of control: kept registers, rings, address space, handle table.
//! - [`handles`]: numbers that a program uses for what it may reach; [`file`]: what they lead to.
//! - [`bounds`]: what a context may use that may not use everything.
//! - [`cpu`]: one processor: who runs on it and who is ready.
//! - [`share`]: how much of a processor is a context's; [`queue`]: who is next by that.
//! - [`timers`]: deadlines, soonest first.
#![forbid(unsafe_code)]

pub mod bounds;
#[expect(clippy::module_inception, reason = "the file is called after its one idea")]
pub mod context;
pub mod cpu;
pub mod file;
pub mod handles;
pub mod queue;
pub mod share;
pub mod timers;
