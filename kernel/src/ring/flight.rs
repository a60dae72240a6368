//! The operations of a ring that are in flight, in the order in which they started: a circle of neighbours that goes
//! through the ring's own record, so that filing one and taking one out are a few moves and no question.
//!
//! A node of the circle is the name of an operation, or the [end](end_of) that stands for a ring. An operation's record
//! keeps its neighbours at [`LINK_OFFSET`] of a near room that lies before that of rings, so that both kinds of nodes
//! lead to their links by the same sum.
#![forbid(unsafe_code)]

use super::duplex::Ring;
use crate::arch;
use crate::base::list::Link;
use crate::base::name::{NEAR_ROOM_BYTES, NONE, Named, Room};
use core::mem::offset_of;

/// The near room of operations.
pub const OP_ROOM: u8 = 1;
/// The near room of rings.
pub const RING_ROOM: u8 = 2;
/// Where an operation's record keeps its neighbours.
pub const LINK_OFFSET: usize = 0x20;

/// What is added to a ring's name to make its end.
const END: u32 = ((RING_ROOM - OP_ROOM) as u64 * NEAR_ROOM_BYTES) as u32 + offset_of!(Ring, ops) as u32
    - LINK_OFFSET as u32;

const _: () = assert!(matches!(Ring::ROOM, Room::Near(RING_ROOM)));
const _: () = assert!(offset_of!(Ring, ops) >= LINK_OFFSET, "an end is above all names of operations");

/// The node that stands for the ring of this name.
#[inline(always)]
pub const fn end_of(ring: u32) -> u32 {
    ring.wrapping_add(END)
}

/// The operation that a node is, or `NONE` for an end.
const fn operation(node: u32) -> u32 {
    if (node as u64) < NEAR_ROOM_BYTES { node } else { NONE }
}

/// Where operations and rings are.
pub trait Nodes {
    /// The neighbours of an operation.
    fn operation(&self, name: u32) -> &Link;
    /// The ring of this name.
    fn ring(&self, name: u32) -> &Ring;
}

#[inline(always)]
fn link(nodes: &impl Nodes, node: u32) -> &Link {
    arch::near_link(OP_ROOM, node, LINK_OFFSET, || match operation(node) {
        NONE => &nodes.ring(node.wrapping_sub(END)).ops,
        name => nodes.operation(name),
    })
}

/// Lets the circle of a ring begin, which has no operations.
pub fn open(ring: &Ring, name: u32) {
    ring.ops.set(end_of(name), end_of(name));
}

/// Whether a ring, or a record of none, has no operations.
pub fn is_empty(ring: &Ring) -> bool {
    operation(ring.ops.next()) == NONE
}

/// The operation that started first, or `NONE`.
pub fn first(ring: &Ring) -> u32 {
    operation(ring.ops.next())
}

/// The operation that started last, or `NONE`.
pub fn last(ring: &Ring) -> u32 {
    operation(ring.ops.prev())
}

/// The operation behind one with these neighbours, or `NONE`.
pub fn after(neighbours: &Link) -> u32 {
    operation(neighbours.next())
}

/// The operation before one with these neighbours, or `NONE`.
pub fn before(neighbours: &Link) -> u32 {
    operation(neighbours.prev())
}

/// Files an operation as the last one of the ring of this name.
#[inline(always)]
pub fn push(nodes: &impl Nodes, ring: &Ring, ring_name: u32, name: u32, neighbours: &Link) {
    let last = ring.ops.prev();
    neighbours.set(end_of(ring_name), last);
    link(nodes, last).set_next(name);
    ring.ops.set_prev(name);
}

/// Files an operation as the first one of the ring of this name.
pub fn push_front(nodes: &impl Nodes, ring_name: u32, name: u32) {
    insert_after(nodes, end_of(ring_name), name);
}

/// Files an operation behind another one.
pub fn insert_after(nodes: &impl Nodes, at: u32, name: u32) {
    let next = link(nodes, at).next();
    link(nodes, name).set(next, at);
    link(nodes, at).set_next(name);
    link(nodes, next).set_prev(name);
}

/// Takes an operation with these neighbours out of its ring.
#[inline(always)]
pub fn remove(nodes: &impl Nodes, neighbours: &Link) {
    join(nodes, neighbours.prev(), neighbours.next());
}

/// Takes what is between two nodes of a circle out of it.
#[inline(always)]
pub fn join(nodes: &impl Nodes, before: u32, after: u32) {
    link(nodes, before).set_next(after);
    link(nodes, after).set_prev(before);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Number of operations.
    const OPS: u32 = 48;
    /// Names of the two rings.
    const RINGS: [u32; 2] = [0, 1];

    struct Records {
        ops: Vec<Link>,
        rings: Vec<Ring>,
    }

    impl Nodes for Records {
        fn operation(&self, name: u32) -> &Link {
            &self.ops[name as usize]
        }

        fn ring(&self, name: u32) -> &Ring {
            &self.rings[name as usize]
        }
    }

    impl Records {
        fn new() -> Records {
            let records = Records {
                ops: (0..OPS).map(|_| Link::default()).collect(),
                rings: RINGS.map(|_| Ring::default()).into(),
            };
            RINGS.into_iter().for_each(|name| open(records.ring(name), name));
            records
        }

        /// The operations of a ring from this one on, as `step` leads.
        fn walk(&self, from: u32, step: fn(&Link) -> u32) -> VecDeque<u32> {
            let mut seen = VecDeque::new();
            let mut at = from;
            while at != NONE {
                assert!(seen.len() < OPS as usize, "a circle of operations without an end: {seen:?}");
                seen.push_back(at);
                at = step(self.operation(at));
            }
            seen
        }

        /// A ring has these operations, from either end.
        fn check(&self, name: u32, model: &VecDeque<u32>) {
            let ring = self.ring(name);
            assert_eq!(&self.walk(first(ring), after), model, "ring {name}, in order");
            let back: VecDeque<_> = model.iter().rev().copied().collect();
            assert_eq!(self.walk(last(ring), before), back, "ring {name}, in reverse");
            assert_eq!(is_empty(ring), model.is_empty(), "ring {name}");
        }
    }

    #[test]
    fn operations_of_two_rings_are_filed_like_those_of_two_deques() {
        let records = Records::new();
        let mut models = [VecDeque::new(), VecDeque::new()];
        let mut state = 0x2545_f491_u32;
        let mut roll = |sides: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize % sides
        };
        for round in 0..20_000 {
            let which = roll(2);
            let name = roll(OPS as usize) as u32;
            let is_filed = models.iter().any(|model: &VecDeque<u32>| model.contains(&name));
            // Sometimes more are taken out, so that rings get empty.
            let takes = roll(if round / 500 % 2 == 0 { 5 } else { 2 }) == 0;
            let model = &mut models[which];
            if takes && !model.is_empty() {
                let at = [0, model.len() - 1, roll(model.len())][roll(3)];
                let gone = model.remove(at).unwrap();
                remove(&records, records.operation(gone));
            } else if !is_filed && !model.is_empty() && roll(3) == 0 {
                let at = roll(model.len());
                insert_after(&records, model[at], name);
                model.insert(at + 1, name);
            } else if !is_filed {
                let ring = RINGS[which];
                push(&records, records.ring(ring), ring, name, records.operation(name));
                model.push_back(name);
            }
            RINGS.into_iter().zip(&models).for_each(|(ring, model)| records.check(ring, model));
        }
    }

    #[test]
    fn an_end_is_no_operation() {
        let most = NEAR_ROOM_BYTES as u32 - 1;
        assert_eq!(operation(most), most, "the last name that an operation may have");
        for ring in [0, size_of::<Ring>() as u32, most] {
            assert_eq!(operation(end_of(ring)), NONE, "the end of ring {ring}");
            assert_eq!(end_of(ring).wrapping_sub(END), ring, "it leads back to its ring");
        }
        assert_eq!(operation(NONE), NONE, "nor is nothing");
    }
}
