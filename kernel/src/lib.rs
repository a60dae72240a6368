//! The Annulus kernel: one value, entered by events, answering with what to run next.
//!
//! It is an ordinary library that builds for the machine and for the host; on the host the machine is a
//! fake one, and the whole kernel runs inside ordinary tests.
//!
//! Layers, lowest first. A file imports its own layer or lower ones, never higher ones
//! (`cargo xtask check` holds this):
//!
//! 1. [`base`]: plain values and the intrusive structures that everything is filed in.
//! 2. [`arch`]: the machine, and all unsafe code of the kernel.
//! 3. [`mem`]: memory by owner: arenas, address spaces, regions.
//! 4. [`ring`]: the kernel's ends of the rings.
//! 5. [`context`]: who runs, and what it holds: contexts, handle tables, files, timers.
//! 6. [`scheme`]: the roads to the daemons: names, links, request slots.
//! 7. [`op`]: what a program can ask; start, finish and cancel of each operation.
//! 8. [`entry`]: one step.
//! 9. [`boot`]: before the first step.
#![cfg_attr(target_os = "none", no_std, feature(rust_preserve_none_cc))]
#![deny(unsafe_code)]
#![warn(missing_docs)]

#[allow(unsafe_code, reason = "the machine")]
pub mod arch;
pub mod base;
pub mod boot;
pub mod context;
pub mod entry;
pub mod mem;
pub mod op;
pub mod ring;
pub mod scheme;
