//! The loop: poll what is ready; when nothing is, enter the kernel.
#![forbid(unsafe_code)]

use super::tasks::{Body, ROOT, Turns};
use super::waker::waker;
use crate::ring::current::local;
use crate::ring::local::Local;
use crate::ring::slots::Stage;
use core::pin::pin;
use core::task::{Context, Poll};

/// Polls between two looks at the ring, while tasks keep each other busy.
const PATIENCE: u32 = 64;

/// Runs a future until it is done, and the tasks of this thread beside it.
///
/// # Panics
///
/// If called by a future that this thread's executor runs: await instead. And if the future waits for
/// something that nothing can bring.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let local = local();
    let _running = Running::begin(local);
    let mut future = pin!(future);
    let waker = waker(ROOT);
    let mut cx = Context::from_waker(&waker);
    local.tasks.wake(ROOT);
    let mut patience = PATIENCE;
    loop {
        match turn(local, &mut patience) {
            Turn::Root => {
                if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                    return output;
                }
            }
            Turn::Task => {}
            Turn::Idle => idle(local),
        }
    }
}

/// [`block_on`] under the name that a program's `main` uses.
pub fn run<F: Future>(future: F) -> F::Output {
    block_on(future)
}

/// Lets the other tasks run once.
pub fn yield_now() -> impl Future<Output = ()> {
    let mut yielded = false;
    core::future::poll_fn(move |cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// What one turn of the loop found to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The caller's own future is ready.
    Root,
    /// A task was polled.
    Task,
    /// Nothing is ready.
    Idle,
}

/// Polls the next ready task, if it is not the caller's own future.
#[inline]
pub(crate) fn turn(local: &Local, patience: &mut u32) -> Turn {
    let Some(index) = local.tasks.next() else {
        *patience = PATIENCE;
        return Turn::Idle;
    };
    *patience = patience.saturating_sub(1);
    if *patience == 0 {
        *patience = PATIENCE;
        local.flush();
        local.service.look(local.ends());
    }
    if index == ROOT {
        return Turn::Root;
    }
    poll_task(local, index);
    Turn::Task
}

#[inline(never)]
fn poll_task(local: &Local, index: u32) {
    let waker = waker(index);
    let mut cx = Context::from_waker(&waker);
    let Some(mut body) = local.tasks.take(index) else { return }; // a record that was woken too soon
    match poll(&mut body, &mut cx) {
        Poll::Pending => local.tasks.put(index, body),
        Poll::Ready(()) => {
            drop(body);
            local.tasks.end_task(index);
        }
    }
}

fn poll(body: &mut Body, cx: &mut Context<'_>) -> Poll<()> {
    Turns::poll(body.as_mut(), cx)
}

/// Nothing is ready: enters the kernel until something is.
fn idle(local: &Local) {
    let serves = local.service.is_wanted();
    let taken = local.wait(serves);
    local.service.look(local.ends());
    if taken == 0 && local.tasks.idle() {
        stuck(local, serves);
    }
}

/// A wait ended without anything to do. That is a bug if nothing is in flight.
#[cold]
fn stuck(local: &Local, serves: bool) {
    if !local.slots.any(Stage::Flying) && local.mail.is_open() {
        return local.end_mail();
    }
    let waits = local.slots.any(Stage::Flying) || serves;
    assert!(waits, "block_on waits for something that no operation in flight can bring");
}

/// While it lives, this thread's executor runs.
pub(crate) struct Running<'l>(&'l Local);

impl<'l> Running<'l> {
    /// Refuses to run an executor inside itself.
    pub(crate) fn begin(local: &'l Local) -> Running<'l> {
        assert!(local.tasks.begin(), "block_on inside of block_on: await the future instead");
        Running(local)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.tasks.end();
    }
}
