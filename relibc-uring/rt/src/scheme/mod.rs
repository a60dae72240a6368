//! The daemon kit: serve a scheme of the system from an ordinary program.
//!
//! ```ignore
//! let scheme = Scheme::register("echo")?;
//! scheme.run(|mut request| async move {
//!     let answer = match request.body() {
//!         Body::Open(_) => Ok(Answer::File(1)),
//!         Body::Read(mut read) => Ok(read.out.write(b"hello").into()),
//!         _ => Err(Errno::NOSYS),
//!     };
//!     request.reply(answer);
//! })
//! ```
//!
//! - A [`Request`] is answered once: [`reply`](Request::reply) consumes it, and dropping one replies `EIO`, so a
//!   client never hangs on a daemon's bug.
//! - A client may wait for any number of answers ([`Request::is_repeated`]): each but the last is [sent](Request::send),
//!   and brings a request of its own for the next.
//! - Requests overlap: each whose handler waits becomes a task of its own. One that is answered at once costs no
//!   task and no memory.
//! - A client's bytes lie in a slot that kernel and daemon share. What goes back is never more than what was
//!   written ([`Output`]), so a daemon cannot leak what an earlier client left there.
//! - When a client no longer waits, [`Request::cancelled`] ends. The request is to be answered all the same.
//! - Replies are sent by the same entry into the kernel that waits for the next requests.

mod body;
mod dirents;
mod pages;
mod payload;
mod pending;
mod register;
mod request;
mod serve;
mod service;

pub use body::{
    Body, Call, Dup, Entries, Events, Map, Open, Path, Read, Sent, Space, Stat, Times, Who, Write,
};
pub use dirents::{Dirent, Dirents};
pub use pages::{Page, Pages};
pub use payload::Output;
pub use register::{Builder, Scheme, send_events};
pub use request::{Answer, Cancelled, Request};
pub use serve::{Handler, Ready, Served, Stopper};
pub(crate) use service::Service;
