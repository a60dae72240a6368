//! Operations that a daemon answers: the road of a request from the program to the daemon's queue.
//!
//! A forwarded operation keeps its arguments in its record; only the handle (now a file id), the pointer
//! (now a slot's address) and the caller's identity differ in what the daemon sees. One that finds no room
//! at the link keeps its record and waits in turn; it goes out through the same [`send`] later.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::inflight::{Op, Wait};
use super::state::{ByWait, State};
use super::{OpResult, Outcome};
use crate::base::NONE;
use crate::base::budget::ENTRY;
use crate::context::file::{File, Kind};
use crate::mem::user::{self, UserRange};
use crate::ring::duplex::Ring;
use crate::scheme::link::Link;
use ring_abi::args::CURSOR;
use ring_abi::opcode::Payload;
use ring_abi::ring::PushError;
use ring_abi::{Errno, Opcode, enter};

/// Starts a forwarded operation on a handle. Its five arguments come as the program wrote them.
#[inline(always)]
pub fn start(cx: &Cx<'_>, opcode: Opcode, args: [u64; 5]) -> OpResult {
    let [fd, _, _, offset, _] = args;
    let (file_id, file) = cx.file(fd)?;
    if file.kind.get() != Kind::Daemon {
        return super::kernel_scheme::start(*cx, opcode, file_id, file, args);
    }
    let id = start_on(cx, opcode, file_id, file, args)?;
    let op = cx.s.ops.at(id);
    let cursor = matches!(opcode, Opcode::Read | Opcode::Write) && offset == CURSOR && file.positioned.get();
    if cursor && !super::cursor::take_turn(cx.s, id, op, file) {
        return Ok(Outcome::Parked);
    }
    submit(cx.s, cx.ring, id, op).map(|()| Outcome::Parked)
}

/// Checks a forwarded operation and takes its record.
#[inline(always)]
pub fn start_on(
    cx: &Cx<'_>,
    opcode: Opcode,
    file_id: u32,
    file: &File,
    args: [u64; 5],
) -> Result<u32, Errno> {
    let [_, buffer, length, _, _] = args;
    if opcode.payload() != Payload::None {
        UserRange::new(buffer, length)?;
    }
    if !cx.s.links.at(file.object.get()).lives() {
        return Err(Errno::NODEV);
    }
    let reserve = if makes_file(opcode) { cx.s.files.take(&cx.s.memory)? } else { NONE };
    let id = match cx.start_op(opcode) {
        Ok(id) => id,
        Err(error) => {
            if reserve != NONE {
                cx.s.files.give(reserve);
            }
            return Err(error);
        }
    };
    let op = cx.s.ops.at(id);
    op.file.set(file_id);
    file.hold();
    op.object.set(file.object.get());
    let [_, buffer, length, offset, more] = args;
    let [a, b, c, d, e] = &op.args;
    // A path's capacity is the kernel's to know: it stays beside the reserve, and the daemon sees a zero.
    let (kept, more) = if opcode == Opcode::OpenAt { (capacity(more), 0) } else { (0, more) };
    a.set(u64::from(reserve) | kept);
    b.set(buffer);
    c.set(length);
    d.set(offset);
    e.set(more);
    Ok(id)
}

/// Whether success of an operation makes a file, whose record is then reserved in its first argument.
#[inline(always)]
pub fn makes_file(opcode: Opcode) -> bool {
    matches!(opcode, Opcode::OpenAt | Opcode::Dup)
}

/// Where the first argument keeps, beside the reserve, what [`skip`] and [`capacity`] say.
const SKIPPED: u32 = 32;
const CAPACITY: u32 = 40;

/// A path's capacity, as the first argument keeps it. No link's target is longer than a slot.
const fn capacity(bytes: u64) -> u64 {
    (if bytes > 0xff_ffff { 0xff_ffff } else { bytes }) << CAPACITY
}

/// Notes that so many bytes of a path lie before what the daemon sees: its scheme's name, at most 41.
pub fn skip(op: &Op, bytes: u64) {
    op.set_arg(0, op.arg(0) | (bytes & 0xff) << SKIPPED);
}

/// Where a program's path begins, and how many bytes of it may be overwritten.
pub fn path_buffer(op: &Op) -> (u64, u64) {
    let kept = op.arg(0);
    (op.arg(1).wrapping_sub(kept >> SKIPPED & 0xff), kept >> CAPACITY)
}

/// Sends an operation to its link, or parks it for room. An error means that the record is gone again and
/// the submission completes with it.
#[inline(always)]
pub fn submit(s: &State, ring: &Ring, id: u32, op: &Op) -> Result<(), Errno> {
    let link = s.links.at(op.object.get());
    if !link.has_slot() || !link.waiting.is_empty() {
        wait_for_room(s, id, op, link);
        return Ok(());
    }
    match send(s, ring, id, op, link) {
        Ok(true) => Ok(()),
        Ok(false) => {
            wait_for_room(s, id, op, link);
            Ok(())
        }
        Err(error) => {
            abandon(s, ring, id);
            Err(error)
        }
    }
}

#[cold]
fn wait_for_room(s: &State, id: u32, op: &Op, link: &Link) {
    op.wait.set(Wait::Room);
    link.waiting.push_back(&ByWait(&s.ops), id);
}

/// Frees the record of an operation whose submission fails after it was taken.
#[cold]
fn abandon(s: &State, ring: &Ring, id: u32) {
    ring.ops.remove(&super::state::ByRing(&s.ops), id);
    super::cursor::release(s, id);
    s.drop_op(id);
}

/// Puts a request into the daemon's queue. `false`: the queue has no room just now.
#[inline(always)]
pub fn send(s: &State, ring: &Ring, id: u32, op: &Op, link: &Link) -> Result<bool, Errno> {
    let daemon = s.rings.at(link.ring.get());
    let memory = daemon.memory.get();
    let Some(requests) = memory.requests() else { return Err(Errno::NODEV) };
    match daemon.rq.claim(&requests) {
        Ok(()) => {}
        Err(PushError::Full) => return Ok(false),
        Err(PushError::Corrupt) => {
            s.condemn(daemon.owner.get());
            return Ok(false);
        }
    }
    let tag = link.ask(&s.slots, id);
    let opcode = op.opcode.get();
    let (buffer, length) = match payload(s, ring, op, link, tag, opcode) {
        Ok(pair) => pair,
        Err(error) => {
            link.answered(&s.slots, tag);
            daemon.rq.unclaim();
            return Err(error);
        }
    };
    op.wait.set(Wait::Reply);
    op.slot_tag.set(tag);

    let file = s.files.at(op.file.get());
    let owner = s.contexts.at(ring.owner.get());
    let head = u64::from(opcode.raw()) | u64::from(tag) << 32;
    let words = [
        head,
        file.id.get(),
        buffer,
        length,
        op.arg(3),
        op.arg(4),
        owner.owner.get(),
        u64::from(owner.pid.get()),
    ];
    daemon.rq.fill(&requests, words);
    daemon.rq.publish(&requests);
    if daemon.waits_for(enter::REQUESTS) {
        s.wake(daemon.owner.get());
    }
    Ok(true)
}

/// What the daemon sees as second and third argument; copies the bytes that go to it into the slot.
#[inline(always)]
fn payload(
    s: &State,
    ring: &Ring,
    op: &Op,
    link: &Link,
    tag: u32,
    opcode: Opcode,
) -> Result<(u64, u64), Errno> {
    let way = opcode.payload();
    if way == Payload::None {
        return Ok((op.arg(1), op.arg(2)));
    }
    let offset = link.offset(tag);
    let length = op.arg(2).min(link.slot_bytes());
    if matches!(way, Payload::In | Payload::InOut) {
        copy_in(s, ring, op, link.arena.get().add(offset), length)?;
    }
    Ok((link.arena_address.get().wrapping_add(offset as u64), length))
}

#[inline(never)]
fn copy_in(s: &State, ring: &Ring, op: &Op, slot: crate::arch::UserPtr, length: u64) -> Result<(), Errno> {
    let opcode = op.opcode.get();
    if opcode != Opcode::Write && length < op.arg(2) {
        return Err(Errno::NAMETOOLONG);
    }
    let space = s.memory.space(ring.space.get());
    let length = length as usize;
    user::copy_in(&s.memory, space, &ring.cache, slot, op.arg(1), length)?;
    if is_path(opcode) {
        s.memory.budget.charge(length as u32);
    }
    if is_path(opcode) && !s.memory.machine.is_utf8(slot, length) {
        return Err(Errno::ILSEQ);
    }
    Ok(())
}

/// Whether an operation's buffer is a path, which must be UTF-8 before a daemon sees it.
fn is_path(opcode: Opcode) -> bool {
    matches!(opcode, Opcode::OpenAt | Opcode::UnlinkAt | Opcode::Frename | Opcode::Flink)
}

/// Sends what waited for room, as far as there is room now. Called when the daemon took requests or
/// answered some.
#[inline(always)]
pub fn refill(s: &State, link_id: u32) {
    let link = s.links.at(link_id);
    if link.waiting.is_empty() && link.cancels.is_empty() && link.closings.is_empty() {
        return;
    }
    refill_slowly(s, link_id, link);
}

#[cold]
fn refill_slowly(s: &State, link_id: u32, link: &Link) {
    if !link.lives() {
        // A dead link's slice fails what waits (`death::slice_links`), unless that is over: then it is up to us.
        return;
    }
    super::refill::forget(s, link_id, link);
    super::tell::tell(s, link);
    while link.has_slot() && link.lives() {
        let id = link.waiting.first();
        if id == NONE {
            return;
        }
        if !s.memory.budget.spend(ENTRY) {
            return super::refill::later(s, link_id);
        }
        let op = s.ops.at(id);
        let ring = s.rings.at(op.ring.get());
        link.waiting.remove(&ByWait(&s.ops), id);
        match send(s, ring, id, op, link) {
            Ok(true) => {}
            Ok(false) => {
                link.waiting.push_front(&ByWait(&s.ops), id);
                return;
            }
            Err(error) => {
                super::cursor::release(s, id);
                s.end_op(id, Err(error), 0);
            }
        }
    }
}
