//! Rights that are given up for good, and signals.
#![forbid(unsafe_code)]

use super::tests;
use crate::guest::Guest;
use crate::on_ring::{call, gives, on_ring, same, start};
use crate::verdict::{Verdict, equal};
use bare::Ring;
use posix::flags::O_RDONLY;
use posix::open::open;
use ring_abi::args::{self, CURRENT, Close, Nop, Restrict, SignalRaise};
use ring_abi::context::End;
use ring_abi::layout::{Sizes, word};
use ring_abi::{Errno, Opcode, enter};
use uring::op::signal;
use uring::op::system::{Rights, restrict};

tests! {
    what_was_given_up_is_refused_on_every_road,
    a_restricted_process_keeps_its_handles_and_finds_no_names,
    a_signal_ends_a_wait_with_the_mask_of_that_wait,
}

fn what_was_given_up_is_refused_on_every_road(_: &Guest) -> Verdict {
    on_ring(|ring| {
        let word = 0_u64;
        let read =
            args::Read { fd: 0, buffer: core::ptr::from_ref(&word).addr() as u64, length: 1, offset: 0 };
        call(1, ring, Nop {}.encode(1), Ok(0))?;
        let kept = 1_u64 << (Opcode::Exit.raw() - 64) | 1 << (Opcode::SignalRaise.raw() - 64);
        let only = Restrict { low: 0, high: kept, sqe_flags: 0, handles: 0, flags: 0 };
        call(2, ring, only.encode(1), Ok(0))?;
        for entry in [Nop {}.encode(1), read.encode(1), Close { fd: 0 }.encode(1), only.encode(1)] {
            // Alone with a wait, then many without.
            call(3, ring, entry, Err(Errno::ACCES))?;
            for _ in 0..5 {
                same(4, u64::from(ring.push(entry).is_err()), 0)?;
            }
            same(5, ring.enter(0), 0)?;
            for _ in 0..5 {
                let came = ring.pop().map_or(Ok(0), |completion| completion.result());
                gives(6, came, Err(Errno::ACCES))?;
            }
        }
        call(7, ring, SignalRaise { context: CURRENT, signals: 1 }.encode(1), Ok(0))
    })
}

fn a_restricted_process_keeps_its_handles_and_finds_no_names(guest: &Guest) -> Verdict {
    let fd = open(b"/scheme/null/zero", O_RDONLY, 0)?;
    let end = guest.in_child(|| {
        let needed =
            [Opcode::Read, Opcode::OpenAt, Opcode::Close, Opcode::CancelTag, Opcode::Exit, Opcode::Call];
        restrict(Rights::only(&needed).no_names()).wait()?;
        equal(posix::file::read(fd, &mut [1; 4]), Ok(4))?;
        equal(open(b"/scheme/sys/exit", O_RDONLY, 0), Err(Errno::ACCES))?;
        equal(signal::raise(uring::Fd::CURRENT, 1).wait(), Err(Errno::ACCES))?;
        equal(restrict(Rights::ALL).wait(), Err(Errno::ACCES))?;
        Ok(7)
    })?;
    equal(end, End::Exited(7))?;
    equal(signal::raise(uring::Fd::CURRENT, 1).wait(), Ok(()))?;
    equal(signal::take(1), 1)?;
    Ok(posix::file::close(fd)?)
}

fn a_signal_ends_a_wait_with_the_mask_of_that_wait(_: &Guest) -> Verdict {
    let waits = start(Sizes::SMALLEST, |ring: &Ring| {
        let wait = enter::SIGNALS | enter::MASK;
        ring.header(word::MASK).store(u32::MAX, core::sync::atomic::Ordering::Relaxed);
        ring.header(word::WAIT_MASK).store(!0b10, core::sync::atomic::Ordering::Relaxed);
        for step in 0..2 {
            // The second time it is pending already.
            gives(step, ring.enter_with(0, 0, wait, enter::NO_DEADLINE).map(|()| 0), Err(Errno::INTR))?;
        }
        let pending = ring.header(word::SIGNALS).load(core::sync::atomic::Ordering::Relaxed);
        same(3, u64::from(pending), 0b11)
    })?;
    signal::raise(waits.handle(), 0b01).wait()?;
    uring::op::time::after(core::time::Duration::from_millis(20)).wait()?;
    signal::raise(waits.handle(), 0b10).wait()?;
    waits.verdict()
}
