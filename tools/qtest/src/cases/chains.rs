//! Chains, barriers, limits and reserved handles, with real daemons.
#![forbid(unsafe_code)]

use super::tests;
use crate::guest::Guest;
use crate::on_ring::{call, gives, on_ring, same};
use crate::verdict::{Verdict, ensure, equal};
use alloc::vec;
use core::time::Duration;
use posix::directory::{symlink, unlink};
use posix::file::{close, stat, write_all};
use posix::flags::{O_CREAT, O_RDONLY, O_TRUNC, O_WRONLY};
use posix::open::open;
use ring_abi::args::{self, Nop, Probe};
use ring_abi::{Errno, Opcode, Sqe, SqeFlags};
use uring::Fd;
use uring::op::chain::chain;
use uring::op::file::{At, open_at, read};
use uring::op::handle::{self, reserve, unreserve};
use uring::op::system::nop;
use uring::op::time::{after, limit};

tests! {
    a_file_is_opened_read_and_closed_in_one_submission,
    a_file_that_is_not_there_cancels_the_rest,
    a_reserved_number_is_passed_over,
    stat_follows_links_and_leaves_no_handle,
    a_limit_ends_what_takes_too_long,
    entries_of_a_chain_end_in_order,
    silent_entries_say_nothing_but_errors,
    a_barrier_holds_back_what_is_behind_it,
    the_probe_names_the_flags,
}

const PATH: &str = "/scheme/ram/chained";
const TEXT: &[u8] = b"one submission";

fn put() -> Result<(), Errno> {
    let fd = open(PATH.as_bytes(), O_WRONLY | O_CREAT | O_TRUNC, 0o644)?;
    write_all(fd, TEXT)?;
    close(fd)
}

fn a_file_is_opened_read_and_closed_in_one_submission(_: &Guest) -> Verdict {
    put()?;
    let fd = reserve(None).wait()?;
    for _ in 0..3 {
        let mut buffer = vec![0; TEXT.len()];
        let ((opened, read), closed) = chain(open_at(Fd::CURRENT, PATH, O_RDONLY).placed(fd))
            .then(read(fd, buffer.as_mut_slice(), At::Offset(0)))
            .always(handle::close(fd))
            .wait();
        equal((opened.0, read.0, closed), (Ok(fd), Ok(TEXT.len()), Ok(())))?;
        equal(buffer.as_slice(), TEXT)?;
    }
    unreserve(fd).wait()?;
    unlink(PATH.as_bytes())?;
    Ok(())
}

fn a_file_that_is_not_there_cancels_the_rest(_: &Guest) -> Verdict {
    let fd = reserve(None).wait()?;
    let mut buffer = vec![0; 8];
    let ((opened, read), closed) = chain(open_at(Fd::CURRENT, "/scheme/ram/none", O_RDONLY).placed(fd))
        .then(read(fd, buffer.as_mut_slice(), At::Offset(0)))
        .always(handle::close(fd))
        .wait();
    equal(opened.0, Err(Errno::NOENT))?;
    equal((read.0, closed), (Err(Errno::CANCELED), Err(Errno::CANCELED)))?;
    unreserve(fd).wait()?;
    Ok(())
}

fn a_reserved_number_is_passed_over(_: &Guest) -> Verdict {
    let fd = reserve(None).wait()?;
    let other = handle::dup_to(Fd(0), Fd::CURRENT, None, 0).wait()?;
    ensure(other != fd, "a reserved number went to a dup")?;
    equal(handle::close(fd).wait(), Err(Errno::BADF))?;
    unreserve(fd).wait()?;
    let lowest = handle::dup_to(Fd(0), Fd::CURRENT, None, 0).wait()?;
    equal(lowest, fd)?;
    close(lowest)?;
    close(other)?;
    Ok(())
}

fn stat_follows_links_and_leaves_no_handle(_: &Guest) -> Verdict {
    put()?;
    let link = b"/scheme/ram/chained-link";
    symlink(PATH.as_bytes(), link)?;
    let before = handle::dup_to(Fd(0), Fd::CURRENT, None, 0).wait()?;
    close(before)?;
    for _ in 0..3 {
        equal(stat(PATH.as_bytes())?.st_size, TEXT.len() as u64)?;
        equal(stat(link)?.st_size, TEXT.len() as u64)?;
        equal(stat(b"/scheme/ram/none").map(|_| ()), Err(Errno::NOENT))?;
        equal(stat(b"/scheme/nobody/none").map(|_| ()), Err(Errno::NODEV))?;
    }
    let after = handle::dup_to(Fd(0), Fd::CURRENT, None, 0).wait()?;
    close(after)?;
    equal(after, before)?;
    unlink(link)?;
    unlink(PATH.as_bytes())?;
    Ok(())
}

fn a_limit_ends_what_takes_too_long(_: &Guest) -> Verdict {
    let (brief, long) = (Duration::from_millis(1), Duration::from_secs(3600));
    let (slept, bound) = chain(after(long)).then(limit(brief, brief)).wait();
    equal((slept, bound), (Err(Errno::CANCELED), Err(Errno::TIMEDOUT)))?;
    let ((slept, bound), behind) = chain(after(brief)).then(limit(long, brief)).then(nop()).wait();
    equal((slept, bound, behind), (Ok(()), Err(Errno::CANCELED), Ok(())))
}

fn linked(tag: u32, flags: SqeFlags) -> Sqe {
    Nop {}.encode(tag).with_flags(flags)
}

fn entries_of_a_chain_end_in_order(_: &Guest) -> Verdict {
    on_ring(|ring| {
        for round in 0..100 {
            let wrong = Sqe { opcode: 0xff, ..linked(2, SqeFlags::LINK) };
            for entry in [
                linked(1, SqeFlags::LINK),
                wrong,
                linked(3, SqeFlags::HARD_LINK),
                linked(4, SqeFlags::empty()),
            ] {
                same(round, u64::from(ring.push(entry).is_ok()), 1)?;
            }
            same(round, ring.enter(4), 0)?;
            for (tag, result) in
                [(1, Ok(0)), (2, Err(Errno::INVAL)), (3, Err(Errno::CANCELED)), (4, Err(Errno::CANCELED))]
            {
                let Some(entry) = ring.pop() else { return same(round, 0, tag) };
                same(round, u64::from(entry.tag), tag)?;
                gives(round, entry.result(), result)?;
            }
        }
        Ok(())
    })
}

fn silent_entries_say_nothing_but_errors(_: &Guest) -> Verdict {
    on_ring(|ring| {
        for round in 0..100 {
            for tag in 0..7 {
                same(round, u64::from(ring.push(linked(tag, SqeFlags::SKIP_SUCCESS)).is_ok()), 1)?;
            }
            let wrong = Sqe { opcode: 0xff, ..linked(9, SqeFlags::SKIP_SUCCESS) };
            same(round, u64::from(ring.push(wrong).is_ok()), 1)?;
            // More than can come: it does not wait for those.
            same(round, ring.enter(8), 0)?;
            same(round, ring.pop().map_or(0, |entry| u64::from(entry.tag)), 9)?;
            same(round, u64::from(ring.pop().is_some()), 0)?;
        }
        Ok(())
    })
}

fn a_barrier_holds_back_what_is_behind_it(_: &Guest) -> Verdict {
    on_ring(|ring| {
        let sleep = args::Timeout { nanoseconds: 2_000_000, flags: 0 }.encode(1);
        let entries =
            [sleep, linked(2, SqeFlags::empty()), linked(3, SqeFlags::DRAIN), linked(4, SqeFlags::empty())];
        for entry in entries {
            same(1, u64::from(ring.push(entry).is_ok()), 1)?;
        }
        same(2, ring.enter(4), 0)?;
        for tag in [2, 1, 3, 4] {
            same(3, ring.pop().map_or(0, |entry| u64::from(entry.tag)), tag)?;
        }
        call(4, ring, Nop {}.encode(5), Ok(0))
    })
}

fn the_probe_names_the_flags(_: &Guest) -> Verdict {
    on_ring(|ring| {
        let said = ring.call(Probe { opcode: u32::from(Opcode::Read.raw()) }.encode(1)).unwrap_or(0);
        let order = u64::from(SqeFlags::ORDER.bits());
        same(1, said & 1, 1)?;
        same(2, said >> 8 & order, order)
    })
}
