//! A machine of maps and sets: page-table memory, and CPUs with TLBs that do not forget.
//!
//! A real TLB may drop an entry at any time; this one keeps all until it is flushed, which is
//! the worst that hardware can do. [`FakeMachine::reachable`] is what no allocator may hand
//! out. Memory that was never zeroed reads as a pattern that looks like a present entry.
#![forbid(unsafe_code)]

use core::cell::{Cell, RefCell};
use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use crate::addr::{Frame, Page};
use crate::entry::{Entry, PageRights};
use crate::frames::TableFrame;
use crate::info::FrameInfo;
use crate::machine::Machine;

const POISON: u64 = 0xdead_dead_dead_d003;

/// A way of using memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading a byte.
    Read,
    /// Writing a byte.
    Write,
}

/// What one CPU remembers.
#[derive(Default)]
struct Tlb {
    root: Option<TableFrame>,
    leaves: BTreeMap<Page, (Frame, PageRights)>,
    tables: BTreeSet<Frame>,
}

/// The machine.
pub struct FakeMachine {
    memory: RefCell<BTreeMap<Frame, Box<[u64; 512]>>>,
    cpu: Cell<usize>,
    tlbs: RefCell<Vec<Tlb>>,
}

/// Infos for a machine of so many frames.
pub fn infos(frames: u32) -> Vec<FrameInfo> {
    (0..frames).map(|_| FrameInfo::new()).collect()
}

impl FakeMachine {
    /// A machine with this many CPUs; CPU 0 runs.
    pub fn new(cpus: usize) -> Self {
        Self {
            memory: RefCell::default(),
            cpu: Cell::new(0),
            tlbs: RefCell::new((0..cpus.max(1)).map(|_| Tlb::default()).collect()),
        }
    }

    /// Goes on as another CPU.
    pub fn run_as(&self, cpu: usize) {
        self.cpu.set(cpu);
    }

    /// The CPU that runs.
    pub fn cpu(&self) -> usize {
        self.cpu.get()
    }

    /// Loads a root, or the kernel's own; forgets every translation.
    pub fn load(&self, root: Option<TableFrame>) {
        self.with_tlb(|tlb| *tlb = Tlb { root, ..Tlb::default() });
    }

    /// Uses a page as the program would: through the TLB, else through the tables. Gives the
    /// frame, or none for a page fault.
    pub fn touch(&self, page: Page, access: Access) -> Option<Frame> {
        let allows = |rights| access == Access::Read || rights == PageRights::ReadWrite;
        let (root, known) = self.with_tlb(|tlb| (tlb.root, tlb.leaves.get(&page).copied()));
        if let Some((frame, rights)) = known
            && allows(rights)
        {
            return Some(frame);
        }
        let mut table = root?;
        for level in (1..4).rev() {
            self.with_tlb(|tlb| tlb.tables.insert(table.frame()));
            table = Entry::from_bits(self.read_entry(table, page.index(level))).as_table()?;
        }
        self.with_tlb(|tlb| tlb.tables.insert(table.frame()));
        let entry = Entry::from_bits(self.read_entry(table, page.index(0)));
        if !entry.is_present() || !allows(entry.rights()) {
            self.with_tlb(|tlb| tlb.leaves.remove(&page));
            return None;
        }
        self.write_entry(table, page.index(0), entry.used(access == Access::Write).bits());
        self.with_tlb(|tlb| tlb.leaves.insert(page, (entry.frame(), entry.rights())));
        Some(entry.frame())
    }

    /// Every frame that some CPU may still reach: through its root, as a table or as a page.
    pub fn reachable(&self) -> BTreeSet<Frame> {
        let mut all = BTreeSet::new();
        for tlb in self.tlbs.borrow().iter() {
            all.extend(tlb.root.map(TableFrame::frame));
            all.extend(&tlb.tables);
            all.extend(tlb.leaves.values().map(|&(frame, _)| frame));
        }
        all
    }

    fn with_tlb<R>(&self, change: impl FnOnce(&mut Tlb) -> R) -> R {
        let mut tlbs = self.tlbs.borrow_mut();
        let cpu = self.cpu.get();
        while tlbs.len() <= cpu {
            tlbs.push(Tlb::default());
        }
        match tlbs.get_mut(cpu) {
            Some(tlb) => change(tlb),
            None => change(&mut Tlb::default()),
        }
    }
}

impl Machine for FakeMachine {
    fn read_entry(&self, table: TableFrame, index: u16) -> u64 {
        let memory = self.memory.borrow();
        let word = memory.get(&table.frame()).and_then(|words| words.get(usize::from(index)));
        word.copied().unwrap_or(POISON)
    }

    fn write_entry(&self, table: TableFrame, index: u16, value: u64) {
        let mut memory = self.memory.borrow_mut();
        let words = memory.entry(table.frame()).or_insert_with(|| Box::new([POISON; 512]));
        if let Some(word) = words.get_mut(usize::from(index)) {
            *word = value;
        }
    }

    fn zero_frame(&self, frame: Frame) {
        self.memory.borrow_mut().insert(frame, Box::new([0; 512]));
    }

    fn flush_page(&self, page: Page) {
        self.with_tlb(|tlb| {
            tlb.leaves.remove(&page);
            tlb.tables.clear();
        });
    }

    fn flush_all(&self) {
        self.with_tlb(|tlb| {
            tlb.leaves.clear();
            tlb.tables.clear();
        });
    }
}
