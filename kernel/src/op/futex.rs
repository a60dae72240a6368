//! Futexes: waiting for a word in memory to be woken, and waking those who wait.
//!
//! A word is named by (address space, address), or by (shared object, offset) where memory is shared; so
//! processes that share memory meet. The kernel never looks at the word again after the wait began.
//!
//! A turn of two programs that wake each other is one operation, a swap, which is a wake and a wait. It is started in a
//! straight line (`entry::swap`), and a word that is [known](word::known) costs neither a walk nor a search.
#![forbid(unsafe_code)]

use super::channel::{self, Key};
use super::cx::Cx;
use super::inflight::{PLAIN_SWAP, Wait};
use super::state::State;
use super::word;
use super::{OpResult, Outcome, dispatch};
use crate::ring::duplex::Ring;
use core::hint::cold_path;
use ring_abi::args::{FutexSwap, FutexWait, FutexWake};
use ring_abi::enter::NO_DEADLINE;
use ring_abi::sqe::Head;
use ring_abi::{Cqe, Errno, Opcode, Sqe, Words};

/// What the word at an address is called.
pub fn key(cx: &Cx<'_>, address: u64) -> Key {
    word::key(cx.s, cx.context.space.get(), address)
}

/// Shape of a wait without flags.
const WAIT: u32 = Opcode::FutexWait as u32;
/// Shape of a wake without flags.
const WAKE: u32 = Opcode::FutexWake as u32;
/// Shape of a swap without flags.
pub const SWAP: u32 = Opcode::FutexSwap as u32;

/// Whether an operation is a wake without flags.
#[inline(always)]
const fn is_wake(head: Head) -> bool {
    head.shape() == WAKE
}

/// Whether an operation is a wait without flags.
#[inline(always)]
const fn is_wait(head: Head) -> bool {
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
    s.stats.start(head.opcode());
    if !is_wake(head) {
        match FutexWait::decode(entry) {
            Ok(args) => start_wait(s, ring, head.tag(), args),
            Err(error) => refuse(s, ring, head.tag(), error),
        }
        return;
    }
    match FutexWake::decode(entry) {
        Ok(args) => start_wake(s, ring, head.tag(), args),
        Err(error) => refuse(s, ring, head.tag(), error),
    }
}

#[inline(always)]
fn start_wait(s: &State, ring: &Ring, tag: u32, args: FutexWait) {
    if let Err(error) = wait(s, ring, tag, args) {
        refuse_wait(s, ring, tag, args, error);
    }
}

#[inline(always)]
fn start_wake(s: &State, ring: &Ring, tag: u32, args: FutexWake) {
    match wake(s, ring, args) {
        Ok((number, woken)) => {
            rouse(s, woken);
            s.post(ring, Cqe::new(tag, Ok(number)));
        }
        Err(error) => refuse_wake(s, ring, tag, args, error),
    }
}

/// Starts a [swap](SWAP) in the same way: whether it waits, and who was woken, which is the caller's to [rouse].
///
/// Mostly the one that is woken is alone at its word, and waits there with a swap too: its record goes on as this one's.
#[inline(always)]
pub fn start_swap<'s>(
    s: &'s State,
    ring: &Ring,
    head: Head,
    entry: &impl Words,
) -> (bool, Option<Owner<'s>>) {
    s.stats.start(Opcode::FutexSwap as u8);
    let args = match FutexSwap::decode(entry) {
        Ok(args) => args,
        Err(error) => {
            refuse(s, ring, head.tag(), error);
            return (false, None);
        }
    };
    let space = space(s, ring);
    if args.deadline == NO_DEADLINE
        && let Some(mine) = word::known(s, space, args.address)
        && s.memory.machine.load_u32(mine.place.get()) == args.expected
        && let Some(theirs) = word::known(s, space, args.wake)
        && let (from, to) = (theirs.channel.get(), mine.channel.get())
        && let Some(only) = channel::only(s, from, PLAIN_SWAP)
    {
        let woken = s.renew_op(only, PLAIN_SWAP, ring, head.tag());
        channel::pass_on(s, from, to, only);
        return (true, Some(woken));
    }
    start_any_swap(s, ring, head, &args)
}

#[cold]
#[inline(never)]
fn start_any_swap<'s>(s: &'s State, ring: &Ring, head: Head, args: &FutexSwap) -> (bool, Option<Owner<'s>>) {
    let record = || Ok(s.start_op(ring, head.tag(), Opcode::FutexSwap)?.0);
    let (waits, woken) = swap(s, ring, args, record).unwrap_or_else(|error| (Err(error), None));
    if let Err(error) = waits {
        refuse_any(s, ring, &args.encode(head.tag()), error);
    }
    (waits.is_ok(), woken)
}

/// Completes an operation that failed.
#[cold]
#[inline(never)]
fn refuse(s: &State, ring: &Ring, tag: u32, error: Errno) {
    s.post(ring, Cqe::new(tag, Err(error)));
}

/// Completes a wait that failed, unless it only has to wait for the page of its word.
#[cold]
#[inline(never)]
fn refuse_wait(s: &State, ring: &Ring, tag: u32, args: FutexWait, error: Errno) {
    refuse_any(s, ring, &args.encode(tag), error);
}

/// The same for a wake.
#[cold]
#[inline(never)]
fn refuse_wake(s: &State, ring: &Ring, tag: u32, args: FutexWake, error: Errno) {
    refuse_any(s, ring, &args.encode(tag), error);
}

/// The same for any operation here.
fn refuse_any(s: &State, ring: &Ring, entry: &Sqe, error: Errno) {
    dispatch::answer_or_wait(s, ring, Head(entry.word(0)), entry, Err(error));
}

/// A ring whose owner is to be roused, as [`channel::wake_quietly`] gives it.
pub type Owner<'s> = (&'s Ring, u32);

/// Lets the owner of a ring run that was woken, if there is one.
#[inline(always)]
pub fn rouse(s: &State, woken: Option<Owner<'_>>) {
    if let Some((ring, position)) = woken {
        s.rouse_at(ring, position);
    }
}

/// Waits for a word that has an expected value.
#[inline(always)]
fn wait(s: &State, ring: &Ring, tag: u32, args: FutexWait) -> Result<(), Errno> {
    let wait = Waiting::new(s, space(s, ring), args)?;
    wait.begin(s, s.start_op(ring, tag, Opcode::FutexWait)?.0);
    Ok(())
}

/// Wakes one and waits, where `record` starts the operation that does: who was woken, and whether it waits. Nobody was woken
/// if there is nothing but an error.
fn swap<'s>(
    s: &'s State,
    ring: &Ring,
    args: &FutexSwap,
    record: impl FnOnce() -> Result<u32, Errno>,
) -> Result<(Result<(), Errno>, Option<Owner<'s>>), Errno> {
    let &FutexSwap { address, expected, deadline, wake } = args;
    let space = space(s, ring);
    let waiting = Waiting::new(s, space, FutexWait { address, expected, deadline });
    if let Err(error) = waiting
        && !matches!(error, Errno::AGAIN | Errno::TIMEDOUT)
    {
        return Err(error);
    }
    let theirs = word::channel(s, space, wake)?;
    let id = waiting.is_ok().then(record).transpose()?;
    let woken = theirs.filter(|channel| channel::has_any(s, *channel)).and_then(|channel| {
        let (_, owner) = channel::wake_quietly(s, channel, 1);
        owner
    });
    Ok((waiting.map(|waiting| id.map_or((), |id| waiting.begin(s, id))), woken))
}

/// The address space of a ring's owner.
#[inline(always)]
fn space(s: &State, ring: &Ring) -> u32 {
    s.contexts.at(ring.owner.get()).space.get()
}

/// Starts one that has flags, or was held.
#[inline(never)]
pub fn start_with(cx: &Cx<'_>, opcode: Opcode, entry: &impl Words) -> OpResult {
    let s = cx.s;
    match opcode {
        Opcode::FutexWake => {
            let (number, woken) = wake(s, cx.ring, FutexWake::decode(entry)?)?;
            rouse(s, woken);
            Ok(Outcome::Done(number))
        }
        Opcode::FutexSwap => {
            let (waits, woken) = swap(s, cx.ring, &FutexSwap::decode(entry)?, || cx.start_op(opcode))?;
            rouse(s, woken);
            waits.map(|()| Outcome::Parked)
        }
        _ => {
            let wait = Waiting::new(s, space(s, cx.ring), FutexWait::decode(entry)?)?;
            wait.begin(s, cx.start_op(opcode)?);
            Ok(Outcome::Parked)
        }
    }
}

/// A wait that may begin: the word has the expected value, and there is memory for all but its record.
#[derive(Clone, Copy)]
struct Waiting {
    channel: u32,
    /// `NO_DEADLINE` if there is none.
    deadline: u64,
}

impl Waiting {
    /// Looks at the word.
    #[inline(always)]
    fn new(s: &State, space: u32, args: FutexWait) -> Result<Waiting, Errno> {
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

/// Wakes those who wait for a word, first come first served: how many, and who is the caller's to [rouse].
#[inline(always)]
fn wake<'s>(s: &'s State, ring: &Ring, args: FutexWake) -> Result<(u64, Option<Owner<'s>>), Errno> {
    match word::channel(s, space(s, ring), args.address)? {
        Some(channel) if channel::has_any(s, channel) => Ok(channel::wake_quietly(s, channel, args.count)),
        _ => Ok((0, None)),
    }
}
