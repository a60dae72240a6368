//! Registered files and buffers: slots of a ring in place of handles and addresses.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use kernel::mem::frames::Use;
use ring_abi::args::{self, CURRENT, LOWEST, Strength};
use ring_abi::layout::Sizes;
use ring_abi::registered::{self, MOST_BUFFERS, MOST_FILES, MOST_PAGES, NO_FILE};
use ring_abi::{Errno, Sqe};
use world::{DATA, Daemon, FIRST, Program, Ticket, World, read, write};

const PAGE: u64 = 4096;
/// Frames of a world.
const MEMORY_FRAMES: u32 = (32 << 20) / 4096;

/// A world with a daemon, a program, and a file that it has open.
fn begin() -> (World, Daemon, Program, u64) {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let fd = app.open(&mut world, "/scheme/disk/a");
    (world, disk, app, fd)
}

fn register_files(world: &mut World, app: Program, slot: u32, handles: &[u64]) -> Result<u64, Errno> {
    let list: Vec<u8> = handles.iter().flat_map(|handle| handle.to_le_bytes()).collect();
    assert!(app.write(world, DATA, &list));
    let count = handles.len() as u32;
    app.call(world, args::RegisterFiles { slot, buffer: DATA, count }.encode(0))
}

fn empty_files(world: &mut World, app: Program, slot: u32, count: u32) -> Result<u64, Errno> {
    app.call(world, args::RegisterFiles { slot, buffer: 0, count }.encode(0))
}

fn register_buffer(
    world: &mut World,
    app: Program,
    slot: u32,
    address: u64,
    length: u64,
) -> Result<u64, Errno> {
    app.call(world, args::RegisterBuffer { slot, address, length }.encode(0))
}

fn close(world: &mut World, app: Program, fd: u64) -> Result<u64, Errno> {
    app.call(world, args::Close { fd }.encode(0))
}

/// A read of `bytes` from offset 0, which its daemon answers with them.
fn read_bytes(
    world: &mut World,
    (disk, app): (Daemon, Program),
    fd: u64,
    buffer: u64,
    bytes: &[u8],
) -> Result<u64, Errno> {
    let sqe = args::Read { fd, buffer, length: bytes.len() as u64, offset: 0 }.encode(0);
    let ticket = app.submit(world, sqe);
    world.run_until_idle();
    if let Some(request) = disk.request(world) {
        disk.fill(world, &request, bytes);
        disk.reply(world, request, Ok(bytes.len() as u64));
        world.run_until_idle();
    }
    app.result(world, ticket).expect("it was answered")
}

#[test]
fn a_registered_file_outlives_its_handle_and_not_its_slot() {
    let (mut world, disk, app, fd) = begin();
    assert_eq!(register_files(&mut world, app, 5, &[fd]), Ok(1));
    close(&mut world, app, fd).unwrap();
    world.run_until_idle();
    assert_eq!(disk.closed(&mut world), [], "the slot holds the file");

    let both = (disk, app);
    assert_eq!(read_bytes(&mut world, both, registered::file(5), DATA + 64, b"through a slot"), Ok(14));
    assert_eq!(app.read(&mut world, DATA + 64, 14).unwrap(), b"through a slot");
    assert_eq!(read_bytes(&mut world, both, fd, DATA, b"x"), Err(Errno::BADF));
    assert_eq!(read_bytes(&mut world, both, registered::file(4), DATA, b"x"), Err(Errno::BADF));

    assert_eq!(empty_files(&mut world, app, 5, 1), Ok(1));
    world.run_until_idle();
    assert_eq!(disk.closed(&mut world), [100]);
    assert_eq!(read_bytes(&mut world, both, registered::file(5), DATA, b"x"), Err(Errno::BADF));
    assert_eq!(
        empty_files(&mut world, app, 0, MOST_FILES).map(|done| done > 0),
        Ok(true),
        "empty slots stay empty"
    );
}

#[test]
fn every_kind_of_operation_takes_a_slot_and_the_cursor_is_the_files() {
    let (mut world, disk, app, _) = begin();
    let fd = app.open(&mut world, "/scheme/disk/positioned");
    register_files(&mut world, app, 0, &[fd]).unwrap();
    let slot = registered::file(0);
    app.call(&mut world, args::Seek { fd: slot, offset: 70, whence: 0 }.encode(0)).unwrap();
    let ticket = app.submit(&mut world, read(slot, DATA, 8));
    world.run_until_idle();
    let request = disk.request(&mut world).unwrap();
    assert_eq!(
        (request.args[0], request.args[3]),
        (101, 70),
        "it reads at the cursor that the handle has too"
    );
    disk.reply(&mut world, request, Ok(8));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, ticket), Some(Ok(8)));
    assert_eq!(app.call(&mut world, args::Seek { fd, offset: 0, whence: 1 }.encode(0)), Ok(78));

    let dup = args::HandleDup { fd: slot, table: CURRENT, target: LOWEST, flags: 0 };
    let again = app.call(&mut world, dup.encode(0)).unwrap();
    assert_eq!(app.call(&mut world, args::Seek { fd: again, offset: 0, whence: 1 }.encode(0)), Ok(78));
    // What is done to a number of the handle table is not done to a slot.
    assert_eq!(close(&mut world, app, slot), Err(Errno::BADF));
    let flags = args::HandleFlags { fd: slot, flags: u64::MAX };
    assert_eq!(app.call(&mut world, flags.encode(0)), Err(Errno::BADF));
}

#[test]
fn a_slot_belongs_to_one_ring() {
    let (mut world, disk, app, fd) = begin();
    register_files(&mut world, app, 3, &[fd]).unwrap();
    register_buffer(&mut world, app, 3, DATA, 64).unwrap();
    let second = app.ring(&mut world, Sizes { sq: 2, cq: 2, service: None });
    for (fd, buffer, error) in
        [(registered::file(3), DATA, Errno::BADF), (fd, registered::buffer(3, 0), Errno::FAULT)]
    {
        assert_eq!(app.call_on(&mut world, second, read(fd, buffer, 8)), Err(error));
    }
    assert_eq!(disk.waiting(&mut world), 0);
}

#[test]
fn a_list_is_done_up_to_its_first_mistake() {
    let (mut world, disk, app, a) = begin();
    let b = app.open(&mut world, "/scheme/disk/b");
    assert_eq!(register_files(&mut world, app, 0, &[a, NO_FILE, b, 999, a]), Ok(3));
    assert_eq!(register_files(&mut world, app, 0, &[999, a]), Err(Errno::BADF));
    assert_eq!(register_files(&mut world, app, 0, &[b]), Ok(1), "what was there is replaced");
    for fd in [a, b] {
        close(&mut world, app, fd).unwrap();
    }
    world.run_until_idle();
    assert_eq!(disk.closed(&mut world), [100], "nothing has the first file any more");
    for (slot, buffer, count, error) in [
        (0, DATA, 0, Errno::INVAL),
        (MOST_FILES, DATA, 1, Errno::INVAL),
        (1, DATA, MOST_FILES, Errno::INVAL),
        (u32::MAX, DATA, 2, Errno::INVAL),
        (0, 0x10_0000, 1, Errno::FAULT),
        (0, u64::MAX - 3, 1, Errno::FAULT),
        (0, registered::buffer(0, 0), 1, Errno::FAULT),
    ] {
        let register = args::RegisterFiles { slot, buffer, count };
        assert_eq!(app.call(&mut world, register.encode(0)), Err(error), "{register:?}");
    }
}

#[test]
fn what_is_no_file_of_a_scheme_is_not_registered() {
    let mut world = World::new();
    let space = FIRST.call(&mut world, args::SpaceCreate {}.encode(0)).unwrap();
    let table = FIRST.call(&mut world, args::TableCreate { copy: 0 }.encode(0)).unwrap();
    let app = world.program();
    let context = app.handle(&mut world);
    for fd in [0, 1, space, table, context] {
        assert_eq!(register_files(&mut world, FIRST, 0, &[fd]), Err(Errno::BADF), "handle {fd}");
    }
    let clock = FIRST.open(&mut world, "/scheme/time/4");
    assert_eq!(register_files(&mut world, FIRST, 0, &[clock]), Ok(1));
    assert_eq!(FIRST.call(&mut world, read(registered::file(0), DATA, 16)), Ok(16));
    // A slot can be filled from another.
    assert_eq!(register_files(&mut world, FIRST, 9, &[registered::file(0)]), Ok(1));
    assert_eq!(FIRST.call(&mut world, read(registered::file(9), DATA, 16)), Ok(16));
}

#[test]
fn an_operation_keeps_the_file_that_it_started_with() {
    let (mut world, disk, app, a) = begin();
    let b = app.open(&mut world, "/scheme/disk/b");
    register_files(&mut world, app, 0, &[a]).unwrap();
    close(&mut world, app, a).unwrap();
    let ticket = app.submit(
        &mut world,
        args::Read { fd: registered::file(0), buffer: DATA, length: 4, offset: 0 }.encode(0),
    );
    world.run_until_idle();
    register_files(&mut world, app, 0, &[b]).unwrap();
    world.run_until_idle();
    assert_eq!(disk.closed(&mut world), [], "the read has it");
    let request = disk.request(&mut world).unwrap();
    assert_eq!(request.args[0], 100);
    disk.reply(&mut world, request, Ok(4));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, ticket), Some(Ok(4)));
    assert_eq!(disk.closed(&mut world), [100]);
}

#[test]
fn many_files_are_registered_and_closed_in_slices() {
    let (mut world, disk, _, _) = begin();
    let app = world.program();
    world.audit_every = 64;
    let before = world.accounts();
    let thread = world.thread(app, Sizes::SMALLEST);
    let fd = thread.open(&mut world, "/scheme/disk/b");
    let handles = [fd; 512];
    let mut slot = 0;
    while slot < MOST_FILES {
        let most = handles.len().min((MOST_FILES - slot) as usize);
        let done = register_files(&mut world, thread, slot, &handles[..most]).unwrap();
        assert!((1..100).contains(&done), "{done} files in one step");
        slot += done as u32;
    }
    close(&mut world, thread, fd).unwrap();
    world.kill(thread);
    world.forget(thread);
    world.run_until_idle();
    assert_eq!(disk.closed(&mut world), [101]);
    assert_eq!(world.accounts(), before);
}

#[test]
fn bytes_go_to_and_from_a_registered_buffer_across_pages() {
    let (mut world, disk, app, fd) = begin();
    register_buffer(&mut world, app, 7, DATA + 100, 3 * PAGE).unwrap();
    let text: Vec<u8> = (0..3000).map(|at| (at * 7 % 251) as u8).collect();
    let both = (disk, app);
    assert_eq!(read_bytes(&mut world, both, fd, registered::buffer(7, 3000), &text), Ok(3000));
    assert_eq!(app.read(&mut world, DATA + 3100, 3000).unwrap(), text);

    let ticket = app.submit(&mut world, write(fd, registered::buffer(7, 3000), 3000));
    world.run_until_idle();
    let request = disk.request(&mut world).unwrap();
    assert_eq!(disk.payload(&mut world, &request), text);
    disk.reply(&mut world, request, Ok(3000));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, ticket), Some(Ok(3000)));

    // Both at once, and through the cursor's road.
    register_files(&mut world, app, 0, &[fd]).unwrap();
    assert_eq!(
        read_bytes(&mut world, both, registered::file(0), registered::buffer(7, 0), b"slot to slot"),
        Ok(12)
    );
    assert_eq!(app.read(&mut world, DATA + 100, 12).unwrap(), b"slot to slot");
    let ticket = app.submit(&mut world, read(registered::file(0), registered::buffer(7, 4), 4));
    world.run_until_idle();
    let request = disk.request(&mut world).unwrap();
    disk.fill(&mut world, &request, b"AT!!");
    disk.reply(&mut world, request, Ok(4));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, ticket), Some(Ok(4)));
    assert_eq!(app.read(&mut world, DATA + 100, 12).unwrap(), b"slotAT!!slot");
}

#[test]
fn many_reads_in_one_entry_use_slots() {
    let mut world = World::new();
    let disk = world.daemon_with("disk", 5);
    let app = world.program_with(Sizes { sq: 5, cq: 5, service: None });
    let fd = app.open(&mut world, "/scheme/disk/a");
    register_files(&mut world, app, 0, &[fd]).unwrap();
    register_buffer(&mut world, app, 0, DATA, 8 * PAGE).unwrap();
    for round in 0..4_u64 {
        let fd = |at: u64| if (at + round) & 1 == 0 { fd } else { registered::file(0) };
        let buffer = |at: u64| {
            if (at + round) & 2 == 0 { DATA + at * 256 } else { registered::buffer(0, at as u32 * 256) }
        };
        let read = |at| args::Read { fd: fd(at), buffer: buffer(at), length: 8, offset: at }.encode(0);
        let tickets: Vec<_> = (0..24).map(|at| app.submit(&mut world, read(at))).collect();
        world.run_until_idle();
        while let Some(request) = disk.request(&mut world) {
            let word = request.args[3] * 1000 + round;
            disk.fill(&mut world, &request, &word.to_le_bytes());
            disk.reply(&mut world, request, Ok(8));
        }
        world.run_until_idle();
        for (at, ticket) in (0..).zip(tickets) {
            assert_eq!(app.result(&mut world, ticket), Some(Ok(8)));
            let word: u64 = at * 1000 + round;
            assert_eq!(app.read(&mut world, DATA + at * 256, 8).unwrap(), word.to_le_bytes());
        }
    }
}

#[test]
fn unmapped_memory_is_not_free_while_it_is_registered() {
    let (mut world, disk, app, fd) = begin();
    let length = 16 * PAGE;
    let memory = app.map(&mut world, length);
    app.write(&mut world, memory, b"mine");
    register_buffer(&mut world, app, 0, memory, length).unwrap();
    let frames = |world: &World| world.kernel.state.memory.used(Use::Program);
    let with = frames(&world);
    app.call(&mut world, args::Unmap { space: CURRENT, address: memory, length }.encode(0)).unwrap();
    world.run_until_idle();
    assert_eq!(frames(&world), with, "the frames are still in use, and counted");

    // Whoever gets memory now gets other memory.
    let other = world.program();
    let theirs = other.map(&mut world, 64 * PAGE);
    for page in 0..64 {
        other.write(&mut world, theirs + page * PAGE, b"theirs");
    }
    for page in 0..16_u32 {
        let there = registered::buffer(0, page * PAGE as u32);
        assert_eq!(read_bytes(&mut world, (disk, app), fd, there, b"poison"), Ok(6));
    }
    for page in 0..64 {
        assert_eq!(other.read(&mut world, theirs + page * PAGE, 6).unwrap(), b"theirs");
    }
    let ticket = app.submit(&mut world, write(fd, registered::buffer(0, 0), 6));
    world.run_until_idle();
    let request = disk.request(&mut world).unwrap();
    assert_eq!(disk.payload(&mut world, &request), b"poison", "what was read into it is in it");
    disk.reply(&mut world, request, Ok(6));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, ticket), Some(Ok(6)));

    let before = frames(&world);
    register_buffer(&mut world, app, 0, 0, 0).unwrap();
    world.run_until_idle();
    assert_eq!(frames(&world), before - 16, "now they are free");
    world.kernel.state.memory.audit_owners(MEMORY_FRAMES).unwrap();
}

#[test]
fn memory_is_registered_as_it_was_and_a_fork_copies_it() {
    let (mut world, disk, app, fd) = begin();
    let memory = app.map(&mut world, 2 * PAGE);
    app.write(&mut world, memory, b"before");
    register_buffer(&mut world, app, 0, memory, 2 * PAGE).unwrap();
    let copy = app.call(&mut world, args::SpaceFork {}.encode(0)).unwrap();

    // Rights that the program gives up later do not bind what was registered before.
    let read_only = args::Protect { space: CURRENT, address: memory, length: PAGE, rights: args::map::READ };
    app.call(&mut world, read_only.encode(0)).unwrap();
    assert_eq!(read_bytes(&mut world, (disk, app), fd, registered::buffer(0, 0), b"parent"), Ok(6));
    assert_eq!(app.read(&mut world, memory, 6).unwrap(), b"parent");
    assert_eq!(
        register_buffer(&mut world, app, 1, memory, PAGE),
        Err(Errno::FAULT),
        "but bind what is registered later"
    );

    // The copy has what was there, and nothing registered.
    let child = world.context(app, copy, CURRENT, Sizes::SMALLEST);
    assert_eq!(child.read(&mut world, memory, 6).unwrap(), b"before");
    assert_eq!(child.call(&mut world, read(fd, registered::buffer(0, 0), 6)), Err(Errno::FAULT));
}

#[test]
fn what_cannot_be_registered_is_refused() {
    let (mut world, _, app, _) = begin();
    let ring = world.ring(app, 0).address;
    let low = app.map(&mut world, PAGE);
    let gap = app.map(&mut world, 3 * PAGE);
    app.call(&mut world, args::Unmap { space: CURRENT, address: gap + PAGE, length: PAGE }.encode(0))
        .unwrap();
    world.run_until_idle();
    let before = world.accounts();
    for (slot, address, length, error) in [
        (MOST_BUFFERS, low, 8, Errno::INVAL),
        (u32::MAX, low, 8, Errno::INVAL),
        (0, low, 0, Errno::NOENT),
        (0, 0, 8, Errno::FAULT),
        (0, 0x10_0000, 8, Errno::FAULT),
        (0, gap, 3 * PAGE, Errno::FAULT),
        (0, ring, 8, Errno::ACCES),
        (0, 0xffff_8000_0000_0000, 8, Errno::FAULT),
        (0, u64::MAX - 7, 16, Errno::FAULT),
        (0, registered::buffer(0, 0), 8, Errno::FAULT),
        (0, low, u64::MAX, Errno::FAULT),
        (0, low, MOST_PAGES * PAGE + 1, Errno::INVAL),
    ] {
        assert_eq!(
            register_buffer(&mut world, app, slot, address, length),
            Err(error),
            "{slot} {address:#x} {length}"
        );
    }
    world.run_until_idle();
    assert_eq!(world.accounts(), before.with("outfits of rings", 1), "nothing is pinned");
}

#[test]
fn a_range_beyond_its_buffer_is_a_fault() {
    let (mut world, disk, app, fd) = begin();
    register_buffer(&mut world, app, 2, DATA + 8, 100).unwrap();
    let (inside, bits) = (registered::buffer(2, 92), registered::buffer(2, 0));
    assert_eq!(read_bytes(&mut world, (disk, app), fd, inside, b"12345678"), Ok(8));
    for (buffer, length) in [
        (inside, 9),
        (registered::buffer(2, 101), 0),
        (registered::buffer(2, u32::MAX), 1),
        (bits, u64::MAX),
        (bits | 1 << 62, 1),
        (registered::buffer(3, 0), 1),
        (registered::buffer(MOST_BUFFERS, 0), 1),
        (u64::MAX, 1),
    ] {
        assert_eq!(app.call(&mut world, read(fd, buffer, length)), Err(Errno::FAULT), "{buffer:#x} {length}");
        assert_eq!(
            app.call(&mut world, write(fd, buffer, length)),
            Err(Errno::FAULT),
            "{buffer:#x} {length}"
        );
    }
    // Files of the kernel and paths take addresses only.
    let clock = app.open(&mut world, "/scheme/time/4");
    assert_eq!(app.call(&mut world, read(clock, bits, 16)), Err(Errno::FAULT));
    for from in [CURRENT, fd] {
        let open = args::OpenAt { fd: from, buffer: bits, length: 20, flags: 0, capacity: 64 };
        assert_eq!(app.call(&mut world, open.encode(0)), Err(Errno::FAULT));
    }
    assert_eq!(disk.waiting(&mut world), 0);
}

#[test]
fn a_slot_is_looked_into_when_bytes_move() {
    let (mut world, disk, app, fd) = begin();
    let ask = |world: &mut World| -> Ticket {
        let read = args::Read { fd, buffer: registered::buffer(0, 0), length: 4, offset: 0 };
        let ticket = app.submit(world, read.encode(0));
        world.run_until_idle();
        ticket
    };
    let answer = |world: &mut World, ticket| {
        let request = disk.request(world).unwrap();
        disk.fill(world, &request, b"data");
        disk.reply(world, request, Ok(4));
        world.run_until_idle();
        app.result(world, ticket).unwrap()
    };
    register_buffer(&mut world, app, 0, DATA, 64).unwrap();
    let ticket = ask(&mut world);
    register_buffer(&mut world, app, 0, 0, 0).unwrap();
    assert_eq!(answer(&mut world, ticket), Err(Errno::FAULT), "nothing is there any more");

    register_buffer(&mut world, app, 0, DATA, 64).unwrap();
    let ticket = ask(&mut world);
    register_buffer(&mut world, app, 0, DATA + PAGE, 64).unwrap();
    assert_eq!(answer(&mut world, ticket), Ok(4));
    assert_eq!(app.read(&mut world, DATA + PAGE, 4).unwrap(), b"data");
    assert_eq!(app.read(&mut world, DATA, 4).unwrap(), [0; 4]);

    let ticket = ask(&mut world);
    register_buffer(&mut world, app, 0, DATA, 3).unwrap();
    assert_eq!(answer(&mut world, ticket), Err(Errno::FAULT), "it has become too short");
}

#[test]
fn an_operation_that_is_cancelled_or_whose_daemon_dies_leaves_the_slots() {
    let (mut world, disk, app, fd) = begin();
    register_files(&mut world, app, 0, &[fd]).unwrap();
    register_buffer(&mut world, app, 0, DATA + 512, 64).unwrap();
    let sqe = args::Read { fd: registered::file(0), buffer: registered::buffer(0, 0), length: 4, offset: 0 };
    let first = app.submit(&mut world, sqe.encode(0));
    world.run_until_idle();
    let cancel = args::CancelTag { tag: first.0, strength: Strength::Force as u32, grace: 0 };
    app.call(&mut world, cancel.encode(0)).unwrap();
    assert_eq!(app.result(&mut world, first), Some(Err(Errno::CANCELED)));
    let late = disk.request(&mut world).unwrap();
    disk.fill(&mut world, &late, b"late");
    disk.reply(&mut world, late, Ok(4));
    world.run_until_idle();
    assert_eq!(app.read(&mut world, DATA + 512, 4).unwrap(), [0; 4], "nobody waits for it");

    let second = app.submit(&mut world, sqe.encode(0));
    world.run_until_idle();
    disk.kill(&mut world);
    world.run_until_idle();
    assert_eq!(app.result(&mut world, second), Some(Err(Errno::CONNRESET)));
    assert_eq!(app.call(&mut world, sqe.encode(0)), Err(Errno::NODEV));
    assert_eq!(empty_files(&mut world, app, 0, 1), Ok(1));
    assert_eq!(register_buffer(&mut world, app, 0, 0, 0), Ok(0));
}

/// Ends of a program with slots: all that they hold comes back, pinned memory without a mapping too.
#[test]
fn slots_end_with_their_ring() {
    for exec in [false, true] {
        let (mut world, disk, _, _) = begin();
        let before = world.accounts();
        let app = world.program();
        let fd = app.open(&mut world, "/scheme/disk/b");
        register_files(&mut world, app, 0, &[fd, fd, fd]).unwrap();
        close(&mut world, app, fd).unwrap();
        let memory = app.map(&mut world, 40 * PAGE);
        for slot in 0..MOST_BUFFERS {
            let pages = 1 + u64::from(slot) % 20;
            register_buffer(&mut world, app, slot, memory + u64::from(slot) * 64, pages * PAGE).unwrap();
        }
        let unmap = args::Unmap { space: CURRENT, address: memory, length: 20 * PAGE };
        app.call(&mut world, unmap.encode(0)).unwrap();
        let read =
            args::Read { fd: registered::file(0), buffer: registered::buffer(0, 0), length: 4, offset: 0 };
        app.submit(&mut world, read.encode(0));
        world.run_until_idle();
        if exec {
            let space = app.call(&mut world, args::SpaceCreate {}.encode(0)).unwrap();
            app.exec(&mut world, space, Sizes::SMALLEST);
            world.run_until_idle();
            world.give_cpu(app);
            assert_eq!(app.call(&mut world, read.encode(0)), Err(Errno::BADF), "an exec leaves them");
            assert_eq!(world.kernel.state.outfits.live(), 0);
            assert_eq!(world.kernel.state.memory.pins.live(), 0);
        }
        world.kill(app);
        world.forget(app);
        if let Some(request) = disk.request(&mut world) {
            disk.reply(&mut world, request, Ok(4));
        }
        world.run_until_idle();
        assert_eq!(disk.closed(&mut world), [101]);
        assert_eq!(world.accounts(), before, "exec: {exec}");
    }
}

#[test]
fn a_large_buffer_is_pinned_in_slices_and_can_be_cancelled() {
    let mut world = World::with_memory(64 << 20);
    let app = world.program();
    world.audit_every = 16;
    let length = MOST_PAGES * PAGE;
    let memory = app.map(&mut world, length);
    let before = world.accounts();
    let register = args::RegisterBuffer { slot: 0, address: memory, length }.encode(0);

    let ticket = app.submit(&mut world, register);
    app.push(&mut world);
    assert_eq!(app.result(&mut world, ticket), None, "it takes more than a step");
    let cancel = args::CancelTag { tag: ticket.0, strength: Strength::Force as u32, grace: 0 };
    assert_eq!(app.call(&mut world, cancel.encode(0)), Ok(1));
    assert_eq!(app.result(&mut world, ticket), Some(Err(Errno::CANCELED)));
    world.run_until_idle();
    assert_eq!(world.accounts(), before.with("outfits of rings", 1));

    assert_eq!(app.call(&mut world, register), Ok(0));
    let pinned = |world: &World| world.kernel.state.memory.pinned.live();
    assert_eq!(u64::from(pinned(&world)), MOST_PAGES);
    let ticket = app.submit(&mut world, register);
    app.push(&mut world);
    assert_eq!(app.result(&mut world, ticket), None);
    world.kill(app);
    world.forget(app);
    world.run_until_idle();
    assert_eq!((pinned(&world), world.kernel.state.memory.pins.live()), (0, 0));
    let left = world.accounts();
    assert_eq!(left, World::new().accounts(), "something was lost");
}

#[test]
fn without_memory_nothing_is_registered() {
    let (mut world, disk, app, fd) = begin();
    app.write(&mut world, DATA, &fd.to_le_bytes());
    for sqe in [
        args::RegisterFiles { slot: 70, buffer: DATA, count: 1 }.encode(0),
        args::RegisterBuffer { slot: 0, address: DATA, length: 9 * PAGE }.encode(0),
    ] {
        let mut failures = 0;
        for left in 0.. {
            world.starve(left);
            let ticket: Ticket = app.submit(&mut world, sqe);
            app.push(&mut world);
            let done = !world.kernel.state.memory.will_fail();
            world.feed();
            world.run_until_idle();
            match app.result(&mut world, ticket).unwrap() {
                Err(error) => {
                    assert_eq!(error, Errno::NOMEM);
                    failures += 1;
                }
                Ok(_) => assert!(!done || left > 0),
            }
            if !done {
                break;
            }
        }
        assert!(failures > 0, "no allocation of {sqe:?} failed");
    }
    assert_eq!(
        read_bytes(&mut world, (disk, app), registered::file(70), registered::buffer(0, 0), b"ok"),
        Ok(2)
    );
}

#[test]
fn probing_says_that_both_exist() {
    let (mut world, _, app, _) = begin();
    for opcode in [args::RegisterFiles::OPCODE, args::RegisterBuffer::OPCODE] {
        let probe: Sqe = args::Probe { opcode: u32::from(opcode.raw()) }.encode(0);
        assert_eq!(app.call(&mut world, probe), Ok(1 | 0x9c << 8));
    }
}
