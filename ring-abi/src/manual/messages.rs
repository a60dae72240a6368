//! Pages of what goes from ring to ring and from context to context, of rights, and of rings that are polled.
#![forbid(unsafe_code)]

use super::page::{Page, describe};
use crate::Opcode;
use crate::args::{
    CURRENT, MessageHandle, MessageSend, Restrict, RingDrop, RingHandle, RingMove, RingPoll, SignalRaise,
    port, restrict,
};
use crate::enter::NO_DEADLINE;
use crate::{Sqe, SqeFlags};

const FILE: &str = include_str!("messages.rs");

pub(super) const RING_HANDLE: Page = describe!(
    RingHandle,
    ring_handle,
    "The handle.",
    [
        INVAL: "unknown flags",
        BADF: "the caller has no such ring",
        MFILE: "the caller's handle table is full",
    ]
);

fn ring_handle() -> Sqe {
    // What comes through it has the tag 77, whatever its sender says.
    RingHandle { ring: CURRENT, tag: 77, flags: port::FIXED_TAG }.encode(1)
}

pub(super) const MESSAGE_SEND: Page = describe!(
    MessageSend,
    message_send,
    "Zero: it has arrived.",
    [
        BADF: "the handle leads to no ring",
        INVAL: "`extra` has more than 24 bits",
        PIPE: "the ring is gone",
        TIMEDOUT: "there was no room until the deadline",
    ]
);

fn message_send() -> Sqe {
    MessageSend { fd: 6, tag: 9, value: 42, extra: 0, deadline: NO_DEADLINE }.encode(1)
}

pub(super) const MESSAGE_HANDLE: Page = describe!(
    MessageHandle,
    message_handle,
    "Zero: it has arrived.",
    [
        BADF: "the handle leads to no ring, or there is no handle to send",
        INVAL: "`extra` has more than 24 bits",
        MFILE: "the target's handle table is full",
        PIPE: "the ring is gone",
        TIMEDOUT: "there was no room until the deadline",
    ]
);

fn message_handle() -> Sqe {
    // If there is no room at once, it is not sent.
    MessageHandle { fd: 6, tag: 9, sent: 3, extra: 0, deadline: 0 }.encode(1)
}

pub(super) const RESTRICT: Page = describe!(
    Restrict,
    only_reads_writes_and_exit,
    "Zero.",
    [
        INVAL: "unknown flags, or more than the eight bits of submission flags",
        BUSY: "`HANDLES`, and operations of the context are in flight",
    ]
);

fn only_reads_writes_and_exit() -> Sqe {
    let low = 1 << Opcode::Read.raw() | 1 << Opcode::Write.raw() | 1 << Opcode::Close.raw();
    let high = 1 << (Opcode::Exit.raw() & 63);
    // Handles 0, 1 and 2 stay.
    let flags = restrict::HANDLES | restrict::NO_NAMES;
    Restrict { low, high, sqe_flags: SqeFlags::LINK.bits().into(), handles: 0b111, flags }.encode(1)
}

pub(super) const SIGNAL_RAISE: Page = describe!(
    SignalRaise,
    signal_raise,
    "Zero.",
    [
        BADF: "`context` is no context",
        SRCH: "it has ended",
        AGAIN: "another program is replacing it, and its ring is not there yet",
    ]
);

fn signal_raise() -> Sqe {
    SignalRaise { context: 5, signals: 1 << 15 }.encode(1)
}

pub(super) const RING_POLL: Page = describe!(
    RingPoll,
    ring_poll,
    "How many processors there are beside the caller's: with none nobody will ever look.",
    [
        INVAL: "`idle` is more than a second",
        BUSY: "as many rings are polled as can be: 16",
    ]
);

fn ring_poll() -> Sqe {
    // Two milliseconds without an entry, and the bell goes up.
    RingPoll { idle: 2_000_000 }.encode(1)
}

pub(super) const RING_MOVE: Page = describe!(
    RingMove,
    ring_move,
    "How many completions are still promised in the other ring; zero if all has moved.",
    [
        BADF: "the caller has no such ring",
        INVAL: "it is the ring that this is submitted to",
        BUSY: "something is registered with one of the two, is held back by a barrier or a chain there, or one is polled",
    ]
);

fn ring_move() -> Sqe {
    // In the ring that `RingCreate` made: what is in flight in ring 1 completes here.
    RingMove { from: 1 }.encode(1)
}

pub(super) const RING_DROP: Page = describe!(
    RingDrop,
    ring_drop,
    "Zero.",
    [
        BADF: "the caller has no such ring, or it is its first one",
        BUSY: "this is submitted to it, operations are in flight there, a scheme is served through it, it is polled, or something is registered with it",
    ]
);

fn ring_drop() -> Sqe {
    RingDrop { ring: 1 }.encode(2)
}
