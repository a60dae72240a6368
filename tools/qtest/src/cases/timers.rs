//! Timers that complete again and again, that are moved and taken away; and cancels of more than a tag.
#![forbid(unsafe_code)]

use super::tests;
use crate::guest::Guest;
use crate::on_ring::{Check, Odd, call, on_ring, same};
use crate::verdict::Verdict;
use bare::Ring;
use posix::file::close;
use posix::flags::O_RDWR;
use posix::open::open;
use ring_abi::args::{
    CancelAll, CancelHandle, Interval, Poll, Probe, Strength, Timeout, TimeoutRemove, TimeoutUpdate, event,
};
use ring_abi::layout::Sizes;
use ring_abi::{Cqe, CqeFlags, Errno, Opcode, Sqe, SqeFlags};

tests! {
    an_interval_completes_as_often_as_was_asked,
    an_interval_that_nobody_looks_at_counts,
    a_timeout_is_moved_and_removed,
    operations_on_a_handle_are_cancelled,
    all_operations_of_a_ring_are_cancelled,
    the_probe_tells_who_takes_multishot,
}

const MS: u64 = 1_000_000;
const HOUR: u64 = 3_600_000 * MS;
const FORCE: u32 = Strength::Force as u32;

fn interval(period: u64, count: u64) -> Sqe {
    Interval { first: period, period, count, flags: 0 }.encode(7).with_flags(SqeFlags::MULTISHOT)
}

fn push(step: u64, ring: &Ring, entry: Sqe) -> Check {
    same(step, u64::from(ring.push(entry).is_ok()), 1)
}

/// Waits for the next completion, which must have this tag.
fn next(step: u64, ring: &Ring, tag: u32) -> Result<Cqe, Odd> {
    loop {
        if let Some(entry) = ring.pop() {
            same(step, u64::from(entry.tag), u64::from(tag))?;
            return Ok(entry);
        }
        same(step, ring.enter(1), 0)?;
    }
}

fn has_more(entry: Cqe) -> bool {
    entry.flags & CqeFlags::MORE.bits() != 0
}

/// Checks that the operation with tag 7 was cancelled, and for good.
fn ends_cancelled(step: u64, ring: &Ring) -> Check {
    let entry = next(step, ring, 7)?;
    same(step, u64::from(has_more(entry)), 0)?;
    same(step, entry.result, Errno::CANCELED.to_result())
}

fn an_interval_completes_as_often_as_was_asked(_: &Guest) -> Verdict {
    on_ring(|ring| {
        push(10, ring, interval(MS, 5))?;
        let mut expired = 0_u64;
        loop {
            let entry = next(11, ring, 7)?;
            expired = expired.wrapping_add(entry.result);
            if !has_more(entry) {
                return same(12, expired, 5);
            }
        }
    })
}

fn an_interval_that_nobody_looks_at_counts(_: &Guest) -> Verdict {
    on_ring(|ring| {
        let other = ring.create(Sizes::SMALLEST).map_err(|_| Odd { step: 9, found: 0, wanted: 1 })?;
        push(10, ring, interval(MS, 30))?;
        same(11, ring.enter(0), 0)?;
        call(20, &other, Timeout { nanoseconds: 100 * MS, flags: 0 }.encode(8), Ok(0))?;
        // What found no place is told with the last expiry, which has its own.
        let (mut expired, mut seen, mut goes_on) = (0_u64, 0_u64, true);
        while let Some(entry) = ring.pop() {
            expired = expired.wrapping_add(entry.result);
            seen = seen.wrapping_add(1);
            goes_on = has_more(entry);
        }
        same(21, expired, 30)?;
        same(22, u64::from((1..=8).contains(&seen)), 1)?;
        same(23, u64::from(goes_on), 0)
    })
}

fn a_timeout_is_moved_and_removed(_: &Guest) -> Verdict {
    on_ring(|ring| {
        push(10, ring, Timeout { nanoseconds: HOUR, flags: 0 }.encode(7))?;
        call(11, ring, TimeoutUpdate { tag: 7, nanoseconds: 2 * HOUR, flags: 0 }.encode(8), Ok(0))?;
        push(12, ring, TimeoutUpdate { tag: 7, nanoseconds: 1, flags: 1 }.encode(8))?;
        same(13, ring.enter(2), 0)?;
        same(14, next(14, ring, 7)?.result, 0)?;
        same(15, next(15, ring, 8)?.result, 0)?;
        push(20, ring, interval(HOUR, 0))?;
        push(21, ring, TimeoutRemove { tag: 7 }.encode(8))?;
        ends_cancelled(22, ring)?;
        same(23, next(23, ring, 8)?.result, 0)?;
        call(24, ring, TimeoutRemove { tag: 7 }.encode(8), Err(Errno::NOENT))
    })
}

fn operations_on_a_handle_are_cancelled(guest: &Guest) -> Verdict {
    let daemon = guest.daemon(&["relay", "handled"])?;
    let fd = open(b"/scheme/handled/0", O_RDWR, 0)?;
    on_ring(move |ring| {
        push(10, ring, Timeout { nanoseconds: HOUR, flags: 0 }.encode(6))?;
        push(11, ring, Poll { fd: fd.0, mask: event::READ }.encode(7))?;
        push(12, ring, CancelHandle { fd: fd.0, strength: FORCE, grace: 0 }.encode(8))?;
        ends_cancelled(13, ring)?;
        same(14, next(14, ring, 8)?.result, 1)?;
        call(15, ring, CancelHandle { fd: fd.0, strength: FORCE, grace: 0 }.encode(8), Err(Errno::NOENT))
    })?;
    close(fd)?;
    guest.kill(daemon)?;
    Ok(())
}

fn all_operations_of_a_ring_are_cancelled(_: &Guest) -> Verdict {
    on_ring(|ring| {
        for _ in 0..3 {
            push(10, ring, interval(HOUR, 0))?;
        }
        push(11, ring, CancelAll { strength: FORCE, grace: 0 }.encode(8))?;
        for _ in 0..3 {
            ends_cancelled(12, ring)?;
        }
        same(13, next(13, ring, 8)?.result, 3)
    })
}

fn the_probe_tells_who_takes_multishot(_: &Guest) -> Verdict {
    on_ring(|ring| {
        for (opcode, flags) in [(Opcode::Interval, SqeFlags::MULTISHOT), (Opcode::Timeout, SqeFlags::empty())]
        {
            let probe = Probe { opcode: u32::from(opcode.raw()) }.encode(1);
            let found = ring.call(probe).unwrap_or(0);
            let multishot = u64::from(SqeFlags::MULTISHOT.bits()) << 8;
            same(10, found & (1 | multishot), 1 | u64::from(flags.bits()) << 8)?;
        }
        let plain = Interval { first: MS, period: MS, count: 1, flags: 0 };
        call(20, ring, plain.encode(1), Err(Errno::INVAL))
    })
}
