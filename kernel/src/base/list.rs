//! A doubly linked list of records that live in an arena: queues, and sets that are walked in order.
//!
//! A record is named (see [`super::name`]) and holds its own [`Link`], so adding one needs no memory and removing
//! one from the middle takes a few instructions. The list does not own its records.
#![forbid(unsafe_code)]

use super::{NONE, is_none};
use core::cell::Cell;

/// A record's neighbours in a list; `NONE` at the ends.
#[derive(Debug)]
pub struct Link {
    next: Cell<u32>,
    prev: Cell<u32>,
}

impl Default for Link {
    fn default() -> Self {
        Link { next: Cell::new(NONE), prev: Cell::new(NONE) }
    }
}

impl Link {
    /// The record behind this one.
    #[inline(always)]
    pub fn next(&self) -> u32 {
        self.next.get()
    }

    /// The record before this one.
    pub fn prev(&self) -> u32 {
        self.prev.get()
    }

    /// Sets both neighbours.
    #[inline(always)]
    pub fn set(&self, next: u32, prev: u32) {
        self.next.set(next);
        self.prev.set(prev);
    }

    /// Sets the record behind this one.
    #[inline(always)]
    pub fn set_next(&self, next: u32) {
        self.next.set(next);
    }

    /// Sets the record before this one.
    #[inline(always)]
    pub fn set_prev(&self, prev: u32) {
        self.prev.set(prev);
    }

    /// The cell that also threads a free list while the record is in none.
    #[inline(always)]
    pub fn cell(&self) -> &Cell<u32> {
        &self.next
    }
}

/// Where the links of the records are.
pub trait Chain {
    /// The link of record `node` that this list goes through.
    fn link(&self, node: u32) -> &Link;
}

/// First and last record of a list.
#[derive(Debug)]
pub struct List {
    head: Cell<u32>,
    tail: Cell<u32>,
}

impl Default for List {
    fn default() -> Self {
        List::new()
    }
}

impl List {
    /// An empty list.
    pub const fn new() -> List {
        List { head: Cell::new(NONE), tail: Cell::new(NONE) }
    }

    /// Whether nothing is in it.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        is_none(self.head.get())
    }

    /// The first record, or `NONE`.
    #[inline(always)]
    pub fn first(&self) -> u32 {
        self.head.get()
    }

    /// Forgets the only record, whose link says that there is none before or behind it, and goes on saying so.
    #[inline(always)]
    pub fn forget_only(&self) {
        self.head.set(NONE);
        self.tail.set(NONE);
    }

    /// The last record, or `NONE`.
    #[cfg(test)]
    fn last(&self) -> u32 {
        self.tail.get()
    }

    /// Files a record at the end.
    #[inline(always)]
    pub fn push_back(&self, chain: &impl Chain, node: u32) {
        let link = chain.link(node);
        let tail = self.tail.get();
        link.next.set(NONE);
        link.prev.set(tail);
        if is_none(tail) {
            self.head.set(node);
        } else {
            chain.link(tail).next.set(node);
        }
        self.tail.set(node);
    }

    /// Files a record at the front.
    pub fn push_front(&self, chain: &impl Chain, node: u32) {
        let link = chain.link(node);
        let head = self.head.get();
        link.prev.set(NONE);
        link.next.set(head);
        if head == NONE {
            self.tail.set(node);
        } else {
            chain.link(head).prev.set(node);
        }
        self.head.set(node);
    }

    /// Takes a record out. It must be in this list.
    #[inline(always)]
    pub fn remove(&self, chain: &impl Chain, node: u32) {
        let link = chain.link(node);
        let (next, prev) = (link.next.get(), link.prev.get());
        if is_none(prev) {
            self.head.set(next);
        } else {
            chain.link(prev).next.set(next);
        }
        if next == NONE {
            self.tail.set(prev);
        } else {
            chain.link(next).prev.set(prev);
        }
        link.next.set(NONE);
        link.prev.set(NONE);
    }

    /// Puts a record that is in no list into the place of one that is in this one.
    pub fn replace(&self, chain: &impl Chain, old: u32, new: u32) {
        let link = chain.link(old);
        let (next, prev) = (link.next.replace(NONE), link.prev.replace(NONE));
        chain.link(new).set(next, prev);
        if is_none(prev) {
            self.head.set(new);
        } else {
            chain.link(prev).next.set(new);
        }
        if is_none(next) {
            self.tail.set(new);
        } else {
            chain.link(next).prev.set(new);
        }
    }

    /// Takes the first record out.
    #[inline(always)]
    pub fn pop_front(&self, chain: &impl Chain) -> Option<u32> {
        let head = self.head.get();
        if head == NONE {
            return None;
        }
        self.remove(chain, head);
        Some(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    struct Links(Vec<Link>);

    impl Chain for Links {
        fn link(&self, node: u32) -> &Link {
            &self.0[node as usize]
        }
    }

    fn walk(list: &List, links: &Links) -> Vec<u32> {
        let mut seen = Vec::new();
        let mut at = list.first();
        while at != NONE {
            seen.push(at);
            at = links.link(at).next();
        }
        seen
    }

    #[test]
    fn a_list_behaves_like_a_deque() {
        let links = Links((0..64).map(|_| Link::default()).collect());
        let list = List::new();
        let mut model: VecDeque<u32> = VecDeque::new();
        let mut state = 0x9e37_79b9_u32;
        for _ in 0..10_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let node = (state >> 8) % 64;
            match (state >> 20) % 5 {
                0 if !model.contains(&node) => {
                    list.push_back(&links, node);
                    model.push_back(node);
                }
                1 if !model.contains(&node) => {
                    list.push_front(&links, node);
                    model.push_front(node);
                }
                2 if model.contains(&node) => {
                    list.remove(&links, node);
                    model.retain(|&other| other != node);
                }
                4 if !model.is_empty() && !model.contains(&node) => {
                    let at = (state >> 3) as usize % model.len();
                    list.replace(&links, std::mem::replace(&mut model[at], node), node);
                }
                3 => assert_eq!(list.pop_front(&links), model.pop_front()),
                _ => {}
            }
            assert_eq!(walk(&list, &links), Vec::from(model.clone()));
            assert_eq!(list.last(), model.back().copied().unwrap_or(NONE));
        }
    }
}
