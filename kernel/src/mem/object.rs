//! What several regions can be parts of: memory that a fork shares, and a daemon's memory that others map.
//!
//! An object of the second kind, a *window*, is a run of pages of another space: those that a daemon answered with when it was
//! asked to prepare a mapping of a file. A page of it is looked for there when it is touched, and is one frame for the daemon and
//! for everybody who maps it. The window does not keep the daemon's space alive: when that has ended, pages that nobody has
//! touched are out of reach (`EIO`).
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
use rmm::{Page, UserFrame};

/// Pages of a daemon's memory.
#[derive(Clone, Copy, Debug)]
pub struct Pages {
    /// The daemon's space.
    pub space: u32,
    /// First page there.
    pub first: u64,
    /// How many.
    pub count: u32,
    /// Whether they may be mapped to be written by others than the daemon.
    pub writable: bool,
    /// The file that they are the contents of, held for the object.
    pub file: u32,
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
    first: Cell<u64>,
    count: Cell<u32>,
    writable: Cell<bool>,
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
            first: Cell::new(0),
            count: Cell::new(0),
            writable: Cell::new(false),
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

    /// The name of a word in its page of this index, for those who wait for it: the daemon's own name for it.
    pub(super) fn word(&self, index: u64, offset: u64) -> Option<(u32, u64)> {
        let page = self.first.get().wrapping_add(index);
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
        object.first.set(pages.first);
        object.count.set(pages.count);
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

    /// The frame of a page of the object that a region is part of. `EIO` if it is out of reach, `ENOMEM` if the daemon gets no
    /// frame for it.
    #[cold]
    #[inline(never)]
    pub(super) fn page_of_object(&self, region: &Region, page: u64) -> Result<UserFrame, Errno> {
        let object = self.objects.at(region.object().ok_or(Errno::FAULT)?);
        let space = self.spaces.get(object.space.get()).ok_or(Errno::FAULT)?;
        let index = page.wrapping_sub(region.first()).wrapping_add(u64::from(region.offset.get()));
        if space.life() != object.life.get() || index >= u64::from(object.count.get()) {
            return Err(Errno::IO);
        }
        let page = Page::new(object.first.get().wrapping_add(index)).ok_or(Errno::IO)?;
        let is_written = region.kind.get() == Kind::Shared && object.writable.get();
        space.offer(self, page, is_written)
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
