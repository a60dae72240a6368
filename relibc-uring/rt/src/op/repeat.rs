//! Operations on files that complete again and again: events, and handles as they come in.
#![forbid(unsafe_code)]

use super::file::{Fd, handle, number};
use super::shape::sealed::Sealed;
use super::{Shots, Stream};
use crate::ring::IoBuf;
use crate::ring::slots::{Answer, Gather};
use ring_abi::{Errno, Opcode, Sqe, args};

/// The events of a file.
#[derive(Debug)]
pub struct Events(args::Poll);

impl Sealed for Events {}

impl Shots for Events {
    /// Events that the file has got; all since the item before.
    type Item = Result<u64, Errno>;
    const OPCODE: Opcode = Opcode::Poll;
    const GATHER: Gather = Gather::Or;

    fn entry(&mut self) -> Sqe {
        self.0.encode(0)
    }

    fn item(&self, answer: Answer) -> Self::Item {
        number(answer)
    }
}

/// The events ([`args::event`]) that a file has now, and then those that it gets, each time that it gets some.
///
/// An item says what happened, not what still is so: read until there is no more before waiting for the next.
pub fn events(fd: Fd, mask: u64) -> Stream<Events> {
    Stream::new(Events(args::Poll { fd: fd.0, mask }))
}

/// Files that come in at another one.
#[derive(Debug)]
pub struct Incoming<B> {
    from: Fd,
    name: B,
}

impl<B> Sealed for Incoming<B> {}

impl<B: IoBuf> Shots for Incoming<B> {
    /// A file.
    type Item = Result<Fd, Errno>;
    const OPCODE: Opcode = Opcode::Dup;
    const MAKES_HANDLE: bool = true;
    const GATHER: Gather = Gather::Each;

    fn entry(&mut self) -> Sqe {
        let bytes = self.name.bytes();
        let (buffer, length) = (bytes.as_ptr().addr() as u64, bytes.len() as u64);
        args::Dup { fd: self.from.0, buffer, length }.encode(0)
    }

    fn item(&self, answer: Answer) -> Self::Item {
        handle(answer)
    }
}

/// Opens other files from one, by a name that its daemon understands, as many as the daemon gives: connections of a
/// listening socket, say. Its last item is an error, or the file after which the daemon gives no more.
pub fn incoming<B: IoBuf>(from: Fd, name: B) -> Stream<Incoming<B>> {
    Stream::new(Incoming { from, name })
}

/// Handles that a file's daemon sends.
#[derive(Debug)]
pub struct Received(args::Recvfd);

impl Sealed for Received {}

impl Shots for Received {
    /// A handle.
    type Item = Result<Fd, Errno>;
    const OPCODE: Opcode = Opcode::Recvfd;
    const MAKES_HANDLE: bool = true;
    const GATHER: Gather = Gather::Each;

    fn entry(&mut self) -> Sqe {
        self.0.encode(0)
    }

    fn item(&self, answer: Answer) -> Self::Item {
        handle(answer)
    }
}

/// Receives handles from a file's daemon, as many as it gives.
pub fn received(fd: Fd, flags: u64, argument: u64) -> Stream<Received> {
    Stream::new(Received(args::Recvfd { fd: fd.0, flags, argument }))
}
