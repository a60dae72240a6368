//! Where contexts wait for their turn: each processor has a queue, first come first served.
//!
//! A context that becomes ready goes to a processor that sleeps: to the one that it waited at last before all others, and that
//! one is poked. If nobody sleeps it waits here. A processor that has nobody left looks into the queues of others before it
//! sleeps ([`State::steal`]).
#![forbid(unsafe_code)]

use super::state::{ByTurn, State};
use crate::base::NONE;
use crate::base::list::List;
use crate::context::context::{Context, State as Run};
use crate::context::cpu::Cpu;
use crate::mem::shoot::cpus_of;
use core::cell::Cell;

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
        let sleeping = self.several.sleeping.get();
        let target = if sleeping & bit(last) != 0 {
            last
        } else if sleeping != 0 {
            sleeping.trailing_zeros() as usize
        } else {
            here
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

    /// Takes a context out of another processor's queue, or `NONE`.
    pub fn steal(&self) -> u32 {
        for cpu in self.cpus.iter().take(self.memory.machine.cpus()) {
            if let Some(id) = cpu.ready.pop_front(&ByTurn(&self.contexts)) {
                return id;
            }
        }
        NONE
    }

    /// If somebody waits in this processor's queue while others sleep, one of them comes and helps.
    pub fn invite(&self, cpu: &Cpu) {
        let sleeping = self.several.sleeping.get();
        if sleeping != 0
            && !cpu.ready.is_empty()
            && let Some(helper) = cpus_of(sleeping).next()
        {
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
