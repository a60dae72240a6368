//! A context: all that the kernel keeps of a thread of control. It has no stack here.
//!
//! Invariants:
//!
//! - a context waits for its turn ([`super::cpu`] says where) exactly while its state is `Ready`;
//! - while it waits in `ring_enter`, `waits` of one of its rings is set, otherwise of none;
//! - its full registers exist only between a preemption (or fault, or reflected call) and its next turn;
//! - its record lives as long as it runs or a file leads to it (`refs`).
#![forbid(unsafe_code)]

use super::share::Share;
use crate::arch::Regs;
use crate::base::list::{Link, List};
use crate::base::name::{Named, Room};
use crate::base::{ABSENT, NONE};
use crate::mem::arena::Record;
use core::cell::Cell;
use core::num::NonZeroU64;
use ring_abi::Errno;
use ring_abi::context::End;

/// What a context does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// The record is free, or what it was has ended and a file still leads to it.
    #[default]
    Ended,
    /// It was made, or stopped, and waits for `ContextStart`.
    Stopped,
    /// It waits for its turn.
    Ready,
    /// It runs on a CPU, or waits in `ring_enter` for what its rings say: an exchange of places changes nothing here.
    Active,
    /// Its own exec or exit keeps it waiting.
    Held,
    /// It has touched a page that a daemon is asked for. Its `link` names who waits.
    Paging,
    /// It is being torn down; nothing of it runs any more.
    Ending,
}

/// Whether a context that runs on another processor is to end when that enters the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// It is not.
    #[default]
    None,
    /// It is.
    Ends,
    /// It is, and its doomed space waits for that.
    Awaited,
}

/// All processors, those that are not there too.
pub const ANY: u16 = u16::MAX;

/// What is looked at before a context runs again. While it has a mark its waits are [odd](crate::ring::duplex::ODD).
#[derive(Debug, Default)]
pub struct Marks(Cell<u8>);

const STOP: u8 = 1;
const LIMITED: u8 = 2;

impl Marks {
    /// Whether it has a mark.
    #[inline(always)]
    pub fn any(&self) -> bool {
        self.0.get() != 0
    }

    /// Whether it is to stop instead of running again.
    pub fn stop(&self) -> bool {
        self.0.get() & STOP != 0
    }

    /// It is to stop, or not.
    pub fn set_stop(&self, on: bool) {
        self.set(STOP, on);
    }

    fn set(&self, mark: u8, on: bool) {
        self.0.set(self.0.get() & !mark | if on { mark } else { 0 });
    }
}

/// A thread of control.
///
/// In this order, so that its registers, which exits load, begin where it does.
#[derive(Debug)]
#[repr(C)]
pub struct Context {
    /// Kept registers, and the names of its rings; the entry stubs know them.
    pub regs: Regs,
    /// What it does.
    pub state: Cell<State>,
    /// What is looked at before it runs again.
    pub marks: Marks,
    /// It is to end; how is in `end` already.
    pub fate: Cell<Fate>,
    /// The processor in whose queue it is, or was last; its share's time is one of that queue.
    pub cpu: Cell<u8>,
    /// The processors that it may run on, as bits; all of them unless it is marked as limited.
    pub cpus: Cell<u16>,
    /// How it ended.
    pub end: Cell<End>,
    /// What it may use, if that is not everything; or `NONE`.
    pub bounds: Cell<u32>,
    /// Position of its wait's deadline in the timer heap, or `NONE`.
    pub timer: Cell<u32>,
    /// Its address space.
    pub space: Cell<u32>,
    /// Its handle table.
    pub table: Cell<u32>,
    /// Process id that is stamped on its requests.
    pub pid: Cell<u32>,
    /// Files that lead to it, plus one while it lives.
    pub refs: Cell<u32>,
    /// User and group that are stamped on its requests: uid | gid << 32.
    pub owner: Cell<u64>,
    /// Place in a run queue.
    pub link: Link,
    /// Its share of the processor.
    pub share: Cell<Share>,
    /// What is left of a `ring_enter` that ran out of budget: its flags, or `None` if nothing is.
    pub unfinished: Cell<Option<Unfinished>>,
    /// Place in the list of its address space's contexts.
    pub of_space: Link,
    /// Operations that wait for its end.
    pub watchers: List,
    /// Address of the word that is zeroed and woken when it ends, or zero.
    pub end_word: Cell<u64>,
}

/// A `ring_enter` that ran out of budget and goes on when its context has its next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// The ring.
    pub ring: u32,
    /// Flags.
    pub flags: u8,
    /// It waits, and goes on with this when the time for which it wants more than one completion is over.
    pub patient: bool,
    /// Submissions still to take.
    pub to_submit: u32,
    /// Completions to wait for.
    pub min_complete: u32,
    /// When the wait ends; never zero, so that none of it left is no bytes more.
    pub deadline: NonZeroU64,
}

impl Default for Context {
    fn default() -> Self {
        Context {
            regs: Regs::default(),
            state: Cell::default(),
            marks: Marks::default(),
            fate: Cell::new(Fate::None),
            cpu: Cell::new(0),
            cpus: Cell::new(ANY),
            unfinished: Cell::new(None),
            link: Link::default(),
            share: Cell::default(),
            space: Cell::new(NONE),
            table: Cell::new(NONE),
            bounds: Cell::new(NONE),
            pid: Cell::new(0),
            owner: Cell::new(0),
            of_space: Link::default(),
            timer: Cell::new(NONE),
            refs: Cell::new(0),
            watchers: List::new(),
            end: Cell::new(End::Exited(0)),
            end_word: Cell::new(0),
        }
    }
}

// There may be 100,000 of them.
const _: () = assert!(size_of::<Context>() <= 224);

impl Named for Context {
    const ROOM: Room = Room::Near(0);
}

impl Record for Context {
    fn free_link(&self) -> &Cell<u32> {
        self.link.cell()
    }
}

impl Context {
    /// The names of its rings with their numbers. The first always exists while it lives.
    pub fn rings(&self) -> impl Iterator<Item = (usize, u32)> {
        self.regs.rings.iter().map(Cell::get).enumerate().filter(|(_, ring)| *ring != ABSENT)
    }

    /// The name of the ring of this number, or [`ABSENT`].
    pub fn ring(&self, number: u64) -> u32 {
        self.regs.rings.get(number as usize).map_or(ABSENT, Cell::get)
    }

    /// Whether it can have another ring.
    pub fn has_room_for_ring(&self) -> bool {
        self.regs.rings.iter().any(|ring| ring.get() == ABSENT)
    }

    /// Gives it this ring and no other; [`ABSENT`] for none at all.
    pub fn set_rings(&self, first: u32) {
        for (number, cell) in self.regs.rings.iter().enumerate() {
            cell.set(if number == 0 { first } else { ABSENT });
        }
    }

    /// Gives it another ring: its number. `EMFILE` if it has as many as it can have.
    pub fn add_ring(&self, name: u32) -> Result<usize, Errno> {
        let mut rings = self.regs.rings.iter().enumerate();
        let (number, cell) = rings.find(|(_, ring)| ring.get() == ABSENT).ok_or(Errno::MFILE)?;
        cell.set(name);
        Ok(number)
    }

    /// Takes the ring of this number away: its name, or [`ABSENT`].
    pub fn take_ring(&self, number: usize) -> u32 {
        self.regs.rings.get(number).map_or(ABSENT, |cell| cell.replace(ABSENT))
    }

    /// Limits it to these processors, or to [`ANY`].
    pub fn limit(&self, cpus: u16) {
        self.cpus.set(cpus);
        self.marks.set(LIMITED, cpus != ANY);
    }

    /// Whether it has not ended.
    pub fn lives(&self) -> bool {
        !matches!(self.state.get(), State::Ended | State::Ending)
    }
}
