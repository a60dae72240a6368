//! Groups of buffers that a program provides: chosen when bytes come, whole or piece by piece.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::args::{self, CURRENT, CURSOR, Strength};
use ring_abi::context::{End, Reason};
use ring_abi::cqe::CqeFlags;
use ring_abi::group::{self, Descriptor, ENTRY_BYTES, HEAD, HEADER_BYTES, TAIL};
use ring_abi::layout::Sizes;
use ring_abi::{Errno, Opcode, Sqe, SqeFlags, registered};
use world::{DATA, Daemon, Program, Ticket, World};

const PAGE: u64 = 4096;
/// Where a group's memory lies, and where its buffers begin.
const GROUP: u64 = DATA + 4 * PAGE;
const BUFFERS: u64 = DATA + 8 * PAGE;
/// The group that most tests use.
const ID: u16 = 0xbeef;

/// A program's view of its group.
struct Group {
    app: Program,
    entries: u32,
    tail: u32,
}

impl Group {
    /// Makes group [`ID`].
    fn new(world: &mut World, app: Program, entries: u32, size: u32, flags: u64) -> Group {
        assert_eq!(register(world, app, ID.into(), GROUP, entries, size, flags), Ok(0));
        Group { app, entries, tail: 0 }
    }

    fn provide(&mut self, world: &mut World, address: u64, length: u32, id: u16) {
        let words = Descriptor { address, length, id }.to_words().map(u64::to_le_bytes);
        let at = GROUP + HEADER_BYTES + u64::from(self.tail % self.entries) * ENTRY_BYTES;
        assert!(self.app.write(world, at, words.as_flattened()));
        self.tail += 1;
        assert!(self.app.write(world, GROUP + TAIL, &self.tail.to_le_bytes()));
    }

    /// Descriptors that the kernel has taken, as it says.
    fn taken(&self, world: &mut World) -> u32 {
        let bytes = self.app.peek(world, GROUP + HEAD, 4);
        u32::from_le_bytes(bytes.try_into().unwrap())
    }
}

fn register(
    world: &mut World,
    app: Program,
    group: u32,
    address: u64,
    entries: u32,
    size: u32,
    flags: u64,
) -> Result<u64, Errno> {
    app.call(world, args::RegisterGroup { group, address, entries, size, flags }.encode(0))
}

fn begin() -> (World, Daemon, Program, u64) {
    let mut world = World::new();
    let disk = world.daemon("disk");
    let app = world.program();
    let fd = app.open(&mut world, "/scheme/disk/a");
    (world, disk, app, fd)
}

/// A read that chooses its buffer. Its buffer word means nothing.
fn select(fd: u64, length: u64, offset: u64) -> Sqe {
    let read = args::Read { fd, buffer: 0xdead_0000_0000, length, offset }.encode(0);
    Sqe { group: ID, ..read.with_flags(SqeFlags::BUFFER_SELECT) }
}

fn ask(world: &mut World, app: Program, sqe: Sqe) -> Ticket {
    let ticket = app.submit(world, sqe);
    world.run_until_idle();
    ticket
}

fn answer(world: &mut World, disk: Daemon, bytes: &[u8]) {
    let request = disk.request(world).expect("it was forwarded");
    disk.fill(world, &request, bytes);
    disk.reply(world, request, Ok(bytes.len() as u64));
    world.run_until_idle();
}

/// The completion, its buffer, and whether there is more of that.
fn completion(world: &mut World, app: Program, ticket: Ticket) -> (Result<u64, Errno>, Option<(u16, bool)>) {
    let cqe = app.completed(world, ticket).expect("it has completed");
    let has = |flag: CqeFlags| cqe.flags & flag.bits() != 0;
    assert_eq!(cqe.flags & !CqeFlags::all().bits(), 0);
    let buffer = has(CqeFlags::BUFFER).then(|| (cqe.extra() as u16, has(CqeFlags::BUFFER_MORE)));
    assert!(buffer.is_some() || cqe.extra() == 0 && cqe.flags == 0, "{cqe:?}");
    (cqe.result(), buffer)
}

#[test]
fn a_buffer_is_chosen_when_the_bytes_come() {
    let (mut world, disk, app, fd) = begin();
    let mut group = Group::new(&mut world, app, 4, 64, 0);
    for offset in [0, CURSOR] {
        let ticket = ask(&mut world, app, select(fd, 0, offset));
        let request = disk.request(&mut world).unwrap();
        assert_eq!(
            (request.flags, request.group, request.args[2]),
            (0, 0, 64),
            "the daemon is asked for a buffer's worth"
        );
        // It was asked for before there was any.
        group.provide(&mut world, BUFFERS, 64, 7);
        disk.fill(&mut world, &request, b"chosen late");
        disk.reply(&mut world, request, Ok(11));
        world.run_until_idle();
        assert_eq!(completion(&mut world, app, ticket), (Ok(11), Some((7, false))));
        assert_eq!(app.read(&mut world, BUFFERS, 11).unwrap(), b"chosen late");
        assert_eq!(group.taken(&mut world), group.tail);
        app.write(&mut world, BUFFERS, &[0; 64]);
    }
}

#[test]
fn buffers_are_taken_in_their_order_and_places_are_filled_again() {
    let (mut world, disk, app, fd) = begin();
    let mut group = Group::new(&mut world, app, 4, 100, 0);
    for round in 0..50_u32 {
        let count = 1 + round % 4;
        for number in 0..count {
            let id = (round * 1000 + number) as u16;
            group.provide(&mut world, BUFFERS + u64::from(number) * 100, 100, id);
        }
        let tickets: Vec<_> = (0..count).map(|_| app.submit(&mut world, select(fd, 8, 0))).collect();
        world.run_until_idle();
        // Whoever is answered first gets the first buffer.
        let requests: Vec<_> = (0..count).map(|_| disk.request(&mut world).unwrap()).collect();
        for (number, request) in requests.into_iter().rev().enumerate() {
            disk.fill(&mut world, &request, &[number as u8 + 1; 8]);
            disk.reply(&mut world, request, Ok(8));
        }
        world.run_until_idle();
        for (number, ticket) in tickets.into_iter().rev().enumerate() {
            let id = (round * 1000 + number as u32) as u16;
            assert_eq!(completion(&mut world, app, ticket), (Ok(8), Some((id, false))));
            let bytes = app.read(&mut world, BUFFERS + number as u64 * 100, 8).unwrap();
            assert_eq!(bytes, [number as u8 + 1; 8]);
        }
        assert_eq!(group.taken(&mut world), group.tail);
    }
}

#[test]
fn whoever_brings_nothing_takes_nothing() {
    let (mut world, disk, app, fd) = begin();
    let mut group = Group::new(&mut world, app, 4, 64, 0);
    group.provide(&mut world, BUFFERS, 64, 1);

    let ticket = ask(&mut world, app, select(fd, 8, 0));
    answer(&mut world, disk, b"");
    assert_eq!(completion(&mut world, app, ticket), (Ok(0), None));

    for offset in [0, CURSOR] {
        let ticket = ask(&mut world, app, select(fd, 8, offset));
        let request = disk.request(&mut world).unwrap();
        disk.reply(&mut world, request, Err(Errno::IO));
        world.run_until_idle();
        assert_eq!(completion(&mut world, app, ticket), (Err(Errno::IO), None));
        // More than was asked for is a mistake of the daemon's.
        let ticket = ask(&mut world, app, select(fd, 8, offset));
        let request = disk.request(&mut world).unwrap();
        disk.reply(&mut world, request, Ok(9));
        world.run_until_idle();
        assert_eq!(completion(&mut world, app, ticket), (Err(Errno::IO), None));
    }

    let ticket = ask(&mut world, app, select(fd, 8, 0));
    let cancel = args::CancelTag { tag: ticket.0, strength: Strength::Force as u32, grace: 0 };
    app.call(&mut world, cancel.encode(0)).unwrap();
    assert_eq!(completion(&mut world, app, ticket), (Err(Errno::CANCELED), None));
    answer(&mut world, disk, b"too late");
    assert_eq!(group.taken(&mut world), 0);
    assert_eq!(app.read(&mut world, BUFFERS, 64).unwrap(), [0; 64]);

    let ticket = ask(&mut world, app, select(fd, 8, 0));
    disk.kill(&mut world);
    world.run_until_idle();
    assert_eq!(completion(&mut world, app, ticket), (Err(Errno::CONNRESET), None));
    assert_eq!(group.taken(&mut world), 0);
}

#[test]
fn a_buffer_is_chosen_for_a_read_in_a_chain() {
    let (mut world, disk, app, fd) = begin();
    let mut group = Group::new(&mut world, app, 4, 64, 0);
    group.provide(&mut world, BUFFERS, 64, 3);
    let before = world.kernel.state.live_ops();
    let nop = app.submit(&mut world, args::Nop {}.encode(0).with_flags(SqeFlags::LINK));
    let ticket = app.submit(&mut world, select(fd, 0, 7));
    app.push(&mut world);
    world.run_until_idle();
    answer(&mut world, disk, b"linked");
    assert_eq!(app.result(&mut world, nop), Some(Ok(0)));
    assert_eq!(completion(&mut world, app, ticket), (Ok(6), Some((3, false))));
    assert_eq!(app.read(&mut world, BUFFERS, 6).unwrap(), b"linked");
    assert_eq!(world.kernel.state.live_ops(), before, "what held it is its record");
}

#[test]
fn without_a_buffer_there_are_no_bytes() {
    let (mut world, disk, app, _) = begin();
    let fd = app.open(&mut world, "/scheme/disk/positioned");
    let mut group = Group::new(&mut world, app, 1, 64, 0);
    let ticket = ask(&mut world, app, select(fd, 8, CURSOR));
    answer(&mut world, disk, b"12345678");
    assert_eq!(completion(&mut world, app, ticket), (Err(Errno::NOBUFS), None));

    group.provide(&mut world, BUFFERS, 64, 5);
    let ticket = ask(&mut world, app, select(fd, 8, CURSOR));
    let request = disk.request(&mut world).unwrap();
    assert_eq!(request.args[3], 0, "the cursor has stayed");
    disk.reply(&mut world, request, Ok(8));
    world.run_until_idle();
    assert_eq!(completion(&mut world, app, ticket), (Ok(8), Some((5, false))));
    assert_eq!(app.call(&mut world, args::Seek { fd, offset: 0, whence: 1 }.encode(0)), Ok(8));

    // A group that is gone has no buffers either.
    group.provide(&mut world, BUFFERS, 64, 6);
    let ticket = ask(&mut world, app, select(fd, 8, 0));
    assert_eq!(register(&mut world, app, ID.into(), 0, 0, 0, 0), Ok(0));
    answer(&mut world, disk, b"12345678");
    assert_eq!(completion(&mut world, app, ticket), (Err(Errno::NOBUFS), None));
    assert_eq!(app.call(&mut world, select(fd, 8, 0)), Err(Errno::NOENT));
}

#[test]
fn a_buffer_is_used_piece_by_piece_until_too_little_is_left() {
    let (mut world, disk, app, fd) = begin();
    let mut group = Group::new(&mut world, app, 2, 16, args::group::INCREMENTAL);
    group.provide(&mut world, BUFFERS, 50, 1);
    group.provide(&mut world, BUFFERS + 100, 16, 2);
    // Bytes that come, in which buffer, from where on, and whether that goes on.
    let pieces = [(10, 1, 0, true), (16, 1, 10, true), (9, 1, 26, false), (3, 2, 100, false)];
    for (count, id, start, more) in pieces {
        let ticket = ask(&mut world, app, select(fd, 1000, 0));
        assert_eq!(group.taken(&mut world), u32::from(id) - u32::from(start == 0 || start == 100));
        answer(&mut world, disk, &vec![count as u8; count]);
        assert_eq!(completion(&mut world, app, ticket), (Ok(count as u64), Some((id, more))));
        assert_eq!(app.read(&mut world, BUFFERS + start, count).unwrap(), vec![count as u8; count]);
        // Once a buffer is open, its descriptor is of no meaning any more.
        app.write(&mut world, GROUP + HEADER_BYTES, &[0xff; 16]);
    }
    let ticket = ask(&mut world, app, select(fd, 0, 0));
    answer(&mut world, disk, b"x");
    assert_eq!(completion(&mut world, app, ticket), (Err(Errno::NOBUFS), None));
    assert_eq!(app.read(&mut world, BUFFERS + 35, 15).unwrap(), [0; 15], "what was left over is untouched");
}

#[test]
fn what_is_wrong_with_a_buffer_is_said_with_its_name() {
    let (mut world, disk, app, fd) = begin();
    let mut group = Group::new(&mut world, app, 8, 32, 0);
    let read_only = app.map(&mut world, PAGE);
    let protect = args::Protect { space: CURRENT, address: read_only, length: PAGE, rights: args::map::READ };
    app.call(&mut world, protect.encode(0)).unwrap();
    let slot = args::RegisterBuffer { slot: 3, address: BUFFERS + 500, length: 40 };
    app.call(&mut world, slot.encode(0)).unwrap();
    let cases = [
        (BUFFERS, 31, Err(Errno::INVAL)),
        (BUFFERS, 0, Err(Errno::INVAL)),
        (0, 32, Err(Errno::FAULT)),
        (0x10_0000, 32, Err(Errno::FAULT)),
        (read_only, 32, Err(Errno::FAULT)),
        (0xffff_8000_0000_0000, 32, Err(Errno::FAULT)),
        (u64::MAX, u32::MAX, Err(Errno::FAULT)),
        (0b11 << 62 | u64::from(ID), 32, Err(Errno::FAULT)),
        (registered::buffer(4, 0), 32, Err(Errno::FAULT)),
        (registered::buffer(3, 33), 32, Err(Errno::FAULT)),
        (registered::buffer(3, 8), 32, Ok(8)),
        (BUFFERS, u32::MAX, Ok(8)),
    ];
    for (id, (address, length, result)) in (100..).zip(cases) {
        group.provide(&mut world, address, length, id);
        let ticket = ask(&mut world, app, select(fd, 8, 0));
        answer(&mut world, disk, b"12345678");
        assert_eq!(completion(&mut world, app, ticket), (result, Some((id, false))), "{address:#x} {length}");
    }
    assert_eq!(app.read(&mut world, BUFFERS + 508, 8).unwrap(), b"12345678", "a descriptor can name a slot");
}

#[test]
fn an_index_that_cannot_be_ends_its_author_alone() {
    for (offset, tail) in [(0, 9), (CURSOR, u32::MAX), (0, 0x7000_0000)] {
        let (mut world, disk, app, fd) = begin();
        let other = world.program();
        let theirs = other.open(&mut world, "/scheme/disk/b");
        Group::new(&mut world, app, 8, 32, 0);
        ask(&mut world, app, select(fd, 8, offset));
        app.write(&mut world, GROUP + TAIL, &u32::to_le_bytes(tail));
        answer(&mut world, disk, b"12345678");
        assert!(world.has_ended(app));
        assert_eq!(world.end_of(app), End::Ended(Reason::CorruptRing));
        let ticket =
            ask(&mut world, other, args::Read { fd: theirs, buffer: DATA, length: 8, offset: 0 }.encode(0));
        answer(&mut world, disk, b"still on");
        assert_eq!(other.result(&mut world, ticket), Some(Ok(8)));
    }
}

#[test]
fn a_context_that_reads_its_own_scheme_ends_by_its_own_index() {
    let mut world = World::new();
    let own = world.daemon("own");
    let app = own.program;
    let (buffer, length) = app.name(&mut world, "/scheme/own/a");
    let open = args::OpenAt { fd: CURRENT, buffer, length, flags: 0, capacity: 0 };
    let fd = app.call(&mut world, open.encode(0)).unwrap();
    Group::new(&mut world, app, 8, 32, 0);
    ask(&mut world, app, select(fd, 8, 0));
    app.write(&mut world, GROUP + TAIL, &9_u32.to_le_bytes());
    answer(&mut world, own, b"12345678");
    assert!(world.has_ended(app));
    world.check();
}

#[test]
fn only_what_counts_its_bytes_chooses_a_buffer() {
    let (mut world, disk, app, fd) = begin();
    let mut group = Group::new(&mut world, app, 8, 32, 0);
    let with = |sqe: Sqe, flags: SqeFlags, group: u16| Sqe { group, ..sqe.with_flags(flags) };
    let read = args::Read { fd, buffer: DATA, length: 8, offset: 0 }.encode(0);
    let chosen = SqeFlags::BUFFER_SELECT;
    for (sqe, error) in [
        (with(args::Write { fd, buffer: DATA, length: 8, offset: 0 }.encode(0), chosen, ID), Errno::INVAL),
        (with(args::Fstat { fd, buffer: DATA, length: 8 }.encode(0), chosen, ID), Errno::INVAL),
        (
            with(args::Call { fd, buffer: DATA, length: 8, verb: 0, argument: 0 }.encode(0), chosen, ID),
            Errno::INVAL,
        ),
        (with(args::Nop {}.encode(0), chosen, ID), Errno::INVAL),
        (with(read, SqeFlags::empty(), ID), Errno::INVAL),
        (with(read, chosen | SqeFlags::ONEWAY, ID), Errno::INVAL),
        (with(read, chosen | SqeFlags::MULTIPLE_IDS, ID), Errno::INVAL),
        (with(read, chosen, ID ^ 1), Errno::NOENT),
        (with(args::Read { fd: 999, buffer: DATA, length: 8, offset: 0 }.encode(0), chosen, ID), Errno::BADF),
    ] {
        let ticket = app.submit(&mut world, sqe);
        world.run_until_idle();
        assert_eq!(app.result(&mut world, ticket), Some(Err(error)), "{sqe:?}");
    }
    let clock = app.open(&mut world, "/scheme/time/4");
    assert_eq!(app.call(&mut world, select(clock, 16, 0)), Err(Errno::OPNOTSUPP));
    assert_eq!(disk.waiting(&mut world), 0);

    for (id, sqe) in (1..).zip([
        args::Getdents { fd, buffer: 0, length: 20, header: 24, start: 5 }.encode(0),
        args::Fpath { fd, buffer: 0, length: 0 }.encode(0),
    ]) {
        group.provide(&mut world, BUFFERS, 32, id);
        let ticket = ask(&mut world, app, with(sqe, chosen, ID));
        answer(&mut world, disk, b"bytes");
        assert_eq!(completion(&mut world, app, ticket), (Ok(5), Some((id, false))));
        assert_eq!(app.read(&mut world, BUFFERS, 5).unwrap(), b"bytes");
        app.write(&mut world, BUFFERS, &[0; 8]);
    }
    let flags = |opcode: Opcode| args::Probe { opcode: u32::from(opcode.raw()) }.encode(0);
    for (opcode, answer) in [
        (Opcode::Read, 1 | 0xdc << 8),
        (Opcode::Write, 1 | 0x9c << 8),
        (Opcode::RegisterGroup, 1 | 0x9c << 8),
    ] {
        assert_eq!(app.call(&mut world, flags(opcode)), Ok(answer));
    }
}

#[test]
fn a_group_that_cannot_be_is_refused() {
    let (mut world, _, app, _) = begin();
    let ring = world.ring(app, 0).address;
    let edge = app.map(&mut world, PAGE);
    world.run_until_idle();
    register(&mut world, app, 9, GROUP, 1, 1, 0).unwrap();
    let before = world.accounts();
    for (group, address, entries, size, flags, error) in [
        (0x1_0000, GROUP, 4, 8, 0, Errno::INVAL),
        (1, GROUP, 3, 8, 0, Errno::INVAL),
        (1, GROUP, 8192, 8, 0, Errno::INVAL),
        (1, GROUP, 4, 0, 0, Errno::INVAL),
        (1, GROUP, 4, 65537, 0, Errno::INVAL),
        (1, GROUP, 4, 8, 2, Errno::INVAL),
        (1, GROUP + 8, 4, 8, 0, Errno::INVAL),
        (9, GROUP, 4, 8, 0, Errno::EXIST),
        (1, GROUP, 0, 0, 0, Errno::NOENT),
        (1, 0, 4, 8, 0, Errno::FAULT),
        (1, edge + PAGE - 64, 4, 8, 0, Errno::FAULT),
        (1, ring & !15, 4, 8, 0, Errno::ACCES),
        (1, 0xffff_ffff_ffff_fff0, 4, 8, 0, Errno::FAULT),
        (1, registered::buffer(0, 0), 4, 8, 0, Errno::FAULT),
    ] {
        let result = register(&mut world, app, group, address, entries, size, flags);
        assert_eq!(result, Err(error), "{group} {address:#x} {entries} {size} {flags}");
    }
    assert_eq!(world.accounts(), before);
    for id in 100..100 + group::MOST_GROUPS - 1 {
        assert_eq!(register(&mut world, app, id, GROUP, 4, 8, 0), Ok(0), "groups may share memory");
    }
    assert_eq!(register(&mut world, app, 200, GROUP, 4, 8, 0), Err(Errno::NFILE));
    assert_eq!(register(&mut world, app, 105, 0, 0, 0, 0), Ok(0));
    assert_eq!(register(&mut world, app, 200, GROUP, 4, 8, 0), Ok(0));
}

#[test]
fn the_memory_of_a_group_stays_what_it_was() {
    let (mut world, disk, app, fd) = begin();
    let mut group = Group::new(&mut world, app, 4, 32, 0);
    group.provide(&mut world, BUFFERS, 32, 1);
    group.provide(&mut world, DATA + 12 * PAGE, 32, 2);
    app.call(&mut world, args::Unmap { space: CURRENT, address: GROUP, length: PAGE }.encode(0)).unwrap();
    let gone = args::Unmap { space: CURRENT, address: DATA + 12 * PAGE, length: PAGE };
    app.call(&mut world, gone.encode(0)).unwrap();
    let other = world.program();
    let theirs = other.map(&mut world, 16 * PAGE);
    for page in 0..16 {
        other.write(&mut world, theirs + page * PAGE, &[0xff; 4096]);
    }
    for (id, result) in [(1, Ok(4)), (2, Err(Errno::FAULT))] {
        let ticket = ask(&mut world, app, select(fd, 4, 0));
        answer(&mut world, disk, b"here");
        assert_eq!(completion(&mut world, app, ticket), (result, Some((id, false))));
    }
    assert_eq!(app.read(&mut world, BUFFERS, 4).unwrap(), b"here");
    for page in 0..16 {
        assert_eq!(
            other.read(&mut world, theirs + page * PAGE, 4096).unwrap(),
            [0xff; 4096],
            "nobody else's memory"
        );
    }
}

#[test]
fn more_operations_than_buffers_are_in_flight() {
    let mut world = World::new();
    let disk = world.daemon_with("disk", 2);
    let app = world.program_with(Sizes { sq: 5, cq: 5, service: None });
    let fd = app.open(&mut world, "/scheme/disk/a");
    let mut group = Group::new(&mut world, app, 2, 128, 0);
    // Most of them wait for a place in the daemon's queue first.
    let tickets: Vec<_> = (0..24).map(|at| app.submit(&mut world, select(fd, 100 + at, at))).collect();
    world.run_until_idle();
    for (at, ticket) in (0..).zip(tickets) {
        group.provide(&mut world, BUFFERS + at % 2 * 128, 128, at as u16);
        let request = disk.request(&mut world).unwrap();
        assert_eq!((request.args[2], request.args[3]), (100 + at, at), "it is asked as it was submitted");
        disk.fill(&mut world, &request, &[at as u8; 100]);
        disk.reply(&mut world, request, Ok(100));
        world.run_until_idle();
        assert_eq!(completion(&mut world, app, ticket), (Ok(100), Some((at as u16, false))));
        assert_eq!(app.read(&mut world, BUFFERS + at % 2 * 128, 100).unwrap(), [at as u8; 100]);
    }
}

#[test]
fn plain_reads_and_those_that_choose_are_answered_together() {
    let mut world = World::new();
    let disk = world.daemon_with("disk", 5);
    let app = world.program_with(Sizes { sq: 5, cq: 5, service: None });
    let fd = app.open(&mut world, "/scheme/disk/a");
    let mut group = Group::new(&mut world, app, 32, 16, args::group::INCREMENTAL);
    for round in 0..8 {
        for number in 0..24_u16 {
            group.provide(&mut world, BUFFERS + u64::from(number) * 16, 16, number);
        }
        let plain = |at: u64| args::Read { fd, buffer: DATA + at * 16, length: 8, offset: at }.encode(0);
        let sqe = |at: u64| if (at + round).is_multiple_of(3) { plain(at) } else { select(fd, 0, at) };
        let tickets: Vec<_> = (0..24).map(|at| app.submit(&mut world, sqe(at))).collect();
        world.run_until_idle();
        let taken = group.taken(&mut world);
        while let Some(request) = disk.request(&mut world) {
            disk.fill(&mut world, &request, &request.args[3].to_le_bytes());
            disk.reply(&mut world, request, Ok(8));
        }
        world.run_until_idle();
        for (at, ticket) in (0..24_u64).zip(tickets) {
            let (result, buffer) = completion(&mut world, app, ticket);
            assert_eq!((result, buffer.is_none()), (Ok(8), (at + round) % 3 == 0));
            let place = buffer.map_or(DATA + at * 16, |(id, _)| BUFFERS + u64::from(id) * 16);
            assert_eq!(app.read(&mut world, place, 8).unwrap(), at.to_le_bytes());
        }
        assert_eq!(group.taken(&mut world), taken + 16);
        // Those that are left are taken, so that each round begins alike.
        while group.taken(&mut world) < group.tail {
            let ticket = ask(&mut world, app, select(fd, 0, 0));
            answer(&mut world, disk, b"rest");
            assert!(completion(&mut world, app, ticket).1.is_some());
        }
    }
}

#[test]
fn groups_end_with_their_ring() {
    for exec in [false, true] {
        let (mut world, disk, _, _) = begin();
        let before = world.accounts();
        let app = world.program();
        let fd = app.open(&mut world, "/scheme/disk/b");
        for id in 0..group::MOST_GROUPS {
            let entries = 1 << (id % 13);
            register(&mut world, app, id, GROUP, entries, 8, 0).unwrap();
        }
        let select = Sqe { group: 3, ..select(fd, 4, 0) };
        app.submit(&mut world, select);
        world.run_until_idle();
        if exec {
            let space = app.call(&mut world, args::SpaceCreate {}.encode(0)).unwrap();
            app.exec(&mut world, space, Sizes::SMALLEST);
            world.run_until_idle();
            world.give_cpu(app);
            assert_eq!(app.call(&mut world, select), Err(Errno::NOENT), "an exec leaves them");
        }
        world.kill(app);
        world.forget(app);
        let request = disk.request(&mut world).unwrap();
        disk.reply(&mut world, request, Ok(4));
        world.run_until_idle();
        assert_eq!(world.accounts(), before, "exec: {exec}");
    }
}

#[test]
fn making_a_large_group_goes_on_in_slices_and_is_cancelled() {
    let mut world = World::new();
    let app = world.program_with(Sizes { sq: 5, cq: 5, service: None });
    let memory = app.map(&mut world, 100 * PAGE);
    let sqe =
        args::RegisterGroup { group: 7, address: memory, entries: group::MOST_ENTRIES, size: 1, flags: 0 };
    app.call(&mut world, sqe.encode(0)).unwrap();
    register(&mut world, app, 7, 0, 0, 0, 0).unwrap();
    world.run_until_idle();
    let before = world.accounts();
    // So much else is to be done in the same step that the pages are left for later ones.
    let buffer = |length| args::RegisterBuffer { slot: 0, address: memory, length }.encode(0);
    let other = app.submit(&mut world, buffer(100 * PAGE));
    let ticket = app.submit(&mut world, sqe.encode(0));
    // A few submissions would have more of the step for themselves.
    for _ in 0..3 {
        app.submit(&mut world, args::Nop {}.encode(0));
    }
    app.push(&mut world);
    let cancel = args::CancelTag { tag: ticket.0, strength: Strength::Force as u32, grace: 0 };
    assert_eq!(app.call(&mut world, cancel.encode(0)), Ok(1));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, other), Some(Ok(0)));
    assert_eq!(app.call(&mut world, buffer(0)), Ok(0));
    world.run_until_idle();
    assert_eq!(app.result(&mut world, ticket), Some(Err(Errno::CANCELED)));
    assert_eq!(world.accounts(), before);
}

#[test]
fn without_memory_no_group_is_made() {
    let (mut world, _, app, _) = begin();
    let sqe = args::RegisterGroup { group: 7, address: GROUP, entries: 256, size: 1, flags: 0 };
    let before = world.accounts();
    let mut failures = 0;
    for left in 0.. {
        world.starve(left);
        let ticket = app.submit(&mut world, sqe.encode(0));
        app.push(&mut world);
        let was_enough = world.kernel.state.memory.will_fail();
        world.feed();
        world.run_until_idle();
        match app.result(&mut world, ticket).unwrap() {
            Ok(_) => {
                register(&mut world, app, 7, 0, 0, 0, 0).unwrap();
                world.run_until_idle();
            }
            Err(error) => {
                assert_eq!(error, Errno::NOMEM);
                failures += 1;
            }
        }
        let now = world.accounts();
        assert!(now == before.clone() || now == before.clone().with("outfits of rings", 1), "{now:?}");
        if was_enough {
            break;
        }
    }
    assert!(failures > 2, "only {failures} allocations failed");
}
