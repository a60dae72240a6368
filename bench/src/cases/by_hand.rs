//! A read from a daemon whose loop is written by hand: what the daemon kit adds is the difference to `read1.1`.
#![forbid(unsafe_code)]

use super::{pingpong, read};
use crate::harness::{Bench, Outcome};
use bare::{Ring, context, serve};
use posix::fork::{Fork, fork};
use posix::process::exit;
use ring_abi::Errno;
use ring_abi::layout::Sizes;

const NAME: &str = "by-hand";
const PATH: &[u8] = b"/scheme/by-hand/zero";
/// Bytes of the daemon's stack.
const STACK: u64 = 16384;

pub(crate) fn one(bench: &mut Bench) -> Outcome {
    let daemon = match fork()? {
        Fork::Child => exit(serve_here().map_or(1, |()| 0)),
        Fork::Parent(pid) => pid,
    };
    let outcome = pingpong::until_served(PATH)
        .map_err(Into::into)
        .and_then(|()| read::single(bench, "read1.by_hand", PATH, 1));
    pingpong::stop(daemon)?;
    outcome
}

/// Serves in a context of its own, as long as this process lives.
fn serve_here() -> Result<(), Errno> {
    let serve = |ring: &Ring, name: &'static &str| serve::zeros(ring, name).raw() as u8;
    context::start(serve, &NAME, STACK, Sizes::SMALLEST)?.join().map(|_| ())
}
