//! `vmmap [--summary] [PID ...]`: what processes have mapped, and what of it is in memory.
//!
//! A line for each region, with a sum for each process; with `--summary` (`-s`) the sums only. Without process ids all of them. The
//! figures are the kernel's own, from `/scheme/sys/maps`; `shared` is what others have, too.
#![cfg_attr(target_os = "redox", no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use posix::file::{close, read};
use posix::flags::O_RDONLY;
use posix::open::open;
use ring_abi::Errno;
use uring::start::env::args;
use uring::{eprintln, println};

uring::main!(run);

const HELP: &str = "Usage: vmmap [-s] [PID ...]

Print the regions of processes (all, or those with these ids): addresses, rights, what they are, and bytes: of the
region, in memory, in memory and shared with others, in memory and its own.

  -s, --summary  one line a process
  -h, --help     print this";

/// A region, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Region {
    space: u32,
    pid: u32,
    first: u64,
    end: u64,
    rights: String,
    kind: String,
    resident: u64,
    shared: u64,
    private: u64,
    /// The next one is the rest of it.
    goes_on: bool,
}

impl Region {
    /// What a line says; nothing of one that says nothing.
    fn parse(line: &str) -> Option<Region> {
        let mut words = line.split(' ');
        let (space, pid) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let (first, end) = words.next()?.split_once('-')?;
        let (rights, kind) = (words.next()?.to_string(), words.next()?.to_string());
        let mut bytes = || words.next()?.parse().ok();
        let (resident, shared, private) = (bytes()?, bytes()?, bytes()?);
        Some(Region {
            space,
            pid,
            first: u64::from_str_radix(first, 16).ok()?,
            end: u64::from_str_radix(end, 16).ok()?,
            rights,
            kind,
            resident,
            shared,
            private,
            goes_on: words.next() == Some("+"),
        })
    }

    /// Takes the rest of it in.
    fn add(&mut self, rest: &Region) {
        self.end = rest.end;
        self.resident = self.resident.saturating_add(rest.resident);
        self.shared = self.shared.saturating_add(rest.shared);
        self.private = self.private.saturating_add(rest.private);
        self.goes_on = rest.goes_on;
    }

    fn bytes(&self) -> u64 {
        self.end.saturating_sub(self.first)
    }
}

fn run() -> u8 {
    let (mut is_short, mut pids) = (false, Vec::new());
    for word in args().skip(1) {
        match word {
            "-h" | "--help" => {
                println!("{HELP}");
                return 0;
            }
            "-s" | "--summary" => is_short = true,
            _ => match word.parse::<u32>() {
                Ok(pid) => pids.push(pid),
                Err(_) => {
                    eprintln!("vmmap: {word}: neither an option nor a process id; see vmmap --help");
                    return 2;
                }
            },
        }
    }
    match regions() {
        Ok(regions) => print(&regions, &pids, is_short),
        Err(error) => {
            eprintln!("vmmap: /scheme/sys/maps: {error}");
            1
        }
    }
}

/// All regions, whole ones.
fn regions() -> Result<Vec<Region>, Errno> {
    let file = open(b"/scheme/sys/maps", O_RDONLY, 0)?;
    let (mut text, mut piece) = (Vec::new(), [0; 4096]);
    let result = loop {
        match read(file, &mut piece) {
            Ok(0) => break Ok(()),
            Ok(count) => text.extend_from_slice(piece.get(..count).unwrap_or_default()),
            Err(error) => break Err(error),
        }
    };
    close(file)?;
    result?;
    let text = core::str::from_utf8(&text).map_err(|_| Errno::ILSEQ)?;
    Ok(whole(text.lines().filter_map(Region::parse)))
}

/// Puts the parts of regions together.
fn whole(parts: impl Iterator<Item = Region>) -> Vec<Region> {
    let mut all: Vec<Region> = Vec::new();
    for part in parts {
        match all.last_mut() {
            Some(last) if last.goes_on && (last.space, last.end) == (part.space, part.first) => {
                last.add(&part)
            }
            _ => all.push(part),
        }
    }
    all
}

fn print(regions: &[Region], pids: &[u32], is_short: bool) -> u8 {
    let mut spaces: BTreeMap<(u32, u32), Vec<&Region>> = BTreeMap::new();
    let wanted = |region: &&Region| pids.is_empty() || pids.contains(&region.pid);
    for region in regions.iter().filter(wanted) {
        spaces.entry((region.pid, region.space)).or_default().push(region);
    }
    let what = if is_short { "PID      REGIONS" } else { "ADDRESSES                 RIGHTS  KIND  " };
    println!("{what} {:>14} {:>12} {:>12} {:>12}", "BYTES", "RESIDENT", "SHARED", "PRIVATE");
    for ((pid, _), own) in &spaces {
        let sum = |what: fn(&Region) -> u64| own.iter().map(|region| what(region)).sum::<u64>();
        let (bytes, resident) = (sum(Region::bytes), sum(|region| region.resident));
        let (shared, private) = (sum(|region| region.shared), sum(|region| region.private));
        if is_short {
            println!("{pid:<8} {:>7} {bytes:>14} {resident:>12} {shared:>12} {private:>12}", own.len());
            continue;
        }
        for region in own {
            let Region { first, end, rights, kind, resident, shared, private, .. } = region;
            let bytes = region.bytes();
            println!(
                "{first:012x}-{end:012x} {rights:<6}  {kind:<6} {bytes:>14} {resident:>12} {shared:>12} {private:>12}"
            );
        }
        let name = alloc::format!("process {pid}, {} regions", own.len());
        println!("{name:<40} {bytes:>14} {resident:>12} {shared:>12} {private:>12}");
    }
    let missing: Vec<&u32> =
        pids.iter().filter(|pid| !spaces.keys().any(|(known, _)| known == *pid)).collect();
    for pid in &missing {
        eprintln!("vmmap: {pid}: no such process");
    }
    u8::from(!missing.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{Region, whole};

    #[test]
    fn parts_of_a_region_are_one_and_regions_stay_apart() {
        let text = "-\n0 1 1000-3000 rw- memory 4096 0 4096 +\n0 1 3000-4000 rw- memory 4096 4096 0\n\
                    0 1 4000-5000 rw- memory 0 0 0\n1 2 5000-6000 r-x file 0 0 0\n";
        let all = whole(text.lines().filter_map(Region::parse));
        let short: Vec<_> = all.iter().map(|r| (r.pid, r.first, r.end, r.resident, r.shared)).collect();
        let expected =
            [(1, 0x1000, 0x4000, 8192, 4096), (1, 0x4000, 0x5000, 0, 0), (2, 0x5000, 0x6000, 0, 0)];
        assert_eq!(short, expected);
    }
}
