//! Layer 3: memory, by owner.
//!
//! - [`frames`]: the machine's frames; everything below takes its memory here.
//! - [`arena`]: records of one kind under dense indices that never move; [`runs`]: rows of small records.
//! - [`region`], [`space`]: what a program's addresses mean.
//! - [`fill`], [`clear`], [`protect`], [`advise`], [`fork`], [`ending`]: changes of a space that run in slices.
//! - [`shoot`]: forgetting on other processors what was taken away.
//! - [`footprint`]: how much memory everything takes.
//! - [`image`]: the boot image in the first space.
//! - [`object`]: what several regions can be parts of: shared memory, and a daemon's memory that others map.
//! - [`pin`]: memory of a program that the kernel holds on to.
//! - [`touch`]: what a page becomes when it is used for the first time, or written while others have it too.
//! - [`user`]: reaching a program's memory through its page table.
//! - [`wired`]: memory that kernel and programs share for good: rings and arenas of schemes.
#![forbid(unsafe_code)]

use ring_abi::Errno;

pub mod advise;
pub mod arena;
pub mod clear;
pub mod ending;
pub mod fill;
pub mod footprint;
pub mod fork;
pub mod frames;
pub mod image;
pub mod object;
pub mod pin;
pub mod protect;
pub mod region;
pub mod runs;
pub mod shoot;
pub mod space;
pub mod tally;
#[cfg(test)]
mod tests;
pub mod touch;
pub mod user;
pub mod wired;

/// What a slice of a change came to.
#[must_use = "what is left must be run again"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// The budget ran out, or another change is in the way: run it again later.
    More,
    /// It is complete, or has failed and changed nothing more.
    Done(Result<u64, Errno>),
}

/// Two indices in one word.
const fn join(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

/// The two indices of a word.
const fn halves(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}
