//! Reaching a program's memory: a walk of its page table, then the direct map.
//!
//! The kernel never touches a user address as such. A range from a program is split at page ends, each
//! page is looked up with the rights that the access needs, and only then a byte moves, so a bad address
//! is an error and never a fault of the kernel.
#![forbid(unsafe_code)]

use super::frames::Memory;
use super::space::Space;
use super::touch::Purse;
use crate::arch::UserPtr;
use core::cell::Cell;
use ring_abi::Errno;
use ring_abi::boot::USER_END;
use rmm::Page;

const PAGE: u64 = 4096;
/// A copy of more bytes than this is charged to the step.
const SMALL: usize = 256;
/// Touching a page is charged as a copy of so many bytes is.
const TOUCH: usize = 4096;
/// A copy of at most so many bytes is worth a straight line.
const TINY: usize = 16;

/// What an access needs of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Executing.
    Execute,
    /// Writing for somebody who holds the space, whatever the program itself may do.
    Own,
}

/// The last writable page that a ring's operations touched, so that a walk is saved.
///
/// It is believed only while [`Memory::mappings`] has the value it had then; that counter moves whenever
/// any mapping is taken away or loses rights, in the place where stale frames come back.
#[derive(Debug)]
pub struct PageCache {
    page: Cell<u64>,
    place: Cell<UserPtr>,
    mappings: Cell<u64>,
}

/// The counter never comes to this value: nothing is believed.
const NEVER: u64 = u64::MAX;

impl Default for PageCache {
    fn default() -> Self {
        PageCache { page: Cell::new(0), place: Cell::default(), mappings: Cell::new(NEVER) }
    }
}

impl PageCache {
    /// Where `address` lies, if the cache knows its page and at least 16 bytes lie there.
    #[inline(always)]
    pub fn hit(&self, memory: &Memory, address: u64) -> Option<UserPtr> {
        self.hit_below(memory, address, TINY, PAGE as usize, TINY)
    }

    /// The same for any number of bytes up to a page.
    fn hit_large(&self, memory: &Memory, address: u64, length: usize) -> Option<UserPtr> {
        self.hit_below(memory, address, length, PAGE as usize, length)
    }

    /// The same for at most `most` bytes, where `reach` bytes, no fewer than `length`, must lie in the page.
    #[inline(always)]
    fn hit_below(
        &self,
        memory: &Memory,
        address: u64,
        length: usize,
        most: usize,
        reach: usize,
    ) -> Option<UserPtr> {
        if length > most {
            return None;
        }
        let offset = address.wrapping_sub(self.page.get());
        if offset > PAGE.wrapping_sub(reach as u64) {
            return None;
        }
        if self.mappings.get() != memory.mappings() {
            return None;
        }
        Some(self.place.get().add(offset as usize))
    }

    /// Forgets the page: the ring is another one from now on.
    pub fn forget(&self) {
        self.mappings.set(NEVER);
    }

    /// Remembers the writable page of an address that lies at a place.
    fn learn(&self, memory: &Memory, space: &Space, address: u64, place: UserPtr) {
        let offset = address & PAGE.wrapping_sub(1);
        if !memory.machine.linear(space.root()) {
            self.keep(memory, address ^ offset, place.sub(offset as usize));
        }
    }

    fn keep(&self, memory: &Memory, page: u64, place: UserPtr) {
        self.page.set(page);
        self.place.set(place);
        self.mappings.set(memory.mappings());
    }
}

/// What a [`PageCache`] knows now, for a loop in which no mapping is taken away.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    page: u64,
    place: UserPtr,
    /// Offsets in the page from which on there is no room for 16 bytes; zero if nothing is known.
    end: u64,
}

impl PageCache {
    /// What it knows.
    #[inline(always)]
    pub fn window(&self, memory: &Memory) -> Window {
        let is_known = self.mappings.get() == memory.mappings();
        let end = if is_known { PAGE.wrapping_sub(TINY as u64).wrapping_add(1) } else { 0 };
        Window { page: self.page.get(), place: self.place.get(), end }
    }
}

impl Window {
    /// Copies from fixed memory to a program, if that is at most 16 bytes and the window has them. `false`: it has not, and
    /// nothing was copied.
    #[inline(always)]
    pub fn copy_out_tiny(&self, memory: &Memory, address: u64, from: Fixed, length: usize) -> bool {
        let offset = address.wrapping_sub(self.page);
        offset < self.end && memory.machine.copy_tiny(self.place.add(offset as usize), from, length)
    }
}

/// A program's claim about a range of its memory, checked for sense but not for presence.
#[derive(Clone, Copy, Debug)]
pub struct UserRange {
    /// First address.
    pub address: u64,
    /// Bytes.
    pub length: u64,
}

impl UserRange {
    /// A range that lies in the lower half. `EFAULT` otherwise.
    #[inline(always)]
    pub fn new(address: u64, length: u64) -> Result<UserRange, Errno> {
        match address.checked_add(length) {
            Some(end) if end <= USER_END => Ok(UserRange { address, length }),
            _ => Err(Errno::FAULT),
        }
    }
}

/// One side of a copy: a place in contiguous memory that never faults (an arena slot, a kernel buffer's frame).
pub type Fixed = UserPtr;

/// Looks up one page of a space, which is touched.
#[inline]
pub fn page_place(memory: &Memory, space: &Space, address: u64, access: Access) -> Result<UserPtr, Errno> {
    space.reach(memory, address, access)
}

/// Makes sure that every page of a range can be written, and sets aside what those that are not there will need.
fn prepare<'m>(memory: &'m Memory, space: &Space, range: UserRange) -> Result<Purse<'m>, Errno> {
    let frames = Cell::new(0_u32);
    each_page(range, |at, _, _| {
        if space.place(memory, at, Access::Write).is_none() {
            let page = Page::containing(at).ok_or(Errno::FAULT)?;
            frames.set(frames.get().saturating_add(space.need(memory, page, Access::Write)?));
        }
        Ok(())
    })?;
    Purse::new(memory, frames.get())
}

/// Where an address lies of which so many bytes are about to be written, in a page that was [prepared](prepare).
fn prepared(
    purse: &Purse<'_>,
    memory: &Memory,
    space: &Space,
    address: u64,
    count: usize,
) -> Result<UserPtr, Errno> {
    if let Some(place) = space.place(memory, address, Access::Write) {
        return Ok(place);
    }
    let page = Page::containing(address).ok_or(Errno::FAULT)?;
    charge(memory, TOUCH);
    let frame = space.touch_with(purse, page, Access::Write, count as u64 == PAGE)?;
    Ok(UserPtr::new(frame, (address & PAGE.wrapping_sub(1)) as usize))
}

/// Where a range of a program's bytes lies, if that is in one page which is there and allows the access.
#[inline(always)]
pub fn stretch(
    memory: &Memory,
    space: &Space,
    address: u64,
    length: usize,
    access: Access,
) -> Option<UserPtr> {
    let offset = address & PAGE.wrapping_sub(1);
    if length as u64 > PAGE.wrapping_sub(offset) {
        return None;
    }
    space.place(memory, address, access)
}

/// Copies from fixed memory to a program, if that is at most 16 bytes in a page that the cache knows. `false`: it is not,
/// and nothing was copied.
#[inline(always)]
pub fn copy_out_tiny(memory: &Memory, cache: &PageCache, address: u64, from: Fixed, length: usize) -> bool {
    match cache.hit(memory, address) {
        Some(place) => memory.machine.copy_tiny(place, from, length),
        None => false,
    }
}

/// Copies from fixed memory to a program. All pages are checked before the first byte moves.
///
/// `cache` is tried first and filled. The length is at most an arena slot (64 KiB); what is not small is charged
/// to the step, whose loop over a ring ends when nothing is left.
#[inline(always)]
pub fn copy_out(
    memory: &Memory,
    space: u32,
    cache: &PageCache,
    address: u64,
    from: Fixed,
    length: usize,
) -> Result<(), Errno> {
    if copy_out_tiny(memory, cache, address, from, length) {
        return Ok(());
    }
    copy_out_slowly(memory, memory.space(space), cache, address, from, length)
}

#[cold]
#[inline(never)]
fn copy_out_slowly(
    memory: &Memory,
    space: &Space,
    cache: &PageCache,
    address: u64,
    from: Fixed,
    length: usize,
) -> Result<(), Errno> {
    charge(memory, length);
    if let Some(place) = cache.hit_large(memory, address, length) {
        memory.machine.copy(place, from, length);
        return Ok(());
    }
    let range = UserRange::new(address, length as u64)?;
    if let Some(place) = stretch(memory, space, address, length, Access::Write) {
        cache.learn(memory, space, address, place);
        memory.machine.copy(place, from, length);
        return Ok(());
    }
    let purse = prepare(memory, space, range)?;
    each_page(range, |at, done, count| {
        let place = prepared(&purse, memory, space, at, count)?;
        cache.learn(memory, space, at, place);
        memory.machine.copy(place, from.add(done), count);
        Ok(())
    })
}

/// Copies from a program to fixed memory.
#[inline(always)]
pub fn copy_in(
    memory: &Memory,
    space: u32,
    cache: &PageCache,
    to: Fixed,
    address: u64,
    length: usize,
) -> Result<(), Errno> {
    if let Some(place) = cache.hit(memory, address)
        && memory.machine.copy_tiny(to, place, length)
    {
        return Ok(());
    }
    copy_in_slowly(memory, memory.space(space), cache, to, address, length)
}

#[cold]
#[inline(never)]
fn copy_in_slowly(
    memory: &Memory,
    space: &Space,
    cache: &PageCache,
    to: Fixed,
    address: u64,
    length: usize,
) -> Result<(), Errno> {
    charge(memory, length);
    if let Some(place) = cache.hit_large(memory, address, length) {
        memory.machine.copy(to, place, length);
        return Ok(());
    }
    let range = UserRange::new(address, length as u64)?;
    each_page(range, |at, done, count| {
        let place = page_place(memory, space, at, Access::Read)?;
        memory.machine.copy(to.add(done), place, count);
        Ok(())
    })
}

/// Reads bytes of a program into a kernel buffer.
pub fn read_bytes(memory: &Memory, space: &Space, address: u64, bytes: &mut [u8]) -> Result<(), Errno> {
    charge(memory, bytes.len());
    let range = UserRange::new(address, bytes.len() as u64)?;
    each_page(range, |at, done, count| {
        let place = page_place(memory, space, at, Access::Read)?;
        let part = bytes.get_mut(done..done.wrapping_add(count)).ok_or(Errno::FAULT)?;
        memory.machine.read_user(place, part);
        Ok(())
    })
}

/// Writes a kernel buffer to a program. All pages are checked before the first byte moves.
pub fn write_bytes(memory: &Memory, space: &Space, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    charge(memory, bytes.len());
    let range = UserRange::new(address, bytes.len() as u64)?;
    if let Some(place) = stretch(memory, space, address, bytes.len(), Access::Write) {
        memory.machine.write_user(place, bytes);
        return Ok(());
    }
    let purse = prepare(memory, space, range)?;
    each_page(range, |at, done, count| {
        let place = prepared(&purse, memory, space, at, count)?;
        let part = bytes.get(done..done.wrapping_add(count)).ok_or(Errno::FAULT)?;
        memory.machine.write_user(place, part);
        Ok(())
    })
}

/// Writes a word of the kernel's to a program. `cache` is tried first and filled.
#[inline(always)]
pub fn write_word(
    memory: &Memory,
    space: u32,
    cache: &PageCache,
    address: u64,
    word: u64,
) -> Result<(), Errno> {
    if let Some(place) = cache.hit(memory, address) {
        memory.machine.write_user(place, &word.to_le_bytes());
        return Ok(());
    }
    write_word_slowly(memory, memory.space(space), cache, address, word)
}

#[cold]
#[inline(never)]
fn write_word_slowly(
    memory: &Memory,
    space: &Space,
    cache: &PageCache,
    address: u64,
    word: u64,
) -> Result<(), Errno> {
    write_bytes(memory, space, address, &word.to_le_bytes())?;
    if let Some(place) = space.place(memory, address, Access::Write) {
        cache.learn(memory, space, address, place);
    }
    Ok(())
}

/// Where an aligned 32-bit word of a program lies.
pub fn word_place(memory: &Memory, space: &Space, address: u64, access: Access) -> Result<UserPtr, Errno> {
    if address & 3 != 0 {
        return Err(Errno::INVAL);
    }
    let range = UserRange::new(address, 4)?;
    page_place(memory, space, range.address, access)
}

/// Calls `part` for each piece of a range that stays within one page: its address, how many bytes came
/// before it, and its length.
pub fn each_page(
    range: UserRange,
    mut part: impl FnMut(u64, usize, usize) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut done = 0;
    while done < range.length {
        let at = range.address.wrapping_add(done);
        let to_end = PAGE.wrapping_sub(at & PAGE.wrapping_sub(1));
        let count = to_end.min(range.length.wrapping_sub(done));
        part(at, done as usize, count as usize)?;
        done = done.wrapping_add(count);
    }
    Ok(())
}

/// Charges a copy of `length` bytes to the step, unless they are few.
pub(super) fn charge(memory: &Memory, length: usize) {
    if length > SMALL {
        memory.budget.charge(u32::try_from(length >> 3).unwrap_or(u32::MAX));
    }
}
