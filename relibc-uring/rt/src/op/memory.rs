//! Operations on address spaces.
#![allow(
    unsafe_code,
    reason = "taking memory away is `unsafe fn`: only the caller knows that nobody uses it"
)]

use super::file::{Fd, done, handle, number, plain};
use super::shape::sealed::Sealed;
use super::{Op, Operation};
use crate::ring::IoBuf;
use crate::ring::slots::Answer;
use ring_abi::{Errno, Opcode, Sqe, args};

plain! {
    Map -> u64 = number;
    MapFile -> u64 = number;
    Unmap -> () = done;
    Protect -> () = done;
    Advise -> () = done;
    SpaceCreate -> Fd = handle, MAKES_HANDLE;
    SpaceFork -> Fd = handle, MAKES_HANDLE;
    ExecCommit -> () = done;
    CallHandler -> () = done;
}

/// Maps zeroed memory somewhere in the own address space; its address.
pub fn map(length: usize, rights: u64) -> Op<args::Map> {
    let flags = rights | args::map::PRIVATE;
    Op::new(args::Map { space: args::CURRENT, address: 0, length: length as u64, flags })
}

/// Maps zeroed memory in an address space; its address. `flags` are those of [`ring_abi::args::map`].
///
/// # Safety
///
/// In the own space, a fixed address must not take memory away that anybody uses.
pub unsafe fn map_in(space: Fd, address: u64, length: u64, flags: u64) -> Op<args::Map> {
    Op::new(args::Map { space: space.0, address, length, flags })
}

/// Maps a part of a file into an address space; its address. `flags` are those of [`ring_abi::args::map`].
///
/// # Safety
///
/// In the own space, a fixed address must not take memory away that anybody uses. What others write into the file is seen as long as
/// the page is not written here, so nobody may rely on the bytes to stay what they are.
pub unsafe fn map_file(file: Fd, offset: u64, at: Place) -> Op<args::MapFile> {
    let Place { space, address, length, flags } = at;
    Op::new(args::MapFile { fd: file.0, address, length, flags, offset, space: space.0 })
}

/// Where a file is mapped, and how.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The address space.
    pub space: Fd,
    /// The address, zero for any.
    pub address: u64,
    /// Bytes.
    pub length: u64,
    /// Flags of [`ring_abi::args::map`].
    pub flags: u64,
}

/// Takes mappings away.
///
/// # Safety
///
/// In the own space, nobody may use the memory any more.
pub unsafe fn unmap(space: Fd, address: u64, length: u64) -> Op<args::Unmap> {
    Op::new(args::Unmap { space: space.0, address, length })
}

/// Changes what can be done with memory.
///
/// # Safety
///
/// In the own space, nobody may use the memory in a way that is then refused.
pub unsafe fn protect(space: Fd, address: u64, length: u64, rights: u64) -> Op<args::Protect> {
    Op::new(args::Protect { space: space.0, address, length, rights })
}

/// Says what becomes of memory: one of [`ring_abi::args::advice`].
///
/// # Safety
///
/// In the own space, nobody may need what is given up.
pub unsafe fn advise(space: Fd, address: u64, length: u64, advice: u64) -> Op<args::Advise> {
    Op::new(args::Advise { space: space.0, address, length, advice })
}

/// Makes an empty address space.
pub fn space_create() -> Op<args::SpaceCreate> {
    Op::new(args::SpaceCreate {})
}

/// Copies the own address space, rings left out.
pub fn space_fork() -> Op<args::SpaceFork> {
    Op::new(args::SpaceFork {})
}

/// Bytes on their way into another space.
#[derive(Debug)]
pub struct SpaceWrite<B> {
    space: Fd,
    target: u64,
    buffer: B,
}

impl<B> Sealed for SpaceWrite<B> {}

impl<B: IoBuf> Operation for SpaceWrite<B> {
    type Output = (Result<(), Errno>, B);
    const OPCODE: Opcode = Opcode::SpaceWrite;

    fn entry(&mut self) -> Sqe {
        let bytes = self.buffer.bytes();
        let (buffer, length) = (bytes.as_ptr().addr() as u64, bytes.len() as u64);
        args::SpaceWrite { space: self.space.0, target: self.target, buffer, length }.encode(0)
    }

    fn finish(self, answer: Answer) -> Self::Output {
        (done(answer), self.buffer)
    }
}

/// Copies bytes into another address space, whatever the rights of the pages there.
///
/// # Safety
///
/// If `space` is the own one, nobody may use the bytes at `target`.
pub unsafe fn space_write<B: IoBuf>(space: Fd, target: u64, buffer: B) -> Op<SpaceWrite<B>> {
    Op::new(SpaceWrite { space, target, buffer })
}

/// Replaces this program by that of another space. Ends only if that fails.
///
/// # Safety
///
/// The entry must be a program's: it starts with registers as `ring-abi` says and with this stack.
pub unsafe fn exec_commit(args: args::ExecCommit) -> Op<args::ExecCommit> {
    Op::new(args)
}

/// Names the handler of `syscall` instructions that are not `ring_enter`, for the own address space.
///
/// # Safety
///
/// The handler must do what the callers of such instructions expect.
pub unsafe fn call_handler(address: u64, length: u64) -> Op<args::CallHandler> {
    Op::new(args::CallHandler { address, length })
}
