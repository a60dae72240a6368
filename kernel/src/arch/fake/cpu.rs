//! One CPU of the fake machine: its translations, its timer, and what others ask of it.

use super::devices::NEVER;
use super::mmu::Mmu;
use super::{KERNEL_HALF, Machine, Regs, StateBlock};
use crate::arch::{MOST_CPUS, Which};
use ring_abi::sync::AtomicU32;
use ring_abi::sync::Ordering::Acquire;
use rmm::Frame;
use std::cell::{Cell, RefCell};

/// A CPU.
#[derive(Debug)]
pub(super) struct Processor {
    pub(super) mmu: Mmu,
    pub(super) timer: Cell<u64>,
    pub(super) current: Cell<Option<*const Regs>>,
    pub(super) spare: Cell<Option<*const StateBlock>>,
    /// How often others asked it to forget all translations, and the last of these that it has answered.
    asked: Cell<u32>,
    answered: Cell<u32>,
    poked: Cell<bool>,
    /// What it looks at while it polls: words, and what was in them.
    watched: RefCell<Vec<(&'static AtomicU32, u32)>>,
}

impl Processor {
    pub(super) fn new() -> Processor {
        Processor {
            mmu: Mmu::default(),
            timer: Cell::new(NEVER),
            current: Cell::new(None),
            spare: Cell::new(None),
            asked: Cell::new(0),
            answered: Cell::new(0),
            poked: Cell::new(false),
            watched: RefCell::default(),
        }
    }

    /// Whether it owes a flush: its translations may be stale.
    pub(super) fn owes(&self) -> bool {
        self.asked.get() != self.answered.get()
    }

    /// Whether it looks at words of rings.
    fn watches(&self) -> bool {
        !self.watched.borrow().is_empty()
    }

    /// Loads a root. Without tags that forgets all translations, and so answers whoever asked.
    pub(super) fn activate(&self, root: Frame) {
        if self.mmu.activate(root) {
            self.answered.set(self.asked.get());
        }
    }
}

/// One CPU of several.
#[derive(Clone, Copy, Debug)]
pub struct OneOf(pub usize);

impl Which for OneOf {
    const MANY: bool = true;

    fn number(self) -> usize {
        self.0
    }
}

/// What the kernel asks of CPUs.
impl Machine {
    /// How many CPUs there are.
    pub fn cpus(&self) -> usize {
        self.cpus.len()
    }

    /// The CPU that runs.
    pub fn cpu(&self) -> usize {
        self.cpu.get()
    }

    /// Makes another CPU enter the kernel, once it is not there.
    pub fn poke(&self, cpu: usize) {
        self.processor_of(cpu).poked.set(true);
    }

    /// The other CPUs that may hold translations of the space with this root, as bits.
    pub fn holders(&self, root: Frame) -> u16 {
        self.others_where(|processor| processor.mmu.holds(root))
    }

    /// Those of them that run it now.
    pub fn runners(&self, root: Frame) -> u16 {
        self.others_where(|processor| processor.mmu.active() == Some(root))
    }

    /// The other CPUs that look at words of rings without the lock, as bits: they reach memory of any program.
    pub fn watchers(&self) -> u16 {
        self.others_where(Processor::watches)
    }

    /// Asks another CPU to forget all translations, as soon as it enters the kernel or waits for the lock.
    pub fn ask_to_forget(&self, cpu: usize) {
        let asked = &self.processor_of(cpu).asked;
        asked.set(asked.get().wrapping_add(1));
    }

    /// Whether it has done so since it was asked last.
    pub fn has_forgotten(&self, cpu: usize) -> bool {
        !self.processor_of(cpu).owes()
    }

    fn others_where(&self, is_one: impl Fn(&Processor) -> bool) -> u16 {
        let others = self.cpus.iter().enumerate().filter(|(number, _)| *number != self.cpu.get());
        let found = others.filter(|(_, processor)| is_one(processor));
        found.fold(0, |mask, (number, _)| mask | 1_u16.wrapping_shl(number as u32))
    }

    pub(super) fn processor(&self) -> &Processor {
        self.processor_of(self.cpu.get())
    }

    pub(super) fn processor_of(&self, cpu: usize) -> &Processor {
        let Some(processor) = self.cpus.get(cpu) else { panic!("no CPU {cpu}") };
        processor
    }
}

/// What tests do to CPUs.
impl Machine {
    /// A machine with this much memory and so many CPUs, of which the first runs.
    ///
    /// # Panics
    ///
    /// If there are more than the kernel knows, or none.
    pub fn with_cpus(bytes: usize, cpus: usize) -> Machine {
        assert!((1..=MOST_CPUS).contains(&cpus), "no machine has {cpus} CPUs");
        let mut machine = Machine::new(bytes);
        machine.cpus.extend((1..cpus).map(|_| Processor::new()));
        machine.cpus.iter().for_each(|processor| processor.activate(KERNEL_HALF));
        machine
    }

    /// Gives the translations process identifiers: loading another root forgets nothing.
    pub fn tag_translations(&self) {
        self.cpus.iter().for_each(|processor| processor.mmu.tag());
    }

    /// Goes on as another CPU.
    pub fn run_as(&self, cpu: usize) {
        let _exists = self.processor_of(cpu);
        self.cpu.set(cpu);
    }

    /// What a CPU does when it enters the kernel, and while it waits for the lock: it forgets what it was asked to. One that
    /// looks at words does neither.
    pub fn answer(&self) {
        let processor = self.processor();
        if processor.owes() && !processor.watches() {
            processor.mmu.flush_all(None);
            processor.answered.set(processor.asked.get());
        }
    }

    /// What a CPU does that runs nobody from now on, where there are others: it keeps nothing of programs.
    pub fn let_all_go(&self) {
        let processor = self.processor();
        processor.current.set(None);
        processor.activate(KERNEL_HALF);
        if self.cpus() > 1 {
            processor.mmu.flush_all(None);
            processor.answered.set(processor.asked.get());
        }
    }

    /// What a CPU does that polls: it looks at these words, and at nothing else, until it enters the kernel.
    pub fn watch(&self, places: impl Iterator<Item = (&'static AtomicU32, u32)>) {
        *self.processor().watched.borrow_mut() = places.collect();
    }

    /// What every CPU does that enters: it looks at no words any more.
    pub fn stop_watching(&self) {
        self.processor().watched.borrow_mut().clear();
    }

    /// Whether a CPU that polls finds something to enter for.
    pub fn sees_news(&self, cpu: usize) -> bool {
        let processor = self.processor_of(cpu);
        let watched = processor.watched.borrow();
        let is_new = |(word, taken): &(&AtomicU32, u32)| word.load(Acquire) != *taken;
        processor.watches() && (processor.owes() || watched.iter().any(is_new))
    }

    /// The frames in which the words lie that CPUs look at.
    pub fn watched_frames(&self) -> Vec<Frame> {
        let all = self.cpus.iter().flat_map(|processor| processor.watched.borrow().clone());
        let frame = |(word, _): (&AtomicU32, u32)| {
            let address = (core::ptr::from_ref(word).addr() as u64).wrapping_sub(self.memory.base());
            Frame::new((address >> 12) as u32)
        };
        all.map(frame).collect()
    }

    /// Takes the poke that a CPU has got, if it has.
    pub fn take_poke(&self, cpu: usize) -> bool {
        self.processor_of(cpu).poked.take()
    }

    /// Whether a CPU has got a poke.
    pub fn is_poked(&self, cpu: usize) -> bool {
        self.processor_of(cpu).poked.get()
    }

    /// When the timer of a CPU goes off.
    pub fn timer_of(&self, cpu: usize) -> Option<u64> {
        Some(self.processor_of(cpu).timer.get()).filter(|deadline| *deadline != NEVER)
    }
}
