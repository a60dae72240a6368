//! All that remains of a stopped program.
//!
//! Entering the kernel through `ring_enter` is a function call for the compiler, so a context that waits there keeps
//! only [`Regs`]. The rest lives in a [`StateBlock`](super::StateBlock), which exists only while a context is stopped
//! elsewhere: by an interrupt, by a fault, or by a foreign `syscall` number.
//!
//! Every value is checked when it is set, so no instruction that returns to a program can fault.

use core::cell::Cell;

use ring_abi::boot::USER_END;
use ring_abi::context::Registers;
use ring_abi::enter::RINGS;
use ring_abi::errno::Errno;
use rmm::Frame;

use super::state::StateBlock;

/// MXCSR and the x87 control word of a new program.
pub(super) const MXCSR_START: u32 = 0x1f80;
pub(super) const FCW_START: u16 = 0x37f;

/// Instead of a block's number: the context waits in `ring_enter`.
const QUICK: u32 = u32::MAX;
/// Instead of a block's number: the context waits in `ring_enter`, and that does not return zero.
const RESULT: u32 = u32::MAX - 2;
/// Instead of a block's number: the context never ran, and `r12` to `r14` hold its three arguments.
const FRESH: u32 = u32::MAX - 1;

/// Where and how a context starts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start {
    /// First instruction.
    pub rip: u64,
    /// Stack pointer, as it is to be.
    pub rsp: u64,
    /// First argument.
    pub rdi: u64,
    /// Second argument.
    pub rsi: u64,
    /// Third argument.
    pub rdx: u64,
}

/// What is kept of a stopped program: one cache line of registers that survive a function call, and what else belongs
/// to a context for good and an entry or exit needs. The stubs know the offsets of the fields.
#[repr(C)]
#[derive(Debug)]
pub struct Regs {
    pub(super) rsp: Cell<u64>,
    pub(super) rip: Cell<u64>,
    pub(super) rbx: Cell<u64>,
    pub(super) rbp: Cell<u64>,
    pub(super) r12: Cell<u64>,
    pub(super) r13: Cell<u64>,
    pub(super) r14: Cell<u64>,
    pub(super) r15: Cell<u64>,
    pub(super) fs_base: Cell<u64>,
    pub(super) mxcsr: Cell<u32>,
    pub(super) fcw: Cell<u16>,
    /// What `ring_enter` returns, if that is not zero.
    pub(super) result: Cell<i32>,
    /// The number of the block with the rest of the state, or what there is instead.
    block: Cell<u32>,
    /// The address of its space's root.
    root: Cell<u64>,
    /// The names of its rings; zero is that of a ring that nobody has.
    pub rings: [Cell<u32>; RINGS],
}

const _: () = assert!(size_of::<Regs>() <= 112);

impl Default for Regs {
    fn default() -> Self {
        Self::new()
    }
}

impl Regs {
    /// Registers of a context that cannot run yet.
    pub(super) const fn new() -> Self {
        Self {
            rsp: Cell::new(0),
            rip: Cell::new(0),
            rbx: Cell::new(0),
            rbp: Cell::new(0),
            r12: Cell::new(0),
            r13: Cell::new(0),
            r14: Cell::new(0),
            r15: Cell::new(0),
            fs_base: Cell::new(0),
            result: Cell::new(0),
            mxcsr: Cell::new(MXCSR_START),
            fcw: Cell::new(FCW_START),
            block: Cell::new(QUICK),
            root: Cell::new(0),
            rings: [const { Cell::new(0) }; RINGS],
        }
    }

    /// Makes this a context that has not run yet. The caller has checked `rip` and `rsp`; what could fault on the way
    /// out is replaced by zero, which faults in the program.
    pub fn start(&self, start: &Start) {
        let kept = |value: u64, valid: fn(u64) -> bool| if valid(value) { value } else { 0 };
        self.rip.set(kept(start.rip, Self::valid_rip));
        self.rsp.set(kept(start.rsp, Self::valid_rsp));
        self.r12.set(start.rdi);
        self.r13.set(start.rsi);
        self.r14.set(start.rdx);
        for register in [&self.rbx, &self.rbp, &self.r15, &self.fs_base] {
            register.set(0);
        }
        self.mxcsr.set(MXCSR_START);
        self.fcw.set(FCW_START);
        self.block.set(FRESH);
    }

    /// Whether a program can execute there: the last page of the lower half is never mapped.
    pub fn valid_rip(address: u64) -> bool {
        address < USER_END
    }

    /// Whether a stack pointer lies in the lower half.
    pub fn valid_rsp(address: u64) -> bool {
        address >> 47 == 0
    }

    /// Whether a segment base lies in the lower half.
    pub fn valid_base(address: u64) -> bool {
        address >> 47 == 0
    }

    /// What `ring_enter` returns to the context that waits there, instead of zero.
    pub fn set_result(&self, result: i32) {
        self.result.set(result);
        self.block.set(RESULT);
    }

    /// Sets the base of `fs`; the caller has checked it with [`valid_base`](Self::valid_base).
    pub fn set_fs_base(&self, base: u64) {
        if Self::valid_base(base) {
            self.fs_base.set(base);
        }
    }

    /// The base of `fs`.
    pub fn fs_base(&self) -> u64 {
        self.fs_base.get()
    }

    /// Notes the index of the block that holds the rest of the state.
    #[inline(always)]
    pub fn attach(&self, block: u32) {
        self.block.set(block);
    }

    /// The index of the block that holds the rest of the state, if there is one.
    #[inline(always)]
    pub fn block(&self) -> Option<u32> {
        let block = self.block.get();
        if block < RESULT { Some(block) } else { None }
    }

    /// Forgets the block: the context is about to run, or to end.
    pub fn detach(&self) -> Option<u32> {
        let block = self.block();
        self.block.set(QUICK);
        block
    }

    /// Whether the context waits in `ring_enter`, which returns something else than zero; no more than once.
    pub(super) fn take_result(&self) -> bool {
        let has_result = self.block.get() == RESULT;
        if has_result {
            self.block.set(QUICK);
        }
        has_result
    }

    /// Whether the context waits in `ring_enter`, which returns zero.
    #[inline(always)]
    pub(super) fn is_quick(&self) -> bool {
        self.block.get() == QUICK
    }

    /// Whether the context has never run.
    fn is_fresh(&self) -> bool {
        self.block.get() == FRESH
    }

    /// Puts the context into the address space with this root.
    pub fn set_root(&self, root: Frame) {
        self.root.set(root.start().raw());
    }

    /// The address of its space's root.
    #[inline(always)]
    pub(super) fn root(&self) -> u64 {
        self.root.get()
    }

    /// What there is of the registers: all with the block, otherwise those that `ring_enter` keeps.
    pub fn read(&self, block: Option<&StateBlock>) -> Registers {
        let fs_base = self.fs_base.get();
        match block {
            Some(block) => Registers { fs_base, ..block.registers() },
            None if self.is_fresh() => {
                Registers { rip: self.rip.get(), rsp: self.rsp.get(), fs_base, ..Registers::default() }
            }
            None => Registers {
                rip: self.rip.get(),
                rsp: self.rsp.get(),
                fs_base,
                rbx: self.rbx.get(),
                rbp: self.rbp.get(),
                r12: self.r12.get(),
                r13: self.r13.get(),
                r14: self.r14.get(),
                r15: self.r15.get(),
                ..Registers::default()
            },
        }
    }

    /// Sets the registers: all with the block, otherwise those that `ring_enter` keeps. Nothing changes on an error.
    pub fn write(&self, block: Option<&StateBlock>, registers: &Registers) -> Result<(), Errno> {
        let valid = Self::valid_rip(registers.rip)
            && Self::valid_rsp(registers.rsp)
            && Self::valid_base(registers.fs_base);
        if !valid {
            return Err(Errno::INVAL);
        }
        self.fs_base.set(registers.fs_base);
        match block {
            Some(block) => block.set_registers(registers),
            None => self.write_kept(registers),
        }
        Ok(())
    }

    /// Sets what a context without a state block has.
    fn write_kept(&self, registers: &Registers) {
        self.rip.set(registers.rip);
        self.rsp.set(registers.rsp);
        if self.is_fresh() {
            self.block.set(QUICK);
        }
        self.rbx.set(registers.rbx);
        self.rbp.set(registers.rbp);
        self.r12.set(registers.r12);
        self.r13.set(registers.r13);
        self.r14.set(registers.r14);
        self.r15.set(registers.r15);
    }

    /// Sends a foreign `syscall` to the program's handler: `rcx` is the return address, `r11` the flags, all else
    /// is untouched.
    pub fn divert(&self, block: &StateBlock, handler: u64) {
        if Self::valid_rip(handler) {
            block.divert(handler);
        }
    }
}
