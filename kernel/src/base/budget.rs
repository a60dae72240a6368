//! How much work one step may do before it must return.
//!
//! A unit is about one instruction. Loops over numbers that a program chose spend it; what is left when
//! it runs out becomes an entry of the run queue, and other contexts and interrupts come in between.
#![forbid(unsafe_code)]

use core::cell::Cell;

/// Work that one step may still do.
#[derive(Debug)]
pub struct Budget(Cell<u32>);

/// Units of one step.
pub const STEP: u32 = 12_000;
/// What one submission, reply or cancelled operation is reckoned to cost.
pub const ENTRY: u32 = 300;
/// What one page is reckoned to cost: allocation, zeroing or copying, mapping.
pub const PAGE: u32 = 800;

impl Budget {
    /// A step's worth.
    pub const fn step() -> Budget {
        Budget(Cell::new(STEP))
    }

    /// A step begins: it may do a step's worth again.
    #[inline(always)]
    pub fn refill(&self) {
        self.0.set(STEP);
    }

    /// So many units.
    pub const fn of(units: u32) -> Budget {
        Budget(Cell::new(units))
    }

    /// Spends `units`; `false` if that much was not left.
    #[inline(always)]
    pub fn spend(&self, units: u32) -> bool {
        match self.0.get().checked_sub(units) {
            Some(left) => {
                self.0.set(left);
                true
            }
            None => false,
        }
    }

    /// How many of `wanted` things at `units` each can be afforded; spends that much.
    #[inline(always)]
    pub fn afford(&self, wanted: u32, units: u32) -> u32 {
        if self.spend(wanted.saturating_mul(units)) { wanted } else { self.afford_some(units) }
    }

    #[cold]
    fn afford_some(&self, units: u32) -> u32 {
        let count = self.0.get().checked_div(units).unwrap_or(0);
        self.0.set(self.0.get().wrapping_sub(count.wrapping_mul(units)));
        count
    }

    /// Whether `units` are left.
    pub fn has(&self, units: u32) -> bool {
        self.0.get() >= units
    }
}
