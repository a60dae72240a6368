//! A byte to another program and back, through a daemon.
//!
//! The daemon (`relay`) has two files; what is written to one is read from the other. Both programs block in `read`.
#![forbid(unsafe_code)]

use crate::harness::{Bench, Failure, Outcome};
use posix::file::close;
use posix::fork::{Fork, fork};
use posix::flags::O_RDWR;
use posix::open::open;
use posix::process::{await_ready, exit, kill, wait_end};
use posix::protocol::{Target, Wait};
use posix::spawn::{Command, STANDARD, spawn};
use ring_abi::Errno;
use uring::Fd;
use uring::op::file::{At, read, write};

const KILL: u32 = 9;

/// Starts a program of `/bin` and waits until it is ready; its process id.
pub(crate) fn start(path: &[u8], arguments: &[&[u8]]) -> Result<u32, Errno> {
    let pid = spawn(&Command { path, arguments, environment: &[], handles: &STANDARD })?;
    await_ready(pid)?;
    Ok(pid)
}

/// Ends a program that was started here.
pub(crate) fn stop(pid: u32) -> Result<(), Errno> {
    let target = i32::try_from(pid).map_err(|_| Errno::SRCH)?;
    kill(target, KILL)?;
    wait_end(Wait { target: Target::Process(pid), at_once: false }).map(|_| ())
}

pub(crate) fn run(bench: &mut Bench) -> Outcome {
    let relay = start(b"/bin/relay", &[b"relay", b"bench-relay"])?;
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
