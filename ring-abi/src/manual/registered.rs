//! Pages of what a ring has registered, and of buffers that a program provides.
#![forbid(unsafe_code)]

use super::page::{Page, describe};
use crate::Sqe;
use crate::args::{RegisterBuffer, RegisterFiles, RegisterGroup, group};
use crate::group::bytes;

const FILE: &str = include_str!("registered.rs");

pub(super) const REGISTER_FILES: Page = describe!(
    RegisterFiles,
    register_files,
    "Slots done, from the first on.",
    [
        INVAL: "no slots, or beyond the last",
        BADF: "the first handle does not exist, or leads to what cannot be registered",
        FAULT: "the first handle cannot be read",
    ]
);

fn register_files() -> Sqe {
    let handles = [3_u64, 4];
    RegisterFiles { slot: 0, buffer: handles.as_ptr() as u64, count: 2 }.encode(1)
}

pub(super) const REGISTER_BUFFER: Page = describe!(
    RegisterBuffer,
    register_buffer,
    "Zero.",
    [
        INVAL: "there is no such slot, or too many pages",
        FAULT: "a page is not there, or the caller may not write it",
        ACCES: "a ring or an arena is there",
        NOENT: "the slot to empty is empty",
    ]
);

fn register_buffer() -> Sqe {
    let memory = [0_u8; 4096];
    RegisterBuffer { slot: 0, address: memory.as_ptr() as u64, length: 4096 }.encode(1)
}

pub(super) const REGISTER_GROUP: Page = describe!(
    RegisterGroup,
    register_group,
    "Zero.",
    [
        INVAL: "an id above 65535, unknown flags, a number of entries that is no power of two or too great, a size of zero or \
                too great, or memory that does not begin at a multiple of 16",
        FAULT: "a page is not there, or the caller may not write it",
        ACCES: "a ring or an arena is there",
        EXIST: "the ring has a group with that id",
        NFILE: "the ring has 16 groups",
        NOENT: "there is no group to take away",
    ]
);

fn register_group() -> Sqe {
    let memory = [[0_u64; 2]; 12];
    assert!(size_of_val(&memory) as u64 >= bytes(8));
    let flags = group::INCREMENTAL;
    RegisterGroup { group: 1, address: memory.as_ptr() as u64, entries: 8, size: 512, flags }.encode(1)
}
