//! What several regions can be parts of: memory that a fork shares, and a daemon's memory that others map.
//!
//! An object of the second kind, a *window*, shows pages of another space: those that a daemon answered with when it was
//! asked to prepare a mapping of a file, or is asked for when they are touched. A page of it is looked for there, and is one frame
//! for the daemon and for everybody who maps it. The window does not keep the daemon's space alive: when that has ended, pages that
//! nobody has touched are out of reach (`EIO`).
//!
//! A window whose daemon is asked remembers the last few runs of pages that it was given (`RUNS`). A touch outside of them fails
//! with [`ASK`], which never reaches a program: whoever gets it waits for the page ([`crate::op::page_in`]).
#![forbid(unsafe_code)]

use super::arena::{Arena, Record};
use super::frames::Memory;
use super::region::{Kind, Region};
use super::space::Space;
use super::user::Access;
use crate::base::NONE;
use crate::base::list::{Chain, Link};
use crate::base::name::Named;
use core::cell::Cell;
use ring_abi::Errno;
use ring_abi::errno::MAX_ERRNO;
use rmm::{Page, UserFrame};

/// The error of a touch that has to wait for a daemon: a number that nothing else has.
pub const ASK: Errno = match Errno::from_raw(MAX_ERRNO as u64) {
    Some(error) => error,
    None => Errno::IO,
};

/// Runs of pages that a window remembers.
const RUNS: usize = 4;

/// Pages of a daemon's memory.
#[derive(Clone, Copy, Debug)]
pub struct Pages {
    /// The daemon's space.
    pub space: u32,
    /// First page there. Nothing: the daemon is asked when a page is touched.
    pub first: Option<u64>,
    /// How many.
    pub count: u32,
    /// Page of the file at which they begin.
    pub offset: u64,
    /// Whether they may be mapped to be written by others than the daemon.
    pub writable: bool,
    /// The file that they are the contents of, held for the object.
    pub file: u32,
}

/// Pages of a window that are known to lie in a row in the daemon's space.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    /// Index of the first in the window.
    index: u32,
    /// How many; zero if it is no row.
    count: u32,
    /// The first one there.
    first: u64,
}

impl Row {
    fn page(self, index: u32) -> Option<u64> {
        let inside = index.wrapping_sub(self.index);
        (inside < self.count).then(|| self.first.wrapping_add(u64::from(inside)))
    }
}

/// What regions can be parts of.
#[derive(Debug)]
pub struct Object {
    /// Regions that are part of it, and changes about to make one.
    refs: Cell<u32>,
    /// The space that its pages are looked for in, or `NONE`.
    space: Cell<u32>,
    /// Which life of that space.
    life: Cell<u64>,
    /// Page of the file at which it begins.
    offset: Cell<u64>,
    /// Pages that it has at most.
    count: Cell<u32>,
    writable: Cell<bool>,
    /// Whether the daemon is asked for what no row has.
    asks: Cell<bool>,
    rows: [Cell<Row>; RUNS],
    /// The row that is replaced next.
    turn: Cell<u8>,
    /// The pages that are being asked for, as the layer above keeps them, and how many they are.
    pub asked: Cell<(u32, u32)>,
    /// The file that a window shows, held; or `NONE`.
    file: Cell<u32>,
    link: Link,
}

impl Default for Object {
    fn default() -> Self {
        Object {
            refs: Cell::new(0),
            space: Cell::new(NONE),
            life: Cell::new(0),
            offset: Cell::new(0),
            count: Cell::new(0),
            writable: Cell::new(false),
            asks: Cell::new(false),
            rows: Default::default(),
            turn: Cell::new(0),
            asked: Cell::new((NONE, 0)),
            file: Cell::new(NONE),
            link: Link::default(),
        }
    }
}

impl Named for Object {}

impl Record for Object {
    fn free_link(&self) -> &Cell<u32> {
        self.link.cell()
    }
}

impl Object {
    /// Whether its pages are a daemon's.
    pub fn is_window(&self) -> bool {
        self.space.get() != NONE
    }

    /// The file that it holds.
    pub fn file(&self) -> Option<u32> {
        Some(self.file.get()).filter(|file| *file != NONE)
    }

    /// Whether a mapping of it may be written, so that all who share it see that.
    pub fn is_writable(&self) -> bool {
        !self.is_window() || self.writable.get()
    }

    /// Whether its daemon is asked for pages.
    pub fn asks(&self) -> bool {
        self.asks.get()
    }

    /// Page of the file at which it begins.
    pub fn offset(&self) -> u64 {
        self.offset.get()
    }

    /// How many pages it has at most.
    pub fn count(&self) -> u32 {
        self.count.get()
    }

    /// The daemon has pages from this index on in a row.
    pub fn learn(&self, index: u32, count: u32, first: u64) {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1) & (RUNS as u8).wrapping_sub(1));
        if let Some(row) = self.rows.get(usize::from(turn)) {
            row.set(Row { index, count, first });
        }
    }

    /// Where a page is in the daemon's space.
    fn page(&self, index: u32) -> Option<u64> {
        self.rows.iter().find_map(|row| row.get().page(index))
    }

    /// A page is not where it was said to be.
    fn forget(&self, index: u32) {
        let wrong = self.rows.iter().filter(|row| row.get().page(index).is_some());
        wrong.for_each(|row| row.set(Row::default()));
    }

    /// The name of a word in its page of this index, for those who wait for it: the daemon's own name for it.
    pub(super) fn word(&self, index: u64, offset: u64) -> Option<(u32, u64)> {
        if self.asks.get() {
            // Where the daemon has a page may change.
            return None;
        }
        let page = self.page(u32::try_from(index).ok()?)?;
        self.is_window().then(|| (self.space.get(), page.wrapping_mul(rmm::FRAME_SIZE) | offset))
    }
}

/// Objects that nobody maps any more, and that hold a file.
pub(super) struct ByEnding<'a>(pub(super) &'a Arena<Object>);

impl Chain for ByEnding<'_> {
    fn link(&self, node: u32) -> &Link {
        &self.0.at(node).link
    }
}

/// Objects.
impl Memory {
    /// Makes an object of memory that is nobody else's, held once.
    pub(super) fn create_shared(&self) -> Result<u32, Errno> {
        let id = self.objects.take(self)?;
        let object = self.objects.at(id);
        object.refs.set(1);
        object.space.set(NONE);
        object.file.set(NONE);
        Ok(id)
    }

    /// Makes a window, held once.
    pub fn create_window(&self, pages: Pages) -> Result<u32, Errno> {
        let id = self.create_shared()?;
        let object = self.objects.at(id);
        object.space.set(pages.space);
        object.life.set(self.space(pages.space).life());
        object.count.set(pages.count);
        object.offset.set(pages.offset);
        object.rows.iter().for_each(|row| row.set(Row::default()));
        object.asks.set(pages.first.is_none());
        if let Some(first) = pages.first {
            object.learn(0, pages.count, first);
        }
        object.writable.set(pages.writable);
        object.file.set(pages.file);
        Ok(id)
    }

    /// One more region of what a region is part of.
    pub(super) fn hold_object(&self, region: &Region) {
        if let Some(id) = region.object() {
            let refs = &self.objects.at(id).refs;
            refs.set(refs.get().wrapping_add(1));
        }
    }

    /// One region of an object fewer.
    pub fn let_go_object(&self, id: u32) {
        let object = self.objects.at(id);
        object.refs.set(object.refs.get().wrapping_sub(1));
        if object.refs.get() != 0 {
            return;
        }
        if object.file.get() == NONE {
            self.objects.give(id);
        } else {
            self.dying_objects.push_back(&ByEnding(&self.objects), id);
        }
    }

    /// Frees an object that nobody maps any more. Gives the file that it held, which is the caller's to let go of.
    pub fn take_dying_object(&self) -> Option<u32> {
        let id = self.dying_objects.pop_front(&ByEnding(&self.objects))?;
        let file = self.objects.at(id).file.replace(NONE);
        self.objects.give(id);
        Some(file)
    }

    /// Whether there is none such.
    #[inline]
    pub fn has_no_dying_object(&self) -> bool {
        self.dying_objects.is_empty()
    }

    /// One more holder of an object.
    pub fn hold_object_once(&self, id: u32) {
        let refs = &self.objects.at(id).refs;
        refs.set(refs.get().wrapping_add(1));
    }

    /// The page that the last touch was to [`ASK`] for: its object, and its index there.
    pub fn missing(&self) -> (u32, u32) {
        self.missing.get()
    }

    /// Whether a page of a window can be had now, so that a touch of it will not have to ask.
    pub fn is_shown(&self, id: u32, index: u32) -> bool {
        let object = self.objects.at(id);
        self.look_into(object, id, index, object.writable.get()).is_ok()
    }

    /// The frame of a page of the object that a region is part of. `EIO` if it is out of reach, `ENOMEM` if the daemon gets no
    /// frame for it, [`ASK`] if the daemon is to be asked first.
    #[cold]
    #[inline(never)]
    pub(super) fn page_of_object(&self, region: &Region, page: u64) -> Result<UserFrame, Errno> {
        let id = region.object().ok_or(Errno::FAULT)?;
        let object = self.objects.at(id);
        if !object.is_window() {
            return Err(Errno::FAULT);
        }
        let index = page.wrapping_sub(region.first()).wrapping_add(u64::from(region.offset.get()));
        let index = u32::try_from(index).map_err(|_| Errno::IO)?;
        let is_written = region.kind.get() == Kind::Shared && object.writable.get();
        self.look_into(object, id, index, is_written)
    }

    fn look_into(&self, object: &Object, id: u32, index: u32, written: bool) -> Result<UserFrame, Errno> {
        let space = self.spaces.get(object.space.get()).ok_or(Errno::IO)?;
        if space.life() != object.life.get() || index >= object.count.get() {
            return Err(Errno::IO);
        }
        let found = match object.page(index).and_then(Page::new) {
            Some(page) => space.offer(self, page, written),
            None => Err(Errno::IO),
        };
        if found == Err(Errno::IO) && object.asks.get() {
            object.forget(index);
            self.missing.set((id, index));
            return Err(ASK);
        }
        found
    }
}

impl Space {
    /// The frame of a page, for somebody else's mapping, which is `written` or not. What is itself a window here must have been
    /// touched, so that there is no circle.
    fn offer(&self, memory: &Memory, page: Page, written: bool) -> Result<UserFrame, Errno> {
        let id = self.regions.find(&memory.regions, page.number()).ok_or(Errno::IO)?;
        let region = memory.regions.at(id);
        let is_there = self.leaf(memory, page.number()).is_some();
        let is_window = region.object().is_some_and(|object| memory.objects.at(object).is_window());
        if region.kind.get() == Kind::Wired || is_window && !is_there {
            return Err(Errno::IO);
        }
        let access = if written { Access::Write } else { Access::Read };
        match self.touch(memory, page, access, false) {
            Ok(frame) if written && region.kind.get() == Kind::Private => {
                self.hold_page(memory, page, rmm::Tenure::Shared, region.rights.get());
                Ok(frame)
            }
            Err(Errno::NOMEM) => Err(Errno::NOMEM),
            other => other.map_err(|_| Errno::IO),
        }
    }
}
