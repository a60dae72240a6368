//! Another ring for a thread that keeps more in flight than the one it has holds.
#![forbid(unsafe_code)]

use super::current::local;
use super::place::attach_made;
use crate::op::system::{ring_create, ring_drop};
use alloc::boxed::Box;
use ring_abi::Errno;
use ring_abi::layout::Sizes;

/// Makes a ring of these sizes this thread's own: its operations go there from now on, also those in flight. While some
/// are, it cannot shrink, and nothing may be registered with the ring nor may it be polled; a thread that serves a scheme keeps
/// its ring (`EBUSY`).
///
/// The first ring of a thread stays until that ends; others are given back.
pub fn resize(sizes: Sizes) -> Result<(), Errno> {
    let local = local();
    local.flush(); // answers that nobody wants are taken off
    let now = local.ends();
    let shrinks = sizes.cq < now.sizes.cq || sizes.sq < now.sizes.sq;
    if now.sizes.service.is_some() || local.slots.any_used() && (shrinks || sizes.service.is_some()) {
        return Err(Errno::BUSY);
    }
    let place = ring_create(sizes).wait()?;
    let ends = local.rings.keep(Box::new(attach_made(place, sizes)));
    if let Err(error) = local.switch(ends) {
        return ring_drop(ends.number()).wait().and(Err(error));
    }
    match now.number() {
        0 => Ok(()),
        old => ring_drop(old).wait(),
    }
}
