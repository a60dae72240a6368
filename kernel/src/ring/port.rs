//! A port: what handles to a ring lead to. It is there while there are such handles, and outlives its ring.
//!
//! Invariants:
//!
//! - a ring that lives has at most one port, found by its name in a tree, and is marked [`super::duplex::OPEN`] exactly
//!   while it has one;
//! - messages that find no room in the ring wait here in the order of arrival, and the ring is marked
//!   [`super::duplex::BACKLOG`] exactly while there are some;
//! - `ring` is `NONE` once the ring is gone; messages that waited then are ended in slices.
#![forbid(unsafe_code)]

use crate::base::NONE;
use crate::base::list::{Link, List};
use crate::base::name::Named;
use crate::base::tree::{Links, Nodes};
use crate::mem::arena::{Arena, Record};
use core::cell::Cell;

/// What handles to a ring lead to.
#[derive(Debug)]
pub struct Port {
    links: Links,
    /// The ring, or `NONE` once it is gone.
    pub ring: Cell<u32>,
    /// Files that lead here.
    pub refs: Cell<u32>,
    /// Messages that wait for room in the ring.
    pub waiting: List,
    /// Place in the list of ports whose ring is gone; threads the free list.
    pub link: Link,
}

const _: () = assert!(size_of::<Port>() <= 40);

impl Default for Port {
    fn default() -> Self {
        Port {
            links: Links::new(),
            ring: Cell::new(NONE),
            refs: Cell::new(0),
            waiting: List::new(),
            link: Link::default(),
        }
    }
}

impl Named for Port {}

impl Record for Port {
    fn free_link(&self) -> &Cell<u32> {
        self.link.cell()
    }
}

/// Ports as nodes of the tree by ring.
pub struct ByRing<'a>(pub &'a Arena<Port>);

impl Nodes for ByRing<'_> {
    type Key = u32;

    fn links(&self, node: u32) -> &Links {
        &self.0.at(node).links
    }

    fn key(&self, node: u32) -> u32 {
        self.0.at(node).ring.get()
    }
}
