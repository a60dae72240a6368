//! `Interval`: a timer that completes again and again.
//!
//! What an interval has counted and not told yet is a number in its record, so expiries that find no place in the
//! completion queue cost nothing: the interval leaves the timers until its end, and how often it expired meanwhile is
//! computed when there is a place again. Each expiry is reckoned from the one before, never from the time at which it was seen.
//!
//! No interval completes oftener than every [`GAP`], so that a short period is not a way to stop everybody else.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::inflight::{Op, Wait};
use super::state::State;
use super::{OpResult, Outcome, channel, multishot, timeout};
use crate::base::NONE;
use ring_abi::args::Interval;
use ring_abi::{Errno, Opcode, Words};

/// Nanoseconds between two completions of one interval, at least.
pub const GAP: u64 = 100_000;

/// Where its record keeps when it expires next, and how often.
const NEXT: usize = 0;
const PERIOD: usize = 1;
const LEFT: usize = 2;
/// Where its record keeps the number of expiries that were not told yet.
const UNTOLD: usize = 3;
/// An interval without an end expires so often.
const ENDLESS: u64 = u64::MAX;

/// Begins an interval.
pub fn start(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let s = cx.s;
    let args = Interval::decode(entry)?;
    if args.period == 0 {
        return Err(Errno::INVAL);
    }
    let first = timeout::deadline(s.memory.machine.now(), args.first, args.flags)?;
    s.timers.ensure_one(&s.memory)?;
    let id = cx.start_op(Opcode::Interval)?;

    let op = s.ops.at(id);
    op.wait.set(Wait::Time);
    op.set_arg(NEXT, first);
    op.set_arg(PERIOD, args.period);
    op.set_arg(LEFT, if args.count == 0 { ENDLESS } else { args.count });
    op.set_arg(UNTOLD, 0);
    s.timers.add(s, id, first);
    s.step.rearm();
    Ok(Outcome::Parked)
}

/// Its time has come, or there is a place for its next completion after it was [paused](multishot::pause).
pub fn expired(s: &State, id: u32) {
    let op = s.ops.at(id);
    if op.wait.get() == Wait::Channel {
        // It was paused, and comes to its end.
        channel::leave(s, id);
    }
    let now = s.memory.machine.now();
    count(op, now);
    tell(s, id, op, now);
}

/// Counts the expiries up to now.
fn count(op: &Op, now: u64) {
    let (next, period, left) = (op.arg(NEXT), op.arg(PERIOD), op.arg(LEFT));
    if next > now || left == 0 {
        return;
    }
    let passed = now.wrapping_sub(next).checked_div(period).unwrap_or(0).saturating_add(1).min(left);
    op.set_arg(NEXT, next.saturating_add(passed.saturating_mul(period)));
    op.set_arg(LEFT, if left == ENDLESS { ENDLESS } else { left.wrapping_sub(passed) });
    op.set_arg(UNTOLD, op.arg(UNTOLD).saturating_add(passed));
}

/// Tells the program of the expiries counted. The last completion says so, also if it is the last for lack of memory.
fn tell(s: &State, id: u32, op: &Op, now: u64) {
    let untold = op.arg(UNTOLD);
    if op.arg(LEFT) == 0 || s.timers.ensure_one(&s.memory).is_err() {
        return s.end_op(id, Ok(untold), 0);
    }
    if multishot::more(s, op, untold) {
        op.set_arg(UNTOLD, 0);
        op.wait.set(Wait::Time);
        file(s, id, op, wake_up(op, now));
    } else if multishot::pause(s, id).is_ok() {
        file_end(s, id, op);
    } else {
        s.end_op(id, Ok(untold), 0);
    }
}

/// Sets its deadline, for which there is memory.
fn file(s: &State, id: u32, op: &Op, deadline: u64) {
    if op.timer.get() != NONE {
        s.timers.remove(s, id);
    }
    s.timers.add(s, id, deadline);
    s.step.rearm();
}

/// Sets the deadline of a paused one: its last expiry needs no place but the one that is promised.
fn file_end(s: &State, id: u32, op: &Op) {
    if op.arg(LEFT) != ENDLESS {
        file(s, id, op, last(op));
    }
}

/// When it expires for the last time.
fn last(op: &Op) -> u64 {
    op.arg(NEXT).saturating_add(op.arg(LEFT).wrapping_sub(1).saturating_mul(op.arg(PERIOD)))
}

/// When it is looked at next: at its next expiry, or when the gap is over; but in time for its end.
fn wake_up(op: &Op, now: u64) -> u64 {
    now.saturating_add(GAP).min(last(op)).max(op.arg(NEXT))
}

/// Lets it expire at another time next, and a period apart from then on. `EALREADY` if it has expired for the last time.
pub fn move_to(s: &State, id: u32, deadline: u64) -> Result<(), Errno> {
    let op = s.ops.at(id);
    count(op, s.memory.machine.now());
    if op.arg(LEFT) == 0 {
        return Err(Errno::ALREADY);
    }
    op.set_arg(NEXT, deadline);
    match op.wait.get() {
        Wait::Channel => file_end(s, id, op),
        _ => file(s, id, op, deadline),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(next: u64, period: u64, left: u64) -> Op {
        let op = Op::default();
        [next, period, left].into_iter().enumerate().for_each(|(index, word)| op.set_arg(index, word));
        op
    }

    #[test]
    fn expiries_are_counted_from_the_first_one() {
        let op = interval(100, 10, ENDLESS);
        count(&op, 99);
        assert_eq!((op.arg(NEXT), op.arg(UNTOLD)), (100, 0));
        count(&op, 100);
        assert_eq!((op.arg(NEXT), op.arg(UNTOLD)), (110, 1));
        count(&op, 137);
        assert_eq!((op.arg(NEXT), op.arg(UNTOLD), op.arg(LEFT)), (140, 4, ENDLESS));
    }

    #[test]
    fn an_interval_expires_as_often_as_was_asked() {
        let op = interval(100, 10, 3);
        count(&op, 1000);
        assert_eq!((op.arg(UNTOLD), op.arg(LEFT)), (3, 0));
        count(&op, 2000);
        assert_eq!(op.arg(UNTOLD), 3);
    }

    #[test]
    fn numbers_at_the_edge_do_not_wrap() {
        let op = interval(u64::MAX - 1, u64::MAX, ENDLESS);
        count(&op, u64::MAX);
        assert_eq!((op.arg(NEXT), op.arg(UNTOLD)), (u64::MAX, 1));
        let op = interval(0, 1, ENDLESS);
        count(&op, u64::MAX);
        assert_eq!((op.arg(LEFT), wake_up(&op, u64::MAX)), (ENDLESS, u64::MAX));
    }

    #[test]
    fn it_is_looked_at_no_oftener_than_every_gap_and_in_time_for_its_end() {
        assert_eq!(wake_up(&interval(1_000_000, 500_000, ENDLESS), 900_000), 1_000_000);
        assert_eq!(wake_up(&interval(1_000_000, 30_000, ENDLESS), 999_000), 1_099_000);
        assert_eq!(wake_up(&interval(1_000_000, 30_000, 2), 999_000), 1_030_000);
        assert_eq!(wake_up(&interval(1_000_000, 30_000, 1), 999_000), 1_000_000);
    }
}
