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
#[derive(Clone, Copy, Debug, Default)]
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
        // Behind its end there are zeros.
        let is_short = self.length <= 8;
        a == b && self.length == other.length && (is_short || rest.iter().zip(&others).all(|(a, b)| a == b))
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
    /// The scheme's root: the file that requests with an absolute path work on, held by the name. `NONE` where the kernel
    /// serves.
    pub root: Cell<u32>,
    /// Place in the list of names; also threads the free list.
    pub link: Link,
}

impl Default for Name {
    fn default() -> Self {
        Name { text: Cell::default(), target: Cell::default(), root: Cell::new(NONE), link: Link::default() }
    }
}

impl Named for Name {}

impl Record for Name {
    fn free_link(&self) -> &Cell<u32> {
        self.link.cell()
    }
}

/// The start of a path: as much as says which scheme it leads to.
#[derive(Clone, Copy, Debug)]
pub struct Beginning {
    /// The bytes, little endian, with zeros behind them.
    words: [u64; BEGINNING / 8],
    length: usize,
}

/// Most bytes of it: eight before the name, the longest name, and what is behind that.
pub const BEGINNING: usize = 8 + LONGEST + 8;

/// What is before the name.
const PREFIX: u64 = u64::from_le_bytes(*b"/scheme/");
/// The directory of all schemes, without the slash at its end.
const DIRECTORY: u64 = u64::from_le_bytes(*b"/scheme\0");

impl Beginning {
    /// The first `length` of these bytes; the others are zero.
    #[inline(always)]
    pub fn new(bytes: &[u8; BEGINNING], length: usize) -> Beginning {
        let mut words = [0; BEGINNING / 8];
        for (word, part) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*part);
        }
        Beginning { words, length }
    }

    /// Whether all its bytes are ASCII.
    #[inline(always)]
    pub fn is_ascii(&self) -> bool {
        self.words.iter().fold(0, |bits, word| bits | word) & HIGHEST_BITS == 0
    }

    /// Whether this is all of the path to the directory of schemes.
    pub fn is_directory(&self) -> bool {
        let [first, ..] = self.words;
        first == PREFIX && self.length == 8 || first == DIRECTORY && self.length == 7
    }

    /// Takes a canonical path apart, `/scheme/NAME` or `/scheme/NAME/rest`: the name, and where the rest begins. `ENOENT` for
    /// other shapes, `ENODEV` if no name is so long.
    #[inline(always)]
    pub fn split(&self) -> Result<(Text, usize), Errno> {
        let [prefix, words @ ..] = self.words;
        if prefix != PREFIX {
            return Err(Errno::NOENT);
        }
        let mut text = Text::default();
        let mut from = size_of_val(&prefix);
        for (to, word) in text.words.iter_mut().zip(words) {
            let count = before_slash(word);
            if count < 8 {
                *to = word & (1_u64 << count.wrapping_mul(8)).wrapping_sub(1);
                text.length = text.length.wrapping_add(u64::from(count));
                let end = from.wrapping_add(count as usize);
                return Ok((text, end.wrapping_add(1)));
            }
            *to = word;
            let left = self.length.wrapping_sub(from);
            if left <= 8 {
                text.length = text.length.wrapping_add(left as u64);
                return Ok((text, self.length));
            }
            text.length = text.length.wrapping_add(8);
            from = from.wrapping_add(8);
        }
        let [.., behind] = words;
        if before_slash(behind) == 0 { Ok((text, from.wrapping_add(1))) } else { Err(Errno::NODEV) }
    }
}

/// A word of bytes that are one.
const ONES: u64 = u64::MAX / 0xff;
/// The highest bit of each byte of a word.
const HIGHEST_BITS: u64 = ONES << 7;

/// Number of bytes of a word before the first slash; eight if there is none.
#[inline(always)]
const fn before_slash(word: u64) -> u32 {
    // A byte that is a slash is zero here, and the lowest zero is the first to borrow.
    let zeros = word ^ ONES.wrapping_mul(b'/' as u64);
    (zeros.wrapping_sub(ONES) & !zeros & HIGHEST_BITS).trailing_zeros() >> 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_splits_into_scheme_and_rest() {
        let split = |path: &str| beginning(path).split();
        assert_eq!(split("/scheme/ram/a/b"), Ok((name("ram"), 12)));
        assert_eq!(split("/scheme/ram"), Ok((name("ram"), 11)));
        assert_eq!(split("/scheme/ram/"), Ok((name("ram"), 12)));
        assert_eq!(split("/scheme//a"), Ok((name(""), 9)));
        assert_eq!(split("/scheme/"), Ok((name(""), 8)));
        assert_eq!(split("/scheme"), Err(Errno::NOENT));
        assert_eq!(split("/bin/sh"), Err(Errno::NOENT));
        assert_eq!(split(""), Err(Errno::NOENT));
    }

    #[test]
    fn names_of_all_lengths_are_told_from_what_is_behind_them() {
        for length in 0..=LONGEST + 3 {
            let text = "abc/def0123"
                .chars()
                .cycle()
                .filter(|letter| *letter != '/')
                .take(length)
                .collect::<String>();
            for rest in ["", "/", "//", "/x", "/\u{2f}y", "/some/where/else"] {
                let path = format!("/scheme/{text}{rest}");
                let behind = 8 + length + usize::from(!rest.is_empty());
                let expected = if length <= LONGEST { Ok((name(&text), behind)) } else { Err(Errno::NODEV) };
                assert_eq!(beginning(&path).split(), expected, "{path}");
            }
        }
    }

    #[test]
    fn only_the_directory_of_schemes_is_that() {
        assert!(beginning("/scheme").is_directory() && beginning("/scheme/").is_directory());
        assert!(!beginning("/scheme\0").is_directory() && !beginning("/schem").is_directory());
        assert!(!beginning("/scheme/a").is_directory());
    }

    fn beginning(path: &str) -> Beginning {
        let mut bytes = [0; BEGINNING];
        let length = path.len().min(BEGINNING);
        bytes[..length].copy_from_slice(&path.as_bytes()[..length]);
        Beginning::new(&bytes, length)
    }

    fn name(text: &str) -> Text {
        Text::unchecked(text.as_bytes()).unwrap()
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
