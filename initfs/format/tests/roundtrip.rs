//! What is written is read, and the same tree is always the same bytes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use initfs_format::{Builder, Image, Kind, Node, PAGE, WriteError};
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};
use proptest::prop_assert_eq;

#[derive(Clone, Debug, PartialEq)]
enum Entry {
    Directory { mode: u32 },
    File { contents: Vec<u8>, mode: u32 },
    Symlink { target: String },
}

/// Few names, so that paths share directories and collide.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "bin", "é", "..."]).prop_map(str::to_owned),
        1 => "[^/\0]{1,20}".prop_filter("not a name", |name| name != "." && name != ".."),
    ]
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(name(), 1..5).prop_map(|names| names.join("/"))
}

fn entry() -> impl Strategy<Value = Entry> {
    let contents = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        (PAGE - 1..=2 * PAGE + 1).prop_map(|len| vec![0xa5; len]),
        Just(Vec::new()),
    ];
    prop_oneof![
        (0..=0o7777u32).prop_map(|mode| Entry::Directory { mode }),
        (contents, 0..=0o7777u32).prop_map(|(contents, mode)| Entry::File { contents, mode }),
        "[^\0]{1,30}".prop_map(|target| Entry::Symlink { target }),
    ]
}

/// Adds the entry to image and model, or to neither.
fn add(builder: &mut Builder, model: &mut BTreeMap<String, Entry>, path: &str, entry: &Entry) {
    let added = match entry {
        Entry::Directory { mode } => builder.directory(path, *mode).is_ok(),
        Entry::File { contents, mode } => builder.file(path, contents.clone(), *mode).is_ok(),
        Entry::Symlink { target } => builder.symlink(path, target).is_ok(),
    };
    let is_directory = |entry: Option<&Entry>| matches!(entry, None | Some(Entry::Directory { .. }));
    let parents: Vec<&str> = path.match_indices('/').map(|(at, _)| &path[..at]).collect();
    let clear = parents.iter().all(|parent| is_directory(model.get(*parent)));
    let free = match entry {
        Entry::Directory { .. } => is_directory(model.get(path)),
        Entry::File { .. } | Entry::Symlink { .. } => !model.contains_key(path),
    };
    assert_eq!(added, clear && free, "{path:?}");
    if clear {
        for parent in parents {
            model.entry(parent.to_owned()).or_insert(Entry::Directory { mode: 0o755 });
        }
    }
    if added {
        model.insert(path.to_owned(), entry.clone());
    }
}

/// All of the image as the model has it.
fn read(image: Image<'_>, directory: Node, prefix: &str, found: &mut BTreeMap<String, Entry>) {
    for node in image.children(directory) {
        let path = format!("{prefix}{}", image.name(node));
        assert_eq!(image.find(&path), Some(node));
        assert_eq!(image.node(node.id()), Some(node));
        assert_eq!(node.parent(), directory.id());
        let entry = match node.kind() {
            Kind::Directory => Entry::Directory { mode: node.mode() },
            Kind::File => Entry::File { contents: image.data(node).to_vec(), mode: node.mode() },
            Kind::Symlink => Entry::Symlink { target: image.target(node).unwrap().to_owned() },
        };
        if node.is_directory() {
            read(image, node, &format!("{path}/"), found);
        }
        found.insert(path, entry);
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(entries in prop::collection::vec((path(), entry()), 0..30), mtime: u64) {
        let (mut builder, mut model) = (Builder::new(), BTreeMap::new());
        builder.mtime(mtime);
        for (path, entry) in &entries {
            add(&mut builder, &mut model, path, entry);
        }
        let bytes = builder.finish().unwrap();
        let image = Image::open(&bytes).unwrap();
        let mut found = BTreeMap::new();
        read(image, image.root(), "", &mut found);
        prop_assert_eq!(found, model);
        prop_assert_eq!(image.root().mtime(), mtime);
        prop_assert_eq!(image.length(), bytes.len());
    }
}

#[test]
fn the_order_of_entries_does_not_matter() {
    let mut forward = Builder::new();
    forward.file("a/x", "1", 0o644).unwrap().file("/b", "2", 0o600).unwrap().symlink("c", "b").unwrap();
    let mut backward = Builder::new();
    backward.symlink("/c", "b").unwrap().file("b", "2", 0o600).unwrap().file("a/x", "1", 0o644).unwrap();
    assert_eq!(forward.finish(), backward.finish());
}

#[test]
fn file_bytes_begin_on_pages_and_end_in_zeroes() {
    let mut builder = Builder::new();
    builder.file("a", vec![1; PAGE + 1], 0o644).unwrap().file("b", "2", 0o644).unwrap();
    builder.file("none", "", 0o644).unwrap();
    let bytes = builder.finish().unwrap();
    let image = Image::open(&bytes).unwrap();
    let offset = |name| image.find(name).unwrap().data_offset().map(|at| at as usize);
    assert_eq!((offset("a"), offset("b"), offset("none")), (Some(PAGE), Some(3 * PAGE), None));
    assert!(bytes[2 * PAGE + 1..3 * PAGE].iter().chain(&bytes[3 * PAGE + 1..]).all(|byte| *byte == 0));
    assert_eq!(bytes.len(), 4 * PAGE);
}

#[test]
fn an_empty_image_has_a_root() {
    let bytes = Builder::default().finish().unwrap();
    let image = Image::open(&bytes).unwrap();
    assert_eq!((image.node_count(), image.children(image.root()).len()), (1, 0));
    assert_eq!((image.root().mode(), image.name(image.root())), (0o755, ""));
    assert_eq!(image.find(""), Some(image.root()));
    assert_eq!(image.find("x"), None);
}

#[test]
fn bytes_behind_an_image_are_ignored() {
    let mut builder = Builder::new();
    let mut bytes = builder.file("a", "1", 0o644).unwrap().finish().unwrap();
    let length = bytes.len();
    bytes.extend([0xff; 100]);
    assert_eq!(Image::open(&bytes).unwrap().length(), length);
}

#[test]
fn a_node_of_another_image_finds_nothing_and_panics_nowhere() {
    let mut builder = Builder::new();
    builder.file("d/e/f", vec![1; PAGE], 0o644).unwrap().symlink("l", "target").unwrap();
    let large = builder.finish().unwrap();
    let large = Image::open(&large).unwrap();
    let small = Builder::new().finish().unwrap();
    let small = Image::open(&small).unwrap();
    for id in 1..large.node_count() {
        let node = large.node(id).unwrap();
        assert_eq!((small.name(node), small.data(node), small.target(node)), ("", &[][..], None));
        assert_eq!((small.child(node, "f"), small.children(node).next()), (None, None));
    }
}

#[test]
fn what_cannot_be_in_an_image_is_refused() {
    let mut builder = Builder::new();
    builder.file("file", "1", 0o644).unwrap().directory("dir", 0o700).unwrap();
    for path in ["", "//", "a//b", "a/", ".", "a/../b", "nul\0", &"x".repeat(256), &"x/".repeat(2048)] {
        assert_eq!(builder.file(path, "", 0).unwrap_err(), WriteError::Path(path.to_owned()));
    }
    let taken = |path: &str| WriteError::Taken(path.to_owned());
    assert_eq!(builder.file("dir", "", 0).unwrap_err(), taken("dir"));
    assert_eq!(builder.directory("file", 0).unwrap_err(), taken("file"));
    assert_eq!(builder.symlink("/file", "x").unwrap_err(), taken("/file"));
    let through = builder.file("file/x", "", 0).unwrap_err();
    assert_eq!(through, WriteError::NotADirectory("file/x".to_owned()));
    assert_eq!(builder.file("x", "", 0o10000).unwrap_err(), WriteError::Mode("x".to_owned(), 0o10000));
    for target in ["", "a\0b", &"x".repeat(4096)] {
        assert_eq!(builder.symlink("x", target).unwrap_err(), WriteError::Target("x".to_owned()));
    }
    builder.directory("/", 0o500).unwrap();
    let bytes = builder.finish().unwrap();
    assert_eq!(Image::open(&bytes).unwrap().root().mode(), 0o500);
}
