//! Files of daemons in programs' memory: pages that are the daemon's own.
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
use ring_abi::{Cqe, Errno, Opcode, Sqe};
use world::{Daemon, FIRST, Program, World, read, write};

const PAGE: u64 = 4096;
const R: u64 = map::READ;
const RW: u64 = map::READ | map::WRITE;

/// A daemon with a file of so many pages, each of which begins with its number, and a client that has it open.
struct Scene {
    world: World,
    disk: Daemon,
    app: Program,
    fd: u64,
    /// Where the daemon has the file.
    file: u64,
}

impl Scene {
    fn new(pages: u64) -> Scene {
        Scene::of(World::new(), pages)
    }

    fn of(mut world: World, pages: u64) -> Scene {
        let disk = world.daemon("disk");
        let app = world.program_with(Sizes { sq: 4, cq: 4, service: None });
        let fd = app.open(&mut world, "/scheme/disk/file");
        let file = memory(disk.program, &mut world, pages);
        for page in 0..pages {
            assert!(disk.program.write(&mut world, file + page * PAGE, &[page as u8 + 1; 8]));
        }
        Scene { world, disk, app, fd, file }
    }

    fn asks(&mut self, pages: u64, flags: u64) -> world::Ticket {
        let ticket = self.app.submit(&mut self.world, map_file(self.fd, pages, flags));
        self.app.push(&mut self.world);
        ticket
    }

    /// Maps the first pages of the file, of which so many are there.
    fn maps(&mut self, pages: u64, flags: u64, there: u32) -> u64 {
        let ticket = self.asks(pages, flags);
        self.answers(Ok(self.file), there);
        self.app.result(&mut self.world, ticket).expect("it ends").expect("there is room")
    }

    /// The daemon's answer to the question for pages.
    fn answers(&mut self, result: Result<u64, Errno>, there: u32) -> Sqe {
        let request = self.disk.request(&mut self.world).expect("it is asked");
        assert_eq!(Opcode::from_raw(request.opcode), Some(Opcode::MmapPrep));
        self.disk.reply_with(&mut self.world, Cqe::new(request.tag, result).with_extra(there));
        self.hand_in();
        self.world.run_until_idle();
        request
    }

    /// Lets the kernel take the daemon's answers.
    fn hand_in(&mut self) {
        let never = ring_abi::enter::NO_DEADLINE;
        self.disk.program.enter(&mut self.world, self.disk.ring, u64::from(u32::MAX), 0, 0, never);
    }

    fn reads(&mut self, at: u64) -> Option<u8> {
        self.app.read(&mut self.world, at, 1).map(|bytes| bytes[0])
    }

    fn frames(&self) -> u32 {
        self.world.kernel.state.memory.used(Use::Program)
    }

    fn unmaps(&mut self, at: u64, pages: u64) {
        let unmap = args::Unmap { space: CURRENT, address: at, length: pages * PAGE };
        self.app.call(&mut self.world, unmap.encode(0)).unwrap();
        self.world.run_until_idle();
    }
}

fn memory(program: Program, world: &mut World, pages: u64) -> u64 {
    let map = args::Map { space: CURRENT, address: 0, length: pages * PAGE, flags: RW | map::PRIVATE };
    program.call(world, map.encode(0)).expect("there is room")
}

fn map_file(fd: u64, pages: u64, flags: u64) -> Sqe {
    args::MapFile { fd, address: 0, length: pages * PAGE, flags, offset: 0, space: CURRENT }.encode(0)
}

#[test]
fn a_daemon_is_asked_once_and_its_pages_are_mapped_where_they_are_touched() {
    let mut scene = Scene::new(4);
    let before = scene.frames();
    let ticket = scene.asks(4, R | map::PRIVATE);
    let file = scene.file;
    let asked = scene.answers(Ok(file), 0);
    assert_eq!(asked.args[1..4], [4 * PAGE, R | map::PRIVATE, 0]);
    let at = scene.app.result(&mut scene.world, ticket).unwrap().unwrap();
    assert!(!scene.app.is_present(&mut scene.world, at));

    let seen: Vec<_> = (0..4).map(|page| scene.reads(at + page * PAGE)).collect();
    assert_eq!(seen, [Some(1), Some(2), Some(3), Some(4)]);
    assert_eq!(scene.frames(), before, "no frame of its own");
    assert_eq!(scene.disk.waiting(&mut scene.world), 0, "it was asked no more");
    assert!(!scene.app.write(&mut scene.world, at, b"x"), "it may only be read");
}

#[test]
fn what_is_written_to_a_private_page_is_nobody_elses() {
    let mut scene = Scene::new(2);
    let at = scene.maps(2, RW | map::PRIVATE, 0);
    let before = scene.frames();
    assert_eq!(scene.reads(at), Some(1));
    assert!(scene.app.write(&mut scene.world, at + 1, b"mine"));
    assert!(scene.app.write(&mut scene.world, at + PAGE, b"mine"));
    assert_eq!(scene.frames(), before + 2);
    assert_eq!(scene.app.peek(&mut scene.world, at, 6), b"\x01mine\x01");
    assert_eq!(scene.disk.program.peek(&mut scene.world, scene.file, 6), [1; 6]);
    assert_eq!(scene.disk.program.peek(&mut scene.world, scene.file + PAGE, 6), [2; 6]);
    scene.unmaps(at, 2);
    assert_eq!(scene.frames(), before);
}

#[test]
fn shared_pages_are_the_daemons_own_both_ways() {
    let mut scene = Scene::new(2);
    let at = scene.maps(2, RW | map::SHARED, 0);
    let before = scene.frames();
    assert!(scene.app.write(&mut scene.world, at, b"from the client"));
    assert_eq!(scene.disk.program.peek(&mut scene.world, scene.file, 15), b"from the client");
    assert!(scene.disk.program.write(&mut scene.world, scene.file + PAGE, b"from the daemon"));
    assert_eq!(scene.app.read(&mut scene.world, at + PAGE, 15).unwrap(), b"from the daemon");
    assert_eq!(scene.frames(), before);
    // A page that the daemon has never touched is one page for both all the same.
    let hole = memory(scene.disk.program, &mut scene.world, 1);
    scene.file = hole;
    let other = scene.maps(1, RW | map::SHARED, 0);
    assert_eq!(scene.reads(other), Some(0));
    assert!(scene.disk.program.write(&mut scene.world, hole, b"late"));
    assert_eq!(scene.app.peek(&mut scene.world, other, 4), b"late");
    // Both stay one when the daemon forks.
    scene.disk.program.call(&mut scene.world, args::SpaceFork {}.encode(0)).unwrap();
    assert!(scene.disk.program.write(&mut scene.world, hole, b"fork"));
    assert_eq!(scene.app.peek(&mut scene.world, other, 4), b"fork");
}

#[test]
fn a_shared_file_that_is_only_read_can_never_be_written() {
    let mut scene = Scene::new(1);
    let at = scene.maps(1, R | map::SHARED, 0);
    assert_eq!(scene.reads(at), Some(1));
    let protect = args::Protect { space: CURRENT, address: at, length: PAGE, rights: RW };
    assert_eq!(scene.app.call(&mut scene.world, protect.encode(0)), Err(Errno::ACCES));
    assert!(!scene.app.write(&mut scene.world, at, b"x"));
}

#[test]
fn a_private_file_can_be_written_after_a_change_of_rights() {
    for cpus in [1, 2] {
        let mut scene = Scene::of(World::with_cpus(64 << 20, cpus), 2);
        let at = scene.maps(2, R | map::PRIVATE, 0);
        assert_eq!(scene.reads(at), Some(1));
        let protect = args::Protect { space: CURRENT, address: at, length: 2 * PAGE, rights: RW };
        assert_eq!(scene.app.call(&mut scene.world, protect.encode(0)), Ok(0));
        assert!(scene.app.write(&mut scene.world, at, b"x"));
        assert!(scene.app.write(&mut scene.world, at + PAGE, b"y"));
        assert_eq!(scene.app.peek(&mut scene.world, at, 2), b"x\x01");
        assert_eq!(scene.disk.program.peek(&mut scene.world, scene.file, 2), [1, 1]);
    }
}

#[test]
fn operations_touch_pages_of_files() {
    let mut scene = Scene::new(3);
    let at = scene.maps(3, RW | map::PRIVATE, 0);
    let fd = scene.fd;
    let out = scene.app.submit(&mut scene.world, write(fd, at + PAGE - 4, 8));
    scene.app.push(&mut scene.world);
    let request = scene.disk.request(&mut scene.world).unwrap();
    let mut end = vec![0; 4];
    end.extend([2; 4]);
    assert_eq!(scene.disk.payload(&mut scene.world, &request), end);
    scene.disk.reply(&mut scene.world, request, Ok(8));
    scene.hand_in();
    assert_eq!(scene.app.result(&mut scene.world, out), Some(Ok(8)));

    let back = scene.app.submit(&mut scene.world, read(fd, at + 2 * PAGE, 2));
    scene.app.push(&mut scene.world);
    let request = scene.disk.request(&mut scene.world).unwrap();
    scene.disk.fill(&mut scene.world, &request, b"ok");
    scene.disk.reply(&mut scene.world, request, Ok(2));
    scene.hand_in();
    assert_eq!(scene.app.result(&mut scene.world, back), Some(Ok(2)));
    assert_eq!(scene.app.peek(&mut scene.world, at + 2 * PAGE, 3), b"ok\x03");
    assert_eq!(scene.disk.program.peek(&mut scene.world, scene.file + 2 * PAGE, 3), [3; 3]);
}

#[test]
fn behind_the_end_of_a_file_a_program_ends_and_an_operation_fails() {
    let mut scene = Scene::new(2);
    let other = scene.world.thread(scene.app, Sizes::SMALLEST);
    let at = scene.maps(4, RW | map::PRIVATE, 1);
    assert_eq!(scene.reads(at), Some(1));
    let fd = scene.fd;
    let write = write(fd, at + PAGE, 1);
    assert_eq!(scene.app.call(&mut scene.world, write), Err(Errno::IO));
    assert!(!other.write(&mut scene.world, at + PAGE, b"x"));
    assert_eq!(scene.world.end_of(other), End::Ended(Reason::BusError));
    assert_eq!(scene.reads(at), Some(1), "nobody else is hurt");
}

#[test]
fn what_a_daemon_has_taken_away_is_out_of_reach_but_what_was_touched_stays() {
    let mut scene = Scene::new(3);
    let at = scene.maps(3, RW | map::PRIVATE, 0);
    assert_eq!(scene.reads(at), Some(1));
    let unmap = args::Unmap { space: CURRENT, address: scene.file, length: 3 * PAGE };
    scene.disk.program.call(&mut scene.world, unmap.encode(0)).unwrap();
    assert_eq!(scene.reads(at), Some(1));
    let write = write(scene.fd, at + PAGE, 1);
    assert_eq!(scene.app.call(&mut scene.world, write), Err(Errno::IO));
    let before = scene.frames();
    assert!(scene.app.write(&mut scene.world, at, b"mine"), "the last who has it writes in place");
    assert_eq!(scene.frames(), before);
}

#[test]
fn a_daemon_that_dies_leaves_what_was_touched() {
    let mut scene = Scene::new(2);
    let other = scene.world.thread(scene.app, Sizes::SMALLEST);
    let at = scene.maps(2, R | map::PRIVATE, 0);
    assert_eq!(scene.reads(at), Some(1));
    scene.disk.kill(&mut scene.world);
    scene.world.run_until_idle();
    scene.world.forget(scene.disk.program);
    scene.world.run_until_idle();
    // Its record is used again for another space, which must not be looked into.
    let next = scene.world.program();
    let same = memory(next, &mut scene.world, 64);
    assert!(next.write(&mut scene.world, same, b"secret"));
    assert_eq!(scene.reads(at), Some(1));
    assert_eq!(other.read(&mut scene.world, at + PAGE, 1), None);
    assert_eq!(scene.world.end_of(other), End::Ended(Reason::BusError));
    scene.unmaps(at, 2);
}

#[test]
fn a_file_stays_open_until_its_last_page_is_unmapped() {
    let mut scene = Scene::new(4);
    let at = scene.maps(4, R | map::PRIVATE, 0);
    scene.app.call(&mut scene.world, args::Close { fd: scene.fd }.encode(0)).unwrap();
    scene.unmaps(at + PAGE, 2);
    assert_eq!(scene.disk.closed(&mut scene.world), []);
    assert_eq!(scene.reads(at + 3 * PAGE), Some(4));
    scene.unmaps(at, 1);
    assert_eq!(scene.disk.closed(&mut scene.world), []);
    scene.unmaps(at + 3 * PAGE, 1);
    assert_eq!(scene.disk.closed(&mut scene.world), [100]);
}

#[test]
fn the_end_of_a_program_closes_the_files_that_it_maps() {
    let mut scene = Scene::new(4);
    scene.maps(4, R | map::PRIVATE, 0);
    scene.maps(2, RW | map::SHARED, 0);
    let app = scene.app;
    scene.world.kill(app);
    scene.world.run_until_idle();
    scene.world.forget(app);
    scene.world.run_until_idle();
    assert_eq!(scene.disk.closed(&mut scene.world), [100]);
}

#[test]
fn a_fork_has_the_same_file() {
    for cpus in [1, 2] {
        let mut scene = Scene::of(World::with_cpus(64 << 20, cpus), 3);
        let at = scene.maps(3, RW | map::PRIVATE, 0);
        assert_eq!(scene.reads(at), Some(1));
        assert!(scene.app.write(&mut scene.world, at + PAGE, b"old"));
        let space = scene.app.call(&mut scene.world, args::SpaceFork {}.encode(0)).unwrap();
        assert!(scene.app.write(&mut scene.world, at, b"new"));
        assert!(scene.app.write(&mut scene.world, at + PAGE, b"new"));
        let table = scene.app.call(&mut scene.world, args::TableCreate { copy: 0 }.encode(0)).unwrap();
        let child = scene.world.context(scene.app, space, table, Sizes::SMALLEST);
        assert_eq!(child.peek(&mut scene.world, at, 3), [1; 3]);
        assert_eq!(child.peek(&mut scene.world, at + PAGE, 3), b"old");
        assert_eq!(child.read(&mut scene.world, at + 2 * PAGE, 1).unwrap(), [3], "nobody had touched it");
        scene.unmaps(at, 3);
        assert_eq!(child.read(&mut scene.world, at + 2 * PAGE, 1).unwrap(), [3]);
    }
}

#[test]
fn advice_takes_private_pages_back_to_what_the_file_has() {
    let mut scene = Scene::new(3);
    let at = scene.maps(3, RW | map::PRIVATE, 0);
    let before = scene.frames();
    let advise = |advice| args::Advise { space: CURRENT, address: at, length: 3 * PAGE, advice }.encode(0);
    assert_eq!(scene.app.call(&mut scene.world, advise(args::advice::WILLNEED)), Ok(0));
    assert!(scene.app.is_present(&mut scene.world, at + 2 * PAGE));
    assert_eq!(scene.frames(), before, "no copies on an advice");
    assert!(scene.app.write(&mut scene.world, at, b"mine"));
    assert_eq!(scene.app.call(&mut scene.world, advise(args::advice::DONTNEED)), Ok(0));
    assert_eq!(scene.reads(at), Some(1));
    assert_eq!(scene.frames(), before);
}

#[test]
fn pages_that_are_asked_for_at_once_are_there_as_far_as_the_file_goes() {
    let mut scene = Scene::new(3);
    let at = scene.maps(5, R | map::PRIVATE | map::POPULATE, 3);
    let there = [0, 1, 2, 3, 4].map(|page| scene.app.is_present(&mut scene.world, at + page * PAGE));
    assert_eq!(there, [true, true, true, false, false]);
}

#[test]
fn a_mapping_takes_the_place_of_another() {
    let mut scene = Scene::new(2);
    let area = memory(scene.app, &mut scene.world, 4);
    assert!(scene.app.write(&mut scene.world, area + PAGE, b"gone"));
    let fixed = args::MapFile {
        fd: scene.fd,
        address: area + PAGE,
        length: 2 * PAGE,
        flags: R | map::PRIVATE | map::FIXED,
        offset: 0,
        space: CURRENT,
    };
    let ticket = scene.app.submit(&mut scene.world, fixed.encode(0));
    scene.app.push(&mut scene.world);
    let file = scene.file;
    scene.answers(Ok(file), 0);
    assert_eq!(scene.app.result(&mut scene.world, ticket), Some(Ok(area + PAGE)));
    assert_eq!(scene.reads(area + PAGE), Some(1));
    assert_eq!(scene.reads(area + 2 * PAGE), Some(2));
    assert_eq!(scene.reads(area + 3 * PAGE), Some(0));
    let taken = args::MapFile { flags: R | map::PRIVATE | map::FIXED_NOREPLACE, ..fixed };
    let ticket = scene.app.submit(&mut scene.world, taken.encode(0));
    scene.app.push(&mut scene.world);
    scene.answers(Ok(file), 0);
    assert_eq!(scene.app.result(&mut scene.world, ticket), Some(Err(Errno::EXIST)));
}

#[test]
fn a_daemon_may_not_map_what_it_serves_itself() {
    let mut scene = Scene::new(1);
    let fd = FIRST.open(&mut scene.world, "/scheme/disk/file");
    let [space, _] = scene.world.home(scene.disk.program);
    let flags = R | map::PRIVATE;
    let into = args::MapFile { fd, address: 0, length: PAGE, flags, offset: 0, space };
    assert_eq!(FIRST.call(&mut scene.world, into.encode(0)), Err(Errno::DEADLK));
    // Nor has the kernel pages of its own to give.
    let clock = scene.app.open(&mut scene.world, "/scheme/time/1");
    assert_eq!(scene.app.call(&mut scene.world, map_file(clock, 1, flags)), Err(Errno::NODEV));
}

#[test]
fn answers_that_make_no_sense_are_errors_of_the_daemon() {
    for (answer, there, error) in [
        (Ok(1), 0, Errno::IO),
        (Ok(u64::MAX >> 8 & !0xfff), 0, Errno::IO),
        (Ok(1 << 46), 0, Errno::IO),
        (Err(Errno::ACCES), 0, Errno::ACCES),
        (Err(Errno::NOSYS), 0, Errno::NODEV),
        (Err(Errno::OPNOTSUPP), 0, Errno::NODEV),
    ] {
        let mut scene = Scene::new(1);
        let before = scene.world.accounts();
        let ticket = scene.asks(1, R | map::PRIVATE);
        scene.answers(answer, there);
        let result = scene.app.result(&mut scene.world, ticket).unwrap();
        if answer == Ok(1 << 46) {
            // An address like any other, but nothing is there.
            let at = result.unwrap();
            assert_eq!(scene.app.call(&mut scene.world, write(scene.fd, at, 1)), Err(Errno::IO));
        } else {
            assert_eq!(result, Err(error), "{answer:?}");
            let after = scene.world.accounts();
            assert_eq!(after, before);
        }
    }
}

#[test]
fn a_mapping_that_nobody_waits_for_comes_to_nothing() {
    let mut scene = Scene::new(1);
    let ticket = scene.asks(1, R | map::PRIVATE);
    let request = scene.disk.request(&mut scene.world).unwrap();
    let app = scene.app;
    scene.world.kill(app);
    scene.world.run_until_idle();
    scene.world.forget(app);
    scene.world.run_until_idle();
    let file = scene.file;
    scene.disk.reply(&mut scene.world, request, Ok(file));
    scene.hand_in();
    scene.world.run_until_idle();
    assert_eq!(scene.disk.closed(&mut scene.world), [100]);
    let _ = ticket;

    // And one whose daemon dies.
    let mut scene = Scene::new(1);
    let ticket = scene.asks(1, R | map::PRIVATE);
    scene.disk.kill(&mut scene.world);
    scene.world.run_until_idle();
    assert_eq!(scene.app.result(&mut scene.world, ticket), Some(Err(Errno::CONNRESET)));
}

#[test]
fn nonsense_is_refused_before_the_daemon_is_asked() {
    let mut scene = Scene::new(1);
    let good = args::MapFile {
        fd: scene.fd,
        address: 0,
        length: PAGE,
        flags: R | map::PRIVATE,
        offset: 0,
        space: CURRENT,
    };
    for (bad, error) in [
        (args::MapFile { fd: 99, ..good }, Errno::BADF),
        (args::MapFile { address: 1, flags: good.flags | map::FIXED_NOREPLACE, ..good }, Errno::INVAL),
        (args::MapFile { length: 0, ..good }, Errno::INVAL),
        (args::MapFile { length: u64::MAX, ..good }, Errno::INVAL),
        (args::MapFile { length: 1 << 50, ..good }, Errno::NOMEM),
        (args::MapFile { offset: 12, ..good }, Errno::INVAL),
        (args::MapFile { offset: 1 << 63, ..good }, Errno::INVAL),
        (args::MapFile { flags: R, ..good }, Errno::INVAL),
        (args::MapFile { flags: RW | map::EXECUTE | map::PRIVATE, ..good }, Errno::INVAL),
        (args::MapFile { space: 98, ..good }, Errno::BADF),
    ] {
        assert_eq!(scene.app.call(&mut scene.world, bad.encode(0)), Err(error), "{bad:?}");
    }
    assert_eq!(scene.disk.waiting(&mut scene.world), 0);
}
