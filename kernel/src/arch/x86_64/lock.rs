//! The one lock around the kernel's state, on machines with several CPUs.
//!
//! Every entry takes it before it looks at anything that is not the CPU's own, and the last instruction but two of every
//! way out lets go of it. It is a ticket lock: first come, first served, so a CPU waits for at most one step of each
//! other. While the kernel runs interrupts are off, so a CPU never asks twice. The owner alone writes [`SERVING`], hence
//! an ordinary increment lets go; the stubs of [`leave`](super::leave) have it as one instruction that needs no register.
//!
//! A machine with one CPU takes no lock: its `ring_enter` is another stub, and for everything else [`enter`] looks.

use core::cell::Cell;
use core::hint::{cold_path, spin_loop};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::arch::LockUse;

use super::percpu::{PerCpu, this_cpu};
use super::timer;

/// The ticket that the next one to come gets.
static NEXT: AtomicU32 = AtomicU32::new(0);
/// The ticket whose holder has the lock. The stubs increment it.
pub(super) static SERVING: AtomicU32 = AtomicU32::new(0);
/// Whether other CPUs than the first have started.
static MANY: AtomicBool = AtomicBool::new(false);

struct Counts(Cell<LockUse>);

// SAFETY: touched only by who has the lock.
unsafe impl Sync for Counts {}

static COUNTS: Counts =
    Counts(Cell::new(LockUse { taken: 0, waits: 0, waited: 0, longest_wait: 0, held: 0, longest_hold: 0 }));

/// From now on there are several CPUs.
pub(super) fn share() {
    MANY.store(true, Ordering::Release);
}

/// Whether there are several CPUs.
#[inline(always)]
pub(super) fn is_shared() -> bool {
    MANY.load(Ordering::Relaxed)
}

/// The kernel was entered in another way than by `ring_enter`: takes the lock if there are others. Gives whether there
/// are.
#[inline(always)]
pub(super) fn enter() -> bool {
    let shared = is_shared();
    if shared {
        cold_path();
        take(this_cpu());
    }
    shared
}

/// Waits for the lock.
pub(super) fn take(cpu: &PerCpu) {
    let began = timer::ticks();
    let ticket = NEXT.fetch_add(1, Ordering::Relaxed);
    let waits = SERVING.load(Ordering::Acquire) != ticket;
    while SERVING.load(Ordering::Acquire) != ticket {
        cpu.answer();
        spin_loop();
    }
    cpu.answer();
    let now = timer::ticks();
    cpu.locked_at().set(now);
    let mut counts = COUNTS.0.get();
    counts.taken = counts.taken.wrapping_add(1);
    if waits {
        let waited = now.wrapping_sub(began);
        counts.waits = counts.waits.wrapping_add(1);
        counts.waited = counts.waited.wrapping_add(waited);
        counts.longest_wait = counts.longest_wait.max(waited);
    }
    COUNTS.0.set(counts);
}

/// The lock is about to be let go of by a stub: counts how long it was held.
pub(super) fn leaving(cpu: &PerCpu) {
    let held = timer::ticks().wrapping_sub(cpu.locked_at().get());
    let mut counts = COUNTS.0.get();
    counts.held = counts.held.wrapping_add(held);
    counts.longest_hold = counts.longest_hold.max(held);
    COUNTS.0.set(counts);
}

/// How the lock was used so far. Nothing, if there is one CPU.
pub(super) fn usage() -> LockUse {
    COUNTS.0.get()
}
