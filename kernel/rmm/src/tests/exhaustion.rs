//! Out of memory at every allocation: it fails cleanly and leaks nothing.

use super::{ME, check, destroy, map_new, memory, page, space};
use crate::fake::{FakeMachine, infos};
use crate::{Memory, PageRange, PageTable, Released};

/// Maps here and there, a range from one stock, and copies one page to a second space.
fn work(memory: &Memory<'_, FakeMachine>, table: &PageTable) -> Option<()> {
    for number in [0, 511, 512, 1 << 20, 1 << 30] {
        map_new(memory, table, page(number))?;
    }
    let range = PageRange::new(page((1 << 27) - 2), 4)?;
    let stock = memory.frames.table_stock(ME, range.tables_needed())?;
    for number in range.first().number()..=range.last().number() {
        let frame = memory.frames.allocate_user(ME)?;
        table.map(memory, page(number), super::leaf(frame), &stock).unwrap();
    }
    drop(stock);
    let block = memory.frames.allocate(3, ME)?;
    memory.frames.free(block, 3, ME).unwrap();
    let child = space(memory)?;
    let shared = table.walk(&memory.machine, page(511))?.0;
    let Some(stock) = memory.frames.table_stock(ME, 3) else {
        destroy(memory, child);
        return None;
    };
    memory.frames.share(shared).unwrap();
    child.map(memory, page(3), super::leaf(shared), &stock).unwrap();
    destroy(memory, child);
    Some(())
}

#[test]
fn running_out_at_the_nth_frame_leaks_nothing_for_every_n() {
    let mut enough = None;
    for size in 1..80 {
        let infos = infos(size);
        let memory = memory(&infos, 1);
        let done = space(&memory).and_then(|table| {
            let done = work(&memory, &table);
            check(&memory.frames);
            destroy(&memory, table);
            done
        });
        memory.frames.reclaim(u32::MAX);
        assert_eq!(memory.frames.free_count(), size, "with {size} frames");
        check(&memory.frames);
        match (done, enough) {
            (Some(()), None) => enough = Some(size),
            (None, Some(less)) => panic!("{less} frames were enough, {size} were not"),
            _ => {}
        }
    }
    assert!(enough.is_some_and(|size| size > 20), "some sizes fail, some do not: {enough:?}");
}

#[test]
fn a_stock_is_all_or_nothing_and_unused_tables_go_back() {
    let infos = infos(5);
    let memory = memory(&infos, 1);
    assert!(memory.frames.table_stock(ME, 6).is_none());
    assert_eq!(memory.frames.free_count(), 5);
    let stock = memory.frames.table_stock(ME, 5).unwrap();
    assert_eq!((stock.left(), stock.used(), stock.owner()), (5, 0, ME));
    assert_eq!(memory.frames.allocate_user(ME), None);
    drop(stock);
    assert_eq!(memory.frames.free_count(), 5);
}

#[test]
fn a_last_free_frame_serves_any_use() {
    let infos = infos(1);
    let memory = memory(&infos, 1);
    let user = memory.frames.allocate_user(ME).unwrap();
    assert_eq!(memory.frames.allocate(0, ME), None);
    assert_eq!(memory.frames.release(user), Ok(Released::Last(ME)));
    assert!(memory.frames.allocate(0, ME).is_some());
}
