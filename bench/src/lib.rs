//! The parts of the bench that need no machine: samples, options and the lines that it prints.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod options;
pub mod report;
pub mod stats;
