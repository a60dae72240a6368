//! A whole kernel on the fake machine, with programs and daemons as test objects.
//!
//! The world plays the processor and the programs: it tells the kernel what enters, follows what the kernel
//! says runs next, and looks after every step whether the promises hold:
//!
//! - the registers that a program gets back are those that it had;
//! - every operation completes exactly once, and nothing completes that was not asked for;
//! - the TLB holds no translation that was taken away;
//! - no step touches more than [`LONGEST`] says;
//! - the kernel's own accounts add up.
//!
//! Nothing here is random unless a test asks for it, and time passes only when a test or a wait lets it.
#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test file uses its part")]

mod audit;
mod cpu;
mod daemon;
mod dice;
mod loader;
mod program;

pub use daemon::Daemon;
pub use dice::Dice;
pub use program::{DATA, DATA_BYTES, EXEC_STACK, Mode, Program, Ticket, is_message, read, write};

use kernel::arch::Machine;
use kernel::context::file::Kind;
use kernel::entry::event::Event;
use kernel::entry::kernel::Kernel;
use loader::{ENTRY, STACK};
use program::{Ends, State};
use ring_abi::args::{self, CURRENT};
use ring_abi::context::{End, Registers};
use ring_abi::layout::Sizes;
use ring_abi::{Errno, enter};
use rmm::Frame;

/// Memory of a world unless a test wants another amount.
const MEMORY: usize = 32 << 20;
/// Turns after which something that should happen is not awaited any more.
const PATIENCE: usize = 100_000;

/// What a step may touch at most, in units of [`kernel::arch::fake::effort`].
pub const LONGEST: u64 = 24_000;

/// The first program, which has the capabilities.
pub const FIRST: Program = Program(0);

/// Its handle to the names of schemes.
const NAMESPACE: u64 = 0;
/// Its handle that lets it say who a program is.
const IDENTITY: u64 = 1;

/// A kernel, its machine and its programs.
pub struct World {
    pub kernel: Kernel,
    programs: Vec<State>,
    daemons: Vec<daemon::State>,
    /// For each processor who runs there, and with which registers it came back.
    cpus: Vec<(Option<Program>, Option<Registers>)>,
    /// The processor that the test plays now.
    cpu: usize,
    halted: Option<u32>,
    noise: u64,
    steps: u64,
    longest: u64,
    /// Steps between two looks at the kernel's accounts.
    pub audit_every: u64,
    /// Memory that programs get is not there before they touch it.
    pub is_lazy: bool,
}

/// Making worlds.
impl World {
    /// A booted system whose first program runs and has done nothing yet.
    pub fn new() -> World {
        World::with_memory(MEMORY)
    }

    /// The same with this many bytes of memory.
    pub fn with_memory(memory: usize) -> World {
        World::on(Machine::new(memory))
    }

    /// The same on a machine with this many processors; the first program runs on the first, the others sleep.
    pub fn with_cpus(memory: usize, cpus: usize) -> World {
        World::on(Machine::with_cpus(memory, cpus))
    }

    /// The same on this machine.
    pub fn on(machine: Machine) -> World {
        let cpus = machine.cpus();
        let kernel = loader::start_on(machine);
        let first = State::new(Sizes::SMALLEST); // its real ring is larger, and said by its header
        let mut world = World {
            kernel,
            programs: vec![first],
            daemons: Vec::new(),
            cpus: vec![(None, None); cpus],
            cpu: 0,
            halted: None,
            noise: 1,
            steps: 0,
            longest: 0,
            audit_every: 1,
            is_lazy: false,
        };
        world.step(Event::Again);
        world.run_until_placed(FIRST);
        let data = map_data(CURRENT);
        FIRST.call(&mut world, data).expect("there is memory");
        world
    }

    /// A program in a space of its own, with the smallest ring and the first program's capabilities.
    pub fn program(&mut self) -> Program {
        self.program_with(Sizes::SMALLEST)
    }

    /// The same with a ring of these sizes.
    pub fn program_with(&mut self, sizes: Sizes) -> Program {
        let space = FIRST.call(self, args::SpaceCreate {}.encode(0)).expect("there is memory");
        let table = FIRST.call(self, args::TableCreate { copy: 0 }.encode(0)).expect("there is memory");
        for fd in [NAMESPACE, IDENTITY] {
            let dup = args::HandleDup { fd, table, target: fd, flags: 0 };
            FIRST.call(self, dup.encode(0)).expect("there is memory");
        }
        let mut data = map_data(space);
        if self.is_lazy {
            data.args[3] &= !args::map::POPULATE;
        }
        FIRST.call(self, data).expect("there is memory");
        let program = self.context(FIRST, space, table, sizes);
        self.state(program).home = Some([space, table]);
        program
    }

    /// A further context in a program's space, with its handles. The first program makes it if it made the
    /// other one.
    pub fn thread(&mut self, of: Program, sizes: Sizes) -> Program {
        let Some(home) = self.state(of).home else { return self.context(of, CURRENT, CURRENT, sizes) };
        let home = home.map(|fd| {
            let dup = args::HandleDup { fd, table: CURRENT, target: args::LOWEST, flags: 0 };
            FIRST.call(self, dup.encode(0)).expect("there is memory")
        });
        let [space, table] = home;
        let thread = self.context(FIRST, space, table, sizes);
        self.state(thread).home = Some(home);
        thread
    }

    /// The first program's handles to a program's space and handle table.
    pub fn home(&mut self, program: Program) -> [u64; 2] {
        self.state(program).home.expect("the first program made it")
    }

    /// A context made by `maker`, which has run up to its first own instruction.
    pub fn context(&mut self, maker: Program, space: u64, table: u64, sizes: Sizes) -> Program {
        let program = Program(self.programs.len());
        let mut state = State::new(sizes);
        state.argument = 0x1000 + program.0 as u64;
        let create = args::ContextCreate {
            space,
            table,
            entry: entry(program),
            stack: STACK,
            argument: state.argument,
            sizes_flags: u64::from(sizes.packed()),
        };
        self.programs.push(state);
        let mut made = maker.call(self, create.encode(0));
        if made == Err(Errno::BUSY) {
            // Contexts of the space end together, and have not all done so.
            self.run_until_idle();
            made = maker.call(self, create.encode(0));
        }
        let context = made.expect("there is memory");
        self.state(program).context = context;
        self.state(program).maker = maker;
        maker.call(self, args::ContextStart { context }.encode(0)).expect("it is stopped");
        // Its space may end before.
        self.reach(program);
        program
    }
}

/// What the first program can do to others.
impl World {
    /// Says who a program is.
    pub fn identify(&mut self, program: Program, pid: u32, uid: u32, gid: u32) {
        let State { maker, context, .. } = *self.state(program);
        assert_eq!(maker, FIRST, "only the first program has the capability");
        let identity = args::ContextIdentity { context, pid, uid, gid, capability: IDENTITY };
        FIRST.call(self, identity.encode(0)).expect("it has the capability");
    }

    /// Sets the weight of a program that the first one made.
    pub fn weigh(&mut self, program: Program, weight: u32) {
        let context = self.state(program).context;
        let weigh = args::ContextWeight { context, weight, capability: IDENTITY };
        FIRST.call(self, weigh.encode(0)).expect("it has the capability");
    }

    /// Ends a program from outside, unless it has ended.
    pub fn kill(&mut self, program: Program) {
        if self.has_ended(program) {
            return;
        }
        let State { maker, context, .. } = *self.state(program);
        let result = maker.call(self, args::ContextKill { context }.encode(0));
        assert!(matches!(result, Ok(0) | Err(Errno::SRCH)), "it is known: {result:?}");
        self.run_until_idle();
        assert!(self.has_ended(program));
    }

    /// How a program ended, once it has.
    pub fn end_of(&mut self, program: Program) -> End {
        let State { maker, context, .. } = *self.state(program);
        let end = maker.call(self, args::ContextWait { context }.encode(0)).expect("it is known");
        End::from_raw(end).expect("an end")
    }

    /// Closes the handles to a program and its space, so that nothing is left of it once it has ended.
    pub fn forget(&mut self, program: Program) {
        let State { maker, context, .. } = *self.state(program);
        let home = self.state(program).home.take();
        for fd in home.into_iter().flatten().chain([context]) {
            maker.call(self, args::Close { fd }.encode(0)).expect("it is open");
        }
    }
}

/// Letting things happen.
impl World {
    /// Preempts others until this program runs.
    pub fn give_cpu(&mut self, program: Program) {
        assert!(self.reach(program), "{program:?} has ended");
    }

    /// The same; `false` if it ends before its turn, as it may if it was marked for that.
    fn reach(&mut self, program: Program) -> bool {
        for _ in 0..PATIENCE {
            if self.find(program) {
                return true;
            }
            if self.has_ended(program) || self.never_ran(program) {
                return false;
            }
            let mode = self.mode(program);
            let is_waiting = mode == Mode::Paging && self.is_paging(program);
            assert!(
                matches!(mode, Mode::Own | Mode::Fresh | Mode::Paging) && !is_waiting,
                "{program:?} cannot run: {mode:?}"
            );
            if self.take_pokes() {
                continue;
            }
            assert!(self.advance_to_timer(), "{program:?} is ready, but {:?} runs for ever", self.on_cpu());
        }
        panic!("{program:?} never gets its turn");
    }

    /// Goes to the processor that a program runs on. `false` if there is none.
    pub fn find(&mut self, program: Program) -> bool {
        if self.on_cpu() == Some(program) {
            return true;
        }
        let place = self.cpus.iter().position(|(runs, _)| *runs == Some(program));
        place.inspect(|cpu| self.switch(*cpu)).is_some()
    }

    /// Whether a program was ended before its first turn.
    fn never_ran(&mut self, program: Program) -> bool {
        let has_none = self.programs[program.0].id.is_none() && !is_to_run(&self.kernel, entry(program));
        if has_none {
            self.state(program).mode = Mode::Ended;
        }
        has_none
    }

    fn run_until_placed(&mut self, program: Program) {
        while !self.find(program) {
            assert!(self.take_pokes(), "{program:?} runs");
        }
    }

    /// Runs programs until something is so. Time passes if nothing else is left to happen.
    pub fn run_until(&mut self, what: &str, mut done: impl FnMut(&mut World) -> bool) {
        for _ in 0..PATIENCE {
            if done(self) {
                return;
            }
            if !self.turn() && !self.advance_to_timer() {
                panic!("nothing is left to happen before {what}");
            }
        }
        let work = audit::work(&self.kernel);
        let alive = self.programs.iter().enumerate().filter(|(_, state)| state.mode != Mode::Ended);
        for (number, state) in alive {
            let rings: Vec<_> = state.rings.iter().map(|ends| (ends.unsubmitted(), &ends.open)).collect();
            eprintln!("program {number}: {:?}, {rings:?}", state.mode);
        }
        panic!("it does not happen: {what}; {:?} runs, {work}", self.on_cpu());
    }

    /// Lets every program submit what it has filled and every daemon answer what it can, until nothing is
    /// left to do. Waits are not awaited.
    pub fn run_until_idle(&mut self) {
        for _ in 0..PATIENCE {
            if !self.turn() && !self.kernel_turn() {
                return;
            }
        }
        panic!("the world is never idle: {}", audit::work(&self.kernel));
    }

    /// One program enters the kernel because it has something for it. `false` if none has.
    fn turn(&mut self) -> bool {
        if self.halted.is_some() {
            return false;
        }
        if self.take_pokes() || self.look() {
            return true;
        }
        self.take_interrupts();
        (0..self.daemons.len()).for_each(|number| self.pump(number));
        (0..self.programs.len()).for_each(|number| self.notice_end(Program(number)));
        let mut all = (0..self.programs.len()).map(Program);
        let wants = |program: &Program| self.mode(*program) == Mode::Own && self.touched(*program).is_some();
        let first = self.on_cpu().filter(wants);
        let Some(program) = first.or_else(|| all.find(wants)) else { return false };
        let ring = self.touched(program).expect("it was just found");
        if !self.reach(program) {
            return true;
        }
        program.enter(self, ring, u64::from(u32::MAX), 0, 0, enter::NO_DEADLINE);
        true
    }

    /// The kernel goes on with work that it has put off. `false` if there is none.
    fn kernel_turn(&mut self) -> bool {
        if self.halted.is_some() || is_quiet(&self.kernel) {
            return false;
        }
        self.advance_to_timer()
    }

    /// Whether a program's handle leads to a file that the kernel serves.
    pub fn is_of_kernel(&self, program: Program, fd: u64) -> bool {
        let s = &self.kernel.state;
        let Some(context) = self.programs[program.0].id.map(|id| s.contexts.at(id)) else { return false };
        let Some(table) = s.tables.get(context.table.get()) else { return false };
        table.file(&s.chunks, fd).is_ok_and(|file| s.files.at(file).kind.get() == Kind::Kernel)
    }

    /// The root of a program's tables, as it was when it ran last.
    pub fn root(&self, program: Program) -> Option<Frame> {
        self.programs[program.0].root
    }

    fn touched(&self, program: Program) -> Option<usize> {
        self.programs[program.0].rings.iter().position(|ends| ends.touched)
    }

    /// Notices programs that have ended, and says whether this one has.
    pub fn has_ended(&mut self, program: Program) -> bool {
        self.notice_end(program);
        self.mode(program) == Mode::Ended
    }

    fn notice_end(&mut self, program: Program) {
        let ended = match self.programs[program.0].id {
            Some(id) => has_ended(&self.kernel, id, entry(program)),
            None => false,
        };
        if ended {
            self.state(program).mode = Mode::Ended;
        }
    }

    fn state(&mut self, program: Program) -> &mut State {
        &mut self.programs[program.0]
    }
}

/// Checks.
impl World {
    /// Looks at everything that must always hold.
    pub fn check(&self) {
        let looked = self.kernel.audit().and_then(|()| audit::check(&self.kernel));
        if let Err(what) = looked {
            panic!("after step {}: {what}", self.steps);
        }
    }

    /// Operations of a program that have not completed and must.
    pub fn owed(&self, program: Program) -> u32 {
        self.programs[program.0].rings.iter().map(Ends::owed).sum()
    }

    /// Programs that have not ended.
    pub fn live_programs(&mut self) -> usize {
        (0..self.programs.len()).filter(|number| !self.has_ended(Program(*number))).count()
    }

    /// The kernel's name of a program that has run.
    pub fn context_of(&self, program: Program) -> u32 {
        self.programs[program.0].id.expect("it has run")
    }

    /// How many rings a program has.
    pub fn rings(&self, program: Program) -> usize {
        self.programs[program.0].rings.len()
    }

    /// How often a program was replaced by another.
    pub fn replaced(&self, program: Program) -> u32 {
        self.programs[program.0].replaced
    }

    /// So many more allocations of the kernel succeed, and the one after them fails.
    pub fn starve(&self, left: u64) {
        self.kernel.state.memory.fail_after(Some(left));
    }

    /// Allocations succeed again.
    pub fn feed(&self) {
        self.kernel.state.memory.fail_after(None);
    }

    /// From now on an operation of a program may complete in another of its rings than it was submitted to.
    pub fn share_books(&mut self, program: Program) {
        self.state(program).moves = true;
    }

    /// A program's last ring is gone.
    pub fn forget_ring(&mut self, program: Program, ring: usize) {
        let gone = self.state(program).rings.pop().expect("it has rings");
        assert_eq!(self.rings(program), ring, "the last one");
        // What was in flight there was moved.
        let known = &mut self.state(program).rings[0].open;
        known.extend(gone.open);
    }

    /// One of a program's rings.
    pub fn ring(&self, program: Program, ring: usize) -> &Ends {
        &self.programs[program.0].rings[ring]
    }

    /// A daemon by its number.
    pub fn known_daemon(&self, number: usize) -> Daemon {
        self.daemons[number].daemon
    }

    /// What the system uses. Two moments with the same programs and files have the same.
    pub fn accounts(&mut self) -> audit::Accounts {
        self.run_until_idle();
        audit::accounts(&self.kernel)
    }

    /// What the longest step so far has touched.
    pub fn longest(&self) -> u64 {
        self.longest
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }
}

/// First instruction of a program.
fn entry(program: Program) -> u64 {
    ENTRY + 16 * program.0 as u64
}

/// Maps what every program has at [`DATA`]. It is there at once, so that accounts do not depend on who touches it when.
pub fn map_data(space: u64) -> ring_abi::Sqe {
    let flags =
        args::map::READ | args::map::WRITE | args::map::PRIVATE | args::map::FIXED | args::map::POPULATE;
    args::Map { space, address: DATA, length: DATA_BYTES, flags }.encode(0)
}

/// Whether the context that starts at `rip` is no more under this index.
fn has_ended(kernel: &Kernel, id: u32, rip: u64) -> bool {
    let s = &kernel.state;
    let context = s.contexts.at(id);
    let block = context.regs.block().map(|block| &s.blocks.at(block).state);
    !context.lives() || context.regs.read(block).rip != rip
}

/// Whether a context that lives goes on, or begins, at an address.
fn is_to_run(kernel: &Kernel, rip: u64) -> bool {
    let contexts = &kernel.state.contexts;
    let mut living = contexts.names().map(|id| contexts.at(id)).filter(|context| context.lives());
    living.any(|context| context.regs.resumed(None).rip == rip)
}

/// Whether the kernel has nothing left to do by itself.
fn is_quiet(kernel: &Kernel) -> bool {
    kernel.state.work_is_done()
}
