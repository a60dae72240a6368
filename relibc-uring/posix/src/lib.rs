//! The POSIX layer over the ring runtime, in Rust; C's symbols are a thin layer above.
//!
//! Every call is one or a few operations on this thread's ring, waited for there and then.
//!
//! Plain values, which know no ring and are tested on any machine:
//!
//! - [`path`]: what a program calls a file, made into what the kernel calls it.
//! - [`links`]: symbolic links on the way, across schemes, up to a limit.
//! - [`elf`]: what of a program's file goes where in memory.
//! - [`script`]: which program is to read a file that begins with `#!`.
//! - [`stack`]: arguments, environment and auxiliary vector of a new program.
//! - [`protocol`]: what a process and the process table say to each other.
//! - [`flags`]: flags of `open`, bits of a mode.
//!
//! What asks the kernel:
//!
//! - [`process`]: what this process knows of itself; `getpid`, `wait`, `kill`, `exit` and their kin.
//! - [`open`], [`file`], [`directory`]: files, by name and open.
//! - `brief`: a file that is opened for one thing, in one submission.
//! - [`load`], [`spawn`], [`fork`]: new programs and processes.
//! - [`handles`]: handles that are closed again, whatever happens.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "tests may overflow"))]

extern crate alloc;

mod brief;
pub mod directory;
pub mod elf;
pub mod file;
pub mod flags;
pub mod fork;
pub mod handles;
pub mod links;
pub mod load;
pub mod open;
pub mod path;
pub mod process;
pub mod protocol;
pub mod script;
pub mod spawn;
pub mod stack;

pub use uring::op::Fd;
