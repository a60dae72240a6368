//! Pages of operations on memory and on address spaces.
#![forbid(unsafe_code)]

use super::page::{Page, describe};
use crate::Sqe;
use crate::args::{
    Advise, CURRENT, ExecCommit, Map, MapFile, Protect, SpaceCreate, SpaceFork, SpaceWrite, Unmap, advice,
    map,
};

const FILE: &str = include_str!("memory.rs");

pub(super) const MAP: Page = describe!(
    Map,
    map_a_stack,
    "The address.",
    [
        INVAL: "unknown flags; not one of `SHARED` and `PRIVATE`; no rights, or both to write and to execute; no bytes; an \
                address that is no multiple of 4096, or that programs may not map",
        BADF: "`space` is no address space",
        EXIST: "`FIXED_NOREPLACE`, and something is there",
        ACCES: "`FIXED`, and a ring or an arena is there",
        NOMEM: "no memory, no range of addresses that is free, or one beyond their end",
    ]
);

fn map_a_stack() -> Sqe {
    let flags = map::READ | map::WRITE | map::PRIVATE | map::GUARD;
    Map { space: CURRENT, address: 0, length: 64 * 1024, flags }.encode(1)
}

pub(super) const UNMAP: Page = describe!(
    Unmap,
    unmap,
    "Zero.",
    [
        INVAL: "no bytes, an address that is no multiple of 4096, or a range that programs may not map",
        BADF: "`space` is no address space",
        ACCES: "a ring or an arena is there; what lies before it is unmapped",
        NOMEM: "no memory to cut a mapping in two",
    ]
);

fn unmap() -> Sqe {
    Unmap { space: CURRENT, address: 0x20_0000, length: 64 * 1024 }.encode(1)
}

pub(super) const MAP_FILE: Page = describe!(
    MapFile,
    map_file,
    "The address.",
    [
        INVAL: "as `Map`; an offset that is no multiple of 4096, or a range that no file has",
        BADF: "no such handle, or `space` is no address space",
        NODEV: "no daemon serves the file, or it maps none",
        DEADLK: "the space is the daemon's own",
        IO: "the daemon's answer makes no sense",
        EXIST: "`FIXED_NOREPLACE`, and something is there",
        ACCES: "`FIXED`, and a ring or an arena is there; or the daemon refuses",
        NOMEM: "no memory, or no room for so many pages",
    ]
);

fn map_file() -> Sqe {
    let flags = map::READ | map::EXECUTE | map::PRIVATE;
    MapFile { fd: 3, address: 0, length: 64 * 1024, flags, offset: 4096, space: CURRENT }.encode(1)
}

pub(super) const PROTECT: Page = describe!(
    Protect,
    protect,
    "Zero.",
    [
        INVAL: "unknown rights, none, or both to write and to execute; no bytes; an address that is no multiple of 4096",
        BADF: "`space` is no address space",
        ACCES: "a ring or an arena is there, or pages are to be written of the first program's image, or of a shared file that was \
                not mapped to be written",
        NOMEM: "a page is not mapped, or no memory",
    ]
);

fn protect() -> Sqe {
    Protect { space: CURRENT, address: 0x20_0000, length: 4096, rights: map::READ | map::EXECUTE }.encode(1)
}

pub(super) const SPACE_CREATE: Page = describe!(SpaceCreate, space_create, "A handle to the space.", [MFILE: "the caller's handle table is full"]);

fn space_create() -> Sqe {
    SpaceCreate {}.encode(1)
}

pub(super) const ADVISE: Page = describe!(
    Advise,
    advise,
    "Zero.",
    [
        INVAL: "no such advice; no bytes; an address that is no multiple of 4096, or a range that programs may not map",
        BADF: "`space` is no address space",
        ACCES: "a ring or an arena is there",
        NOMEM: "a page is not mapped",
    ]
);

fn advise() -> Sqe {
    Advise { space: CURRENT, address: 0x20_0000, length: 64 * 1024, advice: advice::DONTNEED }.encode(1)
}

pub(super) const SPACE_FORK: Page =
    describe!(SpaceFork, space_fork, "A handle to the space.", [MFILE: "the caller's handle table is full"]);

fn space_fork() -> Sqe {
    SpaceFork {}.encode(1)
}

pub(super) const SPACE_WRITE: Page = describe!(
    SpaceWrite,
    space_write,
    "Zero.",
    [
        BADF: "`space` is no address space",
        INVAL: "`space` is the caller's own",
        FAULT: "the bytes cannot be read here, or no page is there",
        ACCES: "a ring, an arena or the first program's image is there",
    ]
);

fn space_write() -> Sqe {
    let bytes = b"argument";
    SpaceWrite { space: 5, target: 0x7fff_f000, buffer: bytes.as_ptr() as u64, length: 8 }.encode(1)
}

pub(super) const EXEC_COMMIT: Page = describe!(
    ExecCommit,
    exec_commit,
    "None: a completion is always an error.",
    [
        INVAL: "`entry` or `stack` cannot be in a program, or sizes that do not exist",
        BADF: "`space` is no address space",
        BUSY: "contexts use the space, as the caller uses its own",
    ]
);

fn exec_commit() -> Sqe {
    ExecCommit { space: 5, entry: 0x40_1000, stack: 0x7fff_fff0, argument: 0, sizes: 0 }.encode(1)
}
