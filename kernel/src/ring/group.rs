//! A group of buffers that a program provides, as the kernel sees it: its own position in the ring of descriptors, and
//! the buffer that is used piece by piece.
//!
//! Invariant: `rest` is zero, or no less than `size`; so whatever an operation brings fits the buffer that is open.
#![forbid(unsafe_code)]

use crate::base::NONE;
use crate::base::name::Named;
use crate::mem::arena::Record;
use crate::mem::frames::Memory;
use crate::mem::pin::Pin;
use core::cell::Cell;
use ring_abi::Errno;
use ring_abi::group::{Descriptor, ENTRY_BYTES, HEAD, HEADER_BYTES, TAIL};

/// A group of a ring.
#[derive(Debug)]
pub struct Group {
    /// What its program calls it.
    pub id: Cell<u16>,
    /// The memory of the descriptors. Also threads the free list.
    pub pin: Cell<u32>,
    /// Number of entries less one.
    mask: Cell<u32>,
    /// Bytes that every buffer has at least, and that an operation brings at most.
    pub size: Cell<u32>,
    /// A buffer is used piece by piece.
    incremental: Cell<bool>,
    /// Descriptors taken.
    head: Cell<u32>,
    /// What is left of the buffer that is open.
    address: Cell<u64>,
    rest: Cell<u32>,
    buffer: Cell<u16>,
}

impl Default for Group {
    fn default() -> Self {
        Group {
            id: Cell::new(0),
            pin: Cell::new(NONE),
            mask: Cell::new(0),
            size: Cell::new(0),
            incremental: Cell::new(false),
            head: Cell::new(0),
            address: Cell::new(0),
            rest: Cell::new(0),
            buffer: Cell::new(0),
        }
    }
}

impl Named for Group {}

impl Record for Group {
    fn free_link(&self) -> &Cell<u32> {
        &self.pin
    }
}

/// Where the bytes of an operation go.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// The buffer.
    pub buffer: u16,
    /// From where on; or what is wrong with the buffer.
    pub address: Result<u64, Errno>,
    /// More of the buffer will be used.
    pub more: bool,
}

/// Why no buffer was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is none, or none so large.
    Empty,
    /// The program wrote an index that cannot be.
    Corrupt,
}

impl Group {
    /// Begins a group in fresh memory.
    pub fn open(&self, id: u16, pin: u32, entries: u32, size: u32, incremental: bool) {
        self.id.set(id);
        self.pin.set(pin);
        self.mask.set(entries.wrapping_sub(1));
        self.size.set(size);
        self.incremental.set(incremental);
        self.head.set(0);
        self.rest.set(0);
    }

    /// Takes room for so many bytes.
    pub fn take(&self, memory: &Memory, count: u32) -> Result<Piece, Refused> {
        if count > self.size.get() {
            return Err(Refused::Empty);
        }
        if self.rest.get() == 0 && !self.next(memory)? {
            return Ok(Piece { buffer: self.buffer.get(), address: Err(Errno::INVAL), more: false });
        }
        let address = self.address.get();
        let rest = self.rest.get().wrapping_sub(count);
        let more = self.incremental.get() && rest >= self.size.get();
        self.rest.set(if more { rest } else { 0 });
        self.address.set(address.wrapping_add(u64::from(count)));
        Ok(Piece { buffer: self.buffer.get(), address: Ok(address), more })
    }

    /// Opens the next buffer. `false` if it is shorter than was agreed on; then it is done with.
    fn next(&self, memory: &Memory) -> Result<bool, Refused> {
        let pin = memory.pins.at(self.pin.get());
        let head = self.head.get();
        let tail = memory.machine.load_u32(place(memory, pin, TAIL)?);
        match tail.wrapping_sub(head) {
            0 => return Err(Refused::Empty),
            filled if filled <= self.mask.get().wrapping_add(1) => {}
            _ => return Err(Refused::Corrupt),
        }
        let index = u64::from(head & self.mask.get());
        let mut words = [0; ENTRY_BYTES as usize];
        let entry = HEADER_BYTES.wrapping_add(index.wrapping_mul(ENTRY_BYTES));
        memory.machine.read_user(place(memory, pin, entry)?, &mut words);
        let found = descriptor(words);
        self.head.set(head.wrapping_add(1));
        memory.machine.store_u32(place(memory, pin, HEAD)?, self.head.get());
        self.buffer.set(found.id);
        self.address.set(found.address);
        let fits = found.length >= self.size.get();
        self.rest.set(if fits { found.length } else { 0 });
        Ok(fits)
    }
}

/// A place in the memory of the descriptors, all of which was pinned.
fn place(memory: &Memory, pin: &Pin, offset: u64) -> Result<crate::arch::UserPtr, Refused> {
    pin.place(memory, offset).map_err(|_| Refused::Empty)
}

fn descriptor(bytes: [u8; ENTRY_BYTES as usize]) -> Descriptor {
    let (address, rest) = bytes.split_at(8);
    let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
    Descriptor::from_words([word(address), word(rest)])
}
