//! Where contexts wait for their turn: each processor has a queue, first come first served.
//!
//! A context that becomes ready goes to a processor that sleeps: to the one that it waited at last before all others, and that
//! one is poked. If nobody sleeps it waits here. A processor that has nobody left looks into the queues of others before it
//! sleeps ([`State::steal`]). All of this is among the processors that the context may run on (`op/affinity.rs`).
#![forbid(unsafe_code)]

use super::state::{ByTurn, State};
use crate::base::list::{Chain as _, List};
use crate::base::{NONE, is_none};
use crate::context::context::{Context, State as Run};
use crate::context::cpu::Cpu;
use crate::mem::shoot::cpus_of;
use core::cell::Cell;

/// So many contexts of a queue are looked at for one that another processor may run.
const FEW: usize = 8;

/// What the processors do, if there are several.
#[derive(Debug)]
pub struct Several {
    /// Those that sleep, as bits.
    pub sleeping: Cell<u16>,
    /// The one that comes back at once since there is work, if one does.
    pub worker: Cell<Option<usize>>,
    /// Operations that wait for others to forget translations.
    pub flushes: List,
}

impl Several {
    /// So many processors, of which only the first has entered.
    pub fn new(cpus: usize) -> Several {
        let others = (1..cpus).fold(0, |mask, cpu| mask | bit(cpu));
        Several { sleeping: Cell::new(others), worker: Cell::new(None), flushes: List::new() }
    }
}

/// The bit of a processor.
pub fn bit(cpu: usize) -> u16 {
    1_u16.wrapping_shl(cpu as u32)
}

impl State {
    /// Puts a context whose state is `Ready` at the end of a queue.
    pub fn make_ready(&self, id: u32) {
        self.step.rearm();
        if self.memory.machine.cpus() > 1 {
            return self.make_ready_somewhere(id);
        }
        self.this_cpu().ready.push_back(&ByTurn(&self.contexts), id);
    }

    #[cold]
    fn make_ready_somewhere(&self, id: u32) {
        let context = self.contexts.at(id);
        let here = self.cpu.get();
        let last = usize::from(context.cpu.get());
        let allowed = context.cpus.get();
        let sleeping = self.several.sleeping.get() & allowed;
        let target = if sleeping & bit(last) != 0 {
            last
        } else if sleeping != 0 {
            sleeping.trailing_zeros() as usize
        } else if allowed & bit(here) != 0 {
            here
        } else if allowed & bit(last) != 0 {
            last
        } else {
            allowed.trailing_zeros() as usize
        };
        let Some(cpu) = self.cpus.get(target) else { crate::bug!("no such cpu") };
        context.cpu.set(target as u8);
        cpu.ready.push_back(&ByTurn(&self.contexts), id);
        if target != here {
            self.poke(target);
        }
    }

    /// Makes another processor enter the kernel. One that sleeps is awake from now on.
    pub fn poke(&self, cpu: usize) {
        self.several.sleeping.set(self.several.sleeping.get() & !bit(cpu));
        self.memory.machine.poke(cpu);
    }

    /// Puts a context at the front of this processor's queue.
    pub fn put_first(&self, cpu: &Cpu, id: u32) {
        self.contexts.at(id).cpu.set(self.cpu.get() as u8);
        cpu.ready.push_front(&ByTurn(&self.contexts), id);
    }

    /// Takes a context whose state is `Ready` out of the queue that it is in.
    pub fn take_out(&self, id: u32) {
        let cpu = usize::from(self.contexts.at(id).cpu.get());
        let Some(cpu) = self.cpus.get(cpu) else { crate::bug!("no such cpu") };
        cpu.ready.remove(&ByTurn(&self.contexts), id);
    }

    /// Takes a context that may run here out of another processor's queue, or `NONE`.
    pub fn steal(&self) -> u32 {
        let here = bit(self.cpu.get());
        for cpu in self.cpus.iter().take(self.memory.machine.cpus()) {
            let found = self.first_ready(cpu).find(|id| self.contexts.at(*id).cpus.get() & here != 0);
            if let Some(id) = found {
                cpu.ready.remove(&ByTurn(&self.contexts), id);
                return id;
            }
        }
        NONE
    }

    /// Whether this processor may run a context.
    pub fn may_run_here(&self, context: &Context) -> bool {
        context.cpus.get() & bit(self.cpu.get()) != 0
    }

    /// The first few of a queue: who is limited to other processors is passed over, but not for ever.
    fn first_ready(&self, cpu: &Cpu) -> impl Iterator<Item = u32> {
        let chain = ByTurn(&self.contexts);
        let there = |id: u32| (!is_none(id)).then_some(id);
        let all = core::iter::successors(there(cpu.ready.first()), move |id| there(chain.link(*id).next()));
        all.take(FEW)
    }

    /// If somebody waits in this processor's queue while others sleep, one of them comes and helps.
    pub fn invite(&self, cpu: &Cpu) {
        let sleeping = self.several.sleeping.get();
        if sleeping == 0 || cpu.ready.is_empty() {
            return;
        }
        let wanted = self.first_ready(cpu).fold(0, |wanted, id| wanted | self.contexts.at(id).cpus.get());
        if let Some(helper) = cpus_of(sleeping & wanted).next() {
            self.poke(helper);
        }
    }

    /// Whether no processor runs anybody or comes back by itself; this one is about to sleep.
    pub fn all_sleep(&self) -> bool {
        let awake = (0..self.memory.machine.cpus()).fold(0, |mask, cpu| mask | bit(cpu))
            & !self.several.sleeping.get();
        awake == 0
    }

    /// Whether another processor's timer goes off by then: it looks at all deadlines.
    pub fn others_look_before(&self, deadline: u64) -> bool {
        let here = self.cpu.get();
        let others = self.cpus.iter().take(self.memory.machine.cpus()).enumerate();
        let mut others = others.filter(|(number, _)| *number != here);
        deadline != u64::MAX && others.any(|(_, cpu)| cpu.timer.get() <= deadline)
    }

    /// The other processor that runs a context, if there is one.
    pub fn elsewhere(&self, id: u32, context: &Context) -> Option<usize> {
        let count = self.memory.machine.cpus();
        if count == 1 || context.state.get() != Run::Active {
            return None;
        }
        let mut cpus = self.cpus.iter().take(count);
        cpus.position(|cpu| cpu.current.get() == id).filter(|cpu| *cpu != self.cpu.get())
    }
}
