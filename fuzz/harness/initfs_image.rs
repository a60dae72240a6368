//! What must hold for any bytes given to the reader of initfs images.
//!
//! The fuzz target and `initfs/format/tests/hostile.rs` share this file, so
//! what the fuzzer looks for is also checked, with random bytes, by `cargo test`.

use initfs_format::{Builder, Image, Kind, PAGE, seal};

/// Reads `bytes` as an image, as edits to an image, and with a right checksum.
pub(crate) fn check(bytes: &[u8]) {
    read(bytes);
    let mut sealed = bytes.to_vec();
    seal(&mut sealed);
    read(&sealed);
    read(&edited(bytes));
}

/// A small image with every kind of node in it.
pub(crate) fn sample() -> Vec<u8> {
    let mut builder = Builder::new();
    builder
        .file("bin/init", vec![7; PAGE + 1], 0o755)
        .and_then(|builder| builder.file("bin/empty", "", 0o644))
        .and_then(|builder| builder.symlink("bin/sh", "init"))
        .and_then(|builder| builder.directory("tmp", 0o1777))
        .and_then(|builder| builder.file("etc/plan", "init\n", 0o644))
        .expect("the sample is a tree");
    builder.mtime(1_000_000_000).finish().expect("the sample is small")
}

/// The sample with bytes of its first page changed and a right checksum: four
/// input bytes say where, how and to what.
fn edited(edits: &[u8]) -> Vec<u8> {
    let mut image = sample();
    for edit in edits.chunks_exact(4).take(8) {
        let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % 512;
        image[at] = if edit[2] % 2 == 0 { edit[3] } else { image[at].wrapping_add(edit[3]) };
    }
    seal(&mut image);
    image
}

/// Opens and, if it opens, visits all there is and looks for contradictions.
fn read(bytes: &[u8]) {
    let image = match Image::open(bytes) {
        Ok(image) => image,
        Err(damage) => {
            assert!(damage.to_string().starts_with("initfs image: "));
            return;
        }
    };
    let mut seen = 1;
    let mut open = vec![image.root()];
    while let Some(directory) = open.pop() {
        let children = image.children(directory);
        assert!(image.data(directory).is_empty());
        assert_eq!(image.target(directory), None);
        let names: Vec<&str> = children.clone().map(|child| image.name(child)).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "siblings out of order");
        assert_eq!(names.len(), children.len());
        for child in children {
            seen += 1;
            assert_eq!(child.parent(), directory.id());
            assert_eq!(image.child(directory, image.name(child)), Some(child));
            match child.kind() {
                Kind::Directory => open.push(child),
                Kind::File => assert_eq!(image.data(child).len() as u64, child.size()),
                Kind::Symlink => {
                    assert_eq!(image.target(child).map(|target| target.len() as u64), Some(child.size()));
                }
            }
        }
    }
    assert_eq!(seen, image.node_count(), "every node is in exactly one directory");
}
