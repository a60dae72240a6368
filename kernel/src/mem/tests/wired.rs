//! Rings and arenas in a space.

use super::{ANYWHERE, Bed, LARGE, SMALL, private};
use crate::mem::arena::Arena;
use crate::mem::fill::Where;
use crate::mem::frames::Use;
use crate::mem::user::Access;
use crate::mem::wired::{self, Mapped};
use crate::ring::duplex::Ring;
use crate::ring::place;
use ring_abi::Errno;
use ring_abi::layout::{Sizes, word};
use ring_abi::sync::Ordering::Relaxed;
use rmm::PageRights;

fn arena(bed: &Bed, id: u32, bytes: usize) -> Result<Mapped, Errno> {
    super::arena(&bed.memory, id, bytes)
}

#[test]
fn five_small_rings_share_a_page_and_leave_nothing() {
    let bed = Bed::new(8 << 20);
    let m = &bed.memory;
    let rings = Arena::<Ring>::new(m, 1 << 10);
    let id = m.create_space().unwrap();
    let before = bed.accounts();
    let make = || place::make(m, &rings, id, Sizes::SMALLEST, 7).unwrap();
    let made: Vec<u32> = (0..11).map(|_| make()).collect();
    assert_eq!(m.used(Use::Rings), 3);
    let mut addresses: Vec<u64> = made.iter().map(|ring| place::address(m, rings.at(*ring))).collect();
    addresses.sort_unstable();
    assert!(addresses.windows(2).all(|pair| pair[1] - pair[0] >= 768));
    for ring in &made {
        let ring = rings.at(*ring);
        let place = bed.space(id).place(m, place::address(m, ring), Access::Write).unwrap();
        m.machine.store_u32(place, 5);
        assert_eq!(ring.memory.get().header(word::SQ_HEAD).load(Relaxed), 5, "both see the same memory");
        assert_eq!(ring.memory.get().header(word::SIZES).load(Relaxed), Sizes::SMALLEST.packed());
        assert_eq!(ring.memory.get().header(word::SQ_SLEEPS).load(Relaxed), 1);
    }
    bed.check(&[id]);
    place::drop(m, &rings, made[1]);
    let again = make();
    let ring = rings.at(again);
    assert_eq!(place::address(m, ring), addresses[1], "a slot is used again");
    assert_eq!(ring.memory.get().header(word::SQ_HEAD).load(Relaxed), 0, "and zeroed");
    place::drop(m, &rings, again);
    for ring in made.iter().filter(|ring| **ring != made[1]) {
        place::drop(m, &rings, *ring);
    }
    assert_eq!(bed.accounts(), before);
    bed.check(&[id]);
}

#[test]
fn rings_of_all_sizes_come_and_go() {
    let bed = Bed::new(16 << 20);
    let m = &bed.memory;
    let rings = Arena::<Ring>::new(m, 1 << 10);
    let id = m.create_space().unwrap();
    let before = bed.accounts();
    let mut made = Vec::new();
    for sq in 0..8 {
        for service in [None, Some(0), Some(4), Some(8)] {
            let sizes = Sizes { sq, cq: (sq * 3) % 9, service };
            made.push(place::make(m, &rings, id, sizes, 0).unwrap());
        }
    }
    bed.check(&[id]);
    made.sort_by_key(|ring| ring.wrapping_mul(0x9e37_79b9));
    for ring in made {
        place::drop(m, &rings, ring);
        m.audit().unwrap();
    }
    bed.tidy(SMALL);
    assert_eq!(bed.accounts(), before);
    bed.check(&[id]);
}

#[test]
fn what_is_wired_cannot_be_changed_and_is_not_inherited() {
    let bed = Bed::new(8 << 20);
    let m = &bed.memory;
    let id = m.create_space().unwrap();
    let block = arena(&bed, id, 3 * 4096).unwrap();
    assert_eq!(m.used(Use::Arenas), 3, "what a power of two has too much is not kept");
    let page = block.address / 4096;
    bed.map(id, &private(Where::Free(page + 3), 4), LARGE).unwrap();
    let before = bed.accounts();
    assert_eq!(bed.unmap(id, page, 1, LARGE), Err(Errno::ACCES));
    assert_eq!(bed.protect(id, page, 3, PageRights::Read, LARGE), Err(Errno::ACCES));
    assert_eq!(bed.map(id, &private(Where::Replacing(page + 1), 5), LARGE), Err(Errno::ACCES));
    assert_eq!(bed.map(id, &private(Where::Free(page + 1), 1), LARGE), Err(Errno::EXIST));
    assert_eq!(bed.space(id).place_for_owner(m, block.address, 8), Err(Errno::ACCES));
    assert_eq!(bed.accounts(), before, "a refusal changes nothing");
    let child = bed.fork(id, SMALL).unwrap();
    bed.check(&[id, child]);
    assert_eq!(bed.load(child, page), Err(Errno::FAULT));
    assert!(bed.load(child, page + 3).is_ok());
    let high = bed.map(child, &private(ANYWHERE, 1), LARGE).unwrap();
    assert_eq!(high, block.address, "the hole is free in the copy");
    bed.end(child, SMALL);
    wired::release(m, block.block);
    bed.end(id, SMALL);
    assert_eq!(bed.accounts().iter().sum::<u32>(), 0);
}

#[test]
fn a_block_holds_its_space() {
    let bed = Bed::new(32 << 20);
    let m = &bed.memory;
    let id = m.create_space().unwrap();
    let block = arena(&bed, id, 4 << 20).unwrap();
    assert_eq!(arena(&bed, id, (4 << 20) + 1).map(|_| ()), Err(Errno::NOMEM));
    m.machine.store_u32(block.place.add((4 << 20) - 4), 9);
    assert_eq!(bed.load(id, block.address / 4096), Ok(0));
    bed.end(id, SMALL);
    assert_eq!(m.spaces.live(), 1, "it still has the arena");
    wired::release(m, block.block);
    bed.tidy(SMALL);
    assert_eq!(bed.accounts().iter().sum::<u32>(), 0);
    bed.check(&[]);
}
