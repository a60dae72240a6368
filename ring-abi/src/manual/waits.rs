//! Pages of operations that wait for somebody else.
#![forbid(unsafe_code)]

use super::page::{Page, describe};
use crate::args::{FutexSwap, FutexWait, FutexWaitMany, FutexWake, Poll, event};
use crate::enter::NO_DEADLINE;
use crate::futex::Word;
use crate::{Sqe, SqeFlags};

const FILE: &str = include_str!("waits.rs");

pub(super) const POLL: Page = describe!(
    Poll,
    poll,
    "The events, of those asked for.",
    [
        INVAL: "no events, or unknown ones",
        BADF: "there is no such handle",
        OPNOTSUPP: "the handle leads to a context, a space, a table or a right, which have no events",
        AGAIN: "64 operations wait for the events of that file",
        NODEV: "the file's daemon is gone",
        CONNRESET: "the daemon died when it was asked",
    ]
);

fn poll() -> Sqe {
    Poll { fd: 3, mask: event::READ }.encode(1).with_flags(SqeFlags::MULTISHOT)
}

pub(super) const FUTEX_WAIT: Page = describe!(
    FutexWait,
    futex_wait,
    "Zero: it was woken.",
    [
        INVAL: "the address is no multiple of four",
        FAULT: "no readable page is there",
        AGAIN: "the word has another value",
        TIMEDOUT: "the deadline came first, or had passed",
    ]
);

fn futex_wait() -> Sqe {
    let word = 1_u32;
    FutexWait { address: &raw const word as u64, expected: 1, deadline: NO_DEADLINE }.encode(1)
}

pub(super) const FUTEX_WAIT_MANY: Page = describe!(
    FutexWaitMany,
    futex_wait_many,
    "The index of the word that was woken.",
    [
        INVAL: "no words, too many, one twice, an address that is no multiple of four, or bytes that are not zero",
        FAULT: "the array or a word cannot be read",
        AGAIN: "one of the words has another value",
        TIMEDOUT: "the deadline came first, or had passed",
    ]
);

fn futex_wait_many() -> Sqe {
    let (first, second) = (1_u32, 2_u32);
    let words = [
        Word { address: &raw const first as u64, expected: 1 }.to_bytes(),
        Word { address: &raw const second as u64, expected: 2 }.to_bytes(),
    ];
    FutexWaitMany { words: words.as_ptr() as u64, count: 2, deadline: NO_DEADLINE }.encode(1)
}

pub(super) const FUTEX_SWAP: Page = describe!(
    FutexSwap,
    futex_swap,
    "Zero: it was woken.",
    [
        INVAL: "an address is no multiple of four",
        FAULT: "no readable page is at one of the addresses",
        AGAIN: "the word to wait for has another value; the other one was woken",
        TIMEDOUT: "the deadline came first, or had passed; the other one was woken",
    ]
);

fn futex_swap() -> Sqe {
    let (mine, theirs) = (1_u32, 2_u32);
    FutexSwap {
        address: &raw const mine as u64,
        expected: 1,
        deadline: NO_DEADLINE,
        wake: &raw const theirs as u64,
    }
    .encode(1)
}

pub(super) const FUTEX_WAKE: Page = describe!(
    FutexWake,
    futex_wake,
    "How many were woken.",
    [INVAL: "the address is no multiple of four", FAULT: "no readable page is there"]
);

fn futex_wake() -> Sqe {
    let word = 1_u32;
    FutexWake { address: &raw const word as u64, count: u64::MAX }.encode(2)
}
