//! Contexts: many of them, stopped ones, ends.
#![forbid(unsafe_code)]

use super::kernel::{footprint, started};
use super::tests;
use crate::guest::Guest;
use crate::on_ring::{Check, bump, call, on_ring, same, start};
use crate::verdict::{Failed, Verdict, ensure, equal};
use alloc::boxed::Box;
use alloc::vec::Vec;
use bare::control::{START, Words};
use bare::{Ring, context};
use core::ptr;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicU32, AtomicU64};
use ring_abi::args::{EndWord, FutexWait, FutexWake, Timeout};
use ring_abi::context::{End, Reason};
use ring_abi::layout::Sizes;
use ring_abi::{Errno, Opcode};
use uring::Fd;
use uring::op::context as op;
use uring::op::sync::{futex_wait, futex_wake};

tests! {
    a_context_ends_with_its_code,
    contexts_that_never_enter_the_kernel_share_the_processor,
    a_heavy_context_gets_more_than_a_light_one,
    a_stopped_context_stands_still,
    a_killed_context_says_so,
    an_end_zeroes_and_wakes_the_word_it_was_told,
    words_wake_as_many_as_asked_first_come_first_served,
    control_words_stay_with_their_context,
    threads_hand_a_word_to_and_fro,
    ten_thousand_contexts_wait_and_wake: 300,
}

fn with_code(_: &Ring, code: &'static u8) -> u8 {
    *code
}

fn a_context_ends_with_its_code(_: &Guest) -> Verdict {
    for code in [&0, &7, &255] {
        equal(context::start(with_code, code, 8192, Sizes::SMALLEST)?.join()?, End::Exited(*code))?;
    }
    Ok(())
}

/// Has these control words while it waits many times; then ends without tidying up.
fn rounder(words: Words) -> impl Fn(&Ring) -> Check + Send + Sync + 'static {
    move |ring| {
        same(1, packed(Words::read()), packed(START))?;
        words.load();
        for tag in 0..40 {
            let pause = Timeout { nanoseconds: 300_000, flags: 0 };
            call(2, ring, pause.encode(tag), Ok(0))?;
            same(3, packed(Words::read()), packed(words))?;
        }
        Ok(())
    }
}

fn packed(words: Words) -> u64 {
    u64::from(words.mxcsr) | u64::from(words.fcw) << 32
}

fn control_words_stay_with_their_context(_: &Guest) -> Verdict {
    let rounds =
        [0x3f80, 0x5f80, 0x7f80].map(|mxcsr| Words { mxcsr, fcw: 0x37f | (mxcsr >> 3) as u16 & 0xc00 });
    // The second time round, records of contexts that have ended are used again.
    for _ in 0..2 {
        let mut running = alloc::vec![];
        for words in rounds {
            running.push(start(Sizes::SMALLEST, rounder(words))?);
        }
        for one in running {
            one.verdict()?;
        }
    }
    equal(Words::read(), START)
}

/// Counts for ever.
fn spinner(counter: &'static AtomicU64) -> impl Fn(&Ring) -> Check + Send + Sync + 'static {
    move |_| loop {
        bump(counter);
    }
}

fn counter() -> &'static AtomicU64 {
    Box::leak(Box::new(AtomicU64::new(0)))
}

fn contexts_that_never_enter_the_kernel_share_the_processor(guest: &Guest) -> Verdict {
    let counters = [counter(), counter(), counter()];
    let mut running = alloc::vec![];
    for counter in counters {
        running.push(start(Sizes::SMALLEST, spinner(counter))?);
    }
    guest.until("all of them have had their turn", || {
        counters.iter().all(|count| count.load(Relaxed) > 1000)
    })?;
    for one in running {
        one.kill()?;
        equal(one.end()?, End::Ended(Reason::Killed))?;
    }
    Ok(())
}

/// Here time is the host's, which takes the processor away as it likes, so this only tells that weights matter; how exact
/// that is, `shares.rs` tells.
fn a_heavy_context_gets_more_than_a_light_one(guest: &Guest) -> Verdict {
    let weights = [20, 40, 80];
    let mut running = alloc::vec![];
    for weight in weights {
        let counter = counter();
        let one = start(Sizes::SMALLEST, spinner(counter))?;
        equal(op::weigh(one.handle(), weight).wait(), Ok(100))?;
        // All on one processor: with one each, weights mean nothing.
        op::limit(one.handle(), 1).wait()?;
        running.push((one, counter));
    }
    equal(op::weigh(Fd::CURRENT, 101).wait(), Err(Errno::PERM))?;
    equal(op::weigh(Fd::CURRENT, 0).wait(), Err(Errno::INVAL))?;
    let counts = || running.iter().map(|(_, counter)| counter.load(Relaxed)).collect::<Vec<_>>();
    let before = counts();
    guest.sleep(1500)?;
    // If it took much of that away, the rest of a longer time tells.
    guest.until("twice the weight is more than the same time", || {
        let ran: Vec<u64> = counts().iter().zip(&before).map(|(now, then)| now.wrapping_sub(*then)).collect();
        ran.windows(2).all(|pair| matches!(pair, [light, heavy] if *heavy > light.saturating_mul(5) / 4))
    })?;
    for (one, _) in running {
        one.kill()?;
        equal(one.end()?, End::Ended(Reason::Killed))?;
    }
    Ok(())
}

fn a_stopped_context_stands_still(guest: &Guest) -> Verdict {
    let counter = counter();
    let running = start(Sizes::SMALLEST, spinner(counter))?;
    let fd = running.handle();
    equal(op::registers(fd).wait().map(|_| ()), Err(Errno::BUSY))?;
    guest.until("it counts", || counter.load(Relaxed) > 0)?;
    op::stop(fd).wait()?;
    let before = counter.load(Relaxed);
    guest.sleep(30)?;
    equal(counter.load(Relaxed), before)?;
    let registers = op::registers(fd).wait()?;
    ensure(registers.rip != 0 && registers.rsp != 0, "its registers are not there")?;
    equal(op::stop(fd).wait(), Err(Errno::INVAL))?;
    op::start(fd).wait()?;
    guest.until("it goes on", || counter.load(Relaxed) > before)?;
    running.kill()?;
    equal(running.end()?, End::Ended(Reason::Killed))
}

fn a_killed_context_says_so(_: &Guest) -> Verdict {
    let running = start(Sizes::SMALLEST, |ring| {
        let word = AtomicU32::new(0);
        let address = ptr::from_ref(&word).addr() as u64;
        call(1, ring, FutexWait { address, expected: 0, deadline: u64::MAX }.encode(1), Ok(0))
    })?;
    let fd = running.handle();
    op::kill(fd).wait()?;
    equal(op::wait(fd).wait(), Ok(End::Ended(Reason::Killed)))?;
    equal(op::kill(fd).wait(), Err(Errno::SRCH))?;
    equal(op::start(fd).wait(), Err(Errno::SRCH))?;
    equal(running.end()?, End::Ended(Reason::Killed))
}

fn an_end_zeroes_and_wakes_the_word_it_was_told(_: &Guest) -> Verdict {
    static WORD: AtomicU32 = AtomicU32::new(1);
    WORD.store(1, Relaxed);
    let running = start(Sizes::SMALLEST, |ring| {
        let address = ptr::from_ref(&WORD).addr() as u64;
        call(1, ring, EndWord { address: address.wrapping_add(2) }.encode(1), Err(Errno::INVAL))?;
        call(2, ring, EndWord { address }.encode(1), Ok(0))
    })?;
    match futex_wait(&WORD, 1, u64::MAX).wait() {
        Ok(()) | Err(Errno::AGAIN) => {}
        Err(error) => return Err(error.into()),
    }
    equal(WORD.load(Relaxed), 0)?;
    running.verdict()
}

fn words_wake_as_many_as_asked_first_come_first_served(guest: &Guest) -> Verdict {
    static WORD: AtomicU32 = AtomicU32::new(0);
    let woken = counter();
    let mut running = alloc::vec![];
    let before = started(Opcode::FutexWait)?;
    for place in 0..5_u64 {
        running.push(start(Sizes::SMALLEST, move |ring| {
            let address = ptr::from_ref(&WORD).addr() as u64;
            call(1, ring, FutexWait { address, expected: 0, deadline: u64::MAX }.encode(1), Ok(0))?;
            // Two that are woken at once may run in any order.
            let order = woken.fetch_add(1, Relaxed);
            if order < 3 { crate::on_ring::same(2, order, place) } else { Ok(()) }
        })?);
        // So that they wait in this order.
        guest.until("it waits", || {
            started(Opcode::FutexWait).is_ok_and(|now| now > before.wrapping_add(place))
        })?;
    }
    let mut all = 0;
    for (count, wanted) in [(0, 0), (1, 1), (1, 1), (1, 1), (10, 2), (10, 0)] {
        equal(futex_wake(&WORD, count).wait(), Ok(wanted))?;
        all = wanted.wrapping_add(all);
        guest.until("they run", || woken.load(Relaxed) == all)?;
    }
    running.into_iter().try_for_each(|one| one.verdict())
}

fn threads_hand_a_word_to_and_fro(_: &Guest) -> Verdict {
    static TURN: AtomicU32 = AtomicU32::new(0);
    const ROUNDS: u32 = 2000;
    let side = |own: u32| {
        move |ring: &Ring| {
            let address = ptr::from_ref(&TURN).addr() as u64;
            while TURN.load(Relaxed) < ROUNDS {
                let turn = TURN.load(Relaxed);
                if turn & 1 == own {
                    TURN.store(turn.wrapping_add(1), Relaxed);
                    let _ = ring.call(FutexWake { address, count: 1 }.encode(1));
                } else {
                    let _ = ring.call(FutexWait { address, expected: turn, deadline: u64::MAX }.encode(2));
                }
            }
            let _ = ring.call(FutexWake { address, count: 9 }.encode(1));
            Ok(())
        }
    };
    let other = start(Sizes::SMALLEST, side(1))?;
    on_ring(side(0))?;
    other.verdict()?;
    equal(TURN.load(Relaxed), ROUNDS)
}

/// What ten thousand contexts see.
struct Crowd {
    word: AtomicU32,
    left: AtomicU64,
}

fn in_crowd(ring: &Ring, crowd: &'static Crowd) -> u8 {
    let address = ptr::from_ref(&crowd.word).addr() as u64;
    let result = ring.call(FutexWait { address, expected: 0, deadline: u64::MAX }.encode(1));
    bump(&crowd.left);
    u8::from(result != Ok(0))
}

fn ten_thousand_contexts_wait_and_wake(guest: &Guest) -> Verdict {
    const MANY: u64 = 10_000;
    // Tables of records grow and stay; all else must come back.
    let free = || Ok::<u64, Failed>(footprint("frames.free")?.saturating_add(footprint("frames.records")?));
    let before = free()?;
    let pid = guest.fork(|| {
        let crowd: &'static Crowd =
            Box::leak(Box::new(Crowd { word: AtomicU32::new(0), left: AtomicU64::new(0) }));
        let before = started(Opcode::FutexWait)?;
        for _ in 0..MANY {
            context::start(in_crowd, crowd, 4096, Sizes::SMALLEST)?.let_go()?;
        }
        let all = before.wrapping_add(MANY);
        guest.until("all wait", || started(Opcode::FutexWait).is_ok_and(|now| now >= all))?;
        ensure(footprint("contexts")? >= MANY, "the kernel counts fewer")?;
        equal(futex_wake(&crowd.word, u64::MAX).wait()?, MANY)?;
        guest.until("all have gone on", || crowd.left.load(Relaxed) == MANY)?;
        Ok(0)
    })?;
    let end = crate::runner::wait_at_most(pid, core::time::Duration::from_secs(240))?;
    equal(end, Some(End::Exited(0)))?;
    guest.until("the frames come back", || free().is_ok_and(|now| now.saturating_add(64) >= before))
}
