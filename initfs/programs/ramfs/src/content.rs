//! The bytes of a file: pages, with nothing where nothing was written.
//!
//! - What lies behind the end of a page's file is zero, so that a file that grows again reads as zeros there.
//! - Pages come out of a [`Quota`] and go back to it.
//! - A page that a client may have mapped is what it is for as long as the file is open, even if the file is cut off before it.
//!   Who has such a page mapped may write behind the end of the file: that is zero again before the file grows.
#![forbid(unsafe_code)]

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use uring::Errno;
use uring::scheme::{Answer, Map, Page, Pages};

/// Bytes of a page.
pub(crate) const PAGE: usize = 4096;
/// The same, for offsets.
pub(crate) const PAGE_BYTES: u64 = PAGE as u64;
/// Greatest length of a file.
pub(crate) const MAX_LENGTH: u64 = 1 << 40;

/// Where pages come from, and how many may still be taken.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    pub(crate) free: u64,
    pub(crate) total: u64,
    pages: Pages,
}

impl Quota {
    /// So many pages.
    pub(crate) fn new(total: u64) -> Quota {
        Quota { free: total, total, pages: Pages::new() }
    }

    fn take(&mut self) -> Result<Page, Errno> {
        let left = self.free.checked_sub(1).ok_or(Errno::NOSPC)?;
        let page = self.pages.take().ok_or(Errno::NOSPC)?;
        self.free = left;
        Ok(page)
    }

    fn give(&mut self, page: Page) {
        self.free = self.free.saturating_add(1);
        self.pages.give(page);
    }
}

/// The bytes of a file.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pages: BTreeMap<u64, Page>,
    length: u64,
    /// Clients may have pages of it mapped.
    shown: bool,
    /// Pages that are no part of it any more, and that clients may have mapped.
    kept: Vec<Page>,
}

/// A piece of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'c> {
    /// These bytes.
    Bytes(&'c [u8]),
    /// So many zeros.
    Zeros(usize),
}

impl Content {
    /// Length in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Number of pages that it takes.
    pub(crate) fn pages(&self) -> u64 {
        self.pages.len().saturating_add(self.kept.len()) as u64
    }

    /// From now on clients may have pages of it mapped.
    pub(crate) fn show(&mut self) {
        self.shown = true;
    }

    /// Nobody has it open any more, and so nobody has it mapped.
    pub(crate) fn is_closed(&mut self, quota: &mut Quota) {
        self.shown = false;
        self.kept.drain(..).for_each(|page| quota.give(page));
    }

    /// It goes.
    pub(crate) fn end(mut self, quota: &mut Quota) {
        self.is_closed(quota);
        self.pages.into_values().for_each(|page| quota.give(page));
    }

    /// The page at an offset, for a client to map, and those behind it that are there and lie beside it. One that is in a hole is
    /// made. `ENXIO` behind the end.
    pub(crate) fn page_in(&mut self, map: Map, quota: &mut Quota) -> Result<Answer, Errno> {
        if map.offset >= self.length {
            return Err(Errno::NXIO);
        }
        let index = map.offset.wrapping_div(PAGE_BYTES);
        self.page(index, quota)?;
        let most = map.length.wrapping_div(PAGE_BYTES).max(1) as usize;
        let mut row = self.pages.range(index..).take(most);
        let (mut last, first) = row.next().ok_or(Errno::NXIO)?;
        let (mut count, mut end) = (1_u32, first);
        for (index, page) in row {
            if last.checked_add(1) != Some(*index) || !end.is_before(page) {
                break;
            }
            (last, end, count) = (index, page, count.saturating_add(1));
        }
        Ok(first.answer(count))
    }

    /// The pieces from `offset` on, up to `most` bytes and the end.
    pub(crate) fn read(&self, offset: u64, most: usize) -> impl Iterator<Item = Piece<'_>> {
        let end = offset.saturating_add(most as u64).min(self.length);
        let mut at = offset;
        core::iter::from_fn(move || {
            let (page, start, count) = part(at, end)?;
            at = at.saturating_add(count as u64);
            Some(match self.pages.get(&page).and_then(|page| page.bytes().get(start..)?.get(..count)) {
                Some(bytes) => Piece::Bytes(bytes),
                None => Piece::Zeros(count),
            })
        })
    }

    /// Writes at `offset`; how many bytes. They are fewer when the room ends, but then at least one.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8], quota: &mut Quota) -> Result<usize, Errno> {
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= MAX_LENGTH);
        let end = end.ok_or(Errno::FBIG)?;
        if end > self.length && self.shown {
            self.clear_behind_end();
        }
        let (mut at, mut rest) = (offset, bytes);
        while let Some((page, start, count)) = part(at, end) {
            let Ok(place) = self.page(page, quota) else { break };
            let (now, later) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            if let Some(place) = place.bytes_mut().get_mut(start..).and_then(|place| place.get_mut(..count)) {
                place.copy_from_slice(now);
            }
            rest = later;
            at = at.saturating_add(count as u64);
        }
        if at == offset && !bytes.is_empty() {
            return Err(Errno::NOSPC);
        }
        if !bytes.is_empty() {
            self.length = self.length.max(at);
        }
        Ok(bytes.len().saturating_sub(rest.len()))
    }

    /// Sets the length.
    pub(crate) fn truncate(&mut self, length: u64, quota: &mut Quota) -> Result<(), Errno> {
        if length > MAX_LENGTH {
            return Err(Errno::FBIG);
        }
        if length > self.length && self.shown {
            self.clear_behind_end();
        }
        let gone = self.pages.split_off(&length.div_ceil(PAGE_BYTES));
        for page in gone.into_values() {
            if self.shown {
                self.kept.push(page);
            } else {
                quota.give(page);
            }
        }
        self.length = length;
        self.clear_behind_end();
        Ok(())
    }

    /// Makes the rest of its last page zero.
    fn clear_behind_end(&mut self) {
        let inside = self.length.wrapping_rem(PAGE_BYTES) as usize;
        if let Some(last) = self.pages.get_mut(&self.length.wrapping_div(PAGE_BYTES)) {
            last.bytes_mut().get_mut(inside..).unwrap_or_default().fill(0);
        }
    }

    /// The bytes of a page, which is taken if it is not there.
    fn page(&mut self, index: u64, quota: &mut Quota) -> Result<&mut Page, Errno> {
        use alloc::collections::btree_map::Entry;
        match self.pages.entry(index) {
            Entry::Occupied(there) => Ok(there.into_mut()),
            Entry::Vacant(place) => Ok(place.insert(quota.take()?)),
        }
    }
}

/// The part of `at..end` that lies in the page of `at`: the page, where in it, and how many bytes.
#[expect(clippy::arithmetic_side_effects, reason = "remainders and differences of ordered numbers")]
fn part(at: u64, end: u64) -> Option<(u64, usize, usize)> {
    if at >= end {
        return None;
    }
    let start = (at % PAGE_BYTES) as usize;
    let count = (end - at).min((PAGE - start) as u64) as usize;
    Some((at / PAGE_BYTES, start, count))
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test fails by panicking")]
mod tests {
    use super::{Answer, Content, MAX_LENGTH, Map, PAGE, Piece, Quota};
    use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
    use uring::Errno;

    fn bytes(content: &Content, offset: u64, most: usize) -> Vec<u8> {
        let mut all = Vec::new();
        for piece in content.read(offset, most) {
            match piece {
                Piece::Bytes(bytes) => all.extend_from_slice(bytes),
                Piece::Zeros(count) => all.resize(all.len() + count, 0),
            }
        }
        all
    }

    #[test]
    fn a_hole_takes_no_room_and_reads_as_zeros() {
        let mut quota = Quota::new(2);
        let mut content = Content::default();
        assert_eq!(content.write(1 << 30, b"end", &mut quota), Ok(3));
        assert_eq!((content.length(), content.pages()), ((1 << 30) + 3, 1));
        assert_eq!(bytes(&content, (1 << 30) - 2, 100), b"\0\0end");
        assert_eq!(bytes(&content, 5, 3), b"\0\0\0");
        assert_eq!(bytes(&content, content.length(), 3), b"");
    }

    #[test]
    fn a_full_tree_takes_what_fits_then_refuses() {
        let mut quota = Quota::new(1);
        let mut content = Content::default();
        assert_eq!(content.write(10, &[7; 2 * PAGE], &mut quota), Ok(PAGE - 10));
        assert_eq!(content.write(PAGE as u64, b"x", &mut quota), Err(Errno::NOSPC));
        assert_eq!(content.length(), PAGE as u64);
        content.truncate(0, &mut quota).unwrap();
        assert_eq!(quota.free, 1);
    }

    #[test]
    fn lengths_are_limited() {
        let mut quota = Quota::new(1);
        let mut content = Content::default();
        assert_eq!(content.write(MAX_LENGTH, b"x", &mut quota), Err(Errno::FBIG));
        assert_eq!(content.write(u64::MAX, b"x", &mut quota), Err(Errno::FBIG));
        assert_eq!(content.truncate(MAX_LENGTH + 1, &mut quota), Err(Errno::FBIG));
        assert_eq!(content.truncate(MAX_LENGTH, &mut quota), Ok(()));
    }

    fn wish(offset: u64, pages: u64) -> Map {
        Map { offset, length: pages * PAGE as u64, shared: true, written: true }
    }

    #[test]
    fn pages_are_given_with_those_that_lie_beside_them() {
        let mut quota = Quota::new(20);
        let mut content = Content::default();
        content.show();
        content.write(0, &[1; 3 * PAGE], &mut quota).unwrap();
        content.write(5 * PAGE as u64, &[2; PAGE], &mut quota).unwrap();
        let count = |answer| if let Ok(Answer::Pages(_, count)) = answer { count } else { 0 };
        assert_eq!(count(content.page_in(wish(0, 16), &mut quota)), 3);
        assert_eq!(count(content.page_in(wish(0, 2), &mut quota)), 2);
        assert_eq!(count(content.page_in(wish(2 * PAGE as u64, 16), &mut quota)), 1);
        let hole = content.page_in(wish(3 * PAGE as u64, 1), &mut quota);
        assert_eq!((count(hole), content.pages()), (1, 5));
        assert!(matches!(content.page_in(wish(6 * PAGE as u64, 1), &mut quota), Err(Errno::NXIO)));
        content.write(6 * PAGE as u64, &[3; 15 * PAGE], &mut quota).unwrap();
        assert!(matches!(content.page_in(wish(4 * PAGE as u64, 1), &mut quota), Err(Errno::NOSPC)));
    }

    #[test]
    fn a_page_that_was_shown_stays_until_the_file_is_closed() {
        let mut quota = Quota::new(4);
        let mut content = Content::default();
        content.show();
        content.write(0, &[1; 2 * PAGE], &mut quota).unwrap();
        content.truncate(0, &mut quota).unwrap();
        assert_eq!((content.length(), content.pages(), quota.free), (0, 2, 2));
        content.write(0, b"new", &mut quota).unwrap();
        assert_eq!((content.pages(), quota.free), (3, 1));
        content.is_closed(&mut quota);
        assert_eq!((content.pages(), quota.free), (1, 3));
        content.end(&mut quota);
        assert_eq!(quota.free, 4);
    }

    #[test]
    fn what_is_written_behind_the_end_is_gone_when_the_file_grows() {
        let mut quota = Quota::new(4);
        let mut content = Content::default();
        content.show();
        content.write(0, b"abc", &mut quota).unwrap();
        for grow in [0, 1] {
            let length = content.length();
            // As a client does that has the page mapped.
            content.page(0, &mut quota).unwrap().bytes_mut()[length as usize..].fill(9);
            match grow {
                0 => content.truncate(length + 2, &mut quota).unwrap(),
                _ => assert_eq!(content.write(length + 2, b"d", &mut quota), Ok(1)),
            }
        }
        assert_eq!(bytes(&content, 0, 100), b"abc\0\0\0\0d");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write(u64, Vec<u8>),
        Truncate(u64),
        Show,
        Page(u64),
        Close,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..20_000_u64, proptest::collection::vec(any::<u8>(), 0..9000))
                .prop_map(|(at, b)| Step::Write(at, b)),
            (0..30_000_u64).prop_map(Step::Truncate),
            Just(Step::Show),
            Just(Step::Close),
            (0..30_000_u64).prop_map(Step::Page),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_file_is_what_a_vector_is(steps in proptest::collection::vec(step(), 1..20)) {
            let mut quota = Quota::new(1000);
            let mut content = Content::default();
            let mut model: Vec<u8> = Vec::new();
            for step in steps {
                match step {
                    Step::Write(at, written) => {
                        assert_eq!(content.write(at, &written, &mut quota), Ok(written.len()));
                        if !written.is_empty() {
                            let end = at as usize + written.len();
                            model.resize(model.len().max(end), 0);
                            model[at as usize..end].copy_from_slice(&written);
                        }
                    }
                    Step::Show => content.show(),
                    Step::Close => content.is_closed(&mut quota),
                    Step::Page(at) => {
                        let wish = wish(at / PAGE as u64 * PAGE as u64, 16);
                        let is_there = wish.offset < model.len() as u64;
                        assert_eq!(content.page_in(wish, &mut quota).is_ok(), is_there);
                    }
                    Step::Truncate(length) => {
                        content.truncate(length, &mut quota).unwrap();
                        model.resize(length as usize, 0);
                    }
                }
                assert_eq!(bytes(&content, 0, 100_000), model);
                assert_eq!(quota.free + content.pages(), 1000);
            }
        }
    }
}
