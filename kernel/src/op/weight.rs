//! Weights of contexts: how a processor is divided between those that want it.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::{OpResult, Outcome, context};
use crate::context::file::Kind;
use ring_abi::args::{CURRENT, ContextWeight};
use ring_abi::context::weight::{LEAST, MOST};
use ring_abi::{Errno, Words};

/// Sets the weight of a context.
pub fn weigh(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = ContextWeight::decode(entry)?;
    let weight = u16::try_from(args.weight).map_err(|_| Errno::INVAL)?;
    if !(LEAST..=MOST).contains(&weight) {
        return Err(Errno::INVAL);
    }
    let own = (cx.context_id, cx.context);
    let (id, target) = if args.context == CURRENT { own } else { context::living(cx, args.context)? };
    if args.capability != CURRENT {
        cx.object(args.capability, Kind::Identity).map_err(|_| Errno::PERM)?;
    } else if weight > cx.context.share.get().weight() {
        return Err(Errno::PERM);
    }

    let before = target.share.get().weight();
    cx.s.set_weight(id, target, weight);
    Ok(Outcome::Done(u64::from(before)))
}
