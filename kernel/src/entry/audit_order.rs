//! The part of the kernel's look at itself that is about chains and barriers: what is held is filed once where it waits,
//! neighbours know each other, and every barrier that has somebody before it has a guard.
#![forbid(unsafe_code)]

use crate::base::NONE;
use crate::base::list::{Chain, List};
use crate::context::context::{Fate, State as Run};
use crate::op::inflight::{GUARD, TIED, Wait};
use crate::op::order;
use crate::op::state::{ByWait, State};
use crate::ring::duplex::Ring;
use crate::ring::flight;
use crate::ring::tie::{DRAIN, REFUSING};
use std::collections::HashSet;
use std::format;
use std::string::String;

/// Checks all of it.
pub(super) fn check(s: &State) -> Result<(), String> {
    let due = members(s, &s.due);
    let (mut ties, mut lines) = (0_u32, 0_u32);
    for id in s.contexts.names().filter(|&id| s.contexts.at(id).state.get() != Run::Ended) {
        let context = s.contexts.at(id);
        let is_marked = context.fate.get() != Fate::None;
        let keeps = context.state.get() != Run::Ending && !s.is_doomed(context) && !is_marked;
        for ring in context.rings().map(|(_, ring)| s.rings.at(ring)) {
            ties = ties.wrapping_add(operations(s, ring, &due, keeps)?);
            lines = lines.wrapping_add(u32::from(!matches!(ring.line.get(), NONE | REFUSING)));
            line(s, ring, keeps)?;
        }
    }
    if ties != s.ties.live() || lines != s.lines.live() {
        return Err(format!(
            "{ties} operations of rings have ties and {lines} rings a line, but {} and {} are in use",
            s.ties.live(),
            s.lines.live()
        ));
    }
    if s.held.get() != NONE {
        return Err(format!("operation {} was held and forgotten", s.held.get()));
    }
    Ok(())
}

fn members(s: &State, list: &List) -> HashSet<u32> {
    let mut seen = HashSet::new();
    let mut at = list.first();
    while at != NONE {
        seen.insert(at);
        at = ByWait(&s.ops).link(at).next();
    }
    seen
}

/// The operations of a ring that have ties: how many.
fn operations(s: &State, ring: &Ring, due: &HashSet<u32>, keeps: bool) -> Result<u32, String> {
    let barred = order::line(s, ring).map(|line| members(s, &line.barred)).unwrap_or_default();
    let mut ties = 0_u32;
    let mut at = flight::first(ring);
    while at != NONE {
        let op = s.ops.at(at);
        let wait = op.wait.get();
        let is_held = matches!(wait, Wait::Chain | Wait::Barrier | Wait::Due);
        if (wait == Wait::Due) != due.contains(&at)
            || (wait == Wait::Barrier) != barred.contains(&at)
            || is_held && !op.is_marked(TIED)
        {
            return Err(format!("operation {at} is not filed where it waits: {op:?}"));
        }
        if op.is_marked(TIED) {
            ties = ties.wrapping_add(1);
            let tie = s.tie(at);
            let (prev, next) = (tie.prev.get(), tie.next.get());
            let is_known = (prev == NONE || s.tie(prev).next.get() == at)
                && (next == NONE || s.tie(next).prev.get() == at && s.ops.at(next).wait.get() == Wait::Chain);
            let is_late = keeps && wait == Wait::Chain && prev == NONE;
            let is_first = order::line(s, ring).is_some_and(|line| line.first.get() == at);
            if !is_known || is_late && !is_first {
                return Err(format!("operation {at} has lost its chain: {op:?} {tie:?}"));
            }
        }
        at = flight::after(&op.of_ring);
    }
    Ok(ties)
}

/// A ring's line is for something, keeps the short roads away, and its barrier has a guard.
fn line(s: &State, ring: &Ring, keeps: bool) -> Result<(), String> {
    let mut guards = HashSet::new();
    let mut at = flight::first(ring);
    while at != NONE {
        let op = s.ops.at(at);
        if op.is_marked(GUARD) {
            guards.insert(at);
        }
        at = flight::after(&op.of_ring);
    }
    let mut wanted = HashSet::new();
    if let Some(line) = order::line(s, ring) {
        if keeps && (line.is_idle() || ring.cq.known_room() != 0) {
            return Err(format!("ring {} has a line for nothing: {line:?}", ring.id.get()));
        }
        let first = line.barred.first();
        if first != NONE && !line.releasing.get() {
            wanted.insert(flight::before(&s.ops.at(first).of_ring));
            if s.tie(first).marks.get() & DRAIN == 0 || wanted.contains(&NONE) {
                return Err(format!("nothing holds operation {first} up: {line:?}"));
            }
        }
    }
    if keeps && guards != wanted {
        return Err(format!("guards of ring {}: {guards:?}, not {wanted:?}", ring.id.get()));
    }
    Ok(())
}
