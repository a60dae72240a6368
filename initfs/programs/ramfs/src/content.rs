//! The bytes of a file: pages, with nothing where nothing was written.
//!
//! - What lies behind the end of a page's file is zero, so that a file that grows again reads as zeros there.
//! - Pages come out of a [`Quota`] and go back to it.
#![forbid(unsafe_code)]

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use uring::Errno;

/// Bytes of a page.
pub(crate) const PAGE: usize = 4096;
/// The same, for offsets.
pub(crate) const PAGE_BYTES: u64 = PAGE as u64;
/// Greatest length of a file.
pub(crate) const MAX_LENGTH: u64 = 1 << 40;

/// How many pages may still be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) free: u64,
    pub(crate) total: u64,
}

/// The bytes of a file.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pages: BTreeMap<u64, Vec<u8>>,
    length: u64,
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
        self.pages.len() as u64
    }

    /// The pieces from `offset` on, up to `most` bytes and the end.
    pub(crate) fn read(&self, offset: u64, most: usize) -> impl Iterator<Item = Piece<'_>> {
        let end = offset.saturating_add(most as u64).min(self.length);
        let mut at = offset;
        core::iter::from_fn(move || {
            let (page, start, count) = part(at, end)?;
            at = at.saturating_add(count as u64);
            Some(match self.pages.get(&page).and_then(|bytes| bytes.get(start..)?.get(..count)) {
                Some(bytes) => Piece::Bytes(bytes),
                None => Piece::Zeros(count),
            })
        })
    }

    /// Writes at `offset`; how many bytes. They are fewer when the room ends, but then at least one.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8], quota: &mut Quota) -> Result<usize, Errno> {
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= MAX_LENGTH);
        let end = end.ok_or(Errno::FBIG)?;
        let (mut at, mut rest) = (offset, bytes);
        while let Some((page, start, count)) = part(at, end) {
            let Ok(place) = self.page(page, quota) else { break };
            let (now, later) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            if let Some(place) = place.get_mut(start..).and_then(|place| place.get_mut(..count)) {
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
        let kept = length.div_ceil(PAGE_BYTES);
        let before = self.pages();
        self.pages.split_off(&kept);
        quota.free = quota.free.saturating_add(before.saturating_sub(self.pages()));
        let inside = length.wrapping_rem(PAGE_BYTES) as usize;
        if let Some(last) = self.pages.get_mut(&length.wrapping_div(PAGE_BYTES)) {
            last.get_mut(inside..).unwrap_or_default().fill(0);
        }
        self.length = length;
        Ok(())
    }

    /// The bytes of a page, which is taken if it is not there.
    fn page(&mut self, index: u64, quota: &mut Quota) -> Result<&mut Vec<u8>, Errno> {
        use alloc::collections::btree_map::Entry;
        match self.pages.entry(index) {
            Entry::Occupied(there) => Ok(there.into_mut()),
            Entry::Vacant(place) => {
                quota.free = quota.free.checked_sub(1).ok_or(Errno::NOSPC)?;
                let mut page = Vec::new();
                if page.try_reserve_exact(PAGE).is_err() {
                    quota.free = quota.free.saturating_add(1);
                    return Err(Errno::NOSPC);
                }
                page.resize(PAGE, 0);
                Ok(place.insert(page))
            }
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
    use super::{Content, MAX_LENGTH, PAGE, Piece, Quota};
    use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof, proptest};
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
        let mut quota = Quota { free: 2, total: 2 };
        let mut content = Content::default();
        assert_eq!(content.write(1 << 30, b"end", &mut quota), Ok(3));
        assert_eq!((content.length(), content.pages()), ((1 << 30) + 3, 1));
        assert_eq!(bytes(&content, (1 << 30) - 2, 100), b"\0\0end");
        assert_eq!(bytes(&content, 5, 3), b"\0\0\0");
        assert_eq!(bytes(&content, content.length(), 3), b"");
    }

    #[test]
    fn a_full_tree_takes_what_fits_then_refuses() {
        let mut quota = Quota { free: 1, total: 1 };
        let mut content = Content::default();
        assert_eq!(content.write(10, &[7; 2 * PAGE], &mut quota), Ok(PAGE - 10));
        assert_eq!(content.write(PAGE as u64, b"x", &mut quota), Err(Errno::NOSPC));
        assert_eq!(content.length(), PAGE as u64);
        content.truncate(0, &mut quota).unwrap();
        assert_eq!(quota.free, 1);
    }

    #[test]
    fn lengths_are_limited() {
        let mut quota = Quota { free: 1, total: 1 };
        let mut content = Content::default();
        assert_eq!(content.write(MAX_LENGTH, b"x", &mut quota), Err(Errno::FBIG));
        assert_eq!(content.write(u64::MAX, b"x", &mut quota), Err(Errno::FBIG));
        assert_eq!(content.truncate(MAX_LENGTH + 1, &mut quota), Err(Errno::FBIG));
        assert_eq!(content.truncate(MAX_LENGTH, &mut quota), Ok(()));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write(u64, Vec<u8>),
        Truncate(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..20_000_u64, proptest::collection::vec(any::<u8>(), 0..9000))
                .prop_map(|(at, b)| Step::Write(at, b)),
            (0..30_000_u64).prop_map(Step::Truncate),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_file_is_what_a_vector_is(steps in proptest::collection::vec(step(), 1..20)) {
            let mut quota = Quota { free: 1000, total: 1000 };
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
