//! Pages of timers and of cancels.
#![forbid(unsafe_code)]

use super::page::{Page, describe};
use crate::args::{
    CancelAll, CancelHandle, CancelTag, Interval, LinkTimeout, Strength, Timeout, TimeoutRemove,
    TimeoutUpdate, cancel, timeout,
};
use crate::{Sqe, SqeFlags};

const FILE: &str = include_str!("time.rs");

pub(super) const TIMEOUT: Page =
    describe!(Timeout, after_a_second, "Zero: the time has come.", [INVAL: "unknown flags"]);

fn after_a_second() -> Sqe {
    Timeout { nanoseconds: 1_000_000_000, flags: 0 }.encode(1)
}

pub(super) const INTERVAL: Page = describe!(
    Interval,
    every_tenth_of_a_second,
    "How many times it expired since the completion before.",
    [INVAL: "without the flag `MULTISHOT`, with a period of zero, or with unknown flags"]
);

fn every_tenth_of_a_second() -> Sqe {
    let ticks = Interval { first: 100_000_000, period: 100_000_000, count: 0, flags: 0 };
    ticks.encode(1).with_flags(SqeFlags::MULTISHOT)
}

pub(super) const TIMEOUT_UPDATE: Page = describe!(
    TimeoutUpdate,
    timeout_update,
    "Zero.",
    [
        INVAL: "unknown flags",
        NOENT: "no timer of this ring has the tag",
        ALREADY: "its last deadline has come",
    ]
);

fn timeout_update() -> Sqe {
    let noon = 43_200_000_000_000;
    TimeoutUpdate { tag: 1, nanoseconds: noon, flags: timeout::ABSOLUTE }.encode(2)
}

pub(super) const TIMEOUT_REMOVE: Page = describe!(
    TimeoutRemove,
    timeout_remove,
    "Zero.",
    [NOENT: "no timer of this ring has the tag", ALREADY: "its deadline has come"]
);

fn timeout_remove() -> Sqe {
    TimeoutRemove { tag: 1 }.encode(2)
}

pub(super) const CANCEL_TAG: Page = describe!(
    CancelTag,
    cancel_tag,
    "How many operations it asked to end.",
    [INVAL: "a strength or flags that do not exist", NOENT: "there is none with the tag"]
);

fn cancel_tag() -> Sqe {
    // The daemon may answer for another ten milliseconds.
    CancelTag { tag: 1, strength: Strength::Ask as u32, grace: 10_000_000 }.encode(2)
}

pub(super) const CANCEL_HANDLE: Page = describe!(
    CancelHandle,
    cancel_handle,
    "How many operations it asked to end.",
    [
        INVAL: "a strength or flags that do not exist",
        BADF: "there is no such handle",
        NOENT: "there is none on that file",
    ]
);

fn cancel_handle() -> Sqe {
    CancelHandle { fd: 3, strength: Strength::Force as u32, grace: 0 }.encode(2)
}

pub(super) const CANCEL_ALL: Page = describe!(
    CancelAll,
    cancel_last,
    "How many operations it asked to end.",
    [INVAL: "a strength or flags that do not exist", NOENT: "there is none"]
);

fn cancel_last() -> Sqe {
    CancelAll { strength: Strength::Force as u32 | cancel::FIRST, grace: 0 }.encode(2)
}

pub(super) const LINK_TIMEOUT: Page = describe!(
    LinkTimeout,
    not_longer_than_a_second,
    "None: a completion is always an error.",
    [
        INVAL: "no entry is linked to it, or it is a `LinkTimeout` too; unknown flags end the entry before with this",
        TIMEDOUT: "the time came, and the entry before was cancelled",
        CANCELED: "the entry before ended first",
    ]
);

fn not_longer_than_a_second() -> Sqe {
    // Behind an entry with the flag `LINK`.
    let limit = LinkTimeout { nanoseconds: 1_000_000_000, flags: 0, grace: 1_000_000 };
    limit.encode(2).with_flags(SqeFlags::SKIP_SUCCESS)
}
