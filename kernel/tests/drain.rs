//! Barriers: entries that start when all before them have ended, and what is behind them.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::args::{self, Strength};
use ring_abi::layout::Sizes;
use ring_abi::{Errno, Sqe, SqeFlags};
use std::collections::BTreeSet;
use world::{DATA, Daemon, Dice, Mode, Program, Ticket, World};

const DRAIN: SqeFlags = SqeFlags::DRAIN;
const LINK: SqeFlags = SqeFlags::LINK;
const HARD: SqeFlags = SqeFlags::HARD_LINK;

fn nop() -> Sqe {
    args::Nop {}.encode(0)
}

/// A read with its own offset, which says which read it is.
fn read(fd: u64, number: u64) -> Sqe {
    args::Read { fd, buffer: DATA + 64 * (number % 1024), length: 8, offset: number }.encode(0)
}

fn cancel(ticket: Ticket) -> Sqe {
    args::CancelTag { tag: ticket.0, strength: Strength::Force as u32, grace: 0 }.encode(0)
}

fn scene() -> (World, Daemon, Program, u64) {
    let mut world = World::new();
    let disk = world.daemon_with("disk", 5);
    let app = world.program_with(Sizes { sq: 6, cq: 6, service: None });
    let fd = app.open(&mut world, "/scheme/disk/a");
    world.run_until_idle();
    (world, disk, app, fd)
}

fn submit(world: &mut World, app: Program, entries: &[Sqe]) -> Vec<Ticket> {
    let tickets = entries.iter().map(|entry| app.submit(world, *entry)).collect();
    world.run_until_idle();
    tickets
}

/// Offsets of the reads that the daemon has got and not answered.
fn asked(world: &mut World, disk: Daemon) -> Vec<u64> {
    world.run_until_idle();
    while let Some(request) = disk.request(world) {
        world.hands(disk).push(request);
    }
    world.hands(disk).iter().map(|request| request.args[3]).collect()
}

fn answer(world: &mut World, disk: Daemon, offset: u64, result: Result<u64, Errno>) {
    asked(world, disk);
    let at = world.hands(disk).iter().position(|request| request.args[3] == offset).expect("it was asked");
    let request = world.hands(disk).remove(at);
    disk.reply(world, request, result);
    world.run_until_idle();
}

fn completions(world: &mut World, app: Program) -> Vec<(Ticket, Result<u64, Errno>)> {
    world.run_until_idle();
    std::iter::from_fn(|| app.completion(world)).collect()
}

#[test]
fn a_barrier_waits_for_all_before_it_in_whatever_order_they_end() {
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1], [3, 1, 2], [1, 3, 2], [2, 1, 3]] {
        let (mut world, disk, app, fd) = scene();
        submit(&mut world, app, &[read(fd, 1), read(fd, 2), read(fd, 3)]);
        submit(&mut world, app, &[read(fd, 4).with_flags(DRAIN)]);
        let behind = submit(&mut world, app, &[nop(), read(fd, 5), nop()]);
        for number in order {
            let now = asked(&mut world, disk);
            assert!(!now.contains(&4) && !now.contains(&5), "{order:?}: {now:?}");
            answer(&mut world, disk, number, Ok(8));
        }
        assert_eq!(asked(&mut world, disk), [4, 5], "what is behind starts when the barrier has started");
        let done = completions(&mut world, app);
        let done: Vec<_> = done.into_iter().map(|(ticket, _)| ticket).collect();
        assert_eq!(done[3..], [behind[0], behind[2]]);
        answer(&mut world, disk, 5, Ok(8));
        answer(&mut world, disk, 4, Ok(8));
        // Without one, everything is as before.
        submit(&mut world, app, &[read(fd, 6), read(fd, 7)]);
        assert_eq!(asked(&mut world, disk), [6, 7]);
        world.check();
    }
}

#[test]
fn a_barrier_without_anything_before_it_starts_at_once() {
    let (mut world, disk, app, fd) = scene();
    let tickets =
        submit(&mut world, app, &[nop().with_flags(DRAIN), read(fd, 1).with_flags(DRAIN), read(fd, 2)]);
    assert_eq!(asked(&mut world, disk), [1, 2]);
    assert_eq!(completions(&mut world, app), [(tickets[0], Ok(0))]);
}

#[test]
fn barriers_follow_each_other() {
    let (mut world, disk, app, fd) = scene();
    let drains = [1, 2, 3].map(|number| read(fd, number).with_flags(DRAIN));
    submit(&mut world, app, &drains);
    for number in 1..4 {
        assert_eq!(asked(&mut world, disk), [number]);
        answer(&mut world, disk, number, Ok(8));
    }
    world.check();
}

#[test]
fn what_ends_otherwise_opens_the_barrier_as_well() {
    // The last one before the barrier, or the first, is cancelled, forced out of the daemon's hands, or fails.
    for victim in 0..2_usize {
        let (mut world, disk, app, fd) = scene();
        let before = submit(&mut world, app, &[read(fd, 1), read(fd, 2)]);
        submit(&mut world, app, &[read(fd, 3).with_flags(DRAIN), read(fd, 4)]);
        // A cancel passes the barrier. What it forces is out of the way, though a daemon has it.
        assert_eq!(app.call(&mut world, cancel(before[victim])), Ok(1));
        assert_eq!(asked(&mut world, disk), [1, 2]);
        answer(&mut world, disk, 2 - victim as u64, Err(Errno::IO));
        assert_eq!(asked(&mut world, disk), [1 + victim as u64, 3, 4]);
        disk.kill(&mut world);
        let done = completions(&mut world, app);
        assert_eq!(done.len(), 4, "{done:?}");
        world.check();
    }
    // By a cancel that was submitted in time, whose own work guards the barrier too.
    let (mut world, disk, app, fd) = scene();
    let before = submit(&mut world, app, &[read(fd, 1)]);
    submit(&mut world, app, &[cancel(before[0]), read(fd, 2).with_flags(DRAIN)]);
    assert_eq!(asked(&mut world, disk), [1, 2], "the first is detached");
    world.check();
}

#[test]
fn a_long_cancel_before_a_barrier_is_waited_for() {
    let (mut world, _, app, _) = scene();
    let wide = app.ring(&mut world, Sizes { sq: 9, cq: 9, service: None });
    let sleep = args::Timeout { nanoseconds: 1 << 40, flags: 0 }.encode(0);
    let tickets: Vec<_> = (0..400).map(|_| app.submit_on(&mut world, wide, sleep)).collect();
    world.run_until_idle();
    // The first of these comes before the barrier, the second passes it.
    for tag in [tickets[0], tickets[399], tickets[200]] {
        let ticket = app.submit_on(&mut world, wide, cancel(tag));
        let barrier = app.submit_on(&mut world, wide, nop().with_flags(DRAIN));
        let behind = app.submit_on(&mut world, wide, nop());
        world.run_until_idle();
        world.run_until("it is back", |world| world.mode(app) == Mode::Own);
        world.run_until_idle();
        world.check();
        assert_eq!(app.result(&mut world, ticket), Some(Ok(1)));
        assert_eq!(app.result(&mut world, barrier), None, "sleepers are before it");
        assert_eq!(app.result(&mut world, behind), None);
    }
    world.kill(app);
    world.check();
}

#[test]
fn what_is_held_by_a_barrier_can_be_cancelled() {
    let (mut world, disk, app, fd) = scene();
    for hard in [false, true] {
        for victim in 0..4_usize {
            submit(&mut world, app, &[read(fd, 1)]);
            let link = if hard { HARD } else { LINK };
            let held = [
                read(fd, 2).with_flags(DRAIN | link),
                read(fd, 3),
                read(fd, 4),
                read(fd, 5).with_flags(DRAIN),
            ];
            let held = submit(&mut world, app, &held);
            assert_eq!(app.call(&mut world, cancel(held[victim])), Ok(1));
            world.check();
            let gone = completions(&mut world, app);
            let takes_next = victim == 0 && !hard;
            assert_eq!(gone.len(), 1 + usize::from(takes_next), "{gone:?}");
            assert_eq!(gone[0], (held[victim], Err(Errno::CANCELED)));
            // Whatever is left starts as if the other had never been.
            let mut left: Vec<u64> = (2..6).filter(|number| *number != 2 + victim as u64).collect();
            if takes_next {
                left.retain(|number| *number != 3);
            }
            // With the first barrier gone and nobody to take its turn, who is behind it waits all the same.
            assert_eq!(asked(&mut world, disk), [1], "hard {hard}, victim {victim}");
            answer(&mut world, disk, 1, Ok(8));
            let mut order = Vec::new();
            while let Some(next) = asked(&mut world, disk).first().copied() {
                order.push(next);
                answer(&mut world, disk, next, Ok(8));
            }
            order.sort_unstable();
            assert_eq!(order, left, "hard {hard}, victim {victim}");
            completions(&mut world, app);
        }
    }
}

#[test]
fn a_chain_with_a_barrier_inside_is_one() {
    let (mut world, disk, app, fd) = scene();
    submit(&mut world, app, &[read(fd, 1)]);
    submit(
        &mut world,
        app,
        &[read(fd, 2).with_flags(LINK), read(fd, 3).with_flags(DRAIN), read(fd, 4), read(fd, 5)],
    );
    assert_eq!(asked(&mut world, disk), [1]);
    answer(&mut world, disk, 1, Ok(8));
    assert_eq!(asked(&mut world, disk), [2]);
    answer(&mut world, disk, 2, Ok(8));
    assert_eq!(asked(&mut world, disk), [3], "what is behind waits for all of the chain");
    answer(&mut world, disk, 3, Ok(8));
    assert_eq!(asked(&mut world, disk), [4, 5]);
    world.check();
}

#[test]
fn a_barrier_dies_with_its_asker() {
    let (mut world, disk, _, _) = scene();
    let before = world.accounts();
    for answers in 0..3 {
        let victim = world.program_with(Sizes { sq: 6, cq: 6, service: None });
        let file = victim.open(&mut world, "/scheme/disk/b");
        submit(&mut world, victim, &[read(file, 1), read(file, 2)]);
        submit(
            &mut world,
            victim,
            &[read(file, 3).with_flags(DRAIN), nop().with_flags(LINK), nop(), read(file, 4)],
        );
        for number in 1..=answers {
            answer(&mut world, disk, number, Ok(8));
        }
        world.kill(victim);
        world.forget(victim);
        asked(&mut world, disk);
        let left = std::mem::take(world.hands(disk));
        left.into_iter().for_each(|request| disk.reply(&mut world, request, Ok(8)));
        world.run_until_idle();
        assert_eq!(world.accounts(), before, "after {answers} answers");
    }
}

#[test]
fn many_behind_a_barrier_are_let_through_in_slices() {
    let (mut world, disk, app, fd) = scene();
    let wide = app.ring(&mut world, Sizes { sq: 9, cq: 9, service: None });
    app.submit_on(&mut world, wide, read(fd, 1));
    let mut tickets = vec![app.submit_on(&mut world, wide, nop().with_flags(DRAIN))];
    tickets.extend((0..400).map(|_| app.submit_on(&mut world, wide, nop())));
    world.run_until_idle();
    answer(&mut world, disk, 1, Ok(8));
    let mut done = Vec::new();
    for _ in 0..200 {
        world.run_until_idle();
        while let Some(cqe) = app.take(&mut world, wide) {
            done.push(Ticket(cqe.tag));
        }
        world.advance_to_timer();
    }
    assert_eq!(done[1..], tickets, "in order, and all");
}

/// Reads, some of them barriers, answered and cancelled by chance.
struct Reads {
    world: World,
    disk: Daemon,
    app: Program,
    fd: u64,
    dice: Dice,
    /// By number of the read, which is its offset.
    tickets: Vec<Ticket>,
    drains: Vec<bool>,
    /// The barrier that it is behind, or is.
    barriers: Vec<Option<usize>>,
    ended: BTreeSet<usize>,
}

impl Reads {
    fn new(seed: u64) -> Reads {
        let (world, disk, app, fd) = scene();
        let (tickets, drains, barriers) = (Vec::new(), Vec::new(), Vec::new());
        Reads {
            world,
            disk,
            app,
            fd,
            dice: Dice::new(seed),
            tickets,
            drains,
            barriers,
            ended: BTreeSet::new(),
        }
    }

    fn submit_some(&mut self) {
        for _ in 0..self.dice.roll(4) {
            let is_drain = self.dice.one_in(4);
            let flags = if is_drain { DRAIN } else { SqeFlags::empty() };
            let entry = read(self.fd, self.tickets.len() as u64).with_flags(flags);
            let Some(ticket) = self.app.try_submit_on(&mut self.world, 0, entry) else { break };
            self.tickets.push(ticket);
            self.drains.push(is_drain);
            let is_in_force = |at: &usize| self.drains[*at] && !self.ended.contains(at);
            self.barriers.push((0..self.drains.len()).rev().find(is_in_force));
        }
        self.push();
    }

    /// Submits what there is. The last batch may have taken more than one step.
    fn push(&mut self) {
        let app = self.app;
        self.world.run_until("it is back", |world| world.mode(app) == Mode::Own);
        app.push(&mut self.world);
    }

    fn cancel_one(&mut self) {
        if let Some(ticket) = self.dice.pick(&self.tickets) {
            self.app.try_submit_on(&mut self.world, 0, cancel(ticket));
            self.push();
        }
    }

    fn answer_one(&mut self) {
        let waiting = asked(&mut self.world, self.disk);
        if let Some(offset) = self.dice.pick(&waiting) {
            let result = if self.dice.one_in(4) { Err(Errno::IO) } else { Ok(8) };
            answer(&mut self.world, self.disk, offset, result);
        }
    }

    /// Of whatever a daemon has been asked, all before its barrier are over.
    fn check(&mut self, seed: u64) {
        let asked = asked(&mut self.world, self.disk);
        for (ticket, _) in completions(&mut self.world, self.app) {
            self.ended.extend(self.tickets.iter().position(|one| *one == ticket));
        }
        for number in asked.into_iter().map(|number| number as usize) {
            let Some(barrier) = self.barriers[number] else { continue };
            let early = (0..barrier).find(|at| !self.ended.contains(at));
            assert_eq!(early, None, "seed {seed}: read {number} passed barrier {barrier}");
        }
    }
}

#[test]
fn no_barrier_is_ever_passed() {
    for seed in 1..17 {
        let mut reads = Reads::new(seed);
        for _ in 0..300 {
            match reads.dice.roll(8) {
                0..=2 => reads.submit_some(),
                3 => reads.cancel_one(),
                4..=6 => reads.answer_one(),
                _ => reads.push(),
            }
            reads.check(seed);
        }
        assert!(reads.ended.len() > 20, "seed {seed}: nothing happened");
        reads.world.kill(reads.app);
        reads.world.check();
    }
}

/// The daemon's slots are all taken, so the read goes out while it stands before the barrier.
#[test]
fn a_read_that_goes_out_before_a_barrier_outlives_it() {
    let (mut world, disk, app, fd) = scene();
    let first = submit(&mut world, app, &(0..40).map(|number| read(fd, number)).collect::<Vec<_>>());
    let taken = asked(&mut world, disk);
    assert!(taken.len() < first.len(), "some wait for room");
    let barrier = submit(&mut world, app, &[nop().with_flags(DRAIN)])[0];
    for number in 0..39 {
        answer(&mut world, disk, number, Ok(8));
    }
    assert_eq!(asked(&mut world, disk), [39]);
    let ended = submit(&mut world, app, &[cancel(barrier)])[0];
    let done = completions(&mut world, app);
    assert!(done.contains(&(ended, Ok(1))) && done.contains(&(barrier, Err(Errno::CANCELED))), "{done:?}");
    let request = world.hands(disk).pop().unwrap();
    disk.fill(&mut world, &request, b"its byte");
    disk.reply(&mut world, request, Ok(8));
    assert_eq!(completions(&mut world, app), [(first[39], Ok(8))]);
    assert_eq!(app.read(&mut world, DATA + 64 * 39, 8).unwrap(), b"its byte");
    world.check();
}

#[test]
fn a_barrier_at_the_head_of_a_chain_holds_up_what_follows_until_its_end() {
    let (mut world, disk, app, fd) = scene();
    submit(&mut world, app, &[read(fd, 1)]);
    submit(&mut world, app, &[read(fd, 2).with_flags(DRAIN | LINK), read(fd, 3), read(fd, 4)]);
    assert_eq!(asked(&mut world, disk), [1]);
    answer(&mut world, disk, 1, Ok(8));
    assert_eq!(asked(&mut world, disk), [2], "what is behind waits for the whole chain");
    answer(&mut world, disk, 2, Ok(8));
    assert_eq!(asked(&mut world, disk), [3]);
    answer(&mut world, disk, 3, Ok(8));
    assert_eq!(asked(&mut world, disk), [4]);
    answer(&mut world, disk, 4, Ok(8));
    // And nothing more than that.
    submit(&mut world, app, &[read(fd, 5), read(fd, 6)]);
    assert_eq!(asked(&mut world, disk), [5, 6]);
}

#[test]
fn who_is_cancelled_while_another_is_let_through_lets_nobody_overtake() {
    let (mut world, disk, app, fd) = scene();
    let first = submit(&mut world, app, &[read(fd, 1)]);
    submit(&mut world, app, &[nop().with_flags(DRAIN)]);
    let behind = submit(&mut world, app, &[nop()]);
    submit(&mut world, app, &[read(fd, 2).with_flags(DRAIN)]);
    submit(&mut world, app, &[read(fd, 3)]);
    // The barrier opens, and the one behind it goes before it has started.
    app.submit(&mut world, cancel(first[0]));
    app.submit(&mut world, cancel(behind[0]));
    app.push(&mut world);
    world.check();
    assert_eq!(asked(&mut world, disk), [1, 2, 3], "each in its turn; the first is the daemon's still");
    world.check();
}
