//! Replies to plain reads that follow each other, as an answer to many reads brings them: of one ring and file, begun together
//! and ended in that order.
//!
//! Each is looked at as every reply is ([`super::reply`]). What they have in common is seen to once, when the run is over:
//! the queues' positions, the ring's circle, the link's records, counters. Nobody looks at any of these in between.
#![forbid(unsafe_code)]

use super::reply::{self, PlainRead};
use super::state::State;
use crate::base::budget::Budget;
use crate::base::is_none;
use crate::mem::user::Window;
use crate::ring::duplex::Ring;
use crate::ring::flight;
use crate::scheme::link::Link;
use core::hint::cold_path;
use core::mem::replace;
use ring_abi::Opcode;
use ring_abi::map::Slot;
use ring_abi::ring::Entry;

/// Takes replies: those of one run, as far as the budget has entries left; or one other. There is one, and an entry is left.
#[inline(never)]
pub fn take(s: &State, link_id: u32, link: &Link, daemon: &Ring, budget: &Budget) {
    let requests = daemon.memory.get();
    let words = daemon.rp.peek(&requests.service_replies(), 0).copy();
    let Some(first) = PlainRead::find(s, link, words) else {
        daemon.rp.advance(1);
        reply::take_other(s, link_id, link, words);
        budget.took(1);
        return;
    };
    let run = Run::of(s, budget, &first);
    let completions = run.ring.memory.get();
    let before = first.op.of_ring.prev();
    let (mut last, mut ended) = (first.id, 1);
    let place = completions.cq().slot(run.ring.cq.position());
    let goes_on = run.end(s, link, budget, first, (place, link.bound()));
    // Once more where the memory of a queue begins again.
    'run: while goes_on && ended < run.entries {
        let at = daemon.rp.position().wrapping_add(ended);
        let replies = requests.service_replies().stretch(at, run.entries.wrapping_sub(ended));
        let at = run.ring.cq.position().wrapping_add(ended);
        let places = completions.cq().stretch(at, replies.len() as u32);
        for (reply, place) in replies.iter().zip(places) {
            let Some(read) = run.next(s, last, Entry::of(reply).copy()) else { break 'run };
            let next = replace(&mut last, read.id);
            ended = ended.wrapping_add(1);
            if !run.end(s, link, budget, read, (place, next)) {
                break 'run;
            }
        }
    }
    flight::join(s, before, s.ops.at(last).of_ring.next());
    link.set_bound(last);
    daemon.rp.advance(ended);
    budget.took(ended);
    s.gave_idle(ended);
    s.note_latency(Opcode::Read, run.began(), ended);
    s.show(run.ring, ended);
    let file = run.file();
    if s.files.at(file).let_go_of(ended) {
        reply::close(s, file);
    }
}

/// What the reads of a run have in common.
struct Run<'a> {
    ring: &'a Ring,
    /// Their ring's name, and what kind of operation they are.
    kin: u64,
    /// When they began, and their file.
    lot: u64,
    window: Window,
    /// Entries that the budget had left.
    entries: u32,
}

impl<'a> Run<'a> {
    /// The run that begins with this one.
    #[inline(always)]
    fn of(s: &'a State, budget: &Budget, first: &PlainRead<'a>) -> Run<'a> {
        let ring = s.rings.at(first.op.ring.get());
        let window = ring.cache.window(&s.memory);
        Run { ring, kin: first.op.kin(), lot: first.op.lot(), window, entries: budget.left() }
    }

    /// What a reply is for, if that is the operation that was begun behind this one, and it is one of the run.
    #[inline(always)]
    fn next(&self, s: &'a State, last: u32, words: [u64; 2]) -> Option<PlainRead<'a>> {
        let id = flight::after(&s.ops.at(last).of_ring);
        if is_none(id) {
            return None;
        }
        let read = PlainRead::of(s, id, words);
        let op = read.op;
        // Its file is the link's, so the tag is too.
        (read.is_end() && op.slot_tag.get() == read.tag && op.kin() == self.kin && op.lot() == self.lot)
            .then_some(read)
    }

    /// Ends a read; its completion is not shown yet, and its record waits at the link before `next`. Whether the budget has
    /// as many entries left as before.
    #[inline(always)]
    fn end(
        &self,
        s: &State,
        link: &Link,
        budget: &Budget,
        read: PlainRead<'_>,
        (place, next): (&Slot<2>, u32),
    ) -> bool {
        if let Some(words) = read.copy(link, &self.window) {
            read.leave(link, place, words, next);
            return true;
        }
        cold_path();
        let words = reply::answer_slowly(s, link, self.ring, [read.id, read.tag], read.result);
        read.leave(link, place, words, next);
        budget.left() == self.entries
    }

    /// When they began, in ticks.
    fn began(&self) -> u32 {
        (self.lot >> 32) as u32
    }

    /// Their file.
    fn file(&self) -> u32 {
        self.lot as u32
    }
}
