//! What io_uring has, and what of it is here.
//!
//! A row is true of what is in the tree and not of what is meant to come. Where a row hangs on a submission flag, a test
//! compares the two.
#![forbid(unsafe_code)]

use crate::SqeFlags;

/// Whether Annulus has a feature of io_uring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has.
    Has,
    /// It does the same in another way.
    Otherwise,
    /// It has not.
    HasNot,
}

impl State {
    /// In a word or two.
    pub const fn name(self) -> &'static str {
        match self {
            State::Has => "has",
            State::Otherwise => "another way",
            State::HasNot => "has not",
        }
    }
}

/// A feature of io_uring.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// Under which heading it stands.
    pub group: &'static str,
    /// What it is there.
    pub name: &'static str,
    /// Whether it is here.
    pub state: State,
    /// How, or why not.
    pub how: &'static str,
    /// The submission flag that it is, if it is one.
    pub flag: Option<SqeFlags>,
}

macro_rules! features {
    ($($group:literal { $($name:literal $(<$flag:ident>)? $state:ident $how:literal;)* })*) => {
        /// The features of io_uring as of Linux 6.12, by group.
        pub const FEATURES: &[Feature] = &[$($(Feature {
            group: $group,
            name: $name,
            state: State::$state,
            how: $how,
            flag: flag!($($flag)?),
        },)*)*];
    };
}

macro_rules! flag {
    () => {
        None
    };
    ($flag:ident) => {
        Some(SqeFlags::$flag)
    };
}

/// What stands above the tables.
pub(super) const HEAD: &str = "
## Beside io_uring

io_uring as of Linux 6.12. *Has*: the same, under its own name. *Another way*: what it is for is done, but differently. *Has not*:
it is not there; where the reason is only that nobody has built it, it says \"not yet\".
";

features! {
    "Promises" {
        "a completion queue that is full: overflow list in kernel memory, or `-EBUSY`" Otherwise
            "a place is promised before an operation starts, so nothing overflows; entries wait in the SQ and the header says \
             `NEED_ENTER`";
        "a corrupt index: entries are dropped and counted (`sq_dropped`), or undefined" Otherwise
            "ends the context that wrote it, with the reason `CorruptRing`; nobody else is touched";
        "one final CQE for each request, `IORING_CQE_F_MORE` before it" Has
            "the completion flag `MORE`; each operation that completes has exactly one completion without it";
        "an entry's fields are read by each opcode's own code" Otherwise
            "each word of an entry is read at most once, and only those that the opcode names";
        "io-wq: a blocking request takes a kernel thread" Otherwise
            "no threads and no kernel stacks: what waits is a record of 96 bytes";
        "other system calls beside it" Otherwise
            "`ring_enter` is the only one";
        "client rings only; FUSE-over-io_uring came in 6.14" Otherwise
            "a ring can have a service pair: its owner is a daemon, and requests and replies have the same entries";
    }
    "Setting up" {
        "`io_uring_setup`, sizes of SQ and CQ (`CQSIZE`, `CLAMP`)" Has
            "each context has a ring from its start, and up to three more by [`RingCreate`]; sizes beyond 4096 are `EINVAL` \
             and not clamped";
        "`NO_MMAP`: the ring in the program's own memory" HasNot
            "the kernel reaches rings through its direct map, in contiguous pages that several small rings share; so the \
             smallest costs 768 bytes";
        "`NO_SQARRAY`: no index array before the SQ" Has
            "there never was one";
        "`SQE128`, `CQE32`: larger entries" HasNot
            "what does not fit six words is in a buffer; one format for programs and daemons";
        "`SINGLE_ISSUER`" Has
            "always: a ring has one owner, whom alone it wakes";
        "`DEFER_TASKRUN`, `COOP_TASKRUN`, `TASKRUN_FLAG`" Has
            "always, in effect: a completion is written by whoever causes it, and interrupts nobody";
        "`SUBMIT_ALL`: go on behind an entry that fails" Has
            "always: an entry's error is its completion";
        "`SQPOLL`: a kernel thread takes submissions, `SQ_THREAD_IDLE`" Has
            "[`RingPoll`]: a processor that has nobody to run does, of replies of a daemon too; no thread, so it takes nothing \
             from others. The header word `SQ_SLEEPS` is `NEED_WAKEUP`";
        "`SQ_AFF`: the processor on which that thread runs" HasNot
            "any that is idle does it";
        "`IOPOLL`: busy waits for devices" HasNot
            "there are no block drivers in the kernel; a driver is a daemon and polls as it likes";
        "`ATTACH_WQ`: share worker threads" HasNot
            "there are no worker threads";
        "`R_DISABLED`: begin disabled" HasNot
            "not yet; a new context can be made stopped and so starts when its maker says";
        "registered ring descriptor, `REGISTERED_FD_ONLY`" Otherwise
            "a ring is a number from 0 to 3 of its context, in `rax`: nothing to look up, nothing to register";
        "resize of a live ring (6.13)" Otherwise
            "[`RingMove`]: what is in flight goes on in another ring, then [`RingDrop`]; not while something is registered";
        "`IORING_REGISTER_PROBE`" Has
            "[`Probe`], also with the flags that an opcode takes";
        "feature bits of `io_uring_params`" Otherwise
            "one version of the whole wire in the header, and [`Probe`]";
    }
    "Entering" {
        "`to_submit`, `min_complete`, `GETEVENTS`" Has
            "[`Control`](crate::enter::Control), one word; `min_complete` is clamped to what can still complete, so no wait is \
             for nothing";
        "`EXT_ARG` with a timeout" Has
            "the flag `DEADLINE` and a register";
        "`ABS_TIMER`, `REGISTER_CLOCK`" Has
            "deadlines are absolute, on the monotonic clock; other clocks are not there";
        "minimum wait (6.12): enough after a time with fewer" Has
            "the flag `RELENT`: from a time on one completion is enough";
        "signal mask for the wait" Has
            "the flags `SIGNALS` and `MASK`, with words of the ring's header; [`SignalRaise`] sets what is pending";
        "`SQ_WAIT`: wait for room in the SQ" Otherwise
            "after an entry the SQ has room, unless the CQ is full, which the header says";
        "`SQ_WAKEUP`" HasNot
            "nothing sleeps: there is no polling thread yet";
        "reply and wait in one call" Has
            "not in io_uring: a server's [`SERVE`](crate::enter::Control) gives all replies and waits for requests";
        "`eventfd` for completions" HasNot
            "not yet; what wants to wait for a ring and for something else waits for both in the ring, and others send it \
             messages";
        "a ring's descriptor can be polled, also with epoll" HasNot
            "not yet: a handle to a ring is for messages alone";
    }
    "Order and chains" {
        "`IOSQE_IO_LINK`" <LINK> Has
            "the flag `LINK`; a chain that is longer than the CQ is refused, and a held entry can be cancelled";
        "`IOSQE_IO_HARDLINK`" <HARD_LINK> Has "the flag `HARD_LINK`";
        "`IOSQE_IO_DRAIN`" <DRAIN> Has "the flag `DRAIN`; cancels pass it, and in a chain it holds for the whole";
        "`IOSQE_CQE_SKIP_SUCCESS`" <SKIP_SUCCESS> Has
            "the flag `SKIP_SUCCESS`; the place is promised all the same, so an error never overflows";
        "`IORING_OP_LINK_TIMEOUT`" Has "[`LinkTimeout`], with a grace for the daemon";
        "`IOSQE_ASYNC`: always from a worker thread" HasNot
            "nothing ever blocks the one who submits, so there is nothing to avoid";
    }
    "Time" {
        "`IORING_OP_TIMEOUT`, relative and absolute" Has
            "[`Timeout`]; it completes with zero and not with `ETIME`";
        "a timeout that ends after so many completions" Otherwise
            "the wait itself has both, `min_complete` and a deadline";
        "`IORING_TIMEOUT_MULTISHOT`" Has
            "[`Interval`]; expiries that found no room are counted in the next completion";
        "`TIMEOUT_UPDATE`, `TIMEOUT_REMOVE`" Has
            "[`TimeoutUpdate`], [`TimeoutRemove`]; intervals too";
        "`TIMEOUT_BOOTTIME`, `TIMEOUT_REALTIME`" HasNot
            "one clock: the monotonic one. Nothing sleeps, so boot time is the same";
        "`TIMEOUT_ETIME_SUCCESS`" Otherwise "a timeout's end is success always";
    }
    "Cancelling" {
        "`ASYNC_CANCEL` by user data, `CANCEL_ALL`" Has
            "[`CancelTag`]: all with the tag, or the last one started with [`FIRST`](crate::args::cancel)";
        "`CANCEL_FD`" Has "[`CancelHandle`], which means the open file and not its number";
        "`CANCEL_ANY`" Has "[`CancelAll`]";
        "`CANCEL_OP`: by opcode" HasNot "give operations tags by kind";
        "`REGISTER_SYNC_CANCEL`: wait for the end" Otherwise
            "[`Strength::Force`] ends in bounded steps, before its own completion, whatever the daemon does";
        "a cancel of what runs already may do nothing" Otherwise
            "[`Strength::Ask`] tells the daemon, and forces after the grace";
    }
    "Many completions" {
        "`POLL_ADD`" Has "[`Poll`]";
        "`POLL_ADD_MULTI`" <MULTISHOT> Has "[`Poll`] with `MULTISHOT`; a full CQ pauses it and loses nothing";
        "`POLL_UPDATE`" HasNot "cancel it and poll again: both go in one `ring_enter`";
        "edge and level triggering, `EPOLL_CTL`" Otherwise
            "a poll tells what there is when it begins and then what happens; there is no epoll, since a ring is one";
        "multishot accept" Has
            "[`Dup`] or [`Recvfd`] with `MULTISHOT`, for whatever a daemon gives handles for";
        "multishot receive, multishot read" HasNot
            "not yet: an operation with many completions takes no buffers of a group";
    }
    "Buffers" {
        "`IOSQE_BUFFER_SELECT`" <BUFFER_SELECT> Has
            "the flag `BUFFER_SELECT` on reads, taken when bytes have come: nothing is to be given back";
        "`PROVIDE_BUFFERS`, `REMOVE_BUFFERS`: by an operation" Otherwise
            "through the group's memory, without entering the kernel";
        "buffer rings (`REGISTER_PBUF_RING`)" Has "[`RegisterGroup`], 16 groups a ring";
        "incremental use of a buffer (6.12)" Has
            "[`INCREMENTAL`](crate::args::group); the completion flag `BUFFER_MORE` says that a buffer goes on";
        "registered buffers, sparse tables, updates" Has
            "[`RegisterBuffer`], 64 slots a ring; a slot is filled or emptied at any time";
        "cloned buffer tables (6.12)" HasNot "not yet: register the memory in the other ring too";
        "bundles (6.10): one receive or send into several buffers" HasNot "not yet";
        "zero-copy send" HasNot "not yet: lending pages to a daemon is designed (large aligned buffers) and not built";
        "`READV`, `WRITEV`" HasNot "one buffer an entry: submit several entries";
    }
    "Files" {
        "`IOSQE_FIXED_FILE`, registered and sparse tables" Has
            "[`RegisterFiles`], 4096 slots a ring; a bit of the handle field and no flag";
        "direct descriptors: an open into a slot, for the entries behind it" Otherwise
            "[`HandleReserve`]: an entry makes its handle under a reserved number of the ordinary table, which those behind it \
             in the chain name";
        "`FIXED_FD_INSTALL`: a slot becomes a descriptor" Otherwise
            "[`HandleDup`] of the slot";
        "`OPENAT`, `OPENAT2`, `CLOSE`, `READ`, `WRITE`, `FSYNC`, `FTRUNCATE`" Has
            "[`OpenAt`], [`Close`], [`Read`], [`Write`], [`Fsync`], [`Ftruncate`]";
        "`STATX`, `RENAMEAT`, `UNLINKAT`, `LINKAT`" Has
            "[`Fstat`], [`Frename`], [`UnlinkAt`], [`Flink`]; all but `UnlinkAt` begin at an open file";
        "`MKDIRAT`, `SYMLINKAT`" Otherwise "[`OpenAt`] with the flags that say so; the daemon knows what it makes";
        "`getdents`: not in io_uring" Has "[`Getdents`]";
        "`FALLOCATE`, `SYNC_FILE_RANGE`, extended attributes" HasNot
            "no daemon has them; [`Call`] reaches a daemon's own verbs";
        "`FADVISE`" HasNot "no page cache in the kernel to advise";
        "`MADVISE`" Has "[`Advise`]: will need, do not need";
        "`SPLICE`, `TEE`" HasNot "no pipes in the kernel: they are a daemon's";
        "`URING_CMD`: commands of a driver" Has "[`Call`], for every daemon";
    }
    "Processes, memory and messages" {
        "`FUTEX_WAIT`, `FUTEX_WAKE`" Has "[`FutexWait`], [`FutexWake`]; no bit sets, by address or by shared memory";
        "`FUTEX_WAITV`" Has "[`FutexWaitMany`], up to 16 words (128 there)";
        "a wake and a wait in one: not in io_uring" Has "[`FutexSwap`]: the processor goes straight to who is woken";
        "`WAITID`" Has "[`ContextWait`], for one context; process groups are the process table's";
        "`MSG_RING` with data" Has
            "[`MessageSend`] through a handle to the ring ([`RingHandle`]); a full CQ holds the message back and loses nothing";
        "`MSG_RING` with a descriptor" Has
            "[`MessageHandle`]; [`Sendfd`] and [`HandleDup`] pass handles on too";
        "memory mapping, fork, exec, threads: not in io_uring" Has
            "[`Map`], [`SpaceFork`], [`ExecCommit`], [`ContextCreate`] and their kin are entries like any";
        "personalities (`REGISTER_PERSONALITY`)" HasNot
            "an identity is the context's and goes to daemons with each request; [`ContextIdentity`] sets it";
        "restrictions (`REGISTER_RESTRICTIONS`)" Has
            "[`Restrict`]: opcodes, flags, handles and names, of a context and all that it makes, at any time and for good";
        "`REGISTER_IOWQ_AFF`, `IOWQ_MAX_WORKERS`" HasNot "there are no worker threads";
    }
    "Network" {
        "`SOCKET`, `BIND`, `LISTEN`, `CONNECT`, `ACCEPT`, `SHUTDOWN`" Otherwise
            "no network stack is in the tree; a daemon's sockets are files: [`OpenAt`], [`Dup`], [`Call`]";
        "`SEND`, `RECV`, `SENDMSG`, `RECVMSG`" Otherwise
            "[`Write`], [`Read`] and [`Call`] on such files; handles go with [`Sendfd`]";
        "NAPI busy polling" HasNot "no network devices in the kernel";
    }
}
