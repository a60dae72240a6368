//! Operations on files, served by the daemon of a handle.
#![forbid(unsafe_code)]

use super::shape::sealed::Sealed;
use super::{Op, Operation};
use crate::ring::slots::Answer;
use crate::ring::{IoBuf, IoBufMut};
use ring_abi::{Errno, Opcode, Sqe, args, errno};

/// A handle: a number in this program's handle table. Copying it copies the number, not the handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fd(pub u64);

impl Fd {
    /// Stands for the caller's own namespace, address space or handle table.
    pub const CURRENT: Fd = Fd(args::CURRENT);
}

/// Where in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// At the cursor of the open file, which moves on.
    Cursor,
    /// At this byte.
    Offset(u64),
}

impl At {
    #[inline(always)]
    pub(super) fn word(self) -> u64 {
        match self {
            At::Cursor => args::CURSOR,
            At::Offset(offset) => offset,
        }
    }
}

/// An operation with a buffer; ends with its result and the buffer.
#[derive(Debug)]
pub struct Lent<A, B> {
    args: A,
    buffer: B,
}

/// What an operation with a buffer ends with.
pub type Returned<T, B> = (Result<T, Errno>, B);

/// The result of an answer.
#[inline(always)]
pub(crate) fn number(answer: Answer) -> Result<u64, Errno> {
    errno::demux(answer.result)
}

/// A result that counts bytes of a buffer.
#[inline(always)]
pub(super) fn count(answer: Answer) -> Result<usize, Errno> {
    number(answer).map(|count| count as usize)
}

/// A result that is a handle.
#[inline(always)]
pub(super) fn handle(answer: Answer) -> Result<Fd, Errno> {
    number(answer).map(Fd)
}

/// A result that says only whether it worked.
#[inline(always)]
pub(super) fn done(answer: Answer) -> Result<(), Errno> {
    number(answer).map(|_| ())
}

/// Operations whose buffer the kernel only reads.
macro_rules! sends {
    ($($name:ident -> $output:ty = $finish:expr $(, $handle:ident)?;)*) => {$(
        impl<B> Sealed for Lent<args::$name, B> {}
        impl<B: IoBuf> Operation for Lent<args::$name, B> {
            type Output = Returned<$output, B>;
            const OPCODE: Opcode = Opcode::$name;
            $(const $handle: bool = true;)?
            #[inline(always)]
            fn entry(&mut self) -> Sqe {
                let (buffer, length) = (self.buffer.name(), self.buffer.bytes().len() as u64);
                args::$name { buffer, length, ..self.args }.encode(0)
            }
            #[inline(always)]
            fn finish(self, answer: Answer) -> Self::Output {
                ($finish(answer), self.buffer)
            }
        }
    )*};
}

/// Operations whose buffer the kernel writes.
macro_rules! receives {
    ($($name:ident -> $output:ty = $finish:expr $(, $extra:ident)?;)*) => {$(
        impl<B> Sealed for Lent<args::$name, B> {}
        impl<B: IoBufMut> Operation for Lent<args::$name, B> {
            type Output = Returned<$output, B>;
            const OPCODE: Opcode = Opcode::$name;
            $(const $extra: bool = true;)?
            #[inline(always)]
            fn entry(&mut self) -> Sqe {
                let (length, buffer) = (self.buffer.bytes_mut().len() as u64, self.buffer.name());
                args::$name { buffer, length, ..self.args }.encode(0)
            }
            #[inline(always)]
            fn finish(self, answer: Answer) -> Self::Output {
                ($finish(answer), self.buffer)
            }
        }
    )*};
}

/// Operations without a buffer.
macro_rules! plain {
    ($($name:ident -> $output:ty = $finish:expr $(, $handle:ident)?;)*) => {$(
        impl Sealed for args::$name {}
        impl Operation for args::$name {
            type Output = Result<$output, Errno>;
            const OPCODE: Opcode = Opcode::$name;
            $(const $handle: bool = true;)?
            #[inline(always)]
            fn entry(&mut self) -> Sqe {
                self.encode(0)
            }
            #[inline(always)]
            fn finish(self, answer: Answer) -> Self::Output {
                $finish(answer)
            }
        }
    )*};
}
pub(super) use plain;

sends! {
    Write -> usize = count;
    Dup -> Fd = handle, MAKES_HANDLE;
    Frename -> () = done;
    Flink -> () = done;
    UnlinkAt -> () = done;
    Futimens -> () = done;
    OpenAt -> Fd = handle, MAKES_HANDLE;
}

receives! {
    Read -> usize = count;
    Fpath -> usize = count;
    Fstat -> () = done;
    Fstatvfs -> () = done;
    Getdents -> usize = count;
    Call -> Called = called, NEEDS_EXTRA;
}

plain! {
    Fsize -> u64 = number;
    Fchmod -> () = done;
    Fchown -> () = done;
    Fcntl -> u64 = number;
    Fsync -> () = done;
    Ftruncate -> () = done;
    Seek -> u64 = number;
    Poll -> u64 = number;
    Sendfd -> u64 = number;
    Recvfd -> Fd = handle, MAKES_HANDLE;
}

/// What a [`call`] ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Called {
    /// The daemon's result.
    pub result: u64,
    /// Bytes at the start of the buffer that the daemon wrote.
    pub written: usize,
}

fn called(answer: Answer) -> Result<Called, Errno> {
    number(answer).map(|result| Called { result, written: answer.extra() as usize })
}

#[inline(always)]
fn lend<A, B>(args: A, buffer: B) -> Op<Lent<A, B>>
where
    Lent<A, B>: Operation,
{
    Op::new(Lent { args, buffer })
}

/// Reads into the whole buffer at most. The result says how many bytes came.
#[inline(always)]
pub fn read<B: IoBufMut>(fd: Fd, buffer: B, at: At) -> Op<Lent<args::Read, B>> {
    lend(args::Read { fd: fd.0, buffer: 0, length: 0, offset: at.word() }, buffer)
}

/// Writes the buffer. The result says how many bytes were taken.
#[inline(always)]
pub fn write<B: IoBuf>(fd: Fd, buffer: B, at: At) -> Op<Lent<args::Write, B>> {
    lend(args::Write { fd: fd.0, buffer: 0, length: 0, offset: at.word() }, buffer)
}

/// Opens a file. `path` starts at the directory `from`, or with [`Fd::CURRENT`] it is `/scheme/NAME/path`.
/// `flags` are `O_*` with the mode of a new file in the low 16 bits. A symbolic link on the way is `XDEV`; see
/// [`open_through`](super::name::open_through).
pub fn open_at<B: IoBuf>(from: Fd, path: B, flags: u64) -> Op<Lent<args::OpenAt, B>> {
    lend(args::OpenAt { fd: from.0, buffer: 0, length: 0, flags, capacity: 0 }, path)
}

/// Opens another file from one, by a name that its daemon understands.
pub fn dup<B: IoBuf>(fd: Fd, name: B) -> Op<Lent<args::Dup, B>> {
    lend(args::Dup { fd: fd.0, buffer: 0, length: 0 }, name)
}

/// Writes the path of an open file, below its scheme, into the buffer.
pub fn fpath<B: IoBufMut>(fd: Fd, buffer: B) -> Op<Lent<args::Fpath, B>> {
    lend(args::Fpath { fd: fd.0, buffer: 0, length: 0 }, buffer)
}

/// Writes a `redox_syscall::Stat` into the buffer.
pub fn fstat<B: IoBufMut>(fd: Fd, buffer: B) -> Op<Lent<args::Fstat, B>> {
    lend(args::Fstat { fd: fd.0, buffer: 0, length: 0 }, buffer)
}

/// Writes a `redox_syscall::StatVfs` into the buffer.
pub fn fstatvfs<B: IoBufMut>(fd: Fd, buffer: B) -> Op<Lent<args::Fstatvfs, B>> {
    lend(args::Fstatvfs { fd: fd.0, buffer: 0, length: 0 }, buffer)
}

/// Writes entries of a directory into the buffer, from `start` on: zero, or an entry's `next_opaque_id`.
pub fn getdents<B: IoBufMut>(fd: Fd, buffer: B, start: u64) -> Op<Lent<args::Getdents, B>> {
    let header = size_of::<syscall::dirent::DirentHeader>() as u32;
    lend(args::Getdents { fd: fd.0, buffer: 0, length: 0, header, start }, buffer)
}

/// A call that only the daemon understands. The buffer goes there, and what it writes comes back.
pub fn call<B: IoBufMut>(fd: Fd, buffer: B, verb: u64, argument: u64) -> Op<Lent<args::Call, B>> {
    lend(args::Call { fd: fd.0, buffer: 0, length: 0, verb, argument }, buffer)
}

/// Gives the open file another path, below its scheme.
pub fn frename<B: IoBuf>(fd: Fd, path: B) -> Op<Lent<args::Frename, B>> {
    lend(args::Frename { fd: fd.0, buffer: 0, length: 0 }, path)
}

/// Gives the open file one more path, below its scheme.
pub fn flink<B: IoBuf>(fd: Fd, path: B) -> Op<Lent<args::Flink, B>> {
    lend(args::Flink { fd: fd.0, buffer: 0, length: 0 }, path)
}

/// Removes a name; `flags` are zero or `AT_REMOVEDIR`.
pub fn unlink_at<B: IoBuf>(from: Fd, path: B, flags: u64) -> Op<Lent<args::UnlinkAt, B>> {
    lend(args::UnlinkAt { fd: from.0, buffer: 0, length: 0, flags }, path)
}

/// Sets access and modification time: two `TimeSpec`s of `redox_syscall`.
pub fn futimens<B: IoBuf>(fd: Fd, times: B) -> Op<Lent<args::Futimens, B>> {
    lend(args::Futimens { fd: fd.0, buffer: 0, length: 0 }, times)
}

/// Length of the file.
pub fn fsize(fd: Fd) -> Op<args::Fsize> {
    Op::new(args::Fsize { fd: fd.0 })
}

/// Changes the file's permission bits.
pub fn fchmod(fd: Fd, mode: u32) -> Op<args::Fchmod> {
    Op::new(args::Fchmod { fd: fd.0, mode })
}

/// Changes the file's owner; `u32::MAX` keeps one.
pub fn fchown(fd: Fd, uid: u32, gid: u32) -> Op<args::Fchown> {
    Op::new(args::Fchown { fd: fd.0, uid, gid })
}

/// A command of `fcntl`.
pub fn fcntl(fd: Fd, command: u64, argument: u64) -> Op<args::Fcntl> {
    Op::new(args::Fcntl { fd: fd.0, command, argument })
}

/// Writes the file back.
pub fn fsync(fd: Fd) -> Op<args::Fsync> {
    Op::new(args::Fsync { fd: fd.0 })
}

/// Sets the file's length.
pub fn ftruncate(fd: Fd, length: u64) -> Op<args::Ftruncate> {
    Op::new(args::Ftruncate { fd: fd.0, length })
}

/// Moves the cursor: `whence` is 0 from the start, 1 from the cursor. The new cursor.
pub fn seek(fd: Fd, offset: i64, whence: u32) -> Op<args::Seek> {
    Op::new(args::Seek { fd: fd.0, offset: offset.cast_unsigned(), whence })
}

/// Waits until the file has one of the events of [`ring_abi::args::event`]; those that it has.
pub fn poll(fd: Fd, mask: u64) -> Op<args::Poll> {
    Op::new(args::Poll { fd: fd.0, mask })
}

/// Sends a copy of `sent` to the daemon of `fd`.
pub fn sendfd(fd: Fd, sent: Fd, flags: u64, argument: u64) -> Op<args::Sendfd> {
    Op::new(args::Sendfd { fd: fd.0, sent: sent.0, flags, argument })
}

/// Receives a handle from the daemon of `fd`.
pub fn recvfd(fd: Fd, flags: u64, argument: u64) -> Op<args::Recvfd> {
    Op::new(args::Recvfd { fd: fd.0, flags, argument })
}
