//! Files by name, in `ramfs` and in `null`.
//!
//! `open_close` and `fstat` are the bare operations; `stat` is the POSIX call, with everything that it does to a path.
#![forbid(unsafe_code)]

use crate::harness::{Bench, Outcome, ensure};
use alloc::vec;
use posix::directory::unlink;
use posix::file::{self, close, write_all};
use posix::flags::{O_CREAT, O_RDONLY, O_TRUNC, O_WRONLY};
use posix::open::open;
use ring_abi::Errno;
use uring::Fd;
use uring::op::file::{At, fstat as fstat_op, open_at, read};
use uring::op::handle;

/// A file of the cases.
pub(crate) const PATH: &str = "/scheme/ram/bench";
/// Its bytes.
pub(crate) const SIZE: usize = 4096;

/// Does something with a file of 4096 bytes that is there as long as that takes.
pub(crate) fn with_file(act: impl FnOnce() -> Outcome) -> Outcome {
    let fd = open(PATH.as_bytes(), O_WRONLY | O_CREAT | O_TRUNC, 0o644)?;
    write_all(fd, &[7; SIZE])?;
    close(fd)?;
    let outcome = act();
    unlink(PATH.as_bytes())?;
    outcome
}

pub(crate) fn open_close(bench: &mut Bench) -> Outcome {
    with_file(|| time_open(bench, "open_close", PATH))
}

pub(crate) fn open_close_null(bench: &mut Bench) -> Outcome {
    time_open(bench, "open_close.null", "/scheme/null/null")
}

fn time_open(bench: &Bench, name: &str, path: &str) -> Outcome {
    bench.time(name, 1, || {
        let fd = open_at(Fd::CURRENT, path, O_RDONLY).wait().0?;
        handle::close(fd).wait()
    })
}

pub(crate) fn stat(bench: &mut Bench) -> Outcome {
    with_file(|| {
        ensure(file::stat(PATH.as_bytes())?.st_size == SIZE as u64, "stat tells another size")?;
        bench.time("stat", 1, || file::stat(PATH.as_bytes()).map(|_| ()))
    })
}

pub(crate) fn fstat(bench: &mut Bench) -> Outcome {
    with_file(|| {
        let fd = open(PATH.as_bytes(), O_RDONLY, 0)?;
        let mut stat = file::Stat::default();
        let outcome = bench.time("fstat", 1, || fstat_op(fd, &mut *stat).wait().0);
        close(fd)?;
        outcome?;
        ensure(stat.st_size == SIZE as u64, "fstat tells another size")
    })
}

pub(crate) fn read_page(bench: &mut Bench) -> Outcome {
    with_file(|| {
        let fd = open(PATH.as_bytes(), O_RDONLY, 0)?;
        let mut buffer = vec![0_u8; SIZE];
        let outcome =
            bench.time("read4096.ram", 1, || match read(fd, buffer.as_mut_slice(), At::Offset(0)).wait().0 {
                Ok(SIZE) => Ok(()),
                Ok(_) => Err(Errno::IO),
                Err(error) => Err(error),
            });
        close(fd)?;
        outcome?;
        ensure(buffer.iter().all(|byte| *byte == 7), "other bytes were read than written")
    })
}
