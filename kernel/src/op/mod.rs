//! Layer 7: what a program can ask.
//!
//! - [`dispatch`]: the list of operations: start, finish, cancel.
//! - [`state`]: all that operations may touch; [`cx`]: one submission's view of it; [`step`]: what the step decided.
//! - [`inflight`]: the record of an operation that waits.
//!
//! The rule of every handler: check everything, then commit. A `?` leaves the kernel as it was; after the
//! first change nothing returns early and nothing needs memory.
#![forbid(unsafe_code)]

use ring_abi::Errno;

/// What a handler made of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Complete with this value.
    Done(u64),
    /// A record of it waits somewhere and will complete it.
    Parked,
    /// The asker is gone, and with it the place of the completion.
    Gone,
}

/// An outcome, or the error to complete with.
pub type OpResult = Result<Outcome, Errno>;

pub mod affinity;
pub mod barrier;
pub mod cancel;
pub mod chain;
pub mod channel;
pub mod context;
pub mod cursor;
pub mod cx;
pub mod death;
pub mod dispatch;
pub mod dormant;
pub mod exec;
pub mod flush;
pub mod forward;
pub mod futex;
pub mod graph;
pub mod handle;
pub mod incoming;
pub mod inflight;
pub mod interval;
pub mod irq;
pub mod kernel_scheme;
pub mod limit;
pub mod mapping;
pub mod maps;
pub mod memory;
pub mod message;
pub mod migrate;
pub mod multishot;
pub mod nop;
pub mod open;
pub mod order;
pub mod page_in;
pub mod pass;
pub mod poll;
pub mod polled;
pub mod port;
pub mod provided;
pub mod read;
pub mod refill;
pub mod register;
pub mod registered;
pub mod reply;
pub mod reply_run;
pub mod restrict;
pub mod several;
pub mod signal;
pub mod space;
pub mod state;
pub mod stats;
pub mod step;
pub mod summon;
pub mod sys;
pub mod tell;
pub mod timeout;
pub mod tracer;
pub mod turns;
pub mod walk;
pub mod weight;
pub mod window;
pub mod word;
pub mod work;
