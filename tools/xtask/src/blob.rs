//! The ramdisk: one run of bytes with bootstrap's segments and the initfs, as `ring_abi::boot` describes it.
//!
//! The kernel knows neither ELF nor the initfs, so this is where bootstrap's ELF file is read for the last time. The
//! initfs is one more segment, read-only, behind bootstrap's; its address and length are the two arguments that the
//! entry gets.

use anyhow::{Context as _, Result, bail, ensure};
use goblin::elf::Elf;
use goblin::elf::header::ET_EXEC;
use goblin::elf::program_header::{PF_R, PF_W, PF_X, PT_INTERP, PT_LOAD, ProgramHeader};
use ring_abi::boot::{HEADER_BYTES, Header, MAX_SEGMENTS, Segment, SegmentRights};

const PAGE: u64 = 4096;
/// The initfs begins at a multiple of this, well behind what bootstrap may grow to.
const INITFS_ALIGN: u64 = 2 << 20;

/// Makes the blob out of bootstrap's ELF file and an initfs image.
pub(crate) fn make(bootstrap: &[u8], initfs: &[u8]) -> Result<Vec<u8>> {
    let elf = Elf::parse(bootstrap).context("bootstrap is no ELF file")?;
    ensure!(
        elf.is_64 && elf.header.e_type == ET_EXEC,
        "bootstrap must be a static 64-bit executable at a fixed address"
    );
    ensure!(
        !elf.program_headers.iter().any(|part| part.p_type == PT_INTERP),
        "bootstrap must be linked statically"
    );
    let mut blob = vec![0; HEADER_BYTES];
    let mut segments = Vec::new();
    for part in elf.program_headers.iter().filter(|part| part.p_type == PT_LOAD && part.p_memsz > 0) {
        segments.push(add_part(&mut blob, bootstrap, part)?);
    }
    let end = segments.iter().map(|segment| segment.address + segment.memory_length).max().unwrap_or(PAGE);
    let address = end.next_multiple_of(INITFS_ALIGN);
    let image = Segment { address, ..add_bytes(&mut blob, initfs, 0, SegmentRights::Read) };
    segments.push(image);
    seal(blob, elf.entry, &segments, [address, initfs.len() as u64])
}

/// Appends one loadable part of an ELF file, from the start of its first page on.
fn add_part(blob: &mut Vec<u8>, file: &[u8], part: &ProgramHeader) -> Result<Segment> {
    let lead = part.p_vaddr % PAGE;
    let bytes = file.get(part.file_range()).context("bootstrap's ELF file is cut off")?;
    let rights = match part.p_flags & (PF_R | PF_W | PF_X) {
        flags if flags & (PF_W | PF_X) == PF_W | PF_X => {
            bail!("bootstrap has a segment that is writable and executable: check its linker arguments")
        }
        flags if flags & PF_W != 0 => SegmentRights::ReadWrite,
        flags if flags & PF_X != 0 => SegmentRights::ReadExecute,
        _ => SegmentRights::Read,
    };
    let segment = add_bytes(blob, bytes, lead, rights);
    Ok(Segment { address: part.p_vaddr - lead, memory_length: lead + part.p_memsz, ..segment })
}

/// Appends `bytes` on a page of their own, `lead` bytes into it. The address is the caller's to set.
fn add_bytes(blob: &mut Vec<u8>, bytes: &[u8], lead: u64, rights: SegmentRights) -> Segment {
    let offset = blob.len() as u64;
    blob.resize(blob.len() + lead as usize, 0);
    blob.extend_from_slice(bytes);
    blob.resize(blob.len().next_multiple_of(PAGE as usize), 0);
    let length = lead + bytes.len() as u64;
    Segment { offset, address: 0, file_length: length, memory_length: length, rights }
}

/// Writes the header, and reads it back as the kernel will.
fn seal(mut blob: Vec<u8>, entry: u64, parts: &[Segment], arguments: [u64; 2]) -> Result<Vec<u8>> {
    ensure!(parts.len() <= MAX_SEGMENTS, "bootstrap has {} segments, at most 7 fit", parts.len() - 1);
    let mut segments =
        [Segment { offset: 0, address: 0, file_length: 0, memory_length: 0, rights: SegmentRights::Read };
            MAX_SEGMENTS];
    segments[..parts.len()].copy_from_slice(parts);
    let header = Header { entry, arguments, length: blob.len() as u64, count: parts.len(), segments };
    for (place, word) in blob.chunks_exact_mut(8).zip(header.encode()) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    match decode(&blob) {
        Ok(read) if read.segments() == parts => Ok(blob),
        Ok(_) => bail!("the ramdisk's header does not read as it was written"),
        Err(reason) => bail!("the kernel would refuse this ramdisk: {reason:?}"),
    }
}

/// Reads a blob's header.
fn decode(blob: &[u8]) -> Result<Header, ring_abi::boot::BadBlob> {
    let word = |index: usize| {
        let bytes = blob.get(index * 8..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    };
    Header::decode(blob.len() as u64, word)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hand-made ELF file: one part of code at 0x10080 and one of data with zeroes behind it.
    fn elf(code_flags: u32) -> Vec<u8> {
        let mut file = vec![0; 0x400];
        file[..8].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0]);
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(16, &[2, 0, 62, 0, 1, 0, 0, 0]);
        put(24, &0x10084u64.to_le_bytes());
        put(32, &64u64.to_le_bytes());
        put(52, &[64, 0, 56, 0, 2, 0, 64, 0]);
        let parts =
            [(code_flags, 0x80u64, 0x1_0080u64, 0x100u64, 0x100u64), (6, 0x200, 0x1_2000, 0x10, 0x3000)];
        for (index, (flags, offset, address, length, memory)) in parts.into_iter().enumerate() {
            let at = 64 + index * 56;
            put(at, &1u32.to_le_bytes());
            put(at + 4, &flags.to_le_bytes());
            for (field, value) in [(8, offset), (16, address), (24, address), (32, length), (40, memory)] {
                put(at + field, &value.to_le_bytes());
            }
        }
        put(0x200, b"data");
        file
    }

    #[test]
    fn segments_are_page_aligned_and_the_initfs_comes_last() {
        let blob = make(&elf(5), b"initfs").unwrap();
        let header = decode(&blob).unwrap();
        let [code, data, image] = header.segments() else { panic!("three segments") };
        assert_eq!((code.address, code.memory_length), (0x1_0000, 0x180));
        assert_eq!((data.address, data.file_length, data.memory_length), (0x1_2000, 0x10, 0x3000));
        assert_eq!(&blob[data.offset as usize..][..4], b"data");
        assert_eq!((image.address, image.file_length), (INITFS_ALIGN, 6));
        assert_eq!(&blob[image.offset as usize..][..6], b"initfs");
        assert_eq!(header.arguments, [INITFS_ALIGN, 6]);
        assert_eq!(header.entry, 0x10084);
        assert!(header.segments().iter().all(|segment| segment.offset % 4096 == 0));
    }

    #[test]
    fn writing_and_executing_together_is_refused() {
        assert!(make(&elf(7), b"x").unwrap_err().to_string().contains("writable and executable"));
    }

    #[test]
    fn an_entry_outside_the_code_is_refused() {
        assert!(make(&elf(4), b"x").unwrap_err().to_string().contains("Entry"));
    }

    #[test]
    fn what_is_no_elf_file_is_refused() {
        assert!(make(b"MZ", b"").is_err());
    }
}
