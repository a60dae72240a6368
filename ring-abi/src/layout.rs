//! Where things lie in a ring's memory.
//!
//! ```text
//!   0  submission line: indices of SQ and CQ, flags, version, sizes        64 bytes
//!  64  service line:    indices of requests and replies, arena             64 bytes
//! 128  SQ entries, 64 bytes each
//!      CQ entries, 16 bytes each
//!      request entries, 64 bytes each   (a daemon's ring only)
//!      reply entries,   16 bytes each   (a daemon's ring only)
//! ```
//!
//! Each queue's size is a power of two, or zero for both queues of the service pair. The smallest ring
//! (8 SQEs and 8 CQEs) takes 768 bytes.
#![forbid(unsafe_code)]

/// Bytes before the first entry.
pub const HEADER_BYTES: usize = 128;
/// Bytes of a submission entry.
pub const SQE_BYTES: usize = 64;
/// Bytes of a completion entry.
pub const CQE_BYTES: usize = 16;

/// Greatest log2 of the number of entries in one queue.
pub const MAX_LOG2: u8 = 12;

/// Indices of the 32-bit words of the header.
pub mod word {
    /// Next submission that the kernel takes. Written by the kernel.
    pub const SQ_HEAD: usize = 0;
    /// Next submission that the program writes. Written by the program.
    pub const SQ_TAIL: usize = 1;
    /// Next completion that the program takes. Written by the program.
    pub const CQ_HEAD: usize = 2;
    /// Next completion that the kernel writes. Written by the kernel.
    pub const CQ_TAIL: usize = 3;
    /// Flags, see [`super::flags`]. Written by the kernel.
    pub const FLAGS: usize = 4;
    /// ABI version. Written once by the kernel.
    pub const VERSION: usize = 5;
    /// Sizes as in [`super::Sizes::packed`]. Written once by the kernel.
    pub const SIZES: usize = 6;
    /// Zero while the kernel looks at the SQ by itself, one while it must be entered. Written by the kernel; see
    /// [`crate::args::RingPoll`].
    pub const SQ_SLEEPS: usize = 7;
    /// One while the program wants to be told of completions by the kernel. Written by the program.
    pub const CQ_SLEEPS: usize = 8;
    /// Next request that the daemon takes. Written by the daemon.
    pub const RQ_HEAD: usize = 16;
    /// Next request that the kernel writes. Written by the kernel.
    pub const RQ_TAIL: usize = 17;
    /// Next reply that the kernel takes. Written by the kernel.
    pub const RP_HEAD: usize = 18;
    /// Next reply that the daemon writes. Written by the daemon.
    pub const RP_TAIL: usize = 19;
    /// One while the daemon must be told of requests. Written by the daemon.
    pub const RQ_SLEEPS: usize = 20;
    /// Zero while the kernel looks for replies by itself. Written by the kernel.
    pub const RP_SLEEPS: usize = 21;
    /// Signals that are pending for the owner, two words, in its first ring alone. The kernel sets bits, the program clears
    /// them.
    pub const SIGNALS: usize = 22;
    /// Signals that the owner does not want now, two words, in its first ring alone. Written by the program.
    pub const MASK: usize = 24;
    /// The same for one wait, see [`crate::enter::MASK`]. Written by the program.
    pub const WAIT_MASK: usize = 26;
    /// When a wait relents, two words, see [`crate::enter::RELENT`]. Written by the program.
    pub const RELENT_AT: usize = 28;
    /// Number of 32-bit words of the header.
    pub const COUNT: usize = super::HEADER_BYTES / 4;
}

/// Bits of the header's flags word.
pub mod flags {
    /// Entries stay in the SQ for lack of room, or an operation with more than one completion has some to give and finds
    /// no room: reap completions, then enter again.
    pub const NEED_ENTER: u32 = 1;
    /// Messages wait for room in the CQ: reap completions, then enter again.
    pub const BACKLOG: u32 = 2;
}

/// Sizes of a ring's four queues, as logarithms to base two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Submissions.
    pub sq: u8,
    /// Completions.
    pub cq: u8,
    /// Requests and replies; `None` for a ring without a service pair.
    pub service: Option<u8>,
}

impl Sizes {
    /// A thread's smallest ring: 8 submissions, 8 completions, no service pair; 768 bytes.
    pub const SMALLEST: Sizes = Sizes { sq: 3, cq: 3, service: None };

    /// The sizes in one word: SQ, CQ, then service plus one, a byte each.
    pub const fn packed(self) -> u32 {
        let service = match self.service {
            Some(service) => (service as u32).wrapping_add(1),
            None => 0,
        };
        self.sq as u32 | (self.cq as u32) << 8 | service << 16
    }

    /// Takes a packed word apart; `None` where a size is above [`MAX_LOG2`] or a spare bit is set.
    pub const fn unpack(packed: u32) -> Option<Sizes> {
        let [sq, cq, service, spare] = packed.to_le_bytes();
        if sq > MAX_LOG2 || cq > MAX_LOG2 || service > MAX_LOG2 + 1 || spare != 0 {
            return None;
        }
        Some(Sizes { sq, cq, service: service.checked_sub(1) })
    }

    /// Entries of the SQ.
    pub const fn sq_entries(self) -> usize {
        entries(self.sq)
    }

    /// Entries of the CQ.
    pub const fn cq_entries(self) -> usize {
        entries(self.cq)
    }

    /// Entries of the request and of the reply queue.
    pub const fn service_entries(self) -> usize {
        match self.service {
            Some(service) => entries(service),
            None => 0,
        }
    }

    /// Byte offset of the first completion.
    pub const fn cq_offset(self) -> usize {
        HEADER_BYTES.wrapping_add(self.sq_entries().wrapping_mul(SQE_BYTES))
    }

    /// Byte offset of the first request.
    pub const fn rq_offset(self) -> usize {
        self.cq_offset().wrapping_add(self.cq_entries().wrapping_mul(CQE_BYTES))
    }

    /// Byte offset of the first reply.
    pub const fn rp_offset(self) -> usize {
        self.rq_offset().wrapping_add(self.service_entries().wrapping_mul(SQE_BYTES))
    }

    /// Bytes of the whole ring.
    pub const fn bytes(self) -> usize {
        self.rp_offset().wrapping_add(self.service_entries().wrapping_mul(CQE_BYTES))
    }
}

/// Entries of a queue of this size; a size above [`MAX_LOG2`] counts as the greatest.
const fn entries(log2: u8) -> usize {
    1 << if log2 < MAX_LOG2 { log2 } else { MAX_LOG2 }
}

const _: () = assert!(Sizes::SMALLEST.bytes() == 768);
