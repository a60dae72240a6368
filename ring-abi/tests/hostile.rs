//! A peer that writes any index at any time never makes an end panic, leave the ring, or lose count.
#![cfg(not(loom))]
#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking; positions stay in range"
)]

use proptest::prelude::{ProptestConfig, Strategy, any, prop, proptest};
use ring_abi::map::Queue;
use ring_abi::ring::{Consumer, Corrupt, Doorbell, Producer, Promiser, PushError};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

#[path = "../../fuzz/harness/ring_header.rs"]
mod harness;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn any_script_of_a_hostile_peer(script in prop::collection::vec(any::<u8>(), 0..512)) {
        harness::check(&script);
    }

    // Scripts in which the peer mostly behaves, so that queues fill, wrap and drain.
    #[test]
    fn any_script_of_a_mostly_honest_peer(
        head in any::<[u8; 4]>(),
        start in (u32::MAX - 20)..,
        steps in prop::collection::vec((0u8..16, any::<u8>(), (0u8..64).prop_map(|near| near * 4 + 1 + near % 2)), 0..256),
    ) {
        let mut script = head.to_vec();
        script.extend(start.to_le_bytes());
        for (step, at, near) in steps {
            script.extend([step, at, near]);
        }
        harness::check(&script);
    }
}

/// The words of a queue of `N` entries of one word each.
struct Words<const N: usize> {
    head: AtomicU32,
    tail: AtomicU32,
    sleeps: AtomicU32,
    slots: [[AtomicU64; 1]; N],
}

impl<const N: usize> Words<N> {
    fn at(position: u32) -> Words<N> {
        Words {
            head: AtomicU32::new(position),
            tail: AtomicU32::new(position),
            sleeps: AtomicU32::new(0),
            slots: std::array::from_fn(|_| [AtomicU64::new(u64::MAX)]),
        }
    }

    fn queue(&self) -> Queue<'_, 1> {
        Queue::new(&self.head, &self.tail, &self.sleeps, &self.slots)
    }
}

#[test]
fn a_consumer_believes_only_indices_that_can_be() {
    for position in [0, 1, 7, u32::MAX - 2, u32::MAX, 1 << 31] {
        let words = Words::<4>::at(position);
        let queue = words.queue();
        let consumer = Consumer::at(position);
        for claimed in 0..=4 {
            words.tail.store(position.wrapping_add(claimed), Relaxed);
            assert_eq!(consumer.ready(&queue), Ok(claimed));
        }
        for lie in [5, 6, 1 << 16, 1 << 31, u32::MAX - 1, u32::MAX] {
            words.tail.store(position.wrapping_add(lie), Relaxed);
            assert_eq!(consumer.ready(&queue), Err(Corrupt));
            assert_eq!(consumer.pop(&queue), Err(Corrupt));
            assert_eq!(consumer.try_sleep(&queue), Err(Corrupt));
            assert_eq!(consumer.position(), position, "a lie moves nothing");
        }
        assert_eq!(words.head.load(Relaxed), position, "and shows nothing");
    }
}

#[test]
fn a_producer_believes_only_indices_that_can_be() {
    for position in [0, 1, 7, u32::MAX - 2, u32::MAX, 1 << 31] {
        let words = Words::<4>::at(position);
        let queue = words.queue();
        for taken in [1, 2, u32::MAX / 2, u32::MAX - 4, u32::MAX - 8] {
            let producer = Producer::at(position);
            let promiser = Promiser::at(position);
            words.head.store(position.wrapping_add(taken), Relaxed);
            assert_eq!(producer.refresh(&queue), Err(Corrupt));
            assert_eq!(producer.untaken(&queue), Err(Corrupt));
            assert_eq!(producer.push(&queue, [1]), Err(PushError::Corrupt));
            assert_eq!(promiser.refresh(&queue), Err(Corrupt));
            assert_eq!(promiser.push(&queue, [1]), Err(PushError::Corrupt));
            assert_eq!(promiser.claim(&queue), Err(PushError::Corrupt));
            assert_eq!((producer.position(), promiser.position(), promiser.held()), (position, position, 0));
        }
        assert!(words.slots.iter().all(|slot| slot[0].load(Relaxed) == u64::MAX), "nothing was written");
    }
}

// Promises count: an index that would give back more places than there are is a lie, too.
#[test]
fn a_head_that_moves_back_below_a_promise_is_corrupt() {
    let words = Words::<4>::at(0);
    let queue = words.queue();
    let producer = Promiser::new();
    for n in 0..3 {
        producer.push(&queue, [n]).expect("there is room");
    }
    producer.publish(&queue);
    words.head.store(3, Relaxed);
    producer.refresh(&queue).expect("all were taken");
    for _ in 0..4 {
        producer.claim(&queue).expect("all places are free");
    }
    assert_eq!(producer.claim(&queue), Err(PushError::Full));
    words.head.store(2, Relaxed);
    assert_eq!(producer.claim(&queue), Err(PushError::Corrupt));
    for n in 0..4 {
        producer.fill(&queue, [n]);
    }
    assert_eq!((producer.held(), producer.position()), (0, 7), "promises are kept all the same");
}

#[test]
fn a_peer_that_frees_too_much_spoils_only_its_own_entries() {
    let words = Words::<2>::at(0);
    let queue = words.queue();
    let producer = Producer::new();
    for n in 0..100 {
        producer.push(&queue, [n]).expect("the peer says that it took all");
        producer.publish(&queue);
        words.head.store(producer.position(), Relaxed);
    }
    assert_eq!(words.tail.load(Relaxed), 100);
    assert_eq!(words.slots[1][0].load(Relaxed), 99);
}

#[test]
fn our_own_words_are_written_and_never_read() {
    let words = Words::<2>::at(0);
    let queue = words.queue();
    let (producer, consumer) = (Producer::new(), Consumer::new());
    words.tail.store(77, Relaxed);
    assert_eq!(producer.push(&queue, [5]), Ok(()));
    producer.publish(&queue);
    assert_eq!(words.tail.load(Relaxed), 1);
    assert_eq!(consumer.pop(&queue), Ok(Some([5])));
    words.head.store(77, Relaxed);
    assert_eq!(consumer.pop(&queue), Ok(None));
    consumer.publish(&queue);
    assert_eq!(words.head.load(Relaxed), 1);
}

#[test]
fn indices_wrap_around() {
    let start = u32::MAX - 5;
    let words = Words::<4>::at(start);
    let queue = words.queue();
    let (producer, consumer) = (Producer::at(start), Consumer::at(start));
    let mut next = 0;
    for round in 0..20u64 {
        let count = 1 + round % 4;
        for n in 0..count {
            producer.push(&queue, [round * 10 + n]).expect("the queue is empty");
        }
        assert_eq!(consumer.ready(&queue), Ok(0), "nothing is shown before it is published");
        assert_eq!(producer.publish_and_look(&queue), Doorbell::Quiet);
        assert_eq!(producer.untaken(&queue), Ok(count as u32));
        for n in 0..count {
            assert_eq!(consumer.pop(&queue), Ok(Some([round * 10 + n])));
            next += 1;
        }
        assert_eq!(consumer.position(), start.wrapping_add(next));
    }
    assert!(consumer.position() < start, "the test went around");
}

#[test]
fn a_full_queue_takes_nothing_and_loses_nothing() {
    for start in [0, u32::MAX - 1] {
        let words = Words::<4>::at(start);
        let queue = words.queue();
        let (producer, consumer) = (Producer::at(start), Consumer::at(start));
        for n in 0..4 {
            assert_eq!(producer.push(&queue, [n]), Ok(()));
        }
        assert_eq!(producer.push(&queue, [4]), Err(PushError::Full));
        producer.publish(&queue);
        assert_eq!(consumer.pop(&queue), Ok(Some([0])));
        assert_eq!(producer.push(&queue, [4]), Ok(()), "a place came free");
        assert_eq!(producer.push(&queue, [5]), Err(PushError::Full));
        producer.publish(&queue);
        for n in 1..5 {
            assert_eq!(consumer.pop(&queue), Ok(Some([n])));
        }
        assert_eq!(consumer.pop(&queue), Ok(None));
    }
}

#[test]
#[should_panic(expected = "powers of two")]
fn a_queue_of_three_is_no_queue() {
    let words = Words::<3>::at(0);
    let _ = words.queue();
}
