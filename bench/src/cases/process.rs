//! A process's whole life, of a copy of this program and of a tiny one.
#![forbid(unsafe_code)]

use crate::harness::{Bench, Outcome};
use posix::fork::{Fork, fork};
use posix::process::{exit, wait_end};
use posix::protocol::{Target, Wait};
use posix::spawn::{Command, STANDARD, spawn};
use ring_abi::Errno;
use ring_abi::context::End;

/// `fork`, `_exit` in the child, `waitpid`. All writable memory of this program is copied: memory is not shared
/// until written yet.
pub(crate) fn fork_wait(bench: &mut Bench) -> Outcome {
    bench.time_some("fork_wait", 1, bench.few_samples(), || match fork()? {
        Fork::Child => exit(0),
        Fork::Parent(pid) => wait(pid),
    })
}

/// `posix_spawn` and `waitpid` of a program that only exits, read from the initfs each time.
pub(crate) fn spawn_wait(bench: &mut Bench) -> Outcome {
    let command = Command {
        path: b"/scheme/initfs/bin/nothing",
        arguments: &[b"nothing"],
        environment: &[],
        handles: &STANDARD,
    };
    bench.time_some("spawn_wait", 1, bench.few_samples(), || wait(spawn(&command)?))
}

fn wait(pid: u32) -> Result<(), Errno> {
    match wait_end(Wait { target: Target::Process(pid), at_once: false })? {
        Some((_, End::Exited(0))) => Ok(()),
        _ => Err(Errno::CHILD),
    }
}
