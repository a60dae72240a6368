//! `Timeout`: completes at a point in time; `TimeoutUpdate` and `TimeoutRemove`. And what happens when any operation's
//! deadline comes.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::inflight::{Notice, Wait};
use super::state::State;
use super::walk::{Deed, Extent, Walk, Which};
use super::{OpResult, Outcome, cancel, interval, limit};
use ring_abi::args::{Timeout, TimeoutRemove, TimeoutUpdate, timeout::ABSOLUTE};
use ring_abi::{Errno, Opcode, Words};

/// Where the record of a timeout keeps its deadline.
const DEADLINE: usize = 0;

/// A point in time as programs say it.
pub fn deadline(now: u64, nanoseconds: u64, flags: u64) -> Result<u64, Errno> {
    match flags {
        0 => Ok(now.saturating_add(nanoseconds)),
        ABSOLUTE => Ok(nanoseconds),
        _ => Err(Errno::INVAL),
    }
}

/// Waits for a point in time.
pub fn start(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let s = cx.s;
    let args = Timeout::decode(entry)?;
    let now = s.memory.machine.now();
    let deadline = deadline(now, args.nanoseconds, args.flags)?;
    if deadline <= now {
        return Ok(Outcome::Done(0));
    }
    s.timers.ensure_one(&s.memory)?;
    let id = cx.start_op(Opcode::Timeout)?;

    let op = s.ops.at(id);
    op.wait.set(Wait::Time);
    op.set_arg(DEADLINE, deadline);
    s.timers.add(s, id, deadline);
    s.step.rearm();
    Ok(Outcome::Parked)
}

/// Changes the deadline of a timer of the caller's ring.
pub fn update(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = TimeoutUpdate::decode(entry)?;
    let deadline = deadline(cx.s.memory.machine.now(), args.nanoseconds, args.flags)?;
    Walk::new(Which::Timer(args.tag), Deed::Move(deadline), Extent::First).start(cx, Opcode::TimeoutUpdate)
}

/// Takes a timer of the caller's ring away.
pub fn take_away(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = TimeoutRemove::decode(entry)?;
    Walk::new(Which::Timer(args.tag), Deed::Remove, Extent::First).start(cx, Opcode::TimeoutRemove)
}

/// Gives a timer another deadline. `EALREADY` if its last one has come.
pub fn move_to(s: &State, id: u32, deadline: u64) -> Result<(), Errno> {
    let op = s.ops.at(id);
    if op.opcode.get() == Opcode::Interval {
        return interval::move_to(s, id, deadline);
    }
    let now = s.memory.machine.now();
    if op.arg(DEADLINE) <= now {
        return Err(Errno::ALREADY);
    }
    if deadline <= now {
        s.end_op(id, Ok(0), 0);
        return Ok(());
    }
    op.set_arg(DEADLINE, deadline);
    s.timers.remove(s, id);
    s.timers.add(s, id, deadline);
    s.step.rearm();
    Ok(())
}

/// Takes a timer away. `EALREADY` if a timeout's time has come.
pub fn remove(s: &State, id: u32) -> Result<(), Errno> {
    let op = s.ops.at(id);
    if op.opcode.get() == Opcode::Timeout && op.arg(DEADLINE) <= s.memory.machine.now() {
        return Err(Errno::ALREADY);
    }
    cancel::force(s, id, Errno::CANCELED);
    Ok(())
}

/// An operation's deadline has come: for a timeout that is success; a wait times out; a cancel that was
/// asked for is forced.
pub fn expired(s: &State, id: u32) {
    let op = s.ops.at(id);
    if op.notice.get() != Notice::None {
        return cancel::force(s, id, Errno::CANCELED);
    }
    match (op.wait.get(), op.opcode.get()) {
        (_, Opcode::Interval) => interval::expired(s, id),
        (_, Opcode::RequestMmap) => super::page_in::overdue(s, id),
        (Wait::Time, Opcode::LinkTimeout) => limit::expired(s, id),
        (Wait::Time, _) => s.end_op(id, Ok(0), 0),
        _ => cancel::force(s, id, Errno::TIMEDOUT),
    }
}
