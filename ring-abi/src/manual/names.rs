//! Pages of operations on names and paths.
#![forbid(unsafe_code)]

use super::page::{Page, describe};
use crate::Sqe;
use crate::args::{CURRENT, Dup, Flink, Fpath, Frename, OpenAt, UnlinkAt};

const FILE: &str = include_str!("names.rs");

pub(super) const OPEN_AT: Page = describe!(
    OpenAt,
    open_at,
    "A handle, the lowest free number. With `EXDEV`, `extra` of the completion is the length of the path to go on with.",
    [
        NOENT: "a path in the namespace that does not begin with `/scheme/`, or a scheme of the kernel without such a file",
        NODEV: "no scheme has that name",
        XDEV: "the path leads through a symbolic link; the buffer has the path to go on with",
        NAMETOOLONG: "the path is longer than a slot, or where a link leads is longer than `capacity`",
        MFILE: "the caller's handle table is full; the daemon is told that its file is closed again",
    ]
);

fn open_at() -> Sqe {
    let path = b"/scheme/ram/notes";
    let flags = syscall::O_RDWR | syscall::O_CREAT | 0o644;
    let (buffer, length) = (path.as_ptr() as u64, path.len() as u64);
    OpenAt { fd: CURRENT, buffer, length, flags: flags as u64, capacity: 0 }.encode(1)
}

pub(super) const UNLINK_AT: Page = describe!(
    UnlinkAt,
    unlink_at,
    "Zero.",
    [
        NOENT: "a path in the namespace that does not begin with `/scheme/`",
        NODEV: "no scheme has that name",
        ROFS: "a scheme that the kernel serves",
        XDEV: "the path leads through a symbolic link before its last part",
    ]
);

fn unlink_at() -> Sqe {
    let path = b"/scheme/ram/notes";
    UnlinkAt { fd: CURRENT, buffer: path.as_ptr() as u64, length: path.len() as u64, flags: 0 }.encode(1)
}

pub(super) const DUP: Page = describe!(
    Dup,
    dup,
    "A handle, the lowest free number.",
    [MFILE: "the caller's handle table is full; the daemon is told that its file is closed again"]
);

fn dup() -> Sqe {
    let name = b"listen";
    Dup { fd: 3, buffer: name.as_ptr() as u64, length: name.len() as u64 }.encode(1)
}

pub(super) const FPATH: Page = describe!(Fpath, fpath, "Bytes of the path.", []);

fn fpath() -> Sqe {
    let buffer = [0_u8; 256];
    Fpath { fd: 3, buffer: buffer.as_ptr() as u64, length: 256 }.encode(1)
}

pub(super) const FRENAME: Page = describe!(Frename, frename, "Zero.", []);

fn frename() -> Sqe {
    let path = b"notes.old";
    Frename { fd: 3, buffer: path.as_ptr() as u64, length: path.len() as u64 }.encode(1)
}

pub(super) const FLINK: Page = describe!(Flink, flink, "Zero.", []);

fn flink() -> Sqe {
    let path = b"copy";
    Flink { fd: 3, buffer: path.as_ptr() as u64, length: path.len() as u64 }.encode(1)
}
