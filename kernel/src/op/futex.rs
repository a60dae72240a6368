//! Futexes: waiting for a word in memory to be woken, and waking those who wait.
//!
//! A word is named by (address space, address), or by (shared object, offset) where memory is shared; so
//! processes that share memory meet. The kernel never looks at the word again after the wait began.
//!
//! A turn of two programs that wake each other is a submission of two: a wake and a wait. They are started in a straight
//! line (`entry::enter`), and a word that is [known](word::known) costs neither a walk nor a search.
#![forbid(unsafe_code)]

use super::channel::{self, Key};
use super::cx::Cx;
use super::inflight::Wait;
use super::state::State;
use super::word;
use super::{OpResult, Outcome};
use crate::ring::duplex::Ring;
use core::hint::cold_path;
use ring_abi::args::{FutexWait, FutexWake};
use ring_abi::enter::NO_DEADLINE;
use ring_abi::sqe::Head;
use ring_abi::{Cqe, Errno, Opcode, Words};

/// What the word at an address is called.
pub fn key(cx: &Cx<'_>, address: u64) -> Key {
    word::key(cx.s, cx.context.space.get(), address)
}

/// Shape of a wait without flags.
const WAIT: u32 = Opcode::FutexWait as u32;
/// Shape of a wake without flags.
const WAKE: u32 = Opcode::FutexWake as u32;

/// Whether an operation is a wake without flags.
#[inline(always)]
pub const fn is_wake(head: Head) -> bool {
    head.shape() == WAKE
}

/// Whether an operation is a wait without flags.
#[inline(always)]
pub const fn is_wait(head: Head) -> bool {
    head.shape() == WAIT
}

/// Whether an operation is one of these, without flags.
#[inline(always)]
pub const fn is_plain(head: Head) -> bool {
    is_wait(head) || is_wake(head)
}

/// Starts a [plain](is_plain) operation, whose completion has its place. It ends nobody.
#[inline(always)]
pub fn start(s: &State, ring: &Ring, head: Head, entry: &impl Words) {
    if !is_wake(head) {
        start_wait(s, ring, head, entry);
        return;
    }
    match start_wake(s, ring, entry) {
        Ok((number, woken)) => {
            rouse(s, woken);
            s.post(ring, Cqe::new(head.tag(), Ok(number)));
        }
        Err(error) => refuse(s, ring, head, error),
    }
}

/// Starts a plain wait, as [`start`] does: whether it waits.
#[inline(always)]
pub fn start_wait(s: &State, ring: &Ring, head: Head, entry: &impl Words) -> bool {
    s.stats.start(Opcode::FutexWait as u8);
    match wait(s, ring, head.tag(), entry) {
        Ok(()) => true,
        Err(error) => {
            refuse(s, ring, head, error);
            false
        }
    }
}

/// Starts a plain wake, as [`start`] does, without its completion. Who was woken is the caller's to [rouse].
#[inline(always)]
pub fn start_wake<'s>(s: &'s State, ring: &Ring, entry: &impl Words) -> Result<Woken<'s>, Errno> {
    s.stats.start(Opcode::FutexWake as u8);
    wake(s, ring, entry)
}

/// Completes an operation that failed.
#[cold]
#[inline(never)]
pub fn refuse(s: &State, ring: &Ring, head: Head, error: Errno) {
    s.post(ring, Cqe::new(head.tag(), Err(error)));
}

/// Lets the owner of a ring run that was woken, if there is one.
#[inline(always)]
pub fn rouse(s: &State, woken: Option<(&Ring, u32)>) {
    if let Some((ring, position)) = woken {
        s.rouse_at(ring, position);
    }
}

/// Waits for a word that has an expected value.
#[inline(always)]
fn wait(s: &State, ring: &Ring, tag: u32, entry: &impl Words) -> Result<(), Errno> {
    let wait = Waiting::new(s, ring, entry)?;
    wait.begin(s, s.start_op(ring, tag, Opcode::FutexWait)?.0);
    Ok(())
}

/// Starts one that has flags, or was held.
#[inline(never)]
pub fn start_with(cx: &Cx<'_>, opcode: Opcode, entry: &impl Words) -> OpResult {
    if opcode == Opcode::FutexWake {
        let (number, woken) = wake(cx.s, cx.ring, entry)?;
        rouse(cx.s, woken);
        return Ok(Outcome::Done(number));
    }
    let wait = Waiting::new(cx.s, cx.ring, entry)?;
    wait.begin(cx.s, cx.start_op(opcode)?);
    Ok(Outcome::Parked)
}

/// A wait that may begin: the word has the expected value, and there is memory for all but its record.
struct Waiting {
    channel: u32,
    /// `NO_DEADLINE` if there is none.
    deadline: u64,
}

impl Waiting {
    /// Looks at the word.
    #[inline(always)]
    fn new(s: &State, ring: &Ring, entry: &impl Words) -> Result<Waiting, Errno> {
        let args = FutexWait::decode(entry)?;
        let space = s.contexts.at(ring.owner.get()).space.get();
        let known = word::known(s, space, args.address);
        let place = match known {
            Some(seat) => seat.place.get(),
            None => word::find(s, space, args.address)?,
        };
        if s.memory.machine.load_u32(place) != args.expected {
            return Err(Errno::AGAIN);
        }
        is_timed(s, args.deadline)?;
        let channel = match known {
            Some(seat) => seat.channel.get(),
            None => word::remember(s, space, args.address, place)?,
        };
        Ok(Waiting { channel, deadline: args.deadline })
    }

    /// Waits as the operation of a record.
    #[inline(always)]
    fn begin(&self, s: &State, id: u32) {
        channel::join(s, self.channel, id, Wait::Channel);
        if self.deadline != NO_DEADLINE {
            cold_path();
            s.timers.add(s, id, self.deadline);
            s.step.rearm();
        }
    }
}

/// Whether a wait has a deadline, for which there is memory then. `ETIMEDOUT` if it has come.
#[inline(always)]
pub fn is_timed(s: &State, deadline: u64) -> Result<bool, Errno> {
    if deadline == NO_DEADLINE {
        return Ok(false);
    }
    cold_path();
    if deadline <= s.memory.machine.now() {
        return Err(Errno::TIMEDOUT);
    }
    s.timers.ensure_one(&s.memory)?;
    Ok(true)
}

/// How many were woken, and the ring whose owner is to be roused, as [`channel::wake_quietly`] gives it.
pub type Woken<'s> = (u64, Option<(&'s Ring, u32)>);

/// Wakes those who wait for a word, first come first served.
#[inline(always)]
fn wake<'s>(s: &'s State, ring: &Ring, entry: &impl Words) -> Result<Woken<'s>, Errno> {
    let args = FutexWake::decode(entry)?;
    let space = s.contexts.at(ring.owner.get()).space.get();
    match word::known(s, space, args.address) {
        Some(seat) if channel::has_any(s, seat.channel.get()) => {
            Ok(channel::wake_quietly(s, seat.channel.get(), args.count))
        }
        Some(_) => Ok((0, None)),
        None => wake_unknown(s, space, args).map(|number| (number, None)),
    }
}

#[cold]
#[inline(never)]
fn wake_unknown(s: &State, space: u32, args: FutexWake) -> Result<u64, Errno> {
    word::find(s, space, args.address)?;
    let channel = channel::find(s, word::key(s, space, args.address));
    Ok(channel.map_or(0, |channel| channel::wake(s, channel, args.count)))
}
