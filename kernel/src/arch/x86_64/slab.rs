//! Tables that grow and never move: kernel addresses reserved at first, frames mapped on growth.
//!
//! Nothing else ever lies in a table's room, so a look-up by an index or a [name](crate::base::name) that the kernel holds
//! needs no comparison: a wrong one, which only a bug of ours can bring, most often meets a page that is not there.
//!
//! The near rooms are the last 2 GiB of all addresses: instructions reach those with a displacement of their own.

use core::cell::Cell;
use core::marker::PhantomData;

use rmm::Frame;

use super::Machine;
use super::memory::{
    ROOT_ENTRY_BYTES, TABLES, TABLES_END, add_growing_table, entry, growing_table, read_entry, write_entry,
    zero_frame,
};
use crate::base::list::Link;
use crate::base::name::{NEAR_ROOM_BYTES, NEAR_ROOMS, Named, Room, name_of};

const PAGE: u64 = 4096;

/// First address of the near rooms. The last page of all stays free.
const NEAR: u64 = 0xffff_ffff_8000_0000;

const _: () = assert!(NEAR.wrapping_add(NEAR_ROOMS as u64 * NEAR_ROOM_BYTES) == 0);

/// Where frames for growth come from, charged to whoever made the table grow.
pub trait FrameSource {
    /// A frame that nobody else uses.
    fn take(&self) -> Option<Frame>;
    /// Gives a frame back that was not needed.
    fn give(&self, frame: Frame);
}

/// There was no frame, or no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

/// The next address that no table has reserved.
struct Reserved(Cell<u64>);

// SAFETY: only the one CPU that runs the kernel makes tables.
unsafe impl Sync for Reserved {}

static RESERVED: Reserved = Reserved(Cell::new(TABLES));

/// A table of `T` that grows and never moves.
#[derive(Debug)]
pub struct Slab<T> {
    base: *const T,
    len: Cell<u32>,
    most: u32,
    pages: Cell<u64>,
    elements: PhantomData<T>,
}

impl<T: Default> Slab<T> {
    const FITS: () =
        assert!(size_of::<T>() <= PAGE as usize && size_of::<T>() > 0, "a frame must add an element");
    /// Bytes of room: one element for every index of 32 bits, in whole entries of the root.
    const ROOM: u64 = ((size_of::<T>() as u64) << 32).next_multiple_of(ROOT_ENTRY_BYTES);

    /// Reserves room for `most` elements; takes no memory yet. All tables are made before the first space.
    ///
    /// # Panics
    ///
    /// If the room of all tables together is used up, which is a matter of the kernel's own constants.
    pub fn reserve(_machine: &Machine, most: u32) -> Self {
        const { Self::FITS };
        let bytes = u64::from(most).wrapping_mul(size_of::<T>() as u64);
        let base = RESERVED.0.get();
        let end = base.wrapping_add(Self::ROOM);
        assert!(bytes <= ROOT_ENTRY_BYTES && end <= TABLES_END, "no room for another table of this size");
        RESERVED.0.set(end);
        add_growing_table(base);
        Self::new(base, most)
    }

    /// A table of at most `most` elements in room that is reserved at `base`.
    fn new(base: u64, most: u32) -> Self {
        Self { base: base as *const T, len: Cell::new(0), most, pages: Cell::new(0), elements: PhantomData }
    }

    /// Number of elements.
    #[inline(always)]
    pub fn len(&self) -> u32 {
        self.len.get()
    }

    /// Whether there are no elements yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at an index that the kernel holds, which is below [`len`](Self::len).
    ///
    /// Any other index is a bug of the kernel's. It most often stops us by a page fault; just behind the last element
    /// it may find zeroes. It never leads out of this table's own range of addresses.
    #[inline(always)]
    pub fn at(&self, index: u32) -> &T {
        debug_assert!(index < self.len.get(), "no element {index}");
        // SAFETY: below `len` every element lies in mapped memory, was written by `grow`, and never moves. Callers name
        // no other index: those that the kernel holds are kept true, and those from outside are checked.
        unsafe { &*self.base.wrapping_add(index as usize) }
    }

    /// The element at `index`, if there is one.
    #[inline(always)]
    pub fn get(&self, index: u32) -> Option<&T> {
        if index >= self.len.get() {
            return None;
        }
        // SAFETY: below `len` every element lies in mapped memory, was written by `grow`, and never moves.
        Some(unsafe { &*self.base.wrapping_add(index as usize) })
    }

    /// Frames of memory that the elements lie in, page tables not counted.
    pub fn frames(&self) -> usize {
        self.pages.get() as usize
    }

    /// Adds the elements that one more frame has room for. On an error nothing has changed.
    pub fn grow(&self, _machine: &Machine, frames: &dyn FrameSource) -> Result<(), NoMemory> {
        if self.len.get() >= self.most {
            return Err(NoMemory);
        }
        let page = (self.base as u64).wrapping_add(self.pages.get().wrapping_mul(PAGE));
        map(page, frames)?;
        let pages = self.pages.get().wrapping_add(1);
        self.pages.set(pages);
        let room = pages.wrapping_mul(PAGE).checked_div(size_of::<T>() as u64).unwrap_or(0);
        let len = u32::try_from(room).unwrap_or(u32::MAX).min(self.most);
        for index in self.len.get()..len {
            let element = self.base.cast_mut().wrapping_add(index as usize);
            // SAFETY: the element lies wholly in pages that are mapped now, and nobody refers to it before `len` grows.
            unsafe { element.write(T::default()) }
        }
        self.len.set(len);
        Ok(())
    }
}

impl<T: Named> Slab<T> {
    /// First address of the near room of this kind, if it has one.
    const NEAR_BASE: Option<u64> = match T::ROOM {
        Room::Far => None,
        Room::Near(room) => {
            assert!(room < NEAR_ROOMS, "there is no such room");
            Some(NEAR.wrapping_add(room as u64 * NEAR_ROOM_BYTES))
        }
    };

    /// Reserves room for `most` records with names, as [`most_of`](crate::base::name::most_of) allows.
    pub fn reserve_named(machine: &Machine, most: u32) -> Self {
        const { Self::FITS };
        let Some(base) = Self::NEAR_BASE else { return Self::reserve(machine, most) };
        let bytes = u64::from(most).wrapping_mul(size_of::<T>() as u64);
        let end = base.checked_add(bytes.next_multiple_of(PAGE));
        assert!(bytes <= NEAR_ROOM_BYTES && end.is_some(), "no room for another table of this size");
        if growing_table(base) == 0 {
            add_growing_table(base);
        }
        Self::new(base, most)
    }

    /// The record of a name that the kernel holds.
    #[inline(always)]
    pub fn named(&self, name: u32) -> &T {
        debug_assert!(name < name_of::<T>(self.len.get()), "no record {name}");
        let base = match Self::NEAR_BASE {
            Some(base) => base as *const T,
            None => self.base,
        };
        // SAFETY: every name was given out by the arena of this table for an element below `len`, which lies in mapped
        // memory, was written by `grow`, and never moves. Names are kept true by teardown; none comes from outside.
        unsafe { &*base.wrapping_byte_add(name as usize) }
    }
}

/// The neighbours at `offset` of a record that lies `distance` bytes from the start of a near room, in that or a later
/// one: where `find` would find them, but without a look at what kind of record it is.
#[inline(always)]
pub fn near_link<'a>(room: u8, distance: u32, offset: usize, _find: impl FnOnce() -> &'a Link) -> &'a Link {
    let start =
        NEAR.wrapping_add(u64::from(room) * NEAR_ROOM_BYTES).wrapping_add(offset as u64) as *const Link;
    // SAFETY: our callers keep such distances only of records that `find` finds there: mapped, and never moved. Any eight
    // bytes are a link.
    unsafe { &*start.wrapping_byte_add(distance as usize) }
}

/// Maps a new, zeroed frame at a page of the tables' room, with the page tables that it needs.
fn map(page: u64, frames: &dyn FrameSource) -> Result<(), NoMemory> {
    let needed = missing_tables(page).wrapping_add(1);
    let mut taken = [None; 3];
    for slot in taken.iter_mut().take(needed) {
        *slot = frames.take();
    }
    if taken.iter().flatten().count() < needed {
        taken.into_iter().flatten().for_each(|frame| frames.give(frame));
        return Err(NoMemory);
    }
    let mut table = growing_table(page);
    let mut stock = taken.into_iter().flatten().inspect(|frame| zero_frame(*frame));
    for shift in TABLE_SHIFTS {
        let index = page >> shift & 511;
        if read_entry(table, index) & entry::PRESENT == 0 {
            let new = stock.next().ok_or(NoMemory)?;
            write_entry(table, index, new.start().raw() | entry::PRESENT | entry::WRITABLE);
        }
        table = read_entry(table, index) & entry::ADDRESS;
    }
    let frame = stock.next().ok_or(NoMemory)?;
    let rights = entry::PRESENT | entry::WRITABLE | entry::GLOBAL | entry::NO_EXECUTE;
    write_entry(table, page >> 12 & 511, frame.start().raw() | rights);
    Ok(())
}

/// The address bits that choose an entry of each table above a leaf, below the one that exists from the start.
const TABLE_SHIFTS: [u32; 2] = [30, 21];

/// How many page tables above a page do not exist yet.
fn missing_tables(page: u64) -> usize {
    let mut table = growing_table(page);
    for (above, shift) in TABLE_SHIFTS.into_iter().enumerate() {
        let value = read_entry(table, page >> shift & 511);
        if value & entry::PRESENT == 0 {
            return TABLE_SHIFTS.len().wrapping_sub(above);
        }
        table = value & entry::ADDRESS;
    }
    0
}
