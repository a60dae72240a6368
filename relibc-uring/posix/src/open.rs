//! From a path to a file: canonicalisation, links across schemes, and the current directory.
#![forbid(unsafe_code)]

use crate::file;
use crate::flags::{MODE_DIRECTORY, MODE_PERMISSIONS, MODE_TYPE, O_CLOEXEC, O_CREAT, O_DIRECTORY, O_STAT};
use crate::links::Follow;
use crate::path::{Canonical, PATH_MAX};
use crate::process::{canonical, inheritance, mask, set_directory};
use alloc::string::String;
use ring_abi::Errno;
use ring_abi::args::handle;
use uring::op::name::{Opened, open_through};
use uring::op::{self, Fd};

/// Bytes that most paths and targets of links fit in.
const SHORT: usize = 256;

/// `open(2)`. `flags` are of [`crate::flags`], `mode` is for a file that is made.
pub fn open(path: &[u8], flags: u64, mode: u32) -> Result<Fd, Errno> {
    resolve(path, flags, mode).map(|(fd, _)| fd)
}

/// As [`open`], and says where the links led.
pub fn resolve(path: &[u8], flags: u64, mode: u32) -> Result<(Fd, Canonical), Errno> {
    let (path, flags) = request(path, flags, mode)?;
    open_canonical(path, flags)
}

/// What to ask a daemon for, to open a path: where it is, and with which flags.
pub(crate) fn request(path: &[u8], flags: u64, mode: u32) -> Result<(Canonical, u64), Errno> {
    let path = canonical(path)?;
    let mode = if flags & O_CREAT == 0 { 0 } else { mode & !mask() & MODE_PERMISSIONS };
    let flags = flags_for(&path, flags & !0xffff | u64::from(mode));
    Ok((path, flags))
}

/// A path that ends like a directory's must be one.
fn flags_for(path: &Canonical, flags: u64) -> u64 {
    let says_directory = path.says_directory() && path.split().is_some() && flags & O_CREAT == 0;
    if says_directory { flags | O_DIRECTORY } else { flags }
}

/// Opens a canonical path, following what daemons say about links.
fn open_canonical(path: Canonical, flags: u64) -> Result<(Fd, Canonical), Errno> {
    let flags = flags_for(&path, flags);
    let mut follow = Follow::new(path);
    let mut buffer = alloc::vec![0; SHORT];
    loop {
        let path = follow.path().as_str().as_bytes();
        if path.len() > buffer.len() {
            buffer.resize(PATH_MAX, 0);
        }
        buffer.get_mut(..path.len()).ok_or(Errno::NAMETOOLONG)?.copy_from_slice(path);
        match open_through(Fd::CURRENT, buffer.as_mut_slice(), path.len(), flags).wait().0? {
            Opened::File(fd) => return close_on_exec(fd, flags).map(|()| (fd, follow.into_path())),
            // The answer was cut: ask again with room for any path.
            Opened::Link(length) if length > buffer.len() && buffer.len() < PATH_MAX => {
                buffer.resize(PATH_MAX, 0);
            }
            Opened::Link(length) => {
                let path = buffer.get(..length).ok_or(Errno::NAMETOOLONG)?;
                follow.link(path, &inheritance().default_scheme)?;
            }
        }
    }
}

/// Sets the handle's own flag, which the kernel keeps and no daemon sees.
fn close_on_exec(fd: Fd, flags: u64) -> Result<(), Errno> {
    if flags & O_CLOEXEC == 0 {
        return Ok(());
    }
    op::handle::flags(fd, Some(handle::CLOSE_ON_EXEC)).wait().map(|_| ())
}

/// Does something with a name that must not be followed, as `unlink` does: first by its path as it is and,
/// if a link is on the way, in the directory that the way leads to.
pub(crate) fn with_name<T>(
    path: &[u8],
    mut act: impl FnMut(&Canonical) -> Result<T, Errno>,
) -> Result<T, Errno> {
    let path = canonical(path)?;
    match act(&path) {
        Err(Errno::XDEV) => {}
        result => return result,
    }
    let (parent, name) = path.split().ok_or(Errno::XDEV)?;
    let (fd, real) = open_canonical(parent, O_STAT | O_DIRECTORY)?;
    file::close(fd)?;
    act(&real.join(name)?)
}

/// Removes a name.
pub(crate) fn unlink_at(path: &[u8], flags: u64) -> Result<(), Errno> {
    with_name(path, |path| op::file::unlink_at(Fd::CURRENT, path.as_str(), flags).wait().0)
}

/// `chdir(2)`.
pub fn chdir(path: &[u8]) -> Result<(), Errno> {
    let wanted = canonical(path)?;
    let real = if wanted.scheme().is_none() {
        wanted
    } else {
        let (fd, real) = open_canonical(wanted, O_STAT | O_DIRECTORY)?;
        let stat = file::fstat(fd);
        file::close(fd)?;
        if u32::from(stat?.st_mode) & MODE_TYPE != MODE_DIRECTORY {
            return Err(Errno::NOTDIR);
        }
        real
    };
    set_directory(real);
    Ok(())
}

/// `getcwd(3)`: a canonical path.
pub fn getcwd() -> String {
    String::from(inheritance().directory.as_str())
}
