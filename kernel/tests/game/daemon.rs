//! A daemon's turn.

use super::{Game, pattern};
use crate::world::Daemon;
use ring_abi::args::{self, event};
use ring_abi::layout::word;
use ring_abi::sync::Ordering::Relaxed;
use ring_abi::{Cqe, CqeFlags, CqeKind, Errno, Opcode, Sqe, SqeFlags, enter};

impl Game {
    /// Takes requests, answers some, waits for more.
    pub(super) fn serve(&mut self, daemon: Daemon) {
        match self.dice.roll(40) {
            0..=22 => {
                let oneway = SqeFlags::ONEWAY.bits();
                if let Some(request) =
                    daemon.raw_request(&mut self.world).filter(|request| request.flags & oneway == 0)
                {
                    self.world.hands(daemon).push(request);
                }
                self.answer(daemon);
            }
            23..=26 => self.answer(daemon),
            27..=33 => {
                let soon = self.world.machine().now() + 1 + self.dice.roll(3_000_000);
                self.enter_daemon(daemon, u64::from(u32::MAX), enter::REQUESTS, soon);
            }
            34..=37 => self.enter_daemon(daemon, 9, 0, enter::NO_DEADLINE),
            38 => self.tidy(daemon),
            _ if self.dice.one_in(30) => self.break_itself(daemon),
            _ => self.enter_daemon(daemon, 0, enter::REQUESTS | enter::COMPLETIONS, 1),
        }
    }

    fn enter_daemon(&mut self, daemon: Daemon, submit: u64, flags: u64, deadline: u64) {
        self.starve_sometimes();
        daemon.program.enter(&mut self.world, daemon.ring, submit, 1, flags, deadline);
        self.world.feed();
    }

    /// Writes an index that cannot be.
    fn break_itself(&mut self, daemon: Daemon) {
        let index = if self.dice.one_in(2) { word::RP_TAIL } else { word::RQ_HEAD };
        self.world.ring(daemon.program, daemon.ring).view.header(index).store(0x7000_0000, Relaxed);
        self.enter_daemon(daemon, 9, enter::REQUESTS, enter::NO_DEADLINE);
    }

    /// Takes the handle of a `Sendfd`, or closes one that it has.
    fn tidy(&mut self, daemon: Daemon) {
        let sent = |request: &&Sqe| request.opcode == Opcode::Sendfd.raw();
        let sqe = match self.world.hands(daemon).iter().find(sent) {
            Some(request) => args::ObtainFd { tag: request.tag }.encode(0),
            None => args::Close { fd: 2 + self.dice.roll(6) }.encode(0),
        };
        // Completions of this ring interest nobody.
        let _ = daemon.program.try_submit_on(&mut self.world, daemon.ring, sqe);
        while daemon.program.take(&mut self.world, daemon.ring).is_some() {}
    }

    /// Answers a request that it has, sooner or later, rightly or wrongly.
    fn answer(&mut self, daemon: Daemon) {
        let count = self.world.hands(daemon).len() as u64;
        if count == 0 || self.dice.one_in(3) {
            return;
        }
        let at = self.dice.roll(count) as usize;
        let request = self.world.hands(daemon).swap_remove(at);
        let reply = match self.dice.roll(24) {
            0 => Cqe::new(request.tag, Err(Errno::IO)),
            1 => Cqe::new(request.tag, Ok(self.dice.roll(8))).with_kind(CqeKind::WithFd),
            2 => {
                Cqe { flags: self.dice.roll(256) as u8, ..Cqe::new(request.tag, Ok(self.dice.roll(1 << 40))) }
            }
            _ => {
                let mut answer = self.right_answer(daemon, &request);
                if request.flags & SqeFlags::MULTISHOT.bits() != 0 && !self.dice.one_in(3) {
                    answer.flags |= CqeFlags::MORE.bits();
                }
                answer
            }
        };
        let is_answer = CqeKind::from_flags(reply.flags) != Some(CqeKind::SendFevent);
        if !daemon.try_reply_with(&mut self.world, reply) || !is_answer {
            self.world.hands(daemon).push(request);
        }
        if self.dice.one_in(50) {
            // A tag that is not out, or not any more.
            daemon.try_reply_with(&mut self.world, Cqe::new(request.tag ^ 0x8_0000, Ok(1)));
        }
    }

    fn right_answer(&mut self, daemon: Daemon, request: &Sqe) -> Cqe {
        let [file, _, length, offset, ..] = request.args;
        match Opcode::from_raw(request.opcode).expect("the kernel's opcodes exist") {
            Opcode::OpenAt | Opcode::Dup => {
                let id = 1000 + self.dice.roll(1 << 20);
                Cqe::new(request.tag, Ok(id)).with_extra(self.dice.roll(2) as u32)
            }
            Opcode::Read => {
                let count = self.dice.roll(length + 1);
                let bytes: Vec<u8> = (0..count).map(|at| pattern(offset, at)).collect();
                daemon.fill(&mut self.world, request, &bytes);
                Cqe::new(request.tag, Ok(count))
            }
            Opcode::Fevent => {
                let events = self.dice.roll(2) * (request.args[1] & event::ALL);
                if events == 0 {
                    let later = Cqe { tag: event::ALL as u32, ..Cqe::new(0, Ok(file)) };
                    daemon.try_reply_with(&mut self.world, later.with_kind(CqeKind::SendFevent));
                }
                Cqe::new(request.tag, Ok(events))
            }
            _ => Cqe::new(request.tag, Ok(self.dice.roll(length.clamp(1, 4096)))),
        }
    }

    /// The next few allocations of the kernel may fail, until [`World::feed`](crate::world::World::feed) ends that.
    pub(super) fn starve_sometimes(&mut self) {
        if self.dice.one_in(30) {
            let left = self.dice.roll(4);
            self.world.starve(left);
        }
    }
}
