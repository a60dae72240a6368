//! Directories: their entries, and names that are made, moved and removed.
#![forbid(unsafe_code)]

use crate::file;
use crate::flags::{
    O_CLOEXEC, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_STAT, O_SYMLINK, O_WRONLY,
};
use crate::open::{open, unlink_at, with_name};
use crate::path::Canonical;
use alloc::string::String;
use alloc::vec::Vec;
use ring_abi::Errno;
use uring::op::{self, Fd};

const HEADER: usize = size_of::<syscall::dirent::DirentHeader>();
const REMOVE_DIRECTORY: u64 = syscall::AT_REMOVEDIR as u64;

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Number of its file.
    pub inode: u64,
    /// What it is, as in `redox_syscall::dirent::DirentKind`; zero if the daemon does not say.
    pub kind: u8,
}

/// `getdents`: fills `buffer` with entries from position `start` on (zero, or an entry's
/// `next_opaque_id`); zero bytes mean the end.
pub fn getdents(fd: Fd, buffer: &mut [u8], start: u64) -> Result<usize, Errno> {
    op::file::getdents(fd, buffer, start).wait().0
}

/// All entries of a directory that is open, in the daemon's order.
pub fn entries(fd: Fd) -> Result<Vec<Entry>, Errno> {
    let mut entries = Vec::new();
    let mut buffer = alloc::vec![0; 4096];
    let mut start = 0;
    loop {
        let count = getdents(fd, &mut buffer, start)?;
        let Some(next) = parse(buffer.get(..count).ok_or(Errno::IO)?, &mut entries)? else {
            return Ok(entries);
        };
        if next == start {
            return Err(Errno::IO); // a daemon that gives the same entries for ever
        }
        start = next;
    }
}

/// All entries of a directory.
pub fn read_directory(path: &[u8]) -> Result<Vec<Entry>, Errno> {
    let fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)?;
    let entries = entries(fd);
    file::close(fd)?;
    entries
}

/// Takes a daemon's bytes apart; where to go on, or `None` if there were none. `EIO` if they are wrong.
fn parse(mut bytes: &[u8], entries: &mut Vec<Entry>) -> Result<Option<u64>, Errno> {
    let mut next = None;
    while !bytes.is_empty() {
        let (header, _) = bytes.split_first_chunk::<HEADER>().ok_or(Errno::IO)?;
        let [i0, i1, i2, i3, i4, i5, i6, i7, n0, n1, n2, n3, n4, n5, n6, n7, low, high, kind] = *header;
        let length = usize::from(u16::from_le_bytes([low, high]));
        let (record, rest) = bytes.split_at_checked(length).ok_or(Errno::IO)?;
        let padded = record.get(HEADER..).ok_or(Errno::IO)?;
        let end = padded.iter().position(|byte| *byte == 0).ok_or(Errno::IO)?;
        let name = padded.get(..end).ok_or(Errno::IO)?;
        entries.push(Entry {
            name: String::from(core::str::from_utf8(name).map_err(|_| Errno::ILSEQ)?),
            inode: u64::from_le_bytes([i0, i1, i2, i3, i4, i5, i6, i7]),
            kind,
        });
        next = Some(u64::from_le_bytes([n0, n1, n2, n3, n4, n5, n6, n7]));
        bytes = rest;
    }
    Ok(next)
}

/// `mkdir(2)`.
pub fn mkdir(path: &[u8], mode: u32) -> Result<(), Errno> {
    let fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_DIRECTORY, mode)?;
    file::close(fd)
}

/// `unlink(2)`.
pub fn unlink(path: &[u8]) -> Result<(), Errno> {
    unlink_at(path, 0)
}

/// `rmdir(2)`.
pub fn rmdir(path: &[u8]) -> Result<(), Errno> {
    unlink_at(path, REMOVE_DIRECTORY)
}

/// `symlink(2)`: makes a link that leads to `target`, whatever that is.
pub fn symlink(target: &[u8], path: &[u8]) -> Result<(), Errno> {
    if target.is_empty() {
        return Err(Errno::NOENT);
    }
    let fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_SYMLINK | O_NOFOLLOW, 0o777)?;
    let result = file::write_all(fd, target);
    file::close(fd).and(result)
}

/// `readlink(2)`: the target's bytes, as many as fit. `EINVAL` if it is no link.
pub fn readlink(path: &[u8], buffer: &mut [u8]) -> Result<usize, Errno> {
    let fd = open(path, O_RDONLY | O_SYMLINK | O_NOFOLLOW, 0)?;
    let result = file::fstat(fd).and_then(|stat| {
        let is_link = u32::from(stat.st_mode) & crate::flags::MODE_TYPE == crate::flags::MODE_SYMLINK;
        if is_link { file::pread(fd, buffer, 0) } else { Err(Errno::INVAL) }
    });
    file::close(fd).and(result)
}

/// `rename(2)`. Both names must lie in one scheme, otherwise `EXDEV`.
pub fn rename(old: &[u8], new: &[u8]) -> Result<(), Errno> {
    move_or_link(old, new, |fd, path| op::file::frename(fd, path).wait().0)
}

/// `link(2)`: another name for the same file, in the same scheme.
pub fn link(old: &[u8], new: &[u8]) -> Result<(), Errno> {
    move_or_link(old, new, |fd, path| op::file::flink(fd, path).wait().0)
}

fn move_or_link(old: &[u8], new: &[u8], act: impl Fn(Fd, &str) -> Result<(), Errno>) -> Result<(), Errno> {
    let (fd, at) = crate::open::resolve(old, O_STAT | O_SYMLINK | O_NOFOLLOW, 0)?;
    let result =
        with_name(
            new,
            |new: &Canonical| {
                if new.scheme() != at.scheme() { Err(Errno::XDEV) } else { act(fd, new.rest()) }
            },
        );
    file::close(fd).and(result)
}

#[cfg(test)]
mod tests {
    use super::{Entry, parse};
    use alloc::vec::Vec;
    use proptest::prelude::{any, prop, proptest};
    use ring_abi::Errno;

    fn record(inode: u64, next: u64, name: &[u8]) -> Vec<u8> {
        let length = (19 + name.len() as u16 + 1).next_multiple_of(8);
        let mut bytes = [inode, next].map(u64::to_le_bytes).concat();
        bytes.extend(length.to_le_bytes());
        bytes.push(8);
        bytes.extend(name);
        bytes.resize(usize::from(length), 0);
        bytes
    }

    #[test]
    fn entries_are_read_in_order() {
        let mut entries = Vec::new();
        let bytes = [record(7, 1, b"a"), record(8, 2, b"bc")].concat();
        assert_eq!(parse(&bytes, &mut entries), Ok(Some(2)));
        let names: Vec<(&str, u64, u8)> =
            entries.iter().map(|entry: &Entry| (entry.name.as_str(), entry.inode, entry.kind)).collect();
        assert_eq!(names, [("a", 7, 8), ("bc", 8, 8)]);
        assert_eq!(parse(b"", &mut entries), Ok(None));
    }

    #[test]
    fn a_daemon_that_lies_is_an_error() {
        let good = record(7, 1, b"nam\xc3\xa9");
        for cut in 1..good.len() {
            assert_eq!(parse(&good[..cut], &mut Vec::new()), Err(Errno::IO));
        }
        let mut short = good.clone();
        short[16] = 3;
        assert_eq!(parse(&short, &mut Vec::new()), Err(Errno::IO));
        let mut open = good;
        open[19..].fill(b'x');
        assert_eq!(parse(&open, &mut Vec::new()), Err(Errno::IO));
        assert_eq!(parse(&record(1, 1, b"\xff"), &mut Vec::new()), Err(Errno::ILSEQ));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_wild(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes, &mut Vec::new());
        }
    }
}
