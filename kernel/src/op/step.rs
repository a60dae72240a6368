//! What the step that runs has found out and decided so far. There is one: the kernel takes one step at a time.
#![forbid(unsafe_code)]

use crate::arch::Machine;
use crate::base::NONE;
use core::cell::Cell;

/// The timer, or who is ready, has to be looked at before the step ends.
const TIMER: u8 = 1;
/// The step did something off the shortest roads: how long it takes is looked at.
const MEASURED: u8 = 2;
/// A context waits to be handed the processor.
const HANDOFF: u8 = 4;
/// Operations that were held are due.
const DUE: u8 = 8;

/// The step that runs.
#[derive(Debug)]
pub struct Step {
    /// A context that it woke and that runs next, without a trip through the queue; or `NONE`.
    handoff: Cell<u32>,
    /// What is to be done at its end; zero if it is over without that.
    chores: Cell<u8>,
    /// When it left the shortest roads, in ticks of the processor.
    start: Cell<u64>,
}

impl Default for Step {
    fn default() -> Self {
        Step { handoff: Cell::new(NONE), chores: Cell::new(0), start: Cell::new(0) }
    }
}

impl Step {
    /// The context that runs next without a trip through the queue, or `NONE`.
    pub fn handoff(&self) -> u32 {
        self.handoff.get()
    }

    /// Hands a context the processor. There is none yet that was.
    pub fn hand(&self, context: u32) {
        self.handoff.set(context);
        self.chores.set(self.chores.get() | HANDOFF);
    }

    /// Takes the context that was handed the processor, or `NONE`.
    pub fn take_handoff(&self) -> u32 {
        self.chores.set(self.chores.get() & !HANDOFF);
        self.handoff.replace(NONE)
    }

    /// The timer, or who is ready, has to be looked at before the step ends.
    pub fn rearm(&self) {
        self.chores.set(self.chores.get() | TIMER);
    }

    /// Operations that were held are to start, or all of them have.
    pub fn set_due(&self, are_due: bool) {
        self.chores.set(self.chores.get() & !DUE | if are_due { DUE } else { 0 });
    }

    /// Whether operations that were held may be due.
    pub fn are_due(&self) -> bool {
        self.chores.get() & DUE != 0
    }

    /// The timer is about to be looked at; whether that is to be done again at the next step's end.
    pub fn rearmed(&self, again: bool) {
        self.chores.set(self.chores.get() & !TIMER | if again { TIMER } else { 0 });
    }

    /// What is to be seen to at the step's end; zero if it is [brief](Self::is_brief).
    #[inline(always)]
    pub fn chores(&self) -> u64 {
        u64::from(self.chores.get())
    }

    /// Whether the step ends here, with nothing to see to and nobody handed the processor. Nobody was ended then.
    #[inline(always)]
    pub fn is_brief(&self) -> bool {
        self.chores.get() == 0
    }

    /// Whether the step ends here, and nothing is to be seen to but the context that was handed the processor.
    #[inline(always)]
    pub fn is_handed_briefly(&self) -> bool {
        self.chores.get() == HANDOFF
    }

    /// Whether nothing is to be seen to but its measure.
    pub fn is_done(&self) -> bool {
        self.chores.get() & !MEASURED == 0
    }

    /// Whether nothing is to be seen to but its measure and the context that was handed the processor.
    pub fn is_handed(&self) -> bool {
        self.chores.get() & !MEASURED == HANDOFF
    }

    /// The step leaves the shortest roads: its time counts from here. Before this it took some hundred instructions
    /// at most.
    #[inline(always)]
    pub fn measure(&self, machine: &Machine) {
        if self.chores.get() & MEASURED == 0 {
            self.chores.set(self.chores.get() | MEASURED);
            self.start.set(machine.ticks());
        }
    }

    /// The ticks that the step took, if it is measured. It is over.
    pub fn measured(&self, machine: &Machine) -> Option<u64> {
        let measured = self.chores.get() & MEASURED != 0;
        self.chores.set(self.chores.get() & !MEASURED);
        measured.then(|| machine.ticks().wrapping_sub(self.start.get()))
    }
}
