//! How much work one step may do before it must return.
//!
//! A unit is about one instruction. Loops over numbers that a program chose spend it; what is left when
//! it runs out becomes an entry of the run queue, and other contexts and interrupts come in between.
#![forbid(unsafe_code)]

use core::cell::Cell;

/// Work that one step may still do.
#[derive(Debug)]
pub struct Budget {
    units: Cell<u32>,
    /// Entries that the running loop over a ring may still take.
    entries: Cell<u32>,
}

/// Units of one step.
pub const STEP: u32 = 10_000;
/// What one submission, reply or cancelled operation is reckoned to cost.
pub const ENTRY: u32 = 300;
/// What one page is reckoned to cost: allocation, zeroing or copying, mapping.
pub const PAGE: u32 = 800;

impl Budget {
    /// So many units.
    pub const fn of(units: u32) -> Budget {
        Budget { units: Cell::new(units), entries: Cell::new(0) }
    }

    /// Makes it a step's worth.
    #[inline(always)]
    pub fn refill(&self) {
        self.units.set(STEP);
    }

    /// Spends `units`; `false` if that much was not left.
    #[inline(always)]
    pub fn spend(&self, units: u32) -> bool {
        match self.units.get().checked_sub(units) {
            Some(left) => {
                self.units.set(left);
                true
            }
            None => false,
        }
    }

    /// Spends `units` for what is done already and could not be cut. If that much was not left, nothing is,
    /// and the running loop over a ring ends with this entry.
    #[cold]
    #[inline(never)]
    pub fn charge(&self, units: u32) {
        if !self.spend(units) {
            self.units.set(0);
            self.entries.set(self.entries.get().min(1));
        }
    }

    /// Begins a loop over a ring: how many of `wanted` entries can be afforded. Spends that much.
    #[inline(always)]
    pub fn begin(&self, wanted: u32) -> u32 {
        let count = if self.spend(wanted.saturating_mul(ENTRY)) { wanted } else { self.afford_some(ENTRY) };
        self.entries.set(count);
        count
    }

    /// How many entries the loop may still take.
    #[inline(always)]
    pub fn left(&self) -> u32 {
        self.entries.get()
    }

    /// The loop took so many entries.
    #[inline(always)]
    pub fn took(&self, count: u32) {
        self.entries.set(self.entries.get().saturating_sub(count));
    }

    /// The loop took one entry, and could: whether it may take another.
    #[inline(always)]
    pub fn take_one(&self) -> bool {
        let left = self.entries.get().wrapping_sub(1);
        self.entries.set(left);
        left != 0
    }

    #[cold]
    fn afford_some(&self, units: u32) -> u32 {
        let count = self.units.get().checked_div(units).unwrap_or(0);
        self.units.set(self.units.get().wrapping_sub(count.wrapping_mul(units)));
        count
    }

    /// So many units, or as many as are left.
    pub fn left_of(&self, units: u32) -> u32 {
        self.units.get().min(units)
    }

    /// Whether `units` are left.
    pub fn has(&self, units: u32) -> bool {
        self.units.get() >= units
    }
}
