//! Tests of the memory layer: spaces against a model, and running out of memory at every allocation.
#![expect(clippy::arithmetic_side_effects, reason = "tests count small numbers, and check them")]

mod exhaustion;
mod interleaved;
mod model;
mod search;
mod windows;
mod wired;

use super::Run;
use super::advise::{Advice, Advise};
use super::clear::Clear;
use super::fill::{Fill, Wanted, Where};
use super::fork::Fork;
use super::frames::{Memory, Use};
use super::protect::Protect;
use super::region::{Kind, Region};
use super::space::{END, Space};
use super::user::Access;
use super::wired::{Making, Mapped};
use crate::arch::Machine;
use crate::base::NONE;
use crate::base::budget::Budget;
use ring_abi::Errno;
use rmm::{FrameInfo, Leaf, PageRights, Tenure};

const PAGE: u64 = 4096;
/// A budget that ends a slice after a page or two, but lets the dearest piece of work be done; and one that
/// ends none.
const SMALL: u32 = 2_100;
const LARGE: u32 = u32::MAX;

/// A memory layer over a fake machine.
pub(super) struct Bed {
    pub(super) memory: Memory,
    frames: u32,
}

impl Bed {
    pub(super) fn new(bytes: usize) -> Bed {
        let machine = Machine::new(bytes);
        let (first, count) = machine.usable();
        let frames = first.number() + count;
        let infos: Vec<FrameInfo> = (0..frames).map(|_| FrameInfo::new()).collect();
        let memory = Memory::new(machine, Vec::leak(infos), [(first, count)]).unwrap();
        Bed { memory, frames }
    }

    pub(super) fn space(&self, id: u32) -> &Space {
        self.memory.space(id)
    }

    /// Runs a change to its end, a slice at a time.
    fn run(&self, units: u32, mut slice: impl FnMut(&Budget) -> Run) -> Result<u64, Errno> {
        for _ in 0..100_000 {
            if let Run::Done(result) = slice(&Budget::of(units)) {
                return result;
            }
            self.memory.audit().unwrap();
        }
        panic!("a change does not end")
    }

    pub(super) fn map(&self, id: u32, wanted: &Wanted, units: u32) -> Result<u64, Errno> {
        let mut fill = Fill::start(&self.memory, self.space(id), wanted)?;
        self.run(units, |budget| {
            fill = Fill::from_words(fill.to_words());
            fill.run(&self.memory, self.space(id), budget)
        })
    }

    /// The same, given up after so many slices.
    pub(super) fn map_and_give_up(&self, id: u32, wanted: &Wanted, slices: u32) -> Result<u64, Errno> {
        let mut fill = Fill::start(&self.memory, self.space(id), wanted)?;
        for _ in 0..slices {
            if let Run::Done(result) = fill.run(&self.memory, self.space(id), &Budget::of(SMALL)) {
                return result;
            }
        }
        self.run(SMALL, |budget| {
            fill = Fill::from_words(fill.to_words());
            fill.abandon();
            fill.run(&self.memory, self.space(id), budget)
        })
    }

    pub(super) fn unmap(&self, id: u32, first: u64, pages: u64, units: u32) -> Result<u64, Errno> {
        let mut clear = Clear::start(&self.memory, self.space(id), first, first + pages)?;
        self.run(units, |budget| {
            clear = Clear::from_words(clear.to_words());
            clear.run(&self.memory, self.space(id), budget)
        })
    }

    pub(super) fn protect(
        &self,
        id: u32,
        first: u64,
        pages: u64,
        rights: PageRights,
        units: u32,
    ) -> Result<u64, Errno> {
        let space = self.space(id);
        let mut change = Protect::start(&self.memory, space, (first, first + pages), rights)?;
        self.run(units, |budget| {
            change = Protect::from_words(change.to_words(), &self.memory, space);
            change.run(&self.memory, space, budget)
        })
    }

    pub(super) fn advise(
        &self,
        id: u32,
        (first, pages): (u64, u64),
        advice: Advice,
        units: u32,
    ) -> Result<u64, Errno> {
        let space = self.space(id);
        let mut change = Advise::start(space, (first, first + pages), advice)?;
        self.run(units, |budget| {
            change = Advise::from_words(change.to_words());
            change.run(&self.memory, space, budget)
        })
    }

    pub(super) fn fork(&self, id: u32, units: u32) -> Result<u32, Errno> {
        let mut fork = Fork::start(&self.memory, id)?;
        let run = self.run(units, |budget| {
            fork = Fork::from_words(fork.to_words());
            fork.run(&self.memory, budget)
        });
        if run.is_err() {
            self.memory.let_go_space(fork.child);
        }
        run.map(|child| child as u32)
    }

    /// Lets go of a space and takes everything that ends apart.
    pub(super) fn end(&self, id: u32, units: u32) {
        self.memory.let_go_space(id);
        self.tidy(units);
    }

    pub(super) fn tidy(&self, units: u32) {
        for _ in 0..1_000_000 {
            if !self.memory.slice_ending(&Budget::of(units)) {
                return;
            }
            self.memory.audit().unwrap();
        }
        panic!("an end does not end")
    }

    /// What is used, records' memory left out: that stays for the next.
    pub(super) fn accounts(&self) -> Vec<u32> {
        let m = &self.memory;
        let records = [m.spaces.live(), m.regions.live(), m.objects.live(), m.blocks.live()];
        let frames = Use::ALL.into_iter().filter(|what| *what != Use::Records).map(|what| m.used(what));
        records.into_iter().chain(frames).collect()
    }

    /// Checks all accounts, and that regions and page table of a space agree.
    pub(super) fn check(&self, ids: &[u32]) {
        self.memory.audit().unwrap();
        self.memory.audit_owners(self.frames).unwrap();
        for id in ids {
            self.check_space(*id);
        }
    }

    fn check_space(&self, id: u32) {
        let (memory, space) = (&self.memory, self.space(id));
        let arena = &memory.regions;
        let (mut at, mut pages, mut count, mut end) = (0, 0, 0, 0);
        while let Some(region_id) = space.regions.first_from(arena, at) {
            let region = arena.at(region_id);
            assert!(region.first() >= end && region.body() < region.end(), "regions are sorted: {region:?}");
            assert!(!region.busy.get(), "nobody works: {region:?}");
            if region.has_guard() {
                assert_eq!(space.leaf(memory, region.first()), None, "a guard page is empty");
            }
            for page in region.body()..region.end() {
                let Some(leaf) = space.leaf(memory, page) else {
                    let is_lazy = region.kind.get() == Kind::Private || is_window(memory, region);
                    assert!(is_lazy, "a page of a region is there: {region:?}");
                    continue;
                };
                check_leaf(memory, leaf, region);
                pages += 1;
            }
            count += 1;
            end = region.end();
            at = end;
        }
        assert_eq!(pages, space.pages.get(), "no page is mapped outside of regions");
        for (low, wanted) in [(16, 1), (0x1_0000, 1), (0x1_01f5, 2), (0x1_0000, 3), (0x1_0200, 7), (0, 50)] {
            let found = space.regions.vacant(arena, low, wanted, END);
            assert_eq!(found, self.first_fit(space, low, wanted), "{wanted} pages from {low:#x}");
        }
        assert_eq!(count, space.regions.count());
    }

    /// The lowest free range, found by looking at every region.
    fn first_fit(&self, space: &Space, low: u64, pages: u64) -> Option<u64> {
        let arena = &self.memory.regions;
        let mut first = low;
        while let Some(id) = space.regions.first_from(arena, first) {
            if arena.at(id).first() >= first + pages {
                break;
            }
            first = arena.at(id).end();
        }
        (first + pages <= END).then_some(first)
    }

    /// The first word of a page, which is touched.
    pub(super) fn load(&self, id: u32, page: u64) -> Result<u32, Errno> {
        let place = self.space(id).reach(&self.memory, page * PAGE, Access::Read)?;
        Ok(self.memory.machine.load_u32(place))
    }

    /// The same without touching it: one that is not there is zero.
    pub(super) fn peek(&self, id: u32, page: u64) -> u32 {
        let place = self.space(id).place(&self.memory, page * PAGE, Access::Read);
        place.map_or(0, |place| self.memory.machine.load_u32(place))
    }

    /// Sets the first word of a page.
    pub(super) fn store(&self, id: u32, page: u64, value: u32, access: Access) -> Result<(), Errno> {
        let place = self.space(id).reach(&self.memory, page * PAGE, access)?;
        self.memory.machine.store_u32(place, value);
        Ok(())
    }
}

fn is_window(memory: &Memory, region: &Region) -> bool {
    region.object().is_some_and(|object| memory.objects.at(object).is_window())
}

fn check_leaf(memory: &Memory, leaf: Leaf, region: &Region) {
    let (kind, rights) = (region.kind.get(), region.rights.get());
    let narrow = if rights == PageRights::ReadWrite { PageRights::Read } else { rights };
    match (kind, leaf.tenure) {
        (Kind::Private, Tenure::CopyOnWrite) => return assert_eq!(leaf.rights, narrow),
        (Kind::Private, Tenure::Private) => assert!(!memory.is_zeros(leaf.frame), "all others would see it"),
        // A page that others map who share what is written to it.
        (Kind::Private, Tenure::Shared) => {}
        (Kind::Shared | Kind::Image, Tenure::Shared) | (Kind::Wired, Tenure::Wired) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(leaf.rights, rights);
}

/// Private memory that can be written.
pub(super) fn private(at: Where, pages: u64) -> Wanted {
    Wanted { at, pages, rights: PageRights::ReadWrite, shared: false, object: NONE, populated: false }
}

/// The same, there at once.
pub(super) fn populated(at: Where, pages: u64) -> Wanted {
    Wanted { populated: true, ..private(at, pages) }
}

/// An arena, made a slice at a time.
pub(super) fn arena(memory: &Memory, id: u32, bytes: usize) -> Result<Mapped, Errno> {
    let mut making = Making::start(memory, id, bytes, Use::Arenas)?;
    while !making.run(memory, &Budget::of(SMALL)) {
        making = Making::from_words(making.to_words());
        memory.audit().unwrap();
    }
    Ok(making.mapped(memory))
}

pub(super) const ANYWHERE: Where = Where::Anywhere { guard: false };

/// Numbers that look random and repeat with their seed.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(super) fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % most
    }

    pub(super) fn rights(&mut self) -> PageRights {
        [PageRights::Read, PageRights::ReadWrite, PageRights::ReadExecute][self.below(3) as usize]
    }

    pub(super) fn units(&mut self) -> u32 {
        [SMALL, 3_000, LARGE][self.below(3) as usize]
    }
}
