//! A program's turn.

use super::{Game, Made, pattern};
use crate::world::{DATA, Dice, Program, Ticket, is_message};
use ring_abi::args::{self, CURRENT, CURSOR, LOWEST, Strength, cancel, handle, map};
use ring_abi::layout::{Sizes, word};
use ring_abi::sync::Ordering::Relaxed;
use ring_abi::{Cqe, CqeFlags, Opcode, Sqe, SqeFlags, enter, futex, signal};
use ring_abi::{group, registered};

/// Bytes that a read asks for at most; every read has a place of its own.
const PLACE: u64 = 256;
/// Places for reads in a program's memory.
const PLACES: u64 = 256;
/// Words that futexes use, shared by the threads of a space.
const WORDS: u64 = DATA + PLACE * PLACES;
/// Where names go.
const PATHS: u64 = WORDS + 8192;
/// Where arrays of words to wait for go.
const WAITS: u64 = PATHS + 4096;
/// Where lists of handles go.
const LISTS: u64 = PATHS + 1024;
/// Where groups of buffers have their descriptors.
const GROUPS: u64 = PATHS + 8192;
/// Slots that files and buffers are registered in.
const SLOTS: u64 = 3;
/// Where maps come and go.
const ARENA: u64 = 0x3000_0000;

/// What a program must remember of a submission.
enum Note {
    Nothing,
    Read(u64, u64),
    Makes(Made),
}

/// It makes a file, or many.
const FILE: Note = Note::Makes(Made::File);

/// What a message with this tag says.
fn check(tag: u32) -> u64 {
    u64::from(tag).wrapping_mul(0x9e37_79b9)
}

/// Sizes of a further ring.
const RING: Sizes = Sizes { sq: 2, cq: 3, service: None };

impl Game {
    /// Something that a program does.
    pub(super) fn live(&mut self, program: Program) {
        self.notice_replacement(program);
        match self.dice.roll(200) {
            0..=89 => self.ask(program),
            90..=119 => self.push(program),
            120..=137 => self.sleep(program),
            138..=139 => self.swap(program),
            140..=179 => self.reap(program),
            180..=189 => self.remember(program),
            190..=196 => self.wait_for_timer(),
            197 => self.replace(program),
            198 if self.dice.one_in(4) => self.leave(program),
            199 if self.dice.one_in(8) => self.err(program),
            _ => {}
        }
    }

    /// What it knew is not true any more once another program took its place.
    fn notice_replacement(&mut self, program: Program) {
        let replaced = self.world.replaced(program);
        let mind = self.minds.entry(program).or_default();
        if mind.replaced != replaced {
            mind.replaced = replaced;
            mind.reads.clear();
            mind.makes.clear();
            mind.recent.clear();
        }
    }

    fn wait_for_timer(&mut self) {
        if self.world.machine().timer().is_some() {
            self.world.advance_to_timer();
        }
    }

    fn some_ring(&mut self, program: Program) -> usize {
        self.dice.roll(self.world.rings(program) as u64) as usize
    }

    fn push(&mut self, program: Program) {
        let ring = self.some_ring(program);
        self.starve_sometimes();
        let submit = if self.dice.one_in(4) { self.dice.roll(4) } else { u64::from(u32::MAX) };
        program.enter(&mut self.world, ring, submit, 0, 0, enter::NO_DEADLINE);
        self.world.feed();
    }

    /// Waits for completions. Without a deadline it may be until somebody ends it.
    fn sleep(&mut self, program: Program) {
        let (ring, count) = (self.some_ring(program), self.dice.roll(5));
        let deadline = match self.dice.roll(8) {
            0 => enter::NO_DEADLINE,
            _ => self.world.machine().now() + self.dice.roll(5_000_000),
        };
        let mut flags = enter::COMPLETIONS;
        if self.dice.one_in(4) {
            flags |= enter::SIGNALS | if self.dice.one_in(2) { enter::MASK } else { 0 };
            let view = self.world.ring(program, ring).view;
            signal::set_word(&view, word::WAIT_MASK, self.dice.roll(16));
            signal::take(&self.world.ring(program, 0).view, self.dice.roll(16));
        }
        if self.dice.one_in(4) {
            flags |= enter::RELENT;
            let at = self.world.machine().now() + self.dice.roll(3_000_000);
            signal::set_word(&self.world.ring(program, ring).view, word::RELENT_AT, at);
        }
        self.starve_sometimes();
        program.enter(&mut self.world, ring, u64::from(u32::MAX), count, flags, deadline);
        self.world.feed();
    }

    /// Wakes one at a word and waits at another.
    fn swap(&mut self, program: Program) {
        let ring = self.some_ring(program);
        let swap = self.some_swap();
        let _ = program.try_submit_on(&mut self.world, ring, swap);
        self.starve_sometimes();
        program.enter(&mut self.world, ring, enter::MOST, 1, enter::COMPLETIONS, enter::NO_DEADLINE);
        self.world.feed();
    }

    /// A swap of any words.
    fn some_swap(&mut self) -> Sqe {
        let [wake, address] = [(); 2].map(|()| WORDS + self.dice.roll(4) * 4);
        let deadline = match self.dice.roll(8) {
            0 => self.world.machine().now() + self.dice.roll(4_000_000),
            _ => enter::NO_DEADLINE,
        };
        let expected = u32::from(self.dice.one_in(8));
        args::FutexSwap { address, expected, deadline, wake }.encode(0)
    }

    /// Touches its memory.
    fn remember(&mut self, program: Program) {
        let at = WORDS + self.dice.roll(1024);
        let value = self.dice.roll(256) as u8;
        // In a space that it was put into, there may be nothing.
        if program.write(&mut self.world, at, &[value]) {
            assert_eq!(program.read(&mut self.world, at, 1), Some(vec![value]));
        }
    }

    /// Becomes another program, if it finds a space for it.
    fn replace(&mut self, program: Program) {
        let mind = self.minds.entry(program).or_default();
        let Some(space) = self.dice.pick(&mind.objects) else { return };
        let table_full = self.world.ring(program, 0).unsubmitted() > 0;
        if !table_full {
            program.try_exec(&mut self.world, space, Sizes::SMALLEST);
        }
    }

    /// Ends itself, or its whole space.
    fn leave(&mut self, program: Program) {
        let flags = if self.dice.one_in(2) { args::exit::SPACE } else { 0 };
        let exit = args::Exit { code: 1, flags }.encode(0);
        if program.try_submit_on(&mut self.world, 0, exit).is_some() {
            self.push(program);
        }
    }

    /// Makes a mistake that ends it.
    fn err(&mut self, program: Program) {
        match self.dice.roll(3) {
            0 => self.world.fault(13, 0, 0),
            1 => self.world.old_call(),
            _ => {
                let index = if self.dice.one_in(2) { word::SQ_TAIL } else { word::CQ_HEAD };
                self.world.ring(program, 0).view.header(index).store(0x7000_0000, Relaxed);
                self.push(program);
            }
        }
    }

    /// Takes completions and looks whether they are right.
    fn reap(&mut self, program: Program) {
        let ring = self.some_ring(program);
        for _ in 0..=self.dice.roll(6) {
            let Some(cqe) = program.take(&mut self.world, ring) else { return };
            if is_message(&cqe) {
                self.hear(program, &cqe);
                continue;
            }
            let (ticket, result) = (Ticket(cqe.tag), cqe.result());
            self.score.completions += 1;
            self.score.failures += u64::from(result.is_err());
            self.score.provided += u64::from(cqe.flags & CqeFlags::BUFFER.bits() != 0);
            let Some(mind) = self.minds.get_mut(&program) else { continue };
            let read = mind.reads.remove(&ticket);
            if let (Some((offset, place)), Ok(count), false) = (read, result, mind.uses_kernel) {
                let bytes = program.peek(&mut self.world, place, count as usize);
                let expected: Vec<u8> = (0..count).map(|at| pattern(offset, at)).collect();
                assert_eq!(bytes, expected, "a read brought other bytes than its daemon gave");
                self.score.reads += 1;
                continue;
            }
            let goes_on = cqe.flags & CqeFlags::MORE.bits() != 0;
            let made = if goes_on { mind.makes.get(&ticket).copied() } else { mind.makes.remove(&ticket) };
            self.score.more += u64::from(goes_on);
            let (Some(made), Ok(value)) = (made, result) else { continue };
            assert!(value < 4096 || made == Made::Ring, "a handle: {value}");
            match made {
                Made::File => mind.files.push(value),
                Made::Object => mind.objects.push(value),
                Made::Ring => self.world.attach_ring(program, value & !63, Some(RING)),
            }
        }
    }

    /// A message has come.
    fn hear(&mut self, program: Program, cqe: &Cqe) {
        self.score.messages += 1;
        if cqe.flags & CqeFlags::HANDLE.bits() != 0 {
            assert!(cqe.result < 4096, "a handle: {cqe:?}");
            // It may lead to anything.
            self.minds.entry(program).or_default().objects.push(cqe.result);
        } else {
            assert_eq!(cqe.result, check(cqe.tag), "a message that nobody sent");
        }
    }

    /// Something about rings: handles to them, and messages.
    fn some_message(&mut self, program: Program) -> (Sqe, Note) {
        let (fd, sent) = (self.some_object(program), self.some_object(program));
        let mind = self.minds.get(&program);
        let keeps_to_itself = mind.is_some_and(|mind| mind.uses_kernel || mind.leaves_unborn);
        let dice = &mut self.dice;
        let tag = dice.roll(1 << 32) as u32;
        let deadline = match dice.roll(3) {
            0 => 0,
            1 => enter::NO_DEADLINE,
            _ => self.world.machine().now() + dice.roll(4_000_000),
        };
        let sqe = match dice.roll(8) {
            0 if dice.one_in(40) => {
                // Most rights stay, so that there is something to see.
                let taken = 1_u128 << dice.roll(128);
                let (low, high) = (!taken as u64, (!taken >> 64) as u64);
                let flags = if dice.one_in(4) { args::restrict::HANDLES } else { 0 };
                args::Restrict { low, high, sqe_flags: 0xff, handles: !0b1111, flags }.encode(0)
            }
            1 if dice.one_in(3) => args::RingMove { from: dice.roll(4) }.encode(0),
            0..=2 => {
                let ring = if dice.one_in(2) { CURRENT } else { dice.roll(4) };
                let open = args::RingHandle { ring, tag: 0, flags: 0 };
                return (open.encode(0), Note::Makes(Made::Object));
            }
            // A file of the kernel must not get to those who compare what they read, nor a handle to what never starts
            // into another table.
            3 if !keeps_to_itself => args::MessageHandle { fd, tag, sent, extra: 0, deadline }.encode(0),
            _ => args::MessageSend { fd, tag, value: check(tag), extra: 0, deadline }.encode(0),
        };
        (sqe, Note::Nothing)
    }

    /// Submits something.
    fn ask(&mut self, program: Program) {
        let (mut sqe, note) = match self.dice.roll(12) {
            0..=1 => self.some_change(program),
            2 => self.some_message(program),
            _ => self.some_request(program),
        };
        let ring = self.some_ring(program);
        if self.world.has_ended(program) {
            return;
        }
        sqe.flags |= self.some_order(matches!(note, Note::Nothing)).bits();
        if matches!(note, Note::Makes(Made::File | Made::Object)) && self.dice.one_in(8) {
            sqe.group = 13 + self.dice.roll(4) as u16;
        }
        if sqe.opcode == Opcode::RingMove.raw() {
            self.world.share_books(program);
        }
        let Some(ticket) = program.try_submit_on(&mut self.world, ring, sqe) else { return };
        let mind = self.minds.entry(program).or_default();
        match note {
            Note::Nothing => {}
            Note::Read(offset, place) => drop(mind.reads.insert(ticket, (offset, place))),
            Note::Makes(made) => drop(mind.makes.insert(ticket, made)),
        }
        mind.recent.push(ticket);
        if mind.recent.len() > 12 {
            mind.recent.remove(0);
        }
    }

    /// A limit for the entry before, if there is one in its chain; or a number for a handle.
    fn some_order_of_its_own(&mut self) -> (Sqe, Note) {
        let dice = &mut self.dice;
        let sqe = match dice.roll(4) {
            3 => {
                let idle = if dice.one_in(5) { 0 } else { 1 + dice.roll(8_000_000) };
                args::RingPoll { idle }.encode(0)
            }
            0 => args::HandleReserve { fd: 12 + dice.roll(4), reserve: dice.roll(2) as u32 }.encode(0),
            _ => {
                let (nanoseconds, grace) = (dice.roll(4_000_000), dice.roll(2_000_000));
                args::LinkTimeout { nanoseconds, flags: 0, grace }.encode(0)
            }
        };
        (sqe, Note::Nothing)
    }

    /// When an entry starts. What nobody asks about may succeed silently.
    fn some_order(&mut self, may_be_silent: bool) -> SqeFlags {
        let mut flags = SqeFlags::empty();
        flags.set(SqeFlags::LINK, self.dice.one_in(6));
        flags.set(SqeFlags::HARD_LINK, self.dice.one_in(12));
        flags.set(SqeFlags::DRAIN, self.dice.one_in(60));
        flags.set(SqeFlags::SKIP_SUCCESS, may_be_silent && self.dice.one_in(8));
        flags
    }

    fn some_file(&mut self, program: Program) -> u64 {
        if self.dice.one_in(8) {
            return registered::file(self.dice.roll(SLOTS + 1) as u32);
        }
        let mind = self.minds.entry(program).or_default();
        self.dice.pick(&mind.files).unwrap_or(self.dice.roll(10))
    }

    fn some_object(&mut self, program: Program) -> u64 {
        let mind = self.minds.entry(program).or_default();
        self.dice.pick(&mind.objects).unwrap_or(self.dice.roll(10))
    }

    /// Whether a read of this program, or of another in its space, has a place of memory.
    fn is_taken(&self, program: Program, place: u64) -> bool {
        let root = self.world.root(program);
        let alike = self.minds.iter().filter(|(other, _)| self.world.root(**other) == root);
        alike.flat_map(|(_, mind)| mind.reads.values()).any(|(_, other)| *other == place)
    }

    /// Something about files, words and time.
    fn some_request(&mut self, program: Program) -> (Sqe, Note) {
        let fd = self.some_file(program);
        let uses_kernel = self.minds.get(&program).is_some_and(|mind| mind.uses_kernel);
        if self.dice.one_in(16) {
            return self.some_order_of_its_own();
        }
        let dice = &mut self.dice;
        let word = WORDS + dice.roll(4) * 4;
        let soon = self.world.machine().now() + dice.roll(4_000_000);
        let sqe = match dice.roll(36) {
            0..=1 => args::Nop {}.encode(0),
            2..=9 => return self.some_read(program, fd),
            10..=11 => args::Write { fd, buffer: word, length: dice.roll(6000), offset: CURSOR }.encode(0),
            12..=15 => return self.some_open(program),
            16..=17 => {
                self.minds.entry(program).or_default().files.retain(|file| *file != fd);
                args::Close { fd }.encode(0)
            }
            18..=19 => return (self.some_cancel(program), Note::Nothing),
            20 => return (self.some_timer(program), Note::Nothing),
            21 if dice.one_in(2) => return (self.some_wait(program, soon), Note::Nothing),
            21 => args::FutexWait { address: word, expected: 0, deadline: soon }.encode(0),
            22 if dice.one_in(2) => return (self.some_swap(), Note::Nothing),
            22..=23 => args::FutexWake { address: word, count: dice.roll(3) }.encode(0),
            24 => {
                let poll = args::Poll { fd, mask: 1 + dice.roll(3) }.encode(0);
                if dice.one_in(2) { poll.with_flags(SqeFlags::MULTISHOT) } else { poll }
            }
            25 => args::Call { fd, buffer: word, length: dice.roll(300), verb: 0, argument: 0 }.encode(0),
            26 => {
                let buffer = ARENA + dice.roll(32) * 4096;
                args::Read { fd, buffer, length: dice.roll(9000), offset: CURSOR }.encode(0)
            }
            27 => {
                // A file of the kernel must not get to those who compare what they read.
                let sent = dice.roll(if uses_kernel { 2 } else { 12 });
                args::Sendfd { fd, sent, flags: 0, argument: 0 }.encode(0)
            }
            28 | 31..=34 => return (self.some_slot(fd), Note::Nothing),
            29 if dice.one_in(2) => return (self.some_group(program), Note::Nothing),
            29 => return (self.some_registration(program), Note::Nothing),
            30 => {
                let receive = args::Recvfd { fd, flags: 0, argument: 0 }.encode(0);
                let many = dice.one_in(2);
                return (if many { receive.with_flags(SqeFlags::MULTISHOT) } else { receive }, FILE);
            }
            _ => {
                let dup = args::Dup { fd, buffer: word, length: 4 }.encode(0);
                return (if dice.one_in(2) { dup.with_flags(SqeFlags::MULTISHOT) } else { dup }, FILE);
            }
        };
        (sqe, Note::Nothing)
    }

    /// An operation with a registered or a provided buffer.
    fn some_slot(&mut self, fd: u64) -> Sqe {
        let dice = &mut self.dice;
        let (length, offset) = (dice.roll(5000), if dice.one_in(4) { CURSOR } else { dice.roll(9) });
        let buffer = registered::buffer(dice.roll(SLOTS + 1) as u32, dice.roll(9000) as u32);
        match dice.roll(15) {
            0 => args::Write { fd, buffer, length, offset }.encode(0),
            1 => args::Call { fd, buffer, length: length / 8, verb: 0, argument: 0 }.encode(0),
            2 => args::Read { fd, buffer, length, offset }.encode(0),
            _ => {
                let read = args::Read { fd, buffer, length: length / 16, offset }.encode(0);
                Sqe { group: dice.roll(2) as u16, ..read.with_flags(SqeFlags::BUFFER_SELECT) }
            }
        }
    }

    /// Fills or empties slots of a ring. Buffers are of memory that nobody compares.
    fn some_registration(&mut self, program: Program) -> Sqe {
        let slot = self.dice.roll(SLOTS) as u32;
        if self.dice.one_in(2) {
            let address = ARENA + self.dice.roll(32 * 4096);
            let length = if self.dice.one_in(4) { 0 } else { 1 + self.dice.roll(12 * 4096) };
            return args::RegisterBuffer { slot, address, length }.encode(0);
        }
        let count = 1 + self.dice.roll(SLOTS) as u32;
        let handles = (0..count)
            .map(|_| if self.dice.one_in(4) { registered::NO_FILE } else { self.some_file(program) });
        let list: Vec<u8> = handles.collect::<Vec<_>>().into_iter().flat_map(u64::to_le_bytes).collect();
        let buffer = if self.dice.one_in(6) { 0 } else { LISTS };
        if !program.write(&mut self.world, LISTS, &list) {
            return args::Nop {}.encode(0);
        }
        args::RegisterFiles { slot, buffer, count }.encode(0)
    }

    /// Makes a group or takes one away, after some buffers were provided. They are memory that nobody compares.
    fn some_group(&mut self, program: Program) -> Sqe {
        let memory = GROUPS + program.0 as u64 % 8 * 512;
        let (group, entries) = (self.dice.roll(2) as u32, 1 << self.dice.roll(5));
        let fresh = self.dice.one_in(2);
        let word = |game: &mut Game, at| {
            let bytes = program.read(&mut game.world, memory + at, 4)?;
            Some(u32::from_le_bytes(bytes.try_into().expect("four bytes")))
        };
        let taken = if fresh { Some(0) } else { word(self, group::HEAD) };
        let Some(taken) = taken else { return args::Nop {}.encode(0) };
        for entry in 0..entries {
            let address = ARENA + self.dice.roll(33 * 4096);
            let length = self.dice.roll(2000) as u32;
            let words = group::Descriptor { address, length, id: entry as u16 }.to_words();
            let at = memory + group::HEADER_BYTES + u64::from(entry) * group::ENTRY_BYTES;
            if !program.write(&mut self.world, at, words.map(u64::to_le_bytes).as_flattened()) {
                return args::Nop {}.encode(0);
            }
        }
        // Now and then by an index that cannot be.
        let filled = if self.dice.one_in(60) { 40 } else { self.dice.roll(u64::from(entries) + 1) as u32 };
        program.write(&mut self.world, memory + group::TAIL, &taken.wrapping_add(filled).to_le_bytes());
        let (entries, size) = if fresh { (entries, 1 + self.dice.roll(300) as u32) } else { (0, 0) };
        if !fresh && !self.dice.one_in(6) {
            return args::Nop {}.encode(0);
        }
        args::RegisterGroup { group, address: memory, entries, size, flags: self.dice.roll(2) }.encode(0)
    }

    fn some_read(&mut self, program: Program, fd: u64) -> (Sqe, Note) {
        let offset = self.next_offset;
        self.next_offset += 1;
        let place = DATA + self.dice.roll(PLACES) * PLACE;
        if self.is_taken(program, place) {
            return (args::Nop {}.encode(0), Note::Nothing);
        }
        let length = self.dice.roll(PLACE + 1);
        let read = args::Read { fd, buffer: place, length, offset }.encode(0);
        // Files of the kernel go from hand to hand as well, and what they say is nobody's pattern.
        let note =
            if self.world.is_of_kernel(program, fd) { Note::Nothing } else { Note::Read(offset, place) };
        (read, note)
    }

    fn some_open(&mut self, program: Program) -> (Sqe, Note) {
        let number = self.dice.roll(4);
        let uses_kernel = self.minds.get(&program).is_some_and(|mind| mind.uses_kernel);
        let path = match self.dice.roll(if uses_kernel { 6 } else { 0 } + 3) {
            0..3 => format!("/scheme/d{number}/file"),
            3 => "/scheme/irq/test".to_owned(),
            4 => "/scheme/debug".to_owned(),
            _ => "/scheme/sys/counters".to_owned(),
        };
        if !program.write(&mut self.world, PATHS, path.as_bytes()) {
            return (args::Nop {}.encode(0), Note::Nothing);
        }
        let length = path.len() as u64;
        let open = args::OpenAt { fd: CURRENT, buffer: PATHS, length, flags: 0, capacity: 64 };
        (open.encode(0), Note::Makes(Made::File))
    }

    fn some_cancel(&mut self, program: Program) -> Sqe {
        let mind = self.minds.entry(program).or_default();
        let tag = self.dice.pick(&mind.recent).map_or(0, |ticket| ticket.0);
        let fd = self.some_file(program);
        let dice = &mut self.dice;
        let strength = if dice.one_in(2) { Strength::Ask } else { Strength::Force } as u32;
        let strength = strength | if dice.one_in(3) { cancel::FIRST } else { 0 };
        let grace = dice.roll(2_000_000);
        match dice.roll(12) {
            0..=1 => args::CancelHandle { fd, strength, grace }.encode(0),
            2 => args::CancelAll { strength, grace }.encode(0),
            _ => args::CancelTag { tag, strength, grace }.encode(0),
        }
    }

    /// A wait for several words, among them such as others wait for too.
    fn some_wait(&mut self, program: Program, deadline: u64) -> Sqe {
        let count = self.dice.roll(6);
        let first = self.dice.roll(4);
        for index in 0..count {
            // Now and then one is named twice, or has another value.
            let address = WORDS + 4 * if self.dice.one_in(9) { first } else { first + index };
            let word = futex::Word { address, expected: u32::from(self.dice.one_in(12)) };
            if !program.write(&mut self.world, WAITS + 16 * index, &word.to_bytes()) {
                return args::Nop {}.encode(0);
            }
        }
        let deadline = if self.dice.one_in(3) { u64::MAX } else { deadline };
        args::FutexWaitMany { words: WAITS, count: count as u32, deadline }.encode(0)
    }

    /// A timer, or a change of one.
    fn some_timer(&mut self, program: Program) -> Sqe {
        let mind = self.minds.entry(program).or_default();
        let tag = self.dice.pick(&mind.recent).map_or(0, |ticket| ticket.0);
        let dice = &mut self.dice;
        let nanoseconds = dice.roll(5_000_000);
        match dice.roll(8) {
            0..=2 => args::Timeout { nanoseconds, flags: 0 }.encode(0),
            3 => args::TimeoutRemove { tag }.encode(0),
            4 => args::TimeoutUpdate { tag, nanoseconds, flags: dice.roll(2) }.encode(0),
            _ => {
                let most = if dice.one_in(2) { 1000 } else { 2_000_000 };
                let period = 1 + dice.roll(most);
                let count = dice.roll(50);
                let interval = args::Interval { first: nanoseconds, period, count, flags: dice.roll(2) };
                interval.encode(0).with_flags(SqeFlags::MULTISHOT)
            }
        }
    }

    /// Something about memory, spaces, tables and contexts.
    fn some_change(&mut self, program: Program) -> (Sqe, Note) {
        let object = self.some_object(program);
        let has_many = self.minds.get(&program).is_some_and(|mind| mind.objects.len() > 6);
        let leaves_unborn = self.minds.get(&program).is_some_and(|mind| mind.leaves_unborn);
        let makes = self.minds.get(&program).into_iter().flat_map(|mind| mind.makes.values());
        let has_ring_to_come = makes.into_iter().any(|made| *made == Made::Ring);
        let has_several = self.world.cpus() > 1;
        let dice = &mut self.dice;
        let address = ARENA + dice.roll(32) * 4096;
        let length = 4096 * (1 + dice.roll(8));
        let flags =
            map::READ | map::WRITE | map::FIXED | if dice.one_in(3) { map::SHARED } else { map::PRIVATE };
        let sqe = match dice.roll(23) {
            0..=6 => some_mapping(dice, (address, length), flags),
            // Memory is not to run out by itself: the first program could make nobody any more.
            7..=8 if has_many => args::Nop {}.encode(0),
            7 => return (args::SpaceCreate {}.encode(0), Note::Makes(Made::Object)),
            8 => return (args::SpaceFork {}.encode(0), Note::Makes(Made::Object)),
            9 => {
                let copy = dice.roll(2) as u32 & u32::from(!leaves_unborn);
                return (args::TableCreate { copy }.encode(0), Note::Makes(Made::Object));
            }
            10 => args::Map { space: object, address, length, flags }.encode(0),
            11 => args::SpaceWrite { space: object, target: address, buffer: WORDS, length: dice.roll(9000) }
                .encode(0),
            12 => return (self.some_stranger(program, object), Note::Makes(Made::Object)),
            13 => args::ContextStart { context: object }.encode(0),
            15 if leaves_unborn => args::ContextStop { context: object }.encode(0),
            15 => args::ContextKill { context: object }.encode(0),
            16 => args::ContextWait { context: object }.encode(0),
            17 => {
                let flags = dice.roll(2) * handle::CLOSE_ON_EXEC;
                let dup = args::HandleDup { fd: object, table: CURRENT, target: LOWEST, flags };
                return (dup.encode(0), Note::Makes(Made::Object));
            }
            // One at a time, so that they are known in the order of their numbers.
            18 if has_ring_to_come => args::Nop {}.encode(0),
            18 => return (args::RingCreate { sizes: RING.packed() }.encode(0), Note::Makes(Made::Ring)),
            19 => args::SignalRaise { context: object, signals: 1 << dice.roll(4) }.encode(0),
            14 => args::EndWord { address: WORDS }.encode(0),
            // Where there is one processor there is nothing to limit anybody to.
            20 if has_several => some_limit(dice, object),
            21 => self.some_weight(object),
            _ => {
                self.minds.entry(program).or_default().objects.retain(|other| *other != object);
                args::Close { fd: object }.encode(0)
            }
        };
        (sqe, Note::Nothing)
    }

    /// A weight for itself or another context. Nobody gets one back that it gave away.
    fn some_weight(&mut self, object: u64) -> Sqe {
        let context = if self.dice.one_in(2) { CURRENT } else { object };
        let weight = self.dice.roll(400) as u32;
        args::ContextWeight { context, weight, capability: CURRENT }.encode(0)
    }

    /// A context that no mind belongs to: it runs into its first instruction and ends.
    ///
    /// One that never starts is ended when its maker's table has the only handle to it, but not when a copy of that
    /// table has another: so only those who make no copies make such.
    fn some_stranger(&mut self, program: Program, space: u64) -> Sqe {
        let space = if self.dice.one_in(2) { CURRENT } else { space };
        let leaves_unborn = self.minds.get(&program).is_some_and(|mind| mind.leaves_unborn);
        let (table, start) = match self.dice.roll(3) {
            _ if leaves_unborn => (CURRENT, self.dice.roll(2) * args::context::START),
            0 => (CURRENT, args::context::START),
            1 => (self.some_object(program), args::context::START),
            _ => (self.some_object(program), 0),
        };
        args::ContextCreate {
            space,
            table,
            entry: 0x1000,
            stack: 0x2000,
            argument: 0,
            sizes_flags: u64::from(Sizes::SMALLEST.packed()) | start,
        }
        .encode(0)
    }
}

/// Limits the asker or another context to some processors, of which some are not there.
fn some_limit(dice: &mut Dice, other: u64) -> Sqe {
    let context = if dice.one_in(2) { CURRENT } else { other };
    args::ContextAffinity { context, cpus: dice.roll(64) }.encode(0)
}

/// Maps memory of its own, or changes what is there.
fn some_mapping(dice: &mut Dice, (address, length): (u64, u64), flags: u64) -> Sqe {
    match dice.roll(8) {
        0..=3 => {
            let flags = flags | (dice.roll(2) * map::POPULATE);
            args::Map { space: CURRENT, address, length, flags }.encode(0)
        }
        4..=5 => args::Unmap { space: CURRENT, address, length }.encode(0),
        6 => args::Protect { space: CURRENT, address, length, rights: map::READ }.encode(0),
        _ => {
            let advice = args::advice::WILLNEED + dice.roll(2);
            args::Advise { space: CURRENT, address, length, advice }.encode(0)
        }
    }
}
