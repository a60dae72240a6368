//! A program with much text, of which it runs little: what starting a large program costs is measured with it.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use goblin::elf::program_header::{PF_R, PF_X, PT_LOAD, PT_PHDR};

/// Bytes of text that are added: 50 MiB.
const TEXT: usize = 50 << 20;
/// Where they go, far from the program's own segments.
const ADDRESS: u64 = 0x4000_0000;
const PAGE: usize = 4096;
/// Bytes of an ELF file's header and of one program header (System V ABI, ELF-64).
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;

/// The same program with a segment of text behind its others, every page of it different. The header that says where the headers
/// are, which a static program does not need, says where that is.
pub(crate) fn of(program: &Path) -> Result<Vec<u8>> {
    let small = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    enlarge(small)
}

fn enlarge(mut file: Vec<u8>) -> Result<Vec<u8>> {
    let first = file.get(HEADER..HEADER + PROGRAM_HEADER).context("the program is too short")?;
    ensure!(
        first.starts_with(&PT_PHDR.to_le_bytes()),
        "the program's first header is not that of its headers"
    );
    file.resize(file.len().next_multiple_of(PAGE), 0);
    let (offset, length) = (file.len() as u64, TEXT as u64);
    let words = [offset, ADDRESS, ADDRESS, length, length, PAGE as u64];
    let header = [PT_LOAD, PF_R | PF_X].map(u32::to_le_bytes).concat();
    let header = [header, words.map(u64::to_le_bytes).concat()].concat();
    file[HEADER..HEADER + PROGRAM_HEADER].copy_from_slice(&header);
    file.extend((0..TEXT / PAGE).flat_map(|page| {
        let mut bytes = [0xcc; PAGE]; // int3
        bytes[..8].copy_from_slice(&(page as u64).to_le_bytes());
        bytes
    }));
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_a_segment_of_its_own() {
        let mut file = vec![0; HEADER + PROGRAM_HEADER + 100];
        file[HEADER..HEADER + 4].copy_from_slice(&PT_PHDR.to_le_bytes());
        let large = enlarge(file).unwrap();
        assert_eq!(large.len(), PAGE + TEXT);
        assert_eq!(&large[HEADER..HEADER + 8], [1, 0, 0, 0, 5, 0, 0, 0]);
        assert!(enlarge(vec![0; 500]).is_err());
    }
}
