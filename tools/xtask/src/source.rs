//! Just enough of Rust's lexer to look for words in code and not in comments or strings.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Every Rust file below a folder, sorted; folders named `target` are left out.
pub(crate) fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() && path.file_name().is_none_or(|name| name != "target" && name != ".git") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The code alone: comments, strings and characters become blanks, line breaks stay.
pub(crate) fn code(text: &str) -> String {
    let mut rest = text;
    let mut code = String::with_capacity(text.len());
    let mut in_word = false;
    while let Some(first) = rest.chars().next() {
        let length = if in_word && first != '"' { 0 } else { skipped(rest) };
        if length == 0 {
            code.push(first);
            in_word = first.is_alphanumeric() || first == '_';
            rest = &rest[first.len_utf8()..];
        } else {
            let (gone, after) = rest.split_at(length);
            code.extend(gone.chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }));
            in_word = false;
            rest = after;
        }
    }
    code
}

/// Length of the comment, string or character that `text` begins with, zero if it begins with code.
fn skipped(text: &str) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return block_comment(text);
    }
    let plain = text.trim_start_matches(['b', 'c']);
    let prefix = text.len() - plain.len();
    if prefix > 1 {
        return 0;
    }
    if let Some(raw) = plain.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = prefix + 1 + hashes + 1;
            return text[start..].find(&end).map_or(text.len(), |at| start + at + end.len());
        }
    }
    match plain.chars().next() {
        Some('"') => prefix + quoted(plain, '"'),
        Some('\'') if is_character(plain) => prefix + quoted(plain, '\''),
        _ => 0,
    }
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// A character literal, and not a lifetime.
fn is_character(text: &str) -> bool {
    let mut letters = text.chars().skip(1);
    match letters.next() {
        Some('\\') => true,
        Some(_) => letters.next() == Some('\''),
        None => false,
    }
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Whether `word` stands in this code as a word of its own; the answer is a line number.
pub(crate) fn line_of_word(code: &str, word: &str) -> Option<usize> {
    let part_of_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    code.lines()
        .position(|line| line.split(|letter| !part_of_word(letter)).any(|found| found == word))
        .map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_characters_are_no_code() {
        let text = "a // unsafe\n/* unsafe /* unsafe */ unsafe */ b \"unsafe \\\" unsafe\" 'u' '\\'' b\"unsafe\" \
                    r#\"unsafe \" unsafe\"# c";
        let code = code(text);
        assert_eq!(line_of_word(&code, "unsafe"), None, "{code}");
        assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn lifetimes_and_words_that_end_like_a_prefix_are_code() {
        let code = code("fn f<'a>(x: &'a str) { number\"unsafe\"; unsafe { } }");
        assert!(code.contains("<'a>") && code.contains("&'a str") && code.contains("number "));
        assert_eq!(line_of_word(&code, "unsafe"), Some(1));
    }

    #[test]
    fn a_word_is_found_with_its_line_and_not_inside_another() {
        assert_eq!(line_of_word("a\nunsafe_code\nunsafe {}", "unsafe"), Some(3));
    }
}
