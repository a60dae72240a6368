//! Messages from ring to ring: what is sent arrives once, marked and in order, or its sender is told that it did not.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::args::{self, CURRENT, LOWEST, Strength, port};
use ring_abi::context::{End, Reason};
use ring_abi::layout::{Sizes, flags, word};
use ring_abi::sync::Ordering::Relaxed;
use ring_abi::{Cqe, CqeFlags, Errno, Sqe, enter};
use world::{DATA, FIRST, Mode, Program, Ticket, World, is_message, read};

const NEVER: u64 = u64::MAX;

/// Two programs, the second with handles to the first's ring.
struct Scene {
    world: World,
    target: Program,
    sender: Program,
    /// The sender's handle.
    door: u64,
}

impl Scene {
    fn new() -> Scene {
        Scene::with(Sizes { sq: 4, cq: 2, service: None }, Sizes { sq: 5, cq: 5, service: None })
    }

    fn with(target: Sizes, sender: Sizes) -> Scene {
        let mut world = World::new();
        let target = world.program_with(target);
        let sender = world.program_with(sender);
        let door = door(&mut world, target, sender, 0, 0);
        Scene { world, target, sender, door }
    }

    fn message(&self, tag: u32, value: u64) -> Sqe {
        args::MessageSend { fd: self.door, tag, value, extra: 0, deadline: NEVER }.encode(0)
    }

    /// Sends a message and waits until it has arrived, or not.
    fn send(&mut self, tag: u32, value: u64) -> Result<u64, Errno> {
        let message = self.message(tag, value);
        self.sender.call(&mut self.world, message)
    }

    fn submit(&mut self, sqe: Sqe) -> Ticket {
        let ticket = self.sender.submit(&mut self.world, sqe);
        self.world.run_until_idle();
        ticket
    }

    fn result(&mut self, ticket: Ticket) -> Option<Result<u64, Errno>> {
        self.world.run_until_idle();
        self.sender.result(&mut self.world, ticket)
    }

    fn messages(&mut self) -> Vec<Cqe> {
        self.target.messages(&mut self.world)
    }

    /// Fills the target's queue, which has four places.
    fn fill(&mut self) {
        for value in 0..4 {
            assert_eq!(self.send(1, value), Ok(0), "there is room");
        }
    }

    /// The target comes back from its wait.
    fn comes_back(&mut self) {
        let target = self.target;
        self.world.run_until("the wait ends", |world| world.mode(target) == Mode::Own);
        assert_eq!(target.returned(&mut self.world), Some(0));
    }

    fn is_behind(&self) -> bool {
        self.world.ring(self.target, 0).view.header(word::FLAGS).load(Relaxed) & flags::BACKLOG != 0
    }
}

/// A handle of `sender` to the first ring of `target`.
fn door(world: &mut World, target: Program, sender: Program, tag: u32, flags: u64) -> u64 {
    let made = args::RingHandle { ring: CURRENT, tag, flags };
    let fd = target.call(world, made.encode(0)).expect("there is memory");
    give(world, target, sender, fd)
}

/// Moves a handle from one program to another: the first program lends its handle to that one's table.
fn give(world: &mut World, from: Program, to: Program, fd: u64) -> u64 {
    let table = world.home(to)[1];
    let lent = args::HandleDup { fd: table, table: world.home(from)[1], target: LOWEST, flags: 0 };
    let table = FIRST.call(world, lent.encode(0)).expect("there is memory");
    let moved = from.call(world, args::HandleDup { fd, table, target: LOWEST, flags: 0 }.encode(0));
    for fd in [fd, table] {
        from.call(world, args::Close { fd }.encode(0)).expect("it is open");
    }
    moved.expect("there is memory")
}

fn values(messages: &[Cqe]) -> Vec<u64> {
    messages.iter().map(|cqe| cqe.result).collect()
}

#[test]
fn a_message_arrives_as_it_was_sent_and_is_marked() {
    let mut scene = Scene::new();
    for (tag, value, extra) in [(0, 0, 0), (7, 42, 0x12_3456), (u32::MAX, u64::MAX, 0xff_ffff)] {
        let send = args::MessageSend { fd: scene.door, tag, value, extra, deadline: 0 };
        assert_eq!(scene.sender.call(&mut scene.world, send.encode(0)), Ok(0));
        let came = scene.messages();
        assert_eq!(came.len(), 1, "once");
        assert_eq!((came[0].tag, came[0].result, came[0].extra()), (tag, value, extra));
        assert_eq!(came[0].flags, CqeFlags::MESSAGE.bits(), "it is no completion of the target's own");
    }
}

#[test]
fn a_fixed_tag_cannot_be_changed_by_the_sender() {
    let mut scene = Scene::new();
    scene.door = door(&mut scene.world, scene.target, scene.sender, 0x77, port::FIXED_TAG);
    assert_eq!(scene.send(1, 5), Ok(0));
    assert_eq!(scene.messages()[0].tag, 0x77);
}

#[test]
fn what_makes_no_sense_is_refused_and_sends_nothing() {
    let mut scene = Scene::new();
    let (door, sender) = (scene.door, scene.sender);
    let file = args::TableCreate { copy: 0 }.encode(0);
    let table = sender.call(&mut scene.world, file).unwrap();
    let send = |fd, extra| args::MessageSend { fd, tag: 1, value: 1, extra, deadline: 0 }.encode(0);
    let pass = |fd, sent| args::MessageHandle { fd, tag: 1, sent, extra: 0, deadline: 0 }.encode(0);
    let open = |ring, flags| args::RingHandle { ring, tag: 0, flags }.encode(0);
    let cases = [
        (send(table, 0), Errno::BADF),
        (send(999, 0), Errno::BADF),
        (send(CURRENT, 0), Errno::BADF),
        (send(door, 1 << 24), Errno::INVAL),
        (pass(door, 999), Errno::BADF),
        (pass(table, table), Errno::BADF),
        (open(1, 0), Errno::BADF),
        (open(4, 0), Errno::BADF),
        (open(CURRENT - 1, 0), Errno::BADF),
        (open(0, 2), Errno::INVAL),
        (read(door, DATA, 8), Errno::OPNOTSUPP),
        (args::Poll { fd: door, mask: 1 }.encode(0), Errno::OPNOTSUPP),
        (args::Sendfd { fd: door, sent: door, flags: 0, argument: 0 }.encode(0), Errno::OPNOTSUPP),
    ];
    for (sqe, error) in cases {
        assert_eq!(sender.call(&mut scene.world, sqe), Err(error), "{sqe:?}");
    }
    assert_eq!(scene.messages(), []);
}

#[test]
fn a_full_target_loses_nothing_and_keeps_the_order() {
    let mut scene = Scene::new();
    let tickets: Vec<_> = (0..20)
        .map(|value| {
            let message = scene.message(9, value);
            scene.sender.submit(&mut scene.world, message)
        })
        .collect();
    scene.sender.push(&mut scene.world);
    assert_eq!(scene.world.owed(scene.sender), 20, "no completion was taken yet");
    assert!(scene.is_behind(), "the target is told that more waits");
    let mut seen = Vec::new();
    while seen.len() < 20 {
        let came = scene.messages();
        assert!(!came.is_empty() && came.len() <= 4, "as many as it has places");
        seen.extend(values(&came));
        scene.target.push(&mut scene.world);
    }
    assert_eq!(seen, (0..20).collect::<Vec<_>>());
    assert!(!scene.is_behind());
    for ticket in tickets {
        assert_eq!(scene.result(ticket), Some(Ok(0)));
    }
}

#[test]
fn the_targets_own_submissions_take_room_first() {
    let mut scene = Scene::new();
    scene.fill();
    let late = scene.message(1, 4);
    let late = scene.submit(late);
    assert_eq!(scene.result(late), None, "it waits");
    // The target takes one message off and asks for something itself.
    let own = scene.target.submit(&mut scene.world, args::Nop {}.encode(0));
    assert_eq!(scene.target.take(&mut scene.world, 0).unwrap().result, 0);
    scene.target.push(&mut scene.world);
    assert_eq!(scene.result(late), None, "its place went to the target's own");
    assert_eq!(values(&scene.messages()), [1, 2, 3]);
    assert_eq!(scene.target.result(&mut scene.world, own), Some(Ok(0)));
    scene.target.push(&mut scene.world);
    assert_eq!((values(&scene.messages()), scene.result(late)), (vec![4], Some(Ok(0))));
}

#[test]
fn a_target_that_only_reaps_gets_more_when_another_message_comes() {
    let mut scene = Scene::new();
    scene.fill();
    let waits = scene.message(1, 4);
    let waits = scene.submit(waits);
    assert_eq!(values(&scene.messages()), [0, 1, 2, 3], "without entering the kernel");
    let next = scene.message(1, 5);
    scene.sender.submit(&mut scene.world, next);
    scene.sender.push(&mut scene.world);
    assert_eq!(values(&scene.messages()), [4, 5], "the first one first");
    assert_eq!(scene.result(waits), Some(Ok(0)));
}

#[test]
fn messages_count_for_who_waits_for_completions() {
    let mut scene = Scene::new();
    let timeout = args::Timeout { nanoseconds: 1_000, flags: 0 }.encode(0);
    let own = scene.target.submit(&mut scene.world, timeout);
    scene.target.wait(&mut scene.world, 2);
    assert_eq!(scene.world.mode(scene.target), Mode::Entered);
    assert_eq!(scene.send(1, 1), Ok(0));
    assert_eq!(scene.world.mode(scene.target), Mode::Entered, "one of two");
    scene.world.advance(1_000);
    scene.world.run_until_idle();
    assert_eq!(scene.target.returned(&mut scene.world), Some(0));
    assert_eq!(values(&scene.messages()), [1]);
    assert_eq!(scene.target.result(&mut scene.world, own), Some(Ok(0)));
}

#[test]
fn a_ring_without_operations_can_be_waited_in_as_long_as_somebody_can_send() {
    let mut scene = Scene::new();
    scene.target.wait(&mut scene.world, 1);
    assert_eq!(scene.world.mode(scene.target), Mode::Entered, "a message may come");
    // More than there are places ends when all are full.
    assert_eq!(scene.send(1, 1), Ok(0));
    scene.comes_back();
    assert_eq!(values(&scene.messages()), [1]);
    scene.target.wait(&mut scene.world, 100);
    scene.fill();
    scene.comes_back();
    assert_eq!(scene.messages().len(), 4);

    scene.target.wait(&mut scene.world, 1);
    assert_eq!(scene.world.mode(scene.target), Mode::Entered);
    assert_eq!(scene.sender.call(&mut scene.world, args::Close { fd: scene.door }.encode(0)), Ok(0));
    scene.comes_back(); // nobody can send any more
    scene.target.wait(&mut scene.world, 1);
    assert_eq!(scene.target.returned(&mut scene.world), Some(0), "and nothing is waited for");
}

#[test]
fn a_message_that_waits_can_be_cancelled_and_times_out() {
    for strength in [Strength::Ask, Strength::Force] {
        let mut scene = Scene::new();
        scene.fill();
        let sqe = scene.message(1, 4);
        let waits = scene.submit(sqe);
        let cancel = args::CancelTag { tag: waits.0, strength: strength as u32, grace: 0 };
        assert_eq!(scene.sender.call(&mut scene.world, cancel.encode(0)), Ok(1));
        assert_eq!(scene.result(waits), Some(Err(Errno::CANCELED)));
        assert!(!scene.is_behind());

        let until = scene.world.machine().now() + 1_000;
        let send = args::MessageSend { fd: scene.door, tag: 1, value: 5, extra: 0, deadline: until };
        let waits = scene.submit(send.encode(0));
        assert_eq!(scene.result(waits), None);
        scene.world.advance(1_000);
        assert_eq!(scene.result(waits), Some(Err(Errno::TIMEDOUT)));
        let send = args::MessageSend { deadline: 0, ..send };
        assert_eq!(scene.sender.call(&mut scene.world, send.encode(0)), Err(Errno::TIMEDOUT), "not now");
        assert_eq!(values(&scene.messages()), [0, 1, 2, 3]);
        scene.target.push(&mut scene.world);
        assert_eq!(scene.messages(), [], "nothing of that arrives late");
    }
}

#[test]
fn what_a_dead_sender_had_waiting_does_not_arrive() {
    let mut scene = Scene::new();
    scene.fill();
    let sqe = scene.message(1, 4);
    scene.submit(sqe);
    scene.world.kill(scene.sender);
    assert!(!scene.is_behind());
    assert_eq!(values(&scene.messages()), [0, 1, 2, 3], "what had arrived stays");
    scene.target.push(&mut scene.world);
    assert_eq!(scene.messages(), []);
}

#[test]
fn a_dead_target_ends_what_waits_and_what_comes_later() {
    for execs in [false, true] {
        let mut scene = Scene::new();
        scene.fill();
        let tickets: Vec<_> = (0..12)
            .map(|value| {
                let sqe = scene.message(1, value);
                scene.submit(sqe)
            })
            .collect();
        if execs {
            let space = FIRST.call(&mut scene.world, args::SpaceCreate {}.encode(0)).unwrap();
            let table = scene.world.home(scene.target)[1];
            let lent = args::HandleDup { fd: space, table, target: LOWEST, flags: 0 };
            let space = FIRST.call(&mut scene.world, lent.encode(0)).unwrap();
            // Its queue is full: one place for the exec that never completes.
            scene.target.take(&mut scene.world, 0).expect("a message");
            scene.target.exec(&mut scene.world, space, Sizes::SMALLEST);
        } else {
            scene.world.kill(scene.target);
        }
        let gone = usize::from(execs);
        for (index, ticket) in tickets.into_iter().enumerate() {
            let result = scene.result(ticket).expect("it has ended");
            assert!(result == Err(Errno::PIPE) || index < gone && result == Ok(0), "{index}: {result:?}");
        }
        assert_eq!(scene.send(1, 1), Err(Errno::PIPE));
    }
}

#[test]
fn a_handle_arrives_with_its_number_and_leads_where_it_led() {
    let mut scene = Scene::new();
    let disk = scene.world.daemon("disk");
    let fd = scene.sender.open(&mut scene.world, "/scheme/disk/a");
    let pass = args::MessageHandle { fd: scene.door, tag: 3, sent: fd, extra: 9, deadline: 0 };
    assert_eq!(scene.sender.call(&mut scene.world, pass.encode(0)), Ok(0));
    assert_eq!(scene.sender.call(&mut scene.world, args::Close { fd }.encode(0)), Ok(0));
    let came = scene.messages()[0];
    assert_eq!((came.tag, came.extra()), (3, 9));
    assert_eq!(came.flags, (CqeFlags::MESSAGE | CqeFlags::HANDLE).bits());

    let ticket = scene.target.submit(&mut scene.world, read(came.result, DATA, 8));
    scene.world.run_until_idle();
    let request = disk.request(&mut scene.world).expect("the read went to the daemon");
    assert_eq!(request.args[0], 100);
    disk.reply(&mut scene.world, request, Ok(8));
    scene.world.run_until_idle();
    assert_eq!(scene.target.result(&mut scene.world, ticket), Some(Ok(8)));
    assert_eq!(disk.closed(&mut scene.world), []);
    assert_eq!(scene.target.call(&mut scene.world, args::Close { fd: came.result }.encode(0)), Ok(0));
    scene.world.run_until_idle();
    assert_eq!(disk.closed(&mut scene.world), [100]);
}

#[test]
fn a_number_alone_is_never_taken_for_a_handle() {
    let mut scene = Scene::new();
    assert_eq!(scene.send(3, 0), Ok(0));
    assert_eq!(scene.messages()[0].flags & CqeFlags::HANDLE.bits(), 0);
}

#[test]
fn a_handle_on_its_way_is_let_go_with_its_sender() {
    let mut scene = Scene::new();
    let disk = scene.world.daemon("disk");
    scene.fill();
    let fd = scene.sender.open(&mut scene.world, "/scheme/disk/a");
    let pass = args::MessageHandle { fd: scene.door, tag: 3, sent: fd, extra: 0, deadline: NEVER };
    scene.submit(pass.encode(0));
    assert_eq!(scene.sender.call(&mut scene.world, args::Close { fd }.encode(0)), Ok(0));
    scene.world.run_until_idle();
    assert_eq!(disk.closed(&mut scene.world), [], "the message holds it");
    scene.world.kill(scene.sender);
    scene.world.run_until_idle();
    assert_eq!(disk.closed(&mut scene.world), [100]);
}

#[test]
fn a_target_without_a_free_number_gets_no_handle() {
    let mut scene = Scene::new();
    let target = scene.target;
    while target
        .call(&mut scene.world, args::HandleDup { fd: 0, table: CURRENT, target: LOWEST, flags: 0 }.encode(0))
        .is_ok()
    {}
    let pass = args::MessageHandle { fd: scene.door, tag: 3, sent: 0, extra: 0, deadline: NEVER };
    assert_eq!(scene.sender.call(&mut scene.world, pass.encode(0)), Err(Errno::MFILE));
    assert_eq!(scene.messages(), []);
    // The same, found out only when there is room for the completion.
    scene.fill();
    let waits = scene.submit(pass.encode(0));
    let behind = scene.message(1, 7);
    let behind = scene.submit(behind);
    assert_eq!(scene.messages().len(), 4);
    target.push(&mut scene.world);
    assert_eq!(scene.result(waits), Some(Err(Errno::MFILE)));
    assert_eq!((scene.result(behind), values(&scene.messages())), (Some(Ok(0)), vec![7]));
}

#[test]
fn a_ring_can_send_to_itself() {
    let mut scene = Scene::new();
    let target = scene.target;
    let own = args::RingHandle { ring: 0, tag: 0, flags: 0 }.encode(0);
    let fd = target.call(&mut scene.world, own).unwrap();
    let send = |value| args::MessageSend { fd, tag: 1 << 30, value, extra: 0, deadline: NEVER }.encode(0);
    let tickets: Vec<_> = (0..6).map(|value| target.submit(&mut scene.world, send(value))).collect();
    let (mut seen, mut done) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        target.push(&mut scene.world);
        while let Some(cqe) = target.take(&mut scene.world, 0) {
            if is_message(&cqe) { seen.push(cqe.result) } else { done.push((Ticket(cqe.tag), cqe.result)) }
        }
    }
    assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
    done.sort_unstable();
    assert_eq!(done, tickets.into_iter().map(|ticket| (ticket, 0)).collect::<Vec<_>>());
}

#[test]
fn a_target_whose_index_cannot_be_harms_itself_alone() {
    let mut scene = Scene::new();
    scene.fill();
    let sqe = scene.message(1, 4);
    let waits = scene.submit(sqe);
    scene.world.ring(scene.target, 0).view.header(word::CQ_HEAD).store(0x7000_0000, Relaxed);
    assert_eq!(scene.send(1, 5), Err(Errno::PIPE));
    assert_eq!(scene.result(waits), Some(Err(Errno::PIPE)));
    assert!(scene.world.has_ended(scene.target));
    assert_eq!(scene.world.end_of(scene.target), End::Ended(Reason::CorruptRing));
    assert!(!scene.world.has_ended(scene.sender));
}

#[test]
fn a_long_line_of_messages_is_taken_in_within_the_budget_of_steps() {
    let large = Sizes { sq: 3, cq: 10, service: None };
    let mut scene = Scene::with(large, Sizes { sq: 12, cq: 12, service: None });
    for value in 0..4000 {
        let message = scene.message(9, value);
        scene.sender.submit(&mut scene.world, message);
    }
    scene.sender.push(&mut scene.world);
    scene.world.run_until_idle();
    let mut seen = Vec::new();
    while seen.len() < 4000 {
        let came = values(&scene.messages());
        assert!(!came.is_empty(), "after {}", seen.len());
        seen.extend(came);
        // Whoever waits here for messages goes on when all that have room are there.
        if seen.len() < 4000 {
            scene.target.enter(&mut scene.world, 0, 0, 1, enter::COMPLETIONS, enter::NO_DEADLINE);
            scene.comes_back();
        }
    }
    assert_eq!(seen, (0..4000).collect::<Vec<_>>());
}

#[test]
fn handles_to_rings_leave_nothing_behind() {
    let mut world = World::new();
    let before = world.accounts();
    let target = world.program();
    let sender = world.program();
    for _ in 0..3 {
        door(&mut world, target, sender, 0, 0);
    }
    world.kill(target);
    world.kill(sender);
    for program in [target, sender] {
        world.forget(program);
    }
    assert_eq!(world.accounts(), before);
}

#[test]
fn no_memory_is_an_error_that_changes_nothing() {
    for left in 0..6 {
        let mut scene = Scene::new();
        scene.fill();
        scene.world.starve(left);
        for _ in 0..70 {
            let message = scene.message(1, 9);
            let Some(_) = scene.sender.try_submit_on(&mut scene.world, 0, message) else { break };
        }
        scene.sender.push(&mut scene.world);
        let own = args::RingHandle { ring: CURRENT, tag: 0, flags: 0 }.encode(0);
        let _ = scene.sender.try_submit_on(&mut scene.world, 0, own);
        scene.sender.push(&mut scene.world);
        scene.world.feed();
        scene.world.run_until_idle();
        scene.world.check();
    }
}
