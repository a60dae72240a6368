//! `RegisterFiles`, `RegisterBuffer`: what operations of a ring name by its slot instead of a handle or an address.
//!
//! Registered files lie in a handle table that belongs to the ring alone, registered buffers are pins. Nothing here is on
//! the way of an operation that names a handle and an address: a slot's name is found where those end as errors.
//! An operation holds the file that it started with, and looks into the slot of its buffer whenever bytes move.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::state::State;
use super::{OpResult, Outcome, memory, page_in, provided};
use crate::arch::UserPtr;
use crate::base::NONE;
use crate::base::budget::{Budget, ENTRY};
use crate::context::file::Kind;
use crate::context::handles::Table;
use crate::mem::Run;
use crate::mem::pin::Pin;
use crate::mem::user::{self, UserRange};
use crate::ring::duplex::Ring;
use crate::ring::outfit::Outfit;
use ring_abi::args::{RegisterBuffer, RegisterFiles};
use ring_abi::registered::{MOST_FILES, NO_FILE, REGISTERED, buffer_slot, file_slot};
use ring_abi::{Errno, Opcode, Words};

/// What a ring was fitted out with; it gets an empty outfit if it has none.
pub(super) fn outfit<'a>(cx: &Cx<'a>) -> Result<&'a Outfit, Errno> {
    let s = cx.s;
    if cx.ring.outfit.get() == NONE {
        let id = s.outfits.take(&s.memory)?;
        s.outfits.at(id).files.set(NONE);
        cx.ring.outfit.set(id);
    }
    Ok(s.outfits.at(cx.ring.outfit.get()))
}

/// A ring ends: what it was fitted out with goes. Nothing here is long: what may be, is left to slices.
pub fn strip(s: &State, ring: &Ring) {
    let id = ring.outfit.replace(NONE);
    let Some(outfit) = s.outfits.get(id) else { return };
    let files = outfit.files.get();
    if files != NONE {
        s.release_table(files);
    }
    for cell in &outfit.buffers {
        empty(s, cell.replace(NONE));
    }
    for cell in &outfit.groups {
        provided::end(s, cell.replace(NONE));
    }
    s.step.rearm();
    s.outfits.give(id);
}

/// Lets a pin go, if it is one.
pub(super) fn empty(s: &State, pin: u32) {
    if pin != NONE {
        s.memory.let_go_pin(pin);
        s.step.rearm();
    }
}

/// Fills or empties slots of files: as many as the budget allows, but at least one.
pub fn files(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = RegisterFiles::decode(entry)?;
    let end = args.slot.checked_add(args.count).filter(|&end| end <= MOST_FILES).ok_or(Errno::INVAL)?;
    if args.count == 0 {
        return Err(Errno::INVAL);
    }
    let table = file_table(cx)?;
    let mut done = 0_u64;
    for slot in args.slot..end {
        if done > 0 && !cx.budget.spend(ENTRY) {
            break;
        }
        match set_file(cx, table, slot, args.buffer, done) {
            Ok(()) => done = done.wrapping_add(1),
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(Outcome::Done(done))
}

/// The ring's table of files; it gets one if it has none.
fn file_table<'a>(cx: &Cx<'a>) -> Result<&'a Table, Errno> {
    let s = cx.s;
    let outfit = outfit(cx)?;
    if outfit.files.get() == NONE {
        let id = s.tables.take(&s.memory)?;
        s.tables.at(id).refs.set(1);
        outfit.files.set(id);
    }
    Ok(s.tables.at(outfit.files.get()))
}

/// Fills or empties one slot of files, as the `index`th handle of a list says.
fn set_file(cx: &Cx<'_>, table: &Table, slot: u32, list: u64, index: u64) -> Result<(), Errno> {
    let s = cx.s;
    let handle = if list == 0 {
        NO_FILE
    } else {
        let mut bytes = [0; 8];
        let at = list.checked_add(index.wrapping_mul(8)).ok_or(Errno::FAULT)?;
        user::read_bytes(&s.memory, cx.space(), at, &mut bytes)?;
        u64::from_le_bytes(bytes)
    };
    if handle == NO_FILE {
        // An empty slot may stay so.
        if let Ok(before) = table.remove(&s.chunks, u64::from(slot)) {
            s.let_go_handle(before);
        }
        return Ok(());
    }
    let (file_id, file) = cx.file(handle)?;
    // What else a handle can lead to has holders that count, or could hold the ring's own context.
    if !matches!(file.kind.get(), Kind::Daemon | Kind::Kernel) {
        return Err(Errno::BADF);
    }
    let place = table.vacant_at(&s.memory, &s.chunks, u64::from(slot))?;

    file.hold(1);
    let before = table.put(&s.chunks, place, file_id, 0);
    if before != NONE {
        s.let_go_handle(before);
    }
    Ok(())
}

/// The file that a handle field names in its ring's slots. `EBADF` if there is none.
#[cold]
#[inline(never)]
pub fn file(s: &State, ring: &Ring, handle: u64) -> Result<u32, Errno> {
    let slot = file_slot(handle).ok_or(Errno::BADF)?;
    let outfit = s.outfits.get(ring.outfit.get()).ok_or(Errno::BADF)?;
    let table = s.tables.get(outfit.files.get()).ok_or(Errno::BADF)?;
    table.file(&s.chunks, u64::from(slot))
}

/// Fills or empties a slot of buffers.
pub fn buffer(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let s = cx.s;
    let args = RegisterBuffer::decode(entry)?;
    let outfit = outfit(cx)?;
    let cell = outfit.buffers.get(args.slot as usize).ok_or(Errno::INVAL)?;
    if args.length == 0 {
        return match cell.replace(NONE) {
            NONE => Err(Errno::NOENT),
            before => {
                empty(s, before);
                Ok(Outcome::Done(0))
            }
        };
    }
    s.ops.ensure_one(&s.memory)?;
    let pin = s.memory.begin_pin(cx.space(), args.address, args.length)?;
    match s.memory.run_pin(pin, cx.space(), cx.budget) {
        Run::Done(result) => fill(s, cx.ring, args.slot, pin, result).map(Outcome::Done),
        Run::More => {
            let words = [u64::from(pin), u64::from(args.slot), 0, 0];
            Ok(memory::park(cx, Opcode::RegisterBuffer, cx.context.space.get(), words))
        }
    }
}

/// Puts a pin into a slot, or lets it go if pinning failed.
fn fill(s: &State, ring: &Ring, slot: u32, pin: u32, result: Result<u64, Errno>) -> Result<u64, Errno> {
    let outfit = s.outfits.get(ring.outfit.get());
    let cell = outfit.and_then(|outfit| outfit.buffers.get(slot as usize));
    match (result, cell) {
        (Ok(value), Some(cell)) => {
            empty(s, cell.replace(pin));
            Ok(value)
        }
        (result, _) => {
            empty(s, pin);
            result.and(Err(Errno::CANCELED))
        }
    }
}

/// Goes on with pinning. `false`: it has ended.
pub fn slice(s: &State, id: u32, budget: &Budget) -> bool {
    let op = s.ops.at(id);
    let [pin, slot, ..] = memory::words(op);
    let result = match s.rings.get(op.ring.get()) {
        Some(ring) => match s.memory.run_pin(pin as u32, s.memory.space(op.object.get()), budget) {
            Run::More => return true,
            Run::Done(result) => fill(s, ring, slot as u32, pin as u32, result.map_err(page_in::not_there)),
        },
        None => {
            empty(s, pin as u32);
            Err(Errno::CANCELED)
        }
    };
    memory::end_work(s, id, result);
    false
}

/// Checks the buffer of an operation on a daemon's file: memory of the lower half, or of a slot if it may be that.
#[inline(always)]
pub fn check(s: &State, ring: &Ring, opcode: Opcode, address: u64, length: u64) -> Result<(), Errno> {
    match UserRange::new(address, length) {
        Ok(_) => Ok(()),
        Err(error) => check_slot(s, ring, opcode, address, length).ok_or(error),
    }
}

#[cold]
#[inline(never)]
fn check_slot(s: &State, ring: &Ring, opcode: Opcode, address: u64, length: u64) -> Option<()> {
    // A path is looked at before it is forwarded, and answered with another.
    let is_path = matches!(opcode, Opcode::OpenAt | Opcode::UnlinkAt);
    let (pin, offset) = pin(s, ring, address)?;
    (!is_path && pin.covers(offset, length)).then_some(())
}

/// The pin and the offset that a buffer field names.
fn pin<'a>(s: &'a State, ring: &Ring, address: u64) -> Option<(&'a Pin, u64)> {
    let (slot, offset) = buffer_slot(address)?;
    let outfit = s.outfits.get(ring.outfit.get())?;
    let pin = s.memory.pins.get(outfit.buffers.get(slot as usize)?.get())?;
    Some((pin, u64::from(offset)))
}

/// Whether a buffer field names a slot.
#[inline(always)]
pub const fn is_slot(address: u64) -> bool {
    address & REGISTERED != 0
}

/// Copies from fixed memory to where a buffer field says.
pub fn copy_out(s: &State, ring: &Ring, address: u64, from: UserPtr, length: usize) -> Result<(), Errno> {
    if !is_slot(address) {
        return user::copy_out(&s.memory, ring.space.get(), &ring.cache, address, from, length);
    }
    let (pin, offset) = pin(s, ring, address).ok_or(Errno::FAULT)?;
    pin.copy_out(&s.memory, offset, from, length)
}

/// Copies from where a buffer field says to fixed memory.
pub fn copy_in(s: &State, ring: &Ring, to: UserPtr, address: u64, length: usize) -> Result<(), Errno> {
    if !is_slot(address) {
        return user::copy_in(&s.memory, ring.space.get(), &ring.cache, to, address, length);
    }
    let (pin, offset) = pin(s, ring, address).ok_or(Errno::FAULT)?;
    pin.copy_in(&s.memory, to, offset, length)
}
