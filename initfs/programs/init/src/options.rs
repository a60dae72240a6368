//! `/etc/cmdline`: what this boot is for, one `key=value` a line.
//!
//! Keys that are not known here are for others and passed over.
#![forbid(unsafe_code)]

use alloc::string::String;
use alloc::vec::Vec;

/// What the host asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `exec`: program and arguments to run; the machine ends with its status.
    pub exec: Vec<String>,
    /// `trace-rings`: print every entry of that program's rings.
    pub trace_rings: bool,
}

impl Options {
    /// Reads the file.
    pub fn parse(text: &str) -> Options {
        let mut options = Options::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            match key.trim() {
                "exec" => options.exec = words(value),
                "trace-rings" => options.trace_rings = value.trim() == "1",
                _ => {}
            }
        }
        options
    }
}

/// The words of a line: apart by blanks, except inside `"…"` or `'…'`.
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, letter) if letter.is_whitespace() => words.extend(word.take()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::{Options, words};

    #[test]
    fn words_are_apart_by_blanks_and_together_in_quotes() {
        assert_eq!(words("  ls  -l /etc "), ["ls", "-l", "/etc"]);
        assert_eq!(words("echo 'a b' \"c 'd'\" e\"f g\""), ["echo", "a b", "c 'd'", "ef g"]);
        assert_eq!(words("echo '' x"), ["echo", "", "x"]);
        assert_eq!(words("open 'end"), ["open", "end"]);
        assert!(words("   ").is_empty());
    }

    #[test]
    fn the_host_says_what_to_run() {
        let options = Options::parse("icount=1\nexec=/bin/qtest --all a=b\ntrace-rings=1\nnonsense\n");
        assert_eq!(options.exec, ["/bin/qtest", "--all", "a=b"]);
        assert!(options.trace_rings);
        assert_eq!(Options::parse(""), Options::default());
    }
}
