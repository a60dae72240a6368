//! The stacks of threads that have ended, kept for the next ones: a bounded number of places and of pages.
//!
//! A place holds a whole stack in one word, so whoever takes the word has the stack, and nobody waits for anybody. The
//! pages stay mapped as they are, guard page and all: a thread on such a stack costs no mapping, zeroing and unmapping.
#![forbid(unsafe_code)]

use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Stacks at most.
const PLACES: usize = 16;
/// Pages of all of them at most: one megabyte. They are memory that nobody else has, not only addresses.
pub(super) const MOST_PAGES: u64 = 256;
/// The bits of an address that say how many pages there are.
const COUNT: u64 = 0xfff;

/// Places for stacks.
pub(super) struct Shelf {
    /// Address of the lowest page, with the number of pages in the low bits; zero is nothing.
    places: [AtomicU64; PLACES],
    /// Pages of all stacks that are here or about to be.
    pages: AtomicU64,
}

impl Shelf {
    /// Nothing is kept.
    pub(super) const fn new() -> Shelf {
        Shelf { places: [const { AtomicU64::new(0) }; PLACES], pages: AtomicU64::new(0) }
    }

    /// Takes a stack of so many pages: its address.
    #[inline]
    pub(super) fn take(&self, pages: u64) -> Option<u64> {
        self.take_where(|stack| stack & COUNT == pages).map(|(address, _)| address)
    }

    /// Takes any stack: its address and its pages.
    pub(super) fn take_any(&self) -> Option<(u64, u64)> {
        self.take_where(|_| true)
    }

    #[inline]
    fn take_where(&self, is_right: impl Fn(u64) -> bool) -> Option<(u64, u64)> {
        for place in &self.places {
            let stack = place.load(Relaxed);
            if stack != 0 && is_right(stack) && place.compare_exchange(stack, 0, Acquire, Relaxed).is_ok() {
                let pages = stack & COUNT;
                self.pages.fetch_sub(pages, Relaxed);
                return Some((stack & !COUNT, pages));
            }
        }
        None
    }

    /// Keeps a stack on which nothing runs. `false`: there is no room for it.
    #[inline]
    pub(super) fn put(&self, address: u64, pages: u64) -> bool {
        if pages > MOST_PAGES {
            return false;
        }
        let fits = self.pages.fetch_add(pages, Relaxed).wrapping_add(pages) <= MOST_PAGES;
        if fits && self.place(address | pages) {
            return true;
        }
        self.pages.fetch_sub(pages, Relaxed);
        false
    }

    fn place(&self, stack: u64) -> bool {
        let take = |place: &&AtomicU64| {
            place.load(Relaxed) == 0 && place.compare_exchange(0, stack, Release, Relaxed).is_ok()
        };
        self.places.iter().find(take).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use core::sync::atomic::AtomicU32;

    /// An address of a stack, by number.
    fn address(number: u64) -> u64 {
        number.wrapping_add(1) << 32
    }

    fn kept(shelf: &Shelf) -> Vec<(u64, u64)> {
        core::iter::from_fn(|| shelf.take_any()).collect()
    }

    #[test]
    fn a_stack_comes_back_to_who_wants_its_size() {
        let shelf = Shelf::new();
        assert_eq!(shelf.take(4), None);
        assert!(shelf.put(address(0), 4));
        assert!(shelf.put(address(1), 8));
        assert_eq!(shelf.take(2), None);
        assert_eq!(shelf.take(8), Some(address(1)));
        assert_eq!(shelf.take(8), None);
        assert_eq!(kept(&shelf), [(address(0), 4)]);
    }

    #[test]
    fn no_more_is_kept_than_there_are_places() {
        let shelf = Shelf::new();
        let all = (0..40).filter(|number| shelf.put(address(*number), 1)).count();
        assert_eq!(all, PLACES);
        assert_eq!(shelf.take(1), Some(address(0)));
        assert!(shelf.put(address(50), 1));
        assert!(!shelf.put(address(51), 1));
        assert_eq!(kept(&shelf).len(), PLACES);
    }

    #[test]
    fn no_more_is_kept_than_there_may_be_pages() {
        let shelf = Shelf::new();
        assert!(!shelf.put(address(0), MOST_PAGES + 1));
        assert!(!shelf.put(address(0), 1 << 20), "a number of pages that does not fit beside an address");
        assert!(shelf.put(address(0), MOST_PAGES - 3));
        assert!(!shelf.put(address(1), 4), "one page too many");
        assert!(shelf.put(address(1), 3), "what was refused left no trace");
        assert!(!shelf.put(address(2), 1));
        assert_eq!(kept(&shelf), [(address(0), MOST_PAGES - 3), (address(1), 3)]);
        assert!(shelf.put(address(2), MOST_PAGES));
    }

    #[test]
    fn no_two_threads_get_one_stack() {
        let shelf = Shelf::new();
        let owners: Vec<AtomicU32> = (0..8).map(|_| AtomicU32::new(0)).collect();
        for number in 0..8 {
            assert!(shelf.put(address(number), 4));
        }
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let Some(stack) = shelf.take(4) else { continue };
                        let owner = &owners[(stack >> 32) as usize - 1];
                        assert_eq!(owner.fetch_add(1, Relaxed), 0, "somebody else has it");
                        owner.fetch_sub(1, Relaxed);
                        assert!(shelf.put(stack, 4));
                    }
                });
            }
        });
        let mut all = kept(&shelf);
        all.sort_unstable();
        let expected: Vec<_> = (0..8).map(|number| (address(number), 4)).collect();
        assert_eq!(all, expected);
    }
}
