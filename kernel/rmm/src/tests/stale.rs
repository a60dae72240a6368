//! No frame comes back while some CPU may reach it.

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::{collection, proptest};

use super::{ME, OTHER, check, destroy, leaf, map_new, memory, page, space, take_all};
use crate::fake::{Access, FakeMachine, infos};
use crate::{Frame, Memory, PageTable, Progress, Released, Stale, Unmapped};

/// Page-table code of this family once freed a mapping's frame, and the tables that became
/// empty with it, before the flush: another CPU could still write to what was someone else's.
#[test]
fn a_frame_is_never_handed_out_while_a_stale_token_for_it_lives() {
    let infos = infos(16);
    let memory = memory(&infos, 2);
    memory.frames.start_cpu(1);
    let table = space(&memory).unwrap();
    let frame = map_new(&memory, &table, page(1)).unwrap().frame();
    memory.machine.load(Some(table.root()));
    memory.machine.run_as(1);
    memory.machine.load(Some(table.root()));
    assert_eq!(memory.machine.touch(page(1), Access::Write), Some(frame));
    memory.machine.run_as(0);

    let stale = table.unmap(&memory, page(1)).unwrap();
    assert_eq!(stale.peek().frame().map(|gone| gone.frame()), Some(frame));
    let held: BTreeSet<_> = take_all(&memory.frames).into_iter().collect();
    assert!(held.is_disjoint(&memory.machine.reachable()), "neither the frame nor its three tables");
    assert_eq!(held.len(), 16 - 5);

    // Flushed here, but CPU 1 still writes to it.
    let stale = stale.flush(&memory).unwrap_err();
    assert!(take_all(&memory.frames).is_empty());
    memory.flush_all(0);
    let stale = stale.passed(&memory.frames).unwrap_err();
    assert!(memory.frames.wants_flush(1));
    assert_eq!(memory.machine.touch(page(1), Access::Write), None);
    memory.machine.run_as(1);
    assert_eq!(memory.machine.touch(page(1), Access::Write), Some(frame));
    assert!(take_all(&memory.frames).is_empty());

    memory.flush_if_wanted(1);
    assert_eq!(memory.machine.touch(page(1), Access::Write), None);
    let gone = stale.passed(&memory.frames).unwrap();
    assert!(take_all(&memory.frames).is_empty(), "it is still in our hands");
    let back = memory.frames.give_back(gone).unwrap();
    assert_eq!((back.frame, back.tables), (Some(ME), 3));
    assert!(take_all(&memory.frames).contains(&frame));
}

#[test]
fn a_flush_that_began_before_the_unmapping_proves_nothing() {
    let infos = infos(16);
    let memory = memory(&infos, 1);
    let table = space(&memory).unwrap();
    map_new(&memory, &table, page(1)).unwrap();
    let flush = memory.frames.start_flush(0);
    let stale = table.unmap(&memory, page(1)).unwrap();
    memory.frames.flushed(flush);
    let stale = stale.passed(&memory.frames).unwrap_err();
    memory.flush_if_wanted(0);
    assert!(stale.passed(&memory.frames).is_ok());
}

/// One share is deferred without a flush, the other flushed by itself: together they must
/// not free what the first still reaches.
#[test]
fn a_deferred_share_keeps_the_last_one_waiting() {
    let infos = infos(16);
    let memory = memory(&infos, 1);
    let table = space(&memory).unwrap();
    memory.machine.load(Some(table.root()));
    let frame = map_new(&memory, &table, page(1)).unwrap();
    memory.frames.share(frame).unwrap();
    table.map(&memory, page(2), leaf(frame), &memory.frames.table_stock(ME, 0).unwrap()).unwrap();
    map_new(&memory, &table, page(3)).unwrap();
    assert!(memory.machine.touch(page(1), Access::Write).is_some());

    let first = table.unmap(&memory, page(1)).unwrap();
    assert_eq!(memory.frames.defer(first).unwrap().frame, None);
    let second = table.unmap(&memory, page(2)).unwrap();
    assert_eq!(memory.discard(second).unwrap().frame, Some(ME), "the account is credited at once");
    assert_eq!(memory.machine.touch(page(1), Access::Write), Some(frame.frame()));
    assert_eq!(memory.frames.stale_count(), 1);
    assert!(!take_all(&memory.frames).contains(&frame.frame()));

    memory.flush_if_wanted(0);
    assert!(take_all(&memory.frames).contains(&frame.frame()), "a failing allocation reclaims by itself");
}

/// The older token is deferred last: its own epoch has passed, the other share's has not.
#[test]
fn the_last_share_waits_for_the_youngest() {
    let infos = infos(16);
    let memory = memory(&infos, 2);
    memory.frames.start_cpu(1);
    let table = space(&memory).unwrap();
    let frame = map_new(&memory, &table, page(1)).unwrap();
    memory.frames.share(frame).unwrap();
    table.map(&memory, page(2), leaf(frame), &memory.frames.table_stock(ME, 0).unwrap()).unwrap();
    map_new(&memory, &table, page(3)).unwrap();
    let older = table.unmap(&memory, page(1)).unwrap();
    memory.flush_all(0);
    memory.machine.run_as(1);
    memory.flush_all(1);
    memory.machine.load(Some(table.root()));
    assert_eq!(memory.machine.touch(page(2), Access::Write), Some(frame.frame()));

    memory.machine.run_as(0);
    let younger = table.unmap(&memory, page(2)).unwrap();
    assert_eq!(memory.frames.defer(younger).unwrap().frame, None);
    assert_eq!(memory.frames.defer(older).unwrap().frame, Some(ME));
    memory.flush_all(0);
    assert_eq!(memory.frames.reclaimable(), 0, "CPU 1 still writes to it");
    memory.machine.run_as(1);
    memory.flush_if_wanted(1);
    assert_eq!(memory.frames.reclaimable(), 1);
}

#[test]
fn a_holder_that_is_no_mapping_does_not_free_what_a_token_holds() {
    let infos = infos(16);
    let memory = memory(&infos, 1);
    let table = space(&memory).unwrap();
    let frame = map_new(&memory, &table, page(1)).unwrap();
    memory.frames.share(frame).unwrap();
    let stale = table.unmap(&memory, page(1)).unwrap();
    assert_eq!(memory.frames.release(frame), Ok(Released::Shared));
    assert!(!take_all(&memory.frames).contains(&frame.frame()));
    assert_eq!(memory.discard(stale).unwrap().frame, Some(ME));
}

#[test]
fn a_cpu_that_stops_holds_nothing_up() {
    let infos = infos(16);
    let memory = memory(&infos, 2);
    assert!(memory.frames.start_cpu(1) && !memory.frames.start_cpu(1) && !memory.frames.start_cpu(64));
    let table = space(&memory).unwrap();
    map_new(&memory, &table, page(1)).unwrap();
    let stale = table.unmap(&memory, page(1)).unwrap();
    assert_eq!(memory.frames.defer(stale).unwrap().tables, 3);
    memory.flush_all(0);
    assert_eq!((memory.frames.stale_count(), memory.frames.reclaimable()), (4, 0));
    assert!(memory.frames.stop_cpu(1) && !memory.frames.stop_cpu(1));
    assert_eq!(memory.frames.reclaimable(), 4);
    assert_eq!((memory.frames.reclaim(3), memory.frames.reclaim(3)), (3, 1));
    check(&memory.frames);
}

#[test]
fn a_retired_space_comes_back_in_slices_once_no_cpu_has_it() {
    let infos = infos(2000);
    let memory = memory(&infos, 1);
    let table = space(&memory).unwrap();
    memory.machine.load(Some(table.root()));
    for number in 0..1500 {
        map_new(&memory, &table, page(number)).unwrap();
    }
    let kept = table.walk(&memory.machine, page(0)).unwrap().0;
    memory.frames.share(kept).unwrap();
    let stale = table.retire(&memory.frames);
    memory.machine.load(None);
    let (mut teardown, mut credited, mut slices) = (stale.flush(&memory).unwrap(), 0, 0);
    let tables = loop {
        slices += 1;
        let mut steps = 50;
        match teardown.step(&memory, &mut steps, |owner| credited += u32::from(owner == ME)).unwrap() {
            Progress::More(more) => teardown = more,
            Progress::Done { tables } => break tables,
        }
        assert_eq!(steps, 0);
    };
    assert_eq!((credited, tables), (1499, 6));
    assert!(slices >= 1500 / 50);
    assert_eq!(memory.frames.free_count(), 1999);
    assert_eq!(memory.frames.release(kept), Ok(Released::Last(ME)));
}

#[derive(Clone, Debug)]
enum Step {
    RunAs(usize),
    Touch(u64),
    Map(u64),
    MapAgain(u64, u64),
    Hold(u64),
    Discard(u64),
    Defer(u64),
    Replace(u64),
    Retry,
    FlushIfWanted,
    Allocate,
    Reclaim,
}

fn step() -> impl Strategy<Value = Step> {
    let at = || prop_oneof![0..4_u64, 512..514_u64, (1_u64 << 27)..(1_u64 << 27) + 2];
    prop_oneof![
        3 => (0..3_usize).prop_map(Step::RunAs),
        6 => at().prop_map(Step::Touch),
        5 => at().prop_map(Step::Map),
        2 => (at(), at()).prop_map(|(from, to)| Step::MapAgain(from, to)),
        2 => at().prop_map(Step::Hold),
        3 => at().prop_map(Step::Discard),
        3 => at().prop_map(Step::Defer),
        1 => at().prop_map(Step::Replace),
        2 => any::<()>().prop_map(|()| Step::Retry),
        3 => any::<()>().prop_map(|()| Step::FlushIfWanted),
        2 => any::<()>().prop_map(|()| Step::Allocate),
        1 => any::<()>().prop_map(|()| Step::Reclaim),
    ]
}

/// A space used by several CPUs, tokens held, and frames given to someone else.
struct Scene<'a, 'm> {
    memory: &'a Memory<'m, FakeMachine>,
    table: PageTable,
    held: Vec<Stale<Unmapped>>,
    elsewhere: BTreeMap<Frame, crate::UserFrame>,
}

impl Scene<'_, '_> {
    fn apply(&mut self, step: Step) {
        let (memory, table) = (self.memory, &self.table);
        let is_free = |number| table.leaf(&memory.machine, page(number)).is_none();
        match step {
            Step::RunAs(cpu) => memory.machine.run_as(cpu % 3),
            Step::Touch(at) => drop(memory.machine.touch(page(at), Access::Write)),
            Step::Map(at) if is_free(at) => drop(map_new(memory, table, page(at))),
            Step::MapAgain(from, to) if is_free(to) => self.map_again(from, to),
            Step::Hold(at) => self.held.extend(table.unmap(memory, page(at))),
            Step::Discard(at) => {
                let back = table.unmap(memory, page(at)).map(|stale| memory.discard(stale));
                back.transpose().unwrap();
            }
            Step::Defer(at) => {
                let back = table.unmap(memory, page(at)).map(|stale| memory.frames.defer(stale));
                back.transpose().unwrap();
            }
            Step::Replace(at) if !is_free(at) => {
                if let Some(frame) = memory.frames.allocate_user(ME) {
                    let stale = table.replace(memory, page(at), leaf(frame)).unwrap();
                    assert!(memory.discard(stale).is_ok());
                }
            }
            Step::Retry => self.retry(),
            Step::FlushIfWanted => memory.flush_if_wanted(memory.machine.cpu()),
            Step::Allocate => {
                let frame = memory.frames.allocate_user(OTHER);
                self.elsewhere.extend(frame.map(|frame| (frame.frame(), frame)));
            }
            Step::Reclaim => drop(memory.frames.reclaim(2)),
            Step::Map(_) | Step::MapAgain(..) | Step::Replace(_) => {}
        }
    }

    fn map_again(&self, from: u64, to: u64) {
        let (memory, table) = (self.memory, &self.table);
        let Some((frame, _)) = table.walk(&memory.machine, page(from)) else { return };
        let missing = table.tables_missing(&memory.machine, page(to));
        let Some(stock) = memory.frames.table_stock(ME, missing) else { return };
        memory.frames.share(frame).unwrap();
        table.map(memory, page(to), leaf(frame), &stock).unwrap();
    }

    fn retry(&mut self) {
        for stale in std::mem::take(&mut self.held) {
            match stale.passed(&self.memory.frames) {
                Ok(gone) => drop(self.memory.frames.give_back(gone).unwrap()),
                Err(stale) => self.held.push(stale),
            }
        }
    }

    /// What a CPU reaches is neither free nor someone else's.
    fn check(&self) {
        for frame in self.memory.machine.reachable() {
            assert!(!self.elsewhere.contains_key(&frame), "{frame:?} was handed out");
            let info = self.memory.frames.pool.info(frame.number()).unwrap();
            use crate::info::Kind::{Stale, Table, User};
            assert!(matches!(info.kind.get(), User | Table | Stale), "{frame:?} is {:?}", info.kind.get());
        }
        check(&self.memory.frames);
    }
}

fn play(steps: Vec<Step>, cpus: usize) {
    let infos = infos(40);
    let memory = memory(&infos, 3);
    let table = space(&memory).unwrap();
    for cpu in (0..cpus).rev() {
        memory.frames.start_cpu(cpu);
        memory.machine.run_as(cpu);
        memory.machine.load(Some(table.root()));
    }
    let mut scene = Scene { memory: &memory, table, held: Vec::new(), elsewhere: BTreeMap::new() };
    for step in steps {
        scene.apply(match step {
            Step::RunAs(cpu) => Step::RunAs(cpu % cpus),
            step => step,
        });
        scene.check();
    }
    for cpu in (0..cpus).rev() {
        memory.machine.run_as(cpu);
        memory.machine.load(None);
        memory.flush_all(cpu);
    }
    scene.retry();
    assert!(scene.held.is_empty());
    for cpu in 1..cpus {
        memory.frames.stop_cpu(cpu);
    }
    for &frame in scene.elsewhere.values() {
        assert_eq!(memory.frames.release(frame), Ok(Released::Last(OTHER)));
    }
    destroy(&memory, scene.table);
    memory.flush_if_wanted(0); // a frame of which a share was deferred waits once more
    memory.frames.reclaim(u32::MAX);
    assert_eq!(memory.frames.free_count(), memory.frames.total(), "nothing leaked");
}

proptest! {
    #[test]
    fn one_cpu_never_reaches_what_was_handed_out(steps in collection::vec(step(), 0..150)) {
        play(steps, 1);
    }

    #[test]
    fn three_cpus_never_reach_what_was_handed_out(steps in collection::vec(step(), 0..150)) {
        play(steps, 3);
    }
}
