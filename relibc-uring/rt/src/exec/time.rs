//! Timers: operations of the kernel like all others.
#![forbid(unsafe_code)]

use super::join::{Raced, race};
use crate::op::time;
use core::time::Duration;
use ring_abi::Errno;

/// A future took longer than it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl From<Elapsed> for Errno {
    fn from(_: Elapsed) -> Errno {
        Errno::TIMEDOUT
    }
}

/// Waits.
pub async fn sleep(duration: Duration) {
    // A timer that the kernel has no memory for ends at once: the caller can wait again but not go wrong.
    let _ = time::after(duration).await;
}

/// Runs a future for some time. When the time is over it is dropped, which cancels its operations.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    match race(future, time::after(duration)).await {
        Raced::First(output) => Ok(output),
        Raced::Second(_) => Err(Elapsed),
    }
}
