//! Pages of what a daemon does and is asked, and of numbers that nobody uses.
#![forbid(unsafe_code)]

use super::page::{Page, describe};
use crate::args::{CURRENT, Cancel, CloseMsg, Fevent, MmapPrep, RequestMmap, SchemeRegister, event, map};
use crate::{Sqe, SqeFlags};

const FILE: &str = include_str!("serve.rs");

pub(super) const SCHEME_REGISTER: Page = describe!(
    SchemeRegister,
    scheme_register,
    "The arena's address. Further names of the same ring share its arena.",
    [
        PERM: "`namespace` gives no right to register, nor does any of the caller's handles below 64",
        INVAL: "an empty name or other letters, such a slot, a ring without a service pair, an arena above 4 MiB, or a slot \
                greater than that of the ring's first name",
        NAMETOOLONG: "more than 32 bytes",
        FAULT: "the name cannot be read",
        EXIST: "the name is taken",
        BUSY: "the ring began to serve while its arena was made",
        NFILE: "there are 256 names",
    ]
);

fn scheme_register() -> Sqe {
    let name = b"ram";
    let (buffer, length) = (name.as_ptr() as u64, name.len() as u64);
    SchemeRegister { buffer, length, slot: 4096, namespace: CURRENT, root: 0 }.encode(1)
}

pub(super) const FEVENT: Page = describe!(
    Fevent,
    fevent,
    "From the daemon: events that the file has now. If none is, it tells later, with a completion of kind `SendFevent`.",
    []
);

fn fevent() -> Sqe {
    // What a daemon reads: its own number of the file.
    Fevent { fd: 17, mask: event::READ }.encode(0x0001_0004)
}

pub(super) const CANCEL: Page =
    describe!(Cancel, cancel, "None: it is one way. The request with the tag is still to be answered.", []);

fn cancel() -> Sqe {
    // What a daemon reads.
    Cancel { fd: 17 }.encode(0x0001_0004).with_flags(SqeFlags::ONEWAY)
}

pub(super) const CLOSE_MSG: Page = describe!(CloseMsg, close_msg, "None: it is one way.", []);

fn close_msg() -> Sqe {
    // What a daemon reads.
    CloseMsg { fd: 17 }.encode(0).with_flags(SqeFlags::ONEWAY)
}

pub(super) const MMAP_PREP: Page = describe!(
    MmapPrep,
    mmap_prep,
    "From the daemon: the address of its first page. Any error: the client's [`MapFile`](crate::args::MapFile) fails with it.",
    []
);

fn mmap_prep() -> Sqe {
    // What a daemon reads.
    MmapPrep { fd: 17, length: 64 * 1024, flags: map::READ | map::EXECUTE | map::PRIVATE, offset: 4096 }
        .encode(0x0001_0004)
}

pub(super) const REQUEST_MMAP: Page = describe!(
    RequestMmap,
    request_mmap,
    "From the daemon: the address of the page that was touched. Any error: who waits for it gets `EIO`, or a bus error.",
    []
);

fn request_mmap() -> Sqe {
    // What a daemon reads.
    RequestMmap { fd: 17, length: 16 * 4096, flags: map::READ, offset: 40 * 4096 }.encode(0x0001_0005)
}

/// A number that `schemev2` has for the kernel and that this kernel never sends.
pub(super) const NOT_ASKED: Page = describe!("None: this kernel does not ask it.");

/// A number that is kept free.
pub(super) const RESERVED: Page = describe!("None: it is `ENOSYS`.");
