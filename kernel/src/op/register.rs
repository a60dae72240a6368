//! `SchemeRegister`: become the daemon of a scheme. `RingCreate`: another ring for the caller.
//!
//! Both need contiguous memory that is zeroed and mapped page by page; what a step's budget does not allow
//! goes on as work. Everything that can fail for lack of memory is taken before that.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::inflight::Op;
use super::state::{ByName, State};
use super::{OpResult, Outcome, open, polled, restrict, work};
use crate::base::NONE;
use crate::base::budget::Budget;
use crate::base::trace::What;
use crate::context::file::Kind;
use crate::context::handles::CHUNK;
use crate::mem::frames::Use;
use crate::mem::user;
use crate::mem::wired::Making;
use crate::ring::place;
use crate::scheme::names::{LONGEST, Target, Text};
use ring_abi::args::{CURRENT, RingCreate, SchemeRegister};
use ring_abi::layout::Sizes;
use ring_abi::{Errno, Opcode, Words};

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
    match cx.ring.link.get() {
        NONE => begin(cx, &args, text),
        link if u64::from(args.slot) <= s.links.at(link).slot_bytes() => {
            let name = take_name(s, text, args.root)?;
            Ok(Outcome::Done(publish(s, cx.ring_id, link, name)))
        }
        _ => Err(Errno::INVAL),
    }
}

/// Takes a record for a name that does not lead anywhere yet.
fn take_name(s: &State, text: Text, root: u64) -> Result<u32, Errno> {
    s.names.ensure_one(&s.memory)?;
    let file = s.files.take(&s.memory)?;
    let Ok(id) = s.names.take(&s.memory) else { crate::bug!("a name's record was ensured") };
    let name = s.names.at(id);
    name.text.set(text);
    name.root.set(file);
    s.files.at(file).id.set(root);
    Ok(id)
}

/// Lets a name lead to a link. Gives the arena's address.
fn publish(s: &State, ring_id: u32, link_id: u32, name_id: u32) -> u64 {
    let link = s.links.at(link_id);
    link.refs.set(link.refs.get().wrapping_add(1));
    let name = s.names.at(name_id);
    name.target.set(Target::Link(link_id));
    let root = s.files.at(name.root.get());
    root.open(Kind::Root, link_id, root.id.get());
    s.name_list.push_back(&ByName(&s.names), name_id);
    s.note(What::Registered, [u64::from(link_id), u64::from(ring_id)]);
    link.arena_address.get()
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
    user::read_bytes(&cx.s.memory, cx.space(), buffer, bytes)?;
    Text::new(bytes)
}

/// A link on its way: its records are taken, and its arena is being made.
struct Registration {
    arena: Making,
    name: u32,
    link: u32,
    row: u32,
    /// log2 of the number of request slots, one for each place of the request queue.
    log2: u8,
    /// log2 of the bytes of a slot of the arena.
    slot_log2: u8,
}

/// Begins to make the link of the caller's ring.
fn begin(cx: &Cx<'_>, args: &SchemeRegister, text: Text) -> OpResult {
    let s = cx.s;
    let requests = cx.ring.memory.get().requests().map(|queue| queue.capacity()).ok_or(Errno::INVAL)?;
    let log2 = requests.trailing_zeros() as u8;
    let slot_log2 = args.slot.trailing_zeros() as u8;
    if u32::from(log2).wrapping_add(u32::from(slot_log2)) > MOST_ARENA_LOG2 {
        return Err(Errno::INVAL);
    }
    s.ops.ensure_one(&s.memory)?;
    let bytes = 1_usize << log2 << slot_log2;
    let arena = Making::start(&s.memory, cx.context.space.get(), bytes, Use::Arenas)?;
    let mut made = Registration { arena, name: NONE, link: NONE, row: NONE, log2, slot_log2 };
    if let Err(error) = made.take_records(s, text, args.root) {
        made.give_up(s);
        return Err(error);
    }

    if made.arena.run(&s.memory, cx.budget) {
        return made.finish(s, cx.ring_id).map(Outcome::Done);
    }
    let Ok(id) = cx.start_op(Opcode::SchemeRegister) else {
        crate::bug!("an operation's record was ensured")
    };
    made.save(s.ops.at(id));
    work::add(s, id);
    Ok(Outcome::Parked)
}

impl Registration {
    fn take_records(&mut self, s: &State, text: Text, root: u64) -> Result<(), Errno> {
        self.name = take_name(s, text, root)?;
        self.link = s.links.take(&s.memory)?;
        self.row = s.slots.take(&s.memory, self.log2)?;
        Ok(())
    }

    /// The arena is ready: the link comes to life, unless somebody was quicker.
    fn finish(self, s: &State, ring_id: u32) -> Result<u64, Errno> {
        let ring = s.rings.at(ring_id);
        let refused = match ring.link.get() {
            NONE if open::lookup(s, s.names.at(self.name).text.get()).is_none() => None,
            NONE => Some(Errno::EXIST),
            _ => Some(Errno::BUSY),
        };
        if let Some(error) = refused {
            self.give_up(s);
            return Err(error);
        }
        let arena = self.arena.mapped(&s.memory);
        let link = s.links.at(self.link);
        link.open(&s.slots, self.row, self.log2);
        link.ring.set(ring_id);
        link.hold_up(false);
        link.set_slot_bytes(self.slot_log2);
        link.arena.set(arena.place);
        link.arena_address.set(arena.address);
        link.block.set(arena.block);
        link.refs.set(1);
        ring.link.set(self.link);
        polled::serves(s, ring);
        Ok(publish(s, ring_id, self.link, self.name))
    }

    /// Gives everything back.
    fn give_up(&self, s: &State) {
        self.arena.abandon(&s.memory);
        if self.row != NONE {
            s.slots.give(self.row, self.log2);
        }
        if self.link != NONE {
            s.links.give(self.link);
        }
        if self.name != NONE {
            s.files.give(s.names.at(self.name).root.get());
            s.names.give(self.name);
        }
    }

    fn save(&self, op: &Op) {
        let [extent, tables] = self.arena.to_words();
        op.set_arg(0, extent);
        op.set_arg(1, tables);
        op.set_arg(2, u64::from(self.name) | u64::from(self.link) << 32);
        op.set_arg(3, u64::from(self.row) | u64::from(self.log2) << 32 | u64::from(self.slot_log2) << 40);
    }

    fn saved(op: &Op) -> Registration {
        Registration {
            arena: Making::from_words([op.arg(0), op.arg(1)]),
            name: op.arg(2) as u32,
            link: (op.arg(2) >> 32) as u32,
            row: op.arg(3) as u32,
            log2: (op.arg(3) >> 32) as u8,
            slot_log2: (op.arg(3) >> 40) as u8,
        }
    }
}

/// Makes a further ring for the caller. A small one is made at once.
pub fn ring(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let s = cx.s;
    let args = RingCreate::decode(entry)?;
    let sizes = Sizes::unpack(args.sizes).ok_or(Errno::INVAL)?;
    if !cx.context.has_room_for_ring() {
        return Err(Errno::MFILE);
    }
    let space_id = cx.context.space.get();
    if place::is_small(sizes) {
        let id = place::make(&s.memory, &s.rings, space_id, sizes, cx.context_id)?;
        return attach(s, cx.context_id, id).map(Outcome::Done);
    }
    s.ops.ensure_one(&s.memory)?;
    let (ring_id, mut memory) = place::begin(&s.memory, &s.rings, space_id, sizes, cx.context_id)?;

    if memory.run(&s.memory, cx.budget) {
        return finish_ring(s, cx.context_id, ring_id, &memory, sizes).map(Outcome::Done);
    }
    let Ok(id) = cx.start_op(Opcode::RingCreate) else { crate::bug!("an operation's record was ensured") };
    save_ring(s.ops.at(id), &memory, ring_id, sizes);
    work::add(s, id);
    Ok(Outcome::Parked)
}

fn save_ring(op: &Op, memory: &Making, ring_id: u32, sizes: Sizes) {
    let [extent, tables] = memory.to_words();
    op.set_arg(0, extent);
    op.set_arg(1, tables);
    op.set_arg(2, u64::from(ring_id) | u64::from(sizes.packed()) << 32);
}

/// A ring's memory is ready.
fn finish_ring(s: &State, owner: u32, id: u32, memory: &Making, sizes: Sizes) -> Result<u64, Errno> {
    place::finish(&s.memory, s.rings.at(id), memory, sizes);
    attach(s, owner, id)
}

/// Gives a ring to a context. Result: its address plus its number.
fn attach(s: &State, owner: u32, id: u32) -> Result<u64, Errno> {
    let number = s.contexts.at(owner).add_ring(id).inspect_err(|_| place::drop(&s.memory, &s.rings, id))?;
    restrict::guard(s, s.contexts.at(owner));
    Ok(place::address(&s.memory, s.rings.at(id)).wrapping_add(number as u64))
}

/// Goes on with one of these operations. `false`: it has ended.
pub fn slice(s: &State, id: u32, budget: &Budget) -> bool {
    let op = s.ops.at(id);
    let result = match op.opcode.get() {
        Opcode::SchemeRegister => slice_scheme(s, op, budget),
        _ => slice_ring(s, op, budget),
    };
    match result {
        None => true,
        Some(result) => {
            s.end_op(id, result, 0);
            false
        }
    }
}

fn slice_scheme(s: &State, op: &Op, budget: &Budget) -> Option<Result<u64, Errno>> {
    let mut made = Registration::saved(op);
    if op.is_detached() {
        made.give_up(s);
        return Some(Err(Errno::CANCELED));
    }
    let ready = made.arena.run(&s.memory, budget);
    made.save(op);
    ready.then(|| made.finish(s, op.ring.get()))
}

fn slice_ring(s: &State, op: &Op, budget: &Budget) -> Option<Result<u64, Errno>> {
    let mut memory = Making::from_words([op.arg(0), op.arg(1)]);
    let (ring_id, packed) = (op.arg(2) as u32, (op.arg(2) >> 32) as u32);
    let (Some(asking), Some(sizes)) = (s.rings.get(op.ring.get()), Sizes::unpack(packed)) else {
        place::abandon(&s.memory, &s.rings, ring_id, memory);
        return Some(Err(Errno::CANCELED));
    };
    let ready = memory.run(&s.memory, budget);
    save_ring(op, &memory, ring_id, sizes);
    ready.then(|| finish_ring(s, asking.owner.get(), ring_id, &memory, sizes))
}
