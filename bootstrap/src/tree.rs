//! The initfs as a file system: what a path leads to, and what may be done there.
//!
//! A walk follows names in the image and stops at the first symbolic link on its way: where a link leads,
//! even inside this scheme, is for the client's library to open, so links across schemes and loops are
//! counted in one place.
//!
//! - Nothing in an image can change: whatever would is `EROFS`.
//! - `..` at the root stays there.
#![forbid(unsafe_code)]

use alloc::string::String;
use alloc::vec::Vec;
use initfs_format::{Image, Kind, Node};
use posix::flags::{
    O_ACCMODE, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_SYMLINK, O_TRUNC, O_WRONLY,
};
use posix::path::PATH_MAX;
use ring_abi::Errno;

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A node, and it may be opened.
    Node(Node),
    /// A symbolic link on the way: the path to go on with.
    Link(String),
}

/// Opens `path` from `directory`, as `flags` want it. `scheme` is the name under which the image is served.
pub fn open(
    image: &Image<'_>,
    scheme: &str,
    directory: Node,
    path: &str,
    flags: u64,
) -> Result<Found, Errno> {
    let mut walk = Walk { image, scheme, at: directory };
    let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
    while let Some(name) = names.next() {
        let is_last = names.peek().is_none();
        let Some(next) = walk.child(name)? else {
            return Err(if is_last && flags & O_CREAT != 0 { Errno::ROFS } else { Errno::NOENT });
        };
        if next.kind() == Kind::Symlink && !(is_last && flags & O_SYMLINK != 0) {
            if is_last && flags & O_NOFOLLOW != 0 {
                return Err(Errno::LOOP);
            }
            if is_last && flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL {
                return Err(Errno::EXIST);
            }
            let rest: Vec<&str> = names.collect();
            return walk.follow(next, &rest.join("/")).map(Found::Link);
        }
        walk.at = next;
    }
    may_open(walk.at, flags)?;
    Ok(Found::Node(walk.at))
}

fn may_open(node: Node, flags: u64) -> Result<(), Errno> {
    let writes = flags & O_ACCMODE & (O_WRONLY & !O_RDONLY) != 0 || flags & O_TRUNC != 0;
    match node.kind() {
        _ if flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL => Err(Errno::EXIST),
        Kind::Directory if writes => Err(Errno::ISDIR),
        Kind::File | Kind::Symlink if flags & O_DIRECTORY != 0 => Err(Errno::NOTDIR),
        _ if writes => Err(Errno::ROFS),
        _ => Ok(()),
    }
}

/// Removing or changing a name: what is said about it instead.
pub fn refuse_change(image: &Image<'_>, directory: Node, path: &str) -> Errno {
    match open(image, "", directory, path, O_SYMLINK) {
        Ok(Found::Node(_)) => Errno::ROFS,
        Ok(Found::Link(_)) => Errno::XDEV,
        Err(error) => error,
    }
}

/// The path of a node below the root of the scheme.
pub fn path_of(image: &Image<'_>, node: Node) -> String {
    let mut names = Vec::new();
    let mut at = node;
    while at.id() != image.root().id() {
        names.push(image.name(at));
        let Some(parent) = image.node(at.parent()) else { break };
        at = parent;
    }
    names.reverse();
    names.join("/")
}

struct Walk<'a> {
    image: &'a Image<'a>,
    scheme: &'a str,
    at: Node,
}

impl Walk<'_> {
    /// Where `name` leads from here; `ENOTDIR` if here is no directory.
    fn child(&self, name: &str) -> Result<Option<Node>, Errno> {
        match name {
            _ if !self.at.is_directory() => Err(Errno::NOTDIR),
            "." => Ok(Some(self.at)),
            ".." => Ok(self.image.node(self.at.parent())),
            name => Ok(self.image.child(self.at, name)),
        }
    }

    /// The path that a link found here stands for, with what came after it.
    fn follow(&self, link: Node, rest: &str) -> Result<String, Errno> {
        let target = self.image.target(link).ok_or(Errno::IO)?;
        let mut path = String::new();
        if !posix::path::is_absolute(target) {
            path = ["/scheme/", self.scheme, "/", &path_of(self.image, self.at), "/"].concat();
        }
        path.push_str(target);
        if !rest.is_empty() {
            path.push('/');
            path.push_str(rest);
        }
        if path.len() >= PATH_MAX { Err(Errno::NAMETOOLONG) } else { Ok(path) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Found, open, path_of, refuse_change};
    use alloc::string::String;
    use alloc::vec::Vec;
    use initfs_format::{Builder, Image};
    use posix::flags::{
        O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_RDWR, O_SYMLINK, O_TRUNC, O_WRONLY,
    };
    use posix::path::{Canonical, canonicalise};
    use proptest::prelude::{prop, proptest};
    use ring_abi::Errno;

    fn image() -> Vec<u8> {
        let mut builder = Builder::new();
        builder.directory("bin", 0o755).unwrap();
        builder.file("bin/ls", "program", 0o755).unwrap();
        builder.directory("etc", 0o755).unwrap();
        builder.file("etc/plan", "plan", 0o644).unwrap();
        builder.symlink("etc/here", "plan").unwrap();
        builder.symlink("etc/up", "../bin").unwrap();
        builder.symlink("etc/loop", "loop").unwrap();
        builder.symlink("tmp", "/scheme/ram").unwrap();
        builder.symlink("old", "ram:x").unwrap();
        builder.finish().unwrap()
    }

    fn try_open(path: &str, flags: u64) -> Result<String, Errno> {
        let bytes = image();
        let image = Image::open(&bytes).unwrap();
        open(&image, "initfs", image.root(), path, flags).map(|found| match found {
            Found::Node(node) => path_of(&image, node),
            Found::Link(path) => ["-> ", &path].concat(),
        })
    }

    fn leads_to(path: &str) -> String {
        try_open(path, O_RDONLY).unwrap_or_else(|error| alloc::format!("{error:?}"))
    }

    #[test]
    fn names_lead_to_nodes() {
        for (path, result) in [
            ("", ""),
            ("etc", "etc"),
            ("etc/plan", "etc/plan"),
            ("etc/../bin/./ls", "bin/ls"),
            ("../../etc", "etc"),
            ("nothing", "ENOENT"),
            ("etc/nothing/x", "ENOENT"),
            ("etc/plan/x", "ENOTDIR"),
            ("etc/plan/..", "ENOTDIR"),
        ] {
            assert_eq!(leads_to(path), result, "{path}");
        }
    }

    #[test]
    fn links_lead_to_paths() {
        for (path, result) in [
            ("etc/here", "-> /scheme/initfs/etc/plan"),
            ("etc/up/ls", "-> /scheme/initfs/etc/../bin/ls"),
            ("tmp", "-> /scheme/ram"),
            ("tmp/a/b", "-> /scheme/ram/a/b"),
            ("old/y", "-> ram:x/y"),
            ("etc/loop", "-> /scheme/initfs/etc/loop"),
        ] {
            assert_eq!(leads_to(path), result, "{path}");
        }
        let up = canonicalise(&Canonical::schemes(), "file", b"/scheme/initfs/etc/../bin/ls").unwrap();
        assert_eq!(leads_to(up.rest()), "bin/ls");
    }

    #[test]
    fn a_link_itself_can_be_opened_or_refused() {
        assert_eq!(try_open("etc/here", O_SYMLINK).as_deref(), Ok("etc/here"));
        assert_eq!(try_open("etc/here", O_NOFOLLOW), Err(Errno::LOOP));
        assert_eq!(try_open("etc/here", O_CREAT | O_EXCL), Err(Errno::EXIST));
        assert_eq!(try_open("tmp/a", O_SYMLINK | O_NOFOLLOW).as_deref(), Ok("-> /scheme/ram/a"));
    }

    #[test]
    fn nothing_can_be_changed() {
        assert_eq!(try_open("etc/plan", O_WRONLY), Err(Errno::ROFS));
        assert_eq!(try_open("etc/plan", O_RDWR), Err(Errno::ROFS));
        assert_eq!(try_open("etc/plan", O_RDONLY | O_TRUNC), Err(Errno::ROFS));
        assert_eq!(try_open("etc/new", O_WRONLY | O_CREAT), Err(Errno::ROFS));
        assert_eq!(try_open("no/new", O_WRONLY | O_CREAT), Err(Errno::NOENT));
        assert_eq!(try_open("etc/plan", O_RDONLY | O_CREAT).as_deref(), Ok("etc/plan"));
        assert_eq!(try_open("etc/plan", O_CREAT | O_EXCL), Err(Errno::EXIST));
        assert_eq!(try_open("etc", O_WRONLY), Err(Errno::ISDIR));
        assert_eq!(try_open("etc/plan", O_DIRECTORY), Err(Errno::NOTDIR));
        let bytes = image();
        let image = Image::open(&bytes).unwrap();
        assert_eq!(refuse_change(&image, image.root(), "etc/here"), Errno::ROFS);
        assert_eq!(refuse_change(&image, image.root(), "tmp/x"), Errno::XDEV);
        assert_eq!(refuse_change(&image, image.root(), "none"), Errno::NOENT);
    }

    proptest! {
        #[test]
        fn no_path_is_too_wild(
            names in prop::collection::vec(prop::sample::select(alloc::vec!["etc", "..", ".", "", "up", "ls", "é"]), 0..9),
            flags in proptest::num::u64::ANY,
        ) {
            let _ = try_open(&names.join("/"), flags);
        }
    }
}
