//! `OpenAt` and `UnlinkAt`: from a path to a file of a daemon, or of a scheme that the kernel serves.
//!
//! An absolute path is resolved as far as the scheme's name; the rest is the daemon's. What lies below a
//! directory's handle is the daemon's altogether.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::inflight::{Op, PLAIN_OPEN};
use super::state::State;
use super::{OpResult, Outcome, dispatch, forward, kernel_scheme};
use crate::base::list::Chain;
use crate::base::{NONE, is_none};
use crate::context::file::Kind;
use crate::mem::user::{self, Access};
use crate::op::state::ByName;
use crate::ring::duplex::Ring;
use crate::scheme::names::{BEGINNING, Beginning, Target, Text};
use ring_abi::args::CURRENT;
use ring_abi::cqe::POSITIONED;
use ring_abi::sqe::Head;
use ring_abi::{Errno, Opcode, Sqe, Words};

/// A path of more bytes is not worth a straight line.
const SHORT: u64 = 256;

/// Opens a file, or removes a name, by path.
pub fn start(cx: &Cx<'_>, opcode: Opcode, args: [u64; 5]) -> OpResult {
    let [fd, buffer, length, flags, capacity] = args;
    if fd != CURRENT {
        return forward::start(cx, opcode, args);
    }
    super::restrict::check_names(cx)?;
    let mut bytes = [0; BEGINNING];
    let read = (length.min(BEGINNING as u64)) as usize;
    user::read_bytes(&cx.s.memory, cx.space(), buffer, bytes.get_mut(..read).ok_or(Errno::INVAL)?)?;
    let beginning = Beginning::new(&bytes, read);
    if opcode == Opcode::OpenAt && beginning.is_directory() {
        return kernel_scheme::open_directory(cx);
    }
    let (name, skipped) = beginning.split()?;
    let (target, root) = find(cx.s, name)?;
    match target {
        Target::Kernel(scheme) => {
            if opcode != Opcode::OpenAt {
                return Err(Errno::ROFS);
            }
            if length != read as u64 {
                return Err(Errno::NOENT);
            }
            kernel_scheme::open(cx, scheme, bytes.get(skipped..read).unwrap_or_default(), flags)
        }
        Target::Link(_) => {
            let skipped = skipped as u64;
            let path = [0, buffer.wrapping_add(skipped), length.wrapping_sub(skipped), flags, capacity];
            start_on_root(cx, opcode, root, path, skipped)
        }
        Target::Free => Err(Errno::NODEV),
    }
}

/// Sends the rest of an absolute path to the scheme's daemon. The request works on the scheme's root.
fn start_on_root(cx: &Cx<'_>, opcode: Opcode, root: u32, path: [u64; 5], skipped: u64) -> OpResult {
    let s = cx.s;
    let id = forward::start_on(cx, opcode, root, s.files.at(root), path)?;
    if opcode == Opcode::OpenAt {
        forward::skip(s.ops.at(id), skipped);
    }
    forward::submit(s, cx.ring, id, s.ops.at(id)).map(|()| Outcome::Parked)
}

/// Opens a daemon's file by an absolute path, in a straight line: everything is checked first, and whatever is not as usual
/// is left to [`start`], which does the same. The ring of the daemon that was asked and is to be [roused](State::rouse).
/// Nothing, and the step is not brief: it took the general road, and may be answered already.
#[inline(never)]
pub fn start_alone(s: &State, ring: &Ring, tag: u32, entry: impl Words) -> Option<u32> {
    let args = dispatch::arguments(&entry);
    s.stats.start(Opcode::OpenAt as u8);
    let asked = ask(s, ring, tag, args);
    if asked.is_none() {
        start_slowly(s, ring, tag, args);
    }
    asked
}

/// Opens a file by the general road.
#[cold]
#[inline(never)]
fn start_slowly(s: &State, ring: &Ring, tag: u32, args: [u64; 5]) {
    s.step.measure(&s.memory.machine);
    let outcome = start(&Cx::new(s, ring, tag), Opcode::OpenAt, args);
    let [fd, path, length, flags, capacity] = args;
    let entry = Sqe::new(Opcode::OpenAt, tag, [fd, path, length, flags, capacity, 0]);
    dispatch::answer_or_wait(s, ring, Head(entry.word(0)), &entry, outcome);
}

/// Asks a daemon to open a file, if nothing is odd about that.
#[inline(always)]
fn ask(s: &State, ring: &Ring, tag: u32, args: [u64; 5]) -> Option<u32> {
    let [fd, buffer, length, flags, capacity] = args;
    if fd != CURRENT || length > SHORT {
        return None;
    }
    let length = length as usize;
    let place = user::stretch(&s.memory, s.memory.space(ring.space.get()), buffer, length, Access::Read)?;
    let mut bytes = [0; BEGINNING];
    let read = length.min(BEGINNING);
    s.memory.machine.read_user(place, bytes.get_mut(..read)?);
    let beginning = Beginning::new(&bytes, read);
    let (name, skipped) = beginning.split().ok()?;
    let (Target::Link(link_id), root) = find(s, name).ok()? else { return None };
    let (link, length) = (s.links.at(link_id), length.wrapping_sub(skipped));
    if !link.takes_at_once() || length as u64 > link.slot_bytes() {
        return None;
    }
    let daemon = s.rings.at(link.ring.get());
    if !forward::has_room(s, daemon) {
        return None;
    }
    // Nobody has the slot yet, so it may be given up again.
    let offset = link.next_offset(s);
    let slot = link.arena.get().add(offset);
    match bytes.get(skipped..read) {
        // What was looked at is what the daemon gets.
        Some(rest) if rest.len() == length && beginning.is_ascii() => s.memory.machine.write_user(slot, rest),
        _ => {
            s.memory.machine.copy(slot, place.add(skipped), length);
            if !s.memory.machine.is_utf8(slot, length) {
                return None;
            }
        }
    }
    let reserve = s.files.take(&s.memory).ok()?;

    let (id, slot_tag) = link.ask(s);
    let op = s.ops.at(id);
    s.file_op(ring, tag, (id, op), PLAIN_OPEN, s.memory.machine.ticks() as u32);
    op.file.set(root);
    s.files.at(root).hold(1);
    let [kept, path, most, _, _] = &op.args;
    kept.set(forward::kept(reserve, capacity, skipped as u64));
    path.set(buffer.wrapping_add(skipped as u64));
    most.set(length as u64);
    let address = link.arena_address.get().wrapping_add(offset as u64);
    let head = forward::head(Opcode::OpenAt, slot_tag);
    let words = [head, s.files.at(root).id.get(), address, length as u64, flags, 0];
    let (who, requests) = (forward::who(s.contexts.at(ring.owner.get())), daemon.memory.get());
    forward::write(who, requests.service_requests().slot(daemon.rq.position()), words);
    forward::publish(daemon, 1);
    s.took_idle(1);
    Some(link.ring.get())
}

/// Where a scheme's name leads, and the scheme's root if a daemon serves it. `ENODEV` if nowhere.
#[inline(always)]
fn find(s: &State, text: Text) -> Result<(Target, u32), Errno> {
    let name = s.names.at(lookup(s, text).ok_or(Errno::NODEV)?);
    Ok((name.target.get(), name.root.get()))
}

/// The record of a name.
#[inline(always)]
pub fn lookup(s: &State, text: Text) -> Option<u32> {
    let last = s.last_name.get();
    if !is_none(last) && s.names.at(last).text.get() == text {
        return Some(last);
    }
    look_through(s, text)
}

#[cold]
#[inline(never)]
fn look_through(s: &State, text: Text) -> Option<u32> {
    let chain = ByName(&s.names);
    let mut at = s.name_list.first();
    while at != NONE {
        if s.names.at(at).text.get() == text {
            s.last_name.set(at);
            return Some(at);
        }
        at = chain.link(at).next();
    }
    None
}

/// A daemon opened a file: it goes under the asker's lowest free handle.
///
/// The file's record was reserved when the operation started; if there is no free handle now, the daemon is
/// told that its file is closed again.
#[inline(always)]
pub fn finish(s: &State, op: &Op, id: u64, extra: u32) -> Result<u64, Errno> {
    let ring = s.rings.at(op.ring.get());
    let owner = s.contexts.at(ring.owner.get());
    let table = s.tables.at(owner.table.get());
    let file_id = use_reserve(s, op, id);
    s.files.at(file_id).positioned.set(extra & POSITIONED != 0);
    match s.vacant_for(s.slot_of(op), table) {
        Ok(place) => {
            let _ = table.put(&s.chunks, place, file_id, 0);
            Ok(u64::from(place.number()))
        }
        Err(error) => {
            s.let_go(file_id);
            Err(error)
        }
    }
}

/// Makes the file record that an operation reserved lead to a file of its daemon.
pub fn use_reserve(s: &State, op: &Op, id: u64) -> u32 {
    let link_id = op.object.get();
    let link = s.links.at(link_id);
    let file_id = op.arg(0) as u32;
    op.set_arg(0, op.arg(0) | u64::from(NONE));
    s.files.at(file_id).open(Kind::Daemon, link_id, id);
    link.refs.set(link.refs.get().wrapping_add(1));
    file_id
}
