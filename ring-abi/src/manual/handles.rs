//! Pages of operations on handles, and of those that pass them on.
#![forbid(unsafe_code)]

use super::page::{Page, describe};
use crate::args::{
    CURRENT, Close, HandleDup, HandleFlags, HandleReserve, LOWEST, ObtainFd, Recvfd, Sendfd, TableCreate,
    handle,
};
use crate::{Sqe, SqeFlags};

const FILE: &str = include_str!("handles.rs");

pub(super) const CLOSE: Page = describe!(Close, close, "Zero.", [BADF: "there is no such handle"]);

fn close() -> Sqe {
    Close { fd: 3 }.encode(1)
}

pub(super) const HANDLE_DUP: Page = describe!(
    HandleDup,
    handle_dup,
    "The number of the new handle.",
    [
        INVAL: "unknown flags",
        BADF: "there is no such handle, `table` is no handle table, or `target` is above 4095",
        MFILE: "the table is full",
    ]
);

fn handle_dup() -> Sqe {
    HandleDup { fd: 3, table: CURRENT, target: LOWEST, flags: handle::CLOSE_ON_EXEC }.encode(1)
}

pub(super) const HANDLE_FLAGS: Page = describe!(
    HandleFlags,
    handle_flags,
    "The flags before.",
    [BADF: "there is no such handle", INVAL: "unknown flags"]
);

fn handle_flags() -> Sqe {
    HandleFlags { fd: 3, flags: handle::CLOSE_ON_EXEC }.encode(1)
}

pub(super) const TABLE_CREATE: Page = describe!(
    TableCreate,
    table_create,
    "A handle to the table.",
    [INVAL: "`copy` is neither zero nor one", MFILE: "the caller's handle table is full"]
);

fn table_create() -> Sqe {
    TableCreate { copy: 1 }.encode(1)
}

pub(super) const SENDFD: Page = describe!(
    Sendfd,
    sendfd,
    "What the daemon says.",
    [
        BADF: "there is no such handle, of the two",
        OPNOTSUPP: "no daemon serves the file that is to receive",
    ]
);

fn sendfd() -> Sqe {
    Sendfd { fd: 3, sent: 4, flags: 0, argument: 0 }.encode(1)
}

pub(super) const RECVFD: Page = describe!(
    Recvfd,
    recvfd,
    "A handle, the lowest free number.",
    [
        IO: "the daemon answered with a number and not with a handle",
        MFILE: "the caller's handle table is full",
    ]
);

fn recvfd() -> Sqe {
    // One handle after the other, each in a completion of its own.
    Recvfd { fd: 3, flags: 0, argument: 0 }.encode(1).with_flags(SqeFlags::MULTISHOT)
}

pub(super) const OBTAIN_FD: Page = describe!(
    ObtainFd,
    obtain_fd,
    "A handle, the lowest free number.",
    [
        NOENT: "no request with that tag is in the hands of the daemon whose ring this is",
        INVAL: "the request is no `Sendfd`",
        MFILE: "the caller's handle table is full",
    ]
);

fn obtain_fd() -> Sqe {
    // The tag of a request that came through this ring.
    ObtainFd { tag: 0x0001_0004 }.encode(1)
}

pub(super) const HANDLE_RESERVE: Page = describe!(
    HandleReserve,
    handle_reserve,
    "The number.",
    [
        INVAL: "`reserve` is neither zero nor one",
        BADF: "a number above 4095, or one to give back that is not reserved",
        BUSY: "there is a handle, or the number is reserved already",
        MFILE: "no number is free",
    ]
);

fn handle_reserve() -> Sqe {
    HandleReserve { fd: 100, reserve: 1 }.encode(1)
}
