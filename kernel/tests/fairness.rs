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

use kernel::context::context::State as Run;
use kernel::context::queue::{BEHIND, BUCKET};
use kernel::context::share::UNIT;
use ring_abi::args::{self, CURRENT};
use std::collections::BTreeMap;
use world::{Daemon, Dice, FIRST, Program, World};

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

/// Most nanoseconds that somebody who has begun without debts may have to wait for others who always want the processor:
/// each of them goes first until it has used as much as a slice of the waiting one counts, with what may be given in advance,
/// and then ends its slice.
fn longest_wait(weight: u32, others: impl Iterator<Item = u32>) -> u64 {
    let slice = (5 * MILLISECOND * 100 / u64::from(weight) / UNIT).min(32 * BUCKET);
    let most = (slice + BEHIND + 2 * BUCKET) * UNIT;
    others.map(|other| most * u64::from(other) / 100 + 5 * MILLISECOND).sum()
}

#[test]
fn nobody_waits_for_longer_than_its_last_slice_counts() {
    for seed in seeds() {
        let mut dice = Dice::new(seed);
        let mut world = World::new();
        world.audit_every = 97;
        let all: Vec<(Program, u32)> =
            (0..2 + seed % 4).map(|_| (world.program(), 1 + dice.roll(300) as u32)).collect();
        for &(program, weight) in &all {
            world.weigh(program, weight);
        }
        leave_alone(&mut world);
        let mut since = BTreeMap::<Program, u64>::new();
        // What was before is forgotten.
        world.advance(SECOND);
        let (end, mut longest) = (world.machine().now() + SPAN, 0.0_f64);
        while world.machine().now() < end {
            let before = world.on_cpu();
            let left = world.machine().timer().map_or(MILLISECOND, |timer| timer - world.machine().now());
            world.advance(left.min(1 + dice.roll(MILLISECOND)));
            if let Some(program) = world.on_cpu()
                && before == Some(program)
                && dice.one_in(20)
            {
                sleep(&mut world, program, dice.roll(100 * MILLISECOND));
            }
            let now = world.machine().now();
            for &(program, weight) in &all {
                let context = world.kernel.state.contexts.at(world.context_of(program));
                if context.state.get() != Run::Ready {
                    since.remove(&program);
                    continue;
                }
                let waited = now - *since.entry(program).or_insert(now);
                let others = all.iter().filter(|(other, _)| *other != program).map(|(_, weight)| *weight);
                let most = longest_wait(weight, others);
                assert!(waited <= most, "seed {seed}: {program:?} has waited for {waited} of {most} ns");
                longest = longest.max(waited as f64 / most as f64);
            }
        }
        println!("seed {seed}: the longest wait was {longest:.2} of what is promised");
    }
}

#[test]
fn who_is_woken_by_the_one_that_runs_has_to_wait_half_a_millisecond_at_most() {
    for seed in seeds() {
        let mut dice = Dice::new(seed);
        let mut world = World::new();
        world.audit_every = 97;
        let (daemon, client, file) = pair(&mut world);
        let _others: Vec<_> = (0..seed % 4).map(|_| world.program()).collect();
        leave_alone(&mut world);
        for round in 0..200 {
            world.give_cpu(daemon.program);
            serve(&mut world, daemon);
            let time = 10 * MILLISECOND + dice.roll(50 * MILLISECOND);
            for _ in 0..time / MILLISECOND {
                world.advance(MILLISECOND);
            }
            world.give_cpu(client);
            world.advance(dice.roll(2 * MILLISECOND));
            world.give_cpu(client);
            while client.completion(&mut world).is_some() {}
            // It does not wait for the answer, and would go on.
            client.submit(&mut world, world::read(file, world::DATA, 8));
            client.push(&mut world);
            let asked = world.machine().now();
            while world.on_cpu() != Some(daemon.program) {
                assert!(world.advance_to_timer());
            }
            let waited = world.machine().now() - asked;
            assert!(waited <= 500 * MICROSECOND, "seed {seed}, round {round}: {waited} ns");
        }
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
fn a_daemon_that_spins_takes_nothing_from_those_who_do_not_ask_it() {
    for clients in [1, 4] {
        let mut world = World::new();
        world.audit_every = 997;
        let (daemon, first, file) = pair(&mut world);
        let mut asking = vec![(first, file)];
        for _ in 1..clients {
            let client = world.program();
            let file = client.open(&mut world, "/scheme/disk/b");
            asking.push((client, file));
        }
        let spinners = [world.program(), world.program()];
        leave_alone(&mut world);
        world.give_cpu(daemon.program);
        daemon.wait(&mut world);
        let mut pieces = Dice::new(clients);
        let ran = live(
            &mut world,
            SPAN,
            || 1 + pieces.roll(MILLISECOND),
            |world, program| {
                // Each asks once, and is never answered.
                if let Some((client, file)) = asking.iter().find(|(client, _)| *client == program) {
                    ask(world, *client, *file);
                }
            },
        );
        let part = |program| ran.get(&program).copied().unwrap_or(0) as f64 / SPAN as f64;
        for program in spinners.into_iter().chain([daemon.program]) {
            assert!((part(program) * 3.0 - 1.0).abs() < 0.02, "{program:?} got {}", part(program));
        }
    }
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
