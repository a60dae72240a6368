//! `Nop`: the smallest handler, and the template for new ones. `Probe`: what exists.
#![forbid(unsafe_code)]

use super::{OpResult, Outcome};
use ring_abi::args::Probe;
use ring_abi::opcode::Origin;
use ring_abi::{Opcode, Words};

/// What doing nothing completes with.
pub const ANSWER: u64 = 0;

/// Does nothing.
pub fn start() -> OpResult {
    Ok(Outcome::Done(ANSWER))
}

/// Says whether an opcode exists: 1, with the flags that it takes from bit 8 on; otherwise 0.
///
/// What says when an entry starts has a meaning for all.
pub fn probe(entry: &impl Words) -> OpResult {
    let args = Probe::decode(entry)?;
    let opcode = u8::try_from(args.opcode).ok().and_then(Opcode::from_raw);
    let exists = opcode.filter(|opcode| matches!(opcode.origin(), Origin::Forwarded | Origin::Kernel));
    Ok(Outcome::Done(exists.map_or(0, |opcode| 1 | u64::from(opcode.flags().bits()) << 8)))
}
