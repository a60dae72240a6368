//! A file: what handles lead to. (POSIX calls it the open file description.)
//!
//! Handles and operations in flight hold it; when the last lets go, what it leads to hears of it.
#![forbid(unsafe_code)]

use crate::base::list::{Link, List};
use crate::base::name::{Named, Room};
use crate::base::{ABSENT, NONE};
use crate::mem::arena::Record;
use core::cell::Cell;

/// What a file leads to; `object` of the file is its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Nothing; the record is free.
    #[default]
    Free,
    /// A file of a daemon: a link.
    Daemon,
    /// The root of a daemon's scheme, which its name holds and who asks for a path below it: a link. Its end is not told.
    Root,
    /// A file of a scheme that the kernel serves; `id` says which.
    Kernel,
    /// A context.
    Context,
    /// An address space.
    Space,
    /// A handle table.
    Table,
    /// The names of schemes, with the right to register more.
    Namespace,
    /// The right to say who a context is.
    Identity,
    /// A ring's port; `id` is the tag of what comes through it, if bit 32 is set.
    Ring,
}

/// An open file.
#[derive(Debug)]
pub struct File {
    /// What it leads to.
    pub kind: Cell<Kind>,
    /// Whether the kernel keeps a cursor for it.
    pub positioned: Cell<bool>,
    /// Whether an operation that moves the cursor is in flight.
    pub cursor_busy: Cell<bool>,
    /// The link, or the record that `kind` says.
    pub object: Cell<u32>,
    /// The link that a read of it goes to; [`ABSENT`] if it is no file of a daemon.
    pub route: Cell<u32>,
    /// The daemon's number for it, or a kernel scheme's.
    pub id: Cell<u64>,
    /// Handles and operations that hold it.
    pub refs: Cell<u32>,
    /// The cursor, in bytes.
    pub cursor: Cell<u64>,
    /// Operations that wait for their turn at the cursor.
    pub turns: List,
    /// Place in its link's list of closings to be told; also threads the free list.
    pub link: Link,
}

impl Default for File {
    fn default() -> Self {
        File {
            kind: Cell::default(),
            positioned: Cell::new(false),
            cursor_busy: Cell::new(false),
            object: Cell::new(NONE),
            route: Cell::new(ABSENT),
            id: Cell::new(0),
            refs: Cell::new(0),
            cursor: Cell::new(0),
            turns: List::new(),
            link: Link::default(),
        }
    }
}

impl Named for File {
    const ROOM: Room = Room::Near(5);
}

impl Record for File {
    fn free_link(&self) -> &Cell<u32> {
        self.link.cell()
    }
}

impl File {
    /// So many more holders.
    #[inline(always)]
    pub fn hold(&self, count: u32) {
        self.refs.set(self.refs.get().wrapping_add(count));
    }

    /// One holder fewer; `true` if that was the last.
    #[inline(always)]
    #[must_use = "a file that nobody holds must be closed"]
    pub fn let_go(&self) -> bool {
        self.let_go_of(1)
    }

    /// So many holders fewer; `true` if those were the last.
    #[inline(always)]
    #[must_use = "a file that nobody holds must be closed"]
    pub fn let_go_of(&self, count: u32) -> bool {
        let left = self.refs.get().wrapping_sub(count);
        self.refs.set(left);
        left == 0
    }

    /// Makes a fresh record lead to something, held once.
    pub fn open(&self, kind: Kind, object: u32, id: u64) {
        self.kind.set(kind);
        self.object.set(object);
        self.route.set(if kind == Kind::Daemon { object } else { ABSENT });
        self.id.set(id);
        self.refs.set(1);
        self.cursor.set(0);
        self.positioned.set(false);
        self.cursor_busy.set(false);
    }
}
