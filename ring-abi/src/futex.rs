//! The words that a [`FutexWaitMany`](crate::args::FutexWaitMany) names.
#![forbid(unsafe_code)]

use crate::Errno;

/// Greatest number of words of one wait.
pub const MOST: usize = 16;
/// Bytes of a [`Word`].
pub const WORD_BYTES: usize = 16;

/// A word to wait for, as it lies in memory: the address, the value, and four zero bytes; little endian.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// Address of a 32-bit word, a multiple of four.
    pub address: u64,
    /// Value that the word must have.
    pub expected: u32,
}

impl Word {
    /// Its bytes.
    pub const fn to_bytes(self) -> [u8; WORD_BYTES] {
        (self.address as u128 | (self.expected as u128) << 64).to_le_bytes()
    }

    /// The word that these bytes are. `EINVAL` if the last four are not zero.
    pub const fn from_bytes(bytes: [u8; WORD_BYTES]) -> Result<Word, Errno> {
        let number = u128::from_le_bytes(bytes);
        if number >> 96 != 0 {
            return Err(Errno::INVAL);
        }
        Ok(Word { address: number as u64, expected: (number >> 64) as u32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_survives_the_wire() {
        let word = Word { address: 0x1122_3344_5566_7788, expected: 0xaabb_ccdd };
        let bytes = word.to_bytes();
        assert_eq!(bytes, *b"\x88\x77\x66\x55\x44\x33\x22\x11\xdd\xcc\xbb\xaa\0\0\0\0");
        assert_eq!(Word::from_bytes(bytes), Ok(word));
    }

    #[test]
    fn spare_bytes_are_zero() {
        for at in 12..WORD_BYTES {
            let mut bytes = [0; WORD_BYTES];
            if let Some(byte) = bytes.get_mut(at) {
                *byte = 1;
            }
            assert_eq!(Word::from_bytes(bytes), Err(Errno::INVAL));
        }
    }
}
