//! Operations on handles and handle tables.
#![forbid(unsafe_code)]

use super::file::{Fd, done, handle, number, plain};
use super::shape::sealed::Sealed;
use super::{Op, Operation};
use crate::ring::slots::Answer;
use ring_abi::{Errno, Opcode, Sqe, args};

plain! {
    Close -> () = done;
    HandleDup -> Fd = handle;
    HandleFlags -> u64 = number;
    TableCreate -> Fd = handle, MAKES_HANDLE;
    ObtainFd -> Fd = handle, MAKES_HANDLE;
    HandleReserve -> Fd = handle;
}

/// Closes a handle.
pub fn close(fd: Fd) -> Op<args::Close> {
    Op::new(args::Close { fd: fd.0 })
}

/// Makes another handle to the same file, in `table` ([`Fd::CURRENT`] for the own one), at the number `target`
/// (what was there is closed) or at the lowest free one.
pub fn dup_to(fd: Fd, table: Fd, target: Option<u64>, flags: u64) -> Op<args::HandleDup> {
    let target = target.unwrap_or(args::LOWEST);
    Op::new(args::HandleDup { fd: fd.0, table: table.0, target, flags })
}

/// Sets the flags of [`ring_abi::args::handle`], or only reads them. The flags before.
pub fn flags(fd: Fd, set: Option<u64>) -> Op<args::HandleFlags> {
    Op::new(args::HandleFlags { fd: fd.0, flags: set.unwrap_or(u64::MAX) })
}

/// Keeps a number for handles that are [placed](super::chain::Placed) there: this one, or the lowest free one.
pub fn reserve(number: Option<u64>) -> Op<args::HandleReserve> {
    Op::new(args::HandleReserve { fd: number.unwrap_or(args::LOWEST), reserve: 1 })
}

/// Gives a reserved number back. A handle that is there stays.
pub fn unreserve(number: Fd) -> Op<args::HandleReserve> {
    Op::new(args::HandleReserve { fd: number.0, reserve: 0 })
}

/// Makes an empty handle table.
pub fn table_create() -> Op<args::TableCreate> {
    Op::new(args::TableCreate { copy: 0 })
}

/// Makes a copy of the own handle table.
pub fn table_copy() -> Op<args::TableCreate> {
    Op::new(args::TableCreate { copy: 1 })
}

/// Takes the handle that came with the request of this tag.
pub(crate) fn obtain_fd(tag: u32) -> Op<args::ObtainFd> {
    Op::new(args::ObtainFd { tag })
}
