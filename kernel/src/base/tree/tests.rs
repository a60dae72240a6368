//! The tree against `BTreeMap`, with every invariant checked after each change.

#![expect(clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::cell::Cell;
use std::collections::BTreeMap;

use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};

use super::{Links, Nodes, Tree};
use crate::base::NONE;

/// A node with a width, and the greatest width in its subtree.
#[derive(Default)]
struct Node {
    links: Links,
    key: u64,
    width: Cell<u64>,
    widest: Cell<u64>,
}

/// A vector of nodes; `COUNTED` ones keep their augmented value.
#[derive(Default)]
struct Arena<const COUNTED: bool> {
    nodes: Vec<Node>,
    updates: Cell<u32>,
}

impl<const COUNTED: bool> Arena<COUNTED> {
    fn add(&mut self, key: u64, width: u64) -> u32 {
        self.nodes.push(Node { key, width: width.into(), ..Node::default() });
        u32::try_from(self.nodes.len() - 1).unwrap()
    }

    fn node(&self, node: u32) -> &Node {
        &self.nodes[node as usize]
    }

    fn width(&self, node: u32) -> u64 {
        self.node(node).width.get()
    }

    fn widest(&self, node: u32) -> u64 {
        if node == NONE { 0 } else { self.node(node).widest.get() }
    }
}

impl<const COUNTED: bool> Nodes for Arena<COUNTED> {
    type Key = u64;
    const AUGMENTED: bool = COUNTED;

    fn links(&self, node: u32) -> &Links {
        &self.node(node).links
    }

    fn key(&self, node: u32) -> u64 {
        self.node(node).key
    }

    fn update(&self, node: u32) {
        self.updates.set(self.updates.get() + 1);
        let links = self.links(node);
        let below = self.widest(links.left()).max(self.widest(links.right()));
        self.node(node).widest.set(below.max(self.width(node)));
    }
}

/// Checks the subtree at `node`; returns its height and its nodes in order.
fn check<const COUNTED: bool>(arena: &Arena<COUNTED>, node: u32, parent: u32) -> (i32, Vec<u32>) {
    if node == NONE {
        return (0, Vec::new());
    }
    let links = arena.links(node);
    assert_eq!(links.parent.get(), parent, "parent of {node}");
    let (left, mut order) = check(arena, links.left(), node);
    let (right, after) = check(arena, links.right(), node);
    assert_eq!(i32::from(links.balance.get()), right - left, "balance of {node}");
    assert!((-1..=1).contains(&(right - left)), "{node} leans by {}", right - left);
    order.push(node);
    order.extend(after);
    if COUNTED {
        let widest = order.iter().map(|node| arena.width(*node)).max();
        assert_eq!(Some(arena.widest(node)), widest, "augmented value of {node}");
    }
    (left.max(right) + 1, order)
}

/// Checks that tree and model hold the same, forwards, backwards and by look-up.
fn compare<const COUNTED: bool>(arena: &Arena<COUNTED>, tree: &Tree, model: &BTreeMap<u64, u32>) {
    let (_, order) = check(arena, tree.root.get(), NONE);
    let expected: Vec<u32> = model.values().copied().collect();
    assert_eq!(order, expected);
    let forwards = std::iter::successors(tree.first(arena), |node| tree.next(arena, *node));
    assert_eq!(forwards.collect::<Vec<u32>>(), expected);
    let mut backwards: Vec<u32> =
        std::iter::successors(tree.last(arena), |node| tree.prev(arena, *node)).collect();
    backwards.reverse();
    assert_eq!(backwards, expected);
    assert_eq!(tree.is_empty(), model.is_empty());
}

#[derive(Clone, Debug)]
enum Change {
    Insert(u64, u64),
    Remove(u64),
    Widen(u64, u64),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let key = 0..64u64;
    let change = prop_oneof![
        5 => (key.clone(), 0..100u64).prop_map(|(key, width)| Change::Insert(key, width)),
        4 => key.clone().prop_map(Change::Remove),
        1 => (key, 0..100u64).prop_map(|(key, width)| Change::Widen(key, width)),
    ];
    prop::collection::vec(change, 0..120)
}

fn apply<const COUNTED: bool>(
    arena: &mut Arena<COUNTED>,
    tree: &Tree,
    model: &mut BTreeMap<u64, u32>,
    change: &Change,
) {
    match *change {
        Change::Insert(key, width) => {
            let node = arena.add(key, width);
            let expected = model.get(&key).map_or(Ok(()), |existing| Err(*existing));
            assert_eq!(tree.insert(arena, node), expected);
            model.entry(key).or_insert(node);
        }
        Change::Remove(key) => {
            assert_eq!(tree.find(arena, key), model.get(&key).copied());
            if let Some(node) = model.remove(&key) {
                tree.remove(arena, node);
                let links = arena.links(node);
                assert_eq!((links.left(), links.right(), links.parent.get()), (NONE, NONE, NONE));
            }
        }
        Change::Widen(key, width) => {
            if let Some(node) = model.get(&key) {
                arena.node(*node).width.set(width);
                tree.refresh(arena, *node);
            }
        }
    }
}

proptest! {
    #[test]
    fn it_holds_what_a_btreemap_holds(changes in changes()) {
        let (mut arena, tree, mut model) = (Arena::<false>::default(), Tree::new(), BTreeMap::new());
        for change in &changes {
            apply(&mut arena, &tree, &mut model, change);
            compare(&arena, &tree, &model);
        }
        assert_eq!(arena.updates.get(), 0, "nobody asked for augmented values");
    }

    #[test]
    fn augmented_values_are_right_after_each_change(changes in changes()) {
        let (mut arena, tree, mut model) = (Arena::<true>::default(), Tree::new(), BTreeMap::new());
        for change in &changes {
            apply(&mut arena, &tree, &mut model, change);
            compare(&arena, &tree, &model);
        }
    }

    #[test]
    fn bounds_are_those_of_a_btreemap(changes in changes(), keys in prop::collection::vec(0..70u64, 20)) {
        let (mut arena, tree, mut model) = (Arena::<false>::default(), Tree::new(), BTreeMap::new());
        for change in &changes {
            apply(&mut arena, &tree, &mut model, change);
        }
        for key in keys {
            assert_eq!(tree.find(&arena, key), model.get(&key).copied());
            assert_eq!(tree.lower_bound(&arena, key), model.range(key..).next().map(|(_, node)| *node));
            assert_eq!(tree.floor(&arena, key), model.range(..=key).next_back().map(|(_, node)| *node));
        }
    }

    #[test]
    fn searches_find_the_nearest_node_that_fits(changes in changes(), least in 0..110u64, from: prop::sample::Index) {
        let (mut arena, tree, mut model) = (Arena::<true>::default(), Tree::new(), BTreeMap::new());
        for change in &changes {
            apply(&mut arena, &tree, &mut model, change);
        }
        let may_fit = |node| arena.widest(node) >= least;
        let fits = |node| arena.width(node) >= least;
        let order: Vec<u32> = model.values().copied().collect();
        let first = |nodes: &[u32]| nodes.iter().copied().find(|node| fits(*node));
        let last = |nodes: &[u32]| nodes.iter().rev().copied().find(|node| fits(*node));
        assert_eq!(tree.first_where(&arena, may_fit, fits), first(&order));
        assert_eq!(tree.last_where(&arena, may_fit, fits), last(&order));
        if !order.is_empty() {
            let at = from.index(order.len());
            assert_eq!(tree.first_where_from(&arena, order[at], may_fit, fits), first(&order[at..]));
            assert_eq!(tree.last_where_from(&arena, order[at], may_fit, fits), last(&order[..=at]));
        }
    }

    #[test]
    fn large_trees_stay_balanced(seed in any::<u64>()) {
        let (mut arena, tree, mut model) = (Arena::<true>::default(), Tree::new(), BTreeMap::new());
        let mut random = seed | 1;
        for step in 0..3000u64 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let key = (random >> 33) % 2048;
            let change = if step % 3 == 0 { Change::Remove(key) } else { Change::Insert(key, random >> 40) };
            apply(&mut arena, &tree, &mut model, &change);
        }
        compare(&arena, &tree, &model);
        while let Some((key, _)) = model.first_key_value() {
            let key = *key;
            apply(&mut arena, &tree, &mut model, &Change::Remove(key));
        }
        compare(&arena, &tree, &model);
    }
}

#[test]
fn links_take_sixteen_bytes() {
    assert_eq!(size_of::<Links>(), 16);
}

#[test]
fn sorted_insertions_do_not_make_a_list() {
    let (mut arena, tree) = (Arena::<false>::default(), Tree::new());
    for key in 0..100_000 {
        let node = arena.add(key, 0);
        tree.insert(&arena, node).unwrap();
    }
    let (height, order) = check(&arena, tree.root.get(), NONE);
    assert_eq!(order.len(), 100_000);
    assert!(height <= 24, "height {height}");
}

#[test]
fn a_node_can_come_back_after_it_was_removed() {
    let (mut arena, tree) = (Arena::<true>::default(), Tree::new());
    let nodes: Vec<u32> = (0..3).map(|key| arena.add(key, key)).collect();
    for _ in 0..2 {
        for node in &nodes {
            tree.insert(&arena, *node).unwrap();
        }
        assert_eq!(tree.insert(&arena, nodes[1]), Err(nodes[1]));
        for node in &nodes {
            tree.remove(&arena, *node);
        }
        assert_eq!(tree.root(), None);
    }
}

#[test]
fn an_empty_tree_finds_nothing() {
    let (arena, tree) = (Arena::<true>::default(), Tree::default());
    assert_eq!(
        (tree.find(&arena, 1), tree.lower_bound(&arena, 1), tree.floor(&arena, 1)),
        (None, None, None)
    );
    assert_eq!((tree.first(&arena), tree.last(&arena), tree.root()), (None, None, None));
    assert_eq!(tree.first_where(&arena, |_| true, |_| true), None);
}
