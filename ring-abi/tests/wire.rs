//! Everything that is not an opcode's arguments survives the wire, and what was never sent is refused.
#![cfg(not(loom))]
#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking; the numbers are small"
)]

use proptest::prelude::{Strategy, any, prop, proptest};
use ring_abi::boot::{BadBlob, HEADER_WORDS, Header, MAGIC, MAX_SEGMENTS, Segment, SegmentRights, USER_END};
use ring_abi::context::{End, Registers};
use ring_abi::errno::{Errno, demux, mux};
use ring_abi::layout::{MAX_LOG2, Sizes};
use ring_abi::{Cqe, CqeKind, Sqe, SqeFlags, Words};

#[path = "../../fuzz/harness/sqe_decode.rs"]
mod harness;

proptest! {
    #[test]
    fn any_entry_is_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..96)) {
        harness::check(&bytes);
    }

    #[test]
    fn submissions(words in any::<[u64; 8]>()) {
        let sqe = Sqe::from_words(words);
        assert_eq!(sqe.to_words(), words);
        assert_eq!(std::array::from_fn(|index| sqe.word(index)), words);
        assert_eq!(sqe.word(8), 0);
        assert_eq!(sqe.with_flags(SqeFlags::DRAIN | SqeFlags::LINK).flags, 0x14);
    }

    #[test]
    fn completions(words in any::<[u64; 2]>(), extra in 0u32..1 << 24, tag in any::<u32>()) {
        let cqe = Cqe::from_words(words);
        assert_eq!(cqe.to_words(), words);
        assert_eq!(cqe.with_extra(extra).extra(), extra);
        let answer = Cqe::new(tag, Ok(3)).with_extra(extra).with_kind(CqeKind::WithFd);
        let answer = Cqe::from_words(answer.to_words());
        assert_eq!((answer.tag, answer.extra(), answer.result()), (tag, extra, Ok(3)));
        assert_eq!(CqeKind::from_flags(answer.flags), Some(CqeKind::WithFd));
    }

    #[test]
    fn results(raw in any::<u64>(), error in 1u64..4096) {
        assert_eq!(mux(demux(raw)), raw);
        let error = Errno::from_raw(error).expect("in range");
        assert_eq!(Cqe::new(1, Err(error)).result(), Err(error));
    }

    #[test]
    fn registers(words in prop::collection::vec(any::<u64>(), Registers::WORDS)) {
        let words: [u64; Registers::WORDS] = words.try_into().expect("of this length");
        assert_eq!(Registers::from_words(words).to_words(), words);
    }

    #[test]
    fn sizes(packed in any::<u32>(), sq in 0..=MAX_LOG2, cq in 0..=MAX_LOG2, service in prop::option::of(0..=MAX_LOG2)) {
        let sizes = Sizes { sq, cq, service };
        assert_eq!(Sizes::unpack(sizes.packed()), Some(sizes));
        for packed in [packed, packed & 0x000f_0f0f] {
            let valid = Sizes::unpack(packed).map(Sizes::packed);
            let [sq, cq, service, spare] = packed.to_le_bytes();
            let fits = sq <= MAX_LOG2 && cq <= MAX_LOG2 && service <= MAX_LOG2 + 1 && spare == 0;
            assert_eq!(valid, fits.then_some(packed));
        }
    }

    // Sizes that nobody checked still name memory that they fit into.
    #[test]
    fn unchecked_sizes_stay_small(sq in any::<u8>(), cq in any::<u8>(), service in any::<Option<u8>>()) {
        let sizes = Sizes { sq, cq, service };
        let greatest = Sizes { sq: MAX_LOG2, cq: MAX_LOG2, service: Some(MAX_LOG2) };
        assert!(sizes.cq_offset() < sizes.rq_offset() && sizes.rq_offset() <= sizes.rp_offset());
        assert!(sizes.rp_offset() <= sizes.bytes() && sizes.bytes() <= greatest.bytes());
        let _ = sizes.packed();
    }

    #[test]
    fn ends(raw in any::<u64>(), low in 0u64..0x300) {
        for raw in [raw, low] {
            let known = raw <= 0xff || (0x101..=0x109).contains(&raw);
            assert_eq!(End::from_raw(raw).map(End::to_raw), known.then_some(raw));
        }
    }

    #[test]
    fn boot_headers(header in header()) {
        assert_eq!(decode(header.length, &header.encode()), Ok(header));
        assert_eq!(decode(header.length + 4096, &header.encode()), Ok(header), "a tail is passed over");
        assert_eq!(decode(header.length - 1, &header.encode()), Err(BadBlob::Short));
    }

    #[test]
    fn damaged_boot_headers_never_lie(header in header(), damage in prop::collection::vec(damage(), 1..4)) {
        let mut words = header.encode();
        for (at, value) in damage {
            words[at] = value;
        }
        if let Ok(accepted) = decode(header.length, &words) {
            check_accepted(&accepted, header.length);
        }
    }

    #[test]
    fn random_words_are_no_boot_header(length in any::<u64>(), words in prop::collection::vec(any::<u64>(), HEADER_WORDS)) {
        assert!(decode(length, &words).is_err());
    }
}

fn decode(length: u64, words: &[u64]) -> Result<Header, BadBlob> {
    Header::decode(length, |index| words[index])
}

/// What the kernel relies on once a header is accepted.
fn check_accepted(header: &Header, length: u64) {
    assert!(header.length <= length);
    assert!((1..=MAX_SEGMENTS).contains(&header.count) && header.segments().len() == header.count);
    let mut places: Vec<(u64, u64)> = Vec::new();
    for segment in header.segments() {
        assert_eq!((segment.offset % 4096, segment.address % 4096), (0, 0));
        assert!(segment.offset >= 4096 && segment.offset + segment.file_length <= header.length);
        assert!(segment.address >= 4096 && segment.address + segment.memory_length <= USER_END);
        assert!(segment.file_length <= segment.memory_length && segment.memory_length > 0);
        places.push((segment.address, (segment.address + segment.memory_length).next_multiple_of(4096)));
    }
    places.sort_unstable();
    assert!(places.windows(2).all(|pair| pair[0].1 <= pair[1].0), "segments share a page");
    assert!(header.segments().iter().any(|segment| {
        segment.rights == SegmentRights::ReadExecute
            && (segment.address..segment.address + segment.memory_length).contains(&header.entry)
    }));
}

/// Good headers: segments one after another with gaps, and the entry in an executable one.
fn header() -> impl Strategy<Value = Header> {
    let rights =
        prop::sample::select(vec![SegmentRights::Read, SegmentRights::ReadWrite, SegmentRights::ReadExecute]);
    let piece = (rights, 0u64..40_000, 0u64..10_000, 0u64..4);
    let pieces = prop::collection::vec(piece, 1..=MAX_SEGMENTS);
    (pieces, any::<prop::sample::Index>(), any::<u64>(), any::<[u64; 2]>()).prop_map(
        |(pieces, code, into, arguments)| {
            let mut segments = [NO_SEGMENT; MAX_SEGMENTS];
            let (mut offset, mut address) = (4096, 4096);
            for (segment, &(rights, file_length, more, gap)) in segments.iter_mut().zip(&pieces) {
                let memory_length = (file_length + more).max(1);
                address += gap * 4096;
                *segment = Segment { offset, address, file_length, memory_length, rights };
                offset += file_length.next_multiple_of(4096);
                address += memory_length.next_multiple_of(4096);
            }
            let code = &mut segments[code.index(pieces.len())];
            code.rights = SegmentRights::ReadExecute;
            let entry = code.address + into % code.memory_length;
            Header { entry, arguments, length: offset, count: pieces.len(), segments }
        },
    )
}

/// What `decode` leaves behind the segments in use.
const NO_SEGMENT: Segment =
    Segment { offset: 0, address: 0, file_length: 0, memory_length: 0, rights: SegmentRights::Read };

/// A word of the header and what to write there.
fn damage() -> impl Strategy<Value = (usize, u64)> {
    let edges = vec![0, 1, 3, 5, 8, 9, 4095, 4096, 8192, USER_END, USER_END - 4096, 1 << 63, !4095];
    (0..HEADER_WORDS, proptest::prop_oneof![any::<u64>(), 0u64..1 << 17, prop::sample::select(edges)])
}

/// Code in page 1, data in page 2.
fn good() -> Header {
    let code = Segment {
        offset: 4096,
        address: 4096,
        file_length: 100,
        memory_length: 200,
        rights: SegmentRights::ReadExecute,
    };
    let data = Segment { address: 8192, rights: SegmentRights::ReadWrite, ..code };
    let mut segments = [NO_SEGMENT; MAX_SEGMENTS];
    segments[0] = code;
    segments[1] = data;
    Header { entry: 4100, arguments: [0, 0], length: 8192, count: 2, segments }
}

#[test]
fn every_damage_of_a_boot_header_has_its_reason() {
    let good = good();
    assert_eq!(decode(8192, &good.encode()), Ok(good));
    let cases = [
        (0, MAGIC ^ 1 << 56, BadBlob::Magic),
        (1, u64::from(ring_abi::ABI_VERSION) + 1, BadBlob::Version),
        (2, 4095, BadBlob::Entry),
        (2, 4096 + 200, BadBlob::Entry),
        (2, 8192, BadBlob::Entry),
        (3, 0, BadBlob::Count),
        (3, 9, BadBlob::Count),
        (3, u64::MAX, BadBlob::Count),
        (3, 3, BadBlob::Segment(2)),
        (6, 8193, BadBlob::Short),
        (6, 4196 - 1, BadBlob::Segment(0)),
        (8, 0, BadBlob::Segment(0)),
        (8, 4097, BadBlob::Segment(0)),
        (8, !4095, BadBlob::Segment(0)),
        (9, 0, BadBlob::Segment(0)),
        (9, 4097, BadBlob::Segment(0)),
        (9, USER_END, BadBlob::Segment(0)),
        (9, !4095, BadBlob::Segment(0)),
        (10, 201, BadBlob::Segment(0)),
        (10, u64::MAX, BadBlob::Segment(0)),
        (11, 99, BadBlob::Segment(0)),
        (11, 4097, BadBlob::Segment(1)),
        (11, u64::MAX, BadBlob::Segment(0)),
        (12, 0, BadBlob::Segment(0)),
        (12, 7, BadBlob::Segment(0)),
        (12, 1, BadBlob::Entry),
        (12, 2, BadBlob::Segment(0)),
        (15, 4096, BadBlob::Segment(1)),
        (17, 0, BadBlob::Segment(1)),
    ];
    for (at, value, reason) in cases {
        let mut words = good.encode();
        words[at] = value;
        assert_eq!(decode(8192, &words), Err(reason), "word {at} is {value:#x}");
    }
    assert_eq!(decode(4095, &good.encode()), Err(BadBlob::Short));
    assert_eq!(decode(0, &[]), Err(BadBlob::Short), "no word is read");
}
