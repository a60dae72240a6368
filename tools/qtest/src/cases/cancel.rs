//! Cancelling an operation in every state in which one can wait.
#![forbid(unsafe_code)]

use super::tests;
use crate::guest::Guest;
use crate::on_ring::{Check, Odd, call, gives, on_ring, same};
use crate::verdict::{Verdict, ensure, equal};
use alloc::vec;
use bare::Ring;
use core::ptr;
use core::sync::atomic::AtomicU32;
use core::time::Duration;
use posix::file::{close, read};
use posix::flags::{O_RDONLY, O_RDWR};
use posix::open::open;
use ring_abi::args::{
    CURRENT, CURSOR, CancelTag, ContextWait, FutexWait, FutexWake, Map, Nop, OpenAt, Poll, Read, Strength,
    Timeout, event, map,
};
use ring_abi::{Errno, Sqe};
use uring::Fd;
use uring::exec::timeout;
use uring::op::file::{At, read as read_op};

tests! {
    a_request_that_a_daemon_has_is_forced,
    a_polite_daemon_gives_up_when_asked,
    an_answer_within_the_grace_wins,
    a_grace_that_is_over_forces,
    an_open_that_is_forced_leaves_no_file,
    a_request_that_waits_for_room_is_cancelled,
    a_read_that_waits_for_its_turn_is_cancelled,
    a_wait_for_a_word_is_cancelled,
    a_timer_is_cancelled,
    a_wait_for_an_interrupt_is_cancelled,
    a_wait_for_an_end_is_cancelled,
    a_wait_for_an_event_is_cancelled,
    a_long_map_is_done_or_cancelled,
    all_operations_of_a_tag_are_cancelled,
    a_tag_that_is_out_of_use_finds_nothing,
    a_dropped_future_is_cancelled,
}

/// A grace that ends.
const GRACE: u64 = 20_000_000;
/// One that does not, as far as a test can tell.
const HOUR: u64 = 3_600_000_000_000;

fn push(step: u64, ring: &Ring, entry: Sqe) -> Check {
    same(step, u64::from(ring.push(entry).is_ok()), 1)
}

/// Sends an operation that must wait.
fn park(step: u64, ring: &Ring, entry: Sqe) -> Check {
    push(step, ring, entry)?;
    same(step, ring.enter(0), 0)?;
    match ring.pop() {
        None => Ok(()),
        Some(entry) => Err(Odd { step, found: entry.result, wanted: u64::MAX }),
    }
}

/// Cancels tag 7, which `count` operations have, and checks what they end with.
fn cancel(
    step: u64,
    ring: &Ring,
    strength: Strength,
    grace: u64,
    count: u64,
    wanted: Result<u64, Errno>,
) -> Check {
    push(step, ring, CancelTag { tag: 7, strength: strength as u32, grace }.encode(8))?;
    let (mut ended, mut answer) = (0, None);
    while ended < count || answer.is_none() {
        same(step, ring.enter(1), 0)?;
        while let Some(entry) = ring.pop() {
            match entry.tag {
                7 => {
                    gives(step.wrapping_add(1), entry.result(), wanted)?;
                    ended = ended.wrapping_add(1);
                }
                _ => answer = Some(entry.result()),
            }
        }
    }
    gives(step.wrapping_add(2), answer.unwrap_or(Ok(0)), Ok(count))
}

fn force(step: u64, ring: &Ring, wanted: Result<u64, Errno>) -> Check {
    cancel(step, ring, Strength::Force, 0, 1, wanted)
}

/// A 1-byte read into the caller's own stack.
fn read_at(fd: Fd, byte: &u64, offset: u64, tag: u32) -> Sqe {
    Read { fd: fd.0, buffer: ptr::from_ref(byte).addr() as u64, length: 1, offset }.encode(tag)
}

/// Parks a read of a file of a fresh `mute`, cancels it and checks what it ends with.
fn cancel_read(
    guest: &Guest,
    scheme: &str,
    file: &str,
    strength: Strength,
    grace: u64,
    wanted: Result<u64, Errno>,
) -> Verdict {
    let daemon = guest.daemon(&["mute", scheme])?;
    let fd = open([["/scheme", scheme, file].join("/").as_bytes()].concat().as_slice(), O_RDONLY, 0)?;
    on_ring(move |ring| {
        let byte = 0;
        park(10, ring, read_at(fd, &byte, 0, 7))?;
        cancel(20, ring, strength, grace, 1, wanted)?;
        call(30, ring, CancelTag { tag: 7, strength: 1, grace: 0 }.encode(9), Err(Errno::NOENT))?;
        call(40, ring, Nop {}.encode(1), Ok(0))
    })?;
    close(fd)?;
    guest.kill(daemon)?;
    Ok(())
}

fn a_request_that_a_daemon_has_is_forced(guest: &Guest) -> Verdict {
    cancel_read(guest, "forced", "x", Strength::Force, GRACE, Err(Errno::CANCELED))
}

fn a_polite_daemon_gives_up_when_asked(guest: &Guest) -> Verdict {
    cancel_read(guest, "asked", "polite", Strength::Ask, HOUR, Err(Errno::CANCELED))
}

fn an_answer_within_the_grace_wins(guest: &Guest) -> Verdict {
    cancel_read(guest, "graced", "late", Strength::Ask, HOUR, Ok(1))
}

fn a_grace_that_is_over_forces(guest: &Guest) -> Verdict {
    cancel_read(guest, "graceless", "x", Strength::Ask, GRACE, Err(Errno::CANCELED))
}

fn an_open_that_is_forced_leaves_no_file(guest: &Guest) -> Verdict {
    let daemon = guest.daemon(&["mute", "opened"])?;
    let files = super::kernel::footprint("files")?;
    on_ring(|ring| {
        let path = b"/scheme/opened/slow";
        let (buffer, length) = (path.as_ptr().addr() as u64, path.len() as u64);
        park(10, ring, OpenAt { fd: CURRENT, buffer, length, flags: 0, capacity: 0 }.encode(7))?;
        force(20, ring, Err(Errno::CANCELED))
    })?;
    // The daemon hears of it and answers with a file, which is closed again.
    guest.until("the late file is closed", || {
        super::kernel::footprint("files").is_ok_and(|now| now <= files)
    })?;
    guest.kill(daemon)?;
    Ok(())
}

fn a_request_that_waits_for_room_is_cancelled(guest: &Guest) -> Verdict {
    let daemon = guest.daemon(&["mute", "roomless", "0"])?;
    let fd = open(b"/scheme/roomless/x", O_RDONLY, 0)?;
    on_ring(move |ring| {
        let byte = 0;
        park(10, ring, read_at(fd, &byte, 0, 6))?;
        park(20, ring, read_at(fd, &byte, 0, 7))?;
        park(30, ring, read_at(fd, &byte, 0, 9))?;
        force(40, ring, Err(Errno::CANCELED))?;
        call(50, ring, CancelTag { tag: 9, strength: 1, grace: 0 }.encode(8), Ok(1))?;
        call(60, ring, CancelTag { tag: 6, strength: 1, grace: 0 }.encode(8), Ok(1))
    })?;
    guest.kill(daemon)?;
    equal(read(fd, &mut [0]), Err(Errno::NODEV))
}

fn a_read_that_waits_for_its_turn_is_cancelled(guest: &Guest) -> Verdict {
    let daemon = guest.daemon(&["mute", "turns"])?;
    let fd = open(b"/scheme/turns/x", O_RDONLY, 0)?;
    on_ring(move |ring| {
        let byte = 0;
        park(10, ring, read_at(fd, &byte, CURSOR, 6))?;
        park(20, ring, read_at(fd, &byte, CURSOR, 7))?;
        force(30, ring, Err(Errno::CANCELED))?;
        park(40, ring, read_at(fd, &byte, CURSOR, 9))?;
        // The one that has the turn goes: the next has it then, and can still be cancelled.
        call(50, ring, CancelTag { tag: 6, strength: 1, grace: 0 }.encode(8), Ok(1))?;
        call(60, ring, CancelTag { tag: 9, strength: 1, grace: 0 }.encode(8), Ok(1))
    })?;
    close(fd)?;
    guest.kill(daemon)?;
    Ok(())
}

fn a_wait_for_a_word_is_cancelled(_: &Guest) -> Verdict {
    on_ring(|ring| {
        let word = AtomicU32::new(0);
        let address = ptr::from_ref(&word).addr() as u64;
        for (step, deadline) in [(10, u64::MAX), (20, u64::MAX.wrapping_sub(1))] {
            park(step, ring, FutexWait { address, expected: 0, deadline }.encode(7))?;
            force(step.wrapping_add(1), ring, Err(Errno::CANCELED))?;
        }
        // Nobody is there to be woken any more.
        call(30, ring, FutexWake { address, count: 9 }.encode(1), Ok(0))
    })
}

fn a_timer_is_cancelled(_: &Guest) -> Verdict {
    on_ring(|ring| {
        let entry = Timeout { nanoseconds: HOUR, flags: 0 }.encode(7);
        park(10, ring, entry)?;
        force(20, ring, Err(Errno::CANCELED))?;
        park(30, ring, entry)?;
        cancel(40, ring, Strength::Ask, GRACE, 1, Err(Errno::CANCELED))
    })
}

fn a_wait_for_an_interrupt_is_cancelled(_: &Guest) -> Verdict {
    let fd = open(b"/scheme/irq/test", O_RDWR, 0)?;
    on_ring(move |ring| {
        let count = 0_u64;
        let buffer = ptr::from_ref(&count).addr() as u64;
        let entry = |tag| Read { fd: fd.0, buffer, length: 8, offset: CURSOR }.encode(tag);
        // Interrupts of earlier tests may still be unseen.
        push(1, ring, entry(6))?;
        same(2, ring.enter(0), 0)?;
        let seen = ring.pop().is_some();
        park(10, ring, entry(7))?;
        force(20, ring, Err(Errno::CANCELED))?;
        if !seen {
            call(30, ring, CancelTag { tag: 6, strength: 1, grace: 0 }.encode(8), Ok(1))?;
        }
        Ok(())
    })?;
    Ok(close(fd)?)
}

fn a_wait_for_an_end_is_cancelled(_: &Guest) -> Verdict {
    let other = crate::on_ring::start(ring_abi::layout::Sizes::SMALLEST, |ring| {
        ring.call(Timeout { nanoseconds: HOUR, flags: 0 }.encode(1)).map(|_| ()).map_err(|_| Odd {
            step: 1,
            found: 0,
            wanted: 0,
        })
    })?;
    let context = other.handle().0;
    on_ring(move |ring| {
        park(10, ring, ContextWait { context }.encode(7))?;
        force(20, ring, Err(Errno::CANCELED))
    })?;
    other.kill()?;
    equal(other.end()?, ring_abi::context::End::Ended(ring_abi::context::Reason::Killed))
}

fn a_wait_for_an_event_is_cancelled(guest: &Guest) -> Verdict {
    let daemon = guest.daemon(&["relay", "eventless"])?;
    let fd = open(b"/scheme/eventless/0", O_RDWR, 0)?;
    on_ring(move |ring| {
        park(10, ring, Poll { fd: fd.0, mask: event::READ }.encode(7))?;
        // Now the daemon has said that there is none.
        call(20, ring, Timeout { nanoseconds: GRACE, flags: 0 }.encode(1), Ok(0))?;
        force(30, ring, Err(Errno::CANCELED))
    })?;
    close(fd)?;
    guest.kill(daemon)?;
    Ok(())
}

fn a_long_map_is_done_or_cancelled(_: &Guest) -> Verdict {
    let free = super::kernel::footprint("frames.free")?;
    on_ring(|ring| {
        let flags = map::READ | map::WRITE | map::PRIVATE;
        let (length, space) = (32 << 20, CURRENT);
        push(1, ring, Map { space, address: 0, length, flags }.encode(7))?;
        push(2, ring, CancelTag { tag: 7, strength: 1, grace: 0 }.encode(8))?;
        let mut mapped = None;
        let mut missing = 2;
        while missing != 0 {
            same(3, ring.enter(1), 0)?;
            while let Some(entry) = ring.pop() {
                missing = u32::wrapping_sub(missing, 1);
                mapped = if entry.tag == 7 { Some(entry.result()) } else { mapped };
            }
        }
        match mapped {
            Some(Ok(address)) => {
                call(4, ring, ring_abi::args::Unmap { space, address, length }.encode(1), Ok(0))
            }
            Some(result) => gives(5, result, Err(Errno::CANCELED)),
            None => same(6, 0, 1),
        }
    })?;
    let now = super::kernel::footprint("frames.free")?;
    ensure(now.saturating_add(64) >= free, "memory was lost")
}

fn all_operations_of_a_tag_are_cancelled(_: &Guest) -> Verdict {
    on_ring(|ring| {
        for _ in 0..5 {
            park(10, ring, Timeout { nanoseconds: HOUR, flags: 0 }.encode(7))?;
        }
        cancel(20, ring, Strength::Force, 0, 5, Err(Errno::CANCELED))
    })
}

fn a_tag_that_is_out_of_use_finds_nothing(_: &Guest) -> Verdict {
    on_ring(|ring| {
        call(10, ring, CancelTag { tag: 7, strength: 1, grace: 0 }.encode(1), Err(Errno::NOENT))?;
        call(20, ring, CancelTag { tag: 7, strength: 2, grace: 0 }.encode(1), Err(Errno::INVAL))?;
        call(30, ring, Nop {}.encode(7), Ok(0))?;
        call(40, ring, CancelTag { tag: 7, strength: 0, grace: 0 }.encode(1), Err(Errno::NOENT))
    })
}

fn a_dropped_future_is_cancelled(guest: &Guest) -> Verdict {
    let daemon = guest.daemon(&["mute", "dropped"])?;
    let fd = open(b"/scheme/dropped/x", O_RDONLY, 0)?;
    for _ in 0..20 {
        let late = timeout(Duration::from_millis(1), read_op(fd, vec![0; 100], At::Offset(0)));
        ensure(uring::block_on(late).is_err(), "a mute daemon answered")?;
    }
    let zero = open(b"/scheme/null/zero", O_RDONLY, 0)?;
    equal(read(zero, &mut [1; 10]), Ok(10))?;
    close(fd)?;
    guest.kill(daemon)?;
    Ok(())
}
