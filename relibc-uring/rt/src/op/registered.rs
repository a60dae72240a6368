//! Registered files and buffers: what this thread's ring knows by a number of its own.
//!
//! A [`FixedFile`] is a file that stays open apart from any handle, and is named where a handle is. A [`FixedBuffer`] is a
//! piece of memory that the kernel has looked up once, and is lent where any buffer is: to reads, writes and other
//! operations that a daemon serves (but not as a path to open or to remove, nor to files that the kernel serves: those end
//! with `FAULT`). Both belong to the thread that made them; after it has gone on with another ring, in a fork's
//! child, or after an exec, operations that name them fail.
#![allow(unsafe_code, reason = "a registered piece of memory can be lent to the kernel")]

use super::file::{Fd, done, number, plain};
use super::shape::sealed::Sealed;
use super::{Op, Operation};
use crate::ring::current::local;
use crate::ring::slots::Answer;
use crate::ring::{IoBuf, IoBufMut};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::slice;
use ring_abi::registered::{self, NO_FILE};
use ring_abi::{Errno, Opcode, Sqe, args};

plain! {
    RegisterFiles -> u64 = number;
    RegisterBuffer -> () = done;
}

/// A file in a slot of this thread's ring.
#[derive(Debug)]
pub struct FixedFile {
    slot: u32,
    /// It belongs to this thread.
    of_thread: PhantomData<*const ()>,
}

impl FixedFile {
    /// Registers the file that a handle leads to. The handle can be closed afterwards.
    pub fn register(fd: Fd) -> Result<FixedFile, Errno> {
        let slot = local().fixed_files.take().ok_or(Errno::MFILE)?;
        // It gives the number back if the file cannot be registered.
        let file = FixedFile { slot, of_thread: PhantomData };
        file.replace(fd)?;
        Ok(file)
    }

    /// Puts another file into the slot. Operations in flight keep the one that they started with.
    pub fn replace(&self, fd: Fd) -> Result<(), Errno> {
        let list = fd.0.to_le_bytes();
        if fd.0 == NO_FILE {
            return Err(Errno::BADF);
        }
        let register = args::RegisterFiles { slot: self.slot, buffer: list.as_ptr().addr() as u64, count: 1 };
        Op::new(register).wait().map(|_| ())
    }

    /// What names it in place of a handle, in this thread and while it lives.
    pub fn fd(&self) -> Fd {
        Fd(registered::file(self.slot))
    }
}

impl Drop for FixedFile {
    fn drop(&mut self) {
        let empty = args::RegisterFiles { slot: self.slot, buffer: 0, count: 1 };
        local().forget(empty.encode(0));
        local().fixed_files.give(self.slot);
    }
}

/// Registered memory, of which there are pieces.
#[derive(Debug)]
struct Memory {
    slot: u32,
    bytes: Box<[UnsafeCell<u8>]>,
}

impl Drop for Memory {
    fn drop(&mut self) {
        let empty = args::RegisterBuffer { slot: self.slot, address: 0, length: 0 };
        local().forget(empty.encode(0));
        local().fixed_buffers.give(self.slot);
    }
}

/// A piece of registered memory. The memory is given back with its last piece.
#[derive(Debug)]
pub struct FixedBuffer {
    memory: Rc<Memory>,
    offset: u32,
    length: usize,
}

impl FixedBuffer {
    /// Registers memory and cuts it into pieces of so many bytes; the last one may be shorter.
    pub fn register(bytes: Vec<u8>, piece: usize) -> Result<Vec<FixedBuffer>, Errno> {
        let length = u32::try_from(bytes.len()).map_err(|_| Errno::INVAL)?;
        if piece == 0 {
            return Err(Errno::INVAL);
        }
        let slot = local().fixed_buffers.take().ok_or(Errno::NOMEM)?;
        // It gives the number back if the memory cannot be registered.
        let memory = Memory { slot, bytes: bytes.into_iter().map(UnsafeCell::new).collect() };
        let address = memory.bytes.as_ptr().addr() as u64;
        Op::new(args::RegisterBuffer { slot, address, length: u64::from(length) }).wait()?;
        let memory = Rc::new(memory);
        let starts = (0..length).step_by(piece);
        let cut = |offset: u32| {
            let length = piece.min((length as usize).saturating_sub(offset as usize));
            FixedBuffer { memory: memory.clone(), offset, length }
        };
        Ok(starts.map(cut).collect())
    }

    /// Its bytes: the pieces of one memory do not overlap.
    fn start(&self) -> *mut u8 {
        let cells = self.memory.bytes.get(self.offset as usize..).unwrap_or_default();
        UnsafeCell::raw_get(cells.as_ptr())
    }
}

impl Deref for FixedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the bytes from `offset` on belong to this piece alone, and live as long as it has the memory.
        unsafe { slice::from_raw_parts(self.start(), self.length) }
    }
}

impl DerefMut for FixedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and the piece is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.start(), self.length) }
    }
}

// SAFETY: the bytes live on the heap as long as the piece, wherever that moves.
unsafe impl IoBuf for FixedBuffer {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn name(&self) -> u64 {
        registered::buffer(self.memory.slot, self.offset)
    }
}

// SAFETY: as for the piece itself, which stays where it is while it is borrowed.
unsafe impl IoBuf for &mut FixedBuffer {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn name(&self) -> u64 {
        (**self).name()
    }
}

// SAFETY: an exclusive borrow is the only way to the piece.
unsafe impl IoBufMut for &mut FixedBuffer {
    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}

// SAFETY: as above; no two pieces overlap.
unsafe impl IoBufMut for FixedBuffer {
    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}
