//! A daemon that answers whatever tag comes to its mind, around plain reads and cancels: only what is in its hands ends.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::layout::Sizes;
use ring_abi::{Cqe, Errno, args};
use world::{DATA, Daemon, Dice, Mode, Program, Ticket, World, read};

/// Operations that a program has in flight at most.
const MOST: usize = 12;
/// What happens in one game.
const MOVES: usize = 60;

/// A game between a program that reads and a daemon that guesses.
struct Game {
    world: World,
    disk: Daemon,
    app: Program,
    fd: u64,
    dice: Dice,
    /// Tags in the daemon's hands, and those that it has answered already.
    hands: Vec<u32>,
    answered: Vec<u32>,
    /// What the program has in flight, and the tags that it ever used.
    open: Vec<Ticket>,
    tags: Vec<u32>,
}

impl Game {
    fn new(seed: u64) -> Game {
        let mut world = World::new();
        let disk = world.daemon_with("disk", 3);
        let app = world.program_with(Sizes { sq: 4, cq: 4, service: None });
        let fd = app.open(&mut world, "/scheme/disk/a");
        let dice = Dice::new(seed);
        let (hands, answered, open, tags) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Game { world, disk, app, fd, dice, hands, answered, open, tags }
    }

    fn read(&mut self) {
        for _ in 0..=self.dice.roll(5) {
            if self.open.len() < MOST {
                let ticket = self.app.submit(&mut self.world, read(self.fd, DATA, 8));
                self.tags.push(ticket.0);
                self.open.push(ticket);
                self.app.push(&mut self.world);
            }
        }
    }

    fn cancel(&mut self) {
        if !self.tags.is_empty() && self.open.len() < MOST {
            let tag = self.dice.pick(&self.tags).unwrap();
            let strength = self.dice.roll(2) as u32;
            let entry = args::CancelTag { tag, strength, grace: 1000 }.encode(0);
            self.open.push(self.app.submit(&mut self.world, entry));
            self.app.push(&mut self.world);
        }
    }

    /// A tag that is in the daemon's hands, was, may be one day, or never was.
    fn tag(&mut self) -> Option<u32> {
        match self.dice.roll(5) {
            0 if !self.answered.is_empty() => {
                let tag = self.dice.pick(&self.answered).unwrap();
                Some(tag.wrapping_add((self.dice.roll(3) as u32) << 16))
            }
            1 => Some((self.dice.roll(8) | self.dice.roll(20) << 16) as u32),
            _ if !self.hands.is_empty() => {
                Some(self.hands.swap_remove(self.dice.roll(self.hands.len() as u64) as usize))
            }
            _ => None,
        }
    }

    fn answer(&mut self) {
        for _ in 0..=self.dice.roll(4) {
            while let Some(request) = self.disk.request(&mut self.world) {
                self.hands.push(request.tag);
            }
            let Some(tag) = self.tag() else { continue };
            self.answered.push(tag);
            let result = self.dice.pick(&[Err(Errno::IO), Ok(9), Ok(4), Ok(4)]).unwrap();
            let replied = self.disk.try_reply_with(&mut self.world, Cqe::new(tag, result));
            let enough = self.disk.untaken_replies(&self.world) > 3 || self.dice.one_in(2);
            if replied && enough && self.world.mode(self.disk.program) == Mode::Own {
                self.disk.wait(&mut self.world);
            }
        }
    }

    fn take_results(&mut self) {
        let (app, world) = (self.app, &mut self.world);
        self.open.retain(|&ticket| app.result(world, ticket).is_none());
    }
}

#[test]
fn guessed_tags_end_nothing_else() {
    for seed in 1..200 {
        let mut game = Game::new(seed);
        for _ in 0..MOVES {
            match game.dice.roll(6) {
                0 | 1 => game.read(),
                2 => game.cancel(),
                3 => game.world.run_until_idle(),
                _ => game.answer(),
            }
            game.take_results();
        }
        game.world.run_until_idle();
        game.world.check();
        game.world.kill(game.disk.program);
        game.world.run_until_idle();
        game.take_results();
        assert!(game.open.is_empty(), "seed {seed}: {:?} never end", game.open);
        game.world.check();
        assert_eq!(game.world.kernel.state.idle_ops(), 1, "seed {seed}: a record stayed at a dead link");
    }
}

#[test]
fn brief_steps_leave_the_next_one_a_whole_budget() {
    let mut world = World::new();
    let disk = world.daemon_with("disk", 7);
    let app = world.program_with(Sizes { sq: 7, cq: 7, service: None });
    let file = app.open(&mut world, "/scheme/disk/a");
    disk.obliging(&mut world, false);
    for _ in 0..5 {
        (0..25).for_each(|_| _ = app.submit(&mut world, read(file, DATA, 8)));
        app.push(&mut world);
    }
    // Some stay queued, so that the daemon never waits, and somebody else is ready.
    let mut taken: Vec<_> = (0..100).map(|_| disk.raw_request(&mut world).unwrap()).collect();
    let other = world.program();
    other.submit(&mut world, args::Timeout { flags: 0, nanoseconds: 1_000_000_000_000 }.encode(0));
    world.give_cpu(disk.program);
    for _ in 0..3 {
        (0..30).for_each(|_| disk.reply(&mut world, taken.pop().unwrap(), Ok(4)));
        disk.wait(&mut world);
        assert_eq!(disk.untaken_replies(&world), 0, "what one step affords, the next one does too");
        assert_eq!(world.on_cpu(), Some(disk.program), "nothing was left for another turn");
    }
}
