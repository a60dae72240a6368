//! A client's bytes, as they lie in the slot that kernel and daemon share.
#![allow(unsafe_code, reason = "a slot is given by address")]

use core::ptr;

/// Where a daemon writes what goes to the client. Only what was written goes there.
#[derive(Debug)]
pub struct Output<'r> {
    room: &'r mut [u8],
    written: &'r mut usize,
}

impl<'r> Output<'r> {
    pub(super) fn new(room: &'r mut [u8], written: &'r mut usize) -> Output<'r> {
        Output { room, written }
    }

    /// Bytes that can still be written.
    #[inline(always)]
    pub fn room(&self) -> usize {
        self.room.len().saturating_sub(*self.written)
    }

    /// Bytes written so far.
    #[inline(always)]
    pub fn written(&self) -> usize {
        *self.written
    }

    /// Appends as many of the bytes as fit; how many.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let rest = self.room.get_mut(*self.written..).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        if let (Some(to), Some(from)) = (rest.get_mut(..count), bytes.get(..count)) {
            to.copy_from_slice(from);
        }
        *self.written = self.written.wrapping_add(count);
        count
    }

    /// Appends all of the bytes, or nothing if they do not fit.
    pub fn write_all(&mut self, bytes: &[u8]) -> bool {
        bytes.len() <= self.room() && self.write(bytes) == bytes.len()
    }

    /// Appends zeros as far as there is room, at most `most`; how many.
    #[inline(always)]
    pub fn zeros(&mut self, most: usize) -> usize {
        let rest = self.room.get_mut(*self.written..).unwrap_or_default();
        let count = rest.len().min(most);
        match rest.get_mut(..count).unwrap_or_default() {
            [only] => *only = 0, // one byte is what small benchmarks read: no call
            many => many.fill(0),
        }
        *self.written = self.written.wrapping_add(count);
        count
    }
}

/// The bytes of a slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    address: u64,
    length: u64,
}

impl Slot {
    /// The slot that the kernel named in a request.
    #[inline(always)]
    pub(super) fn new(address: u64, length: u64) -> Slot {
        Slot { address, length }
    }

    /// Its bytes. `owner` is the unanswered request.
    #[inline(always)]
    pub(super) fn bytes<T>(self, owner: &T) -> &[u8] {
        let _ = owner;
        // SAFETY: the kernel, which writes the request queue, lends this part of the arena to this request alone
        // until its reply, and `owner` is borrowed as long as the bytes are. It names a slot even for no bytes.
        unsafe {
            core::slice::from_raw_parts(
                ptr::with_exposed_provenance(self.address as usize),
                self.length as usize,
            )
        }
    }

    /// Its bytes as the path that they are. `owner` is the unanswered request, of a kind whose bytes are a path.
    #[inline(always)]
    pub(super) fn text<T>(self, owner: &T) -> &str {
        // SAFETY: the kernel looks at the bytes of a path in the slot, and forwards only what is UTF-8; nobody writes there
        // until the reply but this request's owner, who is borrowed as long as the text is.
        unsafe { core::str::from_utf8_unchecked(self.bytes(owner)) }
    }

    /// Its bytes, to be written. `owner` is what of the unanswered request guards the slot.
    #[inline(always)]
    pub(super) fn bytes_mut<T>(self, owner: &mut T) -> (&mut [u8], &mut T) {
        let start = ptr::with_exposed_provenance_mut(self.address as usize);
        // SAFETY: as for `bytes`; `owner` is borrowed for writing, so there is no other view of the slot.
        (unsafe { core::slice::from_raw_parts_mut(start, self.length as usize) }, owner)
    }
}
