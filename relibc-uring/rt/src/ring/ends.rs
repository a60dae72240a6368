//! This program's ends of one ring: submissions go in, completions come out, and with a service pair
//! requests come out and replies go in.
#![forbid(unsafe_code)]

use crate::ring::polled::{self, POLLED};
use crate::ring::settled;
use crate::ring::slots::Answer;
use crate::trap::{self, Enter};
use core::cell::Cell;
use core::sync::atomic::Ordering::Relaxed;
use ring_abi::enter::{self, Control};
use ring_abi::layout::Sizes;
use ring_abi::map::{Ring, Settled};
use ring_abi::ring::{Consumer, Producer, PushError};

/// The flag that leaves replies alone, for a ring that has none.
#[inline(always)]
const fn leaves(sizes: Sizes) -> u64 {
    if sizes.service.is_none() { enter::NO_REPLIES } else { 0 }
}

/// No room in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// The ends of one ring.
pub(crate) struct Ends {
    /// The system call that enters the ring.
    call: u64,
    /// The usual blocking call.
    usual: Control,
    pub(crate) sizes: Sizes,
    pub(crate) ring: Ring,
    pub(crate) sq: Producer,
    pub(crate) cq: Consumer,
    pub(crate) requests: Consumer,
    /// Flags that every entry has, and [`POLLED`](super::polled::POLLED) while the kernel may look after the ring by itself.
    always: Cell<u64>,
}

impl Ends {
    /// The ends of a fresh ring.
    pub(crate) fn new(number: u64, ring: Ring, sizes: Sizes) -> Ends {
        Ends {
            call: enter::RING_ENTER.wrapping_add(number),
            usual: Control::new(enter::MOST, 1, enter::COMPLETIONS | leaves(sizes)),
            sizes,
            ring,
            sq: Producer::new(),
            cq: Consumer::new(),
            requests: Consumer::new(),
            always: Cell::new(leaves(sizes)),
        }
    }

    /// The ring's number among those of this context.
    pub(crate) fn number(&self) -> u64 {
        self.call.wrapping_sub(enter::RING_ENTER)
    }

    /// Pushes the first `words` words of an entry, and shows them to the kernel.
    #[inline(always)]
    pub(crate) fn push(&self, entry: [u64; 8], words: usize) -> Result<(), Full> {
        let queue = self.ring.sq();
        self.sq.push_first(&queue, entry, words).map_err(full)?;
        self.sq.publish(&queue);
        Ok(())
    }

    /// How many entries fit now.
    #[inline(always)]
    pub(crate) fn free_entries(&self) -> u32 {
        let Ok(room) = self.sq.refresh(&self.ring.sq()) else { corrupt() };
        room
    }

    /// Pushes the first `words` words of an entry for which there is room. The kernel sees it after [`show`](Self::show).
    #[inline(always)]
    pub(crate) fn fill(&self, entry: [u64; 8], words: usize) {
        if self.sq.push_first(&self.ring.sq(), entry, words).is_err() {
            corrupt();
        }
    }

    /// Shows the kernel what was filled.
    #[inline(always)]
    pub(crate) fn show(&self) {
        self.sq.publish(&self.ring.sq());
    }

    /// Pushes an entry for each item, as far as there is room, and shows them to the kernel; how many.
    #[inline(always)]
    pub(crate) fn push_many<T>(
        &self,
        words: usize,
        items: &mut [T],
        entry: impl FnMut(&mut T) -> [u64; 8],
    ) -> u32 {
        let queue = self.ring.sq();
        let Ok(pushed) = self.sq.push_many(&queue, words, items, entry) else { corrupt() };
        self.sq.publish(&queue);
        pushed
    }

    /// Enters the kernel and waits for a completion.
    #[inline(always)]
    pub(crate) fn enter(&self) -> u64 {
        trap::enter(Enter { call: self.call, control: self.usual })
    }

    /// Enters the kernel and waits as `flags` say, with `min_complete` completions as enough.
    #[inline(always)]
    pub(crate) fn enter_with(&self, min_complete: u64, flags: u64) -> u64 {
        let always = self.always.get();
        if always & POLLED != 0 {
            return polled::enter(self, min_complete, flags);
        }
        let control = Control::new(enter::MOST, min_complete, flags | always);
        trap::enter(Enter { call: self.call, control })
    }

    /// The same, and the kernel is really entered.
    #[cold]
    pub(crate) fn trap(&self, min_complete: u64, flags: u64) -> u64 {
        let control = Control::new(enter::MOST, min_complete, flags | leaves(self.sizes));
        trap::enter(Enter { call: self.call, control })
    }

    /// From now on the kernel may look after the ring by itself, or not.
    pub(crate) fn set_polled(&self, polled: bool) {
        self.always.set(leaves(self.sizes) | if polled { POLLED } else { 0 });
    }

    /// Whether it may.
    pub(crate) fn is_polled(&self) -> bool {
        self.always.get() & POLLED != 0
    }

    /// Enters the kernel and waits for a request, with nothing of this thread's own in flight.
    #[inline(always)]
    pub(crate) fn serve(&self) -> u64 {
        trap::enter(Enter { call: self.call, control: Control::SERVE })
    }

    /// The result of the oldest completion, if it is the only one and a blocking call's: the usual end of one,
    /// without a loop.
    #[inline(always)]
    pub(crate) fn take_only(&self) -> Option<Answer> {
        let queue = self.ring.cq();
        if self.cq.ready(&queue) != Ok(1) {
            return None;
        }
        let entry = self.cq.peek(&queue, 0);
        let head = entry.load(0);
        if (head as i64) >= 0 {
            // Not a tag from `BLOCKING` up.
            return None;
        }
        let result = entry.load(1);
        self.cq.advance(1);
        self.cq.publish(&queue);
        Some(Answer { head: head as u32, result })
    }

    /// Takes every completion that is there: `each` gets its tag and the answer.
    #[inline(always)]
    pub(crate) fn reap(&self, mut each: impl FnMut(u32, Answer)) -> u32 {
        self.reap_words(|head, result| each((head >> 32) as u32, Answer { head: head as u32, result }))
    }

    /// The same: `each` gets the two words of the entry.
    #[inline(always)]
    pub(crate) fn reap_words(&self, mut each: impl FnMut(u64, u64)) -> u32 {
        let queue = self.ring.cq();
        if self.cq.is_empty(&queue) {
            return 0;
        }
        let Ok(ready) = self.cq.ready(&queue) else { corrupt() };
        let mut index = self.cq.position();
        let end = index.wrapping_add(ready);
        while index != end {
            let entries = queue.stretch(index, end.wrapping_sub(index));
            for entry in entries {
                let [head, result] = entry.each_ref().map(|word| word.load(Relaxed));
                each(head, result);
            }
            index = index.wrapping_add(entries.len() as u32);
        }
        self.cq.advance(ready);
        self.cq.publish(&queue);
        ready
    }

    /// How many requests of clients are there to be taken.
    #[inline(always)]
    pub(crate) fn waiting_requests(&self) -> u32 {
        let Some(queue) = self.ring.requests() else { return 0 };
        let Ok(ready) = self.requests.ready(&queue) else { corrupt() };
        ready
    }

    /// How many completions are there to be taken.
    pub(crate) fn waiting_completions(&self) -> u64 {
        let Ok(ready) = self.cq.ready(&self.ring.cq()) else { corrupt() };
        u64::from(ready)
    }

    /// Shows every request that is there: the position behind them, up to which they are to be taken off.
    ///
    /// The kernel's index is believed: a wrong one would show what stands in the queue, which is all that can be shown.
    #[inline(always)]
    pub(crate) fn show_requests(&self, mut each: impl FnMut(Settled<'_>)) -> u32 {
        let queue = self.ring.service_requests();
        let end = self.requests.end(&queue);
        let mut at = self.requests.position();
        while at != end {
            settled::show(&queue, at, &mut each);
            at = at.wrapping_add(1);
        }
        at
    }

    /// Takes requests off that were shown.
    #[inline(always)]
    pub(crate) fn take_requests(&self, end: u32) {
        self.requests.move_to(end);
        self.requests.publish(&self.ring.service_requests());
    }

    /// Takes the oldest request alone.
    pub(crate) fn take_request(&self) -> Option<[u64; 8]> {
        let Ok(entry) = self.requests.pop(&self.ring.requests()?) else { corrupt() };
        entry
    }

    /// Whether the kernel has taken every entry.
    pub(crate) fn sq_is_taken(&self) -> bool {
        self.sq.untaken(&self.ring.sq()) == Ok(0)
    }

    /// Places of the CQ.
    #[inline(always)]
    pub(crate) fn most_completions(&self) -> u32 {
        self.ring.cq().capacity()
    }

    /// Number of operations that may be awaited at once: all CQ places but the one of blocking calls.
    pub(crate) fn most_awaited(&self) -> usize {
        self.sizes.cq_entries().saturating_sub(1)
    }
}

#[cold]
pub(crate) fn full(error: PushError) -> Full {
    match error {
        PushError::Full => Full,
        PushError::Corrupt => corrupt(),
    }
}

/// The kernel's index cannot be. Nothing that it says can be trusted any more.
#[cold]
pub(crate) fn corrupt() -> ! {
    panic!("the kernel wrote an index into the ring that cannot be");
}
