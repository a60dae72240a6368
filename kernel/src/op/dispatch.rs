//! The list of everything that a program can ask of the kernel.
//!
//! An operation has at most three verbs. *Start* is the match below. *Finish* is called by what it waited
//! for: [`super::reply::take`] for what a daemon answers, `timeout::expired`, `futex` wakes, `irq::raised`,
//! `poll::on_event`, a context's end, or its last slice of work. *Cancel* is [`super::cancel`], which knows
//! where each kind of wait is filed.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::{
    OpResult, cancel, context, exec, forward, futex, handle, memory, nop, open, pass, poll, register, space,
    timeout,
};
use ring_abi::opcode::Origin;
use ring_abi::sqe::Head;
use ring_abi::{Errno, Opcode, Words};

/// Shape of a nop without flags.
pub const NOP: u32 = Opcode::Nop as u32;
const READ: u32 = Opcode::Read as u32;

/// Starts an operation. Those that are asked for without flags most often come first; they take the same
/// road as all others.
#[inline(always)]
pub fn start(cx: Cx<'_>, head: Head, entry: impl Words + Copy) -> OpResult {
    match head.shape() {
        NOP => nop::start(),
        READ => read(&cx, entry),
        _ => start_other(cx, head, entry),
    }
}

#[inline(always)]
fn read(cx: &Cx<'_>, entry: impl Words) -> OpResult {
    let args = [entry.arg(0), entry.arg(1), entry.arg(2), entry.arg(3), 0];
    forward::start(cx, Opcode::Read, args)
}

#[inline(never)]
fn start_other(cx: Cx<'_>, head: Head, entry: impl Words + Copy) -> OpResult {
    let (cx, entry) = (&cx, &entry);
    cx.s.step.measure(&cx.s.memory.machine);
    let opcode = Opcode::from_raw(head.opcode()).ok_or(Errno::INVAL)?;
    // No flag has a meaning yet, and a group only has one with a flag.
    if head.flags() != 0 || head.group() != 0 {
        return Err(Errno::INVAL);
    }
    match opcode.origin() {
        Origin::Forwarded => start_forwarded(cx, opcode, entry),
        Origin::Kernel => start_here(cx, opcode, entry),
        Origin::KernelOnly => Err(Errno::INVAL),
        Origin::Reserved => Err(Errno::NOSYS),
    }
}

fn start_forwarded(cx: &Cx<'_>, opcode: Opcode, entry: &impl Words) -> OpResult {
    match opcode {
        Opcode::OpenAt | Opcode::UnlinkAt => open::start(cx, opcode, entry),
        Opcode::Sendfd => pass::start_send(cx, entry),
        _ => {
            let args = [entry.arg(0), entry.arg(1), entry.arg(2), entry.arg(3), entry.arg(4)];
            forward::start(cx, opcode, args)
        }
    }
}

fn start_here(cx: &Cx<'_>, opcode: Opcode, entry: &impl Words) -> OpResult {
    match opcode {
        Opcode::Nop => nop::start(),
        Opcode::Probe => nop::probe(entry),
        Opcode::Close => handle::close(cx, entry),
        Opcode::HandleDup => handle::dup(cx, entry),
        Opcode::HandleFlags => handle::flags(cx, entry),
        Opcode::TableCreate => handle::table(cx, entry),
        Opcode::Seek => super::cursor::seek(cx, entry),
        Opcode::Poll => poll::start(cx, entry),
        Opcode::ObtainFd => pass::obtain(cx, entry),
        Opcode::Timeout => timeout::start(cx, entry),
        Opcode::CancelTag => cancel::start(cx, entry),
        Opcode::FutexWait => futex::wait(cx, entry),
        Opcode::FutexWake => futex::wake(cx, entry),
        Opcode::Map => memory::map(cx, entry),
        Opcode::Unmap => memory::unmap(cx, entry),
        Opcode::Protect => memory::protect(cx, entry),
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
        Opcode::ContextIdentity => context::identity(cx, entry),
        Opcode::Exit => context::exit(cx, entry),
        Opcode::EndWord => context::end_word(cx, entry),
        Opcode::CallHandler => context::call_handler(cx, entry),
        Opcode::SchemeRegister => register::scheme(cx, entry),
        Opcode::RingCreate => register::ring(cx, entry),
        _ => Err(Errno::NOSYS),
    }
}
