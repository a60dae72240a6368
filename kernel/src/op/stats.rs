//! What the `sys` scheme tells: counters, and a histogram of latency for each opcode.
#![forbid(unsafe_code)]

use crate::arch::Slab;
use crate::mem::frames::Memory;
use core::cell::Cell;
use ring_abi::{Errno, Opcode};

/// Classes of latency: powers of two of processor ticks.
pub const CLASSES: usize = 32;
/// Room for every opcode.
pub const OPCODES: usize = 128;

/// Counters of the whole system; they only grow, and wrap around.
pub struct Stats {
    /// Operations started, by opcode, but for lone nops and reads that another counter has.
    pub started: [Cell<u64>; OPCODES],
    /// Operations that waited and completed, by opcode.
    pub latency: Slab<Latency>,
    /// Entries into the kernel through `ring_enter`, but for those that another counter has.
    pub enters: Cell<u64>,
    /// Entries that were a nop and nothing else.
    pub lone_nops: Cell<u64>,
    /// Submissions and replies that were taken without an entry.
    pub polled: Cell<u64>,
    /// Other events.
    pub events: Cell<u64>,
    /// Replies with a tag that was not out.
    pub stale_tags: Cell<u64>,
    /// Entries into a ring that the context does not have.
    pub refused: Cell<u64>,
    /// Switches from one context to another, but for exchanges of places.
    pub switches: Cell<u64>,
    /// Entries that were a read and nothing else, and ended in an exchange of places with the daemon. Each took a record
    /// that waited at a link.
    pub asked: Cell<u64>,
    /// Entries that were the reply to a read and nothing else, and ended in an exchange of places with the client. Each
    /// gave such a record back.
    pub answered: Cell<u64>,
    /// Longest step, in ticks of the processor.
    pub longest_step: Cell<u64>,
    /// What kind of event the longest step was.
    pub longest_kind: Cell<u8>,
    /// Contexts ended by the kernel for a mistake.
    pub killed: Cell<u64>,
    /// Pages that programs touched and that were made ready for them.
    pub touches: Cell<u64>,
}

/// Operations of one kind that waited and completed, by class of latency.
#[derive(Debug)]
pub struct Latency(pub [Cell<u32>; CLASSES]);

impl Default for Latency {
    fn default() -> Self {
        Latency([const { Cell::new(0) }; CLASSES])
    }
}

impl Stats {
    /// All counters at zero.
    pub fn new(memory: &Memory) -> Result<Stats, Errno> {
        let latency = Slab::reserve(&memory.machine, OPCODES as u32);
        while latency.len() < OPCODES as u32 {
            memory.grow(&latency)?;
        }
        Ok(Stats {
            started: [const { Cell::new(0) }; OPCODES],
            latency,
            enters: Cell::new(0),
            lone_nops: Cell::new(0),
            polled: Cell::new(0),
            events: Cell::new(0),
            stale_tags: Cell::new(0),
            refused: Cell::new(0),
            switches: Cell::new(0),
            asked: Cell::new(0),
            answered: Cell::new(0),
            longest_step: Cell::new(0),
            longest_kind: Cell::new(0),
            killed: Cell::new(0),
            touches: Cell::new(0),
        })
    }
}

/// Adds one to a counter.
#[inline(always)]
pub fn count(counter: &Cell<u64>) {
    counter.set(counter.get().wrapping_add(1));
}

impl Stats {
    /// All entries into the kernel through `ring_enter`.
    pub fn all_enters(&self) -> u64 {
        let short = self.lone_nops.get().wrapping_add(self.exchanges());
        self.enters.get().wrapping_add(short).wrapping_add(self.refused.get())
    }

    /// All switches from one context to another.
    pub fn all_switches(&self) -> u64 {
        self.switches.get().wrapping_add(self.exchanges())
    }

    fn exchanges(&self) -> u64 {
        self.asked.get().wrapping_add(self.answered.get())
    }

    /// How many operations with this number were started.
    pub fn all_started(&self, opcode: Opcode) -> u64 {
        let counted = self.started.get(usize::from(opcode.raw())).map_or(0, Cell::get);
        counted.wrapping_add(match opcode {
            Opcode::Nop => self.lone_nops.get(),
            Opcode::Read => self.asked.get(),
            _ => 0,
        })
    }

    /// Notes that a step, or what matters of it, took so many ticks.
    #[inline(always)]
    pub fn note_step(&self, ticks: u64, kind: u8) {
        if ticks > self.longest_step.get() {
            self.longest_step.set(ticks);
            self.longest_kind.set(kind);
        }
    }

    /// Notes that an operation started.
    #[inline(always)]
    pub fn start(&self, opcode: u8) {
        if let Some(counter) = self.started.get(usize::from(opcode & 0x7f)) {
            count(counter);
        }
    }

    /// Notes that so many operations started.
    pub fn start_many(&self, opcode: u8, number: u32) {
        if let Some(counter) = self.started.get(usize::from(opcode & 0x7f)) {
            counter.set(counter.get().wrapping_add(u64::from(number)));
        }
    }

    /// Notes that so many operations that waited have completed, each after `ticks`.
    #[inline(always)]
    pub fn end(&self, opcode: u8, ticks: u32, number: u32) {
        let class = 31_u32.wrapping_sub((ticks | 1).leading_zeros());
        let row = self.latency.at(u32::from(opcode & 0x7f));
        if let Some(cell) = row.0.get(class as usize) {
            cell.set(cell.get().wrapping_add(number));
        }
    }
}
