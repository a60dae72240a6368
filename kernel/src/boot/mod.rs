//! Layer 9: before the first step.
//!
//! The order: memory, then the empty state, then the first program from the boot blob. The machine itself was
//! set up by `arch` before it called [`kernel_boot`](machine).
#![forbid(unsafe_code)]

pub mod first;
#[cfg(target_os = "none")]
pub mod machine;

use crate::base::NONE;
use crate::base::list::List;
use crate::base::trace::Trace;
use crate::base::tree::Tree;
use crate::context::cpu::Cpu;
use crate::context::timers::Timers;
use crate::entry::kernel::Kernel;
use crate::mem::arena::Arena;
use crate::mem::frames::Memory;
use crate::mem::runs::Runs;
use crate::op::polled::Polls;
use crate::op::state::State;
use crate::op::stats::Stats;
use crate::op::step::Step;
use crate::op::turns::Several;
use crate::op::word::Seats;
use crate::scheme::link::{NO_TAG, NOBODY};
use core::cell::Cell;
use ring_abi::Errno;
use ring_abi::enter::Control;

/// Greatest number of contexts, and of the rings and operations that go with them.
const MOST_CONTEXTS: u32 = 1 << 20;
/// Greatest number of operations in flight.
const MOST_OPS: u32 = 1 << 22;
/// Greatest number of the rarer things.
const MOST_OTHERS: u32 = 1 << 16;

/// An empty kernel over a machine's memory. `ENOMEM` if not even the counters fit.
#[expect(clippy::too_many_lines, reason = "a line for each part of the state")]
pub fn kernel(memory: Memory) -> Result<Kernel, Errno> {
    let state = State {
        contexts: Arena::new(&memory, MOST_CONTEXTS),
        blocks: Arena::new(&memory, MOST_CONTEXTS),
        rings: Arena::new(&memory, MOST_CONTEXTS),
        outfits: Arena::new(&memory, MOST_CONTEXTS),
        groups: Arena::new(&memory, MOST_CONTEXTS),
        ops: Arena::new(&memory, MOST_OPS),
        idle_ops: Cell::new(0),
        ties: Arena::new(&memory, MOST_OPS),
        lines: Arena::new(&memory, MOST_CONTEXTS),
        tables: Arena::new(&memory, MOST_OTHERS),
        chunks: Arena::new(&memory, MOST_CONTEXTS),
        files: Arena::new(&memory, MOST_OPS),
        links: Arena::new(&memory, MOST_OTHERS),
        slots: Runs::new(&memory, MOST_CONTEXTS),
        names: Arena::new(&memory, MOST_OTHERS),
        name_list: List::new(),
        last_name: Cell::new(NONE),
        channels: Arena::new(&memory, MOST_OPS),
        channel_tree: Tree::new(),
        irq_channels: [const { Cell::new(NONE) }; crate::arch::IRQ_LINES as usize],
        seats: Seats::default(),
        channel_work: List::new(),
        page_ins: Arena::new(&memory, MOST_OPS),
        waiters: Arena::new(&memory, MOST_OPS),
        answered_pages: List::new(),
        to_refill: List::new(),
        doomed: List::new(),
        awaiting: List::new(),
        ending: List::new(),
        dying_links: List::new(),
        suspects: List::new(),
        dying_tables: List::new(),
        bounds: Arena::new(&memory, MOST_OTHERS),
        ports: Arena::new(&memory, MOST_OTHERS),
        port_tree: Tree::new(),
        dying_ports: List::new(),
        work: List::new(),
        due: List::new(),
        held: Cell::new(NONE),
        work_turn: Cell::new(0),
        first_context: Cell::new(NONE),
        reload: Cell::new(false),
        stuck: Cell::new(false),
        traced: Cell::new(0),
        call: Cell::new(Control::CALL.0),
        serve: Cell::new(Control::SERVE.0),
        interrupts: [const { Cell::new(0) }; crate::arch::IRQ_LINES as usize],
        boot_ticks: Cell::new(0),
        timers: Timers::new(&memory, MOST_OPS),
        halt: Cell::new(None),
        cpus: core::array::from_fn(|_| Cpu::default()),
        step: Step::default(),
        cpu: Cell::new(0),
        several: Several::new(memory.machine.cpus()),
        polls: Polls::default(),
        stats: Stats::new(&memory)?,
        trace: Trace::default(),
        memory,
    };
    set_apart(&state)?;
    first::name_kernel_schemes(&state)?;
    Ok(Kernel { state })
}

/// Sets the records apart that stand for nothing.
fn set_apart(s: &State) -> Result<(), Errno> {
    take_nobody(s)?;
    s.rings.set_absent_apart(&s.memory)?;
    s.chunks.set_absent_apart(&s.memory)?;
    s.files.set_absent_apart(&s.memory)?;
    s.links.set_absent_apart(&s.memory)
}

/// Sets the record apart that has the slots which no operation has.
fn take_nobody(s: &State) -> Result<(), Errno> {
    let nobody = s.ops.take(&s.memory)?;
    if nobody != NOBODY {
        crate::bug!("the first record of an operation is {nobody}");
    }
    s.ops.at(nobody).slot_tag.set(NO_TAG);
    s.idle_ops.set(1);
    Ok(())
}
