//! A tree of entries laid out breadth first: records, text and files in order.

use alloc::string::String;
use alloc::vec::Vec;

use crate::layout::{self, kind, record};
use crate::read::Record;
use crate::write::{Directory, Entry, put};

/// Symlinks allow everything; what they point to decides.
const SYMLINK_MODE: u32 = 0o777;

/// The parts of an image, all but its header.
pub(crate) struct Flat<'t> {
    pub(crate) records: Vec<Record>,
    pub(crate) text: String,
    /// Contents in the order in which they lie in the data, empty ones left out.
    pub(crate) files: Vec<&'t [u8]>,
    /// The first node that no directory lists yet.
    listed: u32,
    /// Where the next file begins, from the image's start.
    data_end: u64,
}

/// A node in its place of the index.
struct Placed<'t> {
    name: &'t str,
    parent: u32,
    content: Content<'t>,
}

#[derive(Clone, Copy)]
enum Content<'t> {
    Directory(&'t Directory),
    File { contents: &'t [u8], mode: u32 },
    Symlink(&'t str),
}

/// Lays out the tree below `root`; `None` if the format cannot count it.
pub(crate) fn flatten(root: &Directory, mtime: u64) -> Option<Flat<'_>> {
    let nodes = place(root)?;
    let text_len = nodes.iter().try_fold(0, |sum: u32, node| sum.checked_add(node.text_len()?))?;
    let front = layout::front_end(u32::try_from(nodes.len()).ok()?, text_len);
    let mut flat = Flat {
        records: Vec::with_capacity(nodes.len()),
        text: String::new(),
        files: Vec::new(),
        listed: 1,
        data_end: layout::data_start(front)?,
    };
    for node in &nodes {
        let record = flat.encode(node, mtime)?;
        flat.records.push(record);
    }
    Some(flat)
}

/// All nodes, breadth first, so that siblings are neighbours.
fn place(root: &Directory) -> Option<Vec<Placed<'_>>> {
    let mut nodes = Vec::from([Placed { name: "", parent: 0, content: Content::Directory(root) }]);
    let mut next = 0;
    while let Some(node) = nodes.get(next) {
        if let Content::Directory(directory) = node.content {
            let parent = u32::try_from(next).ok()?;
            nodes.extend(directory.entries.iter().map(|(name, entry)| Placed {
                name,
                parent,
                content: match entry {
                    Entry::Directory(directory) => Content::Directory(directory),
                    Entry::File { contents, mode } => Content::File { contents, mode: *mode },
                    Entry::Symlink { target } => Content::Symlink(target),
                },
            }));
        }
        next = next.checked_add(1)?;
    }
    Some(nodes)
}

impl Placed<'_> {
    fn text_len(&self) -> Option<u32> {
        let target = if let Content::Symlink(target) = self.content { target.len() } else { 0 };
        u32::try_from(self.name.len().checked_add(target)?).ok()
    }
}

impl<'t> Flat<'t> {
    /// The record of `node`, whose name, target or contents become the next ones.
    fn encode(&mut self, node: &Placed<'t>, mtime: u64) -> Option<Record> {
        let mut bytes: Record = [0; record::LEN];
        if !node.name.is_empty() {
            let name_start = u32::try_from(self.text.len()).ok()?;
            put(&mut bytes, record::NAME_START, name_start.to_le_bytes());
            put(&mut bytes, record::NAME_LEN, u32::try_from(node.name.len()).ok()?.to_le_bytes());
            self.text.push_str(node.name);
        }
        let (kind, mode) = match node.content {
            Content::Directory(directory) => (kind::DIRECTORY, directory.mode),
            Content::File { mode, .. } => (kind::FILE, mode),
            Content::Symlink(_) => (kind::SYMLINK, SYMLINK_MODE),
        };
        let (start, count) = self.take_range(node.content)?;
        put(&mut bytes, record::KIND, kind.to_le_bytes());
        put(&mut bytes, record::MODE, mode.to_le_bytes());
        put(&mut bytes, record::PARENT, node.parent.to_le_bytes());
        put(&mut bytes, record::START, start.to_le_bytes());
        put(&mut bytes, record::COUNT, count.to_le_bytes());
        put(&mut bytes, record::MTIME, mtime.to_le_bytes());
        Some(bytes)
    }

    /// Start and count of what the node holds, taken from where there is room next.
    fn take_range(&mut self, content: Content<'t>) -> Option<(u64, u64)> {
        match content {
            Content::Directory(directory) => {
                let (first, count) = (self.listed, u32::try_from(directory.entries.len()).ok()?);
                self.listed = first.checked_add(count)?;
                Some((first.into(), count.into()))
            }
            Content::File { contents: [], .. } => Some((0, 0)),
            Content::File { contents, .. } => {
                let (start, count) = (self.data_end, contents.len() as u64);
                self.data_end = layout::data_start(start.checked_add(count)?)?;
                self.files.push(contents);
                Some((start, count))
            }
            Content::Symlink(target) => {
                let start = self.text.len() as u64;
                self.text.push_str(target);
                Some((start, target.len() as u64))
            }
        }
    }
}
