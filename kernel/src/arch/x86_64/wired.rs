//! Memory that the kernel shares with programs: physically contiguous, and wired until its owner frees it.

use core::ptr::NonNull;

use ring_abi::layout::Sizes;
use ring_abi::map::Ring;
use rmm::{FRAME_SIZE, UserFrame};

use super::Machine;
use super::memory::UserPtr;

/// Rings are aligned to a cache line.
const RING_ALIGN: usize = 64;

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
