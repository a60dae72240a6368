//! Memory that comes with its first use, and forks that share it until somebody writes.
#![forbid(unsafe_code)]

use super::kernel::{footprint, settled_footprint};
use super::tests;
use crate::guest::Guest;
use crate::verdict::{Failed, Verdict, ensure, equal};
use alloc::vec;
use bare::context::Stack;
use bare::mischief::overflow;
use posix::file::{close, read, write_all};
use posix::flags::{O_CREAT, O_RDONLY, O_RDWR};
use posix::open::open;
use posix::spawn::{Command, spawn};
use ring_abi::Errno;
use ring_abi::args::advice::{DONTNEED, WILLNEED};
use ring_abi::context::{End, Reason};

tests! {
    much_memory_costs_nothing_until_it_is_touched,
    a_fork_keeps_what_was_and_not_what_comes,
    forks_deep_and_wide_keep_apart,
    a_daemons_bytes_reach_memory_that_nobody_touched,
    memory_that_is_not_needed_comes_back_as_zeros,
    the_first_stack_grows_and_has_an_end,
    more_arguments_than_fit_are_refused,
}

/// Words of a page.
const PAGE: usize = 512;
/// Frames that others may take meanwhile.
const NOISE: u64 = 24;

fn frames() -> Result<u64, Failed> {
    footprint("frames.program")
}

fn much_memory_costs_nothing_until_it_is_touched(_: &Guest) -> Verdict {
    let before = frames()?;
    let mut area = Stack::map(64 << 30)?;
    ensure(frames()?.saturating_sub(before) <= NOISE, "it costs something at once")?;
    let words = area.words();
    let last = words.len().saturating_sub(1);
    for at in [0, 5 * PAGE, last / 2, last] {
        equal(words.get(at), Some(&0))?;
        *words.get_mut(at).ok_or("it is too short")? = at as u64 | 1;
        equal(words.get(at ^ 1), Some(&0))?;
    }
    let taken = frames()?.saturating_sub(before);
    ensure((4..=4 + NOISE).contains(&taken), "not a frame for each page that was touched")?;
    area.unmap()?;
    ensure(frames()?.saturating_sub(before) <= NOISE, "frames stay behind")
}

/// Writes a number to the first word of each page.
fn mark(words: &mut [u64], number: u64) {
    words.iter_mut().step_by(PAGE).for_each(|word| *word = number);
}

fn is_marked(words: &[u64], number: u64) -> bool {
    words.iter().step_by(PAGE).all(|word| *word == number)
}

fn a_fork_keeps_what_was_and_not_what_comes(guest: &Guest) -> Verdict {
    let mut area = Stack::map(200 << 12)?;
    mark(area.words(), 1);
    let pid = guest.fork(|| {
        // The parent writes meanwhile.
        uring::op::time::after(core::time::Duration::from_millis(20)).wait()?;
        ensure(is_marked(area.words(), 1), "the parent's writes are here")?;
        mark(area.words(), 2);
        Ok(u8::from(!is_marked(area.words(), 2)))
    })?;
    mark(area.words(), 3);
    equal(guest.wait(pid)?, End::Exited(0))?;
    ensure(is_marked(area.words(), 3), "the child's writes are here")?;
    Ok(area.unmap()?)
}

fn forks_deep_and_wide_keep_apart(guest: &Guest) -> Verdict {
    const DEEP: u64 = 40;
    const WIDE: u64 = 24;
    let before = frames()?;
    let mut area = Stack::map(16 << 12)?;
    generation(guest, &mut area, DEEP, WIDE)?;
    area.unmap()?;
    guest.until("the frames of a thousand processes come back", || {
        frames().is_ok_and(|now| now.saturating_sub(before) <= 4 * NOISE)
    })
}

/// Has many children, one after the other, and then one that does the same, down to a depth.
fn generation(guest: &Guest, area: &mut Stack, depth: u64, wide: u64) -> Verdict {
    mark(area.words(), depth);
    for number in 0..wide {
        let end = guest.in_child(|| {
            ensure(is_marked(area.words(), depth), "a child has other memory than its parent")?;
            mark(area.words(), 1000 + number);
            Ok(0)
        })?;
        equal(end, End::Exited(0))?;
    }
    if let Some(deeper) = depth.checked_sub(1) {
        let end = guest.in_child(|| generation(guest, area, deeper, wide).map(|()| 0))?;
        equal(end, End::Exited(0))?;
    }
    ensure(is_marked(area.words(), depth), "a child's writes are its parent's")
}

fn a_daemons_bytes_reach_memory_that_nobody_touched(guest: &Guest) -> Verdict {
    let path = guest.folder()? + "/file";
    let fd = open(path.as_bytes(), O_RDWR | O_CREAT, 0o644)?;
    // What is written was never touched, and neither was what is read into.
    let fresh = Stack::map(48 << 12)?;
    write_all(fd, fresh.bytes())?;
    write_all(fd, b"end")?;
    close(fd)?;
    let fd = open(path.as_bytes(), O_RDONLY, 0)?;
    let mut into = Stack::map(64 << 12)?;
    let mut done = 0;
    loop {
        let count = read(fd, into.bytes_mut().get_mut(done..).ok_or("more was read than there is")?)?;
        if count == 0 {
            break;
        }
        done = done.saturating_add(count);
    }
    equal(done, (48 << 12) + 3)?;
    equal(into.bytes().get(48 << 12..done), Some(&b"end"[..]))?;
    ensure(into.bytes().iter().take(48 << 12).all(|byte| *byte == 0), "they were not zeros")?;
    close(fd)?;
    fresh.unmap()?;
    Ok(into.unmap()?)
}

fn memory_that_is_not_needed_comes_back_as_zeros(_: &Guest) -> Verdict {
    let before = settled_footprint("frames.program")?;
    let mut area = Stack::map(500 << 12)?;
    area.advise(WILLNEED)?;
    ensure(frames()?.saturating_sub(before) >= 500, "it was not made ready")?;
    mark(area.words(), 9);
    area.advise(DONTNEED)?;
    ensure(frames()?.saturating_sub(before) <= NOISE, "it was not given back")?;
    ensure(is_marked(area.words(), 0), "old words are there")?;
    Ok(area.unmap()?)
}

fn the_first_stack_grows_and_has_an_end(guest: &Guest) -> Verdict {
    let before = settled_footprint("frames.program")?;
    // Each round takes 256 bytes and a little more.
    let end = guest.in_child(|| {
        let before = settled_footprint("frames.program")?;
        let _ = overflow(u64::MAX.wrapping_sub(8_000));
        let taken = frames()?.saturating_sub(before);
        ensure(taken >= 8_000 * 256 / 4096, "the stack took no memory")?;
        Ok(9)
    })?;
    equal(end, End::Exited(9))?;
    let end = guest.in_child(|| {
        let _ = overflow(0);
        Ok(0)
    })?;
    equal(end, End::Ended(Reason::PageFault))?;
    // It is given back in pieces, after the parent has heard of the end.
    guest.until("the stack comes back", || frames().is_ok_and(|now| now <= before.saturating_add(NOISE)))
}

fn more_arguments_than_fit_are_refused(guest: &Guest) -> Verdict {
    let long = vec![b'x'; 1 << 20];
    let path = b"/scheme/initfs/bin/nothing";
    let start = |arguments: &[&[u8]]| spawn(&Command { path, arguments, environment: &[], handles: &[] });
    equal(guest.wait(start(&[b"nothing", &long])?)?, End::Exited(0))?;
    equal(start(&[b"nothing", &long, &long]), Err(Errno::TOOBIG))
}
