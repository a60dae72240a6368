//! One page-table entry, as x86-64 has it (Intel SDM volume 3, 4.5.4).
//!
//! Three ignored bits are ours: two for the tenure, one for devices. Entries that point to
//! tables allow everything, and the leaf restricts.
#![forbid(unsafe_code)]

use crate::addr::Frame;
use crate::frames::{DeviceFrame, TableFrame, UserFrame};

const PRESENT: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const WRITE_THROUGH: u64 = 1 << 3;
const NO_CACHE: u64 = 1 << 4;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const TENURE: u64 = 0b11 << 9;
const DEVICE: u64 = 1 << 11;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const NO_EXECUTE: u64 = 1 << 63;

/// What a program may do with a page. Writing and executing together has no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PageRights {
    /// Reading only.
    Read,
    /// Reading and writing.
    ReadWrite,
    /// Reading and executing.
    ReadExecute,
}

impl PageRights {
    /// Whether everything that `other` allows is allowed.
    #[inline]
    pub const fn covers(self, other: Self) -> bool {
        matches!(
            (self, other),
            (_, Self::Read) | (Self::ReadWrite, Self::ReadWrite) | (Self::ReadExecute, Self::ReadExecute)
        )
    }

    const fn bits(self) -> u64 {
        match self {
            Self::Read => NO_EXECUTE,
            Self::ReadWrite => NO_EXECUTE | WRITE,
            Self::ReadExecute => 0,
        }
    }
}

/// How a mapping holds its frame; fork reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tenure {
    /// The space's own: fork makes it copy-on-write.
    Private,
    /// Shared on purpose: fork shares it on.
    Shared,
    /// A ring or an arena: never copy-on-write, never inherited.
    Wired,
    /// The space's own, but the frame may be others' too: whoever wants to write gets a copy of it. Never writable, whatever
    /// rights it is given.
    CopyOnWrite,
}

impl Tenure {
    /// What of these rights the processor allows.
    const fn bits_of(self, rights: PageRights) -> u64 {
        match self {
            Self::CopyOnWrite => rights.bits() & !WRITE,
            Self::Private | Self::Shared | Self::Wired => rights.bits(),
        }
    }

    const fn bits(self) -> u64 {
        match self {
            Self::Private => 0,
            Self::Shared => 1 << 9,
            Self::Wired => 2 << 9,
            Self::CopyOnWrite => 3 << 9,
        }
    }
}

/// An entry of a page table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry(u64);

impl Entry {
    pub(crate) const EMPTY: Self = Self(0);

    #[inline(always)]
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    #[inline(always)]
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) const fn user(frame: UserFrame, rights: PageRights, tenure: Tenure) -> Self {
        Self(frame.frame().start().raw() | PRESENT | USER | tenure.bits_of(rights) | tenure.bits())
    }

    #[inline]
    pub(crate) const fn device(frame: DeviceFrame, rights: PageRights) -> Self {
        let ours = PRESENT | USER | WRITE_THROUGH | NO_CACHE | DEVICE | Tenure::Wired.bits();
        Self(frame.frame().start().raw() | ours | rights.bits())
    }

    #[inline]
    pub(crate) const fn table(table: TableFrame) -> Self {
        Self(table.frame().start().raw() | PRESENT | WRITE | USER)
    }

    #[inline(always)]
    pub(crate) const fn is_present(self) -> bool {
        self.0 & PRESENT != 0
    }

    /// The frame it points to. Nothing above 16 TiB was ever put in, so the cut loses nothing.
    #[inline(always)]
    pub(crate) const fn frame(self) -> Frame {
        Frame::new(((self.0 & ADDRESS) >> 12) as u32)
    }

    /// The table below, if this entry of an upper table has one.
    #[inline(always)]
    pub(crate) const fn as_table(self) -> Option<TableFrame> {
        if self.is_present() { Some(TableFrame::of(self.frame())) } else { None }
    }

    /// The frame of a leaf that is mapped and no device.
    #[inline(always)]
    pub(crate) const fn as_user(self) -> Option<UserFrame> {
        if self.0 & (PRESENT | DEVICE) == PRESENT { Some(UserFrame::of(self.frame())) } else { None }
    }

    #[inline(always)]
    pub(crate) const fn rights(self) -> PageRights {
        if self.0 & WRITE != 0 {
            PageRights::ReadWrite
        } else if self.0 & NO_EXECUTE != 0 {
            PageRights::Read
        } else {
            PageRights::ReadExecute
        }
    }

    #[inline]
    pub(crate) const fn with_rights(self, rights: PageRights) -> Self {
        Self(self.0 & !(WRITE | NO_EXECUTE) | self.tenure().bits_of(rights))
    }

    /// The same frame on other terms.
    #[inline]
    pub(crate) const fn with_tenure(self, tenure: Tenure, rights: PageRights) -> Self {
        Self(self.0 & !TENURE | tenure.bits()).with_rights(rights)
    }

    #[inline]
    pub(crate) const fn tenure(self) -> Tenure {
        match (self.0 & TENURE) >> 9 {
            0 => Tenure::Private,
            1 => Tenure::Shared,
            2 => Tenure::Wired,
            _ => Tenure::CopyOnWrite,
        }
    }

    #[inline]
    pub(crate) const fn is_dirty(self) -> bool {
        self.0 & DIRTY != 0
    }

    /// With the accessed and dirty bits that `other` has too.
    #[inline]
    pub(crate) const fn with_use_of(self, other: Self) -> Self {
        Self(self.0 | other.0 & (ACCESSED | DIRTY))
    }

    /// Without the accessed and dirty bits.
    #[inline]
    pub(crate) const fn unused(self) -> Self {
        Self(self.0 & !(ACCESSED | DIRTY))
    }

    /// With the bits that the processor sets on a use.
    #[cfg(any(test, feature = "fake"))]
    pub(crate) const fn used(self, writes: bool) -> Self {
        Self(self.0 | ACCESSED | if writes { DIRTY } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, NO_EXECUTE, PRESENT, PageRights, Tenure, USER, WRITE};
    use crate::addr::Frame;
    use crate::frames::{Frames, UserFrame};

    const ALL: [PageRights; 3] = [PageRights::Read, PageRights::ReadWrite, PageRights::ReadExecute];

    #[test]
    fn a_leaf_says_what_was_put_in() {
        for rights in ALL {
            for tenure in [Tenure::Private, Tenure::Shared, Tenure::Wired] {
                let frame = UserFrame::of(Frame::new(0x12345));
                let entry = Entry::user(frame, rights, tenure);
                assert_eq!((entry.as_user(), entry.rights(), entry.tenure()), (Some(frame), rights, tenure));
                for other in ALL {
                    assert_eq!(entry.with_rights(other), Entry::user(frame, other, tenure));
                }
            }
        }
    }

    #[test]
    fn no_leaf_is_both_written_and_executed() {
        for rights in ALL {
            let bits = Entry::user(UserFrame::of(Frame::new(1)), rights, Tenure::Private).bits();
            assert!(bits & WRITE == 0 || bits & NO_EXECUTE != 0);
            assert_eq!(bits & (PRESENT | USER), PRESENT | USER);
        }
    }

    #[test]
    fn what_is_copied_on_a_write_is_never_writable() {
        let frame = UserFrame::of(Frame::new(7));
        let narrow = |rights| if rights == PageRights::ReadWrite { PageRights::Read } else { rights };
        for rights in ALL {
            let entry = Entry::user(frame, rights, Tenure::CopyOnWrite);
            assert_eq!((entry.tenure(), entry.rights()), (Tenure::CopyOnWrite, narrow(rights)));
            for other in ALL {
                assert_eq!(entry.with_rights(other).rights(), narrow(other));
                let own = entry.with_tenure(Tenure::Private, other);
                assert_eq!(own, Entry::user(frame, other, Tenure::Private));
                assert_eq!(own.with_tenure(Tenure::CopyOnWrite, rights), entry);
            }
        }
    }

    #[test]
    fn a_device_is_no_user_frame() {
        let entry =
            Entry::device(Frames::new(&[]).device(Frame::new(0xfee00)).unwrap(), PageRights::ReadWrite);
        assert!(entry.is_present());
        assert_eq!(entry.as_user(), None);
        assert_eq!(entry.frame(), Frame::new(0xfee00));
    }
}
