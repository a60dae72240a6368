//! Waiting for events of files.
#![forbid(unsafe_code)]

use super::tests;
use crate::guest::{Guest, within};
use crate::verdict::{Verdict, ensure, equal};
use core::time::Duration;
use posix::file::{close, read, write};
use posix::flags::{O_CREAT, O_RDWR};
use posix::open::open;
use ring_abi::Errno;
use ring_abi::args::event;
use uring::exec::timeout;
use uring::op::file::poll;

tests! {
    a_file_in_ramfs_is_always_ready,
    a_pipe_is_ready_once_something_is_in_it,
    a_poll_needs_an_event,
}

fn a_file_in_ramfs_is_always_ready(guest: &Guest) -> Verdict {
    let path = guest.folder()? + "/file";
    let fd = open(path.as_bytes(), O_RDWR | O_CREAT, 0o644)?;
    equal(poll(fd, event::READ).wait(), Ok(event::READ))?;
    equal(poll(fd, event::ALL).wait(), Ok(event::ALL))?;
    Ok(close(fd)?)
}

fn a_pipe_is_ready_once_something_is_in_it(guest: &Guest) -> Verdict {
    let daemon = guest.daemon(&["relay", "polled"])?;
    let near = open(b"/scheme/polled/0", O_RDWR, 0)?;
    let far = open(b"/scheme/polled/1", O_RDWR, 0)?;
    equal(poll(near, event::WRITE).wait(), Ok(event::WRITE))?;
    let early = uring::block_on(timeout(Duration::from_millis(30), poll(far, event::READ)));
    ensure(early.is_err(), "an empty pipe is ready")?;
    let waits = poll(far, event::READ).submit();
    equal(write(near, b"x"), Ok(1))?;
    equal(within(waits)?, Ok(event::READ))?;
    equal(read(far, &mut [0; 4]), Ok(1))?;
    close(near)?;
    close(far)?;
    guest.kill(daemon)?;
    Ok(())
}

fn a_poll_needs_an_event(_: &Guest) -> Verdict {
    let fd = open(b"/scheme/null/zero", O_RDWR, 0)?;
    equal(poll(fd, 0).wait(), Err(Errno::INVAL))?;
    equal(poll(fd, 1 << 20).wait(), Err(Errno::INVAL))?;
    equal(poll(fd, event::ALL).wait(), Ok(event::ALL))?;
    close(fd)?;
    equal(poll(fd, event::ALL).wait(), Err(Errno::BADF))
}
