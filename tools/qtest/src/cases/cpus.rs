//! Several processors: that they are there, and that the kernel is one place for all of them.
#![forbid(unsafe_code)]

use super::kernel::{footprint, text};
use super::tests;
use crate::guest::Guest;
use crate::verdict::{Failed, Verdict, ensure, equal};
use alloc::string::String;

tests! {
    the_lock_is_counted_if_there_is_one,
    every_processor_has_its_stacks,
}

/// A number in `sys/lock`.
fn lock(name: &str) -> Result<u64, Failed> {
    let text = text("/scheme/sys/lock")?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.ok_or_else(|| Failed(String::from(name) + " is not said"))
}

fn the_lock_is_counted_if_there_is_one(_: &Guest) -> Verdict {
    let [taken, held] = [lock("taken")?, lock("held_ticks")?];
    if lock("cpus")? == 1 {
        return equal([taken, held, lock("waits")?, lock("waited_ticks")?], [0; 4]);
    }
    ensure(lock("taken")? > taken && lock("held_ticks")? > held, "the kernel was entered without the lock")?;
    ensure(lock("longest_hold_ticks")? > 0, "the lock was held for no time")?;
    ensure(lock("waits")? <= lock("taken")?, "more waited than came")
}

fn every_processor_has_its_stacks(_: &Guest) -> Verdict {
    equal(footprint("stacks")?, lock("cpus")?)
}
