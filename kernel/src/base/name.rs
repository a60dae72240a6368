//! The names of records: how the kernel's records speak of each other.
//!
//! A record lies in a table of its kind. Its name is its distance in bytes from the start of that table, so that a
//! look-up adds and never multiplies. Names fit 31 bits and do not leave the kernel.
#![forbid(unsafe_code)]

/// A name of nothing.
pub const NONE: u32 = u32::MAX;

/// The name of a record that is set apart to stand for nothing, in tables that have one.
pub const ABSENT: u32 = 0;

/// Whether this is [`NONE`]: a test of the sign, since no name comes near 2^31.
#[inline(always)]
pub const fn is_none(name: u32) -> bool {
    (name as i32) < 0
}

/// Where the table of a kind of records lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// At an address that is chosen at boot.
    Far,
    /// In one of the [`NEAR_ROOMS`] at addresses that instructions hold themselves, so that a look-up needs none of its
    /// own. Each is one kind's.
    Near(u8),
}

/// Number of rooms for the kinds that the shortest roads go through.
pub const NEAR_ROOMS: u8 = 8;
/// Bytes of each.
pub const NEAR_ROOM_BYTES: u64 = 1 << 28;

/// What has a name.
pub trait Named: Default {
    /// Where the table of this kind lies.
    const ROOM: Room = Room::Far;
}

/// The name of the record with this number.
#[inline(always)]
pub const fn name_of<T>(number: u32) -> u32 {
    number.wrapping_mul(size_of::<T>() as u32)
}

/// The number of the record with this name, for people to read; `NONE` of `NONE`.
pub const fn number_of<T>(name: u32) -> u32 {
    if is_none(name) {
        return NONE;
    }
    match name.checked_div(size_of::<T>() as u32) {
        Some(number) => number,
        None => NONE,
    }
}

/// How many records of a kind have names, if not more than `most` are wanted.
pub const fn most_of<T: Named>(most: u32) -> u32 {
    let room = match T::ROOM {
        Room::Far => 1 << 31,
        Room::Near(_) => NEAR_ROOM_BYTES,
    };
    match room.checked_div(size_of::<T>() as u64) {
        Some(fit) if fit < most as u64 => fit as u32,
        _ => most,
    }
}
