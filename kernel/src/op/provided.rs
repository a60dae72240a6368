//! `RegisterGroup`, and operations that choose their buffer from a group when their bytes come.
//!
//! Such an operation goes to its daemon like any other. In its record stands a mark in place of the buffer's address, and
//! zero as the most that its answer may bring; so every answer with bytes leaves the shortest road and comes to
//! [`deliver`]. Until then nothing was taken: an operation that is cancelled, fails, or brings no bytes has no buffer to
//! give back.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::inflight::Op;
use super::state::State;
use super::{OpResult, Outcome, forward, memory, page_in, read, registered};
use crate::arch::UserPtr;
use crate::base::budget::Budget;
use crate::base::{NONE, is_none};
use crate::context::file::Kind;
use crate::mem::Run;
use crate::ring::duplex::Ring;
use crate::ring::group::{Group, Piece, Refused};
use crate::ring::outfit::Outfit;
use ring_abi::args::{CURSOR, RegisterGroup, group};
use ring_abi::cqe::CqeFlags;
use ring_abi::group::{ALIGN, MOST_BYTES, MOST_ENTRIES, bytes};
use ring_abi::sqe::Head;
use ring_abi::{Errno, Opcode, SqeFlags, Words};

/// A step that delivers no more bytes may still be a brief one.
const FEW: u64 = 16;

/// Makes a group, or takes one away.
pub fn register(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let s = cx.s;
    let args = RegisterGroup::decode(entry)?;
    let id = u16::try_from(args.group).map_err(|_| Errno::INVAL)?;
    if args.entries == 0 {
        let cell = cell(s, cx.ring, id).ok_or(Errno::NOENT)?;
        end(s, cell.replace(NONE));
        return Ok(Outcome::Done(0));
    }
    let is_odd = args.flags & !group::INCREMENTAL != 0 || args.address % ALIGN != 0;
    if is_odd || !args.entries.is_power_of_two() || args.entries > MOST_ENTRIES {
        return Err(Errno::INVAL);
    }
    if args.size == 0 || args.size > MOST_BYTES {
        return Err(Errno::INVAL);
    }
    let outfit = registered::outfit(cx)?;
    vacant(s, cx.ring, outfit, id)?;
    s.ops.ensure_one(&s.memory)?;
    let pin = s.memory.begin_pin(cx.space(), args.address, bytes(args.entries))?;
    let made = s.groups.take(&s.memory).inspect_err(|_| s.memory.let_go_pin(pin))?;
    s.groups.at(made).open(id, pin, args.entries, args.size, args.flags & group::INCREMENTAL != 0);
    match s.memory.run_pin(pin, cx.space(), cx.budget) {
        Run::Done(result) => finish(s, cx.ring, made, result).map(Outcome::Done),
        Run::More => {
            let words = [u64::from(made), 0, 0, 0];
            Ok(memory::park(cx, Opcode::RegisterGroup, cx.context.space.get(), words))
        }
    }
}

/// Goes on with making a group. `false`: it has ended.
pub fn slice(s: &State, id: u32, budget: &Budget) -> bool {
    let op = s.ops.at(id);
    let [made, ..] = memory::words(op);
    let made = made as u32;
    let result = match s.rings.get(op.ring.get()) {
        Some(ring) => {
            let pin = s.groups.at(made).pin.get();
            match s.memory.run_pin(pin, s.memory.space(op.object.get()), budget) {
                Run::More => return true,
                Run::Done(result) => finish(s, ring, made, result.map_err(page_in::not_there)),
            }
        }
        None => {
            end(s, made);
            Err(Errno::CANCELED)
        }
    };
    memory::end_work(s, id, result);
    false
}

/// Gives a group whose memory is pinned to its ring.
fn finish(s: &State, ring: &Ring, made: u32, pinned: Result<u64, Errno>) -> Result<u64, Errno> {
    let id = s.groups.at(made).id.get();
    let place = s.outfits.get(ring.outfit.get()).ok_or(Errno::CANCELED);
    match pinned.and(place).and_then(|outfit| vacant(s, ring, outfit, id)) {
        Ok(cell) => {
            cell.set(made);
            Ok(0)
        }
        Err(error) => {
            end(s, made);
            Err(error)
        }
    }
}

/// A free place for a group of this name.
fn vacant<'a>(
    s: &State,
    ring: &Ring,
    outfit: &'a Outfit,
    id: u16,
) -> Result<&'a core::cell::Cell<u32>, Errno> {
    if cell(s, ring, id).is_some() {
        return Err(Errno::EXIST);
    }
    outfit.groups.iter().find(|cell| cell.get() == NONE).ok_or(Errno::NFILE)
}

/// The place of a group; a ring has at most 16.
fn cell<'a>(s: &'a State, ring: &Ring, id: u16) -> Option<&'a core::cell::Cell<u32>> {
    let outfit = s.outfits.get(ring.outfit.get())?;
    outfit.groups.iter().find(|cell| s.groups.get(cell.get()).is_some_and(|group| group.id.get() == id))
}

fn find<'a>(s: &'a State, ring: &Ring, id: u16) -> Option<&'a Group> {
    s.groups.get(cell(s, ring, id)?.get())
}

/// Ends a group, if it is one.
pub(super) fn end(s: &State, id: u32) {
    if let Some(group) = s.groups.get(id) {
        registered::empty(s, group.pin.get());
        s.groups.give(id);
    }
}

/// Whether an operation can choose its buffer: its answer is the number of bytes that came.
pub const fn takes(opcode: Opcode) -> bool {
    opcode.flags().contains(SqeFlags::BUFFER_SELECT)
}

/// Starts an operation that chooses its buffer, as it may.
pub fn start(cx: &Cx<'_>, opcode: Opcode, head: Head, entry: &impl Words) -> OpResult {
    let s = cx.s;
    let group = find(s, cx.ring, head.group()).ok_or(Errno::NOENT)?;
    let [fd, length, offset, more] = [entry.arg(0), entry.arg(2), entry.arg(3), entry.arg(4)];
    let (file_id, file) = cx.file(fd)?;
    if file.kind.get() != Kind::Daemon {
        return Err(Errno::OPNOTSUPP);
    }
    let size = u64::from(group.size.get());
    let most = if length == 0 { size } else { length.min(size) };
    let limit = most.min(s.links.at(file.object.get()).slot_bytes());
    let mark = mark(head.group(), limit);
    // A link's own record stands for a read that none was taken for yet.
    let is_plain = opcode == Opcode::Read && offset != CURSOR && is_none(s.held.get());
    if is_plain && read::start_marked(cx, file_id, mark, limit, offset) {
        return Ok(Outcome::Parked);
    }
    forward::start_marked(cx, opcode, file_id, file, [fd, mark, limit, offset, more])
}

/// What no program can write into a buffer field that is accepted.
const MARK: u64 = 0b11 << 62;

/// The mark that stands in a record for a buffer of a group, and for the most that the daemon may answer.
const fn mark(group: u16, limit: u64) -> u64 {
    MARK | limit << 16 | group as u64
}

/// Whether a word is a mark, where no program's word may be one.
#[inline(always)]
pub const fn is_mark(word: u64) -> bool {
    word & MARK == MARK
}

/// The most that the daemon may answer, of a mark.
pub const fn limit(mark: u64) -> u64 {
    (mark & !MARK) >> 16
}

/// Whether an operation in flight is one that chooses its buffer.
#[inline(always)]
pub fn is_one(op: &Op) -> bool {
    takes(op.opcode.get()) && is_mark(op.arg(1))
}

/// The bytes of such an operation have come, and lie in its daemon's slot: takes a buffer and copies them there. What it
/// completes with: result, and details of the completion.
pub fn deliver(s: &State, ring: &Ring, op: &Op, slot: UserPtr, count: u64) -> (Result<u64, Errno>, u32) {
    let mark = op.arg(1);
    if count == 0 {
        return (Ok(0), 0);
    }
    if count > limit(mark) {
        return (Err(Errno::IO), 0);
    }
    if count > FEW {
        s.step.measure(&s.memory.machine);
    }
    let Some(group) = find(s, ring, mark as u16) else { return (Err(Errno::NOBUFS), 0) };
    let Piece { buffer, address, more } = match group.take(&s.memory, count as u32) {
        Ok(piece) => piece,
        Err(refused) => {
            if refused == Refused::Corrupt {
                s.condemn(ring.owner.get());
            }
            return (Err(Errno::NOBUFS), 0);
        }
    };
    let more = if more { CqeFlags::BUFFER_MORE } else { CqeFlags::empty() };
    let details = u32::from(buffer) | u32::from((CqeFlags::BUFFER | more).bits()) << 24;
    let copied = address.and_then(|address| registered::copy_out(s, ring, address, slot, count as usize));
    (copied.map(|()| count), details)
}
