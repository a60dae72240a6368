//! `FutexWaitMany`: waiting for one of several words.
//!
//! An operation can be in one list only. So such a wait has a record more for each word, an *arm*, which waits on the word's
//! channel in its place. Arms are records of operations that no ring has.
//!
//! - The operation keeps the first of its arms, each arm the next one and its operation.
//! - Arms and operation are freed together: whatever ends the wait takes all arms from their channels.
//! - An operation has at most one arm on a channel.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::futex;
use super::inflight::{Notice, Op, Shape, Wait};
use super::state::State;
use super::{OpResult, Outcome};
use super::{barrier, channel};
use crate::base::NONE;
use crate::base::budget::ENTRY;
use crate::mem::user::{self, Access, UserRange};
use ring_abi::args::FutexWaitMany;
use ring_abi::futex::{MOST, WORD_BYTES, Word};
use ring_abi::{Errno, Opcode, Words};

/// What one arm is reckoned to cost.
const ARM: u32 = ENTRY / 2;

/// Where the operation keeps the first of its arms.
const FIRST: usize = 0;
/// Where an arm keeps its operation, and the index of its word.
const PARENT: usize = 0;
const INDEX: usize = 1;

/// Waits for one of several words, all of which have expected values.
pub fn wait(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let s = cx.s;
    let args = FutexWaitMany::decode(entry)?;
    let count = args.count as usize;
    if count == 0 || count > MOST {
        return Err(Errno::INVAL);
    }
    UserRange::new(args.words, count.wrapping_mul(WORD_BYTES) as u64)?;
    let timed = futex::is_timed(s, args.deadline)?;
    let id = cx.start_op(Opcode::FutexWaitMany)?;
    let op = s.ops.at(id);
    op.wait.set(Wait::Several);
    op.set_arg(FIRST, u64::from(NONE));
    for index in 0..count {
        if let Err(error) = add_arm(cx, id, op, args.words, index) {
            release(s, id);
            barrier::unfile(s, cx.ring, op);
            s.drop_op(id);
            return Err(error);
        }
    }

    if timed {
        s.timers.add(s, id, args.deadline);
        s.step.rearm();
    }
    Ok(Outcome::Parked)
}

/// Lets an operation wait for one word more.
fn add_arm(cx: &Cx<'_>, id: u32, op: &Op, words: u64, index: usize) -> Result<(), Errno> {
    let s = cx.s;
    cx.budget.charge(ARM);
    let mut bytes = [0; WORD_BYTES];
    let at = words.wrapping_add(index.wrapping_mul(WORD_BYTES) as u64);
    user::read_bytes(&s.memory, cx.space(), at, &mut bytes)?;
    let Word { address, expected } = Word::from_bytes(bytes)?;
    let place = user::word_place(&s.memory, cx.space(), address, Access::Read)?;
    if s.memory.machine.load_u32(place) != expected {
        return Err(Errno::AGAIN);
    }
    let channel = channel::open(s, futex::key(cx, address))?;
    if arms(s, op).any(|arm| s.ops.at(arm).object.get() == channel) {
        return Err(Errno::INVAL);
    }
    let arm_id = match s.ops.take(&s.memory) {
        Ok(arm) => arm,
        Err(error) => {
            channel::discard(s, channel);
            return Err(error);
        }
    };

    let arm = s.ops.at(arm_id);
    let opcode = Opcode::FutexWaitMany;
    arm.set_shape(Shape { wait: Wait::Free, opcode, notice: Notice::None, marks: 0 });
    arm.ring.set(NONE);
    arm.file.set(NONE);
    arm.set_arg(PARENT, u64::from(id));
    arm.set_arg(INDEX, index as u64);
    arm.of_ring.set(op.arg(FIRST) as u32, NONE);
    op.set_arg(FIRST, u64::from(arm_id));
    channel::join(s, channel, arm_id, Wait::Channel);
    Ok(())
}

/// The arms of an operation.
pub fn arms<'a>(s: &'a State, op: &Op) -> impl Iterator<Item = u32> + use<'a> {
    let first = op.arg(FIRST) as u32;
    core::iter::successors((first != NONE).then_some(first), |arm| {
        let next = s.ops.at(*arm).of_ring.next();
        (next != NONE).then_some(next)
    })
}

/// The operation that an arm is for, if it is one.
pub fn parent(op: &Op) -> Option<u32> {
    (op.opcode.get() == Opcode::FutexWaitMany && op.wait.get() == Wait::Channel)
        .then_some(op.arg(PARENT) as u32)
}

/// An arm was woken, and has left its channel: its operation completes.
#[cold]
#[inline(never)]
pub fn woken(s: &State, arm_id: u32) {
    let arm = s.ops.at(arm_id);
    let (id, index) = (arm.arg(PARENT) as u32, arm.arg(INDEX));
    release(s, id);
    s.end_op(id, Ok(index), 0);
}

/// Takes an operation's arms from their channels and frees them. The wait is over.
#[cold]
#[inline(never)]
pub fn release(s: &State, id: u32) {
    let op = s.ops.at(id);
    let mut at = op.arg(FIRST) as u32;
    op.set_arg(FIRST, u64::from(NONE));
    while at != NONE {
        let arm = s.ops.at(at);
        let next = arm.of_ring.next();
        // The one that was woken waits on none any more.
        if arm.object.get() != NONE {
            channel::leave(s, at);
        }
        s.drop_op(at);
        s.memory.budget.charge(ARM);
        at = next;
    }
}
