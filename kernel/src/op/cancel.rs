//! Cancelling an operation, and the two ways in which a forwarded one outlives its asker.
//!
//! *Ask* tells the daemon; the operation's own result wins if it comes within the grace. *Force* ends it now:
//! an operation in a daemon's hands is detached, so its tag, slot and file stay with the daemon until it
//! replies or dies, and a file that it makes late is closed again. Every other wait is simply left.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::inflight::{Notice, Wait};
use super::state::{ByWait, State};
use super::{OpResult, Outcome, channel, cursor, forward, open, tell};
use crate::base::NONE;
use crate::base::budget::{Budget, ENTRY};
use crate::ring::flight;
use crate::scheme::link::Link;
use ring_abi::args::{CancelTag, Strength};
use ring_abi::{Cqe, Errno, Opcode, Words};

/// What looking at an operation is reckoned to cost.
const LOOK: u32 = 20;
/// A walk of so many operations is done in one go.
const SHORT: u32 = 16;

/// Operations with a tag on their way to be cancelled, from the latest to the first.
struct Walk {
    tag: u32,
    ask: bool,
    grace: u64,
    found: u64,
}

/// Cancels the operations of the caller's ring that have a tag, and that started before this one.
///
/// The ring's list is as long as the program made it. Where a step's budget ends, this operation's own record
/// is filed in the list, behind the operation to go on with.
pub fn start(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let s = cx.s;
    let args = CancelTag::decode(entry)?;
    let ask = match args.strength {
        raw if raw == Strength::Ask as u32 => true,
        raw if raw == Strength::Force as u32 => false,
        _ => return Err(Errno::INVAL),
    };
    let mut walk = Walk { tag: args.tag, ask, grace: args.grace, found: 0 };
    let last = flight::last(cx.ring);
    if cx.ring.cq.held() <= SHORT {
        walk.run(s, last, |units| {
            cx.budget.charge(units);
            true
        });
        return walk.result().map(Outcome::Done);
    }
    s.ops.ensure_one(&s.memory)?;

    let rest = walk.run(s, last, |units| cx.budget.spend(units));
    if rest == NONE {
        return walk.result().map(Outcome::Done);
    }
    let Ok(id) = cx.start_op(Opcode::CancelTag) else { crate::bug!("an operation's record was ensured") };
    walk.rest(s, id, rest);
    super::work::add(s, id);
    Ok(Outcome::Parked)
}

/// Goes on with a cancel. `false`: it has ended.
pub fn slice(s: &State, id: u32, budget: &Budget) -> bool {
    let op = s.ops.at(id);
    if op.is_detached() {
        s.end_op(id, Err(Errno::CANCELED), 0);
        return false;
    }
    let [tag, grace, found, ask] = [op.arg(0), op.arg(1), op.arg(2), op.arg(3)];
    let mut walk = Walk { tag: tag as u32, ask: ask != 0, grace, found };
    let rest = walk.run(s, flight::before(&op.of_ring), |units| budget.spend(units));
    if rest == NONE {
        s.end_op(id, walk.result(), 0);
        return false;
    }
    walk.rest(s, id, rest);
    true
}

impl Walk {
    /// Looks at an operation and those that started before it, as long as there is budget for it. Gives the
    /// one to go on with, or `NONE`.
    fn run(&mut self, s: &State, from: u32, spend: impl Fn(u32) -> bool) -> u32 {
        let mut at = from;
        while at != NONE {
            let op = s.ops.at(at);
            let matches = op.tag.get() == self.tag;
            if !spend(if matches { ENTRY } else { LOOK }) {
                return at;
            }
            let before = flight::before(&op.of_ring);
            if matches {
                self.found = self.found.wrapping_add(1);
                let asked = self.ask && op.wait.get() == Wait::Reply && ask(s, at, self.grace);
                if !asked {
                    force(s, at, Errno::CANCELED);
                }
            }
            at = before;
        }
        NONE
    }

    /// Remembers how far it is in its own record.
    fn rest(&self, s: &State, id: u32, rest: u32) {
        let op = s.ops.at(id);
        flight::remove(s, &op.of_ring);
        flight::insert_after(s, rest, id);
        for (index, word) in
            [u64::from(self.tag), self.grace, self.found, u64::from(self.ask)].into_iter().enumerate()
        {
            op.set_arg(index, word);
        }
    }

    fn result(&self) -> Result<u64, Errno> {
        if self.found == 0 { Err(Errno::NOENT) } else { Ok(self.found) }
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
        link.held_up.set(true);
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
    flight::remove(s, &op.of_ring);
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
                flight::remove(s, &op.of_ring);
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
    link.unbind(&s.slots, op.slot_tag.get());
    forget_notice(s, link, id);
    if let (true, Ok(file), 0) = (forward::makes_file(op.opcode.get()), entry.result(), entry.flags & 7) {
        let made = open::use_reserve(s, op, file);
        s.let_go(made);
    }
    s.drop_op(id);
}
