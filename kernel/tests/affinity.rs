//! Contexts that are limited to some processors.
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
use ring_abi::enter::Control;
use ring_abi::layout::Sizes;
use ring_abi::{Errno, Sqe, enter};

use world::{DATA, Daemon, FIRST, Program, Ticket, World};

/// Memory of these worlds.
const MEMORY: usize = 32 << 20;
/// Steps of time within which everybody had a turn.
const LONG: usize = 60;

/// A world with so many processors, where the first program sleeps for ever and another one runs.
fn world(cpus: usize) -> (World, Program) {
    let mut world = World::with_cpus(MEMORY, cpus);
    let one = world.program_with(Sizes { sq: 3, cq: 4, service: None });
    let timeout = args::Timeout { nanoseconds: u64::MAX / 2, flags: args::timeout::ABSOLUTE };
    FIRST.submit(&mut world, timeout.encode(0));
    FIRST.wait(&mut world, 1);
    (world, one)
}

/// A context that `one` makes and that runs.
fn victim(world: &mut World, one: Program) -> (Program, u64) {
    let victim = world.context(one, CURRENT, CURRENT, Sizes { sq: 3, cq: 4, service: None });
    let handle = victim.handle(world);
    (victim, handle)
}

fn limit(context: u64, cpus: u64) -> Sqe {
    args::ContextAffinity { context, cpus }.encode(0)
}

/// The processor that a program runs on, if it runs.
fn cpu_of(world: &World, program: Program) -> Option<usize> {
    (0..world.cpus()).find(|cpu| world.runs_on(*cpu) == Some(program))
}

/// Lets time pass, and gives the processors on which a program was seen, as bits.
fn seen(world: &mut World, program: Program) -> u64 {
    let mut seen = 0;
    for _ in 0..LONG {
        seen |= cpu_of(world, program).map_or(0, |cpu| 1 << cpu);
        if !world.take_pokes() && !world.advance_to_timer() {
            break;
        }
    }
    seen | cpu_of(world, program).map_or(0, |cpu| 1 << cpu)
}

#[test]
fn a_context_runs_where_it_may_and_nowhere_else() {
    let (mut world, one) = world(4);
    let (victim, handle) = victim(&mut world, one);
    // More of them than processors, so that everybody takes turns and is stolen if that is allowed.
    for _ in 0..5 {
        world.context(one, CURRENT, CURRENT, Sizes::SMALLEST);
    }
    for cpus in [0b0100, 0b0001, 0b1000, 0b0010] {
        assert_eq!(one.call(&mut world, limit(handle, cpus)), Ok(0));
        world.take_pokes();
        assert_eq!(seen(&mut world, victim), cpus);
    }
    assert_eq!(one.call(&mut world, limit(handle, 0b1010)), Ok(0));
    world.take_pokes();
    let seen = seen(&mut world, victim);
    assert!(seen != 0 && seen & !0b1010 == 0, "{seen:b}");
}

#[test]
fn a_set_without_a_processor_that_is_there_is_refused() {
    let (mut world, one) = world(2);
    let (_, handle) = victim(&mut world, one);
    for cpus in [0, 0b100, 1 << 16, 1 << 63] {
        assert_eq!(one.call(&mut world, limit(handle, cpus)), Err(Errno::INVAL), "{cpus:b}");
    }
    assert_eq!(one.call(&mut world, limit(999, 1)), Err(Errno::BADF));
    assert_eq!(one.call(&mut world, limit(handle, u64::MAX)), Ok(0));
    assert_eq!(one.call(&mut world, args::ContextKill { context: handle }.encode(0)), Ok(0));
    world.run_until_idle();
    assert_eq!(one.call(&mut world, limit(handle, 1)), Err(Errno::SRCH));
}

#[test]
fn one_processor_is_all_there_is_to_choose_from() {
    let (mut world, one) = world(1);
    assert_eq!(one.call(&mut world, limit(CURRENT, 1)), Ok(0));
    assert_eq!(one.call(&mut world, limit(CURRENT, 2)), Err(Errno::INVAL));
    let context =
        world.kernel.state.contexts.names().any(|id| world.kernel.state.contexts.at(id).marks.any());
    assert!(!context, "nobody is limited where there is nothing to limit to");
}

#[test]
fn who_limits_itself_goes_on_elsewhere() {
    let (mut world, one) = world(2);
    assert!(world.find(one));
    let here = cpu_of(&world, one).unwrap();
    let there = 1 - here;
    assert_eq!(one.call(&mut world, limit(CURRENT, 1 << there)), Ok(0));
    assert_eq!(seen(&mut world, one), 1 << there);
}

#[test]
fn who_is_woken_goes_to_a_processor_of_its_own() {
    let (mut world, one) = world(2);
    let (victim, handle) = victim(&mut world, one);
    assert!(world.find(one));
    let there = 1 - cpu_of(&world, one).unwrap();
    let here = 1 - there;
    assert_eq!(one.call(&mut world, limit(CURRENT, 1 << here)), Ok(0));
    assert_eq!(one.call(&mut world, limit(handle, 1 << there)), Ok(0));
    for _ in 0..3 {
        world.give_cpu(victim);
        victim
            .submit(&mut world, args::FutexWait { address: DATA, expected: 0, deadline: u64::MAX }.encode(0));
        victim.wait(&mut world, 1);
        assert!(world.find(one));
        assert_eq!(one.call(&mut world, args::FutexWake { address: DATA, count: 1 }.encode(0)), Ok(1));
        one.submit(&mut world, args::Nop {}.encode(0));
        one.enter(&mut world, 0, 0, 2, enter::COMPLETIONS, enter::NO_DEADLINE);
        assert_ne!(world.runs_on(here), Some(victim), "it was handed a processor that is not its own");
        assert!(seen(&mut world, victim) & (1 << here) == 0);
    }
}

#[test]
fn limits_are_inherited() {
    let (mut world, one) = world(3);
    assert_eq!(one.call(&mut world, limit(CURRENT, 0b010)), Ok(0));
    let (victim, handle) = victim(&mut world, one);
    assert_eq!(seen(&mut world, victim) & !0b010, 0);
    assert_eq!(one.call(&mut world, limit(handle, u64::MAX)), Ok(0), "and are not for ever");
    assert_ne!(seen(&mut world, victim) & !0b010, 0);
}

/// One submission and a wait for its completion, as the runtime does it.
fn call(world: &mut World, program: Program, sqe: Sqe) -> Ticket {
    assert!(world.find(program));
    let ticket = program.submit(world, sqe);
    world.enter(0, Control::CALL, enter::NO_DEADLINE);
    ticket
}

/// A daemon's reply and its wait for requests, as the runtime does it.
fn serve(world: &mut World, daemon: Daemon) {
    let request = daemon.request(world).expect("it was asked");
    daemon.reply(world, request, Ok(8));
    world.run_until("it runs", |world| world.find(daemon.program));
    world.enter(daemon.ring as u64, Control::SERVE, enter::NO_DEADLINE);
}

#[test]
fn a_daemon_that_changed_places_with_a_client_comes_back_to_its_own_processor() {
    for (daemons, clients) in [(1, 0), (0, 1), (1, 1), (0, 0)] {
        let (mut world, one) = world(2);
        let daemon = world.daemon("disk");
        let file = one.open(&mut world, "/scheme/disk/a");
        assert_eq!(daemon.program.call(&mut world, limit(CURRENT, 1 << daemons)), Ok(0));
        world.run_until("it is where it may be", |world| world.find(daemon.program));
        world.enter(daemon.ring as u64, Control::SERVE, enter::NO_DEADLINE);
        // It answers a client that runs beside it, which goes on in its place, and then one that may be elsewhere.
        for cpu in [daemons, daemons, daemons, clients, clients] {
            assert_eq!(one.call(&mut world, limit(CURRENT, 1 << cpu)), Ok(0));
            assert_eq!(one.call(&mut world, limit(CURRENT, u64::MAX)), Ok(0));
            world.run_until("it runs there", |world| cpu_of(world, one) == Some(cpu));
            let read = args::Read { fd: file, buffer: DATA, length: 8, offset: 0 }.encode(0);
            let read = call(&mut world, one, read);
            assert_ne!(world.runs_on(1 - daemons), Some(daemon.program), "it was handed a foreign processor");
            serve(&mut world, daemon);
            world.run_until("the read completes", |world| one.result(world, read) == Some(Ok(8)));
        }
        assert_eq!(seen(&mut world, daemon.program) & !(1 << daemons), 0);
    }
}
