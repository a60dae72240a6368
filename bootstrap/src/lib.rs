//! The parts of bootstrap that need no machine, tested anywhere.
//!
//! - [`table`]: the process table; [`calls`]: what processes ask of it.
//! - [`tree`]: what a path in the initfs leads to.
//! - [`ids`]: what the file ids of both schemes stand for.
//! - [`changes`]: waiting for the next change.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "tests may overflow"))]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod calls;
pub mod changes;
pub mod ids;
pub mod table;
pub mod tree;
