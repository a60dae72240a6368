//! One processor: who runs on it, who is ready, and who pays.
//!
//! The processor's time is paid for by one context at a time, the *payer*: the one that was chosen from the queue. It pays
//! for whoever it hands the processor to as well, so a handoff needs no look at the clock. What has passed since `since` is
//! charged when the kernel looks who is next (`entry::turns`).
//!
//! Invariants:
//!
//! - a context whose state is `Ready` is in `queue`, or it is `held`, or the step that runs hands it the processor;
//! - while a context runs there is a payer, which lives, is not in a queue, and whose time is one of this processor's queue;
//!   so it pays for no other processor.
#![forbid(unsafe_code)]

use super::queue::Queue;
use crate::base::{NONE, is_none};
use core::cell::Cell;

/// Greatest number of processors.
pub const MOST: usize = crate::arch::MOST_CPUS;

/// How long a context runs before others that are ready get their turns, in nanoseconds; light ones run shorter.
pub const SLICE: u64 = 5_000_000;

/// A processor.
#[derive(Debug)]
pub struct Cpu {
    /// The context that entered, or `NONE` when the processor was idle.
    pub current: Cell<u32>,
    /// Contexts that wait for their turn.
    pub queue: Queue,
    /// A context that is first in line, whatever its time: it was interrupted, or goes on with what it began; or `NONE`.
    pub held: Cell<u32>,
    /// Who pays for the time since `since`; `NONE` while nobody runs.
    pub payer: Cell<u32>,
    /// When the time began that nobody has paid for yet.
    pub since: Cell<u64>,
    /// Somebody was put into the queue who may deserve the processor more than who runs.
    pub woken: Cell<bool>,
    /// At its next step's end it is to be looked who is ready. Only where there are several.
    pub looks: Cell<bool>,
    /// Handoffs since the run queue was last looked at; limits how long two programs can hand to each other.
    pub donated: Cell<u32>,
    /// The state block that the next preemption uses, or `NONE`.
    pub spare: Cell<u32>,
    /// The state block whose registers it last loaded, until it enters again; or `NONE`. Only where there are several.
    pub lent: Cell<u32>,
    /// The context that it runs was marked to end or to stop by another processor.
    pub summoned: Cell<bool>,
    /// When the payer's slice ends.
    pub slice_end: Cell<u64>,
    /// What the timer is set to.
    pub timer: Cell<u64>,
}

impl Default for Cpu {
    fn default() -> Self {
        Cpu {
            current: Cell::new(NONE),
            queue: Queue::default(),
            held: Cell::new(NONE),
            payer: Cell::new(NONE),
            since: Cell::new(0),
            woken: Cell::new(false),
            looks: Cell::new(false),
            donated: Cell::new(0),
            spare: Cell::new(NONE),
            lent: Cell::new(NONE),
            summoned: Cell::new(false),
            slice_end: Cell::new(0),
            timer: Cell::new(u64::MAX),
        }
    }
}

impl Cpu {
    /// Whether somebody waits for a turn here.
    #[inline(always)]
    pub fn has_ready(&self) -> bool {
        !self.queue.is_empty() || !is_none(self.held.get())
    }
}
