//! What some CPU may still reach through its TLB, and when none does.
//!
//! Taking a mapping away changes memory, not the TLBs. What was taken comes as a [`Stale`]
//! token, and only a flush gives up its value:
//!
//! - [`Stale::flush`] flushes the page here. On a machine with one CPU that is all.
//! - Otherwise the token waits: time is counted in epochs, each token carries the epoch in
//!   which it was made, and a CPU that begins a flush ([`Frames::start_flush`]) and ends it
//!   ([`Frames::flushed`]) has passed every epoch before the beginning. A token's value comes
//!   back when every CPU has passed its epoch. No CPU waits for another.
//!
//! A proof made too early does no harm, since it names an older epoch.
//!
//! Who knows which CPUs run which space names debtors instead of asking everybody: all CPUs stop ([`Frames::stop_cpu`]), and
//! before something of a space is taken away each other CPU that may hold it owes a flush ([`Frames::owe`]), until it has
//! paid ([`Frames::paid`]). While nobody owes one, nothing waits ([`Stale::flush_among`]).
#![forbid(unsafe_code)]

use core::cell::Cell;

use crate::addr::Page;
use crate::frames::Frames;
use crate::machine::{Machine, Memory};

/// The greatest number of CPUs.
pub const MAX_CPUS: usize = 64;

/// A moment in the life of the translations; younger ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(u64);

/// A value that some CPU's TLB may still reach.
#[must_use = "flush it or defer it, or what it holds is lost"]
#[derive(Debug)]
pub struct Stale<T> {
    value: T,
    reach: Reach,
    epoch: Epoch,
}

/// Through which translations a stale value may be reached.
#[derive(Clone, Copy, Debug)]
enum Reach {
    Page(Page),
    Space,
}

impl<T> Stale<T> {
    #[inline(always)]
    pub(crate) fn page(value: T, page: Page, frames: &Frames<'_>) -> Self {
        Self { value, reach: Reach::Page(page), epoch: frames.epochs.stamp() }
    }

    pub(crate) fn space(value: T, frames: &Frames<'_>) -> Self {
        Self { value, reach: Reach::Space, epoch: frames.epochs.stamp() }
    }

    /// Flushes it here, and gives the value up if this is the only CPU.
    #[inline]
    pub fn flush<M: Machine>(self, memory: &Memory<'_, M>) -> Result<T, Self> {
        match self.reach {
            Reach::Page(page) => memory.machine.flush_page(page),
            Reach::Space => memory.machine.flush_all(),
        }
        if memory.frames.epochs.is_alone() {
            return Ok(self.value);
        }
        self.passed(&memory.frames)
    }

    /// Flushes it here, and gives the value up if no other CPU owes a flush: see [`Frames::owe`].
    #[inline]
    pub fn flush_among<M: Machine>(self, memory: &Memory<'_, M>) -> Result<T, Self> {
        match self.reach {
            Reach::Page(page) => memory.machine.flush_page(page),
            Reach::Space => memory.machine.flush_all(),
        }
        if memory.frames.nobody_owes() { Ok(self.value) } else { Err(self) }
    }

    /// Flushes it here, and gives the value up: the caller knows that no other CPU may reach it.
    pub fn flush_alone<M: Machine>(self, memory: &Memory<'_, M>) -> T {
        match self.reach {
            Reach::Page(page) => memory.machine.flush_page(page),
            Reach::Space => memory.machine.flush_all(),
        }
        self.value
    }

    /// Gives the value up if every CPU has passed the token's epoch; else asks them to.
    pub fn passed(self, frames: &Frames<'_>) -> Result<T, Self> {
        if frames.has_passed(self.epoch) {
            return Ok(self.value);
        }
        frames.epochs.want(self.epoch);
        Err(self)
    }

    /// The epoch that must pass; an operation that promises a flush parks until it has.
    #[inline]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Looks at the value without giving it up.
    #[inline]
    pub fn peek(&self) -> &T {
        &self.value
    }

    /// The value and its epoch, for [`Memory::defer`], which keeps them together otherwise.
    pub(crate) fn into_parts(self) -> (T, Epoch) {
        (self.value, self.epoch)
    }
}

/// A flush that has begun on one CPU. Nothing is proven before it is handed back.
#[must_use = "flush, then hand it to `Frames::flushed`"]
#[derive(Debug)]
pub struct FlushStart {
    cpu: usize,
    covers: u64,
}

/// The clock of the translations: one epoch for all, and how far each CPU is.
pub(crate) struct Epochs {
    now: Cell<u64>,
    /// The youngest epoch that someone waits for.
    wanted: Cell<u64>,
    /// The least of `seen`.
    slowest: Cell<u64>,
    online: Cell<u32>,
    /// One past the greatest CPU that ever started.
    places: Cell<usize>,
    /// Tokens made so far.
    changes: Cell<u64>,
    /// A CPU has passed every epoch below its number; one that is not there has passed all.
    seen: [Cell<u64>; MAX_CPUS],
}

impl Epochs {
    /// The first epoch, with CPU 0 alone.
    pub(crate) fn new() -> Self {
        let epochs = Self {
            now: Cell::new(1),
            wanted: Cell::new(0),
            slowest: Cell::new(0),
            online: Cell::new(0),
            places: Cell::new(0),
            changes: Cell::new(0),
            seen: [const { Cell::new(u64::MAX) }; MAX_CPUS],
        };
        epochs.start_cpu(0);
        epochs
    }

    /// The epoch of a token that is being made.
    #[inline(always)]
    fn stamp(&self) -> Epoch {
        self.changes.set(self.changes.get().wrapping_add(1));
        Epoch(self.now.get())
    }

    #[inline]
    pub(crate) fn changes(&self) -> u64 {
        self.changes.get()
    }

    #[inline]
    fn is_alone(&self) -> bool {
        self.online.get() <= 1
    }

    #[inline]
    pub(crate) fn want(&self, epoch: Epoch) {
        self.wanted.set(self.wanted.get().max(epoch.0));
    }

    #[inline]
    pub(crate) fn is_wanted(&self, cpu: usize) -> bool {
        self.seen.get(cpu).is_some_and(|seen| seen.get() <= self.wanted.get())
    }

    #[inline]
    pub(crate) fn now(&self) -> Epoch {
        Epoch(self.now.get())
    }

    #[inline]
    pub(crate) fn slowest(&self) -> u64 {
        self.slowest.get()
    }

    pub(crate) fn start_cpu(&self, cpu: usize) -> bool {
        let Some(seen) = self.seen.get(cpu).filter(|seen| seen.get() == u64::MAX) else { return false };
        seen.set(self.now.get());
        self.online.set(self.online.get().wrapping_add(1));
        self.places.set(self.places.get().max(cpu.wrapping_add(1)));
        self.measure();
        true
    }

    pub(crate) fn stop_cpu(&self, cpu: usize) -> bool {
        let Some(seen) = self.seen.get(cpu).filter(|seen| seen.get() != u64::MAX) else { return false };
        seen.set(u64::MAX);
        self.online.set(self.online.get().wrapping_sub(1));
        self.measure();
        true
    }

    pub(crate) fn start_flush(&self, cpu: usize) -> FlushStart {
        let covers = self.now.get().wrapping_add(1);
        self.now.set(covers);
        FlushStart { cpu, covers }
    }

    pub(crate) fn flushed(&self, flush: FlushStart) {
        if let Some(seen) = self.seen.get(flush.cpu)
            && seen.get() < flush.covers
        {
            seen.set(flush.covers);
            self.measure();
        }
    }

    /// A CPU may hold what is taken away from now on. It has passed every epoch before this one.
    pub(crate) fn owe(&self, cpu: usize) {
        self.start_cpu(cpu);
    }

    /// A CPU that owed a flush has flushed everything. What is taken away from now on is younger than what was.
    pub(crate) fn paid(&self, cpu: usize) {
        self.now.set(self.now.get().wrapping_add(1));
        self.stop_cpu(cpu);
    }

    pub(crate) fn nobody_owes(&self) -> bool {
        self.online.get() == 0
    }

    pub(crate) fn cpu_has_passed(&self, cpu: usize, epoch: Epoch) -> bool {
        self.seen.get(cpu).is_none_or(|seen| seen.get() > epoch.0)
    }

    fn measure(&self) {
        let slowest = self.seen.iter().take(self.places.get()).map(Cell::get).min();
        self.slowest.set(slowest.unwrap_or(u64::MAX));
    }
}

impl Epoch {
    /// As a word, while something waits for it.
    pub const fn to_word(self) -> u64 {
        self.0
    }

    /// The epoch that this word is.
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    pub(crate) const fn number(self) -> u64 {
        self.0
    }
}
