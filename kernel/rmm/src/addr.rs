//! Physical addresses, frames, and the pages of the lower half.
//!
//! A [`Page`] is a page that a program may have: the upper half has no name here, nor has the
//! last page of the lower half (an instruction at its end would fault on a non-canonical
//! address in the kernel), so neither can be mapped by mistake.
#![forbid(unsafe_code)]

/// Bytes in a frame and in a page.
pub const FRAME_SIZE: u64 = 4096;

/// One past the greatest page number that a program may have.
const PAGE_LIMIT: u64 = (1 << 35) - 1;

/// A physical address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhysAddr(u64);

impl PhysAddr {
    /// Names an address.
    #[inline]
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The address as a number.
    #[inline]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The frame around this address; none above 16 TiB.
    #[inline]
    pub const fn frame(self) -> Option<Frame> {
        let number = self.0 >> 12;
        if number < u32::MAX as u64 { Some(Frame(number as u32)) } else { None }
    }
}

/// A frame of 4 KiB of physical memory, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame(u32);

impl Frame {
    /// Names the frame with this number.
    #[inline]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Its number: its address divided by 4096.
    #[inline]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The address of its first byte.
    #[inline]
    pub const fn start(self) -> PhysAddr {
        PhysAddr((self.0 as u64) << 12)
    }
}

/// A page of the lower half, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Page(u64);

impl Page {
    /// The lowest page.
    pub const FIRST: Self = Self(0);
    /// The highest page that may be mapped.
    pub const LAST: Self = Self(PAGE_LIMIT - 1);

    /// The page with this number, if a program may have it.
    #[inline]
    pub const fn new(number: u64) -> Option<Self> {
        if number < PAGE_LIMIT { Some(Self(number)) } else { None }
    }

    /// The page around a virtual address, if a program may have it.
    #[inline]
    pub const fn containing(address: u64) -> Option<Self> {
        Self::new(address >> 12)
    }

    /// Its number: its address divided by 4096.
    #[inline]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The virtual address of its first byte.
    #[inline]
    pub const fn start(self) -> u64 {
        self.0 << 12
    }

    /// The page `count` pages above, if a program may have it.
    #[inline]
    pub const fn offset(self, count: u64) -> Option<Self> {
        match self.0.checked_add(count) {
            Some(number) => Self::new(number),
            None => None,
        }
    }

    /// Which entry of a table this page goes through; the leaf table is level 0, the root 3.
    #[inline]
    pub(crate) const fn index(self, level: u32) -> u16 {
        (self.0.wrapping_shr(level.wrapping_mul(9)) & 511) as u16
    }

    /// One past the index of `last` in this page's table of this level, or past the table.
    #[inline]
    pub(crate) const fn index_after(self, level: u32, last: Self) -> u16 {
        let above = level.wrapping_add(1).wrapping_mul(9);
        if self.0.wrapping_shr(above) == last.0.wrapping_shr(above) {
            last.index(level).wrapping_add(1)
        } else {
            512
        }
    }

    /// The first page that goes through the entry so many entries further in tables of this
    /// level; the page itself for none.
    #[inline]
    pub(crate) const fn skip_entries(self, level: u32, count: u16) -> Option<Self> {
        if count == 0 {
            return Some(self);
        }
        let shift = level.wrapping_mul(9);
        Self::new(self.0.wrapping_shr(shift).wrapping_add(count as u64).wrapping_shl(shift))
    }
}

/// Pages that follow each other; never empty, never beyond the lower half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRange {
    first: Page,
    last: Page,
}

impl PageRange {
    /// Every page that a program may have.
    pub const LOWER_HALF: Self = Self { first: Page::FIRST, last: Page::LAST };

    /// `count` pages from `first` on; none if that is no page, or leaves the lower half.
    #[inline]
    pub const fn new(first: Page, count: u64) -> Option<Self> {
        match count.checked_sub(1) {
            Some(more) => match first.offset(more) {
                Some(last) => Some(Self { first, last }),
                None => None,
            },
            None => None,
        }
    }

    /// Just this page.
    #[inline]
    pub const fn of(page: Page) -> Self {
        Self { first: page, last: page }
    }

    /// The lowest page.
    #[inline]
    pub const fn first(self) -> Page {
        self.first
    }

    /// The highest page.
    #[inline]
    pub const fn last(self) -> Page {
        self.last
    }

    /// How many pages.
    #[inline]
    pub const fn count(self) -> u64 {
        self.last.0.wrapping_sub(self.first.0).wrapping_add(1)
    }

    /// Whether `page` is one of them.
    #[inline]
    pub const fn contains(self, page: Page) -> bool {
        self.first.0 <= page.0 && page.0 <= self.last.0
    }

    /// What is left from `page` on.
    #[inline]
    pub const fn starting_at(self, page: Page) -> Option<Self> {
        if page.0 > self.last.0 {
            return None;
        }
        Some(Self { first: if page.0 > self.first.0 { page } else { self.first }, last: self.last })
    }

    /// What is left after `page`.
    #[inline]
    pub const fn after(self, page: Page) -> Option<Self> {
        match page.offset(1) {
            Some(next) => self.starting_at(next),
            None => None,
        }
    }

    /// How many tables of the given level the range touches.
    const fn tables(self, level: u32) -> u64 {
        let shift = level.wrapping_add(1).wrapping_mul(9);
        self.last.0.wrapping_shr(shift).wrapping_sub(self.first.0.wrapping_shr(shift)).wrapping_add(1)
    }

    /// How many tables below the root mapping the whole range can need at most.
    pub const fn tables_needed(self) -> u32 {
        let sum = self.tables(0).wrapping_add(self.tables(1)).wrapping_add(self.tables(2));
        sum as u32 // at most 2^26 + 2^17 + 2^8
    }
}

#[cfg(test)]
mod tests {
    use super::{Page, PageRange, PhysAddr};

    #[test]
    fn pages_a_program_may_not_have_have_no_name() {
        assert_eq!(Page::containing(0x7fff_ffff_f000), None);
        assert_eq!(Page::containing(0x7fff_ffff_e000), Some(Page::LAST));
        assert_eq!(Page::containing(0xffff_8000_0000_0000), None);
        assert_eq!(Page::LAST.offset(1), None);
        assert_eq!(Page::FIRST.offset(u64::MAX), None);
        assert_eq!(PageRange::new(Page::LAST, 2), None);
        assert_eq!(PageRange::new(Page::FIRST, 0), None);
        assert_eq!(PhysAddr::new(u64::MAX).frame(), None);
    }

    #[test]
    fn a_range_counts_the_tables_it_touches() {
        let page = |number| Page::new(number).unwrap();
        assert_eq!(PageRange::of(page(5)).tables_needed(), 3);
        assert_eq!(PageRange::new(page(511), 2).unwrap().tables_needed(), 4);
        assert_eq!(PageRange::new(page((1 << 27) - 1), 2).unwrap().tables_needed(), 6);
        assert_eq!(PageRange::LOWER_HALF.tables_needed(), (1 << 26) + (1 << 17) + (1 << 8));
    }

    #[test]
    fn a_range_gives_what_is_left_of_it() {
        let page = |number| Page::new(number).unwrap();
        let range = PageRange::new(page(10), 5).unwrap();
        assert_eq!(range.count(), 5);
        assert_eq!(range.after(page(13)), Some(PageRange::of(page(14))));
        assert_eq!(range.after(page(14)), None);
        assert_eq!(range.starting_at(page(3)), Some(range));
        assert!(range.contains(page(14)) && !range.contains(page(15)));
    }
}
