//! Replies: matching what a daemon says to what was asked, and finishing that.
//!
//! Nothing a daemon says is believed without a look: a tag that is not out finds nothing, a count above
//! what was asked is an error of the daemon (`EIO`), and bytes go only where the program asked for them.
#![forbid(unsafe_code)]

use super::inflight::{Notice, Op};
use super::state::State;
use super::stats::count;
use crate::base::NONE;
use crate::base::trace::What;
use crate::mem::user;
use crate::scheme::link::Link;
use ring_abi::opcode::Payload;
use ring_abi::{Cqe, CqeKind, Errno, Opcode};

/// Takes one reply of the daemon behind `link`.
#[inline(always)]
pub fn take(s: &State, link_id: u32, link: &Link, words: [u64; 2]) {
    let [head, _] = words;
    let tag = (head >> 32) as u32;
    if head as u8 & 7 == CqeKind::SendFevent as u8 {
        return super::poll::on_event(s, link_id, Cqe::from_words(words));
    }
    let Some(id) = link.asked(&s.slots, tag) else {
        return stale(s, link_id, tag);
    };
    let op = s.ops.at(id);
    if op.is_detached() {
        return super::cancel::late_reply(s, link, id, Cqe::from_words(words));
    }
    let (result, extra) = finish(s, link, op, tag, words);
    link.answered(&s.slots, tag);
    if op.notice.get() != Notice::None {
        super::cancel::forget_notice(s, link, id);
    }
    if op.opcode.get() == Opcode::Fevent {
        return events(s, id, result);
    }
    s.end_op(id, result, extra);
}

/// The daemon said which events a file has now.
#[cold]
fn events(s: &State, id: u32, result: Result<u64, Errno>) {
    let answer = match result {
        Ok(now) => super::poll::answered(s, id, now),
        Err(error) => Some(Err(error)),
    };
    if let Some(answer) = answer {
        s.end_op(id, answer, 0);
    }
}

#[cold]
fn stale(s: &State, link: u32, tag: u32) {
    count(&s.stats.stale_tags);
    s.note(What::StaleTag, [u64::from(link), u64::from(tag)]);
}

/// What an operation completes with, given the daemon's answer.
#[inline(always)]
fn finish(s: &State, link: &Link, op: &Op, tag: u32, words: [u64; 2]) -> (Result<u64, Errno>, u32) {
    let [head, result] = words;
    if op.opcode.get() == Opcode::Read && head as u8 == 0 && !op.has_turn.get() {
        return (ring_abi::errno::demux(result).and_then(|count| out(s, link, op, tag, count)), 0);
    }
    finish_other(s, link, op, tag, Cqe::from_words(words))
}

/// Copies `count` bytes of the slot out to the program.
#[inline(always)]
fn out(s: &State, link: &Link, op: &Op, tag: u32, count: u64) -> Result<u64, Errno> {
    if count > op.arg(2).min(link.slot_bytes()) {
        return Err(Errno::IO);
    }
    let ring = s.rings.at(op.ring.get());
    let space = s.memory.space(ring.space.get());
    let slot = link.arena.get().add(link.offset(tag));
    user::copy_out(&s.memory, space, &ring.cache, op.arg(1), slot, count as usize)?;
    Ok(count)
}

#[cold]
#[inline(never)]
fn finish_other(s: &State, link: &Link, op: &Op, tag: u32, entry: Cqe) -> (Result<u64, Errno>, u32) {
    let answer = match (op.opcode.get(), entry.result()) {
        _ if entry.flags & 7 == CqeKind::WithFd as u8 => super::pass::answer_with_handle(s, link, op, entry),
        _ if entry.flags != 0 => Err(Errno::IO),
        (Opcode::OpenAt, Err(Errno::XDEV)) => return leads_on(s, link, op, tag, entry),
        (Opcode::OpenAt | Opcode::Dup, Ok(file)) => super::open::finish(s, op, file, entry.extra()),
        // A handle comes with the kind of answer that moves one; a mere number would name any file of the client.
        (Opcode::Recvfd, Ok(_)) => Err(Errno::IO),
        (Opcode::Fstat | Opcode::Fstatvfs, Ok(_)) => {
            out(s, link, op, tag, op.arg(2).min(link.slot_bytes())).map(|_| 0)
        }
        (Opcode::Call, Ok(value)) => {
            let back = u64::from(entry.extra());
            let copied = if back == 0 { Ok(0) } else { out(s, link, op, tag, back) };
            return (copied.map(|_| value), entry.extra());
        }
        (opcode, Ok(count)) if opcode.payload() == Payload::Out => out(s, link, op, tag, count),
        (_, result) => result,
    };
    (super::cursor::finish(s, op, answer), 0)
}

/// A path that leads through a symbolic link: gives the path to go on with back to the program.
fn leads_on(s: &State, link: &Link, op: &Op, tag: u32, entry: Cqe) -> (Result<u64, Errno>, u32) {
    let length = u64::from(entry.extra());
    let (buffer, capacity) = super::forward::path_buffer(op);
    if length > capacity || length > link.slot_bytes() {
        return (Err(Errno::NAMETOOLONG), 0);
    }
    let ring = s.rings.at(op.ring.get());
    let space = s.memory.space(ring.space.get());
    let slot = link.arena.get().add(link.offset(tag));
    match user::copy_out(&s.memory, space, &ring.cache, buffer, slot, length as usize) {
        Ok(()) => (Err(Errno::XDEV), entry.extra()),
        Err(error) => (Err(error), 0),
    }
}

/// The operation behind a tag in a daemon's hands, for operations that name one.
pub fn asked(s: &State, link_id: u32, tag: u32) -> Option<u32> {
    if link_id == NONE {
        return None;
    }
    s.links.at(link_id).asked(&s.slots, tag)
}
