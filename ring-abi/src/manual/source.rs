//! Doc comments, constants and functions out of the text of a source file.
//!
//! It knows no Rust but what `rustfmt` makes of it: an item begins at the start of a line, and ends with a brace there. What has
//! no doc comment is not seen.
#![forbid(unsafe_code)]

use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

/// A constant, a value of an enumeration, or a field.
pub(super) struct Constant<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// What stands behind its name: a value, or a field's type.
    pub(super) value: &'a str,
    /// Its doc comment, a line for each line.
    pub(super) text: String,
}

/// A module, an enumeration or a structure.
pub(super) struct Block<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Its doc comment, a line for each line.
    pub(super) text: String,
    /// What is inside its braces.
    pub(super) body: &'a str,
}

/// What a file says of itself.
pub(super) fn header(file: &str) -> String {
    let mut text = String::new();
    file.lines().map_while(|line| line.strip_prefix("//!")).for_each(|line| add(&mut text, line));
    text
}

/// The doc comment of the item whose line begins so.
pub(super) fn comment(file: &str, item: &str) -> String {
    let mut text = String::new();
    for line in file.lines() {
        if let Some(line) = line.strip_prefix("///") {
            add(&mut text, line);
        } else if line.starts_with(item) {
            return text;
        } else if !line.starts_with("#[") {
            text.clear();
        }
    }
    String::new()
}

/// Constants of a file that are public.
pub(super) fn constants(file: &str) -> Vec<Constant<'_>> {
    collect(file.lines().filter(|line| !line.starts_with(' ')), |line| {
        line.strip_prefix("pub const ").and_then(constant)
    })
}

/// Constants, values or fields inside a block.
pub(super) fn members(body: &str) -> Vec<Constant<'_>> {
    collect(body.lines().map(str::trim), |line| {
        let line = line.strip_prefix("pub ").unwrap_or(line);
        line.strip_prefix("const ").map_or_else(|| field(line), constant)
    })
}

/// Lines that are something, each with the doc comment before it.
fn collect<'a>(
    lines: impl Iterator<Item = &'a str>,
    mut item: impl FnMut(&'a str) -> Option<(&'a str, &'a str)>,
) -> Vec<Constant<'a>> {
    let (mut found, mut text) = (Vec::new(), String::new());
    for line in lines {
        if let Some(line) = line.strip_prefix("///") {
            add(&mut text, line);
        } else if !line.starts_with("#[") {
            let text = mem::take(&mut text);
            if let (Some((name, value)), false) = (item(line), text.is_empty()) {
                found.push(Constant { name, value, text });
            }
        }
    }
    found
}

/// `NAME: TYPE = VALUE;` or `NAME = VALUE;`.
fn constant(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let name = name.split(':').next()?.trim();
    Some((name, value.trim().trim_end_matches(';')))
}

/// `name: type,` or `Name = value,`.
fn field(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_suffix(',')?.split_once([':', '='])?;
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let name = name.trim();
    name.chars().all(is_name).then_some((name, value.trim()))
}

/// Modules, enumerations and structures of a file that are public and not empty.
pub(super) fn blocks(file: &str) -> Vec<Block<'_>> {
    let mut text = String::new();
    let mut found = Vec::new();
    for line in file.lines() {
        if let Some(line) = line.strip_prefix("///") {
            add(&mut text, line);
        } else if !line.starts_with("#[") {
            let text = mem::take(&mut text);
            if let Some(name) = opening(line)
                && let Some(body) = inside(file, line)
            {
                found.push(Block { name, text, body });
            }
        }
    }
    found
}

/// The name of what a line opens.
fn opening(line: &str) -> Option<&str> {
    let rest = ["pub mod ", "pub enum ", "pub struct "].iter().find_map(|word| line.strip_prefix(word))?;
    rest.strip_suffix(" {")
}

/// What is inside the braces that a line opens, up to one that stands as far to the left.
pub(super) fn inside<'a>(file: &'a str, line: &str) -> Option<&'a str> {
    let (_, rest) = file.split_once(line)?;
    let spaces = line.len().checked_sub(line.trim_start().len())?;
    let end = rest.match_indices('\n').find_map(|(at, _)| {
        let behind = rest.get(at.checked_add(1)?..)?;
        let line = behind.lines().next()?;
        (line.trim_start().starts_with('}') && line.find('}') == Some(spaces)).then_some(at)
    })?;
    rest.get(..end)
}

/// The body of a function that stands by itself, moved to the left.
pub(super) fn body(file: &str, name: &str) -> String {
    let head = alloc::format!("fn {name}(");
    let head = file.lines().find(|line| line.trim_start_matches("pub ").starts_with(&head));
    let lines = head.and_then(|head| inside(file, head)).unwrap_or_default().lines().skip(1);
    let mut text = String::new();
    for line in lines {
        text.push_str(line.strip_prefix("    ").unwrap_or(line));
        text.push('\n');
    }
    text
}

/// Adds a line of a comment, without the space that it begins with.
fn add(text: &mut String, line: &str) {
    text.push_str(line.strip_prefix(' ').unwrap_or(line));
    text.push('\n');
}
