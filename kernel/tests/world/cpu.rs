//! The processor: what enters the kernel, and what goes on after it.

use super::loader::{self, ENTRY, STACK};
use super::program::{EXEC_STACK, Ends};
use super::{FIRST, LONGEST, Mode, PATIENCE, Program, World, entry};
use kernel::arch::fake::OneOf;
use kernel::arch::fake::{PageFault, effort};
use kernel::arch::{Machine, Only};
use kernel::context::context::State;
use kernel::entry::event::{Enter, Event, Fault, Resume};
use kernel::entry::poller;
use ring_abi::context::Registers;
use ring_abi::enter::Control;
use ring_abi::layout::{Sizes, word};
use ring_abi::sync::Ordering::Relaxed;

impl World {
    /// The machine.
    pub fn machine(&self) -> &Machine {
        &self.kernel.state.memory.machine
    }

    /// Who runs now on the processor that the test plays.
    pub fn on_cpu(&self) -> Option<Program> {
        self.cpus[self.cpu].0
    }

    /// Who runs on a processor.
    pub fn runs_on(&self, cpu: usize) -> Option<Program> {
        self.cpus[cpu].0
    }

    fn put_on_cpu(&mut self, program: Option<Program>) {
        self.cpus[self.cpu].0 = program;
    }

    /// How many processors there are.
    pub fn cpus(&self) -> usize {
        self.cpus.len()
    }

    /// The processor that the test plays.
    pub fn cpu(&self) -> usize {
        self.cpu
    }

    /// Plays another processor from now on.
    pub fn switch(&mut self, cpu: usize) {
        self.cpu = cpu;
        self.machine().run_as(cpu);
    }

    /// Lets every processor enter the kernel that was poked. `false` if none was.
    pub fn take_pokes(&mut self) -> bool {
        let poked: Vec<_> = (0..self.cpus()).filter(|cpu| self.machine().is_poked(*cpu)).collect();
        poked.iter().for_each(|cpu| _ = self.take_poke(*cpu));
        !poked.is_empty()
    }

    /// Lets a processor enter the kernel if it was poked.
    pub fn take_poke(&mut self, cpu: usize) -> bool {
        if self.halted.is_some() || !self.machine().take_poke(cpu) {
            return false;
        }
        self.switch(cpu);
        self.leave(Mode::Own);
        self.step(Event::Again);
        true
    }

    /// Lets the processor that polls enter the kernel, if it sees something. `false` if there is none, or it sees nothing.
    pub fn look(&mut self) -> bool {
        let looks = (0..self.cpus()).find(|cpu| self.machine().sees_news(*cpu));
        let Some(cpu) = looks.filter(|_| self.halted.is_none()) else { return false };
        self.switch(cpu);
        self.step(Event::Again);
        true
    }

    /// How many programs there are, ended ones counted.
    pub fn programs(&self) -> usize {
        self.programs.len()
    }

    /// With what the system ended, if it has.
    pub fn halted(&self) -> Option<u32> {
        self.halted
    }

    /// What a program does.
    pub fn mode(&self, program: Program) -> Mode {
        self.programs[program.0].mode
    }

    /// The program that runs enters the kernel.
    pub fn enter(&mut self, ring: u64, control: Control, deadline: u64) {
        self.leave(Mode::Entered);
        self.step(Event::Enter(Enter { ring, control, deadline }));
    }

    /// The program that runs does what the processor calls a mistake.
    pub fn fault(&mut self, vector: u8, code: u64, address: u64) {
        let program = self.on_cpu();
        self.leave(Mode::Own);
        self.step(Event::Fault(Fault { vector, code, address }));
        if let Some(program) = program.filter(|program| self.is_paging(*program)) {
            self.state(program).mode = Mode::Paging;
        }
    }

    /// Whether a program's context waits for a page.
    pub fn is_paging(&self, program: Program) -> bool {
        self.kernel.state.contexts.at(self.context_of(program)).state.get() == State::Paging
    }

    /// The program that runs makes a system call that is not `ring_enter`.
    pub fn old_call(&mut self) {
        self.leave(Mode::Own);
        self.step(Event::Call);
    }

    /// The same by a program with a handler for it; gives the registers of the call.
    pub fn old_call_registers(&mut self, program: Program) -> Registers {
        self.give_cpu(program);
        self.state(program).diverted = true;
        self.old_call();
        self.state(program).registers
    }

    /// Registers of the program that runs, as they were when it came back.
    pub fn current_registers(&self) -> Option<Registers> {
        self.cpus[self.cpu].0.and(self.cpus[self.cpu].1)
    }

    /// An interrupt line is raised; whoever runs is interrupted if it is let through.
    pub fn interrupt(&mut self, line: u8) {
        self.machine().raise_irq(line);
        self.take_interrupts();
    }

    /// Interrupts that are waiting come in.
    pub fn take_interrupts(&mut self) {
        while let Some(line) = self.machine().take_irq() {
            // Devices interrupt the first processor.
            self.switch(0);
            self.leave(Mode::Own);
            self.step(Event::Interrupt(line));
        }
    }

    /// Time passes; the timer goes off if it is due.
    pub fn advance(&mut self, nanoseconds: u64) {
        self.machine().advance(nanoseconds);
        let (own, all) = (self.cpu, self.cpus());
        for cpu in (0..all).map(|ahead| (own + ahead) % all) {
            self.switch(cpu);
            self.take_timer();
        }
        self.switch(own);
    }

    /// Time passes until the timer goes off. `false` if it is not set.
    pub fn advance_to_timer(&mut self) -> bool {
        let timers = (0..self.cpus()).filter_map(|cpu| self.machine().timer_of(cpu));
        let Some(deadline) = timers.min() else { return false };
        let left = deadline.saturating_sub(self.machine().now());
        self.advance(left);
        true
    }

    fn take_timer(&mut self) {
        if self.halted.is_none() && self.machine().take_timer() {
            self.leave(Mode::Own);
            self.step(Event::Timer);
        }
    }

    /// Whoever runs, if anybody, stops running its own code. What the stubs save is saved.
    fn leave(&mut self, into: Mode) {
        let Some(program) = self.on_cpu() else { return };
        let registers = self.noisy_registers(program);
        let state = self.state(program);
        state.registers = registers;
        state.mode = into;
        state.full = into == Mode::Own;
        if into == Mode::Entered {
            state.returned = None;
            self.machine().save_at_enter(&registers);
        } else {
            self.machine().save_at_event(&registers);
        }
    }

    /// One step of the kernel and what follows from it, with all checks.
    pub fn step(&mut self, event: Event) {
        assert_eq!(self.halted, None, "the system has ended");
        let mut event = event;
        loop {
            self.steps += 1;
            let before = effort::units();
            let resume = if self.cpus() == 1 {
                self.kernel.step(Only, event)
            } else {
                self.machine().stop_watching();
                self.machine().answer();
                self.kernel.step(OneOf(self.cpu), event)
            };
            let touched = effort::units().wrapping_sub(before);
            self.longest = self.longest.max(touched);
            assert!(touched <= LONGEST, "step {} touches {touched}: {event:?}", self.steps);
            self.check_reached();
            if self.steps.is_multiple_of(self.audit_every) {
                self.check();
            }
            match resume {
                Resume::Same(value) => {
                    let program = self.on_cpu().expect("somebody entered");
                    self.came_back(program, Some(value as i64 as u64));
                    return;
                }
                Resume::Touched => return self.stayed(),
                Resume::Waiter(id) => return self.resume_waiter(id),
                Resume::Context(id) => return self.resume(id),
                Resume::Again if self.cpus() > 1 => {
                    // It comes back, but others may be quicker.
                    self.runs_nobody();
                    self.machine().poke(self.cpu);
                    return;
                }
                Resume::Again => {
                    self.runs_nobody();
                    event = Event::Again;
                }
                Resume::Poll => {
                    self.runs_nobody();
                    return self.machine().watch(poller::places(&self.kernel.state));
                }
                Resume::Idle => return self.runs_nobody(),
                Resume::Halt(status) => {
                    self.put_on_cpu(None);
                    self.halted = Some(status);
                    return;
                }
            }
        }
    }

    /// No frame is free that a processor reaches: by a translation, or because it looks at a ring there.
    fn check_reached(&self) {
        let machine = self.machine();
        for frame in machine.audit_tlb().into_iter().chain(machine.watched_frames()) {
            let is_free = self.kernel.state.memory.frames.is_free(frame);
            assert!(!is_free, "step {}: {frame:?} is free, and a processor reaches it", self.steps);
        }
    }

    /// All that comes back to this context is a zero.
    fn resume_waiter(&mut self, id: u32) {
        let regs = &self.kernel.state.contexts.at(id).regs;
        assert!(regs.returns_zero(), "context {id} waits in no ring: {regs:?}");
        self.resume(id);
    }

    fn runs_nobody(&mut self) {
        self.put_on_cpu(None);
        if self.cpus() > 1 {
            self.machine().let_all_go();
        }
    }

    /// A context gets the processor: finds out which program it is, and compares its registers.
    fn resume(&mut self, id: u32) {
        let registers = loader::go_on(&self.kernel, id);
        let Some(program) = self.program_at(registers.rip) else { return self.end_stranger(&registers) };
        self.cpus[self.cpu] = (Some(program), Some(registers));
        let root = self.machine().active();
        let state = self.state(program);
        state.root = root;
        state.id = Some(id);
        if state.next_fs == Some(registers.fs_base) {
            state.next_fs = None;
            state.registers.fs_base = registers.fs_base;
        }
        let before = state.registers;
        if matches!(state.mode, Mode::Entered | Mode::Own) && registers.rsp == EXEC_STACK {
            // It is another program now, with a ring of its own.
            state.mode = Mode::Own;
            state.registers.fs_base = registers.fs_base;
            state.replaced += 1;
            state.rings.clear();
            state.inbox.clear();
            self.attach_ring(program, registers.rdi, None);
            return;
        }
        match state.mode {
            Mode::Ended => panic!("{program:?} has ended and runs again"),
            Mode::Fresh => {
                let ring = registers.rdi;
                if program != FIRST {
                    assert_eq!((registers.rsp, registers.rsi), (STACK, state.argument));
                    assert_eq!(registers.rip, entry(program));
                }
                state.mode = Mode::Own;
                let sizes = (program != FIRST).then_some(state.sizes);
                self.attach_ring(program, ring, sizes);
                return;
            }
            Mode::Own if std::mem::take(&mut state.diverted) => {}
            Mode::Own | Mode::Paging => {
                assert_eq!(before, Registers { ..registers }, "{program:?} lost registers")
            }
            Mode::Entered => {
                let kept =
                    |r: &Registers| [r.rip, r.rsp, r.fs_base, r.rbx, r.rbp, r.r12, r.r13, r.r14, r.r15];
                assert_eq!(kept(&before), kept(&registers), "{program:?} lost registers");
            }
        }
        let value = (state.mode == Mode::Entered).then_some(registers.rax);
        self.came_back(program, value);
    }

    /// Whose code an address is.
    fn program_at(&self, rip: u64) -> Option<Program> {
        let offset = rip.checked_sub(ENTRY)?;
        let number = (offset / 16) as usize;
        (number < self.programs.len()).then_some(Program(number))
    }

    /// A context that no test knows runs into an instruction that is not one.
    fn end_stranger(&mut self, registers: &Registers) {
        self.machine().save_at_event(registers);
        self.step(Event::Fault(Fault { vector: 6, code: 0, address: 0 }));
    }

    /// The program that runs touched a page and goes on as it was.
    fn stayed(&mut self) {
        let program = self.on_cpu().expect("somebody touched a page");
        self.came_back(program, None);
    }

    fn came_back(&mut self, program: Program, value: Option<u64>) {
        let state = self.state(program);
        state.mode = Mode::Own;
        if value.is_some() {
            state.returned = value;
        }
    }

    /// Registers that are different at every leave, under an address that says who it is.
    fn noisy_registers(&mut self, program: Program) -> Registers {
        let fs_base = self.state(program).registers.fs_base;
        let mut next = || {
            self.noise =
                self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            self.noise >> 16
        };
        Registers {
            rip: entry(program),
            rsp: STACK - (next() & 0xff8),
            rflags: 0x202,
            fs_base,
            rax: next(),
            rbx: next(),
            rcx: next(),
            rdx: next(),
            rsi: next(),
            rdi: next(),
            rbp: next(),
            r8: next(),
            r9: next(),
            r10: next(),
            r11: next(),
            r12: next(),
            r13: next(),
            r14: next(),
            r15: next(),
        }
    }

    /// The program on the CPU learns of a ring at one of its addresses.
    pub fn attach_ring(&mut self, program: Program, address: u64, sizes: Option<Sizes>) {
        let header = self.machine().ring_of_program(address, Sizes::SMALLEST).expect("a ring is mapped");
        let packed = header.header(word::SIZES).load(Relaxed);
        assert_eq!(header.header(word::VERSION).load(Relaxed), ring_abi::ABI_VERSION);
        let shown = Sizes::unpack(packed).expect("the header says its sizes");
        assert!(sizes.is_none_or(|wanted| wanted == shown), "the ring has other sizes: {shown:?}");
        let view = self.machine().ring_of_program(address, shown).expect("a ring is mapped");
        self.state(program).rings.push(Ends::new(view, shown, address));
    }

    /// The program does something to its memory once; a page fault goes to the kernel. Whether it waits for the page.
    pub fn touch_once(
        &mut self,
        program: Program,
        what: impl FnOnce(&Machine) -> Result<(), PageFault>,
    ) -> bool {
        self.give_cpu(program);
        let Err(fault) = what(self.machine()) else { return false };
        self.fault(14, fault.code, fault.address);
        self.mode(program) == Mode::Paging
    }

    /// The program does something to its memory; a page fault goes to the kernel, and it tries again.
    /// `false` if that ended it.
    pub fn touch(
        &mut self,
        program: Program,
        mut what: impl FnMut(&Machine) -> Result<(), PageFault>,
    ) -> bool {
        for _ in 0..PATIENCE {
            if !self.reach(program) {
                return false;
            }
            let Err(fault) = what(self.machine()) else { return true };
            self.fault(14, fault.code, fault.address);
            if self.has_ended(program) {
                return false;
            }
        }
        panic!("{program:?} faults for ever");
    }
}
