//! The initfs image, which the kernel mapped for this program.
#![allow(unsafe_code, reason = "the kernel hands the image over by address")]

use core::ptr;
use initfs_format::{Damage, Image};

/// The image at `address`, as the kernel handed it to the first program.
pub(crate) fn open(address: usize, length: usize) -> Result<Image<'static>, Damage> {
    if address == 0 || length == 0 {
        return Image::open(&[]);
    }
    let start = ptr::with_exposed_provenance(address);
    // SAFETY: the kernel mapped the blob's initfs there, readable and never changed, for as long as this program
    // runs. The address and length are those of the blob's header, which the kernel checked.
    Image::open(unsafe { core::slice::from_raw_parts(start, length) })
}
