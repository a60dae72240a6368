//! The schemes that the kernel serves by itself. They answer the same operations as a daemon's.
//!
//! - `debug`: the serial line; a write goes out at once, a read waits for input.
//! - `sys`: counters, sizes and switches as small text files, see [`super::sys`].
//! - `time`: `1` is the real-time clock, `4` the monotonic one; a read gives seconds and nanoseconds.
//! - `irq`: one file for each line; a read waits for the next interrupt and gives the count of them.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::state::State;
use super::{OpResult, Outcome, irq, sys};
use crate::arch::{IRQ_LINES, IRQ_TEST};
use crate::context::file::{File, Kind};
use crate::mem::user;
use ring_abi::args::event;
use ring_abi::{Errno, Opcode};

/// Number of scheme `debug`.
pub const DEBUG: u8 = 0;
/// Number of scheme `sys`.
pub const SYS: u8 = 1;
/// Number of scheme `time`.
pub const TIME: u8 = 2;
/// Number of scheme `irq`.
pub const IRQ: u8 = 3;
/// Names of the schemes, by number.
pub const NAMES: [&str; 4] = ["debug", "sys", "time", "irq"];

/// Id of the file that stands for all scheme names.
const DIRECTORY: u64 = 0xff << 8;
/// Real-time clock.
const REALTIME: u64 = 1;
/// Monotonic clock.
const MONOTONIC: u64 = 4;
/// Bytes that one write to the serial line takes.
const SERIAL_PIECE: usize = 256;

fn scheme_of(file: &File) -> u8 {
    (file.id.get() >> 8) as u8
}

fn part_of(file: &File) -> u8 {
    file.id.get() as u8
}

/// Opens a file of a scheme that the kernel serves. Result: a handle.
pub fn open(cx: &Cx<'_>, scheme: u8, rest: &[u8], flags: u64) -> OpResult {
    let _ = flags;
    let part = match scheme {
        DEBUG if rest.is_empty() => 0,
        SYS => sys::find(rest).ok_or(Errno::NOENT)?,
        TIME => match number(rest) {
            Some(clock) if clock == REALTIME || clock == MONOTONIC => clock as u8,
            _ => return Err(Errno::NOENT),
        },
        IRQ if rest == b"test" => IRQ_TEST,
        IRQ => match number(rest) {
            Some(line) if line < u64::from(IRQ_LINES) => line as u8,
            _ => return Err(Errno::NOENT),
        },
        _ => return Err(Errno::NOENT),
    };
    cx.open(Kind::Kernel, u32::from(part), u64::from(scheme) << 8 | u64::from(part)).map(Outcome::Done)
}

/// Opens the list of all scheme names.
pub fn open_directory(cx: &Cx<'_>) -> OpResult {
    cx.open(Kind::Kernel, 0, DIRECTORY).map(Outcome::Done)
}

fn number(text: &[u8]) -> Option<u64> {
    core::str::from_utf8(text).ok()?.parse().ok()
}

/// Starts an operation on a file that no daemon serves. Files that lead to kernel objects have none.
#[cold]
#[inline(never)]
pub fn start(cx: Cx<'_>, opcode: Opcode, file_id: u32, file: &File, args: [u64; 5]) -> OpResult {
    let cx = &cx;
    if file.kind.get() != Kind::Kernel {
        return Err(Errno::OPNOTSUPP);
    }
    let [_, buffer, length, _, _] = args;
    match (opcode, scheme_of(file)) {
        (Opcode::Getdents, _) if file.id.get() == DIRECTORY => sys::list_schemes(cx, args),
        (Opcode::Fpath, _) => path(cx, file, buffer, length),
        (Opcode::Fstat, _) => sys::stat(cx, file.id.get() == DIRECTORY, buffer, length),
        (Opcode::Fsync, _) => Ok(Outcome::Done(0)),
        (Opcode::Read, DEBUG) => irq::read_serial(cx, file_id, buffer, length),
        (Opcode::Write, DEBUG) => write_serial(cx, buffer, length),
        (Opcode::Read, SYS) => sys::read(cx, part_of(file), file, args),
        (Opcode::Write, SYS) => sys::write(cx, part_of(file), buffer, length),
        (Opcode::Read, TIME) => read_clock(cx, u64::from(part_of(file)), buffer, length),
        (Opcode::Read, IRQ) => irq::wait(cx, part_of(file), file_id, buffer, length),
        (Opcode::Write, IRQ) if part_of(file) == IRQ_TEST => {
            // Nothing written is nothing raised.
            if length != 0 {
                cx.s.memory.machine.raise_test_irq();
            }
            Ok(Outcome::Done(length))
        }
        _ => Err(Errno::OPNOTSUPP),
    }
}

/// Events that a file of the kernel has now.
pub fn events(s: &State, file: &File, mask: u64) -> u64 {
    let ready = match scheme_of(file) {
        DEBUG => event::WRITE | if irq::has_input(s) { event::READ } else { 0 },
        IRQ => event::WRITE,
        _ => event::ALL,
    };
    ready & mask
}

fn path(cx: &Cx<'_>, file: &File, buffer: u64, length: u64) -> OpResult {
    let part = sys::path(scheme_of(file), part_of(file));
    let count = part.len().min(usize::try_from(length).unwrap_or(usize::MAX));
    user::write_bytes(&cx.s.memory, cx.space(), buffer, part.as_bytes().get(..count).unwrap_or(&[]))?;
    Ok(Outcome::Done(count as u64))
}

/// Writes to the serial line; takes a piece at a time so that a step stays short.
fn write_serial(cx: &Cx<'_>, buffer: u64, length: u64) -> OpResult {
    let mut bytes = [0; SERIAL_PIECE];
    let count = length.min(SERIAL_PIECE as u64) as usize;
    let piece = bytes.get_mut(..count).ok_or(Errno::INVAL)?;
    user::read_bytes(&cx.s.memory, cx.space(), buffer, piece)?;
    cx.s.memory.machine.serial_write(piece);
    Ok(Outcome::Done(count as u64))
}

fn read_clock(cx: &Cx<'_>, clock: u64, buffer: u64, length: u64) -> OpResult {
    const SECOND: u64 = 1_000_000_000;
    let machine = &cx.s.memory.machine;
    let base = if clock == REALTIME { machine.realtime_offset() } else { 0 };
    let now = machine.now().wrapping_add(base);
    if length < 16 {
        return Err(Errno::INVAL);
    }
    let mut bytes = [0; 16];
    let (seconds, rest) = bytes.split_at_mut(8);
    seconds.copy_from_slice(&(now / SECOND).to_le_bytes());
    rest.copy_from_slice(&(now % SECOND).to_le_bytes());
    user::write_bytes(&cx.s.memory, cx.space(), buffer, &bytes)?;
    Ok(Outcome::Done(16))
}
