//! Contexts without a runtime: a ring, a stack and a function.
//!
//! Benchmarks and tests need what the runtime keeps from programs: a context that is nothing but a ring, entries
//! that no typed operation makes, indices that cannot be, a clock that counts instructions. It all stands here, so
//! that the cases themselves are ordinary safe code.
//!
//! Code that runs in a bare context has no runtime under it: it must not allocate, print, or use `uring`.
//!
//! - [`ring`]: both ends of a ring's program side, entry by entry.
//! - [`context`]: makes contexts in this address space and waits for their end.
//! - [`serve`]: a daemon's loop without the kit.
//! - [`clock`]: the time-stamp counter.
//! - [`control`]: the control words of floating point.
//! - [`shared`]: memory that a fork shares.
//! - [`mischief`]: what only a broken program does.
#![cfg_attr(target_os = "redox", no_std)]

extern crate alloc;

pub mod clock;
pub mod context;
pub mod control;
pub mod mischief;
pub mod ring;
pub mod serve;
pub mod shared;

pub use context::Bare;
pub use ring::Ring;
