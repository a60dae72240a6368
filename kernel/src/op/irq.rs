//! Interrupts and serial input as completions.
//!
//! A line counts its interrupts. A read of a line waits for the count to move beyond what the reader's file
//! has seen (its cursor), so an interrupt between two reads is not lost.
#![forbid(unsafe_code)]

use super::channel::{self, Key};
use super::cx::Cx;
use super::inflight::Wait;
use super::state::State;
use super::stats::count;
use super::{OpResult, Outcome, poll};
use crate::arch::IRQ_SERIAL;
use crate::mem::user;
use ring_abi::args::event;
use ring_abi::{Errno, Opcode};

/// Operations that can wait for one line.
const MOST: u32 = 64;
/// Bytes of input that one read takes at most.
const PIECE: usize = 256;

/// Whether serial input waits to be read.
pub fn has_input(s: &State) -> bool {
    s.memory.machine.serial_ready()
}

/// Reads serial input; waits if there is none.
pub fn read_serial(cx: &Cx<'_>, file_id: u32, buffer: u64, length: u64) -> OpResult {
    if length == 0 {
        return Ok(Outcome::Done(0));
    }
    if has_input(cx.s) {
        return take_input(cx.s, cx.space(), buffer, length).map(Outcome::Done);
    }
    cx.s.memory.machine.irq_enable(IRQ_SERIAL, true);
    let args = [0, buffer, length, u64::from(IRQ_SERIAL), 0];
    park(cx, IRQ_SERIAL, file_id, Opcode::Read, args).map(|_| Outcome::Parked)
}

fn take_input(s: &State, space: &crate::mem::space::Space, buffer: u64, length: u64) -> Result<u64, Errno> {
    let most = length.min(PIECE as u64);
    // Check the whole buffer before a byte leaves the device.
    let mut at = buffer;
    while at < buffer.wrapping_add(most) {
        user::page_place(&s.memory, space, at, user::Access::Write)?;
        at = (at | 0xfff).wrapping_add(1);
    }
    let mut done = 0;
    while done < most {
        let Some(byte) = s.memory.machine.serial_read() else { break };
        user::write_bytes(&s.memory, space, buffer.wrapping_add(done), &[byte])?;
        done = done.wrapping_add(1);
    }
    Ok(done)
}

/// Waits for the next interrupt of a line; gives the count of all so far as eight bytes.
pub fn wait(cx: &Cx<'_>, line: u8, file_id: u32, buffer: u64, length: u64) -> OpResult {
    if length < 8 {
        return Err(Errno::INVAL);
    }
    let file = cx.s.files.at(file_id);
    let now = seen(cx.s, line);
    if file.cursor.get() < now {
        user::write_bytes(&cx.s.memory, cx.space(), buffer, &now.to_le_bytes())?;
        file.cursor.set(now);
        return Ok(Outcome::Done(8));
    }
    cx.s.memory.machine.irq_enable(line, true);
    let args = [0, buffer, length, u64::from(line), 0];
    park(cx, line, file_id, Opcode::Read, args).map(|_| Outcome::Parked)
}

fn seen(s: &State, line: u8) -> u64 {
    s.interrupts.get(usize::from(line)).map_or(0, |count| count.get())
}

/// Waits for input: the operation.
pub fn poll(cx: &Cx<'_>, file_id: u32, mask: u64) -> Result<u32, Errno> {
    cx.s.memory.machine.irq_enable(IRQ_SERIAL, true);
    park(cx, IRQ_SERIAL, file_id, Opcode::Poll, [0, mask, 0, u64::from(IRQ_SERIAL), 0])
}

/// A poll that was paused goes on. It waits for nothing now, and there is a place for what it has to tell.
pub fn poll_again(s: &State, id: u32) {
    let events = poll::untold(s.ops.at(id));
    match channel::open(s, Key::Line(IRQ_SERIAL)) {
        Ok(channel) if !channel::is_full(s, channel, MOST) => {
            channel::join(s, channel, id, Wait::Channel);
            poll::tell(s, id, events);
        }
        _ => s.end_op(id, Ok(events), 0),
    }
}

fn park(cx: &Cx<'_>, line: u8, file_id: u32, opcode: Opcode, args: [u64; 5]) -> Result<u32, Errno> {
    let s = cx.s;
    let channel = channel::open(s, Key::Line(line))?;
    if channel::is_full(s, channel, MOST) {
        return Err(Errno::AGAIN);
    }
    let id = match cx.start_op(opcode) {
        Ok(id) => id,
        Err(error) => {
            channel::discard(s, channel);
            return Err(error);
        }
    };
    let op = s.ops.at(id);
    op.file.set(file_id);
    s.files.at(file_id).hold(1);
    for (index, value) in args.into_iter().enumerate() {
        op.set_arg(index, value);
    }
    channel::join(s, channel, id, Wait::Channel);
    Ok(id)
}

/// A line was raised: those who wait for it complete.
pub fn raised(s: &State, line: u8) {
    if let Some(counter) = s.interrupts.get(usize::from(line)) {
        count(counter);
    }
    let Some(channel) = channel::find(s, Key::Line(line)) else { return };
    channel::for_each(s, channel, MOST, |id| {
        if line == IRQ_SERIAL && !has_input(s) {
            return;
        }
        let op = s.ops.at(id);
        if op.opcode.get() == Opcode::Poll {
            let now = op.arg(1) & event::READ;
            if now != 0 {
                poll::tell(s, id, now);
            }
            return;
        }
        channel::leave(s, id);
        let result = finish(s, id, line);
        s.end_op(id, result, 0);
    });
}

fn finish(s: &State, id: u32, line: u8) -> Result<u64, Errno> {
    let op = s.ops.at(id);
    let ring = s.rings.at(op.ring.get());
    let space = s.memory.space(ring.space.get());
    if line == IRQ_SERIAL {
        return take_input(s, space, op.arg(1), op.arg(2));
    }
    let now = seen(s, line);
    user::write_bytes(&s.memory, space, op.arg(1), &now.to_le_bytes())?;
    s.files.at(op.file.get()).cursor.set(now);
    Ok(8)
}
