//! The queue against a model that looks at every record, checked after each change.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

use std::cell::Cell;
use std::collections::BTreeSet;

use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};

use super::{AHEAD, BEHIND, BUCKET, Queue, Turns, carry};
use crate::base::NONE;
use crate::base::list::{Chain, Link};
use crate::context::share::{Share, Time};

const NODES: usize = 32;

struct Nodes(Vec<(Link, Cell<Time>)>);

impl Nodes {
    fn new(count: usize) -> Nodes {
        Nodes((0..count).map(|_| Default::default()).collect())
    }

    fn set(&self, node: u32, time: Time) {
        self.0[node as usize].1.set(time);
    }
}

impl Chain for Nodes {
    fn link(&self, node: u32) -> &Link {
        &self.0[node as usize].0
    }
}

impl Turns for Nodes {
    fn share(&self, node: u32) -> Share {
        Share::new(self.0[node as usize].1.get(), 1 + node as u16 % 7)
    }
}

#[derive(Clone, Debug)]
enum Act {
    /// Somebody comes from so far before or after the queue's time.
    Push(u32, i64),
    Pop,
    Remove(u32),
    /// Somebody who was taken out has run for so long.
    Run(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let far = (AHEAD * 3) as i64;
    prop_oneof![
        (0..NODES as u32, -far..far).prop_map(|(node, after)| Act::Push(node, after)),
        any::<bool>().prop_map(|_| Act::Pop),
        (0..NODES as u32).prop_map(Act::Remove),
        (0..40 * BUCKET).prop_map(Act::Run),
    ]
}

/// Says whether the queue is in order and has exactly these.
fn check(queue: &Queue, nodes: &Nodes, model: &BTreeSet<u32>) {
    let seen = queue.audit(nodes).unwrap();
    assert_eq!(seen.iter().copied().collect::<BTreeSet<_>>(), *model);
    let buckets = |node: &u32| nodes.time(*node).after(queue.time());
    for pair in seen.windows(2) {
        assert!(buckets(&pair[0]) - buckets(&pair[1]) < BUCKET as i64, "the wrong way round");
    }
}

proptest! {
    #[test]
    fn who_has_used_least_is_next_but_for_a_bucket(start in any::<u64>(), acts in prop::collection::vec(act(), 1..200)) {
        let (queue, nodes) = (Queue::default(), Nodes::new(NODES));
        queue.time.set(Time::new(start));
        let mut model = BTreeSet::new();
        for act in acts {
            let before = queue.time();
            match act {
                Act::Push(node, after) if !model.contains(&node) => {
                    nodes.set(node, queue.admit(queue.time().plus(after as u64)));
                    let moved = nodes.time(node).after(queue.time());
                    assert_eq!(moved, after.clamp(-(BEHIND as i64), AHEAD as i64));
                    queue.push(&nodes, node);
                    model.insert(node);
                }
                Act::Push(..) => {}
                Act::Pop => {
                    let least = model.iter().map(|node| nodes.time(*node).after(before)).min();
                    let popped = queue.pop(&nodes);
                    assert_eq!(popped.is_some(), least.is_some());
                    if let (Some(node), Some(least)) = (popped, least) {
                        assert!(model.remove(&node));
                        assert!(nodes.time(node).after(before) - least < BUCKET as i64);
                        queue.advance(&nodes, nodes.time(node));
                    }
                }
                Act::Remove(node) => if model.remove(&node) {
                    queue.remove(&nodes, node);
                },
                Act::Run(units) => queue.advance(&nodes, queue.time().plus(units)),
            }
            assert!(queue.time().after(before) >= 0, "time goes back");
            check(&queue, &nodes, &model);
        }
    }

    #[test]
    fn a_time_keeps_its_distance_on_another_processor(from in any::<u64>(), to in any::<u64>(), after in -1_000_000_i64..10_000_000) {
        let queues = [Queue::default(), Queue::default()];
        queues[0].time.set(Time::new(from));
        queues[1].time.set(Time::new(to));
        let carried = carry(Time::new(from).plus(after as u64), &queues[0], &queues[1]);
        assert_eq!(carried.after(queues[1].time()), after.clamp(-(BEHIND as i64), AHEAD as i64));
    }
}

#[test]
fn those_of_one_bucket_are_served_in_the_order_in_which_they_came() {
    let (queue, nodes) = (Queue::default(), Nodes::new(100_000));
    for node in 0..100_000 {
        queue.push(&nodes, node);
    }
    queue.remove(&nodes, 0);
    queue.remove(&nodes, 5000);
    let order: Vec<_> = std::iter::from_fn(|| queue.pop(&nodes)).collect();
    assert!(order.iter().copied().eq((1..5000).chain(5001..100_000)));
    assert_eq!((queue.peek(), queue.len()), (NONE, 0));
}
