//! `vmmap`, and the file that it reads.
#![forbid(unsafe_code)]

use super::tests;
use crate::guest::Guest;
use crate::verdict::{Failed, Verdict, ensure, equal};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use bare::context::Stack;
use posix::file::{close, pread};
use posix::flags::{O_CREAT, O_RDWR, O_TRUNC};
use posix::open::open;
use posix::process::getpid;
use ring_abi::context::End;
use uring::Fd;
use uring::op::file::fsize;

tests! {
    vmmap_shows_the_regions_of_a_process,
    vmmap_says_what_it_cannot_do,
}

/// What the program prints, and how it ends.
fn vmmap(guest: &Guest, words: &[&str]) -> Result<(String, End), Failed> {
    let out = open(b"/scheme/ram/vmmap-out", O_RDWR | O_CREAT | O_TRUNC, 0o600)?;
    let all: vec::Vec<&str> = ["vmmap"].into_iter().chain(words.iter().copied()).collect();
    let pid = guest.spawn_with(&all, &[(Fd(0), 0), (out, 1), (out, 2)])?;
    let end = guest.wait(pid)?;
    let mut bytes = vec![0; fsize(out).wait()? as usize];
    let mut at = 0;
    while at < bytes.len() {
        at = at.saturating_add(pread(out, bytes.get_mut(at..).ok_or("too much")?, at as u64)?);
    }
    close(out)?;
    Ok((String::from_utf8(bytes).map_err(|_| "no text")?, end))
}

/// The last numbers of the line that has all of these words: bytes, resident, shared, private.
fn figures(text: &str, words: &[&str]) -> Option<[u64; 4]> {
    let line = text.lines().find(|line| words.iter().all(|word| line.contains(word)))?;
    let mut numbers = line.split_whitespace().rev().map(|word| word.parse::<u64>().ok());
    let [private, shared, resident, bytes] =
        [numbers.next()??, numbers.next()??, numbers.next()??, numbers.next()??];
    Some([bytes, resident, shared, private])
}

fn vmmap_shows_the_regions_of_a_process(guest: &Guest) -> Verdict {
    const PAGE: u64 = 4096;
    let me = format!("{}", getpid()?);
    let mut area = Stack::map(1001 * PAGE)?;
    for page in 0..5_usize {
        *area.bytes_mut().get_mut(page * 4096).ok_or("too short")? = 1;
    }
    let begins = format!("{:012x}-", area.bytes().as_ptr().addr());
    let (text, end) = vmmap(guest, &[&me])?;
    equal(end, End::Exited(0))?;
    let found = figures(&text, &[&begins, "rw-", "memory"]);
    ensure(
        found.is_some_and(|[_, resident, _, private]| resident >= 5 * PAGE && private >= 5 * PAGE),
        &text,
    )?;
    let program = figures(&text, &["r-x", "file"]);
    ensure(program.is_some_and(|[bytes, resident, ..]| resident > 0 && resident <= bytes), &text)?;
    let before = figures(&text, &["process"]).ok_or("no sum")?;
    area.unmap()?;
    let (text, _) = vmmap(guest, &["--summary", &me])?;
    let line = text.lines().nth(1).and_then(|line| figures(line, &[&me])).ok_or("no summary")?;
    ensure(line[0].saturating_add(1000 * PAGE) < before[0], &format!("{line:?} after {before:?}"))
}

fn vmmap_says_what_it_cannot_do(guest: &Guest) -> Verdict {
    let (text, end) = vmmap(guest, &["--help"])?;
    ensure(end == End::Exited(0) && text.starts_with("Usage: vmmap"), &text)?;
    let (text, end) = vmmap(guest, &["-x"])?;
    ensure(end == End::Exited(2) && text.starts_with("vmmap: -x: neither"), &text)?;
    let (text, end) = vmmap(guest, &["4000000000"])?;
    ensure(end == End::Exited(1) && text.contains("4000000000: no such process"), &text)?;
    let (text, end) = vmmap(guest, &[])?;
    ensure(
        end == End::Exited(0) && text.lines().filter(|line| line.starts_with("process")).count() > 3,
        &text,
    )
}
