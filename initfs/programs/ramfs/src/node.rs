//! One file of the tree: what it is, who may use it, and how long it stays.
#![forbid(unsafe_code)]

use crate::clock::Time;
use crate::content::Content;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::string::String;
use syscall::dirent::DirentKind;
use syscall::flag::{MODE_DIR, MODE_FILE, MODE_SYMLINK};
use uring::Errno;
use uring::scheme::Who;

/// Number of a node.
pub(crate) type Ino = u32;

/// A file, directory or symbolic link. It goes when no name leads to it and nobody has it open.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// Permission bits.
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Names that lead here.
    pub(crate) links: u32,
    /// Open files.
    pub(crate) opens: u32,
    pub(crate) accessed: Time,
    pub(crate) modified: Time,
    pub(crate) changed: Time,
}

/// What a node is.
#[derive(Debug)]
pub(crate) enum Kind {
    File(Content),
    Directory(Directory),
    /// A symbolic link and where it leads.
    Link(String),
}

/// Names, in the order in which they were made.
///
/// A name's cookie stays the same as long as the name is there, so a directory can be read in pieces while others
/// change it.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    /// The directory that this one lies in; the root lies in itself.
    pub(crate) parent: Ino,
    /// Its own name there.
    pub(crate) name: Rc<str>,
    names: BTreeMap<Rc<str>, (u64, Ino)>,
    entries: BTreeMap<u64, (Rc<str>, Ino)>,
    last: u64,
}

/// What somebody wants to do with a node; the bits are those of a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Want(pub(crate) u16);

impl Want {
    pub(crate) const ENTER: Want = Want(1);
    pub(crate) const WRITE: Want = Want(2);
    pub(crate) const READ: Want = Want(4);
}

impl Node {
    /// A fresh node without a name.
    pub(crate) fn new(kind: Kind, mode: u16, who: Who, now: Time) -> Node {
        let Who { uid, gid, .. } = who;
        let (mode, links, opens) = (mode & 0o7777, 0, 0);
        Node { kind, mode, uid, gid, links, opens, accessed: now, modified: now, changed: now }
    }

    /// Whether somebody may do something.
    pub(crate) fn allows(&self, who: Who, want: Want) -> Result<(), Errno> {
        let shift = match who {
            Who { uid: 0, .. } => return Ok(()),
            _ if who.uid == self.uid => 6,
            _ if who.gid == self.gid => 3,
            _ => 0,
        };
        let granted = self.mode.wrapping_shr(shift);
        if granted & want.0 == want.0 { Ok(()) } else { Err(Errno::ACCES) }
    }

    /// Whether somebody may change the mode or the times.
    pub(crate) fn is_owned(&self, who: Who) -> Result<(), Errno> {
        if who.uid == 0 || who.uid == self.uid { Ok(()) } else { Err(Errno::PERM) }
    }

    /// As a directory.
    pub(crate) fn directory(&self) -> Result<&Directory, Errno> {
        match &self.kind {
            Kind::Directory(directory) => Ok(directory),
            _ => Err(Errno::NOTDIR),
        }
    }

    /// Whether it is a directory.
    pub(crate) fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory(_))
    }

    /// Bits of `st_mode` that say what it is.
    pub(crate) fn mode_type(&self) -> u16 {
        match self.kind {
            Kind::File(_) => MODE_FILE,
            Kind::Directory(_) => MODE_DIR,
            Kind::Link(_) => MODE_SYMLINK,
        }
    }

    /// What an entry of a directory says about it.
    pub(crate) fn entry_kind(&self) -> DirentKind {
        match self.kind {
            Kind::File(_) => DirentKind::Regular,
            Kind::Directory(_) => DirentKind::Directory,
            Kind::Link(_) => DirentKind::Symlink,
        }
    }

    /// Length in bytes.
    pub(crate) fn length(&self) -> u64 {
        match &self.kind {
            Kind::File(content) => content.length(),
            Kind::Directory(directory) => directory.entries.len() as u64,
            Kind::Link(target) => target.len() as u64,
        }
    }
}

impl Directory {
    /// The node of a name, and the name as it is kept here.
    pub(crate) fn get(&self, name: &str) -> Option<(&Rc<str>, Ino)> {
        self.names.get_key_value(name).map(|(name, (_, ino))| (name, *ino))
    }

    /// Adds a name, or lets it lead elsewhere.
    pub(crate) fn insert(&mut self, name: &Rc<str>, ino: Ino) {
        self.remove(name);
        self.last = self.last.saturating_add(1);
        self.names.insert(name.clone(), (self.last, ino));
        self.entries.insert(self.last, (name.clone(), ino));
    }

    /// Takes a name away.
    pub(crate) fn remove(&mut self, name: &str) -> Option<Ino> {
        let (cookie, ino) = self.names.remove(name)?;
        self.entries.remove(&cookie);
        Some(ino)
    }

    /// Whether there is no name.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Names behind a cookie: each with its own cookie and its node.
    pub(crate) fn behind(&self, cookie: u64) -> impl Iterator<Item = (u64, &str, Ino)> {
        let from = cookie.saturating_add(1);
        self.entries.range(from..).map(|(cookie, (name, ino))| (*cookie, &**name, *ino))
    }
}
