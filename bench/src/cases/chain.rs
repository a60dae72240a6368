//! Chains: operations that start one after the other and go as one submission.
#![forbid(unsafe_code)]

use super::files::{PATH, SIZE, with_file};
use crate::harness::{Bench, Outcome, ensure};
use alloc::vec;
use posix::flags::O_RDONLY;
use ring_abi::Errno;
use uring::Fd;
use uring::op::chain::chain;
use uring::op::file::{At, open_at, read};
use uring::op::handle::{close, reserve, unreserve};
use uring::op::system::nop;

/// Eight nops, each linked to the one before it.
pub(crate) fn nops(bench: &mut Bench) -> Outcome {
    bench.time("chain.nop8", 8, || {
        let (_, last) = chain(nop())
            .then(nop())
            .then(nop())
            .then(nop())
            .then(nop())
            .then(nop())
            .then(nop())
            .then(nop())
            .wait();
        last
    })
}

/// Open, read and close of a file, as a chain.
pub(crate) fn open_read_close(bench: &mut Bench) -> Outcome {
    with_file(|| {
        let fd = reserve(None).wait()?;
        let mut buffer = vec![0_u8; SIZE];
        let outcome = bench.time("chain.open_read_close", 1, || {
            let ((opened, read), closed) = chain(open_at(Fd::CURRENT, PATH, O_RDONLY).placed(fd))
                .then(read(fd, buffer.as_mut_slice(), At::Offset(0)))
                .always(close(fd))
                .wait();
            opened.0?;
            whole(read.0)?;
            closed
        });
        unreserve(fd).wait()?;
        outcome?;
        ensure(buffer.iter().all(|byte| *byte == 7), "other bytes were read than written")
    })
}

/// The same, one after the other.
pub(crate) fn apart(bench: &mut Bench) -> Outcome {
    with_file(|| {
        let mut buffer = vec![0_u8; SIZE];
        bench.time("open_read_close", 1, || {
            let fd = open_at(Fd::CURRENT, PATH, O_RDONLY).wait().0?;
            whole(read(fd, buffer.as_mut_slice(), At::Offset(0)).wait().0)?;
            close(fd).wait()
        })?;
        ensure(buffer.iter().all(|byte| *byte == 7), "other bytes were read than written")
    })
}

fn whole(count: Result<usize, Errno>) -> Result<(), Errno> {
    if count? == SIZE { Ok(()) } else { Err(Errno::IO) }
}
