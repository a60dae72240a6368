//! Flags of `open` and bits of a mode, as they travel in `OpenAt`; the numbers are those of Redox.
#![forbid(unsafe_code)]

macro_rules! flags {
    ($($(#[doc = $doc:literal])* $name:ident;)*) => {
        $($(#[doc = $doc])* pub const $name: u64 = syscall::$name as u64;)*
    };
}

flags! {
    /// For reading.
    O_RDONLY;
    /// For writing.
    O_WRONLY;
    /// For both.
    O_RDWR;
    /// The bits that say for what.
    O_ACCMODE;
    /// Do not wait.
    O_NONBLOCK;
    /// Every write goes to the end.
    O_APPEND;
    /// Make the file if it is not there.
    O_CREAT;
    /// Cut it to nothing.
    O_TRUNC;
    /// With `O_CREAT`: fail if it is there.
    O_EXCL;
    /// Only a directory; with `O_CREAT`: make one.
    O_DIRECTORY;
    /// Only to ask about the file.
    O_STAT;
    /// The symbolic link itself; with `O_CREAT`: make one.
    O_SYMLINK;
    /// Fail with `ELOOP` if the last name is a symbolic link.
    O_NOFOLLOW;
}

/// The handle closes when another program is executed.
pub const O_CLOEXEC: u64 = 0x0100_0000;

/// The permission bits of a mode.
pub const MODE_PERMISSIONS: u32 = 0o7777;
/// The bits of a mode that say what kind of file it is.
pub const MODE_TYPE: u32 = syscall::MODE_TYPE as u32;
/// A directory.
pub const MODE_DIRECTORY: u32 = syscall::MODE_DIR as u32;
/// A file.
pub const MODE_FILE: u32 = syscall::MODE_FILE as u32;
/// A symbolic link.
pub const MODE_SYMLINK: u32 = syscall::MODE_SYMLINK as u32;
/// A device.
pub const MODE_DEVICE: u32 = syscall::MODE_CHR as u32;
