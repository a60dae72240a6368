//! Calls that leave the completions of others where they are: those of the heap.
//!
//! A blocking call files every completion that it finds, and filing may need memory. The heap itself calls while nobody can
//! get any, so its calls look for their own completion among those that are there, and take none off.
#![allow(unsafe_code, reason = "an entry in a ring makes the kernel write to memory; `unsafe fn` says so")]

use super::ends::Ends;
use super::local::{BLOCKING, Local};
use super::slots::Answer;
use ring_abi::enter;

/// Tag of a completion that was looked at where it is: no slot has it, so it means nothing to whoever takes it off.
const SPENT: u32 = BLOCKING - 2;
/// Tag of a call of this kind. A late completion means nothing either.
const APART: u32 = BLOCKING - 3;

impl Local {
    /// Does one operation and waits for it. `None` if the queues have no room for it beside what others have there.
    ///
    /// # Safety
    ///
    /// As for [`begin`](Self::begin).
    pub(crate) unsafe fn call_apart(&self, mut entry: [u64; 8]) -> Option<Answer> {
        entry[0] |= u64::from(APART) << 32;
        let ends = self.ends();
        if ends.push(entry, entry.len()).is_err() {
            // The kernel takes what it has room for.
            ends.enter_with(0, 0);
            ends.push(entry, entry.len()).ok()?;
        }
        loop {
            let there = ends.waiting_completions();
            if let Some(answer) = ends.spend(there) {
                return Some(answer);
            }
            if there == ends.most_completions() {
                // The kernel may take it later. What it maps is then lost.
                return None;
            }
            ends.enter_with(u64::from(there).wrapping_add(1), enter::COMPLETIONS);
        }
    }
}

impl Ends {
    /// How many completions are there to be taken.
    fn waiting_completions(&self) -> u32 {
        let Ok(ready) = self.cq.ready(&self.ring.cq()) else { super::ends::corrupt() };
        ready
    }

    /// The answer of such a call among the first so many completions, which says nothing from then on.
    fn spend(&self, count: u32) -> Option<Answer> {
        let queue = self.ring.cq();
        for ahead in 0..count {
            let entry = self.cq.peek(&queue, ahead);
            let head = entry.load(0);
            if (head >> 32) as u32 == APART {
                let answer = Answer { head: head as u32, result: entry.load(1) };
                entry.store(0, u64::from(SPENT) << 32);
                return Some(answer);
            }
        }
        None
    }
}
