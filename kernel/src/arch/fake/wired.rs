//! Places in user-owned memory, and the contiguous memory that the kernel shares with programs.

use super::Machine;
use ring_abi::layout::Sizes;
use ring_abi::map::Ring;
use rmm::{PhysAddr, UserFrame};

const FRAME_BYTES: usize = 4096;
/// Alignment of a ring.
const RING_ALIGN: usize = 64;

/// A place inside a frame that a program owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserPtr(PhysAddr);

impl Default for UserPtr {
    fn default() -> UserPtr {
        UserPtr::from_raw(0)
    }
}

#[expect(clippy::should_implement_trait, reason = "`add` and `sub` count bytes, as on raw pointers")]
impl UserPtr {
    /// The place `offset` bytes into the frame.
    ///
    /// # Panics
    ///
    /// If that is not in the frame.
    #[inline]
    pub fn new(frame: UserFrame, offset: usize) -> UserPtr {
        assert!(offset < FRAME_BYTES, "offset {offset} is not in a frame");
        UserPtr(PhysAddr::new(frame.frame().start().raw() | offset as u64))
    }

    /// The physical address.
    #[inline]
    pub fn address(self) -> PhysAddr {
        self.0
    }

    /// The place `count` bytes further, which the caller knows to be in the same frame or wired memory.
    #[inline]
    #[must_use]
    pub fn add(self, count: usize) -> UserPtr {
        UserPtr::from_raw(self.0.raw().wrapping_add(count as u64))
    }

    /// The place `count` bytes before, which the caller knows to be in the same frame or wired memory.
    #[inline]
    #[must_use]
    pub fn sub(self, count: usize) -> UserPtr {
        UserPtr::from_raw(self.0.raw().wrapping_sub(count as u64))
    }

    pub(super) fn from_raw(address: u64) -> UserPtr {
        UserPtr(PhysAddr::new(address))
    }
}

/// Contiguous physical memory that the kernel shares with programs, mapped as long as it lives.
#[derive(Debug)]
pub struct Wired {
    first: UserFrame,
    bytes: usize,
}

impl Wired {
    /// The `frames` frames from `first` on, which the caller owns.
    ///
    /// # Panics
    ///
    /// If they are not all in memory.
    pub fn new(machine: &Machine, first: UserFrame, frames: u32) -> Wired {
        let bytes = (frames as usize).saturating_mul(FRAME_BYTES);
        machine.memory.within(first.frame().start().raw(), bytes);
        Wired { first, bytes }
    }

    /// The first frame.
    pub fn first(&self) -> UserFrame {
        self.first
    }

    /// Bytes of all of it.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The place `offset` bytes from the start.
    pub fn at(&self, offset: usize) -> Option<UserPtr> {
        let start = self.first.frame().start().raw();
        (offset < self.bytes).then(|| UserPtr::from_raw(start.saturating_add(offset as u64)))
    }

    /// The ring at this offset; `None` if it is not aligned or reaches beyond the end.
    ///
    /// The view is good as long as the machine lives.
    pub fn ring(&self, machine: &Machine, offset: usize, sizes: Sizes) -> Option<Ring> {
        let end = offset.checked_add(sizes.bytes())?;
        if end > self.bytes || !offset.is_multiple_of(RING_ALIGN) {
            return None;
        }
        let start = self.at(offset)?.0;
        Some(machine.ring_at(start, sizes))
    }
}
