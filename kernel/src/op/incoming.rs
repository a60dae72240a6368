//! Requests that a daemon may answer more than once: each answer makes the program another handle.
//!
//! The request is the credit. A daemon that answers with `MORE` is asked again, in a request of its own with a tag of its
//! own, and only once the answer to that has its place: so it never has an answer that the kernel cannot take, what comes
//! in too fast waits where it always did, and a program that is slow keeps nothing of the link meanwhile. One that never
//! answers with `MORE` sees a request like any other.
//!
//! - In a daemon's hands, or on its way there, the operation has two promised places: for its last completion, and for
//!   the answer.
//! - It has a reserve as an open has (see [`super::forward`]), another one for each request.
#![forbid(unsafe_code)]

use super::chain::Whose;
use super::cx::Cx;
use super::inflight::{Notice, Op, Wait};
use super::multishot;
use super::state::State;
use super::{OpResult, Outcome, cancel, chain, forward, reply};
use crate::context::file::Kind;
use crate::ring::duplex::Ring;
use crate::scheme::link::Link;
use ring_abi::{Cqe, CqeFlags, Errno, Opcode, SqeFlags};

/// Begins to take handles from a daemon.
pub fn start(cx: &Cx<'_>, opcode: Opcode, args: [u64; 5]) -> OpResult {
    let s = cx.s;
    let [fd, ..] = args;
    let (file_id, file) = cx.file(fd)?;
    if file.kind.get() != Kind::Daemon {
        return Err(Errno::OPNOTSUPP);
    }
    let id = forward::start_on(cx, opcode, file_id, file, args)?;
    let op = s.ops.at(id);
    multishot::mark(op);
    if multishot::has_place(s, cx.ring) {
        multishot::promise(cx.ring);
        if let Err(error) = forward::submit(s, cx.ring, id, op) {
            multishot::release(s, cx.ring);
            return Err(error);
        }
    } else if let Err(error) = multishot::pause(s, id) {
        forward::abandon(s, id);
        return Err(error);
    }
    Ok(Outcome::Parked)
}

/// Whether an operation has a place for an answer beside that of its last completion.
pub fn holds_place(op: &Op) -> bool {
    multishot::is_marked(op)
        && matches!(op.opcode.get(), Opcode::Dup | Opcode::Recvfd)
        && matches!(op.wait.get(), Wait::Reply | Wait::Room)
}

/// Flags of the request for an operation.
pub fn flags(op: &Op) -> SqeFlags {
    let is_asked = multishot::is_marked(op) && op.opcode.get() != Opcode::Fevent;
    if is_asked { SqeFlags::MULTISHOT } else { SqeFlags::empty() }
}

/// Whether a reply is one after which the daemon wants to be asked again.
pub fn is_more(op: &Op, entry: Cqe) -> bool {
    entry.flags & CqeFlags::MORE.bits() != 0 && flags(op) == SqeFlags::MULTISHOT
}

/// A daemon answered, and can answer again.
#[cold]
#[inline(never)]
pub fn answered(s: &State, link: &Link, id: u32, mut entry: Cqe) {
    let op = s.ops.at(id);
    entry.flags &= !CqeFlags::MORE.bits();
    let (result, _) = reply::finish(s, link, op, entry.tag, entry);
    link.unbind(&s.slots, entry.tag);
    let was_cancelled = op.notice.get() != Notice::None;
    if was_cancelled {
        cancel::forget_notice(s, link, id);
    }
    // Who asked for its end, or has no memory for another file, gets this as the last.
    let value = match result {
        Ok(value) if !was_cancelled && renew_reserve(s, op).is_ok() => value,
        last => return s.end_op(id, last, 0),
    };
    op.wait.set(Wait::Free);
    multishot::tell(s, s.rings.at(op.ring.get()), op, value);
    ask(s, id);
}

/// Takes the record of the file that the next answer makes.
fn renew_reserve(s: &State, op: &Op) -> Result<(), Errno> {
    if forward::makes_file(op.opcode.get()) {
        let reserve = s.files.take(&s.memory)?;
        op.set_arg(0, op.arg(0) >> 32 << 32 | u64::from(reserve));
    }
    Ok(())
}

/// Asks a daemon again, or pauses for want of a place. The operation waits for nothing now.
pub fn ask(s: &State, id: u32) {
    let op = s.ops.at(id);
    let ring = s.rings.at(op.ring.get());
    if !multishot::has_place(s, ring) {
        if let Err(error) = multishot::pause(s, id) {
            s.end_op(id, Err(error), 0);
        }
        return;
    }
    multishot::promise(ring);
    if let Err((whose, error)) = submit_again(s, ring, id, op) {
        multishot::release(s, ring);
        chain::complete(s, ring, whose, Err(error), 0);
    }
}

/// Sends the request of an operation again. An error means that its record is gone: who it was, and
/// what it ends with.
pub fn submit_again(s: &State, ring: &Ring, id: u32, op: &Op) -> Result<(), (Whose, Errno)> {
    let whose = chain::whose(op);
    // Where it paused, it forgot the link.
    let link = s.files.at(op.file.get()).object.get();
    op.object.set(link);
    let sent = if s.links.at(link).lives() {
        forward::submit(s, ring, id, op)
    } else {
        forward::abandon(s, id);
        Err(Errno::NODEV)
    };
    sent.map_err(|error| (whose, error))
}
