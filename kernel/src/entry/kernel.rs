//! The kernel as a value: one event in, what to run next out.
#![forbid(unsafe_code)]

use super::event::{Enter, Event, Resume};
use crate::base::NONE;
use crate::base::budget::Budget;
use crate::context::cpu::Cpu;
use crate::op::state::State;
use crate::op::stats::count;

/// The kernel.
pub struct Kernel {
    /// All of its state.
    pub state: State,
}

impl Kernel {
    /// Takes one event on processor `cpu` and says what that processor runs next.
    ///
    /// When it returns, nothing is left on the stack that a later step needs.
    #[inline(always)]
    pub fn step(&self, cpu: usize, event: Event) -> Resume {
        match event {
            Event::Enter(enter) => self.enter(cpu, enter),
            other => self.other(cpu, other),
        }
    }

    /// The running context entered a ring: [`step`](Self::step) for that event.
    #[inline(always)]
    pub fn enter(&self, cpu: usize, enter: Enter) -> Resume {
        let s = &self.state;
        let cpu = self.begin(cpu);
        count(&s.stats.enters);
        let budget = self.budget();
        let current = cpu.current.get();
        match super::enter::enter(s, current, enter, budget) {
            super::enter::Then::Go(value) if !super::choose::is_pressed(cpu) => {
                self.end_brief(cpu);
                Resume::Same(value)
            }
            super::enter::Then::Wait if super::choose::is_handed(cpu) => {
                self.end_brief(cpu);
                super::choose::hand_over(s, cpu)
            }
            then => {
                let resume = super::choose::after_enter(s, cpu, current, then, budget);
                self.end(cpu, 0);
                resume
            }
        }
    }

    /// Ends a step that most often was too short to be looked at.
    #[inline(always)]
    fn end_brief(&self, cpu: &Cpu) {
        if cpu.measure.get() {
            self.end(cpu, 0);
        }
    }

    /// Anything else.
    #[inline(never)]
    fn other(&self, cpu: usize, event: Event) -> Resume {
        let s = &self.state;
        let cpu = self.begin(cpu);
        count(&s.stats.events);
        let budget = self.budget();
        if cpu.current.get() != NONE {
            super::choose::pause(s, cpu);
        }
        let kind = match event {
            Event::Enter(_) | Event::Again => 1,
            Event::Timer => {
                super::interrupt::timer(s, cpu, budget);
                2
            }
            Event::Interrupt(line) => {
                super::interrupt::line(s, line);
                3
            }
            Event::Fault(fault) => {
                super::fault::fault(s, cpu, fault);
                4
            }
            Event::Call => {
                super::fault::call(s, cpu);
                5
            }
        };
        let resume = super::choose::next(s, cpu, budget);
        self.end(cpu, kind);
        resume
    }

    #[inline(always)]
    fn begin(&self, cpu: usize) -> &Cpu {
        let s = &self.state;
        s.cpu.set(cpu);
        let cpu = s.this_cpu();
        cpu.step_start.set(s.memory.machine.ticks());
        cpu
    }

    /// A fresh budget for this step.
    #[inline(always)]
    fn budget(&self) -> &Budget {
        let budget = &self.state.memory.budget;
        budget.refill();
        budget
    }

    /// Remembers the longest step.
    #[cold]
    #[inline(never)]
    fn end(&self, cpu: &Cpu, kind: u8) {
        let s = &self.state;
        cpu.measure.set(false);
        let ticks = s.memory.machine.ticks().wrapping_sub(cpu.step_start.get());
        if ticks > s.stats.longest_step.get() {
            s.stats.longest_step.set(ticks);
            s.stats.longest_kind.set(kind);
        }
    }
}
