//! What `elf.rs` promises, on files written here byte by byte.

use super::{FLOATING_BASE, HIGHEST, LOWEST, Plan, map};
use alloc::vec::Vec;
use proptest::prelude::{any, prop, prop_assert, proptest};
use ring_abi::Errno;

const R: u32 = 4;
const W: u32 = 2;
const X: u32 = 1;

/// One program header.
#[derive(Clone, Copy)]
struct Program {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    file: u64,
    memory: u64,
    align: u64,
}

const TEXT: Program = Program {
    kind: 1,
    flags: R | X,
    offset: 0,
    address: 0x20_0000,
    file: 0x800,
    memory: 0x800,
    align: 0x1000,
};
const DATA: Program = Program {
    kind: 1,
    flags: R | W,
    offset: 0x800,
    address: 0x20_1800,
    file: 0x100,
    memory: 0x3000,
    align: 0x1000,
};

fn file(kind: u16, entry: u64, programs: &[Program]) -> Vec<u8> {
    let mut bytes = Vec::from(*b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    bytes.extend(kind.to_le_bytes());
    bytes.extend(62_u16.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend([entry, 64, 0].map(u64::to_le_bytes).concat());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend([64, 56, programs.len() as u16, 64, 0, 0].map(u16::to_le_bytes).concat());
    for p in programs {
        bytes.extend([p.kind, p.flags].map(u32::to_le_bytes).concat());
        bytes.extend(
            [p.offset, p.address, p.address, p.file, p.memory, p.align].map(u64::to_le_bytes).concat(),
        );
    }
    bytes.resize(0x1000, 0);
    bytes
}

fn plan(bytes: &[u8]) -> Result<Plan, Errno> {
    Plan::new(bytes, bytes.len() as u64)
}

fn with(change: impl Fn(&mut Program)) -> Result<Plan, Errno> {
    let mut data = DATA;
    change(&mut data);
    plan(&file(2, 0x20_0010, &[TEXT, data]))
}

#[test]
fn a_program_goes_where_it_says() {
    let plan = plan(&file(2, 0x20_0010, &[TEXT, DATA])).unwrap();
    assert_eq!((plan.entry, plan.headers, plan.header_count), (0x20_0010, Some(0x20_0040), 2));
    let [text, data] = plan.segments.as_slice() else { panic!("two segments") };
    assert_eq!((text.page, text.length, text.rights), (0x20_0000, 0x1000, map::READ | map::EXECUTE));
    assert_eq!((data.page, data.length, data.rights), (0x20_1000, 0x4000, map::READ | map::WRITE));
    assert_eq!((data.address, data.offset, data.file_length), (0x20_1800, 0x800, 0x100));
}

#[test]
fn a_floating_program_goes_to_the_base() {
    let text = Program { address: 0, ..TEXT };
    let plan = plan(&file(3, 0x10, &[text])).unwrap();
    assert_eq!((plan.entry, plan.base), (FLOATING_BASE + 0x10, FLOATING_BASE));
    assert_eq!(plan.segments.first().unwrap().page, FLOATING_BASE);
}

#[test]
fn writing_and_executing_together_is_refused() {
    assert_eq!(with(|data| data.flags = R | W | X), Err(Errno::NOEXEC));
    assert_eq!(with(|data| (data.kind, data.flags) = (0x6474_e551, R | W | X)), Err(Errno::NOEXEC));
    assert!(with(|data| (data.kind, data.flags) = (0x6474_e551, R | W)).is_ok());
}

#[test]
fn segments_that_share_a_page_are_refused() {
    assert_eq!(with(|data| data.address = 0x20_0800), Err(Errno::NOEXEC));
    assert_eq!(with(|data| (data.offset, data.address) = (0, 0x20_0000)), Err(Errno::NOEXEC));
}

#[test]
fn wild_segments_are_refused() {
    assert_eq!(with(|data| data.memory = u64::MAX), Err(Errno::NOEXEC));
    assert_eq!(with(|data| data.memory = data.file - 1), Err(Errno::NOEXEC));
    assert_eq!(with(|data| data.file = 0x801), Err(Errno::NOEXEC));
    assert_eq!(with(|data| data.offset = u64::MAX), Err(Errno::NOEXEC));
    assert_eq!(with(|data| data.address = LOWEST - 0x800), Err(Errno::NOEXEC));
    assert_eq!(with(|data| data.address = HIGHEST - 0x800), Err(Errno::NOEXEC));
    assert_eq!(with(|data| data.address = u64::MAX - 0x7ff), Err(Errno::NOEXEC));
    assert_eq!(with(|data| data.align = 0x1800), Err(Errno::NOEXEC));
    assert_eq!(with(|data| data.address += 0x10), Err(Errno::NOEXEC));
    assert!(with(|data| (data.align, data.address) = (0, 0x20_1810)).is_ok());
    assert!(with(|data| data.memory = 0).is_ok(), "an empty segment is passed over");
}

#[test]
fn the_entry_lies_in_code() {
    assert_eq!(plan(&file(2, 0x20_1900, &[TEXT, DATA])), Err(Errno::NOEXEC));
    assert_eq!(plan(&file(2, 0, &[TEXT, DATA])), Err(Errno::NOEXEC));
    assert_eq!(plan(&file(2, 0x20_0010, &[])), Err(Errno::NOEXEC));
    assert_eq!(plan(&file(3, u64::MAX, &[TEXT])), Err(Errno::NOEXEC));
}

#[test]
fn other_files_are_refused() {
    let good = file(2, 0x20_0010, &[TEXT, DATA]);
    // Class, byte order, version, type, machine, size of a program header, their number.
    for (at, byte) in [(0, 0), (4, 1), (5, 2), (16, 1), (16, 4), (18, 3), (20, 2), (54, 55), (57, 1)] {
        let mut bad = good.clone();
        bad[at] = byte;
        assert_eq!(plan(&bad), Err(Errno::NOEXEC), "byte {at} as {byte}");
    }
    assert_eq!(plan(b"#!/bin/sh\n"), Err(Errno::NOEXEC));
    assert_eq!(plan(b""), Err(Errno::NOEXEC));
}

#[test]
fn an_interpreter_is_refused() {
    assert_eq!(with(|data| data.kind = 3), Err(Errno::NOEXEC));
}

#[test]
fn a_truncated_file_is_refused_at_every_length() {
    let good = file(2, 0x20_0010, &[TEXT, DATA]);
    for length in 0..0x900 {
        assert_eq!(plan(&good[..length]), Err(Errno::NOEXEC), "{length} bytes");
    }
}

proptest! {
    #[test]
    fn damage_is_refused_or_harmless(
        changes in prop::collection::vec((0_usize..176, any::<u8>()), 1..8),
    ) {
        let mut bytes = file(2, 0x20_0010, &[TEXT, DATA]);
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        let Ok(plan) = plan(&bytes) else { return Ok(()) };
        for segment in &plan.segments {
            prop_assert!(segment.page >= LOWEST && segment.page + segment.length <= HIGHEST);
            prop_assert!(segment.rights & (map::WRITE | map::EXECUTE) != map::WRITE | map::EXECUTE);
            prop_assert!(segment.address >= segment.page);
            prop_assert!(segment.address + segment.file_length <= segment.page + segment.length);
            prop_assert!(segment.offset + segment.file_length <= bytes.len() as u64);
        }
    }

    #[test]
    fn no_bytes_are_too_wild(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Plan::new(&bytes, 1 << 20);
    }
}
