//! Reads: from a daemon in another address space, and from the kernel itself.
//!
//! Depth 1 is a blocking call of the runtime; depth 32 is its batch, which sends all and waits for all.
#![forbid(unsafe_code)]

use crate::harness::{Bench, Outcome, Round, ensure};
use alloc::vec;
use core::mem;
use posix::Fd;
use posix::file::close;
use posix::flags::O_RDONLY;
use posix::open::open;
use ring_abi::Errno;
use uring::op::batch::Batch;
use uring::op::file::{At, read};
use uring::op::provided::BufferGroup;
use uring::op::registered::{FixedBuffer, FixedFile};

const ZERO: &[u8] = b"/scheme/null/zero";
const DEPTH: usize = 32;

pub(crate) fn zero(bench: &mut Bench) -> Outcome {
    single(bench, "read0.1", ZERO, 0)
}

pub(crate) fn one(bench: &mut Bench) -> Outcome {
    single(bench, "read1.1", ZERO, 1)
}

pub(crate) fn sector(bench: &mut Bench) -> Outcome {
    single(bench, "read512.1", ZERO, 512)
}

pub(crate) fn page(bench: &mut Bench) -> Outcome {
    single(bench, "read4096.1", ZERO, 4096)
}

pub(crate) fn zero_many(bench: &mut Bench) -> Outcome {
    several(bench, "read0.32", 0)
}

pub(crate) fn one_many(bench: &mut Bench) -> Outcome {
    several(bench, "read1.32", 1)
}

pub(crate) fn sector_many(bench: &mut Bench) -> Outcome {
    several(bench, "read512.32", 512)
}

pub(crate) fn page_many(bench: &mut Bench) -> Outcome {
    several(bench, "read4096.32", 4096)
}

/// Reads of so many bytes of a file of zeros, one at a time.
pub(crate) fn single(bench: &Bench, name: &str, path: &[u8], bytes: usize) -> Outcome {
    let fd = open(path, O_RDONLY, 0)?;
    let mut buffer = vec![1_u8; bytes];
    bench.time(name, 1, OneRead { fd, buffer: &mut buffer })?;
    close(fd)?;
    ensure(buffer.iter().all(|byte| *byte == 0), "the buffer was not filled")
}

/// One read at a time, in the loop that measures.
struct OneRead<'a> {
    fd: Fd,
    buffer: &'a mut [u8],
}

impl Round for OneRead<'_> {
    #[inline(always)]
    fn go(&mut self) -> Result<(), Errno> {
        let bytes = self.buffer.len();
        match read(self.fd, &mut *self.buffer, At::Offset(0)).wait().0 {
            Ok(count) if count == bytes => Ok(()),
            Ok(_) => Err(Errno::IO),
            Err(error) => Err(error),
        }
    }
}

fn several(bench: &Bench, name: &str, bytes: usize) -> Outcome {
    let fd = open(ZERO, O_RDONLY, 0)?;
    // Side by side, so that small ones lie in one page wherever the heap has room. A buffer of no bytes is still one of
    // the operations.
    let mut buffers = vec![1_u8; bytes.wrapping_mul(DEPTH)];
    let mut rest = buffers.as_mut_slice();
    let mut batch = Batch::new((0..DEPTH).map(|_| {
        let (buffer, others) = mem::take(&mut rest).split_at_mut(bytes);
        rest = others;
        read(fd, buffer, At::Offset(0))
    }));
    bench.time(name, DEPTH as u64, || {
        batch.wait();
        Ok(())
    })?;
    let full = batch.finish().into_iter().all(|(result, _)| result == Ok(bytes));
    close(fd)?;
    ensure(full, "a read of the last batch failed")?;
    ensure(buffers.iter().all(|byte| *byte == 0), "a buffer was not filled")
}

pub(crate) fn provided_one(bench: &mut Bench) -> Outcome {
    provided(bench, "read1.provided", 1)
}

pub(crate) fn provided_sector(bench: &mut Bench) -> Outcome {
    provided(bench, "read512.provided", 512)
}

/// The kernel chooses the buffer when the bytes come; it is given back before the next read.
fn provided(bench: &Bench, name: &str, bytes: u32) -> Outcome {
    let fd = open(ZERO, O_RDONLY, 0)?;
    let group = BufferGroup::new(4, bytes)?;
    bench.time(name, 1, || match group.read(fd, At::Offset(0)).wait() {
        Ok(read) if read.len() == bytes as usize => Ok(()),
        Ok(_) => Err(Errno::IO),
        Err(error) => Err(error),
    })?;
    let last = group.read(fd, At::Offset(0)).wait()?;
    close(fd)?;
    ensure(last.iter().all(|byte| *byte == 0), "the buffer was not filled")
}

pub(crate) fn registered_one(bench: &mut Bench) -> Outcome {
    registered(bench, "read1.registered", 1)
}

pub(crate) fn registered_sector(bench: &mut Bench) -> Outcome {
    registered(bench, "read512.registered", 512)
}

/// File and buffer are slots of the ring.
fn registered(bench: &Bench, name: &str, bytes: usize) -> Outcome {
    let fd = open(ZERO, O_RDONLY, 0)?;
    let file = FixedFile::register(fd)?;
    close(fd)?;
    let Some(mut buffer) = FixedBuffer::register(vec![1; bytes], bytes)?.into_iter().next() else {
        return ensure(false, "there is a buffer");
    };
    bench.time(name, 1, || match read(file.fd(), &mut buffer, At::Offset(0)).wait().0 {
        Ok(count) if count == bytes => Ok(()),
        Ok(_) => Err(Errno::IO),
        Err(error) => Err(error),
    })?;
    ensure(buffer.iter().all(|byte| *byte == 0), "the buffer was not filled")
}

/// The clock's file: 16 bytes that the kernel writes by itself.
pub(crate) fn kernel(bench: &mut Bench) -> Outcome {
    let fd = open(b"/scheme/time/4", O_RDONLY, 0)?;
    let mut words = [0_u8; 16];
    bench.time("read16.kernel", 1, || match read(fd, words.as_mut_slice(), At::Offset(0)).wait().0 {
        Ok(16) => Ok(()),
        Ok(_) => Err(Errno::IO),
        Err(error) => Err(error),
    })?;
    close(fd)?;
    ensure(words != [0; 16], "the clock stands still at zero")
}
