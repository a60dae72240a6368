//! What the kernel serves by itself: clocks, timers, interrupts, counters; and operations that need nobody else.
#![forbid(unsafe_code)]

use super::tests;
use crate::guest::Guest;
use crate::on_ring::{call, gives, on_ring, same};
use crate::verdict::{Failed, Verdict, ensure, equal};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use posix::file::{close, read, write};
use posix::flags::{O_RDONLY, O_RDWR, O_WRONLY};
use posix::open::open;
use ring_abi::args::{CURSOR, Nop, Read, Timeout, Write};
use ring_abi::layout::Sizes;
use ring_abi::{Errno, Opcode, enter};
use uring::op::batch::wait_all;
use uring::op::system::{nop, probe};
use uring::op::time::after;

tests! {
    every_opcode_can_be_asked_for,
    completions_come_with_their_tags,
    many_operations_fit_through_a_small_ring,
    a_context_has_at_most_four_rings,
    time_goes_on_and_never_back,
    timers_end_in_order,
    a_wait_ends_at_its_deadline,
    a_wait_that_nothing_can_end_returns,
    interrupts_reach_who_waits_for_them,
    an_interrupt_between_two_reads_is_not_lost,
    the_kernels_counters_can_be_read,
    every_frame_is_counted_once,
    the_console_takes_what_is_written,
}

/// A text file of scheme `sys`.
pub(super) fn text(path: &str) -> Result<String, Failed> {
    let fd = open(path.as_bytes(), O_RDONLY, 0)?;
    let mut text = Vec::new();
    let mut piece = vec![0; 1000];
    loop {
        match read(fd, &mut piece)? {
            0 => break,
            count => text.extend_from_slice(piece.get(..count).ok_or("more than was asked for")?),
        }
    }
    close(fd)?;
    String::from_utf8(text).map_err(|_| Failed("a file of scheme sys is not text".into()))
}

/// The first number behind a name in such a file.
fn number(path: &str, name: &str) -> Result<Option<u64>, Failed> {
    let text = text(path)?;
    let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(rest.and_then(|rest| rest.split(' ').next()?.parse().ok()))
}

/// How many there are of something in the kernel's footprint.
pub(super) fn footprint(name: &str) -> Result<u64, Failed> {
    number("/scheme/sys/footprint", name)?.ok_or_else(|| Failed([name, " is not counted"].concat()))
}

/// The same, once it stands still: what a process had is given back in pieces, after its parent has heard of its end.
pub(super) fn settled_footprint(name: &str) -> Result<u64, Failed> {
    let mut last = footprint(name)?;
    for _ in 0..200 {
        after(Duration::from_millis(10)).wait()?;
        let now = footprint(name)?;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
    Err(Failed([name, " does not stand still"].concat()))
}

/// How the lock around the kernel's state was used so far: how often it was taken, how often somebody waited for it or slept
/// meanwhile, and the ticks of waiting and of holding.
pub(crate) fn lock_use() -> Result<[u64; 5], Failed> {
    let mut found = [0; 5];
    for (place, name) in found.iter_mut().zip(["taken", "waits", "sleeps", "waited_ticks", "held_ticks"]) {
        *place =
            number("/scheme/sys/lock", name)?.ok_or_else(|| Failed([name, " is not counted"].concat()))?;
    }
    Ok(found)
}

/// How many operations of a kind have started. One that waits has: there is nothing between.
pub(super) fn started(opcode: Opcode) -> Result<u64, Failed> {
    // There is no line of what never started.
    Ok(number("/scheme/sys/counters", opcode.name())?.unwrap_or_default())
}

fn every_opcode_can_be_asked_for(_: &Guest) -> Verdict {
    for opcode in [Opcode::Nop, Opcode::Read, Opcode::OpenAt, Opcode::FutexWait, Opcode::SpaceFork] {
        equal(probe(opcode).wait().map(|answer| answer & 0xff), Ok(1))?;
    }
    equal(probe(Opcode::Trace).wait(), Ok(0))?;
    equal(probe(Opcode::Cancel).wait(), Ok(0))
}

fn completions_come_with_their_tags(_: &Guest) -> Verdict {
    on_ring(|ring| {
        for tag in 1..=8_u32 {
            same(1, u64::from(ring.push(Nop {}.encode(tag)).is_ok()), 1)?;
        }
        same(2, u64::from(ring.push(Nop {}.encode(9)).is_ok()), 0)?;
        same(3, ring.enter(8), 0)?;
        for tag in 1..=8 {
            same(4, ring.pop().map_or(0, |entry| u64::from(entry.tag)), tag)?;
        }
        same(5, u64::from(ring.pop().is_none()), 1)
    })
}

fn many_operations_fit_through_a_small_ring(_: &Guest) -> Verdict {
    let results = wait_all((0..1000).map(|_| nop()).collect());
    equal(results.len(), 1000)?;
    ensure(results.iter().all(Result::is_ok), "one failed")
}

fn a_context_has_at_most_four_rings(_: &Guest) -> Verdict {
    on_ring(|ring| {
        let sizes = Sizes { sq: 4, cq: 5, service: None };
        for number in 1..=3 {
            let further =
                ring.create(sizes).map_err(|_| crate::on_ring::Odd { step: 1, found: 0, wanted: number })?;
            same(2, further.number(), number)?;
            call(3, &further, Nop {}.encode(1), Ok(0))?;
        }
        gives(4, ring.create(sizes).map(|_| 0), Err(Errno::MFILE))?;
        call(5, ring, Nop {}.encode(1), Ok(0))
    })
}

/// The monotonic clock in nanoseconds.
fn now() -> Result<u64, Errno> {
    let fd = open(b"/scheme/time/4", O_RDONLY, 0)?;
    let mut words = [0; 16];
    let count = read(fd, &mut words)?;
    close(fd)?;
    let [seconds, nanoseconds] =
        words.as_chunks::<8>().0.as_array().copied().ok_or(Errno::IO)?.map(u64::from_le_bytes);
    if count != 16 || nanoseconds >= 1_000_000_000 {
        return Err(Errno::IO);
    }
    Ok(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds))
}

fn time_goes_on_and_never_back(_: &Guest) -> Verdict {
    let mut last = now()?;
    for _ in 0..200 {
        let next = now()?;
        ensure(next >= last, "the clock went back")?;
        last = next;
    }
    after(Duration::from_millis(20)).wait()?;
    let passed = now()?.saturating_sub(last);
    ensure(passed >= 20_000_000, "a timeout ended early")?;
    equal(open(b"/scheme/time/1", O_RDONLY, 0).and_then(close), Ok(()))?;
    equal(open(b"/scheme/time/2", O_RDONLY, 0), Err(Errno::NOENT))
}

fn timers_end_in_order(_: &Guest) -> Verdict {
    on_ring(|ring| {
        // Far enough apart that the host does not take that long from one entry of a submission to the next.
        for (tag, milliseconds) in [(1, 300_u64), (2, 100), (3, 400), (4, 200)] {
            let nanoseconds = milliseconds.wrapping_mul(1_000_000);
            same(1, u64::from(ring.push(Timeout { nanoseconds, flags: 0 }.encode(tag)).is_ok()), 1)?;
        }
        same(2, ring.enter(4), 0)?;
        for wanted in [2, 4, 1, 3] {
            same(3, ring.pop().map_or(0, |entry| u64::from(entry.tag)), wanted)?;
        }
        call(4, ring, Timeout { nanoseconds: 0, flags: 0 }.encode(5), Ok(0))?;
        call(5, ring, Timeout { nanoseconds: 0, flags: 1 }.encode(5), Ok(0))?;
        call(6, ring, Timeout { nanoseconds: 0, flags: 2 }.encode(5), Err(Errno::INVAL))
    })
}

fn a_wait_ends_at_its_deadline(_: &Guest) -> Verdict {
    let soon = now()?.saturating_add(20_000_000);
    on_ring(move |ring| {
        let hour = Timeout { nanoseconds: 3_600_000_000_000, flags: 0 }.encode(1);
        same(1, u64::from(ring.push(hour).is_ok()), 1)?;
        let wait = |deadline| ring.enter_with(8, 1, enter::COMPLETIONS, deadline).map(|()| 0);
        gives(2, wait(soon), Err(Errno::TIMEDOUT))?;
        gives(3, wait(soon), Err(Errno::TIMEDOUT))?;
        same(4, u64::from(ring.pop().is_none()), 1)?;
        // What a wait returned is not returned by the next one.
        let moment = Timeout { nanoseconds: 1_000_000, flags: 0 }.encode(2);
        same(5, u64::from(ring.push(moment).is_ok()), 1)?;
        gives(6, wait(enter::NO_DEADLINE), Ok(0))?;
        same(7, ring.pop().map_or(0, |entry| u64::from(entry.tag)), 2)
    })?;
    ensure(now()? >= soon, "the wait ended early")
}

fn a_wait_that_nothing_can_end_returns(_: &Guest) -> Verdict {
    on_ring(|ring| {
        gives(1, ring.enter_with(8, 5, enter::COMPLETIONS, enter::NO_DEADLINE).map(|()| 0), Ok(0))?;
        same(2, u64::from(ring.push(Nop {}.encode(1)).is_ok()), 1)?;
        gives(3, ring.enter_with(8, 5, enter::COMPLETIONS, enter::NO_DEADLINE).map(|()| 0), Ok(0))?;
        same(4, u64::from(ring.pop().is_some()), 1)
    })
}

fn interrupts_reach_who_waits_for_them(_: &Guest) -> Verdict {
    let fd = open(b"/scheme/irq/test", O_RDWR, 0)?;
    on_ring(move |ring| {
        let byte = 0_u64;
        let mut last = 0;
        for _ in 0..10 {
            let count = 0_u64;
            let buffer = core::ptr::from_ref(&count).addr() as u64;
            let read = Read { fd: fd.0, buffer, length: 8, offset: CURSOR }.encode(1);
            same(1, u64::from(ring.push(read).is_ok()), 1)?;
            same(2, ring.enter(0), 0)?;
            let raise = Write {
                fd: fd.0,
                buffer: core::ptr::from_ref(&byte).addr() as u64,
                length: 1,
                offset: CURSOR,
            };
            same(3, u64::from(ring.push(raise.encode(2)).is_ok()), 1)?;
            same(4, ring.enter(2), 0)?;
            while let Some(entry) = ring.pop() {
                gives(
                    u64::from(entry.tag).wrapping_add(10),
                    entry.result(),
                    Ok(if entry.tag == 1 { 8 } else { 1 }),
                )?;
            }
            let seen = core::hint::black_box(&count);
            same(5, u64::from(*seen > last), 1)?;
            last = *seen;
        }
        Ok(())
    })?;
    Ok(close(fd)?)
}

fn an_interrupt_between_two_reads_is_not_lost(_: &Guest) -> Verdict {
    let fd = open(b"/scheme/irq/test", O_RDWR, 0)?;
    let mut count = [0; 8];
    for _ in 0..3 {
        equal(write(fd, b"1"), Ok(1))?;
        equal(read(fd, &mut count), Ok(8))?;
    }
    equal(write(fd, b"1"), Ok(1))?;
    equal(write(fd, b"1"), Ok(1))?;
    let before = u64::from_le_bytes(count);
    equal(read(fd, &mut count), Ok(8))?;
    equal(u64::from_le_bytes(count), before.wrapping_add(2))?;
    equal(read(fd, &mut [0; 7]), Err(Errno::INVAL))?;
    Ok(close(fd)?)
}

fn the_kernels_counters_can_be_read(_: &Guest) -> Verdict {
    for (file, word) in [
        ("counters", "enters "),
        ("latency", "Read "),
        ("step", "longest_step_ticks "),
        ("footprint", "contexts "),
    ] {
        let text = text(&["/scheme/sys/", file].concat())?;
        ensure(text.contains(word), file)?;
    }
    equal(open(b"/scheme/sys/no-such-file", O_RDONLY, 0), Err(Errno::NOENT))?;
    let step = text("/scheme/sys/step")?;
    let value =
        |name: &str| step.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    let (high, boot) = (value("stack_high_water "), value("stack_of_boot "));
    ensure(high > Some(0) && high < Some(8 << 10), "a step used more of the stack than it may, or nothing")?;
    ensure(
        boot > high && boot < value("stack_size "),
        "the boot used less of the stack than a step, or all of it",
    )
}

fn every_frame_is_counted_once(guest: &Guest) -> Verdict {
    let kinds = ["records", "tables", "program", "rings", "arenas", "image", "free"];
    let frames = |name: &str| footprint(&["frames.", name].concat());
    let total = frames("total")?;
    // Each number is asked for at its own time, and others that have ended may still give frames back. Frames that wait for a
    // flush are neither used nor free.
    guest.until("the frames add up", || {
        let all = kinds.iter().map(|name| frames(name)).sum::<Result<u64, Failed>>();
        all.is_ok_and(|sum| sum <= total && sum.saturating_add(64) >= total)
    })
}

fn the_console_takes_what_is_written(_: &Guest) -> Verdict {
    let fd = open(b"/scheme/debug", O_WRONLY, 0)?;
    let long = vec![b'.'; 300];
    let count = write(fd, &long)?;
    ensure(count > 0 && count <= 300, "another count")?;
    equal(write(fd, b"\n"), Ok(1))?;
    equal(write(fd, b""), Ok(0))?;
    Ok(close(fd)?)
}
