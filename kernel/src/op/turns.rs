//! Where contexts wait for their turn: each processor has a queue, in which who has used least is first.
//!
//! A context that becomes ready goes to a processor that sleeps: to the one that it waited at last before all others, and that
//! one is poked. If nobody sleeps it waits here. A processor that has nobody left looks into the queues of others before it
//! sleeps ([`State::steal`]), and who has used a slice up goes where less is to be done ([`State::end_slice`]). All of this is among the processors that the context may run on (`op/affinity.rs`).
#![forbid(unsafe_code)]

use super::state::{ByTurn, State};
use crate::base::list::List;
use crate::base::{NONE, is_none};
use crate::context::context::{Context, State as Run};
use crate::context::cpu::Cpu;
use crate::context::queue::{self, Turns};
use crate::context::share::Share;
use crate::mem::shoot::cpus_of;
use core::cell::Cell;
use core::ptr;

/// So many contexts of a queue are looked at for one that another processor may run: who is limited to others is passed
/// over, but not for ever.
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

impl Turns for ByTurn<'_> {
    fn share(&self, node: u32) -> Share {
        self.0.at(node).share.get()
    }
}

impl State {
    /// Lets a context whose state is `Ready` wait for its turn: it was woken, or it is new.
    #[cold]
    #[inline(never)]
    pub fn make_ready(&self, id: u32) {
        self.step.rearm();
        let cpu = if self.memory.machine.cpus() > 1 { self.choose_queue(id) } else { self.this_cpu() };
        if cpu.payer.get() == id {
            self.settle(cpu);
        }
        self.queue(cpu, id);
        cpu.woken.set(true);
    }

    /// The processor on which a context that becomes ready is to wait. If it sleeps it is poked.
    fn choose_queue(&self, id: u32) -> &Cpu {
        let here = self.cpu.get();
        let context = self.contexts.at(id);
        let last = usize::from(context.cpu.get());
        let allowed = context.cpus.get();
        let sleeping = self.polls.spared(self.several.sleeping.get() & allowed);
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
        if target != here {
            self.poke(target);
        }
        match self.cpus.get(target) {
            Some(cpu) => cpu,
            None => crate::bug!("no such cpu"),
        }
    }

    /// Puts a context whose state is `Ready` into a queue. It pays for nothing meanwhile.
    pub fn queue(&self, cpu: &Cpu, id: u32) {
        if cpu.payer.get() == id {
            self.pay_no_more(cpu);
        }
        self.admit(cpu, id);
        cpu.queue.push(&ByTurn(&self.contexts), id);
    }

    /// A context whose slice is over waits for its next turn: here, or where those who are always ready have less weight
    /// together, if that is so with this one added.
    #[cold]
    pub fn end_slice(&self, here: &Cpu, id: u32) {
        let Some(there) = self.lighter(here, id) else { return self.queue(here, id) };
        match self.cpus.get(there) {
            Some(cpu) => self.queue(cpu, id),
            None => crate::bug!("no such cpu"),
        }
        self.poke(there);
    }

    /// The processor with the least weight of those that a context may run on, if moving it there makes it lighter for all:
    /// that is so if it finds less there than it leaves behind.
    fn lighter(&self, here: &Cpu, id: u32) -> Option<usize> {
        let allowed = self.contexts.at(id).cpus.get();
        let cpus = self.cpus.iter().take(self.memory.machine.cpus()).enumerate();
        let others = cpus.filter(|(number, cpu)| allowed & bit(*number) != 0 && !ptr::eq(*cpu, here));
        let (weight, lightest) = others.map(|(number, cpu)| (self.weight(cpu), number)).min()?;
        (weight < here.queue.weight()).then_some(lightest)
    }

    /// The weight of those who are ready on another processor, and of who pays for it.
    fn weight(&self, cpu: &Cpu) -> u32 {
        let pays =
            self.contexts.get(cpu.payer.get()).map_or(0, |payer| u32::from(payer.share.get().weight()));
        cpu.queue.weight().wrapping_add(pays)
    }

    /// Another weight for a context.
    pub fn set_weight(&self, id: u32, context: &Context, weight: u16) {
        let cpu = self.home(context);
        // What it has used so far was used with the weight that it had.
        self.settle(cpu);
        let chain = ByTurn(&self.contexts);
        let is_queued =
            context.state.get() == Run::Ready && cpu.held.get() != id && self.step.handoff() != id;
        if is_queued {
            cpu.queue.remove(&chain, id);
        }
        context.share.set(context.share.get().with_weight(weight));
        if is_queued {
            cpu.queue.push(&chain, id);
        }
    }

    /// Sees to it that the time of a context, which is in no queue, is one that may be in a processor's.
    pub fn admit(&self, cpu: &Cpu, id: u32) {
        let context = self.contexts.at(id);
        if self.memory.machine.cpus() > 1 && !ptr::eq(self.home(context), cpu) {
            return self.move_here(cpu, id);
        }
        let share = context.share.get();
        context.share.set(share.at(cpu.queue.admit(share.time())));
    }

    /// The same for one whose time is another processor's: its distance from the time of the queue stays. Whoever it pays
    /// for there pays from now on, and so comes to that processor with its time as well. Who runs here, or does so no more,
    /// is seen to when the step ends: it may be the very one that goes.
    #[cold]
    fn move_here(&self, cpu: &Cpu, id: u32) {
        let (mut to, mut id) = (cpu, id);
        // Each round sets a processor right for good.
        for _ in &self.cpus {
            let context = self.contexts.at(id);
            let from = self.home(context);
            if ptr::eq(from, to) {
                return;
            }
            let pays = from.payer.get() == id;
            if pays {
                self.settle(from);
            }
            let share = context.share.get();
            context.share.set(share.at(queue::carry(share.time(), &from.queue, &to.queue)));
            context.cpu.set(self.number(to));
            if !pays {
                return;
            }
            let heir = if ptr::eq(from, self.this_cpu()) { NONE } else { from.current.get() };
            from.payer.set(heir);
            if is_none(heir) {
                return;
            }
            (to, id) = (from, heir);
        }
    }

    /// The processor in whose queue a context is, or was last, or for which it pays.
    pub fn home(&self, context: &Context) -> &Cpu {
        match self.cpus.get(usize::from(context.cpu.get())) {
            Some(cpu) => cpu,
            None => crate::bug!("no such cpu"),
        }
    }

    fn number(&self, cpu: &Cpu) -> u8 {
        self.cpus.iter().position(|other| ptr::eq(other, cpu)).unwrap_or(0) as u8
    }

    /// Lets a context whose state is `Ready` go on before all others, if nobody else is to.
    pub fn hold(&self, cpu: &Cpu, id: u32) {
        if is_none(cpu.held.get()) {
            self.admit(cpu, id);
            cpu.held.set(id);
        } else {
            self.queue(cpu, id);
        }
    }

    /// Takes a context whose state is `Ready` out of where it waits for its turn.
    pub fn take_out(&self, id: u32) {
        let cpu = self.home(self.contexts.at(id));
        if self.step.handoff() == id {
            self.step.take_handoff();
        } else if cpu.held.get() == id {
            cpu.held.set(NONE);
        } else {
            cpu.queue.remove(&ByTurn(&self.contexts), id);
        }
    }

    /// A context ends, and so pays for nobody.
    pub fn forget_payer(&self, id: u32) {
        let cpu = self.home(self.contexts.at(id));
        if cpu.payer.get() == id {
            self.settle(cpu);
            self.pay_no_more(cpu);
        }
    }

    /// Who pays for a processor does so no more. Whoever runs on another one pays from now on; who runs on this one is seen to
    /// when the step ends.
    fn pay_no_more(&self, cpu: &Cpu) {
        cpu.payer.set(NONE);
        let heir = cpu.current.get();
        if !is_none(heir) && !ptr::eq(cpu, self.this_cpu()) {
            self.admit(cpu, heir);
            cpu.payer.set(heir);
        }
    }

    /// Charges the payer of a processor with the time that nobody has paid for yet. It is not in a queue.
    #[inline(never)]
    pub fn settle(&self, cpu: &Cpu) {
        let now = self.memory.machine.now();
        // Processors' clocks may differ a little.
        let used = now.saturating_sub(cpu.since.get());
        cpu.since.set(now);
        let Some(payer) = self.contexts.get(cpu.payer.get()) else { return };
        let share = payer.share.get().charged(used);
        payer.share.set(share);
        cpu.queue.advance(&ByTurn(&self.contexts), share.time());
    }

    /// At the end of the next step of this processor it is looked who is ready.
    pub fn look_next(&self, cpu: &Cpu) {
        if self.memory.machine.cpus() > 1 {
            cpu.looks.set(true);
        } else {
            self.step.rearm();
        }
    }

    /// Makes another processor enter the kernel. One that sleeps is awake from now on.
    pub fn poke(&self, cpu: usize) {
        self.several.sleeping.set(self.several.sleeping.get() & !bit(cpu));
        self.memory.machine.poke(cpu);
    }

    /// Takes a context that may run here out of another processor's queue: of the first few there the first one.
    pub fn steal(&self, here: &Cpu) -> Option<u32> {
        let bit = bit(self.cpu.get());
        let chain = ByTurn(&self.contexts);
        for cpu in self.cpus.iter().take(self.memory.machine.cpus()) {
            let id = cpu.queue.find(&chain, FEW, |id| self.contexts.at(id).cpus.get() & bit != 0);
            if !is_none(id) {
                cpu.queue.remove(&chain, id);
                self.admit(here, id);
                return Some(id);
            }
        }
        None
    }

    /// Whether this processor may run a context.
    pub fn may_run_here(&self, context: &Context) -> bool {
        context.cpus.get() & bit(self.cpu.get()) != 0
    }

    /// If somebody waits in this processor's queue while others sleep, one of them comes and helps.
    pub fn invite(&self, cpu: &Cpu) {
        let sleeping = self.several.sleeping.get();
        if sleeping == 0 || cpu.queue.is_empty() {
            return;
        }
        let mut wanted = 0;
        _ = cpu.queue.find(&ByTurn(&self.contexts), FEW, |id| {
            wanted |= self.contexts.at(id).cpus.get();
            false
        });
        if let Some(helper) = cpus_of(sleeping & wanted).next() {
            self.poke(helper);
        }
    }

    /// Whether no processor runs anybody or comes back by itself; this one is about to sleep.
    pub fn all_sleep(&self) -> bool {
        if self.polls.poller().is_some() {
            // What programs have shown may not be taken yet.
            return false;
        }
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
