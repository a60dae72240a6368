//! What a daemon is told without being asked for an answer: that a file is closed, that a client gave up.
//!
//! Such a message takes a place in the request queue and no slot. While the queue is full it waits in a list
//! of the link, in the record that it is about; so telling needs no memory and nothing gets lost.
#![forbid(unsafe_code)]

use super::forward;
use super::inflight::Notice;
use super::state::{ByClosing, ByWait, State};
use crate::base::NONE;
use crate::context::file::Kind;
use crate::ring::duplex::Ring;
use crate::scheme::link::Link;
use ring_abi::ring;
use ring_abi::{Opcode, SqeFlags, enter};

/// What a message is reckoned to cost.
const TELL: u32 = 100;

/// Tells what waits to be told, as far as there is room.
pub fn tell(s: &State, link: &Link) {
    if !link.lives() {
        return;
    }
    let daemon = s.rings.at(link.ring.get());
    loop {
        let op_id = link.cancels.first();
        if op_id == NONE {
            break;
        }
        let op = s.ops.at(op_id);
        if !s.memory.budget.spend(TELL) {
            return super::refill::later(s, op.object.get());
        }
        let file = if op.file.get() == NONE { 0 } else { s.files.at(op.file.get()).id.get() };
        if !push(s, daemon, Opcode::Cancel, op.slot_tag.get(), file) {
            return;
        }
        link.cancels.remove(&ByWait(&s.ops), op_id);
        op.notice.set(Notice::Told);
    }
    loop {
        let file_id = link.closings.first();
        if file_id == NONE {
            return;
        }
        if !s.memory.budget.spend(TELL) {
            return super::refill::later(s, s.files.at(file_id).object.get());
        }
        if !push(s, daemon, Opcode::CloseMsg, 0, s.files.at(file_id).id.get()) {
            return;
        }
        link.closings.remove(&ByClosing(&s.files), file_id);
        s.free_file(file_id);
    }
}

/// Closes a daemon's file that nobody holds, if it lives, nothing waits to be told, and there is room to tell it.
#[inline(always)]
pub fn close(s: &State, id: u32) -> bool {
    let file = s.files.at(id);
    if file.kind.get() != Kind::Daemon {
        return false;
    }
    let link = s.links.at(file.object.get());
    // A link whose daemon is gone is held up.
    if link.is_held_up() || !s.memory.budget.spend(TELL) {
        return false;
    }
    if !push(s, s.rings.at(link.ring.get()), Opcode::CloseMsg, 0, file.id.get()) {
        return false;
    }
    file.kind.set(Kind::Free);
    // Its daemon holds the link too.
    link.refs.set(link.refs.get().wrapping_sub(1));
    s.files.give(id);
    true
}

/// Writes a one-way request. `false`: there is no room.
#[inline(always)]
fn push(s: &State, daemon: &Ring, opcode: Opcode, tag: u32, file: u64) -> bool {
    if !forward::has_room(s, daemon) {
        return false;
    }
    let head = forward::head(opcode, tag) | u64::from(SqeFlags::ONEWAY.bits()) << 8;
    let memory = daemon.memory.get();
    ring::store(memory.service_requests().slot(daemon.rq.position()), [head, file, 0, 0, 0, 0, 0, 0]);
    forward::publish(daemon, 1);
    s.hand_any(s.rouse(daemon, enter::REQUESTS));
    true
}

impl State {
    /// The last holder of a file let go.
    #[cold]
    #[inline(never)]
    pub fn close_file(&self, id: u32) {
        if close(self, id) {
            return;
        }
        let file = self.files.at(id);
        let object = file.object.get();
        match file.kind.get() {
            Kind::Daemon if self.links.at(object).lives() => {
                let link = self.links.at(object);
                self.step.measure(&self.memory.machine);
                link.hold_up(true);
                link.closings.push_back(&ByClosing(&self.files), id);
                return tell(self, link);
            }
            Kind::Daemon | Kind::Root => {}
            _ => self.step.measure(&self.memory.machine),
        }
        match file.kind.get() {
            Kind::Context => self.release_context(object),
            Kind::Space => self.release_space(object),
            Kind::Table => self.release_table(object),
            Kind::Ring => super::port::release(self, object),
            _ => {}
        }
        self.free_file(id);
    }

    /// Frees the record of a file that is told about or needs no telling.
    pub fn free_file(&self, id: u32) {
        let file = self.files.at(id);
        let kind = file.kind.replace(Kind::Free);
        if matches!(kind, Kind::Daemon | Kind::Root) {
            self.release_link(file.object.get());
        }
        self.files.give(id);
    }
}
