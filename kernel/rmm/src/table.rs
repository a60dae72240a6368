//! The lower half of one address space: map, walk, unmap, protect.
//!
//! - Each table counts its entries in use in its frame's info, so an emptied table is found
//!   without looking at 512 entries, and is given back exactly once, with the mapping that
//!   was its last.
//! - Everything that takes a translation away or narrows it returns a [`Stale`] token.
//! - A mapping holds one share of its frame: the caller's, which moves in at [`PageTable::map`].
//! - The upper half is the kernel's, the same in every root, and never looked at here.
#![forbid(unsafe_code)]

use crate::addr::Page;
use crate::entry::{Entry, PageRights, Tenure};
use crate::flush::Stale;
use crate::frames::{DeviceFrame, Frames, TableFrame, UserFrame};
use crate::info::{Kind, NONE};
use crate::machine::{Machine, Memory};
use crate::stock::TableStock;
use crate::unmapped::Unmapped;

/// The level of the root; leaf tables are level 0.
pub(crate) const ROOT: u32 = 3;

/// Entries of the upper half that a root can share.
const KERNEL_ENTRIES: usize = 32;

/// The user half of one address space. It owns its tables: end it with [`PageTable::retire`].
#[must_use = "dropping it leaks its tables and frames"]
#[derive(Debug)]
pub struct PageTable {
    root: TableFrame,
}

/// A frame and the terms on which a page has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The frame.
    pub frame: UserFrame,
    /// What the program may do with it.
    pub rights: PageRights,
    /// What fork does with it.
    pub tenure: Tenure,
}

/// Why a page was not mapped. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// The page is mapped already.
    Taken,
    /// The stock has too few tables: a bug of the caller, who asked for fewer than it needs.
    StockTooSmall,
}

/// What [`PageTable::protect`] did.
#[must_use = "a narrowed translation is in force only after its flush"]
#[derive(Debug)]
pub enum Protected {
    /// The page is not mapped.
    NotMapped,
    /// Nothing was taken away, so nothing has to be flushed.
    Widened,
    /// Some TLB may still allow what was taken away.
    Narrowed(Stale<()>),
}

/// The entries of the upper half that every root shares.
#[derive(Debug)]
pub struct KernelHalf {
    entries: [(u16, u64); KERNEL_ENTRIES],
    count: usize,
}

impl KernelHalf {
    /// Collects the entries in use of the kernel's own root, with their indices. None if one
    /// is not of the upper half, or if there are more than 32. The kernel must not add one
    /// later: spaces that exist would not see it.
    pub fn new(present: impl IntoIterator<Item = (u16, u64)>) -> Option<Self> {
        let mut half = Self { entries: [(0, 0); KERNEL_ENTRIES], count: 0 };
        for (index, bits) in present {
            if !(256..512).contains(&index) {
                return None;
            }
            *half.entries.get_mut(half.count)? = (index, bits);
            half.count = half.count.wrapping_add(1);
        }
        Some(half)
    }
}

impl PageTable {
    /// Makes an empty space with the kernel's half. Its root comes out of `stock`; none if
    /// that is empty.
    pub fn new<M: Machine>(
        memory: &Memory<'_, M>,
        kernel: &KernelHalf,
        stock: &TableStock<'_, '_>,
    ) -> Option<Self> {
        let root = stock.take()?;
        memory.machine.zero_frame(root.frame());
        for &(index, bits) in kernel.entries.iter().take(kernel.count) {
            memory.machine.write_entry(root, index, bits);
        }
        Some(Self { root })
    }

    /// The root, for loading it.
    #[inline]
    pub fn root(&self) -> TableFrame {
        self.root
    }

    /// The frame under `page` and what the program may do with it; four reads. A device has no
    /// such frame, so the kernel never copies from or to one.
    #[inline(always)]
    pub fn walk<M: Machine>(&self, machine: &M, page: Page) -> Option<(UserFrame, PageRights)> {
        let entry = self.entry(machine, page)?;
        Some((entry.as_user()?, entry.rights()))
    }

    /// What `page` has, in full.
    pub fn leaf<M: Machine>(&self, machine: &M, page: Page) -> Option<Leaf> {
        self.entry(machine, page)?.as_leaf()
    }

    /// How many tables mapping `page` needs now: 0 to 3.
    #[inline]
    pub fn tables_missing<M: Machine>(&self, machine: &M, page: Page) -> u32 {
        let mut table = self.root;
        for level in (1..=ROOT).rev() {
            match read(machine, table, page, level).as_table() {
                Some(next) => table = next,
                None => return level,
            }
        }
        0
    }

    /// Maps `page`; the caller's share of the frame becomes the mapping's. Missing tables come
    /// out of `stock`, and it cannot fail for a free page if that has [`tables_missing`].
    ///
    /// [`tables_missing`]: Self::tables_missing
    #[inline]
    pub fn map<M: Machine>(
        &self,
        memory: &Memory<'_, M>,
        page: Page,
        leaf: Leaf,
        stock: &TableStock<'_, '_>,
    ) -> Result<(), MapError> {
        self.put(memory, page, leaf.entry(), stock)
    }

    /// Maps `page` to a frame of a device, uncached.
    pub fn map_device<M: Machine>(
        &self,
        memory: &Memory<'_, M>,
        page: Page,
        (device, rights): (DeviceFrame, PageRights),
        stock: &TableStock<'_, '_>,
    ) -> Result<(), MapError> {
        self.put(memory, page, Entry::device(device, rights), stock)
    }

    /// Takes the mapping of `page` away, with every table that becomes empty by it.
    #[inline]
    pub fn unmap<M: Machine>(&self, memory: &Memory<'_, M>, page: Page) -> Option<Stale<Unmapped>> {
        let gone = self.remove(memory, page)?;
        Some(Stale::page(gone, page, &memory.frames))
    }

    /// Maps a mapped page to another frame (copy-on-write), without a moment in between. None
    /// if it was not mapped, and then it still is not.
    pub fn replace<M: Machine>(
        &self,
        memory: &Memory<'_, M>,
        page: Page,
        leaf: Leaf,
    ) -> Option<Stale<Unmapped>> {
        let table = self.leaf_table(&memory.machine, page)?;
        if !read(&memory.machine, table, page, 0).is_present() {
            return None;
        }
        let old = memory.machine.swap_entry(table, page.index(0), leaf.entry().bits());
        let gone = Unmapped::new(Entry::from_bits(old), NONE);
        Some(Stale::page(gone, page, &memory.frames))
    }

    /// Changes what the program may do with `page`.
    pub fn protect<M: Machine>(&self, memory: &Memory<'_, M>, page: Page, rights: PageRights) -> Protected {
        self.change(memory, page, |entry| entry.with_rights(rights))
    }

    /// Lets `page` have its frame on other terms.
    pub fn hold<M: Machine>(
        &self,
        memory: &Memory<'_, M>,
        page: Page,
        tenure: Tenure,
        rights: PageRights,
    ) -> Protected {
        self.change(memory, page, |entry| entry.with_tenure(tenure, rights))
    }

    #[inline]
    fn change<M: Machine>(
        &self,
        memory: &Memory<'_, M>,
        page: Page,
        change: impl FnOnce(Entry) -> Entry,
    ) -> Protected {
        let machine = &memory.machine;
        let Some(table) = self.leaf_table(machine, page) else { return Protected::NotMapped };
        let old = read(machine, table, page, 0);
        if !old.is_present() {
            return Protected::NotMapped;
        }
        let new = change(old);
        put_over(machine, (table, page.index(0)), new);
        if new.rights().covers(old.rights()) {
            return Protected::Widened;
        }
        Protected::Narrowed(Stale::page((), page, &memory.frames))
    }

    #[inline(always)]
    pub(crate) fn leaf_table<M: Machine>(&self, machine: &M, page: Page) -> Option<TableFrame> {
        let third = read(machine, self.root, page, 3).as_table()?;
        let second = read(machine, third, page, 2).as_table()?;
        read(machine, second, page, 1).as_table()
    }

    #[inline(always)]
    fn entry<M: Machine>(&self, machine: &M, page: Page) -> Option<Entry> {
        let entry = read(machine, self.leaf_table(machine, page)?, page, 0);
        if entry.is_present() { Some(entry) } else { None }
    }

    /// The leaf table of `page`, which is there then. None if it was not, and the stock has too few.
    #[inline(always)]
    pub(crate) fn leaf_table_with<M: Machine>(
        &self,
        memory: &Memory<'_, M>,
        page: Page,
        stock: &TableStock<'_, '_>,
    ) -> Option<TableFrame> {
        let mut table = self.root;
        for level in (1..=ROOT).rev() {
            match read(&memory.machine, table, page, level).as_table() {
                Some(next) => table = next,
                None => return grow(memory, page, (table, level), stock),
            }
        }
        Some(table)
    }

    #[inline]
    fn put<M: Machine>(
        &self,
        memory: &Memory<'_, M>,
        page: Page,
        entry: Entry,
        stock: &TableStock<'_, '_>,
    ) -> Result<(), MapError> {
        let table = self.leaf_table_with(memory, page, stock).ok_or(MapError::StockTooSmall)?;
        if read(&memory.machine, table, page, 0).is_present() {
            return Err(MapError::Taken);
        }
        memory.machine.write_entry(table, page.index(0), entry.bits());
        memory.frames.entry_added(table);
        Ok(())
    }

    /// Clears the entry of `page`, and those of the tables that become empty.
    #[inline]
    pub(crate) fn remove<M: Machine>(&self, memory: &Memory<'_, M>, page: Page) -> Option<Unmapped> {
        let machine = &memory.machine;
        let third = read(machine, self.root, page, 3).as_table()?;
        let second = read(machine, third, page, 2).as_table()?;
        let first = read(machine, second, page, 1).as_table()?;
        if !read(machine, first, page, 0).is_present() {
            return None;
        }
        let old = Entry::from_bits(machine.swap_entry(first, page.index(0), Entry::EMPTY.bits()));
        let mut emptied = NONE;
        if memory.frames.entry_removed(first) == Left::Empty {
            emptied = shrink(memory, page, [(first, second), (second, third), (third, self.root)]);
        }
        Some(Unmapped::new(old, emptied))
    }
}

impl Leaf {
    #[inline]
    fn entry(self) -> Entry {
        Entry::user(self.frame, self.rights, self.tenure)
    }
}

impl Entry {
    #[inline]
    pub(crate) fn as_leaf(self) -> Option<Leaf> {
        Some(Leaf { frame: self.as_user()?, rights: self.rights(), tenure: self.tenure() })
    }
}

/// Changes an entry that is in use, and keeps what the processor has noted in it.
#[inline]
pub(crate) fn put_over<M: Machine>(machine: &M, (table, at): (TableFrame, u16), new: Entry) {
    let seen = Entry::from_bits(machine.swap_entry(table, at, new.bits()));
    if new.with_use_of(seen) != new {
        machine.swap_entry(table, at, new.with_use_of(seen).bits());
    }
}

/// Reads the entry of `page` in a table of this level.
#[inline(always)]
pub(crate) fn read<M: Machine>(machine: &M, table: TableFrame, page: Page, level: u32) -> Entry {
    Entry::from_bits(machine.read_entry(table, page.index(level)))
}

/// Adds the tables of `page` below the given one, whose entry is free; gives the leaf table.
#[cold]
#[inline(never)]
fn grow<M: Machine>(
    memory: &Memory<'_, M>,
    page: Page,
    (mut table, level): (TableFrame, u32),
    stock: &TableStock<'_, '_>,
) -> Option<TableFrame> {
    if stock.left() < level {
        return None;
    }
    for level in (1..=level).rev() {
        let next = stock.take()?;
        memory.machine.zero_frame(next.frame());
        memory.machine.write_entry(table, page.index(level), Entry::table(next).bits());
        memory.frames.entry_added(table);
        table = next;
    }
    Some(table)
}

/// Takes out the tables that became empty, lowest first, each from its parent; gives their list.
#[cold]
#[inline(never)]
fn shrink<M: Machine>(
    memory: &Memory<'_, M>,
    page: Page,
    tables: [(TableFrame, TableFrame); ROOT as usize],
) -> u32 {
    let mut list = NONE;
    for (level, (table, parent)) in (1..=ROOT).zip(tables) {
        memory.machine.write_entry(parent, page.index(level), Entry::EMPTY.bits());
        if let Ok(info) = memory.frames.expect_kind(table.frame(), Kind::Table) {
            info.link.set(list);
            list = table.frame().number();
        }
        if memory.frames.entry_removed(parent) == Left::Some {
            break;
        }
    }
    list
}

/// Whether a table has entries left.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    Some,
    Empty,
}

impl Frames<'_> {
    #[inline]
    fn entry_added(&self, table: TableFrame) {
        self.entries_added(table, 1);
    }

    /// So many entries of a table are in use now that were not.
    #[inline]
    pub(crate) fn entries_added(&self, table: TableFrame, count: u16) {
        if let Ok(info) = self.expect_kind(table.frame(), Kind::Table) {
            info.live.set(info.live.get().wrapping_add(count));
        }
    }

    #[inline]
    fn entry_removed(&self, table: TableFrame) -> Left {
        let Ok(info) = self.expect_kind(table.frame(), Kind::Table) else { return Left::Some };
        let live = info.live.get().wrapping_sub(1);
        info.live.set(live);
        if live == 0 { Left::Empty } else { Left::Some }
    }

    /// How many entries of a table are in use.
    pub(crate) fn entries_in_use(&self, table: TableFrame) -> u16 {
        self.expect_kind(table.frame(), Kind::Table).map_or(0, |info| info.live.get())
    }
}
