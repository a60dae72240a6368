//! Cancelling an operation, and the two ways in which a forwarded one outlives its asker.
//!
//! *Ask* tells the daemon; the operation's own result wins if it comes within the grace. *Force* ends it now:
//! an operation in a daemon's hands is detached, so its tag, slot and file stay with the daemon until it
//! replies or dies, and a file that it makes late is closed again. Every other wait is simply left.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::inflight::{Notice, Wait};
use super::state::{ByRing, ByWait, State};
use super::{OpResult, Outcome, channel, cursor, forward, open, tell};
use crate::base::NONE;
use crate::scheme::link::Link;
use ring_abi::args::{CancelTag, Strength};
use ring_abi::{Cqe, Errno, Words};

/// Cancels the operations of the caller's ring that have a tag.
///
/// The ring's list is at most as long as its completion queue; walking it is a dozen instructions each.
pub fn start(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let s = cx.s;
    let args = CancelTag::decode(entry)?;
    let ask = match args.strength {
        raw if raw == Strength::Ask as u32 => true,
        raw if raw == Strength::Force as u32 => false,
        _ => return Err(Errno::INVAL),
    };
    let mut found = 0_u64;
    let mut at = cx.ring.ops.first();
    while at != NONE {
        let op = s.ops.at(at);
        let next = op.of_ring.next();
        if op.tag.get() == args.tag {
            found = found.wrapping_add(1);
            let asked = ask && op.wait.get() == Wait::Reply && self::ask(s, at, args.grace);
            if !asked {
                force(s, at, Errno::CANCELED);
            }
        }
        at = next;
    }
    if found == 0 { Err(Errno::NOENT) } else { Ok(Outcome::Done(found)) }
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
    match op.wait.get() {
        Wait::Reply => {
            detach(s, id, Some(error));
            notify(s, id);
        }
        Wait::Work => super::work::cancel(s, id, error),
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
        Wait::End => s.contexts.at(op.object.get()).watchers.remove(&ByWait(&s.ops), id),
        Wait::Time | Wait::Free | Wait::Reply | Wait::Work => {}
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
    ring.ops.remove(&ByRing(&s.ops), id);
    if op.timer.get() != NONE {
        s.timers.remove(s, id);
    }
    cursor::release(s, id);
    if let Some(error) = error {
        s.post(ring, Cqe::new(op.tag.get(), Err(error)));
    }
}

/// Ends an operation of a context that ends: nobody waits for its completion.
pub fn abandon(s: &State, id: u32) {
    let op = s.ops.at(id);
    match op.wait.get() {
        Wait::Reply => {
            detach(s, id, None);
            notify(s, id);
        }
        Wait::Work => super::work::orphan(s, id),
        _ => {
            leave(s, id);
            let ring_id = op.ring.replace(NONE);
            if ring_id != NONE {
                s.rings.at(ring_id).ops.remove(&ByRing(&s.ops), id);
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
    link.take_back(&s.slots, op.slot_tag.get());
    forget_notice(s, link, id);
    if let (true, Ok(file), 0) = (forward::makes_file(op.opcode.get()), entry.result(), entry.flags & 7) {
        let made = open::use_reserve(s, op, file);
        s.let_go(made);
    }
    s.drop_op(id);
}
