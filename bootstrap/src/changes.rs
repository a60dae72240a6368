//! Waiting for the next change of something: all who wait are woken, and look for themselves.
#![forbid(unsafe_code)]

use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::{Poll, Waker};

/// Who waits for a change.
#[derive(Debug, Default)]
pub struct Changes {
    count: Cell<u64>,
    waiters: RefCell<Vec<Waker>>,
}

impl Changes {
    /// Something has changed: wakes all who wait.
    pub fn announce(&self) {
        self.count.set(self.count.get().wrapping_add(1));
        self.waiters.take().into_iter().for_each(Waker::wake);
    }

    /// Ends at the first change after this call, not after the first poll.
    pub fn next(&self) -> impl Future<Output = ()> + '_ {
        let before = self.count.get();
        poll_fn(move |cx| {
            if self.count.get() != before {
                return Poll::Ready(());
            }
            let mut waiters = self.waiters.borrow_mut();
            if !waiters.iter().any(|waiter| waiter.will_wake(cx.waker())) {
                waiters.push(cx.waker().clone());
            }
            Poll::Pending
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Changes;
    use core::pin::pin;
    use core::task::{Context, Poll, Waker};

    #[test]
    fn a_change_ends_every_wait_that_began_before_it() {
        let changes = Changes::default();
        let mut cx = Context::from_waker(Waker::noop());
        let (mut one, mut two) = (pin!(changes.next()), pin!(changes.next()));
        assert_eq!(one.as_mut().poll(&mut cx), Poll::Pending);
        assert_eq!(one.as_mut().poll(&mut cx), Poll::Pending);
        changes.announce();
        assert_eq!(one.as_mut().poll(&mut cx), Poll::Ready(()));
        assert_eq!(two.as_mut().poll(&mut cx), Poll::Ready(()));
        assert_eq!(pin!(changes.next()).poll(&mut cx), Poll::Pending);
    }
}
