//! Operations that promise a flush: what they took away is out of reach for every processor when they complete.
//!
//! Their change is done and cannot be undone; if other processors run that space, the record waits, first come first served,
//! until those have entered the kernel, which they are poked to do. A cancel ends the wait, not the change.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::inflight::Wait;
use super::state::{ByWait, State};
use super::{OpResult, Outcome};
use crate::base::NONE;
use crate::base::budget::{Budget, ENTRY};
use crate::mem::space::Space;
use ring_abi::{Errno, Opcode};
use rmm::Epoch;

/// A change of a space is done at once: completes now, or when every processor that runs the space has forgotten what was.
/// The operation's record was ensured.
pub fn finish(cx: &Cx<'_>, opcode: Opcode, space: &Space, result: Result<u64, Errno>) -> OpResult {
    let s = cx.s;
    if !s.memory.has_no_dying_object() {
        // The last page of a file was unmapped.
        s.step.rearm();
    }
    let debtors = s.memory.debtors(space.root());
    if debtors == 0 {
        return result.map(Outcome::Done);
    }
    let value = result?;
    let Ok(id) = cx.start_op(opcode) else { crate::bug!("an operation's record was ensured") };
    park(s, id, debtors, value);
    Ok(Outcome::Parked)
}

/// The same for a change that went on as work, and whose record is filed nowhere but in its ring.
pub fn finish_work(s: &State, id: u32, space: &Space, result: Result<u64, Errno>) {
    let debtors = s.memory.debtors(space.root());
    match result {
        Ok(value) if debtors != 0 && !s.ops.at(id).is_detached() => park(s, id, debtors, value),
        result => s.end_op(id, result, 0),
    }
}

fn park(s: &State, id: u32, debtors: u16, value: u64) {
    let op = s.ops.at(id);
    op.wait.set(Wait::Flush);
    op.set_arg(0, value);
    op.set_arg(1, s.memory.frames.epoch().to_word());
    op.set_arg(2, u64::from(debtors));
    s.several.flushes.push_back(&ByWait(&s.ops), id);
    s.memory.hurry(debtors);
}

/// Whether the first of those that wait can complete, or frames can be given back.
pub fn is_idle(s: &State) -> bool {
    !s.memory.has_forgotten_frames() && first(s) == NONE
}

/// The first of those that wait, if it can complete; or `NONE`.
fn first(s: &State) -> u32 {
    let id = s.several.flushes.first();
    if id == NONE {
        return NONE;
    }
    let op = s.ops.at(id);
    if s.memory.have_paid(op.arg(2) as u16, Epoch::from_word(op.arg(1))) { id } else { NONE }
}

/// Completes some, and gives back some frames. `false`: there is nothing to do.
pub fn slice(s: &State, budget: &Budget) -> bool {
    let mut done = s.memory.slice_forgotten(budget);
    loop {
        let id = first(s);
        if id == NONE || !budget.spend(ENTRY) {
            return done;
        }
        done = true;
        s.several.flushes.remove(&ByWait(&s.ops), id);
        s.end_op(id, Ok(s.ops.at(id).arg(0)), 0);
    }
}
