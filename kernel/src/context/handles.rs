//! Handle tables: the numbers that a program uses for files. The lowest free number comes first.
//!
//! A table is an object that contexts share. Its entries lie in chunks of 64, taken when needed, with a
//! bitmap of the free ones; so a lookup is two loads and finding the lowest free number is two bit scans.
#![forbid(unsafe_code)]

use crate::base::list::Link;
use crate::base::name::{Named, Room};
use crate::base::{ABSENT, NONE};
use crate::mem::arena::{Arena, Record};
use crate::mem::frames::Memory;
use core::cell::Cell;
use ring_abi::Errno;

/// Entries of a chunk.
pub const CHUNK: usize = 64;
/// Chunks of a table; so a table holds 4096 handles.
pub const CHUNKS: usize = 64;

/// Flag of an entry: it closes on exec.
pub const CLOSE_ON_EXEC: u32 = 1;

/// One handle: a file and flags.
#[derive(Debug)]
pub struct Entry {
    file: Cell<u32>,
    flags: Cell<u32>,
}

impl Default for Entry {
    fn default() -> Self {
        Entry { file: Cell::new(ABSENT), flags: Cell::new(0) }
    }
}

impl Entry {
    /// The file, or [`ABSENT`].
    #[inline(always)]
    pub fn file(&self) -> u32 {
        self.file.get()
    }

    /// The flags.
    pub fn flags(&self) -> u32 {
        self.flags.get()
    }

    /// Sets the flags.
    pub fn set_flags(&self, flags: u32) {
        self.flags.set(flags);
    }
}

/// Sixty-four handles.
#[derive(Debug)]
pub struct Chunk {
    entries: [Entry; CHUNK],
    /// One bit for each number that is free for any handle.
    free: Cell<u64>,
    /// One bit for each number that a handle has.
    used: Cell<u64>,
    /// One bit for each number that is reserved, whether a handle has it or not.
    reserved: Cell<u64>,
    link: Cell<u32>,
}

impl Default for Chunk {
    fn default() -> Self {
        Chunk {
            entries: core::array::from_fn(|_| Entry::default()),
            free: Cell::new(u64::MAX),
            used: Cell::new(0),
            reserved: Cell::new(0),
            link: Cell::new(NONE),
        }
    }
}

impl Named for Chunk {
    const ROOM: Room = Room::Near(4);
}

impl Record for Chunk {
    fn free_link(&self) -> &Cell<u32> {
        &self.link
    }
}

/// How far the look at a table is whose holders are all stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// Counts are set to zero.
    Clearing {
        /// The next handle.
        at: u32,
    },
    /// Handles are counted.
    Counting {
        /// The next handle.
        at: u32,
        /// Holders so far to which all handles lie in the table.
        inside: u32,
    },
    /// The holders end.
    Ending {
        /// The next handle.
        at: u32,
    },
    /// Nothing is left to do.
    Over,
}

impl Default for Scan {
    fn default() -> Self {
        Scan::Clearing { at: 0 }
    }
}

/// A handle table.
#[derive(Debug)]
pub struct Table {
    chunks: [Cell<u32>; CHUNKS],
    /// One bit for each chunk that is not full (absent ones are not full).
    room: Cell<u64>,
    /// Contexts and files that hold it.
    pub refs: Cell<u32>,
    /// Stopped contexts among those.
    pub dormant: Cell<u32>,
    /// Whether it is in the list of tables whose holders may have no name any more.
    pub suspected: Cell<bool>,
    /// How far the look at it is.
    pub scan: Cell<Scan>,
    /// Handles in it.
    pub count: Cell<u32>,
    /// Threads the free list, the list of tables that are suspect, or that of those to take apart.
    pub link: Link,
}

impl Default for Table {
    fn default() -> Self {
        Table {
            chunks: [const { Cell::new(ABSENT) }; CHUNKS],
            room: Cell::new(u64::MAX),
            refs: Cell::new(0),
            dormant: Cell::new(0),
            suspected: Cell::new(false),
            scan: Cell::default(),
            count: Cell::new(0),
            link: Link::default(),
        }
    }
}

impl Named for Table {
    const ROOM: Room = Room::Near(3);
}

impl Record for Table {
    fn free_link(&self) -> &Cell<u32> {
        self.link.cell()
    }
}

/// A free number with memory behind it, found before an operation commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    chunk: u32,
    number: u32,
}

impl Place {
    /// The handle's number.
    pub fn number(self) -> u32 {
        self.number
    }
}

impl Table {
    /// The handle of this number. `EBADF` if there is none.
    #[inline(always)]
    pub fn entry<'a>(&self, chunks: &'a Arena<Chunk>, number: u64) -> Result<&'a Entry, Errno> {
        let cell = self.chunks.get((number >> 6) as usize).ok_or(Errno::BADF)?;
        let entries = &chunks.at(cell.get()).entries;
        let entry = entries.get((number & 63) as usize).ok_or(Errno::BADF)?;
        if entry.file() == ABSENT { Err(Errno::BADF) } else { Ok(entry) }
    }

    /// The file under a number, which is [`ABSENT`] if that is free; nothing beyond the end of the table.
    #[inline(always)]
    pub fn any_file(&self, chunks: &Arena<Chunk>, number: u64) -> Option<u32> {
        let chunk = chunks.at(self.chunks.get((number >> 6) as usize)?.get());
        Some(chunk.entries.get((number & 63) as usize).map_or(ABSENT, Entry::file))
    }

    /// The file under a number. `EBADF` if there is none.
    #[inline(always)]
    pub fn file(&self, chunks: &Arena<Chunk>, number: u64) -> Result<u32, Errno> {
        Ok(self.entry(chunks, number)?.file())
    }

    /// Finds the lowest free number and sees to its memory. `EMFILE` if the table is full.
    pub fn vacant(&self, memory: &Memory, chunks: &Arena<Chunk>) -> Result<Place, Errno> {
        let index = self.room.get().trailing_zeros() as usize;
        let chunk = self.chunk(memory, chunks, index)?;
        let bit = chunks.at(chunk).free.get().trailing_zeros();
        Ok(Place { chunk, number: (index as u32).wrapping_mul(CHUNK as u32).wrapping_add(bit) })
    }

    /// Sees to the memory of a certain number, free or not. `EBADF` beyond the end of the table.
    pub fn vacant_at(&self, memory: &Memory, chunks: &Arena<Chunk>, number: u64) -> Result<Place, Errno> {
        if number >= (CHUNK * CHUNKS) as u64 {
            return Err(Errno::BADF);
        }
        let chunk = self.chunk(memory, chunks, (number >> 6) as usize)?;
        Ok(Place { chunk, number: number as u32 })
    }

    fn chunk(&self, memory: &Memory, chunks: &Arena<Chunk>, index: usize) -> Result<u32, Errno> {
        let cell = self.chunks.get(index).ok_or(Errno::MFILE)?;
        if cell.get() == ABSENT {
            let fresh = chunks.take(memory)?;
            let chunk = chunks.at(fresh);
            chunk.free.set(u64::MAX);
            chunk.used.set(0);
            chunk.reserved.set(0);
            cell.set(fresh);
        }
        Ok(cell.get())
    }

    /// Puts a file (whose hold passes to the table) into a place; returns the file that was there, or `NONE`.
    #[must_use = "the file that was there must be let go"]
    pub fn put(&self, chunks: &Arena<Chunk>, place: Place, file: u32, flags: u32) -> u32 {
        let chunk = chunks.at(place.chunk);
        let bit = place.number & 63;
        let Some(entry) = chunk.entries.get(bit as usize) else { return NONE };
        let before = match entry.file.replace(file) {
            ABSENT => NONE,
            before => before,
        };
        entry.flags.set(flags);
        if before == NONE {
            self.count.set(self.count.get().wrapping_add(1));
        }
        chunk.used.set(chunk.used.get() | 1 << bit);
        self.take_number(chunk, place.number);
        before
    }

    /// A number is not free any more.
    fn take_number(&self, chunk: &Chunk, number: u32) {
        chunk.free.set(chunk.free.get() & !(1 << (number & 63)));
        if chunk.free.get() == 0 {
            self.room.set(self.room.get() & !(1 << (number >> 6)));
        }
    }

    /// A number is free for any handle.
    fn free_number(&self, chunk: &Chunk, number: u64) {
        chunk.free.set(chunk.free.get() | 1 << (number & 63));
        self.room.set(self.room.get() | 1 << (number >> 6));
    }

    /// Reserves a number, whose memory was seen to. `EBUSY` if it is not free.
    pub fn reserve(&self, chunks: &Arena<Chunk>, place: Place) -> Result<(), Errno> {
        let chunk = chunks.at(place.chunk);
        let bit = 1 << (place.number & 63);
        if chunk.free.get() & bit == 0 {
            return Err(Errno::BUSY);
        }
        chunk.reserved.set(chunk.reserved.get() | bit);
        self.take_number(chunk, place.number);
        Ok(())
    }

    /// The chunk of a reserved number, and the number's bit. `EBADF` if it is not reserved.
    fn reserved(&self, chunks: &Arena<Chunk>, number: u64) -> Result<(u32, u64), Errno> {
        let cell = self.chunks.get((number >> 6) as usize).ok_or(Errno::BADF)?;
        let chunk = chunks.get(cell.get()).ok_or(Errno::BADF)?;
        let bit = 1 << (number & 63);
        if chunk.reserved.get() & bit == 0 { Err(Errno::BADF) } else { Ok((cell.get(), bit)) }
    }

    /// Gives a reserved number back. `EBADF` if it is not reserved.
    pub fn unreserve(&self, chunks: &Arena<Chunk>, number: u64) -> Result<(), Errno> {
        let (name, bit) = self.reserved(chunks, number)?;
        let chunk = chunks.at(name);
        chunk.reserved.set(chunk.reserved.get() & !bit);
        if chunk.used.get() & bit == 0 {
            self.free_number(chunk, number);
        }
        Ok(())
    }

    /// A reserved number that no handle has. `EBADF` if it is not reserved, `EBUSY` if a handle has it.
    pub fn vacant_reserved(&self, chunks: &Arena<Chunk>, number: u64) -> Result<Place, Errno> {
        let (chunk, bit) = self.reserved(chunks, number)?;
        if chunks.at(chunk).used.get() & bit != 0 {
            return Err(Errno::BUSY);
        }
        Ok(Place { chunk, number: number as u32 })
    }

    /// Reserves the same numbers as another table, which has no others than this one.
    pub fn reserve_like(&self, memory: &Memory, chunks: &Arena<Chunk>, other: &Table) -> Result<(), Errno> {
        for (index, cell) in other.chunks.iter().enumerate() {
            let reserved = chunks.get(cell.get()).map_or(0, |chunk| chunk.reserved.get());
            if reserved != 0 {
                let chunk = chunks.at(self.chunk(memory, chunks, index)?);
                chunk.reserved.set(reserved);
                chunk.free.set(!reserved);
                if reserved == u64::MAX {
                    self.room.set(self.room.get() & !(1 << index));
                }
            }
        }
        Ok(())
    }

    /// Gives all reserved numbers back.
    pub fn unreserve_all(&self, chunks: &Arena<Chunk>) {
        for (index, cell) in self.chunks.iter().enumerate() {
            let Some(chunk) = chunks.get(cell.get()) else { continue };
            chunk.reserved.set(0);
            chunk.free.set(!chunk.used.get());
            if chunk.free.get() != 0 {
                self.room.set(self.room.get() | 1 << index);
            }
        }
    }

    /// Takes a handle away; its file's hold passes to the caller.
    pub fn remove(&self, chunks: &Arena<Chunk>, number: u64) -> Result<u32, Errno> {
        let entry = self.entry(chunks, number)?;
        let file = entry.file.replace(ABSENT);
        let cell = self.chunks.get((number >> 6) as usize).ok_or(Errno::BADF)?;
        let chunk = chunks.at(cell.get());
        let bit = 1 << (number & 63);
        chunk.used.set(chunk.used.get() & !bit);
        if chunk.reserved.get() & bit == 0 {
            self.free_number(chunk, number);
        }
        self.count.set(self.count.get().wrapping_sub(1));
        Ok(file)
    }

    /// The first handle from `number` on, if there is one: its number, file and flags.
    pub fn next(&self, chunks: &Arena<Chunk>, number: u64) -> Option<(u64, u32, u32)> {
        let mut at = number;
        while at < (CHUNK * CHUNKS) as u64 {
            let cell = self.chunks.get((at >> 6) as usize)?;
            let used = chunks.at(cell.get()).used.get() >> (at & 63);
            if used == 0 {
                at = (at | 63).wrapping_add(1);
                continue;
            }
            at = at.wrapping_add(u64::from(used.trailing_zeros()));
            let entry = self.entry(chunks, at).ok()?;
            return Some((at, entry.file(), entry.flags()));
        }
        None
    }

    /// Gives the memory of an empty table's chunks back.
    pub fn give_chunks(&self, chunks: &Arena<Chunk>) {
        for cell in &self.chunks {
            let chunk = cell.replace(ABSENT);
            if chunk != ABSENT {
                chunks.give(chunk);
            }
        }
        self.room.set(u64::MAX);
        self.count.set(0);
    }
}
