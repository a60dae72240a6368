//! What a ring was fitted out with beyond what every ring has: registered files and buffers, and groups of buffers.
//!
//! It is a record of its own, taken when it is first needed, so that rings without pay nothing for it. It goes with its
//! ring.
#![forbid(unsafe_code)]

use crate::base::NONE;
use crate::base::name::Named;
use crate::mem::arena::Record;
use core::cell::Cell;
use ring_abi::group::MOST_GROUPS;
use ring_abi::registered::MOST_BUFFERS;

/// What a ring has registered.
#[derive(Debug)]
pub struct Outfit {
    /// A handle table whose numbers are the slots of registered files; nobody else holds it. Also threads the free list.
    pub files: Cell<u32>,
    /// The pins of registered buffers, `NONE` where a slot is empty.
    pub buffers: [Cell<u32>; MOST_BUFFERS as usize],
    /// Groups of buffers that the program provides, `NONE` where there is none.
    pub groups: [Cell<u32>; MOST_GROUPS as usize],
}

impl Default for Outfit {
    fn default() -> Self {
        Outfit {
            files: Cell::new(NONE),
            buffers: [const { Cell::new(NONE) }; MOST_BUFFERS as usize],
            groups: [const { Cell::new(NONE) }; MOST_GROUPS as usize],
        }
    }
}

impl Named for Outfit {}

impl Record for Outfit {
    fn free_link(&self) -> &Cell<u32> {
        &self.files
    }
}
