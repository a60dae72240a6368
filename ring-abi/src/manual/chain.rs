//! An example of several entries that belong together.
#![forbid(unsafe_code)]

use super::source;
use crate::args::{CURRENT, Close, OpenAt, Read};
use crate::{Sqe, SqeFlags};
use alloc::string::String;

const FILE: &str = include_str!("chain.rs");

/// Its text.
pub(super) fn text() -> String {
    source::body(FILE, "open_read_close")
}

/// Opens a file, reads it and closes it, as one submission; [`HandleReserve`](crate::args::HandleReserve) kept the number.
pub fn open_read_close(kept: u16) -> [Sqe; 3] {
    let (path, buffer) = (b"/scheme/ram/notes", [0_u8; 512]);
    let (path, length, fd) = (path.as_ptr() as u64, path.len() as u64, u64::from(kept));
    let mut open = OpenAt { fd: CURRENT, buffer: path, length, flags: 0, capacity: 0 }.encode(1);
    open.group = kept.wrapping_add(1);
    let read = Read { fd, buffer: buffer.as_ptr() as u64, length: 512, offset: 0 }.encode(2);
    // A short read ends a chain, but not one that is linked hard: the file is closed whatever is read.
    [open.with_flags(SqeFlags::LINK), read.with_flags(SqeFlags::HARD_LINK), Close { fd }.encode(3)]
}
