//! Points in time, once or again and again.
#![forbid(unsafe_code)]

use super::file::{done, number, plain};
use super::shape::sealed::Sealed;
use super::{Op, Operation, Shots, Stream};
use crate::ring::slots::{Answer, Gather};
use core::time::Duration;
use ring_abi::{Errno, Opcode, Sqe, args};

plain! {
    Timeout -> () = done;
    LinkTimeout -> () = done;
    TimeoutUpdate -> () = done;
    TimeoutRemove -> () = done;
}

impl Sealed for args::Interval {}

impl Shots for args::Interval {
    /// How many periods are over since the item before.
    type Item = Result<u64, Errno>;
    const OPCODE: Opcode = Opcode::Interval;
    const GATHER: Gather = Gather::Sum;

    fn entry(&mut self) -> Sqe {
        self.encode(0)
    }

    fn item(&self, answer: Answer) -> Self::Item {
        number(answer)
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Ends after some time.
pub fn after(duration: Duration) -> Op<args::Timeout> {
    Op::new(args::Timeout { nanoseconds: nanoseconds(duration), flags: 0 })
}

/// Bounds the operation before it in its [chain](super::chain): when the time since that one's start is over, that one is
/// cancelled, and by force if its daemon has not answered within the grace. Ends with `ECANCELED` if that one ends first.
pub fn limit(duration: Duration, grace: Duration) -> Op<args::LinkTimeout> {
    Op::new(args::LinkTimeout { nanoseconds: nanoseconds(duration), flags: 0, grace: nanoseconds(grace) })
}

/// Ends at a point of the monotonic clock, in nanoseconds.
pub fn at(nanoseconds: u64) -> Op<args::Timeout> {
    Op::new(args::Timeout { nanoseconds, flags: args::timeout::ABSOLUTE })
}

/// An item each time that a period is over, for ever. Items say how many periods: more than one where nobody looked for a
/// while, so that none is lost.
pub fn every(period: Duration) -> Stream<args::Interval> {
    times(period, 0)
}

/// The same until so many periods are over; with zero for ever.
pub fn times(period: Duration, count: u64) -> Stream<args::Interval> {
    let period = nanoseconds(period);
    Stream::new(args::Interval { first: period, period, count, flags: 0 })
}

impl Op<args::Timeout> {
    /// Lets a timeout that was submitted end so much time from now. `NOENT` if it was not, or has ended; `ALREADY` if its
    /// time has come.
    pub fn postpone(&self, duration: Duration) -> Op<args::TimeoutUpdate> {
        update(self.tag(), duration)
    }

    /// Lets a timeout that was submitted end now, with `CANCELED`. Errors as of [`postpone`](Self::postpone).
    pub fn remove(&self) -> Op<args::TimeoutRemove> {
        Op::new(args::TimeoutRemove { tag: self.tag() })
    }
}

impl Stream<args::Interval> {
    /// Lets the next period end so much time from now; those after it follow.
    pub fn postpone(&self, duration: Duration) -> Op<args::TimeoutUpdate> {
        update(self.tag(), duration)
    }

    /// Lets it end now: its last item is `CANCELED`.
    pub fn remove(&self) -> Op<args::TimeoutRemove> {
        Op::new(args::TimeoutRemove { tag: self.tag() })
    }
}

fn update(tag: u32, duration: Duration) -> Op<args::TimeoutUpdate> {
    Op::new(args::TimeoutUpdate { tag, nanoseconds: nanoseconds(duration), flags: 0 })
}
