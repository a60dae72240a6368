//! Writes the manual: one document in Markdown.
#![forbid(unsafe_code)]

use super::features::{self, FEATURES};
use super::links::{VALUES, link, linked};
use super::page::page;
use super::source::{self, Constant};
use super::{call, chain};
use crate::opcode::{Origin, Payload};
use crate::{Errno, Opcode, SqeFlags, args, layout};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

const CQE: &str = include_str!("../cqe.rs");
const ENTER: &str = include_str!("../enter.rs");
const LAYOUT: &str = include_str!("../layout.rs");
const SQE: &str = include_str!("../sqe.rs");

/// Lines that open the flags of the two entries.
const SQE_FLAGS: &str = "    pub struct SqeFlags: u8 {";
const CQE_FLAGS: &str = "    pub struct CqeFlags: u8 {";

/// The whole document.
pub fn document() -> String {
    let mut out = String::from(HEAD);
    enter(&mut out);
    memory(&mut out);
    submissions(&mut out);
    chain(&mut out);
    completions(&mut out);
    out.push_str(&linked(ERRORS));
    index(&mut out);
    out.push_str("\n## The operations, one by one\n");
    Opcode::ALL.iter().for_each(|&opcode| operation(&mut out, opcode));
    values(&mut out);
    beside(&mut out);
    out
}

const HEAD: &str = "\
# The rings

<!-- Written by `cargo xtask docs` from the crate `ring-abi`. Do not edit: change the doc comments there, or
     `ring-abi/src/manual`, and run it again. -->

Everything that a program can ask of the kernel, a daemon of the kernel, and the kernel of a daemon. This page is generated from
`ring-abi`, the crate that both ends of every ring use; `cargo xtask check` and `cargo test` fail when it is not what that crate
says. What is named here and not there yet is said to be so.

- [The system call](#the-system-call)
- [A ring's memory](#a-rings-memory)
- [A submission](#a-submission)
- [A completion](#a-completion)
- [Errors that many operations share](#errors-that-many-operations-share)
- [The operations](#the-operations), and [one by one](#the-operations-one-by-one)
- [Values of arguments](#values-of-arguments)
- [Beside io_uring](#beside-io_uring)
";

const ERRORS: &str = "
## Errors that many operations share

A result is an error if it is one of the 4095 greatest numbers: the negative of the error's number, which is that of Linux.

Every operation:

- `EINVAL`: the opcode does not exist or only the kernel may use it; a flag that it does not take; a group where it has no
  meaning, or a number for a handle together with `MULTISHOT`; a field that is wider than its type; the first of a chain that
  is longer than the completion queue.
- `EACCES`: the context may not use this opcode or one of the flags: see [`Restrict`].
- `ENOSYS`: the opcode's number is reserved.
- `ENOMEM`: no memory for what the kernel has to remember. Nothing was changed.
- `EBADF`: a handle that does not exist, or leads to something of another kind; the number for a new handle is not reserved.
- `EBUSY`: there is a handle under the number for a new one.
- `ECANCELED`: an entry before it in its chain failed, and it did not start. If it waits: it was cancelled by force, or after
  its grace, and whether it took effect is unknown.

Every operation that a daemon answers:

- `EFAULT`: the buffer does not lie in a program's half of the addresses, or a page of it is not there or has not the rights.
- `ENAMETOOLONG`: a buffer that goes to the daemon is longer than a slot of its arena. Of a `Write` a slot's bytes are taken.
- `EILSEQ`: a path is not UTF-8.
- `EOPNOTSUPP`: the handle leads to a context, a space, a table or a right, or to a file of the kernel that does not do this.
- `ENODEV`: the daemon is gone.
- `ECONNRESET`: the daemon died with the request in hand. Whether it took effect is unknown.
- `EIO`: the daemon answered nonsense: more bytes than were asked for, or a handle where none is due.
- Any error that the daemon says.

With `BUFFER_SELECT`:

- `ENOENT`: the ring has no such group.
- `EOPNOTSUPP`: no daemon serves the file.
- `ENOBUFS`: bytes came, and the group has no buffer.
- `EINVAL`: the buffer is shorter than the group says. `EFAULT`: it cannot be written.
";

fn enter(out: &mut String) {
    out.push_str("\n## The system call\n\n");
    out.push_str(&linked(&source::header(ENTER)));
    out.push_str("\n### Its control word\n\n");
    out.push_str(&linked(&source::comment(ENTER, "pub struct Control(")));
    out.push('\n');
    let control = source::inside(ENTER, "impl Control {").unwrap_or_default();
    table(out, &["value", "is", "meaning"], &source::members(control));
    out.push_str("\n### Its flags and numbers\n\n");
    let numbers = source::constants(ENTER);
    table(out, &["name", "value", "meaning"], &numbers);
    out.push_str(&linked(call::ERRORS));
    let _ = write!(out, "\n```rust\n{}{}```\n", call::text("ask"), call::text("serve"));
}

fn memory(out: &mut String) {
    out.push_str("\n## A ring's memory\n\n");
    out.push_str(&linked(&source::header(LAYOUT)));
    let blocks = source::blocks(LAYOUT);
    let find = |name| blocks.iter().find(|block| block.name == name);
    if let Some(words) = find("word") {
        out.push_str("\n### Words of the header\n\nThe index is that of a 32-bit word.\n\n");
        table(out, &["word", "index", "meaning"], &source::members(words.body));
    }
    if let Some(flags) = find("flags") {
        out.push_str("\n### Flags of the header\n\n");
        table(out, &["flag", "value", "meaning"], &source::members(flags.body));
    }
    let smallest = layout::Sizes::SMALLEST;
    let _ = writeln!(
        out,
        "\n### Sizes\n\nA word packs the sizes, each as its logarithm to base two, at most {}: submissions in the low byte, \
         completions in the next, and in the third one more than that of requests and replies, or zero for no service pair. \
         The smallest ring, {} submissions and {} completions, is `{:#x}` and takes {} bytes.",
        layout::MAX_LOG2,
        smallest.sq_entries(),
        smallest.cq_entries(),
        smallest.packed(),
        smallest.bytes(),
    );
}

fn submissions(out: &mut String) {
    out.push_str(
        "\n## A submission\n\n64 bytes, from a program to the kernel, or from the kernel to a daemon.\n\n",
    );
    fields(out, SQE, "Sqe");
    out.push_str("\n### Submission flags\n\n| flag | value | meaning | taken by |\n|---|---|---|---|\n");
    for flag in source::members(source::inside(SQE, SQE_FLAGS).unwrap_or_default()) {
        let taken = SqeFlags::from_name(flag.name).map_or_else(String::new, taken_by);
        let _ = writeln!(out, "| `{}` | `{}` | {} | {taken} |", flag.name, flag.value, cell(&flag.text));
    }
}

/// An example of entries that belong together.
fn chain(out: &mut String) {
    let head =
        "An open, a read and a close as one submission; `kept` is a number that [`HandleReserve`] keeps:";
    let _ = write!(out, "\n### A chain\n\n{}\n\n```rust\n{}```\n", linked(head), chain::text());
}

/// Which operations take a flag, if a program submits them.
fn taken_by(flag: SqeFlags) -> String {
    let (takers, others): (Vec<Opcode>, Vec<Opcode>) =
        asked().partition(|opcode| opcode.flags().contains(flag));
    if takers.is_empty() {
        return String::from("nothing: `EINVAL` from a program");
    }
    if others.is_empty() {
        return String::from("every operation");
    }
    if others.len() < takers.len() { format!("all but {}", names(&others)) } else { names(&takers) }
}

fn names(opcodes: &[Opcode]) -> String {
    let links: Vec<String> = opcodes.iter().map(|&opcode| link(opcode)).collect();
    links.join(", ")
}

/// Operations that a program can ask for.
fn asked() -> impl Iterator<Item = Opcode> {
    let can = |opcode: &Opcode| matches!(opcode.origin(), Origin::Forwarded | Origin::Kernel);
    Opcode::ALL.iter().copied().filter(can)
}

/// Flags that every operation takes.
fn common() -> SqeFlags {
    asked().fold(SqeFlags::all(), |flags, opcode| flags & opcode.flags())
}

fn completions(out: &mut String) {
    out.push_str(
        "\n## A completion\n\n16 bytes, from the kernel to a program, or from a daemon to the kernel.\n\n",
    );
    fields(out, CQE, "Cqe");
    out.push_str("\n### Completion flags\n\nOf a completion that the kernel posts.\n\n");
    let flags = source::members(source::inside(CQE, CQE_FLAGS).unwrap_or_default());
    table(out, &["flag", "value", "meaning"], &flags);
    out.push_str("\n### Completion kinds\n\nOf a daemon's reply.\n\n");
    let blocks = source::blocks(CQE);
    if let Some(kinds) = blocks.iter().find(|block| block.name == "CqeKind") {
        table(out, &["kind", "value", "meaning"], &source::members(kinds.body));
    }
}

fn fields(out: &mut String, file: &str, name: &str) {
    let blocks = source::blocks(file);
    if let Some(block) = blocks.iter().find(|block| block.name == name) {
        table(out, &["field", "type", "meaning"], &source::members(block.body));
    }
}

fn index(out: &mut String) {
    out.push_str("\n## The operations\n\n| number | name | answered by | |\n|---|---|---|---|\n");
    for &opcode in Opcode::ALL {
        let by = match opcode.origin() {
            Origin::Forwarded => "the file's daemon",
            Origin::Kernel => "the kernel",
            Origin::KernelOnly => "a daemon; only the kernel asks",
            Origin::Reserved => "nobody: `ENOSYS`",
        };
        let _ = writeln!(out, "| {} | {} | {by} | {} |", opcode.raw(), link(opcode), cell(opcode.text()));
    }
}

fn operation(out: &mut String, opcode: Opcode) {
    let _ = writeln!(out, "\n### {} `{}`\n", opcode.raw(), opcode.name());
    let described = args::described(opcode);
    let text = described.map_or(opcode.text(), |described| described.text);
    // Each line of a comment begins with a space.
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    out.push_str(&linked(&lines.join("\n")));
    out.push_str("\n\n");
    let page = page(opcode);
    if let Some(described) = described.filter(|described| !described.each.is_empty()) {
        out.push_str("| argument | type | word | meaning |\n|---|---|---|---|\n");
        for each in described.each {
            let text = cell(each.text);
            let _ = writeln!(out, "| `{}` | `{}` | {} | {text} |", each.name, each.kind, each.word);
        }
        out.push('\n');
    }
    if let Some(way) = way(opcode.payload()) {
        let _ = writeln!(out, "- Buffer: {way}");
    }
    let _ = writeln!(out, "- Result: {}", linked(page.result));
    if matches!(opcode.origin(), Origin::Forwarded | Origin::Kernel) {
        let _ = writeln!(out, "- Flags: {}.", flags(opcode));
    }
    if opcode.makes_handle() {
        out.push_str(
            "- New handle: under the lowest free number, or a reserved one: see [`group`](#a-submission).\n",
        );
    }
    if opcode.passes_barriers() {
        out.push_str("- Barriers: it waits for none, unless it has a flag that says when it starts.\n");
    }
    errors(out, opcode, page.errors);
    if let Some(example) = page.example {
        let _ = write!(out, "\n```rust\n{}```\n", example.text());
    }
}

fn errors(out: &mut String, opcode: Opcode, own: &[(Errno, &str)]) {
    let shared = match opcode.origin() {
        Origin::Forwarded => "those of every operation, and of every one that a daemon answers",
        Origin::Kernel => "those of every operation",
        Origin::KernelOnly | Origin::Reserved => return,
    };
    let shared = format!("[{shared}](#errors-that-many-operations-share)");
    if own.is_empty() {
        let _ = writeln!(out, "- Errors: {shared}.");
        return;
    }
    let _ = writeln!(out, "- Errors, beside {shared}:");
    for (error, why) in own {
        let _ = writeln!(out, "  - `{error:?}`: {}.", linked(why));
    }
}

fn way(payload: Payload) -> Option<&'static str> {
    match payload {
        Payload::None => None,
        Payload::In => Some("goes to the daemon."),
        Payload::Out => Some("comes from the daemon, as many bytes as the result says."),
        Payload::InOut => Some("goes to the daemon, and comes back as far as it says."),
    }
}

fn flags(opcode: Opcode) -> String {
    let common = common();
    let own: Vec<String> =
        opcode.flags().difference(common).iter_names().map(|(name, _)| format!("`{name}`")).collect();
    match (common.is_empty(), own.is_empty()) {
        (true, true) => String::from("none"),
        (true, false) => own.join(", "),
        (false, true) => String::from("those of every operation"),
        (false, false) => format!("those of every operation, and {}", own.join(", ")),
    }
}

fn values(out: &mut String) {
    out.push_str("\n## Values of arguments\n");
    for (name, file) in VALUES {
        let constants = source::constants(file);
        if !constants.is_empty() {
            let _ = writeln!(out, "\n### Constants of `{name}`\n");
            table(out, &["name", "value", "meaning"], &constants);
        }
        for block in source::blocks(file) {
            let members = source::members(block.body);
            if !members.is_empty() {
                let _ = writeln!(out, "\n### Values of `{}`\n\n{}", block.name, linked(&block.text));
                table(out, &["name", "value or type", "meaning"], &members);
            }
        }
    }
}

fn beside(out: &mut String) {
    out.push_str(features::HEAD);
    let mut group = "";
    for feature in FEATURES {
        if feature.group != group {
            group = feature.group;
            let _ = writeln!(out, "\n### {group}\n\n| io_uring | Annulus | how, or why not |\n|---|---|---|");
        }
        let _ = writeln!(out, "| {} | {} | {} |", feature.name, feature.state.name(), linked(feature.how));
    }
}

/// A table of names with what belongs to them.
fn table(out: &mut String, heads: &[&str], rows: &[Constant<'_>]) {
    let _ = writeln!(out, "| {} |\n|{}", heads.join(" | "), "---|".repeat(heads.len()));
    for row in rows {
        let value = row.value.replace('|', "\\|");
        let _ = writeln!(out, "| `{}` | `{value}` | {} |", row.name, cell(&row.text));
    }
}

/// A comment in one line, for a table.
fn cell(text: &str) -> String {
    let lines: Vec<&str> = text.split_whitespace().collect();
    linked(&lines.join(" ").replace('|', "\\|"))
}
