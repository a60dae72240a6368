//! `MessageSend` and `MessageHandle`: a completion of one context's choosing in the ring of another.
//!
//! A message takes a place in the target's completion queue like an answer, so it is neither dropped nor written outside
//! of it. Where there is no room it waits at the ring's port: it is an operation of its sender, who pays for it, can
//! cancel it and takes it along when it ends. What waits goes in, in the order of arrival, when the target enters its ring
//! and has taken completions off (its own submissions take room first), or when another message comes.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::inflight::{Op, Wait};
use super::state::{ByPort, ByWait, State};
use super::{OpResult, Outcome, port};
use crate::base::NONE;
use crate::base::budget::{Budget, ENTRY};
use crate::context::file::{File, Kind};
use crate::ring::duplex::{BACKLOG, Ring};
use crate::ring::port::Port;
use ring_abi::args::{MessageHandle, MessageSend};
use ring_abi::ring::PushError;
use ring_abi::{Cqe, CqeFlags, Errno, Opcode, Words, enter};

/// `extra` has 24 bits.
const EXTRA_BITS: u32 = 24;

/// What arrives.
struct Message {
    /// Tag, `extra` and flags.
    head: u64,
    /// The result, unless a handle is sent.
    value: u64,
    /// The file that is sent, or `NONE`.
    sent: u32,
}

/// Sends a message.
pub fn send(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let MessageSend { fd, tag, value, extra, deadline } = MessageSend::decode(entry)?;
    let (file_id, file) = target(cx, fd)?;
    let message = Message { head: head(file, tag, extra, CqeFlags::MESSAGE)?, value, sent: NONE };
    start(cx, Opcode::MessageSend, (file_id, file), &message, deadline)
}

/// Sends a handle.
pub fn pass(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let MessageHandle { fd, tag, sent, extra, deadline } = MessageHandle::decode(entry)?;
    let (file_id, file) = target(cx, fd)?;
    let flags = CqeFlags::MESSAGE.union(CqeFlags::HANDLE);
    let message = Message { head: head(file, tag, extra, flags)?, value: 0, sent: cx.file(sent)?.0 };
    start(cx, Opcode::MessageHandle, (file_id, file), &message, deadline)
}

fn target<'a>(cx: &Cx<'a>, fd: u64) -> Result<(u32, &'a File), Errno> {
    let (id, file) = cx.file(fd)?;
    if file.kind.get() == Kind::Ring { Ok((id, file)) } else { Err(Errno::BADF) }
}

/// First word of what arrives.
fn head(file: &File, tag: u32, extra: u32, flags: CqeFlags) -> Result<u64, Errno> {
    if extra >> EXTRA_BITS != 0 {
        return Err(Errno::INVAL);
    }
    let tag = if file.id.get() & port::FIXED != 0 { file.id.get() as u32 } else { tag };
    let [head, _] = Cqe { flags: flags.bits(), ..Cqe::new(tag, Ok(0)).with_extra(extra) }.to_words();
    Ok(head)
}

/// Delivers a message, or lets it wait.
fn start(
    cx: &Cx<'_>,
    opcode: Opcode,
    (file_id, file): (u32, &File),
    message: &Message,
    deadline: u64,
) -> OpResult {
    let s = cx.s;
    let port = s.ports.at(file.object.get());
    if !port.waiting.is_empty() && port.ring.get() != NONE {
        refill(s, port, cx.budget);
    }
    let Some(ring) = s.rings.get(port.ring.get()) else { return Err(Errno::PIPE) };
    if port.waiting.is_empty() && give(s, ring, message)? {
        return Ok(Outcome::Done(0));
    }
    let timed = deadline != enter::NO_DEADLINE;
    if timed {
        if deadline <= s.memory.machine.now() {
            return Err(Errno::TIMEDOUT);
        }
        s.timers.ensure_one(&s.memory)?;
    }
    let (id, op) = cx.start(opcode)?;

    op.file.set(file_id);
    file.hold(1);
    op.object.set(file.object.get());
    op.wait.set(Wait::Message);
    keep(s, op, message);
    port.waiting.push_back(&ByWait(&s.ops), id);
    ring.mark(BACKLOG, true);
    if timed {
        s.timers.add(s, id, deadline);
        s.step.rearm();
    }
    Ok(Outcome::Parked)
}

/// Writes a message into its operation's record, which holds the file that is sent.
fn keep(s: &State, op: &Op, message: &Message) {
    op.set_arg(0, u64::from(message.sent));
    op.set_arg(1, message.head);
    op.set_arg(2, message.value);
    if let Some(sent) = s.files.get(message.sent) {
        sent.hold(1);
    }
}

fn kept(op: &Op) -> Message {
    Message { sent: op.arg(0) as u32, head: op.arg(1), value: op.arg(2) }
}

/// Puts a message into a ring. `false`: there is no room. An error leaves the ring as it was, or has ended its owner.
fn give(s: &State, ring: &Ring, message: &Message) -> Result<bool, Errno> {
    match ring.cq.ensure_room(&ring.memory.get().cq()) {
        Ok(()) => {}
        Err(PushError::Full) => return Ok(false),
        Err(PushError::Corrupt) => {
            s.condemn(ring.owner.get());
            return Err(Errno::PIPE);
        }
    }
    let value = match s.files.get(message.sent) {
        None => message.value,
        Some(sent) => {
            let table = s.tables.at(s.contexts.at(ring.owner.get()).table.get());
            let place = table.vacant(&s.memory, &s.chunks).inspect_err(|_| ring.guard())?;
            sent.hold(1);
            let before = table.put(&s.chunks, place, message.sent, 0);
            debug_assert_eq!(before, NONE, "the place was vacant");
            u64::from(place.number())
        }
    };
    ring.cq.claim_known(1);
    ring.guard();
    s.post(ring, Cqe::from_words([message.head, value]));
    Ok(true)
}

/// Puts what waits at a port into its ring, which lives, as far as there is room and the budget allows.
fn refill(s: &State, port: &Port, budget: &Budget) {
    loop {
        let id = port.waiting.first();
        let Some(ring) = s.rings.get(port.ring.get()) else { return };
        if id == NONE {
            return ring.mark(BACKLOG, false);
        }
        if !budget.spend(ENTRY) {
            // No room is known, so that the ring's owner takes no short road past this.
            return ring.cq.forget_room();
        }
        let result = give(s, ring, &kept(s.ops.at(id)));
        // Where that ended the ring's owner, slices end what waits.
        if result == Ok(false) || port.ring.get() == NONE {
            return;
        }
        port.waiting.remove(&ByWait(&s.ops), id);
        if port.waiting.is_empty() {
            ring.mark(BACKLOG, false);
        }
        // Its hold on the port may be the last.
        let is_over = port.waiting.is_empty();
        s.end_op(id, result.map(|_| 0), 0);
        if is_over {
            return;
        }
    }
}

/// The owner of a ring enters it, and has submitted what it wanted: takes in what waits. `false`: some has to wait for a
/// later step, though there is room.
#[cold]
#[inline(never)]
pub fn take_in(s: &State, ring: &Ring) -> bool {
    s.step.measure(&s.memory.machine);
    let port = s.ports.at(port::known(s, ring));
    refill(s, port, &s.memory.budget);
    // The port may be gone with the last message.
    !ring.is_marked(BACKLOG) || ring.cq.is_full(&ring.memory.get().cq())
}

/// A message does not wait any more: it was cancelled, timed out, or its sender ended.
pub fn leave(s: &State, id: u32) {
    let port_id = s.ops.at(id).object.get();
    let port = s.ports.at(port_id);
    port.waiting.remove(&ByWait(&s.ops), id);
    if !port.waiting.is_empty() {
        return;
    }
    match s.rings.get(port.ring.get()) {
        Some(ring) => ring.mark(BACKLOG, false),
        None => s.dying_ports.remove(&ByPort(&s.ports), port_id),
    }
}
