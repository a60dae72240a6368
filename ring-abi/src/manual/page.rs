//! What the manual says of an opcode beside its doc comments.
#![forbid(unsafe_code)]

use super::{
    basics, contexts, files, handles, memory, messages, names, registered, serve, source, time, waits,
};
use crate::{Errno, Opcode, Sqe};
use alloc::string::String;

/// A page.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// What a successful completion has as its result.
    pub result: &'static str,
    /// Errors, and when; beside those of every operation, and of every one that a daemon answers.
    pub errors: &'static [(Errno, &'static str)],
    /// An entry; none where nobody can make one that means anything.
    pub example: Option<Example>,
}

/// An example, which is a function of a page's file.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    name: &'static str,
    file: &'static str,
    /// Makes the entry.
    pub entry: fn() -> Sqe,
    /// Decodes an entry and encodes what came out, without flags and group.
    pub again: fn(&Sqe) -> Result<Sqe, Errno>,
}

impl Example {
    /// Its text.
    pub fn text(&self) -> String {
        source::body(self.file, self.name)
    }
}

/// A page: opcode, example function, result, errors; or only a result.
macro_rules! describe {
    ($name:ident, $example:ident, $result:literal, [$($error:ident: $why:literal),* $(,)?]) => {
        $crate::manual::Page {
            result: $result,
            errors: &[$(($crate::Errno::$error, $why)),*],
            example: Some($crate::manual::page::example!($name, $example)),
        }
    };
    ($result:literal) => {
        $crate::manual::Page { result: $result, errors: &[], example: None }
    };
}

/// An example out of the file that this stands in, whose text is `FILE`.
macro_rules! example {
    ($name:ident, $example:ident) => {
        $crate::manual::page::Example::new(stringify!($example), FILE, $example, |entry| {
            Ok($crate::args::$name::decode(entry)?.encode(entry.tag))
        })
    };
}

pub(super) use {describe, example};

impl Example {
    /// An example of this name in the text of a file.
    pub(super) const fn new(
        name: &'static str,
        file: &'static str,
        entry: fn() -> Sqe,
        again: fn(&Sqe) -> Result<Sqe, Errno>,
    ) -> Example {
        Example { name, file, entry, again }
    }
}

/// The page of an opcode.
#[expect(clippy::too_many_lines, reason = "a line for each opcode, so that none is forgotten")]
pub const fn page(opcode: Opcode) -> Page {
    match opcode {
        Opcode::Close => handles::CLOSE,
        Opcode::Dup => names::DUP,
        Opcode::Read => files::READ,
        Opcode::Write => files::WRITE,
        Opcode::Fsize => files::FSIZE,
        Opcode::Fchmod => files::FCHMOD,
        Opcode::Fchown => files::FCHOWN,
        Opcode::Fcntl => files::FCNTL,
        Opcode::Fevent => serve::FEVENT,
        Opcode::Sendfd => handles::SENDFD,
        Opcode::Fpath => names::FPATH,
        Opcode::Frename => names::FRENAME,
        Opcode::Fstat => files::FSTAT,
        Opcode::Fstatvfs => files::FSTATVFS,
        Opcode::Fsync => files::FSYNC,
        Opcode::Ftruncate => files::FTRUNCATE,
        Opcode::Futimens => files::FUTIMENS,
        Opcode::MmapPrep => serve::MMAP_PREP,
        Opcode::RequestMmap => serve::REQUEST_MMAP,
        Opcode::Munmap | Opcode::Detach => serve::NOT_ASKED,
        Opcode::Mremap | Opcode::Msync | Opcode::StdFsCall | Opcode::Trace => serve::RESERVED,
        Opcode::Cancel => serve::CANCEL,
        Opcode::Getdents => files::GETDENTS,
        Opcode::CloseMsg => serve::CLOSE_MSG,
        Opcode::Call => files::CALL,
        Opcode::OpenAt => names::OPEN_AT,
        Opcode::Flink => names::FLINK,
        Opcode::Recvfd => handles::RECVFD,
        Opcode::UnlinkAt => names::UNLINK_AT,
        Opcode::Nop => basics::NOP,
        Opcode::Probe => basics::PROBE,
        Opcode::Timeout => time::TIMEOUT,
        Opcode::CancelTag => time::CANCEL_TAG,
        Opcode::Poll => waits::POLL,
        Opcode::FutexWait => waits::FUTEX_WAIT,
        Opcode::FutexWake => waits::FUTEX_WAKE,
        Opcode::FutexSwap => waits::FUTEX_SWAP,
        Opcode::Map => memory::MAP,
        Opcode::Unmap => memory::UNMAP,
        Opcode::Protect => memory::PROTECT,
        Opcode::MapFile => memory::MAP_FILE,
        Opcode::Advise => memory::ADVISE,
        Opcode::SpaceCreate => memory::SPACE_CREATE,
        Opcode::SpaceFork => memory::SPACE_FORK,
        Opcode::SpaceWrite => memory::SPACE_WRITE,
        Opcode::ExecCommit => memory::EXEC_COMMIT,
        Opcode::ContextCreate => contexts::CONTEXT_CREATE,
        Opcode::ContextRegs => contexts::CONTEXT_REGS,
        Opcode::ContextStart => contexts::CONTEXT_START,
        Opcode::ContextStop => contexts::CONTEXT_STOP,
        Opcode::ContextKill => contexts::CONTEXT_KILL,
        Opcode::ContextWait => contexts::CONTEXT_WAIT,
        Opcode::ContextAffinity => contexts::CONTEXT_AFFINITY,
        Opcode::ContextIdentity => contexts::CONTEXT_IDENTITY,
        Opcode::Exit => contexts::EXIT,
        Opcode::TableCreate => handles::TABLE_CREATE,
        Opcode::HandleDup => handles::HANDLE_DUP,
        Opcode::HandleFlags => handles::HANDLE_FLAGS,
        Opcode::SchemeRegister => serve::SCHEME_REGISTER,
        Opcode::RingCreate => basics::RING_CREATE,
        Opcode::ObtainFd => handles::OBTAIN_FD,
        Opcode::CallHandler => contexts::CALL_HANDLER,
        Opcode::EndWord => contexts::END_WORD,
        Opcode::Seek => files::SEEK,
        Opcode::Interval => time::INTERVAL,
        Opcode::TimeoutUpdate => time::TIMEOUT_UPDATE,
        Opcode::TimeoutRemove => time::TIMEOUT_REMOVE,
        Opcode::CancelHandle => time::CANCEL_HANDLE,
        Opcode::CancelAll => time::CANCEL_ALL,
        Opcode::LinkTimeout => time::LINK_TIMEOUT,
        Opcode::HandleReserve => handles::HANDLE_RESERVE,
        Opcode::RegisterFiles => registered::REGISTER_FILES,
        Opcode::RegisterBuffer => registered::REGISTER_BUFFER,
        Opcode::RegisterGroup => registered::REGISTER_GROUP,
        Opcode::ContextWeight => contexts::CONTEXT_WEIGHT,
        Opcode::RingHandle => messages::RING_HANDLE,
        Opcode::MessageSend => messages::MESSAGE_SEND,
        Opcode::MessageHandle => messages::MESSAGE_HANDLE,
        Opcode::Restrict => messages::RESTRICT,
        Opcode::SignalRaise => messages::SIGNAL_RAISE,
        Opcode::RingMove => messages::RING_MOVE,
        Opcode::RingDrop => messages::RING_DROP,
        Opcode::RingPoll => messages::RING_POLL,
        Opcode::FutexWaitMany => waits::FUTEX_WAIT_MANY,
    }
}
