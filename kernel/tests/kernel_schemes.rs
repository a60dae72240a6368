//! The schemes that the kernel serves: `debug`, `irq`, `time`, `sys`, and the list of all.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use kernel::arch::IRQ_TEST;
use ring_abi::args::{self, event};
use ring_abi::{Errno, Sqe};
use world::{DATA, Program, World, read, write};

fn read_at(fd: u64, length: u64, offset: u64) -> Sqe {
    args::Read { fd, buffer: DATA, length, offset }.encode(0)
}

/// The text of a file of `sys`.
fn text(world: &mut World, app: Program, name: &str) -> String {
    let fd = app.open(world, &format!("/scheme/sys/{name}"));
    let mut all = Vec::new();
    loop {
        let count = app.call(world, read_at(fd, 100, all.len() as u64)).expect("it can be read");
        if count == 0 {
            break;
        }
        all.extend(app.read(world, DATA, count as usize).unwrap());
    }
    app.call(world, args::Close { fd }.encode(0)).unwrap();
    String::from_utf8(all).expect("it is text")
}

#[test]
fn what_is_written_to_debug_is_printed() {
    let mut world = World::new();
    let app = world.program();
    let fd = app.open(&mut world, "/scheme/debug");
    app.write(&mut world, DATA, b"hello\n");
    world.machine().printed();
    assert_eq!(app.call(&mut world, write(fd, DATA, 6)), Ok(6));
    assert_eq!(world.machine().printed(), "hello\n");
    let count = app.call(&mut world, write(fd, DATA, 100_000)).expect("a piece of it");
    assert!((1..=4096).contains(&count), "{count}: a step is bounded");
    assert_eq!(app.call(&mut world, write(fd, 0x3000, 6)), Err(Errno::FAULT));
}

#[test]
fn input_reaches_those_who_wait_for_it_in_turn() {
    let mut world = World::new();
    let app = world.program();
    let fd = app.open(&mut world, "/scheme/debug");
    let first = app.submit(&mut world, read(fd, DATA, 3));
    let second = app.submit(&mut world, read(fd, DATA + 16, 64));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, first), None);
    world.machine().type_in(b"abcdef");
    world.run_until_idle();
    assert_eq!(app.result(&mut world, first), Some(Ok(3)));
    assert_eq!(app.result(&mut world, second), Some(Ok(3)));
    assert_eq!(app.read(&mut world, DATA, 3).unwrap(), b"abc");
    assert_eq!(app.read(&mut world, DATA + 16, 3).unwrap(), b"def");
    world.machine().type_in(b"more");
    world.run_until_idle();
    assert_eq!(app.call(&mut world, read(fd, DATA, 64)), Ok(4), "what came before is kept");
    assert_eq!(app.call(&mut world, read(fd, DATA, 0)), Ok(0));
    let poll = app.submit(&mut world, args::Poll { fd, mask: event::READ }.encode(0));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, poll), None);
    world.machine().type_in(b"x");
    world.run_until_idle();
    assert_eq!(app.result(&mut world, poll), Some(Ok(event::READ)));
    assert_eq!(app.call(&mut world, args::Poll { fd, mask: event::WRITE }.encode(0)), Ok(event::WRITE));
}

#[test]
fn an_interrupt_between_two_reads_is_not_lost() {
    let mut world = World::new();
    let app = world.program();
    let fd = app.open(&mut world, "/scheme/irq/test");
    let first = app.submit(&mut world, read(fd, DATA, 8));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, first), None);
    world.interrupt(IRQ_TEST);
    assert_eq!(app.result(&mut world, first), Some(Ok(8)));
    assert_eq!(app.read(&mut world, DATA, 8).unwrap(), 1_u64.to_le_bytes());
    world.interrupt(IRQ_TEST);
    world.interrupt(IRQ_TEST);
    assert_eq!(app.call(&mut world, read(fd, DATA, 8)), Ok(8), "they came before");
    assert_eq!(app.read(&mut world, DATA, 8).unwrap(), 3_u64.to_le_bytes());
    let next = app.submit(&mut world, read(fd, DATA, 8));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, next), None);
    // A program raises it by itself, unless it writes nothing.
    assert_eq!(app.call(&mut world, write(fd, DATA, 0)), Ok(0));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, next), None);
    assert_eq!(app.call(&mut world, write(fd, DATA, 1)), Ok(1));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, next), Some(Ok(8)));
    assert_eq!(app.call(&mut world, read(fd, DATA, 7)), Err(Errno::INVAL));
    for name in ["irq/99", "irq/x", "irq", "time/2", "sys/nothing", "debug/x"] {
        assert_eq!(app.try_open(&mut world, &format!("/scheme/{name}")), Err(Errno::NOENT), "{name}");
    }
}

#[test]
fn an_interrupt_wakes_its_waiter_while_nobody_runs() {
    let mut world = World::new();
    let app = world.program();
    let fd = app.open(&mut world, "/scheme/irq/test");
    app.submit(&mut world, read(fd, DATA, 8));
    app.wait(&mut world, 1);
    world::FIRST.submit(&mut world, args::Timeout { nanoseconds: 1 << 50, flags: 0 }.encode(0));
    world::FIRST.wait(&mut world, 1);
    assert_eq!(world.on_cpu(), None);
    let before = world.steps();
    world.interrupt(IRQ_TEST);
    assert_eq!((world.on_cpu(), world.steps()), (Some(app), before + 1));
}

#[test]
fn the_clock_tells_the_time() {
    let mut world = World::new();
    let app = world.program();
    let fds = ["/scheme/time/4", "/scheme/time/1"].map(|path| app.open(&mut world, path));
    world.advance(5_000_000_123);
    for (fd, offset) in fds.into_iter().zip([0, world.machine().realtime_offset()]) {
        assert_eq!(app.call(&mut world, read(fd, DATA, 16)), Ok(16));
        let bytes = app.read(&mut world, DATA, 16).unwrap();
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let told = word(0) * 1_000_000_000 + word(8);
        let now = world.machine().now() + offset;
        assert!(word(8) < 1_000_000_000 && told <= now && told + 1_000_000_000 > now);
        assert_eq!(app.call(&mut world, read(fd, DATA, 15)), Err(Errno::INVAL));
    }
}

#[test]
fn the_kernel_tells_about_itself() {
    let mut world = World::new();
    let app = world.program();
    let counters = text(&mut world, app, "counters");
    assert!(counters.lines().any(|line| line.starts_with("enters ")), "{counters}");
    assert!(counters.lines().any(|line| line.starts_with("OpenAt ")), "{counters}");
    let footprint = text(&mut world, app, "footprint");
    assert!(footprint.lines().any(|line| line.starts_with("contexts 2 ")), "{footprint}");
    let fd = app.open(&mut world, "/scheme/sys/exit");
    app.write(&mut world, DATA, b"what");
    assert!(app.call(&mut world, write(fd, DATA, 4)).is_err());
    assert_eq!(world.halted(), None);
    app.write(&mut world, DATA, b"17");
    app.submit(&mut world, write(fd, DATA, 2));
    app.push(&mut world);
    assert_eq!(world.halted(), Some(17));
}

#[test]
fn schemes_are_listed() {
    let mut world = World::new();
    world.daemon("disk");
    let app = world.program();
    let fd = app.open(&mut world, "/scheme");
    let list = args::Getdents { fd, buffer: DATA, length: 4096, header: 19, start: 0 };
    let count = app.call(&mut world, list.encode(0)).expect("it is a directory");
    let bytes = app.read(&mut world, DATA, count as usize).unwrap();
    for name in ["disk", "debug", "irq", "sys", "time"] {
        let found = bytes.windows(name.len()).any(|window| window == name.as_bytes());
        assert!(found, "{name} is not in {bytes:?}");
    }
    assert!(app.call(&mut world, read(fd, DATA, 8)).is_err());
    assert_eq!(app.call(&mut world, args::Getdents { length: 10, ..list }.encode(0)), Err(Errno::INVAL));
    // From the last one's number on, nothing is left.
    assert_eq!(app.call(&mut world, args::Getdents { start: 5, ..list }.encode(0)), Ok(0));
}
