//! The first stack of a program: arguments, environment and auxiliary vector, as System V lays them out.
//!
//! ```text
//! pointer -> argc, argv[0..argc], 0, envp[..], 0, (key, value) pairs of auxv, (0, 0)
//!            strings, each with a NUL behind it
//! top     -> first byte above the stack
//! ```
//!
//! - The pointer is a multiple of 16.
//! - Nothing is written here: [`build`] makes the bytes, the caller copies them to `pointer`.
#![forbid(unsafe_code)]

use alloc::vec::Vec;
use ring_abi::Errno;

/// Keys of the auxiliary vector; those from 32 up are Redox's.
pub mod auxv {
    /// Address of the program headers.
    pub const PHDR: u64 = 3;
    /// Bytes of one program header.
    pub const PHENT: u64 = 4;
    /// Number of program headers.
    pub const PHNUM: u64 = 5;
    /// Bytes of a page.
    pub const PAGESZ: u64 = 6;
    /// What was added to the addresses of a position-independent program.
    pub const BASE: u64 = 7;
    /// First instruction.
    pub const ENTRY: u64 = 9;
    /// Address of the path that was executed.
    pub const EXECFN: u64 = 31;
    /// Address of the current directory, a canonical path.
    pub const CWD_POINTER: u64 = 32;
    /// Bytes of the current directory.
    pub const CWD_LENGTH: u64 = 33;
    /// Address of the name of the scheme that plain absolute paths lie in.
    pub const DEFAULT_SCHEME_POINTER: u64 = 38;
    /// Bytes of that name.
    pub const DEFAULT_SCHEME_LENGTH: u64 = 39;
    /// Mode bits that new files do not get.
    pub const UMASK: u64 = 40;
    /// Handle of the process in scheme `proc`.
    pub const PROC_FD: u64 = 41;
    /// Handle of the namespace, if the program was given one.
    pub const NS_FD: u64 = 43;
}

/// One entry of the auxiliary vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auxiliary<'a> {
    /// A number.
    Number(u64, u64),
    /// A string: its address, which gets a NUL behind it.
    Text(u64, &'a [u8]),
}

/// What a program is started with.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// Arguments, the program's own name first.
    pub arguments: &'a [&'a [u8]],
    /// Environment, `NAME=value` each.
    pub environment: &'a [&'a [u8]],
    /// Auxiliary vector, without the end mark.
    pub auxiliary: &'a [Auxiliary<'a>],
}

/// The bytes between the stack pointer and the top of the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Where the bytes go, and the stack pointer at the program's entry.
    pub pointer: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Lays out `contents` below `top`.
///
/// `E2BIG` if that takes more than `limit` bytes, `EINVAL` if a string holds a NUL.
pub fn build(top: u64, limit: usize, contents: &Contents<'_>) -> Result<Image, Errno> {
    let words = contents
        .arguments
        .len()
        .saturating_add(contents.environment.len())
        .saturating_add(contents.auxiliary.len().saturating_mul(2))
        .saturating_add(5);
    let text: usize =
        contents.strings().map(|text| text.len().saturating_add(1)).fold(0, usize::saturating_add);
    let length = words.saturating_mul(8).saturating_add(text).saturating_add(31);
    if length > limit {
        return Err(Errno::TOOBIG);
    }
    if contents.strings().any(|text| text.contains(&0)) {
        return Err(Errno::INVAL);
    }
    let pointer = top.checked_sub(length as u64).ok_or(Errno::TOOBIG)? & !15;
    let mut writer =
        Writer { words: Vec::with_capacity(length), text: Vec::with_capacity(text), pointer, start: words };
    writer.contents(contents);
    let mut bytes = writer.words;
    bytes.append(&mut writer.text);
    Ok(Image { pointer, bytes })
}

impl<'a> Contents<'a> {
    fn strings(&self) -> impl Iterator<Item = &'a [u8]> {
        let auxiliary = self.auxiliary.iter().filter_map(|entry| match *entry {
            Auxiliary::Text(_, text) => Some(text),
            Auxiliary::Number(..) => None,
        });
        self.arguments.iter().chain(self.environment).copied().chain(auxiliary)
    }
}

/// The two halves of the image while they grow.
struct Writer {
    words: Vec<u8>,
    text: Vec<u8>,
    pointer: u64,
    /// Number of words before the text.
    start: usize,
}

impl Writer {
    fn contents(&mut self, contents: &Contents<'_>) {
        self.word(contents.arguments.len() as u64);
        for list in [contents.arguments, contents.environment] {
            list.iter().for_each(|text| self.string(text));
            self.word(0);
        }
        for entry in contents.auxiliary {
            match *entry {
                Auxiliary::Number(key, value) => {
                    self.word(key);
                    self.word(value);
                }
                Auxiliary::Text(key, text) => {
                    self.word(key);
                    self.string(text);
                }
            }
        }
        self.word(0);
        self.word(0);
    }

    fn word(&mut self, value: u64) {
        self.words.extend_from_slice(&value.to_le_bytes());
    }

    /// Appends a string, and a word with its address.
    fn string(&mut self, text: &[u8]) {
        let before = self.start.wrapping_mul(8).wrapping_add(self.text.len());
        self.word(self.pointer.wrapping_add(before as u64));
        self.text.extend_from_slice(text);
        self.text.push(0);
    }
}

#[cfg(test)]
mod tests {
    use super::{Auxiliary, Contents, Image, auxv, build};
    use alloc::vec::Vec;
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};
    use ring_abi::Errno;

    const TOP: u64 = 0x7000_0000;

    fn word(image: &Image, index: usize) -> u64 {
        u64::from_le_bytes(image.bytes[index * 8..][..8].try_into().unwrap())
    }

    fn text(image: &Image, address: u64) -> &[u8] {
        let tail = &image.bytes[(address - image.pointer) as usize..];
        &tail[..tail.iter().position(|byte| *byte == 0).unwrap()]
    }

    #[test]
    fn a_program_finds_what_it_was_given() {
        let contents = Contents {
            arguments: &[b"ls", b"-l", b""],
            environment: &[b"HOME=/"],
            auxiliary: &[
                Auxiliary::Number(auxv::PAGESZ, 4096),
                Auxiliary::Text(auxv::CWD_POINTER, b"/scheme/ram"),
            ],
        };
        let image = build(TOP, 4096, &contents).unwrap();
        assert_eq!(word(&image, 0), 3);
        assert_eq!(text(&image, word(&image, 1)), b"ls");
        assert_eq!(text(&image, word(&image, 2)), b"-l");
        assert_eq!(text(&image, word(&image, 3)), b"");
        assert_eq!(word(&image, 4), 0);
        assert_eq!(text(&image, word(&image, 5)), b"HOME=/");
        assert_eq!([6, 7, 8, 9].map(|index| word(&image, index)), [0, auxv::PAGESZ, 4096, auxv::CWD_POINTER]);
        assert_eq!(text(&image, word(&image, 10)), b"/scheme/ram");
        assert_eq!([word(&image, 11), word(&image, 12)], [0, 0]);
    }

    #[test]
    fn too_much_is_refused_and_so_is_a_nul() {
        let contents = |arguments| Contents { arguments, environment: &[], auxiliary: &[] };
        assert_eq!(build(TOP, 200, &contents(&[&[b'a'; 200]])), Err(Errno::TOOBIG));
        assert_eq!(build(64, 4096, &contents(&[&[b'a'; 200]])), Err(Errno::TOOBIG));
        assert_eq!(build(TOP, 4096, &contents(&[b"a\0b"])), Err(Errno::INVAL));
    }

    proptest! {
        #[test]
        fn the_image_lies_below_the_top(
            strings in prop::collection::vec(prop::collection::vec(1_u8.., 0..50), 0..20),
            top in 0x10000_u64..0x7fff_ffff_f000,
            number in any::<u64>(),
        ) {
            let strings: Vec<&[u8]> = strings.iter().map(Vec::as_slice).collect();
            let auxiliary = [Auxiliary::Number(auxv::ENTRY, number)];
            let contents = Contents { arguments: &strings, environment: &strings, auxiliary: &auxiliary };
            let image = build(top, 1 << 16, &contents).unwrap();
            prop_assert_eq!(image.pointer % 16, 0);
            prop_assert!(image.pointer + image.bytes.len() as u64 <= top);
            for (index, string) in strings.iter().enumerate() {
                prop_assert_eq!(text(&image, word(&image, 1 + index)), *string);
                prop_assert_eq!(text(&image, word(&image, 2 + strings.len() + index)), *string);
            }
        }
    }
}
