//! A whole kernel on the fake machine, with real programs: each runs on a host thread of its own, and the kernel
//! says whose turn it is.
//!
//! - One baton: only the thread whose context the kernel resumed runs, all others wait in `ring_enter`. So a test
//!   runs the same way every time.
//! - All programs share one *hosted* space: their addresses are those of the host.
//! - Time passes only while everybody waits, and then just until the next timer.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

mod boot;
/// The one of the kernel's own tests.
#[path = "../../../../kernel/tests/world/loader.rs"]
mod loader;

use kernel::entry::event::{Enter, Event, Resume};
use kernel::entry::kernel::Kernel;
use ring_abi::args::{self, CURRENT};
use ring_abi::context::{End, Registers};
use ring_abi::enter::{NO_DEADLINE, RING_ENTER};
use ring_abi::layout::Sizes;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use uring::op::{Fd, context};
use uring::trap;

/// Turns without anybody running after which nobody ever will.
const PATIENCE: usize = 10_000;

type Body = Box<dyn FnOnce() + Send>;

struct Program {
    /// What it does, until it starts.
    body: Option<Body>,
    sizes: Sizes,
    /// Result of its last `ring_enter`.
    value: u64,
}

struct State {
    kernel: Kernel,
    programs: Vec<Program>,
    /// Whose turn it is.
    turn: usize,
    failure: Option<String>,
}

// SAFETY: the kernel is a value without ties to a thread; the mutex around it lets one thread at a time use it.
unsafe impl Send for State {}

struct Stage {
    state: Mutex<State>,
    changed: Condvar,
}

thread_local! {
    static STAGE: RefCell<Option<Arc<Stage>>> = const { RefCell::new(None) };
}

fn stage() -> Arc<Stage> {
    STAGE.with(|stage| stage.borrow().clone()).expect("this thread is on a stage")
}

/// Boots a kernel, whose first program is this thread for as long as `body` runs.
pub fn play(body: impl FnOnce()) {
    let (kernel, ring) = boot::start();
    let first = Program { body: None, sizes: Sizes::SMALLEST, value: 0 };
    let state = State { kernel, programs: vec![first], turn: 0, failure: None };
    let stage = Arc::new(Stage { state: Mutex::new(state), changed: Condvar::new() });
    let sizes = boot::sizes(ring);
    take_part(&stage, 0, ring, sizes);
    body();
}

/// Starts another program with a ring of these sizes: a context in the same space, with the same handles.
pub fn spawn_with(sizes: Sizes, body: impl FnOnce() + Send + 'static) -> Fd {
    let stage = stage();
    let number = {
        let mut state = stage.lock();
        state.programs.push(Program { body: Some(Box::new(body)), sizes, value: 0 });
        state.programs.len() - 1
    };
    let args = args::ContextCreate {
        space: CURRENT,
        table: CURRENT,
        entry: boot::ENTRY + 16 * number as u64,
        stack: boot::STACK,
        argument: 0,
        sizes_flags: u64::from(sizes.packed()) | args::context::START,
    };
    // SAFETY: no instruction runs at the entry; the stage starts `body` instead.
    unsafe { context::create(args) }.wait().expect("there is memory")
}

/// The same with the smallest ring.
pub fn spawn(body: impl FnOnce() + Send + 'static) -> Fd {
    spawn_with(Sizes::SMALLEST, body)
}

/// Waits for the end of a program and fails if it was not a good one.
pub fn join(program: Fd) {
    assert_eq!(context::wait(program).wait(), Ok(End::Exited(0)));
}

/// Monotonic time of the machine in nanoseconds.
pub fn now() -> u64 {
    stage().lock().kernel.state.memory.machine.now()
}

/// Makes this thread the program with this number.
fn take_part(stage: &Arc<Stage>, number: usize, ring: u64, sizes: Sizes) {
    STAGE.with(|place| *place.borrow_mut() = Some(stage.clone()));
    let base =
        NonNull::new(std::ptr::with_exposed_provenance_mut(ring as usize)).expect("a ring has an address");
    // SAFETY: the kernel made a ring here, in memory of a machine that the stage keeps as long as the thread.
    unsafe { uring::host::install(base, sizes) };
    let stage = stage.clone();
    trap::set_hook(Box::new(move |how| stage.enter(number, how)));
}

impl Stage {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no kernel bug")
    }

    /// A program enters the kernel; comes back when it is its turn again.
    fn enter(self: &Arc<Stage>, number: usize, how: trap::Enter) -> u64 {
        let trap::Enter { call, control } = how;
        let ring = call.wrapping_sub(RING_ENTER);
        let mut state = self.lock();
        state.kernel.state.memory.machine.save_at_enter(&registers(number));
        let enter = Enter { ring, control, deadline: NO_DEADLINE };
        if let Some(value) = self.step(&mut state, Event::Enter(enter)) {
            return value;
        }
        self.changed.notify_all();
        while state.turn != number {
            state = self.changed.wait(state).expect("no kernel bug");
        }
        if let Some(failure) = state.failure.take() {
            drop(state);
            panic!("another program failed: {failure}");
        }
        state.programs[number].value
    }

    /// Steps of the kernel until somebody runs. The value if it is the one who entered, without a wait.
    fn step(self: &Arc<Stage>, state: &mut State, mut event: Event) -> Option<u64> {
        for _ in 0..PATIENCE {
            match state.kernel.step(kernel::arch::Only, event) {
                Resume::Same(value) => return Some(i64::from(value).cast_unsigned()),
                Resume::Context(id) | Resume::Waiter(id) => {
                    self.resume(state, id);
                    return None;
                }
                Resume::Again => event = Event::Again,
                Resume::Poll | Resume::Idle => event = pass_time(&state.kernel),
                Resume::Touched => panic!("programs of a host have all of their memory"),
                Resume::Halt(status) => panic!("the system ended with {status}"),
            }
        }
        panic!("nobody runs any more");
    }

    fn resume(self: &Arc<Stage>, state: &mut State, id: u32) {
        let registers = boot::go_on(&state.kernel, id);
        let number = ((registers.rip - boot::ENTRY) / 16) as usize;
        let program = &mut state.programs[number];
        state.turn = number;
        program.value = registers.rax;
        if let Some(body) = program.body.take() {
            let (stage, ring, sizes) = (self.clone(), registers.rdi, program.sizes);
            std::thread::spawn(move || stage.perform(number, ring, sizes, body));
        }
    }

    fn perform(self: Arc<Stage>, number: usize, ring: u64, sizes: Sizes, body: Body) {
        take_part(&self, number, ring, sizes);
        match catch_unwind(AssertUnwindSafe(body)) {
            Ok(()) => {
                let _ = context::exit(0, 0).wait(); // the turn never comes back
            }
            Err(cause) => {
                let text = cause.downcast_ref::<String>().map(String::as_str);
                let text = text.or(cause.downcast_ref::<&str>().copied()).unwrap_or("a panic");
                let mut state = self.lock();
                state.failure = Some(text.into());
                state.turn = 0;
                self.changed.notify_all();
            }
        }
    }
}

/// Everybody waits: time passes until the timer goes off.
fn pass_time(kernel: &Kernel) -> Event {
    let machine = &kernel.state.memory.machine;
    let deadline = machine.timer().expect("somebody waits for ever");
    machine.advance(deadline.saturating_sub(machine.now()));
    assert!(machine.take_timer(), "the timer was due");
    Event::Timer
}

/// Registers of a program in `ring_enter`: only who it is matters.
fn registers(number: usize) -> Registers {
    Registers { rip: boot::ENTRY + 16 * number as u64, rsp: boot::STACK, ..Registers::default() }
}
