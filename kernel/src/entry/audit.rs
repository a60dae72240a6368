//! The kernel looks at itself, for host tests: every record is where it must be, and every count adds up.
#![forbid(unsafe_code)]

use super::kernel::Kernel;
use crate::base::NONE;
use crate::base::budget::STEP;
use crate::base::list::Chain;
use crate::context::context::{Context, Fate, State as Run};
use crate::context::cpu::Cpu;
use crate::op::channel::{self, Key};
use crate::op::incoming;
use crate::op::inflight::Wait;
use crate::op::several;
use crate::op::state::{ByDoom, ByPort, ByTable, ByTurn, ByWait, State};
use crate::op::turns::bit;
use crate::ring::duplex::{BACKLOG, GUARDED, OPEN, POLLED, STARVED, WATCHED};
use crate::ring::flight;
use crate::ring::port::ByRing;
use ring_abi::Opcode;
use std::collections::{HashMap, HashSet};
use std::format;
use std::string::String;

impl Kernel {
    /// Checks every invariant between two steps. Says which one is broken.
    pub fn audit(&self) -> Result<(), String> {
        let s = &self.state;
        s.memory.audit().map_err(String::from)?;
        let in_rings = rings(s)?;
        let detached = links(s)?;
        let known = in_rings.len().wrapping_add(detached).wrapping_add(arms(s, &in_rings)?);
        let working = s
            .ops
            .names()
            .filter(|&id| {
                matches!(s.ops.at(id).wait.get(), Wait::Work | Wait::Room) && s.ops.at(id).is_detached()
            })
            .count();
        if known.wrapping_add(working) != s.live_ops() as usize {
            return Err(format!(
                "{} operations live, but {} are in rings, {detached} detached and {working} at work or not yet sent",
                s.live_ops(),
                in_rings.len()
            ));
        }
        if !s.memory.budget.has(STEP) {
            return Err(String::from("the next step begins with less than a budget"));
        }
        paused(s)?;
        super::audit_order::check(s)?;
        doomed(s)?;
        ports(s)?;
        polled(s)?;
        dormant(s)?;
        places(s)?;
        s.seats.audit(s)?;
        contexts(s)
    }
}

/// Operations in the rings of living contexts: each belongs there, and as many completions are promised.
fn rings(s: &State) -> Result<HashSet<u32>, String> {
    let mut seen = HashSet::new();
    for id in s.contexts.names().filter(|&id| s.contexts.at(id).state.get() != Run::Ended) {
        for ring_id in s.contexts.at(id).rings().map(|(_, ring)| ring) {
            let ring = s.rings.at(ring_id);
            if ring.owner.get() != id {
                return Err(format!(
                    "ring {ring_id} of context {id} says that it belongs to {}",
                    ring.owner.get()
                ));
            }
            let before = seen.len();
            // An exec that goes on has no completion to come.
            let mut silent = 0_usize;
            // Some have a place for an answer beside that of their last completion.
            let mut further = 0_usize;
            let mut at = flight::first(ring);
            while at != NONE {
                let op = s.ops.at(at);
                if op.ring.get() != ring_id || op.wait.get() == Wait::Free || !seen.insert(at) {
                    return Err(format!("operation {at} is in the list of ring {ring_id}: {op:?}"));
                }
                silent = silent.wrapping_add(usize::from(op.opcode.get() == Opcode::ExecCommit));
                further = further.wrapping_add(usize::from(incoming::holds_place(op)));
                at = flight::after(&op.of_ring);
            }
            let started = seen.len().wrapping_sub(before).wrapping_sub(silent).wrapping_add(further);
            let promised = ring.cq.held() as usize;
            // A context that ends, or is to, keeps no promises.
            let context = s.contexts.at(id);
            let is_marked = context.fate.get() != Fate::None;
            let keeps = context.state.get() != Run::Ending && !is_marked && !s.is_doomed(context);
            let shuns_short_roads =
                ring.is_marked(GUARDED | BACKLOG | POLLED) && context.unfinished.get().is_none();
            if shuns_short_roads && ring.cq.known_room() != 0 {
                return Err(format!("ring {ring_id} would take a short road: {:#x}", ring.marks.get()));
            }
            let is_bound =
                s.bounds.get(context.bounds.get()).is_some_and(|bounds| !bounds.rights().allow_short_roads());
            let is_exec = silent != 0;
            if is_bound && !ring.is_marked(GUARDED) && !is_exec {
                return Err(format!("ring {ring_id} of context {id} is not guarded"));
            }
            if promised != started && keeps {
                return Err(format!(
                    "ring {ring_id} promised {promised} completions for {started} operations"
                ));
            }
        }
    }
    Ok(seen)
}

/// Records beside the operations that wait for several words: each waits for its operation, on a channel of its own.
/// Gives their number.
fn arms(s: &State, ops: &HashSet<u32>) -> Result<usize, String> {
    let mut seen = HashSet::new();
    for &id in ops.iter().filter(|&&id| s.ops.at(id).wait.get() == Wait::Several) {
        let mut channels = HashSet::new();
        for arm_id in several::arms(s, s.ops.at(id)) {
            let arm = s.ops.at(arm_id);
            let is_alone = seen.insert(arm_id) && channels.insert(arm.object.get());
            if several::parent(arm) != Some(id) || !arm.is_detached() || !is_alone {
                return Err(format!("record {arm_id} is no arm of operation {id}: {arm:?}"));
            }
        }
        if channels.is_empty() {
            return Err(format!("operation {id} waits for none of several words"));
        }
    }
    Ok(seen.len())
}

/// Rings with paused operations: they say so, and no place is known to be free.
fn paused(s: &State) -> Result<(), String> {
    for ring_id in s.rings.names() {
        let ring = s.rings.at(ring_id);
        if channel::find(s, Key::Place(ring_id)).is_none() || ring.owner.get() == NONE {
            continue;
        }
        if !ring.is_marked(STARVED) || ring.cq.known_room() != 0 {
            return Err(format!(
                "operations of ring {ring_id} are paused, which has {} places and says {}",
                ring.cq.known_room(),
                ring.is_marked(STARVED)
            ));
        }
    }
    Ok(())
}

/// Slots of links that are out: each with an operation that waits for the reply under that tag.
/// Gives the number of those that are detached.
fn links(s: &State) -> Result<usize, String> {
    let mut detached = 0_usize;
    for id in s.links.names().filter(|&id| s.links.at(id).refs.get() != 0) {
        let link = s.links.at(id);
        for index in 0..link.count() {
            let Some(op_id) = link.owed_at(&s.slots, s, index) else { continue };
            let op = s.ops.at(op_id);
            if op.wait.get() != Wait::Reply || op.object.get() != id {
                return Err(format!("slot {index} of link {id} names operation {op_id}: {op:?}"));
            }
            detached = detached.wrapping_add(usize::from(op.is_detached()));
        }
    }
    Ok(detached)
}

/// Ports: known by their ring, marked there, and filed if that is gone and somebody waits; who waits there waits for it.
fn ports(s: &State) -> Result<(), String> {
    let mut dying = HashSet::new();
    let mut at = s.dying_ports.first();
    while at != NONE {
        dying.insert(at);
        at = ByPort(&s.ports).link(at).next();
    }
    let mut open = 0_usize;
    for id in s.ports.names().filter(|&id| s.ports.at(id).refs.get() != 0) {
        let port = s.ports.at(id);
        let mut waiting = 0_usize;
        let mut op_id = port.waiting.first();
        while op_id != NONE {
            let op = s.ops.at(op_id);
            if op.wait.get() != Wait::Message || op.object.get() != id || op.is_detached() {
                return Err(format!("operation {op_id} waits at port {id}: {op:?}"));
            }
            waiting = waiting.wrapping_add(1);
            op_id = ByWait(&s.ops).link(op_id).next();
        }
        let Some(ring) = s.rings.get(port.ring.get()) else {
            if dying.contains(&id) != (waiting != 0) {
                return Err(format!("port {id} has no ring, and {waiting} messages wait there"));
            }
            continue;
        };
        open = open.wrapping_add(1);
        let is_known = s.port_tree.find(&ByRing(&s.ports), port.ring.get()) == Some(id);
        let is_marked = ring.is_marked(OPEN) && ring.is_marked(BACKLOG) == (waiting != 0);
        if !is_known || !is_marked || dying.contains(&id) {
            return Err(format!(
                "port {id} of ring {}, {waiting} wait: {:#x}",
                port.ring.get(),
                ring.marks.get()
            ));
        }
    }
    let marked = s.rings.names().filter(|&id| s.rings.at(id).is_marked(OPEN)).count();
    if marked == open { Ok(()) } else { Err(format!("{marked} rings are open, {open} have ports")) }
}

/// Polled rings: each has a seat, and one that is watched is awake, and somebody polls who runs nobody.
fn polled(s: &State) -> Result<(), String> {
    if s.polls.poller().is_some_and(|cpu| s.cpus.get(cpu).is_none_or(|cpu| cpu.current.get() != NONE)) {
        return Err(format!("processor {:?} polls and runs somebody", s.polls.poller()));
    }
    let mut marked = 0_usize;
    for ring_id in s.rings.names() {
        let ring = s.rings.at(ring_id);
        if !ring.is_marked(POLLED | WATCHED) {
            continue;
        }
        marked = marked.wrapping_add(1);
        let is_awake = s.polls.of(ring).map(|(number, _)| s.polls.is_awake(number));
        let is_watched = ring.is_marked(WATCHED);
        if is_awake.is_none() || is_watched && (is_awake != Some(true) || s.polls.poller().is_none()) {
            return Err(format!("ring {ring_id} is polled: {is_watched}, {is_awake:?}, {:?}", s.polls));
        }
    }
    let taken = s.polls.seats().iter().filter(|seat| seat.ring.get() != NONE).count();
    if taken == marked { Ok(()) } else { Err(format!("{marked} rings are polled, {taken} seats are taken")) }
}

/// Spaces whose contexts are being ended: they are in the list, and the next one to end is theirs.
fn doomed(s: &State) -> Result<(), String> {
    let spaces = &s.memory.spaces;
    let mut listed = 0_usize;
    let mut at = s.doomed.first();
    while at != NONE {
        let space = spaces.at(at);
        let next = space.next_doomed.get();
        let is_its = next == NONE || s.contexts.at(next).space.get() == at;
        if space.doom.get().is_none() || space.contexts.is_empty() || !is_its {
            return Err(format!("space {at} is doomed, and {next} is to end next"));
        }
        listed = listed.wrapping_add(1);
        at = ByDoom(spaces).link(at).next();
    }
    let mut at = s.awaiting.first();
    while at != NONE {
        let space = spaces.at(at);
        if space.doom.get().is_none() || space.awaited.get() == 0 || space.next_doomed.get() != NONE {
            return Err(format!("space {at} waits for the end of nobody"));
        }
        listed = listed.wrapping_add(1);
        at = ByDoom(spaces).link(at).next();
    }
    let doomed = spaces.names().filter(|&id| spaces.at(id).doom.get().is_some()).count();
    if doomed == listed {
        Ok(())
    } else {
        Err(format!("{doomed} spaces are doomed, {listed} are in the list"))
    }
}

/// Tables: they count the stopped contexts that hold them, and only suspect ones are in that list.
fn dormant(s: &State) -> Result<(), String> {
    let mut stopped = HashMap::new();
    for context in s.contexts.names().map(|id| s.contexts.at(id)) {
        if context.state.get() == Run::Stopped {
            let count: &mut u32 = stopped.entry(context.table.get()).or_default();
            *count = count.wrapping_add(1);
        }
    }
    let mut listed = HashSet::new();
    let mut at = s.suspects.first();
    while at != NONE {
        listed.insert(at);
        at = ByTable(&s.tables).link(at).next();
    }
    for id in s.tables.names() {
        let table = s.tables.at(id);
        let held = stopped.get(&id).copied().unwrap_or(0);
        if table.dormant.get() != held || table.suspected.get() != listed.contains(&id) {
            return Err(format!(
                "{held} stopped contexts hold table {id}, which counts {}",
                table.dormant.get()
            ));
        }
    }
    Ok(())
}

/// Contexts that live: one that waits in a ring waits in its own, and the root to load is that of its space.
fn places(s: &State) -> Result<(), String> {
    for (id, context) in s.contexts.names().map(|id| (id, s.contexts.at(id))) {
        if !context.lives() {
            continue;
        }
        let rings = context.rings().map(|(_, ring)| s.rings.at(ring));
        let waits = rings.filter(|ring| ring.waits.get() != 0).count();
        let runs = s.cpus.iter().filter(|cpu| cpu.current.get() == id).count();
        let should = usize::from(context.state.get() == Run::Active);
        // Who ran when the system was halted does so no more.
        if waits.wrapping_add(runs) != should && s.halt.get().is_none() {
            let state = context.state.get();
            return Err(format!(
                "context {id} is {state:?}, runs on {runs} processors and waits in {waits} rings"
            ));
        }
        if context.regs.root() != Some(s.memory.space(context.space.get()).root()) {
            return Err(format!("context {id} would be resumed in another space than its own"));
        }
    }
    Ok(())
}

/// Contexts: those that are ready wait for their turn, each in one place, and whoever runs is paid for by somebody whose
/// time is one of that processor's queue.
fn contexts(s: &State) -> Result<(), String> {
    let mut running = HashSet::new();
    let mut queued = 0_usize;
    for (number, cpu) in s.cpus.iter().enumerate() {
        let current = cpu.current.get();
        if current != NONE && (s.contexts.at(current).state.get() != Run::Active || !running.insert(current))
        {
            return Err(format!(
                "context {current} runs on processor {number}: {:?}",
                s.contexts.at(current).state.get()
            ));
        }
        let mut seen = HashSet::new();
        let held = s.contexts.get(cpu.held.get()).map(|_| cpu.held.get());
        for at in cpu.queue.audit(&ByTurn(&s.contexts))?.into_iter().chain(held) {
            let is_here = usize::from(s.contexts.at(at).cpu.get()) == number;
            let may_be_here = s.contexts.at(at).cpus.get() & bit(number) != 0;
            if s.contexts.at(at).state.get() != Run::Ready || !seen.insert(at) || !is_here || !may_be_here {
                return Err(format!("context {at} waits for its turn: {:?}", s.contexts.at(at).state.get()));
            }
        }
        queued = queued.wrapping_add(seen.len());
        pays(s, number, cpu)?;
    }
    marks(s, &running)?;
    if s.step.handoff() != NONE {
        return Err(format!("context {} was woken and forgotten", s.step.handoff()));
    }
    let ready = s.contexts.names().filter(|&id| s.contexts.at(id).state.get() == Run::Ready).count();
    if ready == queued { Ok(()) } else { Err(format!("{ready} contexts are ready, {queued} are in queues")) }
}

/// Who pays for a processor lives, is not in a queue, and pays for no other one; somebody does exactly while somebody runs.
fn pays(s: &State, number: usize, cpu: &Cpu) -> Result<(), String> {
    let id = cpu.payer.get();
    let payer = s.contexts.get(id);
    let is_queued = |payer: &Context| payer.state.get() == Run::Ready && cpu.held.get() != id;
    if payer.is_some_and(|payer| !payer.lives() || is_queued(payer) || usize::from(payer.cpu.get()) != number)
    {
        return Err(format!("context {id} pays for processor {number}: {payer:?}"));
    }
    if (cpu.current.get() == NONE) != payer.is_none() {
        return Err(format!("{} runs on processor {number} and {id} pays", cpu.current.get()));
    }
    Ok(())
}

/// Marks of contexts that are to end: they run on a processor that was summoned for it.
fn marks(s: &State, running: &HashSet<u32>) -> Result<(), String> {
    for id in s.contexts.names().filter(|&id| s.contexts.at(id).lives()) {
        let is_marked = s.contexts.at(id).fate.get() != Fate::None;
        let is_summoned = s.cpus.iter().any(|cpu| cpu.current.get() == id && cpu.summoned.get());
        if is_marked && !(running.contains(&id) && is_summoned) {
            return Err(format!("context {id} is marked to end, and nobody will do it"));
        }
    }
    Ok(())
}
