//! Handles that are closed again, whatever happens.
#![forbid(unsafe_code)]

use alloc::vec::Vec;
use uring::op::{self, Fd};

/// Handles that this value closes when it is dropped.
#[derive(Debug, Default)]
pub struct Handles {
    kept: Vec<Fd>,
}

impl Handles {
    /// Will close this one too.
    pub fn keep(&mut self, fd: Fd) -> Fd {
        self.kept.push(fd);
        fd
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        for fd in self.kept.drain(..).rev() {
            // Closing a handle that we made can only fail if somebody else closed it.
            let _ = op::handle::close(fd).wait();
        }
    }
}
