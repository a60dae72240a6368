//! The ring tracer: every entry of a traced process as text on the console, as `strace` prints calls.
//!
//! When a traced ring is entered, first come the completions that were posted since it was last looked at,
//! then the submissions that are about to be taken. The entries are read from shared memory, so what is
//! printed is what stood there at that moment.
#![forbid(unsafe_code)]

use super::state::State;
use crate::context::context::Context;
use crate::ring::duplex::Ring;
use ring_abi::sqe::{Head, Words};
use ring_abi::{Cqe, Opcode, args};

/// Entries that one step prints at most.
const MOST: u32 = 64;

/// Prints what is new in a ring that is entered, if its process is traced.
#[cold]
#[inline(never)]
pub fn entered(s: &State, context: &Context, ring: &Ring, to_submit: u64) {
    if context.pid.get() != s.traced.get() {
        return;
    }
    completions(s, context, ring);
    let memory = ring.memory.get();
    let sq = memory.sq();
    let Ok(ready) = ring.sq.ready(&sq) else { return };
    for ahead in 0..ready.min(to_submit.min(u64::from(MOST)) as u32) {
        submission(s, context, &ring.sq.peek(&sq, ahead));
    }
}

/// Prints the completions that were posted since the last time.
pub fn completions(s: &State, context: &Context, ring: &Ring) {
    let memory = ring.memory.get();
    let cq = memory.cq();
    let end = ring.cq.position();
    let count = end.wrapping_sub(ring.traced.get()).min(cq.capacity()).min(MOST);
    for at in (0..count).map(|offset| end.wrapping_sub(count).wrapping_add(offset)) {
        let slot = cq.slot(at);
        let words = [0, 1].map(|index: usize| {
            slot.get(index).map_or(0, |word| word.load(ring_abi::sync::Ordering::Relaxed))
        });
        let entry = Cqe::from_words(words);
        s.say(format_args!(
            "ring pid={} cqe tag={} result={:?} extra={}",
            context.pid.get(),
            entry.tag,
            entry.result(),
            entry.extra()
        ));
    }
    ring.traced.set(end);
}

fn submission(s: &State, context: &Context, entry: &impl Words) {
    let head = Head(entry.word(0));
    let pid = context.pid.get();
    let Some(opcode) = Opcode::from_raw(head.opcode()) else {
        return s.say(format_args!("ring pid={pid} sqe tag={} unknown opcode {}", head.tag(), head.opcode()));
    };
    s.say(format_args!(
        "ring pid={pid} sqe tag={} flags={:#x} {}({})",
        head.tag(),
        head.flags(),
        opcode.name(),
        Arguments(opcode, entry)
    ));
}

struct Arguments<'e, W>(Opcode, &'e W);

impl<W: Words> core::fmt::Display for Arguments<'_, W> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for (place, (name, index)) in args::fields(self.0).iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{name}={:#x}", self.1.arg(*index))?;
        }
        Ok(())
    }
}
