//! Memory that comes with its first use, and pages that a fork shares until somebody writes.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use kernel::mem::frames::Use;
use ring_abi::args::{self, CURRENT, map};
use ring_abi::context::{End, Reason};
use ring_abi::layout::Sizes;
use ring_abi::{Errno, futex, registered};
use world::{DATA, FIRST, Program, World, read, write};

const PAGE: u64 = 4096;

/// Maps memory that is not there before it is touched.
fn lazy(app: Program, world: &mut World, length: u64, rights: u64) -> u64 {
    let map = args::Map { space: CURRENT, address: 0, length, flags: rights | map::PRIVATE };
    app.call(world, map.encode(0)).expect("there is room")
}

fn lazy_rw(app: Program, world: &mut World, length: u64) -> u64 {
    lazy(app, world, length, map::READ | map::WRITE)
}

/// Frames of programs.
fn frames(world: &World) -> u32 {
    world.kernel.state.memory.used(Use::Program)
}

#[test]
fn a_page_comes_with_its_first_use() {
    let mut world = World::new();
    let app = world.program();
    let before = frames(&world);
    let at = lazy_rw(app, &mut world, 1 << 38);
    assert_eq!(frames(&world), before, "a quarter of a tebibyte costs nothing");
    assert!(!app.is_present(&mut world, at));

    assert_eq!(app.read(&mut world, at + 5, 3).unwrap(), [0; 3]);
    assert_eq!(app.read(&mut world, at + (1 << 37), 3).unwrap(), [0; 3]);
    assert_eq!(frames(&world), before, "what is only read is the page of zeros");
    assert!(app.write(&mut world, at + (1 << 37) + 1, b"x"));
    assert_eq!(app.read(&mut world, at + (1 << 37), 3).unwrap(), *b"\0x\0");
    assert_eq!(app.read(&mut world, at, 3).unwrap(), [0; 3], "and stays that for others");
    assert!(app.write(&mut world, at + (1 << 36), b"y"));
    assert_eq!(frames(&world), before + 2);

    let unmap = args::Unmap { space: CURRENT, address: at, length: 1 << 38 };
    app.call(&mut world, unmap.encode(0)).unwrap();
    assert_eq!(frames(&world), before);
}

#[test]
fn what_is_there_at_once_is_not_touched() {
    let mut world = World::new();
    let app = world.program();
    let before = frames(&world);
    let at = lazy_rw(app, &mut world, 3 * PAGE);
    let there = args::Map {
        space: CURRENT,
        address: at + PAGE,
        length: PAGE,
        flags: map::READ | map::WRITE | map::PRIVATE | map::FIXED | map::POPULATE,
    };
    app.call(&mut world, there.encode(0)).unwrap();
    assert_eq!(frames(&world), before + 1);
    let is_there = [0, 1, 2].map(|page| app.is_present(&mut world, at + page * PAGE));
    assert_eq!(is_there, [false, true, false]);
}

#[test]
fn operations_touch_the_buffers_that_they_are_given() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program_with(Sizes { sq: 5, cq: 5, service: None });
    let fd = app.open(&mut world, "/scheme/disk/file");
    disk.obliging(&mut world, false);
    let at = lazy_rw(app, &mut world, 64 * PAGE);
    let before = frames(&world);

    // Writes from pages that nobody has touched, reads into others, every one across the end of a page.
    for page in 0..8 {
        app.submit(&mut world, write(fd, at + page * PAGE + 4000, 200));
    }
    let reads: Vec<_> =
        (8..24).map(|page| app.submit(&mut world, read(fd, at + 2 * page * PAGE + 4000, 200))).collect();
    app.push(&mut world);
    for _ in 0..60 {
        world.run_until_idle();
        let Some(request) = disk.request(&mut world) else { break };
        if disk.payload(&mut world, &request).iter().all(|byte| *byte == 0) {
            disk.fill(&mut world, &request, &[7; 200]);
        }
        disk.reply(&mut world, request, Ok(200));
    }
    world.run_until_idle();
    for ticket in reads {
        assert_eq!(app.result(&mut world, ticket), Some(Ok(200)));
    }
    assert_eq!(frames(&world), before + 32, "two pages for each read, none for a write");
    for page in 8..24 {
        assert_eq!(app.peek(&mut world, at + 2 * page * PAGE + 4000, 200), [7; 200]);
        assert_eq!(app.peek(&mut world, at + 2 * page * PAGE + 3999, 1), [0]);
    }
}

#[test]
fn the_kernel_keeps_rights_where_nothing_is_yet() {
    let mut world = World::new();
    let app = world.program();
    let clock = app.open(&mut world, "/scheme/time/1");
    let fixed = lazy(app, &mut world, PAGE, map::READ);
    let before = frames(&world);
    assert_eq!(app.call(&mut world, read(clock, fixed, 16)), Err(Errno::FAULT));
    assert_eq!(app.call(&mut world, read(clock, 1 << 40, 16)), Err(Errno::FAULT));
    let mixed = lazy_rw(app, &mut world, PAGE);
    let protect = args::Protect { space: CURRENT, address: mixed, length: PAGE, rights: map::READ };
    app.call(&mut world, protect.encode(0)).unwrap();
    assert_eq!(app.call(&mut world, read(clock, mixed, 16)), Err(Errno::FAULT));
    assert_eq!(frames(&world), before);
    assert!(!app.write(&mut world, fixed, b"x"), "nor may the program");
    assert_eq!(world.end_of(app), End::Ended(Reason::PageFault));
}

#[test]
fn a_fork_shares_pages_until_somebody_writes() {
    let mut world = World::new();
    let app = world.program();
    let clock = app.open(&mut world, "/scheme/time/1");
    let at = lazy_rw(app, &mut world, 16 * PAGE);
    for page in 0..8 {
        app.write(&mut world, at + page * PAGE, &[page as u8 + 1; 8]);
    }
    let before = frames(&world);
    let space = app.call(&mut world, args::SpaceFork {}.encode(0)).unwrap();
    assert_eq!(frames(&world), before, "no page is copied");
    let table = app.call(&mut world, args::TableCreate { copy: 0 }.encode(0)).unwrap();
    let child = world.context(app, space, table, Sizes::SMALLEST);

    assert_eq!(child.read(&mut world, at, 8).unwrap(), [1; 8]);
    assert!(app.write(&mut world, at, b"parent"));
    assert!(child.write(&mut world, at + PAGE, b"child"));
    assert_eq!(frames(&world), before + 2, "each write has copied a page");
    assert_eq!(child.read(&mut world, at, 8).unwrap(), [1; 8]);
    assert_eq!(app.read(&mut world, at, 8).unwrap(), *b"parent\x01\x01");
    assert_eq!(app.read(&mut world, at + PAGE, 8).unwrap(), [2; 8]);
    assert_eq!(child.read(&mut world, at + PAGE, 8).unwrap(), *b"child\x02\x02\x02");

    // The other one is the last that has the page, and the kernel writes as a program does.
    assert!(child.write(&mut world, at, b"mine"));
    assert_eq!(app.call(&mut world, read(clock, at + PAGE, 16)), Ok(16));
    assert_eq!(app.call(&mut world, read(clock, at + 2 * PAGE, 16)), Ok(16));
    assert_eq!(frames(&world), before + 3, "only the third page was shared still");
    assert_eq!(child.read(&mut world, at + 2 * PAGE, 8).unwrap(), [3; 8]);
    // What neither had touched is apart as well.
    assert!(app.write(&mut world, at + 12 * PAGE, b"new"));
    assert_eq!(child.read(&mut world, at + 12 * PAGE, 3).unwrap(), [0; 3]);

    world.kill(child);
    let context = child.handle(&mut world);
    app.call(&mut world, args::Close { fd: context }.encode(0)).unwrap();
    for fd in [space, table] {
        app.call(&mut world, args::Close { fd }.encode(0)).unwrap();
    }
    world.run_until_idle();
    assert_eq!(frames(&world), before + 1, "what was the child's is back");
    assert!(app.write(&mut world, at + 5 * PAGE, b"alone"));
    assert_eq!(frames(&world), before + 1, "the last that has a page writes in place");
}

#[test]
fn a_fork_of_a_fork_of_a_fork_keeps_every_version() {
    let mut world = World::new();
    let app = world.program();
    let at = lazy_rw(app, &mut world, 4 * PAGE);
    let mut family = vec![app];
    for generation in 1..=6_u8 {
        let parent = *family.last().unwrap();
        assert!(parent.write(&mut world, at, &[generation; 4]));
        let space = parent.call(&mut world, args::SpaceFork {}.encode(0)).unwrap();
        let table = parent.call(&mut world, args::TableCreate { copy: 0 }.encode(0)).unwrap();
        family.push(world.context(parent, space, table, Sizes::SMALLEST));
    }
    assert!(family[6].write(&mut world, at, &[7; 4]));
    for (program, version) in family.iter().zip(1..) {
        assert_eq!(program.read(&mut world, at, 4).unwrap(), [version; 4]);
    }
}

#[test]
fn a_page_that_is_pinned_stays_the_parents() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let fd = app.open(&mut world, "/scheme/disk/file");
    let at = lazy_rw(app, &mut world, 2 * PAGE);
    let register = args::RegisterBuffer { slot: 0, address: at, length: PAGE };
    app.call(&mut world, register.encode(0)).unwrap();
    assert!(app.write(&mut world, at, &[1; 64]));
    assert!(app.write(&mut world, at + PAGE, &[1; 64]));
    let before = frames(&world);
    let space = app.call(&mut world, args::SpaceFork {}.encode(0)).unwrap();
    assert_eq!(frames(&world), before + 1, "the page that is pinned is copied, the other is not");

    let buffer = registered::buffer(0, 0);
    disk.obliging(&mut world, false);
    let ticket = app.submit(&mut world, read(fd, buffer, 64));
    world.run_until_idle();
    let request = disk.request(&mut world).unwrap();
    disk.fill(&mut world, &request, &[9; 64]);
    disk.reply(&mut world, request, Ok(64));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, ticket), Some(Ok(64)));
    assert_eq!(app.read(&mut world, at, 64).unwrap(), [9; 64], "the program sees what comes into its buffer");
    let table = app.call(&mut world, args::TableCreate { copy: 0 }.encode(0)).unwrap();
    let child = world.context(app, space, table, Sizes::SMALLEST);
    assert_eq!(child.read(&mut world, at, 64).unwrap(), [1; 64]);
}

#[test]
fn who_waits_at_a_word_is_woken_though_its_page_was_copied() {
    let mut world = World::new();
    let app = world.program();
    let other = world.thread(app, Sizes::SMALLEST);
    let word = lazy_rw(app, &mut world, PAGE);
    let wait = args::FutexWait { address: word, expected: 0, deadline: u64::MAX };
    let ticket = app.submit(&mut world, wait.encode(0));
    app.push(&mut world);
    let space = app.call(&mut world, args::SpaceFork {}.encode(0)).unwrap();
    assert!(other.write(&mut world, word, &1_u32.to_le_bytes()));
    assert_eq!(other.call(&mut world, args::FutexWake { address: word, count: 9 }.encode(0)), Ok(1));
    assert_eq!(app.result(&mut world, ticket), Some(Ok(0)));
    assert_eq!(
        app.call(&mut world, wait.encode(0)),
        Err(Errno::AGAIN),
        "the word that is compared is the new one"
    );
    let words = DATA;
    app.write(&mut world, words, &futex::Word { address: word, expected: 5 }.to_bytes());
    let many = args::FutexWaitMany { words, count: 1, deadline: u64::MAX };
    assert_eq!(app.call(&mut world, many.encode(0)), Err(Errno::AGAIN));
    app.call(&mut world, args::Close { fd: space }.encode(0)).unwrap();
}

#[test]
fn without_memory_an_operation_fails_and_a_program_ends_but_nothing_is_lost() {
    let mut world = World::new();
    let app = world.program();
    let clock = app.open(&mut world, "/scheme/time/1");
    let at = lazy_rw(app, &mut world, 4 * PAGE);
    let before = world.accounts();
    world.starve(0);
    let ticket = app.submit(&mut world, read(clock, at, 16));
    app.push(&mut world);
    world.feed();
    assert_eq!(app.result(&mut world, ticket), Some(Err(Errno::NOMEM)));
    assert_eq!(world.accounts(), before);
    assert_eq!(app.call(&mut world, read(clock, at, 16)), Ok(16));

    world.starve(0);
    assert!(!app.write(&mut world, at + PAGE, b"x"));
    world.feed();
    assert_eq!(world.end_of(app), End::Ended(Reason::OutOfMemory));
    world.forget(app);
    world.run_until_idle();
    assert_eq!(FIRST.call(&mut world, args::Nop {}.encode(0)), Ok(0));
}

#[test]
fn a_fork_of_much_memory_takes_many_short_steps() {
    let mut world = World::with_memory(128 << 20);
    let app = world.program();
    let at = lazy_rw(app, &mut world, 1 << 30);
    for page in 0..2048 {
        assert!(app.write(&mut world, at + page * 37 * PAGE, &[1]));
    }
    let before = frames(&world);
    let ticket = app.submit(&mut world, args::SpaceFork {}.encode(0));
    app.push(&mut world);
    assert_eq!(app.result(&mut world, ticket), None, "it takes more than a step");
    world.run_until_idle();
    let space = app.result(&mut world, ticket).expect("it ends").unwrap();
    assert_eq!(frames(&world), before);
    app.call(&mut world, args::Close { fd: space }.encode(0)).unwrap();
    world.run_until_idle();
    assert!(app.write(&mut world, at, b"mine again"));
    assert_eq!(frames(&world), before);
}

#[test]
fn what_is_not_needed_is_given_back_and_what_will_be_is_made_ready() {
    let mut world = World::new();
    let app = world.program();
    let at = lazy_rw(app, &mut world, 1 << 30);
    let advise = |from: u64, pages: u64, advice| {
        args::Advise { space: CURRENT, address: at + from * PAGE, length: pages * PAGE, advice }.encode(0)
    };
    let (will, dont) = (args::advice::WILLNEED, args::advice::DONTNEED);
    let before = frames(&world);
    assert_eq!(app.call(&mut world, advise(2, 3, will)), Ok(0));
    assert_eq!(frames(&world), before + 3);
    let there = [1, 2, 3, 4, 5].map(|page| app.is_present(&mut world, at + page * PAGE));
    assert_eq!(there, [false, true, true, true, false]);
    assert!(app.write(&mut world, at + 3 * PAGE, b"old"));
    assert!(app.write(&mut world, at + 9 * PAGE, b"kept"));

    assert_eq!(app.call(&mut world, advise(0, 9, dont)), Ok(0));
    assert_eq!(frames(&world), before + 1);
    assert_eq!(app.read(&mut world, at + 3 * PAGE, 3).unwrap(), [0; 3], "no old bytes");
    assert_eq!(app.read(&mut world, at + 9 * PAGE, 4).unwrap(), b"kept");
    // Much that was never touched costs nothing to give up.
    assert_eq!(app.call(&mut world, advise(0, (1 << 30) / PAGE, dont)), Ok(0));
    assert_eq!(frames(&world), before);
    // More than there is, is made ready as far as it goes.
    assert_eq!(app.call(&mut world, advise(0, (1 << 30) / PAGE, will)), Ok(0));
    assert_eq!(app.call(&mut world, advise(0, (1 << 30) / PAGE, dont)), Ok(0));
    world.run_until_idle();
    assert_eq!(frames(&world), before);

    assert_eq!(app.call(&mut world, advise(0, (1 << 30) / PAGE + 1, dont)), Err(Errno::NOMEM), "not mapped");
    assert_eq!(app.call(&mut world, advise(0, 1, 77)), Err(Errno::INVAL));
}

#[test]
fn what_is_shared_stays_though_it_is_not_needed() {
    let mut world = World::new();
    let app = world.program();
    let flags = map::READ | map::WRITE | map::SHARED;
    let map = args::Map { space: CURRENT, address: 0, length: PAGE, flags }.encode(0);
    let at = app.call(&mut world, map).unwrap();
    assert!(app.write(&mut world, at, b"ours"));
    let dont = args::Advise { space: CURRENT, address: at, length: PAGE, advice: args::advice::DONTNEED };
    assert_eq!(app.call(&mut world, dont.encode(0)), Ok(0));
    assert_eq!(app.read(&mut world, at, 4).unwrap(), b"ours");
}
