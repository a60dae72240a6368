//! What is used up gives an error or makes others wait, and comes back when it is given back.
#![forbid(unsafe_code)]

use super::tests;
use crate::guest::Guest;
use crate::on_ring::{call, on_ring, same};
use crate::verdict::{Failed, Verdict, ensure, equal};
use alloc::vec;
use alloc::vec::Vec;
use bare::context::Stack;
use core::ptr;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::Relaxed;
use posix::file::{close, dup, read};
use posix::flags::O_RDONLY;
use posix::open::open;
use ring_abi::Errno;
use ring_abi::args::{FutexWait, FutexWake, Nop};
use ring_abi::context::{End, Reason};
use ring_abi::layout::{Sizes, flags, word};
use uring::op::batch::wait_all;
use uring::op::file::{At, read as read_op};

tests! {
    handles_run_out_and_come_back,
    memory_runs_out_and_comes_back: 180,
    who_touches_more_memory_than_there_is_ends_alone: 180,
    a_full_completion_queue_delays_and_loses_nothing,
    a_full_daemon_makes_its_clients_wait,
    many_clients_share_a_daemon,
}

fn handles_run_out_and_come_back(_: &Guest) -> Verdict {
    let fd = open(b"/scheme/null/zero", O_RDONLY, 0)?;
    let mut copies = Vec::with_capacity(5000);
    let error = loop {
        match dup(fd) {
            Ok(copy) => copies.push(copy),
            Err(error) => break error,
        }
        ensure(copies.len() < 100_000, "handles never run out")?;
    };
    equal(error, Errno::MFILE)?;
    ensure(copies.len() > 1000, "there are only a few handles")?;
    equal(open(b"/scheme/null/zero", O_RDONLY, 0), Err(Errno::MFILE))?;
    let last = copies.pop().ok_or("no copies")?;
    close(last)?;
    equal(dup(fd), Ok(last))?; // the lowest free number
    close(last)?;
    for copy in copies {
        close(copy)?;
    }
    equal(read(fd, &mut [1; 4]), Ok(4))?;
    Ok(close(fd)?)
}

fn memory_runs_out_and_comes_back(guest: &Guest) -> Verdict {
    const PIECE: u64 = 4 << 20;
    let free = || super::kernel::footprint("frames.free");
    let before = free()?;
    let end = guest.in_child(|| {
        let mut pieces = Vec::with_capacity(100_000);
        let error = loop {
            match Stack::map_at_once(PIECE) {
                Ok(piece) => pieces.push(piece),
                Err(error) => break error,
            }
        };
        equal(error, Errno::NOMEM)?;
        ensure(pieces.len() > 4, "only a little could be mapped")?;
        let rest = pieces.split_off(pieces.len() / 2);
        rest.into_iter().try_for_each(Stack::unmap)?;
        pieces.push(Stack::map_at_once(PIECE)?);
        pieces.into_iter().try_for_each(Stack::unmap)?;
        Ok(0)
    })?;
    equal(end, End::Exited(0))?;
    guest.until("the frames come back", || free().is_ok_and(|now| now.saturating_add(256) >= before))?;
    equal(guest.in_child(|| Ok(0))?, End::Exited(0))
}

fn who_touches_more_memory_than_there_is_ends_alone(guest: &Guest) -> Verdict {
    let free = || super::kernel::footprint("frames.free");
    let before = free()?;
    let end = guest.in_child(|| {
        loop {
            core::mem::forget(core::hint::black_box(vec![1_u8; 1 << 20]));
        }
    })?;
    equal(end, End::Ended(Reason::OutOfMemory))?;
    guest.until("the frames come back", || free().is_ok_and(|now| now.saturating_add(256) >= before))?;
    equal(guest.in_child(|| Ok(0))?, End::Exited(0))
}

fn a_full_completion_queue_delays_and_loses_nothing(_: &Guest) -> Verdict {
    on_ring(|ring| {
        let Ok(other) = ring.create(Sizes::SMALLEST) else { return same(9, 0, 1) };
        // Eight operations that wait hold all places.
        let word = AtomicU32::new(0);
        let address = ptr::from_ref(&word).addr() as u64;
        for tag in 0..8_u32 {
            let entry = FutexWait { address, expected: 0, deadline: u64::MAX }.encode(tag);
            same(1, u64::from(ring.push(entry).is_ok()), 1)?;
        }
        same(2, ring.enter(0), 0)?;
        for tag in 8..16_u32 {
            same(3, u64::from(ring.push(Nop {}.encode(tag)).is_ok()), 1)?;
        }
        same(4, ring.enter(0), 0)?;
        same(5, u64::from(ring.pop().is_none()), 1)?;
        same(6, u64::from(ring.header(word::FLAGS).load(Relaxed) & flags::NEED_ENTER), 1)?;
        call(10, &other, FutexWake { address, count: 8 }.encode(1), Ok(8))?;
        let mut seen = 0_u64;
        for _ in 0..10_000 {
            same(7, ring.enter(1), 0)?;
            while let Some(entry) = ring.pop() {
                seen |= 1 << entry.tag;
            }
            if seen == 0xffff {
                return call(8, ring, Nop {}.encode(1), Ok(0));
            }
        }
        same(9, seen, 0xffff)
    })
}

fn a_full_daemon_makes_its_clients_wait(_: &Guest) -> Verdict {
    let fd = open(b"/scheme/null/zero", O_RDONLY, 0)?;
    let mut buffers = vec![[1_u8; 8]; 600];
    let reads = buffers.iter_mut().map(|buffer| read_op(fd, buffer.as_mut_slice(), At::Offset(0))).collect();
    for (result, _) in wait_all(reads) {
        equal(result, Ok(8))?;
    }
    ensure(buffers.iter().flatten().all(|byte| *byte == 0), "a buffer was not filled")?;
    Ok(close(fd)?)
}

fn many_clients_share_a_daemon(guest: &Guest) -> Verdict {
    let fd = open(b"/scheme/null/zero", O_RDONLY, 0)?;
    let mut children = Vec::new();
    for _ in 0..8 {
        children.push(guest.fork(|| {
            for _ in 0..500 {
                equal(read(fd, &mut [1; 100]), Ok(100))?;
            }
            Ok(0)
        })?);
    }
    let ends = children.into_iter().map(|pid| guest.wait(pid)).collect::<Result<Vec<End>, Failed>>()?;
    ensure(ends.iter().all(|end| *end == End::Exited(0)), "a client failed")?;
    Ok(close(fd)?)
}
