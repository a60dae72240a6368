//! Runs futures: one until it is done ([`block_on`]), and beside it as many tasks as were [`spawn`]ed.
//!
//! - One executor a thread; nothing is locked. A waker is a task's index, and waking links the task into the
//!   list of the ready ones.
//! - When nothing is ready, the executor enters the kernel once: that sends everything that was asked
//!   meanwhile, and waits.
//! - A waker must not leave its thread. The system tells threads by other means (futexes, files).

mod join;
mod run;
mod tasks;
mod time;
mod waker;

pub use join::{Both, JoinHandle, Race, Raced, both, join_all, race, spawn};
pub(crate) use run::{Running, Turn, turn};
pub use run::{block_on, run, yield_now};
pub(crate) use tasks::{ROOT, Tasks, Turns};
pub use time::{Elapsed, sleep, timeout};
pub(crate) use waker::{index_of, waker};
