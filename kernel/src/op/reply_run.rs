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
use ring_abi::ring::Entry;

/// Takes replies: those of one run, as far as the budget has entries left; or one other. There is one, and an entry is left.
#[inline(never)]
pub fn take(s: &State, link_id: u32, link: &Link, daemon: &Ring, budget: &Budget) {
    let requests = daemon.memory.get();
    let words = daemon.rp.peek(&requests.service_replies(), 0).copy();
    let Some(first) = PlainRead::find(s, link, words) else {
        return take_apart(s, link_id, link, daemon, budget);
    };
    let run = Run::of(s, budget, &first);
    let completions = run.ring.memory.get();
    let before = first.op.of_ring.prev();
    let (mut last, mut ended) = (first.id, 1);
    let place = completions.cq().slot(run.ring.cq.position());
    let slowly = || run.answer_slowly(s, link, [first.id, first.tag], first.result);
    let words = first.copy(link, &run.window).or_else(slowly);
    let Some(words) = words else {
        return take_apart(s, link_id, link, daemon, budget);
    };
    first.leave(link, place, words, link.bound());
    let goes_on = budget.left() == run.entries;
    // Once more where the memory of a queue begins again.
    'run: while goes_on && ended < run.entries {
        let at = daemon.rp.position().wrapping_add(ended);
        let replies = requests.service_replies().stretch(at, run.entries.wrapping_sub(ended));
        let at = run.ring.cq.position().wrapping_add(ended);
        let places = completions.cq().stretch(at, replies.len() as u32);
        for (reply, place) in replies.iter().zip(places) {
            let Some(read) = run.next(s, last, Entry::of(reply).copy()) else { break 'run };
            let Some(words) = read.copy(link, &run.window) else {
                let words = run.answer_slowly(s, link, [read.id, read.tag], read.result);
                let Some(words) = words else { break 'run };
                ended = ended.wrapping_add(1);
                let next = replace(&mut last, read.id);
                read.leave(link, place, words, next);
                if budget.left() != run.entries {
                    break 'run;
                }
                continue;
            };
            ended = ended.wrapping_add(1);
            let next = replace(&mut last, read.id);
            read.leave(link, place, words, next);
        }
    }
    flight::join(s, before, s.ops.at(last).of_ring.next());
    link.set_bound(last);
    daemon.rp.advance(ended);
    budget.took(ended);
    run.account(s, ended);
}

/// Takes one reply that is not to a plain read, or that one cannot take at once. It is looked at again.
#[inline(never)]
fn take_apart(s: &State, link_id: u32, link: &Link, daemon: &Ring, budget: &Budget) {
    let words = daemon.rp.peek(&daemon.memory.get().service_replies(), 0).copy();
    daemon.rp.advance(1);
    reply::take_other(s, link_id, link, words);
    budget.took(1);
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

    /// The words of a completion that has to be made the long way. Nothing, and it is as it was: it has to wait for a page.
    #[inline(always)]
    fn answer_slowly(&self, s: &State, link: &Link, named: [u32; 2], result: u64) -> Option<[u64; 2]> {
        cold_path();
        reply::answer_slowly(s, link, self.ring, named, result)
    }

    /// Shows so many completions, and lets go of the file for each.
    #[inline(always)]
    fn account(&self, s: &State, ended: u32) {
        s.gave_idle(ended);
        s.note_latency(Opcode::Read, self.began(), ended);
        s.show(self.ring, ended);
        let file = self.file();
        if s.files.at(file).let_go_of(ended) {
            reply::close(s, file);
        }
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
