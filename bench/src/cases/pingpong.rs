//! A byte to another program and back, through a daemon.
//!
//! The daemon (`relay`) has two files; what is written to one is read from the other. Both programs block in `read`.
#![forbid(unsafe_code)]

use crate::harness::{Bench, Failure, Outcome};
use alloc::vec::Vec;
use core::time::Duration;
use posix::file::close;
use posix::flags::{O_RDWR, O_STAT};
use posix::fork::{Fork, fork};
use posix::open::open;
use posix::process::{exit, kill, wait_end};
use posix::protocol::{Target, Wait};
use posix::spawn::{Command, STANDARD, spawn};
use ring_abi::Errno;
use uring::Fd;
use uring::op::file::{At, read, write};
use uring::op::time::after;

const KILL: u32 = 9;

/// Starts a daemon of `/bin`, whose scheme is named by its first argument, and waits until it serves; its process id.
pub(crate) fn start(words: &[&str]) -> Result<u32, Errno> {
    let pid = start_program(words)?;
    let path = ["/scheme/", words.get(1).copied().unwrap_or_default()].concat();
    until_served(path.as_bytes()).map(|()| pid)
}

/// Waits until the scheme of a path is there.
pub(crate) fn until_served(path: &[u8]) -> Result<(), Errno> {
    for _ in 0..5000 {
        match open(path, O_STAT, 0) {
            Ok(fd) => return close(fd),
            Err(Errno::NODEV) => after(Duration::from_millis(1)).wait()?,
            Err(_) => return Ok(()),
        }
    }
    Err(Errno::TIMEDOUT)
}

/// Starts a program of `/bin`; its process id.
pub(crate) fn start_program(words: &[&str]) -> Result<u32, Errno> {
    let path = ["/scheme/initfs/bin/", words.first().copied().unwrap_or_default()].concat();
    let arguments: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    spawn(&Command { path: path.as_bytes(), arguments: &arguments, environment: &[], handles: &STANDARD })
}

/// Ends a program that was started here.
pub(crate) fn stop(pid: u32) -> Result<(), Errno> {
    let target = i32::try_from(pid).map_err(|_| Errno::SRCH)?;
    kill(target, KILL)?;
    wait_end(Wait { target: Target::Process(pid), at_once: false }).map(|_| ())
}

pub(crate) fn run(bench: &mut Bench) -> Outcome {
    let relay = start(&["relay", "bench-relay"])?;
    let outcome = play(bench);
    stop(relay)?;
    outcome
}

fn play(bench: &Bench) -> Outcome {
    let mine = open(b"/scheme/bench-relay/0", O_RDWR, 0)?;
    let pid = match fork()? {
        Fork::Child => exit(echo()),
        Fork::Parent(pid) => pid,
    };
    let outcome = bench.time("pingpong.scheme", 1, || {
        put(mine)?;
        get(mine)
    });
    close(mine)?;
    stop(pid)?;
    outcome.map_err(|_| Failure::Wrong("the relay failed"))
}

/// The other program: sends every byte back, until it is ended.
fn echo() -> u8 {
    let Ok(fd) = open(b"/scheme/bench-relay/1", O_RDWR, 0) else { return 1 };
    while get(fd).and_then(|()| put(fd)).is_ok() {}
    1
}

#[inline(always)]
fn put(fd: Fd) -> Result<(), Errno> {
    match write(fd, &b"x"[..], At::Cursor).wait().0? {
        1 => Ok(()),
        _ => Err(Errno::IO),
    }
}

#[inline(always)]
fn get(fd: Fd) -> Result<(), Errno> {
    let mut byte = [0];
    match read(fd, byte.as_mut_slice(), At::Cursor).wait().0? {
        1 => Ok(()),
        _ => Err(Errno::IO),
    }
}
