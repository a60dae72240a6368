//! Every interleaving of small queues: order, full, empty, and no lost wake-up.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p ring-abi --test loom`
//!
//! The last tests take away what the queues rest on, one thing at a time, and want loom to notice: a
//! model that cannot fail says nothing.
#![cfg(loom)]
#![expect(clippy::expect_used, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

mod mutants;

use loom::model;
use loom::sync::atomic::Ordering::{Relaxed, SeqCst};
use loom::sync::atomic::{AtomicU32, AtomicU64, fence};
use loom::sync::{Arc, Notify};
use loom::thread;
use mutants::{publish_and_look_without_fence, try_sleep_without_fence, try_sleep_without_second_look};
use ring_abi::map::Queue;
use ring_abi::ring::{Consumer, Corrupt, Doorbell, Producer, PushError};
use std::array;

/// Where the indices start: two steps before they wrap around.
const START: u32 = u32::MAX - 1;

/// The shared words of a queue of `N` entries.
struct Words<const N: usize> {
    head: AtomicU32,
    tail: AtomicU32,
    sleeps: AtomicU32,
    slots: [[AtomicU64; 2]; N],
}

impl<const N: usize> Words<N> {
    fn new() -> Arc<Words<N>> {
        Arc::new(Words {
            head: AtomicU32::new(START),
            tail: AtomicU32::new(START),
            sleeps: AtomicU32::new(0),
            slots: array::from_fn(|_| [AtomicU64::new(0), AtomicU64::new(0)]),
        })
    }

    fn queue(&self) -> Queue<'_, 2> {
        Queue::new(&self.head, &self.tail, &self.sleeps, &self.slots)
    }
}

/// The `n`th entry: two words that belong together, and are never those of an empty slot.
fn entry(n: u64) -> [u64; 2] {
    [n + 1, !n]
}

/// Pushes and shows `count` entries one by one, waiting for room.
fn produce<const N: usize>(words: &Words<N>, count: u64) {
    let (queue, producer) = (words.queue(), Producer::at(START));
    for n in 0..count {
        while producer.push(&queue, entry(n)).map_err(only_full).is_err() {
            thread::yield_now();
        }
        producer.publish(&queue);
    }
}

/// Takes `count` entries, waiting for them, and looks at each.
fn consume<const N: usize>(words: &Words<N>, count: u64) {
    let (queue, consumer) = (words.queue(), Consumer::at(START));
    for n in 0..count {
        let got = loop {
            match consumer.pop(&queue).expect("the producer is honest") {
                Some(got) => break got,
                None => thread::yield_now(),
            }
        };
        assert_eq!(got, entry(n), "torn, stale or out of order");
    }
    assert_eq!(consumer.pop(&queue), Ok(None));
}

fn only_full(error: PushError) {
    assert_eq!(error, PushError::Full, "the consumer is honest");
}

fn order<const N: usize>(count: u64) {
    model(move || {
        let words = Words::<N>::new();
        let theirs = words.clone();
        let producer = thread::spawn(move || produce(&theirs, count));
        consume(&words, count);
        producer.join().expect("the producer ends");
    });
}

#[test]
fn entries_of_one_slot_arrive_whole_and_in_order() {
    order::<1>(3);
}

#[test]
fn entries_of_two_slots_arrive_whole_and_in_order() {
    order::<2>(3);
}

#[test]
fn a_batch_is_seen_at_once_or_not_at_all() {
    model(|| {
        let words = Words::<2>::new();
        let theirs = words.clone();
        let producer = thread::spawn(move || {
            let (queue, producer) = (theirs.queue(), Producer::at(START));
            for n in 0..2 {
                producer.push(&queue, entry(n)).expect("the queue is empty");
            }
            producer.publish(&queue);
        });
        let (queue, consumer) = (words.queue(), Consumer::at(START));
        match consumer.ready(&queue) {
            Ok(0) => {}
            Ok(2) => {
                assert_eq!(consumer.peek(&queue, 0).copy(), entry(0));
                assert_eq!(consumer.peek(&queue, 1).copy(), entry(1));
            }
            other => panic!("half a batch: {other:?}"),
        }
        producer.join().expect("the producer ends");
    });
}

#[test]
fn a_full_queue_waits_for_its_consumer() {
    model(|| {
        let words = Words::<1>::new();
        let theirs = words.clone();
        let (queue, producer) = (words.queue(), Producer::at(START));
        producer.push(&queue, entry(0)).expect("the queue is empty");
        producer.publish(&queue);
        let consumer = thread::spawn(move || {
            let (queue, consumer) = (theirs.queue(), Consumer::at(START));
            let first = consumer.pop(&queue).expect("the producer is honest");
            assert_eq!(first, Some(entry(0)), "a full queue was overwritten");
            let second = consumer.pop(&queue).expect("the producer is honest");
            assert!(second.is_none() || second == Some(entry(1)));
        });
        let pushed = producer.push(&queue, entry(1));
        producer.publish(&queue);
        assert!(matches!(pushed, Ok(()) | Err(PushError::Full)));
        consumer.join().expect("the consumer ends");
    });
}

#[test]
fn an_empty_queue_gives_nothing() {
    model(|| {
        let words = Words::<2>::new();
        let theirs = words.clone();
        // Filled, but never shown.
        let producer = thread::spawn(move || {
            let (queue, producer) = (theirs.queue(), Producer::at(START));
            producer.push(&queue, entry(0)).expect("the queue is empty");
        });
        assert_eq!(Consumer::at(START).pop(&words.queue()), Ok(None));
        producer.join().expect("the producer ends");
    });
}

/// Takes `count` entries and sleeps whenever there is none; only the bell ends a sleep.
fn consume_asleep<const N: usize>(words: &Words<N>, bell: &Notify, count: u64) {
    let (queue, consumer) = (words.queue(), Consumer::at(START));
    let mut taken = 0;
    while taken < count {
        match consumer.pop(&queue).expect("the producer is honest") {
            Some(got) => {
                assert_eq!(got, entry(taken));
                taken += 1;
            }
            None if consumer.try_sleep(&queue).expect("the producer is honest") => {
                bell.wait();
                consumer.wake(&queue);
            }
            None => {}
        }
    }
}

// Loom ends a model in which everybody sleeps with the word `deadlock`.
#[test]
fn a_sleeper_is_always_woken() {
    model(|| {
        let (words, bell) = (Words::<2>::new(), Arc::new(Notify::new()));
        let (theirs, rope) = (words.clone(), bell.clone());
        let producer = thread::spawn(move || {
            let (queue, producer) = (theirs.queue(), Producer::at(START));
            for n in 0..2 {
                producer.push(&queue, entry(n)).expect("the queue has two slots");
                if producer.publish_and_look(&queue) == Doorbell::Ring {
                    rope.notify();
                }
            }
        });
        consume_asleep(&words, &bell, 2);
        producer.join().expect("the producer ends");
    });
}

#[test]
fn a_call_and_its_answer_meet() {
    model(|| {
        let (requests, replies) = (Words::<1>::new(), Words::<1>::new());
        let (to_server, to_client) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let theirs = (requests.clone(), replies.clone(), to_server.clone(), to_client.clone());
        let server = thread::spawn(move || {
            let (requests, replies, to_server, to_client) = theirs;
            consume_asleep(&requests, &to_server, 1);
            send(&replies, &to_client);
        });
        send(&requests, &to_server);
        consume_asleep(&replies, &to_client, 1);
        server.join().expect("the server ends");
    });
}

/// Sends the first entry, and rings if the peer sleeps.
fn send<const N: usize>(words: &Words<N>, bell: &Notify) {
    let (queue, producer) = (words.queue(), Producer::at(START));
    producer.push(&queue, entry(0)).expect("the queue is empty");
    if producer.publish_and_look(&queue) == Doorbell::Ring {
        bell.notify();
    }
}

/// How a producer shows its entries, and how a consumer goes to sleep.
type Show = fn(&Producer, &Queue<'_, 2>) -> Doorbell;
type Sleep = fn(&Consumer, &Queue<'_, 2>) -> Result<bool, Corrupt>;

/// One entry, one attempt to sleep: a consumer that sleeps beside an entry was told of it.
fn no_wake_up_is_lost(show: Show, sleep: Sleep) {
    model(move || {
        let words = Words::<1>::new();
        let theirs = words.clone();
        let producer = thread::spawn(move || {
            let (queue, producer) = (theirs.queue(), Producer::at(START));
            producer.push(&queue, entry(0)).expect("the queue is empty");
            show(&producer, &queue)
        });
        let sleeps = sleep(&Consumer::at(START), &words.queue()).expect("the producer is honest");
        let bell = producer.join().expect("the producer ends");
        assert!(!sleeps || bell == Doorbell::Ring, "lost wake-up");
    });
}

#[test]
fn a_sleeper_beside_an_entry_was_told() {
    no_wake_up_is_lost(Producer::publish_and_look, Consumer::try_sleep);
}

/// A consumer that goes away looks once more: an entry is found then, or its author was told to ring.
fn a_leaver_finds_it_or_its_author_rings(
    show: Show,
    leave: fn(&Consumer, &Queue<'_, 2>) -> Result<u32, Corrupt>,
) {
    model(move || {
        let words = Words::<2>::new();
        let theirs = words.clone();
        let producer = thread::spawn(move || {
            let (queue, producer) = (theirs.queue(), Producer::at(START));
            let mut rings = [false; 2];
            for (n, ring) in (0..).zip(&mut rings) {
                producer.push(&queue, entry(n)).expect("the queue has two slots");
                *ring = show(&producer, &queue) == Doorbell::Ring;
            }
            rings
        });
        // It polls: it takes what it sees, and leaves.
        let (queue, consumer) = (words.queue(), Consumer::at(START));
        let seen = consumer.ready(&queue).expect("the producer is honest");
        consumer.advance(seen);
        let left = leave(&consumer, &queue).expect("the producer is honest");
        consumer.advance(left);
        let taken = consumer.position().wrapping_sub(START) as usize;
        let rings = producer.join().expect("the producer ends");
        assert!(rings[taken..].iter().all(|ring| *ring), "lost wake-up: {taken} taken, {rings:?}");
    });
}

#[test]
fn what_a_poller_leaves_is_rung_for() {
    a_leaver_finds_it_or_its_author_rings(Producer::publish_and_look, Consumer::sleep);
}

// From here on: mutants.

fn sleep_without_fence(consumer: &Consumer, queue: &Queue<'_, 2>) -> Result<u32, Corrupt> {
    queue.sleeps().store(1, Relaxed);
    consumer.ready(queue)
}

#[test]
#[should_panic(expected = "lost wake-up")]
fn without_the_leavers_fence_an_entry_is_lost() {
    a_leaver_finds_it_or_its_author_rings(Producer::publish_and_look, sleep_without_fence);
}

#[test]
#[should_panic(expected = "lost wake-up")]
fn without_the_fence_of_who_shows_an_entry_is_lost() {
    a_leaver_finds_it_or_its_author_rings(publish_and_look_without_fence, Consumer::sleep);
}

fn look_before_publishing(producer: &Producer, queue: &Queue<'_, 2>) -> Doorbell {
    let asleep = queue.sleeps().load(Relaxed) != 0;
    fence(SeqCst);
    producer.publish(queue);
    if asleep { Doorbell::Ring } else { Doorbell::Quiet }
}

#[test]
#[should_panic(expected = "lost wake-up")]
fn without_the_writers_fence_a_wake_up_is_lost() {
    no_wake_up_is_lost(publish_and_look_without_fence, Consumer::try_sleep);
}

#[test]
#[should_panic(expected = "lost wake-up")]
fn without_the_sleepers_fence_a_wake_up_is_lost() {
    no_wake_up_is_lost(Producer::publish_and_look, try_sleep_without_fence);
}

#[test]
#[should_panic(expected = "lost wake-up")]
fn a_writer_that_looks_too_early_loses_a_wake_up() {
    no_wake_up_is_lost(look_before_publishing, Consumer::try_sleep);
}

#[test]
#[should_panic(expected = "lost wake-up")]
fn a_sleeper_that_looks_too_early_loses_a_wake_up() {
    no_wake_up_is_lost(Producer::publish_and_look, try_sleep_without_second_look);
}

#[test]
#[should_panic(expected = "a stale entry")]
fn a_relaxed_publish_shows_stale_words() {
    model(|| {
        let words = Words::<1>::new();
        let theirs = words.clone();
        let producer = thread::spawn(move || {
            let (queue, producer) = (theirs.queue(), Producer::at(START));
            producer.push(&queue, entry(0)).expect("the queue is empty");
            queue.tail().store(producer.position(), Relaxed);
        });
        let got = Consumer::at(START).pop(&words.queue()).expect("the producer is honest");
        assert!(got.is_none_or(|got| got == entry(0)), "a stale entry");
        producer.join().expect("the producer ends");
    });
}

#[test]
#[should_panic(expected = "a stale entry")]
fn a_relaxed_look_shows_stale_words() {
    model(|| {
        let words = Words::<1>::new();
        let theirs = words.clone();
        let producer = thread::spawn(move || produce(&theirs, 1));
        let (queue, consumer) = (words.queue(), Consumer::at(START));
        if queue.tail().load(Relaxed) != START {
            assert_eq!(consumer.peek(&queue, 0).copy(), entry(0), "a stale entry");
        }
        producer.join().expect("the producer ends");
    });
}
