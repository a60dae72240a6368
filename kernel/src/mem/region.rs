//! The regions of one address space: sorted, never overlapping, with the widest gap of each subtree, so that
//! a free range is found without a walk over all of them.
//!
//! A region is a run of pages of one kind with the same rights. Its *extent* may begin with one guard page,
//! which stays empty. While it is `busy` an operation is filling or changing it in slices, and whoever else wants to change it
//! waits.
#![forbid(unsafe_code)]

use super::arena::{Arena, Record};
use crate::base::NONE;
use crate::base::name::Named;
use crate::base::tree::{Links, Nodes, Tree};
use core::cell::Cell;
use rmm::PageRights;

/// What the pages of a region are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Anonymous memory, or what a window shows; fork copies it, and what is written there is nobody else's.
    #[default]
    Private,
    /// Memory of an [`Object`](super::object::Object); fork shares it.
    Shared,
    /// A ring or an arena; never inherited, and no program can take it away.
    Wired,
    /// Pages of the boot image, mapped in place; never written, and fork shares them.
    Image,
}

/// A run of pages.
#[derive(Debug)]
pub struct Region {
    links: Links,
    /// First page of the extent.
    first: Cell<u64>,
    /// Free pages before the extent.
    gap: Cell<u64>,
    /// Greatest gap in the subtree.
    widest: Cell<u64>,
    /// Pages of the extent.
    pages: Cell<u32>,
    /// The object (of private memory, if it shows one) or the wired block; threads the free list.
    pub object: Cell<u32>,
    /// Page of the object at which the extent begins.
    pub offset: Cell<u32>,
    /// What the program may do.
    pub rights: Cell<PageRights>,
    /// What the pages are.
    pub kind: Cell<Kind>,
    /// The first page of the extent is a guard.
    guard: Cell<bool>,
    /// An operation fills or changes it.
    pub busy: Cell<bool>,
}

const _: () = assert!(size_of::<Region>() <= 64);

impl Default for Region {
    fn default() -> Self {
        Region {
            links: Links::new(),
            first: Cell::new(0),
            gap: Cell::new(0),
            widest: Cell::new(0),
            pages: Cell::new(0),
            object: Cell::new(NONE),
            offset: Cell::new(0),
            rights: Cell::new(PageRights::Read),
            kind: Cell::default(),
            guard: Cell::new(false),
            busy: Cell::new(false),
        }
    }
}

impl Named for Region {}

impl Record for Region {
    fn free_link(&self) -> &Cell<u32> {
        &self.object
    }
}

impl Region {
    /// First page of the extent.
    pub fn first(&self) -> u64 {
        self.first.get()
    }

    /// The page after the last.
    pub fn end(&self) -> u64 {
        self.first.get().wrapping_add(u64::from(self.pages.get()))
    }

    /// First page that is mapped.
    pub fn body(&self) -> u64 {
        self.first.get().wrapping_add(u64::from(self.guard.get()))
    }

    /// The object that it is part of.
    pub fn object(&self) -> Option<u32> {
        let id = self.object.get();
        (id != NONE && matches!(self.kind.get(), Kind::Private | Kind::Shared)).then_some(id)
    }

    /// Whether the extent begins with a guard page.
    pub fn has_guard(&self) -> bool {
        self.guard.get()
    }

    /// Makes it the extent from `first` up to `end`. It must not be in a tree.
    pub fn open(&self, first: u64, end: u64, guard: bool) {
        self.first.set(first);
        self.pages.set(end.wrapping_sub(first) as u32);
        self.guard.set(guard);
        self.object.set(NONE);
        self.offset.set(0);
        self.busy.set(false);
    }

    /// Takes over what `other` is, but not where.
    pub fn resemble(&self, other: &Region) {
        self.rights.set(other.rights.get());
        self.kind.set(other.kind.get());
        self.object.set(other.object.get());
        self.offset.set(other.offset.get());
    }

    /// Whether it can be one with a region that ends where it begins.
    fn continues(&self, before: &Region) -> bool {
        before.end() == self.first()
            && !self.guard.get()
            && !self.busy.get()
            && !before.busy.get()
            && (self.kind.get(), before.kind.get()) == (Kind::Private, Kind::Private)
            && (self.object.get(), before.object.get()) == (NONE, NONE)
            && self.rights.get() == before.rights.get()
            && self.pages.get().checked_add(before.pages.get()).is_some()
    }
}

/// The nodes of every space's tree.
struct Nodal<'a>(&'a Arena<Region>);

impl Nodes for Nodal<'_> {
    type Key = u64;
    const AUGMENTED: bool = true;

    #[inline]
    fn links(&self, node: u32) -> &Links {
        &self.0.at(node).links
    }

    #[inline]
    fn key(&self, node: u32) -> u64 {
        self.0.at(node).first.get()
    }

    #[inline]
    fn update(&self, node: u32) {
        let region = self.0.at(node);
        let below = |child: u32| self.0.get(child).map_or(0, |child| child.widest.get());
        let widest = region.gap.get().max(below(region.links.left())).max(below(region.links.right()));
        region.widest.set(widest);
    }
}

/// The regions of one space.
#[derive(Debug, Default)]
pub struct Regions {
    tree: Tree,
    count: Cell<u32>,
}

/// Asking.
impl Regions {
    /// How many there are.
    pub fn count(&self) -> u32 {
        self.count.get()
    }

    /// Any one of them.
    pub fn any(&self) -> Option<u32> {
        self.tree.root()
    }

    /// The region whose extent has this page.
    pub fn find(&self, arena: &Arena<Region>, page: u64) -> Option<u32> {
        self.tree.floor(&Nodal(arena), page).filter(|id| page < arena.at(*id).end())
    }

    /// The first region whose extent ends after this page.
    pub fn first_from(&self, arena: &Arena<Region>, page: u64) -> Option<u32> {
        self.find(arena, page).or_else(|| self.tree.lower_bound(&Nodal(arena), page))
    }

    /// The region before one of them.
    pub fn before(&self, arena: &Arena<Region>, id: u32) -> Option<u32> {
        self.tree.prev(&Nodal(arena), id)
    }

    /// The region after one of them.
    pub fn after(&self, arena: &Arena<Region>, id: u32) -> Option<u32> {
        self.tree.next(&Nodal(arena), id)
    }

    /// Whether no region reaches into this range.
    pub fn is_free(&self, arena: &Arena<Region>, first: u64, end: u64) -> bool {
        self.first_from(arena, first).is_none_or(|id| arena.at(id).first() >= end)
    }

    /// The lowest free range of `pages` pages from `low` on that ends by `limit`.
    pub fn vacant(&self, arena: &Arena<Region>, low: u64, pages: u64, limit: u64) -> Option<u64> {
        let nodes = Nodal(arena);
        let fits_below =
            |first: u64| first.checked_add(pages).is_some_and(|end| end <= limit).then_some(first);
        let Some(id) = self.first_from(arena, low) else { return fits_below(low) };
        // The gap in which `low` lies counts from `low` on only; all others count in full.
        if arena.at(id).first().checked_sub(low).is_some_and(|room| room >= pages) {
            return fits_below(low);
        }
        let wide = |node: u32| arena.at(node).widest.get() >= pages;
        let fits = |node: u32| arena.at(node).gap.get() >= pages;
        let found =
            self.tree.next(&nodes, id).and_then(|id| self.tree.first_where_from(&nodes, id, wide, fits));
        let first = match found {
            Some(id) => arena.at(id).first().wrapping_sub(arena.at(id).gap.get()),
            None => arena.at(self.tree.last(&nodes)?).end().max(low),
        };
        fits_below(first)
    }
}

/// Changing.
impl Regions {
    /// Puts a region in, where no other is.
    pub fn insert(&self, arena: &Arena<Region>, id: u32) {
        let nodes = Nodal(arena);
        let region = arena.at(id);
        let before = self.tree.floor(&nodes, region.first()).map_or(0, |id| arena.at(id).end());
        region.gap.set(region.first().wrapping_sub(before));
        if self.tree.insert(&nodes, id).is_err() {
            crate::bug!("two regions at one place");
        }
        self.count.set(self.count.get().wrapping_add(1));
        self.measure_gap_after(arena, id);
    }

    /// Takes a region out.
    pub fn remove(&self, arena: &Arena<Region>, id: u32) {
        let nodes = Nodal(arena);
        let next = self.tree.next(&nodes, id);
        self.tree.remove(&nodes, id);
        self.count.set(self.count.get().wrapping_sub(1));
        if let Some(next) = next {
            self.measure_gap(arena, next);
        }
    }

    /// Moves the borders of a region that is in, within the gaps around it.
    pub fn resize(&self, arena: &Arena<Region>, id: u32, first: u64, end: u64) {
        let region = arena.at(id);
        let moved = first.wrapping_sub(region.first());
        if moved != 0 {
            region.offset.set(region.offset.get().wrapping_add(moved as u32));
            region.guard.set(false);
        }
        region.first.set(first);
        region.pages.set(end.wrapping_sub(first) as u32);
        self.measure_gap(arena, id);
        self.measure_gap_after(arena, id);
    }

    /// Makes a region one with its neighbours where it can be. Gives the records that are free now.
    pub fn merge(&self, arena: &Arena<Region>, id: u32) -> [Option<u32>; 2] {
        let mut kept = id;
        let before = self.before(arena, id).filter(|before| arena.at(id).continues(arena.at(*before)));
        let lost = before.map(|before| {
            self.join(arena, before, id);
            kept = before;
            id
        });
        let after = self.after(arena, kept).filter(|after| arena.at(*after).continues(arena.at(kept)));
        if let Some(after) = after {
            self.join(arena, kept, after);
        }
        [lost, after]
    }

    /// Lengthens `left` by all of `right`, which goes.
    fn join(&self, arena: &Arena<Region>, left: u32, right: u32) {
        let end = arena.at(right).end();
        self.remove(arena, right);
        self.resize(arena, left, arena.at(left).first(), end);
    }

    fn measure_gap_after(&self, arena: &Arena<Region>, id: u32) {
        if let Some(next) = self.tree.next(&Nodal(arena), id) {
            self.measure_gap(arena, next);
        }
    }

    fn measure_gap(&self, arena: &Arena<Region>, id: u32) {
        let nodes = Nodal(arena);
        let before = self.tree.prev(&nodes, id).map_or(0, |id| arena.at(id).end());
        let region = arena.at(id);
        region.gap.set(region.first().wrapping_sub(before));
        self.tree.refresh(&nodes, id);
    }
}
