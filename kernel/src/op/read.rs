//! The read of a daemon's file, in a straight line: everything is checked first, and whatever is not as usual
//! takes the general road in [`super::forward`], which does the same.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::inflight::Wait;
use super::state::State;
use super::{dispatch, forward};
use crate::base::NONE;
use crate::context::context::Context;
use crate::context::file::Kind;
use crate::ring::duplex::Ring;
use ring_abi::args::CURSOR;
use ring_abi::{Errno, Opcode, Words};

/// Addresses and lengths from here on leave the lower half.
const LOWER_HALF_LOG2: u32 = 47;

/// Starts a read, whose completion has its place.
#[inline(always)]
pub fn start(s: &State, context: &Context, ring: &Ring, tag: u32, entry: impl Words) {
    let [fd, buffer, length, offset] = [0, 1, 2, 3].map(|index| entry.arg(index));
    let Ok(file_id) = s.tables.at(context.table.get()).file(&s.chunks, fd) else {
        return fail(s, ring, tag, Errno::BADF);
    };
    let file = s.files.at(file_id);
    let is_odd =
        file.kind.get() != Kind::Daemon || (buffer | length) >> LOWER_HALF_LOG2 != 0 || offset == CURSOR;
    if is_odd || s.ops.ensure_one(&s.memory).is_err() {
        return start_slowly(s, ring, tag, file_id, buffer, length, offset);
    }
    let link_id = file.object.get();
    let link = s.links.at(link_id);
    if !link.takes_at_once() {
        return start_slowly(s, ring, tag, file_id, buffer, length, offset);
    }
    let daemon = s.rings.at(link.ring.get());
    if !forward::has_room(s, daemon) {
        return start_slowly(s, ring, tag, file_id, buffer, length, offset);
    }

    let (id, op) = s.start_ensured(ring, tag, Opcode::Read);
    op.file.set(file_id);
    file.hold();
    op.object.set(link_id);
    let [_, b, c, d, e] = &op.args;
    b.set(buffer);
    c.set(length);
    d.set(offset);
    e.set(0);
    op.wait.set(Wait::Reply);
    let slot_tag = link.ask(&s.slots, id);
    op.slot_tag.set(slot_tag);
    let place = link.arena_address.get().wrapping_add(link.offset(slot_tag) as u64);
    let length = length.min(link.slot_bytes());
    forward::put(
        s,
        daemon,
        context,
        [forward::head(Opcode::Read, slot_tag), file.id.get(), place, length, offset, 0],
    );
}

#[cold]
#[inline(never)]
fn fail(s: &State, ring: &Ring, tag: u32, error: Errno) {
    dispatch::answer(s, ring, tag, Err(error));
}

#[cold]
#[inline(never)]
fn start_slowly(s: &State, ring: &Ring, tag: u32, file_id: u32, buffer: u64, length: u64, offset: u64) {
    let cx = Cx::new(s, ring, tag);
    let args = [u64::from(NONE), buffer, length, offset, 0];
    let outcome = forward::start_file(&cx, Opcode::Read, file_id, s.files.at(file_id), args);
    dispatch::answer(s, ring, tag, outcome);
}
