//! A fixed log of recent events, printed when the kernel stops.
//!
//! Only events off the fast path are noted: faults, ends, registrations, stale tags. The ring tracer
//! (`sys/trace`) is separate and off unless asked for.
#![forbid(unsafe_code)]

use core::cell::Cell;
use core::fmt;

/// What happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum What {
    /// Nothing yet.
    #[default]
    Empty,
    /// A context was made: context, space.
    Created,
    /// A context ended: context, end.
    Ended,
    /// A fault of a program: context, vector.
    Fault,
    /// A scheme was registered: link, ring.
    Registered,
    /// A link died: link.
    LinkDied,
    /// A reply with a tag that is not out: link, tag.
    StaleTag,
    /// An interrupt: line.
    Interrupt,
    /// An allocation failed: kind, amount.
    OutOfMemory,
}

/// One event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Event {
    /// Nanoseconds of the monotonic clock.
    pub at: u64,
    /// What happened.
    pub what: What,
    /// Two numbers whose meaning depends on `what`.
    pub numbers: [u64; 2],
}

const EVENTS: usize = 64;

/// The last events.
#[derive(Debug)]
pub struct Trace {
    events: [Cell<Event>; EVENTS],
    next: Cell<usize>,
}

impl Default for Trace {
    fn default() -> Self {
        Trace {
            events: [const { Cell::new(Event { at: 0, what: What::Empty, numbers: [0; 2] }) }; EVENTS],
            next: Cell::new(0),
        }
    }
}

impl Trace {
    /// Notes an event.
    pub fn note(&self, at: u64, what: What, numbers: [u64; 2]) {
        let next = self.next.get() % EVENTS;
        if let Some(cell) = self.events.get(next) {
            cell.set(Event { at, what, numbers });
        }
        self.next.set(next.wrapping_add(1));
    }

    /// The events, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Event> + '_ {
        let start = self.next.get();
        let order = (0..EVENTS).map(move |offset| start.wrapping_add(offset) % EVENTS);
        order.filter_map(|at| self.events.get(at)).map(Cell::get).filter(|event| event.what != What::Empty)
    }

    /// Prints the events, oldest first.
    pub fn dump(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        for event in self.iter() {
            let [a, b] = event.numbers;
            writeln!(out, "annulus: trace {:>14} ns {:?} {a:#x} {b:#x}", event.at, event.what)?;
        }
        Ok(())
    }
}
