//! What rings do with each other, and what a thread gives up: messages, signals, rights, another ring.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod stage;

use ring_abi::{Errno, Opcode};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use uring::exec::{join_all, sleep, yield_now};
use uring::op::system::Rights;
use uring::op::{Fd, handle, message, signal, system, time};
use uring::ring::{Inbox, Message};
use uring::{block_on, spawn};

#[test]
fn messages_come_in_order_beside_operations() {
    stage::play(|| {
        let (mut inbox, door) = Inbox::open().unwrap();
        let sender = stage::spawn(move || {
            for value in 0..200 {
                message::send(door, value, value as u32 + 1).wait().unwrap();
            }
            handle::close(door).wait().unwrap();
        });
        block_on(async {
            // Answers to operations and messages take turns in the one queue.
            let beside = spawn(async {
                for _ in 0..100 {
                    system::nop().await.unwrap();
                }
            });
            for value in 0..200 {
                assert_eq!(inbox.next().await, Some(Message::Value(value, value as u32 + 1)));
                assert_eq!(system::nop().wait(), Ok(()));
            }
            assert_eq!(inbox.next().await, None, "the only handle was closed");
            beside.await;
        });
        stage::join(sender);
    });
}

#[test]
fn the_heap_asks_the_kernel_beside_a_full_queue() {
    stage::play(|| {
        assert_eq!(uring::host::wait_aside(1000), Ok(0), "nothing can come");
        let (mut inbox, door) = Inbox::open().unwrap();
        let sent = Arc::new(AtomicU64::new(0));
        let count = sent.clone();
        let sender = stage::spawn(move || {
            for value in 0..100 {
                message::send(door, value, 0).wait().unwrap();
                count.store(value + 1, Relaxed);
            }
        });
        assert_eq!(uring::host::wait_aside(1000), Ok(0), "the sender runs meanwhile");
        let places = sent.load(Relaxed);
        assert!((1..100).contains(&places), "{places} messages fill the queue");
        for _ in 0..20 {
            assert_eq!(uring::host::wait_aside(1000), Ok(0), "an answer has its place elsewhere");
        }
        assert_eq!(sent.load(Relaxed), places, "nothing was taken off");
        for value in 0..100 {
            assert_eq!(block_on(inbox.next()), Some(Message::Value(value, 0)));
        }
        stage::join(sender);
        handle::close(door).wait().unwrap();
    });
}

#[test]
fn a_handle_that_came_with_a_message_is_ours() {
    stage::play(|| {
        let (mut inbox, door) = Inbox::open().unwrap();
        let table = handle::table_create().wait().unwrap();
        message::send_handle(door, table, 3).wait().unwrap();
        let Some(Message::Handle(fd, 3)) = block_on(inbox.next()) else { panic!("a handle was sent") };
        assert_ne!(fd, table);
        handle::close(fd).wait().unwrap();
        // What nobody asked for is closed with the inbox.
        message::send_handle(door, table, 0).wait().unwrap();
        drop(inbox);
        assert_eq!(handle::table_create().wait(), Ok(fd), "the number is free again");
        assert_eq!(handle::close(table).wait(), Ok(()));
    });
}

#[test]
fn rights_that_were_given_up_are_gone() {
    stage::play(|| {
        let kept = handle::table_create().wait().unwrap();
        let lost = handle::table_create().wait().unwrap();
        let rights = Rights::only(&[Opcode::Nop, Opcode::HandleFlags, Opcode::Close, Opcode::Exit]);
        let program = stage::spawn(move || {
            assert_eq!(system::restrict(rights.handles(&[kept]).no_names()).wait(), Ok(()));
            assert_eq!(system::nop().wait(), Ok(()));
            assert_eq!(handle::flags(kept, None).wait(), Ok(0));
            assert_eq!(handle::flags(lost, None).wait(), Err(Errno::BADF));
            assert_eq!(handle::table_create().wait(), Err(Errno::ACCES));
            assert_eq!(system::restrict(Rights::ALL).wait(), Err(Errno::ACCES));
        });
        stage::join(program);
        assert_eq!(handle::flags(lost, None).wait(), Ok(0), "others have what they had");
    });
}

#[test]
fn a_signal_ends_the_pause_of_the_thread_that_it_is_for() {
    stage::play(|| {
        let paused = stage::spawn(|| {
            signal::set_mask(u64::MAX);
            signal::pause(!0b110);
            assert_eq!(signal::pending(), 0b101);
            assert_eq!(signal::take(0b110), 0b100);
            assert_eq!((signal::pending(), signal::set_mask(0)), (1, u64::MAX));
            signal::pause(0); // it is pending already
        });
        assert_eq!(signal::raise(paused, 0b001).wait(), Ok(()));
        assert_eq!(signal::raise(paused, 0b100).wait(), Ok(()));
        stage::join(paused);
        assert_eq!(signal::raise(Fd(4000), 1).wait(), Err(Errno::BADF));
    });
}

#[test]
fn a_ring_grows_with_operations_in_flight() {
    use ring_abi::layout::Sizes;
    stage::play(|| {
        let (mut inbox, door) = Inbox::open().unwrap();
        let order = Rc::new(Cell::new(0));
        block_on(async {
            let tasks: Vec<_> = (0..6)
                .map(|_| {
                    let order = order.clone();
                    spawn(async move {
                        sleep(Duration::from_millis(20)).await;
                        order.set(order.get() + 1);
                    })
                })
                .collect();
            for log2 in [8, 9, 10] {
                yield_now().await;
                assert_eq!(uring::ring::resize(Sizes { sq: log2, cq: log2, service: None }), Ok(()));
                assert_eq!(system::nop().wait(), Ok(()));
                message::send(door, log2.into(), 0).wait().unwrap();
                assert_eq!(inbox.next().await, Some(Message::Value(log2.into(), 0)));
            }
            assert_eq!(uring::ring::resize(Sizes::SMALLEST), Err(Errno::BUSY), "not smaller now");
            let all: Vec<_> = (0..200).map(|_| time::after(Duration::from_millis(1))).collect();
            join_all(all).await;
            for task in tasks {
                task.await;
            }
        });
        assert_eq!(order.get(), 6);
    });
}
