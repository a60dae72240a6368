//! What programs and the process table say to each other over scheme `proc`.
//!
//! Every process holds one handle that stands for itself; it comes in the auxiliary vector. On it:
//!
//! | operation                  | meaning                                                            |
//! |----------------------------|--------------------------------------------------------------------|
//! | `Dup` with name `fork`     | a child, not started yet; its handle stands for the child          |
//! | `Sendfd` to a child        | here is its context; result: its process id. Then it may be started |
//! | `Call` with a [`Verb`]     | see there                                                          |
//! | `Close` of a child's handle before a context came | there is no child after all                 |
#![forbid(unsafe_code)]

use ring_abi::Errno;
use ring_abi::context::{End, Reason};

/// Name that makes a child with `Dup`.
pub const FORK: &[u8] = b"fork";
/// Bytes of the buffer of a `Call`: a word each way.
pub const CALL_BYTES: usize = 8;

/// What a `Call` on a process's handle asks for, in `args[3]`; `args[4]` is its argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Verb {
    /// Result: the process id.
    Id = 1,
    /// Result: the parent's process id.
    Parent = 2,
    /// Waits for a child to end. Argument: a packed [`Wait`]. Result: its process id, or zero where
    /// [`Wait::at_once`] found none; the buffer gets how it ended, see [`End::to_raw`].
    Wait = 3,
    /// Ends a process, all of a group, or nothing. Argument: low half a [`Target`], high half a signal.
    Kill = 4,
    /// Group of a process. Argument: its id, zero for the caller. Result: the group.
    Group = 5,
    /// Puts a process (low half, zero for the caller) into a group (high half, zero for its own).
    SetGroup = 6,
    /// Session of a process. Argument: its id, zero for the caller. Result: the session.
    Session = 7,
    /// Makes the caller the leader of a new session and group. Result: their number.
    NewSession = 8,
}

impl Verb {
    /// The verb of this number.
    pub const fn from_raw(raw: u64) -> Option<Verb> {
        Some(match raw {
            1 => Verb::Id,
            2 => Verb::Parent,
            3 => Verb::Wait,
            4 => Verb::Kill,
            5 => Verb::Group,
            6 => Verb::SetGroup,
            7 => Verb::Session,
            8 => Verb::NewSession,
            _ => return None,
        })
    }
}

/// Whom `waitpid` and `kill` mean, by the sign rules of POSIX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// -1: any child, or every process that the caller may signal.
    Any,
    /// 0: the caller's group.
    OwnGroup,
    /// Positive: one process.
    Process(u32),
    /// Below -1: a group.
    Group(u32),
}

impl Target {
    /// From C's `pid_t`.
    pub const fn from_raw(raw: i32) -> Target {
        match raw {
            -1 => Target::Any,
            0 => Target::OwnGroup,
            1.. => Target::Process(raw.unsigned_abs()),
            _ => Target::Group(raw.unsigned_abs()),
        }
    }

    /// As C's `pid_t`; a number above its range means nobody.
    pub const fn to_raw(self) -> i32 {
        match self {
            Target::Any => -1,
            Target::OwnGroup => 0,
            Target::Process(id) => id as i32 & i32::MAX,
            Target::Group(id) => (id as i32 & i32::MAX).wrapping_neg(),
        }
    }
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Which children.
    pub target: Target,
    /// Do not wait: answer zero if no child has ended.
    pub at_once: bool,
}

impl Wait {
    /// In one word: the target in the low half, flags above.
    pub const fn packed(self) -> u64 {
        self.target.to_raw() as u32 as u64 | (self.at_once as u64) << 32
    }

    /// Takes a packed word apart; `EINVAL` where a spare bit is set.
    pub const fn unpack(packed: u64) -> Result<Wait, Errno> {
        if packed >> 33 != 0 {
            return Err(Errno::INVAL);
        }
        Ok(Wait { target: Target::from_raw(packed as u32 as i32), at_once: packed >> 32 == 1 })
    }
}

/// The word that C's `waitpid` gives for an end: an exit code, or the signal that stands for the reason.
pub const fn wait_status(end: End) -> i32 {
    match end {
        End::Exited(code) => (code as i32) << 8,
        End::Ended(reason) => signal(reason),
    }
}

/// The signal that a process would have died of elsewhere.
pub const fn signal(reason: Reason) -> i32 {
    match reason {
        Reason::InvalidOpcode => 4,
        Reason::BusError => 7,
        Reason::Exception => 8,
        Reason::Killed | Reason::OutOfMemory | Reason::Replaced => 9,
        Reason::PageFault => 11,
        Reason::CorruptRing | Reason::BadCall => 31,
    }
}

/// Packs two 32-bit arguments, the first one low.
pub const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

/// Takes a packed pair apart.
pub const fn unpair(packed: u64) -> (u32, u32) {
    (packed as u32, (packed >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::{Target, Verb, Wait, pair, unpair, wait_status};
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use ring_abi::Errno;
    use ring_abi::context::{End, Reason};

    #[test]
    fn verbs_survive_the_wire() {
        for raw in 0..20 {
            assert!(Verb::from_raw(raw).is_none_or(|verb| verb as u64 == raw));
        }
        assert_eq!(Verb::from_raw(3), Some(Verb::Wait));
    }

    #[test]
    fn an_end_reads_as_in_c() {
        assert_eq!(wait_status(End::Exited(7)), 7 << 8);
        assert_eq!(wait_status(End::Ended(Reason::PageFault)), 11);
    }

    #[test]
    fn spare_bits_of_a_wait_are_refused() {
        assert_eq!(Wait::unpack(1 << 33), Err(Errno::INVAL));
    }

    proptest! {
        #[test]
        fn a_wait_survives_the_wire(raw in -0x7fff_ffff_i32.., at_once in any::<bool>()) {
            let wait = Wait { target: Target::from_raw(raw), at_once };
            prop_assert_eq!(Wait::unpack(wait.packed()), Ok(wait));
            prop_assert_eq!(wait.target.to_raw(), raw);
        }

        #[test]
        fn a_pair_survives_the_wire(low in any::<u32>(), high in any::<u32>()) {
            prop_assert_eq!(unpair(pair(low, high)), (low, high));
        }
    }
}
