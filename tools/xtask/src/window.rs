//! What QEMU's plugin logs of one sample: its instructions in the order of execution, and the memory that each touched.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};

/// Where the kernel lies: its image is linked at zero, and layout randomisation is off.
const KERNEL: u64 = 0xffff_8000_0000_0000;
/// log2 of the bytes of a cache line.
const LINE: u32 = 6;

/// Whose instruction it is: an index into [`SIDES`].
pub(crate) type Side = usize;
pub(crate) const KERNEL_SIDE: Side = 0;
pub(crate) const BENCH_SIDE: Side = 1;
pub(crate) const OTHER_SIDE: Side = 2;
/// What the sides are called.
pub(crate) const SIDES: [&str; 3] = ["kernel", "bench", "other"];

/// One instruction that was executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Executed {
    pub(crate) side: Side,
    /// Its address as it was linked.
    pub(crate) at: u64,
    /// The cache lines of data that it touched: the program's, whose address space they are in, or zero for the kernel's,
    /// and the number.
    data: Vec<(Side, u64)>,
}

/// Reads the log. The first program is the bench, and each change of the address space leads to the other one.
pub(crate) fn read(log: &str) -> Result<Vec<Executed>> {
    let mut space = BENCH_SIDE;
    let mut list: Vec<Executed> = Vec::new();
    for line in log.lines() {
        if line == "cr3" {
            space = if space == BENCH_SIDE { OTHER_SIDE } else { BENCH_SIDE };
            continue;
        }
        if let Some(access) = line.strip_prefix("m ") {
            let (address, bytes) = access.split_once(' ').with_context(|| format!("no access: {line}"))?;
            let (address, bytes) = (hexadecimal(address)?, bytes.parse::<u64>()?);
            if let Some(last) = list.last_mut() {
                let owner = if address >= KERNEL { KERNEL_SIDE } else { space };
                let end = address.saturating_add(bytes.saturating_sub(1));
                last.data.extend((address >> LINE..=end >> LINE).map(|line| (owner, line)));
            }
            continue;
        }
        let address = hexadecimal(line)?;
        let (side, at) = match address.checked_sub(KERNEL) {
            Some(linked) => (KERNEL_SIDE, linked),
            None => (space, address),
        };
        list.push(Executed { side, at, data: Vec::new() });
    }
    ensure!(!list.is_empty(), "nothing was logged between two readings of the clock");
    Ok(list)
}

fn hexadecimal(digits: &str) -> Result<u64> {
    u64::from_str_radix(digits, 16).with_context(|| format!("no address: {digits}"))
}

/// How many different cache lines instructions touch: those that they lie in, and those of the data that they use.
pub(crate) fn cache_lines(list: &[Executed]) -> (usize, usize) {
    let code: BTreeSet<(Side, u64)> = list.iter().map(|one| (one.side, one.at >> LINE)).collect();
    let data: BTreeSet<(Side, u64)> = list.iter().flat_map(|one| one.data.iter().copied()).collect();
    (code.len(), data.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(list: &[Executed]) -> Vec<(Side, u64)> {
        list.iter().map(|one| (one.side, one.at)).collect()
    }

    #[test]
    fn a_change_of_space_leads_to_the_other_program_and_back() {
        let list = read("200000\nffff800000001000\ncr3\n200010\ncr3\n200020\n").unwrap();
        let wanted = [
            (BENCH_SIDE, 0x20_0000),
            (KERNEL_SIDE, 0x1000),
            (OTHER_SIDE, 0x20_0010),
            (BENCH_SIDE, 0x20_0020),
        ];
        assert_eq!(places(&list), wanted);
        assert!(read("").is_err() && read("xyz").is_err() && read("200000\nm 5\n").is_err());
    }

    #[test]
    fn a_line_is_counted_once_for_each_space_and_an_access_may_touch_two() {
        let log = "200000\nm 300000 8\nm 300008 4\n200004\nm 30003c 8\ncr3\n200010\nm 300000 8\n";
        let list = read(log).unwrap();
        assert_eq!(cache_lines(&list[..1]), (1, 1));
        assert_eq!(cache_lines(&list[..2]), (1, 2));
        assert_eq!(cache_lines(&list), (2, 3));
    }
}
