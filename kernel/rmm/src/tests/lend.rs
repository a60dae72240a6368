//! What a fork lends, page by page, and that all of it comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{collection, proptest};

use super::{ME, check, destroy, memory, page, space};
use crate::fake::{Access, FakeMachine, infos};
use crate::{Leaf, MapError, Memory, Page, PageRange, PageRights, PageTable, Released, Tenure};

/// A page of the parent: where, on which terms, and whether somebody holds its frame who is no mapping.
type Lot = (Page, Tenure, PageRights, bool);

fn lot() -> impl Strategy<Value = Lot> {
    let at = (prop_oneof![Just(0), Just(505), Just(512), Just((1 << 27) - 3)], 0..14_u64);
    let tenure = prop_oneof![Just(Tenure::Private), Just(Tenure::Shared), Just(Tenure::CopyOnWrite)];
    let rights =
        prop_oneof![Just(PageRights::Read), Just(PageRights::ReadWrite), Just(PageRights::ReadExecute)];
    (at, tenure, rights, any::<bool>())
        .prop_map(|((base, more), tenure, rights, held)| (page(base + more), tenure, rights, held))
}

fn map(memory: &Memory<'_, FakeMachine>, table: &PageTable, page: Page, leaf: Leaf) {
    let missing = table.tables_missing(&memory.machine, page);
    let stock = memory.frames.table_stock(ME, missing).unwrap();
    table.map(memory, page, leaf, &stock).unwrap();
}

/// Lends all pages, as many steps at a time; gives those that were held.
fn lend_all(
    memory: &Memory<'_, FakeMachine>,
    (parent, child): (&PageTable, &PageTable),
    steps: u32,
) -> BTreeSet<Page> {
    let mut held = BTreeSet::new();
    let mut rest = Some(PageRange::LOWER_HALF);
    while let Some(range) = rest {
        let crate::Next::User(first, _) = parent.next_mapped(&memory.machine, range, &mut 10_000) else {
            break;
        };
        let range = range.starting_at(first).unwrap();
        let missing = child.tables_missing(&memory.machine, first);
        let stock = memory.frames.table_stock(ME, missing).unwrap();
        let lent = parent.lend(memory, (child, &stock), range, (&mut steps.clone(), 1)).unwrap();
        if let Some(stale) = lent.narrowed {
            stale.flush(memory).unwrap();
        }
        rest = match (lent.next, lent.held) {
            (Some(next), Some(_)) => {
                assert!(held.insert(next), "each is told once");
                range.after(next)
            }
            (Some(next), None) => range.starting_at(next),
            (None, _) => range.starting_at(page((first.number() | 511) + 1)),
        };
    }
    held
}

proptest! {
    #[test]
    fn both_have_what_is_lent_and_nobody_writes_it(lots in collection::vec(lot(), 0..40), steps in 1..40_u32) {
        let infos = infos(4096);
        let memory = memory(&infos, 1);
        let (parent, child) = (space(&memory).unwrap(), space(&memory).unwrap());
        memory.machine.load(Some(parent.root()));
        let mut model = BTreeMap::new();
        let mut holders = Vec::new();
        for (page, tenure, rights, is_held) in lots {
            if model.contains_key(&page) {
                continue;
            }
            let frame = memory.frames.allocate_user(ME).unwrap();
            if is_held {
                memory.frames.share(frame).unwrap();
                holders.push(frame);
            }
            map(&memory, &parent, page, Leaf { frame, rights, tenure });
            memory.machine.touch(page, Access::Read);
            memory.machine.touch(page, Access::Write);
            model.insert(page, (parent.leaf(&memory.machine, page).unwrap(), is_held));
        }

        let held = lend_all(&memory, (&parent, &child), steps);
        for (page, (leaf, is_held)) in &model {
            let stays = *is_held && leaf.tenure == Tenure::Private;
            assert_eq!(held.contains(page), stays);
            let (mine, its) = (parent.leaf(&memory.machine, *page), child.leaf(&memory.machine, *page));
            if stays {
                assert_eq!((mine, its), (Some(*leaf), None));
                continue;
            }
            assert_eq!(its, mine, "the same on both sides");
            let shared = mine.unwrap();
            assert_eq!(shared.frame, leaf.frame);
            assert_eq!(memory.frames.shares(leaf.frame), 2 + u32::from(*is_held));
            if leaf.tenure == Tenure::Shared {
                assert_eq!(shared, *leaf);
                continue;
            }
            assert_eq!(shared.tenure, Tenure::CopyOnWrite);
            assert_eq!(memory.machine.touch(*page, Access::Write), None, "no translation is left that allows it");
        }
        destroy(&memory, parent);
        destroy(&memory, child);
        holders.into_iter().for_each(|frame| assert_eq!(memory.frames.release(frame), Ok(Released::Last(ME))));
        check(&memory.frames);
        assert_eq!(memory.frames.free_count(), memory.frames.total());
    }
}

#[test]
fn without_tables_nothing_is_lent() {
    let infos = infos(256);
    let memory = memory(&infos, 1);
    let (parent, child) = (space(&memory).unwrap(), space(&memory).unwrap());
    let frame = memory.frames.allocate_user(ME).unwrap();
    let leaf = Leaf { frame, rights: PageRights::ReadWrite, tenure: Tenure::Private };
    map(&memory, &parent, page(77), leaf);
    let stock = memory.frames.table_stock(ME, 2).unwrap();
    let lent = parent.lend(&memory, (&child, &stock), PageRange::of(page(77)), (&mut 100, 1));
    assert_eq!(lent.unwrap_err(), MapError::StockTooSmall);
    drop(stock);
    assert_eq!(parent.leaf(&memory.machine, page(77)), Some(leaf));
    assert_eq!(memory.frames.shares(frame), 1);
    destroy(&memory, parent);
    destroy(&memory, child);
    assert_eq!(memory.frames.free_count(), memory.frames.total());
}
