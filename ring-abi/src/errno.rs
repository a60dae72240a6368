//! Error numbers, and the only place that knows them.
//!
//! They are the numbers of Redox and Linux. On the wire an error is its negative as a two's-complement
//! 64-bit value: the top 4095 values of a result are errors, all others are success.
#![forbid(unsafe_code)]

use core::fmt;

/// An error number, between 1 and 4095.
///
/// It is as wide as a result, so that a `Result<u64, Errno>` is two full words and nothing is merged into one of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Errno(u64);

/// Greatest error number that a result can carry.
pub const MAX_ERRNO: u16 = 4095;

macro_rules! errnos {
    ($($name:ident = $value:ident, $text:literal;)*) => {
        impl Errno {
            $(#[doc = $text] pub const $name: Errno = Errno(syscall::$value as u64);)*

            /// Short upper-case name as in C (`ENOENT`), if this crate knows the number.
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Errno::$name => Some(stringify!($value)),)*
                    _ => None,
                }
            }

            /// What the error means, in a few words.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Errno::$name => $text,)*
                    _ => "unknown error",
                }
            }
        }
    };
}

errnos! {
    PERM = EPERM, "operation not permitted";
    NOENT = ENOENT, "no such file or directory";
    SRCH = ESRCH, "no such process or context";
    INTR = EINTR, "interrupted";
    IO = EIO, "input or output error";
    NXIO = ENXIO, "no such device or address";
    TOOBIG = E2BIG, "argument list too long";
    NOEXEC = ENOEXEC, "not an executable";
    BADF = EBADF, "bad handle";
    CHILD = ECHILD, "no child process";
    AGAIN = EAGAIN, "try again";
    NOMEM = ENOMEM, "out of memory";
    ACCES = EACCES, "permission denied";
    FAULT = EFAULT, "bad address";
    BUSY = EBUSY, "busy";
    EXIST = EEXIST, "already exists";
    XDEV = EXDEV, "the path leads to another scheme or through a link";
    NODEV = ENODEV, "no such scheme, or it is gone";
    NOTDIR = ENOTDIR, "not a directory";
    ISDIR = EISDIR, "is a directory";
    INVAL = EINVAL, "invalid argument";
    NFILE = ENFILE, "too many open files in the system";
    MFILE = EMFILE, "too many open handles";
    NOTTY = ENOTTY, "not a terminal";
    FBIG = EFBIG, "file too large";
    NOSPC = ENOSPC, "no space left";
    SPIPE = ESPIPE, "illegal seek";
    ROFS = EROFS, "read-only";
    MLINK = EMLINK, "too many links";
    PIPE = EPIPE, "broken pipe";
    RANGE = ERANGE, "result too large";
    DEADLK = EDEADLK, "would deadlock";
    NAMETOOLONG = ENAMETOOLONG, "name too long";
    NOSYS = ENOSYS, "operation not implemented";
    NOTEMPTY = ENOTEMPTY, "directory not empty";
    LOOP = ELOOP, "too many symbolic links";
    OVERFLOW = EOVERFLOW, "value too large";
    ILSEQ = EILSEQ, "not valid UTF-8";
    OPNOTSUPP = EOPNOTSUPP, "operation not supported";
    NOBUFS = ENOBUFS, "no buffer is free";
    CONNRESET = ECONNRESET, "the other side died with the request in hand";
    TIMEDOUT = ETIMEDOUT, "timed out";
    ALREADY = EALREADY, "its end is already under way";
    CANCELED = ECANCELED, "canceled; whether it took effect is unknown";
}

impl Errno {
    /// What a `ring_enter` returns that failed with this.
    pub const fn refusal(self) -> i32 {
        (self.0 as i32).wrapping_neg()
    }

    /// The error of this number; `None` for 0 and numbers above 4095.
    pub const fn from_raw(raw: u64) -> Option<Errno> {
        if raw == 0 || raw > MAX_ERRNO as u64 { None } else { Some(Errno(raw)) }
    }

    /// The positive number.
    pub const fn raw(self) -> u16 {
        self.0 as u16
    }

    /// The value that stands for this error in a result.
    #[inline(always)]
    pub const fn to_result(self) -> u64 {
        self.0.wrapping_neg()
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Errno({})", self.0),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({self:?})", self.text())
    }
}

impl core::error::Error for Errno {}

/// Puts a result into the 64 bits of a completion.
///
/// A success value in the range of the errors cannot be told apart from one; no operation returns such.
#[inline(always)]
pub const fn mux(result: Result<u64, Errno>) -> u64 {
    match result {
        Ok(value) => value,
        Err(error) => error.to_result(),
    }
}

/// Takes a result out of the 64 bits of a completion.
#[inline(always)]
pub const fn demux(raw: u64) -> Result<u64, Errno> {
    if is_error(raw) { Err(Errno(raw.wrapping_neg())) } else { Ok(raw) }
}

/// Whether the 64 bits of a completion stand for an error.
#[inline(always)]
pub const fn is_error(raw: u64) -> bool {
    const FIRST_ERROR: u64 = (MAX_ERRNO as u64).wrapping_neg();
    raw >= FIRST_ERROR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_survives_the_wire() {
        for value in [0, 1, 4096, u64::MAX - 4095] {
            assert_eq!(demux(mux(Ok(value))), Ok(value));
        }
        for raw in 1..=MAX_ERRNO as u64 {
            let error = Errno::from_raw(raw).unwrap();
            assert_eq!(demux(mux(Err(error))), Err(error));
        }
        assert_eq!(Errno::from_raw(0), None);
        assert_eq!(Errno::from_raw(4096), None);
    }
}
