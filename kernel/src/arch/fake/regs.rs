//! Registers of a stopped program, as plain values.
//!
//! The rules are those of the real machine: a context that waits in `ring_enter` keeps what survives a
//! function call, everything else needs a [`StateBlock`], and a value that could fault on the way out of the
//! kernel is refused when it is set.

use ring_abi::Errno;
use ring_abi::boot::USER_END;
use ring_abi::context::Registers;
use ring_abi::enter::RINGS;
use rmm::Frame;
use std::cell::Cell;

/// First address above the lower half.
const LOWER_HALF_END: u64 = 1 << 47;
/// Flags that a program may choose: CF PF AF ZF SF TF DF OF AC ID.
const FLAGS_FREE: u64 = 0x24_0dd5;
/// Bit 1 is always set, and interrupts are on.
const FLAGS_FIXED: u64 = 0x202;

/// How a fresh context starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// First instruction.
    pub rip: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// First argument: the address of its ring.
    pub rdi: u64,
    /// Second argument.
    pub rsi: u64,
    /// Third argument.
    pub rdx: u64,
}

/// What is kept of a stopped program for good.
#[derive(Debug, Default)]
pub struct Regs {
    kept: Cell<Kept>,
    fs_base: Cell<u64>,
    block: Cell<Option<u32>>,
    root: Cell<Option<Frame>>,
    /// The names of its rings; zero is that of a ring that nobody has.
    pub rings: [Cell<u32>; RINGS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    rip: u64,
    rsp: u64,
    rax: u64,
    rbx: u64,
    rbp: u64,
    r12: u64,
    r13: u64,
    r14: u64,
    r15: u64,
    /// The context has not run yet: `rbx`, `rbp` and `r12` hold its three arguments.
    fresh: bool,
}

const _: () = assert!(size_of::<Regs>() <= 120, "as on the real machine");

impl Regs {
    /// Makes this the registers of a context that has not run yet. The caller has validated them.
    pub fn start(&self, start: &Start) {
        let Start { rip, rsp, rdi, rsi, rdx } = *start;
        self.kept.set(Kept { rip, rsp, rbx: rdi, rbp: rsi, r12: rdx, fresh: true, ..Kept::default() });
        self.fs_base.set(0);
    }

    /// Whether a program can run at this address.
    pub fn valid_rip(address: u64) -> bool {
        address < USER_END
    }

    /// Whether a program can have this stack pointer.
    pub fn valid_rsp(address: u64) -> bool {
        address < LOWER_HALF_END
    }

    /// Whether a program can have this segment base.
    pub fn valid_base(address: u64) -> bool {
        address < LOWER_HALF_END
    }

    /// Sets what `ring_enter` returns to a context that waits there, instead of zero.
    pub fn set_result(&self, result: i32) {
        let kept = self.kept.get();
        self.kept.set(Kept { rax: i64::from(result) as u64, ..kept });
    }

    /// Sets the base of segment `fs`, which the caller has validated.
    pub fn set_fs_base(&self, base: u64) {
        self.fs_base.set(base);
    }

    /// The base of segment `fs`.
    pub fn fs_base(&self) -> u64 {
        self.fs_base.get()
    }

    /// The root of the address space that the context is in.
    pub fn set_root(&self, root: Frame) {
        self.root.set(Some(root));
    }

    /// The same, once it is set.
    pub fn root(&self) -> Option<Frame> {
        self.root.get()
    }

    /// The full state lies in the block of this index from now on.
    pub fn attach(&self, block: u32) {
        self.block.set(Some(block));
    }

    /// Index of the block that holds the full state, if one does.
    pub fn block(&self) -> Option<u32> {
        self.block.get()
    }

    /// Takes the block away and says which it was.
    pub fn detach(&self) -> Option<u32> {
        self.block.take()
    }

    /// The registers as a debugger sees them; those that are not kept read as zero without a block.
    pub fn read(&self, block: Option<&StateBlock>) -> Registers {
        let fs_base = self.fs_base.get();
        match block {
            Some(block) => Registers { fs_base, ..block.registers.get() },
            None => {
                let resumed = self.resumed(None);
                Registers { rax: 0, rdi: 0, rsi: 0, rdx: 0, rflags: 0, ..resumed }
            }
        }
    }

    /// Sets registers: all of them with a block, only those that are kept without one.
    pub fn write(&self, block: Option<&StateBlock>, registers: &Registers) -> Result<(), Errno> {
        let r = *registers;
        if !Self::valid_rip(r.rip) || !Self::valid_rsp(r.rsp) || !Self::valid_base(r.fs_base) {
            return Err(Errno::INVAL);
        }
        self.fs_base.set(r.fs_base);
        match block {
            Some(block) => {
                let rflags = r.rflags & FLAGS_FREE | FLAGS_FIXED;
                block.registers.set(Registers { rflags, ..r });
            }
            None => {
                let Registers { rip, rsp, rbx, rbp, r12, r13, r14, r15, .. } = r;
                let rax = self.kept.get().rax;
                self.kept.set(Kept { rip, rsp, rax, rbx, rbp, r12, r13, r14, r15, fresh: false });
            }
        }
        Ok(())
    }

    /// Sends a stopped `syscall` to the program's own handler.
    pub fn divert(&self, block: &StateBlock, handler: u64) {
        let r = block.registers.get();
        block.registers.set(Registers { rip: handler, rcx: r.rip, r11: r.rflags, ..r });
    }

    /// What the registers hold when the program goes on. Tests play the program from here.
    pub fn resumed(&self, block: Option<&StateBlock>) -> Registers {
        let fs_base = self.fs_base.get();
        if let Some(block) = block {
            return Registers { fs_base, ..block.registers.get() };
        }
        let Kept { rip, rsp, rax, rbx, rbp, r12, r13, r14, r15, fresh } = self.kept.get();
        let common = Registers { rip, rsp, rflags: FLAGS_FIXED, fs_base, ..Registers::default() };
        if fresh {
            return Registers { rdi: rbx, rsi: rbp, rdx: r12, ..common };
        }
        Registers { rax, rbx, rbp, r12, r13, r14, r15, ..common }
    }

    /// Whether the context waits in `ring_enter`, which returns zero.
    pub fn returns_zero(&self) -> bool {
        let kept = self.kept.get();
        self.block.get().is_none() && kept.rax == 0 && !kept.fresh
    }

    /// What the entry stub does for `ring_enter`: keeps the registers that survive a function call.
    pub fn enter(&self, registers: &Registers) {
        let Registers { rip, rsp, rbx, rbp, r12, r13, r14, r15, .. } = *registers;
        self.kept.set(Kept { rip, rsp, rax: 0, rbx, rbp, r12, r13, r14, r15, fresh: false });
    }
}

/// The complete state of a context that was stopped at an arbitrary instruction.
#[derive(Debug, Default)]
pub struct StateBlock {
    registers: Cell<Registers>,
}

impl StateBlock {
    /// What the stubs do at an interrupt or a fault: saves everything.
    pub fn save(&self, registers: &Registers) {
        self.registers.set(*registers);
    }

    /// Forgets everything: for a block that changes its owner without having been filled.
    pub fn reset(&self) {
        self.registers.set(Registers { rflags: FLAGS_FIXED, ..Registers::default() });
    }

    pub(super) fn copy_from(&self, other: &StateBlock) {
        self.registers.set(other.registers.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_context_gets_its_arguments() {
        let regs = Regs::default();
        regs.start(&Start { rip: 0x1000, rsp: 0x8000, rdi: 1, rsi: 2, rdx: 3 });
        let r = regs.resumed(None);
        assert_eq!((r.rip, r.rsp, r.rdi, r.rsi, r.rdx, r.rbx), (0x1000, 0x8000, 1, 2, 3, 0));
        assert_eq!(r.rflags, FLAGS_FIXED);
    }

    #[test]
    fn a_waiting_context_keeps_what_survives_a_call() {
        let regs = Regs::default();
        let before = Registers { rip: 5, rsp: 6, rbx: 7, r15: 8, rdi: 9, ..Registers::default() };
        regs.enter(&before);
        regs.set_result(77);
        let r = regs.resumed(None);
        assert_eq!((r.rip, r.rsp, r.rbx, r.r15, r.rdi, r.rax), (5, 6, 7, 8, 0, 77));
        assert_eq!(regs.read(None).rax, 0);
        regs.enter(&before);
        assert_eq!(regs.resumed(None).rax, 0, "a result is returned once");
    }

    #[test]
    fn values_that_could_fault_are_refused() {
        let regs = Regs::default();
        let bad = [
            Registers { rip: USER_END, ..Registers::default() },
            Registers { rsp: LOWER_HALF_END, ..Registers::default() },
            Registers { fs_base: u64::MAX, ..Registers::default() },
        ];
        for registers in bad {
            assert_eq!(regs.write(None, &registers), Err(Errno::INVAL));
        }
        let block = StateBlock::default();
        let flags = Registers { rflags: u64::MAX, ..Registers::default() };
        regs.write(Some(&block), &flags).unwrap();
        assert_eq!(regs.resumed(Some(&block)).rflags, FLAGS_FREE | FLAGS_FIXED);
    }
}
