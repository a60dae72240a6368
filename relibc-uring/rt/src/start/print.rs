//! `println!` and `eprintln!` over handles 1 and 2.
#![forbid(unsafe_code)]

use crate::op::file::{self, At, Fd};
use core::fmt::{self, Write as _};
use core::sync::atomic::{AtomicU64, Ordering};

/// The handle of standard output.
static OUT: AtomicU64 = AtomicU64::new(1);
/// The handle of standard error.
static ERR: AtomicU64 = AtomicU64::new(2);

/// Prints to other handles from now on; for programs that are not started with the usual three.
pub fn redirect(out: Fd, err: Fd) {
    OUT.store(out.0, Ordering::Relaxed);
    ERR.store(err.0, Ordering::Relaxed);
}

/// Prints to standard output. What cannot be printed is lost.
pub fn out(text: fmt::Arguments<'_>) {
    print(Fd(OUT.load(Ordering::Relaxed)), text);
}

/// Prints to standard error. What cannot be printed is lost.
pub fn err(text: fmt::Arguments<'_>) {
    print(Fd(ERR.load(Ordering::Relaxed)), text);
}

fn print(fd: Fd, text: fmt::Arguments<'_>) -> bool {
    let mut printer = Printer { fd, used: 0, bytes: [0; 256], failed: false };
    let written = printer.write_fmt(text).is_ok();
    written && printer.flush().is_ok()
}

/// Prints what a program says before it ends: to standard error, or to the debug console.
#[cfg(target_os = "redox")]
pub(crate) fn last_words(text: fmt::Arguments<'_>) {
    if print(Fd(ERR.load(Ordering::Relaxed)), text) {
        return;
    }
    let write_only = syscall::flag::O_WRONLY as u64;
    if let (Ok(console), _) = file::open_at(Fd::CURRENT, "/scheme/debug", write_only).wait() {
        print(console, text);
    }
}

/// Collects text, to write it in few pieces.
struct Printer {
    fd: Fd,
    used: usize,
    bytes: [u8; 256],
    failed: bool,
}

impl Printer {
    fn flush(&mut self) -> fmt::Result {
        let mut rest = self.bytes.get(..self.used).unwrap_or_default();
        self.used = 0;
        while !rest.is_empty() && !self.failed {
            match file::write(self.fd, rest, At::Cursor).wait() {
                (Ok(count), _) if count > 0 => rest = rest.get(count..).unwrap_or_default(),
                _ => self.failed = true,
            }
        }
        if self.failed { Err(fmt::Error) } else { Ok(()) }
    }
}

impl fmt::Write for Printer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.used == self.bytes.len() {
                self.flush()?;
            }
            if let Some(place) = self.bytes.get_mut(self.used) {
                *place = byte;
                self.used = self.used.wrapping_add(1);
            }
        }
        Ok(())
    }
}

/// Prints a line to standard output.
#[macro_export]
macro_rules! println {
    () => { $crate::start::print::out(format_args!("\n")) };
    ($($text:tt)*) => { $crate::start::print::out(format_args!("{}\n", format_args!($($text)*))) };
}

/// Prints to standard output.
#[macro_export]
macro_rules! print {
    ($($text:tt)*) => { $crate::start::print::out(format_args!($($text)*)) };
}

/// Prints a line to standard error.
#[macro_export]
macro_rules! eprintln {
    () => { $crate::start::print::err(format_args!("\n")) };
    ($($text:tt)*) => { $crate::start::print::err(format_args!("{}\n", format_args!($($text)*))) };
}

/// What a guest program says when it is started on a host.
#[cfg(not(target_os = "redox"))]
pub fn on_host() {
    std::eprintln!("this program runs inside Annulus: try `cargo xtask run`");
    std::process::exit(2);
}
