//! Paths: from what a program says to the one form that the kernel takes.
//!
//! The kernel knows only `/scheme`, `/scheme/NAME` and `/scheme/NAME/rest`. Everything else is made into
//! that here, by text alone: the current directory, `.`, `..`, a plain absolute path (which lies in the
//! default scheme) and the old form `NAME:rest`. No function of this file asks anybody anything, so `..`
//! takes back the name before it even where that name is a symbolic link, as on Redox.
//!
//! - A canonical path has no `.`, `..` or empty component and no slash at its end.
//! - Canonicalising a canonical path gives the same path.
//! - `..` never leaves a scheme: its root is its own parent, and so is `/scheme`.
#![forbid(unsafe_code)]

use alloc::string::String;
use ring_abi::Errno;

/// Longest path in bytes, with the NUL that C counts.
pub const PATH_MAX: usize = 4096;
/// Longest component in bytes.
pub const NAME_MAX: usize = 255;
/// Longest name of a scheme in bytes.
pub const SCHEME_MAX: usize = 32;

const SCHEMES: &str = "/scheme";
/// Bytes that most canonical paths fit in.
const ROOM: usize = 96;

/// A path as the kernel takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canonical {
    text: String,
    /// Bytes of `/scheme/NAME`, or of `/scheme` if no scheme is named.
    root: usize,
    /// Whether the writer of the path said that it is a directory, by a slash, `.` or `..` at the end.
    says_directory: bool,
}

impl Canonical {
    /// The list of schemes.
    pub fn schemes() -> Canonical {
        Canonical { text: String::from(SCHEMES), root: SCHEMES.len(), says_directory: true }
    }

    /// The root of a scheme; `ENODEV` if no scheme can be called that.
    pub fn root_of(scheme: &str) -> Result<Canonical, Errno> {
        let mut walk = Walk::Schemes;
        walk.step(scheme)?;
        walk.finish(scheme, true)
    }

    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The scheme; `None` for the list of schemes.
    pub fn scheme(&self) -> Option<&str> {
        self.text.get(SCHEMES.len().wrapping_add(1)..self.root)
    }

    /// What comes after the scheme, without a slash in front.
    pub fn rest(&self) -> &str {
        self.text.get(self.root.wrapping_add(1)..).unwrap_or("")
    }

    /// Whether the path was written as a directory's: with a slash, `.` or `..` at its end.
    pub fn says_directory(&self) -> bool {
        self.says_directory
    }

    /// The root of the scheme that the path lies in.
    pub fn root(&self) -> Canonical {
        let text = String::from(self.text.get(..self.root).unwrap_or(SCHEMES));
        Canonical { text, root: self.root, says_directory: true }
    }

    /// The directory and the name in it; `None` for the root of a scheme, which has no name.
    pub fn split(&self) -> Option<(Canonical, &str)> {
        let (_, name) = self.rest().rsplit_once('/').unwrap_or(("", self.rest()));
        if name.is_empty() {
            return None;
        }
        let end = self.text.len().checked_sub(name.len())?.checked_sub(1)?;
        let text = String::from(self.text.get(..end)?);
        Some((Canonical { text, root: self.root, says_directory: true }, name))
    }

    /// The file called `name` in this directory.
    pub fn join(&self, name: &str) -> Result<Canonical, Errno> {
        let mut walk = Walk::from(self);
        name.split('/').try_for_each(|component| walk.step(component))?;
        walk.finish("", ends_as_directory(name))
    }
}

/// Makes `path` canonical.
///
/// A relative path starts at `directory`, an absolute one that names no scheme lies in `default_scheme`.
pub fn canonicalise(directory: &Canonical, default_scheme: &str, path: &[u8]) -> Result<Canonical, Errno> {
    let path = check(path)?;
    let (mut walk, rest) = match legacy(path) {
        Some((scheme, rest)) => {
            let mut walk = Walk::Schemes;
            walk.step(scheme)?;
            (walk, rest)
        }
        None if path.starts_with('/') => (Walk::Top { default_scheme }, path),
        None => (Walk::from(directory), path),
    };
    rest.split('/').try_for_each(|component| walk.step(component))?;
    walk.finish(default_scheme, ends_as_directory(rest))
}

/// Whether a scheme can be called that.
pub fn is_scheme_name(name: &str) -> bool {
    let good = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'+');
    !name.is_empty() && name.len() <= SCHEME_MAX && name != "." && name != ".." && name.bytes().all(good)
}

/// Whether a path means the same in every directory.
pub fn is_absolute(path: &str) -> bool {
    path.starts_with('/') || legacy(path).is_some()
}

/// What is wrong with a path before anything is known about it.
fn check(path: &[u8]) -> Result<&str, Errno> {
    if path.is_empty() {
        return Err(Errno::NOENT);
    }
    if path.len() >= PATH_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    if path.contains(&0) {
        return Err(Errno::INVAL);
    }
    core::str::from_utf8(path).map_err(|_| Errno::ILSEQ)
}

/// Takes the old form `NAME:rest` apart.
fn legacy(path: &str) -> Option<(&str, &str)> {
    path.split_once(':').filter(|(name, _)| is_scheme_name(name))
}

fn ends_as_directory(path: &str) -> bool {
    matches!(path.rsplit('/').next(), Some("" | "." | ".."))
}

/// Where the components so far have led.
enum Walk<'d> {
    /// At `/`, from where `scheme` leads to the schemes and all else into the default one.
    Top { default_scheme: &'d str },
    /// At `/scheme`.
    Schemes,
    /// In a scheme whose root is the first `root` bytes of the text.
    Inside { text: String, root: usize },
}

impl Walk<'_> {
    fn from(place: &Canonical) -> Walk<'static> {
        match place.scheme() {
            Some(_) => Walk::Inside { text: place.text.clone(), root: place.root },
            None => Walk::Schemes,
        }
    }

    fn step(&mut self, component: &str) -> Result<(), Errno> {
        match (component, &mut *self) {
            ("" | ".", _) | ("..", Walk::Top { .. } | Walk::Schemes) => {}
            ("..", Walk::Inside { text, root }) => {
                let parent = text.rfind('/').unwrap_or(0).max(*root);
                text.truncate(parent);
            }
            ("scheme", Walk::Top { .. }) => *self = Walk::Schemes,
            (name, Walk::Schemes) => *self = Walk::enter(name)?,
            (name, Walk::Top { default_scheme }) => {
                *self = Walk::enter(default_scheme)?;
                return self.step(name);
            }
            (name, Walk::Inside { text, .. }) => push(text, name)?,
        }
        Ok(())
    }

    fn enter(scheme: &str) -> Result<Walk<'static>, Errno> {
        if !is_scheme_name(scheme) {
            return Err(Errno::NODEV);
        }
        let mut text = String::with_capacity(ROOM);
        text.push_str(SCHEMES);
        push(&mut text, scheme)?;
        let root = text.len();
        Ok(Walk::Inside { text, root })
    }

    fn finish(self, default_scheme: &str, says_directory: bool) -> Result<Canonical, Errno> {
        match self {
            Walk::Inside { text, .. } if text.len() >= PATH_MAX => Err(Errno::NAMETOOLONG),
            Walk::Inside { text, root } => {
                let says_directory = says_directory || text.len() == root;
                Ok(Canonical { text, root, says_directory })
            }
            Walk::Schemes => Ok(Canonical::schemes()),
            Walk::Top { .. } => Canonical::root_of(default_scheme),
        }
    }
}

fn push(text: &mut String, name: &str) -> Result<(), Errno> {
    if name.len() > NAME_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    text.push('/');
    text.push_str(name);
    Ok(())
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
