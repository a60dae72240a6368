//! Pages of files that a daemon is asked for when they are touched.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use kernel::mem::frames::Use;
use kernel::op::page_in::PATIENCE;
use ring_abi::args::{self, CURRENT, Strength, map};
use ring_abi::context::{End, Reason};
use ring_abi::layout::Sizes;
use ring_abi::sqe::SqeFlags;
use ring_abi::{Cqe, Errno, Opcode, Sqe};
use world::{DATA, Daemon, Program, Ticket, World, read, write};

const PAGE: u64 = 4096;
const R: u64 = map::READ;
const RW: u64 = map::READ | map::WRITE;
const SECOND: u64 = 1_000_000_000;
/// Pages of the file.
const PAGES: u64 = 40;

/// A daemon with a file, each page of which begins with its number, and a client that has it mapped: nothing of it is there.
struct Scene {
    world: World,
    disk: Daemon,
    app: Program,
    fd: u64,
    /// Where the daemon has the file.
    file: u64,
    /// Where the client has it.
    at: u64,
}

impl Scene {
    fn new(flags: u64) -> Scene {
        Scene::of(World::new(), flags)
    }

    fn of(mut world: World, flags: u64) -> Scene {
        let disk = world.daemon("disk");
        let app = world.program_with(Sizes { sq: 5, cq: 5, service: None });
        let fd = app.open(&mut world, "/scheme/disk/file");
        let map = args::Map { space: CURRENT, address: 0, length: PAGES * PAGE, flags: RW | map::PRIVATE };
        let file = disk.program.call(&mut world, map.encode(0)).unwrap();
        for page in 0..PAGES {
            assert!(disk.program.write(&mut world, file + page * PAGE, &[page as u8 + 1; 8]));
        }
        let mut scene = Scene { world, disk, app, fd, file, at: 0 };
        scene.at = scene.maps(flags);
        scene
    }

    /// Maps all of the file once more.
    fn maps(&mut self, flags: u64) -> u64 {
        let entry =
            args::MapFile { fd: self.fd, address: 0, length: PAGES * PAGE, flags, offset: 0, space: CURRENT };
        let ticket = self.submits(entry.encode(0));
        let request = self.disk.request(&mut self.world).expect("it is asked");
        assert_eq!(Opcode::from_raw(request.opcode), Some(Opcode::MmapPrep));
        self.answers(request, Ok(0), 0);
        self.app.result(&mut self.world, ticket).expect("it ends").expect("there is room")
    }

    fn submits(&mut self, entry: Sqe) -> Ticket {
        let ticket = self.app.submit(&mut self.world, entry);
        self.app.push(&mut self.world);
        ticket
    }

    /// The question for pages from this one on.
    fn question(&mut self, page: u64) -> Sqe {
        self.world.run_until_idle();
        let request = self.disk.request(&mut self.world).expect("it is asked");
        assert_eq!(Opcode::from_raw(request.opcode), Some(Opcode::RequestMmap));
        assert_eq!(request.args[3], page * PAGE);
        assert_eq!(request.args[1], (PAGES - page).min(16) * PAGE, "and some behind it");
        assert_eq!(request.args[2] & map::SHARED != 0, request.args[2] & map::WRITE != 0);
        request
    }

    fn answers(&mut self, request: Sqe, result: Result<u64, Errno>, there: u32) {
        self.disk.reply_with(&mut self.world, Cqe::new(request.tag, result).with_extra(there));
        self.hand_in();
        self.world.run_until_idle();
    }

    fn hand_in(&mut self) {
        let never = ring_abi::enter::NO_DEADLINE;
        self.disk.program.enter(&mut self.world, self.disk.ring, u64::from(u32::MAX), 0, 0, never);
    }

    /// The daemon gives what it is asked for: pages from this one on.
    fn gives(&mut self, page: u64, there: u32) {
        let request = self.question(page);
        let address = self.file + page * PAGE;
        self.answers(request, Ok(address), there);
    }

    fn frames(&self) -> u32 {
        self.world.kernel.state.memory.used(Use::Program)
    }

    fn touches(&mut self, page: u64) -> bool {
        let at = self.at + page * PAGE;
        self.app.begins_to_touch(&mut self.world, at, false)
    }

    fn reads(&mut self, page: u64) -> u8 {
        let at = self.at + page * PAGE;
        self.app.read(&mut self.world, at, 1).expect("it lives")[0]
    }

    /// Nothing is left of page-ins.
    fn is_over(&mut self) {
        self.world.run_until_idle();
        let s = &self.world.kernel.state;
        assert_eq!((s.page_ins.live(), s.waiters.live()), (0, 0));
    }
}

#[test]
fn a_fault_waits_for_the_daemon_and_goes_on() {
    let mut scene = Scene::new(R | map::PRIVATE);
    let before = scene.frames();
    assert!(scene.touches(3));
    scene.gives(3, 4);
    assert_eq!(scene.reads(3), 4);
    assert_eq!((4..7).map(|page| scene.reads(page)).collect::<Vec<_>>(), [5, 6, 7], "read ahead");
    assert_eq!(scene.disk.waiting(&mut scene.world), 0);
    assert!(scene.touches(7));
    scene.gives(7, 0);
    assert_eq!(scene.reads(20), 21);
    assert_eq!(scene.frames(), before, "the daemon's own frames");
    scene.is_over();
}

#[test]
fn a_page_that_is_written_is_the_writers_or_everybodys() {
    let mut scene = Scene::new(RW | map::PRIVATE);
    let at = scene.at;
    assert!(scene.app.begins_to_touch(&mut scene.world, at, true));
    scene.gives(0, 1);
    assert!(scene.app.write(&mut scene.world, at + 1, b"mine"));
    assert_eq!(scene.disk.program.peek(&mut scene.world, scene.file, 5), [1; 5]);
    scene.at = scene.maps(RW | map::SHARED);
    let at = scene.at;
    assert!(scene.app.begins_to_touch(&mut scene.world, at + PAGE, true));
    scene.gives(1, 1);
    assert!(scene.app.write(&mut scene.world, at + PAGE + 1, b"ours"));
    assert_eq!(scene.disk.program.peek(&mut scene.world, scene.file + PAGE, 5), b"\x02ours");
    scene.is_over();
}

#[test]
fn those_who_touch_the_same_pages_wait_for_one_answer() {
    let mut scene = Scene::new(R | map::PRIVATE);
    let others: Vec<_> = (0..5).map(|_| scene.world.thread(scene.app, Sizes::SMALLEST)).collect();
    assert!(scene.touches(8));
    let at = scene.at;
    for (page, other) in (8..).zip(&others) {
        assert!(other.begins_to_touch(&mut scene.world, at + page * PAGE, false));
    }
    scene.gives(8, 0);
    assert_eq!(scene.disk.waiting(&mut scene.world), 0);
    assert_eq!(scene.reads(8), 9);
    for (page, other) in (8..).zip(&others) {
        assert_eq!(other.read(&mut scene.world, at + page * PAGE, 1).unwrap(), [page as u8 + 1]);
    }
    scene.is_over();
}

#[test]
fn many_pages_far_apart_are_asked_for_a_few_at_a_time() {
    let mut scene = Scene::new(R | map::PRIVATE);
    let others: Vec<_> = (0..20).map(|_| scene.world.thread(scene.app, Sizes::SMALLEST)).collect();
    let at = scene.at;
    // From the last to the first, so that none is asked for ahead of another.
    for (page, other) in (0..20).rev().zip(&others) {
        assert!(other.begins_to_touch(&mut scene.world, at + 2 * page * PAGE, false));
    }
    assert_eq!(scene.disk.waiting(&mut scene.world), 8);
    for _ in 0..40 {
        let Some(request) = scene.disk.request(&mut scene.world) else { break };
        let address = scene.file + request.args[3];
        scene.answers(request, Ok(address), 1);
        for (page, other) in (0..20).rev().zip(&others) {
            if scene.world.mode(*other) == world::Mode::Own {
                other.begins_to_touch(&mut scene.world, at + 2 * page * PAGE, false);
            }
        }
    }
    for (page, other) in (0..20).rev().zip(&others) {
        assert_eq!(other.read(&mut scene.world, at + 2 * page * PAGE, 1).unwrap(), [2 * page as u8 + 1]);
    }
    scene.is_over();
}

#[test]
fn operations_wait_for_their_buffers_at_any_place_of_a_batch() {
    let mut scene = Scene::new(RW | map::PRIVATE);
    let (fd, at) = (scene.fd, scene.at);
    scene.app.write(&mut scene.world, DATA, b"plain");
    let entries =
        [write(fd, DATA, 5), write(fd, at + PAGE - 2, 4), write(fd, DATA, 5), read(fd, at + 20 * PAGE, 6)];
    let tickets = entries.map(|entry| scene.app.submit(&mut scene.world, entry));
    scene.app.push(&mut scene.world);
    let mut written = Vec::new();
    for _ in 0..20 {
        let Some(request) = scene.disk.request(&mut scene.world) else { break };
        match Opcode::from_raw(request.opcode) {
            Some(Opcode::RequestMmap) => {
                let address = scene.file + request.args[3];
                scene.answers(request, Ok(address), 1);
            }
            Some(Opcode::Write) => {
                written.push(scene.disk.payload(&mut scene.world, &request));
                let length = request.args[2];
                scene.answers(request, Ok(length), 0);
            }
            _ => {
                scene.disk.fill(&mut scene.world, &request, b"filled");
                scene.answers(request, Ok(6), 0);
            }
        }
    }
    let results = tickets.map(|ticket| scene.app.result(&mut scene.world, ticket));
    assert_eq!(results, [Some(Ok(5)), Some(Ok(4)), Some(Ok(5)), Some(Ok(6))]);
    written.sort();
    assert_eq!(written, [vec![0, 0, 2, 2], b"plain".to_vec(), b"plain".to_vec()]);
    assert_eq!(scene.app.peek(&mut scene.world, at + 20 * PAGE, 7), b"filled\x15");
    scene.is_over();
}

#[test]
fn kernel_operations_wait_for_what_they_read() {
    let mut scene = Scene::new(RW | map::PRIVATE);
    let at = scene.at;
    // A futex's word, a path, the time, and bytes for another space.
    let wait = scene.submits(args::FutexWait { address: at, expected: 7, deadline: u64::MAX }.encode(0));
    assert_eq!(scene.app.result(&mut scene.world, wait), None);
    scene.gives(0, 1);
    assert_eq!(scene.app.result(&mut scene.world, wait), Some(Err(Errno::AGAIN)));
    let open = args::OpenAt { fd: CURRENT, buffer: at + PAGE, length: 8, flags: 0, capacity: 8 };
    let open = scene.submits(open.encode(0));
    scene.gives(1, 1);
    assert_eq!(scene.app.result(&mut scene.world, open), Some(Err(Errno::NOENT)), "no path begins so");
    let clock = scene.app.open(&mut scene.world, "/scheme/time/1");
    let time = scene.submits(read(clock, at + 2 * PAGE, 16));
    scene.gives(2, 1);
    assert_eq!(scene.app.result(&mut scene.world, time), Some(Ok(16)));
    let space = scene.app.call(&mut scene.world, args::SpaceCreate {}.encode(0)).unwrap();
    let room = args::Map { space, address: DATA, length: 2 * PAGE, flags: RW | map::PRIVATE | map::FIXED };
    scene.app.call(&mut scene.world, room.encode(0)).unwrap();
    let copy = args::SpaceWrite { space, target: DATA, buffer: at + 4 * PAGE - 8, length: 16 };
    let copy = scene.submits(copy.encode(0));
    scene.gives(3, 1);
    scene.gives(4, 1);
    assert_eq!(scene.app.result(&mut scene.world, copy), Some(Ok(0)));
    scene.is_over();
}

#[test]
fn an_operation_of_a_chain_waits_and_the_chain_with_it() {
    let mut scene = Scene::new(R | map::PRIVATE);
    let (fd, at) = (scene.fd, scene.at);
    let first = scene.app.submit(&mut scene.world, write(fd, at, 4).with_flags(SqeFlags::LINK));
    let second = scene.app.submit(&mut scene.world, args::Nop {}.encode(0));
    scene.app.push(&mut scene.world);
    assert_eq!(scene.app.result(&mut scene.world, second), None);
    scene.gives(0, 1);
    let request = scene.disk.request(&mut scene.world).unwrap();
    assert_eq!(Opcode::from_raw(request.opcode), Some(Opcode::Write));
    scene.answers(request, Ok(4), 0);
    assert_eq!(scene.app.result(&mut scene.world, first), Some(Ok(4)));
    assert_eq!(scene.app.result(&mut scene.world, second), Some(Ok(0)));

    let first = scene.app.submit(&mut scene.world, write(fd, at + PAGE, 4).with_flags(SqeFlags::LINK));
    let second = scene.app.submit(&mut scene.world, args::Nop {}.encode(0));
    scene.app.push(&mut scene.world);
    let request = scene.question(1);
    scene.answers(request, Err(Errno::NOSPC), 0);
    assert_eq!(scene.app.result(&mut scene.world, first), Some(Err(Errno::IO)));
    assert_eq!(scene.app.result(&mut scene.world, second), Some(Err(Errno::CANCELED)));
    scene.is_over();
}

#[test]
fn a_wrong_answer_hurts_nobody_but_who_waits() {
    type Answer = fn(&Scene) -> Result<u64, Errno>;
    let wrong: [(&str, Answer); 6] = [
        ("an error", |_| Err(Errno::NOENT)),
        ("the kernel's own error", |_| Err(Errno::from_raw(4095).unwrap())),
        ("no address", |_| Ok(0)),
        ("no page", |scene| Ok(scene.file + 1)),
        ("nothing there", |_| Ok(1 << 46)),
        ("no such address", |_| Ok(1 << 62)),
    ];
    for (what, answer) in wrong {
        let mut scene = Scene::new(R | map::PRIVATE);
        let other = scene.world.thread(scene.app, Sizes::SMALLEST);
        assert!(scene.touches(1));
        scene.gives(1, 1);
        let at = scene.at;
        assert!(other.begins_to_touch(&mut scene.world, at + 2 * PAGE, false));
        let write = scene.submits(write(scene.fd, at + 2 * PAGE, 1));
        let request = scene.question(2);
        let result = answer(&scene);
        scene.answers(request, result, 0);
        assert_eq!(scene.world.end_of(other), End::Ended(Reason::BusError), "{what}");
        assert_eq!(scene.app.result(&mut scene.world, write), Some(Err(Errno::IO)), "{what}");
        assert_eq!(scene.reads(1), 2, "{what}");
        // And the next one may come.
        assert!(scene.touches(2));
        scene.gives(2, 1);
        assert_eq!(scene.reads(2), 3);
        scene.is_over();
    }
}

#[test]
fn a_daemon_that_dies_fails_those_who_wait_and_nobody_else() {
    let mut scene = Scene::new(R | map::PRIVATE);
    let others: Vec<_> = (0..3).map(|_| scene.world.thread(scene.app, Sizes::SMALLEST)).collect();
    assert!(scene.touches(0));
    scene.gives(0, 1);
    let at = scene.at;
    for (page, other) in (2..).zip(&others) {
        assert!(other.begins_to_touch(&mut scene.world, at + (16 * (4 - page) + 1) * PAGE, false));
    }
    let write = scene.submits(write(scene.fd, at + PAGE, 1));
    assert_eq!(scene.app.result(&mut scene.world, write), None);
    scene.disk.kill(&mut scene.world);
    scene.world.run_until_idle();
    for other in others {
        assert_eq!(scene.world.end_of(other), End::Ended(Reason::BusError));
    }
    assert_eq!(scene.app.result(&mut scene.world, write), Some(Err(Errno::IO)));
    assert_eq!(scene.reads(0), 1, "what was there stays");
    scene.is_over();
}

#[test]
fn a_daemon_that_says_nothing_has_so_long() {
    let mut scene = Scene::new(R | map::PRIVATE);
    let other = scene.world.thread(scene.app, Sizes::SMALLEST);
    let at = scene.at;
    assert!(other.begins_to_touch(&mut scene.world, at, false));
    let late = scene.question(0);
    scene.world.advance(PATIENCE - SECOND);
    assert_eq!(scene.world.mode(other), world::Mode::Paging);
    scene.world.advance(2 * SECOND);
    assert_eq!(scene.world.end_of(other), End::Ended(Reason::BusError));
    scene.is_over();
    // Its answer is of no use any more, and does no harm.
    let address = scene.file;
    scene.answers(late, Ok(address), 0);
    assert!(scene.touches(0));
    scene.gives(0, 1);
    assert_eq!(scene.reads(0), 1);
    scene.is_over();
}

#[test]
fn who_waits_can_be_killed_stopped_and_cancelled() {
    let mut scene = Scene::new(R | map::PRIVATE);
    let (killed, stopped) =
        (scene.world.thread(scene.app, Sizes::SMALLEST), scene.world.thread(scene.app, Sizes::SMALLEST));
    let at = scene.at;
    let handle = stopped.handle(&mut scene.world);
    assert!(killed.begins_to_touch(&mut scene.world, at, false));
    assert!(stopped.begins_to_touch(&mut scene.world, at, false));
    let write = scene.submits(write(scene.fd, at, 1));
    let request = scene.question(0);
    scene.world.kill(killed);
    let tag = write.0;
    let cancel = args::CancelTag { tag, strength: Strength::Force as u32, grace: 0 };
    assert_eq!(scene.app.call(&mut scene.world, cancel.encode(0)), Ok(1));
    assert_eq!(scene.app.result(&mut scene.world, write), Some(Err(Errno::CANCELED)));
    world::FIRST.call(&mut scene.world, args::ContextStop { context: handle }.encode(0)).unwrap();
    let address = scene.file;
    scene.answers(request, Ok(address), 1);
    assert_eq!(scene.world.mode(stopped), world::Mode::Paging, "it stands still");
    world::FIRST.call(&mut scene.world, args::ContextStart { context: handle }.encode(0)).unwrap();
    scene.world.run_until_idle();
    assert_eq!(stopped.read(&mut scene.world, at, 1).unwrap(), [1]);
    scene.is_over();
}

#[test]
fn the_end_of_a_program_ends_its_waits() {
    let mut scene = Scene::new(RW | map::PRIVATE);
    let other = scene.world.thread(scene.app, Sizes::SMALLEST);
    let at = scene.at;
    assert!(other.begins_to_touch(&mut scene.world, at, false));
    scene.submits(write(scene.fd, at + 2 * PAGE, 1));
    scene.submits(args::FutexWait { address: at + 3 * PAGE, expected: 1, deadline: u64::MAX }.encode(0));
    let reading = read(scene.fd, at + 17 * PAGE, 1);
    scene.submits(reading);
    let first = scene.question(0);
    let second = scene.disk.request(&mut scene.world).unwrap();
    assert_eq!(Opcode::from_raw(second.opcode), Some(Opcode::Read));
    scene.disk.fill(&mut scene.world, &second, b"x");
    scene.answers(second, Ok(1), 0);
    let app = scene.app;
    scene.world.kill(app);
    scene.world.kill(other);
    scene.world.run_until_idle();
    scene.world.forget(app);
    scene.world.forget(other);
    scene.world.run_until_idle();
    assert_eq!(scene.disk.closed(&mut scene.world), [] as [u64; 0], "a question holds the file");
    let address = scene.file;
    scene.answers(first, Ok(address), 0);
    let last = scene.question(17);
    scene.answers(last, Err(Errno::IO), 0);
    scene.is_over();
    assert_eq!(scene.disk.closed(&mut scene.world), [100]);
}

#[test]
fn a_question_waits_for_room_like_any_request() {
    let mut scene = Scene::new(R | map::PRIVATE);
    let fd = scene.fd;
    scene.disk.obliging(&mut scene.world, false);
    for _ in 0..8 {
        scene.submits(read(fd, DATA, 1));
    }
    assert!(scene.touches(0));
    let mut asked = false;
    for _ in 0..30 {
        let Some(request) = scene.disk.request(&mut scene.world) else { break };
        asked |= Opcode::from_raw(request.opcode) == Some(Opcode::RequestMmap);
        let address = scene.file;
        let answer = if asked { address } else { 0 };
        scene.answers(request, Ok(answer), u32::from(asked));
        if asked {
            break;
        }
    }
    assert!(asked);
    scene.world.run_until_idle();
    assert_eq!(scene.reads(0), 1);
}

#[test]
fn without_memory_for_a_wait_it_fails_and_nothing_is_lost() {
    let mut succeeded = false;
    for left in 0..12 {
        let mut scene = Scene::new(R | map::PRIVATE);
        let other = scene.world.thread(scene.app, Sizes::SMALLEST);
        let at = scene.at;
        scene.world.starve(left);
        let waits = other.begins_to_touch(&mut scene.world, at, false);
        scene.world.feed();
        if waits {
            succeeded = true;
            scene.gives(0, 1);
            assert_eq!(other.read(&mut scene.world, at, 1).unwrap(), [1]);
        } else {
            assert_eq!(scene.world.end_of(other), End::Ended(Reason::OutOfMemory));
        }
        scene.is_over();
    }
    assert!(succeeded);
}
