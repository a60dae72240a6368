//! Cancelling an operation, and the two ways in which a forwarded one outlives its asker.
//!
//! *Ask* tells the daemon; the operation's own result wins if it comes within the grace. *Force* ends it now:
//! an operation in a daemon's hands is detached, so its tag, slot and file stay with the daemon until it
//! replies or dies, and a file that it makes late is closed again. Every other wait is simply left.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::inflight::{Notice, TIED, Wait};
use super::state::{ByWait, State};
use super::walk::{Deed, Extent, Walk, Which};
use super::{
    OpResult, barrier, chain, channel, cursor, forward, incoming, message, multishot, open, page_in, several,
    tell,
};
use crate::base::NONE;
use crate::scheme::link::Link;
use ring_abi::args::{CancelAll, CancelHandle, CancelTag, Strength, cancel::FIRST};
use ring_abi::{Cqe, Errno, Opcode, Words};

/// Cancels the operations of the caller's ring that have a tag, and that started before this one.
pub fn by_tag(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = CancelTag::decode(entry)?;
    let (deed, extent) = how(args.strength, args.grace)?;
    Walk::new(Which::Tag(args.tag), deed, extent).start(cx, Opcode::CancelTag)
}

/// The same with those on a file.
pub fn by_handle(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = CancelHandle::decode(entry)?;
    let (deed, extent) = how(args.strength, args.grace)?;
    let (file, _) = cx.file(args.fd)?;
    Walk::new(Which::File(file), deed, extent).start(cx, Opcode::CancelHandle)
}

/// The same with all.
pub fn all(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = CancelAll::decode(entry)?;
    let (deed, extent) = how(args.strength, args.grace)?;
    Walk::new(Which::All, deed, extent).start(cx, Opcode::CancelAll)
}

/// What a strength with its flags means.
fn how(strength: u32, grace: u64) -> Result<(Deed, Extent), Errno> {
    let deed = match strength & !FIRST {
        raw if raw == Strength::Ask as u32 => Deed::Ask(grace),
        raw if raw == Strength::Force as u32 => Deed::Force,
        _ => return Err(Errno::INVAL),
    };
    Ok((deed, if strength & FIRST == 0 { Extent::All } else { Extent::First }))
}

/// Asks the daemon that has an operation to give it up; one that no daemon has ends now.
pub fn ask_or_force(s: &State, id: u32, grace: u64) {
    if s.ops.at(id).wait.get() != Wait::Reply || !ask(s, id, grace) {
        force(s, id, Errno::CANCELED);
    }
}

/// Asks the daemon that has an operation to give it up. `false` if there is no memory for the deadline of
/// the grace.
fn ask(s: &State, id: u32, grace: u64) -> bool {
    let op = s.ops.at(id);
    if op.notice.get() != Notice::None {
        return true;
    }
    if s.timers.ensure_one(&s.memory).is_err() {
        return false;
    }
    if op.timer.get() != NONE {
        s.timers.remove(s, id);
    }
    s.timers.add(s, id, s.memory.machine.now().saturating_add(grace));
    s.step.rearm();
    notify(s, id);
    true
}

/// Files the notice to the daemon, and sends it if there is room.
fn notify(s: &State, id: u32) {
    let op = s.ops.at(id);
    let link = s.links.at(op.object.get());
    if op.notice.get() == Notice::None && link.lives() {
        op.notice.set(Notice::Pending);
        link.hold_up(true);
        link.cancels.push_back(&ByWait(&s.ops), id);
        tell::tell(s, link);
    }
}

/// The daemon answered before the notice went out.
#[cold]
pub fn forget_notice(s: &State, link: &Link, id: u32) {
    let op = s.ops.at(id);
    if op.notice.replace(Notice::None) == Notice::Pending {
        link.cancels.remove(&ByWait(&s.ops), id);
    }
}

/// Ends an operation now, whatever it waits for.
pub fn force(s: &State, id: u32, error: Errno) {
    let op = s.ops.at(id);
    if op.wait.get() == Wait::Page {
        page_in::leave_op(s, id);
    }
    match op.wait.get() {
        Wait::Reply => {
            detach(s, id, Some(error));
            notify(s, id);
        }
        Wait::Work => super::work::cancel(s, id, error),
        Wait::Chain | Wait::Barrier | Wait::Due => chain::cancel(s, id, error),
        _ => {
            leave(s, id);
            s.end_op(id, Err(error), 0);
        }
    }
}

/// Takes an operation out of what it waits for, unless that is a daemon's reply or its own work.
fn leave(s: &State, id: u32) {
    let op = s.ops.at(id);
    match op.wait.get() {
        Wait::Room => s.links.at(op.object.get()).waiting.remove(&ByWait(&s.ops), id),
        Wait::Turn => s.files.at(op.file.get()).turns.remove(&ByWait(&s.ops), id),
        Wait::Channel => channel::leave(s, id),
        Wait::Several => several::release(s, id),
        Wait::End => s.contexts.at(op.object.get()).watchers.remove(&ByWait(&s.ops), id),
        Wait::Flush => s.several.flushes.remove(&ByWait(&s.ops), id),
        Wait::Message => message::leave(s, id),
        Wait::Time | Wait::Free | Wait::Reply | Wait::Work => {}
        // A waiter for a page was taken away before.
        Wait::Chain | Wait::Barrier | Wait::Due | Wait::Page => {}
    }
    cursor::release(s, id);
}

/// Parts an operation that a daemon has from its asker; completes it with an error if somebody still waits.
pub fn detach(s: &State, id: u32, error: Option<Errno>) {
    let op = s.ops.at(id);
    let ring_id = op.ring.replace(NONE);
    if ring_id == NONE {
        return;
    }
    let ring = s.rings.at(ring_id);
    let whose = chain::untie(op);
    barrier::unfile(s, ring, op);
    if op.timer.get() != NONE {
        s.timers.remove(s, id);
    }
    cursor::release(s, id);
    if incoming::holds_place(op) {
        multishot::release(s, ring);
    }
    if let Some(error) = error {
        chain::complete(s, ring, whose, Err(error), 0);
    }
}

/// Ends an operation of a context that ends: nobody waits for its completion.
pub fn abandon(s: &State, id: u32) {
    let op = s.ops.at(id);
    if op.is_marked(TIED) {
        chain::abandon(s, op, id);
    }
    if op.wait.get() == Wait::Page {
        page_in::leave_op(s, id);
    }
    match op.wait.get() {
        Wait::Reply => {
            detach(s, id, None);
            notify(s, id);
        }
        Wait::Work => super::work::orphan(s, id),
        _ => {
            leave(s, id);
            let ring_id = op.ring.replace(NONE);
            if let Some(ring) = s.rings.get(ring_id) {
                barrier::unfile(s, ring, op);
            }
            s.drop_op(id);
        }
    }
}

/// A daemon answers an operation that nobody waits for: what it took is given back, and a file that it made
/// is closed.
#[cold]
#[inline(never)]
pub fn late_reply(s: &State, link: &Link, id: u32, entry: Cqe) {
    let op = s.ops.at(id);
    if op.opcode.get() == Opcode::RequestMmap {
        return page_in::answered(s, link, id, entry);
    }
    link.unbind(&s.slots, op.slot_tag.get());
    forget_notice(s, link, id);
    if let (true, Ok(file), 0) = (forward::makes_file(op.opcode.get()), entry.result(), entry.flags & 7) {
        let made = open::use_reserve(s, op, file);
        s.let_go(made);
    }
    s.drop_op(id);
}
