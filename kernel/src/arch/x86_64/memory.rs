//! The kernel half of every address space: the direct map, the kernel's image, the room for growing tables.
//!
//! ```text
//! ffff_8000_0000_0000  image, loader's stack, ramdisk    entries 256 to 271, placed by the loader
//! ffff_8800_0000_0000  direct map of physical memory     entries 272 to 279
//! ffff_8c00_0000_0000  growing tables                    entries from 280 on, see [`slab`](super::slab)
//! ```

use core::arch::asm;
use core::cell::{Cell, UnsafeCell};
use core::sync::atomic::{AtomicU64, Ordering};

use rmm::Frame;

/// Where the direct map starts.
pub(super) const DIRECT_MAP: u64 = 0xffff_8800_0000_0000;
/// The most physical memory that the direct map has room for.
const DIRECT_LIMIT: u64 = 8 << 39;
/// Where growing tables start, and where their room ends.
pub(super) const TABLES: u64 = 0xffff_8c00_0000_0000;
pub(super) const TABLES_END: u64 = 0xffff_ff80_0000_0000;
/// Bytes that one entry of a root maps.
pub(super) const ROOT_ENTRY_BYTES: u64 = 1 << 39;
/// How many growing tables there can be.
const MOST_TABLES: usize = 20;

/// Bits of a page-table entry.
pub(super) mod entry {
    pub(in super::super) const PRESENT: u64 = 1 << 0;
    pub(in super::super) const WRITABLE: u64 = 1 << 1;
    pub(in super::super) const USER: u64 = 1 << 2;
    pub(in super::super) const UNCACHED: u64 = 1 << 3 | 1 << 4;
    pub(in super::super) const LARGE: u64 = 1 << 7;
    pub(in super::super) const GLOBAL: u64 = 1 << 8;
    pub(in super::super) const NO_EXECUTE: u64 = 1 << 63;
    pub(in super::super) const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
}

/// First entry of the root that belongs to the kernel, and how many do.
const KERNEL_FIRST: u64 = 256;
const KERNEL_USED: u64 = 256;

/// A number written by the first CPU at boot and only read afterwards.
pub(super) struct BootCell(Cell<u64>);

// SAFETY: see the type.
unsafe impl Sync for BootCell {}

impl BootCell {
    /// The number.
    pub(super) fn get(&self) -> u64 {
        self.0.get()
    }
}

/// How far the direct map reaches.
pub(super) static DIRECT_BYTES: BootCell = BootCell(Cell::new(1 << 32));
static ROOT_ADDRESS: BootCell = BootCell(Cell::new(0));

/// A page table of the kernel half that exists from the start.
#[repr(C, align(4096))]
struct Table(UnsafeCell<[u64; 512]>);

// SAFETY: written at boot by the first CPU, and afterwards only by the one CPU that runs the kernel.
unsafe impl Sync for Table {}

/// The root whose upper half every space shares; its lower half stays empty.
static ROOT: Table = Table(UnsafeCell::new([0; 512]));
/// The tables below [`ROOT`] for growing tables, and how many are in use.
static TABLES_TABLES: [Table; MOST_TABLES] = [const { Table(UnsafeCell::new([0; 512])) }; MOST_TABLES];
static TABLES_USED: BootCell = BootCell(Cell::new(0));

/// Where the kernel reaches a physical address.
#[inline(always)]
pub(super) fn direct<T>(physical: u64) -> *mut T {
    DIRECT_MAP.wrapping_add(physical) as *mut T
}

/// The root whose upper half every space shares.
pub(super) fn kernel_root() -> Frame {
    frame_at(ROOT_ADDRESS.get())
}

/// The entries of the kernel's half that are in use, with their indices.
pub(super) fn kernel_entries() -> impl Iterator<Item = (u16, u64)> {
    let root = ROOT_ADDRESS.get();
    let indices = KERNEL_FIRST..KERNEL_FIRST.wrapping_add(KERNEL_USED);
    let entries = indices.map(move |index| (index as u16, read_entry(root, index)));
    entries.filter(|(_, value)| value & entry::PRESENT != 0)
}

/// Makes the first [`ROOT_ENTRY_BYTES`] of a growing table's room ready to be mapped into. To be done before the first
/// space exists, since spaces share what the root has then.
///
/// # Panics
///
/// If there are more growing tables than the kernel's constants say.
pub(super) fn add_growing_table(base: u64) {
    let used = TABLES_USED.0.get();
    let table = TABLES_TABLES.get(used as usize).and_then(|table| physical_of(table.0.get() as u64));
    let Some(table) = table else { panic!("one growing table too many") };
    let present = entry::PRESENT | entry::WRITABLE | entry::NO_EXECUTE;
    write_entry(ROOT_ADDRESS.get(), base >> 39 & 511, table | present);
    TABLES_USED.0.set(used.wrapping_add(1));
}

/// The physical address of the table below the root for a place in a growing table.
pub(super) fn growing_table(address: u64) -> u64 {
    read_entry(ROOT_ADDRESS.get(), address >> 39 & 511) & entry::ADDRESS
}

/// The frame around a physical address that is known to be memory.
pub(super) fn frame_at(physical: u64) -> Frame {
    Frame::new((physical >> 12) as u32)
}

/// Reads one entry of a page table.
#[inline(always)]
pub(super) fn read_entry(table: u64, index: u64) -> u64 {
    let place = direct::<u64>(table).wrapping_add(index as usize & 511);
    // SAFETY: the caller names a page table, which lies in memory under the direct map; the CPU may set its accessed
    // and dirty bits meanwhile, so the access is volatile.
    unsafe { place.read_volatile() }
}

/// Writes one entry of a page table.
#[inline(always)]
pub(super) fn write_entry(table: u64, index: u64, value: u64) {
    let place = direct::<u64>(table).wrapping_add(index as usize & 511);
    // SAFETY: as above; the kernel alone writes page tables.
    unsafe { place.write_volatile(value) }
}

/// Writes one entry of a page table and gives what was there, in one step: other CPUs may mark it as used meanwhile.
#[inline(always)]
pub(super) fn swap_entry(table: u64, index: u64, value: u64) -> u64 {
    let place = direct::<u64>(table).wrapping_add(index as usize & 511);
    // SAFETY: as above; an entry is an aligned word.
    unsafe { AtomicU64::from_ptr(place) }.swap(value, Ordering::SeqCst)
}

/// Fills a frame with zeroes.
#[inline(always)]
pub(super) fn zero_frame(frame: Frame) {
    let place = direct::<u64>(frame.start().raw());
    // SAFETY: the caller owns the frame, which is a page.
    unsafe { super::copy::zero_page(place) }
}

/// The root that the CPU uses.
pub(super) fn active_root() -> u64 {
    let root: u64;
    // SAFETY: reading CR3 changes nothing.
    unsafe { asm!("mov {}, cr3", out(reg) root, options(nomem, nostack, preserves_flags)) }
    root & entry::ADDRESS
}

/// Makes the space whose root has this address that of this CPU.
#[inline(always)]
pub(super) fn activate(root: u64) {
    // SAFETY: every root shares the kernel half, so the code that runs now, its stack and the direct map are mapped
    // alike before and after.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) }
}

/// A leaf entry: where it lies and what it says.
struct Leaf {
    table: u64,
    index: u64,
    value: u64,
    /// log2 of the bytes it maps.
    shift: u32,
}

/// Finds the leaf that maps a kernel address.
fn leaf(address: u64) -> Option<Leaf> {
    let mut table = active_root();
    for shift in [39, 30, 21, 12] {
        let index = address >> shift & 511;
        let value = read_entry(table, index);
        if value & entry::PRESENT == 0 {
            return None;
        }
        if shift == 12 || value & entry::LARGE != 0 {
            return Some(Leaf { table, index, value, shift });
        }
        table = value & entry::ADDRESS;
    }
    None
}

/// The physical address behind a kernel address.
pub(super) fn physical_of(address: u64) -> Option<u64> {
    let leaf = leaf(address)?;
    let below = (1_u64 << leaf.shift).wrapping_sub(1);
    Some(leaf.value & entry::ADDRESS & !below | address & below)
}

/// Takes over from the loader: our own root, empty below, and nothing above that a program could reach.
pub(super) fn take_over(direct_bytes: u64) -> Result<(), &'static str> {
    if direct_bytes > DIRECT_LIMIT {
        return Err("more physical memory than the direct map has room for");
    }
    DIRECT_BYTES.0.set(direct_bytes);
    let old = active_root();
    let root = physical_of(ROOT.0.get() as u64).ok_or("the root table is not mapped")?;
    for index in KERNEL_FIRST..TABLES >> 39 & 511 {
        let value = read_entry(old, index);
        if value & entry::PRESENT != 0 {
            make_global(value & entry::ADDRESS, 3);
            write_entry(root, index, value & !entry::USER);
        }
    }
    ROOT_ADDRESS.0.set(root);
    activate(root);
    Ok(())
}

/// Takes away what only the loader needed: its stack, its notes, its view of the ramdisk.
pub(super) fn forget_loader(image: u64) {
    let root = ROOT_ADDRESS.get();
    let image = image >> 39 & 511;
    for index in (KERNEL_FIRST..DIRECT_MAP >> 39 & 511).filter(|index| *index != image) {
        write_entry(root, index, 0);
    }
    super::tlb::forget_everything();
}

/// Marks every leaf below a table of the given level global: the kernel half is alike in all spaces.
fn make_global(table: u64, level: u32) {
    for index in 0..512 {
        let value = read_entry(table, index);
        if value & entry::PRESENT == 0 {
            continue;
        }
        if level == 1 || value & entry::LARGE != 0 {
            write_entry(table, index, value | entry::GLOBAL);
        } else {
            make_global(value & entry::ADDRESS, level.wrapping_sub(1));
        }
    }
}

/// Makes the direct map around a device's registers uncached.
pub(super) fn make_uncached(physical: u64) {
    change_leaf(DIRECT_MAP.wrapping_add(physical), |value| value | entry::UNCACHED);
}

/// Takes one page of the image away, to catch who runs into it.
pub(super) fn make_guard(address: u64) {
    change_leaf(address, |value| value & !entry::PRESENT);
}

fn change_leaf(address: u64, change: impl Fn(u64) -> u64) {
    if let Some(leaf) = leaf(address) {
        write_entry(leaf.table, leaf.index, change(leaf.value));
        super::tlb::forget_page(address);
    }
}
