//! `ramfs [NAME [MIB]]`: a file tree in memory, served as the scheme NAME (`ram`), with room for MIB (64) mebibytes.
//!
//! The model daemon; read it in this order:
//!
//! - this file: most requests are answered [at once](answer_now); what changes the tree becomes a future, since that has to
//!   wait for the time of day, and those overlap;
//! - [`files`]: what can be asked of an open file;
//! - [`tree`]: directories, names and links, a plain data structure with tests;
//! - [`node`], [`content`]: one file, and its bytes.
#![cfg_attr(target_os = "redox", no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

mod clock;
mod content;
mod files;
mod node;
mod tree;
#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test fails by panicking")]
mod tree_tests;

use alloc::rc::Rc;
use clock::{Clock, Time};
use core::cell::RefCell;
use files::Files;
use uring::scheme::{Body, Ready, Request, Scheme};
use uring::start::env;
use uring::{Errno, eprintln};

uring::main!(run);

/// Mebibytes that a tree may hold, unless an argument says otherwise.
const DEFAULT_MIB: u64 = 64;

/// Serves until the system ends.
fn run() -> u8 {
    let name = env::args().nth(1).unwrap_or("ram");
    let mib = env::args().nth(2).and_then(|number| number.parse().ok()).unwrap_or(DEFAULT_MIB);
    let files = RefCell::new(Files::new(mib.saturating_mul(1 << 20)));
    let server = Rc::new(Server { files, clock: Clock::open() });
    let served = Scheme::builder(name).root(files::ROOT).register().and_then(|scheme| {
        scheme.run_or_later(Lookups(server.clone()), |request| answer_later(server.clone(), request))
    });
    match served {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("ramfs: cannot serve {name}: {error}");
            1
        }
    }
}

/// What requests work on.
struct Server {
    /// Borrowed while a request is answered, and never across an await.
    files: RefCell<Files>,
    clock: Clock,
}

/// Answers at once what changes nothing.
struct Lookups(Rc<Server>);

impl Ready for Lookups {
    #[inline(always)]
    fn answer(&mut self, mut request: Request) -> Option<Request> {
        let file = request.file();
        let answer = answer_now(&mut self.0.files.borrow_mut(), file, request.body());
        match answer {
            Some(result) => {
                request.reply(result);
                None
            }
            None => Some(request),
        }
    }
}

/// What a request comes to that changes nothing; `None` of one that has to know what time it is.
#[inline(always)]
fn answer_now(files: &mut Files, file: u64, body: Body<'_>) -> Option<files::Result> {
    Some(match body {
        Body::Open(open) if !files::changes(open) => files.open(file, open, Time::default()),
        Body::Dup(dup) if dup.name.is_empty() => files.reopen(file),
        Body::Read(read) => files.read(file, read),
        Body::Length => files.length(file),
        Body::Stat(stat) => files.stat(file, stat),
        Body::Space(out) => Ok(files.space(out)),
        Body::Entries(entries) => files.entries(file, entries),
        Body::Path(out) => files.path(file, out),
        Body::Control(command, argument) => files.control(file, command, argument),
        Body::Events(events) => files.events(file, events),
        Body::Map(map) => files.map(file, map),
        Body::PageIn(map) => files.page_in(file, map),
        Body::Sync => Ok(0_u64.into()),
        Body::Closed => files.close(file),
        Body::Open(_) | Body::Write(_) | Body::Truncate(_) => return None,
        Body::Mode(_) | Body::Owner(..) | Body::Times(_) => return None,
        Body::Rename(_) | Body::Link(_) | Body::Unlink(_) => return None,
        _ => Err(Errno::NOSYS),
    })
}

/// Answers a request that changes something, once it knows what time it is. Others are answered meanwhile.
async fn answer_later(server: Rc<Server>, mut request: Request) {
    let now = server.clock.now().await;
    let files = &mut *server.files.borrow_mut();
    let (file, who) = (request.file(), request.who());
    let result = match request.body() {
        Body::Open(open) => files.open(file, open, now),
        Body::Write(write) => files.write(file, write, now),
        Body::Truncate(length) => files.truncate(file, length, now),
        Body::Mode(mode) => files.set_mode(file, who, mode, now),
        Body::Owner(uid, gid) => files.set_owner(file, who, uid, gid, now),
        Body::Times(times) => files.set_times(file, who, times, now),
        Body::Rename(to) => files.rename(file, to, now),
        Body::Link(to) => files.link(file, to, now),
        Body::Unlink(name) => files.unlink(file, name, now),
        _ => Err(Errno::NOSYS),
    };
    request.reply(result);
}
