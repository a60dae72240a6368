//! `RingHandle`: a handle to a ring, and what becomes of handles and rings when one of the two ends.
//!
//! Holding such a handle is the right to send messages to the ring; see [`super::message`].
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::state::{ByPort, ByWait, State};
use super::{OpResult, Outcome};
use crate::base::budget::{Budget, ENTRY};
use crate::base::{ABSENT, NONE};
use crate::context::file::Kind;
use crate::ring::duplex::{BACKLOG, OPEN, Ring};
use crate::ring::port::ByRing;
use ring_abi::args::{CURRENT, RingHandle, port::FIXED_TAG};
use ring_abi::{Errno, Words, enter};

/// Bit of a file's `id`: what comes through it has the tag in the low half.
pub const FIXED: u64 = 1 << 32;

/// Makes a handle to one of the caller's rings.
pub fn handle(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = RingHandle::decode(entry)?;
    let s = cx.s;
    if args.flags & !FIXED_TAG != 0 {
        return Err(Errno::INVAL);
    }
    let ring = match args.ring {
        CURRENT => cx.ring,
        number => match cx.context.ring(number) {
            ABSENT => return Err(Errno::BADF),
            name => s.rings.at(name),
        },
    };
    let place = cx.vacant()?;
    s.files.ensure_one(&s.memory)?;
    let port_id = of(s, ring)?;
    let Ok(file) = s.files.take(&s.memory) else { crate::bug!("a file record was ensured") };

    let port = s.ports.at(port_id);
    port.refs.set(port.refs.get().wrapping_add(1));
    let fixed = if args.flags & FIXED_TAG != 0 { FIXED | u64::from(args.tag) } else { 0 };
    s.files.at(file).open(Kind::Ring, port_id, fixed);
    Ok(Outcome::Done(cx.put(place, file, 0)))
}

/// The port of a ring that lives, made if there is none.
fn of(s: &State, ring: &Ring) -> Result<u32, Errno> {
    let ring_id = ring.id.get();
    if let Some(id) = s.port_tree.find(&ByRing(&s.ports), ring_id) {
        return Ok(id);
    }
    let id = s.ports.take(&s.memory)?;
    let port = s.ports.at(id);
    port.ring.set(ring_id);
    port.refs.set(0);
    if s.port_tree.insert(&ByRing(&s.ports), id).is_err() {
        crate::bug!("two ports of ring {ring_id}");
    }
    ring.mark(OPEN, true);
    Ok(id)
}

/// The port of a ring that is marked as having one.
pub fn known(s: &State, ring: &Ring) -> u32 {
    match s.port_tree.find(&ByRing(&s.ports), ring.id.get()) {
        Some(id) => id,
        None => crate::bug!("a ring is open and has no port"),
    }
}

/// One file that leads to a port fewer. Nobody waits at one without files.
pub fn release(s: &State, id: u32) {
    let port = s.ports.at(id);
    let left = port.refs.get().wrapping_sub(1);
    port.refs.set(left);
    if left != 0 {
        return;
    }
    if let Some(ring) = s.rings.get(port.ring.get()) {
        s.port_tree.remove(&ByRing(&s.ports), id);
        ring.mark(OPEN, false);
        // What it waits for may never come now: it has to look again.
        if ring.waits_for(enter::COMPLETIONS) {
            s.wake(ring);
        }
    }
    port.ring.set(NONE);
    s.ports.give(id);
}

/// What comes through a ring's port comes to another ring from now on, unless that has one of its own.
pub fn hand_over(s: &State, from: &Ring, to: &Ring) {
    if !from.is_marked(OPEN) || to.is_marked(OPEN) {
        return;
    }
    let id = known(s, from);
    let port = s.ports.at(id);
    s.port_tree.remove(&ByRing(&s.ports), id);
    port.ring.set(to.id.get());
    if s.port_tree.insert(&ByRing(&s.ports), id).is_err() {
        crate::bug!("two ports of ring {}", to.id.get());
    }
    from.mark(OPEN | BACKLOG, false);
    to.mark(if port.waiting.is_empty() { OPEN } else { OPEN | BACKLOG }, true);
    to.guard();
}

/// A ring is gone: nothing comes through its port any more.
pub fn end(s: &State, ring: &Ring) {
    if !ring.is_marked(OPEN) {
        return;
    }
    let id = known(s, ring);
    let port = s.ports.at(id);
    s.port_tree.remove(&ByRing(&s.ports), id);
    port.ring.set(NONE);
    ring.mark(OPEN | BACKLOG, false);
    if !port.waiting.is_empty() {
        s.dying_ports.push_back(&ByPort(&s.ports), id);
        s.step.rearm();
    }
}

/// Ends some of the messages that waited for a ring that is gone. `false`: there are none.
pub fn slice(s: &State, budget: &Budget) -> bool {
    let id = s.dying_ports.first();
    if id == NONE {
        return false;
    }
    let port = s.ports.at(id);
    while budget.spend(ENTRY) {
        let Some(op_id) = port.waiting.pop_front(&ByWait(&s.ops)) else { break };
        let is_last = port.waiting.is_empty();
        if is_last {
            s.dying_ports.remove(&ByPort(&s.ports), id);
        }
        // With it goes its hold on the port.
        s.end_op(op_id, Err(Errno::PIPE), 0);
        if is_last {
            break;
        }
    }
    true
}
