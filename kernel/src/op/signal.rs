//! `SignalRaise`: signals of a context, as far as the kernel knows them: bits that are pending, and waits that they end.
//!
//! What is pending and what is masked stands in the header of the context's first ring, which is wired and there as long as
//! the context lives, so neither raising a signal nor looking for one can fail, and a context without signals pays nothing.
//! A program can scribble on its own; the kernel only ever sets bits there and compares.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::state::State;
use super::{OpResult, Outcome, context};
use crate::base::NONE;
use crate::context::context::Context;
use crate::ring::duplex::Ring;
use ring_abi::args::{CURRENT, SignalRaise};
use ring_abi::layout::word;
use ring_abi::{Errno, Words, enter, signal};

/// Makes signals pending for a context.
pub fn raise(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = SignalRaise::decode(entry)?;
    let s = cx.s;
    let context = if args.context == CURRENT { cx.context } else { context::living(cx, args.context)?.1 };
    let first = s.rings.at(context.ring(0));
    // While it is on its way into another space, its ring has no memory yet.
    if first.page.get() == NONE {
        return Err(Errno::AGAIN);
    }

    signal::raise(&first.memory.get(), args.signals);
    if let Some(ring) = s.waits_in(context) {
        let flags = u64::from(ring.waits.get());
        if flags & enter::SIGNALS != 0 && is_due(s, context, ring, flags) {
            s.wake_with(ring, Err(Errno::INTR));
        }
    }
    Ok(Outcome::Done(0))
}

/// Whether a signal is pending that ends a wait with these flags in a ring of a context.
pub fn is_due(s: &State, context: &Context, ring: &Ring, flags: u64) -> bool {
    let first = s.rings.at(context.ring(0)).memory.get();
    let mask = if flags & enter::MASK != 0 {
        signal::word(&ring.memory.get(), word::WAIT_MASK)
    } else {
        signal::word(&first, word::MASK)
    };
    signal::pending(&first) & !mask != 0
}
