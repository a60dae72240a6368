//! The read of a daemon's file, in a straight line: everything is checked first, and whatever is not as usual
//! takes the general road in [`super::forward`], which does the same.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::inflight::PLAIN_READ;
use super::state::State;
use super::{dispatch, forward, registered};
use crate::context::context::Context;
use crate::ring::duplex::Ring;
use core::hint::cold_path;
use ring_abi::args::CURSOR;
use ring_abi::map;
use ring_abi::ring::Entry;
use ring_abi::sqe::Head;
use ring_abi::{Opcode, Sqe, Words, enter};

/// What a program asks.
#[derive(Clone, Copy)]
struct Asked {
    fd: u64,
    buffer: u64,
    length: u64,
    offset: u64,
}

impl Asked {
    /// Reads a submission's words.
    #[inline(always)]
    fn of(entry: &impl Words) -> Asked {
        Asked { fd: entry.arg(0), buffer: entry.arg(1), length: entry.arg(2), offset: entry.arg(3) }
    }

    /// Whether buffer or offset has its highest bit set: it is the cursor, or none. Any other address is looked at when
    /// there is something to write there.
    #[inline(always)]
    const fn is_odd(&self) -> bool {
        ((self.buffer | self.offset) as i64) < 0
    }
}

const _: () = assert!(Asked { fd: 0, buffer: 0, length: 0, offset: CURSOR }.is_odd());

/// Who asks, and when, in ticks of the processor.
struct Asker<'a> {
    ring: &'a Ring,
    /// Its owner and process, as requests have them.
    who: [u64; 2],
    now: u32,
}

impl<'a> Asker<'a> {
    #[inline(always)]
    fn new(s: &State, context: &Context, ring: &'a Ring) -> Asker<'a> {
        Asker { ring, who: forward::who(context), now: s.memory.machine.ticks() as u32 }
    }
}

/// Where the reads of a handle go.
///
/// Names, since with near rooms a reference is no better, and a choice of references has to be looked at again.
#[derive(Clone, Copy)]
struct Target {
    file: u32,
    link: u32,
    daemon: u32,
}

impl Target {
    /// Where the reads of a handle go, if that is to a daemon that takes one at once if its queue has room.
    #[inline(always)]
    fn find(s: &State, context: &Context, fd: u64) -> Option<Target> {
        // What is absent is found to take nothing: a handle, its file, its link.
        Target::of(s, s.tables.at(context.table.get()).any_file(&s.chunks, fd)?)
    }

    /// Where the reads of a file go, under the same condition.
    #[inline(always)]
    fn of(s: &State, file: u32) -> Option<Target> {
        let route = s.files.at(file).route.get();
        let link = s.links.at(route);
        if !link.takes_at_once() {
            return None;
        }
        Some(Target { file, link: route, daemon: link.ring.get() })
    }

    /// Asks the daemon, in the next place of its queue; all that needs is there: the operation's record. The file is not
    /// held yet, and the request does not count yet.
    #[inline(always)]
    fn ask(&self, s: &State, asker: &Asker<'_>, tag: u32, asked: Asked) -> u32 {
        let daemon = s.rings.at(self.daemon);
        let requests = daemon.memory.get();
        self.ask_in(s, asker, tag, asked, requests.service_requests().slot(daemon.rq.position()))
    }

    /// The same, in this place of its queue.
    #[inline(always)]
    fn ask_in(&self, s: &State, asker: &Asker<'_>, tag: u32, asked: Asked, place: &map::Slot<8>) -> u32 {
        let Asker { ring, who, now } = *asker;
        let link = s.links.at(self.link);
        let (id, slot_tag) = link.ask(s);
        let op = s.ops.at(id);
        s.file_op(ring, tag, (id, op), PLAIN_READ, now);
        let length = asked.length.min(link.slot_bytes());
        op.file.set(self.file);
        debug_assert!(op.object.get() == self.link, "a record that waits is its link's");
        // The daemon has the others, and it is not asked again.
        let [_, buffer, most, slot, _] = &op.args;
        buffer.set(asked.buffer);
        most.set(length);
        debug_assert!(slot.get() == link.offset(slot_tag) as u64, "a record that waits knows its slot");
        let buffer = link.arena_address.get().wrapping_add(slot.get());
        let head = forward::head(Opcode::Read, slot_tag);
        forward::write(who, place, [head, s.files.at(self.file).id.get(), buffer, length, asked.offset]);
        id
    }

    /// Counts so many submissions that were taken and asked the daemon, holds the file for them, and shows the daemon what
    /// it is asked. How many.
    #[cold]
    #[inline(never)]
    fn show_run(&self, s: &State, ring: &Ring, count: u32) -> u32 {
        ring.sq.advance(count);
        ring.cq.claim_known(count);
        s.stats.start_many(Opcode::Read as u8, count);
        s.took_idle(count);
        s.files.at(self.file).hold(count);
        let daemon = s.rings.at(self.daemon);
        forward::publish(daemon, count);
        s.hand_any(s.rouse(daemon, enter::REQUESTS));
        count
    }
}

/// Starts a read, whose completion has its place: the ring of the daemon that was asked and is to be
/// [roused](State::rouse). Nothing, and the step is not brief: it took the general road, and may be answered already.
#[inline(always)]
pub fn start(s: &State, context: &Context, ring: &Ring, tag: u32, entry: impl Words) -> Option<u32> {
    let asked = Asked::of(&entry);
    if asked.is_odd() {
        cold_path();
        s.stats.start(Opcode::Read as u8);
        start_oddly(s, ring, tag, asked.fd, asked.buffer, asked.length, asked.offset);
        return None;
    }
    if let Some(target) = Target::find(s, context, asked.fd)
        && forward::has_room(s, s.rings.at(target.daemon))
    {
        let daemon = s.rings.at(target.daemon);
        target.ask(s, &Asker::new(s, context, ring), tag, asked);
        s.files.at(target.file).hold(1);
        forward::publish(daemon, 1);
        return Some(target.daemon);
    }
    s.stats.start(Opcode::Read as u8);
    start_slowly(s, ring, tag, asked.fd, asked.buffer, asked.length, asked.offset);
    None
}

/// Starts a read, whose first word was read, and those of the same file that follow it, as far as there is room, but not
/// more than `most`: how many. Also the first word of the next submission if it was read.
#[inline(never)]
pub fn start_run(s: &State, context: &Context, ring: &Ring, first: Head, most: u32) -> (u32, Option<Head>) {
    let submissions = ring.memory.get();
    let asked = Asked::of(&ring.sq.peek(&submissions.sq(), 0));
    let target = if asked.is_odd() { None } else { Target::find(s, context, asked.fd) };
    let Some(target) = target.filter(|target| forward::has_room(s, s.rings.at(target.daemon))) else {
        return (start_odd(s, ring, first, asked.fd, asked.buffer, asked.length, asked.offset), None);
    };
    let daemon = s.rings.at(target.daemon);
    let most = most.min(ring.cq.known_room()).min(daemon.rq.known_room());
    let requests = daemon.memory.get();
    let (asker, fd) = (Asker::new(s, context, ring), asked.fd);
    target.ask(s, &asker, first.tag(), asked);
    let mut taken = 1_u32;
    // Once more where the memory of a queue begins again.
    while taken < most {
        let at = daemon.rq.position().wrapping_add(taken);
        let places = requests.service_requests().stretch(at, most.wrapping_sub(taken));
        let entries = submissions.sq().stretch(ring.sq.position().wrapping_add(taken), places.len() as u32);
        for (entry, place) in entries.iter().zip(places) {
            let entry = Entry::of(entry);
            let head = Head(entry.word(0));
            if head.shape() != dispatch::READ {
                return (target.show_run(s, ring, taken), Some(head));
            }
            let asked = Asked::of(&entry);
            if asked.fd != fd || asked.is_odd() || !s.links.at(target.link).has_record() {
                cold_path();
                let taken = target.show_run(s, ring, taken);
                let odd = start_odd(s, ring, head, asked.fd, asked.buffer, asked.length, asked.offset);
                return (taken.wrapping_add(odd), None);
            }
            target.ask_in(s, &asker, head.tag(), asked, place);
            taken = taken.wrapping_add(1);
        }
    }
    (target.show_run(s, ring, taken), None)
}

/// Takes the oldest submission, a read that is not as usual and whose words were read. One.
#[cold]
#[inline(never)]
fn start_odd(s: &State, ring: &Ring, head: Head, fd: u64, buffer: u64, length: u64, offset: u64) -> u32 {
    s.stats.start(Opcode::Read as u8);
    ring.sq.advance(1);
    ring.cq.claim_known(1);
    start_oddly(s, ring, head.tag(), fd, buffer, length, offset);
    1
}

/// Starts a read whose file and buffer are registered, or one of them, if nothing else is odd about it.
#[inline(always)]
fn start_registered(s: &State, ring: &Ring, tag: u32, asked: Asked) -> Option<()> {
    let Asked { fd, buffer, length, offset } = asked;
    let context = s.contexts.at(ring.owner.get());
    if !registered::is_slot(fd | buffer) || offset == CURSOR {
        return None;
    }
    registered::check(s, ring, Opcode::Read, buffer, length).ok()?;
    let target = if registered::is_slot(fd) {
        Target::of(s, registered::file(s, ring, fd).ok()?)?
    } else {
        Target::find(s, context, fd)?
    };
    let daemon = s.rings.at(target.daemon);
    if !forward::has_room(s, daemon) {
        return None;
    }
    target.ask(s, &Asker::new(s, context, ring), tag, asked);
    s.took_idle(1);
    s.files.at(target.file).hold(1);
    forward::publish(daemon, 1);
    s.hand_any(s.rouse(daemon, enter::REQUESTS));
    Some(())
}

/// Starts a read that chooses its buffer, for which a mark stands (see [`super::provided`]), if nothing else is odd about it.
/// `false`: the general road is to be taken.
pub fn start_marked(cx: &Cx<'_>, file: u32, mark: u64, length: u64, offset: u64) -> bool {
    let s = cx.s;
    let Some(target) = Target::of(s, file) else { return false };
    let daemon = s.rings.at(target.daemon);
    if !forward::has_room(s, daemon) {
        return false;
    }
    let asked = Asked { fd: 0, buffer: mark, length, offset };
    let id = target.ask(s, &Asker::new(s, cx.context, cx.ring), cx.tag, asked);
    // There is no room for an answer until it has come.
    s.ops.at(id).set_arg(2, 0);
    s.took_idle(1);
    s.files.at(file).hold(1);
    forward::publish(daemon, 1);
    s.hand_any(s.rouse(daemon, enter::REQUESTS));
    true
}

/// Starts a read that is not as usual, or that may be of something registered.
#[cold]
#[inline(never)]
fn start_oddly(s: &State, ring: &Ring, tag: u32, fd: u64, buffer: u64, length: u64, offset: u64) {
    if start_registered(s, ring, tag, Asked { fd, buffer, length, offset }).is_none() {
        start_slowly(s, ring, tag, fd, buffer, length, offset);
    }
}

/// Starts a read by the general road.
#[cold]
#[inline(never)]
fn start_slowly(s: &State, ring: &Ring, tag: u32, fd: u64, buffer: u64, length: u64, offset: u64) {
    s.step.measure(&s.memory.machine);
    let outcome = forward::start(&Cx::new(s, ring, tag), Opcode::Read, [fd, buffer, length, offset, 0]);
    let entry = Sqe::new(Opcode::Read, tag, [fd, buffer, length, offset, 0, 0]);
    dispatch::answer_or_wait(s, ring, Head(entry.word(0)), &entry, outcome);
}
