//! Several processors: what one does to what another runs.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]
#![allow(unreachable_pub, reason = "modules of a test")]

mod world;

use kernel::arch::Machine;
use kernel::arch::fake::Access;
use ring_abi::args::{self, CURRENT};
use ring_abi::context::{End, Reason, Registers};
use ring_abi::layout::Sizes;
use ring_abi::{Errno, enter};
use world::{DATA, FIRST, Program, World};

/// Memory of these worlds.
const MEMORY: usize = 32 << 20;

/// A world with two processors; on each of them runs a thread of one space that is not the first program.
fn two_threads(tagged: bool) -> (World, Program, Program) {
    let machine = Machine::with_cpus(MEMORY, 2);
    if tagged {
        machine.tag_translations();
    }
    let mut world = World::on(machine);
    let one = world.program_with(Sizes { sq: 3, cq: 4, service: None });
    let other = world.thread(one, Sizes { sq: 3, cq: 4, service: None });
    send_first_to_sleep(&mut world);
    place(&mut world, [one, other]);
    (world, one, other)
}

/// The first program waits for a time that does not come.
fn send_first_to_sleep(world: &mut World) {
    let timeout = args::Timeout { nanoseconds: u64::MAX / 2, flags: args::timeout::ABSOLUTE };
    FIRST.submit(world, timeout.encode(0));
    FIRST.wait(world, 1);
}

/// A world with two processors; on one runs a program, on the other a context that it made.
fn with_victim() -> (World, Program, Program) {
    let mut world = World::with_cpus(MEMORY, 2);
    let one = world.program_with(Sizes { sq: 3, cq: 4, service: None });
    send_first_to_sleep(&mut world);
    let victim = world.context(one, CURRENT, CURRENT, Sizes::SMALLEST);
    place(&mut world, [one, victim]);
    (world, one, victim)
}

/// Lets time pass until each of these runs on a processor.
fn place(world: &mut World, programs: [Program; 2]) {
    for _ in 0..1000 {
        if programs.into_iter().all(|program| world.find(program)) {
            return;
        }
        assert!(world.take_pokes() || world.advance_to_timer(), "{programs:?} do not run side by side");
    }
    panic!("{programs:?} never run side by side");
}

/// The processor that a program runs on.
fn cpu_of(world: &World, program: Program) -> usize {
    (0..world.cpus()).find(|cpu| world.runs_on(*cpu) == Some(program)).expect("it runs")
}

/// Submits and enters on the program's own processor, and on no other.
fn ask(world: &mut World, program: Program, sqe: ring_abi::Sqe) -> world::Ticket {
    assert!(world.find(program), "{program:?} runs");
    let ticket = program.submit(world, sqe);
    program.push(world);
    ticket
}

fn a_frame_waits_for_the_other_processor(tagged: bool) {
    let (mut world, one, other) = two_threads(tagged);
    let page = one.map(&mut world, 4096);
    place(&mut world, [one, other]);
    assert!(other.write(&mut world, page, b"mine"));
    let frame = world.machine().reach(page, Access::Write).expect("it is mapped").address();

    let unmap = ask(&mut world, one, args::Unmap { space: CURRENT, address: page, length: 4096 }.encode(0));
    assert_eq!(one.result(&mut world, unmap), None, "the other processor has not forgotten it");
    assert!(world.find(other));
    let reached = world.machine().reach(page, Access::Write).map(|place| place.address());
    assert_eq!(reached, Ok(frame), "its translation is as it was");
    let number = rmm::Frame::new((frame.raw() >> 12) as u32);
    let is_free = |world: &World| world.kernel.state.memory.frames.is_free(number);
    assert!(!is_free(&world), "nobody may have the frame");
    // Nobody gets it either, whoever takes all that there is.
    assert!(world.find(one));
    let all = u64::from(world.kernel.state.memory.available()) * 4096 / 2;
    let rights = args::map::READ | args::map::WRITE | args::map::PRIVATE;
    let flags = rights | args::map::FIXED_NOREPLACE;
    let map = args::Map { space: CURRENT, address: 0x1_0000_0000, length: all, flags };
    let map = ask(&mut world, one, map.encode(0));
    assert!(!is_free(&world));

    assert!(world.take_pokes(), "it is poked, once");
    assert_eq!(one.call(&mut world, args::Nop {}.encode(0)), Ok(0));
    assert_eq!(one.result(&mut world, unmap), Some(Ok(0)));
    world.run_until("the memory is there", |world| one.result(world, map).is_some());
    place(&mut world, [one, other]);
    assert!(!other.write(&mut world, page, b"gone"), "it faults now");
}

#[test]
fn no_frame_is_reused_while_another_processors_tlb_still_maps_it() {
    a_frame_waits_for_the_other_processor(false);
}

#[test]
fn no_frame_is_reused_while_a_tagged_translation_still_maps_it() {
    a_frame_waits_for_the_other_processor(true);
}

#[test]
fn a_right_that_was_taken_is_gone_everywhere_when_that_completes() {
    let (mut world, one, other) = two_threads(false);
    assert!(other.write(&mut world, DATA, b"written"));
    let protect = args::Protect { space: CURRENT, address: DATA, length: 4096, rights: args::map::READ };
    let ticket = ask(&mut world, one, protect.encode(0));
    assert_eq!(one.result(&mut world, ticket), None);
    assert!(world.take_pokes());
    world.run_until("it completes", |world| one.result(world, ticket) == Some(Ok(0)));
    assert_eq!(other.read(&mut world, DATA, 7).as_deref(), Some(&b"written"[..]));
    assert!(!other.write(&mut world, DATA, b"no"), "it faults");
}

#[test]
fn a_flush_that_is_cancelled_ends_once() {
    let (mut world, one, other) = two_threads(false);
    let page = one.map(&mut world, 4096);
    place(&mut world, [one, other]);
    assert!(other.write(&mut world, page, b"mine"));
    let unmap = ask(&mut world, one, args::Unmap { space: CURRENT, address: page, length: 4096 }.encode(0));
    let cancel = args::CancelTag { tag: unmap.0, strength: args::Strength::Force as u32, grace: 0 };
    let cancel = ask(&mut world, one, cancel.encode(0));
    assert_eq!(one.result(&mut world, unmap), Some(Err(Errno::CANCELED)));
    assert_eq!(one.result(&mut world, cancel), Some(Ok(1)));
    world.run_until_idle();
    assert!(!other.write(&mut world, page, b"gone"), "the change stays");
}

#[test]
fn a_kill_completes_when_the_other_processor_has_entered() {
    let (mut world, one, victim) = with_victim();
    let context = victim.handle(&mut world);
    let kill = ask(&mut world, one, args::ContextKill { context }.encode(0));
    assert_eq!(one.result(&mut world, kill), None, "it still runs");
    let again = ask(&mut world, one, args::ContextKill { context }.encode(0));
    assert_eq!(one.result(&mut world, again), Some(Err(Errno::SRCH)), "it is as good as dead");
    let start = ask(&mut world, one, args::ContextStart { context }.encode(0));
    assert_eq!(one.result(&mut world, start), Some(Err(Errno::SRCH)), "nobody saves it");
    assert_ne!(cpu_of(&world, victim), cpu_of(&world, one));
    assert!(world.take_pokes());
    world.run_until("it completes", |world| one.result(world, kill) == Some(Ok(0)));
    assert!(world.has_ended(victim));
    assert_eq!(world.end_of(victim), End::Ended(Reason::Killed));
}

#[test]
fn a_kill_whose_asker_dies_is_still_done() {
    let (mut world, one, victim) = with_victim();
    let context = victim.handle(&mut world);
    let kill = ask(&mut world, one, args::ContextKill { context }.encode(0));
    assert_eq!(one.result(&mut world, kill), None);
    assert!(world.find(one));
    world.fault(6, 0, 0);
    world.run_until_idle();
    assert!(world.has_ended(one) && world.has_ended(victim));
}

#[test]
fn a_victim_that_enters_by_itself_ends_without_its_submissions() {
    let (mut world, one, victim) = with_victim();
    let context = victim.handle(&mut world);
    let kill = ask(&mut world, one, args::ContextKill { context }.encode(0));
    assert!(world.find(victim));
    let before = world.kernel.state.stats.refused.get();
    victim.submit(&mut world, args::Nop {}.encode(0));
    victim.wait(&mut world, 1);
    assert_eq!(world.kernel.state.stats.refused.get(), before);
    assert!(world.has_ended(victim));
    world.run_until("it completes", |world| one.result(world, kill) == Some(Ok(0)));
}

#[test]
fn a_stop_completes_when_the_context_stands_still() {
    let (mut world, one, victim) = with_victim();
    let context = victim.handle(&mut world);
    let stop = ask(&mut world, one, args::ContextStop { context }.encode(0));
    assert_eq!(one.result(&mut world, stop), None);
    let again = ask(&mut world, one, args::ContextStop { context }.encode(0));
    assert_eq!(one.result(&mut world, again), Some(Err(Errno::BUSY)));
    assert!(world.take_pokes());
    world.run_until("it stands still", |world| one.result(world, stop) == Some(Ok(0)));
    let length = size_of::<Registers>() as u64;
    let regs = args::ContextRegs { context, buffer: DATA, length, set: 0 };
    assert_eq!(one.call(&mut world, regs.encode(0)), Ok(0), "its registers are all there");
    assert_eq!(one.call(&mut world, args::ContextStart { context }.encode(0)), Ok(0));
    world.give_cpu(victim);
}

#[test]
fn a_stopped_context_that_waits_meanwhile_is_stopped_when_it_would_run() {
    let (mut world, one, victim) = with_victim();
    let context = victim.handle(&mut world);
    let stop = ask(&mut world, one, args::ContextStop { context }.encode(0));
    assert!(world.find(victim));
    victim.enter(&mut world, 0, 0, 1, enter::COMPLETIONS, enter::NO_DEADLINE);
    world.run_until("that is enough", |world| one.result(world, stop) == Some(Ok(0)));
    assert_eq!(one.call(&mut world, args::ContextKill { context }.encode(0)), Ok(0));
    world.run_until_idle();
    assert!(world.has_ended(victim));
}

#[test]
fn a_space_that_exits_takes_threads_on_other_processors_along() {
    let (mut world, one, other) = two_threads(false);
    assert!(world.find(one));
    one.submit(&mut world, args::Exit { code: 3, flags: args::exit::SPACE }.encode(0));
    one.push(&mut world);
    assert!(!world.has_ended(one) || !world.has_ended(other), "the other one still runs");
    world.run_until_idle();
    assert!(world.has_ended(one) && world.has_ended(other));
    assert_eq!(world.end_of(other), End::Exited(3));
}

#[test]
fn a_processor_sleeps_until_there_is_somebody_for_it() {
    let mut world = World::with_cpus(MEMORY, 3);
    assert!(!world.take_pokes(), "there is nobody for the others");
    let one = world.program();
    let other = world.program();
    place(&mut world, [one, other]);
    assert_ne!(cpu_of(&world, one), cpu_of(&world, other), "they run side by side");
    // All three run: whoever wakes now is not worth a poke.
    place(&mut world, [FIRST, one]);
    assert!(world.find(FIRST));
    assert!(!world.take_pokes());
}
