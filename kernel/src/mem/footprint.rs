//! How much memory everything takes, to the byte: for the `sys` scheme and for tests.
#![forbid(unsafe_code)]

use super::frames::{Memory, Use};
use super::space::PAGE_BYTES;
use crate::base::rows::Rows;
use core::fmt;

impl Memory {
    /// Writes a line for each kind of record and of frame: name, how many, bytes of one, bytes of all.
    ///
    /// Frames of records hold the live records of all kinds and those that are free for reuse.
    pub fn footprint(&self, out: &mut impl Rows) -> fmt::Result {
        let mut row = |name: &str, live: u32, bytes: usize| {
            out.row(format_args!("{name} {live} {bytes} {}", u64::from(live).saturating_mul(bytes as u64)))
        };
        row("spaces", self.spaces.live(), self.spaces.record_bytes())?;
        row("regions", self.regions.live(), self.regions.record_bytes())?;
        row("objects", self.objects.live(), self.objects.record_bytes())?;
        row("wired", self.blocks.live(), self.blocks.record_bytes())?;
        row("pins", self.pins.live(), self.pins.record_bytes())?;
        row("pinned", self.pinned.live(), size_of::<super::pin::Page>())?;
        for what in Use::ALL {
            row(what.name(), self.used(what), PAGE_BYTES as usize)?;
        }
        row("frames.free", self.free(), PAGE_BYTES as usize)?;
        row("frames.total", self.total(), PAGE_BYTES as usize)
    }

    /// Bytes of frames of a kind.
    pub fn bytes(&self, what: Use) -> u64 {
        u64::from(self.used(what)).saturating_mul(PAGE_BYTES)
    }
}

impl Use {
    /// What it is called in the footprint.
    pub const fn name(self) -> &'static str {
        match self {
            Use::Records => "frames.records",
            Use::Tables => "frames.tables",
            Use::Program => "frames.program",
            Use::Rings => "frames.rings",
            Use::Arenas => "frames.arenas",
            Use::Image => "frames.image",
        }
    }
}
