//! Random programs, with a seed. Whoever the kernel lets run does something by chance; after every step the
//! world looks whether the promises hold, and in the end everything must be accounted for.
//!
//! `SEED=n` plays one game again, `STEPS=n` sets how long all of them are together.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::args::{self, CURRENT, CURSOR, Strength, event, map};
use ring_abi::layout::Sizes;
use ring_abi::{Cqe, CqeKind, Errno, Sqe, enter};
use std::collections::BTreeMap;
use world::{DATA, Daemon, FIRST, Program, Ticket, World};

/// Steps of all games together, unless the environment says otherwise.
const STEPS: u64 = if cfg!(debug_assertions) { 60_000 } else { 1_200_000 };
/// Games among which they are divided.
const GAMES: u64 = 12;
/// Bytes that a read asks for at most; every read has a place of its own.
const PLACE: u64 = 256;
/// Places for reads in a program's memory.
const PLACES: u64 = 256;
/// Words that futexes use, shared by the threads of a space.
const WORDS: u64 = DATA + PLACE * PLACES;
/// Where maps come and go.
const ARENA: u64 = 0x3000_0000;

/// Chance, by xorshift.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
}

/// What a program knows of itself.
#[derive(Default)]
struct Mind {
    /// Handles that it believes to have.
    files: Vec<u64>,
    /// Reads that are not complete: offset and place.
    reads: BTreeMap<Ticket, (u64, u64)>,
    /// Opens that are not complete.
    opens: Vec<Ticket>,
    /// All tags of the recent past, for cancels.
    recent: Vec<Ticket>,
}

struct Game {
    world: World,
    dice: Dice,
    daemons: Vec<Daemon>,
    minds: BTreeMap<Program, Mind>,
    next_offset: u64,
    completions: u64,
    failures: u64,
}

impl Game {
    fn new(seed: u64) -> Game {
        let mut world = World::new();
        world.audit_every = 257;
        let dice = Dice::new(seed);
        let mut game = Game {
            world,
            dice,
            daemons: Vec::new(),
            minds: BTreeMap::new(),
            next_offset: 1,
            completions: 0,
            failures: 0,
        };
        for _ in 0..3 {
            game.new_daemon();
        }
        for _ in 0..4 {
            game.new_program();
        }
        game
    }

    fn new_daemon(&mut self) {
        let name = format!("d{}", self.daemons.len());
        let log2 = self.dice.roll(4) as u8;
        let daemon = self.world.daemon_with(&name, log2);
        daemon.obliging(&mut self.world, false);
        self.daemons.push(daemon);
    }

    fn new_program(&mut self) {
        let sizes = Sizes { sq: 2 + self.dice.roll(4) as u8, cq: 1 + self.dice.roll(5) as u8, service: None };
        let program = self.world.program_with(sizes);
        self.minds.insert(program, Mind::default());
    }

    /// Plays for so many steps.
    fn play(&mut self, steps: u64) {
        let end = self.world.steps() + steps;
        while self.world.steps() < end {
            self.world.take_interrupts();
            match self.world.on_cpu() {
                None => self.idle(),
                Some(program) if program == FIRST => self.rule(),
                Some(program) => match self.daemons.iter().find(|daemon| daemon.program == program) {
                    Some(daemon) => self.serve(*daemon),
                    None => self.live(program),
                },
            }
            if self.dice.one_in(40) {
                let time = self.dice.roll(3_000_000);
                self.world.advance(time);
            }
            if self.dice.one_in(400) {
                self.world.machine().raise_test_irq();
            }
        }
    }

    /// Nobody is ready: time passes until somebody is. The first program never sleeps for ever.
    fn idle(&mut self) {
        assert!(self.world.advance_to_timer(), "nobody is ready and nobody will be");
    }

    /// The first program makes and ends others.
    fn rule(&mut self) {
        match self.dice.roll(12) {
            0 if self.living() < 9 => self.new_program(),
            1 if self.living() > 3 => {
                let victim = self.some_program();
                self.end(victim);
            }
            2 if self.dice.one_in(4) => {
                let number = self.dice.roll(self.daemons.len() as u64) as usize;
                let old = self.daemons[number];
                self.end(old.program);
                let log2 = self.dice.roll(4) as u8;
                let fresh = self.world.daemon_with(&format!("d{number}"), log2);
                fresh.obliging(&mut self.world, false);
                self.daemons[number] = fresh;
            }
            3 if self.living() < 12 => {
                let of = self.some_program();
                let thread = self.world.thread(of, Sizes::SMALLEST);
                self.minds.insert(thread, Mind::default());
            }
            _ => {
                // It sleeps for a while, so that others run.
                let until = self.world.machine().now() + 1 + self.dice.roll(20_000_000);
                let sleep = args::Timeout { nanoseconds: until, flags: args::timeout::ABSOLUTE };
                FIRST.submit(&mut self.world, sleep.encode(0));
                FIRST.wait(&mut self.world, 1);
                while FIRST.completion(&mut self.world).is_some() {}
            }
        }
    }

    fn end(&mut self, victim: Program) {
        if !self.world.has_ended(victim) {
            self.world.kill(victim);
        }
        self.world.forget(victim);
        self.minds.remove(&victim);
        self.sweep();
    }

    /// Programs that ended by themselves or with others are forgotten.
    fn sweep(&mut self) {
        let known: Vec<_> = self.minds.keys().copied().collect();
        for program in known {
            if self.world.has_ended(program) {
                self.world.forget(program);
                self.minds.remove(&program);
            }
        }
    }

    fn living(&self) -> usize {
        self.minds.len()
    }

    fn some_program(&mut self) -> Program {
        let at = self.dice.roll(self.minds.len() as u64) as usize;
        *self.minds.keys().nth(at).expect("somebody lives")
    }

    /// A program's turn.
    fn live(&mut self, program: Program) {
        match self.dice.roll(20) {
            0..=8 => self.ask(program),
            9..=11 => program.push(&mut self.world),
            12..=13 => self.sleep(program),
            14..=17 => self.reap(program),
            18 => self.remember(program),
            _ => self.wait_for_timer(),
        }
        if self.world.has_ended(program) {
            self.sweep();
        }
    }

    fn wait_for_timer(&mut self) {
        if self.world.machine().timer().is_some() {
            self.world.advance_to_timer();
        }
    }

    fn sleep(&mut self, program: Program) {
        let count = self.dice.roll(5);
        let deadline = match self.dice.roll(3) {
            0 => enter::NO_DEADLINE,
            _ => self.world.machine().now() + self.dice.roll(5_000_000),
        };
        let submit = if self.dice.one_in(4) { self.dice.roll(4) } else { u64::from(u32::MAX) };
        // Without a deadline it could sleep until it is killed; that is fine.
        program.enter(&mut self.world, 0, submit, count, enter::COMPLETIONS, deadline);
    }

    /// Touches its memory.
    fn remember(&mut self, program: Program) {
        let at = WORDS + self.dice.roll(1024);
        let value = self.dice.roll(256) as u8;
        assert!(program.write(&mut self.world, at, &[value]));
        assert_eq!(program.read(&mut self.world, at, 1), Some(vec![value]));
    }

    /// Takes completions and looks whether they are right.
    fn reap(&mut self, program: Program) {
        for _ in 0..=self.dice.roll(6) {
            let Some((ticket, result)) = program.completion(&mut self.world) else { return };
            self.completions += 1;
            self.failures += u64::from(result.is_err());
            let Some(mind) = self.minds.get_mut(&program) else { continue };
            if let Some((offset, place)) = mind.reads.remove(&ticket) {
                if let Ok(count) = result {
                    let bytes = program.peek(&mut self.world, place, count as usize);
                    let expected: Vec<u8> = (0..count).map(|at| pattern(offset, at)).collect();
                    assert_eq!(bytes, expected, "a read brought other bytes than its daemon gave");
                }
                continue;
            }
            if let Some(at) = mind.opens.iter().position(|open| *open == ticket) {
                mind.opens.swap_remove(at);
                if let Ok(fd) = result {
                    assert!(fd < 4096, "a handle: {fd}");
                    mind.files.push(fd);
                }
            }
        }
    }

    /// Submits something.
    fn ask(&mut self, program: Program) {
        let sqe = self.some_request(program);
        let Some(ticket) = program.try_submit_on(&mut self.world, 0, sqe.0) else { return };
        let Some(mind) = self.minds.get_mut(&program) else { return };
        match sqe.1 {
            Some(Note::Read(offset, place)) => {
                mind.reads.insert(ticket, (offset, place));
            }
            Some(Note::Open) => mind.opens.push(ticket),
            None => {}
        }
        mind.recent.push(ticket);
        if mind.recent.len() > 12 {
            mind.recent.remove(0);
        }
    }

    /// Whether a read of this program, or of another in its space, has a place of memory.
    fn is_taken(&self, program: Program, place: u64) -> bool {
        let root = self.world.root(program);
        let alike = self.minds.iter().filter(|(other, _)| self.world.root(**other) == root);
        alike.flat_map(|(_, mind)| mind.reads.values()).any(|(_, other)| *other == place)
    }

    fn some_request(&mut self, program: Program) -> (Sqe, Option<Note>) {
        let place = DATA + self.dice.roll(PLACES) * PLACE;
        let is_taken = self.is_taken(program, place);
        let mind = self.minds.entry(program).or_default();
        let dice = &mut self.dice;
        let fd = match mind.files.len() as u64 {
            0 => dice.roll(10),
            files => mind.files[dice.roll(files) as usize],
        };
        let word = WORDS + dice.roll(4) * 4;
        let soon = self.world.machine().now() + dice.roll(4_000_000);
        let page = ARENA + dice.roll(32) * 4096;
        let pages = 4096 * (1 + dice.roll(8));
        let plain = match dice.roll(32) {
            0..=2 => args::Nop {}.encode(0),
            3..=10 => {
                let offset = self.next_offset;
                self.next_offset += 1;
                if is_taken {
                    return (args::Nop {}.encode(0), None);
                }
                let length = dice.roll(PLACE + 1);
                let read = args::Read { fd, buffer: place, length, offset };
                return (read.encode(0), Some(Note::Read(offset, place)));
            }
            11..=12 => args::Write { fd, buffer: word, length: dice.roll(6000), offset: CURSOR }.encode(0),
            13..=16 => {
                let number = dice.roll(self.daemons.len() as u64);
                let name = if dice.one_in(3) { "positioned" } else { "file" };
                let path = format!("/scheme/d{number}/{name}");
                let at = WORDS + 8192;
                assert!(program.write(&mut self.world, at, path.as_bytes()));
                let open = args::OpenAt {
                    fd: CURRENT,
                    buffer: at,
                    length: path.len() as u64,
                    flags: 0,
                    capacity: 0,
                };
                return (open.encode(0), Some(Note::Open));
            }
            17..=18 => {
                mind.files.retain(|file| *file != fd);
                args::Close { fd }.encode(0)
            }
            19..=20 => {
                let at = dice.roll(mind.recent.len().max(1) as u64) as usize;
                let tag = mind.recent.get(at).map_or(0, |ticket| ticket.0);
                let strength = if dice.one_in(2) { Strength::Ask } else { Strength::Force };
                args::CancelTag { tag, strength: strength as u32, grace: dice.roll(2_000_000) }.encode(0)
            }
            21 => args::Timeout { nanoseconds: dice.roll(5_000_000), flags: 0 }.encode(0),
            22 => args::FutexWait { address: word, expected: 0, deadline: soon }.encode(0),
            23..=24 => args::FutexWake { address: word, count: dice.roll(3) }.encode(0),
            25 => args::Poll { fd, mask: 1 + dice.roll(3) }.encode(0),
            26 => {
                let flags = map::READ | map::WRITE | map::PRIVATE | map::FIXED;
                args::Map { space: CURRENT, address: page, length: pages, flags }.encode(0)
            }
            27 => args::Unmap { space: CURRENT, address: page, length: pages }.encode(0),
            28 => args::Protect { space: CURRENT, address: page, length: pages, rights: map::READ }.encode(0),
            29 => args::Call { fd, buffer: word, length: dice.roll(300), verb: 0, argument: 0 }.encode(0),
            30 => args::Read { fd, buffer: page, length: dice.roll(9000), offset: CURSOR }.encode(0),
            _ => args::Fstat { fd, buffer: WORDS + 4096, length: 100 }.encode(0),
        };
        (plain, None)
    }

    /// A daemon's turn.
    fn serve(&mut self, daemon: Daemon) {
        match self.dice.roll(10) {
            0..=5 => {
                if let Some(request) = daemon.raw_request(&mut self.world) {
                    if request.flags == 0 {
                        self.hands(daemon).push(request);
                    }
                }
                self.answer(daemon);
            }
            6 => self.answer(daemon),
            7..=8 => {
                let flags = enter::REQUESTS;
                let all = u64::from(u32::MAX);
                let soon = self.world.machine().now() + 1 + self.dice.roll(3_000_000);
                daemon.program.enter(&mut self.world, daemon.ring, all, 0, flags, soon);
            }
            _ => daemon.program.enter(&mut self.world, daemon.ring, 9, 0, 0, enter::NO_DEADLINE),
        }
    }

    fn hands(&mut self, daemon: Daemon) -> &mut Vec<Sqe> {
        self.world.hands(daemon)
    }

    /// Answers a request that it has, sooner or later, rightly or wrongly.
    fn answer(&mut self, daemon: Daemon) {
        let count = self.hands(daemon).len() as u64;
        if count == 0 || self.dice.one_in(3) {
            return;
        }
        let at = self.dice.roll(count) as usize;
        let request = self.hands(daemon).swap_remove(at);
        let reply = match ring_abi::Opcode::from_raw(request.opcode).expect("the kernel's opcodes exist") {
            ring_abi::Opcode::OpenAt | ring_abi::Opcode::Dup => {
                let id = 1000 + self.dice.roll(1 << 20);
                Cqe::new(request.tag, Ok(id)).with_extra(self.dice.roll(2) as u32)
            }
            ring_abi::Opcode::Read => {
                let count = self.dice.roll(request.args[2] + 1);
                let bytes: Vec<u8> = (0..count).map(|at| pattern(request.args[3], at)).collect();
                daemon.fill(&mut self.world, &request, &bytes);
                Cqe::new(request.tag, Ok(count))
            }
            ring_abi::Opcode::Fevent => {
                let events = self.dice.roll(2) * (request.args[1] & event::ALL);
                if events == 0 {
                    let kind = Cqe { tag: event::ALL as u32, ..Cqe::new(0, Ok(request.args[0])) };
                    daemon.try_reply_with(&mut self.world, kind.with_kind(CqeKind::SendFevent));
                }
                Cqe::new(request.tag, Ok(events))
            }
            _ => Cqe::new(request.tag, Ok(self.dice.roll(request.args[2].max(1)))),
        };
        let reply = if self.dice.one_in(12) { Cqe::new(request.tag, Err(Errno::IO)) } else { reply };
        if !daemon.try_reply_with(&mut self.world, reply) {
            self.hands(daemon).push(request);
        }
        if self.dice.one_in(50) {
            // A tag that is not out, or not any more.
            daemon.try_reply_with(&mut self.world, Cqe::new(request.tag ^ 0x8_0000, Ok(1)));
        }
    }

    /// Ends everything and gives what the system uses then.
    fn finish(mut self) -> (u64, u64) {
        let programs: Vec<_> = self.minds.keys().copied().collect();
        for program in programs {
            if !self.world.has_ended(program) && self.minds.contains_key(&program) {
                self.end(program);
            }
        }
        for daemon in std::mem::take(&mut self.daemons) {
            self.world.kill(daemon.program);
            self.world.forget(daemon.program);
        }
        self.sweep();
        self.world.run_until_idle();
        while FIRST.completion(&mut self.world).is_some() {}
        self.world.check();
        assert_eq!(self.world.live_programs(), 1, "only the first is left");
        let left = self.world.accounts();
        let fresh = World::new().accounts();
        assert_eq!(left, fresh, "something was lost");
        (self.completions, self.failures)
    }
}

/// What a program must remember of a submission.
enum Note {
    Read(u64, u64),
    Open,
}

/// The byte that a daemon gives at a place of a read from `offset`.
fn pattern(offset: u64, at: u64) -> u8 {
    (offset.wrapping_mul(31) ^ at.wrapping_mul(7)) as u8
}

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
    let (mut completions, mut failures) = (0, 0);
    for seed in seeds {
        let _announce = Announce(seed);
        let mut game = Game::new(seed);
        game.play(steps);
        let (done, failed) = game.finish();
        completions += done;
        failures += failed;
    }
    assert!(completions > failures && failures > 0, "{completions} completions, {failures} failures");
}

#[test]
fn a_game_is_the_same_every_time() {
    let play = || {
        let mut game = Game::new(77);
        game.play(5000);
        (game.world.steps(), game.completions, game.world.machine().now(), game.world.accounts())
    };
    assert_eq!(play(), play());
}
