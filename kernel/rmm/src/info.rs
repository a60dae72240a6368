//! What is known about one frame: sixteen bytes, whose words change role with its kind.
#![forbid(unsafe_code)]

use core::cell::Cell;

/// The end of a list of frames.
pub(crate) const NONE: u32 = u32::MAX;

/// What a frame is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Not ours: firmware, a device, a hole. The kind of zeroed memory.
    Reserved = 0,
    /// Inside a block, free or not, whose first frame says the rest.
    Inner,
    /// The first frame of a free block.
    Free,
    /// A free single frame, kept at hand.
    Hot,
    /// The first frame of a block of the kernel.
    Kernel,
    /// A frame that programs may map.
    User,
    /// A page table.
    Table,
    /// Nobody's any more, but some TLB may still reach it.
    Stale,
}

/// What is known about one frame. All zero bytes are a valid one: a frame that is not ours.
#[derive(Debug)]
#[repr(C)]
pub struct FrameInfo {
    /// Free: the previous block of the list. Otherwise: who pays.
    pub(crate) owner: Cell<u32>,
    /// User: how many mappings and holders.
    pub(crate) shares: Cell<u32>,
    /// Free, hot, stale, or a table on its way: the next of the list.
    pub(crate) link: Cell<u32>,
    /// Table: entries in use. User: not 0 once a share was given up before its flush.
    pub(crate) live: Cell<u16>,
    pub(crate) kind: Cell<Kind>,
    /// Free or kernel: the block has 2^order frames.
    pub(crate) order: Cell<u8>,
}

const _: () = assert!(size_of::<FrameInfo>() == 16);

impl FrameInfo {
    /// A frame that is not ours, until a range with it is added.
    pub const fn new() -> Self {
        Self {
            owner: Cell::new(0),
            shares: Cell::new(0),
            link: Cell::new(0),
            live: Cell::new(0),
            kind: Cell::new(Kind::Reserved),
            order: Cell::new(0),
        }
    }
}

impl Default for FrameInfo {
    fn default() -> Self {
        Self::new()
    }
}
