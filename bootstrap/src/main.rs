//! `bootstrap`, the first program: serves the initfs from its own memory, keeps the process table, starts init.
//!
//! - One thread serves schemes `initfs` and `proc` over one ring; requests that have to wait become tasks.
//! - Nothing here ever waits for init: its program is read from memory, and its handle is asked for by a task
//!   while the schemes are served.
//! - If this program ends, the kernel stops the machine. It ends, with a reason on the console, if the image is
//!   damaged, if init cannot be started, and when init has ended.
#![cfg_attr(target_os = "redox", no_std, no_main)]
#![deny(unsafe_code)]

extern crate alloc;

mod image;
mod initfs;
mod launch;
mod proc;
mod server;

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use bootstrap::ids;
use posix::flags::O_RDWR;
use server::Server;
use uring::eprintln;
use uring::op::{self, Fd};
use uring::ring::resize;
use uring::scheme::Scheme;
use uring::start::print::redirect;

uring::first_main!(run, 64 * 1024);

fn run(address: usize, length: usize) -> u8 {
    if let Err(reason) = boot(address, length) {
        eprintln!("bootstrap: {reason}");
    }
    1
}

/// Serves until something goes wrong.
fn boot(address: usize, length: usize) -> Result<(), String> {
    let console = op::file::open_at(Fd::CURRENT, "/scheme/debug", O_RDWR).wait().0;
    let console = console.map_err(|error| format!("no console: {error}"))?;
    redirect(console, console);
    let image = image::open(address, length).map_err(|damage| format!("the initfs is damaged: {damage}"))?;
    resize(server::RING).map_err(|error| format!("no ring to serve with: {error}"))?;
    let scheme = |name, root| {
        let scheme = Scheme::builder(name).root(root).namespace(launch::NAMESPACE).register();
        scheme.map_err(|error| format!("scheme {name}: {error}"))
    };
    let files = scheme(initfs::NAME, ids::INITFS_ROOT)?;
    let _processes = scheme(proc::NAME, ids::PROC_ROOT)?;
    let server = Rc::new(Server::new(image));
    uring::spawn(server.clone().start_init(console)).detach();
    files.run_mixed(move |request| server.answer(request)).map_err(|error| format!("cannot serve: {error}"))
}
