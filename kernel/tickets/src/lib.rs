//! Tickets for a lock that many wait for: first come, first served, and who waits long may sleep.
//!
//! Who comes draws a ticket and waits until it is served. Who has the lock lets go of it by serving the next ticket: one
//! store to a word that nobody else writes.
//! Where CPUs are few and waits are long (the machine is a virtual one, and the host runs another of its CPUs), waiting
//! costs those who could go on. So each ticket has a bed. Who waits long lies down in it and sleeps until called; who is
//! about to let go calls the next ticket first, with one exchange, and wakes whoever lay there.
//!
//! Invariants: a ticket is called by the one before it alone, and before it is served. Who finds itself called, lying down
//! or waking up, sleeps no more: it is served in a moment. So no call is lost, though it comes before the increment.
//! At most `BEDS` wait and hold together, so a bed belongs to one ticket from the call until its holder leaves it empty.
#![no_std]
#![forbid(unsafe_code)]

mod debt;

pub use debt::Debt;

use ring_abi::sync::AtomicU32;
use ring_abi::sync::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// Nobody lies there.
const EMPTY: u32 = 0;
/// The ticket is about to be served.
const CALLED: u32 = 1;
/// Added to the number of the one who sleeps there.
const SLEEPER: u32 = 2;

/// The tickets of one lock. `BEDS` is a power of two, and no less than the number of those who may come.
#[derive(Debug)]
pub struct Tickets<const BEDS: usize> {
    /// The ticket whose holder has the lock.
    pub serving: AtomicU32,
    /// The ticket that the next one to come gets.
    pub next: AtomicU32,
    /// Where those sleep who wait long.
    pub beds: [AtomicU32; BEDS],
}

impl<const BEDS: usize> Tickets<BEDS> {
    /// Takes a place in line.
    #[inline(always)]
    pub fn draw(&self) -> u32 {
        self.next.fetch_add(1, AcqRel)
    }

    /// Whether a ticket's holder has the lock.
    #[inline(always)]
    pub fn serves(&self, ticket: u32) -> bool {
        self.serving.load(Acquire) == ticket
    }

    /// Whether a ticket is served after the one that is served now.
    pub fn is_next(&self, ticket: u32) -> bool {
        self.serving.load(Relaxed).wrapping_add(1) == ticket
    }

    /// The holder of a ticket that is served begins: it needs its bed no more.
    #[inline(always)]
    pub fn begin(&self, ticket: u32) {
        // Whoever has this bed next draws its ticket after the lock was let go of.
        self.bed(ticket).store(EMPTY, Relaxed);
    }

    /// The holder of a ticket wants to sleep. `false`: it was called, and is served in a moment.
    pub fn lie_down(&self, ticket: u32, who: u8) -> bool {
        let sleeper = u32::from(who).wrapping_add(SLEEPER);
        self.bed(ticket).compare_exchange(EMPTY, sleeper, AcqRel, Acquire).is_ok()
    }

    /// Whether the holder of a ticket, who lay down, was called. If not it goes on sleeping.
    pub fn is_called(&self, ticket: u32) -> bool {
        self.bed(ticket).load(Acquire) == CALLED
    }

    /// Who has the lock is about to let go of it: calls the next ticket. Gives who sleeps and is to be woken.
    #[inline(always)]
    pub fn call_next(&self) -> Option<u8> {
        // Nobody else writes it.
        let next = self.serving.load(Relaxed).wrapping_add(1);
        let found = self.bed(next).swap(CALLED, AcqRel);
        u8::try_from(found.checked_sub(SLEEPER)?).ok()
    }

    /// Lets go of the lock.
    pub fn serve_next(&self) {
        self.serving.store(self.serving.load(Relaxed).wrapping_add(1), Release);
    }

    #[inline(always)]
    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "`BEDS` is a power of two, so a masked number is below it"
    )]
    fn bed(&self, ticket: u32) -> &AtomicU32 {
        const { assert!(BEDS.is_power_of_two()) };
        &self.beds[ticket as usize & (BEDS - 1)]
    }
}
