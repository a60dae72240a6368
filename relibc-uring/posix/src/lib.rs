//! The POSIX layer over the ring runtime.
//!
//! Plain values, which know no ring and are tested on any machine:
//!
//! - [`path`]: what a program calls a file, made into what the kernel calls it.
//! - [`elf`]: what of a program's file goes where in memory.
//! - [`stack`]: arguments, environment and auxiliary vector of a new program.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod elf;
pub mod path;
pub mod stack;
