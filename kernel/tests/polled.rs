//! Polled rings: a processor that has nobody to run takes what programs show, and they need not enter.
//!
//! A *quiet* program enters only if its test says so, so whatever it gets it got by being polled.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]
#![allow(unreachable_pub, reason = "modules of a test")]

mod world;

use ring_abi::args::{self, CURRENT};
use ring_abi::context::{End, Reason};
use ring_abi::layout::{Sizes, flags, word};
use ring_abi::sync::Ordering::Relaxed;
use ring_abi::{Errno, Sqe, SqeFlags, enter};
use world::{DATA, EXEC_STACK, FIRST, Program, Ticket, World, read};

const MEMORY: usize = 32 << 20;
const MS: u64 = 1_000_000;
/// How long rings of these tests are looked for without an entry.
const IDLE: u64 = 2 * MS;
const SIZES: Sizes = Sizes { sq: 4, cq: 5, service: None };

/// A world with so many processors, where the first program sleeps and another one runs.
fn with_program(cpus: usize) -> (World, Program) {
    let mut world = World::with_cpus(MEMORY, cpus);
    let app = world.program_with(SIZES);
    send_first_to_sleep(&mut world);
    world.give_cpu(app);
    (world, app)
}

fn send_first_to_sleep(world: &mut World) {
    let timeout = args::Timeout { nanoseconds: u64::MAX / 2, flags: args::timeout::ABSOLUTE };
    FIRST.submit(world, timeout.encode(0));
    FIRST.wait(world, 1);
}

/// Lets a program's ring be polled, and looks that it is.
fn poll(world: &mut World, app: Program, ring: usize) {
    let others = world.cpus() as u64 - 1;
    assert_eq!(app.call_on(world, ring, args::RingPoll { idle: IDLE }.encode(0)), Ok(others));
    app.be_quiet(world, ring);
    settle(world);
    assert_eq!(world.ring(app, ring).must_enter(), others == 0, "somebody looks, if anybody can");
}

/// A polled program with two processors; it runs on one, and the other one polls.
fn polled() -> (World, Program) {
    let (mut world, app) = with_program(2);
    poll(&mut world, app, 0);
    assert!(world.find(app));
    (world, app)
}

/// Lets processors do what they were asked to, and the poller look, until nothing is left. No time passes.
fn settle(world: &mut World) {
    while world.take_pokes() || world.look() {}
}

/// The processor that a program runs on.
fn cpu_of(world: &World, program: Program) -> usize {
    (0..world.cpus()).find(|cpu| world.runs_on(*cpu) == Some(program)).expect("it runs")
}

fn entries(world: &World) -> u64 {
    world.kernel.state.stats.all_enters()
}

fn nop() -> Sqe {
    args::Nop {}.encode(0)
}

fn is_done(world: &mut World, app: Program, ticket: Ticket) -> bool {
    app.result(world, ticket) == Some(Ok(0))
}

#[test]
fn what_a_program_shows_completes_without_an_entry() {
    let (mut world, app) = polled();
    let (before, own) = (entries(&world), cpu_of(&world, app));
    for round in 0..1000 {
        let tickets: Vec<_> = (0..=round % 9).map(|_| app.submit(&mut world, nop())).collect();
        assert_eq!(app.result(&mut world, tickets[0]), None, "nobody has looked yet");
        assert!(!world.ring(app, 0).must_enter());
        assert!(world.look());
        assert!(tickets.into_iter().all(|ticket| is_done(&mut world, app, ticket)));
        assert!(!world.look(), "there is nothing more");
        assert_eq!(world.runs_on(own), Some(app), "it was left alone");
    }
    assert_eq!(entries(&world), before);
    assert!(world.kernel.state.stats.polled.get() > 4000);
}

#[test]
fn everything_that_can_be_asked_can_be_asked_so() {
    let (mut world, app) = polled();
    let before = entries(&world);
    let mut ask = |sqe: Sqe| {
        let ticket = app.submit(&mut world, sqe);
        settle(&mut world);
        app.result(&mut world, ticket).expect("it completes")
    };
    assert_eq!(ask(args::Timeout { nanoseconds: 0, flags: 0 }.encode(0)), Ok(0));
    let map_flags = args::map::READ | args::map::WRITE | args::map::PRIVATE;
    let map = args::Map { space: CURRENT, address: 0, length: 8192, flags: map_flags };
    let page = ask(map.encode(0)).expect("there is memory");
    let wait = args::FutexWait { address: page, expected: 1, deadline: enter::NO_DEADLINE };
    assert_eq!(ask(wait.encode(0)), Err(Errno::AGAIN));
    assert_eq!(ask(args::ContextAffinity { context: CURRENT, cpus: 3 }.encode(0)), Ok(0));
    // What concerns the registers of one that runs cannot be done from elsewhere.
    let regs = args::ContextRegs { context: CURRENT, buffer: DATA, length: 8, set: 1 };
    assert!(ask(regs.encode(0)).is_err());
    assert_eq!(entries(&world), before);
}

#[test]
fn a_chain_is_taken_whole_and_its_order_kept() {
    let (mut world, app) = polled();
    let timeout = args::Timeout { nanoseconds: MS, flags: 0 }.encode(0);
    let first = app.submit(&mut world, timeout.with_flags(SqeFlags::HARD_LINK));
    let second = app.submit(&mut world, nop());
    let barrier = app.submit(&mut world, nop().with_flags(SqeFlags::DRAIN));
    settle(&mut world);
    assert_eq!(app.result(&mut world, second), None);
    assert_eq!(app.result(&mut world, barrier), None);
    world.advance(MS);
    settle(&mut world);
    assert!(is_done(&mut world, app, first));
    assert!(is_done(&mut world, app, second) && is_done(&mut world, app, barrier));
}

/// A client and a daemon that both run and are both polled, each on a processor of its own, and a file between them.
fn two_that_run() -> (World, Program, world::Daemon, u64) {
    let mut world = World::with_cpus(MEMORY, 3);
    let daemon = world.daemon("disk");
    let app = world.program_with(SIZES);
    let fd = app.open(&mut world, "/scheme/disk/file");
    send_first_to_sleep(&mut world);
    daemon.obliging(&mut world, false);
    poll(&mut world, daemon.program, daemon.ring);
    poll(&mut world, app, 0);
    daemon.program.be_quiet(&mut world, 0);
    for _ in 0..1000 {
        if world.find(app) && world.find(daemon.program) {
            break;
        }
        assert!(world.take_pokes() || world.advance_to_timer());
    }
    settle(&mut world);
    // If time has passed they have to say that they are there.
    for (program, ring) in [(app, 0), (daemon.program, daemon.ring)] {
        if world.ring(program, ring).must_enter() {
            assert!(world.find(program));
            let ticket = program.submit_on(&mut world, ring, nop());
            program.enter(&mut world, ring, u64::from(u32::MAX), 0, 0, enter::NO_DEADLINE);
            settle(&mut world);
            assert!(is_done(&mut world, program, ticket));
        }
    }
    (world, app, daemon, fd)
}

#[test]
fn a_client_and_a_daemon_exchange_reads_without_an_entry() {
    let (mut world, app, daemon, fd) = two_that_run();
    let before = entries(&world);
    for round in 0..200_u8 {
        let count = 1 + u64::from(round % 3);
        let tickets: Vec<_> =
            (0..count).map(|at| app.submit(&mut world, read(fd, DATA + at * 16, 3))).collect();
        settle(&mut world);
        for _ in 0..count {
            let request = daemon.raw_request(&mut world).expect("it was forwarded");
            assert!(world.find(daemon.program));
            daemon.fill(&mut world, &request, &[round, 7, 8]);
            assert!(!world.ring(daemon.program, daemon.ring).must_enter_to_reply());
            daemon.reply(&mut world, request, Ok(3));
        }
        settle(&mut world);
        for ticket in tickets {
            assert_eq!(app.result(&mut world, ticket), Some(Ok(3)));
        }
        assert!(world.find(app));
        assert_eq!(app.read(&mut world, DATA, 3).unwrap(), [round, 7, 8]);
    }
    assert_eq!(entries(&world), before, "neither of them has entered");
}

#[test]
fn a_daemon_that_waits_is_woken_on_a_processor_that_sleeps() {
    let (mut world, app, daemon, fd) = two_that_run();
    assert!(world.find(daemon.program));
    daemon.wait(&mut world);
    settle(&mut world);
    let ticket = app.submit(&mut world, read(fd, DATA, 3));
    settle(&mut world);
    assert!(world.find(daemon.program), "it runs");
    assert!(!world.ring(app, 0).must_enter(), "and the other one still polls");
    let request = daemon.raw_request(&mut world).expect("it was forwarded");
    daemon.reply(&mut world, request, Err(Errno::IO));
    settle(&mut world);
    assert_eq!(app.result(&mut world, ticket), Some(Err(Errno::IO)));
}

#[test]
fn a_ring_that_shows_nothing_for_its_time_is_left_and_its_bell_brings_the_poller_back() {
    let (mut world, app) = polled();
    let ticket = app.submit(&mut world, nop());
    settle(&mut world);
    world.advance(IDLE - 1);
    settle(&mut world);
    assert!(!world.ring(app, 0).must_enter(), "its time is not over");
    assert!(is_done(&mut world, app, ticket));
    world.advance(1);
    assert!(world.ring(app, 0).must_enter());
    assert_eq!(world.kernel.state.polls.poller(), None, "the processor sleeps");
    let ticket = app.submit(&mut world, nop());
    settle(&mut world);
    assert_eq!(app.result(&mut world, ticket), None, "nobody looks");
    assert!(world.find(app));
    app.push(&mut world);
    assert!(is_done(&mut world, app, ticket), "the entry takes it");
    settle(&mut world);
    assert!(!world.ring(app, 0).must_enter(), "and from then on it is looked for again");
    let ticket = app.submit(&mut world, nop());
    settle(&mut world);
    assert!(is_done(&mut world, app, ticket));
}

#[test]
fn what_comes_in_the_last_moment_is_not_lost() {
    let (mut world, app) = polled();
    let ticket = app.submit(&mut world, nop());
    assert!(!world.ring(app, 0).must_enter());
    // The timer is quicker than the poller's look.
    world.advance(IDLE);
    settle(&mut world);
    assert!(is_done(&mut world, app, ticket));
    assert!(!world.ring(app, 0).must_enter(), "its time begins anew");
}

#[test]
fn on_one_processor_the_bell_is_always_up_and_entries_work_as_ever() {
    let mut world = World::new();
    let app = world.program_with(SIZES);
    send_first_to_sleep(&mut world);
    poll(&mut world, app, 0);
    for _ in 0..10 {
        let ticket = app.submit(&mut world, nop());
        assert!(world.ring(app, 0).must_enter());
        app.wait(&mut world, 1);
        assert!(is_done(&mut world, app, ticket));
    }
    assert_eq!(world.kernel.state.stats.polled.get(), 0);
}

/// A polled program on one of so many processors, and another one that sleeps for a while.
fn with_sleeper(cpus: usize) -> (World, Program, Program) {
    let mut world = World::with_cpus(MEMORY, cpus);
    let app = world.program_with(SIZES);
    let sleeper = world.program_with(SIZES);
    send_first_to_sleep(&mut world);
    world.give_cpu(sleeper);
    let timeout = args::Timeout { nanoseconds: 50 * MS, flags: 0 };
    sleeper.submit(&mut world, timeout.encode(0));
    sleeper.wait(&mut world, 1);
    world.give_cpu(app);
    poll(&mut world, app, 0);
    (world, app, sleeper)
}

/// Time passes, and the program keeps its ring awake, until the sleeper runs. The last entry was not looked at before.
fn wake_the_sleeper(world: &mut World, app: Program, sleeper: Program) -> Ticket {
    loop {
        let ticket = app.submit(world, nop());
        assert!(!world.ring(app, 0).must_enter());
        world.advance(IDLE / 2);
        if (0..world.cpus()).any(|cpu| world.runs_on(cpu) == Some(sleeper)) {
            return ticket;
        }
        settle(world);
        assert!(is_done(world, app, ticket));
    }
}

#[test]
fn the_bell_goes_up_before_anybody_runs_on_the_pollers_processor() {
    let (mut world, app, sleeper) = with_sleeper(2);
    let poller = world.kernel.state.polls.poller().expect("one polls");
    let last = wake_the_sleeper(&mut world, app, sleeper);
    assert_eq!(world.runs_on(poller), Some(sleeper));
    assert!(world.ring(app, 0).must_enter(), "nobody polls");
    assert!(is_done(&mut world, app, last), "what came before was taken");
    // As soon as that processor has nobody again, it polls again.
    world.switch(poller);
    sleeper.wait(&mut world, 100);
    sleeper.submit(&mut world, args::Timeout { nanoseconds: 50 * MS, flags: 0 }.encode(0));
    sleeper.wait(&mut world, 2);
    settle(&mut world);
    assert!(!world.ring(app, 0).must_enter());
}

#[test]
fn an_entry_into_a_watched_ring_only_waits() {
    let (mut world, app) = polled();
    let ticket = app.submit(&mut world, nop());
    app.push(&mut world);
    assert_eq!(app.returned(&mut world), Some(0));
    assert_eq!(world.ring(app, 0).unsubmitted(), 1, "it takes nothing");
    app.wait(&mut world, 1);
    assert_eq!(app.returned(&mut world), None, "it waits for what is still to be taken");
    settle(&mut world);
    assert!(world.find(app), "it was woken");
    assert!(is_done(&mut world, app, ticket));
}

#[test]
fn a_wait_that_nothing_can_end_any_more_ends() {
    let (mut world, app) = polled();
    app.wait(&mut world, 1);
    assert_eq!(app.returned(&mut world), Some(0), "nothing was submitted");
    // It succeeds silently: no completion comes.
    app.submit(&mut world, nop().with_flags(SqeFlags::SKIP_SUCCESS));
    app.wait(&mut world, 1);
    assert_eq!(app.returned(&mut world), None);
    settle(&mut world);
    assert_eq!(app.returned(&mut world), Some(0));
    // More than will come are waited for.
    app.submit(&mut world, nop());
    app.wait(&mut world, 5);
    settle(&mut world);
    assert_eq!(app.returned(&mut world), Some(0));
}

#[test]
fn who_waits_in_another_ring_is_woken_by_what_comes_there() {
    let (mut world, app) = with_program(2);
    let second = app.ring(&mut world, SIZES);
    let fd =
        app.call_on(&mut world, second, args::RingHandle { ring: second as u64, tag: 9, flags: 0 }.encode(0));
    poll(&mut world, app, 0);
    assert!(world.find(app));
    let send = args::MessageSend { fd: fd.unwrap(), tag: 5, value: 42, extra: 0, deadline: 0 };
    let sent = app.submit(&mut world, send.encode(0));
    app.enter(&mut world, second, 0, 1, enter::COMPLETIONS, enter::NO_DEADLINE);
    assert_eq!(app.returned(&mut world), None);
    settle(&mut world);
    assert_eq!(app.returned(&mut world), Some(0));
    assert!(is_done(&mut world, app, sent));
}

#[test]
fn polling_that_is_stopped_takes_what_came_before_and_nothing_later() {
    let (mut world, app) = polled();
    let stop = app.submit(&mut world, args::RingPoll { idle: 0 }.encode(0));
    let behind = app.submit(&mut world, nop());
    settle(&mut world);
    assert_eq!(app.result(&mut world, stop), Some(Ok(1)));
    assert!(is_done(&mut world, app, behind));
    assert!(world.ring(app, 0).must_enter());
    let later = app.submit(&mut world, nop());
    settle(&mut world);
    assert_eq!(app.result(&mut world, later), None);
    assert!(world.find(app));
    app.push(&mut world);
    assert!(is_done(&mut world, app, later));
    settle(&mut world);
    assert!(world.ring(app, 0).must_enter(), "an entry does not bring the poller back");
}

#[test]
fn polling_that_sleeps_is_stopped_by_an_entry() {
    let (mut world, app) = polled();
    world.advance(IDLE);
    let stop = app.submit(&mut world, args::RingPoll { idle: 0 }.encode(0));
    assert!(world.find(app));
    app.push(&mut world);
    assert_eq!(app.result(&mut world, stop), Some(Ok(1)));
    assert_eq!(world.kernel.state.polls.seats().iter().filter(|seat| seat.idle.get() != 0).count(), 0);
}

#[test]
fn a_time_that_is_too_long_is_refused_and_seats_are_limited() {
    let (mut world, app) = with_program(2);
    let long = args::RingPoll { idle: args::polling::LONGEST + 1 };
    assert_eq!(app.call(&mut world, long.encode(0)), Err(Errno::INVAL));
    let poll = args::RingPoll { idle: IDLE }.encode(0);
    let mut rings = vec![(app, 0)];
    let mut owner = app;
    while rings.len() < 17 {
        if world.rings(owner) == 4 {
            owner = world.context(app, CURRENT, CURRENT, SIZES);
            rings.push((owner, 0));
        }
        let ring = owner.ring(&mut world, SIZES);
        rings.push((owner, ring));
    }
    rings.truncate(17);
    let (last, others) = rings.split_last().unwrap();
    for (program, ring) in others {
        assert_eq!(program.call_on(&mut world, *ring, poll), Ok(1));
    }
    assert_eq!(last.0.call_on(&mut world, last.1, poll), Err(Errno::BUSY));
    assert_eq!(app.call(&mut world, args::RingPoll { idle: 0 }.encode(0)), Ok(1));
    world.run_until_idle();
    assert_eq!(last.0.call_on(&mut world, last.1, poll), Ok(1), "a seat is free again");
}

#[test]
fn a_program_that_dies_is_polled_no_more() {
    let (mut world, app) = polled();
    app.submit(&mut world, nop());
    app.submit(&mut world, args::Timeout { nanoseconds: MS, flags: 0 }.encode(0));
    assert!(world.find(app));
    world.fault(6, 0, 0);
    settle(&mut world);
    world.run_until_idle();
    assert!(world.has_ended(app));
    assert_eq!(world.kernel.state.polls.poller(), None);
}

#[test]
fn a_program_that_is_killed_from_outside_is_polled_no_more() {
    let mut world = World::with_cpus(MEMORY, 3);
    let app = world.program_with(SIZES);
    poll(&mut world, app, 0);
    app.submit(&mut world, nop());
    world.kill(app);
    assert_eq!(world.end_of(app), End::Ended(Reason::Killed));
    world.run_until_idle();
    assert!(
        world.kernel.state.polls.seats().iter().all(|seat| world
            .kernel
            .state
            .rings
            .get(seat.ring.get())
            .is_none())
    );
}

#[test]
fn a_program_can_end_itself_by_an_entry_that_is_polled() {
    let (mut world, app) = polled();
    app.submit(&mut world, args::Exit { code: 5, flags: 0 }.encode(0));
    app.submit(&mut world, nop());
    settle(&mut world);
    world.run_until_idle();
    assert!(world.has_ended(app));
    assert_eq!(world.end_of(app), End::Exited(5));
}

#[test]
fn a_program_that_waits_can_end_itself_so_too() {
    let (mut world, app) = polled();
    app.submit(&mut world, args::Exit { code: 5, flags: args::exit::SPACE }.encode(0));
    app.wait(&mut world, 1);
    settle(&mut world);
    world.run_until_idle();
    assert!(world.has_ended(app));
    assert_eq!(world.end_of(app), End::Exited(5));
}

#[test]
fn an_index_that_cannot_be_ends_its_author_who_has_not_entered() {
    let (mut world, app) = polled();
    world.ring(app, 0).view.header(word::SQ_TAIL).store(1000, Relaxed);
    settle(&mut world);
    world.run_until_idle();
    assert!(world.has_ended(app));
    assert_eq!(world.end_of(app), End::Ended(Reason::CorruptRing));
}

#[test]
fn a_program_that_runs_cannot_be_replaced_by_an_entry_that_is_polled_but_one_that_waits_can() {
    let (mut world, app) = polled();
    let space = {
        let ticket = app.submit(&mut world, args::SpaceCreate {}.encode(0));
        settle(&mut world);
        app.result(&mut world, ticket).unwrap().unwrap()
    };
    let exec = |world: &mut World| {
        let entry = app.registers(world).rip;
        args::ExecCommit { space, entry, stack: EXEC_STACK, argument: 0, sizes: SIZES.packed() }
    };
    let commit = exec(&mut world).encode(0);
    let ticket = app.submit(&mut world, commit);
    settle(&mut world);
    assert_eq!(app.result(&mut world, ticket), Some(Err(Errno::BUSY)));
    app.submit(&mut world, commit);
    app.wait(&mut world, 1);
    settle(&mut world);
    world.run_until("it is another program", |world| world.replaced(app) == 1);
    assert!(world.ring(app, 0).must_enter(), "whose ring nobody polls");
    assert_eq!(app.call(&mut world, nop()), Ok(0));
}

#[test]
fn what_a_stopped_program_has_shown_is_taken_when_it_goes_on() {
    let mut world = World::with_cpus(MEMORY, 3);
    let maker = world.program_with(SIZES);
    let app = world.context(maker, CURRENT, CURRENT, SIZES);
    send_first_to_sleep(&mut world);
    poll(&mut world, app, 0);
    let context = app.handle(&mut world);
    let stop = maker.submit(&mut world, args::ContextStop { context }.encode(0));
    assert!(world.find(maker));
    maker.push(&mut world);
    let ticket = app.submit(&mut world, nop());
    settle(&mut world);
    world.run_until("it stands still", |world| maker.result(world, stop) == Some(Ok(0)));
    settle(&mut world);
    let before = app.result(&mut world, ticket);
    let late = app.submit(&mut world, nop());
    settle(&mut world);
    assert_eq!(app.result(&mut world, late), None, "it stands still");
    assert!(world.ring(app, 0).must_enter());
    assert_eq!(maker.call(&mut world, args::ContextStart { context }.encode(0)), Ok(0));
    settle(&mut world);
    assert!(before.is_some() || is_done(&mut world, app, ticket));
    assert!(is_done(&mut world, app, late));
}

#[test]
fn a_full_completion_queue_raises_the_bell_and_says_so() {
    let (mut world, app) = polled();
    let room = 1 << SIZES.cq;
    let mut tickets = Vec::new();
    for _ in 0..room {
        tickets.push(app.submit(&mut world, nop()));
        settle(&mut world);
    }
    assert!(!world.ring(app, 0).must_enter());
    tickets.push(app.submit(&mut world, nop()));
    settle(&mut world);
    let needs = |world: &World| world.ring(app, 0).view.header(word::FLAGS).load(Relaxed) & flags::NEED_ENTER;
    assert!(world.ring(app, 0).must_enter() && needs(&world) != 0);
    for ticket in &tickets[..room] {
        assert!(is_done(&mut world, app, *ticket));
    }
    settle(&mut world);
    assert_eq!(app.result(&mut world, tickets[room]), None);
    assert!(world.find(app));
    app.push(&mut world);
    assert!(is_done(&mut world, app, tickets[room]));
    settle(&mut world);
    assert!(!world.ring(app, 0).must_enter() && needs(&world) == 0);
}

#[test]
fn a_program_that_moves_to_the_pollers_processor_puts_its_bell_up() {
    let (mut world, app) = polled();
    let poller = world.kernel.state.polls.poller().expect("one polls");
    let ticket =
        app.submit(&mut world, args::ContextAffinity { context: CURRENT, cpus: 1 << poller }.encode(0));
    settle(&mut world);
    assert_eq!(app.result(&mut world, ticket), Some(Ok(0)));
    world.run_until("it runs there", |world| world.runs_on(poller) == Some(app));
    settle(&mut world);
    // The other processor has nobody now.
    assert_ne!(world.kernel.state.polls.poller(), Some(poller));
    let ticket = app.submit(&mut world, nop());
    if world.ring(app, 0).must_enter() {
        app.push(&mut world);
    }
    settle(&mut world);
    assert!(is_done(&mut world, app, ticket));
}

#[test]
fn another_processor_that_sleeps_takes_over() {
    let (mut world, app, sleeper) = with_sleeper(3);
    let poller = world.kernel.state.polls.poller().expect("one polls");
    let last = wake_the_sleeper(&mut world, app, sleeper);
    assert!(world.runs_on(poller).is_some() || world.kernel.state.polls.poller() == Some(poller));
    settle(&mut world);
    assert!(is_done(&mut world, app, last));
    assert!(!world.ring(app, 0).must_enter(), "one polls on");
    let ticket = app.submit(&mut world, nop());
    settle(&mut world);
    assert!(is_done(&mut world, app, ticket));
}

#[test]
fn many_entries_are_taken_in_bounded_steps() {
    let (mut world, app) = with_program(2);
    let big = app.ring(&mut world, Sizes { sq: 10, cq: 10, service: None });
    poll(&mut world, app, big);
    let tickets: Vec<_> = (0..1024)
        .map(|_| {
            app.submit_on(&mut world, big, args::Timeout { nanoseconds: u64::MAX / 2, flags: 0 }.encode(0))
        })
        .collect();
    let mut steps = 0;
    while world.look() {
        steps += 1;
    }
    assert!(steps > 10, "it took {steps} steps");
    assert_eq!(world.ring(app, big).unsubmitted(), 0);
    assert_eq!(tickets.len() as u32, world.ring(app, big).owed());
}
