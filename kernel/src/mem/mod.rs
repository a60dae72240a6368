//! Layer 3: memory, by owner.
//!
//! - [`frames`]: the machine's frames; everything below takes its memory here.
//! - [`arena`]: records of one kind under dense indices that never move; [`runs`]: rows of small records.
//! - [`region`], [`space`]: what a program's addresses mean.
//! - [`user`]: reaching a program's memory through its page table.
//! - [`wired`]: memory that kernel and programs share for good: rings and arenas of schemes.
#![forbid(unsafe_code)]

pub mod arena;
pub mod frames;
pub mod region;
pub mod runs;
pub mod space;
pub mod user;
pub mod wired;
