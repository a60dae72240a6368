//! The list of everything that a program can ask of the kernel.
//!
//! An operation has at most three verbs. *Start* is the match below. *Finish* is called by what it waited
//! for: [`super::reply::take`] for what a daemon answers, `timeout::expired`, `futex` wakes, `irq::raised`,
//! `poll::on_event`, a context's end, or its last slice of work. *Cancel* is [`super::cancel`], which knows
//! where each kind of wait is filed.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::state::State;
use super::{
    OpResult, Outcome, affinity, cancel, context, exec, forward, futex, handle, incoming, interval, mapping,
    memory, message, migrate, nop, open, order, pass, poll, port, provided, register, registered, restrict,
    several, signal, space, timeout,
};
use crate::base::is_none;
use crate::context::context::State as Run;
use crate::mem::object::ASK;
use crate::ring::duplex::{GUARDED, Ring};
use ring_abi::opcode::Origin;
use ring_abi::sqe::Head;
use ring_abi::{Cqe, Errno, Opcode, SqeFlags, Words};

/// Shape of a nop without flags.
pub const NOP: u32 = Opcode::Nop as u32;
/// Shape of a read without flags.
pub const READ: u32 = Opcode::Read as u32;
/// Shape of an open without flags.
pub const OPEN: u32 = Opcode::OpenAt as u32;
/// Shape of a close without flags.
pub const CLOSE: u32 = Opcode::Close as u32;

/// How many submissions were taken, and the first word of the next one if it was read.
pub type Taking = (u32, Head);

/// In the place of a first word that was not read; it is that of a nop, too, which is read once more. So a [`Taking`] fits into two
/// registers.
pub const UNREAD: Head = Head(0);

/// Starts an operation, whose completion has its place. `false`: the asker is gone, and with it its ring.
///
/// What is asked for most often does not come here: `entry::enter` answers nops, and gives reads to [`super::read`], and
/// starts futexes that come with a few others itself.
#[inline(never)]
pub fn start_other(s: &State, ring: &Ring, head: Head, entry: impl Words + Copy) -> bool {
    if futex::is_plain(head) && is_none(ring.line.get()) && !ring.is_marked(GUARDED) {
        start_futex(s, ring, head, &entry);
        return true;
    }
    s.step.measure(&s.memory.machine);
    if order::concerns(s, ring, head) {
        return order::take(s, ring, head, &entry);
    }
    s.stats.start(head.opcode());
    let cx = Cx::new(s, ring, head.tag());
    let outcome = start_any(cx, head, entry);
    // What is answered may have ended its asker all the same.
    answer_or_wait(s, ring, head, &entry, outcome) && cx.context.state.get() == Run::Active
}

/// Completes an operation that does not wait, unless it has to wait for a page first. `false`: the asker is gone.
#[inline(always)]
pub fn answer_or_wait(s: &State, ring: &Ring, head: Head, entry: &impl Words, outcome: OpResult) -> bool {
    let outcome = match outcome {
        Err(ASK) => s.park_start(ring, head, entry).map(|()| Outcome::Parked),
        outcome => outcome,
    };
    answer(s, ring, head.tag(), outcome)
}

#[inline(never)]
fn start_futex(s: &State, ring: &Ring, head: Head, entry: &impl Words) {
    futex::start(s, ring, head, entry);
}

/// Completes an operation that does not wait. `false`: the asker is gone.
#[inline(always)]
fn answer(s: &State, ring: &Ring, tag: u32, outcome: OpResult) -> bool {
    let result = match outcome {
        Ok(Outcome::Parked) => return true,
        Ok(Outcome::Gone) => return false,
        Ok(Outcome::Done(value)) => Ok(value),
        Err(error) => Err(error),
    };
    s.post(ring, Cqe::new(tag, result));
    true
}

/// Starts an operation. What flags say of its order was seen to.
pub fn start_any(cx: Cx<'_>, head: Head, entry: impl Words + Copy) -> OpResult {
    let (cx, entry) = (&cx, &entry);
    restrict::check(cx, head.opcode(), head.flags())?;
    let opcode = Opcode::from_raw(head.opcode()).ok_or(Errno::INVAL)?;
    if head.flags() & !opcode.flags().bits() != 0 {
        return Err(Errno::INVAL);
    }
    if head.flags() & SqeFlags::BUFFER_SELECT.bits() != 0 {
        return provided::start(cx, opcode, head, entry);
    }
    // Without that flag a group is where a new handle goes.
    if head.group() != 0 && !opcode.makes_handle() {
        return Err(Errno::INVAL);
    }
    if head.group() != 0 && is_multishot(head.flags()) {
        // One number is not enough.
        return Err(Errno::INVAL);
    }
    if head.group() != 0 {
        // It is looked at again when the handle is there.
        cx.vacant()?;
    }
    match opcode.origin() {
        Origin::Forwarded => start_forwarded(cx, opcode, head.flags(), entry),
        Origin::Kernel => start_here(cx, opcode, head.flags(), entry),
        Origin::KernelOnly => Err(Errno::INVAL),
        Origin::Reserved => Err(Errno::NOSYS),
    }
}

/// Whether a submission may complete more than once.
fn is_multishot(flags: u8) -> bool {
    flags & SqeFlags::MULTISHOT.bits() != 0
}

fn start_forwarded(cx: &Cx<'_>, opcode: Opcode, flags: u8, entry: &impl Words) -> OpResult {
    match opcode {
        Opcode::OpenAt | Opcode::UnlinkAt => open::start(cx, opcode, arguments(entry)),
        Opcode::Sendfd => pass::start_send(cx, entry),
        _ => {
            let args = arguments(entry);
            if is_multishot(flags) {
                return incoming::start(cx, opcode, args);
            }
            forward::start(cx, opcode, args)
        }
    }
}

/// The arguments of a forwarded operation.
#[inline(always)]
pub fn arguments(entry: &impl Words) -> [u64; 5] {
    [entry.arg(0), entry.arg(1), entry.arg(2), entry.arg(3), entry.arg(4)]
}

fn start_here(cx: &Cx<'_>, opcode: Opcode, flags: u8, entry: &impl Words) -> OpResult {
    match opcode {
        Opcode::Nop => nop::start(),
        Opcode::Probe => nop::probe(entry),
        Opcode::Close => handle::close(cx, entry),
        Opcode::HandleDup => handle::dup(cx, entry),
        Opcode::HandleFlags => handle::flags(cx, entry),
        Opcode::TableCreate => handle::table(cx, entry),
        Opcode::Seek => super::cursor::seek(cx, entry),
        Opcode::Poll if is_multishot(flags) => poll::start_multishot(cx, entry),
        Opcode::Poll => poll::start(cx, entry),
        Opcode::ObtainFd => pass::obtain(cx, entry),
        Opcode::LinkTimeout => super::limit::start(),
        Opcode::HandleReserve => handle::reserve(cx, entry),
        Opcode::Timeout => timeout::start(cx, entry),
        Opcode::Interval if is_multishot(flags) => interval::start(cx, entry),
        Opcode::Interval => Err(Errno::INVAL),
        Opcode::TimeoutUpdate => timeout::update(cx, entry),
        Opcode::TimeoutRemove => timeout::take_away(cx, entry),
        Opcode::CancelTag => cancel::by_tag(cx, entry),
        Opcode::CancelHandle => cancel::by_handle(cx, entry),
        Opcode::CancelAll => cancel::all(cx, entry),
        Opcode::FutexWait | Opcode::FutexWake | Opcode::FutexSwap => futex::start_with(cx, opcode, entry),
        Opcode::FutexWaitMany => several::wait(cx, entry),
        Opcode::Map => memory::map(cx, entry),
        Opcode::MapFile => mapping::start(cx, entry),
        Opcode::Unmap => memory::unmap(cx, entry),
        Opcode::Protect => memory::protect(cx, entry),
        Opcode::Advise => memory::advise(cx, entry),
        Opcode::SpaceCreate => space::create(cx),
        Opcode::SpaceFork => space::fork(cx),
        Opcode::SpaceWrite => space::write(cx, entry),
        Opcode::ExecCommit => exec::start(cx, entry),
        Opcode::ContextCreate => context::create(cx, entry),
        Opcode::ContextRegs => context::registers(cx, entry),
        Opcode::ContextStart => context::run(cx, entry),
        Opcode::ContextStop => context::stop(cx, entry),
        Opcode::ContextKill => context::kill(cx, entry),
        Opcode::ContextWait => context::wait(cx, entry),
        Opcode::ContextAffinity => affinity::limit(cx, entry),
        Opcode::ContextIdentity => context::identity(cx, entry),
        Opcode::ContextWeight => super::weight::weigh(cx, entry),
        Opcode::Exit => context::exit(cx, entry),
        Opcode::EndWord => context::end_word(cx, entry),
        Opcode::CallHandler => context::call_handler(cx, entry),
        _ => start_for_ring(cx, opcode, entry),
    }
}

/// What a ring is given or gives up, and what goes from ring to ring.
fn start_for_ring(cx: &Cx<'_>, opcode: Opcode, entry: &impl Words) -> OpResult {
    match opcode {
        Opcode::SchemeRegister => register::scheme(cx, entry),
        Opcode::RingCreate => register::ring(cx, entry),
        Opcode::RegisterFiles => registered::files(cx, entry),
        Opcode::RegisterBuffer => registered::buffer(cx, entry),
        Opcode::RegisterGroup => provided::register(cx, entry),
        Opcode::SignalRaise => signal::raise(cx, entry),
        Opcode::RingPoll => super::polled::start(cx, entry),
        Opcode::Restrict => restrict::start(cx, entry),
        Opcode::RingMove => migrate::start(cx, entry),
        Opcode::RingDrop => migrate::drop_ring(cx, entry),
        Opcode::RingHandle => port::handle(cx, entry),
        Opcode::MessageSend => message::send(cx, entry),
        Opcode::MessageHandle => message::pass(cx, entry),
        _ => Err(Errno::NOSYS),
    }
}
