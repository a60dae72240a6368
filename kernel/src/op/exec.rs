//! `ExecCommit`: the caller goes on in another address space, as another program.
//!
//! On success there is no completion: the ring that it would go to is gone. The other contexts of the old
//! space end, what the caller had in flight is left or detached, handles that are close-on-exec close, and
//! identity stays. Everything that can fail is done before any of that.
//!
//! What may be long goes on in slices while the caller waits: its handles and its new ring. What it was, its
//! old rings with many operations in them, ends as a context of its own.
#![forbid(unsafe_code)]

use super::context::set_up;
use super::cx::Cx;
use super::inflight::Op;
use super::state::{BySpace, State};
use super::{OpResult, Outcome, cancel, polled, port, restrict, turns, work};
use crate::arch::{Regs, Start};
use crate::base::budget::{Budget, ENTRY};
use crate::base::{ABSENT, NONE};
use crate::context::context::{Context, State as Run};
use crate::context::file::Kind;
use crate::context::handles::{CLOSE_ON_EXEC, Table};
use crate::mem::wired::Making;
use crate::ring::flight;
use crate::ring::place;
use ring_abi::args::ExecCommit;
use ring_abi::context::{End, Reason};
use ring_abi::layout::Sizes;
use ring_abi::{Errno, Opcode, Words, signal};

/// So many operations in flight are left at once.
const FEW: u32 = 16;
/// What looking at a handle is reckoned to cost.
const LOOK: u32 = 20;

/// What is taken before the commit.
struct Taken {
    /// The new ring.
    ring: u32,
    /// Its address.
    address: u64,
    rest: Rest,
    /// A context and a handle table for what the caller was, or `NONE`.
    former: (u32, u32),
    /// What it may use from now on.
    bounds: u32,
}

/// What is left to do until the caller goes on.
#[derive(Clone, Copy)]
struct Rest {
    /// Handles below this number are done.
    handle: u32,
    sizes: Sizes,
    /// The new ring's memory, if it is not ready.
    memory: Option<Making>,
    /// Signals that were pending.
    signals: u64,
}

/// Replaces the caller's program.
pub fn start(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let s = cx.s;
    let args = ExecCommit::decode(entry)?;
    if !Regs::valid_rip(args.entry) || !Regs::valid_rsp(args.stack) {
        return Err(Errno::INVAL);
    }
    let sizes = super::context::sizes(args.sizes)?;
    let new = cx.object(args.space, Kind::Space)?;
    let old = cx.context.space.get();
    if new == old || !s.memory.space(new).contexts.is_empty() {
        return Err(Errno::BUSY);
    }
    if s.elsewhere(cx.context_id, cx.context).is_some() {
        // Its turn in a chain came while the caller runs on another processor.
        return Err(Errno::BUSY);
    }
    let mut taken = take(cx, new, sizes)?;

    s.set_aside(cx.context_id, cx.context);
    leave_rings(cx, taken.former);
    enter_space(cx, old, new);
    s.end_contexts(old, End::Ended(Reason::Replaced), cx.budget);
    cx.context.set_rings(taken.ring);
    cx.context.end_word.set(0);
    cx.table().unreserve_all(&s.chunks);
    let start = Start { rip: args.entry, rsp: args.stack, rdi: taken.address, rsi: args.argument, rdx: 0 };
    cx.context.regs.start(&start);
    restrict::bind(s, cx.context, taken.bounds);
    if taken.rest.run(s, cx.table(), taken.ring, cx.budget) {
        restrict::guard(s, cx.context);
        cx.context.state.set(Run::Ready);
        if cx.context.cpus.get() & turns::bit(s.cpu.get()) != 0 {
            s.hold(s.this_cpu(), cx.context_id);
        } else {
            // Its turn in a chain came on a processor that it may not run on.
            s.make_ready(cx.context_id);
        }
    } else {
        wait(cx, taken.ring, &taken.rest);
    }
    s.step.rearm();
    Ok(Outcome::Gone)
}

/// Takes everything that the change needs. An error leaves all as it was.
fn take(cx: &Cx<'_>, new: u32, sizes: Sizes) -> Result<Taken, Errno> {
    let s = cx.s;
    s.ops.ensure_one(&s.memory)?;
    let signals = signal::pending(&s.rings.at(cx.context.ring(0)).memory.get());
    let bounds = restrict::both(s, cx.context.bounds.get(), s.memory.space(new).bounds.get())?;
    let former = take_former(cx).inspect_err(|_| s.drop_bounds(bounds))?;
    let give = |_: &Errno| {
        s.drop_bounds(bounds);
        if former.0 != NONE {
            s.contexts.give(former.0);
            s.tables.give(former.1);
        }
    };
    if place::is_small(sizes) {
        let ring = place::make(&s.memory, &s.rings, new, sizes, cx.context_id).inspect_err(give)?;
        let address = place::address(&s.memory, s.rings.at(ring));
        return Ok(Taken {
            ring,
            address,
            rest: Rest { handle: 0, sizes, memory: None, signals },
            former,
            bounds,
        });
    }
    let (ring, making) = place::begin(&s.memory, &s.rings, new, sizes, cx.context_id).inspect_err(give)?;
    let address = making.address(&s.memory);
    Ok(Taken {
        ring,
        address,
        rest: Rest { handle: 0, sizes, memory: Some(making), signals },
        former,
        bounds,
    })
}

/// Records for what the caller was, if it has much in flight.
fn take_former(cx: &Cx<'_>) -> Result<(u32, u32), Errno> {
    let s = cx.s;
    let held = |ring| s.rings.at(ring).cq.held();
    let held = cx.context.rings().fold(0, |sum: u32, (_, ring)| sum.wrapping_add(held(ring)));
    if held <= FEW {
        return Ok((NONE, NONE));
    }
    let id = s.contexts.take(&s.memory)?;
    let table = s.tables.take(&s.memory).inspect_err(|_| s.contexts.give(id))?;
    s.tables.at(table).refs.set(0);
    Ok((id, table))
}

/// Leaves all operations in flight, and gives the rings up: here if they are few, otherwise as a context that
/// ends, and whose handle table takes what late answers bring.
fn leave_rings(cx: &Cx<'_>, (former_id, table): (u32, u32)) {
    let s = cx.s;
    if former_id != NONE {
        let former = s.contexts.at(former_id);
        set_up(s, former_id, ABSENT, cx.context.space.get(), table);
        former.pid.set(cx.context.pid.get());
        former.owner.set(cx.context.owner.get());
        for (number, ring) in cx.context.rings() {
            s.rings.at(ring).owner.set(former_id);
            // The former one has none yet, so there is room.
            let _ = former.add_ring(cx.context.take_ring(number));
        }
        return s.end_context(former_id, End::Ended(Reason::Replaced));
    }
    for (number, ring_id) in cx.context.rings() {
        let ring = s.rings.at(ring_id);
        s.end_link_of(ring);
        port::end(s, ring);
        polled::end(s, ring);
        while !flight::is_empty(ring) {
            cx.budget.charge(ENTRY);
            cancel::abandon(s, flight::first(ring));
        }
        super::registered::strip(s, ring);
        super::order::forget(s, ring);
        place::drop(&s.memory, &s.rings, cx.context.take_ring(number));
    }
}

fn enter_space(cx: &Cx<'_>, old: u32, new: u32) {
    let s = cx.s;
    s.memory.space(old).contexts.remove(&BySpace(&s.contexts), cx.context_id);
    let space = s.memory.space(new);
    space.refs.set(space.refs.get().wrapping_add(1));
    space.contexts.push_back(&BySpace(&s.contexts), cx.context_id);
    cx.context.space.set(new);
    cx.context.regs.set_root(space.root());
    s.release_space(old);
}

impl Rest {
    /// Closes handles that are close-on-exec, then makes the new ring's memory. `true`: all is done.
    fn run(&mut self, s: &State, table: &Table, ring: u32, budget: &Budget) -> bool {
        while let Some((number, _, flags)) = table.next(&s.chunks, u64::from(self.handle)) {
            let closes = flags & CLOSE_ON_EXEC != 0;
            if !budget.spend(if closes { ENTRY } else { LOOK }) {
                self.handle = number as u32;
                return false;
            }
            self.handle = (number as u32).wrapping_add(1);
            if closes && let Ok(file) = table.remove(&s.chunks, number) {
                s.let_go_handle(file);
            }
        }
        let ring = s.rings.at(ring);
        if let Some(making) = &mut self.memory {
            if !making.run(&s.memory, budget) {
                return false;
            }
            place::finish(&s.memory, ring, making, self.sizes);
            self.memory = None;
        }
        signal::raise(&ring.memory.get(), self.signals);
        true
    }

    fn save(&self, op: &Op) {
        let [extent, tables] = self.memory.map_or([u64::from(NONE); 2], Making::to_words);
        op.set_arg(0, extent);
        op.set_arg(1, tables);
        op.set_arg(2, u64::from(self.handle) | u64::from(self.sizes.packed()) << 32);
        op.set_arg(3, u64::from(self.memory.is_some()));
        op.set_arg(4, self.signals);
    }

    fn saved(op: &Op) -> Rest {
        let making = Making::from_words([op.arg(0), op.arg(1)]);
        Rest {
            handle: op.arg(2) as u32,
            sizes: Sizes::unpack((op.arg(2) >> 32) as u32).unwrap_or(Sizes::SMALLEST),
            memory: (op.arg(3) != 0).then_some(making),
            signals: op.arg(4),
        }
    }
}

/// The caller waits until the rest is done. An operation of its new ring, without a completion, goes on with it.
fn wait(cx: &Cx<'_>, ring_id: u32, rest: &Rest) {
    let s = cx.s;
    let ring = s.rings.at(ring_id);
    let Ok((id, op)) = s.start_op(ring, cx.tag, Opcode::ExecCommit) else {
        crate::bug!("an operation's record was ensured")
    };
    rest.save(op);
    cx.context.state.set(Run::Held);
    work::add(s, id);
}

/// Goes on with a change. `false`: it has ended.
pub fn slice(s: &State, id: u32, budget: &Budget) -> bool {
    let op = s.ops.at(id);
    let mut rest = Rest::saved(op);
    let ring_id = op.ring.get();
    let Some(ring) = s.rings.get(ring_id) else {
        // The caller was ended, and its ring's record is gone with it.
        if let Some(making) = rest.memory {
            making.abandon(&s.memory);
        }
        s.drop_op(id);
        return false;
    };
    let caller_id = ring.owner.get();
    let caller: &Context = s.contexts.at(caller_id);
    if !caller.lives() {
        // Its end leaves this operation.
        return true;
    }
    // The operation leaves the ring's list before the ring begins.
    work::orphan(s, id);
    let done = rest.run(s, s.tables.at(caller.table.get()), ring_id, budget);
    if done {
        s.drop_op(id);
        restrict::guard(s, caller);
        s.wake(ring);
        return false;
    }
    op.ring.set(ring_id);
    flight::push(s, ring, ring_id, id, &op.of_ring);
    rest.save(op);
    true
}
