//! What a test says: nothing, or what was wrong.
#![forbid(unsafe_code)]

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use ring_abi::Errno;

/// Why a test failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed(pub(crate) String);

/// The end of a test.
pub(crate) type Verdict = Result<(), Failed>;

impl From<Errno> for Failed {
    fn from(error: Errno) -> Failed {
        Failed(format!("an operation failed: {error}"))
    }
}

impl From<&str> for Failed {
    fn from(why: &str) -> Failed {
        Failed(why.to_string())
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Two values must be the same.
#[track_caller]
pub(crate) fn equal<T: PartialEq + fmt::Debug>(found: T, wanted: T) -> Verdict {
    if found == wanted {
        return Ok(());
    }
    let place = core::panic::Location::caller();
    Err(Failed(format!("found {found:?}, wanted {wanted:?} ({}:{})", place.file(), place.line())))
}

/// Something must hold.
#[track_caller]
pub(crate) fn ensure(holds: bool, what: &str) -> Verdict {
    if holds {
        return Ok(());
    }
    let place = core::panic::Location::caller();
    Err(Failed(format!("{what} ({}:{})", place.file(), place.line())))
}
