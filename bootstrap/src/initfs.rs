//! Scheme `initfs`: answers from the image in memory, at once.
#![forbid(unsafe_code)]

use bootstrap::ids::Id;
use bootstrap::tree::{self, Found};
use initfs_format::{Image, Kind, Node};
use posix::file::Stat as Status;
use posix::flags::{MODE_DIRECTORY, MODE_FILE, MODE_SYMLINK};
use ring_abi::Errno;
use syscall::dirent::DirentKind;
use uring::scheme::{Answer, Body, Dirent, Dirents, Entries, Map, Open, Read, Request, Stat};

/// The scheme's name.
pub(crate) const NAME: &str = "initfs";

/// The answer to a request on a node.
pub(crate) fn answer(image: &Image<'static>, node: u32, request: &mut Request) -> Result<Answer, Errno> {
    let node = image.node(node).ok_or(Errno::BADF)?;
    match request.body() {
        Body::Open(open) => open_at(image, node, open),
        Body::Dup(dup) if dup.name.is_empty() => Ok(Answer::File(Id::Node(node.id()).raw())),
        Body::Read(read) => read_at(image, node, read),
        Body::Length => Ok(node.size().into()),
        Body::Path(mut out) => Ok(out.write(tree::path_of(image, node).as_bytes()).into()),
        Body::Stat(stat) => {
            tell(node, stat);
            Ok(().into())
        }
        Body::Entries(entries) => list(image, node, entries).map(Answer::from),
        Body::Events(events) => Ok(events.mask.into()),
        Body::Map(map) => pages_of(image, node, map),
        Body::Sync | Body::Closed => Ok(0_u64.into()),
        Body::Unlink(path) => Err(tree::refuse_change(image, node, path.path)),
        Body::Write(_)
        | Body::Truncate(_)
        | Body::Mode(_)
        | Body::Owner(..)
        | Body::Rename(_)
        | Body::Link(_)
        | Body::Times(_) => Err(Errno::ROFS),
        _ => Err(Errno::OPNOTSUPP),
    }
}

fn open_at(image: &Image<'static>, directory: Node, open: Open<'_>) -> Result<Answer, Errno> {
    Ok(match tree::open(image, NAME, directory, open.path, open.flags)? {
        Found::Node(node) => Answer::File(Id::Node(node.id()).raw()),
        Found::Link(path) => Answer::Link(path),
    })
}

fn read_at(image: &Image<'static>, node: Node, mut read: Read<'_>) -> Result<Answer, Errno> {
    let bytes = match node.kind() {
        Kind::Directory => return Err(Errno::ISDIR),
        Kind::File => image.data(node),
        Kind::Symlink => image.target(node).unwrap_or_default().as_bytes(),
    };
    let rest = usize::try_from(read.offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
    Ok(read.out.write(rest).into())
}

/// The image's own pages, where a file lies.
fn pages_of(image: &Image<'static>, node: Node, map: Map) -> Result<Answer, Errno> {
    if node.kind() != Kind::File {
        return Err(Errno::NODEV);
    }
    if map.shared && map.written {
        return Err(Errno::ACCES);
    }
    let rest = usize::try_from(map.offset).ok().and_then(|offset| image.data(node).get(offset..));
    let rest = rest.filter(|rest| !rest.is_empty()).ok_or(Errno::NXIO)?;
    let pages = (rest.len() as u64).min(map.length).div_ceil(4096);
    Ok(Answer::Pages(rest.as_ptr().addr() as u64, u32::try_from(pages).map_err(|_| Errno::FBIG)?))
}

fn tell(node: Node, mut stat: Stat<'_>) {
    let (kind, links) = match node.kind() {
        Kind::Directory => (MODE_DIRECTORY, 2),
        Kind::File => (MODE_FILE, 1),
        Kind::Symlink => (MODE_SYMLINK, 1),
    };
    stat.write(&Status {
        st_ino: inode(node),
        st_mode: (kind | node.mode()) as u16,
        st_nlink: links,
        st_size: node.size(),
        st_blksize: 4096,
        st_blocks: node.size().div_ceil(512),
        st_mtime: node.mtime(),
        st_atime: node.mtime(),
        st_ctime: node.mtime(),
        ..Status::default()
    });
}

fn inode(node: Node) -> u64 {
    u64::from(node.id()).saturating_add(1)
}

fn list(image: &Image<'static>, node: Node, entries: Entries<'_>) -> Result<usize, Errno> {
    if !node.is_directory() {
        return Err(Errno::NOTDIR);
    }
    let start = usize::try_from(entries.start).unwrap_or(usize::MAX);
    let mut dirents = Dirents::new(entries);
    for (index, child) in image.children(node).enumerate().skip(start) {
        let kind = match child.kind() {
            Kind::Directory => DirentKind::Directory,
            Kind::File => DirentKind::Regular,
            Kind::Symlink => DirentKind::Symlink,
        };
        let next = (index as u64).saturating_add(1);
        if !dirents.push(Dirent { inode: inode(child), next, kind, name: image.name(child) }) {
            break;
        }
    }
    Ok(dirents.finish())
}
