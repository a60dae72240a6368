//! Entries that no honest program makes: each gives an error in its completion, or ends its author, and nobody else.
#![forbid(unsafe_code)]

use super::tests;
use crate::guest::Guest;
use crate::on_ring::{Check, call, ends_with, gives, on_ring, same, start};
use crate::verdict::{Verdict, ensure, equal};
use bare::Ring;
use core::ptr;
use core::sync::atomic::Ordering::Relaxed;
use posix::file::{close, read};
use posix::flags::O_RDONLY;
use posix::open::open;
use ring_abi::args::{
    self, CURRENT, CallHandler, CancelTag, Close, ContextCreate, ContextIdentity, ContextKill, ContextRegs,
    ContextStart, ContextWait, EndWord, ExecCommit, FutexWait, FutexWake, HandleDup, HandleFlags, LOWEST,
    Map, Nop, ObtainFd, OpenAt, Poll, Protect, Read, RingCreate, SchemeRegister, Seek, SpaceWrite,
    TableCreate, UnlinkAt, Unmap, Write, map,
};
use ring_abi::boot::USER_END;
use ring_abi::context::{End, Reason};
use ring_abi::layout::{Sizes, word};
use ring_abi::opcode::Origin;
use ring_abi::{Errno, Opcode, Sqe, SqeFlags, enter};

tests! {
    opcodes_that_are_none_are_refused,
    flags_without_a_meaning_are_refused,
    handles_that_are_none_are_refused,
    handles_of_another_kind_are_refused,
    pointers_into_nowhere_are_refused,
    lengths_beyond_reason_are_refused,
    arguments_out_of_range_are_refused,
    rings_that_are_none_are_refused,
    memory_is_never_writable_and_executable,
    what_needs_a_capability_is_refused_without,
    an_impossible_submission_index_ends_its_author,
    an_impossible_completion_index_ends_its_author,
    words_that_belong_to_the_kernel_may_be_scribbled_on,
    random_entries_do_no_harm,
}

fn raw(opcode: u8, flags: u8, group: u16, tag: u32, args: [u64; 6]) -> Sqe {
    Sqe { opcode, flags, group, tag, args, caller: u64::MAX }
}

fn opcodes_that_are_none_are_refused(_: &Guest) -> Verdict {
    on_ring(|ring| {
        for number in 0..=u8::MAX {
            let wanted = match Opcode::from_raw(number).map(Opcode::origin) {
                None | Some(Origin::KernelOnly) => Errno::INVAL,
                Some(Origin::Reserved) => Errno::NOSYS,
                Some(Origin::Forwarded | Origin::Kernel) => continue,
            };
            gives(u64::from(number), ring.call(raw(number, 0, 0, 1, [0; 6])), Err(wanted))?;
        }
        Ok(())
    })
}

fn flags_without_a_meaning_are_refused(_: &Guest) -> Verdict {
    on_ring(|ring| {
        let nop = Opcode::Nop.raw();
        for flag in SqeFlags::all().difference(SqeFlags::ORDER).iter() {
            gives(10, ring.call(raw(nop, flag.bits(), 0, 1, [0; 6])), Err(Errno::INVAL))?;
        }
        gives(20, ring.call(raw(nop, 0, 1, 1, [0; 6])), Err(Errno::INVAL))?;
        gives(30, ring.call(raw(nop, 0, 0, 1, [u64::MAX; 6])), Ok(0))
    })
}

/// Numbers that are no handles of a program that has few.
const NO_HANDLES: [u64; 5] = [1000, 4095, 1 << 32, i64::MAX as u64, u64::MAX - 1];

fn handles_that_are_none_are_refused(_: &Guest) -> Verdict {
    on_ring(|ring| {
        let word = 0_u64;
        let buffer = ptr::from_ref(&word).addr() as u64;
        for fd in NO_HANDLES {
            let entries = [
                Close { fd }.encode(1),
                Read { fd, buffer, length: 1, offset: 0 }.encode(1),
                Write { fd, buffer, length: 1, offset: 0 }.encode(1),
                OpenAt { fd, buffer, length: 1, flags: 0, capacity: 0 }.encode(1),
                UnlinkAt { fd, buffer, length: 1, flags: 0 }.encode(1),
                args::Dup { fd, buffer, length: 0 }.encode(1),
                args::Fstat { fd, buffer, length: 8 }.encode(1),
                args::Sendfd { fd, sent: 0, flags: 0, argument: 0 }.encode(1),
                args::Recvfd { fd, flags: 0, argument: 0 }.encode(1),
                args::Call { fd, buffer, length: 8, verb: 0, argument: 0 }.encode(1),
                Poll { fd, mask: 1 }.encode(1),
                Seek { fd, offset: 0, whence: 0 }.encode(1),
                HandleDup { fd, table: CURRENT, target: LOWEST, flags: 0 }.encode(1),
                HandleDup { fd: 0, table: fd, target: LOWEST, flags: 0 }.encode(1),
                HandleFlags { fd, flags: u64::MAX }.encode(1),
                ContextStart { context: fd }.encode(1),
                ContextKill { context: fd }.encode(1),
                ContextWait { context: fd }.encode(1),
                Map { space: fd, address: 0, length: 4096, flags: map::READ | map::PRIVATE }.encode(1),
                Unmap { space: fd, address: 0, length: 4096 }.encode(1),
                Protect { space: fd, address: 4096, length: 4096, rights: map::READ }.encode(1),
                SpaceWrite { space: fd, target: 4096, buffer, length: 8 }.encode(1),
            ];
            for (step, entry) in (1..).zip(entries) {
                call(step, ring, entry, Err(Errno::BADF))?;
            }
        }
        Ok(())
    })
}

fn handles_of_another_kind_are_refused(_: &Guest) -> Verdict {
    let fd = open(b"/scheme/null/zero", O_RDONLY, 0)?.0;
    on_ring(move |ring| {
        let entries = [
            ContextKill { context: fd }.encode(1),
            ContextStart { context: fd }.encode(1),
            Map { space: fd, address: 0, length: 4096, flags: map::READ | map::PRIVATE }.encode(1),
            HandleDup { fd, table: fd, target: LOWEST, flags: 0 }.encode(1),
            ExecCommit { space: fd, entry: 4096, stack: 4096, argument: 0, sizes: 0 }.encode(1),
        ];
        for (step, entry) in (1..).zip(entries) {
            let found = ring.call(entry);
            same(step, u64::from(matches!(found, Err(Errno::BADF | Errno::INVAL | Errno::OPNOTSUPP))), 1)?;
        }
        Ok(())
    })
}

/// Addresses at which a program has nothing, or may have nothing.
const NOWHERE: [u64; 8] =
    [0, 1, 0x7000_0000_0000, USER_END, USER_END - 1, 0x8000_0000_0000, 0xffff_8000_0000_0000, u64::MAX - 7];

fn pointers_into_nowhere_are_refused(_: &Guest) -> Verdict {
    let zero = open(b"/scheme/null/zero", O_RDONLY, 0)?.0;
    let clock = open(b"/scheme/time/4", O_RDONLY, 0)?.0;
    on_ring(move |ring| {
        for buffer in NOWHERE {
            let length = 16;
            let entries = [
                Read { fd: zero, buffer, length, offset: 0 }.encode(1),
                Write { fd: zero, buffer, length, offset: 0 }.encode(1),
                Read { fd: clock, buffer, length, offset: 0 }.encode(1),
                OpenAt { fd: CURRENT, buffer, length, flags: 0, capacity: 0 }.encode(1),
                SchemeRegister { buffer, length, slot: 512, namespace: CURRENT, root: 0 }.encode(1),
                SpaceWrite { space: CURRENT, target: buffer, buffer, length }.encode(1),
            ];
            for (step, entry) in (1..).zip(entries) {
                same(step, u64::from(ring.call(entry).is_err()), 1)?;
            }
            gives(10, ring.call(Read { fd: zero, buffer, length, offset: 0 }.encode(1)), Err(Errno::FAULT))?;
            let address = buffer & !3;
            gives(
                20,
                ring.call(FutexWait { address, expected: 0, deadline: u64::MAX }.encode(1)),
                Err(Errno::FAULT),
            )?;
            gives(21, ring.call(FutexWake { address, count: 1 }.encode(1)), Err(Errno::FAULT))?;
        }
        // Code can be read by the kernel for the program, but not written.
        let code = (pointers_into_nowhere_are_refused as *const ()).addr() as u64;
        gives(
            30,
            ring.call(Read { fd: zero, buffer: code, length: 8, offset: 0 }.encode(1)),
            Err(Errno::FAULT),
        )?;
        gives(
            31,
            ring.call(Read { fd: clock, buffer: code, length: 16, offset: 0 }.encode(1)),
            Err(Errno::FAULT),
        )
    })?;
    let fd = uring::Fd(zero);
    equal(read(fd, &mut [1; 4]), Ok(4))?;
    Ok(close(fd)?)
}

fn lengths_beyond_reason_are_refused(_: &Guest) -> Verdict {
    let zero = open(b"/scheme/null/zero", O_RDONLY, 0)?.0;
    on_ring(move |ring| {
        let word = 0_u64;
        let buffer = ptr::from_ref(&word).addr() as u64;
        for length in [u64::MAX, u64::MAX.wrapping_sub(buffer), 1 << 63, USER_END] {
            same(
                1,
                u64::from(ring.call(Read { fd: zero, buffer, length, offset: 0 }.encode(1)).is_err()),
                1,
            )?;
            same(
                2,
                u64::from(ring.call(Write { fd: zero, buffer, length, offset: 0 }.encode(1)).is_err()),
                1,
            )?;
            let path = OpenAt { fd: CURRENT, buffer, length, flags: 0, capacity: u32::MAX };
            same(3, u64::from(ring.call(path.encode(1)).is_err()), 1)?;
            let flags = map::READ | map::PRIVATE;
            same(
                4,
                u64::from(ring.call(Map { space: CURRENT, address: 0, length, flags }.encode(1)).is_err()),
                1,
            )?;
            let unmap = Unmap { space: CURRENT, address: 0x7000_0000_0000, length };
            same(5, u64::from(ring.call(unmap.encode(1)).is_err()), 1)?;
        }
        call(6, ring, Read { fd: zero, buffer, length: 0, offset: 0 }.encode(1), Ok(0))
    })
}

fn arguments_out_of_range_are_refused(_: &Guest) -> Verdict {
    on_ring(|ring| {
        let flags = map::READ | map::WRITE | map::PRIVATE;
        let (space, length) = (CURRENT, 4096);
        let bad = [
            Map { space, address: 4095, length, flags: flags | map::FIXED }.encode(1),
            Map { space, address: 0, length: 0, flags }.encode(1),
            Map { space, address: 0, length, flags: map::READ }.encode(1),
            Map { space, address: 0, length, flags: flags | map::SHARED }.encode(1),
            Map { space, address: 0, length, flags: flags | 1 << 40 }.encode(1),
            Map { space, address: 0, length, flags: flags | map::FIXED }.encode(1),
            Map { space, address: USER_END, length, flags: flags | map::FIXED }.encode(1),
            Unmap { space, address: 1, length }.encode(1),
            Protect { space, address: 1, length, rights: map::READ }.encode(1),
            TableCreate { copy: 2 }.encode(1),
            RingCreate { sizes: 0xff }.encode(1),
            RingCreate { sizes: 1 << 24 }.encode(1),
            EndWord { address: 3 }.encode(1),
            CallHandler { address: 1 << 63, length: 16 }.encode(1),
            CancelTag { tag: 1, strength: 9, grace: 0 }.encode(1),
            ContextCreate { space, table: CURRENT, entry: 1 << 63, stack: 4096, argument: 0, sizes_flags: 0 }
                .encode(1),
            ContextCreate { space, table: CURRENT, entry: 4096, stack: 4096, argument: 0, sizes_flags: 0xff }
                .encode(1),
            ContextCreate {
                space,
                table: CURRENT,
                entry: 4096,
                stack: 4096,
                argument: 0,
                sizes_flags: 1 << 40,
            }
            .encode(1),
            ContextRegs { context: CURRENT, buffer: 0, length: 8, set: 1 }.encode(1),
            args::Exit { code: 256, flags: 0 }.encode(1),
            args::Exit { code: 0, flags: 2 }.encode(1),
            ObtainFd { tag: 7 }.encode(1),
        ];
        for (step, entry) in (1..).zip(bad) {
            same(step, u64::from(ring.call(entry).is_err()), 1)?;
        }
        // A number that does not fit its field.
        gives(
            50,
            ring.call(raw(Opcode::TableCreate.raw(), 0, 0, 1, [1 << 32, 0, 0, 0, 0, 0])),
            Err(Errno::INVAL),
        )?;
        call(60, ring, Nop {}.encode(1), Ok(0))
    })
}

fn rings_that_are_none_are_refused(_: &Guest) -> Verdict {
    on_ring(|ring| {
        for number in [1, 2, 3] {
            let other = bare::ring::enter_number(number);
            gives(number, other, Err(Errno::BADF))?;
        }
        for flags in [enter::MASK, enter::RELENT, enter::ALL + 1, 1 << 15, u64::MAX] {
            gives(flags, ring.enter_with(0, 0, flags, enter::NO_DEADLINE).map(|()| 0), Err(Errno::INVAL))?;
        }
        // Waiting for requests on a ring that has none.
        gives(1000, ring.enter_with(0, 0, enter::REQUESTS, enter::NO_DEADLINE).map(|()| 0), Err(Errno::INVAL))
    })
}

fn memory_is_never_writable_and_executable(_: &Guest) -> Verdict {
    on_ring(|ring| {
        let all = map::READ | map::WRITE | map::EXECUTE;
        let (space, length) = (CURRENT, 4096);
        let both = Map { space, address: 0, length, flags: all | map::PRIVATE };
        same(1, u64::from(ring.call(both.encode(1)).is_err()), 1)?;
        let data = Map { space, address: 0, length, flags: map::READ | map::WRITE | map::PRIVATE };
        let Ok(address) = ring.call(data.encode(1)) else { return same(2, 0, 1) };
        same(3, u64::from(ring.call(Protect { space, address, length, rights: all }.encode(1)).is_err()), 1)?;
        call(4, ring, Unmap { space, address, length }.encode(1), Ok(0))
    })
}

fn what_needs_a_capability_is_refused_without(_: &Guest) -> Verdict {
    on_ring(|ring| {
        let context = match ring.call(TableCreate { copy: 0 }.encode(1)) {
            Ok(fd) => fd,
            Err(_) => return same(1, 0, 1),
        };
        for capability in [context, 0, CURRENT] {
            let entry = ContextIdentity { context, pid: 1, uid: 0, gid: 0, capability }.encode(1);
            gives(2, ring.call(entry), Err(Errno::PERM))?;
        }
        let name = b"Not A Name";
        let (buffer, length) = (name.as_ptr().addr() as u64, name.len() as u64);
        let register = SchemeRegister { buffer, length, slot: 512, namespace: CURRENT, root: 0 };
        same(3, u64::from(ring.call(register.encode(1)).is_err()), 1)
    })
}

fn survives(what: impl FnOnce() -> Verdict) -> Verdict {
    let other = start(Sizes::SMALLEST, |ring| {
        for _ in 0..100 {
            call(1, ring, args::Timeout { nanoseconds: 100_000, flags: 0 }.encode(1), Ok(0))?;
        }
        Ok(())
    })?;
    what()?;
    other.verdict()
}

fn an_impossible_submission_index_ends_its_author(_: &Guest) -> Verdict {
    survives(|| {
        for add in [9, 1000, 1 << 31, u32::MAX] {
            ends_with(End::Ended(Reason::CorruptRing), move |ring| {
                let tail = ring.header(word::SQ_TAIL);
                tail.store(tail.load(Relaxed).wrapping_add(add), Relaxed);
                let _ = bare::ring::enter_number_with(0, 0);
                same(1, 0, 1)
            })?;
        }
        Ok(())
    })
}

fn an_impossible_completion_index_ends_its_author(_: &Guest) -> Verdict {
    survives(|| {
        for add in [2, 100, 1 << 31] {
            ends_with(End::Ended(Reason::CorruptRing), move |ring| {
                ring.header(word::CQ_HEAD).store(add, Relaxed);
                // The kernel looks there when it needs to: here, to find out what there is to wait for.
                let _ = ring.push(Nop {}.encode(1));
                same(1, ring.enter(1), u64::MAX)
            })?;
        }
        Ok(())
    })
}

fn words_that_belong_to_the_kernel_may_be_scribbled_on(_: &Guest) -> Verdict {
    survives(|| {
        on_ring(|ring| {
            for index in [
                word::FLAGS,
                word::VERSION,
                word::SIZES,
                word::SQ_SLEEPS,
                word::CQ_SLEEPS,
                word::RQ_TAIL,
                word::RP_HEAD,
            ] {
                ring.header(index).store(0xdead_beef, Relaxed);
                call(1, ring, Nop {}.encode(1), Ok(0))?;
            }
            Ok(())
        })
    })
}

/// The next number of a xorshift generator.
pub(super) fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// An argument: often small, often near something that matters, sometimes anything.
fn argument(state: &mut u64, near: u64) -> u64 {
    let number = next(state);
    match number & 7 {
        0 | 1 => number >> 60,
        2 => number >> 48,
        3 => CURRENT,
        4 => near.wrapping_add((number >> 32) & 0xff8),
        5 => 4096_u64.wrapping_mul((number >> 32) & 15),
        6 => USER_END.wrapping_sub(number >> 56),
        _ => number,
    }
}

/// Numbers that a random entry must not have: they end or stop the author as they should.
fn is_harmless(number: u8) -> bool {
    !matches!(
        Opcode::from_raw(number),
        Some(
            Opcode::Exit
                | Opcode::ContextKill
                | Opcode::ContextStop
                | Opcode::ExecCommit
                | Opcode::Write
                | Opcode::CallHandler
        )
    )
}

/// Room for what waits between two rounds of cancelling.
const RANDOM_RING: Sizes = Sizes { sq: 3, cq: 6, service: None };

/// Submits random entries, all with one tag, and cancels now and then what of them waits.
fn random_entries(ring: &Ring, seed: u64) -> Check {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let near = ptr::from_ref(&state).addr() as u64;
    for turn in 0..20_000_u32 {
        let head = next(&mut state);
        let opcode = (head >> 8) as u8 & 0x7f;
        let flags = if head & 15 == 0 { (head >> 16) as u8 } else { 0 };
        let args = core::array::from_fn(|_| argument(&mut state, near));
        if is_harmless(opcode) {
            let _ = ring.push(raw(opcode, flags, 0, 7, args));
        }
        if turn.is_multiple_of(16) {
            let _ = ring.push(CancelTag { tag: 7, strength: 1, grace: 0 }.encode(8));
        }
        let _ = ring.enter(0);
        while ring.pop().is_some() {}
    }
    Ok(())
}

fn random_entries_do_no_harm(guest: &Guest) -> Verdict {
    for seed in 1..=16_u64 {
        // In a child: a random `Unmap` may well take the program itself away.
        let end = guest.in_child(|| {
            let running = start(RANDOM_RING, move |ring| random_entries(ring, seed))?;
            // However it ends: it is only random.
            running.end().map(|_| 0)
        });
        if let Err(why) = end {
            return Err(crate::verdict::Failed(alloc::format!("seed {seed}: {why}")));
        }
        ensure(guest.in_child(|| Ok(0))? == End::Exited(0), "the system does not fork any more")?;
    }
    let fd = open(b"/scheme/null/zero", O_RDONLY, 0)?;
    equal(read(fd, &mut [1; 8]), Ok(8))?;
    Ok(close(fd)?)
}
