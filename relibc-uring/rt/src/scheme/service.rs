//! The service pair of this thread's ring: where requests of clients arrive.
#![forbid(unsafe_code)]

use crate::ring::local::Local;
use crate::ring::slots::NONE;
use core::cell::Cell;
use ring_abi::enter;

/// Who waits for requests.
pub(crate) struct Service {
    waiter: Cell<u32>,
}

impl Service {
    /// Nobody serves.
    pub(crate) const fn new() -> Service {
        Service { waiter: Cell::new(NONE) }
    }

    /// What a wait must also end for.
    #[inline(always)]
    pub(crate) fn wanted(&self) -> u64 {
        if self.waiter.get() == NONE { 0 } else { enter::REQUESTS }
    }

    /// Wakes the waiting task if requests have come.
    #[inline(always)]
    pub(crate) fn look(&self, local: &Local) {
        let _ = local;
    }
}
