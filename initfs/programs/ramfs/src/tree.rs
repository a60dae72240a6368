//! Directories, names and links: the tree without its clients.
//!
//! - A node stays while a name leads to it or somebody has it open ([`Tree::hold`], [`Tree::release`]).
//! - A path is walked one name at a time. A symbolic link on the way ends the walk with the path to go on with
//!   ([`Found::Link`]): it may lead to another scheme, so only the client's library can go there.
//! - Changes check first and commit last: after the first change nothing fails.
#![forbid(unsafe_code)]

use crate::clock::Time;
use crate::content::{PAGE_BYTES, Quota};
use crate::node::{Directory, Ino, Kind, Node, Want};
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use uring::Errno;
use uring::scheme::Who;

/// The root's number.
pub(crate) const ROOT: Ino = 0;
/// Most bytes of a name.
const MOST_NAME: usize = 255;
/// Most nodes of a tree.
const MOST_NODES: usize = 1 << 20;

/// A name in a directory; the root's is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) parent: Ino,
    pub(crate) name: Rc<str>,
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// To this node, by this name.
    There(Place, Ino),
    /// To a name that is free.
    Free(Place),
    /// To a symbolic link, which leads to this path: absolute, or below the root.
    Link(String),
}

/// What a walk does with a link at the end of its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    /// It is a link on the way.
    Follow,
    /// It is what was looked for.
    Stop,
}

/// The first name of a path and what is behind it. Empty names and `.` are none.
fn first_name(path: &str) -> Option<(&str, &str)> {
    let mut left = path;
    while !left.is_empty() {
        let end = left.bytes().position(|byte| byte == b'/').unwrap_or(left.len());
        let (name, behind) = left.split_at(end);
        if !matches!(name, "" | ".") {
            return Some((name, behind));
        }
        left = behind.get(1..).unwrap_or_default();
    }
    None
}

/// A file tree.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Vec<Option<Node>>,
    free: Vec<Ino>,
    pub(crate) quota: Quota,
}

impl Tree {
    /// An empty tree with room for so many bytes.
    pub(crate) fn new(bytes: u64) -> Tree {
        let nobody = Who { pid: 0, uid: 0, gid: 0 };
        let mut root = Node::new(Kind::Directory(Directory::default()), 0o777, nobody, Time::default());
        root.links = 1;
        let pages = bytes.wrapping_div(PAGE_BYTES);
        Tree { nodes: vec![Some(root)], free: Vec::new(), quota: Quota::new(pages) }
    }

    /// A node.
    pub(crate) fn node(&self, ino: Ino) -> Result<&Node, Errno> {
        self.nodes.get(ino as usize).and_then(Option::as_ref).ok_or(Errno::NOENT)
    }

    /// A node, to change it.
    pub(crate) fn node_mut(&mut self, ino: Ino) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(ino as usize).and_then(Option::as_mut).ok_or(Errno::NOENT)
    }

    /// A node and the room that its bytes are taken from.
    pub(crate) fn node_and_quota(&mut self, ino: Ino) -> Result<(&mut Node, &mut Quota), Errno> {
        let node = self.nodes.get_mut(ino as usize).and_then(Option::as_mut).ok_or(Errno::NOENT)?;
        Ok((node, &mut self.quota))
    }

    /// Walks a path.
    pub(crate) fn find(&self, from: Ino, path: &str, last: Last, who: Who) -> Result<Found, Errno> {
        let mut at = from;
        // The name by which the walk came where it is; `None` at its start and after a `..`.
        let mut by = None;
        let mut left = first_name(path);
        while let Some((name, behind)) = left {
            left = first_name(behind);
            let node = self.node(at)?;
            let directory = node.directory()?;
            node.allows(who, Want::ENTER)?;
            if name == ".." {
                (at, by) = (directory.parent, None);
                continue;
            }
            if name.len() > MOST_NAME {
                return Err(Errno::NAMETOOLONG);
            }
            let Some((name, next)) = directory.get(name) else {
                let free = || Found::Free(Place { parent: at, name: name.into() });
                return if left.is_none() { Ok(free()) } else { Err(Errno::NOENT) };
            };
            if let Kind::Link(target) = &self.node(next)?.kind
                && (left.is_some() || last == Last::Follow)
            {
                return self.beyond(at, target, behind).map(Found::Link);
            }
            (at, by) = (next, Some((at, name)));
        }
        let place = match by {
            Some((parent, name)) => Place { parent, name: name.clone() },
            None => self.place_of(at)?,
        };
        Ok(Found::There(place, at))
    }

    /// The path that a link in a directory leads to, with the names that come after it.
    fn beyond(&self, directory: Ino, target: &str, rest: &str) -> Result<String, Errno> {
        let mut path = if target.starts_with('/') { String::new() } else { self.path_of(directory)? };
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(target);
        let mut left = first_name(rest);
        while let Some((name, behind)) = left {
            path.push('/');
            path.push_str(name);
            left = first_name(behind);
        }
        Ok(path)
    }

    /// The name of a directory; for anything else an empty one.
    fn place_of(&self, ino: Ino) -> Result<Place, Errno> {
        Ok(match &self.node(ino)?.kind {
            Kind::Directory(directory) => Place { parent: directory.parent, name: directory.name.clone() },
            _ => Place::default(),
        })
    }

    /// The path of a directory, below the root.
    pub(crate) fn path_of(&self, directory: Ino) -> Result<String, Errno> {
        let mut names = Vec::new();
        let mut at = directory;
        while at != ROOT {
            let directory = self.node(at)?.directory()?;
            names.push(&*directory.name);
            at = directory.parent;
        }
        names.reverse();
        Ok(names.join("/"))
    }

    /// Makes a node at a free place.
    pub(crate) fn create(
        &mut self,
        place: &Place,
        kind: Kind,
        mode: u16,
        who: Who,
        now: Time,
    ) -> Result<Ino, Errno> {
        let parent = self.node(place.parent)?;
        parent.allows(who, Want::WRITE)?;
        let is_gone = parent.links == 0;
        if is_gone || parent.directory()?.get(&place.name).is_some() {
            return Err(if is_gone { Errno::NOENT } else { Errno::EXIST });
        }
        if self.free.is_empty() && self.nodes.len() >= MOST_NODES {
            return Err(Errno::NOSPC);
        }

        let node = Node::new(kind, mode, who, now);
        let ino = match self.free.pop() {
            Some(ino) => ino,
            None => {
                self.nodes.push(None);
                self.nodes.len().wrapping_sub(1) as Ino
            }
        };
        if let Some(slot) = self.nodes.get_mut(ino as usize) {
            *slot = Some(node);
        }
        self.enter(place, ino, now);
        Ok(ino)
    }

    /// Gives a node another name.
    pub(crate) fn link(&mut self, ino: Ino, place: &Place, who: Who, now: Time) -> Result<(), Errno> {
        let node = self.node(ino)?;
        if node.is_directory() {
            return Err(Errno::PERM);
        }
        let parent = self.node(place.parent)?;
        parent.allows(who, Want::WRITE)?;
        if node.links == 0 || parent.links == 0 {
            return Err(Errno::NOENT);
        }
        if node.links == u32::MAX {
            return Err(Errno::MLINK);
        }

        self.enter(place, ino, now);
        Ok(())
    }

    /// Removes a name that leads to `ino`.
    pub(crate) fn unlink(&mut self, place: &Place, ino: Ino, who: Who, now: Time) -> Result<(), Errno> {
        if ino == ROOT {
            return Err(Errno::BUSY);
        }
        self.node(place.parent)?.allows(who, Want::WRITE)?;
        if let Kind::Directory(directory) = &self.node(ino)?.kind
            && !directory.is_empty()
        {
            return Err(Errno::NOTEMPTY);
        }

        self.leave(place, now);
        Ok(())
    }

    /// Moves a name to another place. What was there goes.
    pub(crate) fn rename(
        &mut self,
        from: &Place,
        ino: Ino,
        to: &Found,
        who: Who,
        now: Time,
    ) -> Result<Place, Errno> {
        let (to, displaced) = match to {
            Found::Free(place) => (place, None),
            Found::There(place, there) => (place, Some(*there)),
            Found::Link(_) => return Err(Errno::XDEV),
        };
        if ino == ROOT || displaced == Some(ROOT) {
            return Err(Errno::BUSY);
        }
        if self.node(from.parent)?.directory()?.get(&from.name).map(|(_, ino)| ino) != Some(ino) {
            return Err(Errno::NOENT); // somebody else has moved or removed it
        }
        if displaced == Some(ino) {
            return Ok(from.clone()); // two names of one file: nothing is done
        }
        self.may_move(from, ino, to, displaced, who)?;

        if displaced.is_some() {
            self.leave(to, now);
        }
        self.enter(to, ino, now);
        self.leave(from, now);
        Ok(to.clone())
    }

    fn may_move(
        &self,
        from: &Place,
        ino: Ino,
        to: &Place,
        displaced: Option<Ino>,
        who: Who,
    ) -> Result<(), Errno> {
        self.node(from.parent)?.allows(who, Want::WRITE)?;
        let parent = self.node(to.parent)?;
        parent.allows(who, Want::WRITE)?;
        if parent.links == 0 {
            return Err(Errno::NOENT);
        }
        let is_directory = self.node(ino)?.is_directory();
        match displaced.map(|there| self.node(there)).transpose()?.map(|node| &node.kind) {
            Some(Kind::Directory(_)) if !is_directory => return Err(Errno::ISDIR),
            Some(Kind::Directory(there)) if !there.is_empty() => return Err(Errno::NOTEMPTY),
            Some(Kind::File(_) | Kind::Link(_)) if is_directory => return Err(Errno::NOTDIR),
            _ => {}
        }
        let mut above = to.parent;
        while above != ROOT {
            if above == ino {
                return Err(Errno::INVAL); // a directory cannot lie in itself
            }
            above = self.node(above)?.directory()?.parent;
        }
        Ok(())
    }

    /// Somebody has the node open.
    pub(crate) fn hold(&mut self, ino: Ino) {
        if let Ok(node) = self.node_mut(ino) {
            node.opens = node.opens.saturating_add(1);
        }
    }

    /// Somebody has it open no longer.
    pub(crate) fn release(&mut self, ino: Ino) {
        if let Ok((node, quota)) = self.node_and_quota(ino) {
            node.opens = node.opens.saturating_sub(1);
            if node.opens == 0
                && let Kind::File(content) = &mut node.kind
            {
                content.is_closed(quota);
            }
            if node.links != 0 {
                return;
            }
        }
        self.forget(ino);
    }

    /// Lets a name lead to a node.
    fn enter(&mut self, place: &Place, ino: Ino, now: Time) {
        if let Ok(node) = self.node_mut(ino) {
            node.links = node.links.saturating_add(1);
            node.changed = now;
            if let Kind::Directory(directory) = &mut node.kind {
                (directory.parent, directory.name) = (place.parent, place.name.clone());
            }
        }
        self.touch(place.parent, now, |directory| directory.insert(&place.name, ino));
    }

    /// Takes a name away, and the node that it led to if nothing else holds it.
    fn leave(&mut self, place: &Place, now: Time) {
        let mut gone = None;
        self.touch(place.parent, now, |directory| gone = directory.remove(&place.name));
        let Some(ino) = gone else { return };
        if let Ok(node) = self.node_mut(ino) {
            node.links = node.links.saturating_sub(1);
            node.changed = now;
        }
        self.forget(ino);
    }

    fn touch(&mut self, ino: Ino, now: Time, change: impl FnOnce(&mut Directory)) {
        let Ok(node) = self.node_mut(ino) else { return };
        if let Kind::Directory(directory) = &mut node.kind {
            change(directory);
            (node.modified, node.changed) = (now, now);
        }
    }

    fn forget(&mut self, ino: Ino) {
        let Some(slot) = self.nodes.get_mut(ino as usize) else { return };
        if slot.as_ref().is_none_or(|node| node.links != 0 || node.opens != 0) {
            return;
        }
        if let Some(Node { kind: Kind::File(content), .. }) = slot.take() {
            content.end(&mut self.quota);
        }
        self.free.push(ino);
    }
}
