//! Rights that a context gave up, and everything that one would try to get them back.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use kernel::context::bounds::SHORT;
use ring_abi::args::{self, CURRENT, LOWEST, restrict};
use ring_abi::layout::Sizes;
use ring_abi::{Errno, Opcode, Sqe, SqeFlags, enter, registered};
use world::{DATA, FIRST, Mode, Program, World, is_message, read};

/// An entry that allows these opcodes and no flags.
fn only(opcodes: &[Opcode]) -> args::Restrict {
    let all = opcodes.iter().fold(0_u128, |all, opcode| all | 1 << opcode.raw());
    args::Restrict { low: all as u64, high: (all >> 64) as u64, sqe_flags: 0, handles: 0, flags: 0 }
}

/// An entry that forbids these opcodes alone.
fn all_but(opcodes: &[Opcode]) -> args::Restrict {
    let args::Restrict { low, high, .. } = only(opcodes);
    args::Restrict { low: !low, high: !high, sqe_flags: 0xff, handles: 0, flags: 0 }
}

fn everything() -> args::Restrict {
    args::Restrict { low: u64::MAX, high: u64::MAX, sqe_flags: 0xff, handles: 0, flags: 0 }
}

fn restrict(world: &mut World, program: Program, args: args::Restrict) {
    assert_eq!(program.call(world, args.encode(0)), Ok(0));
}

fn nop() -> Sqe {
    args::Nop {}.encode(0)
}

fn may_nop(world: &mut World, program: Program, ring: usize) -> bool {
    match program.call_on(world, ring, nop()) {
        Ok(0) => true,
        Err(Errno::ACCES) => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_listed_is_refused_and_does_nothing() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let fd = app.open(&mut world, "/scheme/disk/a");
    restrict(&mut world, app, only(&[Opcode::Nop, Opcode::Fsize]));
    for number in 0..=u8::MAX {
        let listed = [Opcode::Nop, Opcode::Fsize].iter().any(|opcode| opcode.raw() == number);
        if listed {
            continue;
        }
        let sqe = Sqe { opcode: number, flags: 0, group: 0, tag: 0, args: [fd, 0, 0, 0, 0, 0], caller: 0 };
        let wanted = if number < 128 { Errno::ACCES } else { Errno::INVAL };
        assert_eq!(app.call(&mut world, sqe), Err(wanted), "opcode {number}");
    }
    assert!(may_nop(&mut world, app, 0));
    let size = app.submit(&mut world, args::Fsize { fd }.encode(0));
    world.run_until_idle();
    let request = disk.request(&mut world).expect("what is listed goes on, and the handle is still open");
    disk.reply(&mut world, request, Ok(5));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, size), Some(Ok(5)));
    assert_eq!(disk.closed(&mut world), []);
}

#[test]
fn no_order_leads_around() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program_with(Sizes { sq: 5, cq: 5, service: None });
    let fd = app.open(&mut world, "/scheme/disk/a");
    let reserve = args::HandleReserve { fd: 12, reserve: 1 };
    assert_eq!(app.call(&mut world, reserve.encode(0)), Ok(12));
    let orders = SqeFlags::ORDER.bits();
    restrict(
        &mut world,
        app,
        args::Restrict { sqe_flags: orders.into(), ..only(&[Opcode::Timeout, Opcode::HandleReserve]) },
    );
    let allowed = args::Timeout { nanoseconds: 0, flags: 0 }.encode(0);
    let wake = args::FutexWake { address: DATA, count: 1 }.encode(0);
    let fresh = Sqe { group: 13, ..args::RingHandle { ring: CURRENT, tag: 0, flags: 0 }.encode(0) };
    for sqe in [nop(), read(fd, DATA, 8), wake, fresh] {
        for order in [SqeFlags::LINK, SqeFlags::HARD_LINK, SqeFlags::DRAIN, SqeFlags::SKIP_SUCCESS] {
            // What is forbidden comes first, last, and among its like.
            for entries in [
                vec![sqe.with_flags(order), sqe],
                vec![allowed.with_flags(SqeFlags::HARD_LINK), sqe],
                vec![sqe.with_flags(order), sqe.with_flags(order), sqe],
                vec![sqe; 6],
            ] {
                let tickets: Vec<_> = entries
                    .into_iter()
                    .map(|entry| (app.submit(&mut world, entry), entry.opcode == sqe.opcode))
                    .collect();
                app.enter(&mut world, 0, 100, 0, 0, enter::NO_DEADLINE);
                world.run_until_idle();
                let mut refused = 0;
                for (ticket, is_forbidden) in tickets {
                    let result = app.result(&mut world, ticket).expect("each is answered");
                    if is_forbidden {
                        let is_refused = matches!(result, Err(Errno::ACCES | Errno::CANCELED));
                        assert!(is_refused, "{sqe:?} {order:?}: {result:?}");
                    }
                    refused += usize::from(result == Err(Errno::ACCES));
                }
                assert!(refused > 0, "{sqe:?} {order:?}");
            }
        }
    }
    let chosen = read(fd, DATA, 8).with_flags(SqeFlags::BUFFER_SELECT);
    assert_eq!(app.call(&mut world, chosen), Err(Errno::ACCES));
    assert_eq!(disk.request(&mut world), None);
}

#[test]
fn no_short_road_leads_around() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program_with(Sizes { sq: 5, cq: 5, service: None });
    let fd = app.open(&mut world, "/scheme/disk/a");
    // What the roads remember of a ring in use is there.
    for _ in 0..3 {
        app.submit(&mut world, nop());
        app.wait(&mut world, 1);
        assert!(app.completion(&mut world).is_some());
    }
    restrict(&mut world, app, only(&[Opcode::Timeout]));
    let refused = |world: &mut World, count: usize| {
        for _ in 0..count {
            let (_, result) = app.completion(world).expect("it is answered");
            assert_eq!(result, Err(Errno::ACCES));
        }
        assert_eq!(app.completion(world), None);
    };
    let rd = read(fd, DATA, 8);
    for round in 0..4 {
        for sqe in [nop(), rd] {
            // Alone with a wait, alone without, and many.
            for (count, min, flags) in [(1, 1, enter::COMPLETIONS), (1, 0, 0), (20, 3, enter::COMPLETIONS)] {
                for _ in 0..count {
                    app.submit(&mut world, sqe);
                }
                app.enter(&mut world, 0, 100, min, flags, enter::NO_DEADLINE);
                assert_eq!(world.mode(app), Mode::Own, "round {round}");
                refused(&mut world, count);
            }
        }
        // Mixed, with an allowed one between.
        let allowed = args::Timeout { nanoseconds: 0, flags: 0 }.encode(0);
        let tickets = [nop(), rd, allowed, rd, nop()].map(|sqe| app.submit(&mut world, sqe));
        app.push(&mut world);
        let results = tickets.map(|ticket| app.result(&mut world, ticket).unwrap());
        let no = Err(Errno::ACCES);
        assert_eq!(results, [no, no, Ok(0), no, no]);
    }
    assert!(disk.request(&mut world).is_none(), "the daemon was asked nothing");
}

#[test]
fn what_follows_in_the_same_entry_is_bound() {
    let mut world = World::new();
    let app = world.program_with(Sizes { sq: 5, cq: 5, service: None });
    let before = app.submit(&mut world, nop());
    let restricts = app.submit(&mut world, only(&[Opcode::Restrict]).encode(0));
    let behind: Vec<_> =
        [nop(), nop(), read(0, DATA, 1), nop()].into_iter().map(|sqe| app.submit(&mut world, sqe)).collect();
    app.push(&mut world);
    assert_eq!(app.result(&mut world, before), Some(Ok(0)));
    assert_eq!(app.result(&mut world, restricts), Some(Ok(0)));
    for ticket in behind {
        assert_eq!(app.result(&mut world, ticket), Some(Err(Errno::ACCES)));
    }
}

#[test]
fn a_message_does_not_open_the_short_roads() {
    let mut world = World::new();
    let app = world.program();
    let door = args::RingHandle { ring: CURRENT, tag: 0, flags: 0 }.encode(0);
    let fd = app.call(&mut world, door).unwrap();
    let other = world.thread(app, Sizes::SMALLEST);
    restrict(&mut world, app, only(&[]));
    for _ in 0..20 {
        let send = args::MessageSend { fd, tag: 9, value: 1, extra: 0, deadline: 0 }.encode(0);
        assert_eq!(other.call(&mut world, send), Ok(0));
        let sqe = nop();
        app.submit(&mut world, sqe);
        app.enter(&mut world, 0, 1, 1, enter::COMPLETIONS, enter::NO_DEADLINE);
        while let Some(cqe) = app.take(&mut world, 0) {
            assert!(is_message(&cqe) || cqe.result() == Err(Errno::ACCES), "{cqe:?}");
        }
    }
}

#[test]
fn a_context_that_may_nop_and_read_keeps_its_short_roads() {
    let mut world = World::new();
    let app = world.program();
    restrict(&mut world, app, only(&[Opcode::Nop, Opcode::Read]));
    assert!(may_nop(&mut world, app, 0));
    assert_eq!(app.call(&mut world, read(99, DATA, 1)), Err(Errno::BADF), "the read's own answer");
    assert_eq!(app.call(&mut world, args::Close { fd: 0 }.encode(0)), Err(Errno::ACCES));
}

#[test]
fn rights_never_come_back() {
    let mut world = World::new();
    let app = world.program();
    restrict(&mut world, app, all_but(&[Opcode::Nop]));
    assert!(!may_nop(&mut world, app, 0));
    restrict(&mut world, app, everything());
    assert!(!may_nop(&mut world, app, 0));
    restrict(&mut world, app, only(&[Opcode::Nop, Opcode::Restrict, Opcode::Close]));
    assert!(!may_nop(&mut world, app, 0));
    assert_eq!(app.call(&mut world, args::Close { fd: 99 }.encode(0)), Err(Errno::BADF));
    restrict(&mut world, app, only(&[]));
    assert_eq!(app.call(&mut world, everything().encode(0)), Err(Errno::ACCES));
}

#[test]
fn flags_are_listed_too() {
    let mut world = World::new();
    let app = world.program();
    let with = |flag: SqeFlags| nop().with_flags(flag);
    let mut some = everything();
    some.sqe_flags = u64::from(SqeFlags::DRAIN.bits());
    restrict(&mut world, app, some);
    assert!(may_nop(&mut world, app, 0));
    for flag in SqeFlags::all().iter().filter(|flag| !flag.intersects(SqeFlags::DRAIN)) {
        let sqe = with(flag | SqeFlags::DRAIN);
        let ticket = app.submit(&mut world, sqe);
        app.push(&mut world);
        assert_eq!(app.result(&mut world, ticket), Some(Err(Errno::ACCES)), "{flag:?}");
    }
    let wide = args::Restrict { sqe_flags: 0x100, ..everything() };
    assert_eq!(app.call(&mut world, wide.encode(0)), Err(Errno::INVAL));
    let unknown = args::Restrict { flags: 4, ..everything() };
    assert_eq!(app.call(&mut world, unknown.encode(0)), Err(Errno::INVAL));
}

#[test]
fn further_rings_are_bound_small_and_large() {
    for sizes in [Sizes::SMALLEST, Sizes { sq: 9, cq: 9, service: Some(9) }] {
        let mut world = World::new();
        let app = world.program();
        let before = app.ring(&mut world, Sizes::SMALLEST);
        assert!(may_nop(&mut world, app, before));
        restrict(&mut world, app, all_but(&[Opcode::Nop]));
        assert!(!may_nop(&mut world, app, before), "the one that it had");
        let ring = app.ring(&mut world, sizes);
        for _ in 0..3 {
            assert!(!may_nop(&mut world, app, ring), "the one that it made");
        }
    }
}

/// A bound program with handles to its space and table, which it may make contexts of.
fn bound(world: &mut World) -> Program {
    let app = world.program();
    restrict(world, app, all_but(&[Opcode::Nop]));
    app
}

#[test]
fn contexts_that_it_makes_are_bound_and_so_are_theirs() {
    for sizes in [Sizes::SMALLEST, Sizes { sq: 9, cq: 9, service: Some(9) }] {
        let mut world = World::new();
        let app = bound(&mut world);
        let child = world.context(app, CURRENT, CURRENT, sizes);
        assert!(!may_nop(&mut world, child, 0));
        let grandchild = world.context(child, CURRENT, CURRENT, sizes);
        assert!(!may_nop(&mut world, grandchild, 0));
        // Its parent's, which share the space, are not.
        let thread = world.thread(app, sizes);
        assert!(may_nop(&mut world, thread, 0));
    }
}

#[test]
fn whoever_runs_in_a_space_that_it_made_is_bound() {
    let mut world = World::new();
    let app = bound(&mut world);
    let other = world.thread(app, Sizes::SMALLEST);
    for make in [args::SpaceCreate {}.encode(0), args::SpaceFork {}.encode(0)] {
        let space = app.call(&mut world, make).expect("there is memory");
        let child = world.context(other, space, CURRENT, Sizes::SMALLEST);
        assert!(!may_nop(&mut world, child, 0), "its maker is free, its space is not");
    }
    assert!(may_nop(&mut world, other, 0));

    // To go on as another program in such a space binds too; and a bound one stays bound in a free space.
    let space = app.call(&mut world, args::SpaceCreate {}.encode(0)).unwrap();
    let alone = world.program();
    let table = world.home(alone)[1];
    let lent = world.home(app)[1];
    let lent = args::HandleDup { fd: table, table: lent, target: LOWEST, flags: 0 };
    let table = FIRST.call(&mut world, lent.encode(0)).unwrap();
    let lent = args::HandleDup { fd: space, table, target: LOWEST, flags: 0 };
    let space = app.call(&mut world, lent.encode(0)).unwrap();
    alone.exec(&mut world, space, Sizes::SMALLEST);
    assert!(!may_nop(&mut world, alone, 0));

    let free = FIRST.call(&mut world, args::SpaceCreate {}.encode(0)).unwrap();
    let table = world.home(app)[1];
    let lent = args::HandleDup { fd: free, table, target: LOWEST, flags: 0 };
    let free = FIRST.call(&mut world, lent.encode(0)).unwrap();
    world.give_cpu(app);
    app.exec(&mut world, free, Sizes { sq: 9, cq: 9, service: None });
    world.run_until("it goes on", |world| world.mode(app) == Mode::Own);
    assert!(!may_nop(&mut world, app, 0));
}

#[test]
fn rights_of_two_origins_are_both_missing() {
    let mut world = World::new();
    let app = bound(&mut world);
    let space = app.call(&mut world, args::SpaceCreate {}.encode(0)).unwrap();
    let other = world.thread(app, Sizes::SMALLEST);
    restrict(&mut world, other, all_but(&[Opcode::Close]));
    let child = world.context(other, space, CURRENT, Sizes::SMALLEST);
    assert!(!may_nop(&mut world, child, 0));
    assert_eq!(child.call(&mut world, args::Close { fd: 99 }.encode(0)), Err(Errno::ACCES));
    assert_eq!(child.call(&mut world, args::Fsize { fd: 99 }.encode(0)), Err(Errno::BADF));
}

#[test]
fn only_listed_handles_are_left() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let thread = world.thread(app, Sizes::SMALLEST);
    let files: Vec<_> = (0..70).map(|_| app.open(&mut world, "/scheme/disk/a")).collect();
    let (kept, lost) = (files[3], files[4]);
    let keep = args::Restrict { handles: 1 << kept, flags: restrict::HANDLES, ..everything() };
    restrict(&mut world, app, keep);
    for fd in 0..200 {
        let flags = args::HandleFlags { fd, flags: u64::MAX }.encode(0);
        let wanted = if fd == kept { Ok(0) } else { Err(Errno::BADF) };
        assert_eq!(app.call(&mut world, flags), wanted, "handle {fd}");
    }
    // What it makes of the one that it has is its own; the others are in no table that it can reach.
    let dup = |fd| args::HandleDup { fd, table: CURRENT, target: LOWEST, flags: 0 }.encode(0);
    assert_eq!(app.call(&mut world, dup(kept)), Ok(0));
    assert_eq!(app.call(&mut world, dup(lost)), Err(Errno::BADF));
    let copy = app.call(&mut world, args::TableCreate { copy: 1 }.encode(0)).unwrap();
    let heir = world.context(app, CURRENT, copy, Sizes::SMALLEST);
    assert_eq!(heir.call(&mut world, dup(lost)), Err(Errno::BADF));
    assert_eq!(heir.call(&mut world, dup(kept)), Ok(1));
    // Nor does it take part in the table that it had.
    let later = thread.open(&mut world, "/scheme/disk/b");
    assert_eq!(
        app.call(&mut world, args::HandleFlags { fd: later, flags: u64::MAX }.encode(0)),
        Err(Errno::BADF)
    );
    assert_eq!(thread.call(&mut world, args::Close { fd: kept }.encode(0)), Ok(0));
    world.run_until_idle();
    assert_eq!(disk.closed(&mut world), [], "it is still held");
    assert_eq!(app.call(&mut world, args::HandleFlags { fd: kept, flags: u64::MAX }.encode(0)), Ok(0));
    // The capabilities that it had are gone as well.
    let (buffer, length) = app.name(&mut world, "mine");
    let register = args::SchemeRegister { buffer, length, slot: 512, namespace: CURRENT, root: 0 };
    assert_eq!(app.call(&mut world, register.encode(0)), Err(Errno::PERM));
}

#[test]
fn nothing_in_flight_brings_a_handle_into_the_new_table() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    disk.obliging(&mut world, false);
    let (buffer, length) = app.name(&mut world, "/scheme/disk/late");
    let open = args::OpenAt { fd: CURRENT, buffer, length, flags: 0, capacity: 0 }.encode(0);
    let late = app.submit(&mut world, open);
    world.run_until_idle();
    let keep = args::Restrict { handles: 0, flags: restrict::HANDLES, ..everything() };
    assert_eq!(app.call(&mut world, keep.encode(0)), Err(Errno::BUSY));
    assert!(may_nop(&mut world, app, 0), "an error changes nothing");
    // Cancelled by force: the daemon still has it, and opens the file for nobody.
    let cancel = args::CancelTag { tag: late.0, strength: args::Strength::Force as u32, grace: 0 };
    assert_eq!(app.call(&mut world, cancel.encode(0)), Ok(1));
    assert_eq!(app.call(&mut world, keep.encode(0)), Ok(0));
    let request = disk.request(&mut world).expect("it has the open");
    disk.reply(&mut world, request, Ok(100));
    world.run_until_idle();
    for fd in 0..64 {
        let flags = args::HandleFlags { fd, flags: u64::MAX }.encode(0);
        assert_eq!(app.call(&mut world, flags), Err(Errno::BADF), "handle {fd}");
    }
}

#[test]
fn without_names_only_what_lies_below_its_directories_is_found() {
    let mut world = World::new();
    world.daemon("disk");
    let app = world.program();
    let directory = app.open(&mut world, "/scheme/disk/dir");
    restrict(&mut world, app, args::Restrict { flags: restrict::NO_NAMES, ..everything() });
    for path in ["/scheme/disk/a", "/scheme/sys/exit", "/scheme", "/scheme/none/x"] {
        assert_eq!(app.try_open(&mut world, path), Err(Errno::ACCES), "{path}");
        let (buffer, length) = app.name(&mut world, path);
        let unlink = args::UnlinkAt { fd: CURRENT, buffer, length, flags: 0 }.encode(0);
        assert_eq!(app.call(&mut world, unlink), Err(Errno::ACCES), "{path}");
    }
    let (buffer, length) = app.name(&mut world, "below");
    let below = args::OpenAt { fd: directory, buffer, length, flags: 0, capacity: 0 }.encode(0);
    assert!(app.call(&mut world, below).is_ok());
    restrict(&mut world, app, everything());
    assert_eq!(app.try_open(&mut world, "/scheme/disk/a"), Err(Errno::ACCES), "for good");
}

#[test]
fn bounds_leave_nothing_behind() {
    let mut world = World::new();
    let before = world.accounts();
    let app = bound(&mut world);
    let child = world.context(app, CURRENT, CURRENT, Sizes::SMALLEST);
    let space = app.call(&mut world, args::SpaceFork {}.encode(0)).unwrap();
    let other = world.thread(app, Sizes::SMALLEST);
    restrict(&mut world, other, all_but(&[Opcode::Seek]));
    let mixed = world.context(other, space, CURRENT, Sizes::SMALLEST);
    let keep = args::Restrict { handles: 2, flags: restrict::HANDLES, ..everything() };
    restrict(&mut world, child, keep);
    for program in [mixed, child, other, app] {
        world.kill(program);
    }
    for program in [other, app] {
        world.forget(program);
    }
    assert_eq!(world.accounts(), before);
}

#[test]
fn no_memory_restricts_nothing() {
    for left in 0..4 {
        let mut world = World::new();
        let app = world.program();
        let space = app.call(&mut world, args::SpaceCreate {}.encode(0)).unwrap();
        let keep = args::Restrict { handles: 1, flags: restrict::HANDLES, ..all_but(&[Opcode::Nop]) };
        world.starve(left);
        let result = app.call(&mut world, keep.encode(0));
        world.feed();
        assert!(matches!(result, Ok(0) | Err(Errno::NOMEM)), "{result:?}");
        if result.is_err() {
            assert!(may_nop(&mut world, app, 0));
            assert_eq!(
                app.call(&mut world, args::Close { fd: space }.encode(0)),
                Ok(0),
                "it has its handles"
            );
        }
        world.check();
    }
}

#[test]
fn what_has_a_road_of_its_own_is_refused_on_it() {
    for forbidden in SHORT {
        let mut world = World::new();
        let disk = world.daemon("disk");
        let app = world.program_with(Sizes { sq: 5, cq: 5, service: None });
        let fd = app.open(&mut world, "/scheme/disk/a");
        restrict(&mut world, app, all_but(&[forbidden]));
        let (buffer, length) = app.name(&mut world, "/scheme/disk/b");
        let sqe = match forbidden {
            Opcode::Nop => nop(),
            Opcode::Read => read(fd, DATA, 8),
            Opcode::OpenAt => args::OpenAt { fd: CURRENT, buffer, length, flags: 0, capacity: 0 }.encode(0),
            Opcode::Close => args::Close { fd }.encode(0),
            Opcode::FutexWait => args::FutexWait { address: DATA, expected: 9, deadline: 0 }.encode(0),
            Opcode::FutexWake => args::FutexWake { address: DATA, count: 1 }.encode(0),
            _ => args::FutexSwap { address: DATA, expected: 9, deadline: 0, wake: DATA }.encode(0),
        };
        for round in 0..4 {
            alone(&mut world, app, sqe);
            assert_eq!(
                app.completion(&mut world).unwrap().1,
                Err(Errno::ACCES),
                "{forbidden:?}, round {round}"
            );
            // What is allowed leaves what the roads remember.
            alone(&mut world, app, args::Probe { opcode: 0 }.encode(0));
            assert!(app.completion(&mut world).is_some());
        }
        assert_eq!(disk.request(&mut world), None, "{forbidden:?}");
    }
}

#[test]
fn no_road_finds_a_name() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program_with(Sizes { sq: 5, cq: 5, service: None });
    app.open(&mut world, "/scheme/disk/a");
    restrict(&mut world, app, args::Restrict { flags: restrict::NO_NAMES, ..everything() });
    let (buffer, length) = app.name(&mut world, "/scheme/disk/b");
    let open = args::OpenAt { fd: CURRENT, buffer, length, flags: 0, capacity: 0 }.encode(0);
    for round in 0..4 {
        for sqe in [nop(), open] {
            alone(&mut world, app, sqe);
        }
        let results = [0; 2].map(|_| app.completion(&mut world).unwrap().1);
        assert_eq!(results, [Ok(0), Err(Errno::ACCES)], "round {round}");
    }
    assert_eq!(disk.request(&mut world), None);
}

/// Submits an entry and waits for it as the shortest roads are entered.
fn alone(world: &mut World, app: Program, sqe: Sqe) {
    app.submit(world, sqe);
    app.enter(world, 0, enter::MOST, 1, enter::COMPLETIONS, enter::NO_DEADLINE);
    world.run_until("it is answered", |world| world.mode(app) == Mode::Own);
}

#[test]
fn registered_files_are_gone_with_the_handles() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let secret = app.open(&mut world, "/scheme/disk/a");
    app.write(&mut world, DATA, &secret.to_le_bytes());
    app.call(&mut world, args::RegisterFiles { slot: 0, buffer: DATA, count: 1 }.encode(0)).unwrap();
    let slot = registered::file(0);
    let dup = args::HandleDup { fd: slot, table: CURRENT, target: LOWEST, flags: 0 }.encode(0);
    let copy = app.call(&mut world, dup).expect("a slot leads to its file");
    app.call(&mut world, args::Close { fd: copy }.encode(0)).unwrap();
    restrict(&mut world, app, args::Restrict { handles: 0, flags: restrict::HANDLES, ..everything() });
    let (buffer, length) = app.name(&mut world, "below");
    for sqe in
        [read(slot, DATA, 8), dup, args::OpenAt { fd: slot, buffer, length, flags: 0, capacity: 0 }.encode(0)]
    {
        assert_eq!(app.call(&mut world, sqe), Err(Errno::BADF), "{sqe:?}");
    }
    assert_eq!(disk.request(&mut world), None);
    // Nor does it come back.
    app.write(&mut world, DATA, &slot.to_le_bytes());
    let again = args::RegisterFiles { slot: 0, buffer: DATA, count: 1 }.encode(0);
    assert_eq!(app.call(&mut world, again), Err(Errno::BADF));
}
