//! Operations that complete again and again, through the runtime; and waits for several words.
#![forbid(unsafe_code)]

use super::tests;
use crate::guest::{Guest, within};
use crate::verdict::{Verdict, ensure, equal};
use alloc::vec::Vec;
use core::sync::atomic::AtomicU32;
use core::time::Duration;
use posix::file::{close, write};
use posix::flags::O_RDWR;
use posix::open::open;
use ring_abi::Errno;
use ring_abi::args::event;
use uring::block_on;
use uring::exec::{sleep, timeout};
use uring::op::repeat::{events, incoming};
use uring::op::sync::{futex_wait_several, futex_wake};
use uring::op::time::{every, times};

tests! {
    an_interval_is_a_stream,
    events_of_a_pipe_come_again_and_again,
    connections_come_in_one_after_the_other,
    a_daemon_that_dies_ends_what_came_in,
    a_wait_for_several_words_is_woken_by_one,
}

fn an_interval_is_a_stream(_: &Guest) -> Verdict {
    let mut ticks = times(Duration::from_millis(1), 10);
    let mut seen = 0_u64;
    block_on(async {
        while let Some(periods) = ticks.next().await {
            seen = seen.saturating_add(periods?);
        }
        Ok::<(), Errno>(())
    })?;
    equal(seen, 10)?;
    let mut ticks = every(Duration::from_millis(1)).submit();
    block_on(sleep(Duration::from_millis(40)));
    let late = block_on(ticks.next()).unwrap_or(Ok(0))?;
    ensure(late >= 39, "periods were lost")
}

fn events_of_a_pipe_come_again_and_again(guest: &Guest) -> Verdict {
    let daemon = guest.daemon(&["relay", "repeated"])?;
    let near = open(b"/scheme/repeated/0", O_RDWR, 0)?;
    let far = open(b"/scheme/repeated/1", O_RDWR, 0)?;
    let mut ready = events(far, event::READ).submit();
    for _ in 0..50 {
        equal(write(near, b"x"), Ok(1))?;
        equal(within(ready.next())?, Some(Ok(event::READ)))?;
    }
    let early = block_on(timeout(Duration::from_millis(10), ready.next()));
    ensure(early.is_err(), "an event came twice")?;
    drop(ready);
    close(near)?;
    close(far)?;
    guest.kill(daemon)?;
    Ok(())
}

fn connections_come_in_one_after_the_other(guest: &Guest) -> Verdict {
    let daemon = guest.daemon(&["relay", "listening"])?;
    let near = open(b"/scheme/listening/0", O_RDWR, 0)?;
    let far = open(b"/scheme/listening/1", O_RDWR, 0)?;
    let mut stream = incoming(far, b"accept".to_vec()).submit();
    let mut handles = Vec::new();
    for round in 0..40_u32 {
        // Several at once now and then.
        let count = if round.is_multiple_of(10) { 5 } else { 1 };
        for _ in 0..count {
            equal(write(near, b"x"), Ok(1))?;
        }
        for _ in 0..count {
            handles.push(within(stream.next())?.unwrap_or(Err(Errno::IO))?);
        }
    }
    for handle in handles {
        equal(write(handle, b"y"), Ok(1))?;
        close(handle)?;
    }
    drop(stream);
    close(near)?;
    close(far)?;
    guest.kill(daemon)?;
    Ok(())
}

fn a_daemon_that_dies_ends_what_came_in(guest: &Guest) -> Verdict {
    let daemon = guest.daemon(&["relay", "dying"])?;
    let fd = open(b"/scheme/dying/0", O_RDWR, 0)?;
    let mut stream = incoming(fd, b"accept".to_vec()).submit();
    let mut ready = events(fd, event::READ).submit();
    // It takes requests in their order.
    close(open(b"/scheme/dying/1", O_RDWR, 0)?)?;
    guest.kill(daemon)?;
    equal(block_on(stream.next()), Some(Err(Errno::CONNRESET)))?;
    equal(block_on(stream.next()), None)?;
    equal(block_on(ready.next()), Some(Err(Errno::CONNRESET)))?;
    equal(block_on(ready.next()), None)?;
    Ok(close(fd)?)
}

fn a_wait_for_several_words_is_woken_by_one(_: &Guest) -> Verdict {
    let words: [AtomicU32; 16] = Default::default();
    let all: Vec<_> = words.iter().map(|word| (word, 0)).collect();
    for (index, word) in words.iter().enumerate() {
        let wait = futex_wait_several(&all, u64::MAX).submit();
        equal(futex_wake(word, 9).wait(), Ok(1))?;
        equal(block_on(wait), Ok(index))?;
    }
    for word in &words {
        equal(futex_wake(word, 9).wait(), Ok(0))?;
    }
    Ok(())
}
