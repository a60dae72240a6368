//! Where each field lies: the tables of the crate's page, as numbers.

/// What file bytes are aligned to, counted from the image's start.
pub const PAGE: usize = 4096;
/// The longest name of a node, in bytes.
pub const NAME_MAX: usize = 255;
/// The longest target of a symlink, in bytes.
pub const TARGET_MAX: usize = 4095;

pub(crate) const MAGIC: [u8; 8] = *b"annulFS\n";
pub(crate) const VERSION: u32 = 1;
pub(crate) const MODE_BITS: u32 = 0o7777;

/// The header's length and the offsets of its fields.
pub(crate) mod header {
    pub(crate) const LEN: usize = 64;
    pub(crate) const VERSION: usize = 8;
    pub(crate) const NODES: usize = 12;
    pub(crate) const LENGTH: usize = 16;
    pub(crate) const TEXT: usize = 24;
    pub(crate) const RESERVED_WORD: usize = 28;
    pub(crate) const CHECKSUM: usize = 32;
    pub(crate) const RESERVED_TAIL: usize = 40;
}

/// A record's length and the offsets of its fields.
pub(crate) mod record {
    pub(crate) const LEN: usize = 48;
    pub(crate) const KIND: usize = 0;
    pub(crate) const MODE: usize = 4;
    pub(crate) const PARENT: usize = 8;
    pub(crate) const NAME_START: usize = 12;
    pub(crate) const NAME_LEN: usize = 16;
    pub(crate) const RESERVED: usize = 20;
    pub(crate) const START: usize = 24;
    pub(crate) const COUNT: usize = 32;
    pub(crate) const MTIME: usize = 40;
}

/// The `kind` field.
pub(crate) mod kind {
    pub(crate) const DIRECTORY: u32 = 1;
    pub(crate) const FILE: u32 = 2;
    pub(crate) const SYMLINK: u32 = 3;
}

/// The `N` bytes at `at`. Callers stay within what they measured before; past
/// the end there would be zeroes.
pub(crate) fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

/// FNV-1a with 64 bits over `front` (header, index and text) without the field
/// that holds the sum. Each of its steps is a bijection, so one changed byte
/// always changes the sum.
pub(crate) fn checksum(front: &[u8]) -> u64 {
    let before = front.get(..header::CHECKSUM).unwrap_or_default();
    let after = front.get(header::RESERVED_TAIL..).unwrap_or_default();
    before
        .iter()
        .chain(after)
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Where the data part of an image begins, if that is a number at all.
pub(crate) fn data_start(front: u64) -> Option<u64> {
    front.checked_next_multiple_of(PAGE as u64)
}

/// Where header, index and text end.
pub(crate) fn front_end(nodes: u32, text: u32) -> u64 {
    // At most 64 + 48 * 2^32 + 2^32, far from wrapping.
    u64::from(nodes)
        .wrapping_mul(record::LEN as u64)
        .wrapping_add(header::LEN as u64)
        .wrapping_add(u64::from(text))
}

/// Whether a node can be called that.
pub(crate) fn name_is_valid(name: &[u8]) -> bool {
    !name.is_empty()
        && name.len() <= NAME_MAX
        && name != b"."
        && name != b".."
        && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}

/// Whether a symlink can point there.
pub(crate) fn target_is_valid(target: &[u8]) -> bool {
    !target.is_empty() && target.len() <= TARGET_MAX && !target.contains(&0)
}
