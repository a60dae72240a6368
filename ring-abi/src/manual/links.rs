//! Links of doc comments, as links to headings of the manual.
#![forbid(unsafe_code)]

use super::source;
use crate::Opcode;
use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;

/// Files whose constants, enumerations and structures are values of arguments, or lie behind one: by module.
pub(super) const VALUES: &[(&str, &str)] = &[
    ("args", include_str!("../args.rs")),
    ("context", include_str!("../context.rs")),
    ("futex", include_str!("../futex.rs")),
    ("registered", include_str!("../registered.rs")),
    ("group", include_str!("../group.rs")),
];

/// A comment whose links lead to headings of this document; what has none here loses its link.
pub(super) fn linked(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once("[`") {
        out.push_str(before);
        let Some((label, behind)) = behind.split_once("`]") else {
            out.push_str("[`");
            rest = behind;
            continue;
        };
        let path = behind.strip_prefix('(').and_then(|path| path.split_once(')'));
        rest = path.map_or(behind, |(_, rest)| rest);
        let target = path.map_or(label, |(path, _)| path);
        let shown = label.trim_start_matches("crate::").trim_start_matches("super::");
        let _ = match anchor(target) {
            Some(anchor) => write!(out, "[`{shown}`](#{anchor})"),
            None => write!(out, "`{shown}`"),
        };
    }
    out.push_str(rest);
    prose(&out)
}

/// The same for links whose label is not code.
fn prose(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once("](crate::")
        && let (Some((lead, label)), Some((path, behind))) = (before.rsplit_once('['), behind.split_once(')'))
    {
        let _ = match anchor(&format!("crate::{path}")) {
            Some(anchor) => write!(out, "{lead}[{label}](#{anchor})"),
            None => write!(out, "{lead}{label}"),
        };
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// A link to the page of an opcode.
pub(super) fn link(opcode: Opcode) -> String {
    format!("[`{}`](#{})", opcode.name(), heading(opcode))
}

/// The anchor of an opcode's heading.
fn heading(opcode: Opcode) -> String {
    format!("{}-{}", opcode.raw(), opcode.name().to_ascii_lowercase())
}

/// The anchor that the path of a link leads to.
fn anchor(path: &str) -> Option<String> {
    if path.starts_with("http") {
        return None;
    }
    let mut parts = path.rsplit("::");
    // What a link with a whole path leads to is its end, and otherwise what it begins with.
    if path.starts_with("crate::") {
        let module = path.rsplit("::").nth(1).filter(|name| VALUES.iter().any(|(module, _)| module == name));
        return parts.find_map(|part| known(part).or_else(|| value_anchor(part, module)));
    }
    path.split("::").find_map(|part| known(part).or_else(|| value_anchor(part, None)))
}

/// The anchor of what has a heading of its own.
fn known(name: &str) -> Option<String> {
    let anchor = match name {
        "SqeFlags" => "submission-flags",
        "CqeFlags" => "completion-flags",
        "CqeKind" => "completion-kinds",
        "Sqe" => "a-submission",
        "Cqe" => "a-completion",
        "Control" => "its-control-word",
        "enter" => "its-flags-and-numbers",
        "flags" => "flags-of-the-header",
        "word" => "words-of-the-header",
        "Sizes" => "sizes",
        "End" => "values-of-reason",
        name => return opcode_anchor(name),
    };
    Some(String::from(anchor))
}

fn opcode_anchor(name: &str) -> Option<String> {
    Opcode::ALL.iter().find(|opcode| opcode.name() == name).map(|&opcode| heading(opcode))
}

/// The anchor of a value's table: that of a block, or of the constants among which it is.
fn value_anchor(name: &str, within: Option<&str>) -> Option<String> {
    let mut modules = VALUES.iter().filter(|(module, _)| within.is_none_or(|within| within == *module));
    modules.find_map(|(module, file)| {
        let is_block = source::blocks(file).iter().any(|block| block.name == name && !block.body.is_empty());
        let is_constant = || source::constants(file).iter().any(|entry| entry.name == name);
        if is_block {
            Some(format!("values-of-{}", name.to_ascii_lowercase()))
        } else {
            is_constant().then(|| format!("constants-of-{module}"))
        }
    })
}
