//! Channels: operations that wait for the same thing outside of a daemon's queue, in order of arrival.
//!
//! A channel exists while somebody waits on it, and is found by its key in a balanced tree. Waking many is
//! done in slices: what a step cannot do stays as a count on the channel, and the channel in a list of work.
//!
//! Who waits for a futex or an interrupt mostly does so again and again: whoever remembers a channel (see
//! [`super::word`], and the lines of interrupts) keeps it, and then it stays, idle, when the last one leaves.
#![forbid(unsafe_code)]

use super::inflight::{Op, Shape, Wait};
use super::several;
use super::state::{ByWait, State};
use crate::base::budget::{Budget, ENTRY};
use crate::base::list::{Chain, Link, List};
use crate::base::name::Named;
use crate::base::tree::{Links, Nodes};
use crate::base::{NONE, is_none};
use crate::mem::arena::{Arena, Record};
use crate::ring::duplex::Ring;
use core::cell::Cell;
use core::hint::cold_path;
use ring_abi::Errno;

/// Wakes at most this many at once; the rest comes in slices.
const AT_ONCE: u32 = 16;

/// What a channel is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// None: the record is free.
    #[default]
    Free,
    /// A word of an address space, or of a shared object.
    Futex {
        /// The space, or the object.
        object: u32,
        /// The address, or the offset.
        offset: u64,
    },
    /// Events of a daemon's file.
    File {
        /// The link.
        link: u32,
        /// The daemon's number for the file.
        id: u64,
    },
    /// An interrupt line.
    Line(u8),
    /// Room in the completion queue of a ring.
    Place(u32),
}

/// Those who wait for the same thing.
#[derive(Debug, Default)]
pub struct Channel {
    links: Links,
    key: Cell<Key>,
    waiters: List,
    /// How many wait, and how often it is [`KEPT`].
    count: Cell<u32>,
    /// How many of the first are still to be woken: more than none while it is in the list of work.
    to_wake: Cell<u32>,
    link: Link,
}

/// One that keeps the channel, above the number of those who wait, which are no more than there are operations.
const KEPT: u32 = 1 << 24;
/// Mark of one that was counted, while they are.
const SEEN: u32 = 1 << 31;

const _: () = assert!(size_of::<Channel>() <= 56);

impl Channel {
    /// Whether this is the channel of a key.
    #[cfg(not(target_os = "none"))]
    pub fn is_about(&self, key: Key) -> bool {
        self.key.get() == key
    }

    /// How many wait.
    #[inline(always)]
    fn waiting(&self) -> u32 {
        self.count.get() % KEPT
    }
}

impl Named for Channel {}

impl Record for Channel {
    fn free_link(&self) -> &Cell<u32> {
        self.link.cell()
    }
}

struct View<'a>(&'a Arena<Channel>);

impl Nodes for View<'_> {
    type Key = Key;
    #[inline(always)]
    fn links(&self, node: u32) -> &Links {
        &self.0.at(node).links
    }
    #[inline(always)]
    fn key(&self, node: u32) -> Key {
        self.0.at(node).key.get()
    }
}

struct ByWork<'a>(&'a Arena<Channel>);

impl Chain for ByWork<'_> {
    fn link(&self, node: u32) -> &Link {
        &self.0.at(node).link
    }
}

/// The channel of a key, if anybody waits.
pub fn find(s: &State, key: Key) -> Option<u32> {
    look_up(s, key).filter(|id| has_any(s, *id))
}

/// The same, though nobody may wait.
fn look_up(s: &State, key: Key) -> Option<u32> {
    s.channel_tree.find(&View(&s.channels), key)
}

/// Whether anybody waits.
#[inline(always)]
pub fn has_any(s: &State, id: u32) -> bool {
    s.channels.at(id).waiting() != 0
}

/// Channels on which somebody waits, if these are all that are kept. One that is kept twice is counted once: it is marked
/// while they are counted.
pub fn live(s: &State, kept: impl Iterator<Item = u32> + Clone) -> u32 {
    let idle =
        || kept.clone().filter(|id| !is_none(*id) && !has_any(s, *id)).map(|id| &s.channels.at(id).count);
    let mut seen = 0_u32;
    for count in idle().filter(|count| count.get() & SEEN == 0) {
        count.set(count.get() | SEEN);
        seen = seen.wrapping_add(1);
    }
    idle().for_each(|count| count.set(count.get() & !SEEN));
    s.channels.live().wrapping_sub(seen)
}

/// A channel about some file of a link, if anybody waits on one.
pub fn of_link(s: &State, link: u32) -> Option<u32> {
    let found = s.channel_tree.lower_bound(&View(&s.channels), Key::File { link, id: 0 })?;
    matches!(s.channels.at(found).key.get(), Key::File { link: its, .. } if its == link).then_some(found)
}

/// Finds or makes the channel of a key. One that nobody joins or keeps must be given to [`discard`].
pub fn open(s: &State, key: Key) -> Result<u32, Errno> {
    look_up(s, key).map_or_else(|| make(s, key), Ok)
}

/// Keeps a channel: it stays though nobody waits, until it is [released](release).
pub fn keep(s: &State, id: u32) {
    let count = &s.channels.at(id).count;
    count.set(count.get().wrapping_add(KEPT));
}

/// One that kept a channel does not any more.
pub fn release(s: &State, id: u32) {
    let count = &s.channels.at(id).count;
    count.set(count.get().wrapping_sub(KEPT));
    discard(s, id);
}

fn make(s: &State, key: Key) -> Result<u32, Errno> {
    let id = s.channels.take(&s.memory)?;
    let channel = s.channels.at(id);
    channel.key.set(key);
    channel.count.set(0);
    channel.to_wake.set(0);
    if s.channel_tree.insert(&View(&s.channels), id).is_err() {
        crate::bug!("two channels for {key:?}");
    }
    Ok(id)
}

/// Frees a channel if nobody waits on it or keeps it.
#[inline(always)]
pub fn discard(s: &State, id: u32) {
    let channel = s.channels.at(id);
    if channel.count.get() == 0 {
        free(s, id, channel);
    }
}

#[cold]
#[inline(never)]
fn free(s: &State, id: u32, channel: &Channel) {
    s.channel_tree.remove(&View(&s.channels), id);
    channel.key.set(Key::Free);
    s.channels.give(id);
}

/// The operation that waits longest on a channel.
#[inline(always)]
pub fn first(s: &State, id: u32) -> u32 {
    s.channels.at(id).waiters.first()
}

/// Whether one waits, and no more.
#[inline(always)]
pub fn has_one(s: &State, id: u32) -> bool {
    s.channels.at(id).waiting() == 1
}

/// Whether so many wait already.
pub fn is_full(s: &State, id: u32, most: u32) -> bool {
    s.channels.at(id).waiting() >= most
}

/// Files an operation at the end of a channel.
#[inline(always)]
pub fn join(s: &State, id: u32, op_id: u32, wait: Wait) {
    let channel = s.channels.at(id);
    let op = s.ops.at(op_id);
    op.wait.set(wait);
    op.object.set(id);
    channel.waiters.push_back(&ByWait(&s.ops), op_id);
    channel.count.set(channel.count.get().wrapping_add(1));
}

/// Takes an operation out of the channel it waits on.
#[inline(always)]
pub fn leave(s: &State, op_id: u32) {
    let id = s.ops.at(op_id).object.replace(NONE);
    let channel = s.channels.at(id);
    channel.waiters.remove(&ByWait(&s.ops), op_id);
    channel.count.set(channel.count.get().wrapping_sub(1));
    let to_wake = channel.to_wake.get();
    if to_wake != 0 {
        cold_path();
        leave_for_later(s, id, channel, to_wake.min(channel.waiting()));
    }
    discard(s, id);
}

/// The operation that waits on a channel, if it is the only one, is of this shape and holds nothing else.
#[inline(always)]
pub fn only(s: &State, id: u32, shape: Shape) -> Option<(u32, &Op)> {
    let channel = s.channels.at(id);
    if channel.waiting() != 1 || channel.to_wake.get() != 0 {
        return None;
    }
    let op_id = channel.waiters.first();
    let op = s.ops.at(op_id);
    (op.shape().number() == shape.number() && is_none(op.timer.get())).then_some((op_id, op))
}

/// Lets the [only](only) operation on a channel wait on another one. Both are kept.
#[inline(always)]
pub fn pass_on(s: &State, from: u32, to: u32, (op_id, op): (u32, &Op)) {
    let (before, channel) = (s.channels.at(from), s.channels.at(to));
    before.waiters.forget_only();
    before.count.set(before.count.get().wrapping_sub(1));
    op.object.set(to);
    channel.waiters.push_back(&ByWait(&s.ops), op_id);
    channel.count.set(channel.count.get().wrapping_add(1));
}

/// Wakes the first `count` of a channel on which somebody waits; gives how many that is. The first few complete at
/// once, the others in later steps.
#[inline(always)]
pub fn wake(s: &State, id: u32, count: u64) -> u64 {
    let (woken, ring) = wake_quietly(s, id, count);
    if let Some((ring, position)) = ring {
        s.rouse_at(ring, position);
    }
    woken
}

/// The same; also the ring whose owner is the caller's to rouse, as [`State::fill_op`] gives it.
#[inline(always)]
#[must_use = "an owner that waited for this must be woken"]
pub fn wake_quietly(s: &State, id: u32, count: u64) -> (u64, Option<(&Ring, u32)>) {
    let op_id = first(s, id);
    if count != 1 || s.channels.at(id).to_wake.get() != 0 || s.ops.at(op_id).is_detached() {
        return (wake_many(s, id, count), None);
    }
    leave(s, op_id);
    (1, s.fill_op(op_id, Ok(0), 0))
}

#[cold]
#[inline(never)]
fn wake_many(s: &State, id: u32, count: u64) -> u64 {
    s.step.measure(&s.memory.machine);
    let channel = s.channels.at(id);
    let earlier = channel.to_wake.get();
    let woken = u64::from(channel.waiting().wrapping_sub(earlier)).min(count) as u32;
    wake_some(s, id, channel, earlier.wrapping_add(woken));
    u64::from(woken)
}

/// Wakes the first few of `total`.
fn wake_some(s: &State, id: u32, channel: &Channel, total: u32) {
    let number = total.min(AT_ONCE);
    leave_for_later(s, id, channel, total.wrapping_sub(number));
    for done in 1..=number {
        // The last one to leave may free the channel, and then is the last here.
        let op_id = first(s, id);
        leave(s, op_id);
        if s.ops.at(op_id).is_detached() {
            several::woken(s, op_id);
            if done != total && !s.memory.budget.has(ENTRY) {
                // It left many channels.
                return leave_for_later(s, id, channel, total.wrapping_sub(done));
            }
        } else {
            s.end_op(op_id, Ok(0), 0);
        }
    }
}

/// So many are to be woken in later steps.
fn leave_for_later(s: &State, id: u32, channel: &Channel, number: u32) {
    match (channel.to_wake.replace(number), number) {
        (0, 0) | (1.., 1..) => {}
        (0, _) => s.channel_work.push_back(&ByWork(&s.channels), id),
        (_, 0) => s.channel_work.remove(&ByWork(&s.channels), id),
    }
}

/// Wakes a few more of a channel that has some left. `false`: there is none.
pub fn slice(s: &State, budget: &Budget) -> bool {
    let id = s.channel_work.first();
    if id == NONE {
        return false;
    }
    if budget.spend(ENTRY.wrapping_mul(AT_ONCE)) {
        let channel = s.channels.at(id);
        wake_some(s, id, channel, channel.to_wake.get());
    }
    true
}

/// Does something with each of the first `most` operations on a channel, which may take it from there.
pub fn for_each(s: &State, id: u32, most: u32, act: impl Fn(u32)) {
    let mut at = s.channels.at(id).waiters.first();
    for _ in 0..most {
        if at == NONE {
            return;
        }
        let next = s.ops.at(at).queue.next();
        act(at);
        at = next;
    }
}
