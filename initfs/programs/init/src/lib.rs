//! The parts of init that need no machine: what its two files say, and lines that are typed.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod line;
pub mod options;
pub mod plan;
