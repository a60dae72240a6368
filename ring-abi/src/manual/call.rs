//! The page of the system call itself.
#![forbid(unsafe_code)]

use super::source;
use crate::enter::{COMPLETIONS, Control, DEADLINE, MOST, NO_REPLIES, RING_ENTER};
use alloc::string::String;

const FILE: &str = include_str!("call.rs");

/// What `ring_enter` fails with. The kernel says it in `entry/enter.rs` and `entry/interrupt.rs`.
pub(super) const ERRORS: &str = "
Errors of the call itself, as negative numbers in `rax`; submissions that were taken stay taken:

- `EBADF`: the context has no ring of this number.
- `EINVAL`: unknown flags, or a wait for requests in a ring without a service pair.
- `ETIMEDOUT`: the deadline came first, or had passed.
- `EINTR`: with `SIGNALS`, a signal is pending that is not masked.
- `ENOMEM`: no memory for the deadline's timer.

An index in the ring that cannot be ends the context, with the reason `CorruptRing`. A `syscall` instruction with any other number
in `rax` is not for the kernel: see [`CallHandler`].

What goes into `rax`, `rsi` and `rdx`, of a call that takes everything and waits for four completions until a deadline, and of a
server's that gives its replies and waits for requests:
";

/// The examples: what goes into `rax`, `rsi` and `rdx`, given a deadline.
pub const CALLS: [fn(u64) -> [u64; 3]; 2] = [ask, serve];

/// The text of one of them.
pub(super) fn text(name: &str) -> String {
    source::body(FILE, name)
}

fn ask(deadline: u64) -> [u64; 3] {
    let control = Control::new(MOST, 4, COMPLETIONS | NO_REPLIES | DEADLINE);
    [RING_ENTER, control.0, deadline]
}

fn serve(_: u64) -> [u64; 3] {
    [RING_ENTER, Control::SERVE.0, 0]
}
