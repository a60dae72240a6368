//! The road of a swap: a program wakes another one and waits to be woken by it, in one operation.
//!
//! Who is woken and waits for just that changes places with who waits now.
#![forbid(unsafe_code)]

use super::choose;
use super::enter::{self, Left, ONE_COMPLETION, Single};
use crate::arch::Which;
use crate::context::cpu::Cpu;
use crate::op::futex;
use crate::op::state::State;
use crate::op::stats::count;
use crate::ring::duplex::NEXT;
use core::hint::cold_path;
use ring_abi::enter::COMPLETIONS;

/// Takes the one submission that [`enter::look`] has seen, which is a swap without flags, and waits for a completion.
#[inline(always)]
pub fn swap<W: Which>(s: &State, _: W, cpu: &Cpu, single: Single<'_>) -> Left {
    let Single { ring, head, entry } = single;
    ring.sq.advance(1);
    ring.cq.claim_known(1);
    let (waits, woken) = futex::start_swap(s, ring, head, &entry);
    let memory = ring.memory.get();
    ring.sq.publish(&memory.sq());
    if waits
        && let Some((other, _)) = woken
        && other.waits_for_next()
        && ring.is_drained(&memory.cq())
        && !enter::waits_oddly::<W>(s, ring)
        && choose::may_exchange(s, cpu)
    {
        count(&s.stats.enters);
        count(&s.stats.switches);
        return enter::change_places(ring, COMPLETIONS as u8 | NEXT, other);
    }
    cold_path();
    futex::rouse(s, woken);
    Left::Rest(enter::wait_for_completions(s, ring, ONE_COMPLETION))
}
