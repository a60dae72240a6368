//! The parts of bootstrap that need no machine: plain values, tested anywhere.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "tests may overflow"))]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod calls;
pub mod table;
pub mod tree;
