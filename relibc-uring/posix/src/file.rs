//! Files that are open: bytes, cursor, length, handle, and what `stat` tells.
#![forbid(unsafe_code)]

use crate::brief::with_file;
use crate::flags::{O_CLOEXEC, O_NOFOLLOW, O_STAT, O_SYMLINK};
use crate::open::open;
use ring_abi::Errno;
use ring_abi::args::handle;
pub use syscall::Stat;
use uring::op::file::At;
use uring::op::{self, Fd};

/// `read(2)`: the number of bytes read, zero at the end.
pub fn read(fd: Fd, buffer: &mut [u8]) -> Result<usize, Errno> {
    op::file::read(fd, buffer, At::Cursor).wait().0
}

/// `pread(2)`.
pub fn pread(fd: Fd, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
    op::file::read(fd, buffer, position(offset)?).wait().0
}

/// `write(2)`: the number of bytes written, which may be fewer.
pub fn write(fd: Fd, bytes: &[u8]) -> Result<usize, Errno> {
    op::file::write(fd, bytes, At::Cursor).wait().0
}

/// `pwrite(2)`.
pub fn pwrite(fd: Fd, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
    op::file::write(fd, bytes, position(offset)?).wait().0
}

/// Writes all bytes, however many calls that takes. `EIO` if a daemon takes none.
pub fn write_all(fd: Fd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let count = write(fd, bytes)?;
        bytes = bytes.get(count..).filter(|_| count != 0).ok_or(Errno::IO)?;
    }
    Ok(())
}

/// An offset that is one: not negative as C sees it, so never the cursor.
fn position(offset: u64) -> Result<At, Errno> {
    if offset > i64::MAX as u64 { Err(Errno::INVAL) } else { Ok(At::Offset(offset)) }
}

/// From where [`lseek`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    /// The start of the file.
    Set,
    /// The cursor.
    Current,
    /// The end of the file.
    End,
}

/// `lseek(2)`: moves the cursor and says where it is now.
pub fn lseek(fd: Fd, offset: i64, whence: Whence) -> Result<u64, Errno> {
    let (offset, whence) = match whence {
        Whence::Set => (offset, 0),
        Whence::Current => (offset, 1),
        Whence::End => {
            let size = i64::try_from(op::file::fsize(fd).wait()?).map_err(|_| Errno::OVERFLOW)?;
            (size.checked_add(offset).ok_or(Errno::OVERFLOW)?, 0)
        }
    };
    if whence == 0 && offset < 0 {
        return Err(Errno::INVAL);
    }
    op::file::seek(fd, offset, whence).wait()
}

/// `close(2)`.
pub fn close(fd: Fd) -> Result<(), Errno> {
    op::handle::close(fd).wait()
}

/// `dup(2)`: another handle to the same file, the lowest free one.
pub fn dup(fd: Fd) -> Result<Fd, Errno> {
    op::handle::dup_to(fd, Fd::CURRENT, None, 0).wait()
}

/// `dup2(2)`: another handle to the same file, this one; what was there is closed.
pub fn dup2(fd: Fd, target: Fd) -> Result<Fd, Errno> {
    if fd == target {
        // Only whether `fd` is a handle is to be told.
        return handle_flags(fd, None).map(|_| fd);
    }
    op::handle::dup_to(fd, Fd::CURRENT, Some(target.0), 0).wait()
}

/// `dup3(2)`: as [`dup2`], with flag `O_CLOEXEC` or none; `EINVAL` if both are the same.
pub fn dup3(fd: Fd, target: Fd, flags: u64) -> Result<Fd, Errno> {
    if fd == target || flags & !O_CLOEXEC != 0 {
        return Err(Errno::INVAL);
    }
    let flags = if flags == 0 { 0 } else { handle::CLOSE_ON_EXEC };
    op::handle::dup_to(fd, Fd::CURRENT, Some(target.0), flags).wait()
}

/// Reads or sets the flags of a handle; gives those before.
pub fn handle_flags(fd: Fd, set: Option<u64>) -> Result<u64, Errno> {
    op::handle::flags(fd, set).wait()
}

/// `ftruncate(2)`.
pub fn ftruncate(fd: Fd, length: u64) -> Result<(), Errno> {
    position(length)?;
    op::file::ftruncate(fd, length).wait()
}

/// `truncate(2)`.
pub fn truncate(path: &[u8], length: u64) -> Result<(), Errno> {
    let fd = open(path, crate::flags::O_WRONLY, 0)?;
    let result = ftruncate(fd, length);
    close(fd).and(result)
}

/// `fsync(2)`.
pub fn fsync(fd: Fd) -> Result<(), Errno> {
    op::file::fsync(fd).wait()
}

/// `fstat(2)`.
pub fn fstat(fd: Fd) -> Result<Stat, Errno> {
    let mut stat = Stat::default();
    op::file::fstat(fd, &mut *stat).wait().0.map(|()| stat)
}

/// `stat(2)`.
pub fn stat(path: &[u8]) -> Result<Stat, Errno> {
    stat_opened(path, O_STAT)
}

/// `lstat(2)`: of the link itself, if it is one.
pub fn lstat(path: &[u8]) -> Result<Stat, Errno> {
    stat_opened(path, O_STAT | O_SYMLINK | O_NOFOLLOW)
}

fn stat_opened(path: &[u8], flags: u64) -> Result<Stat, Errno> {
    let mut stat = Stat::default();
    if let Some((told, _)) = with_file(path, flags, |fd| op::file::fstat(fd, &mut *stat))? {
        return told.map(|()| stat);
    }
    let fd = open(path, flags, 0)?;
    let stat = fstat(fd);
    close(fd)?;
    stat
}
