//! The one lock around the kernel's state, on machines with several CPUs.
//!
//! Every entry takes it before it looks at anything that is not the CPU's own, and lets go of it before it loads the space and
//! the registers of whoever runs next: these are the CPU's own while that context runs here. It is a
//! [ticket lock](tickets): first come, first served, so a CPU waits for at most one step of each other. While the kernel runs
//! interrupts are off, so a CPU never asks twice. The owner alone writes the word that is served, hence an ordinary store lets go.
//!
//! A CPU that has waited for longer than steps take halts, and is woken by the one whose step ends before its turn. On the
//! bare machine that is rare. Under a host with fewer CPUs it is what lets the kernel go on: one that spins would keep the
//! host's CPU from the very one that it waits for.
//!
//! A machine with one CPU takes no lock: its `ring_enter` is another stub, and for everything else [`enter`] looks.

use core::cell::Cell;
use core::hint::{cold_path, spin_loop};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tickets::Tickets;

use crate::arch::{LockUse, MOST_CPUS};

use super::percpu::{PerCpu, this_cpu};
use super::{apic, timer};

/// The lock.
static TICKETS: Tickets<MOST_CPUS> = Tickets {
    serving: AtomicU32::new(0),
    next: AtomicU32::new(0),
    beds: [const { AtomicU32::new(0) }; MOST_CPUS],
};

/// Whether other CPUs than the first have started.
static MANY: AtomicBool = AtomicBool::new(false);
/// A CPU spins for a second divided by two to this power, 30 microseconds, before it halts.
const PATIENCE: u32 = 15;
/// The one that is next spins for longer than it takes to wake the one that it waits for: 490 microseconds. Otherwise two
/// that once slept would wake each other ever after.
const PATIENCE_OF_NEXT: u32 = 11;

struct Counts(Cell<LockUse>);

// SAFETY: touched only by who has the lock.
unsafe impl Sync for Counts {}

static COUNTS: Counts = Counts(Cell::new(LockUse::NONE));

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
#[inline(always)]
pub(super) fn take(cpu: &PerCpu) {
    let ticket = TICKETS.draw();
    let waited = if TICKETS.serves(ticket) { None } else { Some(wait(cpu, ticket)) };
    TICKETS.begin(ticket);
    cpu.answer();
    let now = timer::ticks();
    cpu.locked_at().set(now);
    let mut counts = COUNTS.0.get();
    counts.taken = counts.taken.wrapping_add(1);
    if let Some(Waited { began, slept }) = waited {
        let waited = now.wrapping_sub(began);
        counts.waits = counts.waits.wrapping_add(1);
        counts.waited = counts.waited.wrapping_add(waited);
        counts.longest_wait = counts.longest_wait.max(waited);
        counts.sleeps = counts.sleeps.wrapping_add(u64::from(slept));
    }
    COUNTS.0.set(counts);
}

/// A wait for the lock.
struct Waited {
    /// When it began, in ticks.
    began: u64,
    slept: bool,
}

/// Waits until a ticket is served: spins, and sleeps if that takes long.
#[cold]
fn wait(cpu: &PerCpu, ticket: u32) -> Waited {
    let second = timer::ticks_per_second();
    let began = timer::ticks();
    let mut slept = false;
    let mut called = false;
    while !TICKETS.serves(ticket) {
        cpu.answer();
        let patience = if TICKETS.is_next(ticket) { PATIENCE_OF_NEXT } else { PATIENCE };
        if !called && timer::ticks().wrapping_sub(began) > second >> patience {
            called = true;
            slept = sleep(cpu, ticket);
        }
        spin_loop();
    }
    Waited { began, slept }
}

/// Halts until a ticket is about to be served. `false`: it is already.
fn sleep(cpu: &PerCpu, ticket: u32) -> bool {
    if !TICKETS.lie_down(ticket, cpu.controller()) {
        return false;
    }
    loop {
        apic::halt_until_woken();
        if TICKETS.is_called(ticket) {
            return true;
        }
    }
}

/// Lets go of the lock: counts how long it was held, and wakes the next one if it sleeps.
pub(super) fn let_go(cpu: &PerCpu) {
    let held = timer::ticks().wrapping_sub(cpu.locked_at().get());
    let mut counts = COUNTS.0.get();
    counts.held = counts.held.wrapping_add(held);
    counts.longest_hold = counts.longest_hold.max(held);
    COUNTS.0.set(counts);
    if let Some(sleeper) = TICKETS.call_next() {
        cold_path();
        apic::wake(sleeper);
    }
    TICKETS.serve_next();
}

/// How the lock was used so far. Nothing, if there is one CPU.
pub(super) fn usage() -> LockUse {
    COUNTS.0.get()
}
