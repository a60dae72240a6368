//! Damaged images are refused with the place, and no bytes make the reader panic.

#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use initfs_format::{Damage, Image, NodeFault, PAGE, seal};
use proptest::prelude::{any, prop, proptest};

#[path = "../../../fuzz/harness/initfs_image.rs"]
mod harness;

/// Bytes of text in the sample.
const TEXT: usize = "binetctmpemptyinitshinitplan".len();

/// Offset of a field in the record of a node.
const fn record(node: usize, field: usize) -> usize {
    64 + 48 * node + field
}

/// The sample with `bytes` at `at` and a right checksum, opened.
fn open_with(at: usize, bytes: &[u8]) -> Result<(), Damage> {
    let mut image = harness::sample();
    image[at..at + bytes.len()].copy_from_slice(bytes);
    seal(&mut image);
    Image::open(&image).map(drop)
}

// The sample's nodes, breadth first: 0 root, 1 bin, 2 etc, 3 tmp, 4 bin/empty,
// 5 bin/init, 6 bin/sh, 7 etc/plan.
#[test]
fn every_wrong_field_of_a_record_is_refused() {
    let word = u32::to_le_bytes;
    let long = u64::to_le_bytes;
    let length = harness::sample().len() as u64;
    let cases: &[(usize, usize, &[u8], u32, NodeFault)] = &[
        (0, 0, &word(2), 0, NodeFault::Kind(2)),
        (1, 0, &word(4), 1, NodeFault::Kind(4)),
        (5, 0, &word(0), 5, NodeFault::Kind(0)),
        (5, 4, &word(0o10000), 5, NodeFault::Mode(0o10000)),
        (0, 8, &word(1), 0, NodeFault::Parent(1)),
        (5, 8, &word(2), 5, NodeFault::Parent(2)),
        (0, 16, &word(1), 0, NodeFault::Name),
        (5, 12, &word(u32::MAX), 5, NodeFault::NameRange),
        (5, 16, &word(1000), 5, NodeFault::NameRange),
        (5, 16, &word(0), 5, NodeFault::Name),
        (5, 20, &word(1), 5, NodeFault::Reserved),
        (0, 24, &long(0), 0, NodeFault::Children),
        (0, 24, &long(2), 0, NodeFault::Children),
        (1, 24, &long(1), 1, NodeFault::Children),
        (2, 32, &long(2), 2, NodeFault::Children),
        (2, 32, &long(u64::MAX), 2, NodeFault::Children),
        (2, 32, &long(0), 3, NodeFault::Children),
        (3, 24, &long(0), 3, NodeFault::Children),
        (5, 24, &long(PAGE as u64 + 1), 5, NodeFault::Data),
        (5, 24, &long(0), 5, NodeFault::Data),
        (5, 24, &long(length), 5, NodeFault::Data),
        (5, 24, &long(!0 << 12), 5, NodeFault::Data),
        (5, 32, &long(u64::MAX), 5, NodeFault::Data),
        (5, 32, &long(0), 5, NodeFault::Data),
        (4, 24, &long(PAGE as u64), 4, NodeFault::Data),
        (6, 24, &long(u64::MAX), 6, NodeFault::TargetRange),
        (6, 32, &long(1000), 6, NodeFault::TargetRange),
        (6, 32, &long(0), 6, NodeFault::Target),
    ];
    for &(node, field, bytes, culprit, fault) in cases {
        let expected = Err(Damage::Node { node: culprit, fault });
        assert_eq!(open_with(record(node, field), bytes), expected, "field {field} of node {node}");
    }
}

#[test]
fn every_wrong_name_is_refused() {
    let name = |culprit, at, bytes: &[u8], fault| {
        assert_eq!(open_with(at, bytes), Err(Damage::Node { node: culprit, fault }), "{bytes:?}");
    };
    let tmp = harness::sample().windows(3).position(|at| at == b"tmp").unwrap();
    name(3, tmp, b"t/p", NodeFault::Name);
    name(3, tmp, b"t\0p", NodeFault::Name);
    name(3, tmp, b"t\xffp", NodeFault::Name);
    name(3, tmp, b"etc", NodeFault::Order);
    name(3, tmp, b"aaa", NodeFault::Order);
    name(3, record(3, 16), &u32::to_le_bytes(300), NodeFault::NameRange);
}

#[test]
fn dots_are_no_names() {
    let tmp = harness::sample().windows(3).position(|at| at == b"tmp").unwrap();
    for len in 1..=2u32 {
        let mut image = harness::sample();
        image[tmp..tmp + 2].copy_from_slice(b"..");
        image[record(3, 16)..][..4].copy_from_slice(&len.to_le_bytes());
        seal(&mut image);
        assert_eq!(Image::open(&image).unwrap_err(), Damage::Node { node: 3, fault: NodeFault::Name });
    }
}

#[test]
fn every_wrong_field_of_the_header_is_refused() {
    let have = harness::sample().len() as u64;
    assert_eq!(open_with(0, b"A"), Err(Damage::Magic));
    assert_eq!(open_with(8, &[2]), Err(Damage::Version(2)));
    assert_eq!(open_with(12, &[0; 4]), Err(Damage::NoRoot));
    assert!(matches!(open_with(12, &[7]), Err(Damage::Node { .. })), "the text is not where it was");
    assert_eq!(
        open_with(12, &[0xff; 4]),
        Err(Damage::Short { have, need: 64 + 48 * 0xffff_ffff + TEXT as u64 })
    );
    for claimed in [0, have - 1, have - PAGE as u64 + 1, have + PAGE as u64, u64::MAX, !0 << 12] {
        assert_eq!(open_with(16, &claimed.to_le_bytes()), Err(Damage::Length { claimed, have }));
    }
    assert!(matches!(open_with(24, &[0xff; 4]), Err(Damage::Short { .. })));
    assert_eq!(open_with(28, &[1]), Err(Damage::Reserved { at: 28 }));
    assert_eq!(open_with(63, &[1]), Err(Damage::Reserved { at: 40 }));
    assert_eq!(Image::open(&[]).unwrap_err(), Damage::Short { have: 0, need: 64 });
}

#[test]
fn an_unlisted_node_is_refused() {
    // `etc` gives its only child away, and the directories after it follow suit.
    let mut image = harness::sample();
    image[record(2, 32)..][..8].copy_from_slice(&[0; 8]);
    image[record(3, 24)] = 7;
    seal(&mut image);
    assert_eq!(Image::open(&image).unwrap_err(), Damage::Node { node: 7, fault: NodeFault::Unlisted });
}

#[test]
fn every_changed_byte_of_the_front_is_noticed() {
    let image = harness::sample();
    let front = 64 + 48 * 8 + TEXT;
    for at in 0..front {
        let mut damaged = image.clone();
        damaged[at] ^= 0x10;
        assert!(Image::open(&damaged).is_err(), "byte {at}");
    }
    assert!(Image::open(&image).is_ok());
}

#[test]
fn every_shorter_image_is_refused() {
    let image = harness::sample();
    for len in 0..image.len() {
        assert!(Image::open(&image[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn damage_says_what_and_where() {
    let damage = open_with(record(5, 24), &[1]).unwrap_err();
    let expected = "initfs image: node 5 (offset 304): bytes are not within the data, from a page on";
    assert_eq!(damage.to_string(), expected);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        harness::check(&bytes);
    }

    #[test]
    fn no_flipped_bits_panic(flips in prop::collection::vec((0usize..600, any::<u8>()), 1..20), cut: usize) {
        let mut image = harness::sample();
        for (at, bits) in flips {
            image[at] ^= bits;
        }
        harness::check(&image);
        image.truncate(cut % image.len());
        harness::check(&image);
    }
}
