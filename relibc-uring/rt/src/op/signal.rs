//! Signals as the kernel knows them: bits that are pending for a thread, and waits that they end.
#![forbid(unsafe_code)]

use super::file::{Fd, done, plain};
use super::shape::sealed::Sealed;
use super::{Op, Operation};
use crate::ring::current::local;
use crate::ring::slots::Answer;
use ring_abi::layout::word;
use ring_abi::{Errno, Opcode, Sqe, args, signal};

plain! { SignalRaise -> () = done; }

/// Makes signals pending for the thread behind a handle, or with [`Fd::CURRENT`] for this one.
pub fn raise(context: Fd, signals: u64) -> Op<args::SignalRaise> {
    Op::new(args::SignalRaise { context: context.0, signals })
}

/// Signals that are pending for this thread.
pub fn pending() -> u64 {
    signal::pending(&local().first().ring)
}

/// Clears those of these signals that are pending for this thread, and says which.
pub fn take(signals: u64) -> u64 {
    signal::take(&local().first().ring, signals)
}

/// Sets the signals that end no wait of this thread, and says which those were before.
pub fn set_mask(mask: u64) -> u64 {
    let first = local().first();
    let before = signal::word(&first.ring, word::MASK);
    signal::set_word(&first.ring, word::MASK, mask);
    before
}

/// Blocks this thread until a signal is pending that is not in this mask, which holds for the wait alone.
pub fn pause(mask: u64) {
    let local = local();
    signal::set_word(&local.ends().ring, word::WAIT_MASK, mask);
    local.pause();
}
