//! Several processors: that they are there, and that the kernel is one place for all of them.
#![forbid(unsafe_code)]

use super::kernel::{footprint, text};
use super::tests;
use crate::guest::Guest;
use crate::on_ring::{Check, bump, call, on_ring, same, start};
use crate::verdict::{Failed, Verdict, ensure, equal};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use bare::Ring;
use bare::clock::processor;
use core::ptr;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;
use ring_abi::Errno;
use ring_abi::args::{CURRENT, ContextAffinity, Nop, Protect, map};
use ring_abi::context::{End, Reason};
use ring_abi::layout::Sizes;
use uring::op::context::limit;

tests! {
    the_lock_is_counted_if_there_is_one,
    every_processor_has_its_stacks,
    a_right_that_was_taken_is_gone_on_every_processor,
    threads_are_killed_wherever_they_run_on_a_processor,
    more_threads_than_processors_all_get_on,
    a_thread_runs_on_the_processors_that_it_is_limited_to,
    a_thread_is_limited_to_processors_that_are_there,
}

/// A page of its own, whose rights a test takes and gives back.
#[repr(C, align(4096))]
struct Page {
    word: AtomicU64,
    rest: [u8; 4088],
}

static PAGE: Page = Page { word: AtomicU64::new(0), rest: [0; 4088] };

/// How often each of these is done: interleavings differ.
const ROUNDS: usize = 12;
/// Looks at a word between which somebody who could write to it would have.
const LOOKS: usize = 20_000;

/// A number in `sys/lock`.
fn lock(name: &str) -> Result<u64, Failed> {
    let text = text("/scheme/sys/lock")?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.ok_or_else(|| Failed(String::from(name) + " is not said"))
}

fn the_lock_is_counted_if_there_is_one(_: &Guest) -> Verdict {
    let [taken, held] = [lock("taken")?, lock("held_ticks")?];
    if lock("cpus")? == 1 {
        return equal([taken, held, lock("waits")?, lock("sleeps")?, lock("waited_ticks")?], [0; 5]);
    }
    ensure(lock("taken")? > taken && lock("held_ticks")? > held, "the kernel was entered without the lock")?;
    ensure(lock("longest_hold_ticks")? > 0, "the lock was held for no time")?;
    // What is asked for first is the smaller number, since both grow.
    ensure(lock("sleeps")? <= lock("waits")?, "more slept than waited")?;
    ensure(lock("waits")? <= lock("taken")?, "more waited than came")
}

fn every_processor_has_its_stacks(_: &Guest) -> Verdict {
    equal(footprint("stacks")?, lock("cpus")?)
}

/// Counts for ever.
fn spinner(counter: &'static AtomicU64) -> impl Fn(&Ring) -> Check + Send + Sync + 'static {
    move |_| loop {
        bump(counter);
    }
}

/// Counts for ever, and enters the kernel each time.
fn enterer(counter: &'static AtomicU64) -> impl Fn(&Ring) -> Check + Send + Sync + 'static {
    move |ring| loop {
        call(1, ring, Nop {}.encode(1), Ok(0))?;
        bump(counter);
    }
}

fn rights(rights: u64) -> Protect {
    let address = ptr::from_ref(&PAGE).addr() as u64;
    Protect { space: CURRENT, address, length: size_of::<Page>() as u64, rights }
}

fn a_right_that_was_taken_is_gone_on_every_processor(guest: &Guest) -> Verdict {
    ensure(PAGE.rest.iter().all(|byte| *byte == 0), "the rest of the page is not empty")?;
    for _ in 0..ROUNDS {
        let before = PAGE.word.load(Relaxed);
        let running = start(Sizes::SMALLEST, spinner(&PAGE.word))?;
        guest.until("it counts", || PAGE.word.load(Relaxed) > before)?;
        on_ring(|ring| {
            call(1, ring, rights(map::READ).encode(1), Ok(0))?;
            let seen = PAGE.word.load(Relaxed);
            for _ in 0..LOOKS {
                same(2, PAGE.word.load(Relaxed), seen)?;
            }
            Ok(())
        })?;
        equal(running.end()?, End::Ended(Reason::PageFault))?;
        on_ring(|ring| call(3, ring, rights(map::READ | map::WRITE).encode(1), Ok(0)))?;
    }
    Ok(())
}

fn threads_are_killed_wherever_they_run_on_a_processor(guest: &Guest) -> Verdict {
    for round in 0..ROUNDS {
        let counter: &'static AtomicU64 = Box::leak(Box::new(AtomicU64::new(0)));
        let running = match round % 2 {
            0 => start(Sizes::SMALLEST, spinner(counter))?,
            _ => start(Sizes::SMALLEST, enterer(counter))?,
        };
        guest.until("it counts", || counter.load(Relaxed) > 0)?;
        running.kill()?;
        let after = counter.load(Relaxed);
        equal(running.end()?, End::Ended(Reason::Killed))?;
        let last = counter.load(Relaxed);
        for _ in 0..LOOKS {
            equal(counter.load(Relaxed), last)?;
        }
        ensure(last >= after, "it counted backwards")?;
    }
    Ok(())
}

fn more_threads_than_processors_all_get_on(guest: &Guest) -> Verdict {
    let number = lock("cpus")?.saturating_mul(2).saturating_add(1);
    let mut all = vec![];
    for index in 0..number {
        let counter: &'static AtomicU64 = Box::leak(Box::new(AtomicU64::new(0)));
        let running = match index % 2 {
            0 => start(Sizes::SMALLEST, spinner(counter))?,
            _ => start(Sizes::SMALLEST, enterer(counter))?,
        };
        all.push((running, counter));
    }
    guest.until("all of them count", || all.iter().all(|(_, counter)| counter.load(Relaxed) > 20))?;
    for (running, _) in all {
        running.kill()?;
        equal(running.end()?, End::Ended(Reason::Killed))?;
    }
    Ok(())
}

/// Tells for ever on which processor it runs, as a bit, and enters the kernel each time.
fn teller(here: &'static AtomicU64) -> impl Fn(&Ring) -> Check + Send + Sync + 'static {
    move |ring| loop {
        here.store(1 << processor(), Relaxed);
        call(1, ring, Nop {}.encode(1), Ok(0))?;
    }
}

fn a_thread_runs_on_the_processors_that_it_is_limited_to(guest: &Guest) -> Verdict {
    let cpus = lock("cpus")?;
    let here: &'static AtomicU64 = Box::leak(Box::new(AtomicU64::new(0)));
    let running = start(Sizes::SMALLEST, teller(here))?;
    // Others that keep all processors busy, so that who may be moved is.
    let mut others = vec![];
    for _ in 0..cpus {
        let counter: &'static AtomicU64 = Box::leak(Box::new(AtomicU64::new(0)));
        others.push(start(Sizes::SMALLEST, spinner(counter))?);
    }
    for cpu in 0..cpus.min(4) {
        let only = 1 << cpu;
        limit(running.handle(), only).wait()?;
        guest.until("it moves", || here.load(Relaxed) == only)?;
        for _ in 0..LOOKS {
            equal(here.load(Relaxed), only)?;
        }
    }
    for other in others.into_iter().chain([running]) {
        other.kill()?;
        equal(other.end()?, End::Ended(Reason::Killed))?;
    }
    Ok(())
}

fn a_thread_is_limited_to_processors_that_are_there(_: &Guest) -> Verdict {
    let all = (1_u64 << lock("cpus")?).wrapping_sub(1);
    on_ring(move |ring| {
        let limited = |cpus| ContextAffinity { context: CURRENT, cpus }.encode(1);
        call(1, ring, limited(0), Err(Errno::INVAL))?;
        call(2, ring, limited(!all), Err(Errno::INVAL))?;
        call(3, ring, limited(1), Ok(0))?;
        same(4, processor(), 0)?;
        call(5, ring, limited(u64::MAX), Ok(0))
    })
}
