//! `Timeout`: completes at a point in time. And what happens when any operation's deadline comes.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::inflight::{Notice, Wait};
use super::state::State;
use super::{OpResult, Outcome, cancel};
use ring_abi::args::{Timeout, timeout::ABSOLUTE};
use ring_abi::{Errno, Opcode, Words};

/// Waits for a point in time.
pub fn start(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let s = cx.s;
    let args = Timeout::decode(entry)?;
    if args.flags & !ABSOLUTE != 0 {
        return Err(Errno::INVAL);
    }
    let now = s.memory.machine.now();
    let deadline =
        if args.flags & ABSOLUTE != 0 { args.nanoseconds } else { now.saturating_add(args.nanoseconds) };
    if deadline <= now {
        return Ok(Outcome::Done(0));
    }
    s.timers.ensure_one(&s.memory)?;
    let id = cx.start_op(Opcode::Timeout)?;

    s.ops.at(id).wait.set(Wait::Time);
    s.timers.add(s, id, deadline);
    s.step.rearm();
    Ok(Outcome::Parked)
}

/// An operation's deadline has come: for a timeout that is success; a wait times out; a cancel that was
/// asked for is forced.
pub fn expired(s: &State, id: u32) {
    let op = s.ops.at(id);
    if op.notice.get() != Notice::None {
        return cancel::force(s, id, Errno::CANCELED);
    }
    match op.wait.get() {
        Wait::Time => s.end_op(id, Ok(0), 0),
        _ => cancel::force(s, id, Errno::TIMEDOUT),
    }
}
