//! The arguments of `ring_enter`, the only system call.
//!
//! `rax` is [`RING_ENTER`] plus the number of the ring among those of the context, `rsi` a [`Control`], `rdx` the
//! deadline if there is one. What comes back in `rax` is zero or the negative of an error number; what a C function keeps is
//! kept, and every other register comes back as zero.
#![forbid(unsafe_code)]

/// Number of the only system call, for the first ring of a context.
///
/// It lies outside every Redox system-call class (bits 28 to 31 are the class there, and class 7 is not in use), so a
/// program that makes an old-style call is never mistaken for one that enters a ring.
pub const RING_ENTER: u64 = 0x7000_0000;

/// Number of rings that a context can have.
pub const RINGS: usize = 4;

/// Flag: wait until `min_complete` completions are there to be taken.
pub const COMPLETIONS: u64 = 1;
/// Flag: wait until at least one request of a client is there to be taken.
pub const REQUESTS: u64 = 1 << 1;
/// Flag: the replies of a ring that serves are left where they are. A thread without a scheme always says so.
pub const NO_REPLIES: u64 = 1 << 2;
/// Flag: the wait ends at a deadline.
pub const DEADLINE: u64 = 1 << 3;
/// Flag: the wait also ends, with `EINTR`, when a signal is pending that is not masked. One that is pending before ends it
/// at once, unless what is waited for is there. Pending are the signals in [`crate::layout::word::SIGNALS`] of the context's
/// first ring, masked those in its [`crate::layout::word::MASK`].
pub const SIGNALS: u64 = 1 << 4;
/// Flag, with [`SIGNALS`]: for this wait alone the mask is [`crate::layout::word::WAIT_MASK`] of the ring that is entered.
/// There is no moment between the change of the mask and the wait.
pub const MASK: u64 = 1 << 5;
/// Flag, with [`COMPLETIONS`]: from the time in [`crate::layout::word::RELENT_AT`] of the ring on, absolute nanoseconds of the
/// monotonic clock, one completion is enough. The deadline, if there is one, still ends the wait.
pub const RELENT: u64 = 1 << 6;
/// The flags of usual entries.
pub const PLAIN: u64 = COMPLETIONS | REQUESTS | NO_REPLIES | DEADLINE;
/// All flags that exist.
pub const ALL: u64 = PLAIN | SIGNALS | MASK | RELENT;

/// A deadline that never comes; deadlines are absolute nanoseconds of the monotonic clock.
pub const NO_DEADLINE: u64 = u64::MAX;

/// The greatest number of submissions or completions that a [`Control`] can name: for submissions it means all.
pub const MOST: u64 = (1 << COUNT_BITS) - 1;

/// Bits of each of the two numbers.
const COUNT_BITS: u32 = 24;

/// What an entry takes and what ends its wait, in one word, so that the kernel knows the usual ones by one compare.
///
/// Bits 0 to 23 are `min_complete`, bits 24 to 47 `to_submit`, the rest flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control(pub u64);

impl Control {
    /// A blocking call: all submissions go, and one completion is waited for.
    pub const CALL: Control = Control::new(MOST, 1, COMPLETIONS | NO_REPLIES);
    /// A server that has no submissions of its own: all replies go, and requests are waited for.
    pub const SERVE: Control = Control::new(0, 0, REQUESTS);

    /// Takes so many submissions at most, and waits as the flags say, with so many completions as enough. Greater numbers
    /// than [`MOST`] count as that.
    #[inline(always)]
    pub const fn new(to_submit: u64, min_complete: u64, flags: u64) -> Control {
        Control(least(min_complete) | least(to_submit) << COUNT_BITS | flags << (2 * COUNT_BITS))
    }

    /// Greatest number of submissions to take.
    #[inline(always)]
    pub const fn to_submit(self) -> u64 {
        self.0 >> COUNT_BITS & MOST
    }

    /// Completions that end the wait.
    #[inline(always)]
    pub const fn min_complete(self) -> u64 {
        self.0 & MOST
    }

    /// The flags.
    #[inline(always)]
    pub const fn flags(self) -> u64 {
        self.0 >> (2 * COUNT_BITS)
    }
}

#[inline(always)]
const fn least(number: u64) -> u64 {
    if number < MOST { number } else { MOST }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_says_what_it_was_made_of() {
        for to_submit in [0, 1, 4096, MOST - 1, MOST, u64::MAX] {
            for min_complete in [0, 1, 8192, MOST - 1, MOST, u64::MAX] {
                for flags in 0..=ALL {
                    let control = Control::new(to_submit, min_complete, flags);
                    assert_eq!(control.to_submit(), to_submit.min(MOST));
                    assert_eq!(control.min_complete(), min_complete.min(MOST));
                    assert_eq!(control.flags(), flags);
                }
            }
        }
    }
}
