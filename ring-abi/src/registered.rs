//! What a ring has registered: how an entry names its files and buffers, and the memory of a group of buffers.
//!
//! A handle field or a buffer field whose top bit is set does not hold a handle or an address, but a slot of the ring that
//! the entry is put into. Both are values that an ordinary field never has: handles are small, addresses are below
//! [`USER_END`](crate::boot::USER_END).
#![forbid(unsafe_code)]

/// The bit that makes a handle or an address the name of a slot of the ring.
pub const REGISTERED: u64 = 1 << 63;

/// Files that a ring can have registered.
pub const MOST_FILES: u32 = 4096;
/// In a list of handles: the slot is to be empty.
pub const NO_FILE: u64 = u64::MAX;

/// Buffers that a ring can have registered.
pub const MOST_BUFFERS: u32 = 64;
/// Pages that a registered buffer, or the memory of a group, can touch.
pub const MOST_PAGES: u64 = 4096;

/// Handle field: the file in a slot of the ring.
#[inline(always)]
pub const fn file(slot: u32) -> u64 {
    REGISTERED | slot as u64
}

/// The slot that a handle field names, if it names one.
#[inline(always)]
pub const fn file_slot(handle: u64) -> Option<u32> {
    let slot = handle & !REGISTERED;
    if handle & REGISTERED == 0 || slot >= MOST_FILES as u64 { None } else { Some(slot as u32) }
}

/// Buffer field: from so many bytes behind the start of the buffer in a slot of the ring.
#[inline(always)]
pub const fn buffer(slot: u32, offset: u32) -> u64 {
    REGISTERED | (slot as u64) << 32 | offset as u64
}

/// The slot and the offset that a buffer field names, if it names some.
#[inline(always)]
pub const fn buffer_slot(address: u64) -> Option<(u32, u32)> {
    let slot = (address & !REGISTERED) >> 32;
    if address & REGISTERED == 0 || slot >= MOST_BUFFERS as u64 {
        return None;
    }
    Some((slot as u32, address as u32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::USER_END;

    #[test]
    fn a_name_is_taken_apart_as_it_was_made_and_is_nothing_else() {
        for slot in [0, 1, MOST_FILES - 1] {
            assert_eq!(file_slot(file(slot)), Some(slot));
            assert!(file(slot) > USER_END);
        }
        for slot in [0, 1, MOST_BUFFERS - 1] {
            for offset in [0, 1, 4096, u32::MAX] {
                assert_eq!(buffer_slot(buffer(slot, offset)), Some((slot, offset)));
                assert!(buffer(slot, offset) > USER_END);
            }
        }
        for odd in [0, 5, USER_END, !REGISTERED, file(MOST_FILES), u64::MAX] {
            assert_eq!(file_slot(odd), None, "{odd:#x}");
        }
        for odd in [0, USER_END, !REGISTERED, buffer(MOST_BUFFERS, 0), buffer(0, 0) | 1 << 62, u64::MAX] {
            assert_eq!(buffer_slot(odd), None, "{odd:#x}");
        }
    }
}
