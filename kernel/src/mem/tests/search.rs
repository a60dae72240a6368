//! Where memory goes that may be anywhere.

use super::{ANYWHERE, Bed, LARGE, populated, private};
use crate::mem::fill::Where;
use ring_abi::Errno;
use rmm::PageRights;

const TEXT: u64 = 0x20_0000 / 4096;
const HIGH: u64 = 0x1000_0000 / 4096;

#[test]
fn memory_goes_above_a_low_image_and_shares_its_page_tables() {
    let bed = Bed::new(8 << 20);
    let id = bed.memory.create_space().unwrap();
    assert_eq!(bed.map(id, &private(ANYWHERE, 1), LARGE), Ok(HIGH * 4096), "no image yet");
    bed.unmap(id, HIGH, 1, LARGE).unwrap();
    bed.map(id, &populated(Where::Free(TEXT), 10), LARGE).unwrap();
    assert_eq!(bed.map(id, &populated(ANYWHERE, 3), LARGE), Ok((TEXT + 10) * 4096));
    assert_eq!(bed.memory.used(crate::mem::frames::Use::Tables), 4, "root and one table of each level");
    bed.check(&[id]);
}

#[test]
fn the_lowest_range_that_fits_is_taken() {
    let bed = Bed::new(8 << 20);
    let id = bed.memory.create_space().unwrap();
    let at = |pages| bed.map(id, &private(ANYWHERE, pages), LARGE).map(|address| address / 4096);
    assert_eq!([at(4), at(4), at(4)], [Ok(HIGH), Ok(HIGH + 4), Ok(HIGH + 8)]);
    assert_eq!(bed.space(id).regions.count(), 1, "neighbours that are alike are one");
    bed.unmap(id, HIGH + 1, 2, LARGE).unwrap();
    bed.unmap(id, HIGH + 5, 3, LARGE).unwrap();
    assert_eq!(bed.space(id).regions.count(), 3);
    assert_eq!([at(3), at(2), at(1)], [Ok(HIGH + 5), Ok(HIGH + 1), Ok(HIGH + 12)]);
    assert_eq!(bed.space(id).regions.count(), 1);
    bed.check(&[id]);
}

#[test]
fn a_guard_page_stays_empty_and_goes_with_its_stack() {
    let bed = Bed::new(8 << 20);
    let id = bed.memory.create_space().unwrap();
    let before = bed.accounts();
    let guarded = private(Where::Anywhere { guard: true }, 2);
    let stacks: Vec<u64> = (0..3).map(|_| bed.map(id, &guarded, LARGE).unwrap() / 4096).collect();
    assert_eq!(stacks, [HIGH + 1, HIGH + 4, HIGH + 7]);
    assert_eq!(bed.map(id, &private(ANYWHERE, 1), LARGE), Ok((HIGH + 9) * 4096), "no guard is filled");
    assert!(bed.load(id, HIGH + 3).is_err());
    bed.check(&[id]);
    // A part of a stack goes: the guard stays below what is left, and goes when the page above it goes.
    bed.unmap(id, HIGH + 5, 1, LARGE).unwrap();
    assert_eq!(bed.map(id, &private(ANYWHERE, 1), LARGE), Ok((HIGH + 5) * 4096));
    assert_eq!(bed.protect(id, HIGH, 2, PageRights::Read, LARGE), Err(Errno::NOMEM), "a guard is not there");
    bed.protect(id, HIGH + 1, 1, PageRights::Read, LARGE).unwrap();
    bed.check(&[id]);
    for (first, pages) in [(HIGH + 1, 2), (HIGH + 3, 2), (HIGH + 5, 5)] {
        bed.unmap(id, first, pages, LARGE).unwrap();
        bed.check(&[id]);
    }
    assert_eq!(bed.accounts(), before);
}

#[test]
fn addresses_that_nobody_may_have_are_refused() {
    let bed = Bed::new(8 << 20);
    let id = bed.memory.create_space().unwrap();
    let first = bed.memory.create_first_space().unwrap();
    let try_at = |id, page, pages| bed.map(id, &private(Where::Free(page), pages), LARGE).map(|_| ());
    assert_eq!(try_at(id, 15, 1), Err(Errno::INVAL));
    assert_eq!(try_at(id, 16, 1), Ok(()));
    assert_eq!(try_at(first, 0, 1), Err(Errno::INVAL));
    assert_eq!(try_at(first, 1, 1), Ok(()));
    let end = crate::mem::space::END;
    assert_eq!(try_at(id, end - 1, 1), Ok(()), "the last page");
    assert_eq!(try_at(id, end, 1), Err(Errno::NOMEM));
    assert_eq!(try_at(id, end - 2, 2), Err(Errno::EXIST));
    assert_eq!(try_at(id, 100, 0), Err(Errno::INVAL));
    assert_eq!(try_at(id, u64::MAX - 5, 10), Err(Errno::NOMEM));
    assert_eq!(bed.unmap(id, 0, 16, LARGE), Err(Errno::INVAL));
    bed.check(&[id, first]);
}

#[test]
fn many_stacks_are_found_quickly() {
    let bed = Bed::new(64 << 20);
    let id = bed.memory.create_space().unwrap();
    let guarded = private(Where::Anywhere { guard: true }, 1);
    for number in 0..10_000 {
        let address = bed.map(id, &guarded, LARGE).unwrap();
        assert_eq!(address / 4096, HIGH + 1 + 2 * number);
    }
    bed.memory.audit().unwrap();
    assert_eq!(bed.space(id).regions.count(), 10_000);
    let before = bed.memory.regions.live();
    bed.end(id, 12_000);
    assert_eq!(bed.memory.regions.live() + 10_000, before);
    bed.check(&[]);
}
