//! What `qtest --role` does when a test starts it as a program of its own. Exit code 0 means that all is as the words
//! say.
#![forbid(unsafe_code)]

use core::time::Duration;
use posix::file::handle_flags;
use posix::open::getcwd;
use posix::process::getpid;
use uring::Fd;
use uring::op::time::after;
use uring::start::env::{args, var};

/// Plays a role.
pub(crate) fn play(words: &[&str]) -> u8 {
    match words {
        ["wait"] => loop {
            if after(Duration::from_secs(3600)).wait().is_err() {
                break 1;
            }
        },
        ["exit", code] => code.parse().unwrap_or(200),
        ["directory", path] => u8::from(getcwd() != *path),
        ["has-handle", number] => {
            number.parse().map_or(200, |number| u8::from(handle_flags(Fd(number), None).is_err()))
        }
        ["lacks-handle", number] => {
            number.parse().map_or(200, |number| u8::from(handle_flags(Fd(number), None).is_ok()))
        }
        ["environment", name, value] => u8::from(var(name) != Some(value)),
        ["pid", number] => u8::from(getpid().ok() != number.parse().ok()),
        ["arguments", ..] => u8::from(!args().skip(3).eq(["", "a b", "\"", "last"])),
        // The interpreter of a script, which is given the script's path.
        [path, code] if path.ends_with("/script") => code.parse().unwrap_or(200),
        _ => 201,
    }
}
