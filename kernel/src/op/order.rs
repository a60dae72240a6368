//! Submissions whose start or completion depends on others: taking them from the ring.
//!
//! A chain is what is submitted together, each entry but the last with `LINK` or `HARD_LINK`; where a batch ends, its chain
//! ends too. Each entry is copied when it is taken, with its completion's place, and nothing of a chain starts before all of
//! it is taken. So a chain starts when it has all its places, however long the program takes to make room; one that is
//! longer than the completion queue never has them and is refused.
//!
//! What holds an entry is its operation's record, filed in its ring like any other: it can be cancelled, and it dies with
//! its ring. See [`super::chain`] for how it goes on, and [`super::barrier`] for what holds it up beside its chain.
#![forbid(unsafe_code)]

use super::inflight::{Notice, Shape, TIED, Wait};
use super::state::{ByWait, State};
use super::{barrier, chain};
use crate::base::{NONE, is_none};
use crate::context::context::State as Run;
use crate::ring::duplex::Ring;
use crate::ring::flight;
use crate::ring::tie::{DRAIN, Line, REFUSING};
use ring_abi::sqe::{Head, SqeFlags};
use ring_abi::{Cqe, Errno, Opcode, Words};

/// Flags that make the next entry one of the same chain.
const LINKS: u8 = SqeFlags::LINK.union(SqeFlags::HARD_LINK).bits();

/// Whether a submission has to be taken by [`take`].
///
/// A cancel without a flag passes every barrier: otherwise nothing before one or behind it could be cancelled.
pub fn concerns(s: &State, ring: &Ring, head: Head) -> bool {
    if head.flags() & SqeFlags::ORDER.bits() != 0 || names_handle(head) {
        return true;
    }
    match ring.line.get() {
        NONE => false,
        REFUSING => true,
        name => {
            let line = s.lines.at(name);
            let cancels = Opcode::from_raw(head.opcode()).is_some_and(|opcode| opcode.passes_barriers());
            line.gathers() || line.refusing.get() || !cancels
        }
    }
}

/// Whether a submission says where its new handle goes, so that it needs a record that remembers that.
fn names_handle(head: Head) -> bool {
    head.group() != 0 && head.flags() & SqeFlags::BUFFER_SELECT.bits() == 0
}

/// The line of a ring, if it has one.
pub fn line<'a>(s: &'a State, ring: &Ring) -> Option<&'a Line> {
    match ring.line.get() {
        NONE | REFUSING => None,
        name => Some(s.lines.at(name)),
    }
}

/// Takes a submission, whose completion has its place. `false`: the asker is gone, and with it its ring.
pub fn take(s: &State, ring: &Ring, head: Head, entry: &impl Words) -> bool {
    let context = s.contexts.at(ring.owner.get());
    let links = head.flags() & LINKS != 0;
    if is_refusing(s, ring) {
        s.post(ring, Cqe::new(head.tag(), Err(Errno::CANCELED)));
        if !links {
            refuse(s, ring, false);
        }
    } else {
        match make(s, ring, head, entry) {
            Ok(id) => file(s, ring, id, links),
            Err(error) => fail(s, ring, head, error, links),
        }
    }
    chain::run(s);
    tidy(s, ring);
    context.state.get() == Run::Active
}

/// The submissions end here, and with them a chain that is not whole. `false`: the asker is gone, and with it its ring.
#[cold]
#[inline(never)]
pub fn cut(s: &State, ring: &Ring) -> bool {
    let context = s.contexts.at(ring.owner.get());
    refuse(s, ring, false);
    if let Some(line) = line(s, ring)
        && line.gathers()
    {
        whole(s, ring, line);
        chain::run(s);
    }
    pause(s, ring);
    context.state.get() == Run::Active
}

/// No more submissions are taken just now. What is left of a ring's line keeps the short roads away.
#[cold]
#[inline(never)]
pub fn pause(s: &State, ring: &Ring) {
    tidy(s, ring);
    if !is_none(ring.line.get()) {
        ring.cq.forget_room();
    }
}

/// There is no room for the next completion. A chain that has all places and is not whole never will be: it is refused.
#[cold]
#[inline(never)]
pub fn starved(s: &State, ring: &Ring) {
    if let Some(line) = line(s, ring)
        && line.gathers()
        && line.count.get() >= ring.memory.get().cq().capacity()
    {
        let first = line.first.get();
        line.forget_chain();
        line.refusing.set(true);
        chain::due(s, first, Some(Errno::INVAL));
        chain::run(s);
    }
    pause(s, ring);
}

/// How many of a ring's operations stay as they are until the program submits more.
#[cold]
#[inline(never)]
pub fn gathered(s: &State, ring: &Ring) -> u32 {
    line(s, ring).map_or(0, |line| line.count.get())
}

/// Takes all that a submission needs, and files it as one that has not started.
pub fn make(s: &State, ring: &Ring, head: Head, entry: &impl Words) -> Result<u32, Errno> {
    if head.flags() & (LINKS | SqeFlags::DRAIN.bits()) != 0 && is_none(ring.line.get()) {
        let name = s.lines.take(&s.memory)?;
        s.lines.at(name).open();
        ring.line.set(name);
    }
    s.ops.ensure_one(&s.memory)?;
    let tie_name = s.ties.take(&s.memory)?;
    let Ok(id) = s.ops.take(&s.memory) else { crate::bug!("an operation's record was ensured") };

    let (op, tie) = (s.ops.at(id), s.ties.at(tie_name));
    tie.open(head, entry);
    let shape = Shape { wait: Wait::Chain, opcode: Opcode::Nop, notice: Notice::None, marks: TIED };
    s.file_op(ring, tie_name, (id, op), shape, s.memory.machine.ticks() as u32);
    op.file.set(NONE);
    op.object.set(NONE);
    Ok(id)
}

/// Adds a submission to the chain that it belongs to, or gets it ready if it is alone.
fn file(s: &State, ring: &Ring, id: u32, links: bool) {
    let Some(line) = line(s, ring) else { return ready(s, ring, id) };
    let tie = s.tie(id);
    if line.gathers() {
        let (first, last) = (line.first.get(), line.last.replace(id));
        s.tie(last).next.set(id);
        tie.prev.set(last);
        line.count.set(line.count.get().wrapping_add(1));
        if tie.marks.get() & DRAIN != 0 {
            // The whole chain is the barrier then, and what comes behind it waits for all of it.
            tie.marks.set(0);
            s.tie(first).marks.set(DRAIN);
            line.drain_next.set(true);
        }
        if !links {
            whole(s, ring, line);
        }
        return;
    }
    // What comes behind a chain waits for all of it, whichever of its entries is the barrier.
    let is_barrier = links && tie.marks.get() & DRAIN != 0;
    if line.drain_next.replace(is_barrier) {
        tie.marks.set(DRAIN);
    }
    if links {
        line.first.set(id);
        line.last.set(id);
        line.count.set(1);
    } else {
        ready(s, ring, id);
    }
}

/// A chain is taken whole.
fn whole(s: &State, ring: &Ring, line: &Line) {
    let first = line.first.get();
    line.forget_chain();
    ready(s, ring, first);
}

/// Starts an operation, which is alone or the first of its chain, unless a barrier holds it up.
fn ready(s: &State, ring: &Ring, id: u32) {
    let op = s.ops.at(id);
    if let Some(line) = line(s, ring) {
        let waits = s.tie(id).marks.get() & DRAIN != 0 && flight::before(&op.of_ring) != NONE;
        if waits || line.bars() {
            let is_first = !line.bars();
            op.wait.set(Wait::Barrier);
            line.barred.push_back(&ByWait(&s.ops), id);
            if is_first {
                barrier::look(s, line);
            }
            return;
        }
    }
    chain::start(s, id);
}

/// There is no memory to hold a submission: it fails, and its chain with it.
#[cold]
fn fail(s: &State, ring: &Ring, head: Head, error: Errno, links: bool) {
    if let Some(line) = line(s, ring)
        && line.gathers()
    {
        let first = line.first.get();
        line.forget_chain();
        chain::due(s, first, Some(Errno::CANCELED));
    }
    s.post(ring, Cqe::new(head.tag(), Err(error)));
    if links {
        refuse(s, ring, true);
    }
}

fn is_refusing(s: &State, ring: &Ring) -> bool {
    ring.line.get() == REFUSING || line(s, ring).is_some_and(|line| line.refusing.get())
}

/// Refuses the rest of a chain that failed, or stops to.
fn refuse(s: &State, ring: &Ring, refusing: bool) {
    match line(s, ring) {
        Some(line) => line.refusing.set(refusing),
        None => ring.line.set(if refusing { REFUSING } else { NONE }),
    }
}

/// Gives a ring's line back if nothing is left in it.
pub fn tidy(s: &State, ring: &Ring) {
    if let Some(line) = line(s, ring)
        && line.is_idle()
    {
        forget(s, ring);
    }
}

/// Gives a ring's line back, in which nobody is any more.
pub fn forget(s: &State, ring: &Ring) {
    let name = ring.line.replace(NONE);
    if name != NONE && name != REFUSING {
        s.lines.give(name);
    }
}
