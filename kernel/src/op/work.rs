//! Work that goes on after the step that began it: a bounded slice in each later step.
//!
//! Interrupts and other contexts run between slices. The kinds of work take turns, so none starves another.
#![forbid(unsafe_code)]

use super::inflight::Wait;
use super::state::{ByWait, State};
use super::{
    barrier, chain, channel, context, death, dormant, exec, flush, mapping, memory, migrate, page_in, port,
    provided, refill, register, registered, space, walk,
};
use crate::base::NONE;
use crate::base::budget::Budget;
use ring_abi::{Errno, Opcode};

/// Kinds of work.
const KINDS: u32 = 13;

impl State {
    /// Whether nothing is left to do between events.
    #[inline]
    pub fn work_is_done(&self) -> bool {
        self.work.is_empty()
            && self.due.is_empty()
            && self.doomed.is_empty()
            && (self.ending.is_empty() || !self.awaiting.is_empty())
            && self.dying_links.is_empty()
            && self.suspects.is_empty()
            && self.dying_tables.is_empty()
            && self.dying_ports.is_empty()
            && self.channel_work.is_empty()
            && self.to_refill.is_empty()
            && space::is_idle(self)
            && self.memory.has_no_dying_object()
            && self.answered_pages.is_empty()
            && flush::is_idle(self)
            && self.polls.nothing_is_due()
    }
}

/// Does a slice of one kind of work. `false`: there was none of any kind.
pub fn slice(s: &State, budget: &Budget) -> bool {
    if s.work_is_done() {
        return false;
    }
    for _ in 0..KINDS {
        let turn = s.work_turn.get().wrapping_add(1) % KINDS;
        s.work_turn.set(turn);
        let worked = match turn {
            0 => slice_ops(s, budget),
            1 => !(s.ending.is_empty() && s.doomed.is_empty()) && death::slice_contexts(s, budget),
            2 => !s.dying_links.is_empty() && death::slice_links(s, budget),
            3 => !s.dying_tables.is_empty() && death::slice_tables(s, budget),
            4 => !s.channel_work.is_empty() && channel::slice(s, budget),
            5 => !s.to_refill.is_empty() && refill::slice(s),
            6 => !s.suspects.is_empty() && dormant::slice(s, budget),
            7 => flush::slice(s, budget),
            8 => chain::run(s),
            9 => port::slice(s, budget),
            10 => mapping::slice_ended(s, budget),
            11 => page_in::slice(s, budget),
            _ => !space::is_idle(s) && space::slice_ending(s, budget),
        };
        if worked {
            return true;
        }
    }
    false
}

fn slice_ops(s: &State, budget: &Budget) -> bool {
    let Some(id) = s.work.pop_front(&ByWait(&s.ops)) else { return false };
    // The slice ends the operation or leaves it out of the list; what is left goes to the end.
    let more = match s.ops.at(id).opcode.get() {
        Opcode::Map | Opcode::Unmap | Opcode::Protect | Opcode::Advise => memory::slice(s, id, budget),
        Opcode::SchemeRegister | Opcode::RingCreate => register::slice(s, id, budget),
        Opcode::ContextCreate => context::slice(s, id, budget),
        Opcode::RingMove => migrate::slice(s, id, budget),
        Opcode::ExecCommit => exec::slice(s, id, budget),
        Opcode::CancelTag
        | Opcode::CancelHandle
        | Opcode::CancelAll
        | Opcode::TimeoutUpdate
        | Opcode::TimeoutRemove => walk::slice(s, id, budget),
        Opcode::RegisterGroup => provided::slice(s, id, budget),
        Opcode::RegisterBuffer => registered::slice(s, id, budget),
        _ => space::slice(s, id, budget),
    };
    if more {
        s.work.push_back(&ByWait(&s.ops), id);
    }
    true
}

/// Files an operation that was just started as work, to go on in later steps.
pub fn add(s: &State, id: u32) {
    s.ops.at(id).wait.set(Wait::Work);
    s.work.push_back(&ByWait(&s.ops), id);
    s.step.rearm();
}

/// Cancels an operation that works: it undoes or finishes what it must, and completes with `error` now.
pub fn cancel(s: &State, id: u32, error: Errno) {
    let op = s.ops.at(id);
    let ring_id = op.ring.get();
    let whose = chain::untie(op);
    orphan(s, id);
    if ring_id != NONE {
        chain::complete(s, s.rings.at(ring_id), whose, Err(error), 0);
    }
}

/// The asker of an operation that works is gone: the work is told, and ends by itself.
pub fn orphan(s: &State, id: u32) {
    let op = s.ops.at(id);
    let ring_id = op.ring.replace(NONE);
    if ring_id != NONE {
        barrier::unfile(s, s.rings.at(ring_id), op);
    }
}
