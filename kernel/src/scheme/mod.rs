//! Layer 6: the roads to the daemons.
//!
//! A scheme is a name under which a user-space server, the daemon, offers files. The daemon serves it
//! through the service pair of one of its rings; that pair with its arena and its request slots is a
//! [`link::Link`]. A name leads to a link and to the number of the scheme's root; a link can have several
//! names.
//!
//! - [`link`]: one daemon's service pair: request slots, arena, who waits for room.
//! - [`names`]: scheme names.
#![forbid(unsafe_code)]

pub mod link;
pub mod names;
