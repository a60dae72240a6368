//! Forgetting translations on other processors.
//!
//! A processor may hold translations of the spaces that it runs. When one is taken away or narrowed, each other processor
//! that may hold it is made to *owe* a flush ([`Memory::warn`]); what was taken away waits until all debtors have paid, and
//! nobody waits for them: a processor pays when it enters the kernel, while it waits for the lock, and when it loads another
//! space. An operation that promises a flush parks until the processors that run the space have paid ([`Memory::debtors`]),
//! and then they are poked, once. Where there is one processor all of this is nothing.
#![forbid(unsafe_code)]

use super::frames::Memory;
use crate::arch::MOST_CPUS;
use crate::base::budget::Budget;
use core::cell::Cell;
use rmm::{Epoch, Frame};

/// What giving a frame back is reckoned to cost, and how many are given back in one go.
const GIVE: u32 = 800;
const AT_ONCE: u32 = 32;

/// Who owes a flush, as one bit for each processor.
#[derive(Debug, Default)]
pub struct Debts {
    owed: Cell<u16>,
    /// Those that were poked for it.
    poked: Cell<u16>,
}

impl Memory {
    /// Translations of the space with this root were taken away or narrowed: who else may hold them owes a flush.
    pub(super) fn warn(&self, root: Frame) {
        if self.machine.cpus() > 1 {
            self.warn_others(root);
        }
    }

    #[cold]
    fn warn_others(&self, root: Frame) {
        // One that looks at rings without the lock must look at what is left only.
        let holders = self.machine.holders(root) | self.machine.watchers();
        for cpu in cpus_of(holders) {
            self.frames.owe(cpu);
            // Who owes one already is asked again: what it answered before this change proves nothing.
            self.machine.ask_to_forget(cpu);
        }
        self.debts.owed.set(self.debts.owed.get() | holders);
    }

    /// Takes in who has paid.
    pub fn collect(&self) {
        let owed = self.debts.owed.get();
        for cpu in cpus_of(owed).filter(|cpu| self.machine.has_forgotten(*cpu)) {
            self.frames.paid(cpu);
            let bit = 1_u16.wrapping_shl(cpu as u32);
            self.debts.owed.set(self.debts.owed.get() & !bit);
            self.debts.poked.set(self.debts.poked.get() & !bit);
        }
    }

    /// The processors that run the space with this root and owe a flush: what was taken from it may still be reached there.
    pub fn debtors(&self, root: Frame) -> u16 {
        match self.debts.owed.get() {
            0 => 0,
            owed => owed & self.machine.runners(root),
        }
    }

    /// Makes debtors pay soon.
    pub fn hurry(&self, debtors: u16) {
        let fresh = debtors & self.debts.owed.get() & !self.debts.poked.get();
        cpus_of(fresh).for_each(|cpu| self.machine.poke(cpu));
        self.debts.poked.set(self.debts.poked.get() | fresh);
    }

    /// Whether all of these processors have forgotten what was taken away up to an epoch.
    pub fn have_paid(&self, cpus: u16, epoch: Epoch) -> bool {
        cpus_of(cpus).all(|cpu| self.frames.cpu_has_passed(cpu, epoch))
    }

    /// Whether there are frames to give back that everybody has forgotten.
    pub fn has_forgotten_frames(&self) -> bool {
        self.frames.reclaimable() != 0
    }

    /// Gives some of them back. `false`: there are none.
    pub fn slice_forgotten(&self, budget: &Budget) -> bool {
        self.has_forgotten_frames() && budget.spend(GIVE) && self.frames.reclaim(AT_ONCE) != 0
    }
}

/// The processors of a mask.
pub fn cpus_of(mask: u16) -> impl Iterator<Item = usize> {
    (0..MOST_CPUS).filter(move |cpu| mask >> cpu & 1 != 0)
}
