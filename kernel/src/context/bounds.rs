//! What a context may use that may not use everything. The record never changes: narrower bounds are another one.
#![forbid(unsafe_code)]

use crate::base::NONE;
use crate::base::name::Named;
use crate::mem::arena::Record;
use core::cell::Cell;
use ring_abi::Opcode;

/// What may be used: a bit for each opcode and for each flag of a submission, and whether schemes are found by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Opcodes by number.
    pub opcodes: u128,
    /// Flags of submissions.
    pub flags: u8,
    /// Whether schemes are found by name.
    pub names: bool,
}

/// What is started on the short roads of an entry (`entry::enter`), which look at no bounds. An open finds schemes by name.
pub const SHORT: [Opcode; 7] = [
    Opcode::Nop,
    Opcode::Read,
    Opcode::OpenAt,
    Opcode::Close,
    Opcode::FutexWait,
    Opcode::FutexWake,
    Opcode::FutexSwap,
];

impl Rights {
    /// Everything.
    pub const ALL: Rights = Rights { opcodes: u128::MAX, flags: u8::MAX, names: true };

    /// What both allow.
    pub fn and(self, other: Rights) -> Rights {
        Rights {
            opcodes: self.opcodes & other.opcodes,
            flags: self.flags & other.flags,
            names: self.names && other.names,
        }
    }

    /// Whether an entry with this opcode and these flags may be used. What is no opcode is another's to refuse.
    pub fn allow(self, opcode: u8, flags: u8) -> bool {
        let known = self.opcodes.checked_shr(u32::from(opcode)).is_none_or(|rest| rest & 1 != 0);
        known && flags & !self.flags == 0
    }

    /// Whether what the short roads do may be used, so that they need not look.
    pub fn allow_short_roads(self) -> bool {
        self.names && SHORT.iter().all(|opcode| self.allow(opcode.raw(), 0))
    }
}

/// The bounds of contexts and spaces.
#[derive(Debug)]
pub struct Bounds {
    low: Cell<u64>,
    high: Cell<u64>,
    flags: Cell<u8>,
    names: Cell<bool>,
    /// Contexts and spaces that have them.
    pub refs: Cell<u32>,
    link: Cell<u32>,
}

const _: () = assert!(size_of::<Bounds>() <= 32);

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            low: Cell::new(0),
            high: Cell::new(0),
            flags: Cell::new(0),
            names: Cell::new(false),
            refs: Cell::new(0),
            link: Cell::new(NONE),
        }
    }
}

impl Named for Bounds {}

impl Record for Bounds {
    fn free_link(&self) -> &Cell<u32> {
        &self.link
    }
}

impl Bounds {
    /// What they allow.
    pub fn rights(&self) -> Rights {
        let opcodes = u128::from(self.low.get()) | u128::from(self.high.get()) << 64;
        Rights { opcodes, flags: self.flags.get(), names: self.names.get() }
    }

    /// Makes a fresh record allow this, held once.
    pub fn begin(&self, rights: Rights) {
        self.low.set(rights.opcodes as u64);
        self.high.set((rights.opcodes >> 64) as u64);
        self.flags.set(rights.flags);
        self.names.set(rights.names);
        self.refs.set(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_allowed_only_if_its_opcode_and_all_of_its_flags_are() {
        let rights = Rights { opcodes: 1 << 5 | 1 << 127, flags: 0b101, names: false };
        for opcode in 0..128 {
            for flags in 0..=u8::MAX {
                let wanted = matches!(opcode, 5 | 127) && matches!(flags, 0 | 1 | 4 | 5);
                assert_eq!(rights.allow(opcode, flags), wanted, "{opcode} {flags}");
            }
        }
    }

    #[test]
    fn two_bounds_together_allow_what_both_do() {
        let one = Rights { opcodes: 0b1100, flags: 0b11, names: true };
        let other = Rights { opcodes: 0b1010, flags: 0b10, names: false };
        assert_eq!(one.and(other), Rights { opcodes: 0b1000, flags: 0b10, names: false });
        assert_eq!(one.and(Rights::ALL), one);
    }
}
