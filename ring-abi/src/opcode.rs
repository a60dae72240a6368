//! Every operation once: its number, its name, where it may come from and what its payload is.
//!
//! Numbers 3 to 34 mean what they mean in `redox_syscall::schemev2`; numbers from 64 are our own.
#![forbid(unsafe_code)]

use crate::SqeFlags;
use syscall::schemev2 as v2;

/// Who may put an opcode into an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A program asks the kernel, which asks the daemon that serves the handle.
    Forwarded,
    /// A program asks the kernel, which answers by itself.
    Kernel,
    /// Only the kernel asks this of a daemon; from a program it is `EINVAL`.
    KernelOnly,
    /// A number that is reserved: `ENOSYS`.
    Reserved,
}

/// Which way the bytes of a forwarded operation's buffer go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// No buffer.
    None,
    /// From the program to the daemon, at submission.
    In,
    /// From the daemon to the program, at the reply; as many bytes as the result says.
    Out,
    /// To the daemon at submission, and back at the reply as far as `extra` of the reply says.
    InOut,
}

macro_rules! opcodes {
    ($($(#[doc = $doc:literal])* $name:ident = $number:literal, $origin:ident, $payload:ident;)*) => {
        /// An operation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Opcode { $($(#[doc = $doc])* $name = $number,)* }

        impl Opcode {
            /// Every operation, in the order of the numbers.
            pub const ALL: &'static [Opcode] = &[$(Opcode::$name,)*];

            /// The operation of this number.
            #[inline]
            pub const fn from_raw(raw: u8) -> Option<Opcode> {
                match raw { $($number => Some(Opcode::$name),)* _ => None }
            }

            /// The operation's name.
            pub const fn name(self) -> &'static str {
                match self { $(Opcode::$name => stringify!($name),)* }
            }

            /// What it does, as its doc comment says.
            pub const fn text(self) -> &'static str {
                match self { $(Opcode::$name => concat!($($doc),*),)* }
            }

            /// Where it may come from.
            pub const fn origin(self) -> Origin {
                match self { $(Opcode::$name => Origin::$origin,)* }
            }

            /// Which way its buffer goes, where a daemon serves it.
            #[inline(always)]
            pub const fn payload(self) -> Payload {
                match self { $(Opcode::$name => Payload::$payload,)* }
            }
        }
    };
}

opcodes! {
    /// Closes a handle.
    Close = 3, Kernel, None;
    /// Opens another file from one, by a name that its daemon understands.
    Dup = 4, Forwarded, In;
    /// Reads bytes.
    Read = 5, Forwarded, Out;
    /// Writes bytes.
    Write = 6, Forwarded, In;
    /// Length of a file.
    Fsize = 7, Forwarded, None;
    /// Changes a file's mode.
    Fchmod = 8, Forwarded, None;
    /// Changes a file's owner.
    Fchown = 9, Forwarded, None;
    /// Commands of `fcntl`.
    Fcntl = 10, Forwarded, None;
    /// Which of the asked events a file has now. Programs use [`Opcode::Poll`].
    Fevent = 11, KernelOnly, None;
    /// Sends a handle to the daemon of another.
    Sendfd = 12, Forwarded, None;
    /// Path of an open file.
    Fpath = 13, Forwarded, Out;
    /// Renames a file.
    Frename = 14, Forwarded, In;
    /// What `stat` tells of a file.
    Fstat = 15, Forwarded, Out;
    /// What `statvfs` tells of a file system.
    Fstatvfs = 16, Forwarded, Out;
    /// Writes a file back.
    Fsync = 17, Forwarded, None;
    /// Sets a file's length.
    Ftruncate = 18, Forwarded, None;
    /// Sets a file's times.
    Futimens = 19, Forwarded, In;
    /// Asks a daemon to prepare a mapping.
    MmapPrep = 20, KernelOnly, None;
    /// Asks a daemon for a page.
    RequestMmap = 21, KernelOnly, None;
    /// Reserved.
    Mremap = 22, Reserved, None;
    /// Tells a daemon that a mapping is gone.
    Munmap = 23, KernelOnly, None;
    /// Reserved.
    Msync = 24, Reserved, None;
    /// Tells a daemon that a client no longer waits for a request.
    Cancel = 25, KernelOnly, None;
    /// Entries of a directory.
    Getdents = 26, Forwarded, Out;
    /// Tells a daemon that the last handle to a file is gone.
    CloseMsg = 27, KernelOnly, None;
    /// A call that only the daemon understands, with a buffer both ways.
    Call = 28, Forwarded, InOut;
    /// Opens a file by path.
    OpenAt = 29, Forwarded, InOut;
    /// Gives a file another name.
    Flink = 30, Forwarded, In;
    /// Receives a handle from the daemon of another.
    Recvfd = 31, Forwarded, None;
    /// Removes a name.
    UnlinkAt = 32, Forwarded, In;
    /// Reserved.
    StdFsCall = 33, Reserved, None;
    /// Tells a daemon that a handle was detached.
    Detach = 34, KernelOnly, None;

    /// Does nothing.
    Nop = 64, Kernel, None;
    /// Whether an opcode exists, and which flags it takes.
    Probe = 65, Kernel, None;
    /// Completes at a point in time.
    Timeout = 66, Kernel, None;
    /// Cancels the operations of this ring that have a tag.
    CancelTag = 67, Kernel, None;
    /// Completes when a file has one of the asked events.
    Poll = 68, Kernel, None;
    /// Waits until a word is woken, if it has the expected value.
    FutexWait = 69, Kernel, None;
    /// Wakes those who wait for a word.
    FutexWake = 70, Kernel, None;
    /// Maps anonymous memory.
    Map = 71, Kernel, None;
    /// Takes mappings away.
    Unmap = 72, Kernel, None;
    /// Changes what a program may do with pages.
    Protect = 73, Kernel, None;
    /// Makes an empty address space.
    SpaceCreate = 74, Kernel, None;
    /// Copies the caller's address space.
    SpaceFork = 75, Kernel, None;
    /// Copies bytes into another address space.
    SpaceWrite = 76, Kernel, None;
    /// Replaces the caller's program by that of another address space.
    ExecCommit = 77, Kernel, None;
    /// Makes a context.
    ContextCreate = 78, Kernel, None;
    /// Reads or sets the registers of a stopped context.
    ContextRegs = 79, Kernel, None;
    /// Lets a context run.
    ContextStart = 80, Kernel, None;
    /// Stops a context; one that runs on another processor when that enters the kernel (`EBUSY` if somebody else is about to).
    ContextStop = 81, Kernel, None;
    /// Ends a context; one that runs on another processor when that enters the kernel.
    ContextKill = 82, Kernel, None;
    /// Completes when a context has ended.
    ContextWait = 83, Kernel, None;
    /// Sets the process id and owner that the kernel stamps on a context's requests.
    ContextIdentity = 84, Kernel, None;
    /// Ends the caller; has no completion.
    Exit = 85, Kernel, None;
    /// Makes a handle table, empty or as a copy of the caller's.
    TableCreate = 86, Kernel, None;
    /// Makes another handle to the same file, here or in another handle table.
    HandleDup = 87, Kernel, None;
    /// Reads or sets a handle's close-on-exec flag.
    HandleFlags = 88, Kernel, None;
    /// Names and serves a scheme through the service pair of the caller's ring.
    SchemeRegister = 89, Kernel, None;
    /// Makes a further ring for the caller.
    RingCreate = 90, Kernel, None;
    /// Takes the handle that came with a `Sendfd` request.
    ObtainFd = 91, Kernel, None;
    /// Names the handler of old system calls.
    CallHandler = 92, Kernel, None;
    /// Names the word that is zeroed and woken when the caller ends.
    EndWord = 93, Kernel, None;
    /// Moves a description's cursor.
    Seek = 94, Kernel, None;
    /// Bounds the entry before it in its chain: when the time comes, that is cancelled.
    LinkTimeout = 95, Kernel, None;
    /// Keeps a handle's number for entries that name it, or gives it back.
    HandleReserve = 96, Kernel, None;
    /// Makes a handle to one of the caller's rings, through which messages come.
    RingHandle = 97, Kernel, None;
    /// Completes again and again, a period apart.
    Interval = 98, Kernel, None;
    /// Changes the deadline of a timeout or interval of this ring.
    TimeoutUpdate = 99, Kernel, None;
    /// Takes a timeout or interval of this ring away.
    TimeoutRemove = 100, Kernel, None;
    /// Cancels the operations of this ring on the file behind a handle.
    CancelHandle = 101, Kernel, None;
    /// Cancels the operations of this ring.
    CancelAll = 102, Kernel, None;
    /// Waits until one of several words is woken, if all have the expected values.
    FutexWaitMany = 103, Kernel, None;
    /// Fills or empties slots of the ring's registered files.
    RegisterFiles = 104, Kernel, None;
    /// Fills or empties a slot of the ring's registered buffers.
    RegisterBuffer = 105, Kernel, None;
    /// Makes or takes away a group of buffers that the program provides.
    RegisterGroup = 106, Kernel, None;
    /// Posts a completion of the sender's choosing into the ring behind a handle.
    MessageSend = 108, Kernel, None;
    /// Puts a handle into the handle table of a ring's owner, and posts its number there.
    MessageHandle = 109, Kernel, None;
    /// Takes rights from the calling context for good.
    Restrict = 110, Kernel, None;
    /// Moves what is in flight in another ring of the caller to this one.
    RingMove = 111, Kernel, None;
    /// Reserved for tracing a context.
    Trace = 112, Reserved, None;
    /// Makes signals pending for a context.
    SignalRaise = 113, Kernel, None;
    /// Ends a further ring of the caller.
    RingDrop = 114, Kernel, None;
    /// Lets a processor that has nobody to run look for entries of the ring by itself.
    RingPoll = 117, Kernel, None;
    /// Maps a file.
    MapFile = 118, Kernel, None;
    /// Sets the weight of a context: how much of a processor it gets beside others.
    ContextWeight = 120, Kernel, None;
    /// Limits a context to some processors.
    ContextAffinity = 121, Kernel, None;
    /// Wakes one who waits for a word, and waits for another.
    FutexSwap = 122, Kernel, None;
    /// Says what becomes of pages.
    Advise = 123, Kernel, None;
}

impl Opcode {
    /// Whether it ends or changes other operations, and so waits for no barrier unless it has a flag of its own.
    pub const fn passes_barriers(self) -> bool {
        matches!(
            self,
            Opcode::CancelTag
                | Opcode::CancelHandle
                | Opcode::CancelAll
                | Opcode::TimeoutUpdate
                | Opcode::TimeoutRemove
        )
    }

    /// Whether success may make a handle, so that the entry may say where it goes; see [`Sqe::group`](crate::Sqe::group).
    pub const fn makes_handle(self) -> bool {
        matches!(
            self,
            Opcode::Dup
                | Opcode::Call
                | Opcode::OpenAt
                | Opcode::Recvfd
                | Opcode::SpaceCreate
                | Opcode::SpaceFork
                | Opcode::ContextCreate
                | Opcode::TableCreate
                | Opcode::ObtainFd
                | Opcode::RingHandle
        )
    }

    /// The number.
    #[inline(always)]
    pub const fn raw(self) -> u8 {
        self as u8
    }

    /// The flags that a submission of it may have; any other is `EINVAL`.
    pub const fn flags(self) -> SqeFlags {
        match self {
            Opcode::Interval | Opcode::Poll | Opcode::Dup | Opcode::Recvfd => {
                SqeFlags::MULTISHOT.union(SqeFlags::ORDER)
            }
            Opcode::Read | Opcode::Getdents | Opcode::Fpath => SqeFlags::BUFFER_SELECT.union(SqeFlags::ORDER),
            _ => SqeFlags::ORDER,
        }
    }
}

const _: () = {
    assert!(Opcode::Close as u8 == v2::Opcode::Close as u8);
    assert!(Opcode::Dup as u8 == v2::Opcode::Dup as u8);
    assert!(Opcode::Read as u8 == v2::Opcode::Read as u8);
    assert!(Opcode::Write as u8 == v2::Opcode::Write as u8);
    assert!(Opcode::Fsize as u8 == v2::Opcode::Fsize as u8);
    assert!(Opcode::Fchmod as u8 == v2::Opcode::Fchmod as u8);
    assert!(Opcode::Fchown as u8 == v2::Opcode::Fchown as u8);
    assert!(Opcode::Fcntl as u8 == v2::Opcode::Fcntl as u8);
    assert!(Opcode::Fevent as u8 == v2::Opcode::Fevent as u8);
    assert!(Opcode::Sendfd as u8 == v2::Opcode::Sendfd as u8);
    assert!(Opcode::Fpath as u8 == v2::Opcode::Fpath as u8);
    assert!(Opcode::Frename as u8 == v2::Opcode::Frename as u8);
    assert!(Opcode::Fstat as u8 == v2::Opcode::Fstat as u8);
    assert!(Opcode::Fstatvfs as u8 == v2::Opcode::Fstatvfs as u8);
    assert!(Opcode::Fsync as u8 == v2::Opcode::Fsync as u8);
    assert!(Opcode::Ftruncate as u8 == v2::Opcode::Ftruncate as u8);
    assert!(Opcode::Futimens as u8 == v2::Opcode::Futimens as u8);
    assert!(Opcode::MmapPrep as u8 == v2::Opcode::MmapPrep as u8);
    assert!(Opcode::RequestMmap as u8 == v2::Opcode::RequestMmap as u8);
    assert!(Opcode::Mremap as u8 == v2::Opcode::Mremap as u8);
    assert!(Opcode::Munmap as u8 == v2::Opcode::Munmap as u8);
    assert!(Opcode::Msync as u8 == v2::Opcode::Msync as u8);
    assert!(Opcode::Cancel as u8 == v2::Opcode::Cancel as u8);
    assert!(Opcode::Getdents as u8 == v2::Opcode::Getdents as u8);
    assert!(Opcode::CloseMsg as u8 == v2::Opcode::CloseMsg as u8);
    assert!(Opcode::Call as u8 == v2::Opcode::Call as u8);
    assert!(Opcode::OpenAt as u8 == v2::Opcode::OpenAt as u8);
    assert!(Opcode::Flink as u8 == v2::Opcode::Flink as u8);
    assert!(Opcode::Recvfd as u8 == v2::Opcode::Recvfd as u8);
    assert!(Opcode::UnlinkAt as u8 == v2::Opcode::UnlinkAt as u8);
    assert!(Opcode::StdFsCall as u8 == v2::Opcode::StdFsCall as u8);
    assert!(Opcode::Detach as u8 == v2::Opcode::Detach as u8);
};
