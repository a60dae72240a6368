//! Groups of buffers that reads choose from when their bytes come, so that many reads share few buffers.
//!
//! A [`BufferGroup`] is for whole buffers: a read ends with a [`Provided`], which derefs to its bytes and gives the buffer
//! back to the kernel when it is dropped. Giving back is a store; nothing enters the kernel for it. (Buffers that are used
//! piece by piece are for programs that take completions themselves: see [`ring_abi::args::RegisterGroup`].)
#![allow(unsafe_code, reason = "the kernel writes to the buffers of a group")]

use super::file::{At, Fd, done, number, plain};
use super::shape::sealed::Sealed;
use super::{Op, Operation};
use crate::ring::current::local;
use crate::ring::slots::Answer;
use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::{Cell, UnsafeCell};
use core::ops::Deref;
use core::slice;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Relaxed, Release};
use ring_abi::group::{Descriptor, MOST_ENTRIES};
use ring_abi::{CqeFlags, Errno, Opcode, Sqe, SqeFlags, args};

plain! {
    RegisterGroup -> () = done;
}

/// A line of the group's memory: the header, or four descriptors.
#[repr(align(64))]
#[derive(Debug, Default)]
struct Line([AtomicU64; 8]);

/// What the kernel and the buffers' holders share.
#[derive(Debug)]
struct Shared {
    id: u16,
    /// The header, then the descriptors.
    lines: Box<[Line]>,
    bytes: Box<[UnsafeCell<u8>]>,
    size: u32,
    /// Descriptors filled.
    tail: Cell<u32>,
    mask: u32,
}

impl Shared {
    /// Gives a buffer to the kernel.
    fn provide(&self, id: u16) {
        let tail = self.tail.get();
        let place = tail & self.mask;
        let start = usize::from(id).wrapping_mul(self.size as usize);
        let address = self.bytes.get(start..).unwrap_or_default().as_ptr().addr() as u64;
        let words = Descriptor { address, length: self.size, id }.to_words();
        let line = self.lines.get((place / 4).wrapping_add(1) as usize);
        let cells =
            line.into_iter().flat_map(|line| line.0.iter().skip((place % 4).wrapping_mul(2) as usize));
        for (cell, word) in cells.zip(words) {
            cell.store(word, Relaxed);
        }
        self.tail.set(tail.wrapping_add(1));
        if let Some([first, ..]) = self.lines.first().map(|line| &line.0) {
            first.store(u64::from(self.tail.get()), Release);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let gone = args::RegisterGroup { group: self.id.into(), address: 0, entries: 0, size: 0, flags: 0 };
        local().forget(gone.encode(0));
        local().groups.give(self.id.into());
    }
}

/// Buffers that the reads of this thread choose from.
///
/// Like registered files and buffers it belongs to the ring that the thread had when it was made.
#[derive(Debug)]
pub struct BufferGroup {
    shared: Rc<Shared>,
}

impl BufferGroup {
    /// Makes a group of so many buffers (a power of two up to 4,096) of `size` bytes (at most 65,536).
    pub fn new(count: u16, size: u32) -> Result<BufferGroup, Errno> {
        let entries = u32::from(count);
        if !count.is_power_of_two() || entries > MOST_ENTRIES || size == 0 {
            return Err(Errno::INVAL);
        }
        let id = local().groups.take().ok_or(Errno::NFILE)?;
        let bytes = (entries as usize).checked_mul(size as usize).ok_or(Errno::NOMEM)?;
        // It gives the id back if the group cannot be made.
        let shared = Shared {
            id: id as u16,
            lines: (0..entries.div_ceil(4).wrapping_add(1)).map(|_| Line::default()).collect(),
            bytes: (0..bytes).map(|_| UnsafeCell::new(0)).collect(),
            size,
            tail: Cell::new(0),
            mask: entries.wrapping_sub(1),
        };
        let address = shared.lines.as_ptr().addr() as u64;
        Op::new(args::RegisterGroup { group: id, address, entries, size, flags: 0 }).wait()?;
        (0..count).for_each(|id| shared.provide(id));
        Ok(BufferGroup { shared: Rc::new(shared) })
    }

    /// Reads as much as a buffer takes, into whichever buffer is free when the bytes come. `NOBUFS` if none is.
    pub fn read(&self, fd: Fd, at: At) -> Op<ReadProvided> {
        Op::new(ReadProvided { shared: self.shared.clone(), fd, at })
    }
}

/// A read that chooses its buffer.
#[derive(Debug)]
pub struct ReadProvided {
    shared: Rc<Shared>,
    fd: Fd,
    at: At,
}

impl Sealed for ReadProvided {}

impl Operation for ReadProvided {
    type Output = Result<Provided, Errno>;
    const OPCODE: Opcode = Opcode::Read;
    const NEEDS_EXTRA: bool = true;

    #[inline(always)]
    fn entry(&mut self) -> Sqe {
        let read = args::Read { fd: self.fd.0, buffer: 0, length: 0, offset: self.at.word() };
        Sqe { group: self.shared.id, ..read.encode(0).with_flags(SqeFlags::BUFFER_SELECT) }
    }

    #[inline(always)]
    fn finish(self, answer: Answer) -> Self::Output {
        let flags = CqeFlags::from_bits_truncate(answer.head as u8);
        let id = flags.contains(CqeFlags::BUFFER).then_some(answer.extra() as u16);
        // Whatever the result is, a buffer that is named was taken.
        let mut taken = Provided { shared: self.shared, id, length: 0 };
        taken.length = number(answer)? as usize;
        Ok(taken)
    }
}

/// The bytes of a read, in a buffer of its group. Dropping it gives the buffer back.
#[derive(Debug)]
pub struct Provided {
    shared: Rc<Shared>,
    /// `None` where nothing came.
    id: Option<u16>,
    length: usize,
}

impl Deref for Provided {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        let size = self.shared.size as usize;
        let Some(start) = self.id.map(|id| usize::from(id).wrapping_mul(size)) else { return &[] };
        let cells = self.shared.bytes.get(start..).unwrap_or_default();
        let length = self.length.min(size).min(cells.len());
        // SAFETY: the kernel gave this buffer away, and nobody else has it until it is provided again.
        unsafe { slice::from_raw_parts(UnsafeCell::raw_get(cells.as_ptr()), length) }
    }
}

impl Drop for Provided {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.shared.provide(id);
        }
    }
}
