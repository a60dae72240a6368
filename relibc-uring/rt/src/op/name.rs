//! Opening by path where a symbolic link may stand in the way.
#![forbid(unsafe_code)]

use super::file::{Fd, number};
use super::shape::sealed::Sealed;
use super::{Op, Operation};
use crate::ring::IoBufMut;
use crate::ring::slots::Answer;
use ring_abi::{Errno, Opcode, Sqe, args};

/// What became of an open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// The file.
    File(Fd),
    /// A link: the path to go on with is this many bytes at the start of the buffer. If it is longer than the
    /// buffer, it was cut.
    Link(usize),
}

/// An open that can say where a link leads.
#[derive(Debug)]
pub struct OpenThrough<B> {
    from: Fd,
    path: B,
    length: usize,
    flags: u64,
}

impl<B> Sealed for OpenThrough<B> {}

impl<B: IoBufMut> Operation for OpenThrough<B> {
    type Output = (Result<Opened, Errno>, B);
    const OPCODE: Opcode = Opcode::OpenAt;
    const MAKES_HANDLE: bool = true;
    const NEEDS_EXTRA: bool = true;

    fn entry(&mut self) -> Sqe {
        let bytes = self.path.bytes_mut();
        let (buffer, room) = (bytes.as_mut_ptr().addr() as u64, bytes.len());
        let length = self.length.min(room) as u64;
        let capacity = u32::try_from(room).unwrap_or(u32::MAX);
        args::OpenAt { fd: self.from.0, buffer, length, flags: self.flags, capacity }.encode(0)
    }

    fn finish(self, answer: Answer) -> Self::Output {
        let opened = match number(answer) {
            Ok(fd) => Ok(Opened::File(Fd(fd))),
            Err(Errno::XDEV) if answer.extra() != 0 => Ok(Opened::Link(answer.extra() as usize)),
            Err(error) => Err(error),
        };
        (opened, self.path)
    }
}

/// Opens the path that is the first `length` bytes of the buffer, as [`open_at`](super::file::open_at) does. If
/// a symbolic link is met, the whole buffer may be overwritten with the path to go on with.
pub fn open_through<B: IoBufMut>(from: Fd, path: B, length: usize, flags: u64) -> Op<OpenThrough<B>> {
    Op::new(OpenThrough { from, path, length, flags })
}
