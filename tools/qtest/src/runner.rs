//! Runs tests, each in a process of its own.
#![forbid(unsafe_code)]

use crate::cases::Test;
use crate::verdict::Failed;
use alloc::format;
use alloc::vec;
use core::time::Duration;
use posix::process::{kill, proc_handle, wait_end};
use posix::protocol::{CALL_BYTES, Target, Verb, Wait};
use posix::spawn::{Command, STANDARD, spawn};
use ring_abi::Errno;
use ring_abi::context::End;
use uring::exec::timeout;
use uring::op::file::call;
use uring::println;

/// Exit code of a test that failed and has said why.
pub(crate) const FAILED: u8 = 1;
const KILL: u32 = 9;

/// Runs tests and prints the sum; the exit code.
pub(crate) fn run(tests: impl Iterator<Item = &'static Test>) -> u8 {
    let (mut passed, mut failed) = (0_u32, 0_u32);
    for test in tests {
        match one(test) {
            Ok(Told::Passed) => {
                println!("qtest: {} ok", test.name);
                passed = passed.saturating_add(1);
            }
            Ok(Told::Failed) => failed = failed.saturating_add(1),
            Err(why) => {
                println!("qtest: {} FAILED {why}", test.name);
                failed = failed.saturating_add(1);
            }
        }
    }
    println!("qtest: done passed={passed} failed={failed}");
    u8::from(failed != 0)
}

/// What a test's process said itself.
enum Told {
    Passed,
    /// It has printed its line.
    Failed,
}

fn one(test: &Test) -> Result<Told, Failed> {
    let words: [&[u8]; 3] = [b"qtest", b"--one", test.name.as_bytes()];
    let command = Command {
        path: b"/scheme/initfs/bin/qtest",
        arguments: &words,
        environment: &[b"PATH=/bin"],
        handles: &STANDARD,
    };
    let pid = spawn(&command)?;
    match wait_at_most(pid, test.limit)? {
        Some(End::Exited(0)) => Ok(Told::Passed),
        Some(End::Exited(FAILED)) => Ok(Told::Failed),
        Some(End::Exited(code)) => Err(Failed(format!("its process ended with status {code}"))),
        Some(End::Ended(reason)) => Err(Failed(format!("its process was ended: {reason:?}"))),
        None => {
            end(pid)?;
            Err(Failed(format!("it was not done after {} seconds", test.limit.as_secs())))
        }
    }
}

/// Ends a child and waits for that.
pub(crate) fn end(pid: u32) -> Result<End, Errno> {
    kill(i32::try_from(pid).map_err(|_| Errno::SRCH)?, KILL)?;
    match wait_end(Wait { target: Target::Process(pid), at_once: false })? {
        Some((_, end)) => Ok(end),
        None => Err(Errno::CHILD),
    }
}

/// Waits for a child's end, but not for ever. `None` if the time is over.
pub(crate) fn wait_at_most(pid: u32, limit: Duration) -> Result<Option<End>, Errno> {
    let wait = Wait { target: Target::Process(pid), at_once: false }.packed();
    let ask = call(proc_handle()?, vec![0; CALL_BYTES], Verb::Wait as u64, wait);
    let Ok((called, word)) = uring::block_on(timeout(limit, ask)) else { return Ok(None) };
    called?;
    let word = word.first_chunk().copied().ok_or(Errno::IO)?;
    End::from_raw(u64::from_le_bytes(word)).map(Some).ok_or(Errno::IO)
}
