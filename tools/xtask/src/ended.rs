//! How a run of the guest ended, and how that is told.

use std::fmt;
use std::process::ExitStatus;

use anyhow::{Result, bail};

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The guest said so, with this status.
    Exit(u8),
    /// The kernel gave up.
    Panic(String),
    /// QEMU ended although the guest had not: a triple fault, or a reset.
    Reset,
    /// Nothing was heard for this many seconds.
    Silent(u64),
    /// The run took longer than this many seconds.
    TooLong(u64),
    /// The guest used its exit device and gave no status before.
    NoStatus(i32),
    /// The emulator itself failed.
    Emulator(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Exit(status) => write!(f, "the guest ended with status {status}"),
            End::Panic(reason) => write!(f, "the guest's kernel panicked: {reason}"),
            End::Reset => {
                f.write_str("the guest was reset without a word (a triple fault): see `cargo xtask gdb`")
            }
            End::Silent(seconds) => {
                write!(
                    f,
                    "the guest was silent for {seconds} s and was stopped; --silence SECONDS allows more"
                )
            }
            End::TooLong(seconds) => {
                write!(f, "the guest ran for {seconds} s and was stopped; --timeout SECONDS allows more")
            }
            End::NoStatus(value) => {
                write!(f, "the guest used its exit device ({value:#x}) and gave no status")
            }
            End::Emulator(reason) => write!(f, "QEMU failed: {reason}"),
        }
    }
}

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// How.
    pub(crate) end: End,
    /// The last lines heard, the firmware's too.
    pub(crate) tail: Vec<String>,
}

impl Ended {
    /// The guest's status, or the failure as an error with the last lines shown.
    pub(crate) fn status(self) -> Result<u8> {
        if let End::Exit(status) = self.end {
            return Ok(status);
        }
        if matches!(self.end, End::Reset | End::NoStatus(_) | End::Silent(_) | End::TooLong(_))
            && !self.tail.is_empty()
        {
            eprintln!("last lines of the guest:");
            self.tail.iter().for_each(|line| eprintln!("  | {line}"));
        }
        bail!("{}", self.end)
    }
}

/// QEMU is gone and the guest said nothing about it.
pub(crate) fn unexplained(status: ExitStatus, words: &[String]) -> End {
    match status.code() {
        // The exit device makes odd statuses, a reset makes 0; 1 is also QEMU's own failure.
        Some(1) => End::Emulator(words.last().cloned().unwrap_or_else(|| "it gave no reason".into())),
        Some(0) => End::Reset,
        Some(code) if code & 1 == 1 => End::NoStatus(code >> 1),
        _ => End::Emulator(format!("{status}: {}", words.join("; "))),
    }
}
