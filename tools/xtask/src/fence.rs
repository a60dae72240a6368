//! Where `unsafe` may stand. It has addresses, and this is the list.
//!
//! Beside the list there is a duty: every other file of the kernel, of its memory manager and of the wire begins with
//! `#![forbid(unsafe_code)]`, so the compiler holds the fence too.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::source;
use crate::tree::Tree;

/// Files and folders where `unsafe` may stand, and why.
const ALLOWED: &[(&str, &str)] = &[
    ("kernel/src/arch/", "the machine"),
    ("kernel/src/boot/machine.rs", "a symbol that the machine calls is exported by name"),
    ("ring-abi/src/map.rs", "turns mapped memory into a ring"),
    ("relibc-uring/rt/src/trap.rs", "the one instruction that enters the kernel"),
    ("relibc-uring/rt/src/ring/", "memory that the kernel hands over, and buffers that operations own"),
    ("relibc-uring/rt/src/scheme/payload.rs", "the kernel lends a request's bytes by address"),
    ("relibc-uring/rt/src/exec/waker.rs", "a waker without an allocation is made by hand"),
    ("relibc-uring/rt/src/op/shape.rs", "an entry in a ring makes the kernel write to memory"),
    ("relibc-uring/rt/src/op/context.rs", "setting another context's registers is an `unsafe fn`"),
    ("relibc-uring/rt/src/op/memory.rs", "taking memory away is an `unsafe fn`"),
    (
        "relibc-uring/rt/src/op/registered.rs",
        "pieces of one registered memory are lent apart from each other",
    ),
    ("relibc-uring/rt/src/op/provided.rs", "the kernel writes to the buffers of a group"),
    ("relibc-uring/rt/src/host.rs", "a host test gives the ring's memory by address"),
    ("relibc-uring/rt/src/thread/", "a thread's block and its stack are given by address"),
    ("relibc-uring/rt/src/start/", "what runs before the first safe line: entry, thread block, heap"),
    ("relibc-uring/rt/tests/", "the fake machine's memory is given to the runtime by address"),
    ("relibc-uring/posix/src/fork.rs", "a function that returns twice keeps its registers by hand"),
    ("relibc-uring/posix/src/load.rs", "writes a program into a space of its own"),
    ("relibc-uring/posix/src/spawn.rs", "starts a context at an address"),
    ("relibc-uring/libc/", "where C begins"),
    ("bootstrap/src/image.rs", "the kernel hands the initfs over by address"),
    ("tools/bare/src/", "contexts without a runtime, and what only a broken program does"),
    ("fuzz/", "hostile bytes have to be laid out as mapped memory; never part of an image"),
];

/// Folders whose other files must be forbidden it, by themselves or by a module that they are in.
const FORBIDDING: &[&str] = &["kernel/src/", "kernel/rmm/src/", "kernel/tickets/src/", "ring-abi/src/"];
/// These cannot forbid what a module of theirs is allowed.
const ROOTS: &[&str] = &[
    "kernel/src/lib.rs",
    "kernel/src/main.rs",
    "kernel/src/boot/mod.rs",
    "kernel/src/entry/mod.rs",
    "ring-abi/src/lib.rs",
];

/// Every file where `unsafe` stands without being allowed to, or where nothing forbids it.
pub(crate) fn breaches(tree: &Tree) -> Result<Vec<String>> {
    let mut files = BTreeMap::new();
    for file in source::rust_files(tree.root())? {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let place = file.strip_prefix(tree.root()).unwrap_or(&file).to_string_lossy().into_owned();
        files.insert(place, source::code(&text));
    }
    Ok(files.iter().filter_map(|(place, code)| breach(place, code, &files)).collect())
}

fn breach(place: &str, code: &str, files: &BTreeMap<String, String>) -> Option<String> {
    if ALLOWED.iter().any(|(allowed, _)| place.starts_with(allowed)) {
        return None;
    }
    if let Some(line) = source::line_of_word(code, "unsafe") {
        let rule = "`unsafe` may not stand here; tools/xtask/src/fence.rs lists where it may";
        return Some(format!("{place}:{line}: {rule}"));
    }
    let must = FORBIDDING.iter().any(|folder| place.starts_with(folder)) && !ROOTS.contains(&place);
    let forbids = |file: &str| files.get(file).is_some_and(|code| code.contains("#![forbid(unsafe_code)]"));
    let held = forbids(place) || parents(place).any(|file| forbids(&file));
    (must && !held).then(|| format!("{place}:1: this file must begin with #![forbid(unsafe_code)]"))
}

/// The files that may declare the module in `place`, or a module around it.
fn parents(place: &str) -> impl Iterator<Item = String> {
    let folders = Path::new(place).ancestors().skip(1).map(|folder| folder.display().to_string());
    folders
        .flat_map(|folder| [format!("{folder}.rs"), format!("{folder}/mod.rs"), format!("{folder}/lib.rs")])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(place: &str, code: &str) -> Option<String> {
        let other = ("kernel/src/base/tree.rs".to_owned(), "#![forbid(unsafe_code)]".to_owned());
        let files = BTreeMap::from([other, (place.to_owned(), code.to_owned())]);
        breach(place, code, &files)
    }

    #[test]
    fn unsafe_stands_only_where_it_may() {
        assert_eq!(found("kernel/src/arch/x86_64/cpu.rs", "unsafe {}"), None);
        let line = found("kernel/src/op/nop.rs", "#![forbid(unsafe_code)]\nfn f() { unsafe {} }").unwrap();
        assert!(line.starts_with("kernel/src/op/nop.rs:2:"), "{line}");
        assert_eq!(found("bench/src/main.rs", "fn f() {}"), None);
    }

    #[test]
    fn a_file_of_the_kernel_forbids_it_itself_or_its_module_does() {
        assert!(found("kernel/src/op/nop.rs", "fn f() {}").is_some());
        assert!(found("kernel/src/op/nop.rs", "#![forbid(unsafe_code)]\n").is_none());
        assert!(found("kernel/src/base/tree/tests.rs", "fn f() {}").is_none());
        assert!(found("kernel/src/lib.rs", "fn f() {}").is_none());
    }
}
