//! The fake processor's address translation: it walks the page tables as hardware does, and remembers.
//!
//! What a program (played by a test) reads and writes goes through here, by the entries in memory and by
//! nothing that the kernel says. Translations are remembered until they are flushed or another root is
//! loaded. A remembered translation that allows more than the tables now do, when it is used or when a test
//! asks, is a flush that the kernel forgot: it stops the test.

use super::memory::Memory;
use rmm::{Frame, Page};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

/// Intel SDM volume 3, section 4.5: bits of an entry.
mod bit {
    pub(super) const PRESENT: u64 = 1;
    pub(super) const WRITE: u64 = 1 << 1;
    pub(super) const USER: u64 = 1 << 2;
    pub(super) const ACCESSED: u64 = 1 << 5;
    pub(super) const DIRTY: u64 = 1 << 6;
    pub(super) const LARGE: u64 = 1 << 7;
    pub(super) const NO_EXECUTE: u64 = 1 << 63;
    pub(super) const FRAME: u64 = 0x000f_ffff_ffff_f000;
}

/// What a program does with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It reads.
    Read,
    /// It writes.
    Write,
    /// It runs what stands there.
    Execute,
}

/// A page fault: vector 14 with this error code and address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFault {
    /// As the processor pushes it (Intel SDM volume 3, section 4.7).
    pub code: u64,
    /// The address, as in CR2.
    pub address: u64,
}

impl PageFault {
    fn new(address: u64, access: Access, present: u64) -> PageFault {
        let kind = match access {
            Access::Read => 0,
            Access::Write => 1 << 1,
            Access::Execute => 1 << 4,
        };
        PageFault { code: present | kind | 1 << 2, address }
    }
}

/// A translation as the tables give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Translation {
    frame: u64,
    write: bool,
    execute: bool,
}

impl Translation {
    fn allows(self, access: Access) -> bool {
        match access {
            Access::Read => true,
            Access::Write => self.write,
            Access::Execute => self.execute,
        }
    }

    /// Whether remembering this one is harmless while the tables say `now`.
    fn within(self, now: Translation) -> bool {
        self.frame == now.frame && (now.write || !self.write) && (now.execute || !self.execute)
    }
}

/// The translation unit of a CPU.
///
/// Without tags, loading another root forgets everything. With them (process identifiers) translations stay until they are
/// flushed, and belong to the root that was loaded then.
#[derive(Debug, Default)]
pub(super) struct Mmu {
    root: Cell<Option<Frame>>,
    tagged: Cell<bool>,
    /// Roots of which there may be something.
    held: RefCell<BTreeSet<Frame>>,
    remembered: RefCell<BTreeMap<(Frame, Page), Translation>>,
    flushes: Cell<u64>,
}

impl Mmu {
    /// From now on translations have tags.
    pub(super) fn tag(&self) {
        self.tagged.set(true);
    }

    /// Loads CR3. Says whether that has forgotten everything.
    pub(super) fn activate(&self, root: Frame) -> bool {
        let forgets = self.root.replace(Some(root)) != Some(root) && !self.tagged.get();
        if forgets {
            self.forget();
        }
        self.held.borrow_mut().insert(root);
        forgets
    }

    pub(super) fn active(&self) -> Option<Frame> {
        self.root.get()
    }

    /// Whether there may be translations of a root.
    pub(super) fn holds(&self, root: Frame) -> bool {
        self.held.borrow().contains(&root)
    }

    /// A root is to be used no more: loads the kernel's own if it is active, and forgets what it has of it.
    pub(super) fn leave(&self, root: Frame) {
        if self.active() == Some(root) {
            self.activate(super::KERNEL_HALF);
        }
        if self.holds(root) {
            self.forget();
        }
    }

    fn forget(&self) {
        self.remembered.borrow_mut().clear();
        let mut held = self.held.borrow_mut();
        held.clear();
        held.extend(self.root.get());
    }

    /// Forgets one page, in any space or if this root is active.
    pub(super) fn flush_page(&self, root: Option<Frame>, page: Page) {
        self.flushes.set(self.flushes.get().saturating_add(1));
        if root.is_none() || self.root.get() == root {
            self.remembered.borrow_mut().retain(|(_, known), _| *known != page);
        }
    }

    /// Forgets every page, in any space or if this root is active.
    pub(super) fn flush_all(&self, root: Option<Frame>) {
        self.flushes.set(self.flushes.get().saturating_add(1));
        if root.is_none() || self.root.get() == root {
            self.forget();
        }
    }

    pub(super) fn flushes(&self) -> u64 {
        self.flushes.get()
    }

    /// The physical address that the program under the active root reaches at `address`. A CPU that owes a flush may use
    /// what it remembers, whatever the tables say.
    pub(super) fn reach(
        &self,
        memory: &Memory,
        address: u64,
        access: Access,
        owes: bool,
    ) -> Result<u64, PageFault> {
        let missing = PageFault::new(address, access, 0);
        let root = self.root.get().ok_or(missing)?;
        let page = Page::containing(address).ok_or(missing)?;
        let known = self.remembered.borrow().get(&(root, page)).copied();
        if let Some(known) = known {
            if !owes {
                check(memory, root, page, known);
            }
            if known.allows(access) {
                return Ok(known.frame | address & 0xfff);
            }
        }
        // As on hardware, a translation that does not allow the access is looked up anew before it faults.
        let Some(found) = walk(memory, root, page) else {
            return Err(missing);
        };
        self.remembered.borrow_mut().insert((root, page), found);
        if !found.allows(access) {
            return Err(PageFault::new(address, access, 1));
        }
        touch(memory, root, page, access);
        Ok(found.frame | address & 0xfff)
    }

    /// What the tables of any root say about an address, without remembering it.
    pub(super) fn look_up(memory: &Memory, root: Frame, address: u64) -> Option<u64> {
        let page = Page::containing(address)?;
        walk(memory, root, page).map(|found| found.frame | address & 0xfff)
    }

    /// The frames that are reached by translations which allow more than the tables do. Stops the test if there are some
    /// although no flush is owed.
    pub(super) fn audit(&self, memory: &Memory, owes: bool) -> Vec<Frame> {
        let mut stale = Vec::new();
        for ((root, page), known) in self.remembered.borrow().iter() {
            if !owes {
                check(memory, *root, *page, *known);
            } else if !walk(memory, *root, *page).is_some_and(|now| known.within(now)) {
                stale.push(Frame::new((known.frame >> 12) as u32));
            }
        }
        stale
    }
}

fn check(memory: &Memory, root: Frame, page: Page, known: Translation) {
    let now = walk(memory, root, page);
    assert!(
        now.is_some_and(|now| known.within(now)),
        "stale translation of {:#x}: the TLB has {known:?}, the tables say {now:?}",
        page.start(),
    );
}

/// Addresses of the four entries that lead to a page; those after a missing one are left out.
fn path(memory: &Memory, root: Frame, page: Page) -> impl Iterator<Item = u64> {
    let mut table = Some(root.start().raw());
    [27, 18, 9, 0].into_iter().map_while(move |shift| {
        let entry = table?.wrapping_add((page.number() >> shift & 511).wrapping_mul(8));
        let value = memory.load_u64(entry);
        table = (value & bit::PRESENT != 0).then_some(value & bit::FRAME);
        Some(entry)
    })
}

fn walk(memory: &Memory, root: Frame, page: Page) -> Option<Translation> {
    let mut found = Translation { frame: 0, write: true, execute: true };
    let mut levels: u32 = 0;
    for entry in path(memory, root, page) {
        let value = memory.load_u64(entry);
        levels = levels.wrapping_add(1);
        if value & (bit::PRESENT | bit::USER) != bit::PRESENT | bit::USER {
            return None;
        }
        assert!(levels == 4 || value & bit::LARGE == 0, "no large pages in this kernel: {value:#x}");
        found.write &= value & bit::WRITE != 0;
        found.execute &= value & bit::NO_EXECUTE == 0;
        found.frame = value & bit::FRAME;
    }
    (levels == 4).then_some(found)
}

/// Sets the accessed and dirty bits, as hardware does.
fn touch(memory: &Memory, root: Frame, page: Page, access: Access) {
    let entries: Vec<u64> = path(memory, root, page).collect();
    let leaf = entries.last().copied();
    for entry in entries {
        let dirty = if Some(entry) == leaf && access == Access::Write { bit::DIRTY } else { 0 };
        let value = memory.load_u64(entry);
        memory.store_u64(entry, value | bit::ACCESSED | dirty);
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "small constants")]
mod tests {
    use super::super::memory::BLOCK_ALIGN;
    use super::*;

    const USER: u64 = bit::PRESENT | bit::WRITE | bit::USER;

    /// Root in frame 1, tables in 2 to 4, page 5 mapped to frame 9.
    fn mapped(leaf: u64) -> (Memory, Mmu) {
        let memory = Memory::new(BLOCK_ALIGN);
        for table in 1..4 {
            memory.store_u64(table << 12, (table + 1) << 12 | USER);
        }
        memory.store_u64((4 << 12) + 5 * 8, 9 << 12 | leaf);
        let mmu = Mmu::default();
        mmu.activate(Frame::new(1));
        (memory, mmu)
    }

    #[test]
    fn a_mapped_page_is_reached_and_marked() {
        let (memory, mmu) = mapped(USER | bit::NO_EXECUTE);
        assert_eq!(mmu.reach(&memory, 0x5123, Access::Write, false), Ok(0x9123));
        assert_eq!(memory.load_u64((4 << 12) + 40) & (bit::ACCESSED | bit::DIRTY), 0x60);
        let fault = PageFault { code: 0x15, address: 0x5000 };
        assert_eq!(mmu.reach(&memory, 0x5000, Access::Execute, false), Err(fault));
        let missing = PageFault { code: 6, address: 0x6000 };
        assert_eq!(mmu.reach(&memory, 0x6000, Access::Write, false), Err(missing));
        assert!(mmu.reach(&memory, u64::MAX, Access::Read, false).is_err());
    }

    #[test]
    fn a_right_that_was_added_is_seen_without_a_flush() {
        let (memory, mmu) = mapped(bit::PRESENT | bit::USER);
        assert!(mmu.reach(&memory, 0x5000, Access::Write, false).is_err());
        memory.store_u64((4 << 12) + 40, 9 << 12 | USER);
        assert_eq!(mmu.reach(&memory, 0x5000, Access::Write, false), Ok(0x9000));
    }

    #[test]
    #[should_panic(expected = "stale translation of 0x5000")]
    fn a_forgotten_flush_is_caught() {
        let (memory, mmu) = mapped(USER);
        mmu.reach(&memory, 0x5000, Access::Read, false).unwrap();
        memory.store_u64((4 << 12) + 40, 0);
        mmu.audit(&memory, false);
    }

    #[test]
    fn a_flush_and_another_root_forget() {
        let (memory, mmu) = mapped(USER);
        let page = Page::new(5).unwrap();
        mmu.reach(&memory, 0x5000, Access::Read, false).unwrap();
        memory.store_u64((4 << 12) + 40, 0);
        mmu.flush_page(Some(Frame::new(1)), page);
        mmu.audit(&memory, false);
        memory.store_u64((4 << 12) + 40, 9 << 12 | USER);
        mmu.reach(&memory, 0x5000, Access::Read, false).unwrap();
        mmu.activate(Frame::new(7));
        memory.store_u64((4 << 12) + 40, 0);
        mmu.activate(Frame::new(1));
        mmu.audit(&memory, false);
        assert!(mmu.reach(&memory, 0x5000, Access::Read, false).is_err());
    }
}
