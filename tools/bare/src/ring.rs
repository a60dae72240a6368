//! The program's ends of a ring, entry by entry, without slots, tasks or buffers.
#![allow(unsafe_code, reason = "the instruction that enters the kernel, and a ring given by address")]

use core::ptr::{self, NonNull};
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::Relaxed;
use ring_abi::enter::{self, Control};
use ring_abi::layout::{Sizes, word};
use ring_abi::ring::{Consumer, Doorbell, Producer, PushError};
use ring_abi::{Cqe, Errno, Sqe, errno, map};

/// The program's ends of one ring.
pub struct Ring {
    number: u64,
    memory: map::Ring,
    sq: Producer,
    cq: Consumer,
    requests: Consumer,
    replies: Producer,
}

impl Ring {
    /// The fresh ring at an address, which is this context's under `number`. `None` if there is no ring there.
    ///
    /// # Safety
    ///
    /// The kernel must have made a ring at `address` that nobody else uses.
    pub unsafe fn at(address: u64, number: u64) -> Option<Ring> {
        let base = NonNull::new(ptr::with_exposed_provenance_mut::<u8>(address as usize))?;
        // SAFETY: our caller's promise; the smallest ring is a part of every one.
        let header = unsafe { map::Ring::from_raw(base, Sizes::SMALLEST) };
        let sizes = Sizes::unpack(header.header(word::SIZES).load(Relaxed))?;
        // SAFETY: our caller's promise, and the kernel's word for the sizes.
        let memory = unsafe { map::Ring::from_raw(base, sizes) };
        let (sq, cq) = (Producer::new(), Consumer::new());
        Some(Ring { number, memory, sq, cq, requests: Consumer::new(), replies: Producer::new() })
    }

    /// The ring's memory, to one who knows its sizes. Other sizes than its own are a mistake.
    pub(crate) fn view(&self, sizes: Sizes) -> map::Ring {
        assert!(self.header(word::SIZES).load(Relaxed) == sizes.packed(), "a ring of these sizes");
        let base = NonNull::new(ptr::with_exposed_provenance_mut(self.memory.address()));
        let Some(base) = base else { crate::mischief::stop() };
        // SAFETY: it is the ring that this is the end of, and these are its sizes.
        unsafe { map::Ring::from_raw(base, sizes) }
    }

    /// Writes an entry. The kernel sees it after [`enter`](Self::enter).
    ///
    /// What an entry makes the kernel do to this program's memory is up to its author, as in an `unsafe` block.
    #[inline(always)]
    pub fn push(&self, entry: Sqe) -> Result<(), PushError> {
        self.push_words(entry.to_words())
    }

    /// Writes an entry as words, which need not be one.
    #[inline(always)]
    pub fn push_words(&self, words: [u64; 8]) -> Result<(), PushError> {
        self.sq.push(&self.memory.sq(), words)
    }

    /// Writes the first words of an entry whose others have no meaning.
    #[inline(always)]
    pub fn push_first(&self, entry: Sqe, count: usize) -> Result<(), PushError> {
        self.sq.push_first(&self.memory.sq(), entry.to_words(), count)
    }

    /// Takes all completions that are there without a look at them.
    #[inline(always)]
    pub fn drop_all(&self) {
        let queue = self.memory.cq();
        if let Ok(ready) = self.cq.ready(&queue) {
            self.cq.advance(ready);
            self.cq.publish(&queue);
        }
    }

    /// Takes the oldest completion.
    #[inline(always)]
    pub fn pop(&self) -> Option<Cqe> {
        self.cq.pop(&self.memory.cq()).ok().flatten().map(Cqe::from_words)
    }

    /// Shows what was written, enters the kernel, and waits for so many completions at least.
    #[inline(always)]
    pub fn enter(&self, min_complete: u64) -> u64 {
        self.sq.publish(&self.memory.sq());
        let flags = if min_complete == 0 { 0 } else { enter::COMPLETIONS };
        trap(self.number, u64::from(u32::MAX), min_complete, flags, enter::NO_DEADLINE)
    }

    /// Shows what was written, enters the kernel as a blocking call does, and waits for one completion.
    #[inline(always)]
    pub fn enter_for_one(&self) -> u64 {
        self.sq.publish(&self.memory.sq());
        enter_as(self.number, Control::CALL, enter::NO_DEADLINE)
    }

    /// Shows what was written, for a ring that is polled: whether the kernel must be entered for it.
    #[inline(always)]
    pub fn show(&self) -> bool {
        self.sq.publish_and_look(&self.memory.sq()) == Doorbell::Ring
    }

    /// The same for replies that were written.
    pub fn show_replies_quietly(&self) -> bool {
        let replies = self.memory.replies();
        replies.is_some_and(|queue| self.replies.publish_and_look(&queue) == Doorbell::Ring)
    }

    /// Takes a client's request, as words, if one is there.
    pub fn take_request(&self) -> Result<Option<[u64; 8]>, Errno> {
        let queue = self.memory.requests().ok_or(Errno::INVAL)?;
        self.requests.pop(&queue).map_err(|_| Errno::IO)
    }

    /// Enters the kernel with any arguments: submissions to take, completions to wait for, flags, deadline.
    pub fn enter_with(
        &self,
        to_submit: u64,
        min_complete: u64,
        flags: u64,
        deadline: u64,
    ) -> Result<(), Errno> {
        self.sq.publish(&self.memory.sq());
        errno::demux(trap(self.number, to_submit, min_complete, flags, deadline)).map(|_| ())
    }

    /// Does one operation and waits for its completion; all others that come are dropped.
    #[inline(always)]
    pub fn call(&self, entry: Sqe) -> Result<u64, Errno> {
        self.complete(entry).and_then(|entry| entry.result())
    }

    /// Does one operation and gives its whole completion. `EAGAIN` if it does not go into the ring.
    #[inline(always)]
    pub fn complete(&self, entry: Sqe) -> Result<Cqe, Errno> {
        self.push(entry).map_err(|_| Errno::AGAIN)?;
        loop {
            errno::demux(self.enter(1))?;
            while let Some(completion) = self.pop() {
                if completion.tag == entry.tag {
                    return Ok(completion);
                }
            }
        }
    }

    /// Waits for a client's request and takes it, as words. Replies that were written go out.
    pub fn request(&self) -> Result<[u64; 8], Errno> {
        let queue = self.memory.requests().ok_or(Errno::INVAL)?;
        loop {
            if let Some(words) = self.requests.pop(&queue).map_err(|_| Errno::IO)? {
                return Ok(words);
            }
            self.show_replies();
            self.enter_with(0, 0, enter::REQUESTS, enter::NO_DEADLINE)?;
        }
    }

    /// Writes a reply, which need not be one. The kernel sees it at the next entry.
    pub fn reply(&self, entry: Cqe) -> Result<(), Errno> {
        let queue = self.memory.replies().ok_or(Errno::INVAL)?;
        self.replies.push(&queue, entry.to_words()).map_err(|_| Errno::AGAIN)?;
        self.show_replies();
        Ok(())
    }

    fn show_replies(&self) {
        if let Some(queue) = self.memory.replies() {
            self.replies.publish(&queue);
        }
    }

    /// A word of the shared header, see [`ring_abi::layout::word`].
    pub fn header(&self, index: usize) -> &AtomicU32 {
        self.memory.header(index)
    }

    /// The ring's sizes.
    pub fn capacity(&self) -> (u32, u32) {
        (self.memory.sq().capacity(), self.memory.cq().capacity())
    }

    /// Its number among this context's rings.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// A further ring of this context.
    pub fn create(&self, sizes: Sizes) -> Result<Ring, Errno> {
        let place = self.call(ring_abi::args::RingCreate { sizes: sizes.packed() }.encode(u32::MAX))?;
        // SAFETY: the kernel made this ring for us just now: its address, with its number in the low bits.
        unsafe { Ring::at(place & !63, place & 63) }.ok_or(Errno::IO)
    }
}

/// Enters a ring of this context by its number alone, without submissions and without waiting.
pub fn enter_number(number: u64) -> Result<u64, Errno> {
    errno::demux(trap(number, 0, 0, 0, enter::NO_DEADLINE))
}

/// Enters a ring of this context by its number alone: all that the header says is there is submitted, and so many
/// completions are waited for. For indices that were written by hand.
pub fn enter_number_with(number: u64, min_complete: u64) -> u64 {
    let flags = if min_complete == 0 { 0 } else { enter::COMPLETIONS };
    trap(number, u64::from(u32::MAX), min_complete, flags, enter::NO_DEADLINE)
}

/// Enters the kernel with all replies, and waits for requests. `call` is [`enter::RING_ENTER`] plus the ring's number.
#[cfg(target_os = "redox")]
#[inline(always)]
pub(crate) fn serve(call: u64) -> u64 {
    let result;
    // SAFETY: as in `trap`.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") call => result,
            in("rsi") Control::SERVE.0,
            clobber_abi("C"),
            options(nostack),
        );
    }
    result
}

/// On a host there is no kernel to enter.
#[cfg(not(target_os = "redox"))]
pub(crate) fn serve(_: u64) -> u64 {
    Errno::NOSYS.to_result()
}

/// Enters the kernel. A deadline that can come brings its flag.
#[inline(always)]
pub(crate) fn trap(ring: u64, to_submit: u64, min_complete: u64, flags: u64, deadline: u64) -> u64 {
    let timed = if deadline == enter::NO_DEADLINE { 0 } else { enter::DEADLINE };
    enter_as(ring, Control::new(to_submit, min_complete, flags | timed), deadline)
}

/// The same, with everything in one word.
#[cfg(target_os = "redox")]
#[inline(always)]
fn enter_as(ring: u64, control: Control, deadline: u64) -> u64 {
    let result;
    // SAFETY: `ring_enter` keeps the stack and the registers that the C convention keeps, and writes to memory
    // only as the entries of the ring say.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") enter::RING_ENTER.wrapping_add(ring) => result,
            in("rsi") control.0,
            in("rdx") deadline,
            clobber_abi("C"),
            options(nostack),
        );
    }
    result
}

/// On a host there is no kernel to enter.
#[cfg(not(target_os = "redox"))]
fn enter_as(_: u64, _: Control, _: u64) -> u64 {
    Errno::NOSYS.to_result()
}
