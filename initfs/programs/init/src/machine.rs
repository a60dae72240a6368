//! What init asks of the kernel's own schemes.
#![forbid(unsafe_code)]

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use posix::file::{close, read, write_all};
use posix::flags::{O_RDONLY, O_WRONLY};
use posix::open::open;
use ring_abi::Errno;
use uring::eprintln;

/// The whole of a text file.
pub(crate) fn read_text(path: &str) -> Result<String, Errno> {
    let fd = open(path.as_bytes(), O_RDONLY, 0)?;
    let mut text = Vec::new();
    let mut piece = [0; 1024];
    let result = loop {
        match read(fd, &mut piece) {
            Ok(0) => break Ok(()),
            Ok(count) => text.extend_from_slice(piece.get(..count).unwrap_or_default()),
            Err(error) => break Err(error),
        }
    };
    close(fd).and(result)?;
    String::from_utf8(text).map_err(|_| Errno::ILSEQ)
}

fn write_text(path: &str, text: &str) -> Result<(), Errno> {
    let fd = open(path.as_bytes(), O_WRONLY, 0)?;
    let result = write_all(fd, text.as_bytes());
    close(fd).and(result)
}

/// Nanoseconds of the monotonic clock; zero if there is none.
pub(crate) fn now() -> u64 {
    let read_clock = || {
        let fd = open(b"/scheme/time/4", O_RDONLY, 0)?;
        let mut words = [0; 16];
        let count = read(fd, &mut words);
        close(fd)?;
        let ([seconds, nanoseconds], 16) = (*words.as_chunks::<8>().0.as_array().ok_or(Errno::IO)?, count?)
        else {
            return Err(Errno::IO);
        };
        let seconds = u64::from_le_bytes(seconds).saturating_mul(1_000_000_000);
        Ok(seconds.saturating_add(u64::from_le_bytes(nanoseconds)))
    };
    read_clock().unwrap_or(0)
}

/// Lets time pass.
pub(crate) fn sleep(duration: Duration) {
    // There is nothing to do about a clock that does not work.
    let _ = uring::op::time::after(duration).wait();
}

/// Has the kernel print every entry of a process's rings.
pub(crate) fn trace_rings(pid: u32) -> Result<(), Errno> {
    write_text("/scheme/sys/trace", &alloc::format!("{pid}"))
}

/// Ends the machine with this status.
pub(crate) fn end(status: u8) -> ! {
    if let Err(error) = write_text("/scheme/sys/exit", &alloc::format!("{status}")) {
        eprintln!("init: the machine cannot be ended: {error}");
    }
    // Without its first program the system stops, whatever happened above.
    posix::process::exit(status)
}
