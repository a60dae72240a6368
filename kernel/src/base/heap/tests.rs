//! The heap against a sorted model and `BinaryHeap`, checked after each change.

#![expect(clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};

use super::{Entry, Full, Heap, Slots};
use crate::base::NONE;

const ITEMS: u32 = 64;

struct Timers {
    capacity: u32,
    entries: RefCell<Vec<Entry>>,
    positions: Vec<Cell<u32>>,
    sets: Cell<u32>,
}

impl Timers {
    fn new(capacity: u32, items: u32) -> Self {
        let none = Entry { deadline: 0, item: 0 };
        Self {
            capacity,
            entries: vec![none; capacity as usize].into(),
            positions: (0..items).map(|_| Cell::new(NONE)).collect(),
            sets: Cell::new(0),
        }
    }
}

impl Slots for Timers {
    fn capacity(&self) -> u32 {
        self.capacity
    }

    fn get(&self, position: u32) -> Entry {
        self.entries.borrow()[position as usize]
    }

    fn set(&self, position: u32, entry: Entry) {
        self.sets.set(self.sets.get() + 1);
        self.entries.borrow_mut()[position as usize] = entry;
    }

    fn position(&self, item: u32) -> u32 {
        self.positions[item as usize].get()
    }

    fn moved(&self, item: u32, position: u32) {
        self.positions[item as usize].set(position);
    }
}

/// Checks order, positions and contents against the deadlines that should be there.
fn check(heap: &Heap, slots: &Timers, model: &HashMap<u32, u64>) {
    assert_eq!(heap.len() as usize, model.len());
    assert_eq!(heap.is_empty(), model.is_empty());
    for position in 0..heap.len() {
        let entry = slots.get(position);
        assert_eq!(model.get(&entry.item), Some(&entry.deadline));
        assert_eq!(slots.position(entry.item), position);
        if position > 0 {
            assert!(slots.get((position - 1) / 4).deadline <= entry.deadline, "{position} is too low");
        }
    }
    for item in 0..slots.positions.len() as u32 {
        assert_eq!(slots.position(item) == NONE, !model.contains_key(&item), "item {item}");
    }
    assert_eq!(heap.first(slots).map(|entry| entry.deadline), model.values().min().copied());
}

#[derive(Clone, Debug)]
enum Change {
    Push(u32, u64),
    Remove(u32),
    Pop(u64),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let deadline = || prop_oneof![0..20u64, any::<u64>()];
    let change = prop_oneof![
        4 => (0..ITEMS, deadline()).prop_map(|(item, deadline)| Change::Push(item, deadline)),
        2 => (0..ITEMS).prop_map(Change::Remove),
        1 => deadline().prop_map(Change::Pop),
    ];
    prop::collection::vec(change, 0..200)
}

fn apply(heap: &Heap, slots: &Timers, model: &mut HashMap<u32, u64>, change: &Change) {
    match *change {
        Change::Push(item, deadline) => {
            if model.contains_key(&item) {
                return; // an item has one entry at most
            }
            let full = heap.len() == slots.capacity;
            let expected = if full { Err(Full) } else { Ok(()) };
            assert_eq!(heap.push(slots, Entry { deadline, item }), expected);
            if !full {
                model.insert(item, deadline);
            }
        }
        Change::Remove(item) => {
            let expected = model.remove(&item).map(|deadline| Entry { deadline, item });
            assert_eq!(heap.remove(slots, item), expected);
        }
        Change::Pop(now) => {
            let soonest = model.values().min().copied().filter(|deadline| *deadline <= now);
            let popped = heap.pop_due(slots, now);
            assert_eq!(popped.map(|entry| entry.deadline), soonest);
            if let Some(entry) = popped {
                assert_eq!(model.remove(&entry.item), Some(entry.deadline));
            }
        }
    }
}

proptest! {
    #[test]
    fn it_holds_what_a_map_holds(changes in changes(), capacity in 0..ITEMS) {
        let (heap, slots, mut model) = (Heap::new(), Timers::new(capacity, ITEMS), HashMap::new());
        for change in &changes {
            apply(&heap, &slots, &mut model, change);
            check(&heap, &slots, &model);
        }
    }

    #[test]
    fn it_drains_in_the_order_of_a_binary_heap(deadlines in prop::collection::vec(any::<u64>(), 0..300)) {
        let count = deadlines.len() as u32;
        let (heap, slots) = (Heap::default(), Timers::new(count, count));
        for (item, deadline) in (0..).zip(&deadlines) {
            heap.push(&slots, Entry { deadline: *deadline, item }).unwrap();
        }
        let mut model: BinaryHeap<Reverse<u64>> = deadlines.iter().copied().map(Reverse).collect();
        while let Some(Reverse(deadline)) = model.pop() {
            let entry = heap.pop_due(&slots, u64::MAX).unwrap();
            assert_eq!(entry.deadline, deadline);
            assert_eq!(deadlines[entry.item as usize], deadline);
        }
        assert!(heap.is_empty());
    }
}

#[test]
fn nothing_is_due_before_its_deadline() {
    let (heap, slots) = (Heap::new(), Timers::new(2, 2));
    heap.push(&slots, Entry { deadline: 10, item: 0 }).unwrap();
    assert_eq!(heap.pop_due(&slots, 9), None);
    assert_eq!(heap.pop_due(&slots, 10), Some(Entry { deadline: 10, item: 0 }));
    assert_eq!(heap.pop_due(&slots, u64::MAX), None);
}

#[test]
fn a_full_heap_refuses_and_keeps_what_it_has() {
    let (heap, slots) = (Heap::new(), Timers::new(1, 2));
    heap.push(&slots, Entry { deadline: 10, item: 0 }).unwrap();
    assert_eq!(heap.push(&slots, Entry { deadline: 5, item: 1 }), Err(Full));
    assert_eq!(slots.position(1), NONE);
    assert_eq!(heap.first(&slots), Some(Entry { deadline: 10, item: 0 }));
}

#[test]
fn a_position_out_of_date_removes_nobody_else() {
    let (heap, slots) = (Heap::new(), Timers::new(2, 2));
    heap.push(&slots, Entry { deadline: 10, item: 0 }).unwrap();
    slots.moved(1, 0);
    assert_eq!(heap.remove(&slots, 1), None);
    assert_eq!(heap.len(), 1);
}

#[test]
fn an_equal_deadline_moves_nothing() {
    let (heap, slots) = (Heap::new(), Timers::new(3, 3));
    for item in 0..3 {
        slots.sets.set(0);
        heap.push(&slots, Entry { deadline: 10, item }).unwrap();
        assert_eq!(slots.sets.get(), 1);
    }
}

#[test]
fn removing_touches_few_of_many_entries() {
    const MANY: u32 = 100_000;
    let (heap, slots) = (Heap::new(), Timers::new(MANY, MANY));
    for item in 0..MANY {
        heap.push(&slots, Entry { deadline: u64::from(item.wrapping_mul(2_654_435_761)), item }).unwrap();
    }
    for item in (0..MANY).step_by(7) {
        slots.sets.set(0);
        assert!(heap.remove(&slots, item).is_some());
        assert!(slots.sets.get() <= 10, "{} entries moved", slots.sets.get());
    }
}
