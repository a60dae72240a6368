//! What this process knows about itself: current directory, default scheme, mask, and its `proc` handle.
//!
//! It comes in the auxiliary vector (see [`crate::stack::auxv`]), which is looked at when first asked, and goes
//! on to the next program the same way. Everything is behind one lock that is held for a few instructions and never while waiting.
#![forbid(unsafe_code)]

use crate::path::{Canonical, canonicalise};
use crate::protocol::{Target, Verb, Wait, pair, wait_status};
use crate::stack::auxv;
use alloc::string::String;
use ring_abi::Errno;
use ring_abi::context::End;
use spin::Mutex;
use uring::op::{self, Fd};
use uring::start::env;

/// The scheme of plain absolute paths until somebody says otherwise.
pub const DEFAULT_SCHEME: &str = "initfs";

#[derive(Debug)]
struct Process {
    directory: Canonical,
    default_scheme: String,
    umask: u32,
    proc: Option<Fd>,
    namespace: Option<Fd>,
    /// Zero until it was asked for.
    id: u32,
}

/// `None` until the first question.
static PROCESS: Mutex<Option<Process>> = Mutex::new(None);

impl Process {
    /// What the auxiliary vector says.
    fn inherited() -> Process {
        let scheme = env::auxiliary_bytes(auxv::DEFAULT_SCHEME_POINTER, auxv::DEFAULT_SCHEME_LENGTH)
            .and_then(|name| core::str::from_utf8(name).ok())
            .filter(|name| crate::path::is_scheme_name(name))
            .unwrap_or(DEFAULT_SCHEME);
        let directory = env::auxiliary_bytes(auxv::CWD_POINTER, auxv::CWD_LENGTH)
            .and_then(|path| canonicalise(&Canonical::schemes(), scheme, path).ok())
            .or_else(|| Canonical::root_of(scheme).ok());
        Process {
            directory: directory.unwrap_or_else(Canonical::schemes),
            default_scheme: String::from(scheme),
            umask: env::auxiliary(auxv::UMASK).map_or(0o022, |mask| mask as u32 & 0o777),
            proc: env::auxiliary(auxv::PROC_FD).map(Fd),
            namespace: env::auxiliary(auxv::NS_FD).map(Fd),
            id: 0,
        }
    }
}

fn with<T>(act: impl FnOnce(&mut Process) -> T) -> T {
    act(PROCESS.lock().get_or_insert_with(Process::inherited))
}

/// What a new program inherits of what this one knows.
#[derive(Clone, Debug)]
pub struct Inheritance {
    /// The current directory.
    pub directory: Canonical,
    /// The scheme of plain absolute paths.
    pub default_scheme: String,
    /// Mode bits that new files do not get.
    pub umask: u32,
    /// The handle that stands for the process.
    pub proc: Option<Fd>,
    /// The namespace's handle.
    pub namespace: Option<Fd>,
}

/// What a new program would inherit now.
pub fn inheritance() -> Inheritance {
    with(|process| Inheritance {
        directory: process.directory.clone(),
        default_scheme: process.default_scheme.clone(),
        umask: process.umask,
        proc: process.proc,
        namespace: process.namespace,
    })
}

/// Makes a path canonical as this process means it.
pub fn canonical(path: &[u8]) -> Result<Canonical, Errno> {
    with(|process| canonicalise(&process.directory, &process.default_scheme, path))
}

/// Mode bits that new files do not get.
pub(crate) fn mask() -> u32 {
    with(|process| process.umask)
}

/// Names the scheme that plain absolute paths lie in, for this process and those that it starts.
pub fn set_default_scheme(scheme: &str) -> Result<(), Errno> {
    if !crate::path::is_scheme_name(scheme) {
        return Err(Errno::INVAL);
    }
    with(|process| process.default_scheme = String::from(scheme));
    Ok(())
}

/// Makes a path that was found to be a directory's the current one.
pub(crate) fn set_directory(directory: Canonical) {
    with(|process| process.directory = directory);
}

/// `umask(2)`: sets the bits that new files do not get; gives those before.
pub fn umask(mask: u32) -> u32 {
    with(|process| core::mem::replace(&mut process.umask, mask & 0o777))
}

/// The handle that stands for this process; `ENOSYS` for a program that was started without one.
pub fn proc_handle() -> Result<Fd, Errno> {
    with(|process| process.proc).ok_or(Errno::NOSYS)
}

/// This is another process from now on.
pub(crate) fn set_proc_handle(proc: Fd) {
    with(|process| (process.proc, process.id) = (Some(proc), 0));
}

/// Sets the handle of the namespace that children get.
pub fn set_namespace(namespace: Fd) {
    with(|process| process.namespace = Some(namespace));
}

/// Asks the process table.
fn ask(verb: Verb, argument: u64) -> Result<(u64, u64), Errno> {
    let mut word = [0; crate::protocol::CALL_BYTES];
    let (called, _) = op::file::call(proc_handle()?, word.as_mut_slice(), verb as u64, argument).wait();
    Ok((called?.result, u64::from_le_bytes(word)))
}

fn ask_id(verb: Verb, argument: u64) -> Result<u32, Errno> {
    u32::try_from(ask(verb, argument)?.0).map_err(|_| Errno::IO)
}

/// `getpid(2)`.
pub fn getpid() -> Result<u32, Errno> {
    let known = with(|process| process.id);
    if known != 0 {
        return Ok(known);
    }
    let id = ask_id(Verb::Id, 0)?;
    with(|process| process.id = id);
    Ok(id)
}

/// `getppid(2)`; zero for the first process.
pub fn getppid() -> Result<u32, Errno> {
    ask_id(Verb::Parent, 0)
}

/// `getpgid(2)`; zero means the caller.
pub fn getpgid(pid: u32) -> Result<u32, Errno> {
    ask_id(Verb::Group, u64::from(pid))
}

/// `setpgid(2)`.
pub fn setpgid(pid: u32, group: u32) -> Result<(), Errno> {
    ask(Verb::SetGroup, pair(pid, group)).map(|_| ())
}

/// `getsid(2)`; zero means the caller.
pub fn getsid(pid: u32) -> Result<u32, Errno> {
    ask_id(Verb::Session, u64::from(pid))
}

/// `setsid(2)`.
pub fn setsid() -> Result<u32, Errno> {
    ask_id(Verb::NewSession, 0)
}

/// `kill(2)`: signal 0 only checks, all others end the processes, since there are no handlers yet.
pub fn kill(pid: i32, signal: u32) -> Result<(), Errno> {
    let target = Target::from_raw(pid).to_raw() as u32;
    ask(Verb::Kill, pair(target, signal)).map(|_| ())
}

/// Waits for a child to end: which one, and how. `None` only where `wait.at_once`.
pub fn wait_end(wait: Wait) -> Result<Option<(u32, End)>, Errno> {
    let (pid, raw) = ask(Verb::Wait, wait.packed())?;
    let pid = u32::try_from(pid).map_err(|_| Errno::IO)?;
    if pid == 0 {
        return Ok(None);
    }
    Ok(Some((pid, End::from_raw(raw).ok_or(Errno::IO)?)))
}

/// `WNOHANG` of [`waitpid`].
pub const WNOHANG: u32 = 1;

/// `waitpid(2)`: the child and its status word, or zero with [`WNOHANG`] if none has ended.
pub fn waitpid(pid: i32, options: u32) -> Result<(u32, i32), Errno> {
    if options & !WNOHANG != 0 {
        return Err(Errno::INVAL);
    }
    let wait = Wait { target: Target::from_raw(pid), at_once: options & WNOHANG != 0 };
    Ok(wait_end(wait)?.map_or((0, 0), |(pid, end)| (pid, wait_status(end))))
}

/// `wait(2)`.
pub fn wait() -> Result<(u32, i32), Errno> {
    waitpid(-1, 0)
}

/// `_exit(2)`: ends the process, every thread of it.
pub use uring::start::exit;
