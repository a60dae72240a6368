//! `Poll`: completes when a file has one of the asked events; or again and again, for all that its daemon tells.
//!
//! A daemon is asked (`Fevent`) which of them its file has now. If none, the operation waits on the file's
//! channel until the daemon says `SendFevent`. At most [`MOST`] operations can wait for one file.
//!
//! One with more than one completion stays on the channel. If it has no place, it [pauses](multishot), with the events that
//! it has not told; when it goes on, the daemon is asked again, so nothing is missed that happened meanwhile.
#![forbid(unsafe_code)]

use super::channel::{self, Key};
use super::cx::Cx;
use super::inflight::{Op, Wait};
use super::state::State;
use super::{OpResult, Outcome, chain, forward, incoming, kernel_scheme, multishot};
use crate::context::file::Kind;
use ring_abi::args::{Poll, event};
use ring_abi::{Cqe, Errno, Opcode, Words};

/// Operations that can wait for the events of one file; so telling them fits a step.
const MOST: u32 = 64;

/// The part of the first argument in which one with more than one completion keeps the events that it has not told.
const UNTOLD: u64 = event::ALL;

fn decode(entry: &impl Words) -> Result<Poll, Errno> {
    let args = Poll::decode(entry)?;
    if args.mask == 0 || args.mask & !event::ALL != 0 { Err(Errno::INVAL) } else { Ok(args) }
}

/// Waits for an event of a file.
pub fn start(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = decode(entry)?;
    let (file_id, file) = cx.file(args.fd)?;
    match file.kind.get() {
        Kind::Daemon => {
            let id = forward::start_on(cx, Opcode::Fevent, file_id, file, [0, args.mask, 0, 0, 0])?;
            forward::submit(cx.s, cx.ring, id, cx.s.ops.at(id)).map(|()| Outcome::Parked)
        }
        Kind::Kernel => {
            let now = kernel_scheme::events(cx.s, file, args.mask);
            if now != 0 {
                return Ok(Outcome::Done(now));
            }
            super::irq::poll(cx, file_id, args.mask).map(|_| Outcome::Parked)
        }
        _ => Err(Errno::OPNOTSUPP),
    }
}

/// Waits for the events of a file, again and again.
pub fn start_multishot(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let s = cx.s;
    let args = decode(entry)?;
    let (file_id, file) = cx.file(args.fd)?;
    match file.kind.get() {
        Kind::Daemon => {
            let id = forward::start_on(cx, Opcode::Fevent, file_id, file, [0, args.mask, 0, 0, 0])?;
            let op = s.ops.at(id);
            begin(op);
            forward::submit(s, cx.ring, id, op)?;
        }
        Kind::Kernel => {
            let id = super::irq::poll(cx, file_id, args.mask)?;
            begin(s.ops.at(id));
            let now = kernel_scheme::events(s, file, args.mask);
            if now != 0 {
                tell(s, id, now);
            }
        }
        _ => return Err(Errno::OPNOTSUPP),
    }
    Ok(Outcome::Parked)
}

/// It completes more than once, and has told everything so far.
fn begin(op: &Op) {
    op.set_arg(0, 0);
    multishot::mark(op);
}

/// Events that were not told.
pub fn untold(op: &Op) -> u64 {
    if multishot::is_marked(op) { op.arg(0) & UNTOLD } else { 0 }
}

/// What one that was cancelled ends with when its daemon has answered: the events that there are, or that it was.
pub fn last(op: &Op, events: u64) -> Result<u64, Errno> {
    match (events | untold(op)) & op.arg(1) {
        0 => Err(Errno::CANCELED),
        now => Ok(now),
    }
}

/// The daemon answered `Fevent`. `None`: it has no event yet, or can tell of more, and the operation, whose slot is free
/// again, waits on. Called with the slot already given back.
pub fn answered(s: &State, id: u32, events: u64) -> Option<Result<u64, Errno>> {
    let op = s.ops.at(id);
    let now = (events | untold(op)) & op.arg(1);
    if now != 0 && !multishot::is_marked(op) {
        return Some(Ok(now));
    }
    let file = s.files.at(op.file.get());
    let key = Key::File { link: op.object.get(), id: file.id.get() };
    let error = match channel::open(s, key) {
        Ok(channel) if !channel::is_full(s, channel, MOST) => {
            channel::join(s, channel, id, Wait::Channel);
            if now != 0 {
                tell(s, id, now);
            }
            return None;
        }
        Ok(_) => Errno::AGAIN,
        Err(error) => error,
    };
    Some(if now != 0 { Ok(now) } else { Err(error) })
}

/// Tells events of an operation that waits on a channel.
pub fn tell(s: &State, id: u32, events: u64) {
    let op = s.ops.at(id);
    if !multishot::is_marked(op) {
        channel::leave(s, id);
        return s.end_op(id, Ok(events), 0);
    }
    op.set_arg(0, op.arg(0) & !UNTOLD);
    if !multishot::more(s, op, events) {
        channel::leave(s, id);
        op.set_arg(0, op.arg(0) | events);
        if multishot::pause(s, id).is_err() {
            s.end_op(id, Ok(events), 0);
        }
    }
}

/// An operation that was paused asks its daemon again. It waits for nothing now.
pub fn ask_again(s: &State, id: u32) {
    let op = s.ops.at(id);
    let (ring, untold) = (s.rings.at(op.ring.get()), untold(op));
    if let Err((whose, error)) = incoming::submit_again(s, ring, id, op) {
        // What it has to tell is no error.
        chain::complete(s, ring, whose, if untold == 0 { Err(error) } else { Ok(untold) }, 0);
    }
}

/// A daemon says that one of its files has events now.
#[cold]
#[inline(never)]
pub fn on_event(s: &State, link_id: u32, entry: Cqe) {
    let events = u64::from(entry.tag);
    if let Some(channel) = channel::find(s, Key::File { link: link_id, id: entry.result }) {
        channel::for_each(s, channel, MOST, |op| {
            let now = s.ops.at(op).arg(1) & events;
            if now != 0 {
                tell(s, op, now);
            }
        });
    }
}
