//! Maps, rights, copies on write, and running out of memory.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::args::{self, CURRENT, map};
use ring_abi::boot::USER_END;
use ring_abi::context::{End, Reason};
use ring_abi::layout::Sizes;
use ring_abi::{Errno, Sqe};
use world::{DATA, FIRST, Program, World, read, write};

const PAGE: u64 = 4096;
const READ_WRITE: u64 = map::READ | map::WRITE;

fn map_at(address: u64, length: u64, flags: u64) -> Sqe {
    args::Map { space: CURRENT, address, length, flags }.encode(0)
}

fn unmap(address: u64, length: u64) -> Sqe {
    args::Unmap { space: CURRENT, address, length }.encode(0)
}

fn protect(address: u64, length: u64, rights: u64) -> Sqe {
    args::Protect { space: CURRENT, address, length, rights }.encode(0)
}

/// A program that was made only to make this mistake: how does it end?
fn dies(world: &mut World, mistake: impl FnOnce(&mut World, Program) -> bool) -> bool {
    let app = world.program();
    let lived = mistake(world, app);
    if lived {
        world.kill(app);
    } else {
        assert_eq!(world.end_of(app), End::Ended(Reason::PageFault));
    }
    world.forget(app);
    !lived
}

#[test]
fn fresh_memory_is_zero_and_ones_own() {
    let mut world = World::new();
    let (app, other) = (world.program(), world.program());
    let page = app.map(&mut world, 3 * PAGE);
    assert_eq!(page % PAGE, 0);
    assert!(page >= 0x1_0000, "nobody gets the lowest pages");
    assert_eq!(app.read(&mut world, page, 3 * 4096).unwrap(), vec![0; 3 * 4096]);
    assert!(app.write(&mut world, page + 4000, &[5; 4096]));
    assert_eq!(app.read(&mut world, page + 4000, 4096).unwrap(), [5; 4096]);
    app.call(&mut world, unmap(page, 3 * PAGE)).unwrap();
    let again = app.call(&mut world, map_at(page, 3 * PAGE, READ_WRITE | map::PRIVATE | map::FIXED)).unwrap();
    assert_eq!(again, page);
    assert_eq!(app.read(&mut world, page, 3 * 4096).unwrap(), vec![0; 3 * 4096], "no old bytes");
    assert!(!other.write(&mut world, page, b"x") || page == DATA);
}

#[test]
fn what_is_unmapped_or_protected_cannot_be_touched() {
    let mut world = World::new();
    assert!(dies(&mut world, |world, app| {
        let page = app.map(world, 2 * PAGE);
        assert!(app.write(world, page, b"here"));
        app.call(world, unmap(page, PAGE)).unwrap();
        assert!(app.write(world, page + PAGE, b"the second is still there"));
        app.read(world, page, 1).is_some()
    }));
    assert!(dies(&mut world, |world, app| {
        let page = app.map(world, PAGE);
        assert!(app.write(world, page, b"here"));
        app.call(world, protect(page, PAGE, map::READ)).unwrap();
        assert_eq!(app.read(world, page, 4).unwrap(), b"here");
        app.write(world, page, b"no")
    }));
    assert!(dies(&mut world, |world, app| {
        let page = app.map(world, PAGE);
        app.execute(world, page)
    }));
    assert!(dies(&mut world, |world, app| {
        let page = app.map(world, PAGE);
        assert!(app.write(world, page, b"code"));
        app.call(world, protect(page, PAGE, map::READ | map::EXECUTE)).unwrap();
        assert!(app.execute(world, page));
        app.write(world, page, b"no")
    }));
    assert!(!dies(&mut world, |world, app| {
        let page = app.map(world, PAGE);
        app.call(world, protect(page, PAGE, map::READ)).unwrap();
        app.call(world, protect(page, PAGE, READ_WRITE)).unwrap();
        app.write(world, page, b"again")
    }));
}

#[test]
fn wrong_maps_are_refused() {
    let mut world = World::new();
    let app = world.program();
    let bad = [
        map_at(0, 0, READ_WRITE | map::PRIVATE),
        map_at(1, PAGE, READ_WRITE | map::PRIVATE | map::FIXED),
        map_at(0, PAGE, READ_WRITE | map::EXECUTE | map::PRIVATE),
        map_at(0, PAGE, 1 << 40),
        protect(DATA, PAGE, READ_WRITE | map::EXECUTE),
        protect(DATA, PAGE, 1 << 40),
        unmap(DATA + 1, PAGE),
    ];
    for (number, sqe) in bad.into_iter().enumerate() {
        assert_eq!(app.call(&mut world, sqe), Err(Errno::INVAL), "{number}");
    }
    for (address, length) in [(0, u64::MAX), (1 << 46, 1 << 46), (0x7fff_ffff_f000, PAGE), (1 << 63, PAGE)] {
        let result = app.call(&mut world, map_at(address, length, READ_WRITE | map::PRIVATE | map::FIXED));
        assert!(result.is_err(), "{address:#x} {length:#x} gave {result:?}");
    }
    for address in [0, 0x1000, 0xf000] {
        let result = app.call(&mut world, map_at(address, PAGE, READ_WRITE | map::PRIVATE | map::FIXED));
        assert!(result.is_err(), "only the first space may map below 64 KiB: {result:?}");
    }
    let taken = map_at(DATA, PAGE, READ_WRITE | map::PRIVATE | map::FIXED_NOREPLACE);
    assert_eq!(app.call(&mut world, taken), Err(Errno::EXIST));
    assert_eq!(app.call(&mut world, protect(0x5000_0000, PAGE, map::READ)), Err(Errno::NOMEM));
    assert_eq!(app.call(&mut world, unmap(0x5000_0000, PAGE)), Ok(0), "nothing there is passed over");
}

#[test]
fn a_wish_for_a_place_is_kept_if_it_can_be() {
    let mut world = World::new();
    let app = world.program();
    let mut map = |address, length, flags| {
        app.call(&mut world, map_at(address, length, READ_WRITE | map::PRIVATE | flags))
    };
    let at = 0x7000_0000;
    assert_eq!(map(at, 3 * PAGE, 0), Ok(at));
    // Rounded down to a page.
    assert_eq!(map(at + 3 * PAGE + 5, PAGE, 0), Ok(at + 3 * PAGE));
    for taken in [at, at + PAGE, at - PAGE] {
        let other = map(taken, 2 * PAGE, 0).unwrap();
        assert!(other != taken && !(at - PAGE..at + 4 * PAGE).contains(&other), "{other:x}");
    }
    assert_eq!(map(at + 5 * PAGE, PAGE, map::GUARD), Ok(at + 5 * PAGE));
    // There is a guard page, and here is no place for one.
    assert_eq!(map(at + 4 * PAGE, PAGE, map::FIXED_NOREPLACE), Err(Errno::EXIST));
    assert_ne!(map(at + 6 * PAGE, PAGE, map::GUARD), Ok(at + 6 * PAGE));
    assert_eq!(map(at + 6 * PAGE, PAGE, 0), Ok(at + 6 * PAGE));
    // What nobody may have is not given, and is no error.
    for wild in [PAGE, USER_END - PAGE, 1 << 62, u64::MAX] {
        let other = map(wild, 2 * PAGE, 0).unwrap();
        assert!(other > PAGE && other < USER_END - PAGE, "{other:x}");
    }
}

#[test]
fn mapping_and_unmapping_gives_everything_back() {
    let mut world = World::new();
    let app = world.program();
    let round = |world: &mut World| {
        for pages in [1, 2, 7, 600, 1500] {
            let at = app.map(world, pages * PAGE);
            assert!(app.write(world, at + (pages - 1) * PAGE, b"last"));
            app.call(world, unmap(at, pages * PAGE)).unwrap();
        }
        world.run_until_idle();
    };
    round(&mut world);
    let before = world.accounts();
    round(&mut world);
    assert_eq!(world.accounts(), before);
}

#[test]
fn a_hole_in_the_middle_leaves_both_ends() {
    let mut world = World::new();
    let app = world.program();
    let at = app.map(&mut world, 9 * PAGE);
    for page in 0..9 {
        app.write(&mut world, at + page * PAGE, &[page as u8 + 1]);
    }
    app.call(&mut world, unmap(at + 3 * PAGE, 2 * PAGE)).unwrap();
    app.call(&mut world, protect(at + 6 * PAGE, PAGE, map::READ)).unwrap();
    for page in [0, 1, 2, 5, 6, 7, 8] {
        assert_eq!(app.read(&mut world, at + page * PAGE, 1).unwrap(), [page as u8 + 1]);
    }
    assert!(!app.is_present(&mut world, at + 3 * PAGE));
    assert!(!app.is_present(&mut world, at + 4 * PAGE));
    let back = map_at(at + 3 * PAGE, 2 * PAGE, READ_WRITE | map::PRIVATE | map::FIXED_NOREPLACE);
    assert_eq!(app.call(&mut world, back), Ok(at + 3 * PAGE));
    assert_eq!(app.call(&mut world, unmap(at, 9 * PAGE)), Ok(0));
}

#[test]
fn memory_that_is_gone_at_the_reply_is_an_error() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let fd = app.open(&mut world, "/scheme/disk/a");
    let page = app.map(&mut world, PAGE);
    // The ring remembers the page from here on.
    for round in 0..3 {
        let ticket = app.submit(&mut world, read(fd, page, 8));
        world.run_until_idle();
        let request = disk.request(&mut world).unwrap();
        disk.fill(&mut world, &request, &[round; 8]);
        disk.reply(&mut world, request, Ok(8));
        world.run_until_idle();
        assert_eq!(app.result(&mut world, ticket), Some(Ok(8)));
        assert_eq!(app.read(&mut world, page, 8).unwrap(), [round; 8]);
    }
    for change in [unmap(page, PAGE), protect(page, PAGE, map::READ)] {
        let ticket = app.submit(&mut world, read(fd, page, 8));
        world.run_until_idle();
        let request = disk.request(&mut world).unwrap();
        app.call(&mut world, change).unwrap();
        disk.reply(&mut world, request, Ok(8));
        world.run_until_idle();
        assert_eq!(app.result(&mut world, ticket), Some(Err(Errno::FAULT)));
        let anew = map_at(page, PAGE, READ_WRITE | map::PRIVATE | map::FIXED);
        assert_eq!(app.call(&mut world, anew), Ok(page));
        assert_eq!(app.read(&mut world, page, 8).unwrap(), [0; 8]);
    }
    // Mapped anew, the bytes go to the new page and not to the remembered one.
    let ticket = app.submit(&mut world, read(fd, page, 8));
    world.run_until_idle();
    let request = disk.request(&mut world).unwrap();
    app.call(&mut world, unmap(page, PAGE)).unwrap();
    let spoiler = app.map(&mut world, PAGE);
    let anew = map_at(page, PAGE, READ_WRITE | map::PRIVATE | map::FIXED);
    app.call(&mut world, anew).unwrap_or(spoiler);
    disk.fill(&mut world, &request, &[9; 8]);
    disk.reply(&mut world, request, Ok(8));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, ticket), Some(Ok(8)));
    assert_eq!(app.read(&mut world, page, 8).unwrap(), [9; 8]);
}

#[test]
fn reading_into_memory_that_cannot_be_written_is_an_error() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let fd = app.open(&mut world, "/scheme/disk/a");
    let page = app.map(&mut world, PAGE);
    app.write(&mut world, page, b"constant");
    app.call(&mut world, protect(page, PAGE, map::READ)).unwrap();
    let ticket = app.submit(&mut world, read(fd, page, 8));
    world.run_until_idle();
    if let Some(request) = disk.request(&mut world) {
        disk.reply(&mut world, request, Ok(8));
        world.run_until_idle();
    }
    assert_eq!(app.result(&mut world, ticket), Some(Err(Errno::FAULT)));
    let ticket = app.submit(&mut world, write(fd, page, 8));
    world.run_until_idle();
    let request = disk.request(&mut world).expect("reading from it is allowed");
    assert_eq!(disk.payload(&mut world, &request), b"constant");
    disk.reply(&mut world, request, Ok(8));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, ticket), Some(Ok(8)));
}

/// A copy of a program's space with a context in it.
fn fork(world: &mut World, parent: Program) -> Program {
    let space = parent.call(world, args::SpaceFork {}.encode(0)).expect("there is memory");
    let table = parent.call(world, args::TableCreate { copy: 1 }.encode(0)).expect("there is memory");
    let child = world.context(parent, space, table, Sizes::SMALLEST);
    for fd in [space, table] {
        parent.call(world, args::Close { fd }.encode(0)).unwrap();
    }
    child
}

#[test]
fn a_fork_sees_what_was_there_and_not_what_comes() {
    let mut world = World::new();
    let parent = world.program();
    let page = parent.map(&mut world, 2 * PAGE);
    parent.write(&mut world, page, b"before");
    let child = fork(&mut world, parent);
    assert_eq!(child.read(&mut world, page, 6).unwrap(), b"before");
    parent.write(&mut world, page, b"parent");
    assert_eq!(child.read(&mut world, page, 6).unwrap(), b"before");
    child.write(&mut world, page, b"child!");
    assert_eq!(parent.read(&mut world, page, 6).unwrap(), b"parent");
    assert_eq!(child.read(&mut world, page, 6).unwrap(), b"child!");
    world.kill(child);
    assert!(parent.write(&mut world, page, b"alone"), "the last holder writes in place");
    assert_eq!(parent.read(&mut world, page, 6).unwrap(), b"alonet");
}

#[test]
fn shared_memory_stays_shared_over_a_fork() {
    let mut world = World::new();
    let parent = world.program();
    let page = parent.call(&mut world, map_at(0, PAGE, READ_WRITE | map::SHARED)).unwrap();
    let child = fork(&mut world, parent);
    child.write(&mut world, page, b"from the child");
    assert_eq!(parent.read(&mut world, page, 14).unwrap(), b"from the child");
    parent.write(&mut world, page, b"from the parent");
    assert_eq!(child.read(&mut world, page, 15).unwrap(), b"from the parent");
    // A futex there is one word for both.
    let wait = args::FutexWait { address: page + 64, expected: 0, deadline: u64::MAX };
    let ticket = parent.submit(&mut world, wait.encode(0));
    parent.push(&mut world);
    let wake = args::FutexWake { address: page + 64, count: 1 };
    assert_eq!(child.call(&mut world, wake.encode(0)), Ok(1));
    assert_eq!(parent.result(&mut world, ticket), Some(Ok(0)));
}

#[test]
fn the_kernel_breaks_a_copy_on_write_page_as_a_fault_would() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let parent = world.program();
    let fd = parent.open(&mut world, "/scheme/disk/a");
    let page = parent.map(&mut world, PAGE);
    parent.write(&mut world, page, b"original");
    // The ring has the page in its cache before the fork.
    for (round, late) in [(1, false), (2, true)] {
        let mut ticket = parent.submit(&mut world, read(fd, page + 8, 4));
        world.run_until_idle();
        let mut request = disk.request(&mut world).unwrap();
        if !late {
            disk.reply(&mut world, request, Ok(4));
            world.run_until_idle();
            assert_eq!(parent.result(&mut world, ticket), Some(Ok(4)));
        }
        let child = fork(&mut world, parent);
        if !late {
            ticket = parent.submit(&mut world, read(fd, page, 8));
            world.run_until_idle();
            request = disk.request(&mut world).unwrap();
        }
        let before = child.read(&mut world, page, 16).unwrap();
        disk.fill(&mut world, &request, &[round; 4]);
        disk.reply(&mut world, request, Ok(4));
        world.run_until_idle();
        assert_eq!(parent.result(&mut world, ticket), Some(Ok(4)));
        assert_eq!(child.read(&mut world, page, 16).unwrap(), before, "round {round}");
        let at = if late { page + 8 } else { page };
        assert_eq!(parent.read(&mut world, at, 4).unwrap(), [round; 4]);
        world.kill(child);
    }
}

#[test]
fn a_fork_inherits_no_ring() {
    let mut world = World::new();
    let parent = world.program();
    let ring = world.ring(parent, 0).address;
    let child = fork(&mut world, parent);
    let address = world.ring(child, 0).address;
    if address == ring {
        assert_ne!(
            world.ring(child, 0).view.address(),
            world.ring(parent, 0).view.address(),
            "the child's ring is its own"
        );
    } else {
        assert!(!child.is_present(&mut world, ring), "there is a hole where the ring was");
    }
    // Operations in flight stay the parent's.
    let ticket = parent.submit(&mut world, args::Timeout { nanoseconds: 100, flags: 0 }.encode(0));
    parent.push(&mut world);
    let second = fork(&mut world, parent);
    world.advance(1 << 30);
    world.run_until_idle();
    assert_eq!(parent.result(&mut world, ticket), Some(Ok(0)));
    assert_eq!(second.completion(&mut world), None);
}

#[test]
fn forks_and_ends_give_everything_back() {
    let mut world = World::new();
    let parent = world.program();
    let page = parent.map(&mut world, 20 * PAGE);
    for number in 0..20 {
        parent.write(&mut world, page + number * PAGE, &[number as u8]);
    }
    let round = |world: &mut World| {
        let child = fork(world, parent);
        for number in 0..20 {
            child.write(world, page + number * PAGE, &[7]);
            parent.write(world, page + (19 - number) * PAGE, &[9]);
        }
        world.kill(child);
        world.forget(child);
        world.run_until_idle();
    };
    round(&mut world);
    let before = world.accounts();
    for _ in 0..5 {
        round(&mut world);
    }
    assert_eq!(world.accounts(), before);
}

#[test]
fn another_space_can_be_filled_before_it_runs() {
    let mut world = World::new();
    let app = world.program();
    let space = app.call(&mut world, args::SpaceCreate {}.encode(0)).unwrap();
    let flags = map::READ | map::EXECUTE | map::PRIVATE | map::FIXED;
    let there = args::Map { space, address: 0x2000_0000, length: 2 * PAGE, flags };
    assert_eq!(app.call(&mut world, there.encode(0)), Ok(0x2000_0000));
    app.write(&mut world, DATA, &[0xc3; 6000]);
    let fill = args::SpaceWrite { space, target: 0x2000_0000 + 1000, buffer: DATA, length: 6000 };
    assert!(app.call(&mut world, fill.encode(0)).is_ok());
    let beyond = args::SpaceWrite { space, target: 0x2000_0000 + PAGE, buffer: DATA, length: 6000 };
    assert_eq!(app.call(&mut world, beyond.encode(0)), Err(Errno::FAULT));
    let table = app.call(&mut world, args::TableCreate { copy: 0 }.encode(0)).unwrap();
    let child = world.context(app, space, table, Sizes::SMALLEST);
    assert_eq!(child.read(&mut world, 0x2000_0000 + 999, 3).unwrap(), [0, 0xc3, 0xc3]);
    assert!(child.execute(&mut world, 0x2000_0000 + 1000));
}

#[test]
fn more_than_there_is_is_refused_and_the_system_goes_on() {
    let mut world = World::with_memory(8 << 20);
    let app = world.program();
    let at_once = READ_WRITE | map::PRIVATE | map::POPULATE;
    for length in [64 << 20, 1 << 40] {
        assert_eq!(app.call(&mut world, map_at(0, length, at_once)), Err(Errno::NOMEM));
        world.run_until_idle();
    }
    let mut maps = Vec::new();
    loop {
        match app.call(&mut world, map_at(0, 64 * PAGE, at_once)) {
            Ok(at) => maps.push(at),
            Err(error) => break assert_eq!(error, Errno::NOMEM),
        }
    }
    assert!(maps.len() > 10);
    for at in maps {
        app.call(&mut world, unmap(at, 64 * PAGE)).unwrap();
    }
    world.run_until_idle();
    assert!(app.map(&mut world, PAGE) > 0);
}

#[test]
fn programs_are_made_until_memory_ends_and_ended_without_a_trace() {
    let mut world = World::with_memory(8 << 20);
    world.audit_every = 16;
    let fill = |world: &mut World| {
        let mut made = Vec::new();
        while made.len() < 2000 {
            let create = args::ContextCreate {
                space: CURRENT,
                table: CURRENT,
                entry: 0x40_0000,
                stack: 0x8000,
                argument: 0,
                sizes_flags: u64::from(Sizes { sq: 8, cq: 8, service: None }.packed()),
            };
            match FIRST.call(world, create.encode(0)) {
                Ok(context) => made.push(context),
                Err(error) => {
                    assert_eq!(error, Errno::NOMEM);
                    break;
                }
            }
        }
        assert!(made.len() > 20 && made.len() < 2000, "{}", made.len());
        for context in made {
            FIRST.call(world, args::ContextKill { context }.encode(0)).unwrap();
            FIRST.call(world, args::Close { fd: context }.encode(0)).unwrap();
        }
        world.run_until_idle();
    };
    fill(&mut world);
    let before = world.accounts();
    fill(&mut world);
    assert_eq!(world.accounts(), before);
}

#[test]
fn every_growth_that_fails_is_an_error_and_nothing_worse() {
    for growths in 0..40 {
        let mut world = World::new();
        let disk = world.daemon("disk");
        let app = world.program_with(Sizes { sq: 8, cq: 8, service: None });
        let fd = app.open(&mut world, "/scheme/disk/a");
        world.machine().fail_after(Some(growths));
        for number in 0..200 {
            let sqe = match number % 4 {
                0 => args::Read { fd, buffer: DATA, length: 8, offset: 0 }.encode(0),
                1 => args::Timeout { nanoseconds: 1 << 50, flags: 0 }.encode(0),
                2 => {
                    args::FutexWait { address: DATA + number * 4, expected: 0, deadline: u64::MAX }.encode(0)
                }
                _ => {
                    map_at(DATA + (1 << 30) + number * 8 * PAGE, PAGE, READ_WRITE | map::PRIVATE | map::FIXED)
                }
            };
            app.submit(&mut world, sqe);
        }
        world.run_until_idle();
        while let Some((_, result)) = app.completion(&mut world) {
            assert!(matches!(result, Ok(_) | Err(Errno::NOMEM)), "{result:?}");
        }
        world.machine().fail_after(None);
        while let Some(request) = disk.request(&mut world) {
            disk.reply(&mut world, request, Ok(0));
            world.run_until_idle();
        }
        world.advance(1 << 50);
        world.kill(app);
    }
}
