//! Memory of a program that the kernel holds on to: its pages are looked up once, and each frame gets one share more.
//!
//! What was pinned stays what it is while it is pinned. The program may unmap it, protect it or end: the frames are the
//! pin's too, and come back with whoever lets go last. A fork copies pages that are pinned at once, so the parent's stay
//! those that are: a page of its own whose frame has another share is pinned.
#![forbid(unsafe_code)]

use super::Run;
use super::arena::{Arena, Record};
use super::frames::Memory;
use super::runs::Cellular;
use super::space::{PAGE_BYTES, Space};
use super::user::{Access, Fixed, UserRange, charge, each_page};
use crate::arch::UserPtr;
use crate::base::NONE;
use crate::base::budget::Budget;
use crate::base::list::{Chain, Link};
use crate::base::name::Named;
use crate::bug;
use core::cell::Cell;
use ring_abi::Errno;
use ring_abi::registered::MOST_PAGES;
use rmm::{Frame, Tenure};

/// What pinning a page is reckoned to cost, and what letting go of it is.
const PIN: u32 = 900;
const GIVE: u32 = 100;
/// So many pages are let go at once.
const AT_ONCE: u32 = 4;

/// A frame that is held.
#[derive(Debug)]
pub struct Page {
    frame: Cell<u32>,
}

impl Default for Page {
    fn default() -> Self {
        Page { frame: Cell::new(NONE) }
    }
}

impl Named for Page {}

impl Cellular for Page {
    fn free_link(&self) -> &Cell<u32> {
        &self.frame
    }
}

/// Pinned memory.
#[derive(Debug)]
pub struct Pin {
    address: Cell<u64>,
    length: Cell<u64>,
    /// The row of its pages, of which so many are held.
    row: Cell<u32>,
    log2: Cell<u8>,
    /// It is memory of a hosted space, which has no frames to hold.
    hosted: Cell<bool>,
    held: Cell<u32>,
    /// Threads the free list, or the list of those to let go.
    link: Link,
}

impl Default for Pin {
    fn default() -> Self {
        Pin {
            address: Cell::new(0),
            length: Cell::new(0),
            row: Cell::new(NONE),
            log2: Cell::new(0),
            hosted: Cell::new(false),
            held: Cell::new(0),
            link: Link::default(),
        }
    }
}

impl Named for Pin {}

impl Record for Pin {
    fn free_link(&self) -> &Cell<u32> {
        self.link.cell()
    }
}

/// Pins that are let go in slices.
struct ByLettingGo<'a>(&'a Arena<Pin>);

impl Chain for ByLettingGo<'_> {
    fn link(&self, node: u32) -> &Link {
        &self.0.at(node).link
    }
}

/// Pinning, and letting go.
impl Memory {
    /// Takes the records to pin memory of a space: the pin's name.
    pub fn begin_pin(&self, space: &Space, address: u64, length: u64) -> Result<u32, Errno> {
        if length == 0 {
            return Err(Errno::INVAL);
        }
        UserRange::new(address, length)?;
        let pages = pages(address, length);
        if pages > MOST_PAGES {
            return Err(Errno::INVAL);
        }
        let log2 = pages.next_power_of_two().trailing_zeros() as u8;
        let id = self.pins.take(self)?;
        let row = self.pinned.take(self, log2).inspect_err(|_| self.pins.give(id))?;
        let pin = self.pins.at(id);
        pin.address.set(address);
        pin.length.set(length);
        pin.row.set(row);
        pin.log2.set(log2);
        pin.hosted.set(self.machine.linear(space.root()));
        pin.held.set(0);
        Ok(id)
    }

    /// Goes on with pinning. After an error the pin is to be let go.
    pub fn run_pin(&self, id: u32, space: &Space, budget: &Budget) -> Run {
        let pin = self.pins.at(id);
        let all = pages(pin.address.get(), pin.length.get());
        let first = pin.address.get() / PAGE_BYTES;
        while !pin.hosted.get() && u64::from(pin.held.get()) < all {
            if !budget.spend(PIN) {
                return Run::More;
            }
            let held = pin.held.get();
            match self.pin_page(space, first.wrapping_add(u64::from(held))) {
                Ok(frame) => {
                    self.pinned.named(self.pinned.name(pin.row.get(), held)).frame.set(frame);
                    pin.held.set(held.wrapping_add(1));
                }
                Err(error) => return Run::Done(Err(error)),
            }
        }
        Run::Done(Ok(0))
    }

    /// Takes a share of the frame of a page that a program may write.
    fn pin_page(&self, space: &Space, page: u64) -> Result<u32, Errno> {
        if space.leaf(self, page).is_some_and(|leaf| leaf.tenure == Tenure::Wired) {
            return Err(Errno::ACCES);
        }
        let page = rmm::Page::new(page).ok_or(Errno::FAULT)?;
        let frame = space.touch(self, page, Access::Write, false)?;
        self.frames.share(frame).map_err(|_| Errno::NOMEM)?;
        Ok(frame.frame().number())
    }

    /// Lets go of pinned memory: at once if it is little, otherwise in slices.
    pub fn let_go_pin(&self, id: u32) {
        if self.pins.at(id).held.get() > AT_ONCE {
            return self.dying_pins.push_back(&ByLettingGo(&self.pins), id);
        }
        while self.give_page(self.pins.at(id)) {}
        self.bury_pin(id);
    }

    /// Gives a few pages back. `false`: there was nothing.
    pub(super) fn slice_pins(&self, budget: &Budget) -> bool {
        let id = self.dying_pins.first();
        let Some(pin) = self.pins.get(id) else { return false };
        while pin.held.get() > 0 {
            if !budget.spend(GIVE) {
                return true;
            }
            self.give_page(pin);
        }
        self.dying_pins.remove(&ByLettingGo(&self.pins), id);
        self.bury_pin(id);
        true
    }

    /// Gives the last page back. `false`: there is none.
    fn give_page(&self, pin: &Pin) -> bool {
        let Some(left) = pin.held.get().checked_sub(1) else { return false };
        pin.held.set(left);
        let page = self.pinned.named(self.pinned.name(pin.row.get(), left));
        match self.frames.user(Frame::new(page.frame.replace(NONE))) {
            Some(frame) => self.release(frame),
            None => bug!("a pinned frame was given away"),
        }
        true
    }

    fn bury_pin(&self, id: u32) {
        let pin = self.pins.at(id);
        self.pinned.give(pin.row.get(), pin.log2.get());
        self.pins.give(id);
    }
}

/// Pages that a range touches; it lies in the lower half.
fn pages(address: u64, length: u64) -> u64 {
    let end = address.wrapping_add(length);
    end.div_ceil(PAGE_BYTES).wrapping_sub(address / PAGE_BYTES)
}

/// Using it.
impl Pin {
    /// Whether so many bytes lie in it from an offset on.
    pub fn covers(&self, offset: u64, length: u64) -> bool {
        offset.checked_add(length).is_some_and(|end| end <= self.length.get())
    }

    /// Where the byte at an offset lies. What follows it in the same page follows it in memory.
    pub fn place(&self, memory: &Memory, offset: u64) -> Result<UserPtr, Errno> {
        if !self.covers(offset, 1) {
            return Err(Errno::FAULT);
        }
        let address = self.address.get().wrapping_add(offset);
        if self.hosted.get() {
            return Ok(memory.machine.linear_pointer(address));
        }
        let index = (address / PAGE_BYTES).wrapping_sub(self.address.get() / PAGE_BYTES) as u32;
        let page = memory.pinned.named(memory.pinned.name(self.row.get(), index));
        match memory.frames.user(Frame::new(page.frame.get())) {
            Some(frame) => Ok(UserPtr::new(frame, (address % PAGE_BYTES) as usize)),
            None => bug!("a pinned frame was given away"),
        }
    }

    /// Copies from fixed memory into it. The range is checked before the first byte moves.
    pub fn copy_out(&self, memory: &Memory, offset: u64, from: Fixed, length: usize) -> Result<(), Errno> {
        self.each_part(memory, offset, length, |place, done, count| {
            memory.machine.copy(place, from.add(done), count);
        })
    }

    /// Copies from it to fixed memory.
    pub fn copy_in(&self, memory: &Memory, to: Fixed, offset: u64, length: usize) -> Result<(), Errno> {
        self.each_part(memory, offset, length, |place, done, count| {
            memory.machine.copy(to.add(done), place, count);
        })
    }

    fn each_part(
        &self,
        memory: &Memory,
        offset: u64,
        length: usize,
        mut part: impl FnMut(UserPtr, usize, usize),
    ) -> Result<(), Errno> {
        if !self.covers(offset, length as u64) {
            return Err(Errno::FAULT);
        }
        charge(memory, length);
        let start = self.address.get();
        let range = UserRange { address: start.wrapping_add(offset), length: length as u64 };
        each_page(range, |at, done, count| {
            part(self.place(memory, at.wrapping_sub(start))?, done, count);
            Ok(())
        })
    }
}
