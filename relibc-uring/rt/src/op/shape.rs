//! What all operations have in common: an entry that asks, and an answer that is made sense of.
//!
//! This is the one place where an entry that names memory goes into a ring. [`Operation`] is sealed, so the
//! promise below is kept by the files of this folder alone.
#![allow(unsafe_code, reason = "an entry in a ring makes the kernel write to memory")]

use super::chain::Links;
use crate::ring::ends::Ends;
use crate::ring::local::{BLOCKING, Crowded, Local};
use crate::ring::slots::{Answer, Gather};
use ring_abi::opcode::Origin;
use ring_abi::{Opcode, Sqe, SqeFlags, args};

/// An operation of the kernel or of a daemon.
///
/// Its entry names only memory that the operation owns or borrows through an
/// [`IoBuf`](crate::ring::IoBuf), or memory that its caller promised (then making it is `unsafe`).
pub trait Operation: sealed::Sealed + Unpin {
    /// What comes of it.
    type Output;
    /// The opcode.
    #[doc(hidden)]
    const OPCODE: Opcode;
    /// The result is a handle, which must be closed if nobody takes it.
    #[doc(hidden)]
    const MAKES_HANDLE: bool = false;
    /// The answer is more than its result.
    #[doc(hidden)]
    const NEEDS_EXTRA: bool = false;
    /// The entry, without a tag.
    #[doc(hidden)]
    fn entry(&mut self) -> Sqe;
    /// Makes sense of the answer.
    #[doc(hidden)]
    fn finish(self, answer: Answer) -> Self::Output;
}

/// An operation that completes more than once; what is said of an [`Operation`] holds.
pub trait Shots: sealed::Sealed + Unpin {
    /// What each completion brings.
    type Item;
    /// The opcode.
    #[doc(hidden)]
    const OPCODE: Opcode;
    /// Each result is a handle, which must be closed if nobody takes it.
    #[doc(hidden)]
    const MAKES_HANDLE: bool = false;
    /// What becomes of completions that nobody has looked at when the next one comes.
    #[doc(hidden)]
    const GATHER: Gather;
    /// The entry, without a tag and flags.
    #[doc(hidden)]
    fn entry(&mut self) -> Sqe;
    /// Makes sense of an answer.
    #[doc(hidden)]
    fn item(&self, answer: Answer) -> Self::Item;
}

pub(crate) mod sealed {
    /// Keeps other crates from naming memory that is not theirs.
    pub trait Sealed {}
}

/// Words of an operation's entry that have a meaning. What is forwarded is forwarded whole, but for the last
/// two words, which the kernel fills; of a read the kernel looks at no more than it needs.
#[expect(clippy::arithmetic_side_effects, reason = "small numbers, at compile time")]
const fn words(opcode: Opcode) -> usize {
    if matches!(opcode.origin(), Origin::Forwarded) && !matches!(opcode, Opcode::Read) {
        return 6;
    }
    let fields = args::fields(opcode);
    let mut words = 1;
    let mut index = 0;
    while let Some((_, (_, place))) = at(fields, index) {
        if place + 2 > words {
            words = place + 2;
        }
        index += 1;
    }
    words
}

/// Element `index`, in a constant.
#[expect(clippy::indexing_slicing, reason = "the index was compared, at compile time")]
const fn at<T: Copy>(list: &[T], index: usize) -> Option<(usize, T)> {
    if index < list.len() { Some((index, list[index])) } else { None }
}

/// Does an operation and waits for it.
#[inline(always)]
pub(super) fn call<O: Operation>(local: &Local, asked: &mut O) -> Answer {
    let entry = asked.entry().to_words();
    // SAFETY: the entry names memory that `asked` owns, borrows, or was promised; it outlives this call.
    unsafe { local.call(entry, const { words(O::OPCODE) }) }
}

/// Starts an operation; its slot.
#[inline(always)]
pub(super) fn begin<O: Operation + 'static>(local: &Local, asked: &mut O) -> Result<u32, Crowded> {
    let entry = asked.entry().to_words();
    // SAFETY: `Op` keeps `asked` until the answer is there or hands it to the slot, which does so; a leaked `Op`
    // leaks it. What an `IoBuf` owns stays where it is, and `'static` borrows outlive everything.
    let slot = unsafe { local.begin(entry, const { words(O::OPCODE) }) }?;
    if let Some(record) = local.slots.get(slot) {
        record.makes_handle.set(O::MAKES_HANDLE);
    }
    Ok(slot)
}

/// Starts an operation with more than one completion; its slot.
pub(super) fn begin_shots<S: Shots + 'static>(local: &Local, asked: &mut S) -> Result<u32, Crowded> {
    let entry = asked.entry().with_flags(SqeFlags::MULTISHOT).to_words();
    // SAFETY: as for `begin`; the memory is kept until the last answer is there.
    let slot = unsafe { local.begin(entry, const { words(S::OPCODE) }) }?;
    if let Some(record) = local.slots.get(slot) {
        record.makes_handle.set(S::MAKES_HANDLE);
        record.gather.set(S::GATHER);
    }
    Ok(slot)
}

/// Does many operations of one kind and waits for all; there is a place in `answers` for each.
#[inline(always)]
pub(super) fn call_all<O: Operation, T: From<Answer>>(local: &Local, all: &mut [O], answers: &mut [T]) {
    assert!(all.len() == answers.len(), "an answer for each operation");
    // SAFETY: as for `call`; `call_all` returns when every answer is there.
    unsafe { local.call_all(const { words(O::OPCODE) }, all, |asked| asked.entry().to_words(), answers) }
}

/// Puts the operations of one chain into a ring.
pub struct Filler<'a> {
    ends: &'a Ends,
}

impl Filler<'_> {
    /// Puts an operation into the ring, as the one of this number of the chain.
    #[inline(always)]
    pub(super) fn fill<O: Operation>(&self, asked: &mut O, flags: SqeFlags, number: usize) {
        let entry = Sqe { tag: BLOCKING.wrapping_add(number as u32), ..asked.entry() }.with_flags(flags);
        self.ends.fill(entry.to_words(), const { words(O::OPCODE) });
    }
}

/// Does the operations of a chain, and waits for all; there is a place in `answers` for each.
#[inline(always)]
pub(super) fn call_chain<L: Links>(local: &Local, links: &mut L, answers: &mut [Answer]) {
    // SAFETY: as for `call`; `call_chain` returns when every answer is there.
    unsafe { local.call_chain(answers, |ends| links.fill(&Filler { ends })) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_as_long_as_its_arguments() {
        assert_eq!(words(Opcode::Nop), 1);
        assert_eq!(words(Opcode::Map), 5);
        assert_eq!(words(Opcode::ContextCreate), 7);
        assert_eq!(words(Opcode::Read), 5);
        assert_eq!(words(Opcode::Write), 6);
    }
}
