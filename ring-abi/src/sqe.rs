//! The submission entry: one request, from a program to the kernel or from the kernel to a daemon.
//!
//! Its layout is that of `redox_syscall::schemev2::Sqe`, checked at compile time.
#![forbid(unsafe_code)]

use bitflags::bitflags;
use core::mem::{offset_of, size_of};
use syscall::schemev2 as v2;

/// A submission entry of 64 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sqe {
    /// Number of the operation, see [`crate::Opcode`].
    pub opcode: u8,
    /// [`SqeFlags`].
    pub flags: u8,
    /// Buffer group where a flag selects buffers. Of an operation that [makes a handle](crate::Opcode::makes_handle): zero
    /// for the lowest free number, or a number that was [reserved](crate::args::HandleReserve), plus one. `EBADF` if it is
    /// not reserved, `EBUSY` if a handle is there. Otherwise zero.
    pub group: u16,
    /// Chosen by the author of the entry; comes back in its completion.
    pub tag: u32,
    /// Arguments, see [`crate::args`].
    pub args: [u64; 6],
    /// In a request to a daemon: the client's process id. From a program: never read.
    pub caller: u64,
}

const _: () = {
    assert!(size_of::<Sqe>() == 64 && size_of::<Sqe>() == size_of::<v2::Sqe>());
    assert!(offset_of!(Sqe, opcode) == offset_of!(v2::Sqe, opcode));
    assert!(offset_of!(Sqe, flags) == offset_of!(v2::Sqe, sqe_flags));
    assert!(offset_of!(Sqe, group) == offset_of!(v2::Sqe, _rsvd));
    assert!(offset_of!(Sqe, tag) == offset_of!(v2::Sqe, tag));
    assert!(offset_of!(Sqe, args) == offset_of!(v2::Sqe, args));
    assert!(offset_of!(Sqe, caller) == offset_of!(v2::Sqe, caller));
    assert!(SqeFlags::ONEWAY.bits() == v2::SqeFlags::ONEWAY.bits());
    assert!(SqeFlags::MULTIPLE_IDS.bits() == v2::SqeFlags::MULTIPLE_IDS.bits());
};

bitflags! {
    /// Flags of a submission entry. Only the first two ever reach a daemon.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct SqeFlags: u8 {
        /// No completion is wanted.
        const ONEWAY = 1;
        /// `args[0]` and `args[1]` are a buffer of file ids.
        const MULTIPLE_IDS = 1 << 1;
        /// The next entry of the batch starts when this one has succeeded: the two are of one chain.
        ///
        /// If it fails, all that are left of the chain complete with `ECANCELED`, in order. A read or write that moves
        /// fewer bytes than it was asked to counts as failed here. A chain ends with the first entry without this flag and
        /// [`HARD_LINK`](Self::HARD_LINK), or with the batch (`to_submit`, or the queue's end). Nothing of it starts
        /// before all of it has places in the completion queue; one that is longer than that queue is refused (`EINVAL`
        /// for the first, `ECANCELED` for the others). Handles and addresses are looked at when an entry starts. A held
        /// entry can be cancelled by its tag and counts as failed then, and what it was linked to by
        /// [`HARD_LINK`](Self::HARD_LINK) takes its turn.
        const LINK = 1 << 2;
        /// The same, but the next entry starts however this one has ended.
        const HARD_LINK = 1 << 3;
        /// This entry starts when all that were submitted to the ring before it have ended, and what is submitted after it
        /// does not start before it has started (or ended without that). In a chain it holds for the chain as a whole, and
        /// what follows waits for all of that. What cancels others
        /// waits for no barrier ([`passes_barriers`](crate::Opcode::passes_barriers)) unless it has one of these flags.
        const DRAIN = 1 << 4;
        /// More than one completion may follow.
        const MULTISHOT = 1 << 5;
        /// The buffer is taken from group `group` when bytes come; see [`crate::args::RegisterGroup`].
        const BUFFER_SELECT = 1 << 6;
        /// Post a completion only on failure; for a read or write also if it moves fewer bytes than it was asked to.
        ///
        /// The completion's place is promised all the same, and given back on success. A wait that this leaves nothing to
        /// wait for ends.
        const SKIP_SUCCESS = 1 << 7;
    }
}

/// Read access to the eight words of an entry, wherever it lies.
///
/// `decode` functions read through this, each word at most once and only the words that they use, so that
/// an entry in shared memory needs no copy.
pub trait Words {
    /// Word `index` (0 to 7); 0 where there is none.
    fn word(&self, index: usize) -> u64;

    /// Argument `index` (0 to 5).
    #[inline(always)]
    fn arg(&self, index: usize) -> u64 {
        self.word(index.wrapping_add(1))
    }
}

/// First word of an entry, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head(pub u64);

impl Head {
    /// Opcode, flags and group in one number, for one compare on the fast path.
    #[inline(always)]
    pub const fn shape(self) -> u32 {
        self.0 as u32
    }

    /// The opcode byte.
    #[inline(always)]
    pub const fn opcode(self) -> u8 {
        self.0 as u8
    }

    /// The flags byte.
    #[inline(always)]
    pub const fn flags(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// The buffer group.
    #[inline(always)]
    pub const fn group(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// The author's tag.
    #[inline(always)]
    pub const fn tag(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl Sqe {
    /// An entry without flags.
    #[inline(always)]
    pub const fn new(opcode: crate::Opcode, tag: u32, args: [u64; 6]) -> Sqe {
        Sqe { opcode: opcode.raw(), flags: 0, group: 0, tag, args, caller: 0 }
    }

    /// The same entry with these flags.
    pub const fn with_flags(mut self, flags: SqeFlags) -> Sqe {
        self.flags = flags.bits();
        self
    }

    /// The entry as eight words, in the order in which they lie in a ring.
    #[inline(always)]
    pub const fn to_words(self) -> [u64; 8] {
        let head = self.opcode as u64
            | (self.flags as u64) << 8
            | (self.group as u64) << 16
            | (self.tag as u64) << 32;
        let [a, b, c, d, e, f] = self.args;
        [head, a, b, c, d, e, f, self.caller]
    }

    /// The entry that these eight words are.
    #[inline(always)]
    pub const fn from_words(words: [u64; 8]) -> Sqe {
        let [head, a, b, c, d, e, f, caller] = words;
        let head = Head(head);
        Sqe {
            opcode: head.opcode(),
            flags: head.flags(),
            group: head.group(),
            tag: head.tag(),
            args: [a, b, c, d, e, f],
            caller,
        }
    }
}

impl SqeFlags {
    /// Flags that say when an entry starts, and whether its success is told.
    pub const ORDER: SqeFlags =
        SqeFlags::LINK.union(SqeFlags::HARD_LINK).union(SqeFlags::DRAIN).union(SqeFlags::SKIP_SUCCESS);
}

impl Words for Sqe {
    #[inline(always)]
    fn word(&self, index: usize) -> u64 {
        self.to_words().get(index).copied().unwrap_or(0)
    }
}
