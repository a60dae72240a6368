//! What a request asks, with its arguments: one struct for each kind.
#![forbid(unsafe_code)]

use super::payload::Output;
use super::request::Request;
use ring_abi::Opcode;
use ring_abi::args::map;

/// What a request asks. Kinds that a daemon does not know it answers with [`NOSYS`](ring_abi::Errno::NOSYS).
///
/// The file that is asked is [`Request::file`].
#[derive(Debug)]
pub enum Body<'r> {
    /// Open the file with this path, which starts at the directory that is asked. Answer: [`Answer::File`](super::Answer::File).
    Open(Open<'r>),
    /// Open another file from this one, by a name.
    Dup(Dup<'r>),
    /// Read. Answer: how many bytes were written to the output.
    Read(Read<'r>),
    /// Write. Answer: how many bytes were taken.
    Write(Write<'r>),
    /// Length of the file.
    Length,
    /// Set the length.
    Truncate(u64),
    /// Change the mode.
    Mode(u32),
    /// Change the owner: user and group, `u32::MAX` to keep one.
    Owner(u32, u32),
    /// A command of `fcntl` and its argument.
    Control(u64, u64),
    /// Which of the events the file has now. Those it gets later: [`Scheme::send_events`](super::Scheme::send_events).
    Events(Events),
    /// A handle is sent to this file's daemon: [`Request::take_handle`].
    Sent(Sent),
    /// The client wants a handle from this file's daemon. Answer: [`Answer::Handle`](super::Answer::Handle).
    Wanted(Sent),
    /// The path below the scheme.
    Path(Output<'r>),
    /// Rename the file to this path below the scheme.
    Rename(Path<'r>),
    /// Give the file this path too.
    Link(Path<'r>),
    /// Remove the name with this path, which starts at the directory that is asked.
    Unlink(Path<'r>),
    /// What `stat` tells.
    Stat(Stat<'r>),
    /// What `statvfs` tells.
    Space(Space<'r>),
    /// Entries of a directory.
    Entries(Entries<'r>),
    /// Write the file back.
    Sync,
    /// Set the times.
    Times(Times<'r>),
    /// A call that only this daemon understands.
    Call(Call<'r>),
    /// Map a part of the file into a client. Answer: [`Answer::Pages`](super::Answer::Pages) if all of it lies in a row, or
    /// [`Answer::OnDemand`](super::Answer::OnDemand); `ENXIO` if nothing of it is there, `EACCES` if it may not be written.
    Map(Map),
    /// Pages that somebody touches who has the file mapped. The first one is needed, and those behind it are asked for ahead of
    /// their use. Answer: [`Answer::Pages`](super::Answer::Pages), with as many as lie in a row; `ENXIO` if the first one is
    /// not there: who touched it gets a bus error, as with any other error.
    PageIn(Map),
    /// Nobody holds the file any more. No answer is wanted.
    Closed,
    /// Anything else.
    Other,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who {
    /// Process.
    pub pid: u64,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A path with what is to be done there.
#[derive(Clone, Copy, Debug)]
pub struct Path<'r> {
    /// The path, without a slash at its start.
    pub path: &'r str,
    /// Flags of the operation.
    pub flags: u64,
    /// Who asks.
    pub who: Who,
}

/// An open.
#[derive(Clone, Copy, Debug)]
pub struct Open<'r> {
    /// The path, without a slash at its start; it may be empty.
    pub path: &'r str,
    /// Flags `O_*`.
    pub flags: u64,
    /// Mode of a file that is made.
    pub mode: u16,
    /// Who asks.
    pub who: Who,
}

/// A name that only this daemon understands.
#[derive(Clone, Copy, Debug)]
pub struct Dup<'r> {
    /// The name.
    pub name: &'r [u8],
}

/// A read.
#[derive(Debug)]
pub struct Read<'r> {
    /// Where in the file; `u64::MAX` for a [`Stream`](super::Answer::Stream).
    pub offset: u64,
    /// Where the bytes go.
    pub out: Output<'r>,
}

/// A write.
#[derive(Clone, Copy, Debug)]
pub struct Write<'r> {
    /// Where in the file; `u64::MAX` for a [`Stream`](super::Answer::Stream).
    pub offset: u64,
    /// The bytes.
    pub bytes: &'r [u8],
}

/// A wish for events of [`ring_abi::args::event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Events {
    /// The events.
    pub mask: u64,
}

/// A handle on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Flags that both sides agree on.
    pub flags: u64,
    /// A number that both sides agree on.
    pub argument: u64,
}

/// A request for entries of a directory; see [`Dirents`](super::Dirents).
#[derive(Debug)]
pub struct Entries<'r> {
    /// Where to go on: zero, or what an entry was given as the place behind it.
    pub start: u64,
    /// Where the entries go.
    pub out: Output<'r>,
}

/// A request for what `stat` tells.
#[derive(Debug)]
pub struct Stat<'r> {
    /// Where a [`syscall::Stat`] goes.
    pub out: Output<'r>,
}

/// A request for what `statvfs` tells.
#[derive(Debug)]
pub struct Space<'r> {
    /// Where a [`syscall::StatVfs`] goes.
    pub out: Output<'r>,
}

/// Two `TimeSpec`s.
#[derive(Clone, Copy, Debug)]
pub struct Times<'r> {
    /// Access and modification time as a client wrote them.
    pub bytes: &'r [u8],
}

/// A wish for pages of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map {
    /// Where in the file, a multiple of 4096.
    pub offset: u64,
    /// Bytes, a multiple of 4096.
    pub length: u64,
    /// What is written is to be seen in the file, and the other way round. Otherwise the pages will only be read.
    pub shared: bool,
    /// The pages are to be written; of no meaning unless they are shared.
    pub written: bool,
}

impl Map {
    fn new(length: u64, flags: u64, offset: u64) -> Map {
        Map { offset, length, shared: flags & map::SHARED != 0, written: flags & map::WRITE != 0 }
    }
}

/// A call.
#[derive(Debug)]
pub struct Call<'r> {
    /// By custom what is to be done.
    pub verb: u64,
    /// A word for it.
    pub argument: u64,
    /// The client's bytes. What is answered is written over them.
    pub buffer: &'r mut [u8],
    /// How many bytes at the start of the buffer go back to the client.
    pub written: &'r mut usize,
}

impl Request {
    /// What is asked.
    #[inline(always)]
    pub fn body(&mut self) -> Body<'_> {
        const READ: u8 = Opcode::Read.raw();
        const WRITE: u8 = Opcode::Write.raw();
        match self.kind as u8 {
            READ => Body::Read(Read { offset: self.args[3], out: self.output() }),
            WRITE => Body::Write(Write { offset: self.args[3], bytes: self.input() }),
            _ => self.other_body(),
        }
    }

    /// The kinds that are not worth a straight line.
    #[inline(always)]
    fn other_body(&mut self) -> Body<'_> {
        let [_, a, b, c, d, _] = self.args;
        let Some(opcode) = self.opcode() else { return Body::Other };
        match opcode {
            Opcode::OpenAt => {
                let Path { path, who, .. } = self.path(c);
                Body::Open(Open { path, flags: c & !0xffff, mode: c as u16, who })
            }
            Opcode::UnlinkAt => Body::Unlink(self.path(c)),
            Opcode::Frename => Body::Rename(self.path(0)),
            Opcode::Flink => Body::Link(self.path(0)),
            Opcode::Dup => Body::Dup(Dup { name: self.input() }),
            Opcode::Fsize => Body::Length,
            Opcode::Ftruncate => Body::Truncate(a),
            Opcode::Fchmod => Body::Mode(a as u32),
            Opcode::Fchown => Body::Owner(a as u32, b as u32),
            Opcode::Fcntl => Body::Control(a, b),
            Opcode::Fevent => Body::Events(Events { mask: a }),
            Opcode::Sendfd => Body::Sent(Sent { flags: b, argument: c }),
            Opcode::Recvfd => Body::Wanted(Sent { flags: a, argument: b }),
            Opcode::Fpath => Body::Path(self.output()),
            Opcode::Fstat => Body::Stat(Stat { out: self.output() }),
            Opcode::Fstatvfs => Body::Space(Space { out: self.output() }),
            Opcode::Getdents => Body::Entries(Entries { start: d, out: self.output() }),
            Opcode::Fsync => Body::Sync,
            Opcode::Futimens => Body::Times(Times { bytes: self.input() }),
            Opcode::Call => Body::Call(self.call()),
            Opcode::MmapPrep => Body::Map(Map::new(a, b, c)),
            Opcode::RequestMmap => Body::PageIn(Map::new(a, b, c)),
            Opcode::CloseMsg => Body::Closed,
            _ => Body::Other,
        }
    }

    /// Who asks.
    pub fn who(&self) -> Who {
        let owner = self.args[5];
        Who { pid: self.caller, uid: owner as u32, gid: (owner >> 32) as u32 }
    }

    #[inline(always)]
    fn input(&self) -> &[u8] {
        self.slot().bytes(self)
    }

    #[inline(always)]
    fn output(&mut self) -> Output<'_> {
        let (room, written) = self.slot().bytes_mut(&mut self.written);
        Output::new(room, written)
    }

    fn call(&mut self) -> Call<'_> {
        let (verb, argument) = (self.args[3], self.args[4]);
        let (buffer, written) = self.slot().bytes_mut(&mut self.written);
        Call { verb, argument, buffer, written }
    }

    #[inline(always)]
    fn path(&self, flags: u64) -> Path<'_> {
        Path { path: self.slot().text(self), flags, who: self.who() }
    }
}
