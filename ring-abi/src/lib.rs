//! The wire of Annulus, and nothing but the wire: what crosses the boundary of the kernel.
//!
//! A program asks with 64-byte submission entries ([`Sqe`]) and is answered with 16-byte completion
//! entries ([`Cqe`]). A scheme (a user-space server) is asked and answers with the very same entries.
//! Both ends of every ring use this crate, and neither trusts the other.
//!
//! - [`opcode`]: every operation once, its number, its name and the shape of its payload.
//! - [`args`]: one argument struct for each opcode, `encode` beside `decode`; [`field`]: what makes them.
//! - [`sqe`], [`cqe`], [`errno`]: the entries and the errors they carry.
//! - [`layout`]: where things lie in a ring's memory.
//! - [`ring`], [`map`], [`sync`]: the two ends of a queue; `map` holds the only unsafe code.
//! - [`boot`]: what the loader hands to the kernel, and the kernel to the first program.
#![cfg_attr(not(any(test, loom)), no_std)]
#![deny(unsafe_code)]

pub mod args;
pub mod boot;
pub mod context;
pub mod cqe;
pub mod errno;
pub mod field;
pub mod layout;
pub mod map;
pub mod opcode;
pub mod ring;
pub mod sqe;
pub mod sync;

pub use cqe::{Cqe, CqeFlags, CqeKind};
pub use errno::Errno;
pub use opcode::Opcode;
pub use sqe::{Sqe, SqeFlags, Words};

/// Version of everything in this crate; it stands in each ring's header and in the boot blob.
pub const ABI_VERSION: u32 = 1;

/// Value of `rax` that makes a `syscall` instruction a `ring_enter`.
///
/// It lies outside every Redox system-call class (bits 28 to 31 are the class there, and class 7 is
/// not in use), so a program that makes an old-style call is never mistaken for one that enters a ring.
///
/// The arguments are `rdi` the ring's number, `rsi` the greatest number of submissions to take, `rdx` the
/// completions to wait for, `r8` flags of [`enter`] (32 bits), `r9` the deadline. (They skip `rcx`, which the instruction
/// overwrites, and are otherwise those of a C function, so the kernel has none to move.) `rax` is the result; what a C
/// function keeps is kept, and every other register comes back as zero.
pub const RING_ENTER: u64 = 0x7000_0000;

/// Flags of `ring_enter`: what ends the wait.
pub mod enter {
    /// Wait until `min_complete` completions are there to be taken.
    pub const COMPLETIONS: u64 = 1;
    /// Wait until at least one request of a client is there to be taken.
    pub const REQUESTS: u64 = 2;
    /// All flags that exist.
    pub const ALL: u64 = COMPLETIONS | REQUESTS;
    /// `deadline` that never comes; deadlines are absolute nanoseconds of the monotonic clock.
    pub const NO_DEADLINE: u64 = u64::MAX;
}
