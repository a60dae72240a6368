//! Starting a program beside this one, and replacing this one.
//!
//! Neither copies the caller: `spawn` builds a new space and an empty handle table, so a child gets exactly
//! the handles that it is given; `exec` builds a new space and commits to it in one operation, so a failure
//! has changed nothing.
#![allow(unsafe_code, reason = "making a context and committing to a space are `unsafe fn`")]

use crate::file;
use crate::flags::{O_CLOEXEC, O_RDONLY};
use crate::handles::Handles;
use crate::load::{Head, Loaded, Program, Start, load};
use crate::open::resolve;
use crate::process::{self, Inheritance, inheritance, proc_handle};
use crate::protocol::FORK;
use crate::script::{self, Script};
use alloc::vec::Vec;
use ring_abi::Errno;
use ring_abi::args::{ContextCreate, ExecCommit, handle};
use uring::op::{self, Fd};

/// Handles 0, 1 and 2 as they are.
pub const STANDARD: [(Fd, u64); 3] = [(Fd(0), 0), (Fd(1), 1), (Fd(2), 2)];

/// What a new program is started with.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// Path of its file.
    pub path: &'a [u8],
    /// Arguments, the program's own name first.
    pub arguments: &'a [&'a [u8]],
    /// Environment, `NAME=value` each.
    pub environment: &'a [&'a [u8]],
    /// Handles that it gets: ours, and the number under which it finds them.
    pub handles: &'a [(Fd, u64)],
}

/// Starts a program as a child of this process; its process id.
pub fn spawn(command: &Command<'_>) -> Result<u32, Errno> {
    spawn_after(command, |_| Ok(()))
}

/// As [`spawn`], and calls `ready` with the process id before the first instruction runs. If that fails, the
/// child ends without having run.
pub fn spawn_after(
    command: &Command<'_>,
    ready: impl FnOnce(u32) -> Result<(), Errno>,
) -> Result<u32, Errno> {
    let mut handles = Handles::default();
    let found = find(&mut handles, command.path, command.arguments)?;
    let arguments = found.arguments();
    let child = handles.keep(fork_handle()?);
    let command = Command { arguments: arguments.as_deref().unwrap_or(command.arguments), ..*command };
    let context = prepare_with(&mut handles, found.program, &found.head, &command, child)?;
    let pid = register(child, context)?;
    if let Err(error) = ready(pid) {
        op::context::kill(context).wait()?;
        process::waitpid(pid.cast_signed(), 0)?;
        return Err(error);
    }
    op::context::start(context).wait()?;
    Ok(pid)
}

/// A program that was found by a path.
struct Found {
    program: Program<'static>,
    head: Head,
    /// Its arguments, if they are others than the caller's because the file that was asked for is a script.
    instead: Option<Vec<Vec<u8>>>,
}

impl Found {
    fn arguments(&self) -> Option<Vec<&[u8]>> {
        Some(self.instead.as_ref()?.iter().map(Vec::as_slice).collect())
    }
}

/// Opens a program, or the interpreter of a script. `EACCES` if it is a directory, `ELOOP` if interpreters are scripts too
/// often.
fn find(handles: &mut Handles, path: &[u8], arguments: &[&[u8]]) -> Result<Found, Errno> {
    let mut instead: Option<Vec<Vec<u8>>> = None;
    let mut path = Vec::from(path);
    for _ in 0..=script::DEPTH {
        let (file, found) = resolve(&path, O_RDONLY | O_CLOEXEC, 0)?;
        handles.keep(file);
        if found.says_directory() {
            return Err(Errno::ACCES);
        }
        let program = Program::File(file);
        let head = program.head()?;
        let Some(script) = Script::parse(&head.bytes)? else {
            return Ok(Found { program, head, instead });
        };
        let own = instead.unwrap_or_else(|| arguments.iter().copied().map(Vec::from).collect());
        instead = Some(script.arguments(&path, &own));
        path = Vec::from(script.interpreter);
    }
    Err(Errno::LOOP)
}

/// A handle for a new child, which exists once its context was [`register`]ed.
pub(crate) fn fork_handle() -> Result<Fd, Errno> {
    op::file::dup(proc_handle()?, FORK).wait().0
}

/// Tells the process table which context is the child; its process id.
pub(crate) fn register(child: Fd, context: Fd) -> Result<u32, Errno> {
    let pid = op::file::sendfd(child, context, 0, 0).wait()?;
    u32::try_from(pid).map_err(|_| Errno::IO)
}

/// Makes a stopped context that is about to run a program, with a handle table of its own. `proc` will stand
/// for it there.
pub fn prepare(
    handles: &mut Handles,
    program: Program<'_>,
    command: &Command<'_>,
    proc: Fd,
) -> Result<Fd, Errno> {
    prepare_with(handles, program, &program.head()?, command, proc)
}

fn prepare_with(
    handles: &mut Handles,
    program: Program<'_>,
    head: &Head,
    command: &Command<'_>,
    proc: Fd,
) -> Result<Fd, Errno> {
    let table = handles.keep(op::handle::table_create().wait()?);
    for (own, number) in command.handles {
        op::handle::dup_to(*own, table, Some(*number), 0).wait()?;
    }
    let home = inheritance();
    let pass = |fd: Fd| op::handle::dup_to(fd, table, None, 0).wait();
    let proc = Some(pass(proc)?);
    let namespace = home.namespace.map(pass).transpose()?;
    let inheritance = Inheritance { proc, namespace, ..home };
    let start = Start {
        path: command.path,
        arguments: command.arguments,
        environment: command.environment,
        inheritance: &inheritance,
    };
    let Loaded { space, entry, stack } = load(program, head, &start)?;
    handles.keep(space);
    let args = ContextCreate { space: space.0, table: table.0, entry, stack, argument: 0, sizes_flags: 0 };
    // SAFETY: the space is a fresh one, not our own.
    let context = unsafe { op::context::create(args) }.wait()?;
    Ok(handles.keep(context))
}

/// `execve(2)`: replaces this program. Comes back only with an error, and then nothing has changed.
pub fn exec(path: &[u8], arguments: &[&[u8]], environment: &[&[u8]]) -> Errno {
    match try_exec(path, arguments, environment) {
        Err(error) => error,
        Ok(()) => Errno::IO, // the kernel said that it went well, but here we are
    }
}

fn try_exec(path: &[u8], arguments: &[&[u8]], environment: &[&[u8]]) -> Result<(), Errno> {
    let mut handles = Handles::default();
    let found = find(&mut handles, path, arguments)?;
    let instead = found.arguments();
    let arguments = instead.as_deref().unwrap_or(arguments);
    let start = Start { path, arguments, environment, inheritance: &inheritance() };
    let Loaded { space, entry, stack } = load(found.program, &found.head, &start)?;
    handles.keep(space);
    // What was kept so far would otherwise stay open in the new program.
    file::handle_flags(space, Some(handle::CLOSE_ON_EXEC))?;
    let args = ExecCommit { space: space.0, entry, stack, argument: 0, sizes: 0 };
    // SAFETY: the entry is the program's own, with the stack that it expects.
    unsafe { op::memory::exec_commit(args) }.wait()
}
