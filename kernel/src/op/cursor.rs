//! The cursor of a file description: operations that use it take turns, in the order in which they started.
//!
//! The kernel keeps the cursor of files whose daemon said `POSITIONED`; other daemons see the offset
//! [`CURSOR`] and do as they like.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::inflight::{HAS_TURN, Op, Wait};
use super::state::{ByWait, State};
use super::{OpResult, Outcome, refill};
use crate::base::NONE;
use crate::context::file::File;
use ring_abi::args::{CURSOR, Seek};
use ring_abi::{Errno, Words};

const FROM_START: u32 = 0;
const FROM_CURSOR: u32 = 1;

/// Gives an operation its turn, with the cursor as its offset. `false`: another has it, and this one waits.
#[cold]
#[inline(never)]
pub fn take_turn(s: &State, id: u32, op: &Op, file: &File) -> bool {
    if file.cursor_busy.get() || !file.turns.is_empty() {
        op.wait.set(Wait::Turn);
        file.turns.push_back(&ByWait(&s.ops), id);
        return false;
    }
    begin(op, file);
    true
}

fn begin(op: &Op, file: &File) {
    file.cursor_busy.set(true);
    op.set_arg(3, file.cursor.get());
    op.mark(HAS_TURN);
}

/// Moves the cursor by what an operation with a turn did, and passes the turn on.
pub fn finish(s: &State, op: &Op, answer: Result<u64, Errno>) -> Result<u64, Errno> {
    if op.unmark(HAS_TURN) {
        let file_id = op.file.get();
        let file = s.files.at(file_id);
        if let Ok(count) = answer {
            file.cursor.set(op.arg(3).wrapping_add(count));
        }
        pass_on(s, file);
    }
    answer
}

/// An operation ends without an answer: its turn, if it has it, passes on.
pub fn release(s: &State, id: u32) {
    let op = s.ops.at(id);
    if op.unmark(HAS_TURN) {
        pass_on(s, s.files.at(op.file.get()));
    }
}

/// Gives the turn to the next that waits for it.
fn pass_on(s: &State, file: &File) {
    file.cursor_busy.set(false);
    let next = file.turns.first();
    if next == NONE {
        return;
    }
    file.turns.remove(&ByWait(&s.ops), next);
    let op = s.ops.at(next);
    begin(op, file);
    // It goes out behind those that wait for room already, so a step sends no more than its budget allows.
    let link = s.links.at(op.object.get());
    op.wait.set(Wait::Room);
    link.hold_up(true);
    link.waiting.push_back(&ByWait(&s.ops), next);
    refill::later(s, op.object.get());
}

/// Moves the cursor, or tells where it is.
pub fn seek(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = Seek::decode(entry)?;
    let (_, file) = cx.file(args.fd)?;
    if !file.positioned.get() {
        return Err(Errno::SPIPE);
    }
    let cursor = match args.whence {
        FROM_START => Some(args.offset),
        FROM_CURSOR => file.cursor.get().checked_add_signed(args.offset as i64),
        _ => None,
    };
    let cursor =
        cursor.filter(|&cursor| cursor <= i64::MAX as u64 && cursor != CURSOR).ok_or(Errno::INVAL)?;

    file.cursor.set(cursor);
    Ok(Outcome::Done(cursor))
}
