//! All that operations may touch, and the few changes that everybody makes: completing, waking, letting go.
//!
//! Everything is a tree of cells behind shared references: the kernel runs on one CPU at a time, and a
//! record is found once per step and then passed on.
#![forbid(unsafe_code)]

use super::chain;
use super::channel::Channel;
use super::forward;
use super::incoming;
use super::inflight::{GUARD, Notice, Op, Shape, TIED, Wait};
use super::multishot;
use super::page_in::{PageIn, Waiter};
use super::polled::Polls;
use super::stats::Stats;
use super::step::Step;
use super::turns::Several;
use super::word::Seats;
use crate::arch::{IRQ_LINES, Machine, StateBlock};
use crate::base::list::{Chain, Link as Neighbours, List};
use crate::base::name::Named;
use crate::base::trace::{Trace, What};
use crate::base::tree::Tree;
use crate::base::{NONE, is_none};
use crate::context::bounds::Bounds;
use crate::context::context::{Context, State as Run};
use crate::context::cpu::{Cpu, MOST};
use crate::context::file::File;
use crate::context::handles::{Chunk, Place, Table};
use crate::context::timers::{CONTEXT, Positions, Timers};
use crate::mem::arena::Arena;
use crate::mem::frames::Memory;
use crate::mem::runs::Runs;
use crate::mem::space::Space;
use crate::ring::duplex::Ring;
use crate::ring::flight;
use crate::ring::group::Group;
use crate::ring::outfit::Outfit;
use crate::ring::port::Port;
use crate::ring::tie::{Line, Tie};
use crate::scheme::link::{Link, Records, Slot};
use crate::scheme::names::Name;
use core::cell::Cell;
use core::fmt::Write;
use ring_abi::enter::{self, Control};
use ring_abi::{Cqe, Errno, Opcode};

/// The state of the system.
pub struct State {
    /// Frames, address spaces and what is wired.
    pub memory: Memory,
    /// Contexts.
    pub contexts: Arena<Context>,
    /// Full registers of contexts that were preempted.
    pub blocks: Arena<Block>,
    /// Rings.
    pub rings: Arena<Ring>,
    /// What rings were fitted out with.
    pub outfits: Arena<Outfit>,
    /// Groups of buffers that programs provide.
    pub groups: Arena<Group>,
    /// Operations that wait.
    pub ops: Arena<Op>,
    /// Records of operations in use that are none: links keep them for their next requests.
    pub idle_ops: Cell<u32>,
    /// What operations have to do with others of their ring.
    pub ties: Arena<Tie>,
    /// What rings have taken that must not start yet.
    pub lines: Arena<Line>,
    /// Handle tables.
    pub tables: Arena<Table>,
    /// Parts of handle tables.
    pub chunks: Arena<Chunk>,
    /// Open files.
    pub files: Arena<File>,
    /// Links.
    pub links: Arena<Link>,
    /// Request slots of links.
    pub slots: Runs<Slot>,
    /// Scheme names.
    pub names: Arena<Name>,
    /// The names in use.
    pub name_list: List,
    /// The one that was looked for last and found, or `NONE`.
    pub last_name: Cell<u32>,
    /// What operations wait for outside of daemons.
    pub channels: Arena<Channel>,
    /// The channels in use, by key.
    pub channel_tree: Tree,
    /// The channel of each interrupt line, once somebody has waited for it, or `NONE`.
    pub irq_channels: [Cell<u32>; IRQ_LINES as usize],
    /// Words of futexes that were waited for lately.
    pub seats: Seats,
    /// Channels with some left to wake.
    pub channel_work: List,
    /// Pages that daemons are asked for.
    pub page_ins: Arena<PageIn>,
    /// Who waits for them.
    pub waiters: Arena<Waiter>,
    /// Those that were answered, with some left to go on.
    pub answered_pages: List,
    /// Links whose waiting operations may find room now.
    pub to_refill: List,
    /// Address spaces whose contexts are to end.
    pub doomed: List,
    /// Those of them of which all are marked, and some still run on other processors.
    pub awaiting: List,
    /// Contexts to take apart.
    pub ending: List,
    /// Links whose daemon is gone.
    pub dying_links: List,
    /// Handle tables whose holders may have no name any more.
    pub suspects: List,
    /// Handle tables that nobody uses.
    pub dying_tables: List,
    /// What contexts may use that may not use everything.
    pub bounds: Arena<Bounds>,
    /// What handles to rings lead to.
    pub ports: Arena<Port>,
    /// The ports of rings that live, by ring.
    pub port_tree: Tree,
    /// Ports whose ring is gone, with messages that wait.
    pub dying_ports: List,
    /// Which kind of work had the last slice.
    pub work_turn: Cell<u32>,
    /// The first context; the system ends with it.
    pub first_context: Cell<u32>,
    /// The running context is to be resumed as another one would be.
    pub reload: Cell<bool>,
    /// The wait graph was printed, and nothing has happened since.
    pub stuck: Cell<bool>,
    /// Process id whose rings are traced, or zero.
    pub traced: Cell<u32>,
    /// The [`Control`] with which a client's entry may take a short road; while rings are traced there is none.
    pub call: Cell<u64>,
    /// The same for a server's entry.
    pub serve: Cell<u64>,
    /// Interrupts so far, by line.
    pub interrupts: [Cell<u64>; IRQ_LINES as usize],
    /// Time at which the kernel began, in ticks of the processor.
    pub boot_ticks: Cell<u64>,
    /// Deadlines.
    pub timers: Timers,
    /// Operations with work left to do.
    pub work: List,
    /// Operations that were held and are to start, or to end without that.
    pub due: List,
    /// The record in which the operation that is being started was held, until it is used; or `NONE`.
    pub held: Cell<u32>,
    /// The status with which the system ends, once it is to.
    pub halt: Cell<Option<u32>>,
    /// Processors.
    pub cpus: [Cpu; MOST],
    /// The processor that runs this step.
    pub cpu: Cell<usize>,
    /// What the processors do, if there are several.
    pub several: Several,
    /// Rings whose entries a processor looks for by itself.
    pub polls: Polls,
    /// What the step that runs decided so far.
    pub step: Step,
    /// Counters.
    pub stats: Stats,
    /// Recent events.
    pub trace: Trace,
}

/// The serial line as a place to write text to.
pub struct Console<'a>(pub &'a Machine);

impl Write for Console<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.0.serial_write(text.as_bytes());
        Ok(())
    }
}

/// A state block with what an arena needs.
#[derive(Default)]
pub struct Block {
    /// The registers.
    pub state: StateBlock,
    link: Neighbours,
}

impl Named for Block {}

impl crate::mem::arena::Record for Block {
    fn free_link(&self) -> &Cell<u32> {
        self.link.cell()
    }
}

/// Records that are chained by a certain one of their links.
macro_rules! chains {
    ($($(#[doc = $doc:literal])* $name:ident: $arena:ty, $field:ident;)*) => {
        $(
            $(#[doc = $doc])*
            pub struct $name<'a>(pub &'a Arena<$arena>);
            impl Chain for $name<'_> {
                #[inline(always)]
                fn link(&self, node: u32) -> &Neighbours { &self.0.at(node).$field }
            }
        )*
    };
}

chains! {
    /// Contexts in a run queue.
    ByTurn: Context, link;
    /// Contexts of an address space.
    BySpace: Context, of_space;
    /// Address spaces whose contexts are to end.
    ByDoom: Space, link;
    /// Operations that wait for the same thing.
    ByWait: Op, queue;
    /// Files whose closing is to be told.
    ByClosing: File, link;
    /// Scheme names.
    ByName: Name, link;
    /// Links whose waiting operations may find room now.
    ByRefill: Link, refill;
    /// Links whose daemon is gone.
    ByLink: Link, link;
    /// Handle tables that nobody uses.
    ByTable: Table, link;
    /// Ports whose ring is gone.
    ByPort: Port, link;
}

impl flight::Nodes for State {
    #[inline(always)]
    fn operation(&self, name: u32) -> &Neighbours {
        &self.ops.at(name).of_ring
    }

    #[inline(always)]
    fn ring(&self, name: u32) -> &Ring {
        self.rings.at(name)
    }
}

impl Records for State {
    #[inline(always)]
    fn tag(&self, op: u32) -> &Cell<u32> {
        &self.ops.at(op).slot_tag
    }

    #[inline(always)]
    fn next(&self, op: u32) -> &Cell<u32> {
        self.ops.at(op).queue.cell()
    }

    fn is_out(&self, op: u32) -> bool {
        self.ops.at(op).wait.get() == Wait::Reply
    }
}

impl Positions for State {
    fn position(&self, item: u32) -> &Cell<u32> {
        if item & CONTEXT != 0 { &self.contexts.at(item & !CONTEXT).timer } else { &self.ops.at(item).timer }
    }
}

impl State {
    /// The processor that runs this step.
    #[inline(always)]
    pub fn this_cpu(&self) -> &Cpu {
        match self.cpus.get(self.cpu.get()) {
            Some(cpu) => cpu,
            None => crate::bug!("no such cpu"),
        }
    }

    /// Traces the rings of a process from now on, or with zero none.
    pub fn trace_rings(&self, pid: u32) {
        self.traced.set(pid);
        self.call.set(if pid == 0 { Control::CALL.0 } else { u64::MAX });
        self.serve.set(if pid == 0 { Control::SERVE.0 } else { u64::MAX });
    }

    /// Notes an event in the log.
    pub fn note(&self, what: What, numbers: [u64; 2]) {
        self.trace.note(self.memory.machine.now(), what, numbers);
    }

    /// Prints a line of the kernel's own on the console.
    pub fn say(&self, text: core::fmt::Arguments<'_>) {
        let mut out = Console(&self.memory.machine);
        // The console takes everything.
        let _ = writeln!(out, "annulus: {text}");
    }

    /// Posts a completion into its promised place, and wakes the owner if that is what it waited for.
    #[inline(always)]
    pub fn post(&self, ring: &Ring, entry: Cqe) {
        ring.cq.put_next(&ring.memory.get().cq(), entry.to_words());
        self.show(ring, 1);
    }

    /// Shows so many completions that were written into the places that were promised for them, and wakes the owner if
    /// that is what it waited for.
    #[inline(always)]
    pub fn show(&self, ring: &Ring, count: u32) {
        self.rouse_at(ring, ring.show(count));
    }

    /// Wakes the owner of a ring if it waited for completions up to this position.
    #[inline(always)]
    pub fn rouse_at(&self, ring: &Ring, position: u32) {
        let woken = if ring.waits_for_next() {
            ring.waits.set(0);
            ring.owner.get()
        } else if ring.reaches(position) {
            self.rouse(ring, enter::COMPLETIONS)
        } else {
            return;
        };
        self.hand_any(woken);
    }

    /// The ring that a context waits in, if it does.
    pub fn waits_in(&self, context: &Context) -> Option<&Ring> {
        let mut rings = context.rings().map(|(_, ring)| self.rings.at(ring));
        rings.find(|ring| ring.waits.get() != 0)
    }

    /// Lets the context that waits in a ring run again: at once after this step if it is the first one
    /// woken, otherwise in its turn.
    #[inline(always)]
    pub fn wake(&self, ring: &Ring) {
        self.wake_with(ring, Ok(()));
    }

    /// The same, with an error that `ring_enter` returns, or none.
    #[inline(always)]
    pub fn wake_with(&self, ring: &Ring, result: Result<(), Errno>) {
        let id = ring.owner.get();
        let context = self.contexts.at(id);
        ring.waits.set(0);
        if let Err(error) = result {
            context.regs.set_result(error.refusal());
        }
        if !is_none(context.timer.get()) {
            // With its time, if it was patient, goes what it would have gone on with.
            context.unfinished.set(None);
            self.timers.remove(self, id | CONTEXT);
        }
        if context.marks.any() {
            return self.wake_marked(id, context);
        }
        context.state.set(Run::Ready);
        self.hand(id);
    }

    /// The same for one that is to stop, or may run on some processors only.
    #[cold]
    fn wake_marked(&self, id: u32, context: &Context) {
        if context.marks.stop() {
            return self.stand_still(id, context);
        }
        context.state.set(Run::Ready);
        if self.may_run_here(context) { self.hand(id) } else { self.make_ready(id) }
    }

    /// Lets a context whose state is `Ready` run at once after this step if it is the first one, otherwise in its turn.
    pub fn hand(&self, id: u32) {
        if is_none(self.step.handoff()) {
            self.step.hand(id);
        } else {
            self.make_ready(id);
        }
    }

    /// Wakes the owner of a ring if it waits there for what a flag of [`ring_abi::enter`] names: its name. It is then the
    /// caller's to [hand](Self::hand_any) it the processor, and until then its state stays as it was. `NONE` if it does
    /// not wait for that, or was seen to.
    #[inline(always)]
    #[must_use = "a context that was woken must run"]
    pub fn rouse(&self, ring: &Ring, flag: u64) -> u32 {
        if !ring.waits_alone_for(flag) {
            return if ring.waits.get() == 0 { NONE } else { self.rouse_oddly(ring, flag) };
        }
        ring.waits.set(0);
        ring.owner.get()
    }

    /// Wakes the owner if that is what it waits for, and sees to it; `NONE`.
    #[cold]
    #[inline(never)]
    fn rouse_oddly(&self, ring: &Ring, flag: u64) -> u32 {
        if ring.waits_for(flag) {
            self.wake(ring);
        }
        NONE
    }

    /// [Hands](Self::hand) a context that was roused the processor, if it is one.
    #[inline(always)]
    pub fn hand_any(&self, id: u32) {
        if !is_none(id) {
            self.contexts.at(id).state.set(Run::Ready);
            self.hand(id);
        }
    }

    /// Takes a record for an operation of `ring` and files it in the ring's circle. The completion's place
    /// is promised already.
    #[inline(always)]
    pub fn start_op(&self, ring: &Ring, tag: u32, opcode: Opcode) -> Result<(u32, &Op), Errno> {
        let id = self.ops.take(&self.memory)?;
        let op = self.ops.at(id);
        let shape = Shape { wait: Wait::Free, opcode, notice: Notice::None, marks: 0 };
        self.file_op(ring, tag, (id, op), shape, self.memory.machine.ticks() as u32);
        op.file.set(NONE);
        op.object.set(NONE);
        Ok((id, op))
    }

    /// Starts an operation in the record that held it, which is filed already.
    #[cold]
    #[inline(never)]
    pub fn start_held(&self, id: u32, opcode: Opcode) -> &Op {
        let op = self.ops.at(id);
        op.set_shape(Shape { wait: Wait::Free, opcode, notice: Notice::None, marks: op.marks.get() });
        op.started.set(self.memory.machine.ticks() as u32);
        op
    }

    /// Files an operation that starts with its ring. Its file and object are the caller's to set.
    #[inline(always)]
    pub fn file_op(&self, ring: &Ring, tag: u32, (id, op): (u32, &Op), shape: Shape, now: u32) {
        op.set_shape(shape);
        let ring_id = ring.id.get();
        op.ring.set(ring_id);
        op.tag.set(tag);
        op.started.set(now);
        flight::push(self, ring, ring_id, id, &op.of_ring);
    }

    /// Number of records that wait at links for the next operation.
    pub fn idle_ops(&self) -> u32 {
        let exchanged = self.stats.answered.get().wrapping_sub(self.stats.asked.get());
        self.idle_ops.get().wrapping_add(exchanged as u32)
    }

    /// So many records were taken that waited at links.
    #[inline(always)]
    pub fn took_idle(&self, count: u32) {
        self.idle_ops.set(self.idle_ops.get().wrapping_sub(count));
    }

    /// So many records wait at links again.
    #[inline(always)]
    pub fn gave_idle(&self, count: u32) {
        self.idle_ops.set(self.idle_ops.get().wrapping_add(count));
    }

    /// Where a new handle goes: under a reserved number, given plus one, or with zero the lowest free one.
    pub fn vacant_for(&self, slot: u16, table: &Table) -> Result<Place, Errno> {
        match slot.checked_sub(1) {
            None => table.vacant(&self.memory, &self.chunks),
            Some(number) => table.vacant_reserved(&self.chunks, u64::from(number)),
        }
    }

    /// Where the handle goes that an operation makes, for [`vacant_for`](Self::vacant_for).
    pub fn slot_of(&self, op: &Op) -> u16 {
        if op.is_marked(TIED) { self.ties.at(op.tag.get()).head().group() } else { 0 }
    }

    /// Number of operations.
    pub fn live_ops(&self) -> u32 {
        self.ops.live().wrapping_sub(self.idle_ops())
    }

    /// Ends an operation that is filed nowhere but in its ring: completes it, if anybody still waits for
    /// that (`details` are its `extra` and, above those 24 bits, its flags), and frees its record.
    #[inline(never)]
    pub fn end_op(&self, id: u32, result: Result<u64, Errno>, details: u32) {
        self.complete_op(id, result, details);
    }

    /// The same in a straight line, for the ends of waits.
    #[inline(always)]
    pub fn complete_op(&self, id: u32, result: Result<u64, Errno>, details: u32) {
        if let Some((ring, position)) = self.fill_op(id, result, details) {
            self.rouse_at(ring, position);
        }
    }

    /// The same, without waking anybody: the ring with the new completion, whose owner is to be [roused](Self::rouse_at),
    /// and the position behind it. Nothing if that was seen to.
    #[inline(always)]
    #[must_use = "an owner that waited for this must be woken"]
    pub fn fill_op(&self, id: u32, result: Result<u64, Errno>, details: u32) -> Option<(&Ring, u32)> {
        let op = self.ops.at(id);
        let Some(ring) = self.rings.get(op.ring.get()) else {
            self.drop_op(id);
            return None;
        };
        if op.is_marked(TIED | GUARD) {
            chain::end(self, ring, id, result, details);
            return None;
        }
        flight::remove(self, &op.of_ring);
        self.note_latency(op.opcode.get(), op.started.get(), 1);
        let answer = Cqe::new(op.tag.get(), result).with_details(details);
        self.free_op(id, op);
        ring.cq.put_next(&ring.memory.get().cq(), answer.to_words());
        Some((ring, ring.show(1)))
    }

    /// Notes that so many operations are over that started together; what time it is.
    #[inline(always)]
    pub fn note_latency(&self, opcode: Opcode, started: u32, number: u32) -> u32 {
        let now = self.memory.machine.ticks() as u32;
        self.stats.end(opcode.raw(), now.wrapping_sub(started), number);
        now
    }

    /// Completes an operation of this shape, which holds nothing, with zero, and starts one like it of `ring` in its record:
    /// what [`fill_op`](Self::fill_op) and [`start_op`](Self::start_op) do. The ring that was roused, as the former gives it.
    #[inline(always)]
    #[must_use = "an owner that waited for this must be woken"]
    pub fn renew_op(&self, (id, op): (u32, &Op), shape: Shape, ring: &Ring, tag: u32) -> (&Ring, u32) {
        let before = self.rings.at(op.ring.get());
        flight::remove(self, &op.of_ring);
        let now = self.note_latency(shape.opcode, op.started.get(), 1);
        let answer = Cqe::new(op.tag.get(), Ok(0));
        self.file_op(ring, tag, (id, op), shape, now);
        before.cq.put_next(&before.memory.get().cq(), answer.to_words());
        (before, before.show(1))
    }

    /// Frees the record of an operation that is filed nowhere, and lets go of its file.
    pub fn drop_op(&self, id: u32) {
        self.free_op(id, self.ops.at(id));
    }

    #[inline(always)]
    fn free_op(&self, id: u32, op: &Op) {
        if !is_none(op.timer.get()) {
            self.timers.remove(self, id);
        }
        if holds_more(op.opcode.get()) {
            self.drop_reserve(op);
        }
        op.wait.set(Wait::Free);
        self.ops.give(id);
        let file = op.file.get();
        if !is_none(file) {
            self.let_go(file);
        }
    }

    /// Gives back what an operation holds beside an ordinary file: the place for an answer, the record of a file that it did not make, a
    /// file that it sent, the space that it maps into, or a file that may be the last handle to a stopped context.
    #[cold]
    #[inline(never)]
    fn drop_reserve(&self, op: &Op) {
        let opcode = op.opcode.get();
        if let (true, Some(ring)) = (incoming::holds_place(op), self.rings.get(op.ring.get())) {
            multishot::release(self, ring);
        }
        if forward::makes_file(opcode) && op.arg(0) as u32 != NONE {
            self.files.give(op.arg(0) as u32);
        } else if matches!(opcode, Opcode::Sendfd | Opcode::MessageHandle) {
            super::pass::let_go(self, op);
        } else if opcode == Opcode::RequestMmap {
            super::page_in::lost(self, op);
        } else if opcode == Opcode::MapFile {
            super::mapping::let_go(self, op);
        } else if is_of_context(opcode) && op.file.get() != NONE {
            self.let_go_handle(op.file.replace(NONE));
        }
    }

    /// One holder of a file fewer.
    #[inline(always)]
    pub fn let_go(&self, file: u32) {
        if self.files.at(file).let_go() {
            self.close_file(file);
        }
    }
}

/// Whether an operation may hold something beside an ordinary file, which [`State::drop_reserve`] gives back.
#[inline(always)]
fn holds_more(opcode: Opcode) -> bool {
    HOLD_MORE.get(usize::from(opcode.raw())) == Some(&true)
}

/// These, by number.
#[allow(clippy::indexing_slicing, reason = "the compiler does it, and would say so")]
static HOLD_MORE: [bool; 256] = {
    let mut table = [false; 256];
    let mut left = Opcode::ALL;
    while let [opcode, rest @ ..] = left {
        table[opcode.raw() as usize] = forward::makes_file(*opcode)
            || matches!(opcode, Opcode::Sendfd | Opcode::Recvfd | Opcode::MessageHandle)
            || matches!(opcode, Opcode::MapFile | Opcode::RequestMmap)
            || is_of_context(*opcode);
        left = rest;
    }
    table
};

/// Whether an operation holds a context, or whatever it cancels at, instead of an ordinary file.
const fn is_of_context(opcode: Opcode) -> bool {
    use Opcode::{CancelHandle, ContextKill, ContextStop, ContextWait};
    matches!(opcode, ContextWait | ContextKill | ContextStop | CancelHandle)
}
