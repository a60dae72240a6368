//! This thread's ring: its two ends, and the slots of what is in flight.
//!
//! - [`ends`]: pushes submissions, takes completions, enters the kernel.
//! - [`slots`]: one slot for each awaited operation; its index is the operation's tag. The slot of a dropped
//!   operation keeps the buffer until the kernel has let go of it.
//! - [`settled`]: reads requests.
//! - [`place`]: makes the ends of a ring whose address the kernel gave.
//! - [`resize`]: another ring instead of the first one.
//! - [`polled`]: a ring that the kernel looks after by itself.
//! - [`taken`]: which slots of registered things are in use.
//! - [`inbox`]: messages from other rings.
//! - [`buffer`]: what can be lent to the kernel.
//! - [`aside`]: the ring of the heap's calls.
//! - [`leaked`]: memory that stays as long as its thread; [`retire`] gives it back.
//! - [`local`]: all of it together, as the runtime of one thread; [`current`] finds it.

mod aside;
pub(crate) mod buffer;
pub(crate) mod current;
pub(crate) mod ends;
pub(crate) mod inbox;
pub(crate) mod leaked;
pub(crate) mod local;
pub(crate) mod place;
mod polled;
mod resize;
mod retire;
mod settled;
pub(crate) mod slots;
pub(crate) mod taken;

pub use buffer::{IoBuf, IoBufMut};
pub use inbox::{Inbox, Message};
pub use polled::poll_ring;
pub use resize::resize;
