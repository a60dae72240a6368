//! A walk through the operations of a ring, from the latest to the first, that does something with those that match.
//!
//! The ring's circle is as long as the program made it. Where a step's budget ends, the walk's own operation is filed in
//! the circle, behind the operation to go on with, and goes on as work. So it never meets what started after it.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::inflight::Op;
use super::state::State;
use super::{OpResult, Outcome, barrier, cancel, timeout};
use crate::base::NONE;
use crate::base::budget::{Budget, ENTRY};
use crate::ring::flight;
use ring_abi::{Errno, Opcode};

/// What looking at an operation is reckoned to cost.
const LOOK: u32 = 20;
/// A walk of so many operations is done in one go if there is no memory to go on later.
const SHORT: u32 = 16;

/// Which operations are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those with a tag.
    Tag(u32),
    /// Those that hold a file.
    File(u32),
    /// Timeouts and intervals with a tag.
    Timer(u32),
    /// All.
    All,
}

/// What becomes of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// They end now.
    Force,
    /// Their daemon is asked to give them up, within so many nanoseconds.
    Ask(u64),
    /// Their deadline is another one.
    Move(u64),
    /// They are timers, and taken away.
    Remove,
}

/// How many of those that match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The first that is found, which started last.
    First,
    /// All.
    All,
}

/// A walk.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    which: Which,
    deed: Deed,
    extent: Extent,
    found: u64,
}

/// Where the record of a walk that goes on keeps what.
const HOW: usize = 0;
const TIME: usize = 1;
const FOUND: usize = 2;

impl Walk {
    /// A walk that has not begun.
    pub fn new(which: Which, deed: Deed, extent: Extent) -> Walk {
        Walk { which, deed, extent, found: 0 }
    }

    /// Walks through the operations of the caller's ring that started before this one.
    pub fn start(mut self, cx: &Cx<'_>, opcode: Opcode) -> OpResult {
        let s = cx.s;
        let last = match s.held.get() {
            NONE => flight::last(cx.ring),
            held => flight::before(&s.ops.at(held).of_ring),
        };
        let record = s.ops.ensure_one(&s.memory);
        if record.is_err() && cx.ring.cq.held() <= SHORT {
            self.run(s, last, |units| {
                cx.budget.charge(units);
                true
            })?;
            return self.result().map(Outcome::Done);
        }
        record?;

        let rest = self.run(s, last, |units| cx.budget.spend(units))?;
        if rest == NONE {
            return self.result().map(Outcome::Done);
        }
        let Ok(id) = cx.start_op(opcode) else { crate::bug!("an operation's record was ensured") };
        if let Which::File(file) = self.which {
            // Its record is not to become another file's meanwhile.
            s.ops.at(id).file.set(file);
            s.files.at(file).hold(1);
        }
        self.rest(s, id, rest);
        super::work::add(s, id);
        Ok(Outcome::Parked)
    }

    /// Looks at an operation and those that started before it, as long as there is budget for it. Gives the
    /// one to go on with, or `NONE`.
    fn run(&mut self, s: &State, from: u32, spend: impl Fn(u32) -> bool) -> Result<u32, Errno> {
        let mut at = from;
        while at != NONE {
            let op = s.ops.at(at);
            let matches = self.which.is(s, op);
            if !spend(if matches { ENTRY } else { LOOK }) {
                return Ok(at);
            }
            let before = flight::before(&op.of_ring);
            if matches {
                self.deed.to(s, at)?;
                self.found = self.found.wrapping_add(1);
                if self.extent == Extent::First {
                    return Ok(NONE);
                }
            }
            at = before;
        }
        Ok(NONE)
    }

    /// Remembers how far it is in its own record.
    fn rest(&self, s: &State, id: u32, rest: u32) {
        let op = s.ops.at(id);
        barrier::move_behind(s, rest, id);
        let (how, time) = self.packed();
        op.set_arg(HOW, how);
        op.set_arg(TIME, time);
        op.set_arg(FOUND, self.found);
    }

    fn result(&self) -> Result<u64, Errno> {
        match self.deed {
            _ if self.found == 0 => Err(Errno::NOENT),
            Deed::Move(_) | Deed::Remove => Ok(0),
            Deed::Force | Deed::Ask(_) => Ok(self.found),
        }
    }

    /// Itself in two words, without what it has found.
    fn packed(&self) -> (u64, u64) {
        let (which, key) = match self.which {
            Which::Tag(tag) => (0, tag),
            Which::File(file) => (1, file),
            Which::Timer(tag) => (2, tag),
            Which::All => (3, 0),
        };
        let (deed, time) = match self.deed {
            Deed::Force => (0, 0),
            Deed::Ask(grace) => (1, grace),
            Deed::Move(deadline) => (2, deadline),
            Deed::Remove => (3, 0),
        };
        let extent = u64::from(self.extent == Extent::All);
        (u64::from(key) | which << 32 | deed << 34 | extent << 36, time)
    }

    /// The walk that a record goes on with.
    fn of(op: &Op) -> Walk {
        let (how, time) = (op.arg(HOW), op.arg(TIME));
        let key = how as u32;
        let which = match how >> 32 & 3 {
            0 => Which::Tag(key),
            1 => Which::File(key),
            2 => Which::Timer(key),
            _ => Which::All,
        };
        let deed = match how >> 34 & 3 {
            0 => Deed::Force,
            1 => Deed::Ask(time),
            2 => Deed::Move(time),
            _ => Deed::Remove,
        };
        let extent = if how >> 36 & 1 == 0 { Extent::First } else { Extent::All };
        Walk { which, deed, extent, found: op.arg(FOUND) }
    }
}

/// Goes on with a walk. `false`: it has ended.
pub fn slice(s: &State, id: u32, budget: &Budget) -> bool {
    let op = s.ops.at(id);
    if op.is_detached() {
        s.end_op(id, Err(Errno::CANCELED), 0);
        return false;
    }
    let mut walk = Walk::of(op);
    let result = match walk.run(s, flight::before(&op.of_ring), |units| budget.spend(units)) {
        Ok(NONE) => walk.result(),
        Ok(rest) => {
            walk.rest(s, id, rest);
            return true;
        }
        Err(error) => Err(error),
    };
    s.end_op(id, result, 0);
    false
}

impl Which {
    /// Whether an operation is meant.
    fn is(self, s: &State, op: &Op) -> bool {
        match self {
            Which::Tag(tag) => s.tag_of(op) == tag,
            Which::File(file) => op.file.get() == file,
            Which::Timer(tag) => {
                s.tag_of(op) == tag && matches!(op.opcode.get(), Opcode::Timeout | Opcode::Interval)
            }
            Which::All => true,
        }
    }
}

impl Deed {
    /// Does it to an operation.
    fn to(self, s: &State, id: u32) -> Result<(), Errno> {
        match self {
            Deed::Force => cancel::force(s, id, Errno::CANCELED),
            Deed::Ask(grace) => cancel::ask_or_force(s, id, grace),
            Deed::Move(deadline) => return timeout::move_to(s, id, deadline),
            Deed::Remove => return timeout::remove(s, id),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_goes_on_as_what_it_was() {
        let whiches = [Which::Tag(u32::MAX), Which::File(7), Which::Timer(0), Which::All];
        let deeds = [Deed::Force, Deed::Ask(u64::MAX), Deed::Move(1), Deed::Remove];
        for (which, deed) in whiches.into_iter().flat_map(|which| deeds.map(|deed| (which, deed))) {
            for extent in [Extent::First, Extent::All] {
                let (op, walk) = (Op::default(), Walk::new(which, deed, extent));
                let (how, time) = walk.packed();
                op.set_arg(HOW, how);
                op.set_arg(TIME, time);
                op.set_arg(FOUND, 5);
                let again = Walk::of(&op);
                assert_eq!((again.which, again.deed, again.extent, again.found), (which, deed, extent, 5));
            }
        }
    }
}
