//! `Restrict`: a context gives up rights for good, and with it all that it makes.
//!
//! Opcodes and flags are looked at where every submission but those of the short roads starts. A context that may not use
//! what these do has its rings marked ([`GUARDED`]), and none of its entries takes such a road. Handles need no look: the
//! context gets a table with those that it keeps, so there is no number, copy or table by which it could reach another.
//!
//! Bounds only ever shrink: nothing widens a record, and every record that takes another's place is a part of it.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::state::State;
use super::{OpResult, Outcome};
use crate::base::NONE;
use crate::base::budget::ENTRY;
use crate::context::bounds::Rights;
use crate::context::context::Context;
use crate::context::handles::CHUNK;
use crate::mem::space::Space;
use crate::ring::duplex::GUARDED;
use crate::ring::flight;
use core::cell::Cell;
use ring_abi::args::{Restrict, restrict};
use ring_abi::{Errno, Words};

/// What moving a handle is reckoned to cost.
const HANDLE: u32 = 20;

/// Whether the asker may use an entry with this opcode and these flags. `EACCES`.
#[inline]
pub fn check(cx: &Cx<'_>, opcode: u8, flags: u8) -> Result<(), Errno> {
    match cx.s.bounds.get(cx.context.bounds.get()) {
        Some(bounds) if !bounds.rights().allow(opcode, flags) => Err(Errno::ACCES),
        _ => Ok(()),
    }
}

/// Whether the asker may find schemes by name. `EACCES`.
pub fn check_names(cx: &Cx<'_>) -> Result<(), Errno> {
    if rights_of(cx.s, cx.context.bounds.get()).names { Ok(()) } else { Err(Errno::ACCES) }
}

fn rights_of(s: &State, id: u32) -> Rights {
    s.bounds.get(id).map_or(Rights::ALL, |bounds| bounds.rights())
}

/// Takes rights from the caller.
pub fn start(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = Restrict::decode(entry)?;
    let s = cx.s;
    let Ok(flags) = u8::try_from(args.sqe_flags) else { return Err(Errno::INVAL) };
    if args.flags & !(restrict::HANDLES | restrict::NO_NAMES) != 0 {
        return Err(Errno::INVAL);
    }
    let opcodes = u128::from(args.low) | u128::from(args.high) << 64;
    let wanted = Rights { opcodes, flags, names: args.flags & restrict::NO_NAMES == 0 };
    let bounds = narrowed(s, cx.context.bounds.get(), wanted)?;
    if args.flags & restrict::HANDLES != 0 {
        keep_handles(cx, args.handles).inspect_err(|_| s.drop_bounds(bounds))?;
    }

    bind(s, cx.context, bounds);
    Ok(Outcome::Done(0))
}

/// Bounds that allow what others do, and are wanted: held for the caller of this, or `NONE` if that is everything.
fn narrowed(s: &State, id: u32, wanted: Rights) -> Result<u32, Errno> {
    let now = rights_of(s, id);
    let rights = now.and(wanted);
    if rights == now {
        s.hold_bounds(id);
        return Ok(id);
    }
    let fresh = s.bounds.take(&s.memory)?;
    s.bounds.at(fresh).begin(rights);
    Ok(fresh)
}

/// What two bounds both allow, held for the caller of this.
pub fn both(s: &State, one: u32, other: u32) -> Result<u32, Errno> {
    if rights_of(s, one).and(rights_of(s, other)) == rights_of(s, other) {
        s.hold_bounds(other);
        return Ok(other);
    }
    narrowed(s, one, rights_of(s, other))
}

/// A context has these bounds, held for it, from now on.
pub fn bind(s: &State, context: &Context, bounds: u32) {
    let before = context.bounds.replace(bounds);
    s.drop_bounds(before);
    guard(s, context);
}

/// Marks the rings of a context that may not use what the short roads do.
pub fn guard(s: &State, context: &Context) {
    if rights_of(s, context.bounds.get()).allow_short_roads() {
        return;
    }
    for ring in context.rings().map(|(_, ring)| s.rings.at(ring)) {
        ring.marks.set(ring.marks.get() | GUARDED);
        ring.guard();
    }
}

/// A context made a space, which is bound like it.
pub fn pass_on(s: &State, context: &Context, space: &Space) {
    s.hold_bounds(context.bounds.get());
    space.bounds.set(context.bounds.get());
}

/// Gives the caller a table of its own, with those of the first handles that are in a bitmap.
fn keep_handles(cx: &Cx<'_>, handles: u64) -> Result<(), Errno> {
    let s = cx.s;
    if !cx.context.rings().all(|(_, ring)| flight::is_empty(s.rings.at(ring))) {
        return Err(Errno::BUSY);
    }
    let id = s.tables.take(&s.memory)?;
    let (table, old) = (s.tables.at(id), cx.table());
    // One part holds all numbers that can be listed.
    if let Err(error) = table.vacant_at(&s.memory, &s.chunks, 0) {
        s.tables.give(id);
        return Err(error);
    }

    let mut at = 0;
    cx.budget.charge(ENTRY.wrapping_add(handles.count_ones().wrapping_mul(HANDLE)));
    while let Some((number, file, flags)) = old.next(&s.chunks, at).filter(|next| next.0 < CHUNK as u64) {
        at = number.wrapping_add(1);
        if handles >> number & 1 == 0 {
            continue;
        }
        let Ok(place) = table.vacant_at(&s.memory, &s.chunks, number) else { continue };
        s.files.at(file).hold(1);
        let before = table.put(&s.chunks, place, file, flags);
        debug_assert_eq!(before, NONE, "a fresh table is empty");
    }
    table.refs.set(1);
    s.release_table(cx.context.table.replace(id));
    for outfit in cx.context.rings().filter_map(|(_, ring)| s.outfits.get(s.rings.at(ring).outfit.get())) {
        let files = outfit.files.replace(NONE);
        if files != NONE {
            s.release_table(files);
        }
    }
    Ok(())
}

impl State {
    fn hold_bounds(&self, id: u32) {
        if let Some(bounds) = self.bounds.get(id) {
            bounds.refs.set(bounds.refs.get().wrapping_add(1));
        }
    }

    /// One holder of bounds fewer.
    pub fn drop_bounds(&self, id: u32) {
        let Some(bounds) = self.bounds.get(id) else { return };
        let left = bounds.refs.get().wrapping_sub(1);
        bounds.refs.set(left);
        if left == 0 {
            self.bounds.give(id);
        }
    }

    /// A context or a space ends, and lets its bounds go.
    pub fn release_bounds(&self, held: &Cell<u32>) {
        self.drop_bounds(held.replace(NONE));
    }
}
