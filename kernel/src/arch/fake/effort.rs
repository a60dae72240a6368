//! How much the kernel has touched, so that a test can say how long a step was without a clock.
//!
//! One unit is a record that was looked up, an entry of a page table, or eight bytes that were copied or
//! zeroed. The count is this host thread's: a test looks at the difference between two moments.

use std::cell::Cell;

thread_local! {
    static UNITS: Cell<u64> = const { Cell::new(0) };
}

/// Units so far.
pub fn units() -> u64 {
    UNITS.get()
}

/// Counts so many units.
pub(super) fn add(units: u64) {
    UNITS.set(UNITS.get().wrapping_add(units));
}

/// Counts an access to so many bytes.
pub(super) fn bytes(length: usize) {
    add((length as u64).div_ceil(8));
}
