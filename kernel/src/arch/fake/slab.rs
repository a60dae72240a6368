//! Tables that grow and never move.
//!
//! The elements lie in host memory, but every growth takes the frames that the real machine would take: one
//! for each 4096 bytes of elements, and one for the page table above each 512 of those. So running out of
//! memory happens at the same places, and the accounts add up.

use super::{Machine, Taken, effort};
use crate::base::list::Link;
use crate::base::name::{Named, name_of, number_of};
use rmm::Frame;
use std::cell::{Cell, UnsafeCell};

const FRAME_BYTES: usize = 4096;
const FRAMES_PER_TABLE: usize = 512;

/// Where growing tables get their frames from.
pub trait FrameSource {
    /// A frame for the kernel, if there is one.
    fn take(&self) -> Option<Frame>;
    /// Gives back a frame that was taken.
    fn give(&self, frame: Frame);
}

/// There is no memory to grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

/// A table that grows in place: its elements never move.
#[derive(Debug)]
pub struct Slab<T> {
    elements: UnsafeCell<Vec<T>>,
    most: usize,
    frames: Cell<usize>,
}

impl<T: Default> Slab<T> {
    /// An empty table with addresses reserved for `most` elements.
    pub fn reserve(_machine: &Machine, most: u32) -> Slab<T> {
        const { assert!(size_of::<T>() > 0, "a table of nothing") };
        let most = most as usize;
        Slab { elements: UnsafeCell::new(Vec::with_capacity(most)), most, frames: Cell::new(0) }
    }

    /// Number of elements.
    #[inline]
    pub fn len(&self) -> u32 {
        self.elements().len() as u32
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element `index`, which is there.
    #[inline]
    pub fn at(&self, index: u32) -> &T {
        match self.get(index) {
            Some(element) => element,
            None => panic!("no element {index}"),
        }
    }

    /// Element `index`, if it is there.
    #[inline]
    pub fn get(&self, index: u32) -> Option<&T> {
        effort::add(1);
        self.elements().get(index as usize)
    }

    /// Frames of memory that the elements lie in, page tables not counted.
    pub fn frames(&self) -> usize {
        self.frames.get()
    }

    /// Adds at least one element. On failure nothing has changed, and no frame is lost.
    pub fn grow(&self, machine: &Machine, frames: &dyn FrameSource) -> Result<(), NoMemory> {
        let data = self.frames.get();
        let more = size_of::<T>().div_ceil(FRAME_BYTES);
        let after = data.saturating_add(more);
        let tables = after.div_ceil(FRAMES_PER_TABLE).saturating_sub(data.div_ceil(FRAMES_PER_TABLE));
        let length =
            after.saturating_mul(FRAME_BYTES).checked_div(size_of::<T>()).unwrap_or(0).min(self.most);
        if length <= self.elements().len() || !machine.may_grow() {
            return Err(NoMemory);
        }
        let mut taken = Taken::new(frames);
        taken.take(more.saturating_add(tables)).ok_or(NoMemory)?;
        taken.keep();
        self.frames.set(after);
        // SAFETY: no reference to the vector itself is held across a call into this module, and references
        // to its elements stay good, because it never grows beyond the capacity that `reserve` gave it.
        let elements = unsafe { &mut *self.elements.get() };
        while elements.len() < length {
            elements.push(T::default());
        }
        Ok(())
    }

    fn elements(&self) -> &Vec<T> {
        // SAFETY: the only exclusive reference is the one in `grow`, which runs no foreign code but
        // `T::default`, and is gone when it returns.
        unsafe { &*self.elements.get() }
    }
}

impl<T: Named> Slab<T> {
    /// The same as [`reserve`](Self::reserve), for records with names.
    pub fn reserve_named(machine: &Machine, most: u32) -> Slab<T> {
        Slab::reserve(machine, most)
    }

    /// The record of this name, which is there.
    #[inline]
    pub fn named(&self, name: u32) -> &T {
        let number = number_of::<T>(name);
        assert_eq!(name_of::<T>(number), name, "no record has such a name");
        self.at(number)
    }
}

/// The neighbours at `offset` of a record that lies `distance` bytes from the start of a near room: where `find` finds
/// them.
#[inline]
pub fn near_link<'a>(_room: u8, _distance: u32, _offset: usize, find: impl FnOnce() -> &'a Link) -> &'a Link {
    find()
}
