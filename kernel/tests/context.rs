//! Contexts: stopping and starting them, their registers, and system calls of old.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::Errno;
use ring_abi::args::{self, CURRENT};
use ring_abi::context::{End, Reason, Registers};
use ring_abi::layout::Sizes;
use world::{DATA, FIRST, Mode, Program, World};

/// Where registers are put for the kernel to read or fill.
const BUFFER: u64 = DATA + 4096;
const BYTES: u64 = size_of::<Registers>() as u64;

fn put(world: &mut World, app: Program, registers: Registers) {
    let bytes: Vec<u8> = registers.to_words().iter().flat_map(|word| word.to_le_bytes()).collect();
    assert!(app.write(world, BUFFER, &bytes));
}

fn look(world: &mut World, app: Program) -> Registers {
    let bytes = app.read(world, BUFFER, BYTES as usize).expect("it has its memory");
    let word = |index: usize| u64::from_le_bytes(bytes[index * 8..index * 8 + 8].try_into().unwrap());
    Registers::from_words(std::array::from_fn(word))
}

fn regs(context: u64, set: u32) -> ring_abi::Sqe {
    args::ContextRegs { context, buffer: BUFFER, length: BYTES, set }.encode(0)
}

fn stop(world: &mut World, victim: Program) -> Result<u64, Errno> {
    let context = victim.handle(world);
    FIRST.call(world, args::ContextStop { context }.encode(0))
}

fn start(world: &mut World, victim: Program) -> Result<u64, Errno> {
    let context = victim.handle(world);
    FIRST.call(world, args::ContextStart { context }.encode(0))
}

/// Lets everybody have many turns.
fn let_time_pass(world: &mut World) {
    for _ in 0..50 {
        world.advance(10_000_000);
    }
}

#[test]
fn a_stopped_context_does_not_run_and_its_operations_go_on() {
    let mut world = World::new();
    let app = world.program();
    let other = world.program();
    let ticket = app.submit(&mut world, args::Timeout { nanoseconds: 100_000_000, flags: 0 }.encode(0));
    app.push(&mut world);
    assert_eq!(stop(&mut world, app), Ok(0));
    let before = world.machine().now();
    let_time_pass(&mut world);
    assert!(world.machine().now() > before + 100_000_000);
    assert_ne!(world.on_cpu(), Some(app));
    assert_eq!(app.result(&mut world, ticket), Some(Ok(0)), "its timeout came");
    assert_eq!(stop(&mut world, app), Err(Errno::INVAL), "it is stopped");
    assert_eq!(start(&mut world, app), Ok(0));
    world.give_cpu(app);
    assert_eq!(start(&mut world, app), Err(Errno::INVAL), "it runs");
    world.give_cpu(other);
}

#[test]
fn a_context_that_waits_stops_when_its_wait_ends() {
    let mut world = World::new();
    let app = world.program();
    app.submit(&mut world, args::Timeout { nanoseconds: 1_000_000_000, flags: 0 }.encode(0));
    app.wait(&mut world, 1);
    assert_eq!(stop(&mut world, app), Ok(0));
    world.advance(1_000_000_000);
    let_time_pass(&mut world);
    assert_eq!(world.mode(app), Mode::Entered, "its wait is over, and it does not run");
    assert_eq!(start(&mut world, app), Ok(0));
    world.run_until("it runs", |world| world.mode(app) == Mode::Own);
    assert_eq!(app.returned(&mut world), Some(0));
}

#[test]
fn a_stop_can_be_taken_back_before_it_takes_effect() {
    let mut world = World::new();
    let app = world.program();
    app.submit(&mut world, args::Timeout { nanoseconds: 1_000_000_000, flags: 0 }.encode(0));
    app.wait(&mut world, 1);
    assert_eq!(stop(&mut world, app), Ok(0));
    assert_eq!(start(&mut world, app), Ok(0));
    world.advance(1_000_000_000);
    world.run_until("it runs", |world| world.mode(app) == Mode::Own);
}

#[test]
fn a_stopped_context_can_be_killed() {
    let mut world = World::new();
    let app = world.program();
    stop(&mut world, app).unwrap();
    world.kill(app);
    assert_eq!(world.end_of(app), End::Ended(Reason::Killed));
    assert_eq!(stop(&mut world, app), Err(Errno::SRCH));
    assert_eq!(start(&mut world, app), Err(Errno::SRCH));
}

#[test]
fn a_context_starts_with_the_base_that_it_was_made_with() {
    let mut world = World::new();
    let made = |argument, flags| args::ContextCreate {
        space: CURRENT,
        table: CURRENT,
        entry: 0x40_0000,
        stack: 0x50_0000,
        argument,
        sizes_flags: flags,
    };
    for (flags, base) in [(0, 0), (args::context::FS, 0x1234_5678)] {
        let context = FIRST.call(&mut world, made(0x1234_5678, flags).encode(0)).expect("it is made");
        assert_eq!(FIRST.call(&mut world, regs(context, 0)), Ok(0));
        assert_eq!(look(&mut world, FIRST).fs_base, base);
    }
    // An argument may be anything, but no base that the processor would refuse.
    let wild = 1 << 63;
    assert!(FIRST.call(&mut world, made(wild, 0).encode(0)).is_ok());
    assert_eq!(FIRST.call(&mut world, made(wild, args::context::FS).encode(0)), Err(Errno::INVAL));
    let unknown = args::context::FS << 1;
    assert_eq!(FIRST.call(&mut world, made(0, unknown).encode(0)), Err(Errno::INVAL));
}

#[test]
fn all_registers_of_a_preempted_context_are_seen_and_set() {
    let mut world = World::new();
    let app = world.program();
    world.give_cpu(app);
    stop(&mut world, app).unwrap();
    let context = app.handle(&mut world);
    assert_eq!(FIRST.call(&mut world, regs(context, 0)), Ok(0));
    let seen = look(&mut world, FIRST);
    assert_eq!(seen, app.registers(&mut world));

    let wanted = Registers { rax: 1, rdi: 2, r11: 3, rsp: 0x5000, fs_base: 0x6000, rflags: 0x202, ..seen };
    put(&mut world, FIRST, wanted);
    assert_eq!(FIRST.call(&mut world, regs(context, 1)), Ok(0));
    app.expect(&mut world, wanted);
    start(&mut world, app).unwrap();
    world.give_cpu(app);
}

#[test]
fn registers_that_could_stop_the_processor_are_refused() {
    let mut world = World::new();
    let app = world.program();
    world.give_cpu(app);
    stop(&mut world, app).unwrap();
    let context = app.handle(&mut world);
    let good = app.registers(&mut world);
    let bad = [
        Registers { rip: 0x7fff_ffff_f000, ..good },
        Registers { rip: u64::MAX, ..good },
        Registers { rsp: 1 << 47, ..good },
        Registers { fs_base: 1 << 63, ..good },
    ];
    for registers in bad {
        put(&mut world, FIRST, registers);
        assert_eq!(FIRST.call(&mut world, regs(context, 1)), Err(Errno::INVAL));
    }
    // Flags that belong to the system are not a program's to set.
    put(&mut world, FIRST, Registers { rflags: u64::MAX, ..good });
    FIRST.call(&mut world, regs(context, 1)).unwrap();
    FIRST.call(&mut world, regs(context, 0)).unwrap();
    let flags = look(&mut world, FIRST).rflags;
    assert_eq!(flags & 0x3_7000, 0, "no privilege, no nesting: {flags:#x}");
    assert_ne!(flags & 0x200, 0, "interrupts stay on");
    put(&mut world, FIRST, good);
    FIRST.call(&mut world, regs(context, 1)).unwrap();
    start(&mut world, app).unwrap();
    world.give_cpu(app);
}

#[test]
fn a_running_context_sets_its_own_base_and_no_others_registers() {
    let mut world = World::new();
    let app = world.program();
    let other = world.program();
    put(&mut world, app, Registers { fs_base: 0x12_3000, rip: u64::MAX, ..Registers::default() });
    app.expect_fs(&mut world, 0x12_3000);
    app.submit(&mut world, regs(CURRENT, 1));
    world.give_cpu(app);
    app.push(&mut world);
    assert!(matches!(app.completion(&mut world), Some((_, Ok(0)))));
    world.give_cpu(other);
    world.give_cpu(app);
    assert_eq!(app.registers(&mut world).fs_base, 0x12_3000, "it keeps it");

    put(&mut world, FIRST, Registers::default());
    let context = other.handle(&mut world);
    assert_eq!(FIRST.call(&mut world, regs(context, 1)), Err(Errno::BUSY), "it is not stopped");
    assert_eq!(FIRST.call(&mut world, regs(context, 0)), Err(Errno::BUSY));
}

#[test]
fn old_system_calls_go_to_the_handler_that_was_named() {
    let mut world = World::new();
    let app = world.program();
    // Its code lies within 16 bytes of its entry, so the handler is a little further.
    let handler = app.registers(&mut world).rip;
    assert_eq!(handler, 0, "it has not left its code yet");
    let entry = 0x40_0000 + 16 * app.0 as u64;
    let name = args::CallHandler { address: entry + 8, length: 4 };
    assert_eq!(app.call(&mut world, name.encode(0)), Ok(0));
    world.give_cpu(app);
    let before = world.old_call_registers(app);
    let after = world.current_registers().expect("it goes on");
    assert_eq!((after.rip, after.rcx, after.r11), (entry + 8, before.rip, before.rflags));
    let rest = Registers { rip: before.rip, rcx: before.rcx, r11: before.r11, ..after };
    assert_eq!(rest, before, "everything else is untouched");
    let bad = args::CallHandler { address: 1 << 47, length: 0 };
    assert_eq!(app.call(&mut world, bad.encode(0)), Err(Errno::INVAL));
}

#[test]
fn a_context_that_nobody_can_start_is_ended() {
    let mut world = World::new();
    let app = world.program();
    let make = args::ContextCreate {
        space: CURRENT,
        table: CURRENT,
        entry: 0x1000,
        stack: 0x2000,
        argument: 0,
        sizes_flags: 0,
    };
    let round = |world: &mut World| {
        let context = app.call(world, make.encode(0)).unwrap();
        let look = app.submit(world, args::ContextWait { context }.encode(0));
        world.run_until_idle();
        assert_eq!(app.result(world, look), None);
        let cancel = args::CancelTag { tag: look.0, strength: args::Strength::Force as u32, grace: 0 };
        app.call(world, cancel.encode(0)).unwrap();
        app.call(world, args::Close { fd: context }.encode(0)).unwrap();
        while app.completion(world).is_some() {}
    };
    round(&mut world);
    let before = world.accounts();
    round(&mut world);
    assert_eq!(world.accounts(), before);
}

/// A context in the caller's space that no test plays, never started.
fn unborn(table: u64) -> ring_abi::Sqe {
    args::ContextCreate { space: CURRENT, table, entry: 0x1000, stack: 0x2000, argument: 0, sizes_flags: 0 }
        .encode(0)
}

#[test]
fn a_stopped_context_without_a_handle_is_ended() {
    let mut world = World::new();
    let before = world.accounts();
    // Stopped while it was ready, and while it waited: that one ends when its wait does.
    for waits in [false, true] {
        let app = world.program();
        if waits {
            app.submit(&mut world, args::Timeout { nanoseconds: 1_000_000_000, flags: 0 }.encode(0));
            app.wait(&mut world, 1);
        }
        stop(&mut world, app).unwrap();
        world.forget(app);
        world.run_until_idle();
        assert_eq!(world.has_ended(app), !waits);
        world.advance(1_000_000_000);
        let_time_pass(&mut world);
        assert!(world.has_ended(app));
        assert_eq!(world.accounts(), before);
    }
}

#[test]
fn contexts_named_only_by_their_own_table_are_ended() {
    let mut world = World::new();
    let before = world.accounts();
    let app = world.program();
    for number in 0..3 {
        let context = app.call(&mut world, unborn(CURRENT)).unwrap();
        for _ in 0..number {
            let dup = args::HandleDup { fd: context, table: CURRENT, target: args::LOWEST, flags: 0 };
            app.call(&mut world, dup.encode(0)).unwrap();
        }
    }
    let [_, table] = world.home(app);
    let copy = args::HandleDup { fd: table, table: CURRENT, target: args::LOWEST, flags: 0 };
    let copy = FIRST.call(&mut world, copy.encode(0)).unwrap();
    world.kill(app);
    world.forget(app);
    world.run_until_idle();
    world.check();
    assert_ne!(world.accounts(), before, "somebody can still reach them through the table");
    FIRST.call(&mut world, args::Close { fd: copy }.encode(0)).unwrap();
    assert_eq!(world.accounts(), before);
}

#[test]
fn a_context_named_from_outside_of_its_table_stays_until_that_ends() {
    let mut world = World::new();
    let before = world.accounts();
    let app = world.program();
    let other = world.program();
    let [_, others_table] = world.home(other);
    // The program gives a handle to its unborn thread away, and ends.
    let context = app.call(&mut world, unborn(CURRENT)).unwrap();
    let dup = args::HandleDup { fd: others_table, table: world.home(app)[1], target: 40, flags: 0 };
    FIRST.call(&mut world, dup.encode(0)).unwrap();
    let give = args::HandleDup { fd: context, table: 40, target: 30, flags: 0 };
    app.call(&mut world, give.encode(0)).unwrap();
    app.call(&mut world, args::Close { fd: 40 }.encode(0)).unwrap();
    world.kill(app);
    world.forget(app);
    let wait = other.submit(&mut world, args::ContextWait { context: 30 }.encode(0));
    world.run_until_idle();
    assert_eq!(other.result(&mut world, wait), None, "it could still be started");
    // The wait itself is the last to name it.
    other.call(&mut world, args::Close { fd: 30 }.encode(0)).unwrap();
    world.run_until_idle();
    assert_eq!(other.result(&mut world, wait), None);
    let cancel = args::CancelTag { tag: wait.0, strength: args::Strength::Force as u32, grace: 0 };
    other.call(&mut world, cancel.encode(0)).unwrap();
    world.kill(other);
    world.forget(other);
    assert_eq!(world.accounts(), before);
}

#[test]
fn contexts_share_the_processor_fairly() {
    let mut world = World::new();
    let apps: Vec<_> = (0..4).map(|_| world.program()).collect();
    let mut turns = [0; 4];
    for _ in 0..400 {
        assert!(world.advance_to_timer(), "somebody else is ready");
        if let Some(at) = apps.iter().position(|app| world.on_cpu() == Some(*app)) {
            turns[at] += 1;
        }
    }
    assert!(turns.iter().all(|turns| (75..=85).contains(turns)), "{turns:?}");
}

#[test]
fn two_that_hand_to_each_other_do_not_starve_a_third() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program_with(Sizes { sq: 3, cq: 3, service: None });
    let third = world.program();
    let fd = app.open(&mut world, "/scheme/disk/a");
    world.run_until_idle();
    let start = world.machine().now();
    disk.wait(&mut world);
    let mut third_ran = false;
    for _ in 0..500 {
        // A microsecond for each of their turns.
        world.machine().advance(1000);
        world.take_interrupts();
        match world.on_cpu() {
            Some(program) if program == app => {
                while app.completion(&mut world).is_some() {}
                app.submit(&mut world, world::read(fd, DATA, 8));
                app.wait(&mut world, 1);
            }
            Some(program) if program == disk.program => {
                while let Some(request) = disk.request(&mut world) {
                    disk.reply(&mut world, request, Ok(0));
                }
                disk.wait(&mut world);
            }
            Some(program) => {
                third_ran |= program == third;
                world.advance_to_timer();
            }
            None => panic!("somebody is always ready"),
        }
        world.advance(0);
    }
    assert!(third_ran, "in {} ns", world.machine().now() - start);
}
