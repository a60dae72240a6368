//! The memory of a group of buffers: a ring of descriptors that the program fills and the kernel takes.
//!
//! It begins with a header of [`HEADER_BYTES`]: at [`TAIL`] the 32-bit number of descriptors that were ever filled, which
//! the program writes; at [`HEAD`] the number of those that were taken, which the kernel writes and never reads. Descriptor
//! number `n` lies at the place `n` modulo the number of entries. The kernel reads a descriptor once, when it takes it, and
//! from then on its place can be filled again.
#![forbid(unsafe_code)]

/// Bytes of the header.
pub const HEADER_BYTES: u64 = 64;
/// Bytes of a descriptor.
pub const ENTRY_BYTES: u64 = 16;
/// Where the header says how many descriptors were filled.
pub const TAIL: u64 = 0;
/// Where it says how many were taken.
pub const HEAD: u64 = 8;
/// The memory begins at a multiple of this.
pub const ALIGN: u64 = 16;
/// Entries that a group can have; their number is a power of two.
pub const MOST_ENTRIES: u32 = 4096;
/// Greatest number of bytes that one operation brings: what fits a slot of any daemon.
pub const MOST_BYTES: u32 = 65536;
/// Groups that a ring can have.
pub const MOST_GROUPS: u32 = 16;

/// Bytes of the memory of a group with so many entries.
pub const fn bytes(entries: u32) -> u64 {
    HEADER_BYTES.saturating_add((entries as u64).saturating_mul(ENTRY_BYTES))
}

/// A buffer that a program provides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// Its address, or the name of registered memory.
    pub address: u64,
    /// Its bytes.
    pub length: u32,
    /// What completions call it.
    pub id: u16,
}

impl Descriptor {
    /// The descriptor as two words, in the order in which they lie in memory. The last 16 bits have no meaning.
    pub const fn to_words(self) -> [u64; 2] {
        [self.address, self.length as u64 | (self.id as u64) << 32]
    }

    /// The descriptor that these two words are.
    pub const fn from_words([address, rest]: [u64; 2]) -> Descriptor {
        Descriptor { address, length: rest as u32, id: (rest >> 32) as u16 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_survives_its_words() {
        for id in [0, 1, u16::MAX] {
            for length in [0, 1, u32::MAX] {
                for address in [0, 1, u64::MAX] {
                    let one = Descriptor { address, length, id };
                    assert_eq!(Descriptor::from_words(one.to_words()), one);
                }
            }
        }
        let [address, rest] = Descriptor { address: 1, length: 2, id: 3 }.to_words();
        assert_eq!((address, rest), (1, 3 << 32 | 2));
        assert_eq!((bytes(1), bytes(MOST_ENTRIES)), (80, 65_600));
    }
}
