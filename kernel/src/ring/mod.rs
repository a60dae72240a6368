//! Layer 4: the kernel's ends of the rings. Submission in, completion out; for a daemon also request out,
//! reply in.
//!
//! - [`duplex`]: one ring's record: its four ends, who owns it, what its owner waits for.
//! - [`flight`]: the operations of a ring that are in flight.
//! - [`group`]: buffers that a program provides.
//! - [`outfit`]: what a ring has registered.
//! - [`port`]: what handles to a ring lead to, and where messages wait for room in it.
//! - [`tie`]: how operations of a ring depend on each other: chains and barriers.
//! - [`place`]: where rings lie: pages shared by the small rings of one address space.
#![forbid(unsafe_code)]

pub mod duplex;
pub mod flight;
pub mod group;
pub mod outfit;
pub mod place;
pub mod port;
pub mod tie;
