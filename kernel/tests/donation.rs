//! Who pays for the processor: time that is given along a chain of handoffs, and what happens to it when somebody in the
//! middle is cancelled, ends, or moves to another processor.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]
#![allow(unreachable_pub, reason = "modules of a test")]

mod world;

use kernel::context::share::{Time, UNIT};
use ring_abi::args::{self, Strength};
use ring_abi::{Errno, Sqe, SqeFlags, enter};
use world::{Daemon, FIRST, Program, World};

/// Memory of worlds with several processors.
const MEMORY: usize = 32 << 20;

/// The first program sleeps for a second, which is longer than most tests take.
fn leave_alone(world: &mut World) {
    let nanoseconds = world.machine().now() + SECOND;
    FIRST.submit(world, args::Timeout { nanoseconds, flags: args::timeout::ABSOLUTE }.encode(0));
    FIRST.wait(world, 1);
}

#[test]
fn a_daemon_that_pays_and_is_woken_as_it_waits_can_go_to_another_processor() {
    let mut world = World::with_cpus(MEMORY, 2);
    let disk = world.daemon("disk");
    let client = world.program();
    let file = client.open(&mut world, "/scheme/disk/a");
    leave_alone(&mut world);
    world.give_cpu(client);
    let read = |offset| args::Read { fd: file, buffer: world::DATA, length: 8, offset }.encode(0);
    client.submit(&mut world, read(1).with_flags(SqeFlags::LINK));
    client.submit(&mut world, read(2));
    client.wait(&mut world, 1);
    // It has the processor, and whoever enters and goes on pays.
    world.give_cpu(disk.program);
    disk.program.submit(&mut world, args::Nop {}.encode(0));
    disk.program.push(&mut world);
    let pays = |world: &World| world.kernel.state.cpus[world.cpu()].payer.get();
    assert_eq!(pays(&world), world.context_of(disk.program));
    // The step in which it waits answers the first read, which wakes the client here, and starts the second, which wakes it
    // itself: elsewhere, where a processor sleeps.
    let request = disk.request(&mut world).expect("the first read");
    disk.reply(&mut world, request, Ok(8));
    disk.wait(&mut world);
    world.check();
    assert!(world.take_pokes() && world.find(disk.program), "the other processor runs it");
    assert_eq!(pays(&world), world.context_of(disk.program));
    let request = disk.request(&mut world).expect("the second read");
    assert_eq!(request.args[3], 2);
    disk.reply(&mut world, request, Ok(8));
    disk.wait(&mut world);
    world.run_until_idle();
    assert_eq!(client.returned(&mut world), Some(0));
    world.check();
}

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
/// How long whoever was chosen from the queue may go on while others wait.
const SLICE: u64 = 5 * MILLISECOND;
/// What a look at the queue may cost beside the time that passes, in nanoseconds: it is charged in units.
const UNITS: u64 = 1_000;

/// A client of a daemon that is itself a client of another one; both daemons wait, and the client has just begun a slice.
struct Chain {
    world: World,
    client: Program,
    front: Daemon,
    back: Daemon,
    file: u64,
    inner: u64,
    /// Others that always want the processor.
    spinners: Vec<Program>,
}

fn chain(spinners: usize) -> Chain {
    let mut world = World::new();
    let [front, back] = ["front", "back"].map(|name| {
        let daemon = world.daemon(name);
        daemon.obliging(&mut world, false);
        daemon
    });
    let client = world.program();
    let [file, inner] = [(client, front), (front.program, back)].map(|(asker, daemon)| {
        daemon.obliging(&mut world, true);
        let name = if daemon == front { "front" } else { "back" };
        let file = asker.open(&mut world, &format!("/scheme/{name}/a"));
        daemon.obliging(&mut world, false);
        file
    });
    let spinners = (0..spinners).map(|_| world.program()).collect();
    leave_alone(&mut world);
    for daemon in [front, back] {
        world.give_cpu(daemon.program);
        daemon.wait(&mut world);
    }
    // Everybody has used about as much, and the client begins a slice.
    world.give_cpu(client);
    client.push(&mut world);
    world.advance(SLICE);
    world.give_cpu(client);
    let chain = Chain { world, client, front, back, file, inner, spinners };
    settle(&chain.world);
    assert_eq!(chain.payer(), Some(client));
    chain
}

impl Chain {
    /// Who pays for what runs.
    fn payer(&self) -> Option<Program> {
        payer(&self.world, [self.client, self.front.program, self.back.program].iter().chain(&self.spinners))
    }

    fn members(&self) -> [Program; 3] {
        [self.client, self.front.program, self.back.program]
    }

    /// The virtual times of client, front and back.
    fn times(&self) -> [Time; 3] {
        self.members().map(|program| time(&self.world, program))
    }

    /// What they have been charged since.
    fn charged(&self, since: [Time; 3]) -> [u64; 3] {
        let members = self.members();
        [0, 1, 2].map(|at: usize| charged(&self.world, members[at], since[at]))
    }

    /// So much time passes, in which this one runs.
    fn run(&mut self, program: Program, time: u64) {
        assert_eq!(self.world.on_cpu(), Some(program));
        self.world.advance(time);
        assert_eq!(self.world.on_cpu(), Some(program), "it was interrupted");
    }

    fn client_asks(&mut self) {
        while self.client.completion(&mut self.world).is_some() {}
        self.client.submit(&mut self.world, read(self.file));
        self.client.wait(&mut self.world, 1);
    }

    fn front_asks(&mut self) -> Sqe {
        let request = self.front.request(&mut self.world).expect("the client's read");
        while self.front.program.completion(&mut self.world).is_some() {}
        self.front.program.submit(&mut self.world, read(self.inner));
        self.front.program.wait(&mut self.world, 1);
        request
    }

    fn back_answers(&mut self) {
        let request = self.back.request(&mut self.world).expect("the front's read");
        self.back.reply(&mut self.world, request, Ok(8));
        self.back.wait(&mut self.world);
    }

    fn front_answers(&mut self, request: Sqe) {
        self.front.reply(&mut self.world, request, Ok(8));
        self.front.wait(&mut self.world);
    }
}

fn read(fd: u64) -> Sqe {
    world::read(fd, world::DATA, 8)
}

fn time(world: &World, program: Program) -> Time {
    world.kernel.state.contexts.at(world.context_of(program)).share.get().time()
}

/// What has passed by now is paid.
fn settle(world: &World) {
    world.kernel.state.settle(&world.kernel.state.cpus[world.cpu()]);
}

/// What a program has been charged since, in nanoseconds, with what has passed by now, to within [`UNITS`].
fn charged(world: &World, program: Program, since: Time) -> u64 {
    settle(world);
    let units = time(world, program).after(since);
    assert!(units >= 0, "time went back");
    units as u64 * UNIT / UNITS * UNITS
}

fn payer<'a>(world: &World, mut among: impl Iterator<Item = &'a Program>) -> Option<Program> {
    let id = world.kernel.state.cpus[world.cpu()].payer.get();
    among.find(|program| world.context_of(**program) == id).copied()
}

#[test]
fn time_goes_along_a_chain_of_daemons_and_comes_back_and_who_began_it_pays() {
    for spinners in [0, 1, 5] {
        let mut chain = chain(spinners);
        let (before, began) = (chain.times(), chain.world.machine().now());
        let (client, front, back) = (chain.client, chain.front.program, chain.back.program);
        for round in 1..4 {
            chain.run(client, 100 * MICROSECOND);
            chain.client_asks();
            chain.run(front, 200 * MICROSECOND);
            let request = chain.front_asks();
            chain.run(back, 300 * MICROSECOND);
            chain.back_answers();
            chain.run(front, 50 * MICROSECOND);
            chain.front_answers(request);
            chain.run(client, 70 * MICROSECOND);
            assert_eq!(chain.charged(before), [round * 720 * MICROSECOND, 0, 0], "{spinners} spinners");
            assert_eq!(chain.payer(), Some(client));
        }
        // What is left of the slice is its own again, and no more than that.
        if spinners != 0 {
            chain.run(client, began + SLICE - chain.world.machine().now() - 1);
            chain.world.advance(1);
            assert!(chain.spinners.contains(&chain.world.on_cpu().unwrap()), "the slice never ends");
        }
        chain.world.check();
    }
}

#[test]
fn a_client_whose_wait_is_over_takes_its_time_back_and_the_daemon_pays_for_the_rest() {
    for spinners in [0, 1, 5] {
        let mut chain = chain(spinners);
        let before = chain.times();
        let (client, front) = (chain.client, chain.front.program);
        let ticket = chain.client.submit(&mut chain.world, read(chain.file));
        let deadline = chain.world.machine().now() + 400 * MICROSECOND;
        client.enter(&mut chain.world, 0, 1, 1, enter::COMPLETIONS, deadline);
        chain.run(front, 399 * MICROSECOND);
        let request = chain.front.request(&mut chain.world).expect("the read");
        // In the middle of the daemon's work the client's patience ends: it goes on at once, since it has paid.
        chain.world.advance(MICROSECOND);
        chain.run(client, 100 * MICROSECOND);
        let cancel = args::CancelTag { tag: ticket.0, strength: Strength::Force as u32, grace: 0 };
        let cancel = client.submit(&mut chain.world, cancel.encode(0));
        client.push(&mut chain.world);
        let ends = [ticket, cancel].map(|ticket| client.result(&mut chain.world, ticket));
        assert_eq!(ends, [Some(Err(Errno::CANCELED)), Some(Ok(1))]);
        assert_eq!(chain.charged(before)[0], 500 * MICROSECOND, "{spinners} spinners");
        let timeout = args::Timeout { nanoseconds: u64::MAX / 2, flags: args::timeout::ABSOLUTE };
        client.submit(&mut chain.world, timeout.encode(0));
        client.wait(&mut chain.world, 1);
        // Its time is up: what the daemon does from now on is on its own account.
        let paid = time(&chain.world, client);
        chain.world.give_cpu(front);
        assert_eq!(chain.payer(), Some(front));
        let since = time(&chain.world, front);
        chain.run(front, 300 * MICROSECOND);
        assert_eq!(charged(&chain.world, front, since), 300 * MICROSECOND);
        chain.front_answers(request);
        assert_eq!(time(&chain.world, client), paid);
        chain.world.check();
    }
}

#[test]
fn who_runs_on_anothers_time_gives_way_to_who_has_used_less_than_that_one() {
    let mut chain = chain(1);
    let (client, front, sleeper) = (chain.client, chain.front.program, chain.spinners[0]);
    chain.world.give_cpu(sleeper);
    chain.run(sleeper, 4 * MILLISECOND);
    let nanoseconds = chain.world.machine().now() + 3 * MILLISECOND;
    let sleep = args::Timeout { nanoseconds, flags: args::timeout::ABSOLUTE };
    sleeper.submit(&mut chain.world, sleep.encode(0));
    sleeper.wait(&mut chain.world, 1);
    chain.run(client, MILLISECOND);
    chain.client_asks();
    chain.run(front, 2 * MILLISECOND - 1);
    settle(&chain.world);
    // The daemon itself has used least of all, but it runs on the client's account.
    let [least, middle, most] = [front, sleeper, client].map(|program| time(&chain.world, program));
    assert!(middle.after(least) > 0 && most.after(middle) > 0);
    chain.world.advance(1);
    assert_eq!(chain.world.on_cpu(), Some(sleeper), "it waits for a daemon that runs on another's time");
}

/// Time passes until the first program wakes; it has used so little that it goes on at once.
fn wake_first(chain: &mut Chain) {
    assert!(chain.world.advance_to_timer());
    assert_eq!(chain.world.on_cpu(), Some(FIRST));
}

#[test]
fn a_payer_that_is_killed_leaves_the_rest_to_who_ran_on_its_time() {
    let mut chain = chain(0);
    let (client, front) = (chain.client, chain.front.program);
    chain.client_asks();
    chain.run(front, 100 * MICROSECOND);
    let request = chain.front.request(&mut chain.world).expect("the read");
    wake_first(&mut chain);
    chain.world.kill(client);
    chain.world.give_cpu(front);
    assert_eq!(chain.payer(), Some(front));
    let since = time(&chain.world, front);
    chain.run(front, 200 * MICROSECOND);
    assert_eq!(charged(&chain.world, front, since), 200 * MICROSECOND);
    chain.front_answers(request);
    chain.world.forget(client);
    chain.world.check();
}

#[test]
fn a_payer_that_is_killed_from_another_processor_leaves_the_rest_to_who_runs_on_its_time() {
    let mut world = World::with_cpus(MEMORY, 2);
    let disk = world.daemon("disk");
    let client = world.program();
    let file = client.open(&mut world, "/scheme/disk/a");
    disk.obliging(&mut world, false);
    world.give_cpu(disk.program);
    disk.wait(&mut world);
    // There are two who want a processor, and two processors.
    world.run_until_idle();
    assert!(world.find(FIRST) && world.find(client));
    let here = world.cpu();
    client.submit(&mut world, read(file));
    client.wait(&mut world, 1);
    assert_eq!(world.runs_on(here), Some(disk.program), "a handoff stays on its processor");
    let pays = |world: &World| world.kernel.state.cpus[here].payer.get();
    assert_eq!(pays(&world), world.context_of(client));
    let since = time(&world, disk.program);
    world.advance(100 * MICROSECOND);
    assert!(world.find(FIRST));
    let context = client.handle(&mut world);
    FIRST.submit(&mut world, args::ContextKill { context }.encode(0));
    FIRST.push(&mut world);
    assert!(world.has_ended(client));
    assert_eq!(pays(&world), world.context_of(disk.program));
    world.advance(200 * MICROSECOND);
    assert_eq!(world.runs_on(here), Some(disk.program), "it ran on");
    assert!(world.find(disk.program));
    assert_eq!(charged(&world, disk.program, since), 200 * MICROSECOND);
    world.forget(client);
    world.check();
}

#[test]
fn a_client_whose_daemon_ends_has_paid_until_then_and_no_more() {
    for spinners in [0, 1, 5] {
        let mut chain = chain(spinners);
        let before = chain.times();
        let (client, front, back) = (chain.client, chain.front.program, chain.back.program);
        chain.run(client, 100 * MICROSECOND);
        chain.client_asks();
        chain.run(front, 200 * MICROSECOND);
        chain.front_asks();
        chain.run(back, 300 * MICROSECOND);
        chain.world.fault(6, 0, 0);
        assert!(chain.world.has_ended(back));
        assert_eq!(charged(&chain.world, client, before[0]), 600 * MICROSECOND);
        // The next in the chain is told, in a turn of its own.
        chain.world.run_until("front is told", |world| world.on_cpu() == Some(front));
        settle(&chain.world);
        let since = time(&chain.world, front);
        chain.run(front, 50 * MICROSECOND);
        assert_eq!(front.completion(&mut chain.world).map(|(_, result)| result), Some(Err(Errno::CONNRESET)));
        assert_eq!(charged(&chain.world, front, since), 50 * MICROSECOND);
        chain.world.fault(6, 0, 0);
        assert!(chain.world.has_ended(front));
        assert_eq!(charged(&chain.world, client, before[0]), 600 * MICROSECOND);
        // And so is the client.
        chain.world.run_until("the client is told", |world| world.on_cpu() == Some(client));
        assert_eq!(
            client.completion(&mut chain.world).map(|(_, result)| result),
            Some(Err(Errno::CONNRESET))
        );
        assert_eq!(chain.payer(), Some(client), "{spinners} spinners");
        chain.world.check();
    }
}

#[test]
fn a_daemon_that_is_killed_on_its_clients_time_leaves_its_client_free() {
    let mut chain = chain(0);
    let (client, front) = (chain.client, chain.front.program);
    chain.client_asks();
    chain.run(front, 100 * MICROSECOND);
    wake_first(&mut chain);
    chain.world.kill(front);
    chain.world.give_cpu(client);
    assert_eq!(client.completion(&mut chain.world).map(|(_, result)| result), Some(Err(Errno::CONNRESET)));
    assert_eq!(chain.payer(), Some(client));
    chain.world.check();
}
