//! Operations on the rings themselves.
#![forbid(unsafe_code)]

use super::file::{done, number, plain};
use super::shape::sealed::Sealed;
use super::{Op, Operation};
use crate::ring::slots::Answer;
use ring_abi::layout::Sizes;
use ring_abi::{Errno, Opcode, Sqe, args};

plain! {
    Nop -> () = done;
    Probe -> u64 = number;
    CancelTag -> u64 = number;
    RingCreate -> u64 = number;
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

/// Makes a further ring for this thread. Its address plus its number.
pub(crate) fn ring_create(sizes: Sizes) -> Op<args::RingCreate> {
    Op::new(args::RingCreate { sizes: sizes.packed() })
}
