//! Checks of this machine's own tools that only the machine can run. They take microseconds, so every boot runs them.

use super::copy;
use super::timer;
use super::utf8::is_utf8;

/// Lengths that are tried: every short path, and some of the long one; of two blocks as well.
const LENGTHS: usize = 80;
const BLOCKS: usize = 512;
const MOST: usize = BLOCKS + LENGTHS;
/// What bytes outside a copied range must keep.
const UNTOUCHED: u8 = 0xee;

/// Stops the kernel with a reason if a tool does not work.
pub(super) fn run() {
    for length in (0..=LENGTHS).chain((BLOCKS..=MOST).step_by(7)) {
        copies_exactly(length);
        zeroes_exactly(length);
    }
    finds_broken_text();
    let before = timer::now();
    assert!(timer::now() >= before, "the clock runs backwards");
}

fn copies_exactly(length: usize) {
    let mut from = [0; MOST];
    for (index, byte) in from.iter_mut().enumerate() {
        *byte = index as u8 ^ 0x55;
    }
    let mut to = [UNTOUCHED; MOST + 1];
    // SAFETY: both arrays hold at least `length` bytes and do not overlap.
    unsafe { copy::copy(from.as_ptr(), to.as_mut_ptr(), length) }
    let right = to.iter().enumerate().all(|(index, &byte)| match from.get(index) {
        Some(&wanted) if index < length => byte == wanted,
        _ => byte == UNTOUCHED,
    });
    assert!(right, "a copy of {length} bytes went wrong");
}

fn zeroes_exactly(length: usize) {
    let mut to = [UNTOUCHED; MOST + 1];
    // SAFETY: the array holds at least `length` bytes.
    unsafe { copy::zero_bytes(to.as_mut_ptr(), length) }
    let right =
        to.iter().enumerate().all(|(index, &byte)| byte == if index < length { 0 } else { UNTOUCHED });
    assert!(right, "zeroing {length} bytes went wrong");
}

fn finds_broken_text() {
    let check = |text: &[u8]| {
        is_utf8(text.len(), |offset, piece| {
            for (byte, source) in piece.iter_mut().zip(text.get(offset..).unwrap_or(&[])) {
                *byte = *source;
            }
        })
    };
    // 63 bytes, then characters of two to four bytes that the first piece cuts.
    let mut text = [b'a'; 72];
    for character in ["\u{e9}", "\u{20ac}", "\u{1f600}"] {
        let end = character.len().wrapping_add(63);
        if let Some(place) = text.get_mut(63..end) {
            place.copy_from_slice(character.as_bytes());
        }
        assert!(check(&text), "text with {character} was refused");
        assert!(!check(text.get(..64).unwrap_or(&[])), "half a character was accepted");
    }
    assert!(!check(b"\xc0\x80") && !check(b"a\xff") && check(b""), "broken text was accepted");
}
