//! Threads of the library: what they return, what they leave behind, and what they must not see of each other.
#![forbid(unsafe_code)]

use super::kernel::{footprint, settled_footprint};
use super::tests;
use crate::guest::Guest;
use crate::verdict::{Failed, Verdict, ensure, equal};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bare::mischief::overflow;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::time::Duration;
use ring_abi::Errno;
use ring_abi::context::{End, Reason};
use ring_abi::enter::NO_DEADLINE;
use ring_abi::layout::Sizes;
use uring::op::sync::{futex_swap, futex_wait, futex_wake};
use uring::op::{context, time};
use uring::{block_on, spawn, thread};

tests! {
    a_thread_returns_what_its_function_does,
    a_thread_has_a_runtime_of_its_own,
    a_thread_owns_what_it_was_given_until_it_has_ended,
    a_stack_that_was_used_before_has_its_guard_page_still,
    threads_that_have_ended_leave_nothing_behind: 120,
    many_threads_at_once_keep_a_bounded_number_of_stacks,
    a_killed_thread_gives_nothing_and_its_stack_is_taken_away,
    a_thread_ends_although_an_operation_was_forgotten,
    a_child_of_a_fork_makes_threads_too,
    a_stack_that_is_too_small_is_refused,
    two_threads_hand_a_turn_to_each_other,
}

const STACK: u64 = 16 * 1024;

fn a_thread_returns_what_its_function_does(_: &Guest) -> Verdict {
    equal(thread::spawn(STACK, || ())?.join()?, Ok(()))?;
    let words = Vec::from([3_u64, 4, 5]);
    equal(thread::spawn(STACK, move || words.iter().sum::<u64>())?.join()?, Ok(12))?;
    let large = thread::spawn(STACK, || [7_u8; 3000])?.join()?;
    equal(large, Ok([7; 3000]))
}

/// Blocks, awaits, runs tasks and allocates; a number that comes of all of it.
fn busy() -> u64 {
    let blocked = u64::from(time::after(Duration::from_micros(50)).wait().is_ok());
    let awaited = block_on(async {
        let task = spawn(async { time::after(Duration::from_micros(20)).await.map_or(0, |()| 10) });
        let after = time::after(Duration::from_micros(10)).await;
        u64::from(after.is_ok()).saturating_add(task.await)
    });
    let boxed: Vec<Box<u64>> = (0..50).map(Box::new).collect();
    let sum: u64 = boxed.iter().map(|number| **number).sum();
    blocked.wrapping_mul(100_000).wrapping_add(awaited.wrapping_mul(10_000)).wrapping_add(sum)
}

/// What [`busy`] gives.
const BUSY: u64 = 100_000 + 11 * 10_000 + 49 * 25;

fn a_thread_has_a_runtime_of_its_own(_: &Guest) -> Verdict {
    let threads: Vec<_> = (0..6).map(|_| thread::spawn(STACK, busy)).collect();
    equal(busy(), BUSY)?;
    for thread in threads {
        equal(thread?.join()?, Ok(BUSY))?;
    }
    Ok(())
}

fn a_thread_owns_what_it_was_given_until_it_has_ended(_: &Guest) -> Verdict {
    let witness = Arc::new(0_u32);
    let (own, task) = (witness.clone(), witness.clone());
    let thread = thread::spawn(STACK, move || {
        block_on(async move {
            // It never ends by itself, so it is dropped with the thread.
            spawn(async move {
                let word = AtomicU32::new(*task);
                core::future::pending::<()>().await;
                word.load(Relaxed)
            })
            .detach();
        });
        own
    })?;
    let returned = thread.join()?;
    ensure(returned.is_ok_and(|own| Arc::ptr_eq(&own, &witness)), "another one came back")?;
    equal(Arc::strong_count(&witness), 1)
}

fn a_stack_that_was_used_before_has_its_guard_page_still(_: &Guest) -> Verdict {
    thread::trim()?;
    for _ in 0..2 {
        // The second time the stack is a used one.
        equal(thread::spawn(STACK, || 1)?.join()?, Ok(1))?;
        let end = thread::spawn(STACK, || overflow(0))?.join()?;
        equal(end, Err(End::Ended(Reason::PageFault)))?;
    }
    equal(thread::spawn(STACK, || 2)?.join()?, Ok(2))
}

/// What the kernel counts that threads take.
fn taken() -> Result<[u64; 3], Failed> {
    Ok([footprint("contexts")?, footprint("rings")?, footprint("files")?])
}

/// Frames that programs have. Two of them may be the heap's reserve, which comes and goes.
fn frames() -> Result<u64, Failed> {
    footprint("frames.program")
}

fn threads_that_have_ended_leave_nothing_behind(_: &Guest) -> Verdict {
    let round = || -> Verdict {
        for _ in 0..200 {
            equal(thread::spawn(STACK, busy)?.join()?, Ok(BUSY))?;
            // What it drops is in flight still.
            let thread = thread::spawn(STACK, || drop(time::after(Duration::from_secs(50)).submit()))?;
            equal(thread.join()?, Ok(()))?;
            let larger = Sizes { sq: 5, cq: 5, service: None };
            let thread = thread::spawn(STACK, move || uring::ring::resize(larger).map(|()| busy()))?;
            equal(thread.join()?, Ok(Ok(BUSY)))?;
        }
        Ok(thread::trim()?)
    };
    round()?; // the heap and the kernel get what they need once
    let before = (taken()?, frames()?);
    round()?;
    equal(taken()?, before.0)?;
    let lost = frames()?.saturating_sub(before.1);
    ensure(lost <= 16, "600 threads that have ended keep memory")
}

fn many_threads_at_once_keep_a_bounded_number_of_stacks(_: &Guest) -> Verdict {
    static GATE: AtomicU32 = AtomicU32::new(0);
    const MANY: u64 = 60;
    thread::trim()?;
    let before = settled_footprint("frames.program")?;
    GATE.store(0, Relaxed);
    let wait = || {
        while GATE.load(Acquire) == 0 {
            let _ = futex_wait(&GATE, 0, NO_DEADLINE).wait(); // it may have been opened meanwhile
        }
    };
    let threads: Vec<_> = (0..MANY).map(|_| thread::spawn(STACK, wait)).collect();
    ensure(frames()?.saturating_sub(before) >= MANY, "they have no stacks of their own")?;
    GATE.store(1, Release);
    futex_wake(&GATE, MANY).wait()?;
    for thread in threads {
        equal(thread?.join()?, Ok(()))?;
    }
    let kept = frames()?.saturating_sub(before);
    ensure((16..=80).contains(&kept), "another number of stacks is kept")?;
    thread::trim()?;
    ensure(frames()?.saturating_sub(before) <= 16, "stacks are kept that were to be given back")
}

fn a_killed_thread_gives_nothing_and_its_stack_is_taken_away(guest: &Guest) -> Verdict {
    static NEVER: AtomicU32 = AtomicU32::new(0);
    thread::trim()?;
    let before = frames()?;
    for _ in 0..20 {
        let thread = thread::spawn(STACK, || futex_wait(&NEVER, 0, NO_DEADLINE).wait())?;
        guest.sleep(1)?;
        context::kill(thread.context()).wait()?;
        equal(thread.join()?, Err(End::Ended(Reason::Killed)))?;
    }
    ensure(frames()?.saturating_sub(before) <= 16, "their stacks are kept")
}

fn a_thread_ends_although_an_operation_was_forgotten(_: &Guest) -> Verdict {
    let thread = thread::spawn(STACK, || core::mem::forget(time::after(Duration::from_secs(500)).submit()))?;
    equal(thread.join()?, Ok(()))
}

fn a_child_of_a_fork_makes_threads_too(guest: &Guest) -> Verdict {
    equal(thread::spawn(STACK, busy)?.join()?, Ok(BUSY))?;
    let end = guest.in_child(|| {
        for _ in 0..3 {
            equal(thread::spawn(STACK, busy)?.join()?, Ok(BUSY))?;
        }
        Ok(7)
    })?;
    equal(end, End::Exited(7))?;
    equal(thread::spawn(STACK, busy)?.join()?, Ok(BUSY))
}

fn a_stack_that_is_too_small_is_refused(_: &Guest) -> Verdict {
    for stack in [0, 1, 4096, u64::MAX] {
        ensure(matches!(thread::spawn(stack, || ()), Err(Errno::INVAL)), "it was made")?;
    }
    let large = thread::spawn(STACK, || [0_u8; 16 * 1024]);
    ensure(matches!(large, Err(Errno::INVAL)), "its result has no room")
}

/// Rounds of a game of two.
const ROUNDS: u32 = 1000;

/// Waits until a word shows a number, after a first wait that is this.
fn await_number(word: &AtomicU32, number: u32, first: Result<(), Errno>) -> Result<(), Errno> {
    let mut waited = first;
    while word.load(Acquire) != number {
        // The word is woken, or shows the number before the wait begins.
        match waited {
            Ok(()) | Err(Errno::AGAIN) => {
                waited = futex_wait(word, number.wrapping_sub(1), NO_DEADLINE).wait()
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Shows each round in the other's word, and hands the turn on.
fn call_rounds(mine: &AtomicU32, theirs: &AtomicU32) -> Result<(), Errno> {
    for round in 1..=ROUNDS {
        theirs.store(round, Release);
        let swapped = futex_swap(mine, round.wrapping_sub(1), theirs, NO_DEADLINE).wait();
        await_number(mine, round, swapped)?;
    }
    Ok(())
}

/// Answers each round.
fn answer_rounds(mine: &AtomicU32, theirs: &AtomicU32) -> Result<(), Errno> {
    await_number(mine, 1, Ok(()))?;
    for round in 1..ROUNDS {
        theirs.store(round, Release);
        let swapped = futex_swap(mine, round, theirs, NO_DEADLINE).wait();
        await_number(mine, round.wrapping_add(1), swapped)?;
    }
    theirs.store(ROUNDS, Release);
    futex_wake(theirs, 1).wait().map(|_| ())
}

fn two_threads_hand_a_turn_to_each_other(_: &Guest) -> Verdict {
    let words = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
    let own = words.clone();
    let other = thread::spawn(STACK, move || {
        let [theirs, mine] = &*own;
        answer_rounds(mine, theirs)
    })?;
    let [mine, theirs] = &*words;
    equal(call_rounds(mine, theirs), Ok(()))?;
    equal(other.join()?, Ok(Ok(())))
}
