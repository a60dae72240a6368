//! The initfs image: a read-only file tree in one run of bytes.
//!
//! The host tool writes it, `bootstrap` serves it from memory. Everything but
//! the bytes of files lies at the front and is checked once, by
//! [`Image::open`]; afterwards no access can fail. File bytes begin on page
//! boundaries (counted from the image's start), so their pages can be mapped as
//! they are. All numbers are little-endian.
//!
//! | part   | length             | contents                                        |
//! |--------|--------------------|-------------------------------------------------|
//! | header | 64                 | see below                                       |
//! | index  | 48 a node          | one record a node, breadth first, root is 0     |
//! | text   | as the header says | names and symlink targets                       |
//! | data   | to the end         | file bytes, each file from a page boundary      |
//!
//! | header | field    |                                                          |
//! |--------|----------|----------------------------------------------------------|
//! | 0      | magic    | `annulFS\n`                                              |
//! | 8      | version  | u32, 1                                                   |
//! | 12     | nodes    | u32, at least the root                                   |
//! | 16     | length   | u64, of the whole image, full pages                      |
//! | 24     | text     | u32, bytes of text                                       |
//! | 28     | reserved | u32, zero                                                |
//! | 32     | checksum | u64, FNV-1a of header, index and text without this field |
//! | 40     | reserved | 24 bytes, zero                                           |
//!
//! | record | field    | directory         | file               | symlink           |
//! |--------|----------|-------------------|--------------------|-------------------|
//! | 0      | kind u32 | 1                 | 2                  | 3                 |
//! | 4      | mode u32 | permission bits, at most 0o7777                            |
//! | 8      | parent   | u32, index of the directory it is in; the root's is 0      |
//! | 12, 16 | name     | u32 offset in text, u32 length; the root's are 0           |
//! | 20     | reserved | u32, zero                                                  |
//! | 24     | start    | u64, first child  | u64, image offset  | u64, text offset  |
//! | 32     | count    | u64, children     | u64, bytes         | u64, bytes        |
//! | 40     | mtime    | u64, seconds since 1970                                    |
//!
//! The children of a directory are neighbours, ascending by name. The first
//! child of each directory follows the last child of the directory before it,
//! so every node is in one directory and none is in itself. Empty files start
//! at 0. The checksum finds damage, not forgery, and leaves file bytes out: to
//! sum them would touch every page of the image at boot.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "write"))]
extern crate alloc;

mod check;
mod damage;
#[cfg(any(test, feature = "write"))]
mod flat;
mod layout;
mod read;
#[cfg(any(test, feature = "write"))]
mod write;

pub use damage::{Damage, NodeFault};
pub use layout::{NAME_MAX, PAGE, TARGET_MAX};
pub use read::{Children, Image, Kind, Node};
#[cfg(any(test, feature = "write"))]
pub use write::{Builder, WriteError, seal};
