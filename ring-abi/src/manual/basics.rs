//! Pages of operations on the ring itself.
#![forbid(unsafe_code)]

use super::page::{Page, describe};
use crate::args::{Nop, Probe, RingCreate};
use crate::layout::Sizes;
use crate::{Opcode, Sqe};

const FILE: &str = include_str!("basics.rs");

pub(super) const NOP: Page = describe!(Nop, nop, "Zero.", []);

fn nop() -> Sqe {
    Nop {}.encode(1)
}

pub(super) const PROBE: Page = describe!(
    Probe,
    probe,
    "Zero if a program may not use the opcode; otherwise 1, plus the submission flags that it takes shifted left by 8.",
    [INVAL: "the number does not fit 32 bits"]
);

fn probe() -> Sqe {
    Probe { opcode: u32::from(Opcode::Interval.raw()) }.encode(1)
}

pub(super) const RING_CREATE: Page = describe!(
    RingCreate,
    ring_create,
    "The ring's address, a multiple of 64, plus its number.",
    [
        INVAL: "a size is too great, or a spare bit is set",
        MFILE: "the caller has four rings",
        NOMEM: "no memory, also where the ring would be larger than 4 MiB",
    ]
);

fn ring_create() -> Sqe {
    let sizes = Sizes { sq: 6, cq: 7, service: None };
    RingCreate { sizes: sizes.packed() }.encode(1)
}
