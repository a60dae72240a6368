//! Operations that a daemon answers: the road of a request from the program to the daemon's queue.
//!
//! A forwarded operation keeps its arguments in its record (a plain read those that its answer needs; see
//! [`super::read`]); only the handle (now a file id), the pointer
//! (now a slot's address) and the caller's identity differ in what the daemon sees. One that finds no room
//! at the link keeps its record and waits in turn; it goes out through the same [`send`] later.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::incoming;
use super::inflight::{GUARD, Op, PLAIN_READ, Shape, Wait};
use super::state::{ByWait, State};
use super::{OpResult, Outcome, mapping, page_in, provided, registered};
use crate::base::NONE;
use crate::base::budget::ENTRY;
use crate::context::context::Context;
use crate::context::file::{File, Kind};
use crate::mem::object::ASK;
use crate::ring::duplex::Ring;
use crate::scheme::link::Link;
use core::cell::Cell;
use ring_abi::args::CURSOR;
use ring_abi::map;
use ring_abi::opcode::Payload;
use ring_abi::ring::{self, PushError};
use ring_abi::{Errno, Opcode, enter};

/// Starts a forwarded operation on a handle. Its five arguments come as the program wrote them.
pub fn start(cx: &Cx<'_>, opcode: Opcode, args: [u64; 5]) -> OpResult {
    let [fd, ..] = args;
    let (file_id, file) = cx.file(fd)?;
    start_file(cx, opcode, file_id, file, args)
}

/// The same, with the file in hand; the first argument is of no use any more.
pub fn start_file(cx: &Cx<'_>, opcode: Opcode, file_id: u32, file: &File, args: [u64; 5]) -> OpResult {
    if file.kind.get() != Kind::Daemon {
        return super::kernel_scheme::start(*cx, opcode, file_id, file, args);
    }
    check_buffer(cx, opcode, args)?;
    start_marked(cx, opcode, file_id, file, args)
}

/// The same for a daemon's file, with a buffer that was checked, or that is a mark (see [`super::provided`]).
pub fn start_marked(cx: &Cx<'_>, opcode: Opcode, file_id: u32, file: &File, args: [u64; 5]) -> OpResult {
    let [_, _, _, offset, _] = args;
    let link = cx.s.links.at(file.object.get());
    let (id, op) = take_record(cx, opcode, file_id, file, link, args)?;
    let mut request = Request::new(opcode, args);
    if matches!(opcode, Opcode::Read | Opcode::Write) && offset == CURSOR && file.positioned.get() {
        if !super::cursor::take_turn(cx.s, id, op, file) {
            return Ok(Outcome::Parked);
        }
        request.offset = op.arg(3);
    }
    let asked = Asked { ring: cx.ring, context: cx.context, id, op, file };
    submit_as(cx.s, &asked, link, request).map(|()| Outcome::Parked)
}

/// Checks a forwarded operation and takes its record.
pub fn start_on(
    cx: &Cx<'_>,
    opcode: Opcode,
    file_id: u32,
    file: &File,
    args: [u64; 5],
) -> Result<u32, Errno> {
    let link = cx.s.links.at(file.object.get());
    check_buffer(cx, opcode, args)?;
    Ok(take_record(cx, opcode, file_id, file, link, args)?.0)
}

/// Checks the buffer of an operation on a daemon's file, if it has one.
fn check_buffer(cx: &Cx<'_>, opcode: Opcode, args: [u64; 5]) -> Result<(), Errno> {
    let [_, buffer, length, ..] = args;
    if opcode.payload() == Payload::None {
        return Ok(());
    }
    registered::check(cx.s, cx.ring, opcode, buffer, length)
}

fn take_record<'a>(
    cx: &Cx<'a>,
    opcode: Opcode,
    file_id: u32,
    file: &File,
    link: &Link,
    args: [u64; 5],
) -> Result<(u32, &'a Op), Errno> {
    let [_, buffer, length, offset, more] = args;
    if !link.lives() {
        return Err(Errno::NODEV);
    }
    let reserve = if makes_file(opcode) { cx.s.files.take(&cx.s.memory)? } else { NONE };
    let (id, op) = match cx.start(opcode) {
        Ok(started) => started,
        Err(error) => {
            if reserve != NONE {
                cx.s.files.give(reserve);
            }
            return Err(error);
        }
    };
    op.file.set(file_id);
    file.hold(1);
    op.object.set(file.object.get());
    let [a, b, c, d, e] = &op.args;
    // No read gives more than a slot holds, so that what comes back has one bound.
    let length = if opcode == Opcode::Read { length.min(link.slot_bytes()) } else { length };
    // One that chooses its buffer has no room for an answer until it has come; the mark says what was asked for.
    let length = if provided::takes(opcode) && provided::is_mark(buffer) { 0 } else { length };
    // A path's capacity is the kernel's to know: it stays beside the reserve, and the daemon sees a zero.
    let (kept, more) = if opcode == Opcode::OpenAt { (capacity(more), 0) } else { (0, more) };
    a.set(u64::from(reserve) | kept);
    b.set(buffer);
    c.set(length);
    d.set(offset);
    e.set(more);
    Ok((id, op))
}

/// Whether success of an operation makes a file, whose record is then reserved in its first argument.
#[inline(always)]
pub const fn makes_file(opcode: Opcode) -> bool {
    matches!(opcode, Opcode::OpenAt | Opcode::Dup)
}

/// Where the first argument keeps, beside the reserve, what [`skip`] and [`capacity`] say.
const SKIPPED: u32 = 32;
const CAPACITY: u32 = 40;

/// A path's capacity, as the first argument keeps it. No link's target is longer than a slot.
const fn capacity(bytes: u64) -> u64 {
    (if bytes > 0xff_ffff { 0xff_ffff } else { bytes }) << CAPACITY
}

/// What the first argument of an open keeps: the record of a file that its success makes, and what is said of its path.
#[inline(always)]
pub const fn kept(reserve: u32, path_capacity: u64, skipped: u64) -> u64 {
    reserve as u64 | capacity(path_capacity) | (skipped & 0xff) << SKIPPED
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

/// A forwarded operation and what belongs to it.
struct Asked<'a> {
    ring: &'a Ring,
    context: &'a Context,
    id: u32,
    op: &'a Op,
    file: &'a File,
}

/// What a daemon is asked, with the asker's addresses.
#[derive(Clone, Copy)]
struct Request {
    opcode: Opcode,
    buffer: u64,
    length: u64,
    offset: u64,
    more: u64,
}

impl Request {
    #[inline(always)]
    fn new(opcode: Opcode, args: [u64; 5]) -> Request {
        let [_, buffer, length, offset, more] = args;
        Request { opcode, buffer, length, offset, more }
    }

    /// What an operation's record says.
    fn of(op: &Op) -> Request {
        let request = Request::new(op.opcode.get(), op.args.each_ref().map(Cell::get));
        if op.opcode.get() == Opcode::MapFile {
            let (opcode, [buffer, length, offset]) = mapping::question(op);
            return Request { opcode, buffer, length, offset, more: 0 };
        }
        if provided::is_one(op) {
            return Request { length: provided::limit(request.buffer), ..request };
        }
        request
    }
}

/// Sends an operation to its link, or parks it for room. An error means that the record is gone again and
/// the submission completes with it.
pub fn submit(s: &State, ring: &Ring, id: u32, op: &Op) -> Result<(), Errno> {
    submit_as(s, &asked(s, ring, id, op), s.links.at(op.object.get()), Request::of(op))
}

fn asked<'a>(s: &'a State, ring: &'a Ring, id: u32, op: &'a Op) -> Asked<'a> {
    Asked { ring, context: s.contexts.at(ring.owner.get()), id, op, file: s.files.at(op.file.get()) }
}

fn submit_as(s: &State, asked: &Asked<'_>, link: &Link, request: Request) -> Result<(), Errno> {
    if !link.has_slot() || !link.waiting.is_empty() {
        wait_for_room(s, asked.id, asked.op, link);
        return Ok(());
    }
    match send(s, asked, link, request) {
        Ok(true) => Ok(()),
        Ok(false) => {
            wait_for_room(s, asked.id, asked.op, link);
            Ok(())
        }
        Err(ASK) if s.park_op(page_in::Who::Send, asked.ring, asked.id).is_ok() => Ok(()),
        Err(error) => {
            abandon(s, asked.id);
            Err(if error == ASK { Errno::IO } else { error })
        }
    }
}

#[cold]
#[inline(never)]
fn wait_for_room(s: &State, id: u32, op: &Op, link: &Link) {
    op.wait.set(Wait::Room);
    link.hold_up(true);
    link.waiting.push_back(&ByWait(&s.ops), id);
}

/// Frees the record of an operation whose submission fails after it was taken.
#[cold]
#[inline(never)]
pub fn abandon(s: &State, id: u32) {
    let op = s.ops.at(id);
    super::barrier::unfile(s, s.rings.at(op.ring.get()), op);
    super::cursor::release(s, id);
    s.drop_op(id);
}

/// Puts a request into the daemon's queue; there is a slot for it. `false`: the queue has no room just now.
fn send(s: &State, asked: &Asked<'_>, link: &Link, request: Request) -> Result<bool, Errno> {
    let daemon = s.rings.at(link.ring.get());
    if !has_room(s, daemon) {
        return Ok(false);
    }
    let op = asked.op;
    let (tag, spare) = link.bind(&s.slots, s, asked.id);
    if let Some(spare) = spare {
        s.took_idle(1);
        s.ops.give(spare);
    }
    let (buffer, length) = match payload(s, asked, link, tag, request) {
        Ok(pair) => pair,
        Err(error) => {
            link.unbind(&s.slots, tag);
            return Err(error);
        }
    };
    op.wait.set(Wait::Reply);
    // A guard may stop being one while the daemon has its request.
    let shape = op.shape();
    if (Shape { marks: shape.marks & !GUARD, ..shape }) == PLAIN_READ {
        op.set_arg(3, link.offset(tag) as u64);
    }

    let file = asked.file.id.get();
    let head = head(request.opcode, tag) | u64::from(incoming::flags(op).bits()) << 8;
    let words = [head, file, buffer, length, request.offset, request.more];
    let requests = daemon.memory.get();
    write(who(asked.context), requests.service_requests().slot(daemon.rq.position()), words);
    publish(daemon, 1);
    s.hand_any(s.rouse(daemon, enter::REQUESTS));
    Ok(true)
}

/// First word of a request.
#[inline(always)]
pub fn head(opcode: Opcode, tag: u32) -> u64 {
    u64::from(opcode.raw()) | u64::from(tag) << 32
}

/// Writes a request into a free slot of a daemon's queue: its first five or six words, and who asks.
#[inline(always)]
pub fn write<const WORDS: usize>(who: [u64; 2], place: &map::Slot<8>, words: [u64; WORDS]) {
    ring::store_at(place, 0, words);
    ring::store_at(place, 6, who);
}

/// Who asks, as a request says it: owner and process.
#[inline(always)]
pub fn who(asker: &Context) -> [u64; 2] {
    [asker.owner.get(), u64::from(asker.pid.get())]
}

/// Shows a daemon so many requests, for which it is to be [roused](State::rouse).
#[inline(always)]
pub fn publish(daemon: &Ring, count: u32) {
    let memory = daemon.memory.get();
    let position = daemon.rq.advance(count);
    daemon.rq.publish_to(&memory.service_requests(), position);
}

/// Sends the kernel's own question for a page, or lets it wait for room.
pub fn ask(s: &State, link: &Link, id: u32, op: &Op) {
    if !link.has_slot() || !link.waiting.is_empty() || !send_question(s, link, id, op) {
        wait_for_room(s, id, op, link);
    }
}

/// The same, where there is a slot. `false`: the queue has no room just now.
fn send_question(s: &State, link: &Link, id: u32, op: &Op) -> bool {
    let daemon = s.rings.at(link.ring.get());
    if !has_room(s, daemon) {
        return false;
    }
    let (tag, spare) = link.bind(&s.slots, s, id);
    if let Some(spare) = spare {
        s.took_idle(1);
        s.ops.give(spare);
    }
    op.wait.set(Wait::Reply);
    let ([a, b, c, d], who) = page_in::question(op);
    let requests = daemon.memory.get();
    let words = [head(Opcode::RequestMmap, tag), s.files.at(op.file.get()).id.get(), a, b, c, d];
    write(who, requests.service_requests().slot(daemon.rq.position()), words);
    publish(daemon, 1);
    s.hand_any(s.rouse(daemon, enter::REQUESTS));
    true
}

/// Goes on with an operation whose bytes have come that are to be sent.
pub fn send_again(s: &State, id: u32) {
    let op = s.ops.at(id);
    let (ring, link) = (s.rings.at(op.ring.get()), s.links.at(op.object.get()));
    op.wait.set(Wait::Free);
    if !link.lives() {
        super::cursor::release(s, id);
        return s.end_op(id, Err(Errno::NODEV), 0);
    }
    if !link.has_slot() || !link.waiting.is_empty() {
        return wait_for_room(s, id, op, link);
    }
    match send(s, &asked(s, ring, id, op), link, Request::of(op)) {
        Ok(true) => {}
        Ok(false) => wait_for_room(s, id, op, link),
        Err(error) => refuse(s, ring, id, error),
    }
}

/// An operation cannot be sent: it waits for a page, or ends.
fn refuse(s: &State, ring: &Ring, id: u32, error: Errno) {
    let error = match error {
        ASK => match s.park_op(page_in::Who::Send, ring, id) {
            Ok(()) => return,
            Err(error) => error,
        },
        error => error,
    };
    super::cursor::release(s, id);
    s.end_op(id, Err(error), 0);
}

/// Whether a request finds a place in a daemon's queue. A daemon whose index cannot be ends.
#[inline(always)]
pub fn has_room(s: &State, daemon: &Ring) -> bool {
    daemon.rq.known_room() != 0 || look_for_room(s, daemon)
}

#[cold]
#[inline(never)]
fn look_for_room(s: &State, daemon: &Ring) -> bool {
    let memory = daemon.memory.get();
    match daemon.rq.ensure_room(&memory.service_requests()) {
        Ok(()) => true,
        Err(error) => no_room(s, daemon, error),
    }
}

/// A daemon's queue takes nothing just now, or never again: then the daemon ends. Always `false`.
fn no_room(s: &State, daemon: &Ring, error: PushError) -> bool {
    if error == PushError::Corrupt {
        s.condemn(daemon.owner.get());
    }
    false
}

/// What the daemon sees as second and third argument; copies the bytes that go to it into the slot.
fn payload(
    s: &State,
    asked: &Asked<'_>,
    link: &Link,
    tag: u32,
    request: Request,
) -> Result<(u64, u64), Errno> {
    let way = request.opcode.payload();
    if way == Payload::None {
        return Ok((request.buffer, request.length));
    }
    let offset = link.offset(tag);
    let length = request.length.min(link.slot_bytes());
    if matches!(way, Payload::In | Payload::InOut) {
        copy_in(s, asked.ring, asked.op, link.arena.get().add(offset), length)?;
    }
    Ok((link.arena_address.get().wrapping_add(offset as u64), length))
}

#[inline(never)]
fn copy_in(s: &State, ring: &Ring, op: &Op, slot: crate::arch::UserPtr, length: u64) -> Result<(), Errno> {
    let opcode = op.opcode.get();
    if opcode != Opcode::Write && length < op.arg(2) {
        return Err(Errno::NAMETOOLONG);
    }
    let length = length as usize;
    registered::copy_in(s, ring, slot, op.arg(1), length)?;
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
pub fn refill(s: &State, link_id: u32, link: &Link) {
    if link.is_held_up() {
        refill_slowly(s, link_id, link);
    }
}

#[cold]
#[inline(never)]
fn refill_slowly(s: &State, link_id: u32, link: &Link) {
    if !link.lives() {
        // A dead link's slice fails what waits (`death::slice_links`), unless that is over: then it is up to us.
        return;
    }
    s.step.measure(&s.memory.machine);
    send_waiting(s, link_id, link);
    link.hold_up(!link.lives() || link.has_waiting());
}

fn send_waiting(s: &State, link_id: u32, link: &Link) {
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
        link.waiting.remove(&ByWait(&s.ops), id);
        if op.opcode.get() == Opcode::RequestMmap {
            if !send_question(s, link, id, op) {
                link.waiting.push_front(&ByWait(&s.ops), id);
                return;
            }
            continue;
        }
        let ring = s.rings.at(op.ring.get());
        match send(s, &asked(s, ring, id, op), link, Request::of(op)) {
            Ok(true) => {}
            Ok(false) => {
                link.waiting.push_front(&ByWait(&s.ops), id);
                return;
            }
            Err(error) => refuse(s, ring, id, error),
        }
    }
}
