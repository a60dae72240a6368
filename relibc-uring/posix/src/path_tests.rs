//! What `path.rs` promises.

use super::{Canonical, NAME_MAX, PATH_MAX, canonicalise, is_scheme_name};
use alloc::string::String;
use alloc::vec::Vec;
use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};
use ring_abi::Errno;

fn at(directory: &str, path: &str) -> Result<String, Errno> {
    let directory = canonicalise(&Canonical::schemes(), "initfs", directory.as_bytes()).unwrap();
    canonicalise(&directory, "initfs", path.as_bytes()).map(|path| String::from(path.as_str()))
}

#[test]
fn every_way_to_write_a_path_leads_to_one() {
    for (directory, path, canonical) in [
        ("/", "/", "/scheme/initfs"),
        ("/", "/etc/plan", "/scheme/initfs/etc/plan"),
        ("/", "etc/plan", "/scheme/initfs/etc/plan"),
        ("/etc", "plan", "/scheme/initfs/etc/plan"),
        ("/etc", "./plan", "/scheme/initfs/etc/plan"),
        ("/etc", "..//./bin/ls", "/scheme/initfs/bin/ls"),
        ("/etc", "/scheme/ram/a/b/", "/scheme/ram/a/b"),
        ("/scheme/ram/a", "b", "/scheme/ram/a/b"),
        ("/scheme/ram/a", "/etc", "/scheme/initfs/etc"),
        ("/scheme/ram/a", "ram:b", "/scheme/ram/b"),
        ("/", "ram:/b/../c", "/scheme/ram/c"),
        ("/", "time:4", "/scheme/time/4"),
        ("/", "ram:", "/scheme/ram"),
        ("/", "/a:b", "/scheme/initfs/a:b"),
        ("/", "./ram:b", "/scheme/initfs/ram:b"),
        ("/", "RAM:b", "/scheme/initfs/RAM:b"),
        ("/", ":b", "/scheme/initfs/:b"),
        ("/scheme", "ram/a", "/scheme/ram/a"),
        ("/", "/scheme", "/scheme"),
        ("/", "//scheme//ram//a", "/scheme/ram/a"),
        ("/", "/./scheme/ram", "/scheme/ram"),
        ("/", "/schemes", "/scheme/initfs/schemes"),
    ] {
        assert_eq!(at(directory, path).as_deref(), Ok(canonical), "{path} in {directory}");
    }
}

#[test]
fn a_root_is_its_own_parent() {
    for (directory, path, canonical) in [
        ("/", "..", "/scheme/initfs"),
        ("/", "/../../etc", "/scheme/initfs/etc"),
        ("/scheme/ram/a", "../../../../b", "/scheme/ram/b"),
        ("/", "/scheme/ram/../x", "/scheme/ram/x"),
        ("/", "/scheme/..", "/scheme"),
        ("/scheme", "..", "/scheme"),
        ("/", "ram:../../x", "/scheme/ram/x"),
        ("/", "/etc/../scheme/ram", "/scheme/initfs/scheme/ram"),
    ] {
        assert_eq!(at(directory, path).as_deref(), Ok(canonical), "{path} in {directory}");
    }
}

#[test]
fn what_cannot_be_a_path_has_its_own_error() {
    let here = Canonical::schemes();
    let error = |path: &[u8]| canonicalise(&here, "initfs", path).unwrap_err();
    assert_eq!(error(b""), Errno::NOENT);
    assert_eq!(error(b"/a\0b"), Errno::INVAL);
    assert_eq!(error(b"/a\xff"), Errno::ILSEQ);
    assert_eq!(error(&[b'/'; PATH_MAX]), Errno::NAMETOOLONG);
    let long = [b"/".as_slice(), &[b'a'; NAME_MAX + 1]].concat();
    assert_eq!(error(&long), Errno::NAMETOOLONG);
    assert_eq!(error(b"/scheme/UPPER/x"), Errno::NODEV);
    assert_eq!(error(b"/scheme/has space"), Errno::NODEV);
}

#[test]
fn a_path_that_fits_can_be_too_long_in_its_directory() {
    let name = "a".repeat(NAME_MAX);
    let deep = ["/scheme/ram/", &[name.as_str(); 15].join("/")].concat();
    assert!(at("/", &deep).is_ok());
    assert_eq!(at(&deep, &name), Err(Errno::NAMETOOLONG));
}

#[test]
fn a_slash_at_the_end_says_directory() {
    let says =
        |path: &str| canonicalise(&Canonical::schemes(), "ram", path.as_bytes()).unwrap().says_directory();
    assert!(
        says("/a/") && says("/a/.") && says("/a/..") && says("/") && says("/scheme") && says("/scheme/ram")
    );
    assert!(!says("/a") && !says("/a/./b"));
}

#[test]
fn a_path_comes_apart_and_together() {
    let path = canonicalise(&Canonical::schemes(), "ram", b"/a/b/c").unwrap();
    assert_eq!((path.scheme(), path.rest()), (Some("ram"), "a/b/c"));
    let (parent, name) = path.split().unwrap();
    assert_eq!((parent.as_str(), name), ("/scheme/ram/a/b", "c"));
    assert_eq!(parent.join(name).unwrap().as_str(), path.as_str());
    assert_eq!(path.root().as_str(), "/scheme/ram");
    assert_eq!(path.root().split(), None);
    assert_eq!(Canonical::schemes().scheme(), None);
    assert_eq!(Canonical::schemes().split(), None);
    assert_eq!(canonicalise(&path, "ram", b"/top").unwrap().split().unwrap().0.as_str(), "/scheme/ram");
}

#[test]
fn names_of_schemes_are_plain() {
    assert!(is_scheme_name("ram") && is_scheme_name("a.b-c_d+1"));
    for bad in ["", ".", "..", "a/b", "A", "a b", "ä", "123456789012345678901234567890123"] {
        assert!(!is_scheme_name(bad), "{bad}");
    }
}

/// Pieces that paths are made of, the awkward ones often.
fn written() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(alloc::vec![
        "/",
        "/",
        "..",
        ".",
        "scheme",
        "a",
        "b",
        "ram",
        "ram:",
        ":",
        "long-name",
        "é",
    ]);
    prop::collection::vec(piece, 1..12).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn a_canonical_path_stays_as_it_is(directory in written(), path in written()) {
        let Ok(directory) = canonicalise(&Canonical::schemes(), "file", &directory) else { return Ok(()) };
        let Ok(once) = canonicalise(&directory, "file", &path) else { return Ok(()) };
        let again = canonicalise(&Canonical::schemes(), "other", once.as_str().as_bytes()).unwrap();
        prop_assert_eq!(once.as_str(), again.as_str());
        prop_assert_eq!(once.scheme(), again.scheme());
        prop_assert!(once.as_str().split('/').skip(1).all(|name| !matches!(name, "" | "." | "..")));
        prop_assert!(once.as_str().starts_with("/scheme"));
    }

    #[test]
    fn no_bytes_are_too_wild(path in prop::collection::vec(any::<u8>(), 0..5000)) {
        let _ = canonicalise(&Canonical::schemes(), "file", &path);
    }

    #[test]
    fn a_relative_path_stays_in_its_scheme(path in "[a-z./]{1,40}") {
        let home = canonicalise(&Canonical::schemes(), "file", b"/scheme/ram/x/y").unwrap();
        if !path.starts_with('/') {
            let there = canonicalise(&home, "file", path.as_bytes()).unwrap();
            prop_assert_eq!(there.scheme(), Some("ram"));
        }
    }

    #[test]
    fn a_name_and_back_is_nothing(path in "[a-z/]{1,40}", name in "[a-z]{1,9}") {
        let home = canonicalise(&Canonical::schemes(), "file", b"/scheme/ram/x/y").unwrap();
        let there = canonicalise(&home, "file", path.as_bytes());
        if let Ok(there) = there && there.scheme().is_some() {
            let around = alloc::format!("{name}/..");
            let again = there.join(&around).unwrap();
            prop_assert_eq!(again.as_str(), there.as_str());
        }
    }
}
