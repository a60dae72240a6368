//! The words of a ring's header that are about signals and waits, each two of 32 bits. Both ends use them.
//!
//! The kernel believes nothing of them: what a program writes here decides only when its own waits end.
#![forbid(unsafe_code)]

use crate::layout::word;
use crate::map::Ring;
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// Makes signals pending.
pub fn raise(ring: &Ring, signals: u64) {
    let [low, high] = halves(signals);
    ring.header(word::SIGNALS).fetch_or(low, Release);
    ring.header(high_of(word::SIGNALS)).fetch_or(high, Release);
}

/// Signals that are pending.
pub fn pending(ring: &Ring) -> u64 {
    whole(ring.header(word::SIGNALS).load(Acquire), ring.header(high_of(word::SIGNALS)).load(Acquire))
}

/// Clears those of these signals that are pending, and says which.
pub fn take(ring: &Ring, signals: u64) -> u64 {
    let [low, high] = halves(signals);
    let before = [(word::SIGNALS, low), (high_of(word::SIGNALS), high)]
        .map(|(index, bits)| ring.header(index).fetch_and(!bits, AcqRel) & bits);
    let [low, high] = before;
    whole(low, high)
}

/// One of the words that the program alone writes: [`word::MASK`], [`word::WAIT_MASK`] or [`word::RELENT_AT`].
pub fn word(ring: &Ring, index: usize) -> u64 {
    whole(ring.header(index).load(Relaxed), ring.header(high_of(index)).load(Relaxed))
}

/// Writes such a word.
pub fn set_word(ring: &Ring, index: usize, value: u64) {
    let [low, high] = halves(value);
    ring.header(index).store(low, Relaxed);
    ring.header(high_of(index)).store(high, Relaxed);
}

const fn high_of(index: usize) -> usize {
    index.wrapping_add(1)
}

const fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

const fn whole(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}
