//! A request of a client, and its one answer.
#![forbid(unsafe_code)]

use super::payload::Slot;
use crate::op::file::Fd;
use crate::op::handle;
use crate::ring::current::local;
use crate::ring::ends::Full;
use alloc::string::String;
use core::marker::PhantomData;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll};
use ring_abi::cqe::POSITIONED;
use ring_abi::{Cqe, CqeFlags, CqeKind, Errno, Opcode, SqeFlags};

/// What a request can be answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A number: for a read or a write the count of bytes, otherwise mostly zero.
    Number(u64),
    /// A file was opened: this id is what later requests call it. The kernel keeps its cursor.
    File(u64),
    /// As [`File`](Self::File), but its reads and writes come in order and without offsets.
    Stream(u64),
    /// A handle of this daemon's goes to the client, and is closed here.
    Handle(Fd),
    /// Pages of this daemon's memory: the address of the first, and how many there are of those that are asked for. They must
    /// stay what they are until the file is closed.
    Pages(u64, u32),
    /// The file can be mapped, and is asked for its pages when they are touched ([`Body::PageIn`](super::Body::PageIn)).
    OnDemand,
    /// A symbolic link is in the way: the client is to go on with this path, which is absolute (`/scheme/...` or
    /// `/...`) or starts at this scheme's root. It may contain `..`.
    Link(String),
}

impl From<u64> for Answer {
    #[inline(always)]
    fn from(number: u64) -> Answer {
        Answer::Number(number)
    }
}

impl From<usize> for Answer {
    #[inline(always)]
    fn from(number: usize) -> Answer {
        Answer::Number(number as u64)
    }
}

impl From<()> for Answer {
    fn from((): ()) -> Answer {
        Answer::Number(0)
    }
}

/// A request that was not answered yet. Dropping it answers `EIO`.
#[must_use = "dropping a request answers EIO"]
pub struct Request {
    pub(super) tag: u32,
    /// Opcode, and flags in the next byte.
    pub(super) kind: u32,
    pub(super) args: [u64; 6],
    pub(super) caller: u64,
    /// Bytes of the slot that were written for the client.
    pub(super) written: usize,
    /// It may be among the pending ones; not so where a server answers before it returns.
    pub(super) tracked: bool,
    /// The queues of the thread that serves: a request stays there.
    stays: PhantomData<*const ()>,
}

impl Request {
    /// The request that these words of the queue are.
    #[inline(always)]
    pub(super) fn new(words: [u64; 8]) -> Request {
        let [head, a, b, c, d, e, f, caller] = words;
        let (tag, kind) = ((head >> 32) as u32, head as u32);
        Request { tag, kind, args: [a, b, c, d, e, f], caller, written: 0, tracked: true, stays: PhantomData }
    }

    /// The same, where opcode and flags are known to be these, as the first word says.
    #[inline(always)]
    pub(super) fn known<const KIND: u16>(mut words: [u64; 8]) -> Request {
        words[0] = words[0] & !0xffff_ffff | u64::from(KIND);
        Request::new(words)
    }

    /// What is asked; see [`body`](Self::body) for the arguments.
    #[inline(always)]
    pub fn opcode(&self) -> Option<Opcode> {
        Opcode::from_raw(self.kind as u8)
    }

    /// The id of the file that is asked. What opened it chose the id; a scheme's root has the id that it was
    /// registered with.
    #[inline(always)]
    pub fn file(&self) -> u64 {
        self.args[0]
    }

    /// Its tag, by which the kernel knows it.
    pub fn tag(&self) -> u32 {
        self.tag
    }

    /// Nobody waits for an answer.
    #[inline(always)]
    pub(super) fn is_oneway(&self) -> bool {
        (self.kind >> 8) as u8 & SqeFlags::ONEWAY.bits() != 0
    }

    /// The client's bytes, which came with the request or are to be written.
    #[inline(always)]
    pub(super) fn slot(&self) -> Slot {
        Slot::new(self.args[1], self.args[2])
    }

    /// Answers it. The kernel gets the answer when this thread next enters it, at the latest to wait.
    ///
    /// A count of bytes that is greater than what was written is cut; where the client gets a whole structure,
    /// what was not written is zero.
    #[inline(always)]
    pub fn reply<A: Into<Answer>>(mut self, result: Result<A, Errno>) {
        if !self.is_oneway() {
            let entry = match result {
                Ok(answer) => self.success(answer.into()),
                Err(error) => Cqe::new(self.tag, Err(error)),
            };
            self.push(entry);
        }
        mem::forget(self);
    }

    /// Whether the client waits for any number of answers; see [`send`](Self::send).
    pub fn is_repeated(&self) -> bool {
        (self.kind >> 8) as u8 & SqeFlags::MULTISHOT.bits() != 0
    }

    /// Answers it, and wants to be asked again: the client gets this and goes on waiting. The next request comes as soon as
    /// the client has room for its answer, so what comes in until then waits here as it always does.
    ///
    /// With an error, and where the client waits for one answer only, it is the same as [`reply`](Self::reply).
    pub fn send<A: Into<Answer>>(mut self, result: Result<A, Errno>) {
        let answer = match result {
            Ok(answer) if self.is_repeated() => answer.into(),
            last => return self.reply(last),
        };
        let mut entry = self.success(answer);
        entry.flags |= CqeFlags::MORE.bits();
        self.push(entry);
        mem::forget(self);
    }

    #[inline(always)]
    fn success(&mut self, answer: Answer) -> Cqe {
        match answer {
            Answer::Number(number) => self.number(number),
            Answer::File(id) => Cqe::new(self.tag, Ok(id)).with_extra(POSITIONED),
            Answer::Stream(id) => Cqe::new(self.tag, Ok(id)),
            Answer::Handle(fd) => Cqe::new(self.tag, Ok(fd.0)).with_kind(CqeKind::WithFd),
            Answer::Pages(address, count) => Cqe::new(self.tag, Ok(address)).with_extra(count),
            Answer::OnDemand => Cqe::new(self.tag, Ok(0)),
            Answer::Link(path) => self.link(&path),
        }
    }

    #[inline(always)]
    fn number(&mut self, number: u64) -> Cqe {
        const READ: u8 = Opcode::Read.raw();
        const WRITE: u8 = Opcode::Write.raw();
        match self.kind as u8 {
            READ => Cqe::new(self.tag, Ok(number.min(self.written as u64))),
            WRITE => Cqe::new(self.tag, Ok(number)),
            _ => self.other_number(number),
        }
    }

    /// The answers that are not worth a straight line.
    #[inline(never)]
    fn other_number(&mut self, number: u64) -> Cqe {
        let entry = Cqe::new(self.tag, Ok(number));
        match self.opcode() {
            Some(Opcode::Getdents | Opcode::Fpath) => Cqe::new(self.tag, Ok(number.min(self.written as u64))),
            Some(Opcode::Fstat | Opcode::Fstatvfs) => {
                let (slot, written) = self.slot().bytes_mut(&mut self.written);
                slot.get_mut(*written..).unwrap_or_default().fill(0);
                entry
            }
            Some(Opcode::Call) => entry.with_extra(self.written as u32),
            _ => entry,
        }
    }

    #[cold]
    fn link(&mut self, path: &str) -> Cqe {
        let refusal = Cqe::new(self.tag, Err(Errno::XDEV));
        if self.opcode() != Some(Opcode::OpenAt) {
            return refusal; // only an open can go on elsewhere
        }
        // A link's path may be longer than the path that led to it: all of the slot is there for it.
        let room = u64::from(local().service.slot_bytes.get());
        let slot = Slot::new(self.args[1], self.args[2].max(room));
        let (slot, _) = slot.bytes_mut(&mut self.written);
        let Some(room) = slot.get_mut(..path.len()) else {
            return Cqe::new(self.tag, Err(Errno::NAMETOOLONG));
        };
        room.copy_from_slice(path.as_bytes());
        refusal.with_extra(path.len() as u32)
    }

    /// Pushes the answer.
    #[inline(always)]
    fn push(&self, entry: Cqe) {
        if self.tracked {
            local().service.pending.answered(self.tag);
        }
        push(entry);
    }

    /// Takes the handle that came with it, if it is a [`Sent`](super::Body::Sent).
    pub async fn take_handle(&mut self) -> Result<Fd, Errno> {
        handle::obtain_fd(self.tag).await
    }

    /// Whether the client no longer waits for the answer.
    pub fn is_cancelled(&self) -> bool {
        local().service.pending.is_cancelled(self.tag)
    }

    /// Ends when the client no longer waits for the answer. Whatever was begun may be given up then; the request
    /// is to be answered all the same, with `ECANCELED` if nothing was done.
    pub fn cancelled(&self) -> Cancelled {
        Cancelled { tag: self.tag, stays: PhantomData }
    }
}

impl Drop for Request {
    #[cold]
    fn drop(&mut self) {
        if !self.is_oneway() {
            self.push(Cqe::new(self.tag, Err(Errno::IO)));
        }
    }
}

/// Ends when a client no longer waits; see [`Request::cancelled`].
#[derive(Debug)]
pub struct Cancelled {
    tag: u32,
    stays: PhantomData<*const ()>,
}

impl Future for Cancelled {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let pending = &local().service.pending;
        if pending.is_cancelled(self.tag) {
            return Poll::Ready(());
        }
        pending.tell(self.tag, cx.waker());
        Poll::Pending
    }
}

/// Pushes an entry into the reply queue.
#[inline(always)]
pub(super) fn push(entry: Cqe) {
    if let Err(Full) = local().service.reply(entry.to_words()) {
        push_when_there_is_room(entry);
    }
}

/// The reply queue is full: lets the kernel take the replies. Without a service pair (in the child of a fork) there
/// is nobody to reply to.
#[cold]
#[inline(never)]
fn push_when_there_is_room(entry: Cqe) {
    let local = local();
    while local.ends().sizes.service.is_some() {
        local.flush();
        if local.service.reply(entry.to_words()).is_ok() {
            return;
        }
    }
}
