//! Who gets how much of the processor, over ten seconds of the fake machine's time: programs that always want it, programs
//! that sleep, and daemons with their clients.
//!
//! `SEED=n` plays one seed again.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::Errno;
use ring_abi::args::{self, CURRENT};
use std::collections::BTreeMap;
use world::{Daemon, Dice, FIRST, Mode, Program, World};

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
/// How long one looks.
const SPAN: u64 = 10 * SECOND;

fn seeds() -> Vec<u64> {
    match std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (1..=6).collect(),
    }
}

/// The first program sleeps until everything is over.
fn leave_alone(world: &mut World) {
    let nanoseconds = world.machine().now() + 100 * SECOND;
    FIRST.submit(world, args::Timeout { nanoseconds, flags: args::timeout::ABSOLUTE }.encode(0));
    FIRST.wait(world, 1);
}

/// Lets programs live for a while: time passes in pieces, in which whoever is on the processor runs; after each piece
/// `act` does something in its name. How long each of them ran.
fn live(
    world: &mut World,
    span: u64,
    mut piece: impl FnMut() -> u64,
    mut act: impl FnMut(&mut World, Program),
) -> BTreeMap<Program, u64> {
    let end = world.machine().now() + span;
    let mut ran = BTreeMap::new();
    while world.machine().now() < end {
        let Some(program) = world.on_cpu() else {
            assert!(world.advance_to_timer(), "nobody will ever run again");
            continue;
        };
        let time = piece();
        *ran.entry(program).or_insert(0) += time;
        world.advance(time);
        if world.on_cpu() == Some(program) {
            act(world, program);
        }
    }
    ran
}

fn sleep(world: &mut World, program: Program, time: u64) {
    while program.completion(world).is_some() {}
    let nanoseconds = world.machine().now() + time;
    program.submit(world, args::Timeout { nanoseconds, flags: args::timeout::ABSOLUTE }.encode(0));
    program.wait(world, 1);
}

/// Nanoseconds for each unit of weight.
fn by_weight(ran: &BTreeMap<Program, u64>, (program, weight): (Program, u32)) -> f64 {
    ran.get(&program).copied().unwrap_or(0) as f64 / f64::from(weight)
}

#[test]
fn spinners_get_what_their_weights_say_beside_sleepers() {
    for seed in seeds() {
        let mut dice = Dice::new(seed);
        let mut world = World::new();
        world.audit_every = 97;
        let mut make = |world: &mut World, number: u64| -> Vec<(Program, u32)> {
            let of = |dice: &mut Dice| 100 + 50 * dice.roll(7) as u32;
            (0..number).map(|_| (world.program(), of(&mut dice))).collect()
        };
        let spinners = make(&mut world, 2 + seed % 4);
        let sleepers = make(&mut world, seed % 3);
        for &(program, weight) in spinners.iter().chain(&sleepers) {
            world.weigh(program, weight);
        }
        leave_alone(&mut world);
        let mut pieces = Dice::new(seed + 1000);
        let ran = live(
            &mut world,
            SPAN,
            || 1 + pieces.roll(MILLISECOND),
            |world, program| {
                if sleepers.iter().any(|(sleeper, _)| *sleeper == program) && dice.one_in(4) {
                    sleep(world, program, dice.roll(20 * MILLISECOND));
                }
            },
        );
        let shares: Vec<_> = spinners.iter().map(|&spinner| by_weight(&ran, spinner)).collect();
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        for (share, spinner) in shares.iter().zip(&spinners) {
            assert!((share / mean - 1.0).abs() < 0.02, "seed {seed}: {spinner:?} got {share}, not {mean}");
        }
        for &sleeper in &sleepers {
            let share = by_weight(&ran, sleeper);
            assert!(share < mean * 1.02, "seed {seed}: {sleeper:?} sleeps and gets {share} of {mean}");
            assert!(share > mean * 0.1, "seed {seed}: {sleeper:?} is starved: {share} of {mean}");
        }
        world.check();
    }
}

#[test]
fn who_sleeps_most_of_the_time_runs_as_soon_as_it_wakes() {
    for seed in seeds() {
        let mut dice = Dice::new(seed);
        let mut world = World::new();
        world.audit_every = 97;
        let spinners: Vec<_> = (0..1 + seed % 5).map(|_| world.program()).collect();
        let sleeper = world.program();
        leave_alone(&mut world);
        let mut wakes = 0;
        for _ in 0..500 {
            world.give_cpu(sleeper);
            world.advance(dice.roll(100 * MICROSECOND));
            let time = 5 * MILLISECOND + dice.roll(10 * MILLISECOND);
            let until = world.machine().now() + time;
            world.give_cpu(sleeper);
            sleep(&mut world, sleeper, time);
            while world.machine().now() < until {
                assert!(world.on_cpu().is_some_and(|running| spinners.contains(&running)));
                let next = world.machine().timer().expect("somebody waits");
                world.advance(next.saturating_sub(world.machine().now()).max(1));
            }
            assert_eq!(world.on_cpu(), Some(sleeper), "seed {seed}: woken and not run");
            wakes += 1;
        }
        assert_eq!(wakes, 500);
    }
}

/// A daemon with a file, and its client, which has opened it.
fn pair(world: &mut World) -> (Daemon, Program, u64) {
    let daemon = world.daemon("disk");
    let client = world.program();
    let file = client.open(world, "/scheme/disk/a");
    (daemon, client, file)
}

fn ask(world: &mut World, client: Program, file: u64) {
    client.submit(world, world::read(file, world::DATA, 8));
    client.wait(world, 1);
}

/// What a daemon does when it has the processor: it answers all that it has, and waits.
fn serve(world: &mut World, daemon: Daemon) -> u64 {
    let mut answered = 0;
    while let Some(request) = daemon.request(world) {
        daemon.reply(world, request, Ok(8));
        answered += 1;
    }
    daemon.wait(world);
    answered
}

#[test]
fn a_spinner_and_those_who_hand_to_each_other_do_not_starve_each_other() {
    let mut world = World::new();
    world.audit_every = 997;
    let (daemon, client, file) = pair(&mut world);
    let spinner = world.program();
    leave_alone(&mut world);
    let mut answered = 0;
    let ran = live(
        &mut world,
        SPAN,
        || 20 * MICROSECOND,
        |world, program| {
            if program == client {
                while client.completion(world).is_some() {}
                ask(world, client, file);
            } else if program == daemon.program {
                answered += serve(world, daemon);
            }
        },
    );
    let part = |program| ran.get(&program).copied().unwrap_or(0) as f64 / SPAN as f64;
    let both = part(client) + part(daemon.program);
    assert!((0.32..0.51).contains(&part(spinner)), "the spinner got {}", part(spinner));
    assert!(both > 0.48, "those who hand to each other got {both}");
    assert!(answered > 100_000, "{answered} answers");
}

#[test]
fn a_client_that_spins_leaves_its_daemon_to_the_others() {
    let mut world = World::new();
    world.audit_every = 997;
    let (daemon, greedy, file) = pair(&mut world);
    let modest = world.program();
    let its = modest.open(&mut world, "/scheme/disk/b");
    leave_alone(&mut world);
    let (mut rounds, mut asked, mut longest) = (0, None, 0);
    let ran = live(
        &mut world,
        SPAN,
        || 100 * MICROSECOND,
        |world, program| {
            if program == greedy {
                // It asks once in a while and never waits for long.
                if world.owed(greedy) == 0 {
                    while greedy.completion(world).is_some() {}
                    greedy.submit(world, world::read(file, world::DATA, 8));
                    greedy.push(world);
                }
            } else if program == modest {
                if let Some(began) = asked.take() {
                    rounds += 1;
                    longest = longest.max(world.machine().now() - began);
                }
                while modest.completion(world).is_some() {}
                asked = Some(world.machine().now());
                ask(world, modest, its);
            } else if program == daemon.program {
                serve(world, daemon);
            }
        },
    );
    let part = |program| ran.get(&program).copied().unwrap_or(0) as f64 / SPAN as f64;
    assert!(part(greedy) < 0.52, "the spinner got {}", part(greedy));
    assert!(rounds > 20_000, "the other client had {rounds} rounds");
    assert!(longest < 12 * MILLISECOND, "one of them took {longest} ns");
}

#[test]
fn who_makes_contexts_gets_nothing_in_advance() {
    let mut world = World::new();
    let app = world.program();
    let other = world.program();
    leave_alone(&mut world);
    let debt = |world: &World, program: Program| {
        let id = world.context_of(program);
        world.kernel.state.contexts.at(id).share.get().time()
    };
    world.give_cpu(app);
    world.advance(4 * MILLISECOND);
    let made = app.call(&mut world, {
        let args = args::ContextCreate {
            space: CURRENT,
            table: CURRENT,
            entry: 0x1000,
            stack: 0x2000,
            argument: 0,
            sizes_flags: 0,
        };
        args.encode(0)
    });
    assert!(made.is_ok());
    let contexts = &world.kernel.state.contexts;
    let newest = contexts.names().filter(|&id| contexts.at(id).lives()).max().unwrap();
    assert!(contexts.at(newest).share.get().time().after(debt(&world, other)) > 0);
}

#[test]
fn weight_is_given_and_taken_but_not_made() {
    let mut world = World::new();
    let app = world.program();
    let thread = app.call(&mut world, {
        let args = args::ContextCreate {
            space: CURRENT,
            table: CURRENT,
            entry: 0x1000,
            stack: 0x2000,
            argument: 0,
            sizes_flags: 0,
        };
        args.encode(0)
    });
    let thread = thread.unwrap();
    let mut weigh = |context: u64, weight: u32, capability: u64| {
        app.call(&mut world, args::ContextWeight { context, weight, capability }.encode(0))
    };
    assert_eq!(weigh(thread, 0, CURRENT), Err(Errno::INVAL));
    assert_eq!(weigh(thread, 1001, CURRENT), Err(Errno::INVAL));
    assert_eq!(weigh(thread, 1 << 16 | 50, CURRENT), Err(Errno::INVAL));
    assert_eq!(weigh(77, 50, CURRENT), Err(Errno::BADF));
    assert_eq!(weigh(0, 50, CURRENT), Err(Errno::BADF), "no handle to a context");
    assert_eq!(weigh(thread, 101, CURRENT), Err(Errno::PERM));
    assert_eq!(weigh(thread, 101, thread), Err(Errno::PERM), "no capability");
    assert_eq!(weigh(thread, 50, CURRENT), Ok(100));
    assert_eq!(weigh(thread, 100, CURRENT), Ok(50), "up to its own");
    assert_eq!(weigh(CURRENT, 60, CURRENT), Ok(100));
    assert_eq!(weigh(CURRENT, 61, CURRENT), Err(Errno::PERM), "not even what it had");
    assert_eq!(weigh(thread, 61, CURRENT), Err(Errno::PERM));
    assert_eq!(weigh(thread, 1000, 1), Ok(100), "with the capability");
    let kill = args::ContextKill { context: thread }.encode(0);
    assert_eq!(app.call(&mut world, kill), Ok(0));
    let late = args::ContextWeight { context: thread, weight: 5, capability: CURRENT };
    assert_eq!(app.call(&mut world, late.encode(0)), Err(Errno::SRCH));
    assert_eq!(world.mode(app), Mode::Own);
}

#[test]
fn a_weight_is_passed_on() {
    let mut world = World::new();
    let app = world.program();
    world.weigh(app, 30);
    let child = world.context(app, CURRENT, CURRENT, ring_abi::layout::Sizes::SMALLEST);
    let other = world.program();
    let weight = |world: &World, program| {
        world.kernel.state.contexts.at(world.context_of(program)).share.get().weight()
    };
    assert_eq!([weight(&world, app), weight(&world, child), weight(&world, other)], [30, 30, 100]);
}
