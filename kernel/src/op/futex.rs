//! Futexes: waiting for a word in memory to be woken, and waking those who wait.
//!
//! A word is named by (address space, address), or by (shared object, offset) where memory is shared; so
//! processes that share memory meet. The kernel never looks at the word again after the wait began.
#![forbid(unsafe_code)]

use super::channel::{self, Key};
use super::cx::Cx;
use super::inflight::Wait;
use super::state::State;
use super::{OpResult, Outcome};
use crate::mem::user::{self, Access};
use ring_abi::args::{FutexWait, FutexWake};
use ring_abi::{Errno, Opcode, Words};

/// What the word at an address is called.
pub fn key(cx: &Cx<'_>, address: u64) -> Key {
    let (object, offset) = cx.space().futex_key(&cx.s.memory, cx.context.space.get(), address);
    Key::Futex { object, offset }
}

/// Waits for a word that has an expected value.
pub fn wait(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let s = cx.s;
    let args = FutexWait::decode(entry)?;
    let place = user::word_place(&s.memory, cx.space(), args.address, Access::Read)?;
    if s.memory.machine.load_u32(place) != args.expected {
        return Err(Errno::AGAIN);
    }
    let timed = is_timed(s, args.deadline)?;
    let channel = channel::open(s, key(cx, args.address))?;
    let id = match cx.start_op(Opcode::FutexWait) {
        Ok(id) => id,
        Err(error) => {
            channel::discard(s, channel);
            return Err(error);
        }
    };

    channel::join(s, channel, id, Wait::Channel);
    if timed {
        s.timers.add(s, id, args.deadline);
        s.step.rearm();
    }
    Ok(Outcome::Parked)
}

/// Whether a wait has a deadline, for which there is memory then. `ETIMEDOUT` if it has come.
pub fn is_timed(s: &State, deadline: u64) -> Result<bool, Errno> {
    if deadline == ring_abi::enter::NO_DEADLINE {
        return Ok(false);
    }
    if deadline <= s.memory.machine.now() {
        return Err(Errno::TIMEDOUT);
    }
    s.timers.ensure_one(&s.memory)?;
    Ok(true)
}

/// Wakes those who wait for a word, first come first served.
pub fn wake(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = FutexWake::decode(entry)?;
    user::word_place(&cx.s.memory, cx.space(), args.address, Access::Read)?;
    let woken = match channel::find(cx.s, key(cx, args.address)) {
        Some(channel) => channel::wake(cx.s, channel, args.count),
        None => 0,
    };
    Ok(Outcome::Done(woken))
}
