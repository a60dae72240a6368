//! The POSIX layer over the ring runtime.
//!
//! Plain values, which know no ring and are tested on any machine:
//!
//! - [`path`]: what a program calls a file, made into what the kernel calls it.
//! - [`elf`]: what of a program's file goes where in memory.
//! - [`protocol`]: what a process and the process table say to each other.
//! - [`stack`]: arguments, environment and auxiliary vector of a new program.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "tests may overflow"))]

extern crate alloc;

pub mod elf;
pub mod flags;
pub mod links;
pub mod path;
pub mod protocol;
pub mod stack;
