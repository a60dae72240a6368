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
    let target = if args.context == CURRENT { cx.context } else { context::living(cx, args.context)?.1 };
    if args.capability != CURRENT {
        cx.object(args.capability, Kind::Identity).map_err(|_| Errno::PERM)?;
    } else if weight > cx.context.share.get().weight() {
        return Err(Errno::PERM);
    }

    // What it has used so far was used with the weight that it had.
    cx.s.settle(cx.s.home(target));
    let share = target.share.get();
    target.share.set(share.with_weight(weight));
    Ok(Outcome::Done(u64::from(share.weight())))
}
