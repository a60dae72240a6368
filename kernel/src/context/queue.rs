//! A run queue: records in the order of their virtual time, as far as that matters.
//!
//! Virtual time is divided into buckets of a millisecond, each a list that is first come first served; a word of bits says
//! which of them have somebody. So adding, taking and removing are a few instructions with 100,000 ready contexts as with
//! two, need no memory, and cost a record nothing but the link that it has. That two records of one bucket may go in the
//! wrong order is forgotten in the long run, since their virtual times stay exact: a share is wrong by a bucket and a slice
//! at most, however long one looks.
//!
//! The queue has a time of its own, which never goes back: about that of the record that is to go next. Everything in it
//! lies within a window around that ([`BEHIND`], [`AHEAD`]), into which [`admit`](Queue::admit) moves who comes from
//! elsewhere: who has slept for long gets only so much in advance, and who owes much only has to wait for so long. A time is
//! carried from one queue to another as its distance ([`carry`]).
//!
//! Invariants:
//!
//! - a record lies in the bucket of its own time, which does not change meanwhile;
//! - the bit of a bucket is set exactly while somebody is in it;
//! - no time in the queue is more than [`BEHIND`] and a bucket before that of the queue, or more than [`AHEAD`] after it.
#![forbid(unsafe_code)]

use super::share::{Share, Time};
use crate::base::NONE;
use crate::base::list::{Chain, List};
use core::cell::Cell;

/// Units of virtual time in a bucket: about a millisecond.
pub const BUCKET: u64 = 1 << BUCKET_BITS;
const BUCKET_BITS: u32 = 16;
/// Buckets of a queue: one for each bit of a word.
const BUCKETS: usize = 64;
const BUCKET_MASK: u64 = BUCKETS as u64 - 1;

/// How far before the queue's time a record may be: what somebody who slept is given in advance.
pub const BEHIND: u64 = 4 * BUCKET;
/// How far after it: what anybody has to make up for at most.
pub const AHEAD: u64 = 56 * BUCKET;

// All times of a queue lie in buckets of their own: behind, ahead, and one at either end for what is cut off.
const _: () = assert!(BEHIND + AHEAD + 3 * BUCKET <= BUCKET * BUCKETS as u64);

/// Records with a share each, and a list for each bucket.
pub trait Turns: Chain {
    /// The share of a record. It stays the same as long as the record is in the queue.
    fn share(&self, node: u32) -> Share;

    /// Its virtual time.
    fn time(&self, node: u32) -> Time {
        self.share(node).time()
    }
}

/// A run queue.
#[derive(Debug)]
pub struct Queue {
    buckets: [List; BUCKETS],
    /// Which of them have somebody.
    filled: Cell<u64>,
    /// How many are in it.
    len: Cell<u32>,
    /// The sum of their weights.
    weight: Cell<u32>,
    time: Cell<Time>,
}

impl Default for Queue {
    fn default() -> Self {
        Queue {
            buckets: [const { List::new() }; BUCKETS],
            filled: Cell::new(0),
            len: Cell::new(0),
            weight: Cell::new(0),
            time: Cell::new(Time::default()),
        }
    }
}

/// What a time of one queue is in another: the same distance from the queue's own.
pub fn carry(time: Time, from: &Queue, to: &Queue) -> Time {
    to.admit(to.time().plus(from.admit(time).after(from.time()) as u64))
}

impl Queue {
    /// A bit for each bucket with somebody in it.
    #[inline(always)]
    pub fn filled(&self) -> u64 {
        self.filled.get()
    }

    /// Whether nobody is in it.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.filled.get() == 0
    }

    /// How many are in it.
    pub fn len(&self) -> u32 {
        self.len.get()
    }

    /// The sum of the weights of those in it.
    pub fn weight(&self) -> u32 {
        self.weight.get()
    }

    /// The queue's own time.
    pub fn time(&self) -> Time {
        self.time.get()
    }

    /// A time as it may be in this queue.
    pub fn admit(&self, time: Time) -> Time {
        time.max(self.time().minus(BEHIND)).min(self.time().plus(AHEAD))
    }

    /// Files a record whose time was [admitted](Self::admit), behind all others of its bucket.
    pub fn push(&self, turns: &impl Turns, node: u32) {
        let share = turns.share(node);
        let (bucket, bit) = self.bucket(share.time());
        bucket.push_back(turns, node);
        self.weight.set(self.weight.get().wrapping_add(u32::from(share.weight())));
        self.filled.set(self.filled.get() | bit);
        self.len.set(self.len.get().wrapping_add(1));
    }

    /// The record that is next, or `NONE`.
    pub fn peek(&self) -> u32 {
        self.list_at(self.filled.get().rotate_right(self.origin()).trailing_zeros()).map_or(NONE, List::first)
    }

    /// The first record that is wanted, or `NONE`; only so many are looked at.
    pub fn find(&self, turns: &impl Turns, few: usize, mut is_wanted: impl FnMut(u32) -> bool) -> u32 {
        let mut left = few;
        let mut buckets = self.filled.get().rotate_right(self.origin());
        while buckets != 0 {
            let mut node = self.list_at(buckets.trailing_zeros()).map_or(NONE, List::first);
            while node != NONE {
                if left == 0 {
                    return NONE;
                }
                if is_wanted(node) {
                    return node;
                }
                left = left.wrapping_sub(1);
                node = turns.link(node).next();
            }
            buckets &= buckets.wrapping_sub(1);
        }
        NONE
    }

    /// Takes out the record that is next.
    pub fn pop(&self, turns: &impl Turns) -> Option<u32> {
        let node = self.peek();
        if node == NONE {
            return None;
        }
        self.remove(turns, node);
        Some(node)
    }

    /// Takes out a record that is in the queue.
    pub fn remove(&self, turns: &impl Turns, node: u32) {
        let share = turns.share(node);
        let (bucket, bit) = self.bucket(share.time());
        bucket.remove(turns, node);
        self.weight.set(self.weight.get().wrapping_sub(u32::from(share.weight())));
        if bucket.is_empty() {
            self.filled.set(self.filled.get() & !bit);
        }
        self.len.set(self.len.get().wrapping_sub(1));
    }

    /// Somebody who runs has come to this time: the queue's own follows, but not beyond who is next in it.
    pub fn advance(&self, turns: &impl Turns, running: Time) {
        let least = if self.is_empty() { running } else { running.min(turns.time(self.peek())) };
        self.time.set(self.time().max(least));
    }

    /// The bucket of a time, and its bit.
    fn bucket(&self, time: Time) -> (&List, u64) {
        let index = time.units() >> BUCKET_BITS & BUCKET_MASK;
        match self.buckets.get(index as usize) {
            Some(bucket) => (bucket, 1_u64.wrapping_shl(index as u32)),
            None => crate::bug!("no bucket {index}"),
        }
    }

    /// The bucket in which the first possible time lies.
    fn origin(&self) -> u32 {
        let first = self.time().minus(BEHIND.wrapping_add(BUCKET));
        (first.units() >> BUCKET_BITS & BUCKET_MASK) as u32
    }

    /// The bucket that is so many after the first possible one; `None` if there are not that many.
    fn list_at(&self, distance: u32) -> Option<&List> {
        if distance as usize >= BUCKETS {
            return None;
        }
        self.buckets.get((u64::from(self.origin().wrapping_add(distance)) & BUCKET_MASK) as usize)
    }
}

#[cfg(any(test, not(target_os = "none")))]
impl Queue {
    /// Checks the invariants; gives what is in it, in order. For tests.
    pub fn audit(&self, turns: &impl Turns) -> Result<std::vec::Vec<u32>, &'static str> {
        let mut seen = std::vec::Vec::new();
        let mut weight = 0_u32;
        for distance in 0..BUCKETS as u32 {
            let Some(list) = self.list_at(distance) else { return Err("a bucket is missing") };
            let mut at = list.first();
            let before = seen.len();
            while at != NONE {
                let time = turns.time(at);
                if !core::ptr::eq(self.bucket(time).0, list) {
                    return Err("a record is in another bucket than that of its time");
                }
                let after = time.after(self.time());
                if after > AHEAD as i64 || after.saturating_neg() > BEHIND.wrapping_add(BUCKET) as i64 {
                    return Err("a record is too far from the queue's time");
                }
                if seen.len() > self.len() as usize {
                    return Err("there are more in the queue than it counts");
                }
                seen.push(at);
                weight = weight.wrapping_add(u32::from(turns.share(at).weight()));
                at = turns.link(at).next();
            }
            let index = self.origin().wrapping_add(distance) % u64::BITS;
            let bit = self.filled.get() >> index & 1;
            if (bit != 0) != (seen.len() != before) {
                return Err("a bit says something else than its bucket");
            }
        }
        if weight != self.weight() {
            return Err("the weights of a queue are another sum than it says");
        }
        if seen.len() == self.len() as usize { Ok(seen) } else { Err("the queue counts more than it has") }
    }
}

#[cfg(test)]
mod tests;
