//! The frame allocator: who owns each frame, how often it is shared, and what it is for.
//!
//! - Kernel frames come in blocks and go as they came: same order, same owner.
//! - User frames are single and counted: each mapping and each holder is one share, and the
//!   last share to go frees the frame.
//! - Table frames are made and freed by the page tables of this crate only.
//!
//! Every call takes `&self`: the state is cells, behind whatever lock the kernel has. What a
//! program could cause is a value; so is a bug of the caller ([`Misuse`]), found by the frame's
//! kind, order and owner before anything is changed.
#![forbid(unsafe_code)]

use core::cell::Cell;

use crate::addr::Frame;
use crate::flush::{Epoch, Epochs, FlushStart};
use crate::info::{FrameInfo, Kind};
use crate::limbo::Limbo;
use crate::pool::{MAX_ORDER, Pool};

/// A reclaim that a failing allocation does on its own.
const RECLAIM: u32 = 64;

/// Who pays for a frame: the number of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u32);

/// The first frame of a block that only the kernel uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KernelFrame(Frame);

/// A frame that may be mapped to a program. It never holds kernel data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserFrame(Frame);

/// A frame that is a page table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableFrame(Frame);

/// A frame of a device: never the allocator's, mapped uncached, reached by no copy of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceFrame(Frame);

macro_rules! names_a_frame {
    ($($name:ident)*) => { $(
        impl $name {
            /// The frame itself.
            #[inline]
            pub const fn frame(self) -> Frame {
                self.0
            }
        }
    )* };
}

names_a_frame!(KernelFrame UserFrame TableFrame DeviceFrame);

#[cfg(test)]
impl KernelFrame {
    pub(crate) const fn of(frame: Frame) -> Self {
        Self(frame)
    }
}

impl UserFrame {
    pub(crate) const fn of(frame: Frame) -> Self {
        Self(frame)
    }
}

impl TableFrame {
    pub(crate) const fn of(frame: Frame) -> Self {
        Self(frame)
    }
}

/// User frames that follow each other in memory, each with a share of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserRun {
    first: Frame,
    count: u32,
}

impl UserRun {
    /// How many frames.
    #[inline]
    pub const fn count(self) -> u32 {
        self.count
    }

    /// The frame at `index`.
    #[inline]
    pub const fn get(self, index: u32) -> Option<UserFrame> {
        if index >= self.count {
            return None;
        }
        Some(UserFrame(Frame::new(self.first.number().wrapping_add(index))))
    }

    /// Every frame, lowest first.
    pub fn iter(self) -> impl Iterator<Item = UserFrame> {
        (0..self.count).filter_map(move |index| self.get(index))
    }
}

/// What became of a share that was given up.
#[must_use = "the owner of a frame that came back is to be credited"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// Others still hold the frame.
    Shared,
    /// It was the last one: credit this owner.
    Last(Owner),
}

impl Released {
    /// Who is to be credited, if the frame came back.
    #[inline]
    pub const fn owner(self) -> Option<Owner> {
        match self {
            Self::Shared => None,
            Self::Last(owner) => Some(owner),
        }
    }
}

/// A bug of the caller; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misuse {
    /// No such frame here.
    NotOurs,
    /// The range is there already, or in use.
    Taken,
    /// Freed already, or the middle of a block.
    NotAllocated,
    /// Allocated, but as something else.
    WrongKind,
    /// Allocated with another order.
    WrongOrder,
    /// Allocated by another owner.
    WrongOwner,
    /// The count of shares would wrap.
    TooManyShares,
}

/// Every frame of the machine.
pub struct Frames<'m> {
    pub(crate) pool: Pool<'m>,
    pub(crate) limbo: Limbo,
    pub(crate) epochs: Epochs,
    total: Cell<u32>,
}

impl<'m> Frames<'m> {
    /// An allocator with no frames yet; `infos` has one for each frame of the machine, from
    /// frame 0 on.
    pub fn new(infos: &'m [FrameInfo]) -> Self {
        Self { pool: Pool::new(infos), limbo: Limbo::new(), epochs: Epochs::new(), total: Cell::new(0) }
    }

    /// Adds free memory: `count` frames from `first` on.
    pub fn add_range(&self, first: Frame, count: u32) -> Result<(), Misuse> {
        let start = first.number() as usize;
        let end = start.checked_add(count as usize).ok_or(Misuse::NotOurs)?;
        let infos = self.pool.infos().get(start..end).ok_or(Misuse::NotOurs)?;
        if infos.iter().any(|info| info.kind.get() != Kind::Reserved) {
            return Err(Misuse::Taken);
        }
        infos.iter().for_each(|info| info.kind.set(Kind::Inner));
        let mut block = first.number();
        let mut left = count;
        while left > 0 {
            let aligned = block.trailing_zeros().min(u32::from(MAX_ORDER));
            let order = aligned.min(left.ilog2()) as u8;
            self.pool.give_block(block, order);
            block = block.wrapping_add(1 << order);
            left = left.wrapping_sub(1 << order);
        }
        self.total.set(self.total.get().wrapping_add(count));
        Ok(())
    }

    /// Makes a frame that was never added, such as one of the boot image, a user frame.
    /// Released, it is memory like any other.
    pub fn adopt(&self, frame: Frame, owner: Owner) -> Result<UserFrame, Misuse> {
        let info = self.info(frame)?;
        if info.kind.get() != Kind::Reserved {
            return Err(Misuse::Taken);
        }
        self.total.set(self.total.get().wrapping_add(1));
        Ok(Self::make_user(frame.number(), info, owner))
    }

    /// Names a frame of a device. None if the allocator has that frame.
    pub fn device(&self, frame: Frame) -> Option<DeviceFrame> {
        match self.pool.info(frame.number()) {
            Some(info) if info.kind.get() != Kind::Reserved => None,
            _ => Some(DeviceFrame(frame)),
        }
    }

    /// Takes a block of 2^order frames for the kernel; its bytes are what they were.
    pub fn allocate(&self, order: u8, owner: Owner) -> Option<KernelFrame> {
        let number = if order == 0 { self.take_one()?.0 } else { self.take_block(order)? };
        let info = self.pool.info(number)?;
        info.kind.set(Kind::Kernel);
        info.order.set(order);
        info.owner.set(owner.0);
        Some(KernelFrame(Frame::new(number)))
    }

    /// Gives a block of the kernel back.
    pub fn free(&self, frame: KernelFrame, order: u8, owner: Owner) -> Result<(), Misuse> {
        let number = frame.0.number();
        let info = self.expect_kind(frame.0, Kind::Kernel)?;
        if info.order.get() != order {
            return Err(Misuse::WrongOrder);
        }
        if info.owner.get() != owner.0 {
            return Err(Misuse::WrongOwner);
        }
        if order == 0 {
            self.pool.give_one(number, info);
        } else {
            self.pool.give_block(number, order);
        }
        Ok(())
    }

    /// Takes one frame for programs, with one share; its bytes are what they were.
    #[inline]
    pub fn allocate_user(&self, owner: Owner) -> Option<UserFrame> {
        let (number, info) = self.take_one()?;
        Some(Self::make_user(number, info, owner))
    }

    /// Takes 2^order frames in a row for programs, each with one share.
    pub fn allocate_user_run(&self, order: u8, owner: Owner) -> Option<UserRun> {
        let first = self.take_block(order)?;
        let count = 1_u32.wrapping_shl(u32::from(order));
        for number in first..first.wrapping_add(count) {
            Self::make_user(number, self.pool.info(number)?, owner);
        }
        Some(UserRun { first: Frame::new(first), count })
    }

    /// The user frame with this number, if it is one now.
    #[inline]
    pub fn user(&self, frame: Frame) -> Option<UserFrame> {
        self.expect_kind(frame, Kind::User).ok().map(|_| UserFrame(frame))
    }

    /// Adds a share.
    #[inline]
    pub fn share(&self, frame: UserFrame) -> Result<(), Misuse> {
        let info = self.expect_kind(frame.0, Kind::User)?;
        let shares = info.shares.get().checked_add(1).ok_or(Misuse::TooManyShares)?;
        info.shares.set(shares);
        Ok(())
    }

    /// Gives up a share that no TLB reaches (a mapping's share goes through [`Stale`]).
    ///
    /// [`Stale`]: crate::Stale
    #[inline]
    pub fn release(&self, frame: UserFrame) -> Result<Released, Misuse> {
        let info = self.expect_kind(frame.0, Kind::User)?;
        let left = info.shares.get().wrapping_sub(1);
        if left != 0 {
            info.shares.set(left);
            return Ok(Released::Shared);
        }
        let owner = Owner(info.owner.get());
        if info.live.get() == 0 {
            self.pool.give_one(frame.0.number(), info);
        } else {
            // Someone gave up a share ahead of its flush; that epoch is not younger than now.
            self.put_in_limbo(frame.0, info, self.epochs.now());
        }
        Ok(Released::Last(owner))
    }

    /// Gives up the share of a mapping that a TLB may reach until `epoch` has passed.
    pub(crate) fn release_later(&self, frame: UserFrame, epoch: Epoch) -> Result<Released, Misuse> {
        let info = self.expect_kind(frame.0, Kind::User)?;
        let left = info.shares.get().wrapping_sub(1);
        if left != 0 {
            info.shares.set(left);
            info.live.set(1); // whoever is last must wait too
            self.epochs.want(epoch);
            return Ok(Released::Shared);
        }
        // Not the token's own epoch: another share may have been given up since, unflushed.
        self.put_in_limbo(frame.0, info, self.epochs.now());
        Ok(Released::Last(Owner(info.owner.get())))
    }

    /// Who pays for an allocated frame.
    #[inline]
    pub fn owner(&self, frame: Frame) -> Option<Owner> {
        let info = self.pool.info(frame.number())?;
        match info.kind.get() {
            Kind::Kernel | Kind::User | Kind::Table => Some(Owner(info.owner.get())),
            _ => None,
        }
    }

    /// Makes someone else pay for a user frame, when its payer leaves.
    pub fn set_owner(&self, frame: UserFrame, owner: Owner) -> Result<(), Misuse> {
        self.expect_kind(frame.0, Kind::User)?.owner.set(owner.0);
        Ok(())
    }

    /// How many shares a user frame has; 0 if it is none.
    #[inline]
    pub fn shares(&self, frame: UserFrame) -> u32 {
        self.expect_kind(frame.0, Kind::User).map_or(0, |info| info.shares.get())
    }

    /// Frames that can be had at once.
    #[inline]
    pub fn free_count(&self) -> u32 {
        self.pool.free_count()
    }

    /// Frames that are nobody's, but not free until every CPU flushed and [`reclaim`] ran.
    ///
    /// [`reclaim`]: Self::reclaim
    pub fn stale_count(&self) -> u32 {
        self.limbo.count()
    }

    /// Stale frames that [`reclaim`](Self::reclaim) can free at once.
    pub fn reclaimable(&self) -> u32 {
        self.limbo.ready_count()
    }

    /// All frames, free, allocated and stale.
    #[inline]
    pub fn total(&self) -> u32 {
        self.total.get()
    }

    /// Frees up to `most` stale frames that every CPU has forgotten, and says how many.
    pub fn reclaim(&self, most: u32) -> u32 {
        self.limbo.reclaim(most, &self.pool)
    }

    /// A CPU begins to use page tables, with an empty TLB. False if it is there already, or
    /// has no place. CPU 0 is there from the start.
    pub fn start_cpu(&self, cpu: usize) -> bool {
        self.epochs.start_cpu(cpu)
    }

    /// A CPU has stopped using page tables, for good or until `start_cpu`.
    pub fn stop_cpu(&self, cpu: usize) -> bool {
        let stopped = self.epochs.stop_cpu(cpu);
        self.limbo.advance(self.epochs.slowest(), &self.pool);
        stopped
    }

    /// Whether someone waits for this CPU to flush; cheap, for entry and exit paths.
    #[inline]
    pub fn wants_flush(&self, cpu: usize) -> bool {
        self.epochs.is_wanted(cpu)
    }

    /// Call before a CPU flushes its whole TLB (loading another root counts).
    pub fn start_flush(&self, cpu: usize) -> FlushStart {
        self.epochs.start_flush(cpu)
    }

    /// Call after that flush: the CPU holds no translation from before the start, and has no
    /// root loaded that was retired before it.
    pub fn flushed(&self, flush: FlushStart) {
        self.epochs.flushed(flush);
        self.limbo.advance(self.epochs.slowest(), &self.pool);
    }

    /// Whether every CPU has flushed since this epoch.
    #[inline]
    pub fn has_passed(&self, epoch: Epoch) -> bool {
        epoch.number() < self.epochs.slowest()
    }

    /// A CPU that is stopped may hold what is taken away from now on: it owes a flush.
    pub fn owe(&self, cpu: usize) {
        self.epochs.owe(cpu);
    }

    /// A CPU that owed a flush has flushed all of its TLB since.
    pub fn paid(&self, cpu: usize) {
        self.epochs.paid(cpu);
        self.limbo.advance(self.epochs.slowest(), &self.pool);
    }

    /// Whether no CPU owes a flush.
    #[inline]
    pub fn nobody_owes(&self) -> bool {
        self.epochs.nobody_owes()
    }

    /// The epoch in which something would be taken away now.
    pub fn epoch(&self) -> Epoch {
        self.epochs.now()
    }

    /// Whether a CPU has flushed since this epoch, or did not have to.
    pub fn cpu_has_passed(&self, cpu: usize, epoch: Epoch) -> bool {
        self.epochs.cpu_has_passed(cpu, epoch)
    }

    /// Whether a frame can be handed out at any time.
    pub fn is_free(&self, frame: Frame) -> bool {
        let kind = self.pool.info(frame.number()).map(|info| info.kind.get());
        matches!(kind, Some(Kind::Inner | Kind::Free | Kind::Hot))
    }

    /// How many translations were ever taken away or narrowed. A copy of a translation that
    /// was made under the same number is still good.
    #[inline]
    pub fn translation_changes(&self) -> u64 {
        self.epochs.changes()
    }

    /// Takes a table frame; not zeroed.
    pub(crate) fn allocate_table(&self, owner: Owner) -> Option<(TableFrame, &'m FrameInfo)> {
        let (number, info) = self.take_one()?;
        info.kind.set(Kind::Table);
        info.owner.set(owner.0);
        info.live.set(0);
        Some((TableFrame(Frame::new(number)), info))
    }

    /// Frees a table that no TLB reaches.
    pub(crate) fn free_table(&self, table: TableFrame) -> Result<(), Misuse> {
        let info = self.expect_kind(table.0, Kind::Table)?;
        self.pool.give_one(table.0.number(), info);
        Ok(())
    }

    /// Frees a table once every CPU has flushed.
    pub(crate) fn free_table_later(&self, table: TableFrame) -> Result<(), Misuse> {
        let info = self.expect_kind(table.0, Kind::Table)?;
        self.put_in_limbo(table.0, info, self.epochs.now());
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn put_in_limbo(&self, frame: Frame, info: &FrameInfo, epoch: Epoch) {
        self.epochs.want(epoch);
        self.limbo.push(frame.number(), info, epoch.number());
    }

    #[inline(always)]
    fn make_user(number: u32, info: &FrameInfo, owner: Owner) -> UserFrame {
        info.kind.set(Kind::User);
        info.owner.set(owner.0);
        info.shares.set(1);
        info.live.set(0);
        UserFrame(Frame::new(number))
    }

    #[inline]
    fn take_one(&self) -> Option<(u32, &'m FrameInfo)> {
        match self.pool.take_one() {
            Some(taken) => Some(taken),
            None => self.reclaim_one(),
        }
    }

    #[cold]
    fn reclaim_one(&self) -> Option<(u32, &'m FrameInfo)> {
        self.reclaim(RECLAIM);
        self.pool.take_one()
    }

    fn take_block(&self, order: u8) -> Option<u32> {
        if order > MAX_ORDER {
            return None;
        }
        self.pool.take_block(order).or_else(|| {
            self.reclaim(RECLAIM);
            self.pool.take_block(order)
        })
    }

    #[inline(always)]
    fn info(&self, frame: Frame) -> Result<&'m FrameInfo, Misuse> {
        self.pool.info(frame.number()).ok_or(Misuse::NotOurs)
    }

    #[inline(always)]
    pub(crate) fn expect_kind(&self, frame: Frame, kind: Kind) -> Result<&'m FrameInfo, Misuse> {
        let info = self.info(frame)?;
        if info.kind.get() == kind { Ok(info) } else { Err(wrong_kind(info)) }
    }
}

#[cold]
fn wrong_kind(info: &FrameInfo) -> Misuse {
    match info.kind.get() {
        Kind::Reserved => Misuse::NotOurs,
        Kind::Kernel | Kind::User | Kind::Table => Misuse::WrongKind,
        Kind::Inner | Kind::Free | Kind::Hot | Kind::Stale => Misuse::NotAllocated,
    }
}
