//! Messages from ring to ring, between contexts and between processes.
#![forbid(unsafe_code)]

use super::tests;
use crate::guest::{Guest, within};
use crate::on_ring::{call, gives, on_ring, same, start};
use crate::verdict::{Verdict, ensure, equal};
use alloc::vec;
use alloc::vec::Vec;
use bare::Ring;
use core::hint::spin_loop;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Acquire, Release};
use posix::file::{close, read};
use posix::flags::O_RDONLY;
use posix::open::open;
use ring_abi::args::{CURRENT, MessageSend, RingDrop, RingHandle, RingMove, Timeout};
use ring_abi::context::End;
use ring_abi::layout::Sizes;
use ring_abi::{CqeFlags, Errno, enter};
use uring::op::{Fd, message};
use uring::ring::{Inbox, Message};

tests! {
    a_flood_of_messages_loses_none,
    another_process_sends_numbers_and_handles,
    a_ring_is_replaced_while_it_is_in_use,
    the_heap_grows_while_answers_come_in,
}

/// Messages of the flood: many more than the ring of the one that takes them has places.
const FLOOD: u64 = 2000;

fn a_flood_of_messages_loses_none(_: &Guest) -> Verdict {
    static DOOR: AtomicU64 = AtomicU64::new(u64::MAX);
    DOOR.store(u64::MAX, Release);
    let taker = start(Sizes { sq: 1, cq: 2, service: None }, |ring: &Ring| {
        DOOR.store(ring.call(RingHandle { ring: CURRENT, tag: 0, flags: 0 }.encode(1)).unwrap_or(0), Release);
        let mut next = 0;
        while next < FLOOD {
            gives(1, ring.enter_with(0, 1, enter::COMPLETIONS, enter::NO_DEADLINE).map(|()| 0), Ok(0))?;
            while let Some(came) = ring.pop() {
                same(2, u64::from(came.flags), u64::from(CqeFlags::MESSAGE.bits()))?;
                same(3, u64::from(came.tag), 5)?;
                same(4, came.result, next)?;
                next = next.wrapping_add(1);
            }
        }
        Ok(())
    })?;
    let sender = start(Sizes { sq: 5, cq: 5, service: None }, |ring: &Ring| {
        while DOOR.load(Acquire) == u64::MAX {
            gives(10, ring.enter_with(0, 0, 0, enter::NO_DEADLINE).map(|()| 0), Ok(0))?;
        }
        let fd = DOOR.load(Acquire);
        let mut sent = 0;
        let mut done = 0;
        while done < FLOOD {
            while sent < FLOOD {
                let send = MessageSend { fd, tag: 5, value: sent, extra: 0, deadline: u64::MAX };
                if ring.push(send.encode(1)).is_err() {
                    break;
                }
                sent = sent.wrapping_add(1);
            }
            same(11, ring.enter(1), 0)?;
            while let Some(came) = ring.pop() {
                gives(12, came.result(), Ok(0))?;
                done = done.wrapping_add(1);
            }
        }
        Ok(())
    })?;
    sender.verdict()?;
    taker.verdict()?;
    Ok(close(uring::Fd(DOOR.load(Acquire)))?)
}

fn another_process_sends_numbers_and_handles(guest: &Guest) -> Verdict {
    let (mut inbox, door) = Inbox::open()?;
    let end = guest.in_child(|| {
        message::send(door, 42, 7).wait()?;
        let zero = open(b"/scheme/null/zero", O_RDONLY, 0)?;
        message::send_handle(door, zero, 8).wait()?;
        Ok(0)
    })?;
    equal(end, End::Exited(0))?;
    let mut next = || within(inbox.next());
    equal(next()?, Some(Message::Value(42, 7)))?;
    let handle = next()?;
    let Some(Message::Handle(fd, 8)) = handle else {
        return ensure(false, "no handle came");
    };
    let mut bytes = [1; 4];
    equal(read(fd, &mut bytes), Ok(4))?;
    equal(bytes, [0; 4])?;
    close(fd)?;
    close(door)?; // the child's copy went with it
    equal(uring::block_on(inbox.next()), None)
}

fn a_ring_is_replaced_while_it_is_in_use(_: &Guest) -> Verdict {
    on_ring(|ring| {
        for tag in 10..16 {
            let wait = Timeout { nanoseconds: 5_000_000, flags: 0 }.encode(tag);
            same(1, u64::from(ring.push(wait).is_err()), 0)?;
        }
        same(2, ring.enter(0), 0)?;
        let Ok(larger) = ring.create(Sizes { sq: 5, cq: 5, service: None }) else { return same(3, 0, 1) };
        call(4, &larger, RingMove { from: 0 }.encode(1), Ok(0))?;
        same(5, u64::from(ring.pop().is_some()), 0)?;
        same(6, larger.enter(6), 0)?;
        for tag in 10..16 {
            let came = larger.pop();
            same(7, came.map_or(0, |came| u64::from(came.tag)), tag)?;
        }
        let Ok(other) = ring.create(Sizes::SMALLEST) else { return same(8, 0, 1) };
        call(9, &larger, RingDrop { ring: other.number() }.encode(1), Ok(0))?;
        call(10, &larger, RingDrop { ring: other.number() }.encode(1), Err(Errno::BADF))
    })
}

/// Messages that are kept unread: what keeps them outgrows several blocks of the heap.
const UNREAD: u64 = 6000;
/// Messages that are sent to one who does not enter its ring: more than that has places.
const HELD: u64 = 100;

fn the_heap_grows_while_answers_come_in(_: &Guest) -> Verdict {
    static LEFT: AtomicU64 = AtomicU64::new(u64::MAX);
    LEFT.store(u64::MAX, Release);
    let (mut inbox, door) = Inbox::open()?;
    // Each of these calls meets a message and files it. At some time the heap has no room for those that are there.
    for value in 0..UNREAD {
        message::send(door, value, 0).wait()?;
    }
    let Fd(fd) = door;
    let sender = start(Sizes { sq: 7, cq: 7, service: None }, move |ring: &Ring| {
        for value in UNREAD..UNREAD.wrapping_add(HELD) {
            let send = MessageSend { fd, tag: 0, value, extra: 0, deadline: u64::MAX };
            same(1, u64::from(ring.push(send.encode(1)).is_err()), 0)?;
        }
        same(2, ring.enter(0), 0)?;
        let mut left = HELD;
        while left != 0 {
            while let Some(came) = ring.pop() {
                gives(3, came.result(), Ok(0))?;
                left = left.wrapping_sub(1);
            }
            let _ = LEFT.compare_exchange(u64::MAX, left, Release, Acquire);
            if left != 0 {
                same(4, ring.enter(1), 0)?;
            }
        }
        Ok(())
    })?;
    // Now the queue is full, and whatever finds a place there is a message.
    while LEFT.load(Acquire) == u64::MAX {
        spin_loop();
    }
    ensure(LEFT.load(Acquire) != 0, "the queue is not full")?;
    let blocks: Vec<_> = (0..40_usize).map(|round| vec![round; 8192]).collect();
    ensure(blocks.iter().enumerate().all(|(round, block)| block.ends_with(&[round])), "a block is lost")?;
    drop(blocks);
    for value in 0..UNREAD.wrapping_add(HELD) {
        let next = within(inbox.next())?;
        equal(next, Some(Message::Value(value, 0)))?;
    }
    sender.verdict()?;
    Ok(close(door)?)
}
