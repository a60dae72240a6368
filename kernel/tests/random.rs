//! Random programs, with a seed: see [`game`].
//!
//! `SEED=n` plays one game again, `STEPS=n` sets how long all of them are together.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]
#![allow(unreachable_pub, reason = "modules of a test")]

mod game;
mod world;

use game::{Game, Score};

/// Steps of all games together, unless the environment says otherwise.
const STEPS: u64 = if cfg!(debug_assertions) { 60_000 } else { 1_200_000 };
/// Games among which they are divided.
const GAMES: u64 = 12;

/// Says which seed it was if the game ends badly.
struct Announce(u64);

impl Drop for Announce {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was seed {}: play it again with SEED={0}", self.0);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn random_programs_break_no_promise() {
    let steps = number("STEPS").unwrap_or(STEPS) / GAMES;
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..GAMES + 1,
    };
    let mut all = Score::default();
    for seed in seeds {
        let _announce = Announce(seed);
        let mut game = Game::new(seed);
        game.play(steps);
        all = all.and(game.finish());
    }
    println!("{all:?}");
    assert!(all.more > 0 && all.messages > 0, "{all:?}");
    assert!(all.provided > 0, "{all:?}");
    assert!(all.reads > 0 && all.ends > 0 && all.failures > 0 && all.completions > all.failures, "{all:?}");
}

/// Processors of the games on several, and whether their translations have tags.
const MACHINES: [(usize, bool); 6] = [(2, false), (3, true), (4, false), (2, true), (8, false), (16, true)];

#[test]
fn random_programs_on_several_processors_break_no_promise() {
    let steps = number("STEPS").unwrap_or(STEPS) / GAMES;
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..GAMES + 1,
    };
    let mut all = Score::default();
    for seed in seeds {
        let _announce = Announce(seed);
        let (cpus, tagged) = MACHINES[seed as usize % MACHINES.len()];
        let mut game = Game::with_cpus(seed, cpus, tagged);
        game.play(steps);
        all = all.and(game.finish());
    }
    println!("{all:?}");
    assert!(all.polled > 0, "{all:?}");
    assert!(all.reads > 0 && all.ends > 0 && all.failures > 0 && all.completions > all.failures, "{all:?}");
}

#[test]
fn a_game_is_the_same_every_time() {
    let play = || {
        let mut game = Game::new(77);
        game.play(5000);
        (game.score, game.world.steps(), game.world.machine().now(), game.world.accounts())
    };
    assert_eq!(play(), play());
}
