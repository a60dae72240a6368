//! What a machine must offer, and the pair that every change of a page table needs.
#![forbid(unsafe_code)]

use crate::addr::{Frame, Page};
use crate::frames::{Frames, TableFrame};

/// Access to the words of page tables and to this CPU's TLB.
///
/// Implementations should be `#[inline(always)]`: a walk is four reads and nothing else.
pub trait Machine {
    /// Reads an entry; `index` is below 512.
    fn read_entry(&self, table: TableFrame, index: u16) -> u64;

    /// Writes an entry; `index` is below 512. Later writes must not become visible before it.
    fn write_entry(&self, table: TableFrame, index: u16, value: u64);

    /// Writes an entry and gives what was there, as one step if other CPUs can set its
    /// accessed and dirty bits meanwhile.
    #[inline]
    fn swap_entry(&self, table: TableFrame, index: u16, value: u64) -> u64 {
        let old = self.read_entry(table, index);
        self.write_entry(table, index, value);
        old
    }

    /// Fills a frame with zeroes.
    fn zero_frame(&self, frame: Frame);

    /// Makes this CPU forget the translation of `page` in every address space that it may hold
    /// one of, and every intermediate entry, as `invlpg` does without process identifiers
    /// (Intel SDM volume 3, 4.10.4.1).
    fn flush_page(&self, page: Page);

    /// Makes this CPU forget every translation of the lower half.
    fn flush_all(&self);
}

/// A machine and its frames: all that changing a page table needs.
pub struct Memory<'m, M> {
    /// The machine.
    pub machine: M,
    /// Its frames.
    pub frames: Frames<'m>,
}

impl<'m, M: Machine> Memory<'m, M> {
    /// Joins a machine and its frames.
    pub fn new(machine: M, frames: Frames<'m>) -> Self {
        Self { machine, frames }
    }

    /// Flushes all of this CPU's TLB and counts it as proof, if someone waits for it.
    #[inline]
    pub fn flush_if_wanted(&self, cpu: usize) {
        if self.frames.wants_flush(cpu) {
            self.flush_all(cpu);
        }
    }

    /// Flushes all of this CPU's TLB and counts it as proof.
    pub fn flush_all(&self, cpu: usize) {
        let flush = self.frames.start_flush(cpu);
        self.machine.flush_all();
        self.frames.flushed(flush);
    }
}
