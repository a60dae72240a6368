//! A balanced search tree whose nodes live in somebody else's arena.
//!
//! Nodes are called by their name there; the tree adds 16 bytes of [`Links`] to
//! each and owns nothing but the name of its root. So inserting and removing
//! cannot fail for lack of memory, and a node's owner finds its neighbours
//! without a search. It is an AVL tree: at 100,000 nodes no path is longer than
//! 24, whatever the order of changes, which a step with a bounded length needs.
//!
//! A node may also keep a value about the whole subtree under it, such as the
//! widest gap ([`Nodes::update`]), by which [`Tree::first_where`] finds a node
//! without visiting the others.
//!
//! - Keys are unique. The key of a node in a tree changes at most between those of its neighbours.
//! - A node is in at most one tree through the same links.
//! - `balance` is the height on the right less that on the left: -1, 0 or 1.

#![forbid(unsafe_code)]

use core::cell::Cell;
use core::cmp::Ordering;

use crate::base::NONE;

/// What a node must keep for the tree.
#[derive(Debug)]
pub struct Links {
    left: Cell<u32>,
    right: Cell<u32>,
    parent: Cell<u32>,
    balance: Cell<i8>,
}

impl Links {
    /// Links of a node that is in no tree.
    pub const fn new() -> Self {
        Self { left: Cell::new(NONE), right: Cell::new(NONE), parent: Cell::new(NONE), balance: Cell::new(0) }
    }

    /// The root of the left subtree, or [`NONE`]. For [`Nodes::update`].
    #[inline]
    pub fn left(&self) -> u32 {
        self.left.get()
    }

    /// The root of the right subtree, or [`NONE`]. For [`Nodes::update`].
    #[inline]
    pub fn right(&self) -> u32 {
        self.right.get()
    }

    #[inline]
    fn child(&self, side: Side) -> &Cell<u32> {
        match side {
            Side::Left => &self.left,
            Side::Right => &self.right,
        }
    }

    fn reset(&self) {
        self.left.set(NONE);
        self.right.set(NONE);
        self.parent.set(NONE);
        self.balance.set(0);
    }
}

impl Default for Links {
    fn default() -> Self {
        Self::new()
    }
}

/// The arena that holds the nodes of a tree.
///
/// Names given to these functions are those that the tree was given before.
pub trait Nodes {
    /// What nodes are sorted by.
    type Key: Ord + Copy;

    /// Whether nodes keep a value about their subtree. If not, changes do not
    /// spend a walk to the root on it.
    const AUGMENTED: bool = false;

    /// The links of a node.
    fn links(&self, node: u32) -> &Links;

    /// The key of a node.
    fn key(&self, node: u32) -> Self::Key;

    /// Computes the node's value about its subtree anew, from the node itself and
    /// the values of its two children, which are right. The value must not depend
    /// on the shape of the subtree, only on the nodes in it and their order.
    fn update(&self, _node: u32) {}
}

/// A search tree. The same `nodes` go with it in every call.
#[derive(Debug)]
pub struct Tree {
    root: Cell<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

impl Side {
    #[inline]
    fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }

    /// The balance of a node that is one higher on this side.
    #[inline]
    fn weight(self) -> i8 {
        match self {
            Self::Left => -1,
            Self::Right => 1,
        }
    }
}

#[inline]
fn some(node: u32) -> Option<u32> {
    if node == NONE { None } else { Some(node) }
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

/// Asking.
impl Tree {
    /// An empty tree.
    pub const fn new() -> Self {
        Self { root: Cell::new(NONE) }
    }

    /// Whether there is no node in it.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.root.get() == NONE
    }

    /// The node at the top, whose augmented value is that of the whole tree.
    #[inline]
    pub fn root(&self) -> Option<u32> {
        some(self.root.get())
    }

    /// The node with that key.
    #[inline]
    pub fn find<N: Nodes>(&self, nodes: &N, key: N::Key) -> Option<u32> {
        let mut at = self.root.get();
        while at != NONE {
            at = match key.cmp(&nodes.key(at)) {
                Ordering::Less => nodes.links(at).left.get(),
                Ordering::Greater => nodes.links(at).right.get(),
                Ordering::Equal => return Some(at),
            };
        }
        None
    }

    /// The first node whose key is `key` or above.
    #[inline]
    pub fn lower_bound<N: Nodes>(&self, nodes: &N, key: N::Key) -> Option<u32> {
        let (mut at, mut best) = (self.root.get(), NONE);
        while at != NONE {
            at = if nodes.key(at) < key {
                nodes.links(at).right.get()
            } else {
                best = at;
                nodes.links(at).left.get()
            };
        }
        some(best)
    }

    /// The last node whose key is `key` or below.
    #[inline]
    pub fn floor<N: Nodes>(&self, nodes: &N, key: N::Key) -> Option<u32> {
        let (mut at, mut best) = (self.root.get(), NONE);
        while at != NONE {
            at = if nodes.key(at) > key {
                nodes.links(at).left.get()
            } else {
                best = at;
                nodes.links(at).right.get()
            };
        }
        some(best)
    }

    /// The node with the smallest key.
    #[inline]
    pub fn first<N: Nodes>(&self, nodes: &N) -> Option<u32> {
        self.root().map(|root| outermost(nodes, root, Side::Left))
    }

    /// The node with the greatest key.
    #[inline]
    pub fn last<N: Nodes>(&self, nodes: &N) -> Option<u32> {
        self.root().map(|root| outermost(nodes, root, Side::Right))
    }

    /// The node after `node`, which is in the tree.
    #[inline]
    pub fn next<N: Nodes>(&self, nodes: &N, node: u32) -> Option<u32> {
        neighbour(nodes, node, Side::Right)
    }

    /// The node before `node`, which is in the tree.
    #[inline]
    pub fn prev<N: Nodes>(&self, nodes: &N, node: u32) -> Option<u32> {
        neighbour(nodes, node, Side::Left)
    }

    /// The first node that `fits`.
    ///
    /// `may_fit` says of a node whether it or any node under it fits, by the
    /// augmented value. It must be exact: yes if one does, no if none does.
    #[inline]
    pub fn first_where<N: Nodes>(
        &self,
        nodes: &N,
        may_fit: impl Fn(u32) -> bool,
        fits: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let root = self.root().filter(|root| may_fit(*root))?;
        outermost_where(nodes, root, Side::Left, &may_fit, &fits)
    }

    /// The last node that `fits`; see [`first_where`](Self::first_where).
    #[inline]
    pub fn last_where<N: Nodes>(
        &self,
        nodes: &N,
        may_fit: impl Fn(u32) -> bool,
        fits: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let root = self.root().filter(|root| may_fit(*root))?;
        outermost_where(nodes, root, Side::Right, &may_fit, &fits)
    }

    /// The first node that `fits` among `from`, which is in the tree, and those
    /// after it; see [`first_where`](Self::first_where).
    #[inline]
    pub fn first_where_from<N: Nodes>(
        &self,
        nodes: &N,
        from: u32,
        may_fit: impl Fn(u32) -> bool,
        fits: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        neighbour_where(nodes, from, Side::Right, &may_fit, &fits)
    }

    /// The last node that `fits` among `from`, which is in the tree, and those
    /// before it; see [`first_where`](Self::first_where).
    #[inline]
    pub fn last_where_from<N: Nodes>(
        &self,
        nodes: &N,
        from: u32,
        may_fit: impl Fn(u32) -> bool,
        fits: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        neighbour_where(nodes, from, Side::Left, &may_fit, &fits)
    }
}

/// Changing.
impl Tree {
    /// Puts `node` in. If its key is there already, changes nothing and returns
    /// the node that has it.
    #[inline]
    pub fn insert<N: Nodes>(&self, nodes: &N, node: u32) -> Result<(), u32> {
        let key = nodes.key(node);
        let (mut parent, mut side, mut at) = (NONE, Side::Left, self.root.get());
        while at != NONE {
            parent = at;
            side = match key.cmp(&nodes.key(at)) {
                Ordering::Less => Side::Left,
                Ordering::Greater => Side::Right,
                Ordering::Equal => return Err(at),
            };
            at = nodes.links(at).child(side).get();
        }
        let links = nodes.links(node);
        links.reset();
        links.parent.set(parent);
        if parent == NONE {
            self.root.set(node);
        } else {
            nodes.links(parent).child(side).set(node);
        }
        self.refresh(nodes, node);
        self.grown(nodes, node);
        Ok(())
    }

    /// Takes `node`, which is in the tree, out.
    #[inline]
    pub fn remove<N: Nodes>(&self, nodes: &N, node: u32) {
        let links = nodes.links(node);
        let (left, right, parent) = (links.left.get(), links.right.get(), links.parent.get());
        // `lost` is the lowest node with a lower subtree than before, on `side`.
        let (lost, side) = if left == NONE || right == NONE {
            let side = side_of(nodes, parent, node);
            self.replace(nodes, parent, node, if left == NONE { right } else { left });
            (parent, side)
        } else {
            self.remove_inner(nodes, node)
        };
        links.reset();
        if lost != NONE {
            self.refresh(nodes, lost);
            self.shrunk(nodes, lost, side);
        }
    }

    /// Computes augmented values anew from `node`, which is in the tree, up to the
    /// root. Call it when what [`Nodes::update`] reads of `node` has changed.
    #[inline]
    pub fn refresh<N: Nodes>(&self, nodes: &N, node: u32) {
        if !N::AUGMENTED {
            return;
        }
        let mut at = node;
        while at != NONE {
            nodes.update(at);
            at = nodes.links(at).parent.get();
        }
    }

    /// Puts the successor of `node`, which has two children, in its place.
    fn remove_inner<N: Nodes>(&self, nodes: &N, node: u32) -> (u32, Side) {
        let links = nodes.links(node);
        let (left, right) = (links.left.get(), links.right.get());
        let heir = outermost(nodes, right, Side::Left);
        let heir_links = nodes.links(heir);
        let heir_parent = heir_links.parent.get();

        let lost = if heir_parent == node {
            (heir, Side::Right)
        } else {
            self.replace(nodes, heir_parent, heir, heir_links.right.get());
            heir_links.right.set(right);
            nodes.links(right).parent.set(heir);
            (heir_parent, Side::Left)
        };
        heir_links.left.set(left);
        nodes.links(left).parent.set(heir);
        heir_links.balance.set(links.balance.get());
        self.replace(nodes, links.parent.get(), node, heir);
        lost
    }

    /// Makes `new`, or nothing, the child of `parent` that `old` was.
    #[inline]
    fn replace<N: Nodes>(&self, nodes: &N, parent: u32, old: u32, new: u32) {
        if parent == NONE {
            self.root.set(new);
        } else {
            nodes.links(parent).child(side_of(nodes, parent, old)).set(new);
        }
        if new != NONE {
            nodes.links(new).parent.set(parent);
        }
    }

    /// The subtree at `node` is one higher than before: balances what is above it.
    #[inline]
    fn grown<N: Nodes>(&self, nodes: &N, node: u32) {
        let (mut child, mut at) = (node, nodes.links(node).parent.get());
        while at != NONE {
            let links = nodes.links(at);
            let side = side_of(nodes, at, child);
            let balance = links.balance.get();
            if balance == side.weight() {
                self.rotate(nodes, at, side);
                return;
            }
            links.balance.set(balance.wrapping_add(side.weight()));
            if balance != 0 {
                return; // it had room on this side
            }
            child = at;
            at = links.parent.get();
        }
    }

    /// The subtree of `node` on `side` is one lower than before: balances from there.
    #[inline]
    fn shrunk<N: Nodes>(&self, nodes: &N, node: u32, side: Side) {
        let (mut at, mut side) = (node, side);
        loop {
            let links = nodes.links(at);
            let balance = links.balance.get();
            let mut top = at;
            if balance == side.other().weight() {
                top = self.rotate(nodes, at, side.other());
            } else {
                links.balance.set(balance.wrapping_sub(side.weight()));
            }
            let top_links = nodes.links(top);
            let parent = top_links.parent.get();
            if top_links.balance.get() != 0 || parent == NONE {
                return; // as high as before, or nothing above
            }
            side = side_of(nodes, parent, top);
            at = parent;
        }
    }

    /// Restores the balance of `at`, which is two higher on `side`, and returns
    /// the node that takes its place.
    fn rotate<N: Nodes>(&self, nodes: &N, at: u32, side: Side) -> u32 {
        let links = nodes.links(at);
        let child = links.child(side).get();
        let child_links = nodes.links(child);
        let weight = side.weight();

        if child_links.balance.get() != side.other().weight() {
            self.lift(nodes, child, side);
            let rest = weight.wrapping_sub(child_links.balance.get());
            links.balance.set(rest);
            child_links.balance.set(rest.wrapping_neg());
            return child;
        }
        let inner = child_links.child(side.other()).get();
        let inner_links = nodes.links(inner);
        self.lift(nodes, inner, side.other());
        self.lift(nodes, inner, side);
        let balance = inner_links.balance.replace(0);
        links.balance.set(if balance == weight { weight.wrapping_neg() } else { 0 });
        child_links.balance.set(if balance == weight.wrapping_neg() { weight } else { 0 });
        inner
    }

    /// Lifts `child`, on `side` of its parent, above that parent.
    #[inline]
    fn lift<N: Nodes>(&self, nodes: &N, child: u32, side: Side) {
        let child_links = nodes.links(child);
        let parent = child_links.parent.get();
        let parent_links = nodes.links(parent);
        let moved = child_links.child(side.other()).get();

        self.replace(nodes, parent_links.parent.get(), parent, child);
        parent_links.child(side).set(moved);
        if moved != NONE {
            nodes.links(moved).parent.set(parent);
        }
        child_links.child(side.other()).set(parent);
        parent_links.parent.set(child);
        if N::AUGMENTED {
            nodes.update(parent);
            nodes.update(child);
        }
    }
}

/// On which side of `parent` its child `node` is; `Left` if there is no parent.
#[inline]
fn side_of<N: Nodes>(nodes: &N, parent: u32, node: u32) -> Side {
    if parent != NONE && nodes.links(parent).right.get() == node { Side::Right } else { Side::Left }
}

/// The last node towards `side` in the subtree at `node`.
#[inline]
fn outermost<N: Nodes>(nodes: &N, node: u32, side: Side) -> u32 {
    let mut at = node;
    loop {
        match nodes.links(at).child(side).get() {
            NONE => return at,
            child => at = child,
        }
    }
}

/// The node next to `node` towards `side`.
#[inline]
fn neighbour<N: Nodes>(nodes: &N, node: u32, side: Side) -> Option<u32> {
    let child = nodes.links(node).child(side).get();
    if child != NONE {
        return Some(outermost(nodes, child, side.other()));
    }
    ancestor(nodes, node, side)
}

/// The nearest ancestor of `node` towards `side` of it.
#[inline]
fn ancestor<N: Nodes>(nodes: &N, node: u32, side: Side) -> Option<u32> {
    let mut at = node;
    loop {
        let parent = some(nodes.links(at).parent.get())?;
        if nodes.links(parent).child(side).get() != at {
            return Some(parent);
        }
        at = parent;
    }
}

/// The outermost node towards `side` that fits, under `node`, where one does.
#[inline]
fn outermost_where<N: Nodes>(
    nodes: &N,
    node: u32,
    side: Side,
    may_fit: &impl Fn(u32) -> bool,
    fits: &impl Fn(u32) -> bool,
) -> Option<u32> {
    let mut at = node;
    while at != NONE {
        let outer = nodes.links(at).child(side).get();
        if outer != NONE && may_fit(outer) {
            at = outer;
        } else if fits(at) {
            return Some(at);
        } else {
            at = nodes.links(at).child(side.other()).get();
        }
    }
    None // only if `may_fit` was not exact
}

/// The node nearest to `node` towards `side`, `node` included, that fits.
#[inline]
fn neighbour_where<N: Nodes>(
    nodes: &N,
    node: u32,
    side: Side,
    may_fit: &impl Fn(u32) -> bool,
    fits: &impl Fn(u32) -> bool,
) -> Option<u32> {
    let mut at = node;
    while !fits(at) {
        let child = nodes.links(at).child(side).get();
        if child != NONE && may_fit(child) {
            return outermost_where(nodes, child, side.other(), may_fit, fits);
        }
        at = ancestor(nodes, at, side)?;
    }
    Some(at)
}

#[cfg(test)]
mod tests;
