//! Interrupts and serial input as completions.
//!
//! A line counts its interrupts. A read of a line waits for the count to move beyond what the reader's file
//! has seen (its cursor), so an interrupt between two reads is not lost.
#![forbid(unsafe_code)]

use super::channel::{self, Key};
use super::cx::Cx;
use super::inflight::{Op, Wait};
use super::state::State;
use super::stats::count;
use super::{OpResult, Outcome, poll};
use crate::arch::IRQ_SERIAL;
use crate::base::is_none;
use crate::mem::user;
use core::hint::cold_path;
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
        user::write_word(&cx.s.memory, cx.context.space.get(), &cx.ring.cache, buffer, now)?;
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
    let channel = channel_of(s, line)?;
    if channel::is_full(s, channel, MOST) {
        return Err(Errno::AGAIN);
    }
    let (id, op) = cx.start(opcode)?;
    op.file.set(file_id);
    s.files.at(file_id).hold(1);
    for (index, value) in args.into_iter().enumerate() {
        op.set_arg(index, value);
    }
    channel::join(s, channel, id, Wait::Channel);
    Ok(id)
}

/// The channel of a line. Once there is one, it stays.
fn channel_of(s: &State, line: u8) -> Result<u32, Errno> {
    let place = s.irq_channels.get(usize::from(line)).ok_or(Errno::INVAL)?;
    if is_none(place.get()) {
        let channel = channel::open(s, Key::Line(line))?;
        channel::keep(s, channel);
        place.set(channel);
    }
    Ok(place.get())
}

/// The channel of a line, if somebody waits for it.
#[inline(always)]
pub fn waited_for(s: &State, line: u8) -> Option<u32> {
    let channel = s.irq_channels.get(usize::from(line))?.get();
    (!is_none(channel) && channel::has_any(s, channel)).then_some(channel)
}

/// A line was raised: those who wait for it complete.
#[inline(always)]
pub fn raised(s: &State, line: u8) {
    if let Some(counter) = s.interrupts.get(usize::from(line)) {
        count(counter);
    }
    let Some(channel) = waited_for(s, line) else { return };
    let id = channel::first(s, channel);
    let op = s.ops.at(id);
    if line == IRQ_SERIAL || !channel::has_one(s, channel) || op.opcode.get() != Opcode::Read {
        return tell_all(s, line, channel);
    }
    channel::leave(s, id);
    match tell_count(s, op, line) {
        Ok(value) => s.complete_op(id, Ok(value), 0),
        Err(error) => {
            cold_path();
            s.end_op(id, Err(error), 0);
        }
    }
}

/// Completes those who wait for a line; for input only as many as there is some for.
#[cold]
#[inline(never)]
fn tell_all(s: &State, line: u8, channel: u32) {
    s.step.measure(&s.memory.machine);
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
        let result = if line == IRQ_SERIAL { give_input(s, op) } else { tell_count(s, op, line) };
        s.end_op(id, result, 0);
    });
}

/// Finishes a read of a line: it gets the number of interrupts so far.
#[inline(always)]
fn tell_count(s: &State, op: &Op, line: u8) -> Result<u64, Errno> {
    let now = seen(s, line);
    let ring = s.rings.at(op.ring.get());
    user::write_word(&s.memory, ring.space.get(), &ring.cache, op.arg(1), now)?;
    s.files.at(op.file.get()).cursor.set(now);
    Ok(8)
}

/// Finishes a read of the serial line, for which there is input.
fn give_input(s: &State, op: &Op) -> Result<u64, Errno> {
    let ring = s.rings.at(op.ring.get());
    take_input(s, s.memory.space(ring.space.get()), op.arg(1), op.arg(2))
}
