//! The wait graph: who waits for what, printed when nothing can ever happen again.
//!
//! No context is ready, no deadline is set, no work is left and nobody waits for an interrupt: then only a
//! lost wake-up or a deadlock of programs is possible, and both deserve to be seen.
#![forbid(unsafe_code)]

use super::inflight::Wait;
use super::irq;
use super::state::State;
use crate::arch::IRQ_LINES;
use crate::base::NONE;
use crate::base::name::number_of;
use crate::context::context::Context;
use crate::context::context::State as Run;
use crate::ring::flight;
use crate::scheme::link::Link;
use ring_abi::Opcode;

/// Contexts and operations that are printed at most.
const MOST: u32 = 256;

/// Prints the graph if nothing can ever happen again; once for each time that this comes about.
#[cold]
#[inline(never)]
pub fn watch(s: &State) {
    let waits_for_line = (0..IRQ_LINES).any(|line| irq::waited_for(s, line).is_some());
    if !s.timers.is_empty() || waits_for_line || s.contexts.live() == 0 {
        s.stuck.set(false);
        return;
    }
    if !s.stuck.replace(true) {
        print(s);
    }
}

/// Prints every context, what its rings wait for, and every operation in them.
pub fn print(s: &State) {
    s.say(format_args!("stuck: nothing is ready, no deadline is set, nobody waits for an interrupt"));
    s.say(format_args!("stuck: {} replies had a tag that was not out", s.stats.stale_tags.get()));
    for id in s.contexts.names().take(MOST as usize) {
        let context = s.contexts.at(id);
        if context.state.get() == Run::Ended {
            continue;
        }
        s.say(format_args!(
            "stuck: context {} pid {} {:?}",
            number_of::<Context>(id),
            context.pid.get(),
            context.state.get()
        ));
        for (number, ring) in context.rings() {
            if let Some(ring) = s.rings.get(ring) {
                s.say(format_args!(
                    "stuck:   ring {number}: waits {:#x} until completion {} (now {}), {} promised",
                    ring.waits.get(),
                    ring.ends_at(),
                    ring.cq.position(),
                    ring.cq.held()
                ));
                if ring.link.get() != NONE {
                    s.say(format_args!(
                        "stuck:     serves link {}: {} requests given, {} replies taken, {} owed",
                        number_of::<Link>(ring.link.get()),
                        ring.rq.position(),
                        ring.rp.position(),
                        s.links.at(ring.link.get()).owed(&s.slots, s)
                    ));
                }
                operations(s, flight::first(ring));
            }
        }
    }
}

fn operations(s: &State, first: u32) {
    let mut at = first;
    for _ in 0..MOST {
        if at == NONE {
            return;
        }
        let op = s.ops.at(at);
        let tag = s.tag_of(op);
        let opcode = op.opcode.get();
        match op.wait.get() {
            Wait::Reply | Wait::Room => {
                let link = s.links.at(op.object.get());
                let daemon = s.rings.get(link.ring.get()).map_or(NONE, |ring| ring.owner.get());
                let daemon = number_of::<Context>(daemon);
                s.say(format_args!(
                    "stuck:     {opcode:?} tag {tag}: {:?} of link {} served by context {daemon}",
                    op.wait.get(),
                    number_of::<Link>(op.object.get())
                ));
            }
            Wait::Chain | Wait::Barrier | Wait::Due => {
                let opcode = s.tie(at).head().opcode();
                let opcode = Opcode::from_raw(opcode).map_or("unknown", Opcode::name);
                s.say(format_args!("stuck:     {opcode} tag {tag}: held, {:?}", op.wait.get()));
            }
            wait => s.say(format_args!("stuck:     {opcode:?} tag {tag}: {wait:?} {}", op.object.get())),
        }
        at = flight::after(&op.of_ring);
    }
}
