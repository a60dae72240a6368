//! Operations on the rings themselves.
#![forbid(unsafe_code)]

use super::file::{Fd, done, number, plain};
use super::shape::sealed::Sealed;
use super::{Op, Operation};
use crate::ring::current::local;
use crate::ring::slots::Answer;
use core::time::Duration;
use ring_abi::args::{Strength, cancel::FIRST};
use ring_abi::layout::Sizes;
use ring_abi::{Errno, Opcode, Sqe, SqeFlags, args};

plain! {
    Nop -> () = done;
    Probe -> u64 = number;
    CancelTag -> u64 = number;
    CancelHandle -> u64 = number;
    CancelAll -> u64 = number;
    RingCreate -> u64 = number;
    RingPoll -> u64 = number;
    RingDrop -> () = done;
    Restrict -> () = done;
}

/// Does nothing: a round trip to the kernel.
#[inline(always)]
pub fn nop() -> Op<args::Nop> {
    Op::new(args::Nop {})
}

/// Whether the kernel has an opcode: 1 plus its flags shifted left by 8, or zero.
pub fn probe(opcode: Opcode) -> Op<args::Probe> {
    Op::new(args::Probe { opcode: u32::from(opcode.raw()) })
}

/// How hard to cancel, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// Daemons are asked; an operation's own result wins if it comes within so much time.
    Ask(Duration),
    /// They end now, effect unknown.
    Force,
    /// As [`Force`](Self::Force), but only the one that started last.
    ForceOne,
}

impl Cancel {
    /// Strength and grace as the kernel takes them.
    fn words(self) -> (u32, u64) {
        match self {
            Cancel::Ask(grace) => (Strength::Ask as u32, u64::try_from(grace.as_nanos()).unwrap_or(u64::MAX)),
            Cancel::Force => (Strength::Force as u32, 0),
            Cancel::ForceOne => (Strength::Force as u32 | FIRST, 0),
        }
    }
}

/// Cancels what this thread has in flight on a file; how many operations. `NOENT` if there is none.
///
/// It is the open file that counts, whichever handle to it an operation was started with.
pub fn cancel_on(fd: Fd, how: Cancel) -> Op<args::CancelHandle> {
    let (strength, grace) = how.words();
    Op::new(args::CancelHandle { fd: fd.0, strength, grace })
}

/// Cancels everything that this thread has in flight; how many operations. `NOENT` if there is nothing.
pub fn cancel_all(how: Cancel) -> Op<args::CancelAll> {
    let (strength, grace) = how.words();
    Op::new(args::CancelAll { strength, grace })
}

/// What a thread may still use once it has given up the rest: see [`ring_abi::args::Restrict`].
///
/// The runtime itself needs [`Opcode::CancelTag`] and [`Opcode::Close`] where operations are dropped, and
/// [`Opcode::RingCreate`] where a process that began without that right awaits an operation, or where one that awaited some
/// is forked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights(args::Restrict);

impl Rights {
    /// Everything.
    pub const ALL: Rights =
        Rights(args::Restrict { low: u64::MAX, high: u64::MAX, sqe_flags: 0xff, handles: 0, flags: 0 });

    /// These operations, without any flag.
    pub fn only(opcodes: &[Opcode]) -> Rights {
        let all = opcodes.iter().fold(0_u128, |all, opcode| all | 1 << opcode.raw());
        Rights(args::Restrict { low: all as u64, high: (all >> 64) as u64, sqe_flags: 0, ..Rights::ALL.0 })
    }

    /// These flags of submissions, if the operations may be used.
    pub fn flags(mut self, flags: SqeFlags) -> Rights {
        self.0.sqe_flags = u64::from(flags.bits());
        self
    }

    /// These handles, of the first 64, and no others.
    pub fn handles(mut self, kept: &[Fd]) -> Rights {
        self.0.handles = kept.iter().filter(|fd| fd.0 < 64).fold(0, |all, fd| all | 1 << fd.0);
        self.0.flags |= args::restrict::HANDLES;
        self
    }

    /// No scheme is found by name.
    pub fn no_names(mut self) -> Rights {
        self.0.flags |= args::restrict::NO_NAMES;
        self
    }
}

/// Gives up all rights but these, for good, for this thread and all that it makes. With [`Rights::handles`] nothing may be
/// in flight (`EBUSY`).
pub fn restrict(rights: Rights) -> Op<args::Restrict> {
    // What the heap may need later; for want of memory it is tried again then.
    let _ = local().try_part();
    Op::new(rights.0)
}

/// Lets this thread's ring be polled. How many other processors there are.
pub(crate) fn ring_poll(idle: u64) -> Op<args::RingPoll> {
    Op::new(args::RingPoll { idle })
}

/// Ends a further ring of this thread, in which nothing is in flight.
pub(crate) fn ring_drop(ring: u64) -> Op<args::RingDrop> {
    Op::new(args::RingDrop { ring })
}

/// Makes a further ring for this thread. Its address plus its number.
pub(crate) fn ring_create(sizes: Sizes) -> Op<args::RingCreate> {
    Op::new(args::RingCreate { sizes: sizes.packed() })
}
