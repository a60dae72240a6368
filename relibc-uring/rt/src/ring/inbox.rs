//! Messages from other rings: where they are kept until somebody asks for them.
//!
//! All handles to this thread's ring that the runtime makes have a fixed tag, outside of those of slots and blocking
//! calls: whatever a sender says, its message is no answer to anything.
#![forbid(unsafe_code)]

use crate::op::{Fd, handle, message};
use crate::ring::current::local;
use crate::ring::slots::Answer;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::marker::PhantomData;
use core::task::{Context, Poll, Waker};
use ring_abi::{CqeFlags, Errno};

/// First tag of messages; that of an inbox is this plus its number.
const FIRST: u32 = 1 << 29;
/// Inboxes that a thread can have opened.
const MOST: usize = 1 << 16;

/// What somebody sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// A number, and 24 bits beside it.
    Value(u64, u32),
    /// A handle, which is ours now, and 24 bits beside it.
    Handle(Fd, u32),
}

/// Messages to this thread. Those of one sender come in their order.
#[derive(Debug)]
pub struct Inbox {
    number: usize,
    stays: PhantomData<*const ()>,
}

#[derive(Default)]
struct Letters {
    came: VecDeque<Message>,
    waiter: Option<Waker>,
    /// Something came, or nothing can come any more, and the waiter was not told.
    stirred: bool,
    /// A completion may come for it.
    is_open: bool,
}

/// All inboxes of a thread.
pub(crate) struct Mail(RefCell<Vec<Letters>>, Cell<u32>);

impl Mail {
    /// No inboxes.
    pub(crate) fn new() -> Mail {
        Mail(RefCell::new(Vec::new()), Cell::new(0))
    }

    /// Files what has come. `false`: it is no message.
    pub(crate) fn take(&self, tag: u32, answer: Answer) -> bool {
        let flags = CqeFlags::from_bits_retain(answer.head as u8);
        let mut all = self.0.borrow_mut();
        let letters = all.get_mut(tag.wrapping_sub(FIRST) as usize);
        let Some(letters) = letters.filter(|_| flags.contains(CqeFlags::MESSAGE)) else { return false };
        let message = if flags.contains(CqeFlags::HANDLE) {
            Message::Handle(Fd(answer.result), answer.extra())
        } else {
            Message::Value(answer.result, answer.extra())
        };
        letters.came.push_back(message);
        letters.stirred = true;
        true
    }

    /// Wakes who waits for what has come.
    pub(crate) fn wake(&self) {
        let mut at = 0;
        while let Some(waker) = self.next_stirred(&mut at) {
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// The next inbox with news, from `at` on, and who waits for it. Nothing is borrowed when that one is woken.
    fn next_stirred(&self, at: &mut usize) -> Option<Option<Waker>> {
        let mut all = self.0.borrow_mut();
        while let Some(letters) = all.get_mut(*at) {
            *at = at.wrapping_add(1);
            if core::mem::take(&mut letters.stirred) {
                return Some(letters.waiter.take());
            }
        }
        None
    }

    /// Whether a message may come.
    pub(crate) fn is_open(&self) -> bool {
        self.1.get() != 0
    }

    /// Forgets all inboxes. None may be open.
    pub(crate) fn retire(&self) {
        // Nothing is borrowed while they are dropped.
        drop(self.0.take());
    }

    /// No message can come any more; how many inboxes were open for one.
    pub(crate) fn end(&self) -> u32 {
        for letters in self.0.borrow_mut().iter_mut().filter(|letters| letters.is_open) {
            letters.is_open = false;
            letters.stirred = true;
        }
        self.1.replace(0)
    }

    fn open(&self) -> Result<usize, Errno> {
        let mut all = self.0.borrow_mut();
        let number = all.len();
        if number >= MOST {
            return Err(Errno::MFILE);
        }
        all.push(Letters { is_open: true, ..Letters::default() });
        self.1.set(self.1.get().wrapping_add(1));
        Ok(number)
    }

    /// Nobody asks for these messages any more: those that have come, and whether more might.
    fn close(&self, number: usize) -> (VecDeque<Message>, bool) {
        let mut all = self.0.borrow_mut();
        let Some(letters) = all.get_mut(number) else { return (VecDeque::new(), false) };
        let letters = core::mem::take(letters);
        if letters.is_open {
            self.1.set(self.1.get().saturating_sub(1));
        }
        (letters.came, letters.is_open)
    }

    fn poll(&self, number: usize, cx: &Context<'_>) -> Poll<Option<Message>> {
        let mut all = self.0.borrow_mut();
        let Some(letters) = all.get_mut(number) else { return Poll::Ready(None) };
        if let Some(message) = letters.came.pop_front() {
            return Poll::Ready(Some(message));
        }
        if !letters.is_open {
            return Poll::Ready(None);
        }
        letters.waiter = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Inbox {
    /// Opens an inbox of this thread: it, and a handle for those who are to send to it. It is open as long as somebody has
    /// that handle or a copy; closing the own one after it was passed on lets [`next`](Self::next) see the end.
    ///
    /// While it is open the thread's ring stays as it is ([`resize`](super::resize) is `EBUSY`).
    pub fn open() -> Result<(Inbox, Fd), Errno> {
        let local = local();
        local.try_part()?;
        let number = local.mail.open()?;
        let inbox = Inbox { number, stays: PhantomData };
        local.slots.discard(); // a completion may come
        let door = message::ring_handle(FIRST.wrapping_add(number as u32)).wait()?;
        Ok((inbox, door))
    }

    /// The next message; `None` if there is none and nobody can send one any more.
    pub async fn next(&mut self) -> Option<Message> {
        poll_fn(|cx| local().mail.poll(self.number, cx)).await
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let local = local();
        let (unread, was_open) = local.mail.close(self.number);
        if was_open {
            local.slots.discarded();
        }
        for message in unread {
            if let Message::Handle(fd, _) = message {
                // One that is closed already is no loss.
                let _ = handle::close(fd).wait();
            }
        }
    }
}
