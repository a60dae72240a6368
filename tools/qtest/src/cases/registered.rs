//! Registered files and buffers, and groups of buffers, in the booted system.
#![forbid(unsafe_code)]

use super::tests;
use crate::guest::Guest;
use crate::on_ring::{Check, call, ends_with, gives, on_ring, same};
use crate::verdict::{Verdict, ensure, equal};
use alloc::vec;
use alloc::vec::Vec;
use bare::Ring;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Acquire, Release};
use posix::file::{close, write_all};
use posix::flags::{O_CREAT, O_RDONLY, O_RDWR};
use posix::open::open;
use ring_abi::context::{End, Reason};
use ring_abi::group::Descriptor;
use ring_abi::{CqeFlags, Errno, Sqe, SqeFlags, args};
use uring::Fd;
use uring::exec::join_all;
use uring::op::file::{At, read, write};
use uring::op::provided::BufferGroup;
use uring::op::registered::{FixedBuffer, FixedFile};

tests! {
    a_registered_file_is_read_after_its_handle_is_closed,
    registered_buffers_carry_bytes_both_ways,
    a_registered_buffer_is_filled_by_another_address_space,
    reads_choose_from_a_group_of_buffers,
    a_wrong_number_of_provided_buffers_ends_its_author_alone,
    a_provided_buffer_is_used_piece_by_piece,
}

fn a_registered_file_is_read_after_its_handle_is_closed(guest: &Guest) -> Verdict {
    let path = guest.folder()? + "/file";
    let fd = open(path.as_bytes(), O_RDWR | O_CREAT, 0o644)?;
    write_all(fd, b"what is kept")?;
    let fixed = FixedFile::register(fd)?;
    close(fd)?;
    let mut bytes = [0; 12];
    equal(read(fixed.fd(), bytes.as_mut_slice(), At::Offset(0)).wait().0, Ok(12))?;
    equal(&bytes, b"what is kept")?;
    let gone = fixed.fd();
    drop(fixed);
    equal(read(gone, bytes.as_mut_slice(), At::Offset(0)).wait().0, Err(Errno::BADF))
}

fn registered_buffers_carry_bytes_both_ways(guest: &Guest) -> Verdict {
    let path = guest.folder()? + "/file";
    let fd = open(path.as_bytes(), O_RDWR | O_CREAT, 0o644)?;
    // Pieces cross pages, and are longer than what is copied in a straight line.
    for (round, mut piece) in (1..).zip(FixedBuffer::register(vec![0; 10_000], 3000)?) {
        piece.fill(round);
        let length = piece.len();
        let (result, mut piece) = write(fd, piece, At::Offset(0)).wait();
        equal(result, Ok(length))?;
        piece.fill(0);
        let (result, piece) = read(fd, piece, At::Offset(0)).wait();
        equal(result, Ok(length))?;
        ensure(piece.iter().all(|byte| *byte == round), "other bytes came back")?;
    }
    Ok(close(fd)?)
}

fn a_registered_buffer_is_filled_by_another_address_space(_: &Guest) -> Verdict {
    let fd = open(b"/scheme/null/zero", O_RDONLY, 0)?;
    let fixed = FixedFile::register(fd)?;
    for length in [1, 16, 17, 512, 4096] {
        let piece = FixedBuffer::register(vec![0xee; 5000], length)?.into_iter().next_back();
        let Some(mut piece) = piece else { return ensure(false, "there is a piece") };
        for _ in 0..3 {
            let length = piece.len();
            let (result, back) = read(fixed.fd(), piece, At::Offset(0)).wait();
            piece = back;
            equal(result, Ok(length))?;
            ensure(piece.iter().all(|byte| *byte == 0), "zeros were read")?;
            piece.fill(0xee);
        }
    }
    Ok(close(fd)?)
}

fn reads_choose_from_a_group_of_buffers(guest: &Guest) -> Verdict {
    let path = guest.folder()? + "/file";
    let fd = open(path.as_bytes(), O_RDWR | O_CREAT, 0o644)?;
    let all: Vec<u8> = (0..40_u8).flat_map(|page| [page; 700]).collect();
    write_all(fd, &all)?;
    let group = BufferGroup::new(8, 700)?;
    for round in 0..5 {
        let reads: Vec<_> = (0..8).map(|at| group.read(fd, At::Offset((round * 8 + at) * 700))).collect();
        let done = uring::block_on(join_all(reads));
        for (at, read) in (round * 8..).zip(&done) {
            let bytes = read.as_deref().map_err(|error| *error)?;
            ensure(bytes.len() == 700, "a short read")?;
            ensure(bytes.iter().all(|byte| u64::from(*byte) == at), "bytes of another place")?;
        }
        // All are in use, and none is taken by a read that brings nothing.
        equal(group.read(fd, At::Offset(0)).wait().map(|_| ()), Err(Errno::NOBUFS))?;
        equal(group.read(fd, At::Offset(1 << 20)).wait().map(|read| read.len()), Ok(0))?;
    }
    Ok(close(fd)?)
}

/// Memory of a group with eight entries.
#[repr(align(64))]
struct Descriptors([AtomicU64; 24]);

impl Descriptors {
    const fn new() -> Descriptors {
        Descriptors([const { AtomicU64::new(0) }; 24])
    }

    /// Makes them group 1 of a ring.
    fn register(&'static self, ring: &Ring, size: u32, flags: u64) -> Check {
        let address = self.0.as_ptr().addr() as u64;
        call(1, ring, args::RegisterGroup { group: 1, address, entries: 8, size, flags }.encode(1), Ok(0))
    }

    /// Says how many are filled.
    fn fill(&self, tail: u64) {
        if let Some(first) = self.0.first() {
            first.store(tail, Release);
        }
    }
}

/// A read of a byte into a buffer of group 1.
fn select(fd: Fd) -> Sqe {
    let read = args::Read { fd: fd.0, buffer: 0, length: 1, offset: 0 }.encode(1);
    Sqe { group: 1, ..read.with_flags(SqeFlags::BUFFER_SELECT) }
}

fn a_wrong_number_of_provided_buffers_ends_its_author_alone(_: &Guest) -> Verdict {
    static MEMORY: Descriptors = Descriptors::new();
    let fd = open(b"/scheme/null/zero", O_RDONLY, 0)?;
    ends_with(End::Ended(Reason::CorruptRing), move |ring| {
        MEMORY.register(ring, 1, 0)?;
        MEMORY.fill(9);
        let _ = ring.call(select(fd));
        same(2, 0, 1)
    })?;
    let mut byte = [1];
    equal(read(fd, byte.as_mut_slice(), At::Offset(0)).wait().0, Ok(1))?;
    Ok(close(fd)?)
}

/// A read whose completion has these flags and names buffer 5.
fn named(ring: &Ring, fd: Fd, flags: CqeFlags) -> Check {
    match ring.complete(select(fd)) {
        Ok(cqe) => {
            gives(2, cqe.result(), Ok(1))?;
            same(3, u64::from(cqe.flags), u64::from(flags.bits()))?;
            same(4, u64::from(cqe.extra()), 5)
        }
        Err(error) => gives(5, Err(error), Ok(1)),
    }
}

fn a_provided_buffer_is_used_piece_by_piece(_: &Guest) -> Verdict {
    static MEMORY: Descriptors = Descriptors::new();
    static BYTES: [AtomicU64; 2] = [const { AtomicU64::new(u64::MAX) }; 2];
    let fd = open(b"/scheme/null/zero", O_RDONLY, 0)?;
    on_ring(move |ring| {
        MEMORY.register(ring, 1, args::group::INCREMENTAL)?;
        let address = BYTES.as_ptr().addr() as u64;
        let words = Descriptor { address, length: 9, id: 5 }.to_words();
        for (cell, word) in MEMORY.0.iter().skip(8).zip(words) {
            cell.store(word, Release);
        }
        MEMORY.fill(1);
        // Each read clears one byte more, the ninth is the last, and then there is none.
        for done in 1..=8_u64 {
            named(ring, fd, CqeFlags::BUFFER | CqeFlags::BUFFER_MORE)?;
            let rest = if done == 8 { 0 } else { u64::MAX << (8 * done) };
            same(6, BYTES.first().map_or(1, |word| word.load(Acquire)), rest)?;
        }
        named(ring, fd, CqeFlags::BUFFER)?;
        same(7, BYTES.last().map_or(1, |word| word.load(Acquire)), u64::MAX << 8)?;
        call(8, ring, select(fd), Err(Errno::NOBUFS))
    })?;
    Ok(close(fd)?)
}
