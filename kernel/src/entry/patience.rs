//! Waits that are not as usual: a signal ends them, or they relent after a while.
//!
//! A wait that relents keeps what it goes on with as a `ring_enter` that is not finished: when its time has come, its
//! context takes that up in its next turn. Whatever else ends the wait forgets it.
#![forbid(unsafe_code)]

use super::enter::{self, Then, Wait};
use crate::context::context::{Context, State as Run, Unfinished};
use crate::op::signal;
use crate::op::state::State;
use crate::ring::duplex::{ODD, Ring};
use core::num::NonZeroU64;
use ring_abi::enter::{ALL, COMPLETIONS, MASK, NO_DEADLINE, RELENT, REQUESTS, SIGNALS};
use ring_abi::layout::word;
use ring_abi::{Errno, signal as words};

/// Whether these flags exist and mean something together.
#[cold]
#[inline(never)]
pub fn makes_sense(flags: u64) -> bool {
    flags & !ALL == 0
        && (flags & MASK == 0 || flags & SIGNALS != 0)
        && (flags & RELENT == 0 || flags & COMPLETIONS != 0)
}

/// Lets the context, which runs, wait in such a way.
#[cold]
#[inline(never)]
pub fn park(s: &State, ring: &Ring, context: &Context, then: Wait) -> Then {
    if then.flags & SIGNALS != 0 && signal::is_due(s, context, ring, then.flags) {
        return enter::fail(Errno::INTR);
    }
    let relents = then.flags & RELENT != 0;
    let relents_at = if relents { words::word(&ring.memory.get(), word::RELENT_AT) } else { NO_DEADLINE };
    let rest = Wait { min_complete: 1, flags: then.flags & !RELENT, ..then };
    if relents && relents_at <= s.memory.machine.now() {
        return enter::wait(s, ring, rest);
    }
    let until = then.deadline.min(relents_at);
    if until != NO_DEADLINE
        && let Err(error) = enter::wait_until(s, ring.owner.get(), until)
    {
        return enter::fail(error);
    }
    if relents_at < then.deadline {
        context.unfinished.set(Some(Unfinished {
            ring: ring.id.get(),
            flags: rest.flags as u8,
            patient: true,
            to_submit: 0,
            min_complete: 1,
            deadline: NonZeroU64::new(rest.deadline).unwrap_or(NonZeroU64::MIN),
        }));
    }
    ring.waits.set((then.flags & (COMPLETIONS | REQUESTS | SIGNALS | MASK)) as u8 | ODD);
    Then::Wait
}

/// The time for which a wait wanted more than one completion is over: its context goes on with what is left.
#[cold]
pub fn relent(s: &State, ring: &Ring) {
    let id = ring.owner.get();
    let context = s.contexts.at(id);
    ring.waits.set(0);
    if context.marks.stop() {
        return s.stand_still(id, context);
    }
    context.state.set(Run::Ready);
    s.make_ready(id);
}
