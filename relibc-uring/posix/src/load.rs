//! Loading: a program's file into a fresh address space, with its first stack.
//!
//! The new space is built beside the running one, so whatever goes wrong leaves everything as it was. Segments are mapped from the
//! file, so that their pages come with their first use and are the same for all who run the program; what cannot be mapped is
//! copied.
#![allow(unsafe_code, reason = "mapping and writing are `unsafe fn` for the sake of the own space")]

use crate::elf::{FLOATING_BASE, HEAD_BYTES, Mapped, Plan, Segment};
use crate::file;
use crate::process::Inheritance;
use crate::stack::{self, Auxiliary, Contents, auxv};
use alloc::vec::Vec;
use ring_abi::Errno;
use ring_abi::args::map;
use uring::op::memory::Place;
use uring::op::{self, Fd};

/// End of the first stack of a program whose image is not low.
const HIGH_STACK_TOP: u64 = 0x7000_0000_0000;
/// Stacks that end by here are low: the kernel places what may lie anywhere above all that was mapped there by address, so
/// what is left empty in between stays empty.
const LOW: u64 = FLOATING_BASE;
/// Bytes of a program's first stack. It grows by itself: a page of it takes memory when it is touched. Linux has the same limit.
pub const STACK_BYTES: u64 = 8 << 20;
/// Bytes below it that stay empty, so that a stack that overflows ends its program.
const GUARD_BYTES: u64 = 4096;
/// Bytes that arguments and environment may take of it.
const MOST_ARGUMENTS: usize = (STACK_BYTES / 4) as usize;
/// What is written behind the end of a segment's bytes in its last page.
static ZEROS: [u8; 4096] = [0; 4096];
/// Bytes that are copied at a time.
const COPY_BYTES: usize = 64 << 10;

/// Where a program's bytes come from.
#[derive(Clone, Copy, Debug)]
pub enum Program<'a> {
    /// An open file.
    File(Fd),
    /// Memory.
    Bytes(&'a [u8]),
}

/// What a program is told at its start.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// Its path.
    pub path: &'a [u8],
    /// Arguments, the program's own name first.
    pub arguments: &'a [&'a [u8]],
    /// Environment, `NAME=value` each.
    pub environment: &'a [&'a [u8]],
    /// Current directory and the like.
    pub inheritance: &'a Inheritance,
}

/// A program in an address space that no context uses yet.
#[derive(Debug)]
pub struct Loaded {
    /// The address space.
    pub space: Fd,
    /// First instruction.
    pub entry: u64,
    /// Stack pointer.
    pub stack: u64,
}

/// The first bytes of a program, and how long it is.
#[derive(Debug)]
pub struct Head {
    /// As many as a [`Plan`] needs, or all there are.
    pub bytes: Vec<u8>,
    /// Bytes of the program.
    pub length: u64,
}

/// Loads a program, whose head was read. `ENOEXEC` if it is none.
pub fn load(program: Program<'_>, head: &Head, start: &Start<'_>) -> Result<Loaded, Errno> {
    let plan = Plan::new(&head.bytes, head.length)?;
    let top = stack_top(&plan);
    let image = stack_image(&plan, start, top)?;
    let space = op::memory::space_create().wait()?;
    match fill(space, program, &plan, top, &image) {
        Ok(()) => Ok(Loaded { space, entry: plan.entry, stack: image.pointer }),
        Err(error) => file::close(space).and(Err(error)),
    }
}

/// Where the first stack of a program ends: right above a low image, so that image, stack and what the kernel places above
/// them share page tables. Nobody else knows the place; to randomise it is to answer differently here.
fn stack_top(plan: &Plan) -> u64 {
    let above = plan.end().saturating_add(GUARD_BYTES).saturating_add(STACK_BYTES);
    if above <= LOW { above } else { HIGH_STACK_TOP }
}

impl Program<'_> {
    /// Reads its head.
    pub fn head(self) -> Result<Head, Errno> {
        match self {
            Program::Bytes(bytes) => {
                let head = bytes.get(..HEAD_BYTES).unwrap_or(bytes);
                Ok(Head { bytes: Vec::from(head), length: bytes.len() as u64 })
            }
            Program::File(fd) => {
                let length = op::file::fsize(fd).wait()?;
                let mut bytes = alloc::vec![0; HEAD_BYTES.min(usize::try_from(length).unwrap_or(HEAD_BYTES))];
                read_exactly(fd, &mut bytes, 0)?;
                Ok(Head { bytes, length })
            }
        }
    }
}

fn stack_image(plan: &Plan, start: &Start<'_>, top: u64) -> Result<stack::Image, Errno> {
    let home = start.inheritance;
    let (directory, scheme) = (home.directory.as_str().as_bytes(), home.default_scheme.as_bytes());
    let mut auxiliary = Vec::from([
        Auxiliary::Number(auxv::PAGESZ, 4096),
        Auxiliary::Number(auxv::ENTRY, plan.entry),
        Auxiliary::Number(auxv::BASE, plan.base),
        Auxiliary::Text(auxv::EXECFN, start.path),
        Auxiliary::Text(auxv::CWD_POINTER, directory),
        Auxiliary::Number(auxv::CWD_LENGTH, directory.len() as u64),
        Auxiliary::Text(auxv::DEFAULT_SCHEME_POINTER, scheme),
        Auxiliary::Number(auxv::DEFAULT_SCHEME_LENGTH, scheme.len() as u64),
        Auxiliary::Number(auxv::UMASK, u64::from(home.umask)),
    ]);
    if let Some(address) = plan.headers {
        auxiliary.push(Auxiliary::Number(auxv::PHDR, address));
        auxiliary.push(Auxiliary::Number(auxv::PHENT, Plan::HEADER_BYTES));
        auxiliary.push(Auxiliary::Number(auxv::PHNUM, plan.header_count));
    }
    let handles = [(auxv::PROC_FD, home.proc), (auxv::NS_FD, home.namespace)];
    auxiliary.extend(handles.into_iter().filter_map(|(key, fd)| Some(Auxiliary::Number(key, fd?.0))));
    let contents =
        Contents { arguments: start.arguments, environment: start.environment, auxiliary: &auxiliary };
    stack::build(top, MOST_ARGUMENTS, &contents)
}

fn fill(space: Fd, program: Program<'_>, plan: &Plan, top: u64, image: &stack::Image) -> Result<(), Errno> {
    for segment in &plan.segments {
        match map_segment(space, program, segment) {
            // Its daemon maps no files, or the file is not laid out like pages.
            Err(Errno::NODEV) => {
                map_pages(space, segment.page, segment.length, segment.rights)?;
                fill_segment(space, program, segment)?;
            }
            mapped => mapped?,
        }
    }
    let bottom = top.wrapping_sub(STACK_BYTES);
    map_pages(space, bottom, STACK_BYTES, map::READ | map::WRITE)?;
    copy(space, image.pointer, &image.bytes)
}

/// Maps a segment's pages, those that the file has from the file. `ENODEV` if that cannot be, and then nothing is mapped.
fn map_segment(space: Fd, program: Program<'_>, segment: &Segment) -> Result<(), Errno> {
    let Program::File(file) = program else { return Err(Errno::NODEV) };
    let Some(Mapped { offset, length, zeros }) = segment.mapped() else { return Err(Errno::NODEV) };
    if length > 0 {
        let flags = segment.rights | map::PRIVATE | map::FIXED_NOREPLACE;
        let at = Place { space, address: segment.page, length, flags };
        // SAFETY: the space is a fresh one, not our own.
        unsafe { op::memory::map_file(file, offset, at) }.wait()?;
    }
    if length < segment.length {
        let above = segment.page.wrapping_add(length);
        map_pages(space, above, segment.length.wrapping_sub(length), segment.rights)?;
    }
    let end = segment.address.wrapping_add(segment.file_length);
    if zeros > 0 { copy(space, end, ZEROS.get(..zeros).ok_or(Errno::NOEXEC)?) } else { Ok(()) }
}

fn map_pages(space: Fd, address: u64, length: u64, rights: u64) -> Result<(), Errno> {
    let flags = rights | map::PRIVATE | map::FIXED_NOREPLACE;
    // SAFETY: the space is a fresh one, not our own.
    unsafe { op::memory::map_in(space, address, length, flags) }.wait().map(|_| ())
}

fn copy(space: Fd, target: u64, bytes: &[u8]) -> Result<(), Errno> {
    // SAFETY: the space is a fresh one, not our own.
    unsafe { op::memory::space_write(space, target, bytes) }.wait().0
}

fn fill_segment(space: Fd, program: Program<'_>, segment: &Segment) -> Result<(), Errno> {
    let length = usize::try_from(segment.file_length).map_err(|_| Errno::NOMEM)?;
    let start = usize::try_from(segment.offset).map_err(|_| Errno::NOEXEC)?;
    match program {
        Program::Bytes(bytes) => {
            let end = start.checked_add(length).ok_or(Errno::NOEXEC)?;
            copy(space, segment.address, bytes.get(start..end).ok_or(Errno::NOEXEC)?)
        }
        Program::File(fd) => {
            let mut buffer = alloc::vec![0; length.min(COPY_BYTES)];
            let mut done = 0;
            while done < segment.file_length {
                let left = usize::try_from(segment.file_length.wrapping_sub(done)).unwrap_or(COPY_BYTES);
                let piece = buffer.get_mut(..left.min(COPY_BYTES)).ok_or(Errno::IO)?;
                read_exactly(fd, piece, segment.offset.wrapping_add(done))?;
                copy(space, segment.address.wrapping_add(done), piece)?;
                done = done.wrapping_add(piece.len() as u64);
            }
            Ok(())
        }
    }
}

/// Fills the whole buffer; `ENOEXEC` if the file ends before.
fn read_exactly(fd: Fd, mut buffer: &mut [u8], mut offset: u64) -> Result<(), Errno> {
    while !buffer.is_empty() {
        let count = file::pread(fd, buffer, offset)?;
        if count == 0 {
            return Err(Errno::NOEXEC);
        }
        offset = offset.wrapping_add(count as u64);
        buffer = buffer.get_mut(count..).ok_or(Errno::IO)?;
    }
    Ok(())
}
