//! What the loader hands to the kernel, and the kernel to the first program.
//!
//! The ramdisk is one blob: a header page, the segments of `bootstrap`, and the initfs. The kernel maps
//! the segments at the addresses that the header names in the first address space and starts it at
//! `entry`; it knows neither ELF nor the initfs. The header page itself is read but never mapped.
#![forbid(unsafe_code)]

/// First eight bytes of the blob: `ANNULUS` and the version of this format.
pub const MAGIC: u64 = u64::from_le_bytes(*b"ANNULUS\x01");
/// Bytes of the header page.
pub const HEADER_BYTES: usize = 4096;
/// Greatest number of segments.
pub const MAX_SEGMENTS: usize = 8;
/// Words of 64 bits that the header uses.
pub const HEADER_WORDS: usize = 8 + MAX_SEGMENTS * 6;

/// What a program may do with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum SegmentRights {
    /// Read only.
    Read = 1,
    /// Read and write.
    ReadWrite = 3,
    /// Read and execute.
    ReadExecute = 5,
}

/// A page-aligned piece of the blob and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Byte offset in the blob, a multiple of 4096.
    pub offset: u64,
    /// Virtual address, a multiple of 4096, not below 4096.
    pub address: u64,
    /// Bytes that come from the blob.
    pub file_length: u64,
    /// Bytes in memory; what the blob does not fill is zero.
    pub memory_length: u64,
    /// Rights; writable segments are copied, others are mapped in place.
    pub rights: SegmentRights,
}

/// The header: little-endian 64-bit words.
///
/// Words 0 to 7: magic, ABI version, entry, number of segments, two arguments handed to the entry in
/// `rsi` and `rdx` (address and length of the initfs), length of the blob, zero. Then six words for each
/// segment: offset, address, file length, memory length, rights, zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// First instruction.
    pub entry: u64,
    /// Handed to it in `rsi` and `rdx`; `rdi` is the address of its ring.
    pub arguments: [u64; 2],
    /// Bytes of the whole blob.
    pub length: u64,
    /// Number of segments in use.
    pub count: usize,
    /// The segments; those from `count` on have no meaning.
    pub segments: [Segment; MAX_SEGMENTS],
}

/// Why a blob is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadBlob {
    /// Shorter than its header, or than it says.
    Short,
    /// Not a blob.
    Magic,
    /// Another version of the ABI.
    Version,
    /// No or too many segments.
    Count,
    /// A segment with this index has a bad offset, address, length or rights, or overlaps another.
    Segment(usize),
    /// The entry lies in no executable segment.
    Entry,
}

/// End of the addresses that a program can map: the last page of the lower half stays empty, so that no
/// instruction can end at the first address that is not canonical.
pub const USER_END: u64 = 0x0000_7fff_ffff_f000;

impl Header {
    /// Checks the first page of a blob of `length` bytes.
    ///
    /// `word` gives the header's 64-bit words by index.
    pub fn decode(length: u64, word: impl Fn(usize) -> u64) -> Result<Header, BadBlob> {
        if length < HEADER_BYTES as u64 {
            return Err(BadBlob::Short);
        }
        if word(0) != MAGIC {
            return Err(BadBlob::Magic);
        }
        if word(1) != u64::from(crate::ABI_VERSION) {
            return Err(BadBlob::Version);
        }
        let count = word(3);
        if count == 0 || count > MAX_SEGMENTS as u64 {
            return Err(BadBlob::Count);
        }
        let count = count as usize;
        let named = word(6);
        if named > length {
            return Err(BadBlob::Short);
        }
        let empty =
            Segment { offset: 0, address: 0, file_length: 0, memory_length: 0, rights: SegmentRights::Read };
        let mut segments = [empty; MAX_SEGMENTS];
        for (index, segment) in segments.iter_mut().enumerate().take(count) {
            let first = index.wrapping_mul(6).wrapping_add(8);
            let at = |offset: usize| word(first.wrapping_add(offset));
            *segment = Segment::decode(named, at).ok_or(BadBlob::Segment(index))?;
        }
        for (index, segment) in segments.iter().enumerate().take(count) {
            if segments.iter().take(index).any(|other| other.overlaps(segment)) {
                return Err(BadBlob::Segment(index));
            }
        }
        let header = Header { entry: word(2), arguments: [word(4), word(5)], length: named, count, segments };
        let inside = |s: &Segment| s.rights == SegmentRights::ReadExecute && s.contains(header.entry);
        if header.segments().iter().any(inside) { Ok(header) } else { Err(BadBlob::Entry) }
    }

    /// The header's words, `decode`'s opposite.
    pub fn encode(&self) -> [u64; HEADER_WORDS] {
        let mut words = [0; HEADER_WORDS];
        let [a, b] = self.arguments;
        let fixed =
            [MAGIC, u64::from(crate::ABI_VERSION), self.entry, self.count as u64, a, b, self.length, 0];
        let each = self
            .segments()
            .iter()
            .flat_map(|s| [s.offset, s.address, s.file_length, s.memory_length, s.rights as u64, 0]);
        for (word, value) in words.iter_mut().zip(fixed.into_iter().chain(each)) {
            *word = value;
        }
        words
    }

    /// The segments in use.
    pub fn segments(&self) -> &[Segment] {
        self.segments.get(..self.count).unwrap_or(&[])
    }
}

impl Segment {
    fn decode(blob: u64, at: impl Fn(usize) -> u64) -> Option<Segment> {
        let rights = match at(4) {
            1 => SegmentRights::Read,
            3 => SegmentRights::ReadWrite,
            5 => SegmentRights::ReadExecute,
            _ => return None,
        };
        let segment =
            Segment { offset: at(0), address: at(1), file_length: at(2), memory_length: at(3), rights };
        let aligned = (segment.offset | segment.address) & 0xfff == 0;
        let in_blob = segment.offset.checked_add(segment.file_length).is_some_and(|end| end <= blob);
        let in_space = segment.address.checked_add(segment.memory_length).is_some_and(|end| end <= USER_END);
        let lengths = segment.file_length <= segment.memory_length && segment.memory_length > 0;
        let places = segment.offset >= HEADER_BYTES as u64 && segment.address >= 4096;
        (aligned && in_blob && in_space && lengths && places).then_some(segment)
    }

    fn contains(&self, address: u64) -> bool {
        address.checked_sub(self.address).is_some_and(|offset| offset < self.memory_length)
    }

    fn overlaps(&self, other: &Segment) -> bool {
        let end = |s: &Segment| s.address.saturating_add(s.memory_length).saturating_add(4095) & !4095;
        self.address < end(other) && other.address < end(self)
    }
}
