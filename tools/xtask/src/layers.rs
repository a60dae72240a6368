//! The import order of the kernel's layers, and which crate may use which.
//!
//! A file of a layer names its own layer or lower ones. An upward path is an error that names both files. The one
//! arrow that points up, from the entry stubs to the kernel, is a linker symbol and no path.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::source;
use crate::tree::Tree;

/// The kernel's layers, lowest first.
const LAYERS: &[&str] = &["base", "arch", "mem", "ring", "context", "scheme", "op", "entry", "boot"];

/// A crate of this tree: its folder and the crates of this tree that it may depend on.
const CRATES: &[(&str, &[&str])] = &[
    ("ring-abi", &[]),
    ("kernel/rmm", &[]),
    ("kernel/tickets", &["ring-abi"]),
    ("kernel", &["ring-abi", "rmm", "tickets"]),
    ("initfs/format", &[]),
    ("relibc-uring/rt", &["ring-abi"]),
    ("relibc-uring/posix", &["ring-abi", "uring"]),
    ("bootstrap", &["ring-abi", "uring", "posix", "initfs-format"]),
    ("initfs/programs/commands", PROGRAM),
    ("initfs/programs/fixtures", PROGRAM),
    ("initfs/programs/init", PROGRAM),
    ("initfs/programs/null", PROGRAM),
    ("initfs/programs/ramfs", PROGRAM),
    ("bench", TESTER),
    ("tools/bare", &["ring-abi", "uring"]),
    ("tools/qtest", TESTER),
    ("tools/xtask", &["ring-abi", "initfs-format"]),
];
/// What a program of the guest may use.
const PROGRAM: &[&str] = &["ring-abi", "uring", "posix"];
/// What measures and tests the kernel may use.
const TESTER: &[&str] = &["ring-abi", "uring", "posix", "bare"];
/// The crates of this tree, by package name.
const OURS: &[&str] = &[
    "ring-abi",
    "rmm",
    "tickets",
    "kernel",
    "uring",
    "posix",
    "initfs-format",
    "bootstrap",
    "commands",
    "fixtures",
    "init",
    "null",
    "ramfs",
    "bare",
    "bench",
    "qtest",
    "xtask",
];

/// Every import that points the wrong way.
pub(crate) fn breaches(tree: &Tree) -> Result<Vec<String>> {
    let mut list = Vec::new();
    let kernel = tree.source("kernel/src");
    for file in source::rust_files(&kernel)? {
        let place = file.strip_prefix(&kernel).unwrap_or(&file);
        if is_test(place) {
            continue;
        }
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        list.extend(upward(&kernel, place, &text));
    }
    for (folder, allowed) in CRATES {
        let manifest = tree.source(folder).join("Cargo.toml");
        let Ok(text) = fs::read_to_string(&manifest) else { continue };
        list.extend(dependencies(&text).filter(|name| OURS.contains(name) && !allowed.contains(name)).map(
            |name| {
                format!(
                    "{folder}/Cargo.toml: depends on `{name}`, which tools/xtask/src/layers.rs does not allow"
                )
            },
        ));
    }
    Ok(list)
}

/// Tests in files of their own may look at a layer from above.
fn is_test(file: &Path) -> bool {
    let names = |part: &str| part == "tests" || part == "tests.rs" || part.ends_with("_tests.rs");
    file.iter().filter_map(|part| part.to_str()).any(names)
}

/// The upward paths of one file of the kernel.
fn upward(kernel: &Path, place: &Path, text: &str) -> Vec<String> {
    let Some(own) = place.components().next().and_then(|first| rank(first.as_os_str().to_str()?)) else {
        return Vec::new(); // lib.rs and main.rs stand above all layers
    };
    let code = source::code(text);
    let mut list = Vec::new();
    for (number, path) in crate_paths(&code) {
        let Some(other) = path.first().and_then(|layer| rank(layer)) else { continue };
        if other > own {
            let target = file_of(kernel, &path);
            list.push(format!(
                "kernel/src/{}:{number}: layer {} uses layer {} above it, in kernel/src/{target}",
                place.display(),
                LAYERS[own],
                LAYERS[other],
            ));
        }
    }
    list
}

fn rank(layer: &str) -> Option<usize> {
    let name = layer.strip_suffix(".rs").unwrap_or(layer);
    LAYERS.iter().position(|known| *known == name)
}

/// Every path that begins at the crate's root, with its line: `crate::a::b`, and each of `crate::{a::b, c}`.
fn crate_paths(code: &str) -> Vec<(usize, Vec<String>)> {
    let mut paths = Vec::new();
    for (at, found) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = code[at + found.len()..].trim_start();
        match rest.strip_prefix('{') {
            Some(group) => paths.extend(group_members(group).into_iter().map(|path| (line, path))),
            None => paths.push((line, names(rest))),
        }
    }
    paths
}

/// The members of a group of imports, as far as their own groups.
fn group_members(group: &str) -> Vec<Vec<String>> {
    let mut members = vec![String::new()];
    let mut depth = 0;
    for letter in group.chars() {
        match letter {
            '}' if depth == 0 => break,
            ',' if depth == 0 => members.push(String::new()),
            _ => members.last_mut().into_iter().for_each(|member| member.push(letter)),
        }
        depth += i32::from(letter == '{') - i32::from(letter == '}');
    }
    members.iter().map(|member| names(member.trim_start())).filter(|path| !path.is_empty()).collect()
}

/// The names of a path, up to what is no name.
fn names(text: &str) -> Vec<String> {
    let mut list = Vec::new();
    let mut rest = text;
    loop {
        let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
        if end == 0 {
            return list;
        }
        list.push(rest[..end].to_owned());
        match rest[end..].strip_prefix("::") {
            Some(next) => rest = next,
            None => return list,
        }
    }
}

/// The file that a path leads to, as far as there are files.
fn file_of(kernel: &Path, path: &[String]) -> String {
    let mut folder = String::new();
    let mut file = String::new();
    for name in path {
        let inner = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        for candidate in [format!("{inner}.rs"), format!("{inner}/mod.rs")] {
            if kernel.join(&candidate).is_file() {
                file = candidate;
            }
        }
        folder = inner;
    }
    file
}

/// The names under `[dependencies]` and `[target.*.dependencies]` of a manifest; not those of tests and build scripts.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    manifest.lines().filter_map(move |line| {
        if let Some(table) = line.trim().strip_prefix('[') {
            let table = table.trim_end_matches(']');
            inside =
                table == "dependencies" || (table.starts_with("target.") && table.ends_with(".dependencies"));
            return None;
        }
        let name = line.split(['.', '=', ' ']).next()?.trim();
        (inside && !name.is_empty() && !name.starts_with('#')).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upward_in(place: &str, text: &str) -> Vec<String> {
        upward(Path::new("/none"), Path::new(place), text)
    }

    #[test]
    fn an_upward_path_is_found_wherever_it_stands() {
        assert_eq!(upward_in("mem/a.rs", "use crate::base::X;\nuse crate::mem::Y;").len(), 0);
        let found = upward_in("mem/a.rs", "\nuse crate::op::read::start;");
        assert!(found[0].starts_with("kernel/src/mem/a.rs:2: layer mem uses layer op"), "{found:?}");
        assert_eq!(upward_in("base/a.rs", "fn f() { crate::entry::g() }").len(), 1);
        assert_eq!(upward_in("ring/mod.rs", "use crate::{base::{A, B}, context::C, mem};").len(), 1);
    }

    #[test]
    fn comments_other_crates_and_the_root_do_not_count() {
        assert_eq!(upward_in("base/a.rs", "// use crate::op;\nuse mycrate::op;").len(), 0);
        assert_eq!(upward_in("lib.rs", "use crate::op;").len(), 0);
    }

    #[test]
    fn tests_in_files_of_their_own_are_left_out() {
        assert!(is_test(Path::new("mem/tests/wired.rs")) && is_test(Path::new("base/tree/tests.rs")));
        assert!(!is_test(Path::new("mem/wired.rs")));
    }

    #[test]
    fn the_named_file_is_the_one_that_holds_the_item() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let path = ["serial".to_owned(), "Splitter".to_owned()];
        assert_eq!(file_of(&here, &path), "serial.rs");
    }

    #[test]
    fn only_what_the_crate_itself_uses_is_a_dependency() {
        let manifest = "[dependencies]\nkernel.workspace = true\nrmm = { path = \"x\" }\n# a\n\n\
                        [target.'cfg(x)'.dependencies]\nspin = \"1\"\n[dev-dependencies]\nuring = \"1\"\n";
        assert_eq!(dependencies(manifest).collect::<Vec<_>>(), ["kernel", "rmm", "spin"]);
    }
}
