//! `Poll`: completes when a file has one of the asked events.
//!
//! A daemon is asked (`Fevent`) which of them its file has now. If none, the operation waits on the file's
//! channel until the daemon says `SendFevent`. At most [`MOST`] operations can wait for one file.
#![forbid(unsafe_code)]

use super::channel::{self, Key};
use super::cx::Cx;
use super::inflight::Wait;
use super::state::State;
use super::{OpResult, Outcome, forward, kernel_scheme};
use crate::context::file::Kind;
use ring_abi::args::{Poll, event};
use ring_abi::{Cqe, Errno, Opcode, Words};

/// Operations that can wait for the events of one file; so telling them fits a step.
const MOST: u32 = 64;

/// Waits for an event of a file.
pub fn start(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = Poll::decode(entry)?;
    if args.mask == 0 || args.mask & !event::ALL != 0 {
        return Err(Errno::INVAL);
    }
    let (file_id, file) = cx.file(args.fd)?;
    match file.kind.get() {
        Kind::Daemon => {
            let id = forward::start_on(cx, Opcode::Fevent, file_id, file, [0, args.mask, 0, 0, 0])?;
            forward::submit(cx.s, cx.ring, id, cx.s.ops.at(id)).map(|()| Outcome::Parked)
        }
        Kind::Kernel => {
            let now = kernel_scheme::events(cx.s, file, args.mask);
            if now != 0 { Ok(Outcome::Done(now)) } else { super::irq::poll(cx, file_id, file, args.mask) }
        }
        _ => Err(Errno::OPNOTSUPP),
    }
}

/// The daemon answered `Fevent`. `None`: it has no event yet, and the operation, whose slot is free again,
/// waits on. Called with the slot already given back.
pub fn answered(s: &State, id: u32, events: u64) -> Option<Result<u64, Errno>> {
    let op = s.ops.at(id);
    let now = events & op.arg(1);
    if now != 0 {
        return Some(Ok(now));
    }
    let file = s.files.at(op.file.get());
    let key = Key::File { link: op.object.get(), id: file.id.get() };
    match channel::open(s, key) {
        Ok(channel) if !channel::is_full(s, channel, MOST) => {
            channel::join(s, channel, id, Wait::Channel);
            None
        }
        Ok(_) => Some(Err(Errno::AGAIN)),
        Err(error) => Some(Err(error)),
    }
}

/// A daemon says that one of its files has events now.
#[cold]
#[inline(never)]
pub fn on_event(s: &State, link_id: u32, entry: Cqe) {
    let events = u64::from(entry.tag);
    if let Some(channel) = channel::find(s, Key::File { link: link_id, id: entry.result }) {
        channel::complete_where(s, channel, MOST, |op| {
            let now = s.ops.at(op).arg(1) & events;
            (now != 0).then_some(now)
        });
    }
}
