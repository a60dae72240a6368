//! Whether a program's bytes are UTF-8, without ever borrowing them: they may change while we look.

/// Bytes that are looked at together.
const PIECE: usize = 64;

/// Whether `length` bytes are UTF-8; `read` fills a buffer with those from an offset on.
#[inline(always)]
pub(super) fn is_utf8(length: usize, read: impl Fn(usize, &mut [u8])) -> bool {
    let ascii = ascii(length, &read);
    ascii >= length || is_utf8_from(ascii, length, read)
}

/// How many of the first bytes are looked at and ASCII: a number of whole words, or `length` and more for all.
#[inline(always)]
fn ascii(length: usize, read: impl Fn(usize, &mut [u8])) -> usize {
    let mut offset = 0_usize;
    while offset < length {
        let mut word = [0; 8];
        read(offset, word.get_mut(..length.wrapping_sub(offset).min(8)).unwrap_or_default());
        if !word.is_ascii() {
            break;
        }
        offset = offset.wrapping_add(8);
    }
    offset
}

/// The same from an offset on, before which all is.
#[cold]
#[inline(never)]
fn is_utf8_from(mut offset: usize, length: usize, read: impl Fn(usize, &mut [u8])) -> bool {
    let mut piece = [0; PIECE];
    // Bytes of a character that the last piece cut, now at the start of `piece`.
    let mut kept = 0_usize;
    while offset < length {
        let end = kept.wrapping_add(length.wrapping_sub(offset)).min(PIECE);
        let Some(new) = piece.get_mut(kept..end) else { return false };
        read(offset, new);
        offset = offset.wrapping_add(new.len());
        if kept == 0 && new.is_ascii() {
            continue;
        }
        kept = match core::str::from_utf8(piece.get(..end).unwrap_or(&[])) {
            Ok(_) => 0,
            Err(error) if error.error_len().is_some() => return false,
            Err(error) => {
                piece.copy_within(error.valid_up_to()..end, 0);
                end.wrapping_sub(error.valid_up_to())
            }
        };
    }
    kept == 0
}
