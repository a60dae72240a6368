//! What is needed from the firmware's tables: where the I/O interrupt controller is, and which CPUs there are.

use crate::arch::MOST_CPUS;

use super::memory::{DIRECT_BYTES, direct};

/// The first I/O interrupt controller.
#[derive(Clone, Copy, Debug)]
pub(super) struct IoApic {
    /// Physical address of its registers.
    pub(super) address: u64,
    /// Whether a table named it, or it is assumed to be where PCs have it.
    pub(super) assumed: bool,
}

const USUAL_ADDRESS: u64 = 0xfec0_0000;
/// Bytes before the entries: of every table, of the interrupt table.
const HEADER: u64 = 36;
const MADT_HEADER: u64 = 44;
const LOCAL_APIC: u8 = 0;
const IO_APIC: u8 = 1;
/// No table is longer; a length beyond this is damage.
const LONGEST: u32 = 1 << 20;

/// The CPUs of the machine, by the numbers of their interrupt controllers, in the firmware's order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Controllers {
    numbers: [u8; MOST_CPUS],
    count: usize,
}

impl Controllers {
    /// The numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = u8> {
        self.numbers.iter().copied().take(self.count)
    }
}

/// Looks for the CPUs that can be used, at most [`MOST_CPUS`] of them.
pub(super) fn controllers(root: Option<u64>) -> Controllers {
    let mut found = Controllers::default();
    if let Some(table) = root.and_then(interrupt_table) {
        each_entry(table, |kind, at| {
            // Bit 0 of the flags: it can be used.
            if kind == LOCAL_APIC
                && let Some(number) = read::<u8>(at.checked_add(3)?)
                && read::<u32>(at.checked_add(4)?)? & 1 != 0
                && let Some(slot) = found.numbers.get_mut(found.count)
            {
                *slot = number;
                found.count = found.count.wrapping_add(1);
            }
            None::<()>
        });
    }
    found
}

/// Looks for the first I/O controller, from the root pointer that the loader was given.
pub(super) fn io_apic(root: Option<u64>) -> IoApic {
    match root.and_then(interrupt_table).and_then(first_io_apic) {
        Some(address) => IoApic { address, assumed: false },
        None => IoApic { address: USUAL_ADDRESS, assumed: true },
    }
}

/// The table that describes interrupt controllers.
fn interrupt_table(root: u64) -> Option<u64> {
    const SIGNATURE: u64 = u64::from_le_bytes(*b"RSD PTR ");
    if read::<u64>(root)? != SIGNATURE {
        return None;
    }
    let revision = read::<u8>(root.checked_add(15)?)?;
    let (list, width) = if revision >= 2 {
        (read::<u64>(root.checked_add(24)?)?, 8)
    } else {
        (u64::from(read::<u32>(root.checked_add(16)?)?), 4)
    };
    let length = table_length(list)?;
    (HEADER..length).step_by(width).find_map(|offset| {
        let at = list.checked_add(offset)?;
        let table = if width == 8 { read::<u64>(at)? } else { u64::from(read::<u32>(at)?) };
        (read::<u32>(table)? == u32::from_le_bytes(*b"APIC")).then_some(table)
    })
}

/// The first I/O controller of the table whose lines start at zero.
fn first_io_apic(table: u64) -> Option<u64> {
    each_entry(table, |kind, at| {
        let is_first = kind == IO_APIC && read::<u32>(at.checked_add(8)?)? == 0;
        if is_first { Some(u64::from(read::<u32>(at.checked_add(4)?)?)) } else { None }
    })
}

/// Shows each entry of the table of interrupt controllers, its kind and where it lies, until one is what was looked for.
fn each_entry<T>(table: u64, mut look: impl FnMut(u8, u64) -> Option<T>) -> Option<T> {
    let end = table.checked_add(table_length(table)?)?;
    let mut at = table.checked_add(MADT_HEADER)?;
    while at < end {
        let kind = read::<u8>(at)?;
        let length = read::<u8>(at.checked_add(1)?)?;
        if let Some(found) = look(kind, at) {
            return Some(found);
        }
        // An entry without length would be the last thing we look at, for ever.
        at = at.checked_add(u64::from(length.max(2)))?;
    }
    None
}

fn table_length(table: u64) -> Option<u64> {
    let length = read::<u32>(table.checked_add(4)?)?;
    (length <= LONGEST).then_some(u64::from(length))
}

/// Reads firmware memory, if the direct map reaches it.
fn read<T: Copy>(at: u64) -> Option<T> {
    let end = at.checked_add(size_of::<T>() as u64)?;
    if end > DIRECT_BYTES.get() {
        return None;
    }
    // SAFETY: the direct map reaches so far; tables are not changed by anybody, and any bytes make an integer, which is
    // all that this file reads.
    Some(unsafe { direct::<T>(at).read_unaligned() })
}
