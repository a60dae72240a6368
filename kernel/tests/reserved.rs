//! Reserved handle numbers: where the entries of a chain put a handle for those behind them.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::args::{self, CURRENT, LOWEST};
use ring_abi::layout::Sizes;
use ring_abi::{Errno, Opcode, Sqe, SqeFlags};
use world::{DATA, Daemon, FIRST, Program, Ticket, World};

const LINK: SqeFlags = SqeFlags::LINK;
const HARD: SqeFlags = SqeFlags::HARD_LINK;
const CANCELED: Result<u64, Errno> = Err(Errno::CANCELED);

fn scene() -> (World, Daemon, Program) {
    let mut world = World::new();
    let disk = world.daemon_with("disk", 4);
    let app = world.program_with(Sizes { sq: 4, cq: 4, service: None });
    world.run_until_idle();
    (world, disk, app)
}

fn reserve(fd: u64) -> Sqe {
    args::HandleReserve { fd, reserve: 1 }.encode(0)
}

fn give_back(fd: u64) -> Sqe {
    args::HandleReserve { fd, reserve: 0 }.encode(0)
}

/// The same entry, whose handle goes under this number.
fn at(number: u64, entry: Sqe) -> Sqe {
    Sqe { group: number as u16 + 1, ..entry }
}

fn open(world: &mut World, app: Program, path: &str) -> Sqe {
    let (buffer, length) = app.name(world, path);
    args::OpenAt { fd: CURRENT, buffer, length, flags: 0, capacity: 0 }.encode(0)
}

fn read(fd: u64) -> Sqe {
    args::Read { fd, buffer: DATA, length: 8, offset: 0 }.encode(0)
}

fn close(fd: u64) -> Sqe {
    args::Close { fd }.encode(0)
}

fn dup(fd: u64, target: u64) -> Sqe {
    args::HandleDup { fd, table: CURRENT, target, flags: 0 }.encode(0)
}

fn submit(world: &mut World, app: Program, entries: &[Sqe]) -> Vec<Ticket> {
    let tickets = entries.iter().map(|entry| app.submit(world, *entry)).collect();
    world.run_until_idle();
    tickets
}

fn results(world: &mut World, app: Program, tickets: &[Ticket]) -> Vec<Result<u64, Errno>> {
    world.run_until_idle();
    let done: Vec<_> = std::iter::from_fn(|| app.completion(world)).collect();
    let order: Vec<_> = done.iter().map(|(ticket, _)| *ticket).collect();
    assert_eq!(order, tickets, "{done:?}");
    done.into_iter().map(|(_, result)| result).collect()
}

#[test]
fn a_file_is_opened_read_and_closed_in_one_go() {
    let (mut world, disk, app) = scene();
    let number = app.call(&mut world, reserve(LOWEST)).unwrap();
    let before = world.accounts();
    for _ in 0..3 {
        let open = at(number, open(&mut world, app, "/scheme/disk/a"));
        let chain = [open.with_flags(LINK), read(number).with_flags(HARD), close(number)];
        let tickets = submit(&mut world, app, &chain);
        let request = disk.request(&mut world).unwrap();
        assert_eq!(request.opcode, Opcode::Read.raw());
        disk.fill(&mut world, &request, b"contents");
        disk.reply(&mut world, request, Ok(8));
        assert_eq!(results(&mut world, app, &tickets), [Ok(number), Ok(8), Ok(0)]);
        assert_eq!(app.peek(&mut world, DATA, 8), b"contents");
        assert_eq!(disk.closed(&mut world).len(), 1);
        assert_eq!(world.accounts(), before);
    }
    // The file is not there: nothing of the chain goes on, and nothing is left.
    let open = at(number, open(&mut world, app, "/scheme/none/a"));
    let tickets =
        submit(&mut world, app, &[open.with_flags(LINK), read(number).with_flags(HARD), close(number)]);
    assert_eq!(results(&mut world, app, &tickets), [Err(Errno::NODEV), CANCELED, CANCELED]);
    assert_eq!(world.accounts(), before);
}

#[test]
fn a_reserved_number_goes_to_nobody_else() {
    let (mut world, _, app) = scene();
    let free = app.call(&mut world, dup(0, LOWEST)).unwrap();
    assert_eq!(app.call(&mut world, reserve(free + 1)), Ok(free + 1));
    assert_eq!(app.call(&mut world, reserve(free + 1)), Err(Errno::BUSY), "it is reserved");
    assert_eq!(app.call(&mut world, reserve(free)), Err(Errno::BUSY), "a handle is there");
    assert_eq!(app.call(&mut world, reserve(4096)), Err(Errno::BADF));
    assert_eq!(app.call(&mut world, dup(0, LOWEST)), Ok(free + 2), "it is passed over");
    assert_eq!(app.call(&mut world, read(free + 1)), Err(Errno::BADF), "nothing is there");
    assert_eq!(app.call(&mut world, close(free + 1)), Err(Errno::BADF));
    // It stays reserved when a handle leaves it, and is free when it is given back.
    let table = args::TableCreate { copy: 0 }.encode(0);
    assert_eq!(app.call(&mut world, at(free + 1, table)), Ok(free + 1));
    assert_eq!(app.call(&mut world, at(free + 1, table)), Err(Errno::BUSY));
    assert_eq!(app.call(&mut world, close(free + 1)), Ok(0));
    assert_eq!(app.call(&mut world, dup(0, LOWEST)), Ok(free + 3));
    assert_eq!(app.call(&mut world, at(free + 1, table)), Ok(free + 1));
    assert_eq!(app.call(&mut world, give_back(free + 1)), Ok(free + 1));
    assert_eq!(app.call(&mut world, give_back(free + 1)), Err(Errno::BADF));
    assert_eq!(
        app.call(&mut world, args::HandleFlags { fd: free + 1, flags: u64::MAX }.encode(0)),
        Ok(0),
        "it stays"
    );
    assert_eq!(app.call(&mut world, close(free + 1)), Ok(0));
    assert_eq!(app.call(&mut world, at(free + 1, table)), Err(Errno::BADF), "not reserved");
    assert_eq!(app.call(&mut world, dup(0, LOWEST)), Ok(free + 1));
    world.check();
}

#[test]
fn only_what_makes_a_handle_names_one() {
    let (mut world, _, app) = scene();
    let number = app.call(&mut world, reserve(LOWEST)).unwrap();
    for entry in [args::Nop {}.encode(0), read(0), dup(0, LOWEST), close(0)] {
        assert_eq!(app.call(&mut world, at(number, entry)), Err(Errno::INVAL));
    }
    for entry in [
        args::SpaceCreate {}.encode(0),
        args::SpaceFork {}.encode(0),
        args::TableCreate { copy: 1 }.encode(0),
        open(&mut world, app, "/scheme/disk/a"),
    ] {
        let made = app.call(&mut world, at(number, entry));
        assert_eq!(made, Ok(number), "{entry:?}");
        // It may go on as work, and looks again then.
        assert_eq!(app.call(&mut world, at(number, entry)), Err(Errno::BUSY));
        assert_eq!(app.call(&mut world, close(number)), Ok(0));
        assert_eq!(app.call(&mut world, at(number + 7, entry)), Err(Errno::BADF));
    }
    let counters = open(&mut world, app, "/scheme/sys/counters");
    assert_eq!(app.call(&mut world, at(number, counters)), Ok(number));
    assert_eq!(
        app.call(&mut world, Sqe { group: u16::MAX, ..args::SpaceCreate {}.encode(0) }),
        Err(Errno::BADF)
    );
}

#[test]
fn a_number_that_is_given_back_or_taken_meanwhile_leaves_no_file_open() {
    for taken in [false, true] {
        let (mut world, disk, app) = scene();
        disk.obliging(&mut world, false);
        let number = app.call(&mut world, reserve(LOWEST)).unwrap();
        let open = at(number, open(&mut world, app, "/scheme/disk/a"));
        let tickets = submit(&mut world, app, &[open.with_flags(LINK), read(number)]);
        let request = disk.request(&mut world).unwrap();
        let other = if taken { at(number, args::SpaceCreate {}.encode(0)) } else { give_back(number) };
        assert_eq!(app.call(&mut world, other), Ok(number));
        disk.reply(&mut world, request, Ok(33));
        let error = if taken { Errno::BUSY } else { Errno::BADF };
        assert_eq!(results(&mut world, app, &tickets), [Err(error), CANCELED]);
        let closing = disk.request(&mut world).unwrap();
        assert_eq!((closing.opcode, closing.args[0]), (Opcode::CloseMsg.raw(), 33));
        world.check();
    }
}

#[test]
fn a_whole_program_is_made_in_one_go() {
    let (mut world, _, app) = scene();
    let [space, context] =
        [app.call(&mut world, reserve(LOWEST)), app.call(&mut world, reserve(LOWEST))].map(Result::unwrap);
    let flags = args::map::READ | args::map::WRITE | args::map::PRIVATE | args::map::FIXED;
    let create = args::ContextCreate {
        space,
        table: CURRENT,
        entry: 0x1000,
        stack: 0x2000,
        argument: 0,
        sizes_flags: u64::from(Sizes::SMALLEST.packed()),
    };
    let chain = [
        at(space, args::SpaceCreate {}.encode(0)),
        args::Map { space, address: 0x20_0000, length: 8192, flags }.encode(0),
        args::SpaceWrite { space, target: 0x20_0000, buffer: DATA, length: 4096 }.encode(0),
        at(context, create.encode(0)),
        args::ContextStart { context }.encode(0),
        args::ContextWait { context }.encode(0),
    ];
    let mut entries = chain.map(|entry| entry.with_flags(LINK));
    entries[5].flags = 0;
    let tickets = submit(&mut world, app, &entries);
    world.run_until("it has ended", |world| {
        world.owed(app) == 0 || {
            while let Some(cqe) = app.take(world, 0) {
                assert!(cqe.result().is_ok(), "{:?}", cqe.result());
            }
            world.owed(app) == 0
        }
    });
    assert_eq!(tickets.len(), 6);
}

#[test]
fn a_copy_of_a_table_has_the_same_numbers_reserved_and_an_exec_none() {
    let (mut world, _, app) = scene();
    let far = app.call(&mut world, reserve(200)).unwrap();
    let near = app.call(&mut world, reserve(LOWEST)).unwrap();
    let table = app.call(&mut world, args::TableCreate { copy: 1 }.encode(0)).unwrap();
    let into = |fd, target| args::HandleDup { fd, table, target, flags: 0 }.encode(0);
    let first = app.call(&mut world, into(0, LOWEST)).unwrap();
    assert_ne!(first, near, "it is reserved there too");
    // Fill the copy beyond it.
    for _ in 0..250 {
        assert_ne!(app.call(&mut world, into(0, LOWEST)), Ok(far));
    }
    app.call(&mut world, close(table)).unwrap();
    let space = FIRST.call(&mut world, args::SpaceCreate {}.encode(0)).unwrap();
    let [_, home] = world.home(app);
    FIRST
        .call(&mut world, args::HandleDup { fd: space, table: home, target: 20, flags: 0 }.encode(0))
        .unwrap();
    app.exec(&mut world, 20, Sizes { sq: 3, cq: 3, service: None });
    world.run_until("another program took its place", |world| world.replaced(app) == 1);
    assert_eq!(app.call(&mut world, give_back(far)), Err(Errno::BADF));
    assert_eq!(app.call(&mut world, dup(0, LOWEST)), Ok(near));
    world.check();
}

#[test]
fn a_table_with_nothing_but_reserved_numbers_ends() {
    let (mut world, _, _) = scene();
    let before = world.accounts();
    let app = world.program();
    for number in 100..164 {
        assert_eq!(app.call(&mut world, reserve(number)), Ok(number));
    }
    world.kill(app);
    world.forget(app);
    assert_eq!(world.accounts(), before);
    // The part of a table that had them is used again, and all its numbers are free.
    let app = world.program();
    let mut last = 0;
    for _ in 0..200 {
        let number = app.call(&mut world, dup(0, LOWEST)).unwrap();
        assert!(last == 0 || number == last + 1, "{number} after {last}");
        last = number;
    }
}
