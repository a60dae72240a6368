//! A line as it is typed on the console: what to show for each byte, and when it is done.
//!
//! Only printable ASCII is taken; the rest of the keyboard does nothing.
#![forbid(unsafe_code)]

use alloc::string::String;

/// Longest line.
const MOST: usize = 1024;

/// The line so far.
#[derive(Debug, Default)]
pub struct Line {
    text: String,
}

/// What a byte means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// Nothing.
    Nothing,
    /// Show this letter.
    Echo(char),
    /// Take the last letter from the screen.
    Erase,
    /// The line is done.
    Line(String),
}

impl Line {
    /// Takes the next byte.
    pub fn typed(&mut self, byte: u8) -> Typed {
        match byte {
            b'\r' | b'\n' => Typed::Line(core::mem::take(&mut self.text)),
            0x08 | 0x7f => self.text.pop().map_or(Typed::Nothing, |_| Typed::Erase),
            b' '..=b'~' if self.text.len() < MOST => {
                self.text.push(char::from(byte));
                Typed::Echo(char::from(byte))
            }
            _ => Typed::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, MOST, Typed};

    #[test]
    fn a_line_is_what_was_typed_and_not_erased() {
        let mut line = Line::default();
        assert_eq!(line.typed(0x7f), Typed::Nothing);
        assert_eq!(line.typed(b'l'), Typed::Echo('l'));
        assert_eq!(line.typed(b'x'), Typed::Echo('x'));
        assert_eq!(line.typed(0x08), Typed::Erase);
        assert_eq!(line.typed(0x1b), Typed::Nothing);
        assert_eq!(line.typed(b's'), Typed::Echo('s'));
        assert_eq!(line.typed(b'\r'), Typed::Line("ls".into()));
        assert_eq!(line.typed(b'\n'), Typed::Line("".into()));
    }

    #[test]
    fn a_line_has_an_end() {
        let mut line = Line::default();
        (0..MOST).for_each(|_| assert_eq!(line.typed(b'a'), Typed::Echo('a')));
        assert_eq!(line.typed(b'a'), Typed::Nothing);
    }
}
