//! The kernel as a value: one event in, what to run next out.
#![forbid(unsafe_code)]

use super::choose;
use super::enter::{self, Left, Road, Single, Then, Wait};
use super::event::{Enter, Event, Fault, Resume};
use super::swap;
use crate::arch::Which;
use crate::base::{NONE, is_none};
use crate::context::context::State as Run;
use crate::context::cpu::Cpu;
use crate::op::chain;
use crate::op::state::State;
use crate::op::stats::count;
use crate::op::summon;
use crate::op::turns::bit;
use crate::ring::duplex::Ring;
use ring_abi::Errno;
use ring_abi::enter::Control;

/// What is done at the end of a step.
///
/// A step calls it in each of its branches, so that on the shortest roads there is no answer to look at again.
pub trait End {
    /// What comes of it.
    type Outcome;
    /// Does what the step says.
    fn end(self, resume: Resume) -> Self::Outcome;
}

/// Gives what the step says to the caller.
struct Told;

impl End for Told {
    type Outcome = Resume;

    #[inline(always)]
    fn end(self, resume: Resume) -> Resume {
        resume
    }
}

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
    pub fn step(&self, cpu: impl Which, event: Event) -> Resume {
        match event {
            Event::Enter(enter) => self.enter(cpu, enter),
            Event::Interrupt(line) => self.interrupt(cpu, line, Told),
            Event::Fault(fault) => match self.touch(cpu, fault) {
                Ok(()) => Resume::Touched,
                Err(error) => self.mistake(cpu, fault, error),
            },
            other => self.other(cpu, other),
        }
    }

    /// The running context was stopped by a fault. If it only touched a page, which is ready now, it stays where it is, and its
    /// registers where the processor has put them. Otherwise nothing has changed, and the error says why; `EAGAIN`: it is to
    /// stop or to end first.
    #[inline(always)]
    fn touch<W: Which>(&self, which: W, fault: Fault) -> Result<(), Errno> {
        let s = &self.state;
        let cpu = self.begin(which);
        if W::MANY && cpu.summoned.get() {
            return Err(Errno::AGAIN);
        }
        super::fault::touch(s, s.contexts.at(cpu.current.get()), fault)?;
        count(&s.stats.events);
        count(&s.stats.touches);
        Ok(())
    }

    /// The same fault, which was no touch of a page.
    #[cold]
    fn mistake(&self, which: impl Which, fault: Fault, error: Errno) -> Resume {
        self.slowly(which, |s, cpu, is_gone| {
            // What was to be its end is nobody's now.
            if !is_gone {
                super::fault::fault(s, cpu, fault, error);
            }
            4
        })
    }

    /// The running context entered a ring: [`step`](Self::step) for that event.
    pub fn enter(&self, cpu: impl Which, args: Enter) -> Resume {
        let current = self.state.contexts.at(self.cpu(cpu.number()).current.get());
        let ring = current.ring(args.ring);
        match self.look(cpu, ring, args.control) {
            Road::Done => Resume::Same(0),
            Road::Refused(error) => {
                count(&self.state.stats.refused);
                Resume::Same(error.refusal())
            }
            Road::Read(single) => self.read(cpu, single, Told),
            Road::Swap(single) => self.swap(cpu, single, Told),
            Road::Other(single) => self.single(cpu, single, Told),
            Road::Serve(ring) => self.serve(cpu, ring, Told),
            Road::Long(ring) => self.long(cpu, ring, args.control, args.deadline, Told),
            Road::Summoned => self.summoned(cpu, ring, args.control, args.deadline),
        }
    }

    /// First part of [`enter`](Self::enter), for the ring of this name: which of the others follows, if any.
    #[inline(always)]
    pub fn look<W: Which>(&self, cpu: W, ring: u32, control: Control) -> Road<'_> {
        if W::MANY && self.cpu(cpu.number()).summoned.get() {
            return Road::Summoned;
        }
        enter::look(&self.state, ring, control)
    }

    /// Second part, for a single read and a wait for a completion.
    #[inline(always)]
    pub fn read<E: End>(&self, which: impl Which, single: Single<'_>, end: E) -> E::Outcome {
        let cpu = self.begin(which);
        self.finish(cpu, enter::read_alone(&self.state, which, cpu, single), end)
    }

    /// Second part, for a single swap and a wait for a completion.
    #[inline(always)]
    pub fn swap<E: End>(&self, which: impl Which, single: Single<'_>, end: E) -> E::Outcome {
        let cpu = self.begin(which);
        self.finish(cpu, swap::swap(&self.state, which, cpu, single), end)
    }

    /// Second part, for any other single submission and a wait for a completion.
    #[inline(always)]
    pub fn single<E: End>(&self, which: impl Which, single: Single<'_>, end: E) -> E::Outcome {
        let cpu = self.begin(which);
        self.finish(cpu, enter::other_alone(&self.state, which, cpu, single), end)
    }

    /// Second part, for a daemon's replies and a wait for requests.
    #[inline(always)]
    pub fn serve<E: End>(&self, which: impl Which, ring: &Ring, end: E) -> E::Outcome {
        let cpu = self.begin(which);
        self.finish(cpu, enter::serve(&self.state, which, cpu, ring), end)
    }

    /// Second part, for anything.
    #[inline(always)]
    pub fn long<E: End>(
        &self,
        cpu: impl Which,
        ring: &Ring,
        control: Control,
        deadline: u64,
        end: E,
    ) -> E::Outcome {
        let cpu = self.begin(cpu);
        let then = Wait::new(control, deadline);
        self.finish(cpu, Left::Rest(enter::long(&self.state, ring, control.to_submit(), then)), end)
    }

    /// Second part, when another processor has marked the context that entered.
    #[cold]
    #[inline(never)]
    pub fn summoned(&self, cpu: impl Which, ring: u32, control: Control, deadline: u64) -> Resume {
        let s = &self.state;
        let cpu = self.begin(cpu);
        s.step.measure(&s.memory.machine);
        s.step.rearm();
        let current = cpu.current.get();
        let then = if summon::answer(s, cpu, current) {
            Then::Gone
        } else if let Some(ring) = s.rings.get(ring) {
            enter::long(s, ring, control.to_submit(), Wait::new(control, deadline))
        } else {
            Then::Go(Errno::BADF.refusal())
        };
        chain::run(s);
        summon::stop_now(s, current);
        let has_ended = s.contexts.at(current).state.get() != Run::Active;
        let then = if has_ended && matches!(then, Then::Go(_)) { Then::Gone } else { then };
        let resume = choose::after_enter(s, cpu, current, then);
        self.end(0);
        resume
    }

    /// The end of a step in which a ring was entered. The next one begins with a full budget; a brief exchange of places
    /// has spent nothing.
    #[inline(always)]
    fn finish<E: End>(&self, cpu: &Cpu, left: Left, end: E) -> E::Outcome {
        let s = &self.state;
        let then = match left {
            Left::HandOver(next) => {
                choose::hand_over(cpu, next);
                return end.end(Resume::Waiter(next));
            }
            Left::GoOn(next) => return end.end(Resume::Context(next)),
            Left::Rest(then) => then,
        };
        count(&s.stats.enters);
        match then {
            Then::Go(value) if s.step.is_brief() => {
                s.memory.budget.refill();
                end.end(Resume::Same(value))
            }
            Then::Wait if s.step.is_handed_briefly() && choose::may_hand_over(cpu) => {
                s.memory.budget.refill();
                let next = s.step.take_handoff();
                count(&s.stats.switches);
                s.contexts.at(next).state.set(Run::Active);
                choose::hand_over(cpu, next);
                end.end(Resume::Context(next))
            }
            then => end.end(self.finish_slowly(cpu, cpu.current.get(), then)),
        }
    }

    #[cold]
    #[inline(never)]
    fn finish_slowly(&self, cpu: &Cpu, current: u32, then: Then) -> Resume {
        let s = &self.state;
        let has_run = s.contexts.at(current).state.get() == Run::Active;
        if s.step.are_due() && chain::run(s) && has_run && s.contexts.at(current).state.get() != Run::Active {
            // One of its own operations ended it, or put another program in its place.
            let resume = choose::after_enter(s, cpu, current, Then::Gone);
            self.end(0);
            return resume;
        }
        let has_ended = s.contexts.at(current).state.get() != Run::Active;
        let resume = match then {
            Then::Go(_) if has_ended => choose::after_enter(s, cpu, current, Then::Gone),
            Then::Wait if s.step.is_handed() && choose::may_hand_over(cpu) => {
                let next = s.step.take_handoff();
                count(&s.stats.switches);
                s.contexts.at(next).state.set(Run::Active);
                choose::hand_over(cpu, next);
                Resume::Context(next)
            }
            Then::Wait if s.step.is_done() && choose::may_give_to_held(s, cpu) => {
                Resume::Context(choose::give_to_held(s, cpu))
            }
            Then::Go(value) if s.step.is_done() => Resume::Same(value),
            Then::Go(value) if s.step.is_handed() && choose::may_hold_woken(s, cpu) => {
                choose::hold_woken(s, cpu);
                Resume::Same(value)
            }
            then => choose::after_enter(s, cpu, current, then),
        };
        self.end(0);
        resume
    }

    /// A device's line was raised. Whoever waited for it goes on at once if nothing else is to be seen to.
    #[inline(always)]
    pub fn interrupt<W: Which, E: End>(&self, cpu: W, line: u8, end: E) -> E::Outcome {
        let s = &self.state;
        if W::MANY && self.cpu(cpu.number()).summoned.get() {
            return end.end(self.other(cpu, Event::Interrupt(line)));
        }
        let which = cpu;
        let cpu = self.begin(which);
        let now = s.memory.machine.now();
        count(&s.stats.events);
        if !is_none(cpu.current.get()) {
            choose::pause(which, s, cpu);
        }
        super::interrupt::line(s, line, now);
        // Whoever was interrupted waits where no other processor would find it.
        let may_wait = !W::MANY || is_none(cpu.held.get()) && !s.polls.is_poller(s.cpu.get());
        if may_wait
            && s.step.is_handed_briefly()
            && choose::may_hand_over(cpu)
            && choose::is_prepared(s, cpu, now)
        {
            s.memory.budget.refill();
            let next = s.step.take_handoff();
            count(&s.stats.switches);
            s.contexts.at(next).state.set(Run::Active);
            choose::hand_over(cpu, next);
            return end.end(Resume::Context(next));
        }
        end.end(self.interrupted(cpu))
    }

    /// The end of an interrupt that wakes nobody, or more than one.
    #[cold]
    #[inline(never)]
    fn interrupted(&self, cpu: &Cpu) -> Resume {
        let s = &self.state;
        s.step.measure(&s.memory.machine);
        chain::run(s);
        s.settle(cpu);
        let resume = choose::next(s, cpu, &s.memory.budget, false);
        self.end(3);
        resume
    }

    /// Anything else.
    #[inline(never)]
    fn other(&self, which: impl Which, event: Event) -> Resume {
        self.slowly(which, |s, cpu, is_gone| match event {
            Event::Interrupt(line) => {
                super::interrupt::line(s, line, s.memory.machine.now());
                3
            }
            Event::Timer => {
                super::interrupt::timer(s, cpu, &s.memory.budget);
                2
            }
            // What was to be its call is nobody's now.
            Event::Call if !is_gone => {
                super::fault::call(s, cpu);
                5
            }
            Event::Enter(_) | Event::Again | Event::Call | Event::Fault(_) => 1,
        })
    }

    /// A step that stops whoever runs, handles something, of which it gives the kind, and chooses who runs next. What handles it
    /// hears whether the one that ran has ended or was stopped meanwhile.
    #[inline(always)]
    fn slowly<W: Which>(&self, which: W, handle: impl FnOnce(&State, &Cpu, bool) -> u8) -> Resume {
        let s = &self.state;
        let cpu = self.begin(which);
        s.step.measure(&s.memory.machine);
        count(&s.stats.events);
        let current = cpu.current.get();
        if current != NONE {
            choose::pause(which, s, cpu);
        }
        let is_summoned = W::MANY && cpu.summoned.get();
        let is_gone = is_summoned && summon::answer(s, cpu, current);
        let kind = handle(s, cpu, is_gone);
        if is_summoned && !is_gone {
            summon::stop_now(s, current);
        }
        chain::run(s);
        s.settle(cpu);
        let resume = choose::next(s, cpu, &s.memory.budget, false);
        self.end(kind);
        resume
    }

    #[inline(always)]
    fn begin<W: Which>(&self, cpu: W) -> &Cpu {
        let s = &self.state;
        if W::MANY {
            s.cpu.set(cpu.number());
            self.arrive(cpu.number());
        }
        self.cpu(cpu.number())
    }

    /// One of several processors enters: it does not sleep, it has forgotten what it was asked to, and the block that its
    /// last context had is free, since its registers are loaded.
    fn arrive(&self, cpu: usize) {
        let s = &self.state;
        s.several.sleeping.set(s.several.sleeping.get() & !bit(cpu));
        if s.several.worker.get() == Some(cpu) {
            s.several.worker.set(None);
        }
        s.memory.collect();
        if s.this_cpu().looks.replace(false) {
            s.step.rearm();
        }
        let block = s.this_cpu().lent.replace(NONE);
        if block != NONE {
            s.blocks.give(block);
        }
    }

    #[inline(always)]
    fn cpu(&self, number: usize) -> &Cpu {
        match self.state.cpus.get(number) {
            Some(cpu) => cpu,
            None => crate::bug!("no such cpu"),
        }
    }

    /// The end of a step that was not brief: the next one has a full budget, and the longest is remembered.
    fn end(&self, kind: u8) {
        let s = &self.state;
        s.memory.budget.refill();
        if let Some(ticks) = s.step.measured(&s.memory.machine) {
            s.stats.note_step(ticks, kind);
        }
    }
}
