//! Requests whose answers take a while, so that a client's change of mind finds them.
#![forbid(unsafe_code)]

use alloc::collections::BTreeMap;
use core::cell::{Cell, RefCell};
use core::task::Waker;

#[derive(Default)]
struct Notice {
    cancelled: bool,
    waker: Option<Waker>,
}

/// The unanswered requests of a thread, by tag. Requests that are answered at once are never in here.
pub(crate) struct Pending {
    /// Those in `notices`, and `current` if there is one.
    count: Cell<usize>,
    /// The request whose future is being polled for the first time.
    current: Cell<Option<u32>>,
    notices: RefCell<BTreeMap<u32, Notice>>,
}

impl Pending {
    /// None.
    pub(crate) const fn new() -> Pending {
        Pending { count: Cell::new(0), current: Cell::new(None), notices: RefCell::new(BTreeMap::new()) }
    }

    /// Whether there is none.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.count.get() == 0
    }

    /// The future of a request is about to be polled for the first time.
    #[inline(always)]
    pub(crate) fn begin(&self, tag: u32) {
        self.current.set(Some(tag));
        self.count.set(self.count.get().wrapping_add(1));
    }

    /// It was polled. If the request is not answered yet, its answer takes a while.
    #[inline(always)]
    pub(crate) fn end_begin(&self) {
        if let Some(tag) = self.current.take() {
            self.add(tag);
        }
    }

    /// A request's answer takes a while.
    #[cold]
    pub(crate) fn add(&self, tag: u32) {
        self.notices.borrow_mut().insert(tag, Notice::default());
        self.update();
    }

    /// A request has been answered.
    #[inline(always)]
    pub(crate) fn answered(&self, tag: u32) {
        if self.is_empty() {
            return;
        }
        if self.current.get() == Some(tag) {
            self.current.set(None);
            self.count.set(self.count.get().wrapping_sub(1));
        } else {
            self.remove(tag);
        }
    }

    #[cold]
    #[inline(never)]
    fn remove(&self, tag: u32) {
        self.notices.borrow_mut().remove(&tag);
        self.update();
    }

    /// A client no longer waits for an answer.
    #[cold]
    pub(crate) fn cancel(&self, tag: u32) {
        let waker = match self.notices.borrow_mut().get_mut(&tag) {
            Some(notice) => {
                notice.cancelled = true;
                notice.waker.take()
            }
            None => None, // it was answered meanwhile
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether the client of a request no longer waits.
    pub(crate) fn is_cancelled(&self, tag: u32) -> bool {
        self.notices.borrow().get(&tag).is_some_and(|notice| notice.cancelled)
    }

    /// Wakes this one when the client no longer waits.
    pub(crate) fn tell(&self, tag: u32, waker: &Waker) {
        if self.current.get() == Some(tag) {
            self.end_begin();
        }
        if let Some(notice) = self.notices.borrow_mut().get_mut(&tag) {
            notice.waker = Some(waker.clone());
        }
    }

    fn update(&self) {
        let current = usize::from(self.current.get().is_some());
        self.count.set(self.notices.borrow().len().wrapping_add(current));
    }
}
