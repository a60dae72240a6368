//! What can be asked of an open file.
//!
//! Nothing here waits, so requests that overlap see each change whole: whoever changes something says what time it is.
#![forbid(unsafe_code)]

use crate::clock::Time;
use crate::content::{PAGE, PAGE_BYTES, Piece};
use crate::node::{Directory, Ino, Kind, Node, Want};
use crate::tree::{self, Found, Last, Place, Tree};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use syscall::flag::{AT_REMOVEDIR, F_GETFL, F_SETFL, O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_FCNTL_MASK};
use syscall::flag::{O_ACCMODE, O_NOFOLLOW, O_RDONLY, O_SYMLINK, O_TRUNC, O_WRONLY};
use uring::Errno;
use uring::scheme::{Answer, Dirent, Dirents, Entries, Events, Map, Open, Output, Path};
use uring::scheme::{Read, Space, Stat, Times, Who, Write};

/// File id of the root, as the scheme was registered with it; no open answers it.
pub(crate) const ROOT: u64 = 0;
/// Most bytes of a symbolic link's target.
const MOST_TARGET: usize = 4096;

/// What a request comes to.
pub(crate) type Result<T = Answer> = core::result::Result<T, Errno>;

/// The tree and the files that are open.
pub(crate) struct Files {
    tree: Tree,
    /// Open files by id; the first is the root, which is always open.
    open: Vec<Option<File>>,
    /// Ids that were used and are free.
    free: Vec<u64>,
}

/// An open file.
#[derive(Clone, Debug)]
struct File {
    ino: Ino,
    /// The name that it was opened by.
    place: Place,
    /// Flags `O_*`.
    flags: u64,
}

impl File {
    /// Whether it was opened for this.
    fn allows(&self, access: usize) -> Result<()> {
        if self.has(access) { Ok(()) } else { Err(Errno::BADF) }
    }

    fn has(&self, flag: usize) -> bool {
        self.flags & flag as u64 != 0
    }
}

/// Whether an open may change the tree.
#[inline(always)]
pub(crate) fn changes(open: Open<'_>) -> bool {
    open.flags & (O_CREAT | O_TRUNC) as u64 != 0
}

impl Files {
    /// An empty tree with room for so many bytes.
    pub(crate) fn new(bytes: u64) -> Files {
        let root = File { ino: tree::ROOT, place: Place::default(), flags: O_RDONLY as u64 };
        Files { tree: Tree::new(bytes), open: vec![Some(root)], free: Vec::new() }
    }

    #[inline(always)]
    fn file(&self, id: u64) -> Result<&File> {
        self.open.get(id as usize).and_then(Option::as_ref).ok_or(Errno::BADF)
    }

    /// Which node a file is.
    #[inline(always)]
    fn ino(&self, id: u64) -> Result<Ino> {
        Ok(self.file(id)?.ino)
    }

    #[inline(always)]
    fn add(&mut self, file: File) -> Answer {
        self.tree.hold(file.ino);
        let id = self.free.pop().unwrap_or(self.open.len() as u64);
        match self.open.get_mut(id as usize) {
            Some(place) => *place = Some(file),
            None => self.open.push(Some(file)),
        }
        Answer::File(id)
    }

    /// Opens or makes a file. The time is of interest if that [`changes`] something.
    #[inline(always)]
    pub(crate) fn open(&mut self, from: u64, open: Open<'_>, now: Time) -> Result {
        let from = self.ino(from)?;
        let has = |flag: usize| open.flags & flag as u64 == flag as u64;
        let stops = has(O_SYMLINK) || has(O_NOFOLLOW) || has(O_CREAT | O_EXCL);
        let last = if stops { Last::Stop } else { Last::Follow };
        let found = self.tree.find(from, open.path, last, open.who)?;
        let (place, ino) = match found {
            Found::Link(path) => return Ok(Answer::Link(path)),
            Found::There(_, _) if has(O_CREAT | O_EXCL) => return Err(Errno::EXIST),
            Found::There(place, ino) => {
                self.may_open(ino, open)?;
                if has(O_TRUNC) {
                    self.cut(ino, 0, now)?;
                }
                (place, ino)
            }
            Found::Free(place) if has(O_CREAT) => {
                let kind = match () {
                    () if has(O_SYMLINK) => Kind::Link(String::new()),
                    () if has(O_DIRECTORY) => Kind::Directory(Directory::default()),
                    () => Kind::File(Default::default()),
                };
                let ino = self.tree.create(&place, kind, open.mode, open.who, now)?;
                (place, ino)
            }
            Found::Free(_) => return Err(Errno::NOENT),
        };
        Ok(self.add(File { ino, place, flags: open.flags }))
    }

    /// Whether a file that is there may be opened like this.
    fn may_open(&self, ino: Ino, open: Open<'_>) -> Result<()> {
        let has = |flag: usize| open.flags & flag as u64 != 0;
        let tree = &self.tree;
        let node = tree.node(ino)?;
        let writes = has(O_ACCMODE & O_WRONLY) || has(O_TRUNC);
        match node.kind {
            Kind::Link(_) if !has(O_SYMLINK) => return Err(Errno::LOOP),
            Kind::File(_) | Kind::Link(_) if has(O_DIRECTORY) => return Err(Errno::NOTDIR),
            Kind::Directory(_) if writes => return Err(Errno::ISDIR),
            Kind::Link(_) => return Ok(()), // a link's own mode means nothing
            _ => {}
        }
        if has(O_RDONLY) {
            node.allows(open.who, Want::READ)?;
        }
        if writes { node.allows(open.who, Want::WRITE) } else { Ok(()) }
    }

    /// Opens an open file once more, with a cursor of its own.
    pub(crate) fn reopen(&mut self, id: u64) -> Result {
        let file = self.file(id)?.clone();
        Ok(self.add(file))
    }

    /// Nobody holds the file any more.
    #[inline(always)]
    pub(crate) fn close(&mut self, id: u64) -> Result {
        let file = self.open.get_mut(id as usize).and_then(Option::take).ok_or(Errno::BADF)?;
        self.free.push(id);
        self.tree.release(file.ino);
        Ok(0_u64.into())
    }

    /// Reads a file, or where a link leads.
    pub(crate) fn read(&self, id: u64, mut read: Read<'_>) -> Result {
        let file = self.file(id)?;
        file.allows(O_RDONLY)?;
        let tree = &self.tree;
        match &tree.node(file.ino)?.kind {
            Kind::Directory(_) => return Err(Errno::ISDIR),
            Kind::File(content) => {
                for piece in content.read(read.offset, read.out.room()) {
                    match piece {
                        Piece::Bytes(bytes) => read.out.write(bytes),
                        Piece::Zeros(count) => read.out.zeros(count),
                    };
                }
            }
            Kind::Link(target) => {
                let start = usize::try_from(read.offset).unwrap_or(usize::MAX);
                read.out.write(target.as_bytes().get(start..).unwrap_or_default());
            }
        }
        Ok(read.out.written().into())
    }

    /// Writes a file, or says where a fresh link leads.
    pub(crate) fn write(&mut self, id: u64, write: Write<'_>, now: Time) -> Result {
        let file = self.file(id)?;
        file.allows(O_WRONLY)?;
        let appends = file.has(O_APPEND);
        let (node, quota) = self.tree.node_and_quota(file.ino)?;
        let count = match &mut node.kind {
            Kind::Directory(_) => return Err(Errno::ISDIR),
            Kind::File(content) => {
                let at = if appends { content.length() } else { write.offset };
                content.write(at, write.bytes, quota)?
            }
            Kind::Link(target) if target.is_empty() => {
                let text = str::from_utf8(write.bytes).map_err(|_| Errno::ILSEQ)?;
                if text.len() > MOST_TARGET {
                    return Err(Errno::NAMETOOLONG);
                }
                target.push_str(text);
                text.len()
            }
            Kind::Link(_) => return Err(Errno::INVAL),
        };
        (node.modified, node.changed) = (now, now);
        Ok(count.into())
    }

    /// Lets a client map a file.
    pub(crate) fn map(&mut self, id: u64, map: Map) -> Result {
        let file = self.file(id)?;
        if !file.has(O_RDONLY) || map.shared && map.written && !file.has(O_WRONLY) {
            return Err(Errno::ACCES);
        }
        let ino = file.ino;
        match &mut self.tree.node_mut(ino)?.kind {
            Kind::File(content) => content.show(),
            _ => return Err(Errno::NODEV),
        }
        Ok(Answer::OnDemand)
    }

    /// Gives a page that a client has mapped.
    pub(crate) fn page_in(&mut self, id: u64, map: Map) -> Result {
        let ino = self.ino(id)?;
        let (node, quota) = self.tree.node_and_quota(ino)?;
        let Kind::File(content) = &mut node.kind else { return Err(Errno::NODEV) };
        content.page_in(map, quota)
    }

    /// Length of a file.
    pub(crate) fn length(&self, id: u64) -> Result {
        let ino = self.ino(id)?;
        Ok(self.tree.node(ino)?.length().into())
    }

    /// Sets the length.
    pub(crate) fn truncate(&mut self, id: u64, length: u64, now: Time) -> Result {
        let file = self.file(id)?;
        file.allows(O_WRONLY)?;
        self.cut(file.ino, length, now).map(Answer::from)
    }

    fn cut(&mut self, ino: Ino, length: u64, now: Time) -> Result<()> {
        let tree = &mut self.tree;
        let (node, quota) = tree.node_and_quota(ino)?;
        let Kind::File(content) = &mut node.kind else { return Err(Errno::INVAL) };
        content.truncate(length, quota)?;
        (node.modified, node.changed) = (now, now);
        Ok(())
    }

    /// Changes something of a node that only its owner may change.
    fn change(
        &mut self,
        id: u64,
        who: Who,
        now: Time,
        change: impl FnOnce(&mut Node) -> Result<()>,
    ) -> Result {
        let ino = self.ino(id)?;
        let tree = &mut self.tree;
        let node = tree.node_mut(ino)?;
        node.is_owned(who)?;
        change(node)?;
        node.changed = now;
        Ok(0_u64.into())
    }

    /// Changes the permission bits.
    pub(crate) fn set_mode(&mut self, id: u64, who: Who, mode: u32, now: Time) -> Result {
        self.change(id, who, now, |node| {
            node.mode = mode as u16 & 0o7777;
            Ok(())
        })
    }

    /// Changes the owner, which only the superuser may; the group may be made the owner's own.
    pub(crate) fn set_owner(&mut self, id: u64, who: Who, uid: u32, gid: u32, now: Time) -> Result {
        self.change(id, who, now, |node| {
            let (new_uid, new_gid) =
                (if uid == u32::MAX { node.uid } else { uid }, if gid == u32::MAX { node.gid } else { gid });
            if who.uid != 0 && (new_uid != node.uid || new_gid != node.gid && new_gid != who.gid) {
                return Err(Errno::PERM);
            }
            (node.uid, node.gid) = (new_uid, new_gid);
            Ok(())
        })
    }

    /// Sets access and modification time.
    pub(crate) fn set_times(&mut self, id: u64, who: Who, times: Times<'_>, now: Time) -> Result {
        let accessed = Time::from_bytes(times.bytes).ok_or(Errno::INVAL)?;
        let rest = times.bytes.get(Time::BYTES..).unwrap_or_default();
        let modified = Time::from_bytes(rest).ok_or(Errno::INVAL)?;
        self.change(id, who, now, |node| {
            (node.accessed, node.modified) = (accessed, modified);
            Ok(())
        })
    }

    /// What `stat` tells.
    pub(crate) fn stat(&self, id: u64, mut stat: Stat<'_>) -> Result {
        let ino = self.ino(id)?;
        let tree = &self.tree;
        let node = tree.node(ino)?;
        let pages = if let Kind::File(content) = &node.kind { content.pages() } else { 0 };
        stat.write(&syscall::Stat {
            st_ino: u64::from(ino).saturating_add(1),
            st_mode: node.mode_type() | node.mode,
            st_nlink: node.links,
            st_uid: node.uid,
            st_gid: node.gid,
            st_size: node.length(),
            st_blksize: PAGE as u32,
            st_blocks: pages.saturating_mul(const { PAGE_BYTES / 512 }),
            st_mtime: node.modified.seconds,
            st_mtime_nsec: node.modified.nanoseconds,
            st_atime: node.accessed.seconds,
            st_atime_nsec: node.accessed.nanoseconds,
            st_ctime: node.changed.seconds,
            st_ctime_nsec: node.changed.nanoseconds,
            ..syscall::Stat::default()
        });
        Ok(0_u64.into())
    }

    /// What `statvfs` tells.
    pub(crate) fn space(&self, mut space: Space<'_>) -> Answer {
        let quota = &self.tree.quota;
        space.write(&syscall::StatVfs {
            f_bsize: PAGE as u32,
            f_blocks: quota.total,
            f_bfree: quota.free,
            f_bavail: quota.free,
        });
        Answer::Number(0)
    }

    /// Entries of a directory. An entry's cookie is where to go on behind it.
    pub(crate) fn entries(&self, id: u64, entries: Entries<'_>) -> Result {
        let ino = self.ino(id)?;
        let tree = &self.tree;
        let directory = tree.node(ino)?.directory()?;
        let start = entries.start;
        let mut list = Dirents::new(entries);
        for (next, name, child) in directory.behind(start) {
            let (kind, inode) = (tree.node(child)?.entry_kind(), u64::from(child).saturating_add(1));
            if !list.push(Dirent { inode, next, kind, name }) {
                break;
            }
        }
        Ok(list.finish().into())
    }

    /// The path below the scheme.
    pub(crate) fn path(&self, id: u64, mut out: Output<'_>) -> Result {
        let file = self.file(id)?;
        let tree = &self.tree;
        let mut path = match tree.node(file.ino)?.kind {
            Kind::Directory(_) => tree.path_of(file.ino)?,
            _ => tree.path_of(file.place.parent)?,
        };
        if !tree.node(file.ino)?.is_directory() {
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(&file.place.name);
        }
        if out.write_all(path.as_bytes()) { Ok(path.len().into()) } else { Err(Errno::NAMETOOLONG) }
    }

    /// Gives the open file another path.
    pub(crate) fn rename(&mut self, id: u64, to: Path<'_>, now: Time) -> Result {
        let file = self.file(id)?.clone();
        let tree = &mut self.tree;
        let from = match &tree.node(file.ino)?.kind {
            Kind::Directory(directory) => Place { parent: directory.parent, name: directory.name.clone() },
            _ => file.place,
        };
        let found = tree.find(tree::ROOT, to.path, Last::Stop, to.who)?;
        let place = tree.rename(&from, file.ino, &found, to.who, now)?;
        if let Some(Some(file)) = self.open.get_mut(id as usize) {
            file.place = place;
        }
        Ok(0_u64.into())
    }

    /// Gives the open file one more path.
    pub(crate) fn link(&mut self, id: u64, to: Path<'_>, now: Time) -> Result {
        let ino = self.ino(id)?;
        let tree = &mut self.tree;
        match tree.find(tree::ROOT, to.path, Last::Stop, to.who)? {
            Found::There(_, _) => Err(Errno::EXIST),
            Found::Link(_) => Err(Errno::XDEV),
            Found::Free(place) => tree.link(ino, &place, to.who, now).map(Answer::from),
        }
    }

    /// Removes a name.
    pub(crate) fn unlink(&mut self, from: u64, name: Path<'_>, now: Time) -> Result {
        let from = self.file(from)?.ino;
        let tree = &mut self.tree;
        let (place, ino) = match tree.find(from, name.path, Last::Stop, name.who)? {
            Found::There(place, ino) => (place, ino),
            Found::Link(_) => return Err(Errno::XDEV),
            Found::Free(_) => return Err(Errno::NOENT),
        };
        match (name.flags & AT_REMOVEDIR as u64 != 0, tree.node(ino)?.is_directory()) {
            (true, false) => Err(Errno::NOTDIR),
            (false, true) => Err(Errno::ISDIR),
            _ => tree.unlink(&place, ino, name.who, now).map(Answer::from),
        }
    }

    /// Reads or sets the flags that can change while a file is open.
    pub(crate) fn control(&mut self, id: u64, command: u64, argument: u64) -> Result {
        const CHANGING: u64 = O_FCNTL_MASK as u64;
        let file = self.open.get_mut(id as usize).and_then(Option::as_mut).ok_or(Errno::BADF)?;
        match usize::try_from(command) {
            Ok(F_GETFL) => Ok((file.flags & (CHANGING | O_ACCMODE as u64)).into()),
            Ok(F_SETFL) => {
                file.flags = file.flags & !CHANGING | argument & CHANGING;
                Ok(0_u64.into())
            }
            _ => Err(Errno::INVAL),
        }
    }

    /// Events: every one that is asked for, at once. POSIX says so of regular files, and Linux does the same: neither their
    /// end nor a full tree makes anybody wait.
    pub(crate) fn events(&self, id: u64, events: Events) -> Result {
        self.file(id).map(|_| events.mask.into())
    }
}
