//! Programs that another program reads: files that begin with `#!`.
//!
//! ```text
//! #!INTERPRETER [ARGUMENT]
//! ```
//!
//! What Linux makes of that line (`fs/binfmt_script.c`, execve(2)): blanks are spaces and tabs; all behind the interpreter is one
//! argument, without the blanks at its ends; the line may have up to [`MOST`] bytes.
#![forbid(unsafe_code)]

use alloc::vec::Vec;
use ring_abi::Errno;

/// Bytes of the file that are looked at, the line's end among them.
pub const MOST: usize = 256;
/// Interpreters that are scripts themselves, one for the other, at most; Linux has the same limit.
pub const DEPTH: usize = 4;

/// What the first line of a script says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script<'a> {
    /// Path of the program that is to read the file.
    pub interpreter: &'a [u8],
    /// An argument for it.
    pub argument: Option<&'a [u8]>,
}

impl<'a> Script<'a> {
    /// Reads the first bytes of a file; nothing if it is no script. `ENOEXEC` if it is one without an interpreter, or if the
    /// interpreter's path does not end within [`MOST`] bytes. An argument that does not end there is cut.
    pub fn parse(head: &'a [u8]) -> Result<Option<Script<'a>>, Errno> {
        let Some(rest) = head.get(..head.len().min(MOST)).and_then(|head| head.strip_prefix(b"#!")) else {
            return Ok(None);
        };
        let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let is_whole = line.len() < rest.len() || head.len() < MOST;
        let line = line.trim_start(&BLANKS);
        let name = line.split(is_end).next().unwrap_or_default();
        if name.is_empty() || !is_whole && name.len() == line.len() {
            return Err(Errno::NOEXEC);
        }
        let rest = line.get(name.len()..).unwrap_or_default();
        let rest =
            rest.split(|byte| *byte == 0).next().unwrap_or_default().trim_start(&BLANKS).trim_end(&BLANKS);
        Ok(Some(Script { interpreter: name, argument: Some(rest).filter(|rest| !rest.is_empty()) }))
    }

    /// The interpreter's arguments: itself, its argument, the script, and the script's own but for its name.
    pub fn arguments(&self, path: &[u8], own: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let first = [Some(self.interpreter), self.argument, Some(path)];
        first.into_iter().flatten().map(Vec::from).chain(own.iter().skip(1).cloned()).collect()
    }
}

const BLANKS: [u8; 2] = *b" \t";

fn is_end(byte: &u8) -> bool {
    BLANKS.contains(byte) || *byte == 0
}

/// Cutting blanks off.
trait Trim {
    fn trim_start(&self, blanks: &[u8]) -> &Self;
    fn trim_end(&self, blanks: &[u8]) -> &Self;
}

impl Trim for [u8] {
    fn trim_start(&self, blanks: &[u8]) -> &[u8] {
        let start = self.iter().position(|byte| !blanks.contains(byte)).unwrap_or(self.len());
        self.get(start..).unwrap_or_default()
    }

    fn trim_end(&self, blanks: &[u8]) -> &[u8] {
        let end =
            self.iter().rposition(|byte| !blanks.contains(byte)).map_or(0, |last| last.saturating_add(1));
        self.get(..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, Script};
    use alloc::vec::Vec;
    use proptest::prelude::{any, prop, proptest};
    use ring_abi::Errno;

    type Line<'a> = (&'a [u8], Option<&'a [u8]>);

    fn parse(head: &[u8]) -> Result<Option<Line<'_>>, Errno> {
        Script::parse(head).map(|script| script.map(|script| (script.interpreter, script.argument)))
    }

    #[test]
    fn a_line_has_an_interpreter_and_one_argument() {
        let says = |interpreter: &'static [u8], argument| Ok(Some((interpreter, argument)));
        assert_eq!(parse(b"\x7fELF"), Ok(None));
        assert_eq!(parse(b"#"), Ok(None));
        assert_eq!(parse(b"#!/bin/sh\necho"), says(b"/bin/sh", None));
        assert_eq!(parse(b"#! \t/bin/sh \t\n"), says(b"/bin/sh", None));
        assert_eq!(parse(b"#!/bin/sh"), says(b"/bin/sh", None));
        assert_eq!(parse(b"#!/bin/awk -f  x \n"), says(b"/bin/awk", Some(b"-f  x")));
    }

    #[test]
    fn a_line_without_an_interpreter_is_none() {
        for line in [b"#!".as_slice(), b"#!\n/bin/sh", b"#! \t \n", b"#!\0/bin/sh\n"] {
            assert_eq!(parse(line), Err(Errno::NOEXEC), "{line:?}");
        }
    }

    #[test]
    fn an_interpreter_must_end_in_time_and_an_argument_is_cut() {
        let long = |fill: usize| [b"#!/".as_slice(), &[b'a'; MOST][..fill], b" x\n"].concat();
        assert_eq!(parse(&long(MOST - 4)).unwrap().unwrap().0.len(), MOST - 3);
        assert_eq!(parse(&long(MOST - 3)), Err(Errno::NOEXEC));
        let cut = [b"#!/b ".as_slice(), &[b'a'; MOST]].concat();
        assert_eq!(parse(&cut).unwrap().unwrap().1.unwrap().len(), MOST - 5);
    }

    #[test]
    fn arguments_come_behind_the_script() {
        let script = Script { interpreter: b"/bin/awk", argument: Some(b"-f") };
        let own = [b"name".to_vec(), b"one".to_vec()];
        let expected: [&[u8]; 4] = [b"/bin/awk", b"-f", b"/x/script", b"one"];
        assert_eq!(script.arguments(b"/x/script", &own), expected);
    }

    proptest! {
        #[test]
        fn any_line_is_a_part_of_the_file(rest in prop::collection::vec(any::<u8>(), 0..400)) {
            let head: Vec<u8> = b"#!".iter().chain(&rest).copied().collect();
            if let Ok(Some(script)) = Script::parse(&head) {
                let inside = |part: &[u8]| head[..head.len().min(MOST)].windows(part.len()).any(|piece| piece == part);
                assert!(!script.interpreter.is_empty() && inside(script.interpreter));
                assert!(script.argument.is_none_or(|argument| !argument.is_empty() && inside(argument)));
                assert!(!script.interpreter.iter().any(|byte| b" \t\n\0".contains(byte)));
            }
        }
    }
}
