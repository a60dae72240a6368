//! What a daemon is told without being asked for an answer: that a file is closed, that a client gave up.
//!
//! Such a message takes a place in the request queue and no slot. While the queue is full it waits in a list
//! of the link, in the record that it is about; so telling needs no memory and nothing gets lost.
#![forbid(unsafe_code)]

use super::inflight::Notice;
use super::state::{ByClosing, ByWait, State};
use crate::base::NONE;
use crate::context::file::Kind;
use crate::ring::duplex::Ring;
use crate::scheme::link::Link;
use ring_abi::ring::PushError;
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

/// Writes a one-way request. `false`: there is no room.
fn push(s: &State, daemon: &Ring, opcode: Opcode, tag: u32, file: u64) -> bool {
    let memory = daemon.memory.get();
    let Some(requests) = memory.requests() else { return false };
    let head = u64::from(opcode.raw()) | u64::from(SqeFlags::ONEWAY.bits()) << 8 | u64::from(tag) << 32;
    match daemon.rq.push(&requests, [head, file, 0, 0, 0, 0, 0, 0]) {
        Ok(()) => {}
        Err(PushError::Full) => return false,
        Err(PushError::Corrupt) => {
            s.condemn(daemon.owner.get());
            return false;
        }
    }
    daemon.rq.publish(&requests);
    if daemon.waits_for(enter::REQUESTS) {
        s.wake(daemon);
    }
    true
}

impl State {
    /// The last holder of a file let go.
    #[cold]
    #[inline(never)]
    pub fn close_file(&self, id: u32) {
        let file = self.files.at(id);
        let object = file.object.get();
        match file.kind.get() {
            Kind::Daemon if self.links.at(object).lives() => {
                let link = self.links.at(object);
                link.hold_up(true);
                link.closings.push_back(&ByClosing(&self.files), id);
                return tell(self, link);
            }
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
