//! Programs: what of an ELF file goes where in memory.
//!
//! A [`Plan`] is made from the first bytes of the file alone and checks all that can be wrong, so a bad
//! file is `ENOEXEC` before anything has changed. Only static 64-bit programs for x86_64 are taken: at
//! their addresses, or position independent ones (which relocate themselves) at [`FLOATING_BASE`].
//!
//! - Pages are readable and at most one of writable and executable. A file that wants both, or a stack
//!   that can be executed, is refused.
//! - No page belongs to two segments, and all lie between [`LOWEST`] and [`HIGHEST`].
#![forbid(unsafe_code)]

use alloc::vec::Vec;
use goblin::container::{Container, Ctx};
use goblin::elf::header::{
    EI_CLASS, EI_DATA, ELFCLASS64, ELFDATA2LSB, EM_X86_64, ET_DYN, ET_EXEC, EV_CURRENT,
};
use goblin::elf::program_header::{PF_W, PF_X, PT_GNU_STACK, PT_INTERP, PT_LOAD, ProgramHeader};
use goblin::elf::{Elf, Header};
use goblin::error::Error as Malformed;
use ring_abi::Errno;
use ring_abi::args::map;

/// Bytes of the file that a plan must see, if the file has as many.
pub const HEAD_BYTES: usize = 4096;
/// Below this nothing is mapped; only the first address space may.
pub const LOWEST: u64 = 0x1_0000;
/// End of the addresses for segments; above it lies the stack of a program that is not low.
pub const HIGHEST: u64 = 0x6000_0000_0000;
/// Where a position-independent program goes.
pub const FLOATING_BASE: u64 = 0x1000_0000;

const PAGE: u64 = 4096;
const PROGRAM_HEADER_BYTES: u16 = 56;

/// Pages of one kind and the bytes of the file that go into them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Address of the first page.
    pub page: u64,
    /// Bytes of the pages.
    pub length: u64,
    /// Rights, as in [`map`].
    pub rights: u64,
    /// Address of the first byte that comes from the file; what the file does not fill is zero.
    pub address: u64,
    /// Where that byte is in the file.
    pub offset: u64,
    /// Number of bytes that come from the file.
    pub file_length: u64,
    /// Number of bytes from that address on that the program has.
    pub memory_length: u64,
}

/// How a segment is mapped from its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// Where its first page is in the file.
    pub offset: u64,
    /// Bytes of its pages that the file has, at least a part of each.
    pub length: u64,
    /// Bytes of the last of them that must be zero, behind those of the file.
    pub zeros: usize,
}

impl Segment {
    /// How it is mapped. `None` if the file does not lie in pages as the segment does.
    pub fn mapped(&self) -> Option<Mapped> {
        let before = self.address.wrapping_sub(self.page);
        let offset = self.offset.checked_sub(before)?;
        if offset & PAGE.wrapping_sub(1) != 0 {
            return None;
        }
        if self.file_length == 0 {
            return Some(Mapped { offset, length: 0, zeros: 0 });
        }
        let bytes = before.checked_add(self.file_length)?;
        let length = bytes.checked_next_multiple_of(PAGE)?;
        let is_filled = self.memory_length == self.file_length;
        let zeros = if is_filled { 0 } else { usize::try_from(length.wrapping_sub(bytes)).ok()? };
        Some(Mapped { offset, length, zeros })
    }

    fn end(&self) -> u64 {
        self.page.saturating_add(self.length)
    }

    fn overlaps(&self, other: &Segment) -> bool {
        self.page < other.end() && other.page < self.end()
    }
}

/// How a program is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// First instruction.
    pub entry: u64,
    /// What is mapped, in the order of the file.
    pub segments: Vec<Segment>,
    /// Address of the program headers in memory, if a segment holds them.
    pub headers: Option<u64>,
    /// Number of program headers.
    pub header_count: u64,
    /// What was added to the addresses that the file names.
    pub base: u64,
}

impl Plan {
    /// First address above all segments.
    pub fn end(&self) -> u64 {
        self.segments.iter().map(Segment::end).max().unwrap_or(0)
    }

    /// Bytes of one program header, for the auxiliary vector.
    pub const HEADER_BYTES: u64 = PROGRAM_HEADER_BYTES as u64;

    /// Plans the program whose file has `length` bytes and begins with `head`.
    ///
    /// `head` is the file's first [`HEAD_BYTES`], or all of a shorter file. Everything wrong is `ENOEXEC`.
    pub fn new(head: &[u8], length: u64) -> Result<Plan, Errno> {
        let header = Elf::parse_header(head).map_err(refuse)?;
        check_header(&header)?;
        let programs = program_headers(head, &header)?;
        let base = if header.e_type == ET_DYN { FLOATING_BASE } else { 0 };
        let loaded = |program: &&ProgramHeader| program.p_type == PT_LOAD && program.p_memsz != 0;
        let segments = programs
            .iter()
            .filter(loaded)
            .map(|program| segment(program, base, length).ok_or(Errno::NOEXEC))
            .collect::<Result<Vec<Segment>, Errno>>()?;
        let entry = base.checked_add(header.e_entry).ok_or(Errno::NOEXEC)?;
        let runs = |s: &Segment| s.rights & map::EXECUTE != 0 && (s.page..s.end()).contains(&entry);
        if overlap(&segments) || !segments.iter().any(runs) {
            return Err(Errno::NOEXEC);
        }
        let headers = headers_address(&segments, &header);
        Ok(Plan { entry, segments, headers, header_count: u64::from(header.e_phnum), base })
    }
}

fn refuse(_: Malformed) -> Errno {
    Errno::NOEXEC
}

fn check_header(header: &Header) -> Result<(), Errno> {
    let identity = |index: usize| header.e_ident.get(index).copied();
    let known = identity(EI_CLASS) == Some(ELFCLASS64)
        && identity(EI_DATA) == Some(ELFDATA2LSB)
        && header.e_version == u32::from(EV_CURRENT)
        && header.e_machine == EM_X86_64
        && matches!(header.e_type, ET_EXEC | ET_DYN)
        && header.e_phentsize == PROGRAM_HEADER_BYTES;
    if known { Ok(()) } else { Err(Errno::NOEXEC) }
}

fn program_headers(head: &[u8], header: &Header) -> Result<Vec<ProgramHeader>, Errno> {
    let offset = usize::try_from(header.e_phoff).map_err(|_| Errno::NOEXEC)?;
    let count = usize::from(header.e_phnum);
    let context = Ctx::new(Container::Big, goblin::container::Endian::Little);
    let programs = ProgramHeader::parse(head, offset, count, context).map_err(refuse)?;
    let unwanted =
        |p: &ProgramHeader| p.p_type == PT_INTERP || (p.p_type == PT_GNU_STACK && p.p_flags & PF_X != 0);
    if programs.iter().any(unwanted) { Err(Errno::NOEXEC) } else { Ok(programs) }
}

fn segment(program: &ProgramHeader, base: u64, length: u64) -> Option<Segment> {
    let address = program.p_vaddr.checked_add(base)?;
    let page = address & !(PAGE.wrapping_sub(1));
    let end = address.checked_add(program.p_memsz)?.checked_next_multiple_of(PAGE)?;
    let in_file = program.p_offset.checked_add(program.p_filesz)? <= length;
    let aligned = program.p_align <= 1
        || program.p_align.is_power_of_two()
            && program.p_vaddr.wrapping_sub(program.p_offset) & program.p_align.wrapping_sub(1) == 0;
    let rights = rights(program.p_flags)?;
    let fits = program.p_filesz <= program.p_memsz && page >= LOWEST && end <= HIGHEST;
    (in_file && aligned && fits).then_some(Segment {
        page,
        length: end.wrapping_sub(page),
        rights,
        address,
        offset: program.p_offset,
        file_length: program.p_filesz,
        memory_length: program.p_memsz,
    })
}

fn rights(flags: u32) -> Option<u64> {
    match (flags & PF_W != 0, flags & PF_X != 0) {
        (true, true) => None,
        (true, false) => Some(map::READ | map::WRITE),
        (false, true) => Some(map::READ | map::EXECUTE),
        (false, false) => Some(map::READ),
    }
}

fn overlap(segments: &[Segment]) -> bool {
    segments
        .iter()
        .enumerate()
        .any(|(index, one)| segments.iter().take(index).any(|other| one.overlaps(other)))
}

fn headers_address(segments: &[Segment], header: &Header) -> Option<u64> {
    let bytes = u64::from(header.e_phnum).checked_mul(Plan::HEADER_BYTES)?;
    segments.iter().find_map(|segment| {
        let inside = header.e_phoff.checked_sub(segment.offset)?;
        let held = inside.checked_add(bytes)? <= segment.file_length;
        if held { segment.address.checked_add(inside) } else { None }
    })
}

#[cfg(test)]
#[path = "elf_tests.rs"]
mod tests;
