//! Starting init: through the library's loader, from the image in memory, as process 1.
#![forbid(unsafe_code)]

use initfs_format::{Image, Kind};
use posix::handles::Handles;
use posix::load::Program;
use posix::spawn::{Command, prepare};
use ring_abi::Errno;
use uring::op::{self, Fd};

/// The namespace, the kernel's first gift to the first program.
pub(crate) const NAMESPACE: Fd = Fd(0);

/// Where init lies in the image.
pub(crate) const INIT_PATH: &str = "/scheme/initfs/bin/init";

/// Makes a stopped context that will run init. `proc` stands for process 1; `console` becomes its standard
/// input, output and error.
pub(crate) fn prepare_init(image: &Image<'_>, proc: Fd, console: Fd) -> Result<Fd, Errno> {
    let file = image.find("bin/init").filter(|node| node.kind() == Kind::File).ok_or(Errno::NOENT)?;
    posix::process::set_namespace(NAMESPACE);
    let mut handles = Handles::default();
    let command = Command {
        path: INIT_PATH.as_bytes(),
        arguments: &[INIT_PATH.as_bytes()],
        environment: &[],
        handles: &[(console, 0), (console, 1), (console, 2)],
    };
    let context = prepare(&mut handles, Program::Bytes(image.data(file)), &command, proc)?;
    // The handle that `handles` closes is not the one that is kept.
    op::handle::dup_to(context, Fd::CURRENT, None, 0).wait()
}
