//! The tasks of a thread, and the list of those that are ready.
//!
//! The index 0 is the future that [`block_on`](super::block_on) was given; it is no record's.
#![forbid(unsafe_code)]

use crate::ring::leaked::Leaked;
use crate::ring::slots::NONE;
use alloc::boxed::Box;
use core::cell::Cell;
use core::pin::Pin;
use core::task::{Context, Poll};

/// Index of the future that `block_on` runs.
pub(crate) const ROOT: u32 = 0;

/// A task's future, as it is kept between two polls.
pub(crate) type Body = Pin<Box<dyn Turns>>;

/// What can be polled until it is done; nothing is done at once.
pub(crate) trait Turns {
    /// Goes on.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>;
}

impl<F: Future<Output = ()>> Turns for Option<F> {
    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.as_pin_mut().map_or(Poll::Ready(()), |future| future.poll(cx))
    }
}

/// What a task's record is used for.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Nothing.
    #[default]
    Free,
    /// A task that waits, or that is being polled.
    Waits,
    /// A task in the list of the ready ones.
    Ready,
    /// In that list still, although the task has ended.
    Ended,
}

/// The record of a task.
#[derive(Default)]
pub(crate) struct Task {
    state: Cell<State>,
    next: Cell<u32>,
    body: Cell<Option<Body>>,
}

/// All tasks of a thread.
pub(crate) struct Tasks {
    all: Cell<&'static [Task]>,
    /// The same, and those that were there before.
    pub(crate) tables: Leaked<[Task]>,
    free: Cell<u32>,
    first: Cell<u32>,
    last: Cell<u32>,
    running: Cell<bool>,
}

impl Tasks {
    /// No tasks yet.
    pub(crate) const fn new() -> Tasks {
        Tasks {
            all: Cell::new(&[]),
            tables: Leaked::new(),
            free: Cell::new(NONE),
            first: Cell::new(NONE),
            last: Cell::new(NONE),
            running: Cell::new(false),
        }
    }

    /// Begins to run; `false` if this thread's executor runs already.
    pub(crate) fn begin(&self) -> bool {
        if self.all.get().is_empty() {
            self.grow();
        }
        if let Some(root) = self.all.get().first()
            && root.state.get() == State::Free
        {
            root.state.set(State::Waits);
        }
        !self.running.replace(true)
    }

    /// Ends what [`begin`](Self::begin) began.
    pub(crate) fn end(&self) {
        self.running.set(false);
    }

    /// Whether no task is ready.
    #[inline(always)]
    pub(crate) fn idle(&self) -> bool {
        self.first.get() == NONE
    }

    /// Puts a task into the list of the ready ones, if it is not there.
    #[inline]
    pub(crate) fn wake(&self, index: u32) {
        let all = self.all.get();
        let Some(task) = all.get(index as usize) else { return };
        if task.state.get() != State::Waits {
            return;
        }
        task.state.set(State::Ready);
        task.next.set(NONE);
        match all.get(self.last.replace(index) as usize) {
            Some(last) if self.first.get() != NONE => last.next.set(index),
            _ => self.first.set(index),
        }
    }

    /// Takes the task that has been ready the longest.
    #[inline]
    pub(crate) fn next(&self) -> Option<u32> {
        loop {
            let index = self.first.get();
            let task = self.all.get().get(index as usize)?;
            self.first.set(task.next.get());
            if task.state.get() == State::Ready {
                task.state.set(State::Waits);
                return Some(index);
            }
            self.release(index, task); // it ended while it was in the list
        }
    }

    /// Takes a task's future, to poll it.
    pub(crate) fn take(&self, index: u32) -> Option<Body> {
        self.all.get().get(index as usize)?.body.take()
    }

    /// Puts a future back that goes on later.
    pub(crate) fn put(&self, index: u32, body: Body) {
        if let Some(task) = self.all.get().get(index as usize) {
            task.body.set(Some(body));
        }
    }

    /// A task has ended: its record is free, once `next` has passed it if it is in the list.
    pub(crate) fn end_task(&self, index: u32) {
        if let Some(task) = self.all.get().get(index as usize) {
            match task.state.get() {
                State::Ready => task.state.set(State::Ended),
                State::Waits => self.release(index, task),
                State::Free | State::Ended => {}
            }
        }
    }

    /// The thread ends: drops the futures of the tasks that have not ended. There are no tasks from now on.
    pub(crate) fn retire(&self) {
        // A future that is dropped may wake other tasks or make further ones, which are dropped in their turn.
        while !self.all.get().is_empty() {
            let all = self.all.replace(&[]);
            for index in [&self.free, &self.first, &self.last] {
                index.set(NONE);
            }
            for task in all {
                drop(task.body.take());
            }
        }
    }

    fn release(&self, index: u32, task: &Task) {
        task.state.set(State::Free);
        task.next.set(self.free.replace(index));
    }

    /// Takes a record for a new task, not ready and without a future.
    pub(crate) fn reserve(&self) -> u32 {
        if self.free.get() == NONE {
            self.grow();
        }
        let index = self.free.get();
        if let Some(task) = self.all.get().get(index as usize) {
            self.free.set(task.next.get());
            task.state.set(State::Waits);
        }
        index
    }

    /// Doubles the records. The old ones stay in memory; together they are less than the new ones.
    #[cold]
    fn grow(&self) {
        let old = self.all.get();
        let fresh = self.tables.keep((0..old.len().max(8) << 1).map(|_| Task::default()).collect());
        for (from, to) in old.iter().zip(fresh) {
            to.state.set(from.state.get());
            to.next.set(from.next.get());
            to.body.set(from.body.take());
        }
        let mut free = self.free.get();
        for (index, task) in fresh.iter().enumerate().skip(old.len().max(1)).rev() {
            task.next.set(free);
            free = index as u32;
        }
        self.free.set(free);
        self.all.set(fresh);
    }
}
