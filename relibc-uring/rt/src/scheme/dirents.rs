//! Writes what clients read as structures of `redox_syscall`: entries of directories, and `stat`.
#![forbid(unsafe_code)]

use super::body::{Entries, Space, Stat};
use super::payload::Output;
use core::mem::offset_of;
use syscall::dirent::{DirentHeader, DirentKind};

/// Writes entries of a directory, as `redox_syscall::dirent` reads them.
#[derive(Debug)]
pub struct Dirents<'r> {
    out: Output<'r>,
}

/// One entry.
#[derive(Clone, Copy, Debug)]
pub struct Dirent<'n> {
    /// The file's number.
    pub inode: u64,
    /// Where to go on behind this entry.
    pub next: u64,
    /// What the file is.
    pub kind: DirentKind,
    /// Its name.
    pub name: &'n str,
}

impl<'n> Dirent<'n> {
    /// A character device.
    pub fn device(inode: u64, next: u64, name: &'n str) -> Dirent<'n> {
        Dirent { inode, next, kind: DirentKind::CharDev, name }
    }
}

impl<'r> Dirents<'r> {
    /// Entries go to this request's output.
    pub fn new(entries: Entries<'r>) -> Dirents<'r> {
        Dirents { out: entries.out }
    }

    /// Writes an entry; `false` if there is no room for it.
    pub fn push(&mut self, entry: Dirent<'_>) -> bool {
        const HEADER: usize = size_of::<DirentHeader>();
        let used = HEADER.saturating_add(entry.name.len()).saturating_add(1);
        let length = used.next_multiple_of(8);
        let Ok(record) = u16::try_from(length) else { return false };
        if length > self.out.room() {
            return false;
        }
        let mut header = [0; HEADER];
        put(&mut header, offset_of!(DirentHeader, inode), &entry.inode.to_le_bytes());
        put(&mut header, offset_of!(DirentHeader, next_opaque_id), &entry.next.to_le_bytes());
        put(&mut header, offset_of!(DirentHeader, record_len), &record.to_le_bytes());
        put(&mut header, offset_of!(DirentHeader, kind), &[entry.kind as u8]);
        self.out.write(&header);
        self.out.write(entry.name.as_bytes());
        self.out.zeros(length.saturating_sub(used).saturating_add(1));
        true
    }

    /// Bytes written: the answer. Zero means the end of the directory.
    pub fn finish(self) -> usize {
        self.out.written()
    }
}

/// The bytes of a structure, field by field, so that no stray byte goes along.
macro_rules! bytes_of {
    ($value:expr, $type:ty, $($field:ident),*) => {{
        let mut bytes = [0; size_of::<$type>()];
        $(put(&mut bytes, offset_of!($type, $field), &$value.$field.to_le_bytes());)*
        bytes
    }};
}

impl Stat<'_> {
    /// Writes what `stat` tells. What does not fit is cut.
    pub fn write(&mut self, stat: &syscall::Stat) {
        self.out.write(&bytes_of!(
            stat,
            syscall::Stat,
            st_dev,
            st_ino,
            st_mode,
            st_nlink,
            st_uid,
            st_gid,
            st_size,
            st_blksize,
            st_blocks,
            st_mtime,
            st_mtime_nsec,
            st_atime,
            st_atime_nsec,
            st_ctime,
            st_ctime_nsec
        ));
    }
}

impl Space<'_> {
    /// Writes what `statvfs` tells. What does not fit is cut.
    pub fn write(&mut self, space: &syscall::StatVfs) {
        self.out.write(&bytes_of!(space, syscall::StatVfs, f_bsize, f_blocks, f_bfree, f_bavail));
    }
}

fn put(to: &mut [u8], offset: usize, bytes: &[u8]) {
    if let Some(place) = to.get_mut(offset..).and_then(|rest| rest.get_mut(..bytes.len())) {
        place.copy_from_slice(bytes);
    }
}
