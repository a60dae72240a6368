//! Layer 1: plain values. No hardware, no policy, no memory of their own.
//!
//! - [`list`], [`tree`], [`heap`]: the three ways to file a record. All are intrusive: the links live in
//!   the record, so filing one can never fail for lack of memory.
//! - [`name`]: how records speak of each other.
//! - [`budget`]: how much work one step may do.
//! - [`rows`]: texts that are made row by row.
//! - [`trace`]: the last events, for whoever looks at a dead kernel.
#![forbid(unsafe_code)]

pub mod budget;
pub mod heap;
pub mod list;
pub mod name;
pub mod rows;
pub mod trace;
pub mod tree;

pub use name::{ABSENT, NONE, is_none};

/// Stops the kernel because of a mistake of its own, never of a program's.
#[macro_export]
macro_rules! bug {
    ($($text:tt)*) => { $crate::base::stop(format_args!($($text)*)) };
}

/// Where [`bug!`] ends.
#[cold]
#[inline(never)]
pub fn stop(what: core::fmt::Arguments<'_>) -> ! {
    panic!("kernel bug: {what}")
}
