//! A game of chance: whoever the kernel lets run does something by chance.
//!
//! The world looks after every step whether the promises hold; the game looks whether what programs are told
//! is true: reads bring the bytes that their daemon gave, and in the end everything is accounted for.

mod daemon;
mod program;

pub use crate::world::Dice;

use crate::world::{Daemon, FIRST, Program, Ticket, World};
use kernel::arch::Machine;
use ring_abi::args;
use ring_abi::layout::Sizes;
use std::collections::BTreeMap;

/// Bytes of memory.
const MEMORY: usize = 128 << 20;
/// Programs at most, threads counted.
const MOST: usize = 12;
/// Daemons.
const DAEMONS: usize = 3;

/// What a program knows of itself.
#[derive(Default)]
struct Mind {
    /// Handles that it believes to have, of files.
    files: Vec<u64>,
    /// Handles that it believes to have, of spaces, tables and contexts.
    objects: Vec<u64>,
    /// Reads that are not complete: offset and place.
    reads: BTreeMap<Ticket, (u64, u64)>,
    /// Operations that make something, not complete.
    makes: BTreeMap<Ticket, Made>,
    /// Tags of the recent past, for cancels.
    recent: Vec<Ticket>,
    /// How often it was replaced by another program.
    replaced: u32,
    /// It uses files of the kernel too, whose bytes no daemon gave.
    uses_kernel: bool,
    /// It makes contexts in its own table that never start.
    leaves_unborn: bool,
}

/// What an operation makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    /// A handle to a file.
    File,
    /// A handle to something else.
    Object,
    /// A ring.
    Ring,
}

/// What happened, to see that a game was worth it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// Completions taken.
    pub completions: u64,
    /// Those that were errors.
    pub failures: u64,
    /// Reads whose bytes were compared.
    pub reads: u64,
    /// Completions after which others came.
    pub more: u64,
    /// Completions with a buffer that a program provided.
    pub provided: u64,
    /// Programs and daemons that ended.
    pub ends: u64,
    /// Messages from ring to ring that arrived.
    pub messages: u64,
    /// Submissions that were taken from polled rings.
    pub polled: u64,
}

impl Score {
    /// Both together.
    pub fn and(self, other: Score) -> Score {
        Score {
            completions: self.completions + other.completions,
            failures: self.failures + other.failures,
            reads: self.reads + other.reads,
            more: self.more + other.more,
            provided: self.provided + other.provided,
            ends: self.ends + other.ends,
            messages: self.messages + other.messages,
            polled: self.polled + other.polled,
        }
    }
}

/// A game.
pub struct Game {
    pub world: World,
    dice: Dice,
    daemons: Vec<Daemon>,
    minds: BTreeMap<Program, Mind>,
    next_offset: u64,
    pub score: Score,
}

impl Game {
    /// A game with a few programs and daemons.
    pub fn new(seed: u64) -> Game {
        Game::on(seed, World::with_memory(MEMORY))
    }

    /// The same on a machine with this many processors, whose translations have tags or not.
    pub fn with_cpus(seed: u64, cpus: usize, tagged: bool) -> Game {
        let machine = Machine::with_cpus(MEMORY, cpus);
        if tagged {
            machine.tag_translations();
        }
        Game::on(seed, World::on(machine))
    }

    fn on(seed: u64, mut world: World) -> Game {
        world.audit_every = 257;
        world.is_lazy = true;
        let mut game = Game {
            world,
            dice: Dice::new(seed),
            daemons: Vec::new(),
            minds: BTreeMap::new(),
            next_offset: 1,
            score: Score::default(),
        };
        for number in 0..DAEMONS {
            let daemon = game.make_daemon(number);
            game.daemons.push(daemon);
        }
        for _ in 0..4 {
            game.make_program();
        }
        game
    }

    /// Plays for so many steps.
    pub fn play(&mut self, steps: u64) {
        let end = self.world.steps() + steps;
        while self.world.steps() < end {
            self.choose_cpu();
            self.world.take_interrupts();
            match self.world.on_cpu() {
                None => self.idle(),
                Some(program) if program == FIRST => self.rule(),
                Some(program) => match self.daemons.iter().find(|daemon| daemon.program == program) {
                    Some(daemon) => self.serve(*daemon),
                    None => self.live(program),
                },
            }
            self.pass_time();
        }
    }

    /// Any of the processors goes on. One that was poked enters the kernel sooner or later.
    fn choose_cpu(&mut self) {
        let cpus = self.world.cpus() as u64;
        if cpus == 1 {
            return;
        }
        let cpu = self.dice.roll(cpus) as usize;
        self.world.switch(cpu);
        if self.dice.one_in(3) {
            self.world.take_poke(cpu);
        } else if self.dice.one_in(8) {
            // It waits for the lock for a while.
            self.world.machine().answer();
        }
        if self.world.machine().sees_news(cpu) && self.dice.one_in(2) {
            self.world.look();
        }
    }

    fn pass_time(&mut self) {
        if self.dice.one_in(40) {
            let time = self.dice.roll(3_000_000);
            self.world.advance(time);
        }
        if self.dice.one_in(300) {
            self.world.machine().raise_test_irq();
        }
        if self.dice.one_in(300) {
            self.world.machine().type_in(b"input");
        }
    }

    /// Nobody is ready: time passes until somebody is. The first program never sleeps for ever.
    fn idle(&mut self) {
        let others_run = (0..self.world.cpus()).any(|cpu| self.world.runs_on(cpu).is_some());
        if others_run || self.world.take_pokes() || self.world.look() {
            return;
        }
        assert!(self.world.advance_to_timer(), "nobody is ready and nobody will be");
    }

    /// The first program makes and ends others.
    fn rule(&mut self) {
        self.sweep();
        match self.dice.roll(12) {
            0 if self.minds.len() < MOST - 3 => self.make_program(),
            1 if self.minds.len() > 3 => {
                let victim = self.some_program();
                self.end(victim);
            }
            2 => self.replace_daemon(),
            3 if !self.minds.is_empty() && self.minds.len() < MOST => {
                let of = self.some_program();
                let thread = self.world.thread(of, Sizes::SMALLEST);
                let uses_kernel = self.minds.get(&of).is_some_and(|mind| mind.uses_kernel);
                let leaves_unborn = self.minds.get(&of).is_some_and(|mind| mind.leaves_unborn);
                self.minds.insert(thread, Mind { uses_kernel, leaves_unborn, ..Mind::default() });
            }
            _ => self.nap(),
        }
    }

    /// The first program sleeps for a while, so that others run.
    fn nap(&mut self) {
        let until = self.world.machine().now() + 1 + self.dice.roll(20_000_000);
        let sleep = args::Timeout { nanoseconds: until, flags: args::timeout::ABSOLUTE };
        FIRST.submit(&mut self.world, sleep.encode(0));
        FIRST.wait(&mut self.world, 1);
        while FIRST.completion(&mut self.world).is_some() {}
    }

    fn make_program(&mut self) {
        let sizes = Sizes { sq: 2 + self.dice.roll(4) as u8, cq: 1 + self.dice.roll(5) as u8, service: None };
        let program = self.world.program_with(sizes);
        let uses_kernel = self.dice.one_in(4);
        let leaves_unborn = self.dice.one_in(2);
        self.minds.insert(program, Mind { uses_kernel, leaves_unborn, ..Mind::default() });
    }

    fn make_daemon(&mut self, number: usize) -> Daemon {
        let log2 = self.dice.roll(4) as u8;
        let daemon = self.world.daemon_with(&format!("d{number}"), log2);
        daemon.obliging(&mut self.world, false);
        daemon
    }

    /// A daemon that has ended gets a successor; sometimes one is ended for that.
    fn replace_daemon(&mut self) {
        let number = self.dice.roll(self.daemons.len() as u64) as usize;
        let old = self.daemons[number].program;
        if self.world.has_ended(old) || self.dice.one_in(4) {
            self.end(old);
            self.daemons[number] = self.make_daemon(number);
        }
    }

    fn end(&mut self, victim: Program) {
        self.world.kill(victim);
        self.world.forget(victim);
        self.minds.remove(&victim);
        self.score.ends += 1;
        self.sweep();
    }

    /// Programs that ended by themselves or with others are forgotten.
    fn sweep(&mut self) {
        let known: Vec<_> = self.minds.keys().copied().collect();
        for program in known {
            if self.world.has_ended(program) {
                self.world.forget(program);
                self.minds.remove(&program);
                self.score.ends += 1;
            }
        }
    }

    fn some_program(&mut self) -> Program {
        let at = self.dice.roll(self.minds.len() as u64) as usize;
        *self.minds.keys().nth(at).expect("somebody lives")
    }

    /// Ends everything. Nothing may be left of it.
    pub fn finish(mut self) -> Score {
        while let Some(program) = self.minds.keys().next().copied() {
            self.end(program);
        }
        for daemon in std::mem::take(&mut self.daemons) {
            self.end(daemon.program);
        }
        self.world.run_until_idle();
        // The last naps end.
        self.world.advance(20_000_000);
        self.world.run_until_idle();
        while FIRST.completion(&mut self.world).is_some() {}
        self.world.check();
        self.score.polled = self.world.kernel.state.stats.polled.get();
        assert_eq!(self.world.live_programs(), 1, "only the first is left");
        let left = self.world.accounts();
        let fresh = World::new().accounts();
        assert_eq!(left, fresh, "something was lost");
        self.score
    }
}

/// The byte that a daemon gives at a place of a read from `offset`.
fn pattern(offset: u64, at: u64) -> u8 {
    (offset.wrapping_mul(31) ^ at.wrapping_mul(7)) as u8
}
