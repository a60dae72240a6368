//! Texts that are made row by row.
#![forbid(unsafe_code)]

use core::fmt;

/// Takes the rows of a text.
pub trait Rows {
    /// Takes the next row, without the end of the line. An error: no more rows are wanted.
    fn row(&mut self, text: fmt::Arguments<'_>) -> fmt::Result;
}
