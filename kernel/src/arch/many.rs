//! Which CPU enters the kernel, as the code that runs knows it.
//!
//! What enters comes in two versions of the same text: on a machine with one CPU its number is a constant, so the records
//! of that CPU lie at fixed addresses, and there is no lock to take and nobody else to look for. Which version runs is
//! chosen once, when the other CPUs have started or have not.
#![forbid(unsafe_code)]

/// The greatest number of CPUs.
pub const MOST_CPUS: usize = 16;

/// The CPU that enters.
pub trait Which: Copy + 'static {
    /// Whether there can be others.
    const MANY: bool;

    /// Its number.
    fn number(self) -> usize;
}

/// The only CPU.
#[derive(Clone, Copy, Debug)]
pub struct Only;

impl Which for Only {
    const MANY: bool = false;

    #[inline(always)]
    fn number(self) -> usize {
        0
    }
}

/// How the lock around the kernel's state was used so far. Where there is one CPU, it never is.
#[derive(Clone, Copy, Debug, Default)]
pub struct LockUse {
    /// How often it was taken.
    pub taken: u64,
    /// How often somebody had to wait for it.
    pub waits: u64,
    /// How often one of these slept, since it took long.
    pub sleeps: u64,
    /// Ticks that they waited.
    pub waited: u64,
    /// The longest of these waits.
    pub longest_wait: u64,
    /// Ticks that it was held.
    pub held: u64,
    /// The longest that it was held.
    pub longest_hold: u64,
}

impl LockUse {
    /// It was never taken.
    pub const NONE: LockUse =
        LockUse { taken: 0, waits: 0, sleeps: 0, waited: 0, longest_wait: 0, held: 0, longest_hold: 0 };
}
