//! The completion entry: one answer, from the kernel to a program or from a daemon to the kernel.
//!
//! Its layout is that of `redox_syscall::schemev2::Cqe`, checked at compile time.
#![forbid(unsafe_code)]

use crate::errno::{Errno, demux, mux};
use bitflags::bitflags;
use core::mem::{offset_of, size_of};
use syscall::schemev2 as v2;

/// A completion entry of 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cqe {
    /// Low three bits: [`CqeKind`] (from a daemon). Bits from 3 on: [`CqeFlags`] (from the kernel).
    pub flags: u8,
    /// 24 bits, little endian, whose meaning depends on the operation.
    pub extra: [u8; 3],
    /// Tag of the entry that this answers.
    pub tag: u32,
    /// A value, or the negative of an error number; see [`crate::errno::demux`].
    pub result: u64,
}

const _: () = {
    assert!(size_of::<Cqe>() == 16 && size_of::<Cqe>() == size_of::<v2::Cqe>());
    assert!(offset_of!(Cqe, flags) == offset_of!(v2::Cqe, flags));
    assert!(offset_of!(Cqe, extra) == offset_of!(v2::Cqe, extra_raw));
    assert!(offset_of!(Cqe, tag) == offset_of!(v2::Cqe, tag));
    assert!(offset_of!(Cqe, result) == offset_of!(v2::Cqe, result));
    assert!(CqeKind::Regular as u8 == v2::CqeOpcode::RespondRegular as u8);
    assert!(CqeKind::WithFd as u8 == v2::CqeOpcode::RespondWithFd as u8);
    assert!(CqeKind::SendFevent as u8 == v2::CqeOpcode::SendFevent as u8);
    assert!(CqeKind::ObtainFd as u8 == v2::CqeOpcode::ObtainFd as u8);
    assert!(CqeKind::WithMultipleFds as u8 == v2::CqeOpcode::RespondWithMultipleFds as u8);
    assert!(CqeKind::NotifyOnDetach as u8 == v2::CqeOpcode::RespondAndNotifyOnDetach as u8);
};

bitflags! {
    /// Flags of a completion that the kernel posts.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct CqeFlags: u8 {
        /// The operation goes on; further completions follow.
        const MORE = 1 << 3;
        /// The low 16 bits of `extra` are the id of the buffer that was used.
        const BUFFER = 1 << 4;
        /// With `BUFFER`: more of that buffer will be used, from behind these bytes on.
        const BUFFER_MORE = 1 << 5;
        /// It completes none of the ring's own operations: tag, result and `extra` are what the sender of a message
        /// chose ([`crate::args::MessageSend`]).
        const MESSAGE = 1 << 6;
        /// With `MESSAGE`: the result is a handle that was put into the owner's table
        /// ([`crate::args::MessageHandle`]).
        const HANDLE = 1 << 7;
    }
}

/// Bit of `extra` in a daemon's answer to an open: the file has a cursor, which the kernel keeps.
pub const POSITIONED: u32 = 1;

/// What a daemon's completion means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CqeKind {
    /// `result` is the result of the request.
    Regular = 0,
    /// `result` is a handle of the daemon, which moves to the client.
    WithFd = 1,
    /// Not an answer: file id `result` now has the events of `tag`.
    SendFevent = 2,
    /// Reserved: Annulus has an operation for it ([`crate::Opcode::ObtainFd`]).
    ObtainFd = 3,
    /// Reserved.
    WithMultipleFds = 4,
    /// Reserved.
    NotifyOnDetach = 5,
}

impl CqeKind {
    /// The kind in the low three bits of `flags`.
    pub const fn from_flags(flags: u8) -> Option<CqeKind> {
        Some(match flags & 7 {
            0 => CqeKind::Regular,
            1 => CqeKind::WithFd,
            2 => CqeKind::SendFevent,
            3 => CqeKind::ObtainFd,
            4 => CqeKind::WithMultipleFds,
            5 => CqeKind::NotifyOnDetach,
            _ => return None,
        })
    }
}

impl Cqe {
    /// A completion without flags.
    #[inline(always)]
    pub const fn new(tag: u32, result: Result<u64, Errno>) -> Cqe {
        Cqe { flags: 0, extra: [0; 3], tag, result: mux(result) }
    }

    /// The same completion with the low 24 bits of `extra`.
    #[inline(always)]
    pub const fn with_extra(mut self, extra: u32) -> Cqe {
        let [a, b, c, _] = extra.to_le_bytes();
        self.extra = [a, b, c];
        self
    }

    /// The same completion with `extra` in the low 24 bits of `details`, and flags in the others.
    #[inline(always)]
    pub const fn with_details(mut self, details: u32) -> Cqe {
        self.flags = (details >> 24) as u8;
        self.with_extra(details)
    }

    /// The same completion of another kind.
    pub const fn with_kind(mut self, kind: CqeKind) -> Cqe {
        self.flags = self.flags & !7 | kind as u8;
        self
    }

    /// The 24 bits of `extra`.
    #[inline(always)]
    pub const fn extra(&self) -> u32 {
        let [a, b, c] = self.extra;
        u32::from_le_bytes([a, b, c, 0])
    }

    /// The result, taken apart.
    #[inline(always)]
    pub const fn result(&self) -> Result<u64, Errno> {
        demux(self.result)
    }

    /// The completion as two words, in the order in which they lie in a ring.
    #[inline(always)]
    pub const fn to_words(self) -> [u64; 2] {
        let [a, b, c] = self.extra;
        let head = self.flags as u64 | (a as u64) << 8 | (b as u64) << 16 | (c as u64) << 24;
        [head | (self.tag as u64) << 32, self.result]
    }

    /// The completion that these two words are.
    #[inline(always)]
    pub const fn from_words(words: [u64; 2]) -> Cqe {
        let [head, result] = words;
        let extra = [(head >> 8) as u8, (head >> 16) as u8, (head >> 24) as u8];
        Cqe { flags: head as u8, extra, tag: (head >> 32) as u32, result }
    }
}
