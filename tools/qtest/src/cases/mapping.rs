//! Files in memory: pages that come with their first use, and are the same for all who map them.
#![forbid(unsafe_code)]

use super::kernel::footprint;
use super::tests;
use crate::guest::Guest;
use crate::verdict::{Failed, Verdict, ensure, equal};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use bare::context::Stack;
use posix::file::{close, pread};
use posix::flags::{O_CREAT, O_RDONLY, O_RDWR};
use posix::open::open;
use ring_abi::Errno;
use ring_abi::args::map::{PRIVATE, READ, SHARED, WRITE};
use ring_abi::context::{End, Reason};
use uring::Fd;

tests! {
    a_file_of_the_image_is_mapped_without_a_copy,
    what_is_written_to_a_mapped_file_is_the_writers_alone,
    behind_the_end_of_a_mapped_file_there_is_nothing,
    a_mapped_file_outlives_its_handle,
    a_file_that_nobody_maps_is_refused,
    a_hundred_processes_have_one_text,
}

/// The largest program of the image.
const PROGRAM: &[u8] = b"/scheme/initfs/bin/qtest";
const PAGE: usize = 4096;
/// Frames that others may take meanwhile.
const NOISE: u64 = 24;

fn frames() -> Result<u64, Failed> {
    footprint("frames.program")
}

fn length(file: Fd) -> Result<u64, Errno> {
    uring::op::file::fsize(file).wait()
}

fn a_file_of_the_image_is_mapped_without_a_copy(_: &Guest) -> Verdict {
    let file = open(PROGRAM, O_RDONLY, 0)?;
    let size = length(file)?;
    let before = frames()?;
    let area = Stack::map_file(file, 0, size, READ | PRIVATE)?;
    let mapped = area.bytes();
    let mut piece = vec![0; 64 << 10];
    let mut at = 0_usize;
    while at < size as usize {
        let count = pread(file, &mut piece, at as u64)?;
        ensure(count > 0, "the file is shorter than it says")?;
        let end = at.saturating_add(count);
        ensure(mapped.get(at..end) == piece.get(..count), "other bytes than those that are read")?;
        at = end;
    }
    let taken = frames()?.saturating_sub(before);
    ensure(taken <= NOISE + 16, &format!("{taken} frames for pages that are there already"))?;
    area.unmap()?;
    // From the middle of it, too.
    let area = Stack::map_file(file, 2 * PAGE as u64, PAGE as u64, READ | SHARED)?;
    let count = pread(file, piece.get_mut(..PAGE).ok_or("too short")?, 2 * PAGE as u64)?;
    ensure(area.bytes() == piece.get(..count).unwrap_or_default(), "another page than that of the offset")?;
    area.unmap()?;
    Ok(close(file)?)
}

fn what_is_written_to_a_mapped_file_is_the_writers_alone(guest: &Guest) -> Verdict {
    let file = open(PROGRAM, O_RDONLY, 0)?;
    let mut area = Stack::map_file(file, 0, 3 * PAGE as u64, READ | WRITE | PRIVATE)?;
    let first = area.bytes().first().copied();
    *area.bytes_mut().get_mut(1).ok_or("too short")? = 77;
    let pid = guest.fork(|| {
        let kept = area.bytes().get(1) == Some(&77) && area.bytes().first().copied() == first;
        area.bytes_mut().iter_mut().step_by(PAGE).for_each(|byte| *byte = 99);
        Ok(u8::from(!kept))
    })?;
    equal(guest.wait(pid)?, End::Exited(0))?;
    equal(area.bytes().first().copied(), first)?;
    let mut byte = [0];
    equal(pread(file, &mut byte, 1), Ok(1))?;
    ensure(byte != [77], "the file was written")?;
    area.unmap()?;
    Ok(close(file)?)
}

fn behind_the_end_of_a_mapped_file_there_is_nothing(guest: &Guest) -> Verdict {
    let file = open(PROGRAM, O_RDONLY, 0)?;
    let size = length(file)?;
    let pages = size.div_ceil(PAGE as u64);
    let area = Stack::map_file(file, 0, pages.saturating_add(2).saturating_mul(PAGE as u64), READ | PRIVATE)?;
    let rest = area.bytes().get(size as usize..pages as usize * PAGE).ok_or("too short")?;
    ensure(rest.iter().all(|byte| *byte == 0), "the rest of its last page is not zero")?;
    let end = guest.in_child(|| Ok(area.bytes().get(pages as usize * PAGE).copied().unwrap_or(1)))?;
    equal(end, End::Ended(Reason::BusError))?;
    let behind = area.bytes().get(pages as usize * PAGE..).ok_or("too short")?;
    let sink = open(format!("{}/sink", guest.folder()?).as_bytes(), O_RDWR | O_CREAT, 0o600)?;
    equal(posix::file::write(sink, behind.get(..8).ok_or("too short")?), Err(Errno::IO))?;
    close(sink)?;
    area.unmap()?;
    Ok(close(file)?)
}

fn a_mapped_file_outlives_its_handle(_: &Guest) -> Verdict {
    let file = open(PROGRAM, O_RDONLY, 0)?;
    let area = Stack::map_file(file, 0, PAGE as u64, READ | PRIVATE)?;
    close(file)?;
    equal(area.bytes().get(1..4), Some(b"ELF".as_slice()))?;
    Ok(area.unmap()?)
}

fn a_file_that_nobody_maps_is_refused(_: &Guest) -> Verdict {
    let refused = |path: &[u8], flags: u64| -> Result<Option<Errno>, Failed> {
        let file = open(path, O_RDONLY, 0)?;
        let mapped = Stack::map_file(file, 0, PAGE as u64, flags);
        close(file)?;
        Ok(mapped.err())
    };
    equal(refused(b"/scheme/null/zero", READ | PRIVATE)?, Some(Errno::NODEV))?;
    equal(refused(b"/scheme/sys/counters", READ | PRIVATE)?, Some(Errno::NODEV))?;
    equal(refused(b"/scheme/initfs/bin", READ | PRIVATE)?, Some(Errno::NODEV))?;
    equal(refused(PROGRAM, READ | WRITE | SHARED)?, Some(Errno::ACCES))
}

fn a_hundred_processes_have_one_text(guest: &Guest) -> Verdict {
    const MANY: u64 = 100;
    let file = open(PROGRAM, O_RDONLY, 0)?;
    let text = length(file)?.div_ceil(PAGE as u64);
    close(file)?;
    let before = frames()?;
    let pids: Vec<u32> =
        (0..MANY).map(|_| guest.spawn(&["qtest", "--role", "wait"])).collect::<Result<_, Errno>>()?;
    guest.until("all of them wait", || frames().is_ok_and(|now| now.saturating_sub(before) >= MANY))?;
    guest.sleep(50)?;
    let each = frames()?.saturating_sub(before).div_ceil(MANY);
    for pid in pids {
        guest.kill(pid)?;
    }
    ensure(each.saturating_mul(4) < text, &format!("{each} pages each, of a program of {text}"))
}
