//! `ExecCommit`: the caller goes on in another address space, as another program.
//!
//! On success there is no completion: the ring that it would go to is gone. The other contexts of the old
//! space end, what the caller had in flight is left or detached, handles that are close-on-exec close, and
//! identity stays. Everything that can fail is done before any of that.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::state::{BySpace, ByTurn};
use super::{OpResult, Outcome, cancel};
use crate::arch::{Regs, Start};
use crate::base::NONE;
use crate::context::context::State as Run;
use crate::context::file::Kind;
use crate::context::handles::CLOSE_ON_EXEC;
use crate::ring::place;
use ring_abi::args::ExecCommit;
use ring_abi::context::{End, Reason};
use ring_abi::{Errno, Words};

/// Replaces the caller's program.
pub fn start(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let s = cx.s;
    let args = ExecCommit::decode(entry)?;
    if !Regs::valid_rip(args.entry) || !Regs::valid_rsp(args.stack) {
        return Err(Errno::INVAL);
    }
    let sizes = super::context::sizes(args.sizes)?;
    let new = cx.object(args.space, Kind::Space)?;
    if new == cx.context.space.get() || !s.memory.space(new).contexts.is_empty() {
        return Err(Errno::BUSY);
    }
    let ring_id = place::make(&s.memory, &s.rings, new, sizes, cx.context_id)?;

    let old = cx.context.space.get();
    leave_rings(cx);
    close_on_exec(cx);
    enter_space(cx, old, new);
    s.end_contexts(old, End::Ended(Reason::Replaced), cx.budget);
    if let Some(first) = cx.context.rings.first() {
        first.set(ring_id);
    }
    cx.context.end_word.set(0);
    let ring = s.rings.at(ring_id).address.get();
    cx.context.regs.start(&Start { rip: args.entry, rsp: args.stack, rdi: ring, rsi: args.argument, rdx: 0 });
    cx.context.state.set(Run::Ready);
    s.this_cpu().ready.push_front(&ByTurn(&s.contexts), cx.context_id);
    s.this_cpu().rearm.set(true);
    Ok(Outcome::Gone)
}

/// Leaves all operations in flight, and gives the rings up.
///
/// There are at most as many operations as the completion queues have places; about a hundred instructions
/// each, in this one step.
fn leave_rings(cx: &Cx<'_>) {
    let s = cx.s;
    for cell in &cx.context.rings {
        let ring_id = cell.replace(NONE);
        let Some(ring) = s.rings.get(ring_id) else { continue };
        s.end_link_of(ring);
        while ring.ops.first() != NONE {
            cancel::abandon(s, ring.ops.first());
        }
        place::drop(&s.memory, &s.rings, ring_id);
    }
}

fn close_on_exec(cx: &Cx<'_>) {
    let mut at = 0;
    while let Some((number, _, flags)) = cx.table().next(&cx.s.chunks, at) {
        at = number.wrapping_add(1);
        if flags & CLOSE_ON_EXEC != 0
            && let Ok(file) = cx.table().remove(&cx.s.chunks, number)
        {
            cx.s.let_go(file);
        }
    }
}

fn enter_space(cx: &Cx<'_>, old: u32, new: u32) {
    let s = cx.s;
    s.memory.space(old).contexts.remove(&BySpace(&s.contexts), cx.context_id);
    let space = s.memory.space(new);
    space.refs.set(space.refs.get().wrapping_add(1));
    space.contexts.push_back(&BySpace(&s.contexts), cx.context_id);
    cx.context.space.set(new);
    s.release_space(old);
}
