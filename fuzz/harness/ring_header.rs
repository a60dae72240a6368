//! What must hold for an end of a ring, whatever the peer writes into the shared memory.
//!
//! The fuzz target and `ring-abi/tests/hostile.rs` share this file, so what the fuzzer looks for is also
//! checked, with random bytes, by `cargo test`.
//!
//! The bytes are a script: our steps, and what the peer writes between them, into any word of the ring,
//! our own included. A plain copy of the memory and of what our ends must remember says after each step
//! what must be there; guards on both sides of the ring show a write that leaves it.

use ring_abi::layout::{CQE_BYTES, HEADER_BYTES, SQE_BYTES, Sizes, word};
use ring_abi::map::{Queue, Ring};
use ring_abi::ring::{Consumer, Corrupt, Doorbell, Promiser, PushError};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Runs the script for one of the four pairs of ends.
pub(crate) fn check(script: &[u8]) {
    let mut script = Script(script);
    let role = script.byte() % 4;
    let [sq, cq, service] = std::array::from_fn(|_| script.byte() % 4);
    let sizes = Sizes { sq, cq, service: if role < 2 { service.checked_sub(1) } else { Some(service) } };
    let memory = Memory::new(sizes);
    let ring = memory.ring();
    let submissions = Place::new(word::SQ_HEAD, word::SQ_TAIL, word::SQ_SLEEPS, HEADER_BYTES);
    let completions = Place::new(word::CQ_HEAD, word::CQ_TAIL, word::CQ_SLEEPS, sizes.cq_offset());
    let requests = Place::new(word::RQ_HEAD, word::RQ_TAIL, word::RQ_SLEEPS, sizes.rq_offset());
    let replies = Place::new(word::RP_HEAD, word::RP_TAIL, word::RP_SLEEPS, sizes.rp_offset());
    let start = script.number();
    assert_eq!(
        (ring.requests().is_some(), ring.replies().is_some()),
        (sizes.service.is_some(), sizes.service.is_some())
    );
    match (role, ring.requests(), ring.replies()) {
        (2, Some(rq), Some(rp)) => {
            Ends::new(&memory, start, (rq, requests), (rp, replies)).run(&mut script);
        }
        (3, Some(rq), Some(rp)) => {
            Ends::new(&memory, start, (rp, replies), (rq, requests)).run(&mut script);
        }
        (0, ..) => {
            Ends::new(&memory, start, (ring.sq(), submissions), (ring.cq(), completions)).run(&mut script)
        }
        _ => Ends::new(&memory, start, (ring.cq(), completions), (ring.sq(), submissions)).run(&mut script),
    }
}

/// The bytes that say what happens; zeros after their end.
struct Script<'s>(&'s [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn number(&mut self) -> u32 {
        u32::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }
}

/// Lanes of 32 bits on each side of the ring that nobody may touch.
const GUARD: usize = 64;
/// What stands there.
const PATTERN: u32 = 0x5eed_5eed;

#[repr(align(64))]
struct Line([AtomicU32; 16]);

/// A ring between two guards.
struct Memory {
    lines: Vec<Line>,
    sizes: Sizes,
}

impl Memory {
    fn new(sizes: Sizes) -> Memory {
        let count = (sizes.bytes().div_ceil(64)) + 2 * GUARD / 16;
        let lines = (0..count).map(|_| Line(std::array::from_fn(|_| AtomicU32::new(PATTERN)))).collect();
        let memory = Memory { lines, sizes };
        for lane in 0..sizes.bytes() / 4 {
            memory.lane(lane).store(0, Relaxed);
        }
        memory
    }

    /// A lane of 32 bits of the ring.
    fn lane(&self, index: usize) -> &AtomicU32 {
        let index = GUARD + index;
        &self.lines[index / 16].0[index % 16]
    }

    fn ring(&self) -> Ring {
        let base = NonNull::from(&self.lines[GUARD / 16]).cast();
        assert_eq!(self.lane(0).as_ptr().cast(), base.as_ptr());
        // SAFETY: the lines from here on are aligned to 64, hold `sizes.bytes()` bytes of atomics, and
        // outlive the view: `check` drops them last.
        unsafe { Ring::from_raw(base, self.sizes) }
    }

    fn all(&self) -> Vec<u32> {
        self.lines.iter().flat_map(|line| line.0.iter()).map(|lane| lane.load(Relaxed)).collect()
    }
}

/// Where a queue's words and entries lie, by the golden layout.
#[derive(Clone, Copy)]
struct Place {
    head: usize,
    tail: usize,
    sleeps: usize,
    entries: usize,
}

impl Place {
    fn new(head: usize, tail: usize, sleeps: usize, offset: usize) -> Place {
        Place { head, tail, sleeps, entries: offset / 4 }
    }

    /// First lane of the entry at a position.
    fn entry<const W: usize>(self, queue: &Queue<'_, W>, position: u32) -> usize {
        assert_eq!(W * 8, if W == 8 { SQE_BYTES } else { CQE_BYTES });
        self.entries + (position % queue.capacity()) as usize * W * 2
    }
}

/// Our two ends of a pair of queues, and what they must remember.
struct Ends<'m, const P: usize, const C: usize> {
    memory: &'m Memory,
    shadow: Vec<u32>,
    filled: u64,

    producer: Promiser,
    out: Queue<'m, P>,
    out_place: Place,
    tail: u32,
    room: u32,
    held: u32,

    consumer: Consumer,
    incoming: Queue<'m, C>,
    in_place: Place,
    head: u32,
}

impl<'m, const P: usize, const C: usize> Ends<'m, P, C> {
    fn new(
        memory: &'m Memory,
        start: u32,
        out: (Queue<'m, P>, Place),
        incoming: (Queue<'m, C>, Place),
    ) -> Self {
        for place in [out.1, incoming.1] {
            memory.lane(place.head).store(start, Relaxed);
            memory.lane(place.tail).store(start, Relaxed);
        }
        Ends {
            memory,
            shadow: memory.all(),
            filled: 0,
            producer: Promiser::at(start),
            out: out.0,
            out_place: out.1,
            tail: start,
            room: 0,
            held: 0,
            consumer: Consumer::at(start),
            incoming: incoming.0,
            in_place: incoming.1,
            head: start,
        }
    }

    fn run(&mut self, script: &mut Script<'_>) {
        while !script.0.is_empty() {
            match script.byte() % 16 {
                0..=3 => self.peer_writes_an_index(script),
                4 => self.peer_writes_anywhere(script),
                5 | 8 => self.push(),
                6 => self.claim(),
                7 => self.fill(),
                9 => self.publish(),
                10 => self.look_for_room(),
                11 => self.pop(),
                12 => self.take_batch(script.byte()),
                13 => self.try_sleep(),
                14 => self.wake(),
                _ => self.push_many(script.byte()),
            }
            self.check();
        }
    }

    fn check(&self) {
        assert_eq!(self.memory.all(), self.shadow, "memory is not as it should be");
        assert_eq!(self.producer.position(), self.tail);
        assert_eq!(self.producer.known_room(), self.room);
        assert_eq!(self.producer.held(), self.held);
        assert_eq!(self.consumer.position(), self.head);
        assert!(self.room + self.held <= self.out.capacity(), "more places than the queue has");
    }

    fn lane(&self, index: usize) -> u32 {
        self.shadow[GUARD + index]
    }

    fn expect(&mut self, index: usize, value: u32) {
        self.shadow[GUARD + index] = value;
    }

    fn write(&mut self, index: usize, value: u32) {
        self.memory.lane(index).store(value, Relaxed);
        self.expect(index, value);
    }

    // The peer.

    fn peer_writes_an_index(&mut self, script: &mut Script<'_>) {
        let places = [self.out_place, self.in_place];
        let at = script.byte();
        let place = places[usize::from(at) % 2];
        let index = [place.head, place.tail, place.sleeps][usize::from(at / 2) % 3];
        let near = script.byte();
        let value = match near % 4 {
            0 => script.number(),
            1 => self.tail.wrapping_sub(u32::from(near / 4) % 12),
            2 => self.head.wrapping_add(u32::from(near / 4) % 12),
            _ => u32::from(near / 4),
        };
        self.write(index, value);
    }

    fn peer_writes_anywhere(&mut self, script: &mut Script<'_>) {
        let index = script.number() as usize % (self.memory.sizes.bytes() / 4);
        let value = script.number();
        self.write(index, value);
    }

    // The producer.

    /// What a look at the peer's index must say, and what it leaves behind.
    fn refresh(&mut self) -> Result<u32, Corrupt> {
        let untaken = self.tail.wrapping_sub(self.lane(self.out_place.head));
        let room = self.out.capacity().checked_sub(untaken).and_then(|free| free.checked_sub(self.held));
        self.room = room.unwrap_or(self.room);
        room.ok_or(Corrupt)
    }

    fn take_place(&mut self) -> Result<(), PushError> {
        if self.room == 0 {
            match self.refresh() {
                Ok(0) => return Err(PushError::Full),
                Ok(_) => {}
                Err(Corrupt) => return Err(PushError::Corrupt),
            }
        }
        self.room -= 1;
        Ok(())
    }

    /// The next entry, different from all before it, and the mark that it leaves in memory.
    fn entry(&mut self) -> [u64; P] {
        self.filled += 1;
        let entry = std::array::from_fn(|index| self.filled << 32 | index as u64);
        let first = self.out_place.entry(&self.out, self.tail);
        for (index, value) in entry.into_iter().enumerate() {
            self.expect(first + 2 * index, value as u32);
            self.expect(first + 2 * index + 1, (value >> 32) as u32);
        }
        self.tail = self.tail.wrapping_add(1);
        entry
    }

    fn push(&mut self) {
        let expected = self.take_place();
        let entry = if expected.is_ok() { self.entry() } else { [0; P] };
        assert_eq!(self.producer.push(&self.out, entry), expected);
    }

    fn push_many(&mut self, count: u8) {
        for _ in 0..count % 16 {
            self.push();
        }
        self.publish();
    }

    fn claim(&mut self) {
        let expected = self.take_place();
        self.held += u32::from(expected.is_ok());
        assert_eq!(self.producer.claim(&self.out), expected);
    }

    fn fill(&mut self) {
        if self.held > 0 {
            self.held -= 1;
            let entry = self.entry();
            self.producer.fill(&self.out, entry);
        }
    }

    fn publish(&mut self) {
        self.expect(self.out_place.tail, self.tail);
        let asleep = self.lane(self.out_place.sleeps) != 0;
        let bell = self.producer.publish_and_look(&self.out);
        assert_eq!(bell, if asleep { Doorbell::Ring } else { Doorbell::Quiet });
    }

    fn look_for_room(&mut self) {
        let untaken = self.tail.wrapping_sub(self.lane(self.out_place.head));
        let believable = untaken <= self.out.capacity();
        assert_eq!(self.producer.untaken(&self.out), if believable { Ok(untaken) } else { Err(Corrupt) });
        let expected = self.refresh();
        assert_eq!(self.producer.refresh(&self.out), expected);
    }

    // The consumer.

    fn ready(&self) -> Result<u32, Corrupt> {
        let ready = self.lane(self.in_place.tail).wrapping_sub(self.head);
        if ready <= self.incoming.capacity() { Ok(ready) } else { Err(Corrupt) }
    }

    /// The entry `ahead` places on, as the memory's copy has it.
    fn waiting(&self, ahead: u32) -> [u64; C] {
        let first = self.in_place.entry(&self.incoming, self.head.wrapping_add(ahead));
        std::array::from_fn(|index| {
            let at = first + 2 * index;
            u64::from(self.lane(at)) | u64::from(self.lane(at + 1)) << 32
        })
    }

    fn pop(&mut self) {
        let expected = match self.ready() {
            Err(Corrupt) => Err(Corrupt),
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(self.waiting(0))),
        };
        if let Ok(Some(_)) = expected {
            self.head = self.head.wrapping_add(1);
            self.expect(self.in_place.head, self.head);
        }
        assert_eq!(self.consumer.pop(&self.incoming), expected);
    }

    fn take_batch(&mut self, most: u8) {
        let expected = self.ready();
        let ready = self.consumer.ready(&self.incoming);
        assert_eq!(ready, expected);
        let Ok(ready) = ready else { return };
        for ahead in 0..ready {
            let entry = self.consumer.peek(&self.incoming, ahead);
            assert_eq!(entry.copy(), self.waiting(ahead));
            assert_eq!(entry.load(C), 0, "there is no such word");
        }
        let taken = ready.min(u32::from(most));
        self.consumer.advance(taken);
        self.consumer.publish(&self.incoming);
        self.head = self.head.wrapping_add(taken);
        self.expect(self.in_place.head, self.head);
    }

    fn try_sleep(&mut self) {
        self.expect(self.in_place.sleeps, 1);
        let expected = self.ready().map(|ready| ready == 0);
        if expected == Ok(false) {
            self.expect(self.in_place.sleeps, 0);
        }
        assert_eq!(self.consumer.try_sleep(&self.incoming), expected);
    }

    fn wake(&mut self) {
        self.expect(self.in_place.sleeps, 0);
        self.consumer.wake(&self.incoming);
    }
}
