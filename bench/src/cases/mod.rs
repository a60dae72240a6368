//! The cases, in the order in which they run: cheap ones first, those that fill memory last.
#![forbid(unsafe_code)]

mod by_hand;
mod chain;
mod contexts;
mod files;
mod futex;
mod irq;
mod latency;
mod memory;
mod message;
mod nop;
mod pages;
mod pingpong;
mod process;
mod read;
mod repeat;
mod start;
mod system;
mod thread;
mod timer;

use crate::harness::{Bench, Outcome};
pub(crate) use system::{forget_longest_step, longest_step};

/// One case: it prints one or a few rows.
pub(crate) struct Case {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it measures.
    pub(crate) about: &'static str,
    /// Names of its rows beside its own name.
    pub(crate) rows: &'static [&'static str],
    /// Left out when in a hurry.
    pub(crate) is_long: bool,
    /// Whether this image has what it needs; otherwise it is left out where all are wanted.
    pub(crate) is_possible: fn() -> bool,
    /// Measures and prints.
    pub(crate) run: fn(&mut Bench) -> Outcome,
}

const fn case(name: &'static str, about: &'static str, run: fn(&mut Bench) -> Outcome) -> Case {
    Case { name, about, rows: &[], is_long: false, is_possible: || true, run }
}

const fn group(
    name: &'static str,
    about: &'static str,
    rows: &'static [&'static str],
    run: fn(&mut Bench) -> Outcome,
) -> Case {
    Case { rows, ..case(name, about, run) }
}

const fn long(case: Case) -> Case {
    Case { is_long: true, ..case }
}

/// Every case.
pub(crate) const CASES: &[Case] = &[
    case("nop.1", "an operation that does nothing, submitted and reaped, one per trap", nop::one),
    case("nop.8", "the same, 8 per trap, each", nop::eight),
    case("nop.32", "the same, 32 per trap, each", nop::thirty_two),
    case("nop.128", "the same, 128 per trap, each", nop::many),
    case("read1.1", "1-byte read from `null` in another address space, one at a time", read::one),
    case("read1.by_hand", "the same from a daemon with a loop written by hand", by_hand::one),
    case("read1.32", "1-byte read from `null`, 32 in flight, each", read::one_many),
    case("read0.1", "0-byte read from `null`", read::zero),
    case("read0.32", "the same, 32 in flight, each", read::zero_many),
    case("read512.1", "512-byte read from `null`", read::sector),
    case("read512.32", "the same, 32 in flight, each", read::sector_many),
    case("read4096.1", "4096-byte read from `null`", read::page),
    case("read4096.32", "the same, 32 in flight, each", read::page_many),
    case(
        "read1.provided",
        "1-byte read from `null` into a buffer that the kernel chooses",
        read::provided_one,
    ),
    case("read512.provided", "512-byte read, the same", read::provided_sector),
    case("read1.registered", "1-byte read from `null`, file and buffer registered", read::registered_one),
    case("read512.registered", "512-byte read, the same", read::registered_sector),
    case("read16.kernel", "16-byte read of the clock, which the kernel serves", read::kernel),
    case("open_close", "open and close of a file in `ramfs`", files::open_close),
    case("open_close.null", "open and close of a file of `null`", files::open_close_null),
    case("chain.nop8", "8 nops, each linked to the one before it, each", chain::nops),
    case(
        "chain.open_read_close",
        "open, 4096-byte read and close of a file in `ramfs`, as a chain",
        chain::open_read_close,
    ),
    case("open_read_close", "the same, one after the other", chain::apart),
    case("stat", "stat of a file in `ramfs` by path", files::stat),
    case("fstat", "stat of an open file in `ramfs`", files::fstat),
    case("read4096.ram", "4096-byte read of a file in `ramfs`", files::read_page),
    case("futex.rtt", "futex wake to the waiter running, round trip of two threads", futex::threads),
    case("futex.rtt.pair", "the same with a wake and a wait, two operations in one entry", futex::pairs),
    case("futex.rtt.process", "the same, of two processes that share the words", futex::processes),
    case(
        "pingpong.scheme",
        "a byte to another program and back, through the two ends of a daemon's pipe",
        pingpong::run,
    ),
    group(
        "msg.rtt",
        "a message from ring to ring and one back, two contexts",
        message::ONE_WAY,
        message::run,
    ),
    case("timer.wait", "a deadline to its waiter running", timer::run),
    group(
        "latency",
        "how late a deadline's waiter runs beside a context that spins, and one that floods a daemon",
        latency::ROWS,
        latency::run,
    ),
    case("timer.repeat", "an expiry of an interval while its program computes", repeat::interval),
    case("poll.multishot", "a byte written to a pipe, and the event of its other end", repeat::poll),
    case("accept.multishot", "a handle that comes in at a daemon's file, and its close", repeat::accept),
    case("cancel.all", "one of 32 timeouts that one operation cancels", repeat::cancel),
    case("irq.wait", "an interrupt to its waiter running", irq::run),
    case("fault.anon", "first touch of a page, a write", pages::first_touch),
    case("fault.cow", "write to a page that a fork shares", pages::copy_on_write),
    case("page.map_unmap", "map and unmap one page", pages::one),
    case("page.map_unmap.16", "map and unmap 16 pages", pages::sixteen),
    case("page.protect", "take and give back the right to write one page", pages::protect),
    group("thread.create_join", "make a thread, let it end, wait for that", thread::ROWS, thread::run),
    case("fork_wait", "fork, exit, wait", process::fork_wait),
    case("spawn_wait", "spawn a tiny program, wait for its end", process::spawn_wait),
    Case {
        is_possible: start::is_possible,
        ..group(
            "exec.large",
            "a program of 50 MB of text starts, up to its own first instruction; and first reads of pages of a file",
            start::ROWS,
            start::run,
        )
    },
    case("mem.op", "kernel bytes for a read that a daemon has not answered", memory::operation),
    group("mem.process", "bytes for a small process", memory::PROCESS_ROWS, memory::process),
    group(
        "contexts.futex.1000",
        "bytes for 1,000 contexts blocked in futex, each",
        contexts::ROWS,
        contexts::futex_1k,
    ),
    group(
        "contexts.futex.10000",
        "bytes for 10,000 contexts blocked in futex, each",
        contexts::ROWS,
        contexts::futex_10k,
    ),
    group(
        "contexts.read.1000",
        "bytes for 1,000 contexts blocked in a scheme read, each",
        &[],
        contexts::read_1k,
    ),
    group(
        "contexts.read.10000",
        "bytes for 10,000 contexts blocked in a scheme read, each",
        &[],
        contexts::read_10k,
    ),
    long(case(
        "contexts.futex.100000",
        "bytes for 100,000 contexts blocked in futex, each",
        contexts::futex_100k,
    )),
    long(case(
        "contexts.read.100000",
        "bytes for 100,000 contexts blocked in a scheme read, each",
        contexts::read_100k,
    )),
    long(case(
        "contexts.1gib",
        "contexts of one process blocked at once in a guest of 1 GiB",
        contexts::fill,
    )),
    group("system", "boot, longest step and kernel stack", system::ROWS, system::run),
];
