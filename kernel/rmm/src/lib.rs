//! Frames and page tables, generic over the machine, without one line of `unsafe`.
//!
//! How the parts relate, lowest first:
//!
//! - [`addr`]: physical addresses, frames, and the pages of the lower half.
//! - `info`, `buddy`, `pool`: sixteen bytes about every frame, the free ones among them in
//!   lists that run through those bytes. There is no heap below this crate.
//! - [`frames`]: [`Frames`], the allocator. A frame is a [`KernelFrame`], a [`UserFrame`] or
//!   a [`TableFrame`], so the kernel's own data cannot be mapped to a program.
//! - [`flush`]: [`Stale`], what a TLB may still reach, and the epochs that say when none does.
//! - [`entry`], [`stock`], [`table`], [`unmapped`], [`scan`], [`lend`], [`teardown`]: one entry,
//!   the tables taken before a change, the lower half of one address space, what an unmapping
//!   took away, loops over many pages, a fork's share of them, and the end of a space.
//! - [`machine`]: what the layers above must offer; `fake`: one that needs no hardware.
//!
//! The promises, each held by a test:
//!
//! - Mapping cannot fail after its check: missing levels come out of a [`TableStock`].
//! - A table that becomes empty is given back exactly once.
//! - A frame is never handed out while a [`Stale`] token for it lives.
//! - Wrong calls (double free, wrong order, wrong owner) are values, not corruption.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

#[cfg(all(feature = "fake", not(test)))]
extern crate std;

pub mod addr;
mod buddy;
pub mod entry;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
pub mod flush;
pub mod frames;
mod info;
pub mod lend;
mod limbo;
pub mod machine;
mod pool;
pub mod scan;
pub mod stock;
pub mod table;
pub mod teardown;
#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "tests count small numbers, and check them")]
mod tests;
pub mod unmapped;

pub use addr::{FRAME_SIZE, Frame, Page, PageRange, PhysAddr};
pub use entry::{PageRights, Tenure};
pub use flush::{Epoch, FlushStart, MAX_CPUS, Stale};
pub use frames::{DeviceFrame, Frames, KernelFrame, Misuse, Owner, Released, TableFrame, UserFrame, UserRun};
pub use info::FrameInfo;
pub use lend::Lent;
pub use machine::{Machine, Memory};
pub use pool::MAX_ORDER;
pub use scan::Next;
pub use stock::TableStock;
pub use table::{KernelHalf, Leaf, MapError, PageTable, Protected};
pub use teardown::{Progress, Teardown};
pub use unmapped::{Discarded, Unmapped};
