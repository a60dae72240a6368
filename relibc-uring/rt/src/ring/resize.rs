//! A larger ring for a thread that keeps more in flight than the one it started with holds.
#![forbid(unsafe_code)]

use super::current::local;
use super::place::attach;
use crate::op::system::ring_create;
use alloc::boxed::Box;
use ring_abi::Errno;
use ring_abi::layout::Sizes;

/// Makes a ring of these sizes this thread's own: its operations go there from now on. Nothing may be in flight
/// and the thread must not serve a scheme (`EBUSY`). The old ring stays until the thread ends, so do this once, early.
pub fn resize(sizes: Sizes) -> Result<(), Errno> {
    let local = local();
    local.flush(); // answers that nobody wants are taken off
    if local.is_busy() {
        return Err(Errno::BUSY);
    }
    let place = ring_create(sizes).wait()?;
    let number = place & 63; // rings are aligned to 64 bytes
    let address = usize::try_from(place & !63).map_err(|_| Errno::FAULT)?;
    local.switch(Box::leak(Box::new(attach(address, number, Some(sizes)))));
    Ok(())
}
