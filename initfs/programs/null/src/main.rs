//! `null`: the smallest daemon. Scheme `null` has two files: `null`, which is empty, and `zero`, which is full of
//! zeros without end. Both swallow what is written. `null NAME` serves another scheme, and `null NAME MILLISECONDS` lets its
//! ring be polled, for so long without a request.
//!
//! It is the template for new daemons: name the files, answer what can be asked of them.
#![cfg_attr(target_os = "redox", no_std, no_main)]
#![forbid(unsafe_code)]

use core::hint::cold_path;
use core::time::Duration;
use syscall::flag::{MODE_CHR, MODE_DIR, O_CREAT, O_DIRECTORY};
use uring::ring::poll_ring;
use uring::scheme::{Answer, Body, Dirent, Dirents, Handler, Open, Request, Scheme};
use uring::start::env::args;
use uring::{Errno, eprintln};

uring::main!(run);

/// Ids of the files. A client's requests carry the id that its open was answered with.
const ROOT: u64 = 0;
const ZERO: u64 = 1;
const NULL: u64 = 2;
const FILES: [(&str, u64); 2] = [("zero", ZERO), ("null", NULL)];

/// Serves until the system ends.
fn run() -> u8 {
    let idle = args().nth(2).and_then(|text| text.parse().ok()).map(Duration::from_millis);
    let served = Scheme::register(args().nth(1).unwrap_or("null")).and_then(|scheme| {
        idle.map_or(Ok(0), poll_ring)?;
        scheme.run_now(Null)
    });
    match served {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("null: cannot serve: {error}");
            1
        }
    }
}

/// Answers requests. Nothing here has to wait, so no request becomes a task.
struct Null;

impl Handler for Null {
    #[inline(always)]
    fn answer(&mut self, mut request: Request) {
        let file = request.file();
        let result = match request.body() {
            Body::Read(mut read) if file == ZERO => Ok(read.out.zeros(usize::MAX).into()),
            Body::Read(_) if file == NULL => {
                cold_path();
                Ok(Answer::Number(0))
            }
            Body::Write(write) if file != ROOT => Ok(write.bytes.len().into()),
            Body::Read(_) | Body::Write(_) => Err(Errno::ISDIR),
            other => answer_rarely(file, other),
        };
        request.reply(result);
    }
}

/// Everything but reads and writes.
#[inline(never)]
fn answer_rarely(file: u64, body: Body<'_>) -> Result<Answer, Errno> {
    match body {
        Body::Open(open) => find(open).map(Answer::File),
        Body::Dup(dup) if dup.name.is_empty() => Ok(Answer::File(file)),
        Body::Events(events) => Ok(events.mask.into()),
        Body::Stat(mut stat) => {
            let st_mode = if file == ROOT { MODE_DIR | 0o555 } else { MODE_CHR | 0o666 };
            stat.write(&syscall::Stat { st_mode, st_nlink: 1, st_ino: file, ..Default::default() });
            Ok(Answer::Number(0))
        }
        Body::Path(mut out) => {
            let name = FILES.iter().find(|(_, id)| *id == file).map_or("", |(name, _)| name);
            Ok(out.write(name.as_bytes()).into())
        }
        Body::Entries(entries) if file == ROOT => {
            let start = usize::try_from(entries.start).unwrap_or(usize::MAX);
            let mut list = Dirents::new(entries);
            // A file's id is also the place behind it.
            FILES.iter().skip(start).all(|(name, id)| list.push(Dirent::device(*id, *id, name)));
            Ok(list.finish().into())
        }
        Body::Length | Body::Truncate(_) | Body::Sync => Ok(Answer::Number(0)),
        _ => Err(Errno::NOSYS),
    }
}

/// The file with this path.
fn find(open: Open<'_>) -> Result<u64, Errno> {
    match FILES.iter().find(|(name, _)| *name == open.path) {
        Some(_) if open.flags & O_DIRECTORY as u64 != 0 => Err(Errno::NOTDIR),
        Some((_, id)) => Ok(*id),
        None if open.path.is_empty() => Ok(ROOT),
        None if open.flags & O_CREAT as u64 != 0 => Err(Errno::PERM),
        None => Err(Errno::NOENT),
    }
}
