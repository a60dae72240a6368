//! Pages of a daemon's memory that clients may map.
#![forbid(unsafe_code)]

use super::Answer;
use alloc::vec::Vec;

/// Bytes of a page.
const PAGE: usize = 4096;
/// Pages that are taken from the heap at once.
const BLOCK: usize = 16;

/// Memory of a page.
#[repr(align(4096))]
#[derive(Debug)]
struct Bytes([u8; PAGE]);

/// A page of memory, for clients to map.
///
/// Clients that share it with the right to write change it under the eyes of whoever reads it here: what was read once may
/// read differently the next time. It is memory of the program for good: one that is not [given back](Pages::give) is lost.
#[derive(Debug)]
pub struct Page(&'static mut Bytes);

/// Where pages come from, and go back to.
#[derive(Debug, Default)]
pub struct Pages {
    free: Vec<Page>,
    /// Pages of zeros that were never used, the first one last.
    fresh: Vec<Page>,
}

impl Pages {
    /// No pages yet.
    pub const fn new() -> Pages {
        Pages { free: Vec::new(), fresh: Vec::new() }
    }

    /// A page of zeros. `None`: there is no memory.
    ///
    /// Pages that are taken one after the other lie side by side more often than not.
    pub fn take(&mut self) -> Option<Page> {
        if let Some(mut page) = self.free.pop() {
            page.bytes_mut().fill(0);
            return Some(page);
        }
        if self.fresh.is_empty() {
            self.grow()?;
        }
        self.fresh.pop()
    }

    fn grow(&mut self) -> Option<()> {
        let mut block = Vec::new();
        self.fresh.try_reserve(BLOCK).ok()?;
        block.try_reserve_exact(BLOCK).ok()?;
        block.resize_with(BLOCK, || Bytes([0; PAGE]));
        self.fresh.extend(block.leak().iter_mut().rev().map(Page));
        Some(())
    }

    /// A page that no client has mapped is free again.
    pub fn give(&mut self, page: Page) {
        // Without memory for the list it is lost.
        if self.free.try_reserve(1).is_ok() {
            self.free.push(page);
        }
    }
}

impl Page {
    /// What it holds.
    pub fn bytes(&self) -> &[u8] {
        let Page(Bytes(bytes)) = self;
        bytes
    }

    /// The same, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let Page(Bytes(bytes)) = self;
        bytes
    }

    fn address(&self) -> usize {
        self.bytes().as_ptr().addr()
    }

    /// Whether another page lies right behind this one.
    pub fn is_before(&self, other: &Page) -> bool {
        self.address().checked_add(PAGE) == Some(other.address())
    }

    /// This page, and so many in all from here on, for a client to map. They are to stay as long as the file is open.
    pub fn answer(&self, count: u32) -> Answer {
        Answer::Pages(self.address() as u64, count)
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, PAGE, Pages};
    use alloc::vec::Vec;

    #[test]
    fn pages_are_aligned_lie_in_a_row_and_are_zero_whenever_they_are_taken() {
        let mut pages = Pages::new();
        let mut taken: Vec<_> = (0..BLOCK + 3).map(|_| pages.take().unwrap()).collect();
        assert!(taken.iter().all(|page| page.address() % PAGE == 0));
        assert!(taken[..BLOCK].windows(2).all(|pair| pair[0].is_before(&pair[1])));
        let mut last = taken.pop().unwrap();
        let place = last.address();
        last.bytes_mut().fill(7);
        pages.give(last);
        let again = pages.take().unwrap();
        assert_eq!((again.address(), again.bytes()), (place, [0; PAGE].as_slice()));
    }
}
