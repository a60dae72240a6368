//! The arguments: one struct for each opcode, with `encode` and `decode` side by side.
//!
//! `decode` reads each word that the struct names exactly once and no other; a word that an opcode does
//! not name has no meaning. Fields narrower than 64 bits must fit, or the operation is `EINVAL`.
#![forbid(unsafe_code)]

use crate::field::arguments;
pub use crate::field::{Argument, Arguments, Field};
use crate::{Errno, Opcode, Sqe, Words};

/// A handle number that stands for the caller's own (namespace, address space or handle table).
pub const CURRENT: u64 = u64::MAX;
/// An offset that stands for the cursor of the file description.
pub const CURSOR: u64 = u64::MAX;
/// A handle number that stands for the lowest free one.
pub const LOWEST: u64 = u64::MAX;

arguments! {
    /// Closes a handle. Operations in flight keep the file they started with.
    Close {
        /// The handle.
        fd: u64 = 0,
    }
    /// Opens another file from one. Result: a handle.
    ///
    /// With the flag `MULTISHOT` the daemon, which sees the flag, may answer with [`MORE`](crate::CqeFlags::MORE): the
    /// program gets the handle in a completion with that flag, and the daemon is asked again, in a request of its own, once
    /// there is a place for the next completion. So a listening socket gives one connection after the other. The name is
    /// read anew each time and must stay as it is. An error, or an answer without the flag, is the last.
    Dup {
        /// The handle to start from.
        fd: u64 = 0,
        /// Address of a name that the daemon understands.
        buffer: u64 = 1,
        /// Bytes of the name.
        length: u64 = 2,
    }
    /// Reads up to `length` bytes. Result: bytes read.
    Read {
        /// The handle.
        fd: u64 = 0,
        /// Address of the buffer.
        buffer: u64 = 1,
        /// Bytes of the buffer; a daemon's answer may be as short as a slot of its arena.
        length: u64 = 2,
        /// Byte offset in the file, or [`CURSOR`].
        offset: u64 = 3,
    }
    /// Writes up to `length` bytes. Result: bytes written.
    Write {
        /// The handle.
        fd: u64 = 0,
        /// Address of the bytes.
        buffer: u64 = 1,
        /// Number of bytes; as many as fit a slot of the daemon's arena are taken.
        length: u64 = 2,
        /// Byte offset in the file, or [`CURSOR`].
        offset: u64 = 3,
    }
    /// Length of a file in bytes.
    Fsize {
        /// The handle.
        fd: u64 = 0,
    }
    /// Changes a file's mode.
    Fchmod {
        /// The handle.
        fd: u64 = 0,
        /// Permission bits.
        mode: u32 = 1,
    }
    /// Changes a file's owner.
    Fchown {
        /// The handle.
        fd: u64 = 0,
        /// New user, or `u32::MAX` to keep it.
        uid: u32 = 1,
        /// New group, or `u32::MAX` to keep it.
        gid: u32 = 2,
    }
    /// `fcntl` on the open file.
    Fcntl {
        /// The handle.
        fd: u64 = 0,
        /// Command, as `F_GETFL`.
        command: u64 = 1,
        /// Its argument.
        argument: u64 = 2,
    }
    /// Asks a daemon for the events that a file has now, and to tell when it gets one of them.
    Fevent {
        /// The file.
        fd: u64 = 0,
        /// Events of [`event`].
        mask: u64 = 1,
    }
    /// Sends a copy of a handle to the daemon of another.
    Sendfd {
        /// The handle whose daemon receives.
        fd: u64 = 0,
        /// The handle that is sent. A daemon reads a zero here and takes it with [`ObtainFd`].
        sent: u64 = 1,
        /// Flags that both sides agree on.
        flags: u64 = 2,
        /// A number that both sides agree on.
        argument: u64 = 3,
    }
    /// Path of an open file, below its scheme. Result: bytes of the path.
    Fpath {
        /// The handle.
        fd: u64 = 0,
        /// Address of the buffer.
        buffer: u64 = 1,
        /// Bytes of the buffer.
        length: u64 = 2,
    }
    /// Renames the open file.
    Frename {
        /// The handle.
        fd: u64 = 0,
        /// Address of the new path below the scheme.
        buffer: u64 = 1,
        /// Bytes of the path.
        length: u64 = 2,
    }
    /// What `stat` tells, as `redox_syscall::Stat`. Result: zero.
    Fstat {
        /// The handle.
        fd: u64 = 0,
        /// Address of the buffer.
        buffer: u64 = 1,
        /// Bytes of the buffer.
        length: u64 = 2,
    }
    /// What `statvfs` tells, as `redox_syscall::StatVfs`. Result: zero.
    Fstatvfs {
        /// The handle.
        fd: u64 = 0,
        /// Address of the buffer.
        buffer: u64 = 1,
        /// Bytes of the buffer.
        length: u64 = 2,
    }
    /// Writes a file back.
    Fsync {
        /// The handle.
        fd: u64 = 0,
    }
    /// Sets a file's length.
    Ftruncate {
        /// The handle.
        fd: u64 = 0,
        /// New length in bytes.
        length: u64 = 1,
    }
    /// Sets a file's times.
    Futimens {
        /// The handle.
        fd: u64 = 0,
        /// Address of two `TimeSpec`s: access and modification.
        buffer: u64 = 1,
        /// Bytes of the buffer.
        length: u64 = 2,
    }
    /// Tells a daemon that a client no longer waits for the request with the same tag.
    Cancel {
        /// The file of the request.
        fd: u64 = 0,
    }
    /// Entries of a directory, in the format of `redox_syscall::dirent`. Result: bytes.
    Getdents {
        /// The handle.
        fd: u64 = 0,
        /// Address of the buffer.
        buffer: u64 = 1,
        /// Bytes of the buffer.
        length: u64 = 2,
        /// Bytes of an entry's header.
        header: u32 = 3,
        /// Where to go on: zero, or an entry's `next_opaque_id`.
        start: u64 = 4,
    }
    /// Asks a daemon for pages of its memory that are part of a file: the answer is the address of the first one, a multiple of
    /// 4096. `extra` says how many of them there are, zero for all that are asked for.
    ///
    /// They are looked for in its space when a client touches them, and are to stay what they are until the file is closed.
    /// The address zero says that it will be asked ([`RequestMmap`]) for each that is touched.
    MmapPrep {
        /// The file.
        fd: u64 = 0,
        /// Bytes, a multiple of 4096.
        length: u64 = 1,
        /// The rights, and whether writes are shared, as in [`map`].
        flags: u64 = 2,
        /// Byte offset in the file, a multiple of 4096.
        offset: u64 = 3,
    }
    /// Asks a daemon for pages of a file that a client has mapped, because one of them was touched: the first. The others are asked
    /// for ahead of their use.
    ///
    /// The answer is like that to [`MmapPrep`], but zero is no address here. Whoever waits for the page fails if the answer is an error, is no
    /// page of the daemon's, or does not come within ten seconds: a context with a bus error, an operation with `EIO`.
    RequestMmap {
        /// The file.
        fd: u64 = 0,
        /// Bytes, a multiple of 4096.
        length: u64 = 1,
        /// The right to read, and whether writes are shared, as in [`map`].
        flags: u64 = 2,
        /// Byte offset in the file, a multiple of 4096.
        offset: u64 = 3,
    }
    /// Tells a daemon that nobody holds the file any more. One way.
    CloseMsg {
        /// The file.
        fd: u64 = 0,
    }
    /// A call that only the daemon understands.
    ///
    /// The buffer goes to the daemon, and what it says in `extra` comes back.
    Call {
        /// The handle.
        fd: u64 = 0,
        /// Address of the buffer.
        buffer: u64 = 1,
        /// Bytes of the buffer.
        length: u64 = 2,
        /// A word for the daemon, by custom a verb.
        verb: u64 = 3,
        /// Another.
        argument: u64 = 4,
    }
    /// Opens a file by path. Result: a handle.
    ///
    /// With the caller's namespace the path is `/scheme/NAME/rest`, otherwise it starts at the directory
    /// `fd`. A daemon that meets a symbolic link answers `EXDEV`, writes the path to go on with into the
    /// buffer, and says in `extra` how long it is; the kernel copies that back, cut at `capacity`.
    OpenAt {
        /// A directory's handle, or [`CURRENT`] for the caller's namespace.
        fd: u64 = 0,
        /// Address of the path; also receives where a link leads.
        buffer: u64 = 1,
        /// Bytes of the path.
        length: u64 = 2,
        /// Flags `O_*` and, in the low 16 bits, the mode of a file that is made.
        flags: u64 = 3,
        /// Bytes of the buffer that may be overwritten.
        capacity: u32 = 4,
    }
    /// Gives the open file another name.
    Flink {
        /// The handle.
        fd: u64 = 0,
        /// Address of the new path below the scheme.
        buffer: u64 = 1,
        /// Bytes of the path.
        length: u64 = 2,
    }
    /// Receives a handle from a file's daemon. Result: a handle. With the flag `MULTISHOT` again and again, as [`Dup`].
    Recvfd {
        /// The handle.
        fd: u64 = 0,
        /// Flags that both sides agree on.
        flags: u64 = 1,
        /// A number that both sides agree on.
        argument: u64 = 2,
    }
    /// Removes a name. A symbolic link before the last part of the path is `EXDEV`, without the path to go on with: the
    /// last part is not to be followed, so the caller opens the directory before it, which tells where that is, and asks
    /// again.
    UnlinkAt {
        /// A directory's handle, or [`CURRENT`] for the caller's namespace.
        fd: u64 = 0,
        /// Address of the path.
        buffer: u64 = 1,
        /// Bytes of the path.
        length: u64 = 2,
        /// Zero, or `AT_REMOVEDIR`.
        flags: u64 = 3,
    }

    /// Does nothing. Result: zero.
    Nop {}
    /// Whether an opcode exists. Result: 1 plus the flags it takes shifted left by 8, or zero.
    Probe {
        /// The opcode's number.
        opcode: u32 = 0,
    }
    /// Completes with zero at a point in time.
    Timeout {
        /// Nanoseconds: absolute on the monotonic clock, or from now.
        nanoseconds: u64 = 0,
        /// [`timeout`] flags.
        flags: u64 = 1,
    }
    /// Completes again and again, a period apart, until it has expired `count` times or is cancelled.
    ///
    /// It needs the flag `MULTISHOT`. Each completion but the last has the flag `MORE`; its result is how many times the
    /// interval expired since the one before. That is more than one where the program was slow to make room in its
    /// completion queue, and where the period is shorter than a tenth of a millisecond: an interval completes no oftener
    /// than that. Expiries are counted from the first one, so they do not drift. A period of zero is `EINVAL`.
    Interval {
        /// Nanoseconds of the first expiry: absolute on the monotonic clock, or from now.
        first: u64 = 0,
        /// Nanoseconds from each expiry to the next.
        period: u64 = 1,
        /// Number of expiries; zero for no end.
        count: u64 = 2,
        /// [`timeout`] flags.
        flags: u64 = 3,
    }
    /// Changes the deadline of a [`Timeout`] of this ring, or the next expiry of an [`Interval`], which goes on from
    /// there. Result: zero. None has the tag: `ENOENT`; its last deadline has come, and its completion is on the way:
    /// `EALREADY`. Of several with the tag, the one that started last.
    TimeoutUpdate {
        /// The tag.
        tag: u32 = 0,
        /// Nanoseconds: absolute on the monotonic clock, or from now.
        nanoseconds: u64 = 1,
        /// [`timeout`] flags.
        flags: u64 = 2,
    }
    /// Takes a [`Timeout`] or [`Interval`] of this ring away, which completes with `ECANCELED`. Result and errors as of
    /// [`TimeoutUpdate`]; an interval can always be taken away.
    TimeoutRemove {
        /// The tag.
        tag: u32 = 0,
    }
    /// Cancels this ring's operations that have a tag and were submitted before. Result: how many it asked to end; none:
    /// `ENOENT`.
    CancelTag {
        /// The tag.
        tag: u32 = 0,
        /// A [`Strength`], and [`cancel`] flags.
        strength: u32 = 1,
        /// With [`Strength::Ask`]: nanoseconds from now after which it is forced.
        grace: u64 = 2,
    }
    /// Cancels this ring's operations on a file that started before this one. Result: how many it asked to end; none:
    /// `ENOENT`.
    ///
    /// Operations hold the file description and know no handle. So those that were started through another handle to the
    /// same description are found, and those of a handle whose number was given to another file meanwhile are not.
    CancelHandle {
        /// A handle to the file.
        fd: u64 = 0,
        /// A [`Strength`], and [`cancel`] flags.
        strength: u32 = 1,
        /// As of [`CancelTag`].
        grace: u64 = 2,
    }
    /// Cancels all of this ring's operations that started before this one. Result: how many it asked to end; none:
    /// `ENOENT`.
    CancelAll {
        /// A [`Strength`], and [`cancel`] flags.
        strength: u32 = 0,
        /// As of [`CancelTag`].
        grace: u64 = 1,
    }
    /// Completes when a file has one of the asked events. Result: those it has.
    ///
    /// With the flag `MULTISHOT` it completes, with the flag [`MORE`](crate::CqeFlags::MORE), for what the file has when it
    /// begins, and then each time that its daemon tells of events (and for the serial line at each input): it says what
    /// happened and not what still is so, and a program reads until there is no more before it waits for the next. Where
    /// completions find no place, their events are told in one, together with what the file has then.
    Poll {
        /// The handle.
        fd: u64 = 0,
        /// Events of [`event`].
        mask: u64 = 1,
    }
    /// Waits for a word. Result: zero when woken; `EAGAIN` if the value differs; `ETIMEDOUT`.
    FutexWait {
        /// Address of a 32-bit word, a multiple of four.
        address: u64 = 0,
        /// Value that the word must have.
        expected: u32 = 1,
        /// Absolute nanoseconds of the monotonic clock; `u64::MAX` for never.
        deadline: u64 = 2,
    }
    /// Waits for several words: at most [`futex::MOST`](crate::futex::MOST), none twice (`EINVAL`). Result: the index of
    /// the one that was woken; it waits for none of them any more. `EAGAIN` if the value of any differs; `ETIMEDOUT`.
    FutexWaitMany {
        /// Address of an array of [`futex::Word`](crate::futex::Word)s, which is read once, now.
        words: u64 = 0,
        /// Number of them.
        count: u32 = 1,
        /// Absolute nanoseconds of the monotonic clock; `u64::MAX` for never.
        deadline: u64 = 2,
    }
    /// Wakes the one that has waited longest for a word, if there is one, then waits for another word: a turn is handed on
    /// and awaited in one. Result: zero when woken; `EAGAIN` if the value of the word to wait for differs; `ETIMEDOUT`. With
    /// these two the other one was woken all the same, with any other error nobody was. (Proposed for Linux as `FUTEX_SWAP`,
    /// P. Oskolkov, 2020; there a value that differs wakes nobody.)
    FutexSwap {
        /// Address of the 32-bit word to wait for, a multiple of four.
        address: u64 = 0,
        /// Value that it must have.
        expected: u32 = 1,
        /// Absolute nanoseconds of the monotonic clock; `u64::MAX` for never.
        deadline: u64 = 2,
        /// Address of the word to wake one at. It may be the same.
        wake: u64 = 3,
    }
    /// Wakes those who wait for a word, first come first served. Result: how many.
    FutexWake {
        /// Address of the word.
        address: u64 = 0,
        /// Greatest number to wake.
        count: u64 = 1,
    }
    /// Maps anonymous zeroed memory. Result: its address.
    ///
    /// Private memory takes its pages when they are touched, by the program or by an operation that it names them to; an
    /// operation that finds no memory for that fails with `ENOMEM`, a program ends (`OutOfMemory`). Shared memory is there at
    /// once.
    Map {
        /// Address space, or [`CURRENT`].
        space: u64 = 0,
        /// Wanted address; zero for anywhere. Without a flag that binds it is a wish: another place is found if something is there. With
        /// one it is a multiple of 4096.
        address: u64 = 1,
        /// Bytes, rounded up to pages.
        length: u64 = 2,
        /// [`map`] rights and flags.
        flags: u64 = 3,
    }
    /// Maps what is in a file. Result: its address.
    ///
    /// Its daemon is asked ([`MmapPrep`]) for the pages of its own memory that have it. They are mapped when they are touched,
    /// and are then the same for the daemon and for all who map them. Written private pages are copied first. Shared ones can be
    /// written if they were mapped so at the start.
    ///
    /// Pages behind those that the daemon has, and those that it has taken away meanwhile, are out of reach: an operation that they
    /// are named to fails with `EIO`, a program ends (`BusError`). The file stays open as long as a page of it is mapped.
    MapFile {
        /// The handle.
        fd: u64 = 0,
        /// Wanted address; zero for anywhere. Without a flag that binds it is a wish: another place is found if something is there. With
        /// one it is a multiple of 4096.
        address: u64 = 1,
        /// Bytes, rounded up to pages.
        length: u64 = 2,
        /// [`map`] rights and flags.
        flags: u64 = 3,
        /// Byte offset in the file, a multiple of 4096.
        offset: u64 = 4,
        /// Address space, or [`CURRENT`].
        space: u64 = 5,
    }
    /// Takes mappings away. Pages that are not mapped are passed over.
    Unmap {
        /// Address space, or [`CURRENT`].
        space: u64 = 0,
        /// First address, a multiple of 4096.
        address: u64 = 1,
        /// Bytes, rounded up to pages.
        length: u64 = 2,
    }
    /// Changes what a program may do with pages; all of them must be mapped (`ENOMEM`).
    Protect {
        /// Address space, or [`CURRENT`].
        space: u64 = 0,
        /// First address, a multiple of 4096.
        address: u64 = 1,
        /// Bytes, rounded up to pages.
        length: u64 = 2,
        /// [`map`] rights.
        rights: u64 = 3,
    }
    /// Says what becomes of pages; all of them must be mapped (`ENOMEM`). The contents of shared memory and of the boot image stay
    /// as they are.
    Advise {
        /// Address space, or [`CURRENT`].
        space: u64 = 0,
        /// First address, a multiple of 4096.
        address: u64 = 1,
        /// Bytes, rounded up to pages.
        length: u64 = 2,
        /// An [`advice`].
        advice: u64 = 3,
    }
    /// Makes an empty address space. Result: a handle.
    SpaceCreate {}
    /// Copies the caller's address space, rings left out. Result: a handle.
    ///
    /// Pages of private memory are the same for both until one of them writes, but for those that are registered.
    SpaceFork {}
    /// Copies bytes of the caller into another address space, whatever the rights of the pages there.
    SpaceWrite {
        /// The other address space.
        space: u64 = 0,
        /// Address there.
        target: u64 = 1,
        /// Address here.
        buffer: u64 = 2,
        /// Bytes.
        length: u64 = 3,
    }
    /// Replaces the caller's program: the caller goes on in the other space with a fresh ring.
    ///
    /// On success there is no completion; the other contexts of the old space end, handles that are
    /// close-on-exec close, identity stays. On failure nothing has changed.
    ExecCommit {
        /// The other address space, which no context uses.
        space: u64 = 0,
        /// First instruction; gets the ring's address in `rdi`.
        entry: u64 = 1,
        /// Stack pointer.
        stack: u64 = 2,
        /// Handed on in `rsi`.
        argument: u64 = 3,
        /// Sizes of the fresh ring, packed; zero for the smallest.
        sizes: u32 = 4,
    }
    /// Makes a stopped context with a ring. Result: a handle.
    ///
    /// When it starts, it gets its ring's address in `rdi`.
    ContextCreate {
        /// Address space, or [`CURRENT`].
        space: u64 = 0,
        /// Handle table, or [`CURRENT`].
        table: u64 = 1,
        /// First instruction.
        entry: u64 = 2,
        /// Stack pointer.
        stack: u64 = 3,
        /// Handed over in `rsi`.
        argument: u64 = 4,
        /// Sizes of its ring, packed, zero for the smallest; and [`context`] flags.
        sizes_flags: u64 = 5,
    }
    /// Reads or sets the registers of a stopped context.
    ///
    /// With [`CURRENT`] and `set`, the base of `fs` of the caller itself is set and the rest is passed over.
    ContextRegs {
        /// The context, or [`CURRENT`].
        context: u64 = 0,
        /// Address of a [`crate::context::Registers`].
        buffer: u64 = 1,
        /// Bytes of it.
        length: u64 = 2,
        /// Zero to read, one to set.
        set: u32 = 3,
    }
    /// Lets a stopped context run.
    ContextStart {
        /// The context.
        context: u64 = 0,
    }
    /// Stops a context where it is; its operations go on.
    ContextStop {
        /// The context.
        context: u64 = 0,
    }
    /// Ends a context.
    ContextKill {
        /// The context.
        context: u64 = 0,
    }
    /// Completes when a context has ended. Result: how, see [`crate::context::End`].
    ContextWait {
        /// The context.
        context: u64 = 0,
    }
    /// Sets what the kernel stamps on a context's requests. Needs the identity capability.
    ContextIdentity {
        /// The context.
        context: u64 = 0,
        /// Process id.
        pid: u32 = 1,
        /// User.
        uid: u32 = 2,
        /// Group.
        gid: u32 = 3,
        /// The capability, a handle.
        capability: u64 = 4,
    }
    /// Lets processors that have nobody to run look by themselves for entries of this ring: for submissions, and on a ring
    /// that serves for replies too. Result: how many processors there are beside the caller's; if there are none, nobody will
    /// ever look.
    ///
    /// While one looks, [`SQ_SLEEPS`](crate::layout::word::SQ_SLEEPS) (and
    /// [`RP_SLEEPS`](crate::layout::word::RP_SLEEPS)) is zero, entries are taken without a call, and `ring_enter` takes no
    /// submissions: it only waits. Whoever shows entries then makes a fence and looks at that word; if it is not zero he enters
    /// the ring, which takes the entries, and from then on they are looked for again. What is shown with one store of the
    /// index is taken as one batch.
    ///
    /// It ends by itself when nothing has come for a time, and for as long as no processor is idle or the completion queue has
    /// no room. `EINVAL` if the time is more than a second, `EBUSY` if as many rings are polled as can be.
    RingPoll {
        /// Nanoseconds without an entry after which nobody looks any more until the ring is entered; zero ends it for good.
        idle: u64 = 0,
    }
    /// Sets a context's [weight](crate::context::weight): how much of a processor it gets while others want it too.
    /// Contexts that it makes from then on have the same. Result: the weight that it had.
    ///
    /// Whoever holds a handle may set up to as much as it has itself, so weight can be given and taken but not made;
    /// for more it takes the identity capability. `EINVAL` if there is no such weight, `EPERM` if it is more than the
    /// caller may give, `ESRCH` if the context has ended.
    ContextWeight {
        /// The context, or [`CURRENT`].
        context: u64 = 0,
        /// The weight.
        weight: u32 = 1,
        /// The identity capability, a handle; or [`CURRENT`] for none.
        capability: u64 = 2,
    }
    /// Limits a context to some processors, which are numbered from zero. One that runs on another one moves as soon as that
    /// enters the kernel. Contexts that it makes are limited like it.
    ///
    /// Processors that are not there are passed over. `EINVAL` if none is left.
    ContextAffinity {
        /// The context, or [`CURRENT`].
        context: u64 = 0,
        /// The processors, as bits.
        cpus: u64 = 1,
    }
    /// Ends the caller, or with [`exit::SPACE`] every context of its address space.
    Exit {
        /// Exit code, 0 to 255.
        code: u32 = 0,
        /// [`exit`] flags.
        flags: u64 = 1,
    }
    /// Makes a handle table. Result: a handle.
    TableCreate {
        /// Zero for an empty one, one for a copy of the caller's.
        copy: u32 = 0,
    }
    /// Makes another handle to the same file. Result: its number.
    HandleDup {
        /// The handle.
        fd: u64 = 0,
        /// Handle table that receives it, or [`CURRENT`].
        table: u64 = 1,
        /// Number that it gets (what was there is closed), or [`LOWEST`].
        target: u64 = 2,
        /// [`handle`] flags.
        flags: u64 = 3,
    }
    /// Reads or sets [`handle::CLOSE_ON_EXEC`]. Result: the flags before.
    HandleFlags {
        /// The handle.
        fd: u64 = 0,
        /// New flags, or `u64::MAX` to leave them.
        flags: u64 = 1,
    }
    /// Names a scheme and serves it through the service pair of the ring that this is submitted to.
    ///
    /// The kernel maps the scheme's buffer arena, one slot for each place of the request queue. Result:
    /// the arena's address. The scheme lives as long as the ring.
    SchemeRegister {
        /// Address of the name (`a` to `z`, `0` to `9`, `-`, `_`, `.`, `+`; at most 32 bytes).
        buffer: u64 = 0,
        /// Bytes of the name.
        length: u64 = 1,
        /// Bytes of a slot: a power of two from 512 to 65536.
        slot: u32 = 2,
        /// A namespace handle with the right to register, or [`CURRENT`].
        namespace: u64 = 3,
        /// File id of the scheme's root, which comes in an `OpenAt` or `UnlinkAt` of an absolute path.
        root: u64 = 4,
    }
    /// Makes a further ring for the caller. Result: its address plus its number (1 to 3).
    RingCreate {
        /// Sizes, packed.
        sizes: u32 = 0,
    }
    /// Makes a handle to one of the caller's rings. Who has it may send messages there. Result: the handle.
    ///
    /// It can be passed on like any other. Closing it does nothing to the ring; when the ring is gone, what it is used
    /// for is `EPIPE`. When the last handle to a ring closes, a wait for completions there ends, with zero.
    ///
    /// Errors: `EBADF` the caller has no such ring; `EINVAL` unknown flags; `EMFILE`, `ENOMEM`.
    RingHandle {
        /// Number of the ring among the caller's, or [`CURRENT`] for the one that this is submitted to.
        ring: u64 = 0,
        /// With [`port::FIXED_TAG`]: the tag of all messages that come through this handle.
        tag: u32 = 1,
        /// [`port`] flags.
        flags: u64 = 2,
    }
    /// Posts a completion with [`crate::CqeFlags::MESSAGE`] into the ring behind a handle. Result: zero; it is there.
    ///
    /// Messages of one ring to another arrive in the order in which they were submitted. While the target's completion
    /// queue has no room, the message waits, in the order of arrival: it is an operation of its sender, which can be
    /// cancelled and goes with it. The target's own operations have their places promised and take room first.
    ///
    /// Errors: `EBADF` no handle to a ring; `EINVAL` `extra` is too large; `EPIPE` the ring is gone, and the message did
    /// not arrive; `ETIMEDOUT` there was no room until the deadline; `ENOMEM`.
    MessageSend {
        /// A handle to the ring.
        fd: u64 = 0,
        /// Tag of the completion there, unless the handle has a fixed one.
        tag: u32 = 1,
        /// Result of the completion there, any number.
        value: u64 = 2,
        /// The 24 bits of `extra` of the completion there.
        extra: u32 = 3,
        /// Absolute nanoseconds of the monotonic clock until when to wait for room; zero not to wait; `u64::MAX` for
        /// ever.
        deadline: u64 = 4,
    }
    /// Puts a copy of a handle under the lowest free number of the target's handle table, and posts that number with
    /// [`crate::CqeFlags::MESSAGE`] and [`crate::CqeFlags::HANDLE`]. Otherwise as [`MessageSend`].
    ///
    /// Further errors: `EBADF` no such handle to send; `EMFILE` the target has no free number.
    MessageHandle {
        /// A handle to the ring.
        fd: u64 = 0,
        /// Tag of the completion there, unless the handle has a fixed one.
        tag: u32 = 1,
        /// The handle that is sent.
        sent: u64 = 2,
        /// The 24 bits of `extra` of the completion there.
        extra: u32 = 3,
        /// As in [`MessageSend`].
        deadline: u64 = 4,
    }
    /// Takes rights from the calling context for good: nothing gives them back, and a further `Restrict` only takes more.
    ///
    /// An entry with an opcode or a flag that is not listed completes with `EACCES` and does nothing. What is in flight goes
    /// on. Every ring, context and address space that a restricted context makes is restricted like it, and so is every
    /// context that anybody makes in such a space. Entering a ring and answering requests need no right.
    ///
    /// With [`restrict::HANDLES`] the context gets a handle table of its own, with those of its handles that are listed, under
    /// their numbers; all others are gone for it. What it makes or gets through these later is its own, so the opcodes say
    /// whether it can. With [`restrict::NO_NAMES`] no scheme is found by name: `OpenAt` and `UnlinkAt` with [`CURRENT`] are
    /// `EACCES`.
    ///
    /// Errors: `EACCES`; `EINVAL` unknown flags; `EBUSY` with [`restrict::HANDLES`], operations of the context are in flight,
    /// which could bring a handle; `ENOMEM`. An error changes nothing.
    Restrict {
        /// Opcodes 0 to 63 that may be used, a bit for each.
        low: u64 = 0,
        /// Opcodes 64 to 127 that may be used, a bit for each.
        high: u64 = 1,
        /// [`crate::SqeFlags`] that may be used.
        sqe_flags: u64 = 2,
        /// With [`restrict::HANDLES`]: handles 0 to 63 that are kept, a bit for each.
        handles: u64 = 3,
        /// [`restrict`] flags.
        flags: u64 = 4,
    }
    /// Makes signals pending for a context: sets bits in [`crate::layout::word::SIGNALS`] of its first ring, and ends its wait
    /// with `EINTR` if that has [`crate::enter::SIGNALS`] and one of them is not masked. Result: zero.
    ///
    /// The kernel gives no signal a meaning and interrupts nobody who does not wait; who asks for the wait looks at what is
    /// pending when it ends. What is pending stays across `ExecCommit`.
    ///
    /// Errors: `EBADF` no handle to a context; `ESRCH` it has ended; `EAGAIN` it is being replaced by another program.
    SignalRaise {
        /// The context, or [`CURRENT`].
        context: u64 = 0,
        /// The signals, a bit for each.
        signals: u64 = 1,
    }
    /// Moves the operations in flight of another ring of the caller to the ring that this is submitted to: each keeps its tag
    /// and completes here. What has completed there stays there to be taken, and what was not submitted yet can still be.
    /// Handles to the other ring lead here from then on, unless there are some to this ring. Together with [`RingCreate`] and
    /// [`RingDrop`] this resizes a ring that is in use.
    ///
    /// Result: how many completions are still promised in the other ring; zero if all has moved. Some stay while there is no
    /// room here for their completions, while the kernel works on one, and while one is tied to others (a chain, a limit): take
    /// completions off, wait for one there, and move again.
    ///
    /// Errors: `EBADF` the caller has no such ring; `EINVAL` it is this one; `EBUSY` something is registered with one of the
    /// two or held back there, or one is polled; `ENOMEM`.
    RingMove {
        /// Number of the other ring.
        from: u64 = 0,
    }
    /// Ends a further ring of the caller, with what it holds. Its memory is given back. Result: zero.
    ///
    /// Errors: `EBADF` the caller has no such ring, or it is its first one; `EBUSY` it is the one that this is submitted to,
    /// operations are in flight there, a scheme is served through it, it is polled, or something is registered with it.
    RingDrop {
        /// Number of the ring.
        ring: u64 = 0,
    }
    /// Takes the handle that came with a `Sendfd` request into the caller's handle table. Result: it.
    ObtainFd {
        /// Tag of the request.
        tag: u32 = 0,
    }
    /// Names the handler of `syscall` instructions that are not `ring_enter`, for this address space.
    CallHandler {
        /// Its first instruction.
        address: u64 = 0,
        /// Bytes of the range in which such an instruction ends the context.
        length: u64 = 1,
    }
    /// Names a 32-bit word that is zeroed and woken as a futex when the caller ends.
    EndWord {
        /// Address of the word, a multiple of four; zero for none.
        address: u64 = 0,
    }
    /// Bounds the entry before it, which must be linked to it and not be such a one itself (`EINVAL`).
    ///
    /// Its time runs from the start of that entry. When it comes, that entry is cancelled as with [`Strength::Ask`], and this
    /// one completes with `ETIMEDOUT`. If that entry ends first, this one completes with `ECANCELED`, and with
    /// [`SKIP_SUCCESS`](crate::SqeFlags::SKIP_SUCCESS) not at all. What is linked behind this one follows the entry before
    /// it, under that one's link.
    LinkTimeout {
        /// Nanoseconds: absolute on the monotonic clock, or from the start of the entry before.
        nanoseconds: u64 = 0,
        /// [`timeout`] flags.
        flags: u64 = 1,
        /// Nanoseconds after which what a daemon was asked to cancel is forced.
        grace: u64 = 2,
    }
    /// Keeps a handle's number: no new handle gets it but one whose entry names it, as often as it is free; see
    /// [`Sqe::group`]. So the entries of a chain can use a handle that an earlier one makes. Result: the number.
    ///
    /// `EBUSY` if there is a handle or it is reserved, `EMFILE` if all are taken. A copy of a handle table has the same
    /// numbers reserved; `ExecCommit` gives them back.
    HandleReserve {
        /// The number, or [`LOWEST`] for the lowest free one.
        fd: u64 = 0,
        /// One to reserve, zero to give it back (`EBADF` if it is not reserved); a handle that is there stays.
        reserve: u32 = 1,
    }
    /// Moves the cursor of a file description. Result: the new cursor.
    Seek {
        /// The handle.
        fd: u64 = 0,
        /// Offset, as a two's-complement number.
        offset: u64 = 1,
        /// 0 from the start, 1 from the cursor. (From the end: ask `Fsize` first.)
        whence: u32 = 2,
    }
    /// Fills slots of the ring's own table of files with those that handles lead to, or empties slots.
    ///
    /// A slot holds its file as a handle does, and is named by [`registered::file`](crate::registered::file) in the
    /// handle field of any operation but `Close` and `HandleFlags` that is put into the same ring. Only files with
    /// operations of their own can be registered, no contexts, spaces or tables. Result: slots done, from the first on. It
    /// may be fewer than asked for, as with a short read. Slots live as long as the ring: neither a fork nor an exec
    /// keeps them. Errors, if nothing was done: `EINVAL` (no slots, or beyond
    /// [`MOST_FILES`](crate::registered::MOST_FILES)), `EBADF` (a handle), `EFAULT`, `ENOMEM`.
    RegisterFiles {
        /// First slot.
        slot: u32 = 0,
        /// Address of one handle of 64 bits for each slot; [`NO_FILE`](crate::registered::NO_FILE) empties the slot. Zero
        /// empties all.
        buffer: u64 = 1,
        /// Number of slots.
        count: u32 = 2,
    }
    /// Fills a slot of the ring's registered buffers with memory of the caller, or empties it. Result: zero.
    ///
    /// The pages are found once and stay what they are, whatever becomes of the caller's mapping: memory that is
    /// unmapped or protected later is still what operations with the buffer read and write, and is free only when the slot
    /// is. An operation names it by [`registered::buffer`](crate::registered::buffer) in its buffer field, if a daemon
    /// serves it and the buffer is not a path to open or to remove; it looks into the slot whenever bytes move, so a slot
    /// that was emptied meanwhile is `EFAULT`. Slots live as long as the ring: neither a fork nor an exec keeps them.
    /// Errors: `EINVAL` (the slot, or more than [`MOST_PAGES`](crate::registered::MOST_PAGES)), `EFAULT` (a page that the
    /// caller cannot write), `EACCES` (a ring or an arena), `ENOENT` (nothing to empty), `ENOMEM`.
    RegisterBuffer {
        /// The slot.
        slot: u32 = 0,
        /// Address of the memory.
        address: u64 = 1,
        /// Bytes of it; zero empties the slot.
        length: u64 = 2,
    }
    /// Makes a group of buffers that the program provides, or takes one away. Result: zero.
    ///
    /// A `Read`, `Getdents` or `Fpath` of a daemon's file with the flag `BUFFER_SELECT` names a group of its ring in place of
    /// a buffer, whose word is not read. When its bytes have come, the kernel takes the next buffer of the group, and the
    /// completion has the flag `BUFFER` and the buffer's id in the low 16 bits of `extra`. It asks for `length` bytes, or
    /// with zero for as many as a buffer takes, but for no more than `size`. Nothing is taken for an operation that fails, is
    /// cancelled, or brings no bytes. If there is no buffer then, it ends with `ENOBUFS`, and the bytes are lost unless they
    /// can be read again (a cursor that the kernel keeps stays where it was). A buffer that is shorter than `size` is
    /// `EINVAL` for the operation, one that cannot be written `EFAULT`; both are named, and done with.
    ///
    /// With [`group::INCREMENTAL`] a buffer is used from its start on, piece by piece, until fewer than `size` bytes are left:
    /// completions whose buffer goes on have the flag `BUFFER_MORE`. Their order in the queue is that of the pieces.
    ///
    /// The program provides buffers through the group's memory ([`crate::group`]), without entering the kernel. The memory
    /// stays what it was when the group was made, as that of a registered buffer. A number of filled descriptors that cannot
    /// be ends the context. Groups live as long as the ring. An unknown group is `ENOENT`, a file that the kernel
    /// serves `EOPNOTSUPP`. Errors here: `EINVAL` (a field, or memory that does not begin at a multiple of 16), `EEXIST`,
    /// `ENFILE` (16 groups a ring), `ENOENT` (nothing to take away), and those of `RegisterBuffer` for the memory.
    RegisterGroup {
        /// The group's id, 16 bits.
        group: u32 = 0,
        /// Address of the memory of [`crate::group::bytes`] bytes.
        address: u64 = 1,
        /// Number of entries, a power of two up to [`MOST_ENTRIES`](crate::group::MOST_ENTRIES); zero takes the group away.
        entries: u32 = 2,
        /// Bytes that every buffer has at least, 1 to [`MOST_BYTES`](crate::group::MOST_BYTES).
        size: u32 = 3,
        /// Flags of [`group`].
        flags: u64 = 4,
    }
}

/// Flags of [`RingHandle`].
pub mod port {
    /// All messages through this handle have its tag, whatever their senders say.
    pub const FIXED_TAG: u64 = 1;
}

/// Numbers of [`RingPoll`].
pub mod polling {
    /// The longest time without an entry.
    pub const LONGEST: u64 = 1_000_000_000;
}
/// Flags of [`Restrict`].
pub mod restrict {
    /// Only listed handles are kept, and no registered files.
    pub const HANDLES: u64 = 1;
    /// No scheme is found by name.
    pub const NO_NAMES: u64 = 2;
}

/// Flags of [`Timeout`].
pub mod timeout {
    /// The time is absolute.
    pub const ABSOLUTE: u64 = 1;
}

/// How hard to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Strength {
    /// The daemon is asked; the operation's own result wins if it comes within the grace.
    Ask = 0,
    /// The operation ends now with `ECANCELED`, effect unknown.
    Force = 1,
}

/// Flags of [`CancelTag`], [`CancelHandle`] and [`CancelAll`], beside the strength in the same word.
pub mod cancel {
    /// Only one of the operations: the one that started last.
    pub const FIRST: u32 = 1 << 8;
}

/// Events of a file; the numbers are those of Redox.
pub mod event {
    /// A read would not block.
    pub const READ: u64 = 1;
    /// A write would not block.
    pub const WRITE: u64 = 2;
    /// All events.
    pub const ALL: u64 = READ | WRITE;
}

/// Rights and flags of [`Map`] and [`Protect`]; the numbers are those of Redox.
pub mod map {
    /// Pages can be executed.
    pub const EXECUTE: u64 = 0x1_0000;
    /// Pages can be written.
    pub const WRITE: u64 = 0x2_0000;
    /// Pages can be read.
    pub const READ: u64 = 0x4_0000;
    /// A fork shares the memory instead of copying it.
    pub const SHARED: u64 = 1;
    /// A fork copies the memory.
    pub const PRIVATE: u64 = 2;
    /// Exactly at the address; what is there is unmapped.
    pub const FIXED: u64 = 4;
    /// Exactly at the address; `EEXIST` if something is there.
    pub const FIXED_NOREPLACE: u64 = 0xc;
    /// Anywhere, and the page below stays empty: a guard below a stack.
    pub const GUARD: u64 = 0x10;
    /// Every page is there when the operation completes, instead of from its first use on.
    pub const POPULATE: u64 = 0x20;
}

/// What [`Advise`] can say; the numbers are those of `madvise` on Linux.
pub mod advice {
    /// The pages will be used: those of private memory are made ready, as far as there is memory.
    pub const WILLNEED: u64 = 3;
    /// The contents of private pages are not needed: they are given back, and are zero, or what the file has, when they are
    /// touched again.
    pub const DONTNEED: u64 = 4;
}

/// Flags of [`ContextCreate`], above the 32 bits of the ring's sizes.
pub mod context {
    /// It starts at once.
    pub const START: u64 = 1 << 32;
    /// Its base of `fs` is its argument, so that a thread finds its block before it has done anything; otherwise it is zero.
    pub const FS: u64 = 1 << 33;
}

/// Flags of [`Exit`].
pub mod exit {
    /// Every context of the address space ends.
    pub const SPACE: u64 = 1;
}

/// Flags of a handle.
pub mod handle {
    /// It closes when its holder executes another program.
    pub const CLOSE_ON_EXEC: u64 = 1;
}

/// Flags of [`RegisterGroup`].
pub mod group {
    /// A buffer is used piece by piece.
    pub const INCREMENTAL: u64 = 1;
}
