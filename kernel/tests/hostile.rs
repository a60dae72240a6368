//! Wrong indices, wrong lengths, wrong replies: they end their author, never the kernel, and nobody else.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::args::{self, CURRENT};
use ring_abi::context::{End, Reason};
use ring_abi::layout::{Sizes, word};
use ring_abi::opcode::Origin;
use ring_abi::sync::Ordering::Relaxed;
use ring_abi::{Cqe, CqeKind, Errno, Opcode, Sqe, SqeFlags, enter};
use world::{DATA, Dice, FIRST, Mode, Program, World, read};

/// Numbers like those that have broken other kernels.
const ODD: &[u64] = &[
    0,
    1,
    7,
    63,
    64,
    4095,
    4096,
    4097,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    DATA,
    DATA + 1,
    0x7fff_ffff_e000,
    0x7fff_ffff_f000,
    0x7fff_ffff_ffff,
    0x8000_0000_0000,
    0xffff_8000_0000_0000,
    u64::MAX / 2,
    u64::MAX - 4096,
    u64::MAX - 1,
    u64::MAX,
];

/// An odd number, or any.
fn odd(dice: &mut Dice) -> u64 {
    match dice.roll(4) {
        0 => dice.roll(u64::MAX),
        1 => dice.roll(16),
        _ => ODD[dice.roll(ODD.len() as u64) as usize],
    }
}

fn ends_with(world: &mut World, app: Program, reason: Reason) {
    world.run_until("it ends", |world| world.has_ended(app));
    assert_eq!(world.end_of(app), End::Ended(reason));
    world.run_until_idle();
}

#[test]
fn an_index_that_cannot_be_ends_its_author() {
    let mut world = World::new();
    let bystander = world.program();
    let waiting = bystander.submit(&mut world, args::Timeout { nanoseconds: 1 << 40, flags: 0 }.encode(0));
    bystander.push(&mut world);
    for wrong in [9, 1 << 31, u32::MAX] {
        let app = world.program();
        world.ring(app, 0).view.header(word::SQ_TAIL).store(wrong, Relaxed);
        app.push(&mut world);
        ends_with(&mut world, app, Reason::CorruptRing);
    }
    for wrong in [1, 1 << 31, u32::MAX - 8] {
        let app = world.program();
        world.ring(app, 0).view.header(word::CQ_HEAD).store(wrong, Relaxed);
        app.submit(&mut world, args::Nop {}.encode(0));
        app.push(&mut world);
        // A queue that was never full need not look at the index; a wait must.
        if !world.has_ended(app) {
            app.wait(&mut world, 1);
        }
        ends_with(&mut world, app, Reason::CorruptRing);
    }
    world.advance(1 << 40);
    world.run_until_idle();
    assert_eq!(bystander.result(&mut world, waiting), Some(Ok(0)), "others notice nothing");
}

#[test]
fn words_that_only_the_kernel_writes_are_not_believed() {
    let mut world = World::new();
    let app = world.program();
    let kernels = [word::SQ_HEAD, word::CQ_TAIL, word::FLAGS, word::VERSION, word::SIZES, word::SQ_SLEEPS];
    for round in 0..20_u32 {
        app.submit(&mut world, args::Nop {}.encode(0));
        for index in kernels {
            world.ring(app, 0).view.header(index).store(round.wrapping_mul(0x9e37_79b9), Relaxed);
        }
        app.push(&mut world);
        assert!(app.completion(&mut world).is_some(), "round {round}");
    }
}

#[test]
fn a_daemon_with_a_wrong_index_dies_and_its_clients_go_on() {
    for index in [word::RP_TAIL, word::RQ_HEAD] {
        let mut world = World::new();
        let disk = world.daemon("disk");
        let app = world.program();
        let fd = app.open(&mut world, "/scheme/disk/a");
        let first = app.submit(&mut world, read(fd, DATA, 8));
        world.run_until_idle();
        world.ring(disk.program, disk.ring).view.header(index).store(0x4000_0000, Relaxed);
        disk.obliging(&mut world, false);
        // The kernel finds out when it next looks, at the daemon's own enter or when its queue seems full.
        let more: Vec<_> = (0..6).map(|_| app.submit(&mut world, read(fd, DATA, 8))).collect();
        app.push(&mut world);
        if !world.has_ended(disk.program) {
            disk.wait(&mut world);
        }
        ends_with(&mut world, disk.program, Reason::CorruptRing);
        for ticket in more.into_iter().chain([first]) {
            let result = app.result(&mut world, ticket).expect("it completed");
            assert!(matches!(result, Err(Errno::CONNRESET | Errno::NODEV)), "{result:?}");
        }
    }
}

#[test]
fn replies_that_make_no_sense_harm_nobody() {
    let mut world = World::new();
    let disk = world.daemon_with("disk", 3);
    let app = world.program();
    let fd = app.open(&mut world, "/scheme/disk/positioned");
    let mut dice = Dice::new(1);
    let (mut done, mut in_hand) = (0, Vec::new());
    for _ in 0..2000 {
        let at = args::Read { fd, buffer: DATA, length: dice.roll(100), offset: odd(&mut dice) };
        let sqe = match dice.roll(6) {
            0 => args::Fstat { fd, buffer: DATA, length: 100 }.encode(0),
            1 => args::Call { fd, buffer: DATA, length: 100, verb: 0, argument: 0 }.encode(0),
            2 => args::Dup { fd, buffer: DATA, length: 3 }.encode(0),
            3 if dice.roll(50) == 0 => args::Poll { fd, mask: 3 }.encode(0),
            _ => at.encode(0),
        };
        let _ = app.try_submit_on(&mut world, 0, sqe);
        world.run_until_idle();
        if let Some(request) = disk.request(&mut world) {
            in_hand.push(request.tag);
        }
        let tag = match in_hand.len() as u64 {
            0 => odd(&mut dice) as u32,
            _ if dice.roll(3) == 0 => odd(&mut dice) as u32,
            count => in_hand.swap_remove(dice.roll(count) as usize),
        };
        let reply = Cqe {
            flags: dice.roll(256) as u8,
            extra: (odd(&mut dice) as u32).to_le_bytes()[..3].try_into().unwrap(),
            tag,
            result: odd(&mut dice),
        };
        disk.reply_with(&mut world, reply);
        if CqeKind::from_flags(reply.flags) == Some(CqeKind::SendFevent) {
            in_hand.push(tag); // that was no answer
        }
        world.run_until_idle();
        while app.completion(&mut world).is_some() {
            done += 1;
        }
    }
    assert!(done > 100, "{done}");
    disk.kill(&mut world);
    world.run_until_idle();
    while app.completion(&mut world).is_some() {
        world.run_until_idle();
    }
    assert_eq!(world.owed(app), 0);
}

#[test]
fn what_only_the_kernel_may_ask_is_refused() {
    let mut world = World::new();
    world.daemon("disk");
    let app = world.program();
    let fd = app.open(&mut world, "/scheme/disk/a");
    for raw in 0..=255 {
        let sqe = Sqe { opcode: raw, args: [fd, 0, 0, 0, 0, 0], ..Sqe::default() };
        let expected = match Opcode::from_raw(raw).map(Opcode::origin) {
            None | Some(Origin::KernelOnly) => Errno::INVAL,
            Some(Origin::Reserved) => Errno::NOSYS,
            Some(_) => continue,
        };
        assert_eq!(app.call(&mut world, sqe), Err(expected), "opcode {raw}");
    }
}

#[test]
fn unknown_flags_are_refused() {
    let mut world = World::new();
    let app = world.program();
    for bit in 0..8 {
        let nop = Sqe { flags: 1 << bit, ..args::Nop {}.encode(0) };
        app.submit(&mut world, nop);
        world.run_until_idle();
        while let Some((_, result)) = app.completion(&mut world) {
            assert!(matches!(result, Ok(_) | Err(Errno::INVAL)), "{result:?}");
        }
    }
    let group = Sqe { group: 1, ..args::Nop {}.encode(0) };
    assert_eq!(app.call(&mut world, group), Err(Errno::INVAL));
}

#[test]
fn an_entry_with_wrong_arguments_is_refused() {
    let mut world = World::new();
    let app = world.program();
    let enter_with = |world: &mut World, ring: u64, flags: u64| {
        app.enter(world, ring as usize, 0, 0, flags, enter::NO_DEADLINE);
        app.returned(world)
    };
    assert_eq!(enter_with(&mut world, 1, 0), Some(Errno::BADF.to_result()));
    assert_eq!(enter_with(&mut world, u64::MAX, 0), Some(Errno::BADF.to_result()));
    assert_eq!(enter_with(&mut world, 0, enter::ALL + 1), Some(Errno::INVAL.to_result()));
    assert_eq!(enter_with(&mut world, 0, u64::MAX), Some(Errno::INVAL.to_result()));
    assert_eq!(enter_with(&mut world, 0, enter::REQUESTS), Some(Errno::INVAL.to_result()), "no service pair");
}

#[test]
fn nobody_gets_more_rights_than_it_has() {
    let mut world = World::new();
    let space = FIRST.call(&mut world, args::SpaceCreate {}.encode(0)).unwrap();
    let table = FIRST.call(&mut world, args::TableCreate { copy: 0 }.encode(0)).unwrap();
    let poor = world.context(FIRST, space, table, Sizes { sq: 3, cq: 3, service: Some(3) });
    let at = poor.map(&mut world, 8192);
    poor.write(&mut world, at, b"name/scheme/debug");
    let register = args::SchemeRegister { buffer: at, length: 4, slot: 4096, namespace: CURRENT, root: 0 };
    let refused = poor.call(&mut world, register.encode(0));
    assert!(refused.is_err(), "{refused:?}");
    for capability in [0, 1, CURRENT] {
        let identity = args::ContextIdentity { context: CURRENT, pid: 1, uid: 0, gid: 0, capability };
        assert!(poor.call(&mut world, identity.encode(0)).is_err());
    }
    for fd in 0..8 {
        assert_eq!(poor.call(&mut world, args::Close { fd }.encode(0)), Err(Errno::BADF));
        assert_eq!(poor.call(&mut world, args::ContextKill { context: fd }.encode(0)), Err(Errno::BADF));
    }
}

#[test]
fn a_context_starts_only_at_addresses_that_exist() {
    let mut world = World::new();
    let app = world.program();
    let create = |entry, stack| args::ContextCreate {
        space: CURRENT,
        table: CURRENT,
        entry,
        stack,
        argument: 0,
        sizes_flags: u64::from(Sizes::SMALLEST.packed()),
    };
    for (entry, stack) in
        [(0x7fff_ffff_f000, 0), (1 << 47, 0), (u64::MAX, 0), (0x1000, 1 << 47), (0x1000, 1 << 63)]
    {
        let result = app.call(&mut world, create(entry, stack).encode(0));
        assert_eq!(result, Err(Errno::INVAL), "{entry:#x} {stack:#x}");
    }
    let mut strange = create(0x1000, 0x1000);
    strange.sizes_flags = 0x0d_0d;
    assert_eq!(app.call(&mut world, strange.encode(0)), Err(Errno::INVAL));
    strange.sizes_flags = 1 << 40;
    assert_eq!(app.call(&mut world, strange.encode(0)), Err(Errno::INVAL));
}

#[test]
fn random_entries_never_stop_the_kernel() {
    for seed in 1..=6_u64 {
        let mut world = World::new();
        world.audit_every = 50;
        let disk = world.daemon("disk");
        let mut dice = Dice::new(seed);
        let mut app = world.program();
        let mut born = 0;
        for _ in 0..3000 {
            // It may have ended, stopped or replaced itself, or filled its queue with waits.
            let is_lost = world.has_ended(app) || world.mode(app) != Mode::Own;
            while let Some(request) = disk.request(&mut world) {
                disk.reply(&mut world, request, Err(Errno::NOSYS));
            }
            if is_lost || world.owed(app) >= 8 {
                born += 1;
                world.kill(app);
                world.forget(app);
                app = world.program();
                if born % 3 == 0 {
                    app.open(&mut world, "/scheme/disk/positioned");
                }
            }
            let opcode = match dice.roll(3) {
                0 => dice.roll(256) as u8,
                _ => Opcode::ALL[dice.roll(Opcode::ALL.len() as u64) as usize].raw(),
            };
            let mut args = [0; 6];
            args.iter_mut().for_each(|word| *word = odd(&mut dice));
            // Handles that exist are the more interesting ones.
            if dice.roll(2) == 0 {
                args[0] = dice.roll(6);
            }
            let order = if dice.roll(3) == 0 { dice.roll(256) as u8 & SqeFlags::ORDER.bits() } else { 0 };
            let group = if dice.roll(8) == 0 { dice.roll(9) as u16 } else { 0 };
            let sqe = Sqe { opcode, flags: order, group, tag: 0, args, caller: odd(&mut dice) };
            if app.try_submit_on(&mut world, 0, sqe).is_none() || dice.roll(4) == 0 {
                app.push(&mut world);
                // The rings of one that has ended, or was replaced, may be another's by now.
                while !world.has_ended(app) && app.completion(&mut world).is_some() {}
            }
        }
    }
}

#[test]
fn a_daemon_that_breaks_its_own_queue_and_asks_itself_dies_alone() {
    let mut world = World::new();
    let disk = world.daemon_with("disk", 1);
    let program = disk.program;
    let fd = program.open(&mut world, "/scheme/disk/a");
    world.run_until_idle();
    disk.obliging(&mut world, false);
    world.ring(program, disk.ring).view.header(word::RQ_HEAD).store(0x4000_0000, Relaxed);
    for _ in 0..6 {
        program.submit(&mut world, read(fd, DATA, 8));
    }
    program.wait(&mut world, 1);
    ends_with(&mut world, program, Reason::CorruptRing);
    let app = world.program();
    assert_eq!(app.try_open(&mut world, "/scheme/disk/a"), Err(Errno::NODEV));
}

#[test]
fn a_dying_daemon_never_runs_again() {
    // The second time it has more to submit than fits a step.
    [3, 60].into_iter().for_each(die_while_asking);
}

fn die_while_asking(asks: u32) {
    let mut world = World::new();
    let sizes = Sizes { sq: 8, cq: 9, service: Some(1) };
    let program = world.program_with(sizes);
    program.register(&mut world, 0, "self").unwrap();
    let (buffer, length) = program.name(&mut world, "/scheme/self/a");
    let open = args::OpenAt { fd: CURRENT, buffer, length, flags: 0, capacity: 0 };
    let late = world.machine().now() + (1 << 40);
    for _ in 0..200 {
        let timeout = args::Timeout { nanoseconds: late, flags: args::timeout::ABSOLUTE };
        program.submit(&mut world, timeout.encode(0));
    }
    program.push(&mut world);
    world.run_until("all are taken", |world| program.returned(world).is_some());
    // It breaks its own queue, asks itself, and waits: it ends in the middle of its own enter.
    world.ring(program, 0).view.header(word::RQ_HEAD).store(0x4000_0000, Relaxed);
    for _ in 0..asks {
        program.submit(&mut world, open.encode(0));
    }
    world.give_cpu(program);
    let left = late - 1 - world.machine().now();
    world.machine().advance(left);
    program.wait(&mut world, 1);
    // While it is taken apart, what it waits for comes.
    world.advance(1);
    assert_eq!(program.returned(&mut world), None, "it runs again");
    ends_with(&mut world, program, Reason::CorruptRing);
    assert_eq!(program.returned(&mut world), None, "it runs again");
}

#[test]
fn a_daemon_that_breaks_its_queue_while_it_answers_never_runs_again() {
    let mut world = World::new();
    let disk = world.daemon_with("disk", 6);
    let app = world.program_with(Sizes { sq: 8, cq: 8, service: None });
    let fd = app.open(&mut world, "/scheme/disk/a");
    let tickets: Vec<_> = (0..200).map(|_| app.submit(&mut world, read(fd, DATA, 8))).collect();
    app.push(&mut world);
    world.run_until("all are taken", |world| app.returned(world).is_some());
    disk.obliging(&mut world, false);
    let requests: Vec<_> = std::iter::from_fn(|| disk.request(&mut world)).collect();
    assert_eq!(requests.len(), 64);
    for (number, request) in requests.into_iter().enumerate() {
        disk.reply(&mut world, request, Ok(0));
        // A few at once, and then more than fit a step.
        if number == 9 {
            world.run_until_idle();
        }
    }
    world.ring(disk.program, disk.ring).view.header(word::RQ_HEAD).store(0x4000_0000, Relaxed);
    disk.wait(&mut world);
    ends_with(&mut world, disk.program, Reason::CorruptRing);
    assert_eq!(disk.program.returned(&mut world), None, "it runs again");
    for ticket in tickets {
        let result = app.result(&mut world, ticket).expect("it completed");
        assert!(matches!(result, Ok(0) | Err(Errno::CONNRESET | Errno::NODEV)), "{result:?}");
    }
}

#[test]
fn a_daemon_whose_reply_ends_it_has_further_replies() {
    let mut world = World::new();
    let disk = world.daemon_with("disk", 2);
    disk.obliging(&mut world, false);
    let app = world.program();
    let (buffer, length) = app.name(&mut world, "/scheme/disk/a");
    let open = args::OpenAt { fd: CURRENT, buffer, length, flags: 0, capacity: 0 }.encode(0);
    let opens: Vec<_> = (0..4).map(|_| app.submit(&mut world, open)).collect();
    world.run_until_idle();
    let requests: Vec<_> = std::iter::from_fn(|| disk.request(&mut world)).collect();
    for late in &opens[..3] {
        let strength = args::Strength::Force as u32;
        app.call(&mut world, args::CancelTag { tag: late.0, strength, grace: 0 }.encode(0)).unwrap();
    }
    // Files that come late are closed again. To say so for the second, the kernel looks at the daemon's index.
    world.ring(disk.program, disk.ring).view.header(word::RQ_HEAD).store(0x7000_0000, Relaxed);
    disk.reply(&mut world, requests[0], Ok(5));
    disk.reply(&mut world, requests[1], Ok(6));
    disk.reply_with(&mut world, Cqe::new(requests[3].tag, Ok(0)).with_kind(CqeKind::WithFd));
    world.give_cpu(disk.program);
    disk.program.enter(&mut world, disk.ring, 0, 0, 0, u64::MAX);
    world.run_until_idle();
    assert!(world.has_ended(disk.program));
    assert!(app.result(&mut world, opens[3]).expect("it completed").is_err());
}

#[test]
fn a_daemon_that_says_it_has_written_more_than_it_was_given_is_not_believed() {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let fd = app.open(&mut world, "/scheme/disk/a");
    disk.obliging(&mut world, false);
    for (length, answer, wanted) in [(64, 64, Ok(64)), (64, 65, Err(Errno::IO)), (0, 1, Err(Errno::IO))] {
        let write = args::Write { fd, buffer: DATA, length, offset: args::CURSOR }.encode(0);
        let ticket = app.submit(&mut world, write);
        world.run_until_idle();
        let request = disk.request(&mut world).expect("it is asked");
        disk.reply(&mut world, request, Ok(answer));
        world.run_until_idle();
        assert_eq!(app.result(&mut world, ticket), Some(wanted), "{answer} of {length}");
    }
}
