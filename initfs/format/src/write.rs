//! Writing an image, on the host. The same tree always gives the same bytes.
//!
//! Entries may come in any order; directories on the way to one are made with
//! mode 0o755. Times are one number for the whole image, so that a build can
//! repeat itself.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::flat::{Flat, flatten};
use crate::layout::{self, PAGE, TARGET_MAX, field, header};
use crate::read::slice;

/// The mode of directories that nobody described, and of the root.
const DIRECTORY_MODE: u32 = 0o755;

/// Why an entry cannot be in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteError {
    /// The path is too long, or a part of it cannot be a name.
    Path(String),
    /// Something else is there already.
    Taken(String),
    /// A part of the path is a file or a symlink.
    NotADirectory(String),
    /// More than permission bits.
    Mode(String, u32),
    /// The target is empty, too long or holds NUL.
    Target(String),
    /// More nodes or names than the format can count.
    TooLarge,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{path:?} is not a path for an initfs image"),
            Self::Taken(path) => write!(f, "{path:?} is there already"),
            Self::NotADirectory(path) => write!(f, "{path:?} leads through something that is no directory"),
            Self::Mode(path, mode) => write!(f, "mode {mode:#o} of {path:?} has more than permission bits"),
            Self::Target(path) => write!(f, "the symlink {path:?} has no possible target"),
            Self::TooLarge => f.write_str("too many nodes or names for one initfs image"),
        }
    }
}

impl core::error::Error for WriteError {}

/// Gathers a tree and writes it.
#[derive(Clone, Debug)]
pub struct Builder {
    root: Directory,
    mtime: u64,
}

/// A directory that is being filled.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    pub(crate) mode: u32,
    pub(crate) entries: BTreeMap<String, Entry>,
}

impl Directory {
    fn new(mode: u32) -> Self {
        Self { mode, entries: BTreeMap::new() }
    }
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Directory(Directory),
    File { contents: Vec<u8>, mode: u32 },
    Symlink { target: String },
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// An image with an empty root, from the first second of 1970.
    pub fn new() -> Self {
        Self { root: Directory::new(DIRECTORY_MODE), mtime: 0 }
    }

    /// Sets the time of every node, in seconds since 1970.
    pub fn mtime(&mut self, seconds: u64) -> &mut Self {
        self.mtime = seconds;
        self
    }

    /// Adds a directory, or gives one that is there its mode. `/` is the root.
    pub fn directory(&mut self, path: &str, mode: u32) -> Result<&mut Self, WriteError> {
        check_mode(path, mode)?;
        if path == "/" {
            self.root.mode = mode;
            return Ok(self);
        }
        let (parent, name) = self.place(path)?;
        let new = || Entry::Directory(Directory::new(mode));
        match parent.entries.entry(name.to_owned()).or_insert_with(new) {
            Entry::Directory(directory) => directory.mode = mode,
            Entry::File { .. } | Entry::Symlink { .. } => return Err(WriteError::Taken(path.to_owned())),
        }
        Ok(self)
    }

    /// Adds a file. `path` may begin with a slash.
    pub fn file(
        &mut self,
        path: &str,
        contents: impl Into<Vec<u8>>,
        mode: u32,
    ) -> Result<&mut Self, WriteError> {
        check_mode(path, mode)?;
        self.add(path, Entry::File { contents: contents.into(), mode })
    }

    /// Adds a symlink. The target is kept as it is.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<&mut Self, WriteError> {
        if !layout::target_is_valid(target.as_bytes()) {
            return Err(WriteError::Target(path.to_owned()));
        }
        self.add(path, Entry::Symlink { target: target.to_owned() })
    }

    /// Writes the image. It opens with [`Image::open`](crate::Image::open).
    pub fn finish(&self) -> Result<Vec<u8>, WriteError> {
        let Flat { records, text, files, .. } =
            flatten(&self.root, self.mtime).ok_or(WriteError::TooLarge)?;
        let nodes = u32::try_from(records.len()).map_err(|_| WriteError::TooLarge)?;
        let text_len = u32::try_from(text.len()).map_err(|_| WriteError::TooLarge)?;

        let mut image = Vec::from(layout::MAGIC);
        image.resize(header::LEN, 0);
        put(&mut image, header::VERSION, layout::VERSION.to_le_bytes());
        put(&mut image, header::NODES, nodes.to_le_bytes());
        put(&mut image, header::TEXT, text_len.to_le_bytes());
        image.extend(records.as_flattened());
        image.extend(text.as_bytes());
        fill_page(&mut image);
        for contents in files {
            image.extend(contents);
            fill_page(&mut image);
        }
        let length = image.len() as u64;
        put(&mut image, header::LENGTH, length.to_le_bytes());
        seal(&mut image);
        Ok(image)
    }

    fn add(&mut self, path: &str, entry: Entry) -> Result<&mut Self, WriteError> {
        let (parent, name) = self.place(path)?;
        if parent.entries.contains_key(name) {
            return Err(WriteError::Taken(path.to_owned()));
        }
        parent.entries.insert(name.to_owned(), entry);
        Ok(self)
    }

    /// The directory that `path` names a place in, made if need be, and the name.
    fn place<'p>(&mut self, path: &'p str) -> Result<(&mut Directory, &'p str), WriteError> {
        let relative = path.strip_prefix('/').unwrap_or(path);
        let names_valid = relative.split('/').all(|name| layout::name_is_valid(name.as_bytes()));
        if path.len() > TARGET_MAX || !names_valid {
            return Err(WriteError::Path(path.to_owned()));
        }
        let (parents, name) = match relative.rsplit_once('/') {
            Some((parents, name)) => (Some(parents), name),
            None => (None, relative),
        };
        let mut directory = &mut self.root;
        for parent in parents.into_iter().flat_map(|parents| parents.split('/')) {
            let new = || Entry::Directory(Directory::new(DIRECTORY_MODE));
            match directory.entries.entry(parent.to_owned()).or_insert_with(new) {
                Entry::Directory(next) => directory = next,
                Entry::File { .. } | Entry::Symlink { .. } => {
                    return Err(WriteError::NotADirectory(path.to_owned()));
                }
            }
        }
        Ok((directory, name))
    }
}

/// Writes the checksum that `image` should have, so that a test can damage a
/// field and nothing else. Does nothing when header and index do not fit.
pub fn seal(image: &mut [u8]) {
    let nodes = u32::from_le_bytes(field(image, header::NODES));
    let text = u32::from_le_bytes(field(image, header::TEXT));
    if let Some(front) = slice(image, 0, layout::front_end(nodes, text)) {
        let sum = layout::checksum(front);
        put(image, header::CHECKSUM, sum.to_le_bytes());
    }
}

fn check_mode(path: &str, mode: u32) -> Result<(), WriteError> {
    if mode & !layout::MODE_BITS == 0 { Ok(()) } else { Err(WriteError::Mode(path.to_owned(), mode)) }
}

/// Writes one field of a header or a record that is long enough for it.
pub(crate) fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = value;
    }
}

/// Fills the last page with zeroes, so that mapping it shows nothing else.
fn fill_page(image: &mut Vec<u8>) {
    image.resize(image.len().next_multiple_of(PAGE), 0);
}
