//! Pages of operations on an open file.
#![forbid(unsafe_code)]

use super::page::{Page, describe};
use crate::Sqe;
use crate::args::{
    CURSOR, Call, Fchmod, Fchown, Fcntl, Fsize, Fstat, Fstatvfs, Fsync, Ftruncate, Futimens, Getdents, Read,
    Seek, Write,
};

const FILE: &str = include_str!("files.rs");

pub(super) const READ: Page = describe!(
    Read,
    read,
    "Bytes read; zero at the end of the file.",
    [
        INVAL: "a file of the kernel's scheme `irq` and less than 8 bytes, or of `time` and less than 16",
        AGAIN: "64 operations wait for that interrupt line or for serial input",
    ]
);

fn read() -> Sqe {
    let buffer = [0_u8; 512];
    Read { fd: 3, buffer: buffer.as_ptr() as u64, length: 512, offset: CURSOR }.encode(1)
}

pub(super) const WRITE: Page = describe!(
    Write,
    write,
    "Bytes written, which may be fewer than asked for.",
    [
        INVAL: "a switch of the kernel's scheme `sys`, and no decimal number",
        ROFS: "a file of the kernel's scheme `sys` that is no switch",
    ]
);

fn write() -> Sqe {
    let bytes = b"hello\n";
    Write { fd: 1, buffer: bytes.as_ptr() as u64, length: 6, offset: CURSOR }.encode(2)
}

pub(super) const SEEK: Page = describe!(
    Seek,
    seek,
    "The new cursor.",
    [
        BADF: "there is no such handle",
        SPIPE: "the file has no cursor that the kernel keeps: its daemon did not say so when it opened it",
        INVAL: "`whence` is neither 0 nor 1, or the cursor would be below zero or above the greatest signed number",
    ]
);

fn seek() -> Sqe {
    // Sixteen bytes back from where the cursor is.
    Seek { fd: 3, offset: (-16_i64) as u64, whence: 1 }.encode(3)
}

pub(super) const FSIZE: Page = describe!(Fsize, fsize, "Bytes.", []);

fn fsize() -> Sqe {
    Fsize { fd: 3 }.encode(1)
}

pub(super) const FCHMOD: Page = describe!(Fchmod, fchmod, "Zero.", []);

fn fchmod() -> Sqe {
    Fchmod { fd: 3, mode: 0o644 }.encode(1)
}

pub(super) const FCHOWN: Page = describe!(Fchown, fchown, "Zero.", []);

fn fchown() -> Sqe {
    Fchown { fd: 3, uid: 1000, gid: u32::MAX }.encode(1)
}

pub(super) const FCNTL: Page = describe!(Fcntl, fcntl, "What the command says.", []);

fn fcntl() -> Sqe {
    const F_GETFL: u64 = 3;
    Fcntl { fd: 3, command: F_GETFL, argument: 0 }.encode(1)
}

pub(super) const FSTAT: Page = describe!(Fstat, fstat, "Zero.", []);

fn fstat() -> Sqe {
    let buffer = [0_u8; size_of::<syscall::Stat>()];
    Fstat { fd: 3, buffer: buffer.as_ptr() as u64, length: buffer.len() as u64 }.encode(1)
}

pub(super) const FSTATVFS: Page = describe!(Fstatvfs, fstatvfs, "Zero.", []);

fn fstatvfs() -> Sqe {
    let buffer = [0_u8; size_of::<syscall::StatVfs>()];
    Fstatvfs { fd: 3, buffer: buffer.as_ptr() as u64, length: buffer.len() as u64 }.encode(1)
}

pub(super) const FSYNC: Page = describe!(Fsync, fsync, "Zero.", []);

fn fsync() -> Sqe {
    Fsync { fd: 3 }.encode(1)
}

pub(super) const FTRUNCATE: Page = describe!(Ftruncate, ftruncate, "Zero.", []);

fn ftruncate() -> Sqe {
    Ftruncate { fd: 3, length: 0 }.encode(1)
}

pub(super) const FUTIMENS: Page = describe!(Futimens, futimens, "Zero.", []);

fn futimens() -> Sqe {
    let times = [syscall::TimeSpec::default(); 2];
    Futimens { fd: 3, buffer: times.as_ptr() as u64, length: size_of_val(&times) as u64 }.encode(1)
}

pub(super) const GETDENTS: Page =
    describe!(Getdents, getdents, "Bytes of entries; zero behind the last.", []);

fn getdents() -> Sqe {
    let buffer = [0_u8; 2048];
    let header = size_of::<syscall::dirent::DirentHeader>() as u32;
    Getdents { fd: 3, buffer: buffer.as_ptr() as u64, length: 2048, header, start: 0 }.encode(1)
}

pub(super) const CALL: Page = describe!(
    Call,
    call,
    "What the daemon says. `extra` of the completion: how many bytes of the buffer came back.",
    [MFILE: "the daemon answered with a handle, and the caller's table is full"]
);

fn call() -> Sqe {
    let buffer = [0_u8; 64];
    Call { fd: 3, buffer: buffer.as_ptr() as u64, length: 64, verb: 7, argument: 0 }.encode(1)
}
