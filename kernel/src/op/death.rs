//! Ends: of contexts, links and handle tables. What cannot be done at once is taken apart in slices, from
//! records that exist already, so an end never needs memory.
//!
//! At once: nothing of the context runs any more, its links take no more requests. In slices: its operations
//! are left or detached, what its links owed fails, its rings, tables and space are let go, and at last those
//! who wait for its end hear of it.
//!
//! All contexts of an address space end together (`Exit`, `ExecCommit`). What does not fit into the step makes
//! the space *doomed*: none of its contexts runs, none can be named as one that lives, none is added, and
//! slices end them one by one. No context is buried before all that are doomed have ended, so whoever hears
//! of one end finds the others' links dead.
#![forbid(unsafe_code)]

use super::inflight::Wait;
use super::state::{ByDoom, ByLink, ByName, BySpace, ByTable, ByTurn, ByWait, State};
use super::{cancel, channel, page_in, polled, port};
use crate::base::NONE;
use crate::base::budget::{Budget, ENTRY};
use crate::base::list::Chain;
use crate::base::name::number_of;
use crate::base::trace::What;
use crate::context::context::{Context, Fate, State as Run};
use crate::context::timers::CONTEXT;
use crate::mem::user::{self, Access};
use crate::mem::wired;
use crate::op::stats::count;
use crate::ring::duplex::Ring;
use crate::ring::flight;
use crate::ring::place;
use crate::scheme::link::Link;
use crate::scheme::names::Target;
use ring_abi::context::{End, Reason};
use ring_abi::{Errno, Opcode};

impl State {
    /// Ends a context: from now on nothing of it runs. The rest follows in slices.
    pub fn end_context(&self, id: u32, end: End) {
        let context = self.contexts.at(id);
        if !context.lives() {
            return;
        }
        if let Some(cpu) = self.elsewhere(id, context) {
            let fate = context.fate.get();
            return self.summon_to_end(cpu, context, end, if fate == Fate::None { Fate::Ends } else { fate });
        }
        let fate = context.fate.replace(Fate::None);
        self.note(What::Ended, [u64::from(id), end.to_raw()]);
        match context.state.get() {
            Run::Ready => self.take_out(id),
            Run::Active => {
                if let Some(ring) = self.waits_in(context) {
                    ring.waits.set(0);
                }
            }
            Run::Stopped => self.stir(context),
            Run::Paging => page_in::leave_context(self, context),
            _ => {}
        }
        if context.timer.get() != NONE {
            self.timers.remove(self, id | CONTEXT);
        }
        self.forget_payer(id);
        context.unfinished.set(None);
        context.end.set(end);
        context.state.set(Run::Ending);
        for (_, ring) in context.rings() {
            let ring = self.rings.at(ring);
            if self.traced.get() != 0 && self.traced.get() == context.pid.get() {
                super::tracer::completions(self, context, ring);
            }
            self.end_link_of(ring);
            port::end(self, ring);
            polled::end(self, ring);
        }
        self.ending.push_back(&ByTurn(&self.contexts), id);
        self.step.rearm();
        if fate == Fate::Awaited {
            self.one_less_awaited(context.space.get());
        }
        if id == self.first_context.get() {
            self.say(format_args!("the first program ended ({end:?}): nothing is left to run"));
            self.halt.set(Some(match end {
                End::Exited(code) => u32::from(code),
                End::Ended(_) => 0xff,
            }));
        }
    }

    /// Ends all contexts of an address space: as many as the budget allows now, the others in slices.
    pub fn end_contexts(&self, space_id: u32, end: End, budget: &Budget) {
        let space = self.memory.space(space_id);
        if space.contexts.is_empty() || space.doom.get().is_some() {
            return;
        }
        space.doom.set(Some(end));
        space.next_doomed.set(space.contexts.first());
        self.doomed.push_back(&ByDoom(&self.memory.spaces), space_id);
        self.step.rearm();
        slice_doomed(self, budget);
    }

    /// Whether a context is to end with the others of its space.
    pub fn is_doomed(&self, context: &Context) -> bool {
        self.has_doomed() && self.doom(context).is_some()
    }

    /// Whether there are contexts that are to end with the others of their space.
    pub fn has_doomed(&self) -> bool {
        !self.doomed.is_empty() || !self.awaiting.is_empty()
    }

    /// A context of a doomed space has ended that ran on another processor when its turn came.
    fn one_less_awaited(&self, space_id: u32) {
        let space = self.memory.space(space_id);
        space.awaited.set(space.awaited.get().wrapping_sub(1));
        if space.awaited.get() == 0 && space.next_doomed.get() == NONE {
            self.awaiting.remove(&ByDoom(&self.memory.spaces), space_id);
            space.doom.set(None);
        }
    }

    fn doom(&self, context: &Context) -> Option<End> {
        self.memory.spaces.get(context.space.get())?.doom.get()
    }

    /// Ends a doomed context that is taken out of the ready queue before its turn has come to end.
    pub fn end_doomed(&self, id: u32, context: &Context) {
        if let Some(end) = self.doom(context) {
            context.state.set(Run::Active);
            self.end_context(id, end);
        }
    }

    /// Ends the author of an index that cannot be.
    #[cold]
    #[inline(never)]
    pub fn condemn(&self, id: u32) {
        self.say(format_args!("context {} ended: an index in its ring cannot be", number_of::<Context>(id)));
        count(&self.stats.killed);
        self.end_context(id, End::Ended(Reason::CorruptRing));
    }

    /// A daemon's ring is gone: its link takes no more requests.
    pub fn end_link_of(&self, ring: &Ring) {
        let id = ring.link.replace(NONE);
        if id == NONE {
            return;
        }
        let link = self.links.at(id);
        self.note(What::LinkDied, [u64::from(id), 0]);
        link.ring.set(NONE);
        link.hold_up(true);
        super::refill::forget(self, id, link);
        link.progress.set(0);
        self.dying_links.push_back(&ByLink(&self.links), id);
        // At most 256 names exist.
        let mut at = self.name_list.first();
        while at != NONE {
            let name = self.names.at(at);
            let next = ByName(&self.names).link(at).next();
            if name.target.get() == Target::Link(id) {
                self.name_list.remove(&ByName(&self.names), at);
                name.target.set(Target::Free);
                if self.last_name.get() == at {
                    self.last_name.set(NONE);
                }
                self.let_go(name.root.get());
                self.names.give(at);
            }
            at = next;
        }
    }

    /// One holder of a link's record fewer.
    pub fn release_link(&self, id: u32) {
        let link = self.links.at(id);
        let left = link.refs.get().wrapping_sub(1);
        link.refs.set(left);
        if left == 0 {
            self.slots.give(link.row(), link.log2.get());
            self.links.give(id);
        }
    }

    /// One file that leads to a context fewer.
    pub fn release_context(&self, id: u32) {
        let context = self.contexts.at(id);
        let left = context.refs.get().wrapping_sub(1);
        context.refs.set(left);
        if left == 1 && context.state.get() == Run::Stopped {
            // Nobody can start it any more.
            self.end_context(id, End::Ended(Reason::Killed));
        } else if left == 0 {
            self.contexts.give(id);
        }
    }

    /// One holder of a handle table fewer.
    pub fn release_table(&self, id: u32) {
        let table = self.tables.at(id);
        let left = table.refs.get().wrapping_sub(1);
        table.refs.set(left);
        if left == 0 {
            self.trust(id);
            self.dying_tables.push_back(&ByTable(&self.tables), id);
        } else {
            self.suspect(id);
        }
    }

    /// One holder of an address space fewer: a context or a file.
    pub fn release_space(&self, id: u32) {
        let space = self.memory.space(id);
        let left = space.refs.get().wrapping_sub(1);
        space.refs.set(left);
        if left == 0 {
            super::space::end(self, id);
        }
    }
}

/// Nobody may enter user mode because there is no memory for a preemption: ends the context that is first
/// in line, which gives memory back.
pub fn no_memory(s: &State) {
    let cpu = s.this_cpu();
    let line = [cpu.held.get(), cpu.queue.peek(), s.step.handoff()];
    if let Some(id) = line.into_iter().find(|&id| id != NONE) {
        s.note(What::OutOfMemory, [u64::from(id), 0]);
        count(&s.stats.killed);
        s.end_context(id, End::Ended(Reason::OutOfMemory));
    }
}

/// Ends some contexts of the first doomed space. `false`: there is none.
fn slice_doomed(s: &State, budget: &Budget) -> bool {
    let space_id = s.doomed.first();
    if space_id == NONE {
        return false;
    }
    let space = s.memory.space(space_id);
    let Some(end) = space.doom.get() else { crate::bug!("space {space_id} is doomed to nothing") };
    // The list stays as it is: nobody enters or leaves a doomed space, and burials wait.
    while space.next_doomed.get() != NONE {
        if !budget.spend(ENTRY) {
            return true;
        }
        let id = space.next_doomed.get();
        space.next_doomed.set(BySpace(&s.contexts).link(id).next());
        let context = s.contexts.at(id);
        match s.elsewhere(id, context) {
            Some(cpu) => {
                space.awaited.set(space.awaited.get().wrapping_add(1));
                s.summon_to_end(cpu, context, end, Fate::Awaited);
            }
            None => s.end_context(id, end),
        }
    }
    s.doomed.remove(&ByDoom(&s.memory.spaces), space_id);
    if space.awaited.get() == 0 {
        space.doom.set(None);
    } else {
        s.awaiting.push_back(&ByDoom(&s.memory.spaces), space_id);
    }
    true
}

/// Takes the first ending context a little further apart, or ends one that is doomed. `false`: there is none.
pub fn slice_contexts(s: &State, budget: &Budget) -> bool {
    if slice_doomed(s, budget) {
        return true;
    }
    if !s.awaiting.is_empty() {
        // Their processors were poked, and nobody is buried before they have ended.
        return false;
    }
    let id = s.ending.first();
    if id == NONE {
        return false;
    }
    let context = s.contexts.at(id);
    for (number, ring_id) in context.rings() {
        let ring = s.rings.at(ring_id);
        loop {
            let op = flight::first(ring);
            if op == NONE {
                break;
            }
            if !budget.spend(ENTRY) {
                return true;
            }
            cancel::abandon(s, op);
        }
        // One whose making was complete before it was left.
        s.end_link_of(ring);
        super::registered::strip(s, ring);
        super::order::forget(s, ring);
        place::drop(&s.memory, &s.rings, context.take_ring(number));
    }
    if budget.spend(ENTRY) {
        give_up(s, id, context);
        if tell_watchers(s, context, budget) {
            s.ending.remove(&ByTurn(&s.contexts), id);
            bury(s, id, context);
        }
    }
    true
}

/// Lets go of what a context held. There is nothing left to do the second time.
fn give_up(s: &State, id: u32, context: &Context) {
    let space_id = context.space.replace(NONE);
    if space_id != NONE {
        wake_end_word(s, context, space_id);
        s.memory.space(space_id).contexts.remove(&BySpace(&s.contexts), id);
        s.release_space(space_id);
    }
    s.release_bounds(&context.bounds);
    let table = context.table.replace(NONE);
    if table != NONE {
        s.release_table(table);
    }
    s.memory.machine.forget(&context.regs);
    if let Some(block) = context.regs.detach() {
        s.blocks.give(block);
    }
}

/// Tells those who wait for a context's end; each is one completion. `false`: some are left.
fn tell_watchers(s: &State, context: &Context, budget: &Budget) -> bool {
    let raw = context.end.get().to_raw();
    while !context.watchers.is_empty() {
        if !budget.spend(ENTRY) {
            return false;
        }
        if let Some(op) = context.watchers.pop_front(&ByWait(&s.ops)) {
            let result = match s.ops.at(op).opcode.get() {
                Opcode::ContextKill => Ok(0),
                Opcode::ContextStop => Err(Errno::SRCH),
                _ => Ok(raw),
            };
            s.end_op(op, result, 0);
        }
    }
    true
}

/// The last of a context's end.
fn bury(s: &State, id: u32, context: &Context) {
    context.state.set(Run::Ended);
    let left = context.refs.get().wrapping_sub(1);
    context.refs.set(left);
    if left == 0 {
        s.contexts.give(id);
    }
}

/// Zeroes and wakes the word that the context named, so that a join needs no system call of its own.
fn wake_end_word(s: &State, context: &Context, space_id: u32) {
    let address = context.end_word.replace(0);
    if address == 0 {
        return;
    }
    let space = s.memory.space(space_id);
    let Ok(place) = user::word_place(&s.memory, space, address, Access::Write) else { return };
    s.memory.machine.store_u32(place, 0);
    let (object, offset) = space.futex_key(&s.memory, space_id, address);
    if let Some(channel) = channel::find(s, channel::Key::Futex { object, offset }) {
        channel::wake(s, channel, u64::MAX);
    }
}

/// Fails a little of what a dead daemon owed. `false`: there is none.
pub fn slice_links(s: &State, budget: &Budget) -> bool {
    let id = s.dying_links.first();
    if id == NONE {
        return false;
    }
    let link = s.links.at(id);
    while link.progress.get() < link.count() {
        if !budget.spend(ENTRY) {
            return true;
        }
        let index = link.progress.replace(link.progress.get().wrapping_add(1));
        if let Some(op_id) = link.owed_at(&s.slots, s, index) {
            fail_owed(s, link, op_id);
        }
    }
    while let Some(op_id) = link.pop_record(&s.slots, s) {
        s.took_idle(1);
        s.ops.give(op_id);
        if !budget.spend(ENTRY) {
            return true;
        }
    }
    while let Some(op_id) = link.waiting.pop_front(&ByWait(&s.ops)) {
        super::cursor::release(s, op_id);
        s.end_op(op_id, Err(Errno::NODEV), 0);
        if !budget.spend(ENTRY) {
            return true;
        }
    }
    while let Some(channel) = channel::of_link(s, id) {
        let op_id = channel::first(s, channel);
        channel::leave(s, op_id);
        s.end_op(op_id, Err(Errno::CONNRESET), 0);
        if !budget.spend(ENTRY) {
            return true;
        }
    }
    while let Some(file) = link.closings.pop_front(&super::state::ByClosing(&s.files)) {
        s.free_file(file);
        if !budget.spend(ENTRY) {
            return true;
        }
    }
    s.dying_links.remove(&ByLink(&s.links), id);
    wired::release(&s.memory, link.block.replace(NONE));
    s.release_link(id);
    true
}

/// Fails an operation that a dead daemon has taken.
fn fail_owed(s: &State, link: &Link, op_id: u32) {
    let op = s.ops.at(op_id);
    if op.wait.get() == Wait::Page {
        // It was answered, and waits for a page of somebody else's.
        page_in::leave_op(s, op_id);
    } else {
        link.unbind(&s.slots, op.slot_tag.get());
    }
    cancel::forget_notice(s, link, op_id);
    super::cursor::release(s, op_id);
    if op.is_detached() { s.drop_op(op_id) } else { s.end_op(op_id, Err(Errno::CONNRESET), 0) }
}

/// Closes a few handles of a table that nobody uses any more. `false`: there is none.
pub fn slice_tables(s: &State, budget: &Budget) -> bool {
    let id = s.dying_tables.first();
    if id == NONE {
        return false;
    }
    let table = s.tables.at(id);
    while let Some((number, _, _)) = table.next(&s.chunks, 0) {
        if !budget.spend(ENTRY) {
            return true;
        }
        if let Ok(file) = table.remove(&s.chunks, number) {
            s.let_go_handle(file);
        }
    }
    s.dying_tables.remove(&ByTable(&s.tables), id);
    table.give_chunks(&s.chunks);
    s.tables.give(id);
    true
}
