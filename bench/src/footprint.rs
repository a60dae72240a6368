//! What the kernel says of its memory: `/scheme/sys/footprint`, lines of `name live bytes-each bytes`.
#![forbid(unsafe_code)]

use crate::harness::Failure;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use posix::file::{close, read};
use posix::flags::O_RDONLY;
use posix::open::open;
use ring_abi::Errno;
use uring::op::time::after;

/// One kind of record or frame.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kind {
    name: String,
    live: u64,
    each: u64,
}

/// All kinds at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Footprint(Vec<Kind>);

impl Footprint {
    /// What it is once the kernel has nothing more to tidy up: the last of a process's end is done in pieces after
    /// its parent has heard of it.
    pub(crate) fn settled() -> Result<Footprint, Failure> {
        let mut last = Footprint::now()?;
        for _ in 0..1000 {
            after(Duration::from_millis(20)).wait()?;
            let now = Footprint::now()?;
            if now == last {
                return Ok(now);
            }
            last = now;
        }
        Err(Failure::Wrong("the kernel's memory does not settle"))
    }

    /// What it is now.
    pub(crate) fn now() -> Result<Footprint, Failure> {
        let text = read_text("/scheme/sys/footprint")?;
        let wrong = Failure::Wrong("sys/footprint has a line of another form");
        let kinds: Option<Vec<Kind>> = text.lines().map(kind).collect();
        kinds.map(Footprint).ok_or(wrong)
    }

    fn kind(&self, name: &'static str) -> Result<&Kind, Failure> {
        self.0.iter().find(|kind| kind.name == name).ok_or(Failure::Wrong("sys/footprint lacks a line"))
    }

    /// How many there are of a kind.
    pub(crate) fn live(&self, name: &'static str) -> Result<u64, Failure> {
        self.kind(name).map(|kind| kind.live)
    }

    /// Bytes of one of a kind.
    pub(crate) fn each(&self, name: &'static str) -> Result<u64, Failure> {
        self.kind(name).map(|kind| kind.each)
    }

    /// Bytes of all of a kind.
    pub(crate) fn bytes(&self, name: &'static str) -> Result<u64, Failure> {
        self.kind(name).map(|kind| kind.live.saturating_mul(kind.each))
    }

    /// Bytes that the kernel keeps for itself: every record, and page tables.
    ///
    /// Records lie in tables that grow by the page and are used again, so what is taken from the frames at once says
    /// nothing about one record; how many there are and how large one is does.
    pub(crate) fn kernel(&self) -> Result<u64, Failure> {
        let records = self.0.iter().filter(|kind| !kind.name.starts_with("frames."));
        let records: u64 = records.map(|kind| kind.live.saturating_mul(kind.each)).sum();
        Ok(records.saturating_add(self.bytes("frames.tables")?))
    }

    /// The kinds of which there are more than before: name, how many more, bytes of each.
    pub(crate) fn more_than<'a>(
        &'a self,
        before: &'a Footprint,
    ) -> impl Iterator<Item = (&'a str, u64, u64)> {
        let pairs = self.0.iter().zip(&before.0).filter(|(now, before)| now.name == before.name);
        let more =
            pairs.map(|(now, before)| (now.name.as_str(), now.live.saturating_sub(before.live), now.each));
        more.filter(|(_, more, _)| *more != 0)
    }

    /// Bytes of everything that is counted under some use.
    pub(crate) fn used(&self) -> u64 {
        let uses = self.0.iter().filter(|kind| kind.name.starts_with("frames."));
        let uses = uses.filter(|kind| kind.name != "frames.free" && kind.name != "frames.total");
        uses.map(|kind| kind.live.saturating_mul(kind.each)).sum()
    }

    /// Checks that what was used between two times is what is no longer free.
    pub(crate) fn check_since(&self, before: &Footprint) -> Result<(), Failure> {
        let used = self.used().checked_sub(before.used());
        let taken = before.bytes("frames.free")?.checked_sub(self.bytes("frames.free")?);
        match (used, taken) {
            (Some(used), Some(taken)) if used == taken => Ok(()),
            (Some(used), Some(taken)) => {
                Err(Failure::Differ("bytes used and bytes no longer free", used, taken))
            }
            _ => Err(Failure::Wrong("memory was given back meanwhile")),
        }
    }
}

fn kind(line: &str) -> Option<Kind> {
    let mut words = line.split_whitespace();
    let (name, live, each) = (words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Kind { name: name.into(), live, each })
}

/// A number from a file of `name value` lines.
pub(crate) fn number(path: &str, name: &str) -> Result<u64, Failure> {
    let text = read_text(path)?;
    let mut values = text.lines().filter_map(|line| line.split_once(' '));
    let value = values.find(|(found, _)| *found == name).and_then(|(_, value)| value.trim().parse().ok());
    value.ok_or(Failure::Wrong("a file of scheme sys lacks a line"))
}

/// The whole of a text file of the kernel.
pub(crate) fn read_text(path: &str) -> Result<String, Errno> {
    let fd = open(path.as_bytes(), O_RDONLY, 0)?;
    let mut text = Vec::with_capacity(4096);
    let mut piece = [0; 2048];
    let result = loop {
        match read(fd, &mut piece) {
            Ok(0) => break Ok(()),
            Ok(count) => text.extend_from_slice(piece.get(..count).unwrap_or_default()),
            Err(error) => break Err(error),
        }
    };
    close(fd).and(result)?;
    String::from_utf8(text).map_err(|_| Errno::ILSEQ)
}
