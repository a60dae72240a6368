//! The complete state of a context that was stopped at an arbitrary instruction.

use core::cell::Cell;

use ring_abi::context::Registers;

use super::cpu::VECTOR_BYTES;
use super::regs::{FCW_START, MXCSR_START};
use super::tables::{USER_CODE, USER_DATA};

/// The flags that a program may choose: arithmetic, direction, trap, alignment check and identification.
const FLAGS_FREE: u64 = 0x24_0dd5;
/// Bit 1 is always set, and interrupts are always on in a program.
const FLAGS_FIXED: u64 = 0x202;

/// The general registers in the order in which the stubs push them, below what the CPU pushes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) r15: u64,
    pub(super) r14: u64,
    pub(super) r13: u64,
    pub(super) r12: u64,
    pub(super) r11: u64,
    pub(super) r10: u64,
    pub(super) r9: u64,
    pub(super) r8: u64,
    pub(super) rbp: u64,
    pub(super) rdi: u64,
    pub(super) rsi: u64,
    pub(super) rdx: u64,
    pub(super) rcx: u64,
    pub(super) rbx: u64,
    pub(super) rax: u64,
    pub(super) vector: u64,
    pub(super) error: u64,
    pub(super) rip: u64,
    pub(super) cs: u64,
    pub(super) rflags: u64,
    pub(super) rsp: u64,
    pub(super) ss: u64,
}

impl Frame {
    /// A program with all registers zero.
    const EMPTY: Self = Self {
        r15: 0,
        r14: 0,
        r13: 0,
        r12: 0,
        r11: 0,
        r10: 0,
        r9: 0,
        r8: 0,
        rbp: 0,
        rdi: 0,
        rsi: 0,
        rdx: 0,
        rcx: 0,
        rbx: 0,
        rax: 0,
        vector: 0,
        error: 0,
        rip: 0,
        cs: USER_CODE as u64,
        rflags: FLAGS_FIXED,
        rsp: 0,
        ss: USER_DATA as u64,
    };
}

/// The vector state, in the standard format of `xsave`.
type Vectors = [u64; VECTOR_BYTES / 8];

/// General registers and vector state of one stopped context.
///
/// The CPU pushes its frame at the end of `frame`, because the task state segment points there: nothing is copied.
#[repr(C, align(64))]
pub struct StateBlock {
    reserved: [u64; 2],
    frame: Cell<Frame>,
    vectors: Cell<Vectors>,
}

/// Where the general registers start in a block.
pub(super) const FRAME: usize = core::mem::offset_of!(StateBlock, frame);
/// Where the vector state starts in a block, and below which the CPU pushes.
pub(super) const VECTORS: usize = core::mem::offset_of!(StateBlock, vectors);

const _: () = assert!(VECTORS.is_multiple_of(64), "xsave wants 64 bytes of alignment");
const _: () = assert!(FRAME + size_of::<Frame>() == VECTORS, "the frame ends where the CPU starts to push");
const _: () = assert!(size_of::<StateBlock>() == 1024);

/// The vector state of a program that has used none, aligned for `xrstor`.
#[repr(C, align(64))]
pub(super) struct InitialVectors(Vectors);

/// Every component in its initial state.
pub(super) static INITIAL_VECTORS: InitialVectors = InitialVectors(initial_vectors());

const fn initial_vectors() -> Vectors {
    // The legacy area starts with the x87 control word; MXCSR is the low half of its fourth word.
    let mut words = [0; VECTOR_BYTES / 8];
    words[0] = FCW_START as u64;
    words[3] = MXCSR_START as u64;
    words
}

impl Default for StateBlock {
    fn default() -> Self {
        Self::new()
    }
}

impl StateBlock {
    /// A block that holds a program with all registers zero.
    pub(super) const fn new() -> Self {
        Self { reserved: [0; 2], frame: Cell::new(Frame::EMPTY), vectors: Cell::new(initial_vectors()) }
    }

    /// The address that the CPU pushes below.
    pub(super) fn push_address(&self) -> u64 {
        self.vectors.as_ptr() as u64
    }

    /// The general registers; the base of `fs` is kept elsewhere.
    pub(super) fn registers(&self) -> Registers {
        let f = self.frame.get();
        Registers {
            rip: f.rip,
            rsp: f.rsp,
            rflags: f.rflags,
            fs_base: 0,
            rax: f.rax,
            rbx: f.rbx,
            rcx: f.rcx,
            rdx: f.rdx,
            rsi: f.rsi,
            rdi: f.rdi,
            rbp: f.rbp,
            r8: f.r8,
            r9: f.r9,
            r10: f.r10,
            r11: f.r11,
            r12: f.r12,
            r13: f.r13,
            r14: f.r14,
            r15: f.r15,
        }
    }

    /// Sets the general registers, which [`Regs::write`](super::Regs::write) has checked; segments and the flags that
    /// a program may not choose keep their fixed values.
    pub(super) fn set_registers(&self, r: &Registers) {
        self.frame.set(Frame {
            r15: r.r15,
            r14: r.r14,
            r13: r.r13,
            r12: r.r12,
            r11: r.r11,
            r10: r.r10,
            r9: r.r9,
            r8: r.r8,
            rbp: r.rbp,
            rdi: r.rdi,
            rsi: r.rsi,
            rdx: r.rdx,
            rcx: r.rcx,
            rbx: r.rbx,
            rax: r.rax,
            rip: r.rip,
            rflags: r.rflags & FLAGS_FREE | FLAGS_FIXED,
            rsp: r.rsp,
            ..Frame::EMPTY
        });
    }

    /// As a `syscall` that leads to `handler` instead of the kernel.
    pub(super) fn divert(&self, handler: u64) {
        let frame = self.frame.get();
        self.frame.set(Frame { rip: handler, rcx: frame.rip, r11: frame.rflags, ..frame });
    }

    /// Forgets everything: for a block that changes its owner without having been filled by a stub.
    pub fn reset(&self) {
        self.frame.set(Frame::EMPTY);
        self.vectors.set(initial_vectors());
    }

    /// Copies another context's state; validity is copied with it.
    pub(super) fn copy_from(&self, other: &StateBlock) {
        self.frame.set(other.frame.get());
        self.vectors.set(other.vectors.get());
    }
}
