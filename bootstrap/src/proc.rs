//! Scheme `proc`: the process table for those who are in it, and a list of processes for everybody.
//!
//! What takes a while (a wait, a handle that has to be fetched) is left to [`Server`]'s tasks.
#![forbid(unsafe_code)]

use crate::server::Server;
use alloc::string::String;
use bootstrap::calls::{self, Answer as Told};
use bootstrap::ids::Id;
use bootstrap::table::{INIT, Pid};
use core::fmt::Write as _;
use posix::file::Stat as Status;
use posix::flags::{MODE_DEVICE, MODE_DIRECTORY, MODE_FILE};
use posix::protocol::{CALL_BYTES, FORK, Verb};
use ring_abi::Errno;
use syscall::dirent::DirentKind;
use uring::op;
use uring::scheme::{Answer, Body, Call, Dirent, Dirents, Entries, Open, Read, Request};

/// The scheme's name.
pub(crate) const NAME: &str = "proc";

/// What became of a request.
pub(crate) enum Outcome {
    /// This is the answer.
    Now(Result<Answer, Errno>),
    /// Ask again after the next end of a process.
    Wait,
    /// A context came for this process.
    Adopt(Pid),
}

/// Deals with a request on a file of this scheme.
pub(crate) fn answer(server: &Server, id: Id, request: &mut Request) -> Outcome {
    match id {
        Id::Process(name) => match server.table.borrow().named(name) {
            Ok(pid) => pid,
            Err(error) => return Outcome::Now(Err(error)),
        },
        Id::ProcRoot => return Outcome::Now(root(server, request)),
        Id::ProcList => return Outcome::Now(list(server, request)),
        Id::Node(_) => return Outcome::Now(Err(Errno::BADF)),
    };
    process(server, id, request)
}

fn root(server: &Server, request: &mut Request) -> Result<Answer, Errno> {
    match request.body() {
        Body::Open(open) => open_root(server, open),
        Body::Entries(entries) => Ok(entries_of_root(entries).into()),
        Body::Stat(mut stat) => {
            let status =
                Status { st_mode: (MODE_DIRECTORY | 0o555) as u16, st_nlink: 2, ..Status::default() };
            stat.write(&status);
            Ok(().into())
        }
        Body::Sync | Body::Closed => Ok(0_u64.into()),
        Body::Read(_) => Err(Errno::ISDIR),
        Body::Unlink(_) => Err(Errno::PERM),
        _ => Err(Errno::OPNOTSUPP),
    }
}

fn open_root(server: &Server, open: Open<'_>) -> Result<Answer, Errno> {
    match open.path {
        "" => Ok(Answer::File(Id::ProcRoot.raw())),
        "list" => Ok(Answer::File(Id::ProcList.raw())),
        // This program itself, on behalf of the process that it is about to start.
        "init" if open.who.pid == 0 => {
            let name = server.table.borrow().name(INIT)?;
            Ok(Answer::Stream(Id::Process(name).raw()))
        }
        _ => Err(Errno::NOENT),
    }
}

fn entries_of_root(entries: Entries<'_>) -> usize {
    let is_first = entries.start == 0;
    let mut dirents = Dirents::new(entries);
    if is_first {
        dirents.push(Dirent { inode: 1, next: 1, kind: DirentKind::Regular, name: "list" });
    }
    dirents.finish()
}

fn list(server: &Server, request: &mut Request) -> Result<Answer, Errno> {
    match request.body() {
        Body::Read(read) => Ok(read_list(server, read).into()),
        Body::Length => Ok((text_of_list(server).len()).into()),
        Body::Path(mut out) => Ok(out.write(b"list").into()),
        Body::Stat(mut stat) => {
            let size = text_of_list(server).len() as u64;
            let mode = (MODE_FILE | 0o444) as u16;
            stat.write(&Status { st_mode: mode, st_nlink: 1, st_size: size, ..Status::default() });
            Ok(().into())
        }
        Body::Sync | Body::Closed => Ok(0_u64.into()),
        Body::Write(_) | Body::Truncate(_) => Err(Errno::ROFS),
        _ => Err(Errno::OPNOTSUPP),
    }
}

fn read_list(server: &Server, mut read: Read<'_>) -> usize {
    let text = text_of_list(server);
    let rest = usize::try_from(read.offset).ok().and_then(|offset| text.as_bytes().get(offset..));
    read.out.write(rest.unwrap_or_default())
}

fn text_of_list(server: &Server) -> String {
    let mut text = String::from("pid parent group session uid state\n");
    for line in server.table.borrow().lines() {
        let (pid, parent, group, session) = (line.pid, line.parent, line.group, line.session);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{pid} {parent} {group} {session} {} {}", line.owner.uid, line.state);
    }
    text
}

/// A request of a process about itself, or about its unborn child.
fn process(server: &Server, id: Id, request: &mut Request) -> Outcome {
    let Id::Process(name) = id else { return Outcome::Now(Err(Errno::BADF)) };
    let pid = name as Pid;
    match request.body() {
        Body::Call(call) => return call_of(server, pid, call),
        Body::Sent(_) => return Outcome::Adopt(pid),
        Body::Dup(dup) if dup.name == FORK => return Outcome::Now(fork(server, pid)),
        Body::Closed => server.table.borrow_mut().abandon(pid),
        Body::Stat(mut stat) => {
            let mode = (MODE_DEVICE | 0o600) as u16;
            stat.write(&Status { st_mode: mode, st_nlink: 1, ..Status::default() });
        }
        _ => return Outcome::Now(Err(Errno::OPNOTSUPP)),
    }
    Outcome::Now(Ok(0_u64.into()))
}

fn fork(server: &Server, parent: Pid) -> Result<Answer, Errno> {
    let mut table = server.table.borrow_mut();
    let child = table.fork(parent)?;
    Ok(Answer::Stream(Id::Process(table.name(child)?).raw()))
}

fn call_of(server: &Server, pid: Pid, call: Call<'_>) -> Outcome {
    let Some(verb) = Verb::from_raw(call.verb) else { return Outcome::Now(Err(Errno::INVAL)) };
    let Some(word) = call.buffer.get_mut(..CALL_BYTES) else { return Outcome::Now(Err(Errno::INVAL)) };
    let told = calls::answer(&mut server.table.borrow_mut(), pid, verb, call.argument);
    Outcome::Now(match told {
        Err(error) => Err(error),
        Ok(Told::Later) => return Outcome::Wait,
        Ok(Told::Result(number)) => Ok(number.into()),
        Ok(Told::Ended(child, end)) => {
            word.copy_from_slice(&end.to_raw().to_le_bytes());
            *call.written = CALL_BYTES;
            Ok(u64::from(child).into())
        }
        Ok(Told::Kill(contexts)) => {
            for context in contexts {
                // One that has ended meanwhile is as dead as it was meant to be.
                let _ = op::context::kill(context).wait();
            }
            Ok(0_u64.into())
        }
    })
}
