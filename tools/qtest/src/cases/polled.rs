//! Rings that a processor looks after by itself, where there are several.
#![forbid(unsafe_code)]

use super::tests;
use crate::guest::Guest;
use crate::on_ring::{Check, call, gives, on_ring, same, start};
use crate::verdict::{Failed, Verdict, ensure, equal};
use alloc::format;
use alloc::vec::Vec;
use bare::Ring;
use core::hint::spin_loop;
use core::sync::atomic::Ordering::Relaxed;
use core::time::Duration;
use posix::file::{close, read};
use posix::flags::O_RDONLY;
use posix::open::open;
use ring_abi::args::{Nop, Read, RingPoll, Timeout, polling};
use ring_abi::layout::{Sizes, word};
use ring_abi::{Errno, Sqe, enter};
use uring::op::batch::{Batch, RawResult};
use uring::op::file::{At, read as read_op};
use uring::op::system::nop;
use uring::op::time::after;
use uring::ring::poll_ring;
use uring::{Fd, block_on};

tests! {
    a_polled_program_does_not_enter_beside_another_processor,
    a_polled_ring_is_left_and_comes_back_with_a_processor,
    a_polled_program_reads_from_a_daemon_beside_other_processors,
    a_polled_program_dies_and_its_memory_comes_back_with_a_processor,
    every_entry_of_a_polled_ring_is_taken_by_some_processor,
    a_polled_program_of_the_library_does_not_enter_beside_another_processor,
    a_polled_daemon_of_the_library_answers_beside_other_processors,
}

/// Operations of each kind.
const MANY: u64 = 8_000;
/// How long a ring is looked after without an entry, where that should be for ever.
const LONG: u64 = polling::LONGEST;
/// And where it should end soon.
const SHORT: u64 = 2_000_000;

/// Lets a ring be polled. Gives whether anybody can.
fn poll(step: u64, ring: &Ring, idle: u64) -> Result<bool, crate::on_ring::Odd> {
    match ring.call(RingPoll { idle }.encode(1)) {
        Ok(others) => Ok(others != 0),
        Err(error) => gives(step, Err(error), Ok(1)).map(|()| false),
    }
}

/// Waits until somebody looks after a ring. The entry brings somebody back who has left.
fn until_looked_after(ring: &Ring) {
    while ring.header(word::SQ_SLEEPS).load(Relaxed) != 0 {
        let _ = ring.call(Nop {}.encode(1));
    }
}

/// Does an operation without a wait in the kernel, and says whether it had to be entered at all.
fn quietly(
    step: u64,
    ring: &Ring,
    entry: Sqe,
    wanted: Result<u64, Errno>,
) -> Result<bool, crate::on_ring::Odd> {
    gives(step, ring.push(entry).map(|()| 0).map_err(|_| Errno::AGAIN), Ok(0))?;
    let rings = ring.show();
    if rings {
        same(step, ring.enter(0), 0)?;
    }
    loop {
        if let Some(completion) = ring.pop() {
            gives(step, completion.result(), wanted)?;
            return Ok(rings);
        }
        spin_loop();
    }
}

/// What the kernel counts of entries and of what it took without, read through the ring itself.
fn counts(ring: &Ring, file: u64, text: &mut [u8; 40]) -> Result<[u64; 2], crate::on_ring::Odd> {
    let (buffer, length) = (text.as_mut_ptr().addr() as u64, text.len() as u64);
    quietly(90, ring, Read { fd: file, buffer, length, offset: 0 }.encode(1), Ok(length))?;
    let number = |name: &[u8]| {
        let at = text.windows(name.len()).position(|found| found == name)?;
        let digits = text.get(at.wrapping_add(name.len())..)?.iter().take_while(|byte| byte.is_ascii_digit());
        Some(digits.fold(0_u64, |sum, digit| sum.wrapping_mul(10).wrapping_add(u64::from(digit & 15))))
    };
    let found = [number(b"enters "), number(b"polled ")];
    same(91, u64::from(found.iter().all(Option::is_some)), 1)?;
    Ok(found.map(Option::unwrap_or_default))
}

fn a_polled_program_does_not_enter_beside_another_processor(_: &Guest) -> Verdict {
    let file = open(b"/scheme/sys/counters", O_RDONLY, 0)?;
    on_ring(move |ring| {
        if !poll(1, ring, LONG)? {
            // One processor: whoever shows something is told to enter, and that works as ever.
            for _ in 0..100 {
                same(2, u64::from(quietly(2, ring, Nop {}.encode(1), Ok(0))?), 1)?;
            }
            return Ok(());
        }
        // Its first rows, which one read brings.
        let mut text = [0; 40];
        // Others may need the processor for a moment; then it is tried again.
        for _ in 0..50 {
            until_looked_after(ring);
            let before = counts(ring, file.0, &mut text)?;
            let mut rang = 0;
            for _ in 0..MANY {
                rang |= u64::from(quietly(3, ring, Nop {}.encode(1), Ok(0))?);
            }
            let [enters, polled] = counts(ring, file.0, &mut text)?;
            if rang == 0 && enters == before[0] {
                // And one read of the counters.
                return same(4, polled.wrapping_sub(before[1]), MANY.wrapping_add(1));
            }
        }
        same(5, 1, 0)
    })?;
    Ok(close(file)?)
}

fn a_polled_ring_is_left_and_comes_back_with_a_processor(_: &Guest) -> Verdict {
    on_ring(|ring| {
        let polls = poll(1, ring, SHORT)?;
        for _ in 0..20 {
            if polls {
                until_looked_after(ring);
            }
            // Nothing is shown until the bell goes up, which the ring's own time brings.
            while ring.header(word::SQ_SLEEPS).load(Relaxed) == 0 {
                spin_loop();
            }
            same(2, u64::from(quietly(2, ring, Nop {}.encode(1), Ok(0))?), 1)?;
        }
        call(3, ring, RingPoll { idle: 0 }.encode(1), Ok(ring_others(ring)?))?;
        for _ in 0..20 {
            same(4, u64::from(quietly(4, ring, Nop {}.encode(1), Ok(0))?), 1)?;
        }
        Ok(())
    })
}

/// How many other processors there are, as the stopping of what is stopped says.
fn ring_others(ring: &Ring) -> Result<u64, crate::on_ring::Odd> {
    let stopped = ring.call(RingPoll { idle: 0 }.encode(1));
    same(80, u64::from(stopped.is_ok()), 1)?;
    Ok(stopped.unwrap_or_default())
}

fn a_polled_program_reads_from_a_daemon_beside_other_processors(guest: &Guest) -> Verdict {
    guest.daemon(&["null", "polled"])?;
    let file = open(b"/scheme/polled/zero", O_RDONLY, 0)?;
    on_ring(move |ring| {
        poll(1, ring, LONG)?;
        let byte = [1_u8; 8];
        let buffer = byte.as_ptr().addr() as u64;
        for _ in 0..MANY / 10 {
            quietly(2, ring, Read { fd: file.0, buffer, length: 8, offset: 0 }.encode(1), Ok(8))?;
        }
        Ok(())
    })?;
    Ok(close(file)?)
}

fn a_polled_program_dies_and_its_memory_comes_back_with_a_processor(guest: &Guest) -> Verdict {
    let sizes = Sizes { sq: 8, cq: 8, service: None };
    for _ in 0..10 {
        let running = start(sizes, shows_for_ever)?;
        guest.sleep(5)?;
        running.kill()?;
        running.end()?;
    }
    // All seats are free again.
    let all: Vec<_> = (0..16).map(|_| start(Sizes::SMALLEST, polls_and_waits)).collect::<Result<_, _>>()?;
    for running in all {
        running.verdict()?;
    }
    Ok(())
}

/// Shows entries and takes completions for ever.
fn shows_for_ever(ring: &Ring) -> Check {
    poll(1, ring, SHORT)?;
    loop {
        quietly(2, ring, Nop {}.encode(1), Ok(0))?;
        let later = Timeout { nanoseconds: 1000, flags: 0 }.encode(1);
        quietly(3, ring, later, Ok(0))?;
    }
}

fn polls_and_waits(ring: &Ring) -> Check {
    poll(1, ring, SHORT)?;
    call(2, ring, Timeout { nanoseconds: 20_000_000, flags: 0 }.encode(1), Ok(0))
}

fn every_entry_of_a_polled_ring_is_taken_by_some_processor(_: &Guest) -> Verdict {
    // The time is so short that the bell goes up again and again, at any moment.
    let checks: Vec<_> = [1_000, 20_000, 300_000]
        .into_iter()
        .map(|idle| {
            start(Sizes { sq: 4, cq: 5, service: None }, move |ring: &Ring| {
                poll(1, ring, idle)?;
                for round in 0..MANY / 4 {
                    let entry = Nop {}.encode(1);
                    if round % 64 == 63 {
                        // Blocks: what is shown is waited for in the kernel.
                        gives(2, ring.push(entry).map(|()| 0).map_err(|_| Errno::AGAIN), Ok(0))?;
                        let waited =
                            ring.enter_with(u64::from(u32::MAX), 1, enter::COMPLETIONS, enter::NO_DEADLINE);
                        gives(3, waited.map(|()| 0), Ok(0))?;
                        same(4, u64::from(ring.pop().is_some()), 1)?;
                    } else {
                        quietly(5, ring, entry, Ok(0))?;
                    }
                    for _ in 0..round % 97 {
                        spin_loop();
                    }
                }
                Ok(())
            })
        })
        .collect::<Result<_, _>>()?;
    ensure(checks.len() == 3, "three run side by side")?;
    for running in checks {
        running.verdict()?;
    }
    Ok(())
}

/// Entries into the kernel so far, this one too: the first row of its counters, which one read brings.
fn entries(counters: Fd) -> Result<u64, Failed> {
    let mut row = [0; 24];
    read_op(counters, row.as_mut_slice(), At::Offset(0)).wait().0?;
    let digits = row.strip_prefix(b"enters ").ok_or("another row")?.split(|byte| *byte == b'\n').next();
    let text = digits.and_then(|digits| core::str::from_utf8(digits).ok());
    text.and_then(|text| text.parse().ok()).ok_or_else(|| "no number".into())
}

fn a_polled_program_of_the_library_does_not_enter_beside_another_processor(_: &Guest) -> Verdict {
    let others = poll_ring(Duration::from_secs(1))?;
    let counters = open(b"/scheme/sys/counters", O_RDONLY, 0)?;
    let mut batch = Batch::new((0..32).map(|_| nop()));
    let mut least = u64::MAX;
    // Whoever has looked for long enters, so the host has to give another processor its time at the right moment, some time.
    for round in 0..20_000 {
        if round >= 20 && (others == 0 || least == 0) {
            break;
        }
        let before = entries(counters)?;
        ensure(batch.wait().iter().all(|result| *result == RawResult(0)), "a nop has failed")?;
        // Without the one that reads them.
        least = least.min(entries(counters)?.wrapping_sub(before).wrapping_sub(1));
    }
    // Operations that are awaited, too.
    for _ in 0..100 {
        equal(block_on(async { (nop().await, after(Duration::from_micros(10)).await) }), (Ok(()), Ok(())))?;
    }
    poll_ring(Duration::ZERO)?;
    batch.wait();
    batch.finish().into_iter().collect::<Result<(), _>>()?;
    close(counters)?;
    let is_right = if others == 0 { least > 0 } else { least == 0 };
    ensure(is_right, &format!("{least} entries for a batch beside {others} processors"))
}

fn a_polled_daemon_of_the_library_answers_beside_other_processors(guest: &Guest) -> Verdict {
    guest.daemon(&["null", "polled2", "1000"])?;
    let file = open(b"/scheme/polled2/zero", O_RDONLY, 0)?;
    let read_all = move |ring: &Ring| {
        poll(1, ring, LONG)?;
        let bytes = [1_u8; 8];
        let buffer = bytes.as_ptr().addr() as u64;
        for _ in 0..MANY / 10 {
            quietly(2, ring, Read { fd: file.0, buffer, length: 8, offset: 0 }.encode(1), Ok(8))?;
        }
        Ok(())
    };
    on_ring(read_all)?;
    // And one that enters for each of its reads.
    let mut byte = [1];
    for _ in 0..100 {
        equal(read(file, &mut byte), Ok(1))?;
    }
    Ok(close(file)?)
}
