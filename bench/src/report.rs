//! The lines that the host reads.

use crate::stats::Spread;
use core::fmt;

/// In what a row counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Instructions that the guest executes, in user mode and in the kernel.
    Instructions,
    /// Bytes of memory.
    Bytes,
    /// Contexts.
    Contexts,
}

impl Unit {
    /// The unit's name.
    pub const fn name(self) -> &'static str {
        match self {
            Unit::Instructions => "instructions",
            Unit::Bytes => "bytes",
            Unit::Contexts => "contexts",
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// Its name; letters, digits, dots and underlines.
    pub name: &'a str,
    /// In what it counts.
    pub unit: Unit,
    /// The figures.
    pub spread: Spread,
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { name, unit, spread: Spread { min, median, p99 } } = self;
        let unit = unit.name();
        write!(
            f,
            r#"bench-row: {{"name":"{name}","unit":"{unit}","min":{min},"median":{median},"p99":{p99}}}"#
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Row, Unit};
    use crate::stats::{Figure, Spread};

    #[test]
    fn a_row_is_one_line_that_the_host_reads() {
        let spread =
            Spread { min: Figure::whole(120), median: Figure::quotient(243, 2), p99: Figure::whole(130) };
        let line = Row { name: "nop.1", unit: Unit::Instructions, spread }.to_string();
        let expected =
            r#"bench-row: {"name":"nop.1","unit":"instructions","min":120,"median":121.5,"p99":130}"#;
        assert_eq!(line, expected);
    }
}
