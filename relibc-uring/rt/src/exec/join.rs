//! More than one thing at a time: tasks of their own, or several futures inside one task.
#![forbid(unsafe_code)]

use crate::ring::current::local;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};

/// Where a task leaves its output.
struct Outlet<T> {
    value: Cell<Option<T>>,
    waker: Cell<Option<Waker>>,
}

/// Awaits the output of a task. Dropping it lets the task go on alone.
#[must_use = "dropping the handle lets the task go on unobserved; say `.detach()` if that is meant"]
pub struct JoinHandle<T>(Rc<Outlet<T>>);

impl<T> JoinHandle<T> {
    /// Lets the task go on without anybody waiting for it.
    pub fn detach(self) {}

    /// The output, if the task has ended.
    pub fn try_take(&self) -> Option<T> {
        self.0.value.take()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match self.0.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                self.0.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

/// Starts a task of this thread. It runs while [`block_on`](super::block_on) does.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
{
    let outlet = Rc::new(Outlet { value: Cell::new(None), waker: Cell::new(None) });
    let inner = outlet.clone();
    let body = async move {
        inner.value.set(Some(future.await));
        if let Some(waker) = inner.waker.take() {
            waker.wake();
        }
    };
    let tasks = &local().tasks;
    let index = tasks.reserve();
    tasks.put(index, Box::pin(Some(body)));
    tasks.wake(index);
    JoinHandle(outlet)
}

/// Outputs of two futures.
pub type Both<A, B> = (A, B);

/// Runs two futures to their ends, side by side.
pub async fn both<A: Future, B: Future>(a: A, b: B) -> Both<A::Output, B::Output> {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut first, mut second) = (None, None);
    poll_fn(move |cx| {
        if first.is_none() {
            first = ready(a.as_mut().poll(cx));
        }
        if second.is_none() {
            second = ready(b.as_mut().poll(cx));
        }
        match (first.take(), second.take()) {
            (Some(first), Some(second)) => Poll::Ready((first, second)),
            (one, other) => {
                (first, second) = (one, other);
                Poll::Pending
            }
        }
    })
    .await
}

/// Runs many futures to their ends, side by side in one task; outputs in the order of the futures.
pub async fn join_all<F: Future + Unpin>(futures: Vec<F>) -> Vec<F::Output> {
    let mut all: Vec<(Option<F>, Option<F::Output>)> =
        futures.into_iter().map(|future| (Some(future), None)).collect();
    poll_fn(|cx| {
        let mut missing = false;
        for (future, output) in &mut all {
            let Some(running) = future else { continue };
            match Pin::new(running).poll(cx) {
                Poll::Ready(value) => (*future, *output) = (None, Some(value)),
                Poll::Pending => missing = true,
            }
        }
        if missing { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    all.into_iter().filter_map(|(_, output)| output).collect()
}

/// Which of two futures ended first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raced<A, B> {
    /// The first one, with this output.
    First(A),
    /// The second one.
    Second(B),
}

/// A race of two futures.
pub type Race<A, B> = Raced<<A as Future>::Output, <B as Future>::Output>;

/// Runs two futures until one ends, and drops the other: its operations are cancelled.
pub async fn race<A: Future, B: Future>(a: A, b: B) -> Race<A, B> {
    let (mut a, mut b) = (pin!(a), pin!(b));
    poll_fn(move |cx| {
        if let Poll::Ready(output) = a.as_mut().poll(cx) {
            return Poll::Ready(Raced::First(output));
        }
        b.as_mut().poll(cx).map(Raced::Second)
    })
    .await
}

fn ready<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
