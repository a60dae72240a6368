//! Running out of memory at every allocation: an error, nothing lost, nothing changed.

use super::{ANYWHERE, Bed, LARGE, SMALL, populated, private};
use crate::mem::arena::Arena;
use crate::mem::fill::{Wanted, Where};
use crate::mem::user::Access;
use crate::mem::wired;
use crate::ring::duplex::Ring;
use crate::ring::place;
use ring_abi::Errno;
use ring_abi::layout::Sizes;
use rmm::PageRights;

const AT: u64 = 0x1000_0000 / 4096;

/// Does something again and again, with one more allocation allowed each time, until it succeeds. Every
/// failure must leave all accounts and spaces as they were. Says how often it failed.
fn until_it_succeeds<T>(
    bed: &Bed,
    spaces: &[u32],
    mut act: impl FnMut(&Bed) -> Result<T, Errno>,
) -> (T, u64) {
    let before = bed.accounts();
    for allowed in 0..1_000 {
        bed.memory.fail_after(Some(allowed));
        let result = act(bed);
        let failed = !bed.memory.will_fail();
        bed.memory.fail_after(None);
        bed.tidy(SMALL);
        bed.check(spaces);
        match result {
            Ok(value) => {
                assert!(!failed, "a failed allocation was passed over");
                return (value, allowed);
            }
            Err(error) => {
                assert_eq!(error, Errno::NOMEM);
                assert!(failed, "it failed without a reason");
                assert_eq!(bed.accounts(), before);
            }
        }
    }
    panic!("it never succeeds")
}

#[test]
fn no_change_of_a_space_loses_anything() {
    for units in [SMALL, LARGE] {
        let bed = Bed::new(8 << 20);
        let (id, _) = until_it_succeeds(&bed, &[], |bed| bed.memory.create_space());
        let shared = Wanted { shared: true, ..private(Where::Free(AT + 3), 9) };
        let (_, failures) = until_it_succeeds(&bed, &[id], |bed| bed.map(id, &shared, units));
        assert!(failures >= 2, "records and frames can fail: {failures}");
        let (at, _) = until_it_succeeds(&bed, &[id], |bed| bed.map(id, &private(ANYWHERE, 2), units));
        until_it_succeeds(&bed, &[id], |bed| bed.map(id, &populated(Where::Replacing(AT + 5), 3), units));
        for access in [Access::Read, Access::Write] {
            until_it_succeeds(&bed, &[id], |bed| bed.space(id).reach(&bed.memory, at, access));
        }
        until_it_succeeds(&bed, &[id], |bed| bed.protect(id, AT + 6, 3, PageRights::Read, units));
        let (child, failures) = until_it_succeeds(&bed, &[id], |bed| bed.fork(id, units));
        assert!(failures >= 2, "records and page tables can fail: {failures}");
        bed.check(&[id, child]);
        let written =
            until_it_succeeds(&bed, &[id], |bed| bed.space(id).reach(&bed.memory, at, Access::Write));
        assert_eq!(written.1, 1, "the copy of a page can fail");
        bed.memory.fail_after(Some(0));
        bed.end(child, units);
        assert!(bed.memory.will_fail(), "an end takes no memory");
        bed.memory.fail_after(None);
        until_it_succeeds(&bed, &[id], |bed| bed.unmap(id, AT + 4, 1, units));
        bed.end(id, units);
        assert_eq!(bed.accounts().iter().sum::<u32>(), 0);
    }
}

#[test]
fn no_ring_or_arena_loses_anything() {
    let bed = Bed::new(16 << 20);
    let m = &bed.memory;
    let rings = Arena::<Ring>::new(m, 1 << 8);
    let id = m.create_space().unwrap();
    let large = Sizes { sq: 7, cq: 7, service: Some(4) };
    let make = |sizes| {
        let rings = &rings;
        move |bed: &Bed| place::make(&bed.memory, rings, id, sizes, 0)
    };
    let (small, failures) = until_it_succeeds(&bed, &[id], make(Sizes::SMALLEST));
    assert!(failures >= 3, "{failures}");
    let (large, _) = until_it_succeeds(&bed, &[id], make(large));
    let (arena, _) = until_it_succeeds(&bed, &[id], |bed| super::arena(&bed.memory, id, 9 * 4096));
    assert_eq!(rings.live(), 2, "no record is lost");
    place::drop(m, &rings, small);
    place::drop(m, &rings, large);
    wired::release(m, arena.block);
    bed.end(id, SMALL);
    assert_eq!(bed.accounts().iter().sum::<u32>(), 0);
}

#[test]
fn a_mapping_given_up_halfway_is_taken_out_again() {
    let bed = Bed::new(8 << 20);
    let id = bed.memory.create_space().unwrap();
    let before = bed.accounts();
    for slices in 0..7 {
        for wanted in [populated(ANYWHERE, 15), Wanted { shared: true, ..private(ANYWHERE, 15) }] {
            assert_eq!(bed.map_and_give_up(id, &wanted, slices), Err(Errno::ACCES), "{slices} slices");
            assert_eq!(bed.accounts(), before);
            bed.check(&[id]);
        }
        bed.map(id, &private(Where::Free(AT), 25), LARGE).unwrap();
        let result = bed.map_and_give_up(id, &populated(Where::Replacing(AT + 5), 15), slices);
        assert_eq!(result, Err(Errno::ACCES), "{slices} slices");
        bed.check(&[id]);
        bed.unmap(id, AT, 25, SMALL).unwrap();
        assert_eq!(bed.accounts(), before);
    }
}

#[test]
fn more_than_there_is_is_refused_at_once() {
    let bed = Bed::new(4 << 20);
    let id = bed.memory.create_space().unwrap();
    let before = bed.accounts();
    for pages in [1 << 34, u64::MAX >> 12, 1100, 1024] {
        assert_eq!(bed.map(id, &populated(ANYWHERE, pages), SMALL), Err(Errno::NOMEM));
        assert_eq!(bed.accounts(), before);
    }
    let most = u64::from(bed.memory.available_to_many());
    assert_eq!(
        bed.map(id, &populated(ANYWHERE, most + 1), SMALL),
        Err(Errno::NOMEM),
        "some is left for others"
    );
    bed.map(id, &populated(ANYWHERE, most - 30), SMALL).unwrap();
    let at = bed.map(id, &private(ANYWHERE, 2 * most), SMALL).unwrap() / 4096;
    let touched = (at..).take_while(|page| bed.store(id, *page, 1, Access::Write).is_ok()).count();
    assert!((20..30).contains(&touched), "who has much gets none of the last frames: {touched}");
    let few = bed.memory.create_space().unwrap();
    bed.map(few, &private(Where::Free(AT), 1), SMALL).unwrap();
    assert_eq!(bed.store(few, AT, 1, Access::Write), Ok(()), "who has little does");
    let rest = bed.memory.available() - 2;
    bed.memory.reserve(rest).unwrap();
    assert_eq!(bed.fork(few, SMALL), Err(Errno::NOMEM), "a copy needs page tables");
    assert_eq!(bed.store(few, AT, 2, Access::Write), Ok(()), "its own again");
    bed.memory.unreserve(rest);
    bed.end(few, SMALL);
    bed.tidy(SMALL);
    bed.check(&[id]);
    bed.end(id, SMALL);
    assert_eq!(bed.accounts().iter().sum::<u32>(), 0);
}
