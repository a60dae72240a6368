//! Every interleaving around one wait: a program submits, sleeps and reaps, while a daemon answers, a deadline comes
//! and somebody cancels.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p ring-abi --test loom_wait`
//!
//! What holds: each operation has one final completion, never two and never none; nobody sleeps beside a completion that
//! nobody will tell of; a wait with a deadline ends. The queues are the real ones. The kernel is a lock, since it
//! takes one step at a time, around one record that is handled as `kernel/src/op` handles it. A program that has
//! entered a ring sleeps as a context does, by the kernel's own look at the queue; one whose ring is polled sleeps by
//! its flag, and only the doorbell wakes it.
//!
//! The last tests are mutants, as in `loom.rs`.
#![cfg(loom)]
#![expect(clippy::expect_used, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

mod mutants;

use loom::sync::atomic::{AtomicU32, AtomicU64};
use loom::sync::{Condvar, Mutex, MutexGuard, Notify};
use loom::thread;
use mutants::{publish_and_look_without_fence, try_sleep_without_fence, try_sleep_without_second_look};
use ring_abi::map::Queue;
use ring_abi::ring::{Consumer, Corrupt, Doorbell, Producer, Promiser};
use std::mem;
use std::sync::Arc;

/// Where the indices start: the next one wraps around.
const START: u32 = u32::MAX;
/// When the operation's own deadline comes, and the deadline of the wait.
const OP_DEADLINE: u64 = 1;
const WAIT_DEADLINE: u64 = 2;
/// How long a daemon may take to give an operation up.
const GRACE: u64 = 2;

/// How an operation ended: the first word of its completion. None is the word of an empty slot.
const ANSWERED: u64 = 1;
const CANCELED: u64 = 2;
const TIMED_OUT: u64 = 3;

/// The shared words of a queue with room for more than one operation may complete.
struct Words {
    head: AtomicU32,
    tail: AtomicU32,
    sleeps: AtomicU32,
    slots: [[AtomicU64; 2]; 2],
}

impl Words {
    fn new() -> Words {
        Words {
            head: AtomicU32::new(START),
            tail: AtomicU32::new(START),
            sleeps: AtomicU32::new(0),
            slots: [(); 2].map(|()| [AtomicU64::new(0), AtomicU64::new(0)]),
        }
    }

    fn queue(&self) -> Queue<'_, 2> {
        Queue::new(&self.head, &self.tail, &self.sleeps, &self.slots)
    }
}

/// How the program and the kernel meet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// `ring_enter` takes the submission and looks before it waits.
    Entered,
    /// A poller takes the submission; `ring_enter` only waits.
    Polled,
}

/// What may happen beside the answer of the daemon, and the places where a mutant differs.
#[derive(Clone, Copy)]
struct Plan {
    way: Way,
    /// The kernel has the operation before anything else happens: fewer orders.
    started: bool,
    answers: bool,
    op_deadline: bool,
    wait_deadline: bool,
    /// A cancel, after so many deadlines have come.
    cancel: Option<(Strength, u32)>,
    show: fn(&Producer, &Queue<'_, 2>) -> Doorbell,
    sleep: fn(&Consumer, &Queue<'_, 2>) -> Result<bool, Corrupt>,
    flaw: Flaw,
}

#[derive(Clone, Copy)]
enum Strength {
    Ask,
    Force,
}

/// What a mutant leaves out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    /// A deadline completes the operation and leaves it in its daemon's hands.
    DeadlineLeavesTheRecord,
    /// A cancel completes what has completed already.
    CancelDoesNotCheck,
    /// An answer leaves the deadline armed.
    AnswerLeavesTheTimer,
    /// A wake-up leaves the wait's deadline armed.
    WakeLeavesTheTimer,
    /// `ring_enter` waits without a look at what has come.
    WaitDoesNotLook,
    /// A cancel that is asked for sets no end to the grace.
    AskHasNoGrace,
}

const PLAIN: Plan = Plan {
    way: Way::Entered,
    started: false,
    answers: true,
    op_deadline: false,
    wait_deadline: false,
    cancel: None,
    show: Producer::publish_and_look,
    sleep: Consumer::try_sleep,
    flaw: Flaw::None,
};

/// What the program's context does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Run {
    Running,
    Waiting,
    Woken(Woken),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Woken {
    Told,
    TimedOut,
}

/// The record of the operation, as `op/inflight.rs` has it.
#[derive(Default)]
struct Op {
    /// It is with the daemon (`Wait::Reply`); otherwise the record is free.
    at_daemon: bool,
    /// Somebody waits for its completion: it is not detached.
    has_asker: bool,
    /// Its place in the timer heap.
    timer: Option<u64>,
    /// The daemon was asked to give it up; the deadline is the grace's end.
    noticed: bool,
}

/// What the kernel keeps. Every function of it is a part of one step.
struct Kernel {
    plan: Plan,
    now: u64,
    sq: Consumer,
    cq: Promiser,
    op: Op,
    run: Run,
    /// The place of the context's wait in the timer heap.
    wait_timer: Option<u64>,
    /// The doorbell was rung while the program was not yet waiting.
    rung: bool,
    /// The poller's was.
    poller_rung: bool,
    /// Final completions so far.
    posted: u32,
    /// The program is done: no timer will be set any more.
    closed: bool,
}

impl Kernel {
    /// Starts what was submitted: promises its completion's place, files the record, sets its deadline.
    fn submit(&mut self, words: &Shared) -> bool {
        if self.sq.pop(&words.sq.queue()).expect("the program is honest").is_none() {
            return false;
        }
        self.cq.claim(&words.cq.queue()).expect("the queue has room");
        let timer = self.plan.op_deadline.then_some(OP_DEADLINE);
        self.op = Op { at_daemon: true, has_asker: true, timer, noticed: false };
        words.request.notify_one();
        words.clock.notify_one();
        true
    }

    /// Fills the promised place, and wakes the program if it waits for that.
    fn post(&mut self, words: &Shared, result: u64) {
        self.posted += 1;
        assert_eq!(self.posted, 1, "two final completions");
        let cq = words.cq.queue();
        self.cq.fill(&cq, [result, !result]);
        match self.plan.way {
            Way::Entered => {
                self.cq.publish(&cq);
                if self.run == Run::Waiting {
                    self.wake(words, Woken::Told);
                }
            }
            Way::Polled if (self.plan.show)(self.cq.out(), &cq) == Doorbell::Ring => match self.run {
                Run::Waiting => self.wake(words, Woken::Told),
                Run::Running | Run::Woken(_) => self.rung = true,
            },
            Way::Polled => {}
        }
    }

    /// `State::wake_with`.
    fn wake(&mut self, words: &Shared, why: Woken) {
        if self.plan.flaw != Flaw::WakeLeavesTheTimer {
            self.wait_timer = None;
        }
        self.run = Run::Woken(why);
        words.turn.notify();
    }

    /// `State::end_op`: completes what is filed nowhere else, and frees the record.
    fn end_op(&mut self, words: &Shared, result: u64) {
        let op = mem::take(&mut self.op);
        if self.plan.flaw == Flaw::AnswerLeavesTheTimer {
            self.op.timer = op.timer;
        }
        if op.has_asker {
            self.post(words, result);
        }
    }

    /// `reply::take` and `cancel::late_reply`: the tag finds the record, or a detached one, or nothing.
    fn reply(&mut self, words: &Shared) {
        if self.op.at_daemon {
            self.end_op(words, ANSWERED);
        }
    }

    /// `cancel::force`: the record stays with the daemon, parted from its asker.
    fn force(&mut self, words: &Shared, result: u64) {
        if mem::take(&mut self.op.has_asker) {
            self.op.timer = None;
            self.post(words, result);
        }
    }

    /// `cancel::start`: what has completed or was parted from its asker is not found.
    fn cancel(&mut self, words: &Shared, strength: Strength) {
        if self.plan.flaw == Flaw::CancelDoesNotCheck {
            return self.post(words, CANCELED);
        }
        match strength {
            _ if !self.op.has_asker => {}
            Strength::Force => self.force(words, CANCELED),
            Strength::Ask => {
                self.op.noticed = true;
                self.op.timer = (self.plan.flaw != Flaw::AskHasNoGrace).then_some(self.now + GRACE);
                words.clock.notify_one();
            }
        }
    }

    /// `timeout::expired`.
    fn expired(&mut self, words: &Shared) {
        let result = if self.op.noticed { CANCELED } else { TIMED_OUT };
        if self.plan.flaw == Flaw::DeadlineLeavesTheRecord {
            return self.post(words, result);
        }
        assert!(self.op.has_asker, "a deadline of nothing");
        self.force(words, result);
    }

    /// The soonest deadline comes. `false` if none is set.
    fn tick(&mut self, words: &Shared) -> bool {
        let deadlines = [self.op.timer, self.wait_timer];
        let Some(soonest) = deadlines.into_iter().flatten().min() else { return false };
        self.now = self.now.max(soonest);
        if self.op.timer.take_if(|deadline| *deadline <= soonest).is_some() {
            self.expired(words);
        }
        if self.wait_timer.take_if(|deadline| *deadline <= soonest).is_some() {
            assert!(self.run == Run::Waiting, "a deadline of nothing");
            assert_eq!(self.cq.untaken(&words.cq.queue()), Ok(0), "lost wake-up");
            self.wake(words, Woken::TimedOut);
        }
        true
    }

    /// Whether a program that wants to wait need not: `Ring::aim`, or a doorbell that came first.
    fn need_not_wait(&mut self, words: &Shared) -> bool {
        match self.plan.way {
            Way::Entered if self.plan.flaw == Flaw::WaitDoesNotLook => false,
            Way::Entered => self.cq.untaken(&words.cq.queue()) != Ok(0),
            Way::Polled => mem::take(&mut self.rung),
        }
    }
}

/// What all threads share.
struct Shared {
    sq: Words,
    cq: Words,
    kernel: Mutex<Kernel>,
    /// The program's turn, the daemon's, the timer's.
    turn: Notify,
    request: Condvar,
    clock: Condvar,
}

impl Shared {
    fn new(plan: Plan) -> Arc<Shared> {
        let kernel = Kernel {
            plan,
            now: 0,
            sq: Consumer::at(START),
            cq: Promiser::at(START),
            op: Op::default(),
            run: Run::Running,
            wait_timer: None,
            rung: false,
            poller_rung: false,
            posted: 0,
            closed: false,
        };
        Arc::new(Shared {
            sq: Words::new(),
            cq: Words::new(),
            kernel: Mutex::new(kernel),
            turn: Notify::new(),
            request: Condvar::new(),
            clock: Condvar::new(),
        })
    }

    /// The kernel, for one step.
    fn step(&self) -> MutexGuard<'_, Kernel> {
        self.kernel.lock().expect("nobody panicked")
    }

    /// Pushes the one submission, and rings the poller's bell if it sleeps.
    fn send(&self, plan: Plan) {
        let (sq, producer) = (self.sq.queue(), Producer::at(START));
        producer.push(&sq, [0, 0]).expect("the queue is empty");
        if plan.way == Way::Entered {
            producer.publish(&sq);
        } else if producer.publish_and_look(&sq) == Doorbell::Ring {
            self.step().poller_rung = true;
            self.request.notify_one();
        }
    }

    /// `ring_enter`: takes what was submitted, then waits for one completion.
    fn enter(&self, deadline: Option<u64>) -> Woken {
        let mut kernel = self.step();
        if kernel.plan.way == Way::Entered {
            let _ = kernel.submit(self); // there is something the first time only
        }
        if kernel.need_not_wait(self) {
            return Woken::Told;
        }
        if let Some(deadline) = deadline {
            if deadline <= kernel.now {
                return Woken::TimedOut;
            }
            kernel.wait_timer = Some(deadline);
            self.clock.notify_one();
        }
        kernel.run = Run::Waiting;
        drop(kernel);
        loop {
            self.turn.wait();
            let mut kernel = self.step();
            if let Run::Woken(why) = kernel.run {
                kernel.run = Run::Running;
                return why;
            }
        }
    }

    /// The program: submits, sleeps until its operation has ended, and gives its result. If a wait has a deadline
    /// and that comes, it cancels the operation as the runtime does when one is dropped, and waits on.
    fn program(&self, plan: Plan) -> u64 {
        let (cq, consumer) = (self.cq.queue(), Consumer::at(START));
        let mut deadline = plan.wait_deadline.then_some(WAIT_DEADLINE);
        let mut told = false;
        if !plan.started {
            self.send(plan);
        }
        loop {
            if let Some([result, check]) = consumer.pop(&cq).expect("the kernel is honest") {
                assert_eq!(check, !result, "torn");
                return result;
            }
            assert!(!told, "told of nothing");
            let woken = match plan.way {
                Way::Entered => self.enter(deadline),
                Way::Polled if (plan.sleep)(&consumer, &cq).expect("the kernel is honest") => {
                    let woken = self.enter(deadline);
                    consumer.wake(&cq);
                    woken
                }
                Way::Polled => Woken::Told,
            };
            told = woken == Woken::Told;
            if !told {
                assert!(deadline.take().is_some(), "a wait without a deadline timed out");
                self.step().cancel(self, Strength::Force);
            }
        }
    }

    /// The poller of a polled ring: sleeps until there is a submission, and starts it.
    fn poll(&self) {
        let sq = self.sq.queue();
        loop {
            let mut kernel = self.step();
            if kernel.submit(self) {
                return;
            }
            if kernel.sq.try_sleep(&sq).expect("the program is honest") {
                while !mem::take(&mut kernel.poller_rung) {
                    kernel = self.request.wait(kernel).expect("nobody panicked");
                }
                kernel.sq.wake(&sq);
            }
        }
    }

    /// The daemon: waits for the request, and answers. Whatever becomes of its asker, the record is there until then.
    fn daemon(&self) {
        let mut kernel = self.step();
        while !kernel.op.at_daemon {
            kernel = self.request.wait(kernel).expect("nobody panicked");
        }
        kernel.reply(self);
    }

    /// What serves the program's ring.
    fn serve(&self, plan: Plan) {
        if plan.way == Way::Polled && !plan.started {
            self.poll();
        }
        if plan.answers {
            self.daemon();
        }
    }

    /// The timer, and whoever cancels: a deadline that is set comes sometime, and the cancel after some of them. All
    /// of that is single steps, so one thread brings them in every order with everything else.
    fn timer(&self, plan: Plan) {
        for ticks in 0.. {
            if let Some((strength, _)) = plan.cancel.filter(|(_, after)| *after == ticks) {
                self.step().cancel(self, strength);
            }
            let mut kernel = self.step();
            while !kernel.tick(self) {
                if kernel.closed {
                    return;
                }
                kernel = self.clock.wait(kernel).expect("nobody panicked");
            }
        }
    }
}

impl Shared {
    /// No deadline will be set any more.
    fn close(&self) {
        self.step().closed = true;
        self.clock.notify_one();
    }

    /// Everything was given back.
    fn check(&self, plan: Plan) {
        let kernel = self.step();
        assert_eq!((kernel.posted, kernel.cq.held()), (1, 0), "one completion for one place");
        assert_eq!(kernel.cq.untaken(&self.cq.queue()), Ok(0), "a completion that nobody took");
        assert_eq!((kernel.op.timer, kernel.wait_timer), (None, None), "a deadline of nothing");
        assert!(!kernel.op.has_asker && kernel.op.at_daemon != plan.answers, "the record was not given back");
    }
}

/// Runs a plan in every order, and checks what must hold at its end. `results` are those that may come.
fn meet(plan: Plan, results: &'static [u64]) {
    loom::model(move || {
        let shared = Shared::new(plan);
        if plan.started {
            shared.send(Plan { way: Way::Entered, ..plan });
            assert!(shared.step().submit(&shared), "the submission is there");
        }
        let start = |act: fn(&Shared, Plan)| {
            let shared = shared.clone();
            thread::spawn(move || act(&shared, plan))
        };
        let timer =
            (plan.op_deadline || plan.wait_deadline || plan.cancel.is_some()).then(|| start(Shared::timer));
        let served = plan.answers || plan.way == Way::Polled && !plan.started;
        let daemon = served.then(|| start(Shared::serve));
        let result = shared.program(plan);
        assert!(results.contains(&result), "ended with {result}");
        if let Some(daemon) = daemon {
            daemon.join().expect("the daemon ends");
        }
        shared.close();
        if let Some(timer) = timer {
            timer.join().expect("the timer ends");
        }
        shared.check(plan);
    });
}

const ALL: &[u64] = &[ANSWERED, CANCELED, TIMED_OUT];
const POLLED: Plan = Plan { way: Way::Polled, ..PLAIN };
/// The same with the operation started.
const BEGUN: Plan = Plan { started: true, ..POLLED };

/// Runs a plan with a cancel before the first deadline, and after each.
fn meet_cancelled(plan: Plan, strength: Strength, deadlines: u32, results: &'static [u64]) {
    for after in 0..=deadlines {
        meet(Plan { cancel: Some((strength, after)), ..plan }, results);
    }
}

#[test]
fn answer_deadline_and_cancel_complete_once() {
    meet_cancelled(Plan { op_deadline: true, ..PLAIN }, Strength::Force, 1, ALL);
}

#[test]
fn answer_deadline_and_asked_cancel_complete_once() {
    meet_cancelled(Plan { started: true, op_deadline: true, ..PLAIN }, Strength::Ask, 1, ALL);
}

#[test]
fn answer_and_cancel_complete_once() {
    meet_cancelled(PLAIN, Strength::Force, 0, &[ANSWERED, CANCELED]);
}

#[test]
fn a_cancel_that_nobody_hears_is_forced() {
    let deaf = Plan { started: true, answers: false, ..PLAIN };
    meet_cancelled(deaf, Strength::Ask, 0, &[CANCELED]);
    meet_cancelled(Plan { op_deadline: true, ..deaf }, Strength::Ask, 1, &[CANCELED, TIMED_OUT]);
}

#[test]
fn a_wait_ends_at_its_deadline_if_nothing_comes() {
    meet(Plan { answers: false, wait_deadline: true, ..PLAIN }, &[CANCELED]);
}

#[test]
fn a_wait_with_a_deadline_loses_no_answer() {
    meet(Plan { wait_deadline: true, ..PLAIN }, &[ANSWERED, CANCELED]);
}

#[test]
fn both_deadlines_an_answer_and_a_cancel_complete_once() {
    let both = Plan { started: true, wait_deadline: true, op_deadline: true, ..PLAIN };
    meet_cancelled(both, Strength::Force, 2, ALL);
}

#[test]
fn a_polled_operation_starts_and_its_answer_is_told() {
    meet(POLLED, &[ANSWERED]);
}

#[test]
fn a_polled_wait_ends_at_its_deadline_if_nothing_comes() {
    meet(Plan { answers: false, wait_deadline: true, ..BEGUN }, &[CANCELED]);
}

#[test]
fn a_polled_wait_with_a_deadline_loses_no_answer() {
    meet(Plan { wait_deadline: true, ..BEGUN }, &[ANSWERED, CANCELED]);
}

#[test]
fn a_polled_wait_is_told_once_of_answer_deadline_or_cancel() {
    meet_cancelled(Plan { op_deadline: true, ..BEGUN }, Strength::Force, 1, ALL);
}

#[test]
fn a_polled_wait_with_both_deadlines_and_a_cancel_is_told_once() {
    meet_cancelled(Plan { op_deadline: true, wait_deadline: true, ..BEGUN }, Strength::Force, 2, ALL);
}

// From here on: mutants.

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_completers_fence_a_wake_up_is_lost() {
    meet(Plan { show: publish_and_look_without_fence, ..BEGUN }, ALL);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_sleepers_fence_a_wake_up_is_lost() {
    meet(Plan { sleep: try_sleep_without_fence, ..BEGUN }, ALL);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_sleeper_that_looks_too_early_loses_a_wake_up() {
    meet(Plan { sleep: try_sleep_without_second_look, ..BEGUN }, ALL);
}

#[test]
#[should_panic(expected = "lost wake-up")]
fn a_deadline_of_the_wait_does_not_hide_a_lost_wake_up() {
    meet(Plan { sleep: try_sleep_without_fence, wait_deadline: true, ..BEGUN }, ALL);
}

#[test]
#[should_panic(expected = "deadlock")]
fn an_entry_that_waits_without_a_look_loses_a_wake_up() {
    meet(Plan { started: true, flaw: Flaw::WaitDoesNotLook, ..PLAIN }, ALL);
}

#[test]
#[should_panic(expected = "two final completions")]
fn a_deadline_that_leaves_the_record_completes_twice() {
    let flaw = Flaw::DeadlineLeavesTheRecord;
    meet(Plan { started: true, op_deadline: true, flaw, ..PLAIN }, ALL);
}

#[test]
#[should_panic(expected = "two final completions")]
fn a_cancel_that_does_not_check_completes_twice() {
    let flaw = Flaw::CancelDoesNotCheck;
    meet(Plan { started: true, cancel: Some((Strength::Force, 0)), flaw, ..PLAIN }, ALL);
}

#[test]
#[should_panic(expected = "a deadline of nothing")]
fn an_answer_that_leaves_the_timer_is_found() {
    meet(Plan { started: true, op_deadline: true, flaw: Flaw::AnswerLeavesTheTimer, ..PLAIN }, ALL);
}

#[test]
#[should_panic(expected = "a deadline of nothing")]
fn a_wake_up_that_leaves_the_timer_is_found() {
    meet(Plan { started: true, wait_deadline: true, flaw: Flaw::WakeLeavesTheTimer, ..PLAIN }, ALL);
}

#[test]
#[should_panic(expected = "deadlock")]
fn an_asked_cancel_without_an_end_never_completes() {
    let cancel = Some((Strength::Ask, 0));
    meet(Plan { started: true, answers: false, cancel, flaw: Flaw::AskHasNoGrace, ..PLAIN }, ALL);
}
