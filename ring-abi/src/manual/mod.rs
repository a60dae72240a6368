//! The manual of the rings: what `docs/rings.md` is written from, by `cargo xtask docs`.
//!
//! What doc comments say is taken from them, so it stands in one place: those of opcodes and arguments through the macros that
//! make these, those of flags and header words out of the sources themselves ([`source`]). What they do not say stands here,
//! by a `match` in [`page`] without a default: a new opcode does not compile before it has its page.
//!
//! - [`page`]: what an opcode's page says; its neighbours hold the pages, by what operations are about.
//! - [`call`], [`chain`]: the same of the system call, and of entries that belong together.
//! - [`features`]: what io_uring has, and what of it is here.
//! - [`links`]: what a doc comment's links lead to in the document.
//! - [`source`]: doc comments, constants and examples out of a source file.
//! - [`write`](mod@write): the document.
//!
//! Examples are functions: what is printed is what is compiled, and tests run them.
#![forbid(unsafe_code)]

mod basics;
mod call;
mod chain;
mod contexts;
mod features;
mod files;
mod handles;
mod links;
mod memory;
mod messages;
mod names;
mod page;
mod registered;
mod serve;
mod source;
mod time;
mod waits;
mod write;

pub use call::CALLS;
pub use chain::open_read_close;
pub use features::{FEATURES, Feature, State};
pub use page::{Example, Page, page};
pub use write::document;
