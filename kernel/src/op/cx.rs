//! One submission's view of the system: who asks, through which ring, with which handles.
//!
//! It is made anew for each submission and handed on by value, so that on the fast path it stays in registers.
#![forbid(unsafe_code)]

use super::inflight::Op;
use super::state::State;
use crate::base::budget::Budget;
use crate::base::{NONE, is_none};
use crate::context::context::Context;
use crate::context::file::{File, Kind};
use crate::context::handles::{Place, Table};
use crate::mem::space::Space;
use crate::ring::duplex::Ring;
use ring_abi::Errno;

/// A submission's view of the system.
#[derive(Clone, Copy)]
pub struct Cx<'a> {
    /// Everything.
    pub s: &'a State,
    /// The ring that was entered.
    pub ring_id: u32,
    /// The same.
    pub ring: &'a Ring,
    /// The context that asks.
    pub context_id: u32,
    /// The same.
    pub context: &'a Context,
    /// What this step may still do.
    pub budget: &'a Budget,
    /// The submission's tag.
    pub tag: u32,
    /// The reserved number of the handle that it makes, plus one; or zero.
    pub slot: u16,
}

impl<'a> Cx<'a> {
    /// The view of a submission to a ring.
    pub fn new(s: &'a State, ring: &'a Ring, tag: u32) -> Cx<'a> {
        let context_id = ring.owner.get();
        let context = s.contexts.at(context_id);
        Cx { s, ring_id: ring.id.get(), ring, context_id, context, budget: &s.memory.budget, tag, slot: 0 }
    }

    /// The asker's address space.
    #[inline(always)]
    pub fn space(&self) -> &'a Space {
        self.s.memory.space(self.context.space.get())
    }

    /// The asker's handle table.
    #[inline(always)]
    pub fn table(&self) -> &'a Table {
        self.s.tables.at(self.context.table.get())
    }

    /// The file under a handle, or in the slot of the ring that it names: its name and itself.
    #[inline(always)]
    pub fn file(&self, fd: u64) -> Result<(u32, &'a File), Errno> {
        let id = match self.table().file(&self.s.chunks, fd) {
            Ok(id) => id,
            Err(_) => super::registered::file(self.s, self.ring, fd)?,
        };
        Ok((id, self.s.files.at(id)))
    }

    /// The object of a handle that must lead to a certain kind. `EBADF` if it leads elsewhere.
    pub fn object(&self, fd: u64, kind: Kind) -> Result<u32, Errno> {
        let (_, file) = self.file(fd)?;
        if file.kind.get() == kind { Ok(file.object.get()) } else { Err(Errno::BADF) }
    }

    /// The handle that the submission named, or the lowest free one, with memory behind it.
    pub fn vacant(&self) -> Result<Place, Errno> {
        self.s.vacant_for(self.slot, self.table())
    }

    /// Puts a file, held for it, under a free handle; returns the handle.
    pub fn put(&self, place: Place, file: u32, flags: u32) -> u64 {
        let before = self.table().put(&self.s.chunks, place, file, flags);
        debug_assert_eq!(before, NONE, "the place was vacant");
        u64::from(place.number())
    }

    /// Opens a file that leads to an object, under the lowest free handle; returns the handle.
    /// Checks memory first, so an error leaves everything as it was.
    pub fn open(&self, kind: Kind, object: u32, id: u64) -> Result<u64, Errno> {
        let place = self.vacant()?;
        let file = self.s.files.take(&self.s.memory)?;
        self.s.files.at(file).open(kind, object, id);
        Ok(self.put(place, file, 0))
    }

    /// Starts an operation that waits; see [`State::start_op`].
    #[inline(always)]
    pub fn start_op(&self, opcode: ring_abi::Opcode) -> Result<u32, Errno> {
        Ok(self.start(opcode)?.0)
    }

    /// The same; its name and itself.
    #[inline(always)]
    pub fn start(&self, opcode: ring_abi::Opcode) -> Result<(u32, &'a Op), Errno> {
        let held = self.s.held.get();
        if !is_none(held) {
            self.s.held.set(NONE);
            return Ok((held, self.s.start_held(held, opcode)));
        }
        self.s.start_op(self.ring, self.tag, opcode)
    }
}
