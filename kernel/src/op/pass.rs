//! Passing handles to and from daemons.
//!
//! `Sendfd` holds the sent file in its record; while the request is in the daemon's hands, `ObtainFd` with
//! its tag gives the daemon a handle to that file. An answer `WithFd` moves a handle of the daemon to the
//! client.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::inflight::Op;
use super::state::State;
use super::{OpResult, Outcome, forward, reply};
use crate::base::NONE;
use crate::context::file::Kind;
use crate::scheme::link::Link;
use ring_abi::args::{ObtainFd, Sendfd};
use ring_abi::{Cqe, Errno, Opcode, Words};

/// Sends a copy of a handle to the daemon of another. In the record, the first argument is the sent file.
pub fn start_send(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = Sendfd::decode(entry)?;
    let (file_id, file) = cx.file(args.fd)?;
    let (sent_id, sent) = cx.file(args.sent)?;
    if file.kind.get() != Kind::Daemon {
        return Err(Errno::OPNOTSUPP);
    }
    // The daemon reads a zero where the sent handle's number was.
    let id = forward::start_on(cx, Opcode::Sendfd, file_id, file, [0, 0, args.flags, args.argument, 0])?;

    let op = cx.s.ops.at(id);
    op.set_arg(0, u64::from(sent_id));
    sent.hold(1);
    forward::submit(cx.s, cx.ring, id, op).map(|()| Outcome::Parked)
}

/// Gives a handle to the file that came with a request, which must be in the caller's hands.
pub fn obtain(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = ObtainFd::decode(entry)?;
    let s = cx.s;
    let asked = reply::asked(s, cx.ring.link.get(), args.tag).ok_or(Errno::NOENT)?;
    let op = s.ops.at(asked);
    if op.opcode.get() != Opcode::Sendfd {
        return Err(Errno::INVAL);
    }
    let sent = op.arg(0) as u32;
    let place = cx.vacant()?;

    s.files.at(sent).hold(1);
    Ok(Outcome::Done(cx.put(place, sent, 0)))
}

/// An operation that sends a handle ends: lets go of the sent file, its first argument.
pub fn let_go(s: &State, op: &Op) {
    let sent = op.arg(0) as u32;
    op.set_arg(0, u64::from(NONE));
    if sent != NONE {
        s.let_go_handle(sent);
    }
}

/// The daemon answers with a handle of its own, which moves to the client.
pub fn answer_with_handle(s: &State, link: &Link, op: &Op, entry: Cqe) -> Result<u64, Errno> {
    if !matches!(op.opcode.get(), Opcode::OpenAt | Opcode::Dup | Opcode::Recvfd | Opcode::Call) {
        return Err(Errno::IO);
    }
    let number = entry.result()?;
    // An earlier reply of the same step may have ended the daemon, by what it made the kernel tell it.
    let ring = s.rings.get(link.ring.get()).ok_or(Errno::IO)?;
    let daemon = s.contexts.at(ring.owner.get());
    let client = s.contexts.at(s.rings.at(op.ring.get()).owner.get());
    let (from, to) = (s.tables.at(daemon.table.get()), s.tables.at(client.table.get()));
    let place = s.vacant_for(s.slot_of(op), to)?;
    let file = from.remove(&s.chunks, number).map_err(|_| Errno::IO)?;

    let before = to.put(&s.chunks, place, file, 0);
    debug_assert_eq!(before, NONE, "the place was vacant");
    Ok(u64::from(place.number()))
}
