//! The wire of Annulus, and nothing but the wire: what crosses the boundary of the kernel.
//!
//! A program asks with 64-byte submission entries ([`Sqe`]) and is answered with 16-byte completion
//! entries ([`Cqe`]). A scheme (a user-space server) is asked and answers with the very same entries.
//! Both ends of every ring use this crate, and neither trusts the other.
//!
//! - [`opcode`]: every operation once, its number, its name and the shape of its payload.
//! - [`args`]: one argument struct for each opcode, `encode` beside `decode`; [`field`]: what makes them.
//! - [`sqe`], [`cqe`], [`errno`]: the entries and the errors they carry.
//! - [`enter`]: the one system call.
//! - [`layout`]: where things lie in a ring's memory.
//! - [`group`]: the memory of a group of buffers that a program provides.
//! - [`registered`]: how an entry names what its ring has registered.
//! - [`ring`], [`map`], [`sync`]: the two ends of a queue; `map` holds the only unsafe code.
//! - `manual`, behind the feature of that name: what `docs/rings.md` says beside the doc comments of the others.
//! - [`signal`]: the words of a ring's header that are about signals and waits.
//! - [`boot`]: what the loader hands to the kernel, and the kernel to the first program.
#![cfg_attr(not(any(test, loom)), no_std)]
#![deny(unsafe_code)]

#[cfg(feature = "manual")]
extern crate alloc;

pub mod args;
pub mod boot;
pub mod context;
pub mod cqe;
pub mod enter;
pub mod errno;
pub mod field;
pub mod futex;
pub mod group;
pub mod layout;
#[cfg(feature = "manual")]
pub mod manual;
pub mod map;
pub mod opcode;
pub mod registered;
pub mod ring;
pub mod signal;
pub mod sqe;
pub mod sync;

pub use cqe::{Cqe, CqeFlags, CqeKind};
pub use errno::Errno;
pub use opcode::Opcode;
pub use sqe::{Sqe, SqeFlags, Words};

/// Version of everything in this crate; it stands in each ring's header and in the boot blob.
pub const ABI_VERSION: u32 = 2;
