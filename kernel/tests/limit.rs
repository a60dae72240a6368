//! Linked timeouts: a limit for the operation before it in its chain.
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
use world::{DATA, Daemon, Program, Ticket, World};

const LINK: SqeFlags = SqeFlags::LINK;
const HARD: SqeFlags = SqeFlags::HARD_LINK;
const SKIP: SqeFlags = SqeFlags::SKIP_SUCCESS;
const CANCELED: Result<u64, Errno> = Err(Errno::CANCELED);
const FIRED: Result<u64, Errno> = Err(Errno::TIMEDOUT);
/// How long a limit is.
const TIME: u64 = 1 << 30;
/// How long it waits for a daemon after that.
const GRACE: u64 = 1 << 29;

fn nop() -> Sqe {
    args::Nop {}.encode(0)
}

fn read(fd: u64, number: u64) -> Sqe {
    args::Read { fd, buffer: DATA + 64 * number, length: 8, offset: number }.encode(0)
}

fn limit() -> Sqe {
    args::LinkTimeout { nanoseconds: TIME, flags: 0, grace: GRACE }.encode(0)
}

fn sleep(nanoseconds: u64) -> Sqe {
    args::Timeout { nanoseconds, flags: 0 }.encode(0)
}

fn cancel(ticket: Ticket) -> Sqe {
    args::CancelTag { tag: ticket.0, strength: Strength::Force as u32, grace: 0 }.encode(0)
}

fn scene() -> (World, Daemon, Program, u64) {
    let mut world = World::new();
    let disk = world.daemon_with("disk", 4);
    let app = world.program_with(Sizes { sq: 4, cq: 4, service: None });
    let fd = app.open(&mut world, "/scheme/disk/a");
    world.run_until_idle();
    (world, disk, app, fd)
}

fn submit(world: &mut World, app: Program, entries: &[Sqe]) -> Vec<Ticket> {
    let tickets = entries.iter().map(|entry| app.submit(world, *entry)).collect();
    world.run_until_idle();
    tickets
}

fn completions(world: &mut World, app: Program) -> Vec<(Ticket, Result<u64, Errno>)> {
    world.run_until_idle();
    std::iter::from_fn(|| app.completion(world)).collect()
}

/// The results, if all of these completed in order.
fn results(world: &mut World, app: Program, tickets: &[Ticket]) -> Vec<Result<u64, Errno>> {
    let done = completions(world, app);
    let order: Vec<_> = done.iter().map(|(ticket, _)| *ticket).collect();
    assert_eq!(order, tickets, "{done:?}");
    done.into_iter().map(|(_, result)| result).collect()
}

#[test]
fn who_ends_in_time_cancels_its_limit() {
    let (mut world, disk, app, fd) = scene();
    let deadlines = world.accounts();
    let tickets = submit(&mut world, app, &[read(fd, 1).with_flags(LINK), limit().with_flags(LINK), nop()]);
    let request = disk.request(&mut world).unwrap();
    disk.reply(&mut world, request, Ok(8));
    assert_eq!(results(&mut world, app, &tickets), [Ok(8), CANCELED, Ok(0)]);
    assert_eq!(world.accounts(), deadlines, "its deadline is gone");
    world.advance(10 * TIME);
    assert_eq!(completions(&mut world, app), []);
    // Those that end at once, and those that fail.
    let tickets = submit(&mut world, app, &[nop().with_flags(LINK), limit().with_flags(LINK), nop()]);
    assert_eq!(results(&mut world, app, &tickets), [Ok(0), CANCELED, Ok(0)]);
    let wrong = Sqe { opcode: 0xff, ..nop() };
    let tickets = submit(&mut world, app, &[wrong.with_flags(LINK), limit().with_flags(LINK), nop()]);
    assert_eq!(results(&mut world, app, &tickets), [Err(Errno::INVAL), CANCELED, CANCELED]);
    let tickets = submit(&mut world, app, &[wrong.with_flags(HARD), limit().with_flags(LINK), nop()]);
    assert_eq!(
        results(&mut world, app, &tickets),
        [Err(Errno::INVAL), CANCELED, Ok(0)],
        "its own link counts"
    );
}

#[test]
fn a_limit_cancels_whatever_waits() {
    let (mut world, _, app, _) = scene();
    let word = args::FutexWait { address: DATA, expected: 0, deadline: u64::MAX }.encode(0);
    for waits in [sleep(1 << 45), word] {
        let tickets = submit(&mut world, app, &[waits.with_flags(LINK), limit().with_flags(LINK), nop()]);
        world.advance(TIME - 100);
        assert_eq!(completions(&mut world, app), []);
        world.advance(200);
        let expected: Vec<_> =
            [(tickets[0], CANCELED), (tickets[1], FIRED), (tickets[2], CANCELED)].into_iter().collect();
        let mut done = completions(&mut world, app);
        done.sort_by_key(|(ticket, _)| *ticket);
        assert_eq!(done, expected);
        world.check();
    }
}

#[test]
fn a_daemon_is_asked_before_it_is_forced() {
    // It gives the result of its own within the grace, or does not.
    for answers in [true, false] {
        let (mut world, disk, app, fd) = scene();
        let tickets =
            submit(&mut world, app, &[read(fd, 1).with_flags(HARD), limit().with_flags(LINK), nop()]);
        let request = disk.request(&mut world).unwrap();
        world.advance(TIME + 1);
        assert_eq!(completions(&mut world, app), [(tickets[1], FIRED)]);
        assert_eq!(disk.cancelled(&mut world), [request.tag]);
        if answers {
            disk.reply(&mut world, request, Ok(8));
        } else {
            world.advance(GRACE + 1);
        }
        let result = if answers { Ok(8) } else { CANCELED };
        assert_eq!(completions(&mut world, app), [(tickets[0], result), (tickets[2], Ok(0))]);
        world.check();
    }
}

#[test]
fn a_limit_starts_with_what_it_bounds() {
    let (mut world, disk, app, fd) = scene();
    let chain = [read(fd, 1).with_flags(LINK), sleep(10 * TIME).with_flags(LINK), limit()];
    let tickets = submit(&mut world, app, &chain);
    world.advance(5 * TIME);
    assert_eq!(completions(&mut world, app), [], "nothing is bounded yet");
    let request = disk.request(&mut world).unwrap();
    disk.reply(&mut world, request, Ok(8));
    assert_eq!(completions(&mut world, app), [(tickets[0], Ok(8))]);
    world.advance(TIME + 1);
    let mut done = completions(&mut world, app);
    done.sort_by_key(|(ticket, _)| *ticket);
    assert_eq!(done, [(tickets[1], CANCELED), (tickets[2], FIRED)]);
}

#[test]
fn a_limit_of_nothing_is_refused() {
    let (mut world, _, app, _) = scene();
    assert_eq!(app.call(&mut world, limit()), Err(Errno::INVAL));
    let tickets = submit(&mut world, app, &[limit().with_flags(LINK), nop()]);
    assert_eq!(results(&mut world, app, &tickets), [Err(Errno::INVAL), CANCELED]);
    // Two in a row: the second bounds nothing.
    let chain = [nop().with_flags(LINK), limit().with_flags(LINK), limit().with_flags(LINK), nop()];
    let tickets = submit(&mut world, app, &chain);
    assert_eq!(results(&mut world, app, &tickets), [Ok(0), CANCELED, Err(Errno::INVAL), CANCELED]);
    // One with flags that make no sense lets nothing start without a limit.
    let odd = args::LinkTimeout { nanoseconds: 1, flags: 2, grace: 0 }.encode(0);
    let tickets = submit(&mut world, app, &[nop().with_flags(LINK), odd]);
    assert_eq!(results(&mut world, app, &tickets), [Err(Errno::INVAL), CANCELED]);
}

#[test]
fn limits_and_what_they_bound_can_be_cancelled() {
    let (mut world, _, app, _) = scene();
    // The limit alone: its operation goes on without.
    let tickets =
        submit(&mut world, app, &[sleep(4 * TIME).with_flags(LINK), limit().with_flags(LINK), nop()]);
    assert_eq!(app.call(&mut world, cancel(tickets[1])), Ok(1));
    assert_eq!(completions(&mut world, app), [(tickets[1], CANCELED)]);
    world.advance(5 * TIME);
    assert_eq!(completions(&mut world, app), [(tickets[0], Ok(0)), (tickets[2], Ok(0))]);
    // The operation: its limit goes with it.
    let tickets =
        submit(&mut world, app, &[sleep(4 * TIME).with_flags(HARD), limit().with_flags(LINK), nop()]);
    assert_eq!(app.call(&mut world, cancel(tickets[0])), Ok(1));
    assert_eq!(results(&mut world, app, &tickets), [CANCELED, CANCELED, Ok(0)]);
    // The same before it has started: what is before it keeps what is behind it.
    for link in [LINK, HARD] {
        let chain =
            [sleep(TIME).with_flags(LINK), sleep(4).with_flags(link), limit().with_flags(LINK), nop()];
        let tickets = submit(&mut world, app, &chain);
        assert_eq!(app.call(&mut world, cancel(tickets[1])), Ok(1));
        let mut gone: Vec<_> = completions(&mut world, app).into_iter().map(|(ticket, _)| ticket).collect();
        gone.sort_unstable();
        assert_eq!(gone, tickets[1..if link == LINK { 4 } else { 3 }]);
        world.advance(2 * TIME);
        let left = completions(&mut world, app);
        let expected = [(tickets[0], Ok(0)), (tickets[3], Ok(0))];
        assert_eq!(left, expected[..if link == LINK { 1 } else { 2 }]);
        world.check();
    }
}

#[test]
fn a_silent_limit_speaks_only_when_it_fires() {
    let (mut world, _, app, _) = scene();
    let tickets = submit(&mut world, app, &[nop().with_flags(LINK), limit().with_flags(SKIP)]);
    assert_eq!(completions(&mut world, app), [(tickets[0], Ok(0))]);
    let tickets = submit(&mut world, app, &[sleep(1 << 45).with_flags(LINK), limit().with_flags(SKIP)]);
    world.advance(TIME + 1);
    assert_eq!(completions(&mut world, app), [(tickets[0], CANCELED), (tickets[1], FIRED)]);
    world.check();
}

#[test]
fn a_limit_dies_with_its_asker() {
    let (mut world, disk, _, _) = scene();
    let before = world.accounts();
    for advance in [0, TIME + 1, TIME + GRACE + 2] {
        let victim = world.program();
        let file = victim.open(&mut world, "/scheme/disk/b");
        submit(&mut world, victim, &[read(file, 1).with_flags(LINK), limit().with_flags(LINK), nop()]);
        submit(&mut world, victim, &[sleep(1 << 45).with_flags(LINK), limit()]);
        world.advance(advance);
        world.kill(victim);
        world.forget(victim);
        while let Some(request) = disk.request(&mut world) {
            disk.reply(&mut world, request, Ok(8));
        }
        world.advance(10 * TIME);
        world.run_until_idle();
        assert_eq!(world.accounts(), before, "after {advance}");
    }
}
