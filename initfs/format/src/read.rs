//! Reading an image in place: nothing is copied, and after `open` nothing fails.
//!
//! - Bytes never change while they are borrowed, so what [`Image::open`] found
//!   holds for every later access. The fall-backs below (empty slices, no
//!   children) are for nodes of another image only.

use core::fmt;
use core::ops::Range;

use crate::damage::Damage;
use crate::layout::{field, header, kind, record};

/// One record of the index, as bytes.
pub(crate) type Record = [u8; record::LEN];

/// A checked image.
#[derive(Clone, Copy)]
pub struct Image<'a> {
    /// The whole image, header first, without what may follow it.
    pub(crate) bytes: &'a [u8],
    pub(crate) records: &'a [Record],
    pub(crate) text: &'a [u8],
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Has children.
    Directory,
    /// Has bytes.
    File,
    /// Has a target.
    Symlink,
}

/// One node, decoded. Its meaning is tied to the image it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    id: u32,
    kind: Kind,
    mode: u32,
    parent: u32,
    start: u64,
    count: u64,
    mtime: u64,
}

impl Node {
    /// Its number: dense, the root's is 0. [`Image::node`] leads back.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// Permission bits, without the file type.
    pub fn mode(&self) -> u32 {
        self.mode
    }

    /// Bytes of a file or of a symlink's target; 0 for a directory.
    pub fn size(&self) -> u64 {
        if self.is_directory() { 0 } else { self.count }
    }

    /// When it last changed, in seconds since 1970.
    pub fn mtime(&self) -> u64 {
        self.mtime
    }

    /// The number of the directory it is in; the root is in itself.
    pub fn parent(&self) -> u32 {
        self.parent
    }

    /// Where the bytes of a file begin, from the image's start: a page boundary.
    /// `None` for an empty file and for anything else.
    pub fn data_offset(&self) -> Option<u64> {
        (self.kind == Kind::File && self.count > 0).then_some(self.start)
    }
}

impl<'a> Image<'a> {
    /// Checks all of `bytes` that is not file contents. Bytes after the image's
    /// own length are ignored.
    pub fn open(bytes: &'a [u8]) -> Result<Self, Damage> {
        let image = Self::outline(bytes)?;
        image.check_nodes()?;
        Ok(image)
    }

    /// The length of the image, full pages.
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// How many nodes there are, the root counted.
    pub fn node_count(&self) -> u32 {
        u32::from_le_bytes(field(self.bytes, header::NODES))
    }

    /// The directory that all others are in.
    pub fn root(&self) -> Node {
        let empty = Node { id: 0, kind: Kind::Directory, mode: 0, parent: 0, start: 0, count: 0, mtime: 0 };
        self.node(0).unwrap_or(empty) // `open` refuses an image without a root
    }

    /// The node with that number.
    pub fn node(&self, id: u32) -> Option<Node> {
        let record = self.records.get(usize::try_from(id).ok()?)?;
        let kind = match u32::from_le_bytes(field(record, record::KIND)) {
            kind::DIRECTORY => Kind::Directory,
            kind::FILE => Kind::File,
            kind::SYMLINK => Kind::Symlink,
            _ => return None, // refused by `open`
        };
        Some(Node {
            id,
            kind,
            mode: u32::from_le_bytes(field(record, record::MODE)),
            parent: u32::from_le_bytes(field(record, record::PARENT)),
            start: u64::from_le_bytes(field(record, record::START)),
            count: u64::from_le_bytes(field(record, record::COUNT)),
            mtime: u64::from_le_bytes(field(record, record::MTIME)),
        })
    }

    /// What `directory` calls `name`. Nothing is in a file or a symlink.
    pub fn child(&self, directory: Node, name: &str) -> Option<Node> {
        let range = self.child_range(directory);
        let first = range.start;
        let records = self.records.get(usize::try_from(first).ok()?..usize::try_from(range.end).ok()?)?;
        let at = records.binary_search_by(|record| self.name_bytes(record).cmp(name.as_bytes())).ok()?;
        self.node(first.checked_add(u32::try_from(at).ok()?)?)
    }

    /// What is in `directory`, ascending by the bytes of the names.
    pub fn children(&self, directory: Node) -> Children<'a> {
        Children { image: *self, range: self.child_range(directory) }
    }

    /// The node at `path`, names separated by single slashes, from the root; the
    /// empty path is the root. Symlinks are not followed.
    pub fn find(&self, path: &str) -> Option<Node> {
        if path.is_empty() {
            return Some(self.root());
        }
        path.split('/').try_fold(self.root(), |directory, name| self.child(directory, name))
    }

    /// The name of `node`; the root's is empty.
    pub fn name(&self, node: Node) -> &'a str {
        let record = usize::try_from(node.id).ok().and_then(|id| self.records.get(id));
        let bytes = record.map(|record| self.name_bytes(record)).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }

    /// The bytes of a file; none for anything else.
    pub fn data(&self, file: Node) -> &'a [u8] {
        if file.kind != Kind::File {
            return &[];
        }
        slice(self.bytes, file.start, file.count).unwrap_or_default()
    }

    /// Where a symlink points; `None` for anything else.
    pub fn target(&self, symlink: Node) -> Option<&'a str> {
        if symlink.kind != Kind::Symlink {
            return None;
        }
        core::str::from_utf8(slice(self.text, symlink.start, symlink.count)?).ok()
    }

    fn name_bytes(&self, record: &Record) -> &'a [u8] {
        self.name_range(record).unwrap_or_default()
    }

    /// The name of a record that need not be checked yet.
    pub(crate) fn name_range(&self, record: &Record) -> Option<&'a [u8]> {
        let start = u32::from_le_bytes(field(record, record::NAME_START));
        let len = u32::from_le_bytes(field(record, record::NAME_LEN));
        slice(self.text, u64::from(start), u64::from(len))
    }

    fn child_range(&self, directory: Node) -> Range<u32> {
        let first = u32::try_from(directory.start).unwrap_or(0);
        let end = u32::try_from(directory.start.saturating_add(directory.count)).unwrap_or(first);
        if directory.is_directory() { first..end } else { 0..0 }
    }
}

impl fmt::Debug for Image<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({} nodes, {} bytes)", self.records.len(), self.bytes.len())
    }
}

/// `len` bytes of `bytes` from `start`, if they are there.
pub(crate) fn slice(bytes: &[u8], start: u64, len: u64) -> Option<&[u8]> {
    let start = usize::try_from(start).ok()?;
    let end = start.checked_add(usize::try_from(len).ok()?)?;
    bytes.get(start..end)
}

/// The nodes of one directory; see [`Image::children`]. Skipping is free.
#[derive(Clone, Debug)]
pub struct Children<'a> {
    image: Image<'a>,
    range: Range<u32>,
}

impl Iterator for Children<'_> {
    type Item = Node;

    fn next(&mut self) -> Option<Node> {
        self.image.node(self.range.next()?)
    }

    fn nth(&mut self, skipped: usize) -> Option<Node> {
        self.image.node(self.range.nth(skipped)?)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.range.size_hint()
    }
}

impl ExactSizeIterator for Children<'_> {}
