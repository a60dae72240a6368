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

/// A short name. It is compared as words: names that differ in their first eight bytes are told apart by one compare.
#[derive(Clone, Copy, Default)]
pub struct Text {
    /// The bytes, little endian, with zeros behind them.
    words: [u64; WORDS],
    length: u64,
}

/// Words of the longest name.
const WORDS: usize = LONGEST / 8;

impl PartialEq for Text {
    #[inline(always)]
    fn eq(&self, other: &Text) -> bool {
        let ([a, rest @ ..], [b, others @ ..]) = (self.words, other.words);
        a == b && self.length == other.length && rest.iter().zip(&others).all(|(a, b)| a == b)
    }
}

impl Eq for Text {}

impl Text {
    /// Checks a name: 1 to 32 of the bytes `a-z 0-9 - _ . +`. `EINVAL`, `ENAMETOOLONG`.
    pub fn new(name: &[u8]) -> Result<Text, Errno> {
        let fits = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'+');
        if name.is_empty() || !name.iter().all(fits) {
            return Err(Errno::INVAL);
        }
        Text::unchecked(name).ok_or(Errno::NAMETOOLONG)
    }

    /// Any bytes, to look for: what is no name is not found. `None` if there are more than 32.
    pub fn unchecked(name: &[u8]) -> Option<Text> {
        if name.len() > LONGEST {
            return None;
        }
        let mut words = [0; WORDS];
        for (word, part) in words.iter_mut().zip(name.chunks(8)) {
            *word = part.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
        }
        Some(Text { words, length: name.len() as u64 })
    }

    /// The bytes of the name, into a buffer for them.
    pub fn bytes<'a>(&self, buffer: &'a mut [u8; LONGEST]) -> &'a [u8] {
        for (part, word) in buffer.chunks_exact_mut(8).zip(self.words) {
            part.copy_from_slice(&word.to_le_bytes());
        }
        buffer.get(..self.length as usize).unwrap_or(&[])
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
        let mut room = [0; LONGEST];
        let text = Text::new(b"a-1_b.c+0123").ok();
        assert_eq!(text.as_ref().map(|text| text.bytes(&mut room)), Some(&b"a-1_b.c+0123"[..]));
        assert_eq!(Text::new(b"").err(), Some(Errno::INVAL));
        assert_eq!(Text::new(b"A").err(), Some(Errno::INVAL));
        assert_eq!(Text::new(&[b'a'; 33]).err(), Some(Errno::NAMETOOLONG));
    }

    #[test]
    fn names_are_equal_if_all_their_bytes_are() {
        let text = |name: &[u8]| Text::unchecked(name);
        assert!(text(b"") != text(b"\0") && text(b"ram") != text(b"ram\0"));
        for length in 1..=LONGEST {
            let mut name = vec![b'a'; length];
            let one = text(&name);
            assert!(one == text(&name) && one.is_some());
            if let Some(last) = name.last_mut() {
                *last = b'b';
            }
            assert!(one != text(&name));
        }
        assert!(text(&[b'a'; LONGEST + 1]).is_none());
    }
}
