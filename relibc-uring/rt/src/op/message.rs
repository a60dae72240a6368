//! Messages from ring to ring: sending them. For receiving them see [`Inbox`](crate::ring::Inbox).
#![forbid(unsafe_code)]

use super::file::{Fd, done, handle, plain};
use super::shape::sealed::Sealed;
use super::{Op, Operation};
use crate::ring::slots::Answer;
use ring_abi::args::port::FIXED_TAG;
use ring_abi::{Errno, Opcode, Sqe, args, enter};

plain! {
    RingHandle -> Fd = handle, MAKES_HANDLE;
    MessageSend -> () = done;
    MessageHandle -> () = done;
}

/// Makes a handle to this thread's ring whose messages all have a tag, so that they are no operation's of the runtime.
pub(crate) fn ring_handle(tag: u32) -> Op<args::RingHandle> {
    Op::new(args::RingHandle { ring: args::CURRENT, tag, flags: FIXED_TAG })
}

/// Sends a number, and 24 bits beside it, to the ring behind a handle. Waits for room there; dropping it takes it back if
/// it has not arrived. `EPIPE`: the ring is gone.
pub fn send(to: Fd, value: u64, extra: u32) -> Op<args::MessageSend> {
    send_until(to, value, extra, enter::NO_DEADLINE)
}

/// The same, with a point of the monotonic clock in nanoseconds until when to wait for room (`ETIMEDOUT`); zero not to
/// wait.
pub fn send_until(to: Fd, value: u64, extra: u32, deadline: u64) -> Op<args::MessageSend> {
    Op::new(args::MessageSend { fd: to.0, tag: 0, value, extra, deadline })
}

/// Sends a copy of a handle, and 24 bits beside it. `EMFILE`: the other side has no room for a handle.
pub fn send_handle(to: Fd, sent: Fd, extra: u32) -> Op<args::MessageHandle> {
    Op::new(args::MessageHandle { fd: to.0, tag: 0, sent: sent.0, extra, deadline: enter::NO_DEADLINE })
}
