//! Files in memory whose daemon is asked for each page that is touched.
#![forbid(unsafe_code)]

use super::tests;
use crate::guest::Guest;
use crate::verdict::{Failed, Verdict, ensure, equal};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use bare::context::Stack;
use posix::file::{close, ftruncate, pread, pwrite, read, write};
use posix::flags::{O_CREAT, O_RDONLY, O_RDWR};
use posix::open::open;
use posix::spawn::{Command, spawn};
use ring_abi::Errno;
use ring_abi::args::map::{PRIVATE, READ, SHARED, WRITE};
use ring_abi::context::{End, Reason};
use uring::Fd;

tests! {
    a_file_of_a_daemon_is_in_the_memory_of_those_who_map_it,
    what_is_written_to_shared_memory_is_in_the_file,
    operations_wait_for_pages_of_files,
    behind_the_end_of_a_daemons_file_there_is_nothing,
    a_page_that_was_cut_off_stays_with_those_who_have_it,
    a_program_starts_from_a_daemons_file,
    a_daemon_that_dies_fails_those_who_wait_for_its_pages,
    a_daemon_that_gives_no_page_fails_who_asked,
    who_waits_for_a_page_can_be_killed,
}

const PAGE: usize = 4096;
/// Pages of the files here.
const PAGES: usize = 40;

/// A file in which every page is different.
fn file(guest: &Guest) -> Result<(Fd, Vec<u8>), Failed> {
    let path = format!("{}/file", guest.folder()?);
    let file = open(path.as_bytes(), O_RDWR | O_CREAT, 0o600)?;
    let bytes: Vec<u8> = (0..PAGES * PAGE).map(|at| (at / PAGE + at % 251) as u8).collect();
    write_all(file, &bytes)?;
    Ok((file, bytes))
}

fn write_all(file: Fd, bytes: &[u8]) -> Result<(), Failed> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let count = write(file, rest)?;
        rest = rest.get(count..).ok_or("more was written than there is")?;
    }
    Ok(())
}

fn map(file: Fd, flags: u64) -> Result<Stack, Errno> {
    Stack::map_file(file, 0, (PAGES * PAGE) as u64, flags)
}

fn byte(area: &Stack, at: usize) -> Result<u8, Failed> {
    Ok(area.bytes().get(at).copied().ok_or("too short")?)
}

fn a_file_of_a_daemon_is_in_the_memory_of_those_who_map_it(guest: &Guest) -> Verdict {
    let (file, bytes) = file(guest)?;
    let mut area = map(file, READ | WRITE | PRIVATE)?;
    let other = map(file, READ | PRIVATE)?;
    close(file)?;
    for page in [7, 0, 39, 8, 23] {
        equal(byte(&area, page * PAGE + 5)?, bytes.get(page * PAGE + 5).copied().unwrap_or_default())?;
    }
    ensure(area.bytes() == bytes, "other bytes than those of the file")?;
    area.bytes_mut().fill(1);
    ensure(other.bytes() == bytes, "a private mapping changed the file")?;
    let end = guest.in_child(|| Ok(u8::from(other.bytes() != bytes || byte(&area, 3)? != 1)))?;
    equal(end, End::Exited(0))?;
    area.unmap()?;
    Ok(other.unmap()?)
}

fn what_is_written_to_shared_memory_is_in_the_file(guest: &Guest) -> Verdict {
    let (file, _) = file(guest)?;
    let mut area = map(file, READ | WRITE | SHARED)?;
    let mut seen = [0; 4];
    *area.bytes_mut().get_mut(3 * PAGE).ok_or("too short")? = 77;
    pread(file, &mut seen, 3 * PAGE as u64)?;
    equal(seen[0], 77)?;
    equal(pwrite(file, b"file", 20 * PAGE as u64), Ok(4))?;
    ensure(area.bytes().get(20 * PAGE..20 * PAGE + 4) == Some(b"file"), "what is written is not seen")?;
    let end = guest.in_child(|| {
        area.bytes_mut().get_mut(30 * PAGE..30 * PAGE + 4).ok_or("too short")?.copy_from_slice(b"kind");
        Ok(0)
    })?;
    equal(end, End::Exited(0))?;
    pread(file, &mut seen, 30 * PAGE as u64)?;
    equal(&seen, b"kind")?;
    ensure(area.bytes().get(30 * PAGE..30 * PAGE + 4) == Some(b"kind"), "a fork does not share it")?;
    area.unmap()?;
    Ok(close(file)?)
}

fn operations_wait_for_pages_of_files(guest: &Guest) -> Verdict {
    let (file, bytes) = file(guest)?;
    let copy = open(format!("/scheme/ram/{}-copy", file.0).as_bytes(), O_RDWR | O_CREAT, 0o600)?;
    let area = map(file, READ | PRIVATE)?;
    write_all(copy, area.bytes())?;
    let mut target = map(copy, READ | WRITE | SHARED)?;
    // Into pages that were never touched, from one file to another.
    let mut at = 100;
    while at < 8 * PAGE {
        let room = target.bytes_mut().get_mut(PAGE + at..9 * PAGE).ok_or("too short")?;
        at += pread(file, room, at as u64)?;
    }
    target.unmap()?;
    let expected = bytes.get(100..8 * PAGE).ok_or("too short")?;
    let again = map(copy, READ | PRIVATE)?;
    ensure(
        again.bytes().get(PAGE + 100..9 * PAGE) == Some(expected),
        "other bytes than those that were read",
    )?;
    again.unmap()?;
    area.unmap()?;
    close(copy)?;
    Ok(close(file)?)
}

fn behind_the_end_of_a_daemons_file_there_is_nothing(guest: &Guest) -> Verdict {
    let (file, _) = file(guest)?;
    ftruncate(file, 100)?;
    let area = map(file, READ | PRIVATE)?;
    ensure(area.bytes().get(100..PAGE).is_some_and(|rest| rest.iter().all(|byte| *byte == 0)), "not zero")?;
    equal(guest.in_child(|| byte(&area, PAGE))?, End::Ended(Reason::BusError))?;
    let sink = open(format!("/scheme/ram/sink-{}", file.0).as_bytes(), O_RDWR | O_CREAT, 0o600)?;
    equal(write(sink, area.bytes().get(PAGE..2 * PAGE).ok_or("too short")?), Err(Errno::IO))?;
    // It may grow.
    ftruncate(file, 2 * PAGE as u64)?;
    equal(byte(&area, PAGE)?, 0)?;
    area.unmap()?;
    close(sink)?;
    Ok(close(file)?)
}

fn a_page_that_was_cut_off_stays_with_those_who_have_it(guest: &Guest) -> Verdict {
    let (file, _) = file(guest)?;
    let area = map(file, READ | PRIVATE)?;
    let at = 5 * PAGE + 1;
    let before = byte(&area, at)?;
    ftruncate(file, 0)?;
    equal(byte(&area, at)?, before)?;
    for page in 0..PAGES {
        equal(pwrite(file, &[9; PAGE], (page * PAGE) as u64), Ok(PAGE))?;
    }
    equal(byte(&area, at)?, before)?;
    let mut now = [0];
    pread(file, &mut now, at as u64)?;
    equal(now, [9])?;
    area.unmap()?;
    Ok(close(file)?)
}

fn a_program_starts_from_a_daemons_file(guest: &Guest) -> Verdict {
    let path = format!("{}/program", guest.folder()?);
    copy("/scheme/initfs/bin/qtest", &path)?;
    let arguments: [&[u8]; 4] = [b"program", b"--role", b"exit", b"42"];
    let command = Command { path: path.as_bytes(), arguments: &arguments, environment: &[], handles: &[] };
    let started: Vec<u32> = (0..10).map(|_| spawn(&command)).collect::<Result<_, Errno>>()?;
    for pid in started {
        equal(guest.wait(pid)?, End::Exited(42))?;
    }
    Ok(())
}

fn copy(from: &str, to: &str) -> Verdict {
    let (from, to) = (open(from.as_bytes(), O_RDONLY, 0)?, open(to.as_bytes(), O_RDWR | O_CREAT, 0o755)?);
    let mut piece = vec![0; 64 << 10];
    loop {
        let count = read(from, &mut piece)?;
        if count == 0 {
            break;
        }
        write_all(to, piece.get(..count).ok_or("more was read than there is room")?)?;
    }
    close(from)?;
    Ok(close(to)?)
}

fn a_daemon_that_dies_fails_those_who_wait_for_its_pages(guest: &Guest) -> Verdict {
    let daemon = guest.daemon(&["mute", "pageless"])?;
    let file = open(b"/scheme/pageless/anything", O_RDONLY, 0)?;
    let sink = open(format!("{}/sink", guest.folder()?).as_bytes(), O_RDWR | O_CREAT, 0o600)?;
    let area = map(file, READ | PRIVATE)?;
    let children: Vec<u32> =
        (0..3).map(|page| guest.fork(|| byte(&area, page * PAGE))).collect::<Result<_, Errno>>()?;
    guest.sleep(20)?;
    let pieces = [0, 20 * PAGE].map(|at| area.bytes().get(at..at + 8).unwrap_or_default());
    let end = guest.fork(|| Ok(u8::from(pieces.map(|piece| write(sink, piece)) != [Err(Errno::IO); 2])))?;
    guest.sleep(20)?;
    guest.kill(daemon)?;
    for child in children {
        equal(guest.wait(child)?, End::Ended(Reason::BusError))?;
    }
    equal(guest.wait(end)?, End::Exited(0))?;
    equal(write(sink, pieces[0]), Err(Errno::IO))?;
    area.unmap()?;
    close(sink)?;
    Ok(close(file)?)
}

fn a_daemon_that_gives_no_page_fails_who_asked(guest: &Guest) -> Verdict {
    let daemon = guest.daemon(&["mute", "useless"])?;
    for name in ["wrong", "hole", "exit"] {
        let path: String = format!("/scheme/useless/{name}");
        let file = open(path.as_bytes(), O_RDONLY, 0)?;
        let area = map(file, READ | PRIVATE)?;
        equal(guest.in_child(|| byte(&area, 0))?, End::Ended(Reason::BusError))?;
        area.unmap()?;
        close(file)?;
    }
    equal(guest.wait(daemon)?, End::Exited(3))
}

fn who_waits_for_a_page_can_be_killed(guest: &Guest) -> Verdict {
    let daemon = guest.daemon(&["mute", "patient"])?;
    let file = open(b"/scheme/patient/anything", O_RDONLY, 0)?;
    let area = map(file, READ | PRIVATE)?;
    let child = guest.fork(|| byte(&area, 0))?;
    guest.sleep(20)?;
    equal(guest.kill(child)?, End::Ended(Reason::Killed))?;
    area.unmap()?;
    close(file)?;
    equal(guest.kill(daemon)?, End::Ended(Reason::Killed))
}
