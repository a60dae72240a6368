//! What a program can say and learn about contexts: registers, and how one ended.
#![forbid(unsafe_code)]

/// General registers of a context, as [`crate::args::ContextRegs`] moves them.
///
/// A context that waits in `ring_enter` has only those marked *kept*; the others read as zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// Instruction pointer; kept. Must lie below [`crate::boot::USER_END`].
    pub rip: u64,
    /// Stack pointer; kept. Must lie in the lower half.
    pub rsp: u64,
    /// Flags; only the arithmetic flags, direction and trap can be set.
    pub rflags: u64,
    /// Base of the segment `fs`; kept. Must lie in the lower half.
    pub fs_base: u64,
    /// `rax`.
    pub rax: u64,
    /// `rbx`; kept.
    pub rbx: u64,
    /// `rcx`.
    pub rcx: u64,
    /// `rdx`.
    pub rdx: u64,
    /// `rsi`.
    pub rsi: u64,
    /// `rdi`.
    pub rdi: u64,
    /// `rbp`; kept.
    pub rbp: u64,
    /// `r8`.
    pub r8: u64,
    /// `r9`.
    pub r9: u64,
    /// `r10`.
    pub r10: u64,
    /// `r11`.
    pub r11: u64,
    /// `r12`; kept.
    pub r12: u64,
    /// `r13`; kept.
    pub r13: u64,
    /// `r14`; kept.
    pub r14: u64,
    /// `r15`; kept.
    pub r15: u64,
}

impl Registers {
    /// Number of 64-bit words.
    pub const WORDS: usize = 19;

    /// As words, in the order of the fields.
    pub const fn to_words(self) -> [u64; Self::WORDS] {
        [
            self.rip,
            self.rsp,
            self.rflags,
            self.fs_base,
            self.rax,
            self.rbx,
            self.rcx,
            self.rdx,
            self.rsi,
            self.rdi,
            self.rbp,
            self.r8,
            self.r9,
            self.r10,
            self.r11,
            self.r12,
            self.r13,
            self.r14,
            self.r15,
        ]
    }

    /// From words, in the order of the fields.
    pub const fn from_words(words: [u64; Self::WORDS]) -> Registers {
        let [
            rip,
            rsp,
            rflags,
            fs_base,
            rax,
            rbx,
            rcx,
            rdx,
            rsi,
            rdi,
            rbp,
            r8,
            r9,
            r10,
            r11,
            r12,
            r13,
            r14,
            r15,
        ] = words;
        Registers {
            rip,
            rsp,
            rflags,
            fs_base,
            rax,
            rbx,
            rcx,
            rdx,
            rsi,
            rdi,
            rbp,
            r8,
            r9,
            r10,
            r11,
            r12,
            r13,
            r14,
            r15,
        }
    }
}

const _: () = assert!(size_of::<Registers>() == Registers::WORDS * 8);

/// How a context ended.
///
/// On the wire: an exit code is itself (0 to 255); an end by the kernel is `0x100` plus a [`Reason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It exited with this code.
    Exited(u8),
    /// It was ended.
    Ended(Reason),
}

/// Why a context was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// Somebody with a handle to it asked for it.
    Killed = 1,
    /// It touched memory that it may not.
    PageFault = 2,
    /// An instruction that is not one.
    InvalidOpcode = 3,
    /// Any other exception of the processor.
    Exception = 4,
    /// An index in its ring that cannot be.
    CorruptRing = 5,
    /// A system call that is not `ring_enter`, without a handler for it.
    BadCall = 6,
    /// No memory to keep its registers.
    OutOfMemory = 7,
    /// Another context of its address space replaced the program or ended the process.
    Replaced = 8,
    /// It touched a page of a file that is out of reach: behind the file's end, or its daemon is gone.
    BusError = 9,
}

impl Reason {
    /// The reason of this number.
    pub const fn from_raw(raw: u8) -> Option<Reason> {
        Some(match raw {
            1 => Reason::Killed,
            2 => Reason::PageFault,
            3 => Reason::InvalidOpcode,
            4 => Reason::Exception,
            5 => Reason::CorruptRing,
            6 => Reason::BadCall,
            7 => Reason::OutOfMemory,
            8 => Reason::Replaced,
            9 => Reason::BusError,
            _ => return None,
        })
    }
}

impl End {
    /// As a number.
    pub const fn to_raw(self) -> u64 {
        match self {
            End::Exited(code) => code as u64,
            End::Ended(reason) => 0x100 | reason as u64,
        }
    }

    /// From a number.
    pub const fn from_raw(raw: u64) -> Option<End> {
        match raw {
            0..=0xff => Some(End::Exited(raw as u8)),
            0x100..=0x1ff => match Reason::from_raw(raw as u8) {
                Some(reason) => Some(End::Ended(reason)),
                None => None,
            },
            _ => None,
        }
    }
}

/// Weights: how a processor is divided between contexts that want all of it. One of 200 gets twice what one of 100 gets.
pub mod weight {
    /// The least.
    pub const LEAST: u16 = 1;
    /// What the first context has.
    pub const DEFAULT: u16 = 100;
    /// The greatest.
    pub const MOST: u16 = 1000;
}
