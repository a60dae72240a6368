//! A program's mistake, or an old system call: the context ends, or its handler is called.
#![forbid(unsafe_code)]

use super::event::Fault;
use crate::base::NONE;
use crate::base::name::number_of;
use crate::base::trace::What;
use crate::context::context::Context;
use crate::context::cpu::Cpu;
use crate::mem::object::ASK;
use crate::mem::user::Access;
use crate::op::state::State;
use crate::op::stats::count;
use ring_abi::Errno;
use ring_abi::context::{End, Reason};
use rmm::Page;

const INVALID_OPCODE: u8 = 6;
const PAGE_FAULT: u8 = 14;

/// Bits of a page fault's code (Intel SDM volume 3, 4.7): it was a write; a bit of an entry was set that must not be; it was
/// an instruction.
const WRITE: u64 = 1 << 1;
const RESERVED: u64 = 1 << 3;
const INSTRUCTION: u64 = 1 << 4;

/// If a page was touched, gets it what that needs. `EFAULT`: the program may not, or did something else.
#[inline(always)]
pub fn touch(s: &State, context: &Context, fault: Fault) -> Result<(), Errno> {
    if fault.vector != PAGE_FAULT {
        return Err(Errno::FAULT);
    }
    let access = match fault.code & (WRITE | RESERVED | INSTRUCTION) {
        0 => Access::Read,
        WRITE => Access::Write,
        INSTRUCTION => Access::Execute,
        _ => return Err(Errno::FAULT),
    };
    let page = Page::containing(fault.address).ok_or(Errno::FAULT)?;
    s.memory.space(context.space.get()).touch(&s.memory, page, access, false)?;
    Ok(())
}

/// An exception in user mode that was no [touch](touch) of a page, and why: the context dies alone, with a line on the console.
/// `EAGAIN`: it goes on, and does it again.
pub fn fault(s: &State, cpu: &Cpu, fault: Fault, error: Errno) {
    let id = cpu.held.get();
    if id == NONE {
        crate::bug!("fault {fault:?} while nobody ran");
    }
    let reason = match (fault.vector, error) {
        (_, Errno::AGAIN) => return,
        (_, ASK) => match wait_for_page(s, id, fault) {
            Ok(()) => return,
            Err(Errno::NOMEM) => Reason::OutOfMemory,
            Err(_) => Reason::BusError,
        },
        (_, Errno::NOMEM) => Reason::OutOfMemory,
        (_, Errno::IO) => Reason::BusError,
        (PAGE_FAULT, _) => Reason::PageFault,
        (INVALID_OPCODE, _) => Reason::InvalidOpcode,
        _ => Reason::Exception,
    };
    s.note(What::Fault, [u64::from(id), u64::from(fault.vector)]);
    let context = s.contexts.at(id);
    let block = context.regs.block().map(|block| &s.blocks.at(block).state);
    let registers = context.regs.read(block);
    s.say(format_args!(
        "context {} (pid {}) ended: {reason:?}, vector {} code {:#x} address {:#x} rip {:#x} rsp {:#x}",
        number_of::<Context>(id),
        context.pid.get(),
        fault.vector,
        fault.code,
        fault.address,
        registers.rip,
        registers.rsp,
    ));
    count(&s.stats.killed);
    s.end_context(id, End::Ended(reason));
}

/// A context waits for the page that it touched, unless that has come meanwhile.
fn wait_for_page(s: &State, id: u32, fault: Fault) -> Result<(), Errno> {
    match touch(s, s.contexts.at(id), fault) {
        Err(ASK) => s.park_context(id),
        touched => touched,
    }
}

/// A system call that is not `ring_enter`: goes to the handler that the address space named.
pub fn call(s: &State, cpu: &Cpu) {
    let id = cpu.held.get();
    if id == NONE {
        crate::bug!("a system call while nobody ran");
    }
    let context = s.contexts.at(id);
    let space = s.memory.space(context.space.get());
    let (handler, length) = space.call_handler();
    let block = context.regs.block().map(|block| &s.blocks.at(block).state);
    let from = context.regs.read(block).rip;
    let inside = from.wrapping_sub(handler) < length;
    match block {
        Some(block) if handler != 0 && !inside => context.regs.divert(block, handler),
        _ => {
            s.say(format_args!(
                "context {} (pid {}) ended: system call at {from:#x} without a handler",
                number_of::<Context>(id),
                context.pid.get()
            ));
            count(&s.stats.killed);
            s.end_context(id, End::Ended(Reason::BadCall));
        }
    }
}
