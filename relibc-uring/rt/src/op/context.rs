//! Operations on contexts: the threads that the kernel knows.
#![allow(
    unsafe_code,
    reason = "setting registers is `unsafe fn`: only the caller knows what code runs with them"
)]

use super::file::{Fd, done, handle, number, plain};
use super::shape::sealed::Sealed;
use super::{Op, Operation};
use crate::ring::slots::Answer;
use crate::ring::{IoBuf, IoBufMut};
use core::sync::atomic::AtomicU32;
use ring_abi::context::{End, Registers};
use ring_abi::{Errno, Opcode, Sqe, args};

plain! {
    ContextCreate -> Fd = handle, MAKES_HANDLE;
    ContextStart -> () = done;
    ContextStop -> () = done;
    ContextKill -> () = done;
    ContextAffinity -> () = done;
    ContextWait -> End = ended;
    ContextIdentity -> () = done;
    ContextWeight -> u16 = weighed;
    Exit -> () = done;
    EndWord -> () = done;
}

fn weighed(answer: Answer) -> Result<u16, Errno> {
    u16::try_from(number(answer)?).map_err(|_| Errno::IO)
}

fn ended(answer: Answer) -> Result<End, Errno> {
    End::from_raw(number(answer)?).ok_or(Errno::IO)
}

/// Makes a context; see [`ring_abi::args::ContextCreate`].
///
/// # Safety
///
/// In the own space, the entry must be code that can run on this stack.
pub unsafe fn create(args: args::ContextCreate) -> Op<args::ContextCreate> {
    Op::new(args)
}

/// Lets a stopped context run.
pub fn start(context: Fd) -> Op<args::ContextStart> {
    Op::new(args::ContextStart { context: context.0 })
}

/// Stops a context where it is.
pub fn stop(context: Fd) -> Op<args::ContextStop> {
    Op::new(args::ContextStop { context: context.0 })
}

/// Ends a context.
pub fn kill(context: Fd) -> Op<args::ContextKill> {
    Op::new(args::ContextKill { context: context.0 })
}

/// Limits a context to some processors, as bits.
pub fn limit(context: Fd, cpus: u64) -> Op<args::ContextAffinity> {
    Op::new(args::ContextAffinity { context: context.0, cpus })
}

/// Waits until a context has ended; how.
pub fn wait(context: Fd) -> Op<args::ContextWait> {
    Op::new(args::ContextWait { context: context.0 })
}

/// Who a context is, as daemons see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Process id.
    pub pid: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Sets who a context is. Needs the identity capability.
pub fn identify(context: Fd, who: Identity, capability: Fd) -> Op<args::ContextIdentity> {
    let Identity { pid, uid, gid } = who;
    Op::new(args::ContextIdentity { context: context.0, pid, uid, gid, capability: capability.0 })
}

/// Sets how much of a processor a context gets beside others, up to as much as the caller has; what it had. See
/// [`ring_abi::context::weight`].
pub fn weigh(context: Fd, weight: u16) -> Op<args::ContextWeight> {
    weigh_with(context, weight, Fd::CURRENT)
}

/// The same up to the greatest, with the identity capability.
pub fn weigh_with(context: Fd, weight: u16, capability: Fd) -> Op<args::ContextWeight> {
    let weight = u32::from(weight);
    Op::new(args::ContextWeight { context: context.0, weight, capability: capability.0 })
}

/// Ends this context, or with [`ring_abi::args::exit::SPACE`] the whole program.
pub fn exit(code: u8, flags: u64) -> Op<args::Exit> {
    Op::new(args::Exit { code: u32::from(code), flags })
}

/// Names the word that is zeroed and woken when this context ends.
pub fn end_word(word: &'static AtomicU32) -> Op<args::EndWord> {
    Op::new(args::EndWord { address: core::ptr::from_ref(word).addr() as u64 })
}

/// Reads the registers of a stopped context.
#[derive(Debug)]
pub struct ReadRegisters {
    context: Fd,
    buffer: alloc::boxed::Box<[u8]>,
}

impl Sealed for ReadRegisters {}

impl Operation for ReadRegisters {
    type Output = Result<Registers, Errno>;
    const OPCODE: Opcode = Opcode::ContextRegs;

    fn entry(&mut self) -> Sqe {
        let bytes = self.buffer.bytes_mut();
        let (buffer, length) = (bytes.as_mut_ptr().addr() as u64, bytes.len() as u64);
        args::ContextRegs { context: self.context.0, buffer, length, set: 0 }.encode(0)
    }

    fn finish(self, answer: Answer) -> Self::Output {
        done(answer)?;
        let mut words = [0; Registers::WORDS];
        for (word, bytes) in words.iter_mut().zip(self.buffer.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Ok(Registers::from_words(words))
    }
}

/// Sets the registers of a stopped context.
#[derive(Debug)]
pub struct SetRegisters {
    context: Fd,
    buffer: alloc::boxed::Box<[u8]>,
}

impl Sealed for SetRegisters {}

impl Operation for SetRegisters {
    type Output = Result<(), Errno>;
    const OPCODE: Opcode = Opcode::ContextRegs;

    fn entry(&mut self) -> Sqe {
        let bytes = self.buffer.bytes();
        let (buffer, length) = (bytes.as_ptr().addr() as u64, bytes.len() as u64);
        args::ContextRegs { context: self.context.0, buffer, length, set: 1 }.encode(0)
    }

    fn finish(self, answer: Answer) -> Self::Output {
        done(answer)
    }
}

/// The registers of a stopped context.
pub fn registers(context: Fd) -> Op<ReadRegisters> {
    Op::new(ReadRegisters { context, buffer: alloc::vec![0; size_of::<Registers>()].into() })
}

/// Sets the registers of a stopped context.
///
/// # Safety
///
/// If it runs in the own space, its code must be able to go on with these registers.
pub unsafe fn set_registers(context: Fd, registers: Registers) -> Op<SetRegisters> {
    let buffer = registers.to_words().iter().flat_map(|word| word.to_le_bytes()).collect();
    Op::new(SetRegisters { context, buffer })
}

/// Sets the base of `fs` of the caller itself, whose runtime cannot be found by other means yet.
#[cfg(target_os = "redox")]
pub(crate) fn set_own_base(local: &crate::ring::local::Local, base: u64) {
    let registers = Registers { fs_base: base, ..Registers::default() };
    let bytes = registers.to_words().map(u64::to_le_bytes);
    let mut set = SetOwnBase(bytes.as_flattened());
    // The base is an address in the lower half, so this cannot fail.
    let _ = super::shape::call(local, &mut set);
}

#[cfg(target_os = "redox")]
struct SetOwnBase<'b>(&'b [u8]);

#[cfg(target_os = "redox")]
impl Sealed for SetOwnBase<'_> {}

#[cfg(target_os = "redox")]
impl Operation for SetOwnBase<'_> {
    type Output = Result<(), Errno>;
    const OPCODE: Opcode = Opcode::ContextRegs;

    fn entry(&mut self) -> Sqe {
        let (buffer, length) = (self.0.as_ptr().addr() as u64, self.0.len() as u64);
        args::ContextRegs { context: args::CURRENT, buffer, length, set: 1 }.encode(0)
    }

    fn finish(self, answer: Answer) -> Self::Output {
        done(answer)
    }
}
