//! Operations and the executor against the real kernel on its fake machine.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod stage;

use ring_abi::Errno;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use uring::exec::{Raced, both, join_all, race, sleep, timeout, yield_now};
use uring::op::batch::{Batch, wait_all};
use uring::op::chain::chain;
use uring::op::file::{self, At};
use uring::op::system::Cancel;
use uring::op::{Fd, handle, sync, system, time};
use uring::{block_on, spawn};

const MS: u64 = 1_000_000;

#[test]
fn a_nop_comes_back_however_it_is_sent() {
    stage::play(|| {
        assert_eq!(system::nop().wait(), Ok(()));
        assert_eq!(block_on(system::nop()), Ok(()));
        let sent = system::nop().submit();
        assert_eq!(block_on(sent), Ok(()));
    });
}

#[test]
fn a_batch_larger_than_the_ring_completes() {
    stage::play(|| {
        let mut batch = Batch::new((0..1000).map(|_| system::nop()));
        for _ in 0..3 {
            assert!(batch.wait().iter().all(|result| result.0 == 0));
        }
        assert_eq!(batch.finish().len(), 1000);
        let results = wait_all((0..100).map(|_| system::nop()).collect());
        assert_eq!(results, vec![Ok(()); 100]);
    });
}

#[test]
fn more_operations_than_places_are_awaited_in_turn() {
    stage::play(|| {
        let all: Vec<_> = (0..500).map(|_| system::nop()).collect();
        assert_eq!(block_on(join_all(all)), vec![Ok(()); 500]);
    });
}

#[test]
fn long_waits_do_not_lock_out_blocking_calls() {
    stage::play(|| {
        let waits: Vec<_> = (0..500).map(|_| time::after(Duration::from_millis(5))).collect();
        block_on(async {
            let all = spawn(join_all(waits));
            yield_now().await;
            assert_eq!(system::nop().wait(), Ok(()));
            assert_eq!(all.await.len(), 500);
        });
    });
}

#[test]
fn timers_end_in_the_order_of_their_times() {
    stage::play(|| {
        let order = Rc::new(RefCell::new(Vec::new()));
        let start = stage::now();
        block_on(async {
            let tasks = [30, 10, 20].map(|ms| {
                let order = order.clone();
                spawn(async move {
                    sleep(Duration::from_millis(ms)).await;
                    order.borrow_mut().push(ms);
                })
            });
            for task in tasks {
                task.await;
            }
        });
        assert_eq!(*order.borrow(), [10, 20, 30]);
        assert!(stage::now() - start >= 30 * MS);
    });
}

#[test]
fn a_timeout_ends_what_takes_too_long() {
    stage::play(|| {
        let word = std::sync::atomic::AtomicU32::new(0);
        let wait = timeout(Duration::from_millis(3), sync::futex_wait(&word, 0, u64::MAX));
        assert!(block_on(wait).is_err());
        let quick = timeout(Duration::from_secs(1), system::nop());
        assert_eq!(block_on(quick), Ok(Ok(())));
        assert_eq!(sync::futex_wake(&word, 9).wait(), Ok(0), "the dropped wait is gone");
    });
}

#[test]
fn the_first_of_a_race_wins_and_both_of_two_are_done() {
    stage::play(|| {
        let slow = time::after(Duration::from_millis(9));
        assert_eq!(block_on(race(slow, system::nop())), Raced::Second(Ok(())));
        assert_eq!(block_on(both(system::nop(), async { 7 })), (Ok(()), 7));
    });
}

#[test]
fn tasks_run_side_by_side_and_give_their_outputs() {
    stage::play(|| {
        let count = Rc::new(Cell::new(0));
        let total: usize = block_on(async {
            let tasks: Vec<_> = (0..1000)
                .map(|number| {
                    let count = count.clone();
                    spawn(async move {
                        yield_now().await;
                        count.set(count.get() + 1);
                        number
                    })
                })
                .collect();
            let mut total = 0;
            for task in tasks {
                total += task.await;
            }
            total
        });
        assert_eq!((count.get(), total), (1000, 499_500));
    });
}

#[test]
#[should_panic(expected = "block_on inside of block_on")]
fn a_nested_block_on_is_refused() {
    stage::play(|| block_on(async { block_on(async {}) }));
}

#[test]
#[should_panic(expected = "that no operation in flight can bring")]
fn a_wait_for_nothing_is_found() {
    stage::play(|| block_on(std::future::pending()));
}

#[test]
fn errors_come_back_as_errors_with_the_buffer() {
    stage::play(|| {
        let (result, buffer) = block_on(file::read(Fd(77), vec![1, 2, 3], At::Offset(0)));
        assert_eq!((result, buffer), (Err(Errno::BADF), vec![1, 2, 3]));
        let mut bytes = [5; 4];
        assert_eq!(file::read(Fd(77), &mut bytes[..], At::Cursor).wait().0, Err(Errno::BADF));
    });
}

#[test]
fn a_foreign_waker_is_woken_too() {
    struct Flag(std::sync::atomic::AtomicBool);
    impl std::task::Wake for Flag {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }
    stage::play(|| {
        let flag = std::sync::Arc::new(Flag(Default::default()));
        let waker = flag.clone().into();
        let mut cx = std::task::Context::from_waker(&waker);
        let mut nop = std::pin::pin!(system::nop());
        assert!(nop.as_mut().poll(&mut cx).is_pending());
        assert_eq!(system::nop().wait(), Ok(())); // reaps the other one too
        assert!(flag.0.load(std::sync::atomic::Ordering::Relaxed));
        assert!(nop.as_mut().poll(&mut cx).is_ready());
    });
}

#[test]
fn two_programs_wake_each_other() {
    stage::play(|| {
        let word = Box::leak(Box::new(std::sync::atomic::AtomicU32::new(0)));
        let word: &'static std::sync::atomic::AtomicU32 = word;
        let other = stage::spawn(move || {
            word.store(1, std::sync::atomic::Ordering::Relaxed);
            sync::futex_wake(word, 1).wait().unwrap();
        });
        while word.load(std::sync::atomic::Ordering::Relaxed) == 0 {
            let _ = sync::futex_wait(word, 0, u64::MAX).wait();
        }
        stage::join(other);
    });
}

#[test]
fn an_interval_brings_an_item_for_each_period() {
    stage::play(|| {
        let start = stage::now();
        let mut ticks = time::times(Duration::from_millis(2), 5);
        let mut seen = 0;
        block_on(async {
            while let Some(periods) = ticks.next().await {
                seen += periods.unwrap();
            }
            assert_eq!(ticks.next().await, None, "it stays at its end");
        });
        assert_eq!(seen, 5);
        assert!(stage::now() - start >= 10 * MS);
    });
}

#[test]
fn periods_that_nobody_looks_at_add_up() {
    stage::play(|| {
        let mut ticks = time::every(Duration::from_millis(1)).submit();
        // Its completions are taken meanwhile, and no place of the ring is lost to them.
        for _ in 0..300 {
            time::after(Duration::from_millis(1)).wait().unwrap();
        }
        let seen = block_on(ticks.next()).unwrap().unwrap();
        assert!((300..=302).contains(&seen), "{seen}");
        drop(ticks);
        assert_eq!(system::nop().wait(), Ok(()));
    });
}

#[test]
fn a_stream_gets_on_while_everything_else_waits() {
    stage::play(|| {
        let word = Box::leak(Box::new(AtomicU32::new(0)));
        let mut ticks = time::every(Duration::from_millis(1)).submit();
        let waits: Vec<_> = (0..500).map(|_| sync::futex_wait(word, 0, u64::MAX)).collect();
        block_on(async {
            let all = spawn(join_all(waits));
            yield_now().await;
            for _ in 0..20 {
                assert!(ticks.next().await.unwrap().is_ok());
            }
            word.store(1, Relaxed);
            while all.try_take().is_none() {
                sync::futex_wake(word, u64::MAX).wait().unwrap();
                yield_now().await;
            }
        });
    });
}

#[test]
fn a_dropped_stream_is_cancelled_and_its_places_are_free_again() {
    stage::play(|| {
        for round in 0..2000 {
            let mut ticks = time::every(Duration::from_micros(100));
            if round % 3 != 0 {
                ticks = ticks.submit();
            }
            if round % 50 == 1 {
                assert!(block_on(ticks.next()).unwrap().is_ok());
            }
        }
        let all: Vec<_> = (0..500).map(|_| system::nop()).collect();
        assert_eq!(block_on(join_all(all)), vec![Ok(()); 500]);
    });
}

#[test]
fn a_timeout_is_postponed_and_removed() {
    stage::play(|| {
        let start = stage::now();
        let timer = time::after(Duration::from_secs(1000)).submit();
        assert_eq!(timer.postpone(Duration::from_millis(5)).wait(), Ok(()));
        assert_eq!(block_on(timer), Ok(()));
        assert!((5 * MS..900 * MS).contains(&(stage::now() - start)));
        let timer = time::after(Duration::from_secs(1000));
        assert_eq!(timer.remove().wait(), Err(Errno::NOENT), "it was not submitted");
        let timer = timer.submit();
        assert_eq!(timer.remove().wait(), Ok(()));
        assert_eq!(block_on(timer), Err(Errno::CANCELED));
        let mut ticks = time::every(Duration::from_secs(1000)).submit();
        assert_eq!(ticks.postpone(Duration::from_millis(1)).wait(), Ok(()));
        assert_eq!(block_on(ticks.next()), Some(Ok(1)));
        assert_eq!(ticks.remove().wait(), Ok(()));
        assert_eq!(block_on(ticks.next()), Some(Err(Errno::CANCELED)));
        assert_eq!(block_on(ticks.next()), None);
    });
}

#[test]
fn everything_in_flight_is_cancelled_at_once() {
    stage::play(|| {
        let long = || time::after(Duration::from_secs(1000)).submit();
        let all = [long(), long(), long()];
        assert_eq!(system::cancel_all(Cancel::ForceOne).wait(), Ok(1));
        assert_eq!(system::cancel_all(Cancel::Force).wait(), Ok(2));
        assert_eq!(system::cancel_all(Cancel::Ask(Duration::ZERO)).wait(), Err(Errno::NOENT));
        for timer in all {
            assert_eq!(block_on(timer), Err(Errno::CANCELED));
        }
        assert_eq!(system::cancel_on(Fd(77), Cancel::Force).wait(), Err(Errno::BADF));
    });
}

#[test]
fn one_of_several_words_ends_the_wait() {
    stage::play(|| {
        let words: [AtomicU32; 4] = Default::default();
        let several = |deadline| {
            let all: Vec<_> = words.iter().map(|word| (word, 0)).collect();
            sync::futex_wait_several(&all, deadline)
        };
        let wait = several(u64::MAX).submit();
        assert_eq!(sync::futex_wake(&words[2], 1).wait(), Ok(1));
        assert_eq!(block_on(wait), Ok(2));
        assert_eq!(block_on(several(stage::now() + MS)), Err(Errno::TIMEDOUT));
        words[3].store(1, Relaxed);
        assert_eq!(several(u64::MAX).wait(), Err(Errno::AGAIN));
        words[3].store(0, Relaxed);
        // A wait that is dropped is left for all of them.
        let late = block_on(timeout(Duration::from_millis(1), several(u64::MAX)));
        assert!(late.is_err());
        assert_eq!(words.each_ref().map(|word| sync::futex_wake(word, 9).wait()), [Ok(0); 4]);
        assert_eq!(sync::futex_wait_several(&[], u64::MAX).wait(), Err(Errno::INVAL));
    });
}

#[test]
fn a_swap_wakes_one_and_waits() {
    stage::play(|| {
        let [mine, theirs] = [(); 2].map(|()| AtomicU32::new(0));
        let other = sync::futex_wait(&theirs, 0, u64::MAX).submit();
        let swap = sync::futex_swap(&mine, 0, &theirs, u64::MAX).submit();
        assert_eq!(block_on(other), Ok(()));
        // And back, by the same.
        let other = sync::futex_swap(&theirs, 0, &mine, stage::now() + MS).submit();
        assert_eq!(block_on(swap), Ok(()));
        assert_eq!(block_on(other), Err(Errno::TIMEDOUT));
        let other = sync::futex_wait(&theirs, 0, u64::MAX).submit();
        assert_eq!(sync::futex_swap(&mine, 1, &theirs, u64::MAX).wait(), Err(Errno::AGAIN));
        assert_eq!(block_on(other), Ok(()), "it was woken all the same");
        // One that is dropped waits no more.
        let late = block_on(timeout(Duration::from_millis(1), sync::futex_swap(&mine, 0, &theirs, u64::MAX)));
        assert!(late.is_err());
        assert_eq!(sync::futex_wake(&mine, 9).wait(), Ok(0));
    });
}

#[test]
fn a_chain_goes_as_a_whole_and_ends_in_order() {
    stage::play(|| {
        // With the queue full of what waits, and without.
        for waiting in [0, 5, 40] {
            let waits: Vec<_> =
                (0..waiting).map(|_| time::after(Duration::from_millis(1)).submit()).collect();
            let ((first, second), third) =
                chain(system::nop()).then(system::nop()).always(system::nop()).wait();
            assert_eq!((first, second, third), (Ok(()), Ok(()), Ok(())));
            let ((bad, never), bound) = chain(handle::close(Fd(4000)))
                .then(system::nop())
                .then(time::limit(Duration::from_secs(1), Duration::ZERO))
                .wait();
            assert_eq!(bad, Err(Errno::BADF));
            assert_eq!((never, bound), (Err(Errno::CANCELED), Err(Errno::CANCELED)));
            assert_eq!(block_on(join_all(waits)), vec![Ok(()); waiting]);
        }
    });
}

#[test]
fn a_chain_uses_the_handle_that_it_makes() {
    stage::play(|| {
        let fd = handle::reserve(None).wait().unwrap();
        let ((made, copied), closed) = chain(handle::table_create().placed(fd))
            .then(handle::dup_to(fd, Fd::CURRENT, None, 0))
            .always(handle::close(fd))
            .wait();
        assert_eq!((made, closed), (Ok(fd), Ok(())));
        let copied = copied.unwrap();
        assert_ne!(copied, fd);
        assert_eq!(handle::close(copied).wait(), Ok(()));
        assert_eq!(handle::unreserve(fd).wait(), Ok(fd));
    });
}
