//! The time of day, asked of the scheme `time`.
#![forbid(unsafe_code)]

use alloc::vec;
use uring::op::file::{self, At, Fd};

/// Seconds and nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time {
    pub(crate) seconds: u64,
    pub(crate) nanoseconds: u32,
}

/// The open clock.
#[derive(Debug)]
pub(crate) struct Clock(Option<Fd>);

impl Clock {
    /// Opens the clock. Without one all times are zero.
    pub(crate) fn open() -> Clock {
        let read_only = syscall::flag::O_RDONLY as u64;
        Clock(file::open_at(Fd::CURRENT, "/scheme/time/1", read_only).wait().0.ok())
    }

    /// The time of day.
    pub(crate) async fn now(&self) -> Time {
        let Some(fd) = self.0 else { return Time::default() };
        match file::read(fd, vec![0; 16], At::Offset(0)).await {
            (Ok(16), bytes) => Time::from_bytes(&bytes).unwrap_or_default(),
            _ => Time::default(),
        }
    }
}

impl Time {
    /// Bytes of a `TimeSpec`.
    pub(crate) const BYTES: usize = 16;

    /// Reads a `TimeSpec`: seconds, then nanoseconds in the low half of a word.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Time> {
        let seconds = u64::from_le_bytes(*bytes.first_chunk()?);
        let nanoseconds = u32::from_le_bytes(*bytes.get(8..)?.first_chunk()?);
        (nanoseconds < 1_000_000_000).then_some(Time { seconds, nanoseconds })
    }
}
