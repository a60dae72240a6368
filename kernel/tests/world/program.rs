//! A program as a test object: registers, rings, and what it has asked for.
//!
//! No instruction of it runs. It is on the CPU while its registers are; then a test does in its name what
//! its code would: touch memory, fill entries, enter the kernel. Its instruction pointer says who it is.

use super::World;
use kernel::arch::fake::Access;
use ring_abi::args::{self, CURRENT, CURSOR};
use ring_abi::context::Registers;
use ring_abi::enter::{self, Control};
use ring_abi::layout::{Sizes, word};
use ring_abi::map;
use ring_abi::ring::{Consumer, Producer};
use ring_abi::sync::Ordering::Relaxed;
use ring_abi::{Cqe, CqeFlags, Errno, Sqe, SqeFlags};
use rmm::Frame;
use std::collections::{BTreeMap, VecDeque};

/// Stack pointer of a program that was put in another's place.
pub const EXEC_STACK: u64 = 0x7100_0000;
/// Where every program but the first has [`DATA_BYTES`] of memory of its own.
pub const DATA: u64 = 0x2800_0000;
/// Bytes of that memory.
pub const DATA_BYTES: u64 = 0x4_0000;
/// Part of that memory that [`Program::open`] and others use for names.
const NAMES: u64 = DATA + DATA_BYTES - 4096;

/// A program, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Program(pub usize);

/// What was submitted, by its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u32);

/// What a program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It has not run yet.
    Fresh,
    /// It runs its own code, on the CPU or waiting for it.
    Own,
    /// It entered the kernel and has not come back.
    Entered,
    /// It has touched a page that has not come.
    Paging,
    /// It has ended.
    Ended,
}

/// One of a program's rings, from its side.
pub struct Ends {
    pub view: map::Ring,
    pub sizes: Sizes,
    pub address: u64,
    pub sq: Producer,
    pub cq: Consumer,
    pub rq: Consumer,
    pub rp: Producer,
    /// Something was filled or taken since the program last entered with this ring.
    pub touched: bool,
    /// The program does not enter because of that: others are to see it.
    pub quiet: bool,
    /// Operations without a final completion so far: tag, and how many with it.
    pub open: BTreeMap<u32, Open>,
}

/// Operations of one tag that are not complete.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open {
    /// Those that must complete.
    pub sure: u32,
    /// Those that complete only if they fail.
    pub silent: u32,
}

/// Everything about a program.
pub struct State {
    pub mode: Mode,
    /// Registers when it last left its own code.
    pub registers: Registers,
    /// Whether all of them must come back, or only what survives a call.
    pub full: bool,
    pub root: Option<Frame>,
    pub rings: Vec<Ends>,
    pub sizes: Sizes,
    pub next_tag: u32,
    /// It goes on in its handler of old system calls.
    pub diverted: bool,
    /// A base of `fs` that it asked for and gets when it goes on.
    pub next_fs: Option<u64>,
    /// What its last `ring_enter` returned.
    pub returned: Option<u64>,
    /// Completions taken out of the queue that no test has asked for yet.
    pub inbox: VecDeque<Cqe>,
    /// Who made it, and that one's handle to it.
    pub maker: Program,
    pub context: u64,
    /// The first program's handles to its space and its handle table.
    pub home: Option<[u64; 2]>,
    /// How often it was replaced by another program.
    pub replaced: u32,
    /// It moves operations from ring to ring.
    pub moves: bool,
    /// The kernel's index of it.
    pub id: Option<u32>,
    /// Its argument.
    pub argument: u64,
}

impl State {
    pub fn new(sizes: Sizes) -> State {
        State {
            mode: Mode::Fresh,
            registers: Registers::default(),
            full: true,
            root: None,
            rings: Vec::new(),
            sizes,
            next_tag: 1,
            diverted: false,
            next_fs: None,
            returned: None,
            inbox: VecDeque::new(),
            maker: super::FIRST,
            context: 0,
            home: None,
            replaced: 0,
            moves: false,
            id: None,
            argument: 0,
        }
    }
}

impl Ends {
    pub fn new(view: map::Ring, sizes: Sizes, address: u64) -> Ends {
        Ends {
            view,
            sizes,
            address,
            sq: Producer::new(),
            cq: Consumer::new(),
            rq: Consumer::new(),
            rp: Producer::new(),
            touched: false,
            quiet: false,
            open: BTreeMap::new(),
        }
    }

    /// Notes a completion, which must belong to an operation that is not complete.
    fn settle(&mut self, cqe: &Cqe) {
        if is_message(cqe) {
            return;
        }
        let more = cqe.flags & CqeFlags::MORE.bits() != 0;
        let Some(open) = self.open.get_mut(&cqe.tag) else { panic!("a completion of nothing: {cqe:?}") };
        if more {
            return;
        }
        if open.sure > 0 {
            open.sure -= 1;
        } else {
            open.silent -= 1;
        }
        if open.sure == 0 && open.silent == 0 {
            self.open.remove(&cqe.tag);
        }
    }

    /// Something was filled or taken.
    pub fn touch(&mut self) {
        self.touched = !self.quiet;
    }

    /// Whether the kernel says that it must be entered for submissions.
    pub fn must_enter(&self) -> bool {
        self.view.header(word::SQ_SLEEPS).load(Relaxed) != 0
    }

    /// The same for replies.
    pub fn must_enter_to_reply(&self) -> bool {
        self.view.header(word::RP_SLEEPS).load(Relaxed) != 0
    }

    /// Operations that must still complete.
    pub fn owed(&self) -> u32 {
        self.open.values().map(|open| open.sure).sum()
    }

    /// Entries that the kernel has not taken.
    pub fn unsubmitted(&self) -> u32 {
        self.sq.position().wrapping_sub(self.view.header(word::SQ_HEAD).load(Relaxed))
    }
}

/// Whether a completion belongs to no operation of its ring.
pub fn is_message(cqe: &Cqe) -> bool {
    cqe.flags & CqeFlags::MESSAGE.bits() != 0
}

/// Submitting and reaping.
impl Program {
    /// Fills an entry of ring 0 under a fresh tag. The kernel sees it at the next [`enter`](Self::enter).
    pub fn submit(self, world: &mut World, sqe: Sqe) -> Ticket {
        self.submit_on(world, 0, sqe)
    }

    /// The same on another ring.
    pub fn submit_on(self, world: &mut World, ring: usize, sqe: Sqe) -> Ticket {
        let Some(ticket) = self.try_submit_on(world, ring, sqe) else {
            let ends = self.ends(world, ring);
            panic!("{self:?}: {} entries not taken, {} operations open", ends.unsubmitted(), ends.owed());
        };
        ticket
    }

    /// The same; `None` if the queue is full.
    pub fn try_submit_on(self, world: &mut World, ring: usize, mut sqe: Sqe) -> Option<Ticket> {
        let state = world.state(self);
        sqe.tag = state.next_tag;
        state.next_tag = state.next_tag.wrapping_add(1);
        self.try_submit_as(world, ring, sqe).then_some(Ticket(sqe.tag))
    }

    /// Fills an entry as it is, tag included; `false` if the queue is full.
    pub fn try_submit_as(self, world: &mut World, ring: usize, sqe: Sqe) -> bool {
        let ends = self.ends(world, ring);
        let view = ends.view;
        if ends.sq.push(&view.sq(), sqe.to_words()).is_err() {
            return false;
        }
        ends.sq.publish(&view.sq());
        ends.touch();
        let open = ends.open.entry(sqe.tag).or_default();
        if sqe.flags & (SqeFlags::SKIP_SUCCESS | SqeFlags::ONEWAY).bits() != 0 {
            open.silent += 1;
        } else {
            open.sure += 1;
        }
        true
    }

    /// Takes the next completion out of ring 0's queue.
    pub fn completion(self, world: &mut World) -> Option<(Ticket, Result<u64, Errno>)> {
        let cqe = world.state(self).inbox.pop_front().or_else(|| self.take(world, 0))?;
        Some((Ticket(cqe.tag), cqe.result()))
    }

    /// Takes completions out of the queues until it finds this one's; others are kept for later.
    pub fn completed(self, world: &mut World, ticket: Ticket) -> Option<Cqe> {
        for ring in 0..world.state(self).rings.len() {
            while let Some(cqe) = self.take(world, ring) {
                world.state(self).inbox.push_back(cqe);
            }
        }
        let inbox = &mut world.state(self).inbox;
        let at = inbox.iter().position(|cqe| cqe.tag == ticket.0 && !is_message(cqe))?;
        inbox.remove(at)
    }

    /// Takes messages out of the queues; completions are kept for later.
    pub fn messages(self, world: &mut World) -> Vec<Cqe> {
        for ring in 0..world.state(self).rings.len() {
            while let Some(cqe) = self.take(world, ring) {
                world.state(self).inbox.push_back(cqe);
            }
        }
        let inbox = &mut world.state(self).inbox;
        let (messages, others) = inbox.drain(..).partition(is_message);
        *inbox = VecDeque::from_iter::<Vec<Cqe>>(others);
        messages
    }

    /// The result of an operation, if it has completed.
    pub fn result(self, world: &mut World, ticket: Ticket) -> Option<Result<u64, Errno>> {
        self.completed(world, ticket).map(|cqe| cqe.result())
    }

    /// Takes one completion out of a ring's queue.
    pub fn take(self, world: &mut World, ring: usize) -> Option<Cqe> {
        let ends = self.ends(world, ring);
        let view = ends.view;
        let words = ends.cq.pop(&view.cq()).expect("the kernel's index is right")?;
        ends.touch();
        let cqe = Cqe::from_words(words);
        if !ends.open.contains_key(&cqe.tag) && !is_message(&cqe) && world.state(self).moves {
            self.move_book(world, ring, cqe.tag);
        }
        self.ends(world, ring).settle(&cqe);
        Some(cqe)
    }

    /// An operation was moved to this ring by the kernel: what is known of it moves as well.
    fn move_book(self, world: &mut World, ring: usize, tag: u32) {
        let mut rings = world.state(self).rings.iter_mut();
        if let Some(open) = rings.find_map(|ends| ends.open.remove(&tag)) {
            self.ends(world, ring).open.insert(tag, open);
        }
    }

    /// Enters the kernel with ring 0 and submits everything, without waiting.
    pub fn push(self, world: &mut World) {
        self.enter(world, 0, u64::from(u32::MAX), 0, 0, enter::NO_DEADLINE);
    }

    /// Enters the kernel with ring 0, submits everything, and waits for `count` completions.
    pub fn wait(self, world: &mut World, count: u64) {
        self.enter(world, 0, u64::from(u32::MAX), count, enter::COMPLETIONS, enter::NO_DEADLINE);
    }

    /// Enters the kernel. The program must not be waiting there.
    pub fn enter(self, world: &mut World, ring: usize, submit: u64, min: u64, flags: u64, deadline: u64) {
        if !world.reach(self) {
            // By an operation of its own, which had waited for its turn.
            return;
        }
        let mut implied = if deadline == enter::NO_DEADLINE { 0 } else { enter::DEADLINE };
        if let Some(ends) = world.state(self).rings.get_mut(ring) {
            ends.touched = false;
            if ends.sizes.service.is_none() {
                implied |= enter::NO_REPLIES;
            }
        }
        world.enter(ring as u64, Control::new(submit, min, flags | implied), deadline);
    }

    /// It does not enter the kernel with a ring unless a test lets it.
    pub fn be_quiet(self, world: &mut World, ring: usize) {
        let ends = self.ends(world, ring);
        (ends.quiet, ends.touched) = (true, false);
    }

    /// What its last `ring_enter` returned; `None` while it is there.
    pub fn returned(self, world: &mut World) -> Option<u64> {
        world.state(self).returned
    }

    /// Does one operation from beginning to end; others run meanwhile.
    pub fn call(self, world: &mut World, sqe: Sqe) -> Result<u64, Errno> {
        self.call_on(world, 0, sqe)
    }

    /// The same on another ring.
    pub fn call_on(self, world: &mut World, ring: usize, sqe: Sqe) -> Result<u64, Errno> {
        let ticket = self.submit_on(world, ring, sqe);
        let mut result = None;
        world.run_until(&format!("{self:?} completes {ticket:?} {sqe:?}"), |world| {
            result = self.result(world, ticket);
            result.is_some()
        });
        result.expect("it completed")
    }

    /// Its registers when it left its own code last.
    pub fn registers(self, world: &mut World) -> Registers {
        world.state(self).registers
    }

    /// It goes on with other registers than it had: somebody sets them.
    pub fn expect(self, world: &mut World, registers: Registers) {
        world.state(self).registers = registers;
    }

    /// It goes on with this base of `fs`, since it asks for it.
    pub fn expect_fs(self, world: &mut World, base: u64) {
        world.state(self).next_fs = Some(base);
    }

    /// Its maker's handle to it.
    pub fn handle(self, world: &mut World) -> u64 {
        world.state(self).context
    }

    fn ends(self, world: &mut World, ring: usize) -> &mut Ends {
        let Some(ends) = world.state(self).rings.get_mut(ring) else { panic!("{self:?} has no ring {ring}") };
        ends
    }
}

/// Memory.
impl Program {
    /// Writes its memory, as its code would. `false` if that ended it.
    pub fn write(self, world: &mut World, address: u64, bytes: &[u8]) -> bool {
        world.touch(self, |machine| machine.write_virtual(address, bytes))
    }

    /// Reads its memory, as its code would. `None` if that ended it.
    pub fn read(self, world: &mut World, address: u64, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        world.touch(self, |machine| machine.read_virtual(address, &mut bytes)).then_some(bytes)
    }

    /// Reads or writes a byte of a page that has to be waited for, as its code would. Whether it waits.
    pub fn begins_to_touch(self, world: &mut World, address: u64, writes: bool) -> bool {
        let access = if writes { Access::Write } else { Access::Read };
        world.touch_once(self, |machine| machine.reach(address, access).map(|_| ()))
    }

    /// Jumps to an address, as its code would. `false` if that ended it.
    pub fn execute(self, world: &mut World, address: u64) -> bool {
        world.touch(self, |machine| machine.reach(address, Access::Execute).map(|_| ()))
    }

    /// Looks at its memory from outside; zeros where nothing is mapped.
    pub fn peek(self, world: &mut World, address: u64, length: usize) -> Vec<u8> {
        let root = world.state(self).root.expect("it has run");
        let mut bytes = vec![0; length];
        for (offset, byte) in bytes.iter_mut().enumerate() {
            if let Some(place) = world.machine().look_up(root, address + offset as u64) {
                world.machine().read_user(place, std::slice::from_mut(byte));
            }
        }
        bytes
    }

    /// Whether an address is mapped and present.
    pub fn is_present(self, world: &mut World, address: u64) -> bool {
        let root = world.state(self).root.expect("it has run");
        world.machine().look_up(root, address).is_some()
    }

    /// Writes a name where names go, and says where and how long.
    pub fn name(self, world: &mut World, name: &str) -> (u64, u64) {
        assert!(self.write(world, NAMES, name.as_bytes()), "it has its memory");
        (NAMES, name.len() as u64)
    }
}

/// Operations that tests often need.
impl Program {
    /// Opens a file by its absolute path.
    pub fn open(self, world: &mut World, path: &str) -> u64 {
        self.try_open(world, path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The same, as a result.
    pub fn try_open(self, world: &mut World, path: &str) -> Result<u64, Errno> {
        let (buffer, length) = self.name(world, path);
        self.call(world, args::OpenAt { fd: CURRENT, buffer, length, flags: 0, capacity: 0 }.encode(0))
    }

    /// Maps fresh memory somewhere.
    pub fn map(self, world: &mut World, length: u64) -> u64 {
        let flags = args::map::READ | args::map::WRITE | args::map::PRIVATE | args::map::POPULATE;
        let map = args::Map { space: CURRENT, address: 0, length, flags };
        self.call(world, map.encode(0)).expect("there is memory")
    }

    /// Asks to be replaced by the program in another space; it has one ring of these sizes then.
    pub fn exec(self, world: &mut World, space: u64, sizes: Sizes) -> Ticket {
        self.try_exec(world, space, sizes).expect("there is room")
    }

    /// The same; `None` if the submission queue is full.
    pub fn try_exec(self, world: &mut World, space: u64, sizes: Sizes) -> Option<Ticket> {
        let entry = super::entry(self);
        let commit = args::ExecCommit { space, entry, stack: EXEC_STACK, argument: 0, sizes: sizes.packed() };
        let ticket = self.try_submit_on(world, 0, commit.encode(0))?;
        self.push(world);
        Some(ticket)
    }

    /// Submits the same behind an entry that is linked to it.
    pub fn exec_linked(self, world: &mut World, behind: Ticket, space: u64, sizes: Sizes) -> Ticket {
        assert_eq!(world.state(self).next_tag, behind.0 + 1, "nothing comes between");
        self.exec(world, space, sizes)
    }

    /// Makes a further ring and returns its number.
    pub fn ring(self, world: &mut World, sizes: Sizes) -> usize {
        let at =
            self.call(world, args::RingCreate { sizes: sizes.packed() }.encode(0)).expect("there is memory");
        let number = (at & 63) as usize;
        assert_eq!(number, world.state(self).rings.len(), "rings are numbered in order");
        world.give_cpu(self);
        world.attach_ring(self, at & !63, Some(sizes));
        number
    }
}

/// A read of `length` bytes into the program's memory.
pub fn read(fd: u64, buffer: u64, length: u64) -> Sqe {
    args::Read { fd, buffer, length, offset: CURSOR }.encode(0)
}

/// A write of `length` bytes of the program's memory.
pub fn write(fd: u64, buffer: u64, length: u64) -> Sqe {
    args::Write { fd, buffer, length, offset: CURSOR }.encode(0)
}
