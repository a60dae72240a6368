//! Chains: operations that start one after the other and go to the kernel as one submission.
//!
//! ```ignore
//! let number = reserve(None).wait()?;
//! let ((opened, read), closed) = chain(open_at(Fd::CURRENT, path, O_RDONLY).placed(number))
//!     .then(read(number, buffer, At::Offset(0)))
//!     .always(close(number))
//!     .wait();
//! ```
#![forbid(unsafe_code)]

use super::batch::unsent;
use super::shape::sealed::Sealed;
use super::shape::{self, Filler};
use super::{Fd, Op, Operation};
use crate::ring::current::local;
use crate::ring::slots::Answer;
use ring_abi::{Opcode, Sqe, SqeFlags};

/// Operations of a chain at most: as many as the smallest ring takes.
const MOST: usize = 8;

/// Operations that start one after the other. Outputs come as nested pairs, the last one outermost.
#[must_use = "a chain does nothing until it is waited for"]
pub struct Chain<L> {
    links: L,
}

/// One operation of a chain.
pub struct Link<O> {
    asked: O,
    flags: SqeFlags,
}

/// The operations of a chain.
pub trait Links: Sealed {
    /// What comes of them.
    type Outputs;
    /// How many they are.
    #[doc(hidden)]
    const COUNT: usize;
    /// Says when the one behind the last starts.
    #[doc(hidden)]
    fn link(&mut self, flags: SqeFlags);
    /// Puts them into the ring.
    #[doc(hidden)]
    fn fill(&mut self, ring: &Filler<'_>);
    /// Makes sense of their answers.
    #[doc(hidden)]
    fn finish(self, answers: &[Answer]) -> Self::Outputs;
}

impl<O> Sealed for Link<O> {}
impl<P, O> Sealed for (P, Link<O>) {}

impl<O: Operation> Links for Link<O> {
    type Outputs = O::Output;
    const COUNT: usize = 1;

    fn link(&mut self, flags: SqeFlags) {
        self.flags = flags;
    }

    #[inline(always)]
    fn fill(&mut self, ring: &Filler<'_>) {
        ring.fill(&mut self.asked, self.flags, 0);
    }

    #[inline(always)]
    fn finish(self, answers: &[Answer]) -> Self::Outputs {
        self.asked.finish(answers.first().copied().unwrap_or_default())
    }
}

impl<P: Links, O: Operation> Links for (P, Link<O>) {
    type Outputs = (P::Outputs, O::Output);
    const COUNT: usize = P::COUNT.wrapping_add(1);

    fn link(&mut self, flags: SqeFlags) {
        self.1.flags = flags;
    }

    #[inline(always)]
    fn fill(&mut self, ring: &Filler<'_>) {
        self.0.fill(ring);
        ring.fill(&mut self.1.asked, self.1.flags, P::COUNT);
    }

    #[inline(always)]
    fn finish(self, answers: &[Answer]) -> Self::Outputs {
        let last = answers.get(P::COUNT).copied().unwrap_or_default();
        (self.0.finish(answers), self.1.asked.finish(last))
    }
}

/// Begins a chain. Of this operation and all that follow, none may have been submitted.
pub fn chain<O: Operation>(first: Op<O>) -> Chain<Link<O>> {
    Chain { links: link(first) }
}

fn link<O: Operation>(op: Op<O>) -> Link<O> {
    let Some(asked) = unsent(op) else { panic!("an operation of a chain has ended already") };
    Link { asked, flags: SqeFlags::empty() }
}

impl<L: Links> Chain<L> {
    /// The next operation starts when the last one has succeeded, and otherwise ends with `ECANCELED`, as all that follow. A
    /// read or write that moves fewer bytes than its buffer has counts as failed here.
    #[inline(always)]
    pub fn then<O: Operation>(self, next: Op<O>) -> Chain<(L, Link<O>)> {
        self.linked(next, SqeFlags::LINK)
    }

    /// The next operation starts when the last one has ended, however. (If that was not started because of a failure before
    /// it, this one is not either.)
    #[inline(always)]
    pub fn always<O: Operation>(self, next: Op<O>) -> Chain<(L, Link<O>)> {
        self.linked(next, SqeFlags::HARD_LINK)
    }

    #[inline(always)]
    fn linked<O: Operation>(mut self, next: Op<O>, flags: SqeFlags) -> Chain<(L, Link<O>)> {
        const { assert!(L::COUNT < MOST, "a longer chain does not fit every ring") };
        self.links.link(flags);
        Chain { links: (self.links, link(next)) }
    }

    /// Sends the chain and blocks this thread until all of it has ended. As with [`Op::wait`], buffers may be borrowed.
    #[inline(always)]
    pub fn wait(mut self) -> L::Outputs {
        let mut answers = [Answer::default(); MOST];
        let answers = answers.get_mut(..L::COUNT).unwrap_or_default();
        shape::call_chain(local(), &mut self.links, answers);
        self.links.finish(answers)
    }
}

/// An operation whose handle goes under a reserved number.
pub struct Placed<O> {
    asked: O,
    at: Fd,
}

impl<O: Operation> Op<O> {
    /// Puts the handle that it makes under a number that was [reserved](super::handle::reserve).
    pub fn placed(self, at: Fd) -> Op<Placed<O>> {
        const { assert!(O::OPCODE.makes_handle(), "only what makes a handle can say where it goes") };
        match unsent(self) {
            Some(asked) => Op::new(Placed { asked, at }),
            None => panic!("an operation that has ended goes nowhere"),
        }
    }
}

impl<O> Sealed for Placed<O> {}

impl<O: Operation> Operation for Placed<O> {
    type Output = O::Output;
    const OPCODE: Opcode = O::OPCODE;
    const MAKES_HANDLE: bool = O::MAKES_HANDLE;
    const NEEDS_EXTRA: bool = O::NEEDS_EXTRA;

    fn entry(&mut self) -> Sqe {
        // No handle has a number that does not fit; the kernel says so.
        let group = u16::try_from(self.at.0.saturating_add(1)).unwrap_or(u16::MAX);
        Sqe { group, ..self.asked.entry() }
    }

    fn finish(self, answer: Answer) -> O::Output {
        self.asked.finish(answer)
    }
}
