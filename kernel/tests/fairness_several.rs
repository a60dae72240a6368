//! Who gets how much where there are several processors: each shares its time by weight among those that are on it, and who
//! may run on all moves to one with less weight.
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

use ring_abi::args;
use std::collections::BTreeMap;
use world::{Dice, FIRST, Program, World};

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
/// How long one looks.
const SPAN: u64 = 10 * SECOND;
/// Memory of these worlds.
const MEMORY: usize = 32 << 20;

fn seeds() -> Vec<u64> {
    match std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (1..=4).collect(),
    }
}

fn sleep(world: &mut World, program: Program, time: u64) {
    while program.completion(world).is_some() {}
    let nanoseconds = world.machine().now() + time;
    program.submit(world, args::Timeout { nanoseconds, flags: args::timeout::ABSOLUTE }.encode(0));
    program.wait(world, 1);
}

/// Lets programs live on all processors for a while: time passes in pieces, in which whoever is on a processor runs; after
/// each piece `act` does something in its name. How long each of them ran, on each processor.
fn live(
    world: &mut World,
    mut piece: impl FnMut() -> u64,
    mut act: impl FnMut(&mut World, Program),
) -> BTreeMap<Program, Vec<u64>> {
    let (end, cpus) = (world.machine().now() + SPAN, world.cpus());
    let mut ran = BTreeMap::<Program, Vec<u64>>::new();
    while world.machine().now() < end {
        while world.take_pokes() {}
        let time = piece().min(end - world.machine().now());
        for cpu in 0..cpus {
            if let Some(program) = world.runs_on(cpu) {
                ran.entry(program).or_insert_with(|| vec![0; cpus])[cpu] += time;
            }
        }
        world.advance(time);
        for cpu in 0..cpus {
            world.switch(cpu);
            if let Some(program) = world.on_cpu() {
                act(world, program);
            }
        }
    }
    ran
}

#[test]
fn each_processor_shares_its_time_by_weight_among_those_that_are_limited_to_it() {
    for seed in seeds() {
        let mut dice = Dice::new(seed);
        let cpus = 2 + seed as usize % 3;
        let mut world = World::with_cpus(MEMORY, cpus);
        world.audit_every = 97;
        let mut spinners = Vec::new();
        let mut sleepers = Vec::new();
        for cpu in 0..cpus {
            for number in 0..4 {
                let (program, weight) = (world.program(), 100 + 50 * dice.roll(7) as u32);
                world.weigh(program, weight);
                let context = program.handle(&mut world);
                let limit = args::ContextAffinity { context, cpus: 1 << cpu };
                FIRST.call(&mut world, limit.encode(0)).expect("there is such a processor");
                if number == 3 { sleepers.push(program) } else { spinners.push((program, cpu, weight)) }
            }
        }
        sleep(&mut world, FIRST, 100 * SECOND);
        let mut pieces = Dice::new(seed + 1000);
        let ran = live(
            &mut world,
            || 1 + pieces.roll(500 * MICROSECOND),
            |world, program| {
                if sleepers.contains(&program) && dice.one_in(4) {
                    sleep(world, program, dice.roll(20 * MILLISECOND));
                }
            },
        );
        for cpu in 0..cpus {
            let here: Vec<_> = spinners.iter().filter(|(_, home, _)| *home == cpu).collect();
            let by_weight =
                |(program, _, weight): &(Program, usize, u32)| ran[program][cpu] as f64 / f64::from(*weight);
            let mean = here.iter().map(|one| by_weight(one)).sum::<f64>() / here.len() as f64;
            for one in here {
                let share = by_weight(one) / mean;
                assert!((share - 1.0).abs() < 0.02, "seed {seed}: {one:?} got {share} of its share");
                assert_eq!(ran[&one.0].iter().sum::<u64>(), ran[&one.0][cpu], "it ran elsewhere");
            }
        }
        world.check();
    }
}

/// Programs of these weights that always want a processor, anywhere; what each had of one, and of all together.
fn unlimited(cpus: usize, weights: &[u32], seed: u64) -> (Vec<f64>, f64) {
    let mut world = World::with_cpus(MEMORY, cpus);
    world.audit_every = 97;
    let spinners: Vec<Program> = weights.iter().map(|_| world.program()).collect();
    for (program, weight) in spinners.iter().zip(weights) {
        world.weigh(*program, *weight);
    }
    sleep(&mut world, FIRST, 100 * SECOND);
    let mut pieces = Dice::new(seed + 1000);
    let ran = live(&mut world, || 1 + pieces.roll(500 * MICROSECOND), |_, _| {});
    world.check();
    let had = |program: &Program| ran.get(program).map_or(0, |ran| ran.iter().sum::<u64>());
    let had: Vec<f64> = spinners.iter().map(|program| had(program) as f64 / SPAN as f64).collect();
    let sum = had.iter().sum();
    (had, sum)
}

#[test]
fn somebody_moves_if_it_gets_more_elsewhere() {
    for seed in seeds() {
        let mut dice = Dice::new(seed);
        let cpus = 2 + seed as usize % 3;
        let weights: Vec<u32> =
            (0..cpus as u64 + dice.roll(6)).map(|_| 100 + 50 * dice.roll(7) as u32).collect();
        let (had, sum) = unlimited(cpus, &weights, seed);
        assert!(sum > 0.999 * cpus as f64, "seed {seed}: somebody waits, and a processor sleeps");
        let average = f64::from(weights.iter().sum::<u32>()) / cpus as f64;
        for (had, weight) in had.iter().zip(&weights) {
            // On the processor with the least weight it would have this, and on its own it has no less.
            let least = f64::from(*weight) / (average + f64::from(*weight));
            println!("seed {seed}, {cpus} processors: {weight} had {had:.2}, at least {least:.2}");
            assert!(*had > 0.98 * least, "seed {seed}: {weight} had {had}, not {least}");
        }
    }
}

#[test]
fn the_same_number_on_each_processor_get_the_same() {
    for (cpus, each) in [(2, 3), (4, 2), (8, 2), (3, 5)] {
        let (had, sum) = unlimited(cpus, &vec![100; cpus * each], 1);
        assert!(sum > 0.999 * cpus as f64);
        for had in had {
            assert!((had * each as f64 - 1.0).abs() < 0.02, "{cpus} processors: {had}, not one of {each}");
        }
    }
}
