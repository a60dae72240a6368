//! `ramfs [NAME [MIB]]`: a file tree in memory, served as the scheme NAME (`ram`), with room for MIB (64) mebibytes.
//!
//! The model daemon; read it in this order:
//!
//! - this file: each request becomes the future [`answer`], and those that have to wait overlap;
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
use files::Files;
use uring::scheme::{Body, Request, Scheme};
use uring::start::env;
use uring::{Errno, eprintln};

uring::main!(run);

/// Mebibytes that a tree may hold, unless an argument says otherwise.
const DEFAULT_MIB: u64 = 64;

/// Serves until the system ends.
fn run() -> u8 {
    let name = env::args().nth(1).unwrap_or("ram");
    let mib = env::args().nth(2).and_then(|number| number.parse().ok()).unwrap_or(DEFAULT_MIB);
    let files = Rc::new(Files::new(mib.saturating_mul(1 << 20)));
    let served = Scheme::builder(name)
        .root(files::ROOT)
        .register()
        .and_then(|scheme| scheme.run(|request| answer(files.clone(), request)));
    match served {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("ramfs: cannot serve {name}: {error}");
            1
        }
    }
}

/// Answers one request. What has to wait (for the time of day) awaits it, and others are answered meanwhile.
async fn answer(files: Rc<Files>, mut request: Request) {
    let (file, who) = (request.file(), request.who());
    let result = match request.body() {
        Body::Open(open) => files.open(file, open).await,
        Body::Dup(dup) if dup.name.is_empty() => files.reopen(file),
        Body::Read(read) => files.read(file, read),
        Body::Write(write) => files.write(file, write).await,
        Body::Length => files.length(file),
        Body::Truncate(length) => files.truncate(file, length).await,
        Body::Mode(mode) => files.set_mode(file, who, mode).await,
        Body::Owner(uid, gid) => files.set_owner(file, who, uid, gid).await,
        Body::Times(times) => files.set_times(file, who, times).await,
        Body::Stat(stat) => files.stat(file, stat),
        Body::Space(out) => Ok(files.space(out)),
        Body::Entries(entries) => files.entries(file, entries),
        Body::Path(out) => files.path(file, out),
        Body::Rename(to) => files.rename(file, to).await,
        Body::Link(to) => files.link(file, to).await,
        Body::Unlink(name) => files.unlink(file, name).await,
        Body::Control(command, argument) => files.control(file, command, argument),
        Body::Events(events) => files.events(file, events),
        Body::Sync => Ok(0_u64.into()),
        Body::Closed => files.close(file),
        _ => Err(Errno::NOSYS),
    };
    request.reply(result);
}
