//! Threads of a program: each is a context with a ring, a stack and a runtime of its own.
//!
//! [`spawn`] makes one and [`JoinHandle::join`] waits for its end and takes what its function returned. Operations,
//! `block_on` and tasks work in it as in the first thread; futures stay in the thread that made them.
//!
//! - [`shelf`]: the stacks of threads that have ended, kept for the next ones.
//! - [`stack`]: a stack with a guard page below it.
//! - [`born`]: a thread's block, its first code and its last.

mod born;
mod shelf;
mod stack;

pub use born::{JoinHandle, spawn};
pub use stack::trim;
