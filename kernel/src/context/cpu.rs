//! One processor: who runs on it, and who is ready.
#![forbid(unsafe_code)]

use crate::base::NONE;
use crate::base::list::List;
use core::cell::Cell;

/// Greatest number of processors.
pub const MOST: usize = crate::arch::MOST_CPUS;

/// How long a context runs before another that is ready gets its turn, in nanoseconds.
pub const SLICE: u64 = 5_000_000;

/// A processor.
#[derive(Debug)]
pub struct Cpu {
    /// The context that entered, or `NONE` when the processor was idle.
    pub current: Cell<u32>,
    /// Contexts that wait for their turn.
    pub ready: List,
    /// Handoffs since the run queue was last looked at; limits how long two programs can hand to each other.
    pub donated: Cell<u32>,
    /// The state block that the next preemption uses, or `NONE`.
    pub spare: Cell<u32>,
    /// The state block whose registers it last loaded, until it enters again; or `NONE`. Only where there are several.
    pub lent: Cell<u32>,
    /// The context that it runs was marked to end or to stop by another processor.
    pub summoned: Cell<bool>,
    /// When the running slice ends.
    pub slice_end: Cell<u64>,
    /// What the timer is set to.
    pub timer: Cell<u64>,
}

impl Default for Cpu {
    fn default() -> Self {
        Cpu {
            current: Cell::new(NONE),
            ready: List::new(),
            donated: Cell::new(0),
            spare: Cell::new(NONE),
            lent: Cell::new(NONE),
            summoned: Cell::new(false),
            slice_end: Cell::new(0),
            timer: Cell::new(u64::MAX),
        }
    }
}
