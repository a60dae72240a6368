//! Interrupts: the timer, and devices' lines. That a slice has ended is seen where it is chosen who goes on.
#![forbid(unsafe_code)]

use super::patience;
use crate::base::budget::{Budget, ENTRY};
use crate::base::trace::What;
use crate::context::cpu::Cpu;
use crate::context::timers::CONTEXT;
use crate::op::state::State;
use crate::op::{irq, timeout};
use ring_abi::Errno;

/// The timer: deadlines that have come.
pub fn timer(s: &State, cpu: &Cpu, budget: &Budget) {
    cpu.timer.set(u64::MAX);
    s.step.rearm();
    let now = s.memory.machine.now();
    while budget.spend(ENTRY) {
        let Some(item) = s.timers.expired(s, now) else { break };
        if item & CONTEXT != 0 {
            let context = s.contexts.at(item & !CONTEXT);
            match s.waits_in(context) {
                Some(ring) if context.unfinished.get().is_some() => patience::relent(s, ring),
                Some(ring) => s.wake_with(ring, Err(Errno::TIMEDOUT)),
                None => {}
            }
        } else {
            timeout::expired(s, item);
        }
    }
}

/// A device's line, by this time.
#[inline(always)]
pub fn line(s: &State, line: u8, now: u64) {
    s.trace.note(now, What::Interrupt, [u64::from(line), 0]);
    irq::raised(s, line);
}
