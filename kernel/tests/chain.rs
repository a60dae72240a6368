//! Chains: entries that start one after the other.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::args::{self, Strength};
use ring_abi::layout::{Sizes, flags, word};
use ring_abi::sync::Ordering::Relaxed;
use ring_abi::{Errno, Opcode, Sqe, SqeFlags, enter};
use std::collections::VecDeque;
use world::{DATA, Daemon, Dice, FIRST, Mode, Program, Ticket, World};

const LINK: SqeFlags = SqeFlags::LINK;
const HARD: SqeFlags = SqeFlags::HARD_LINK;
const SKIP: SqeFlags = SqeFlags::SKIP_SUCCESS;
const CANCELED: Result<u64, Errno> = Err(Errno::CANCELED);

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

/// A daemon, and a program with a file of it.
fn scene() -> (World, Daemon, Program, u64) {
    scene_with(Sizes { sq: 4, cq: 4, service: None })
}

fn scene_with(sizes: Sizes) -> (World, Daemon, Program, u64) {
    let mut world = World::new();
    let disk = world.daemon_with("disk", 4);
    let app = world.program_with(sizes);
    let fd = app.open(&mut world, "/scheme/disk/a");
    world.run_until_idle();
    (world, disk, app, fd)
}

/// Submits these, and lets happen what can.
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

/// Answers the read of this offset.
fn answer(world: &mut World, disk: Daemon, offset: u64, result: Result<u64, Errno>) {
    asked(world, disk);
    let at = world.hands(disk).iter().position(|request| request.args[3] == offset).expect("it was asked");
    let request = world.hands(disk).remove(at);
    disk.reply(world, request, result);
    world.run_until_idle();
}

/// Lets everybody have a few turns: whether this is so then.
fn runs(world: &mut World, is_so: impl Fn(&mut World) -> bool) -> bool {
    world.run_until_idle();
    (0..20).any(|_| is_so(world) || !world.advance_to_timer()) && is_so(world)
}

/// Whether a program waits in the kernel.
fn waits(world: &mut World, app: Program) -> bool {
    !runs(world, |world| app.returned(world) == Some(0))
}

/// All completions so far, in order.
fn completions(world: &mut World, app: Program) -> Vec<(Ticket, Result<u64, Errno>)> {
    world.run_until_idle();
    std::iter::from_fn(|| app.completion(world)).collect()
}

#[test]
fn each_starts_when_the_one_before_it_has_succeeded() {
    let (mut world, disk, app, fd) = scene();
    let chain =
        [read(fd, 1).with_flags(LINK), nop().with_flags(LINK), read(fd, 2).with_flags(LINK), read(fd, 3)];
    let tickets = submit(&mut world, app, &chain);
    let beside = submit(&mut world, app, &[read(fd, 9)]);
    assert_eq!(asked(&mut world, disk), [1, 9], "only the first of the chain, and what is in none");
    assert_eq!(completions(&mut world, app), []);
    answer(&mut world, disk, 1, Ok(8));
    assert_eq!(completions(&mut world, app), [(tickets[0], Ok(8)), (tickets[1], Ok(0))]);
    assert_eq!(asked(&mut world, disk), [9, 2]);
    answer(&mut world, disk, 2, Ok(8));
    answer(&mut world, disk, 3, Ok(8));
    answer(&mut world, disk, 9, Ok(8));
    let rest = [(tickets[2], Ok(8)), (tickets[3], Ok(8)), (beside[0], Ok(8))];
    assert_eq!(completions(&mut world, app), rest);
    world.check();
}

#[test]
fn a_failure_ends_a_chain_but_not_behind_a_hard_link() {
    let (mut world, disk, app, fd) = scene();
    let hard = [read(fd, 1).with_flags(HARD), read(fd, 2).with_flags(LINK), nop().with_flags(HARD), nop()];
    let tickets = submit(&mut world, app, &hard);
    answer(&mut world, disk, 1, Err(Errno::IO));
    assert_eq!(asked(&mut world, disk), [2], "the first was linked hard");
    answer(&mut world, disk, 2, Err(Errno::IO));
    let ends = [Err(Errno::IO), Err(Errno::IO), CANCELED, CANCELED];
    let expected: Vec<_> = tickets.into_iter().zip(ends).collect();
    assert_eq!(completions(&mut world, app), expected, "in order");
    // What cannot even start fails in its turn.
    let wrong = [nop().with_flags(LINK), Sqe { opcode: 0xff, ..nop() }.with_flags(LINK), nop()];
    let tickets = submit(&mut world, app, &wrong);
    let expected: Vec<_> = tickets.into_iter().zip([Ok(0), Err(Errno::INVAL), CANCELED]).collect();
    assert_eq!(completions(&mut world, app), expected);
}

#[test]
fn a_short_transfer_ends_a_chain() {
    let (mut world, disk, app, fd) = scene();
    for (link, last) in [(LINK, CANCELED), (HARD, Ok(0))] {
        let tickets = submit(&mut world, app, &[read(fd, 1).with_flags(link), nop()]);
        answer(&mut world, disk, 1, Ok(7));
        assert_eq!(completions(&mut world, app), [(tickets[0], Ok(7)), (tickets[1], last)]);
    }
}

#[test]
fn a_batch_ends_a_chain() {
    let (mut world, disk, app, fd) = scene();
    let first = app.submit(&mut world, read(fd, 1).with_flags(LINK));
    let second = app.submit(&mut world, nop());
    app.enter(&mut world, 0, 1, 0, 0, enter::NO_DEADLINE);
    assert_eq!(asked(&mut world, disk), [1], "a chain of one");
    app.push(&mut world);
    assert_eq!(completions(&mut world, app), [(second, Ok(0))], "it is in no chain");
    answer(&mut world, disk, 1, Err(Errno::IO));
    assert_eq!(completions(&mut world, app), [(first, Err(Errno::IO))]);
    // The same where the program waits, alone or not.
    for count in [1, 2] {
        let tickets: Vec<_> = (0..count).map(|_| app.submit(&mut world, nop().with_flags(LINK))).collect();
        app.wait(&mut world, count);
        assert_eq!(app.returned(&mut world), Some(0));
        let done = completions(&mut world, app);
        assert_eq!(done, tickets.into_iter().map(|ticket| (ticket, Ok(0))).collect::<Vec<_>>());
    }
}

#[test]
fn nothing_of_a_chain_starts_before_it_has_all_its_places() {
    let (mut world, disk, app, fd) = scene_with(Sizes { sq: 4, cq: 2, service: None });
    let earlier = submit(&mut world, app, &[nop(), nop()]);
    let chain = [read(fd, 1).with_flags(LINK), nop().with_flags(LINK), nop()];
    let tickets: Vec<_> = chain.iter().map(|entry| app.submit(&mut world, *entry)).collect();
    app.push(&mut world);
    let told = |world: &World| world.ring(app, 0).view.header(word::FLAGS).load(Relaxed);
    assert_eq!(told(&world), flags::NEED_ENTER);
    assert_eq!(asked(&mut world, disk), []);
    // Nothing can come before the program makes room: it does not wait.
    app.enter(&mut world, 0, 0, 4, enter::COMPLETIONS, enter::NO_DEADLINE);
    assert_eq!(app.returned(&mut world), Some(0));
    assert_eq!(app.completion(&mut world), Some((earlier[0], Ok(0))));
    app.push(&mut world);
    assert_eq!(asked(&mut world, disk), [1]);
    assert_eq!(told(&world), 0);
    answer(&mut world, disk, 1, Ok(8));
    let rest = [(earlier[1], Ok(0)), (tickets[0], Ok(8)), (tickets[1], Ok(0)), (tickets[2], Ok(0))];
    assert_eq!(completions(&mut world, app), rest);
}

#[test]
fn a_chain_that_waits_for_room_is_cut_and_cancelled_as_any() {
    let (mut world, disk, app, fd) = scene_with(Sizes { sq: 4, cq: 2, service: None });
    let earlier = submit(&mut world, app, &[nop(), nop()]);
    let chain =
        [read(fd, 1).with_flags(LINK), nop().with_flags(LINK), read(fd, 2).with_flags(LINK), read(fd, 3)];
    let tickets: Vec<_> = chain.iter().map(|entry| app.submit(&mut world, *entry)).collect();
    app.push(&mut world);
    assert_eq!(app.completion(&mut world), Some((earlier[0], Ok(0))));
    // One more entry, and the batch ends there: the last one is in no chain.
    app.enter(&mut world, 0, 1, 0, 0, enter::NO_DEADLINE);
    assert_eq!(app.completion(&mut world), Some((earlier[1], Ok(0))));
    assert_eq!(asked(&mut world, disk), [1, 3]);
    answer(&mut world, disk, 1, Err(Errno::IO));
    answer(&mut world, disk, 3, Ok(8));
    let ends = [Err(Errno::IO), CANCELED, CANCELED, Ok(8)];
    assert_eq!(completions(&mut world, app), tickets.into_iter().zip(ends).collect::<Vec<_>>());
    // Killed while the kernel has a part of a chain.
    submit(&mut world, app, &[nop(), nop()]);
    for _ in 0..3 {
        app.submit(&mut world, nop().with_flags(LINK));
    }
    app.push(&mut world);
    world.kill(app);
    world.check();
}

#[test]
fn a_chain_that_is_longer_than_the_completion_queue_is_refused() {
    let (mut world, _, app, _) = scene_with(Sizes { sq: 4, cq: 2, service: None });
    for extra in 1..6_u32 {
        let mut tickets = VecDeque::new();
        for at in 0..4 + extra {
            let flags = if at + 1 < 4 + extra { HARD } else { SqeFlags::empty() };
            tickets.push_back((app.submit(&mut world, nop().with_flags(flags)), CANCELED));
        }
        tickets[0].1 = Err(Errno::INVAL);
        tickets.push_back((app.submit(&mut world, nop()), Ok(0)));
        while !tickets.is_empty() {
            app.push(&mut world);
            let done = completions(&mut world, app);
            assert!(!done.is_empty(), "left: {tickets:?}");
            for one in done {
                assert_eq!(Some(one), tickets.pop_front());
            }
        }
    }
    // One that just fits is not.
    let tickets: Vec<_> = (0..4).map(|_| app.submit(&mut world, nop().with_flags(LINK))).collect();
    app.push(&mut world);
    assert_eq!(completions(&mut world, app), tickets.iter().map(|one| (*one, Ok(0))).collect::<Vec<_>>());
}

#[test]
fn what_is_held_can_be_cancelled() {
    let (mut world, disk, app, fd) = scene();
    // With a link: the rest goes too, the one before it does not notice.
    let chain = [read(fd, 1).with_flags(LINK), nop().with_flags(LINK), nop()];
    let tickets = submit(&mut world, app, &chain);
    assert_eq!(app.call(&mut world, cancel(tickets[1])), Ok(1));
    assert_eq!(completions(&mut world, app), [(tickets[1], CANCELED), (tickets[2], CANCELED)]);
    answer(&mut world, disk, 1, Ok(8));
    assert_eq!(completions(&mut world, app), [(tickets[0], Ok(8))]);
    // With a hard link: the next one keeps its turn, under the link of the one before.
    for (result, last) in [(Ok(8), Ok(0)), (Err(Errno::IO), CANCELED)] {
        let chain = [read(fd, 1).with_flags(LINK), nop().with_flags(HARD), nop()];
        let tickets = submit(&mut world, app, &chain);
        assert_eq!(app.call(&mut world, cancel(tickets[1])), Ok(1));
        assert_eq!(completions(&mut world, app), [(tickets[1], CANCELED)]);
        answer(&mut world, disk, 1, result);
        assert_eq!(completions(&mut world, app), [(tickets[0], result), (tickets[2], last)]);
    }
    // The last one, and the first one.
    let tickets = submit(&mut world, app, &[read(fd, 1).with_flags(LINK), nop()]);
    assert_eq!(app.call(&mut world, cancel(tickets[1])), Ok(1));
    assert_eq!(app.call(&mut world, cancel(tickets[0])), Ok(1));
    assert_eq!(completions(&mut world, app), [(tickets[1], CANCELED), (tickets[0], CANCELED)]);
    let tickets = submit(&mut world, app, &[read(fd, 2).with_flags(HARD), nop().with_flags(LINK), nop()]);
    assert_eq!(app.call(&mut world, cancel(tickets[0])), Ok(1));
    let expected: Vec<_> = tickets.into_iter().zip([CANCELED, Ok(0), Ok(0)]).collect();
    assert_eq!(completions(&mut world, app), expected);
}

#[test]
fn a_cancel_in_a_chain_spares_itself() {
    let (mut world, _, app, fd) = scene();
    let mut chain = [read(fd, 1), cancel(Ticket(77)).with_flags(LINK), nop()];
    chain.iter_mut().for_each(|entry| entry.tag = 77);
    for entry in chain {
        assert!(app.try_submit_as(&mut world, 0, entry));
    }
    app.push(&mut world);
    let results: Vec<_> = completions(&mut world, app).into_iter().map(|(_, result)| result).collect();
    assert_eq!(results, [CANCELED, Ok(1), Ok(0)], "not what is behind it, which was submitted later");
}

#[test]
fn a_long_chain_goes_on_in_later_steps() {
    let (mut world, _, app, _) = scene_with(Sizes { sq: 9, cq: 9, service: None });
    for flags in [LINK, HARD, LINK | SKIP] {
        let mut tickets: Vec<_> = (0..511).map(|_| app.submit(&mut world, nop().with_flags(flags))).collect();
        tickets.push(app.submit(&mut world, nop()));
        if flags.contains(SKIP) {
            tickets.drain(..511);
        }
        let steps = world.steps();
        app.wait(&mut world, 512);
        world.run_until("they are done", |world| app.returned(world) == Some(0));
        assert!(world.steps() > steps + 10, "in one step");
        let done = completions(&mut world, app);
        assert_eq!(done, tickets.iter().map(|one| (*one, Ok(0))).collect::<Vec<_>>());
    }
    // A long one that fails ends in slices too.
    let mut chain = vec![Sqe { opcode: 0xff, ..nop() }.with_flags(LINK)];
    chain.resize(512, nop().with_flags(HARD));
    let tickets: Vec<_> = chain.iter().map(|entry| app.submit(&mut world, *entry)).collect();
    app.wait(&mut world, 512);
    world.run_until("they are done", |world| app.returned(world) == Some(0));
    let done = completions(&mut world, app);
    assert_eq!(done[0], (tickets[0], Err(Errno::INVAL)));
    assert_eq!(done[1..], tickets[1..].iter().map(|one| (*one, CANCELED)).collect::<Vec<_>>());
}

#[test]
fn a_chain_may_end_its_asker() {
    for hard in [false, true] {
        let (mut world, disk, app, fd) = scene();
        let exit = args::Exit { code: 5, flags: if hard { args::exit::SPACE } else { 0 } }.encode(0);
        let link = if hard { HARD } else { LINK };
        submit(&mut world, app, &[read(fd, 1).with_flags(link), exit.with_flags(link), nop()]);
        assert!(!world.has_ended(app));
        if hard {
            // While it waits for something else.
            let sleep = app.submit(&mut world, args::Timeout { nanoseconds: 1 << 40, flags: 0 }.encode(0));
            app.wait(&mut world, 1);
            assert_eq!(app.completion(&mut world), None, "{sleep:?}");
        }
        answer(&mut world, disk, 1, Ok(8));
        assert!(world.has_ended(app), "hard: {hard}");
        assert_eq!(world.end_of(app), ring_abi::context::End::Exited(5));
        world.check();
    }
}

/// Executes another program from a chain while the caller does this.
fn exec_while(stopped: bool, what: fn(&mut World, Program)) {
    let (mut world, disk, app, fd) = scene();
    let space = FIRST.call(&mut world, args::SpaceCreate {}.encode(0)).unwrap();
    let [_, table] = world.home(app);
    let dup = args::HandleDup { fd: space, table, target: 20, flags: 0 };
    FIRST.call(&mut world, dup.encode(0)).unwrap();
    let first = app.submit(&mut world, read(fd, 1).with_flags(LINK));
    let sizes = Sizes { sq: 3, cq: 3, service: None };
    let ticket = app.exec_linked(&mut world, first, 20, sizes);
    what(&mut world, app);
    answer(&mut world, disk, 1, Ok(8));
    if stopped {
        assert!(!runs(&mut world, |world| world.replaced(app) != 0), "it is stopped");
        let context = app.handle(&mut world);
        FIRST.call(&mut world, args::ContextStart { context }.encode(0)).unwrap();
    }
    assert!(runs(&mut world, |world| world.replaced(app) == 1), "another program took its place");
    let done = app.submit(&mut world, nop());
    world.run_until_idle();
    assert_eq!(app.result(&mut world, done), Some(Ok(0)), "its new ring works; {ticket:?}");
    world.check();
}

#[test]
fn a_chain_may_put_another_program_in_its_askers_place_whatever_that_one_does() {
    exec_while(false, |world, app| app.wait(world, 1));
    exec_while(false, |_, _| {});
    exec_while(false, |world, app| {
        let until = world.machine().now() + (1 << 40);
        app.enter(world, 0, 0, 1, enter::COMPLETIONS, until);
    });
    exec_while(true, |world, app| {
        let context = app.handle(world);
        FIRST.call(world, args::ContextStop { context }.encode(0)).unwrap();
        world.run_until_idle();
    });
}

#[test]
fn nobody_hears_of_a_chain_whose_asker_ended() {
    let (mut world, disk, app, fd) = scene();
    let before = world.accounts();
    let victim = world.program();
    let file = victim.open(&mut world, "/scheme/disk/b");
    let chain =
        [read(file, 5).with_flags(LINK), read(file, 6).with_flags(HARD), nop().with_flags(LINK), nop()];
    submit(&mut world, victim, &chain);
    submit(&mut world, victim, &[nop().with_flags(SqeFlags::DRAIN | LINK), nop()]);
    submit(&mut world, victim, &[nop()]);
    assert_eq!(asked(&mut world, disk), [5]);
    world.kill(victim);
    world.forget(victim);
    answer(&mut world, disk, 5, Ok(8));
    assert_eq!(asked(&mut world, disk), []);
    assert_eq!(world.accounts(), before, "{app:?} {fd}");
}

#[test]
fn a_daemons_death_fails_what_it_has_and_ends_the_chain() {
    let (mut world, disk, app, fd) = scene();
    let tickets =
        submit(&mut world, app, &[read(fd, 1).with_flags(LINK), nop(), read(fd, 2).with_flags(HARD), nop()]);
    assert_eq!(asked(&mut world, disk), [1, 2]);
    disk.kill(&mut world);
    let mut done = completions(&mut world, app);
    done.sort_by_key(|(ticket, _)| *ticket);
    let ends = [Err(Errno::CONNRESET), CANCELED, Err(Errno::CONNRESET), Ok(0)];
    assert_eq!(done, tickets.into_iter().zip(ends).collect::<Vec<_>>());
}

#[test]
fn without_memory_a_chain_fails_as_a_whole() {
    let (mut world, _, app, _) = scene_with(Sizes { sq: 6, cq: 6, service: None });
    let mut failures = 0;
    for left in 0..40 {
        let chain =
            [nop().with_flags(HARD), nop().with_flags(HARD | SqeFlags::DRAIN), nop().with_flags(HARD), nop()];
        for round in 0..8 {
            let tickets: Vec<_> = chain.iter().map(|entry| app.submit(&mut world, *entry)).collect();
            if round == 0 {
                world.starve(left);
            }
            app.push(&mut world);
            world.feed();
            let done = completions(&mut world, app);
            let results: Vec<_> = done.iter().map(|(_, result)| *result).collect();
            assert_eq!(done.len(), tickets.len(), "{done:?}");
            if results.contains(&Err(Errno::NOMEM)) {
                failures += 1;
                assert!(!results.contains(&Ok(0)), "a part of it ran: {results:?}");
            } else {
                assert_eq!(results, [Ok(0); 4]);
            }
        }
        // Records stay with their tables: a fresh world for the next try.
        if left % 2 == 0 {
            world.check();
        }
    }
    assert!(failures > 0, "there was always memory");
}

/// Several chains of reads at once, answered and cancelled by chance.
struct Chains {
    world: World,
    disk: Daemon,
    app: Program,
    fd: u64,
    dice: Dice,
    /// By number of the read, which is its offset.
    tickets: Vec<Ticket>,
    /// The one before it in its chain.
    before: Vec<Option<usize>>,
    ended: Vec<bool>,
}

impl Chains {
    fn new(seed: u64) -> Chains {
        let (world, disk, app, fd) = scene_with(Sizes { sq: 6, cq: 5, service: None });
        let dice = Dice::new(seed);
        Chains { world, disk, app, fd, dice, tickets: Vec::new(), before: Vec::new(), ended: Vec::new() }
    }

    fn submit_chain(&mut self) {
        let length = 1 + self.dice.roll(6);
        for at in 0..length {
            let flags = match at + 1 < length {
                true if self.dice.one_in(3) => HARD,
                true => LINK,
                false => SqeFlags::empty(),
            };
            let number = self.tickets.len();
            let entry = read(self.fd, number as u64).with_flags(flags);
            let Some(ticket) = self.app.try_submit_on(&mut self.world, 0, entry) else { break };
            self.tickets.push(ticket);
            self.before.push((at > 0).then(|| number - 1));
            self.ended.push(false);
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

    /// Whatever a daemon has been asked has nobody before it that is not over.
    fn check(&mut self, seed: u64) {
        let asked = asked(&mut self.world, self.disk);
        for (ticket, _) in completions(&mut self.world, self.app) {
            if let Some(number) = self.tickets.iter().position(|one| *one == ticket) {
                self.ended[number] = true;
            }
        }
        for number in asked.into_iter().map(|offset| offset as usize) {
            if let Some(earlier) = self.before[number] {
                assert!(self.ended[earlier], "seed {seed}: read {number} started before {earlier} ended");
            }
        }
    }
}

#[test]
fn the_order_of_a_chain_is_kept_whatever_happens() {
    for seed in 1..13 {
        let mut chains = Chains::new(seed);
        for _ in 0..400 {
            match chains.dice.roll(8) {
                0..=1 => chains.submit_chain(),
                2 => chains.cancel_one(),
                3..=5 => chains.answer_one(),
                _ => chains.push(),
            }
            chains.check(seed);
        }
        assert!(chains.ended.iter().filter(|ended| **ended).count() > 50, "seed {seed}: nothing happened");
        chains.world.kill(chains.app);
        chains.world.check();
    }
}

#[test]
fn a_silent_success_gives_its_place_back() {
    let (mut world, disk, app, fd) = scene_with(Sizes { sq: 4, cq: 1, service: None });
    for _ in 0..20 {
        submit(&mut world, app, &[nop().with_flags(SKIP), nop().with_flags(SKIP), nop().with_flags(SKIP)]);
        assert_eq!(completions(&mut world, app), []);
    }
    // A failure is told, and a short read.
    let wrong = submit(
        &mut world,
        app,
        &[Sqe { opcode: 0xff, ..nop() }.with_flags(SKIP), read(fd, 1).with_flags(SKIP)],
    );
    answer(&mut world, disk, 1, Ok(3));
    assert_eq!(completions(&mut world, app), [(wrong[0], Err(Errno::INVAL)), (wrong[1], Ok(3))]);
    submit(&mut world, app, &[read(fd, 2).with_flags(SKIP)]);
    answer(&mut world, disk, 2, Ok(8));
    assert_eq!(completions(&mut world, app), []);
    world.check();
}

#[test]
fn who_waits_for_what_was_skipped_wakes() {
    let (mut world, disk, app, fd) = scene();
    // Nothing else can come.
    app.submit(&mut world, read(fd, 1).with_flags(SKIP));
    app.wait(&mut world, 1);
    assert!(waits(&mut world, app));
    answer(&mut world, disk, 1, Ok(8));
    assert!(!waits(&mut world, app), "nothing is left to wait for");
    assert_eq!(app.completion(&mut world), None);
    // Of three only two can come.
    let reads = [read(fd, 1), read(fd, 2).with_flags(SKIP), read(fd, 3)];
    let tickets: Vec<_> = reads.iter().map(|entry| app.submit(&mut world, *entry)).collect();
    app.wait(&mut world, 3);
    answer(&mut world, disk, 1, Ok(8));
    answer(&mut world, disk, 3, Ok(8));
    assert!(waits(&mut world, app), "the third may fail");
    answer(&mut world, disk, 2, Ok(8));
    assert!(!waits(&mut world, app));
    assert_eq!(completions(&mut world, app), [(tickets[0], Ok(8)), (tickets[2], Ok(8))]);
    // It waits on for what can come.
    let reads = [read(fd, 1).with_flags(SKIP), read(fd, 2)];
    let tickets: Vec<_> = reads.iter().map(|entry| app.submit(&mut world, *entry)).collect();
    app.wait(&mut world, 2);
    answer(&mut world, disk, 1, Ok(8));
    assert!(waits(&mut world, app));
    answer(&mut world, disk, 2, Ok(8));
    assert!(!waits(&mut world, app));
    assert_eq!(completions(&mut world, app), [(tickets[1], Ok(8))]);
}

#[test]
fn the_probe_says_which_flags_exist() {
    let (mut world, _, app, _) = scene();
    let known = u64::from(SqeFlags::ORDER.bits());
    for opcode in [Opcode::Nop, Opcode::Read, Opcode::ExecCommit] {
        let said = app.call(&mut world, args::Probe { opcode: u32::from(opcode.raw()) }.encode(0)).unwrap();
        assert_eq!((said & 1, said >> 8 & known), (1, known));
    }
    let said = app.call(&mut world, args::Probe { opcode: u32::from(Opcode::CloseMsg.raw()) }.encode(0));
    assert_eq!(said, Ok(0));
}
