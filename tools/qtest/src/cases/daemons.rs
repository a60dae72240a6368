//! Daemons that die, lie or break their ring, clients that die, and init, which starts daemons again.
#![forbid(unsafe_code)]

use super::hostile::next;
use super::kernel::footprint;
use super::tests;
use crate::guest::{Guest, until, within};
use crate::on_ring::{Check, Odd, Running, gives, same, start};
use crate::verdict::{Failed, Verdict, ensure, equal};
use alloc::vec;
use bare::Ring;
use core::sync::atomic::Ordering::{Acquire, Release};
use core::sync::atomic::{AtomicU32, AtomicU64};
use posix::file::{close, read, write};
use posix::flags::{O_RDONLY, O_RDWR};
use posix::open::open;
use ring_abi::args::{CURRENT, SchemeRegister};
use ring_abi::context::{End, Reason};
use ring_abi::layout::{Sizes, word};
use ring_abi::{Cqe, CqeKind, Errno, Opcode};
use uring::op::file::{At, open_at, read as read_op, recvfd, sendfd};
use uring::{Fd, Op};

tests! {
    a_dead_daemon_fails_its_reads,
    a_daemon_that_ends_by_itself_fails_its_reads,
    a_dead_daemon_fails_those_that_wait_for_room,
    a_dead_daemons_name_can_be_taken_again,
    a_dead_client_leaves_its_daemon_at_work,
    a_dead_clients_byte_goes_to_another,
    dead_clients_leave_nothing_behind,
    a_name_has_one_daemon,
    a_daemon_that_answers_too_much_is_not_believed,
    a_daemon_that_answers_twice_answers_once,
    a_daemon_that_answers_what_nobody_asked_is_not_heard,
    random_answers_do_no_harm,
    a_daemon_with_a_broken_ring_ends,
    a_handle_goes_to_a_daemon_and_back,
    init_starts_a_dead_daemon_again,
}

/// A read of 64 bytes that is in its daemon's hands.
fn sent(
    fd: Fd,
) -> Op<impl uring::op::Operation<Output = (Result<usize, Errno>, alloc::vec::Vec<u8>)> + 'static> {
    read_op(fd, vec![0; 64], At::Offset(0)).submit()
}

fn a_dead_daemon_fails_its_reads(guest: &Guest) -> Verdict {
    let daemon = guest.daemon(&["mute", "mortal"])?;
    let fd = open(b"/scheme/mortal/anything", O_RDONLY, 0)?;
    let reads = [sent(fd), sent(fd), sent(fd)];
    // It takes requests in their order.
    close(open(b"/scheme/mortal/anything", O_RDONLY, 0)?)?;
    equal(guest.kill(daemon)?, End::Ended(Reason::Killed))?;
    for read in reads {
        let (result, buffer) = within(read)?;
        equal(result, Err(Errno::CONNRESET))?;
        equal(buffer.len(), 64)?;
    }
    equal(read(fd, &mut [0; 8]), Err(Errno::NODEV))?;
    equal(open(b"/scheme/mortal/anything", O_RDONLY, 0), Err(Errno::NODEV))?;
    Ok(close(fd)?)
}

fn a_daemon_that_ends_by_itself_fails_its_reads(guest: &Guest) -> Verdict {
    let daemon = guest.daemon(&["mute", "suicidal"])?;
    let fd = open(b"/scheme/suicidal/exit", O_RDONLY, 0)?;
    equal(read(fd, &mut [0; 8]), Err(Errno::CONNRESET))?;
    equal(guest.wait(daemon)?, End::Exited(3))?;
    equal(read(fd, &mut [0; 8]), Err(Errno::NODEV))?;
    Ok(close(fd)?)
}

fn a_dead_daemon_fails_those_that_wait_for_room(guest: &Guest) -> Verdict {
    let daemon = guest.daemon(&["mute", "narrow", "1"])?;
    let fd = open(b"/scheme/narrow/x", O_RDONLY, 0)?;
    let reads = [sent(fd), sent(fd), sent(fd), sent(fd), sent(fd)];
    guest.kill(daemon)?;
    let mut ends = vec![];
    for read in reads {
        ends.push(within(read)?.0);
    }
    let (dead, gone) = (Err(Errno::CONNRESET), Err(Errno::NODEV));
    equal(ends, vec![dead, dead, gone, gone, gone])?;
    Ok(close(fd)?)
}

fn a_dead_daemons_name_can_be_taken_again(guest: &Guest) -> Verdict {
    for _ in 0..5 {
        let daemon = guest.daemon(&["relay", "phoenix"])?;
        let (near, far) = (open(b"/scheme/phoenix/0", O_RDWR, 0)?, open(b"/scheme/phoenix/1", O_RDWR, 0)?);
        equal(write(near, b"abc"), Ok(3))?;
        let mut bytes = [0; 8];
        equal(read(far, &mut bytes), Ok(3))?;
        guest.kill(daemon)?;
        equal(write(near, b"abc"), Err(Errno::NODEV))?;
        close(near)?;
        close(far)?;
    }
    Ok(())
}

fn a_dead_client_leaves_its_daemon_at_work(guest: &Guest) -> Verdict {
    let daemon = guest.daemon(&["mute", "patient"])?;
    let client = guest.fork_until(|ready| {
        let fd = open(b"/scheme/patient/polite", O_RDONLY, 0)?;
        let [first, _second, _third] = [sent(fd), sent(fd), sent(fd)];
        ready.store(1, Release);
        uring::block_on(first).0.map(|_| 1).map_err(Failed::from)
    })?;
    equal(guest.kill(client)?, End::Ended(Reason::Killed))?;
    let fd = open(b"/scheme/patient/x", O_RDWR, 0)?;
    equal(write(fd, b"still there?"), Ok(12))?;
    close(fd)?;
    guest.kill(daemon)?;
    Ok(())
}

fn a_dead_clients_byte_goes_to_another(guest: &Guest) -> Verdict {
    let daemon = guest.daemon(&["relay", "inherited"])?;
    let near = open(b"/scheme/inherited/0", O_RDWR, 0)?;
    let client = guest.fork_until(|ready| {
        let far = open(b"/scheme/inherited/1", O_RDWR, 0)?;
        let reads = read_op(far, vec![0; 8], At::Cursor).submit();
        ready.store(1, Release);
        uring::block_on(reads).0.map(|_| 1).map_err(Failed::from)
    })?;
    guest.kill(client)?;
    // The daemon hears of that before it is asked for this.
    let far = open(b"/scheme/inherited/1", O_RDWR, 0)?;
    equal(write(near, b"x"), Ok(1))?;
    let (result, _) = within(read_op(far, vec![0; 8], At::Cursor))?;
    equal(result, Ok(1))?;
    close(near)?;
    close(far)?;
    guest.kill(daemon)?;
    Ok(())
}

fn dead_clients_leave_nothing_behind(guest: &Guest) -> Verdict {
    let names = ["contexts", "operations", "files", "rings", "spaces", "tables"];
    let count = || names.iter().map(|name| footprint(name)).collect::<Result<alloc::vec::Vec<u64>, Failed>>();
    let before = count()?;
    let daemon = guest.daemon(&["mute", "bereaved"])?;
    for file in ["x", "polite", "late"] {
        let path = ["/scheme/bereaved/", file].concat();
        let client = guest.fork_until(|ready| {
            let fd = open(path.as_bytes(), O_RDONLY, 0)?;
            let [first, _second, _third, _fourth] = [sent(fd), sent(fd), sent(fd), sent(fd)];
            ready.store(1, Release);
            uring::block_on(first).0.map(|_| 1).map_err(Failed::from)
        })?;
        guest.kill(client)?;
    }
    guest.kill(daemon)?;
    guest.until("everything is given back", || {
        count().is_ok_and(|now| now.iter().zip(&before).all(|(now, before)| now <= before))
    })
}

fn a_name_has_one_daemon(guest: &Guest) -> Verdict {
    let daemon = guest.daemon(&["relay", "unique"])?;
    let second = guest.spawn(&["relay", "unique"])?;
    equal(guest.wait(second)?, End::Exited(1))?;
    let fd = open(b"/scheme/unique/0", O_RDWR, 0)?;
    equal(write(fd, b"x"), Ok(1))?;
    close(fd)?;
    guest.kill(daemon)?;
    Ok(())
}

/// A daemon that is a bare context and may do anything: registers, answers opens, and lets `misbehave` answer the rest.
fn hostile(
    name: &'static [u8],
    misbehave: impl Fn(&Ring, [u64; 8]) -> Check + Send + Sync + 'static,
) -> Result<Running, Failed> {
    static READY: AtomicU32 = AtomicU32::new(0);
    READY.store(0, Release);
    let running = start(Sizes::SMALLEST, move |first| {
        let odd = |error: Errno| Odd { step: 100, found: error.to_result(), wanted: 0 };
        let ring = first.create(Sizes { sq: 3, cq: 3, service: Some(2) }).map_err(odd)?;
        let (buffer, length) = (name.as_ptr().addr() as u64, name.len() as u64);
        let register = SchemeRegister { buffer, length, slot: 512, namespace: CURRENT, root: 0 };
        ring.call(register.encode(1)).map_err(odd)?;
        READY.store(1, Release);
        loop {
            let words = ring.request().map_err(odd)?;
            let tag = (words[0] >> 32) as u32;
            match Opcode::from_raw(words[0] as u8) {
                Some(Opcode::OpenAt) => ring.reply(Cqe::new(tag, Ok(1))).map_err(odd)?,
                Some(Opcode::CloseMsg | Opcode::Cancel) => {}
                _ => misbehave(&ring, words)?,
            }
        }
    })?;
    until("it serves", || READY.load(Acquire) == 1)?;
    Ok(running)
}

fn tag_of(words: [u64; 8]) -> u32 {
    (words[0] >> 32) as u32
}

fn answer(ring: &Ring, entry: Cqe) -> Check {
    gives(200, ring.reply(entry).map(|()| 0), Ok(0))
}

fn a_daemon_that_answers_too_much_is_not_believed(_: &Guest) -> Verdict {
    let daemon =
        hostile(b"liar", |ring, words| answer(ring, Cqe::new(tag_of(words), Ok(words[3].wrapping_add(1)))))?;
    let fd = open(b"/scheme/liar/x", O_RDONLY, 0)?;
    equal(read_op(fd, vec![0; 8], At::Offset(0)).wait().0, Err(Errno::IO))?;
    equal(read_op(fd, vec![0; 600], At::Offset(0)).wait().0, Err(Errno::IO))?;
    close(fd)?;
    daemon.kill()?;
    daemon.end().map(|_| ())
}

fn a_daemon_that_answers_twice_answers_once(_: &Guest) -> Verdict {
    let daemon = hostile(b"stutterer", |ring, words| {
        answer(ring, Cqe::new(tag_of(words), Ok(1)))?;
        answer(ring, Cqe::new(tag_of(words), Ok(2)))
    })?;
    let fd = open(b"/scheme/stutterer/x", O_RDONLY, 0)?;
    for _ in 0..20 {
        equal(read_op(fd, vec![0; 8], At::Offset(0)).wait().0, Ok(1))?;
    }
    close(fd)?;
    daemon.kill()?;
    daemon.end().map(|_| ())
}

fn a_daemon_that_answers_what_nobody_asked_is_not_heard(_: &Guest) -> Verdict {
    let daemon = hostile(b"prophet", |ring, words| {
        let tag = tag_of(words);
        for wrong in [tag ^ 1, tag.wrapping_add(1 << 16), u32::MAX] {
            answer(ring, Cqe::new(wrong, Ok(7)))?;
        }
        // Events of a file that nobody polls, and the reply itself in the end.
        answer(ring, Cqe::new(3, Ok(99)).with_kind(CqeKind::SendFevent))?;
        gives(300, ring.enter_with(0, 0, 0, u64::MAX).map(|()| 0), Ok(0))?;
        answer(ring, Cqe::new(tag, Ok(3)))
    })?;
    let fd = open(b"/scheme/prophet/x", O_RDONLY, 0)?;
    for _ in 0..5 {
        equal(read_op(fd, vec![0; 8], At::Offset(0)).wait().0, Ok(3))?;
    }
    close(fd)?;
    daemon.kill()?;
    daemon.end().map(|_| ())
}

fn random_answers_do_no_harm(_: &Guest) -> Verdict {
    let seed = AtomicU64::new(0x1234_5678_9abc_def1);
    let daemon = hostile(b"babbler", move |ring, words| {
        let mut state = seed.load(Acquire);
        for _ in 0..3 {
            let number = next(&mut state);
            // A tag that is nearly right, any flags, and a result that is small, an error, or anything.
            let tag =
                tag_of(words) ^ if number & 1 == 0 { number as u32 >> 24 << 16 } else { 1 << (number >> 59) };
            let result = match number >> 8 & 3 {
                0 => number >> 60,
                1 => (number >> 52).wrapping_neg(),
                _ => number,
            };
            let entry = Cqe::from_words([number >> 16 & 0xffff_ffff | u64::from(tag) << 32, result]);
            answer(ring, entry)?;
            gives(300, ring.enter_with(0, 0, 0, u64::MAX).map(|()| 0), Ok(0))?;
        }
        seed.store(state, Release);
        answer(ring, Cqe::new(tag_of(words), Ok(words[3])))
    })?;
    let fd = open(b"/scheme/babbler/x", O_RDONLY, 0)?;
    for _ in 0..2000 {
        // Whatever comes of it: one of the random answers may have been right.
        let (result, buffer) = within(read_op(fd, vec![0; 16], At::Offset(0)))?;
        ensure(result.is_err() || result.is_ok_and(|count| count <= 16), "more came than was asked for")?;
        equal(buffer.len(), 16)?;
    }
    close(fd)?;
    daemon.kill()?;
    daemon.end().map(|_| ())
}

fn a_daemon_with_a_broken_ring_ends(_: &Guest) -> Verdict {
    for (name, index) in [(&b"broken-replies"[..], word::RP_TAIL), (b"broken-requests", word::RQ_HEAD)] {
        let daemon = hostile(name, move |ring, _| {
            ring.header(index).store(0x4000_0000, Release);
            let _ = bare::ring::enter_number_with(ring.number(), 0);
            same(1, ring.enter_with(0, 0, ring_abi::enter::REQUESTS, u64::MAX).is_ok().into(), 0)
        })?;
        let path = [&b"/scheme/"[..], name, b"/x"].concat();
        let fd = open(&path, O_RDONLY, 0)?;
        equal(read_op(fd, vec![0; 8], At::Offset(0)).wait().0, Err(Errno::CONNRESET))?;
        equal(daemon.end()?, End::Ended(Reason::CorruptRing))?;
        close(fd)?;
    }
    Ok(())
}

fn a_handle_goes_to_a_daemon_and_back(guest: &Guest) -> Verdict {
    let daemon = guest.daemon(&["locker", "locker"])?;
    let (locker, _) = open_at(Fd::CURRENT, "/scheme/locker", O_RDWR).wait();
    let locker = locker?;
    let zero = open(b"/scheme/null/zero", O_RDONLY, 0)?;
    sendfd(locker, zero, 0, 5).wait()?;
    close(zero)?;
    let back = recvfd(locker, 0, 5).wait()?;
    let mut bytes = [1; 8];
    equal(read(back, &mut bytes), Ok(8))?;
    equal(bytes, [0; 8])?;
    equal(recvfd(locker, 0, 5).wait(), Err(Errno::NOENT))?;
    equal(sendfd(locker, Fd(3000), 0, 5).wait(), Err(Errno::BADF))?;
    close(back)?;
    close(locker)?;
    guest.kill(daemon)?;
    Ok(())
}

/// Process id of the first daemon of `/etc/plan`: init is 1 and starts it before anything else.
const FIRST_DAEMON: i32 = 2;

fn init_starts_a_dead_daemon_again(guest: &Guest) -> Verdict {
    let fd = open(b"/scheme/null/zero", O_RDONLY, 0)?;
    posix::process::kill(FIRST_DAEMON, 9)?;
    guest.until("the old daemon is gone", || read(fd, &mut [0; 4]) == Err(Errno::NODEV))?;
    guest.until("the new one is there", || {
        let again = open(b"/scheme/null/zero", O_RDONLY, 0);
        again.is_ok_and(|fd| read(fd, &mut [1; 4]) == Ok(4) && close(fd).is_ok())
    })?;
    equal(read(fd, &mut [0; 4]), Err(Errno::NODEV))?;
    ensure(close(fd).is_ok(), "a handle of a dead daemon cannot be closed")
}
