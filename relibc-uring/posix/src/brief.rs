//! Opening a file for one thing only, in one submission: open, that thing, close.
//!
//! The handle goes under a number that this process has reserved for that, far from those that `open` gives. If another
//! thread has it just now, or a link is on the way, the caller does the three one by one.
#![forbid(unsafe_code)]

use crate::open::request;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;
use ring_abi::Errno;
use uring::op::chain::chain;
use uring::op::name::{Opened, open_through};
use uring::op::{self, Fd, Op, Operation};

/// Numbers to reserve, the first one that is free: the last of a handle table.
const NUMBERS: core::ops::RangeInclusive<u64> = 4088..=4095;
/// No number was asked for yet.
const UNKNOWN: u64 = u64::MAX;
/// There is none to be had.
const NOTHING: u64 = u64::MAX - 1;

/// The number that this process has reserved. A fork's child has it reserved as well.
static NUMBER: AtomicU64 = AtomicU64::new(UNKNOWN);

fn number() -> Option<Fd> {
    let mut number = NUMBER.load(Relaxed);
    if number == UNKNOWN {
        // Two threads may both come here: each reserves a number, and one of them is not used.
        let reserved = NUMBERS.rev().find(|number| op::handle::reserve(Some(*number)).wait().is_ok());
        number = reserved.unwrap_or(NOTHING);
        NUMBER.store(number, Relaxed);
    }
    (number != NOTHING).then_some(Fd(number))
}

/// Opens a file, does `what` with it, and closes it. `None`: that has to be done otherwise, and nothing of `what` was.
pub(crate) fn with_file<O: Operation>(
    path: &[u8],
    flags: u64,
    what: impl FnOnce(Fd) -> Op<O>,
) -> Result<Option<O::Output>, Errno> {
    let Some(fd) = number() else { return Ok(None) };
    let (path, flags) = request(path, flags, 0)?;
    let path = path.as_str().as_bytes();
    let mut buffer = alloc::vec![0; path.len()];
    buffer.copy_from_slice(path);
    let open = open_through(Fd::CURRENT, buffer.as_mut_slice(), path.len(), flags).placed(fd);
    let ((opened, done), closed) = chain(open).then(what(fd)).always(op::handle::close(fd)).wait();
    match opened.0 {
        Ok(Opened::File(_)) => closed.map(|()| Some(done)),
        Ok(Opened::Link(_)) | Err(Errno::XDEV | Errno::BUSY | Errno::BADF | Errno::NAMETOOLONG) => Ok(None),
        Err(error) => Err(error),
    }
}
