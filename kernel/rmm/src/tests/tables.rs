//! Page tables against a map, and the count of tables against the pages that are mapped.

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{collection, proptest};

use super::{ME, check, destroy, leaf, map_new, memory, page, space};
use crate::fake::{Access, FakeMachine, infos};
use crate::{
    Discarded, Frame, KernelHalf, Leaf, Machine, MapError, Memory, Misuse, Next, Page, PageRange, PageRights,
    PageTable, Protected, Released, Stale, Tenure, Unmapped,
};

#[derive(Clone, Debug)]
enum Step {
    Map(Page),
    Unmap(Page),
    Defer(Page),
    Replace(Page),
    Protect(Page, PageRights),
    UnmapRange(Page, u64),
    Flush,
}

/// Pages near the edges of tables of every level, so that parents empty often.
fn near_edges() -> impl Strategy<Value = Page> {
    let base = prop_oneof![Just(0), Just(512), Just(1 << 18), Just(1 << 27), Just((1_u64 << 35) - 4)];
    (base, 0..3_u64).prop_map(|(base, offset)| page(base + offset))
}

fn rights() -> impl Strategy<Value = PageRights> {
    prop_oneof![Just(PageRights::Read), Just(PageRights::ReadWrite), Just(PageRights::ReadExecute)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => near_edges().prop_map(Step::Map),
        3 => near_edges().prop_map(Step::Unmap),
        2 => near_edges().prop_map(Step::Defer),
        1 => near_edges().prop_map(Step::Replace),
        2 => (near_edges(), rights()).prop_map(|(page, rights)| Step::Protect(page, rights)),
        1 => (near_edges(), 1..1000_u64).prop_map(|(page, count)| Step::UnmapRange(page, count)),
        1 => any::<()>().prop_map(|()| Step::Flush),
    ]
}

type Model = BTreeMap<Page, Leaf>;

/// How many tables these pages need, the root counted.
fn tables_of(model: &Model) -> u32 {
    let at = |shift: u32| model.keys().map(|page| page.number() >> shift).collect::<BTreeSet<_>>().len();
    1 + (at(9) + at(18) + at(27)) as u32
}

/// A table, the map that it must agree with, and how to change both.
struct Pair<'a, 'm> {
    memory: &'a Memory<'m, FakeMachine>,
    table: PageTable,
    model: Model,
}

impl Pair<'_, '_> {
    fn apply(&mut self, step: Step) {
        match step {
            Step::Map(page) => self.map(page),
            Step::Unmap(page) => self.unmap(page, |memory, stale| memory.discard(stale)),
            Step::Defer(page) => self.unmap(page, |memory, stale| memory.frames.defer(stale)),
            Step::Replace(page) => self.replace(page),
            Step::Protect(page, rights) => self.protect(page, rights),
            Step::UnmapRange(page, count) => self.unmap_range(PageRange::new(page, count)),
            Step::Flush => {
                self.memory.flush_all(0);
                self.memory.frames.reclaim(u32::MAX);
                assert_eq!(self.memory.frames.stale_count(), 0);
            }
        }
    }

    fn map(&mut self, page: Page) {
        match self.model.get(&page) {
            None => {
                let frame = map_new(self.memory, &self.table, page).unwrap();
                self.model.insert(page, leaf(frame));
            }
            Some(&taken) => {
                let stock = self.memory.frames.table_stock(ME, 3).unwrap();
                assert_eq!(self.table.map(self.memory, page, taken, &stock), Err(MapError::Taken));
            }
        }
    }

    fn unmap(
        &mut self,
        page: Page,
        give: impl Fn(&Memory<'_, FakeMachine>, Stale<Unmapped>) -> Result<Discarded, Misuse>,
    ) {
        let before = tables_of(&self.model);
        match (self.table.unmap(self.memory, page), self.model.remove(&page)) {
            (Some(stale), Some(_)) => {
                let tables = before - tables_of(&self.model);
                assert_eq!(give(self.memory, stale), Ok(Discarded { frame: Some(ME), tables }));
            }
            (stale, leaf) => assert!(stale.is_none() && leaf.is_none()),
        }
    }

    fn replace(&mut self, page: Page) {
        let frame = self.memory.frames.allocate_user(ME).unwrap();
        match (self.table.replace(self.memory, page, leaf(frame)), self.model.get_mut(&page)) {
            (Some(stale), Some(known)) => {
                assert_eq!(stale.peek().frame(), Some(known.frame));
                assert_eq!(self.memory.discard(stale).unwrap().frame, Some(ME));
                *known = leaf(frame);
            }
            (stale, known) => {
                assert!(stale.is_none() && known.is_none());
                assert_eq!(self.memory.frames.release(frame), Ok(Released::Last(ME)));
            }
        }
    }

    fn protect(&mut self, page: Page, rights: PageRights) {
        match (self.table.protect(self.memory, page, rights), self.model.get_mut(&page)) {
            (Protected::NotMapped, None) => {}
            (Protected::Widened, Some(known)) => {
                assert!(rights.covers(known.rights));
                known.rights = rights;
            }
            (Protected::Narrowed(stale), Some(known)) => {
                assert!(!rights.covers(known.rights));
                stale.flush(self.memory).unwrap();
                known.rights = rights;
            }
            (protected, known) => panic!("{protected:?} for {known:?}"),
        }
    }

    fn unmap_range(&mut self, whole: Option<PageRange>) {
        let mut rest = whole;
        while let Some(range) = rest {
            rest = self.table.unmap_range(self.memory, range, &mut 7, |page, stale| {
                assert!(self.model.remove(&page).is_some());
                assert_eq!(self.memory.frames.defer(stale).unwrap().frame, Some(ME));
            });
        }
        assert!(whole.is_none_or(|range| self.model.keys().all(|&page| !range.contains(page))));
    }
}

fn compare(memory: &Memory<'_, FakeMachine>, table: &PageTable, model: &Model) {
    let frames = &memory.frames;
    let allocated = frames.total() - frames.free_count() - frames.stale_count();
    assert_eq!(allocated, tables_of(model) + model.len() as u32, "tables and frames");
    let mut found = Vec::new();
    let mut rest = Some(PageRange::LOWER_HALF);
    while let Some(range) = rest {
        rest = match table.next_mapped(&memory.machine, range, &mut 1000) {
            Next::User(page, leaf) => {
                assert_eq!(table.walk(&memory.machine, page), Some((leaf.frame, leaf.rights)));
                found.push((page, leaf));
                range.after(page)
            }
            Next::Device(page) => panic!("{page:?} is no device"),
            Next::End => None,
            Next::Paused(page) => range.starting_at(page),
        };
    }
    assert!(found.into_iter().eq(model.iter().map(|(&page, &leaf)| (page, leaf))));
}

proptest! {
    #[test]
    fn random_changes_agree_with_a_map(steps in collection::vec(step(), 0..60)) {
        let infos = infos(600);
        let memory = memory(&infos, 1);
        let table = space(&memory).unwrap();
        memory.machine.load(Some(table.root()));
        let mut pair = Pair { memory: &memory, table, model: Model::new() };
        for step in steps {
            pair.apply(step);
            compare(&memory, &pair.table, &pair.model);
        }
        check(&memory.frames);
        destroy(&memory, pair.table);
        memory.frames.reclaim(u32::MAX);
        assert_eq!(memory.frames.free_count(), memory.frames.total());
        check(&memory.frames);
    }
}

#[test]
fn an_empty_parent_is_freed_exactly_once() {
    let infos = infos(64);
    let memory = memory(&infos, 1);
    let table = space(&memory).unwrap();
    for number in [0, 1, 512] {
        map_new(&memory, &table, page(number)).unwrap();
    }
    let mut gone = Vec::new();
    for number in [0, 512, 1] {
        let stale = table.unmap(&memory, page(number)).unwrap();
        gone.push(memory.discard(stale).unwrap().tables);
        check(&memory.frames);
    }
    assert_eq!(gone, [0, 1, 3]);
    assert_eq!(memory.frames.free_count(), 63); // all but the root
}

#[test]
fn every_root_has_the_kernels_half() {
    let infos = infos(8);
    let memory = memory(&infos, 1);
    let kernel = KernelHalf::new([(256, 0x1003), (511, 0x2003)]).unwrap();
    let stock = memory.frames.table_stock(ME, 1).unwrap();
    let table = PageTable::new(&memory, &kernel, &stock).unwrap();
    assert!(PageTable::new(&memory, &kernel, &stock).is_none());
    for index in 0..512 {
        let expected =
            [(256, 0x1003), (511, 0x2003)].iter().find(|entry| entry.0 == index).map_or(0, |e| e.1);
        assert_eq!(memory.machine.read_entry(table.root(), index), expected);
    }
    assert!(KernelHalf::new([(255, 1)]).is_none());
    assert!(KernelHalf::new((0..33).map(|index| (256 + index, 1))).is_none());
    destroy(&memory, table);
}

#[test]
fn a_stock_that_is_too_small_changes_nothing() {
    let infos = infos(16);
    let memory = memory(&infos, 1);
    let table = space(&memory).unwrap();
    let frame = memory.frames.allocate_user(ME).unwrap();
    let stock = memory.frames.table_stock(ME, 2).unwrap();
    assert_eq!(table.map(&memory, page(1), leaf(frame), &stock), Err(MapError::StockTooSmall));
    assert_eq!((stock.left(), table.tables_missing(&memory.machine, page(1))), (2, 3));
}

#[test]
fn a_device_is_mapped_but_never_walked_to_and_never_freed() {
    let infos = infos(16);
    let memory = memory(&infos, 1);
    let table = space(&memory).unwrap();
    let device = memory.frames.device(Frame::new(0xfee00)).unwrap();
    let free = memory.frames.free_count();
    let stock = memory.frames.table_stock(ME, 3).unwrap();
    table.map_device(&memory, page(4), (device, PageRights::ReadWrite), &stock).unwrap();
    assert_eq!(table.walk(&memory.machine, page(4)), None);
    let range = PageRange::LOWER_HALF;
    assert_eq!(table.next_mapped(&memory.machine, range, &mut 9999), Next::Device(page(4)));
    let stale = table.unmap(&memory, page(4)).unwrap();
    assert_eq!(memory.discard(stale), Ok(Discarded { frame: None, tables: 3 }));
    assert_eq!(memory.frames.free_count(), free);
}

#[test]
fn protect_keeps_the_tenure_and_what_the_processor_noted() {
    let infos = infos(16);
    let memory = memory(&infos, 1);
    let table = space(&memory).unwrap();
    memory.machine.load(Some(table.root()));
    let frame = memory.frames.allocate_user(ME).unwrap();
    let stock = memory.frames.table_stock(ME, 3).unwrap();
    let shared = Leaf { tenure: Tenure::Shared, ..leaf(frame) };
    table.map(&memory, page(9), shared, &stock).unwrap();
    assert_eq!(memory.machine.touch(page(9), Access::Write), Some(frame.frame()));
    let Protected::Narrowed(stale) = table.protect(&memory, page(9), PageRights::Read) else {
        panic!("writing was taken away")
    };
    stale.flush(&memory).unwrap();
    assert_eq!(memory.machine.touch(page(9), Access::Write), None);
    assert_eq!(table.leaf(&memory.machine, page(9)), Some(Leaf { rights: PageRights::Read, ..shared }));
    assert!(table.unmap(&memory, page(9)).unwrap().peek().is_dirty());
}

#[test]
fn a_search_stops_when_its_steps_run_out_and_goes_on_from_there() {
    let infos = infos(16);
    let memory = memory(&infos, 1);
    let table = space(&memory).unwrap();
    let last = Page::LAST;
    map_new(&memory, &table, last).unwrap();
    let (mut range, mut slices) = (PageRange::LOWER_HALF, 0);
    loop {
        slices += 1;
        match table.next_mapped(&memory.machine, range, &mut 10) {
            Next::Paused(page) => range = range.starting_at(page).unwrap(),
            next => {
                assert!(matches!(next, Next::User(page, _) if page == last));
                break;
            }
        }
        assert!(slices < 400);
    }
    assert!(slices > 100);
}
