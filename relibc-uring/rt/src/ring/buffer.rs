//! Memory that can be lent to the kernel for the time of an operation.
#![allow(unsafe_code, reason = "implementing the traits is the promise that an address stays right")]

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

/// Bytes that the kernel may read.
///
/// # Safety
///
/// The address and length must stay the same (and the name be one of theirs alone), and the bytes readable and initialised, until the value is
/// dropped or changed through a mutable reference, even when the value itself is moved.
pub unsafe trait IoBuf: Unpin {
    /// The bytes.
    fn bytes(&self) -> &[u8];

    /// What an entry names them by: their address, or the slot of the ring that they are registered in.
    #[inline(always)]
    fn name(&self) -> u64 {
        self.bytes().as_ptr().addr() as u64
    }
}

/// Bytes that the kernel may also write.
///
/// # Safety
///
/// As for [`IoBuf`]; and nobody else reads or writes the bytes while the value is lent.
pub unsafe trait IoBufMut: IoBuf {
    /// The bytes.
    fn bytes_mut(&mut self) -> &mut [u8];
}

// SAFETY: the bytes live on the heap and stay there when the owner moves.
unsafe impl IoBuf for Vec<u8> {
    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        self
    }
}

// SAFETY: a `Vec` owns its bytes alone.
unsafe impl IoBufMut for Vec<u8> {
    #[inline(always)]
    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}

// SAFETY: as for `Vec`.
unsafe impl IoBuf for Box<[u8]> {
    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        self
    }
}

// SAFETY: as for `Vec`.
unsafe impl IoBufMut for Box<[u8]> {
    #[inline(always)]
    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}

// SAFETY: as for `Vec`.
unsafe impl IoBuf for String {
    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

// SAFETY: what is borrowed stays where it is as long as the borrow lives.
unsafe impl IoBuf for &[u8] {
    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        self
    }
}

// SAFETY: as for `&[u8]`.
unsafe impl IoBuf for &str {
    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

// SAFETY: as for `&[u8]`.
unsafe impl IoBuf for &mut [u8] {
    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        self
    }
}

// SAFETY: an exclusive borrow is the only way to its bytes.
unsafe impl IoBufMut for &mut [u8] {
    #[inline(always)]
    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}
