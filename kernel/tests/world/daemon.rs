//! A daemon as a test object: a program with a service pair.
//!
//! By itself it opens every file (numbers from 100 up; with a cursor if the name starts with `positioned`), and
//! notes closings and cancels. Everything else waits
//! for the test's answer.

use super::{DATA, Program, World};
use ring_abi::args::{self, CURRENT};
use ring_abi::layout::{Sizes, word};
use ring_abi::sync::Ordering::Relaxed;
use ring_abi::{Cqe, Errno, Opcode, Sqe};
use std::collections::VecDeque;

/// Bytes of a slot of a daemon's arena.
pub const SLOT: u32 = 4096;
/// File id of every daemon's root.
pub const ROOT: u64 = 7;

/// A daemon, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Daemon {
    number: usize,
    /// The program that it is.
    pub program: Program,
    /// The ring that it serves with.
    pub ring: usize,
    /// Address of its arena.
    pub arena: u64,
}

/// What a daemon has seen.
pub struct State {
    pub daemon: Daemon,
    /// Whether it opens files by itself.
    obliging: bool,
    retired: bool,
    requests: VecDeque<Sqe>,
    hands: Vec<Sqe>,
    closed: Vec<u64>,
    cancelled: Vec<u32>,
    next_file: u64,
}

impl World {
    /// A daemon that serves a scheme with eight places.
    pub fn daemon(&mut self, name: &str) -> Daemon {
        self.daemon_with(name, 3)
    }

    /// The same with `1 << log2` places.
    pub fn daemon_with(&mut self, name: &str, log2: u8) -> Daemon {
        self.daemon_of(name, log2, SLOT)
    }

    /// The same with slots of so many bytes.
    pub fn daemon_of(&mut self, name: &str, log2: u8, slot: u32) -> Daemon {
        let program = self.program();
        let ring = program.ring(self, Sizes { sq: 3, cq: 3, service: Some(log2) });
        let arena = program.register_of(self, ring, name, slot).expect("the name is free");
        let daemon = Daemon { number: self.daemons.len(), program, ring, arena };
        self.daemons.push(State {
            daemon,
            obliging: true,
            retired: false,
            requests: VecDeque::new(),
            hands: Vec::new(),
            closed: Vec::new(),
            cancelled: Vec::new(),
            next_file: 100,
        });
        daemon
    }

    /// A daemon serves no more and is an ordinary program from now on.
    pub fn retire(&mut self, daemon: Daemon) {
        self.daemons[daemon.number].retired = true;
    }

    /// Requests that a daemon has taken and not answered, for tests that answer as they like.
    pub fn hands(&mut self, daemon: Daemon) -> &mut Vec<Sqe> {
        &mut self.daemons[daemon.number].hands
    }

    /// Lets a daemon take its requests, and answer what it answers by itself.
    pub(super) fn pump(&mut self, number: usize) {
        let State { daemon, obliging, retired, .. } = self.daemons[number];
        if !obliging || retired || self.has_ended(daemon.program) {
            return;
        }
        while let Some(request) = daemon.raw_request(self) {
            let seen = &mut self.daemons[number];
            match Opcode::from_raw(request.opcode) {
                Some(Opcode::CloseMsg) => seen.closed.push(request.args[0]),
                Some(Opcode::Cancel) => seen.cancelled.push(request.tag),
                Some(Opcode::OpenAt) => {
                    let file = seen.next_file;
                    seen.next_file += 1;
                    let positioned = daemon.payload(self, &request).starts_with(b"positioned");
                    let reply = Cqe::new(request.tag, Ok(file)).with_extra(u32::from(positioned));
                    daemon.reply_with(self, reply);
                }
                _ => seen.requests.push_back(request),
            }
        }
    }
}

impl Program {
    /// Registers a scheme on one of its rings; returns the arena's address.
    pub fn register(self, world: &mut World, ring: usize, name: &str) -> Result<u64, Errno> {
        self.register_of(world, ring, name, SLOT)
    }

    fn register_of(self, world: &mut World, ring: usize, name: &str, slot: u32) -> Result<u64, Errno> {
        let (buffer, length) = self.name(world, name);
        let register = args::SchemeRegister { buffer, length, slot, namespace: CURRENT, root: ROOT };
        self.call_on(world, ring, register.encode(0))
    }
}

impl Daemon {
    /// Whether it opens files and notes closings by itself; otherwise these are requests too.
    pub fn obliging(self, world: &mut World, obliging: bool) {
        world.daemons[self.number].obliging = obliging;
    }

    /// The next request that waits for an answer.
    pub fn request(self, world: &mut World) -> Option<Sqe> {
        world.pump(self.number);
        let known = world.daemons[self.number].requests.pop_front();
        known.or_else(|| if world.daemons[self.number].obliging { None } else { self.raw_request(world) })
    }

    /// How many requests lie in its queue or wait for an answer.
    pub fn waiting(self, world: &mut World) -> usize {
        world.pump(self.number);
        world.daemons[self.number].requests.len()
    }

    /// Takes a request out of its queue, whatever it is.
    pub fn raw_request(self, world: &mut World) -> Option<Sqe> {
        let ends = &mut world.programs[self.program.0].rings[self.ring];
        let view = ends.view;
        let requests = view.requests().expect("a daemon's ring has a service pair");
        let words = ends.rq.pop(&requests).expect("the kernel's index is right")?;
        ends.touch();
        Some(Sqe::from_words(words))
    }

    /// Answers a request; the kernel hears of it when the daemon enters.
    pub fn reply(self, world: &mut World, request: Sqe, result: Result<u64, Errno>) {
        self.reply_with(world, Cqe::new(request.tag, result));
    }

    /// The same, with an entry as it is.
    pub fn reply_with(self, world: &mut World, reply: Cqe) {
        assert!(self.try_reply_with(world, reply), "the reply queue is full");
    }

    /// The same; `false` if the queue is full.
    pub fn try_reply_with(self, world: &mut World, reply: Cqe) -> bool {
        let ends = &mut world.programs[self.program.0].rings[self.ring];
        let view = ends.view;
        let replies = view.replies().expect("a daemon's ring has a service pair");
        if ends.rp.push(&replies, reply.to_words()).is_err() {
            return false;
        }
        ends.rp.publish(&replies);
        ends.touch();
        true
    }

    /// Replies that the kernel has not taken.
    pub fn untaken_replies(self, world: &World) -> u32 {
        let ends = &world.programs[self.program.0].rings[self.ring];
        ends.rp.position().wrapping_sub(ends.view.header(word::RP_HEAD).load(Relaxed))
    }

    /// Files whose last handle is gone, as the daemon was told.
    pub fn closed(self, world: &mut World) -> Vec<u64> {
        world.pump(self.number);
        std::mem::take(&mut world.daemons[self.number].closed)
    }

    /// Tags of requests that nobody waits for, as the daemon was told.
    pub fn cancelled(self, world: &mut World) -> Vec<u32> {
        world.pump(self.number);
        std::mem::take(&mut world.daemons[self.number].cancelled)
    }

    /// Bytes of a request's slot.
    pub fn payload(self, world: &mut World, request: &Sqe) -> Vec<u8> {
        let [_, buffer, length, ..] = request.args;
        self.program.peek(world, buffer, length as usize)
    }

    /// Fills a request's slot, as the daemon's code would.
    pub fn fill(self, world: &mut World, request: &Sqe, bytes: &[u8]) {
        assert!(bytes.len() as u64 <= request.args[2], "the slot is shorter");
        let lives = self.program.write(world, request.args[1], bytes);
        assert!(lives, "a slot can be written");
    }

    /// Waits for a request in the kernel.
    pub fn wait(self, world: &mut World) {
        let flags = ring_abi::enter::REQUESTS;
        let never = ring_abi::enter::NO_DEADLINE;
        self.program.enter(world, self.ring, u64::from(u32::MAX), 0, flags, never);
    }

    /// Ends it, from outside.
    pub fn kill(self, world: &mut World) {
        world.kill(self.program);
    }

    /// An address in its own memory.
    pub fn scratch(self) -> u64 {
        DATA
    }
}
