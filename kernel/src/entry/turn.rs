//! A turn of two programs that wake each other: a wake and a wait of a futex, in one entry.
//!
//! It is what `entry::enter` does for any two submissions, in a straight line: who is woken and waits for just that
//! changes places with who waits now. Whatever is not so takes the general road, from where it is found.
#![forbid(unsafe_code)]

use super::choose;
use super::enter::{self, Left, Then, Wait};
use crate::arch::Which;
use crate::base::is_none;
use crate::context::context::State as Run;
use crate::context::cpu::Cpu;
use crate::op::futex;
use crate::op::state::State;
use crate::op::stats::count;
use crate::ring::duplex::{NEXT, Ring};
use core::hint::cold_path;
use ring_abi::Cqe;
use ring_abi::enter::{COMPLETIONS, Control, NO_DEADLINE};
use ring_abi::sqe::{Head, Words};

/// What [`Control::TURN`] waits for.
const BOTH: Wait = Wait { min_complete: 2, flags: Control::TURN.flags(), deadline: NO_DEADLINE };

/// Takes two submissions, and waits for two completions.
#[inline(always)]
pub(super) fn turn<W: Which>(s: &State, _: W, cpu: &Cpu, ring: &Ring) -> Left {
    let sq = ring.memory.get().lasting_sq();
    let is_usual = is_none(ring.line.get()) && ring.marks.get() == 0;
    if !is_usual || !ring.sq.has_two(&sq) || !enter::has_room(ring, 2) {
        return Left::Rest(general(s, ring, None));
    }
    let wake = ring.sq.peek(&sq, 0);
    let head = Head(wake.word(0));
    if !futex::is_wake(head) {
        return Left::Rest(general(s, ring, Some(head)));
    }
    ring.sq.advance(1);
    ring.cq.claim_known(1);
    let woken = match futex::start_wake(s, ring, &wake) {
        Ok((number, woken)) => {
            // Nobody waits for it: the owner runs.
            ring.cq.fill(&ring.memory.get().cq(), Cqe::new(head.tag(), Ok(number)).to_words());
            ring.cq.publish(&ring.memory.get().cq());
            woken
        }
        Err(error) => {
            futex::refuse(s, ring, head, error);
            None
        }
    };
    let wait = ring.sq.peek(&sq, 0);
    let head = Head(wait.word(0));
    if !futex::is_wait(head) {
        futex::rouse(s, woken);
        return Left::Rest(general(s, ring, Some(head)));
    }
    ring.sq.advance(1);
    ring.cq.claim_known(1);
    let waits = futex::start_wait(s, ring, head, &wait);
    ring.sq.publish(&sq);
    if waits
        && let Some((other, _)) = woken
        && other.waits_for_next()
        && ring.cq.lag(&ring.memory.get().cq()) == 1
        && !enter::waits_oddly::<W>(s, ring)
        && choose::may_exchange(s, cpu)
    {
        count(&s.stats.enters);
        count(&s.stats.switches);
        return enter::change_places(ring, COMPLETIONS as u8 | NEXT, other);
    }
    cold_path();
    futex::rouse(s, woken);
    Left::Rest(enter::wait_for_completions(s, ring, BOTH))
}

/// The same for any submissions. The first word of the oldest may have been read.
#[cold]
#[inline(never)]
fn general(s: &State, ring: &Ring, head: Option<Head>) -> Then {
    let context = s.contexts.at(ring.owner.get());
    if let Some(head) = head
        && !enter::take_one(s, context, ring, head)
        && context.state.get() != Run::Active
    {
        enter::gone(ring);
        return Then::Gone;
    }
    enter::long(s, ring, Control::TURN.to_submit(), BOTH)
}
