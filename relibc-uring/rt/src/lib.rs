//! The ring runtime: typed operations as futures, and the daemon kit.
//!
//! The layers, lowest first:
//!
//! - [`trap`]: the one instruction that enters the kernel.
//! - [`ring`]: this thread's ring, and the slots that keep an operation's buffer until its completion.
//! - [`op`]: the operations. One is sent when it is awaited; dropping it cancels it.
//! - [`exec`]: blocks on one future, or runs many tasks on one thread.
//! - [`scheme`]: the daemon kit: a name, a stream of requests, one answer each.
//! - [`thread`]: further threads, each with a ring and a stack of its own.
//! - [`start`]: from a program's first instruction to its `main`; memory, output and arguments.
//!
//! The same code runs in the guest and, over a ring that a test makes, on a host.
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(not(target_os = "redox"))]
extern crate std;

pub mod exec;
#[cfg(not(target_os = "redox"))]
pub mod host;
pub mod op;
pub mod ring;
pub mod scheme;
pub mod start;
pub mod thread;
pub mod trap;

pub use exec::{block_on, run, spawn};
pub use op::{Fd, Op};
pub use ring_abi::Errno;
pub use start::exit;
