//! The part of a text that a read asked for.
//!
//! A row has a number, or a key that says where to go on behind it. Rows before that part are passed over unmade, and no more rows are made than a step has time for.
#![forbid(unsafe_code)]

use super::cx::Cx;
use crate::base::rows::Rows;
use crate::mem::user;
use core::fmt::{self, Write};
use ring_abi::Errno;

/// Longest row in bytes; what is longer is cut.
const ROW: usize = 512;
/// What making a row is reckoned to cost, and each byte of it.
const MAKING: u32 = 1000;
const BYTE: u32 = 40;
/// Bytes of a usual row.
const USUAL: u32 = 32;
/// Bits of an offset that are a byte of a row with a number.
const BYTE_BITS: u32 = 16;

/// The part of a text that a read asked for.
pub struct Window<'a, 'c> {
    cx: &'c Cx<'a>,
    /// Bits of an offset that are a byte of a row; those above are the row's number or key.
    bits: u32,
    /// The row that comes next.
    row: u64,
    /// Where the next byte to hand out is: its row, and its place there.
    at: (u64, u64),
    to: u64,
    left: u64,
    done: u64,
    failed: Option<Errno>,
}

impl<'a, 'c> Window<'a, 'c> {
    /// From an offset on, at most `length` bytes, to the asker's memory.
    pub fn new(cx: &'c Cx<'a>, offset: u64, to: u64, length: u64) -> Window<'a, 'c> {
        Window::with_keys(cx, BYTE_BITS, offset, to, length)
    }

    /// The same for rows that have keys, and so many bits of an offset for a byte of one.
    pub fn with_keys(cx: &'c Cx<'a>, bits: u32, offset: u64, to: u64, length: u64) -> Window<'a, 'c> {
        let at = (offset.wrapping_shr(bits), offset & 1_u64.wrapping_shl(bits).wrapping_sub(1));
        Window { cx, bits, row: 0, at, to, left: length, done: 0, failed: None }
    }

    /// The key of the row that is wanted next.
    pub fn key(&self) -> u64 {
        self.at.0
    }

    /// Takes the row that is wanted, behind which `next` comes. An error: no more are.
    pub fn line(&mut self, next: u64, text: fmt::Arguments<'_>) -> fmt::Result {
        self.row = next;
        self.make(text)
    }

    /// Whether another row is wanted. The first one is, whatever is left: a read that is not at the end gives something.
    pub fn takes_more(&self) -> bool {
        self.left != 0 && (self.done == 0 || self.cx.budget.has(MAKING + BYTE * USUAL))
    }

    fn make(&mut self, text: fmt::Arguments<'_>) -> fmt::Result {
        let mut line = Line { bytes: [0; ROW], length: 0 };
        let _ = line.write_fmt(text);
        line.end();
        self.cx.budget.charge(MAKING.wrapping_add(BYTE.wrapping_mul(line.length as u32)));
        let result = self.hand_out(line.bytes.get(..line.length).unwrap_or(&[]));
        self.failed = result.err();
        if self.failed.is_some() { Err(fmt::Error) } else { Ok(()) }
    }

    /// How many bytes were handed out, and the offset behind them.
    pub fn finish(self) -> Result<(u64, u64), Errno> {
        match self.failed {
            Some(error) => Err(error),
            None => Ok((self.done, self.at.0.wrapping_shl(self.bits) | self.at.1)),
        }
    }

    /// Hands out what is asked for of a row that was made.
    fn hand_out(&mut self, row: &[u8]) -> Result<(), Errno> {
        let rest = row.get(self.at.1 as usize..).unwrap_or(&[]);
        let count = (rest.len() as u64).min(self.left);
        let part = rest.get(..count as usize).unwrap_or(&[]);
        user::write_bytes(&self.cx.s.memory, self.cx.space(), self.to, part)?;
        self.to = self.to.wrapping_add(count);
        self.left = self.left.wrapping_sub(count);
        self.done = self.done.wrapping_add(count);
        let is_over = count == rest.len() as u64;
        self.at = if is_over { (self.row, 0) } else { (self.at.0, self.at.1.wrapping_add(count)) };
        Ok(())
    }
}

impl Rows for Window<'_, '_> {
    fn row(&mut self, text: fmt::Arguments<'_>) -> fmt::Result {
        let number = self.row;
        self.row = number.wrapping_add(1);
        if number < self.at.0 {
            return Ok(());
        }
        if self.takes_more() { self.make(text) } else { Err(fmt::Error) }
    }
}

/// A row that is made.
struct Line {
    bytes: [u8; ROW],
    length: usize,
}

impl Line {
    /// Ends the line, in the last place if it is as long as may be.
    fn end(&mut self) {
        self.length = self.length.min(ROW - 1);
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = b'\n';
        }
        self.length = self.length.wrapping_add(1);
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let rest = self.bytes.get_mut(self.length..).unwrap_or(&mut []);
        for (place, byte) in rest.iter_mut().zip(text.bytes()) {
            *place = byte;
        }
        self.length = self.length.saturating_add(text.len()).min(ROW);
        Ok(())
    }
}
