//! All that operations may touch, and the few changes that everybody makes: completing, waking, letting go.
//!
//! Everything is a tree of cells behind shared references: the kernel runs on one CPU at a time, and a
//! record is found once per step and then passed on.
#![forbid(unsafe_code)]

use super::channel::Channel;
use super::inflight::{Op, Wait};
use super::stats::Stats;
use crate::arch::{IRQ_LINES, Machine, StateBlock};
use crate::base::NONE;
use crate::base::list::{Chain, Link as Neighbours, List};
use crate::base::trace::{Trace, What};
use crate::base::tree::Tree;
use crate::context::context::{Context, State as Run};
use crate::context::cpu::{Cpu, MOST};
use crate::context::file::File;
use crate::context::handles::{Chunk, Table};
use crate::context::timers::{CONTEXT, Positions, Timers};
use crate::mem::arena::Arena;
use crate::mem::frames::Memory;
use crate::mem::runs::Runs;
use crate::mem::space::Space;
use crate::ring::duplex::Ring;
use crate::scheme::link::{Link, Slot};
use crate::scheme::names::Name;
use core::cell::Cell;
use core::fmt::Write;
use ring_abi::errno::mux;
use ring_abi::{Cqe, Errno};

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
    /// Operations that wait.
    pub ops: Arena<Op>,
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
    /// What operations wait for outside of daemons.
    pub channels: Arena<Channel>,
    /// The channels in use, by key.
    pub channel_tree: Tree,
    /// Channels with some left to wake.
    pub channel_work: List,
    /// Links whose waiting operations may find room now.
    pub to_refill: List,
    /// Address spaces whose contexts are to end.
    pub doomed: List,
    /// Contexts to take apart.
    pub ending: List,
    /// Links whose daemon is gone.
    pub dying_links: List,
    /// Handle tables whose holders may have no name any more.
    pub suspects: List,
    /// Handle tables that nobody uses.
    pub dying_tables: List,
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
    /// Interrupts so far, by line.
    pub interrupts: [Cell<u64>; IRQ_LINES as usize],
    /// Time at which the kernel began, in ticks of the processor.
    pub boot_ticks: Cell<u64>,
    /// Deadlines.
    pub timers: Timers,
    /// Operations with work left to do.
    pub work: List,
    /// The status with which the system ends, once it is to.
    pub halt: Cell<Option<u32>>,
    /// Processors.
    pub cpus: [Cpu; MOST],
    /// The processor that runs this step.
    pub cpu: Cell<usize>,
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
    /// Contexts in a ready queue.
    ByTurn: Context, link;
    /// Contexts of an address space.
    BySpace: Context, of_space;
    /// Address spaces whose contexts are to end.
    ByDoom: Space, link;
    /// Operations of a ring.
    ByRing: Op, of_ring;
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
        if ring.complete(entry) {
            self.wake(ring.owner.get());
        }
    }

    /// Lets a context that waits in `ring_enter` run again: at once after this step if it is the first one
    /// woken, otherwise in its turn.
    #[inline(always)]
    pub fn wake(&self, context: u32) {
        self.wake_with(context, Ok(0));
    }

    /// The same, with the value that `ring_enter` returns.
    #[inline(always)]
    pub fn wake_with(&self, id: u32, result: Result<u64, Errno>) {
        let context = self.contexts.at(id);
        if let Some(ring) = self.rings.get(context.ring(u64::from(context.waiting.get()))) {
            ring.waits.set(0);
        }
        context.regs.set_result(mux(result));
        if context.timer.get() != NONE {
            self.timers.remove(self, id | CONTEXT);
        }
        if context.stop.get() {
            return self.stand_still(id, context);
        }
        let cpu = self.this_cpu();
        context.state.set(Run::Ready);
        if cpu.handoff.get() == NONE {
            cpu.handoff.set(id);
        } else {
            self.make_ready(id);
        }
    }

    /// Puts a context whose state is `Ready` at the end of the ready queue.
    pub fn make_ready(&self, id: u32) {
        let cpu = self.this_cpu();
        cpu.ready.push_back(&ByTurn(&self.contexts), id);
        cpu.rearm.set(true);
    }

    /// Takes a record for an operation of `ring` and files it in the ring's list. The completion's place
    /// is promised already.
    #[inline(always)]
    pub fn start_op(
        &self,
        ring_id: u32,
        ring: &Ring,
        tag: u32,
        opcode: ring_abi::Opcode,
    ) -> Result<u32, Errno> {
        let id = self.ops.take(&self.memory)?;
        let op = self.ops.at(id);
        op.opcode.set(opcode);
        op.ring.set(ring_id);
        op.tag.set(tag);
        op.started.set(self.this_cpu().step_start.get() as u32);
        ring.ops.push_back(&ByRing(&self.ops), id);
        Ok(id)
    }

    /// Ends an operation that is filed nowhere but in its ring: completes it, if anybody still waits for
    /// that, and frees its record.
    #[inline(always)]
    pub fn end_op(&self, id: u32, result: Result<u64, Errno>, extra: u32) {
        let op = self.ops.at(id);
        let ring_id = op.ring.get();
        if ring_id != NONE {
            let ring = self.rings.at(ring_id);
            ring.ops.remove(&ByRing(&self.ops), id);
            let ticks = (self.this_cpu().step_start.get() as u32).wrapping_sub(op.started.get());
            self.stats.end(op.opcode.get().raw(), ticks);
            self.post(ring, Cqe::new(op.tag.get(), result).with_extra(extra));
        }
        self.drop_op(id);
    }

    /// Frees the record of an operation that is filed nowhere, and lets go of its file.
    #[inline(always)]
    pub fn drop_op(&self, id: u32) {
        let op = self.ops.at(id);
        if op.timer.get() != NONE {
            self.timers.remove(self, id);
        }
        if op.opcode.get() != ring_abi::Opcode::Read {
            self.drop_reserve(op);
        }
        let file = op.file.replace(NONE);
        op.wait.set(Wait::Free);
        op.ring.set(NONE);
        self.ops.give(id);
        if file != NONE {
            self.let_go(file);
        }
    }

    /// Gives back what an operation holds beside an ordinary file: the record of a file that it did not make, a
    /// file that it sent, or the context that it waited for.
    fn drop_reserve(&self, op: &Op) {
        let opcode = op.opcode.get();
        if super::forward::makes_file(opcode) && op.arg(0) as u32 != NONE {
            self.files.give(op.arg(0) as u32);
        } else if opcode == ring_abi::Opcode::Sendfd {
            super::pass::let_go(self, op);
        } else if opcode == ring_abi::Opcode::ContextWait {
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
