//! Scheme names: where `/scheme/NAME` leads.
//!
//! There is one namespace in this version; the capability to register is the right of a handle.
#![forbid(unsafe_code)]

use crate::base::NONE;
use crate::base::list::Link;
use crate::base::name::Named;
use crate::mem::arena::Record;
use core::cell::Cell;
use ring_abi::Errno;

/// Longest name in bytes.
pub const LONGEST: usize = 32;

/// What a name leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// Nothing: the record is free.
    #[default]
    Free,
    /// A daemon.
    Link(u32),
    /// A scheme that the kernel serves, by its number.
    Kernel(u8),
}

/// A short name, as bytes. Its length comes first, so names that differ in that are told apart by one compare.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text {
    length: u8,
    bytes: [u8; LONGEST],
}

impl Text {
    /// Checks a name: 1 to 32 of the bytes `a-z 0-9 - _ . +`. `EINVAL`, `ENAMETOOLONG`.
    pub fn new(name: &[u8]) -> Result<Text, Errno> {
        let fits = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'+');
        if name.is_empty() || !name.iter().all(fits) {
            return Err(Errno::INVAL);
        }
        let mut bytes = [0; LONGEST];
        bytes.get_mut(..name.len()).ok_or(Errno::NAMETOOLONG)?.copy_from_slice(name);
        Ok(Text { bytes, length: name.len() as u8 })
    }

    /// The bytes of the name.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or(&[])
    }
}

impl Default for Text {
    fn default() -> Self {
        Text { bytes: [0; LONGEST], length: 0 }
    }
}

/// One name.
pub struct Name {
    /// The name.
    pub text: Cell<Text>,
    /// Where it leads.
    pub target: Cell<Target>,
    /// File id of the scheme's root.
    pub root: Cell<u64>,
    /// Place in the list of names; also threads the free list.
    pub link: Link,
}

impl Default for Name {
    fn default() -> Self {
        Name {
            text: Cell::default(),
            target: Cell::default(),
            root: Cell::new(u64::from(NONE)),
            link: Link::default(),
        }
    }
}

impl Named for Name {}

impl Record for Name {
    fn free_link(&self) -> &Cell<u32> {
        self.link.cell()
    }
}

/// Takes a canonical path apart: `/scheme/NAME` or `/scheme/NAME/rest`. `ENOENT` for other shapes.
pub fn split(path: &[u8]) -> Result<(&[u8], &[u8]), Errno> {
    let tail = path.strip_prefix(b"/scheme/").ok_or(Errno::NOENT)?;
    match tail.iter().position(|&byte| byte == b'/') {
        Some(at) => Ok((tail.get(..at).unwrap_or(&[]), tail.get(at.wrapping_add(1)..).unwrap_or(&[]))),
        None => Ok((tail, &[])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_splits_into_scheme_and_rest() {
        assert_eq!(split(b"/scheme/ram/a/b"), Ok((&b"ram"[..], &b"a/b"[..])));
        assert_eq!(split(b"/scheme/ram"), Ok((&b"ram"[..], &b""[..])));
        assert_eq!(split(b"/scheme/ram/"), Ok((&b"ram"[..], &b""[..])));
        assert_eq!(split(b"/bin/sh"), Err(Errno::NOENT));
    }

    #[test]
    fn a_name_has_few_letters_and_is_short() {
        assert!(Text::new(b"a-1_b.c+").is_ok());
        assert_eq!(Text::new(b"").err(), Some(Errno::INVAL));
        assert_eq!(Text::new(b"A").err(), Some(Errno::INVAL));
        assert_eq!(Text::new(&[b'a'; 33]).err(), Some(Errno::NAMETOOLONG));
    }
}
