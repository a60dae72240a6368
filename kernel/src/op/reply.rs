//! Replies: matching what a daemon says to what was asked, and finishing that.
//!
//! Nothing a daemon says is believed without a look: a tag that is not out finds nothing, a count above
//! what was asked is an error of the daemon (`EIO`), and bytes go only where the program asked for them.
#![forbid(unsafe_code)]

use super::inflight::{Notice, Op, PLAIN_OPEN, PLAIN_READ, Wait};
use super::provided;
use super::state::State;
use super::stats::count;
use super::{incoming, page_in};
use crate::base::NONE;
use crate::base::trace::What;
use crate::mem::object::ASK;
use crate::mem::user::{self, Fixed, Window};
use crate::ring::duplex::Ring;
use crate::ring::flight;
use crate::scheme::link::Link;
use ring_abi::map;
use ring_abi::opcode::Payload;
use ring_abi::ring;
use ring_abi::{Cqe, CqeKind, Errno, Opcode, errno};

/// Takes one reply of the daemon behind `link`: the ring whose completions go up to a position now, and that is to be
/// [roused](State::rouse) for them; its record waits at the link again and is not [counted](State::gave_idle) as that.
/// Nothing, if it is none to a plain read.
#[inline(always)]
pub fn take<'s>(s: &'s State, link: &Link, words: [u64; 2]) -> Option<(&'s Ring, u32)> {
    let read = PlainRead::find(s, link, words)?;
    let ring = s.rings.at(read.op.ring.get());
    let words = match read.copy(link, &ring.cache.window(&s.memory)) {
        Some(words) => words,
        None => answer_slowly(s, link, ring, [read.id, read.tag], read.result)?,
    };
    s.note_latency(Opcode::Read, read.op.started.get(), 1);
    let file = read.op.file.get();
    flight::remove(s, &read.op.of_ring);
    let next = link.bound();
    link.set_bound(read.id);
    read.leave(link, ring.memory.get().cq().slot(ring.cq.position()), words, next);
    let position = ring.show(1);
    if s.files.at(file).let_go() {
        close(s, file);
    }
    Some((ring, position))
}

/// Closes a file that nobody holds any more.
#[cold]
#[inline(never)]
pub(super) fn close(s: &State, file: u32) {
    s.step.measure(&s.memory.machine);
    s.close_file(file);
}

/// A plain read that is answered.
pub(super) struct PlainRead<'a> {
    s: &'a State,
    pub(super) tag: u32,
    kind: u8,
    pub(super) id: u32,
    pub(super) op: &'a Op,
    pub(super) result: u64,
}

impl<'a> PlainRead<'a> {
    /// What a reply is for, if it is a plain read.
    #[inline(always)]
    pub(super) fn find(s: &'a State, link: &Link, words: [u64; 2]) -> Option<PlainRead<'a>> {
        let tag = (words[0] >> 32) as u32;
        let read = PlainRead::of(s, link.find(&s.slots, s, tag)?, words);
        let op = read.op;
        debug_assert!(op.shape() != PLAIN_READ || !op.is_detached(), "what is detached has a notice");
        (read.is_end() && op.shape().number() == PLAIN_READ.number()).then_some(read)
    }

    /// A reply, and an operation that it is supposed to be for.
    #[inline(always)]
    pub(super) fn of(s: &'a State, id: u32, [head, result]: [u64; 2]) -> PlainRead<'a> {
        PlainRead { s, tag: (head >> 32) as u32, kind: head as u8, id, op: s.ops.at(id), result }
    }

    /// Whether the reply is one that ends what was asked, and nothing else.
    #[inline(always)]
    pub(super) fn is_end(&self) -> bool {
        self.kind == CqeKind::Regular as u8
    }

    /// Copies its bytes, if they are few and go where the window is: the words of its completion. Otherwise
    /// [`answer_slowly`] has them.
    #[inline(always)]
    pub(super) fn copy(&self, link: &Link, window: &Window) -> Option<[u64; 2]> {
        let PlainRead { s, op, result, .. } = *self;
        let slot = link.arena.get().add(op.arg(3) as usize);
        let is_usual =
            result <= op.arg(2) && window.copy_out_tiny(&s.memory, op.arg(1), slot, result as usize);
        is_usual.then(|| [u64::from(op.tag.get()) << 32, result])
    }

    /// Writes its completion into a place of its ring, not shown yet, and makes its record one of the link's that wait, before
    /// `next`. The ring's circle and the file that it held are the caller's to see to.
    #[inline(always)]
    pub(super) fn leave(self, link: &Link, place: &map::Slot<2>, words: [u64; 2], next: u32) {
        let PlainRead { s, tag, id, op, .. } = self;
        debug_assert!(op.timer.get() == NONE, "a deadline goes with a notice");
        ring::store(place, words);
        op.wait.set(Wait::Free);
        link.put_before(s, id, tag, next);
    }
}

/// Takes the reply to a plain open, if it is one and a file was opened: what [`take`] gives.
#[inline(always)]
pub fn take_opened<'s>(s: &'s State, link: &Link, words: [u64; 2]) -> Option<(&'s Ring, u32)> {
    let entry = Cqe::from_words(words);
    let id = link.find(&s.slots, s, entry.tag)?;
    let op = s.ops.at(id);
    if op.shape().number() != PLAIN_OPEN.number() || entry.flags != CqeKind::Regular as u8 {
        return None;
    }
    let file = entry.result().ok()?;
    let ring = s.rings.at(op.ring.get());
    let opened = super::open::finish(s, op, file, entry.extra());
    if opened.is_err() {
        // The daemon was told that its file is closed again.
        s.step.measure(&s.memory.machine);
    }
    s.note_latency(Opcode::OpenAt, op.started.get(), 1);
    flight::remove(s, &op.of_ring);
    ring::store(ring.memory.get().cq().slot(ring.cq.position()), Cqe::new(op.tag.get(), opened).to_words());
    op.wait.set(Wait::Free);
    op.set_arg(3, link.offset(entry.tag) as u64);
    link.put_back(s, id, entry.tag);
    s.let_go(op.file.get());
    Some((ring, ring.show(1)))
}

/// Any reply but that to a plain read, or of an open that came alone.
#[cold]
#[inline(never)]
pub fn take_other(s: &State, link_id: u32, link: &Link, words: [u64; 2]) {
    let entry = Cqe::from_words(words);
    if entry.flags & 7 == CqeKind::SendFevent as u8 {
        return super::poll::on_event(s, link_id, entry);
    }
    let Some(id) = link.asked(&s.slots, s, entry.tag) else {
        return stale(s, link_id, entry.tag);
    };
    let op = s.ops.at(id);
    if op.wait.get() == Wait::Page {
        // It was answered before.
        return stale(s, link_id, entry.tag);
    }
    if op.is_detached() {
        return super::cancel::late_reply(s, link, id, entry);
    }
    if incoming::is_more(op, entry) {
        return incoming::answered(s, link, id, entry);
    }
    let (mut result, extra) = finish(s, link, op, entry.tag, entry);
    if result == Err(ASK) {
        let Some(ring) = s.rings.get(op.ring.get()) else {
            crate::bug!("an operation that nobody waits for")
        };
        match s.park_op(page_in::Who::Reply(words), ring, id) {
            Ok(()) => return,
            Err(error) => result = super::cursor::finish(s, op, Err(error)),
        }
    }
    link.unbind(&s.slots, entry.tag);
    let was_cancelled = op.notice.get() != Notice::None;
    if was_cancelled {
        super::cancel::forget_notice(s, link, id);
    }
    match op.opcode.get() {
        Opcode::Fevent => return events(s, id, result, was_cancelled),
        Opcode::MapFile => return super::mapping::prepared(s, id, link, result, entry.extra()),
        _ => {}
    }
    s.end_op(id, result, extra);
}

/// The daemon said which events a file has now.
#[cold]
fn events(s: &State, id: u32, result: Result<u64, Errno>, was_cancelled: bool) {
    let answer = match result {
        Ok(now) if was_cancelled => Some(super::poll::last(s.ops.at(id), now)),
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

/// The words of the completion of a read whose daemon gave an error, or whose bytes are many or go where the ring's
/// operations did not go last, or more than there is room for: too many, or those of one that chooses its buffer now. Nothing:
/// they go to a page that a daemon has to be asked for, so the read is not as others are.
#[cold]
#[inline(never)]
pub(super) fn answer_slowly(
    s: &State,
    link: &Link,
    ring: &Ring,
    [id, tag]: [u32; 2],
    result: u64,
) -> Option<[u64; 2]> {
    let op = s.ops.at(id);
    let slot = link.arena.get().add(link.offset(tag));
    let (answer, details) = match errno::demux(result) {
        Err(ASK) => (Err(Errno::IO), 0),
        Err(error) => (Err(error), 0),
        Ok(count) if provided::is_one(op) => provided::deliver(s, ring, op, slot, count),
        Ok(count) if count <= op.arg(2) => (out_slowly(s, ring, op.arg(1), slot, count).map(|()| count), 0),
        Ok(_) => (Err(Errno::IO), 0),
    };
    (answer != Err(ASK)).then(|| Cqe::new(op.tag.get(), answer).with_details(details).to_words())
}

/// Copies `count` bytes of the slot out to the program.
fn out(s: &State, link: &Link, op: &Op, tag: u32, count: u64) -> Result<u64, Errno> {
    if count > op.arg(2).min(link.slot_bytes()) {
        return Err(Errno::IO);
    }
    let ring = s.rings.at(op.ring.get());
    let slot = link.arena.get().add(link.offset(tag));
    if !user::copy_out_tiny(&s.memory, &ring.cache, op.arg(1), slot, count as usize) {
        out_slowly(s, ring, op.arg(1), slot, count)?;
    }
    Ok(count)
}

/// Copies out what is long, or goes where the ring's operations did not go last.
#[cold]
#[inline(never)]
fn out_slowly(s: &State, ring: &Ring, address: u64, slot: Fixed, count: u64) -> Result<(), Errno> {
    s.step.measure(&s.memory.machine);
    if count == 0 {
        // Where no bytes would have gone is of no interest: a read that chooses its buffer has none.
        return Ok(());
    }
    super::registered::copy_out(s, ring, address, slot, count as usize)
}

/// What an operation completes with, given the daemon's answer.
pub fn finish(s: &State, link: &Link, op: &Op, tag: u32, entry: Cqe) -> (Result<u64, Errno>, u32) {
    let answer = match (op.opcode.get(), entry.result()) {
        (_, Err(ASK)) => Err(Errno::IO),
        _ if entry.flags & !7 != 0 => Err(Errno::IO),
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
        (_, Ok(count)) if provided::is_one(op) => {
            let slot = link.arena.get().add(link.offset(tag));
            let (result, details) = provided::deliver(s, s.rings.at(op.ring.get()), op, slot, count);
            return (super::cursor::finish(s, op, result), details);
        }
        (opcode, Ok(count)) if opcode.payload() == Payload::Out => out(s, link, op, tag, count),
        (Opcode::Write, Ok(count)) if count > op.arg(2).min(link.slot_bytes()) => Err(Errno::IO),
        (_, result) => result,
    };
    if answer == Err(ASK) {
        return (answer, 0);
    }
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
    let slot = link.arena.get().add(link.offset(tag));
    match user::copy_out(&s.memory, ring.space.get(), &ring.cache, buffer, slot, length as usize) {
        Ok(()) => (Err(Errno::XDEV), entry.extra()),
        Err(error) => (Err(error), 0),
    }
}

/// The operation behind a tag in a daemon's hands, for operations that name one.
pub fn asked(s: &State, link_id: u32, tag: u32) -> Option<u32> {
    if link_id == NONE {
        return None;
    }
    s.links.at(link_id).asked(&s.slots, s, tag)
}
