//! Words of futexes that somebody waited for lately: where they lie, and which channel is theirs.
//!
//! A word is checked by a walk of the page table, is named by a look into the regions where memory is shared, and its
//! channel is looked for in a tree. Locks are met again and again, so a few words are remembered, each in a *seat* that its
//! address chooses. A seat is believed as the page of a ring is (see [`crate::mem::user::PageCache`]): only while no mapping
//! was taken away or lost rights, in any space. It keeps its channel, so the channel is there as long as the seat knows it.
#![forbid(unsafe_code)]

use super::channel::{self, Key};
use super::state::State;
use crate::arch::UserPtr;
use crate::base::{NONE, is_none};
use crate::mem::user::{self, Access};
use core::cell::Cell;
use ring_abi::Errno;

/// Words that are remembered; a power of two.
const SEATS: usize = 64;
/// The counter of mappings never comes to this value: the seat is not believed.
const NEVER: u64 = u64::MAX;

/// A word that is remembered.
#[derive(Debug)]
pub struct Seat {
    address: Cell<u64>,
    mappings: Cell<u64>,
    /// Where it lies.
    pub place: Cell<UserPtr>,
    space: Cell<u32>,
    /// Those who wait for it.
    pub channel: Cell<u32>,
}

/// All of them.
#[derive(Debug)]
pub struct Seats([Seat; SEATS]);

impl Default for Seats {
    fn default() -> Self {
        Seats(core::array::from_fn(|_| Seat {
            address: Cell::new(0),
            mappings: Cell::new(NEVER),
            place: Cell::new(UserPtr::default()),
            space: Cell::new(NONE),
            channel: Cell::new(NONE),
        }))
    }
}

impl Seats {
    /// The seat of an address, whoever has it.
    #[inline(always)]
    fn of(&self, address: u64) -> Option<&Seat> {
        self.0.get(((address >> 2) ^ (address >> 12)) as usize % SEATS)
    }

    /// The channels that are kept here; `NONE` among them.
    pub fn channels(&self) -> impl Iterator<Item = u32> + Clone {
        self.0.iter().map(|seat| seat.channel.get())
    }
}

/// The seat of a word, if the word is remembered.
#[inline(always)]
pub fn known(s: &State, space: u32, address: u64) -> Option<&Seat> {
    let seat = s.seats.of(address)?;
    let is_its = seat.address.get() == address && seat.space.get() == space;
    (is_its && seat.mappings.get() == s.memory.mappings()).then_some(seat)
}

/// The channel of a word, if somebody may wait there. `EFAULT` if there is no such word, `EINVAL` if that is no address of
/// one.
#[inline(always)]
pub fn channel(s: &State, space: u32, address: u64) -> Result<Option<u32>, Errno> {
    match known(s, space, address) {
        Some(seat) => Ok(Some(seat.channel.get())),
        None => look_up(s, space, address),
    }
}

#[cold]
#[inline(never)]
fn look_up(s: &State, space: u32, address: u64) -> Result<Option<u32>, Errno> {
    find(s, space, address)?;
    Ok(channel::find(s, key(s, space, address)))
}

/// Where a word lies that is not remembered.
#[cold]
#[inline(never)]
pub fn find(s: &State, space: u32, address: u64) -> Result<UserPtr, Errno> {
    user::word_place(&s.memory, s.memory.space(space), address, Access::Read)
}

/// What a word is named by.
pub fn key(s: &State, space: u32, address: u64) -> Key {
    let (object, offset) = s.memory.space(space).futex_key(&s.memory, space, address);
    Key::Futex { object, offset }
}

/// Remembers a word that lies at a place; its channel.
#[cold]
#[inline(never)]
pub fn remember(s: &State, space: u32, address: u64, place: UserPtr) -> Result<u32, Errno> {
    let channel = channel::open(s, key(s, space, address))?;
    if let Some(seat) = s.seats.of(address) {
        channel::keep(s, channel);
        let before = seat.channel.replace(channel);
        if !is_none(before) {
            channel::release(s, before);
        }
        seat.space.set(space);
        seat.address.set(address);
        seat.place.set(place);
        // What the fake machine's hosts have in their own memory is not mapped, and so not unmapped.
        let is_mapped = !s.memory.machine.linear(s.memory.space(space).root());
        seat.mappings.set(if is_mapped { s.memory.mappings() } else { NEVER });
    }
    Ok(channel)
}

#[cfg(not(target_os = "none"))]
impl Seats {
    /// Checks that every seat that is believed says what a walk would say.
    pub fn audit(&self, s: &State) -> Result<(), std::string::String> {
        for seat in self.0.iter().filter(|seat| seat.mappings.get() == s.memory.mappings()) {
            let (space, address) = (seat.space.get(), seat.address.get());
            let place = find(s, space, address);
            let is_kept = s.channels.at(seat.channel.get()).is_about(key(s, space, address));
            if place != Ok(seat.place.get()) || !is_kept {
                return Err(std::format!(
                    "a seat of word {address:#x} of space {space}: {place:?}, {is_kept}"
                ));
            }
        }
        Ok(())
    }
}
