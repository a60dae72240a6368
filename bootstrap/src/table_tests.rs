//! What the process table promises.

use super::{INIT, Pid, Table};
use alloc::vec::Vec;
use posix::protocol::{Target, Wait};
use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};
use ring_abi::Errno;
use ring_abi::context::{End, Reason};

const ANY: Wait = Wait { target: Target::Any, at_once: false };

/// A table whose contexts are called by the process's number.
fn table() -> Table<Pid> {
    let mut table = Table::new(100);
    table.start(INIT, INIT).unwrap();
    table
}

fn child(table: &mut Table<Pid>, parent: Pid) -> Pid {
    let pid = table.fork(parent).unwrap();
    table.start(pid, pid).unwrap();
    pid
}

fn killed(table: &Table<Pid>, caller: Pid, target: Target) -> Result<Vec<Pid>, Errno> {
    Ok(table.targets(caller, target)?.into_iter().map(|(pid, _)| pid).collect())
}

#[test]
fn a_parent_learns_how_its_child_ended_once() {
    let mut table = table();
    let shell = child(&mut table, INIT);
    let job = child(&mut table, shell);
    assert_eq!(table.wait(shell, ANY), Ok(None));
    table.end(job, End::Exited(3));
    assert_eq!(table.wait(INIT, ANY), Ok(None), "only its own children");
    assert_eq!(table.wait(shell, ANY), Ok(Some((job, End::Exited(3)))));
    assert_eq!(table.wait(shell, ANY), Err(Errno::CHILD));
}

#[test]
fn orphans_go_to_init() {
    let mut table = table();
    let shell = child(&mut table, INIT);
    let (dead, alive) = (child(&mut table, shell), child(&mut table, shell));
    table.end(dead, End::Exited(1));
    table.end(shell, End::Ended(Reason::PageFault));
    assert_eq!(table.parent(alive), Ok(INIT));
    assert_eq!(table.wait(INIT, ANY), Ok(Some((shell, End::Ended(Reason::PageFault)))));
    assert_eq!(table.wait(INIT, ANY), Ok(Some((dead, End::Exited(1)))));
    assert_eq!(table.wait(INIT, ANY), Ok(None));
    table.end(alive, End::Exited(0));
    assert_eq!(table.wait(INIT, ANY), Ok(Some((alive, End::Exited(0)))));
}

#[test]
fn an_unborn_child_can_be_abandoned_and_is_never_waited_for() {
    let mut table = table();
    let unborn = table.fork(INIT).unwrap();
    assert_eq!(table.wait(INIT, ANY), Err(Errno::CHILD));
    assert_eq!(killed(&table, INIT, Target::Process(unborn)), Err(Errno::SRCH));
    assert_eq!(table.fork(unborn), Err(Errno::SRCH));
    table.abandon(unborn);
    assert_eq!(table.start(unborn, 0), Err(Errno::SRCH));

    let born = child(&mut table, INIT);
    table.abandon(born);
    assert_eq!(table.start(born, 0), Err(Errno::INVAL));
    assert_eq!(table.wait(INIT, ANY), Ok(None));
}

#[test]
fn an_unborn_child_of_a_dead_parent_is_inits() {
    let mut table = table();
    let shell = child(&mut table, INIT);
    let unborn = table.fork(shell).unwrap();
    table.end(shell, End::Exited(0));
    assert_eq!(table.parent(unborn), Ok(INIT));
}

#[test]
fn a_wait_takes_only_what_it_asked_for() {
    let mut table = table();
    let (one, two) = (child(&mut table, INIT), child(&mut table, INIT));
    table.set_group(INIT, two, two).unwrap();
    table.end(one, End::Exited(1));
    table.end(two, End::Exited(2));
    let wait = |target| Wait { target, at_once: true };
    assert_eq!(table.wait(INIT, wait(Target::Process(99))), Err(Errno::CHILD));
    assert_eq!(table.wait(INIT, wait(Target::Group(two))), Ok(Some((two, End::Exited(2)))));
    assert_eq!(table.wait(INIT, wait(Target::Process(two))), Err(Errno::CHILD));
    assert_eq!(table.wait(INIT, wait(Target::OwnGroup)), Ok(Some((one, End::Exited(1)))));
}

#[test]
fn groups_stay_in_their_session() {
    let mut table = table();
    let (leader, member) = (child(&mut table, INIT), child(&mut table, INIT));
    assert_eq!(table.new_session(leader), Ok(leader));
    assert_eq!(table.new_session(leader), Err(Errno::PERM));
    assert_eq!(table.set_group(leader, leader, leader), Err(Errno::PERM), "a leader stays");
    assert_eq!(table.set_group(INIT, leader, INIT), Err(Errno::PERM), "another session");
    assert_eq!(table.set_group(member, member, leader), Err(Errno::PERM), "a group of another session");
    assert_eq!(table.set_group(leader, member, member), Err(Errno::SRCH), "not its child");
    let job = child(&mut table, leader);
    assert_eq!((table.group(job), table.session(job)), (Ok(leader), Ok(leader)));
    assert_eq!(table.set_group(leader, job, job), Ok(()));
    assert_eq!(table.group(job), Ok(job));
}

#[test]
fn signals_reach_those_who_are_meant() {
    let mut table = table();
    let (shell, other) = (child(&mut table, INIT), child(&mut table, INIT));
    table.new_session(shell).unwrap();
    let job = child(&mut table, shell);
    assert_eq!(killed(&table, shell, Target::Process(job)), Ok([job].into()));
    assert_eq!(killed(&table, shell, Target::OwnGroup), Ok([job, shell].into()), "the caller last");
    assert_eq!(killed(&table, other, Target::Group(shell)), Ok([shell, job].into()));
    assert_eq!(killed(&table, other, Target::Any), Ok([shell, job, other].into()), "never init");
    assert_eq!(killed(&table, other, Target::Process(77)), Err(Errno::SRCH));
    table.end(job, End::Exited(0));
    assert_eq!(
        killed(&table, shell, Target::Process(job)),
        Ok([].into()),
        "a zombie is there, but cannot die"
    );
}

#[test]
fn a_full_table_says_so() {
    let mut table: Table<Pid> = Table::new(3);
    table.start(INIT, INIT).unwrap();
    let one = child(&mut table, INIT);
    child(&mut table, INIT);
    assert_eq!(table.fork(INIT), Err(Errno::AGAIN));
    table.end(one, End::Exited(0));
    assert_eq!(table.fork(INIT), Err(Errno::AGAIN), "a zombie takes a place");
    table.wait(INIT, ANY).unwrap();
    assert!(table.fork(INIT).is_ok());
}

#[test]
fn numbers_wrap_around_and_pass_over_those_in_use() {
    let mut table = table();
    let old = child(&mut table, INIT);
    table.last = super::GREATEST;
    assert_eq!(table.fork(INIT), Ok(old + 1));
}

#[test]
fn a_name_outlives_no_process() {
    let mut table = table();
    let old = child(&mut table, INIT);
    let name = table.name(old).unwrap();
    assert_eq!(table.named(name), Ok(old));
    table.end(old, End::Exited(0));
    table.wait(INIT, ANY).unwrap();
    assert_eq!(table.named(name), Err(Errno::SRCH));
    table.last = INIT;
    assert_eq!(child(&mut table, INIT), old, "the number is used again");
    assert_eq!(table.named(name), Err(Errno::SRCH));
}

proptest! {
    #[test]
    fn every_process_has_a_living_parent_and_is_told_once(
        steps in prop::collection::vec((0_u8..4, any::<prop::sample::Index>()), 1..200),
    ) {
        let mut table = table();
        let (mut alive, mut born, mut told) = (Vec::from([INIT]), 0_usize, 0_usize);
        for (kind, who) in steps {
            let pid = *who.get(&alive);
            match kind {
                0 | 1 => if let Ok(child) = table.fork(pid) {
                    table.start(child, child).unwrap();
                    alive.push(child);
                    born += 1;
                },
                2 if pid != INIT => {
                    table.end(pid, End::Exited(0));
                    alive.retain(|other| *other != pid);
                }
                _ => if let Ok(Some((child, _))) = table.wait(pid, ANY) {
                    prop_assert!(!alive.contains(&child));
                    told += 1;
                },
            }
            for line in table.lines() {
                prop_assert!(line.pid == INIT || alive.contains(&line.parent));
            }
            prop_assert_eq!(table.lines().count(), 1 + born - told);
        }
    }
}
