//! `SchemeRegister`: become the daemon of a scheme. `RingCreate`: another ring for the caller.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::state::ByName;
use super::{OpResult, Outcome, open};
use crate::base::NONE;
use crate::base::trace::What;
use crate::context::file::Kind;
use crate::context::handles::CHUNK;
use crate::mem::user;
use crate::mem::wired;
use crate::ring::place;
use crate::scheme::names::{LONGEST, Target, Text};
use ring_abi::args::{CURRENT, RingCreate, SchemeRegister};
use ring_abi::layout::Sizes;
use ring_abi::{Errno, Words};

/// Names at most, so that a look-up stays short.
const MOST_NAMES: u32 = 256;
/// Greatest log2 of the bytes of an arena: the greatest block of contiguous memory.
const MOST_ARENA_LOG2: u32 = 22;

/// Names a scheme; the first name of a ring also makes its arena and its request slots.
pub fn scheme(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let s = cx.s;
    let args = SchemeRegister::decode(entry)?;
    may_register(cx, args.namespace)?;
    let text = name(cx, args.buffer, args.length)?;
    if open::lookup(s, text).is_some() {
        return Err(Errno::EXIST);
    }
    if s.names.live() >= MOST_NAMES {
        return Err(Errno::NFILE);
    }
    if !args.slot.is_power_of_two() || !(512..=65536).contains(&args.slot) {
        return Err(Errno::INVAL);
    }
    s.names.ensure_one(&s.memory)?;
    let link_id = match cx.ring.link.get() {
        NONE => make_link(cx, args.slot.trailing_zeros() as u8)?,
        link if u64::from(args.slot) <= s.links.at(link).slot_bytes() => link,
        _ => return Err(Errno::INVAL),
    };
    let Ok(name_id) = s.names.take(&s.memory) else { crate::bug!("a name's record was ensured") };

    let link = s.links.at(link_id);
    link.refs.set(link.refs.get().wrapping_add(1));
    let name = s.names.at(name_id);
    name.text.set(text);
    name.target.set(Target::Link(link_id));
    name.root.set(args.root);
    s.name_list.push_back(&ByName(&s.names), name_id);
    s.note(What::Registered, [u64::from(link_id), u64::from(cx.ring_id)]);
    Ok(Outcome::Done(link.arena_address.get()))
}

/// Whether the caller holds the right to register: under the handle it names, or among its first handles.
fn may_register(cx: &Cx<'_>, namespace: u64) -> Result<(), Errno> {
    if namespace != CURRENT {
        return cx.object(namespace, Kind::Namespace).map(|_| ()).map_err(|_| Errno::PERM);
    }
    let holds = |fd| cx.object(fd, Kind::Namespace).is_ok();
    if (0..CHUNK as u64).any(holds) { Ok(()) } else { Err(Errno::PERM) }
}

fn name(cx: &Cx<'_>, buffer: u64, length: u64) -> Result<Text, Errno> {
    let mut bytes = [0; LONGEST];
    let length = usize::try_from(length).map_err(|_| Errno::NAMETOOLONG)?;
    let bytes = bytes.get_mut(..length).ok_or(Errno::NAMETOOLONG)?;
    user::read_bytes(&cx.s.memory, cx.space, buffer, bytes)?;
    Text::new(bytes)
}

/// Makes the link of the caller's ring: request slots, one for each place of the request queue, and an arena
/// that both sides see.
fn make_link(cx: &Cx<'_>, slot_log2: u8) -> Result<u32, Errno> {
    let s = cx.s;
    let memory = cx.ring.memory.get();
    let requests = memory.requests().ok_or(Errno::INVAL)?;
    let log2 = requests.capacity().trailing_zeros() as u8;
    if u32::from(log2).wrapping_add(u32::from(slot_log2)) > MOST_ARENA_LOG2 {
        return Err(Errno::INVAL);
    }
    s.links.ensure_one(&s.memory)?;
    let row = s.slots.take(&s.memory, log2)?;
    let bytes = 1_usize << log2 << slot_log2;
    let arena = match wired::map(&s.memory, cx.context.space.get(), bytes) {
        Ok(arena) => arena,
        Err(error) => {
            s.slots.give(row, log2);
            return Err(error);
        }
    };
    let Ok(id) = s.links.take(&s.memory) else { crate::bug!("a link's record was ensured") };

    let link = s.links.at(id);
    link.open(&s.slots, row, log2);
    link.ring.set(cx.ring_id);
    link.slot_log2.set(slot_log2);
    link.arena.set(arena.place);
    link.arena_address.set(arena.address);
    link.block.set(arena.block);
    link.refs.set(1);
    cx.ring.link.set(id);
    Ok(id)
}

/// Makes a further ring for the caller.
pub fn ring(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = RingCreate::decode(entry)?;
    let sizes = Sizes::unpack(args.sizes).ok_or(Errno::INVAL)?;
    let free = cx.context.rings.iter().position(|ring| ring.get() == NONE).ok_or(Errno::MFILE)?;
    let id = place::make(&cx.s.memory, &cx.s.rings, cx.context.space.get(), sizes, cx.context_id)?;

    if let Some(cell) = cx.context.rings.get(free) {
        cell.set(id);
    }
    Ok(Outcome::Done(cx.s.rings.at(id).address.get().wrapping_add(free as u64)))
}
