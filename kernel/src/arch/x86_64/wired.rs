//! Places in memory that programs own, and the contiguous memory that the kernel shares with them.

use core::ptr::NonNull;

use ring_abi::layout::Sizes;
use ring_abi::map::Ring;
use rmm::{FRAME_SIZE, PhysAddr, UserFrame};

use super::Machine;
use super::memory::DIRECT_MAP;

/// Rings are aligned to a cache line.
const RING_ALIGN: usize = 64;

/// A place inside memory that programs own.
///
/// It is kept as the kernel's own address of that place, which the direct map makes from the physical one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserPtr(u64);

impl Default for UserPtr {
    fn default() -> Self {
        Self(DIRECT_MAP)
    }
}

#[expect(clippy::should_implement_trait, reason = "`add` and `sub` count bytes, as on raw pointers")]
impl UserPtr {
    /// The place at `offset`, below 4096, of a frame.
    #[inline(always)]
    pub fn new(frame: UserFrame, offset: usize) -> Self {
        Self::at(frame.frame().start(), offset as u64 & (FRAME_SIZE - 1))
    }

    /// A place behind a physical address that the caller knows to be a program's.
    #[inline(always)]
    fn at(start: PhysAddr, offset: u64) -> Self {
        Self(DIRECT_MAP.wrapping_add(start.raw()).wrapping_add(offset))
    }

    /// The physical address.
    #[inline(always)]
    pub fn address(self) -> PhysAddr {
        PhysAddr::new(self.0.wrapping_sub(DIRECT_MAP))
    }

    /// The place `count` bytes further, which the caller knows to be in the same frame or wired memory.
    #[inline(always)]
    #[must_use]
    pub fn add(self, count: usize) -> Self {
        Self(self.0.wrapping_add(count as u64))
    }

    /// The place `count` bytes before, which the caller knows to be in the same frame or wired memory.
    #[inline(always)]
    #[must_use]
    pub fn sub(self, count: usize) -> Self {
        Self(self.0.wrapping_sub(count as u64))
    }

    /// The same place for the machine's own accesses.
    #[inline(always)]
    pub(super) fn pointer<T>(self) -> *mut T {
        self.0 as *mut T
    }
}

/// A run of frames that programs map and the kernel reaches.
#[derive(Clone, Copy, Debug)]
pub struct Wired {
    first: UserFrame,
    bytes: usize,
}

impl Wired {
    /// `frames` frames from `first` on, which the caller keeps allocated as long as the value is used.
    pub fn new(_machine: &Machine, first: UserFrame, frames: u32) -> Self {
        Self { first, bytes: (frames as usize).wrapping_mul(FRAME_SIZE as usize) }
    }

    /// The first frame.
    pub fn first(&self) -> UserFrame {
        self.first
    }

    /// Bytes of all frames.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The place at `offset`.
    #[inline(always)]
    pub fn at(&self, offset: usize) -> Option<UserPtr> {
        (offset < self.bytes).then(|| UserPtr::at(self.first.frame().start(), offset as u64))
    }

    /// A view of a ring that lies at `offset`, if it is aligned and all of it lies inside.
    pub fn ring(&self, _machine: &Machine, offset: usize, sizes: Sizes) -> Option<Ring> {
        let end = offset.checked_add(sizes.bytes())?;
        if end > self.bytes || !offset.is_multiple_of(RING_ALIGN) {
            return None;
        }
        let base = NonNull::new(self.at(offset)?.pointer::<u8>())?;
        // SAFETY: the direct map reaches all of the ring, aligned as checked; the frames hold no kernel data, and the
        // kernel reaches a ring through such views only.
        Some(unsafe { Ring::from_raw(base, sizes) })
    }
}
