//! Scheme `sys`: what the kernel knows about itself, as small text files of `name value` lines.
//!
//! A read makes the text anew and hands out the part from the asked offset on, so nothing is stored. An offset is a row and
//! a byte of it (`row << 16 | byte`), so that no row is torn between two reads when one before it gets longer; and a read
//! is as short as a step has to be, but empty only at the end.
#![forbid(unsafe_code)]

use super::channel;
use super::cx::Cx;
use super::state::State;
use super::window::Window;
use super::{OpResult, Outcome, maps};
use crate::base::NONE;
use crate::base::list::Chain;
use crate::base::rows::Rows;
use crate::context::file::File;
use crate::mem::user;
use crate::op::kernel_scheme;
use crate::op::state::ByName;
use crate::scheme::names::LONGEST;
use core::cell::Cell;
use core::fmt;
use ring_abi::args::CURSOR;
use ring_abi::{Errno, Opcode};

/// Files of the scheme, by number.
const FILES: [&str; 10] =
    ["exit", "footprint", "counters", "latency", "step", "trace", "events", "schemes", "lock", "maps"];
const EXIT: u8 = 0;
const FOOTPRINT: u8 = 1;
const COUNTERS: u8 = 2;
const LATENCY: u8 = 3;
const STEP: u8 = 4;
const TRACE: u8 = 5;
const EVENTS: u8 = 6;
const LOCK: u8 = 8;
const MAPS: u8 = 9;

/// The number of a file.
pub fn find(name: &[u8]) -> Option<u8> {
    FILES.iter().position(|file| file.as_bytes() == name).map(|index| index as u8)
}

/// Path of an open file below its scheme.
pub fn path(scheme: u8, part: u8) -> &'static str {
    match scheme {
        kernel_scheme::SYS => FILES.get(usize::from(part)).copied().unwrap_or(""),
        _ => "",
    }
}

/// Reads the text of a file from an offset on, or from the file's cursor: see [`Window`].
pub fn read(cx: &Cx<'_>, part: u8, file: &File, args: [u64; 5]) -> OpResult {
    if part == MAPS {
        return maps::read(cx, file, args);
    }
    let [_, buffer, length, offset, _] = args;
    let start = if offset == CURSOR { file.cursor.get() } else { offset };
    let mut out = Window::new(cx, start, buffer, length);
    // The only error is the window's own.
    let _ = print(cx.s, part, &mut out);
    let (done, end) = out.finish()?;
    if offset == CURSOR {
        file.cursor.set(end);
    }
    Ok(Outcome::Done(done))
}

fn print(s: &State, part: u8, out: &mut impl Rows) -> fmt::Result {
    match part {
        FOOTPRINT => footprint(s, out),
        COUNTERS => counters(s, out),
        LATENCY => latency(s, out),
        STEP => step(s, out),
        LOCK => lock(s, out),
        EVENTS => s.trace.iter().try_for_each(|event| {
            let [a, b] = event.numbers;
            out.row(format_args!("{} {:?} {a:#x} {b:#x}", event.at, event.what))
        }),
        _ => Ok(()),
    }
}

/// Bytes and numbers of everything that the kernel keeps.
fn footprint(s: &State, out: &mut impl Rows) -> fmt::Result {
    let mut row = |name: &str, live: u32, bytes: usize| {
        out.row(format_args!("{name} {live} {bytes} {}", u64::from(live).wrapping_mul(bytes as u64)))
    };
    row("contexts", s.contexts.live(), s.contexts.record_bytes())?;
    row("blocks", s.blocks.live(), s.blocks.record_bytes())?;
    row("rings", s.rings.live(), s.rings.record_bytes())?;
    row("operations", s.live_ops(), s.ops.record_bytes())?;
    row("channels", live_channels(s), s.channels.record_bytes())?;
    row("files", s.files.live(), s.files.record_bytes())?;
    row("tables", s.tables.live(), s.tables.record_bytes())?;
    row("chunks", s.chunks.live(), s.chunks.record_bytes())?;
    row("links", s.links.live(), s.links.record_bytes())?;
    row("slots", s.slots.live(), size_of::<crate::scheme::link::Slot>())?;
    row("groups", s.groups.live(), s.groups.record_bytes())?;
    row("outfits", s.outfits.live(), s.outfits.record_bytes())?;
    row("names", s.names.live(), s.names.record_bytes())?;
    row("bounds", s.bounds.live(), s.bounds.record_bytes())?;
    row("ports", s.ports.live(), s.ports.record_bytes())?;
    row("timers", s.timers.len(), 16)?;
    let machine = &s.memory.machine;
    row("stacks", machine.cpus() as u32, machine.stack_size().wrapping_add(machine.side_stack_bytes()))?;
    s.memory.footprint(out)
}

/// Channels on which somebody waits.
pub fn live_channels(s: &State) -> u32 {
    channel::live(s, s.seats.channels().chain(s.irq_channels.iter().map(Cell::get)))
}

fn counters(s: &State, out: &mut impl Rows) -> fmt::Result {
    let stats = &s.stats;
    out.row(format_args!("enters {}", stats.all_enters()))?;
    out.row(format_args!("polled {}", stats.polled.get()))?;
    out.row(format_args!("events {}", stats.events.get()))?;
    out.row(format_args!("switches {}", stats.all_switches()))?;
    out.row(format_args!("stale_tags {}", stats.stale_tags.get()))?;
    out.row(format_args!("refused {}", stats.refused.get()))?;
    out.row(format_args!("killed {}", stats.killed.get()))?;
    out.row(format_args!("touches {}", stats.touches.get()))?;
    for opcode in Opcode::ALL {
        let count = stats.all_started(*opcode);
        if count != 0 {
            out.row(format_args!("{} {count}", opcode.name()))?;
        }
    }
    Ok(())
}

/// Lines of: opcode, then `class:count` for each class of latency that occurred; class n is from 2^n ticks on.
fn latency(s: &State, out: &mut impl Rows) -> fmt::Result {
    for opcode in Opcode::ALL {
        let Some(row) = s.stats.latency.get(u32::from(opcode.raw())) else { continue };
        let row = &row.0;
        if row.iter().all(|cell| cell.get() == 0) {
            continue;
        }
        out.row(format_args!("{}{}", opcode.name(), Classes(row)))?;
    }
    Ok(())
}

/// The classes of latency that occurred.
struct Classes<'a>(&'a [Cell<u32>]);

impl fmt::Display for Classes<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let occurred = self.0.iter().enumerate().filter(|(_, cell)| cell.get() != 0);
        occurred.into_iter().try_for_each(|(class, cell)| write!(out, " {class}:{}", cell.get()))
    }
}

fn step(s: &State, out: &mut impl Rows) -> fmt::Result {
    let machine = &s.memory.machine;
    out.row(format_args!("longest_step_ticks {}", s.stats.longest_step.get()))?;
    out.row(format_args!("longest_step_kind {}", s.stats.longest_kind.get()))?;
    out.row(format_args!("stack_high_water {}", machine.stack_high_water()))?;
    out.row(format_args!("stack_of_boot {}", machine.stack_of_boot()))?;
    out.row(format_args!("stack_size {}", machine.stack_size()))?;
    out.row(format_args!("side_stack_bytes {}", machine.side_stack_bytes()))?;
    out.row(format_args!("boot_ticks {}", s.boot_ticks.get()))?;
    out.row(format_args!("ticks_per_second {}", machine.ticks_per_second()))
}

/// The lock around the kernel's state: nothing but zeroes where there is one processor, since it is not taken there.
fn lock(s: &State, out: &mut impl Rows) -> fmt::Result {
    let machine = &s.memory.machine;
    let usage = machine.lock_use();
    out.row(format_args!("cpus {}", machine.cpus()))?;
    out.row(format_args!("taken {}", usage.taken))?;
    out.row(format_args!("waits {}", usage.waits))?;
    out.row(format_args!("sleeps {}", usage.sleeps))?;
    out.row(format_args!("waited_ticks {}", usage.waited))?;
    out.row(format_args!("longest_wait_ticks {}", usage.longest_wait))?;
    out.row(format_args!("held_ticks {}", usage.held))?;
    out.row(format_args!("longest_hold_ticks {}", usage.longest_hold))
}

/// Writes to one of the switches.
pub fn write(cx: &Cx<'_>, part: u8, buffer: u64, length: u64) -> OpResult {
    let mut bytes = [0; 16];
    let text = bytes.get_mut(..usize::try_from(length).map_err(|_| Errno::INVAL)?).ok_or(Errno::INVAL)?;
    user::read_bytes(&cx.s.memory, cx.space(), buffer, text)?;
    let text = core::str::from_utf8(text).map_err(|_| Errno::INVAL)?;
    let value: u32 = text.trim().parse().map_err(|_| Errno::INVAL)?;
    match part {
        EXIT => cx.s.halt.set(Some(value)),
        TRACE => cx.s.trace_rings(value),
        STEP => cx.s.stats.longest_step.set(0),
        _ => return Err(Errno::ROFS),
    }
    cx.s.step.rearm();
    Ok(Outcome::Done(length))
}

/// What `stat` tells of a kernel file: a character device, or the directory of schemes.
pub fn stat(cx: &Cx<'_>, directory: bool, buffer: u64, length: u64) -> OpResult {
    const MODE_OFFSET: usize = core::mem::offset_of!(syscall::Stat, st_mode);
    let mode: u16 = if directory { syscall::MODE_DIR | 0o555 } else { syscall::MODE_CHR | 0o666 };
    let mut bytes = [0; size_of::<syscall::Stat>()];
    if let Some(place) = bytes.get_mut(MODE_OFFSET..MODE_OFFSET.wrapping_add(2)) {
        place.copy_from_slice(&mode.to_le_bytes());
    }
    let count = bytes.len().min(usize::try_from(length).unwrap_or(usize::MAX));
    user::write_bytes(&cx.s.memory, cx.space(), buffer, bytes.get(..count).unwrap_or(&[]))?;
    Ok(Outcome::Done(0))
}

/// Bytes of a directory entry's header in `redox_syscall::dirent`.
const DIRENT: usize = size_of::<syscall::dirent::DirentHeader>();
/// Room for one entry: header, name, terminating zero.
const DIRENT_ROOM: usize = DIRENT + LONGEST + 8;

/// Entries of the directory of all schemes.
pub fn list_schemes(cx: &Cx<'_>, args: [u64; 5]) -> OpResult {
    let [_, buffer, length, header, start] = args;
    if header != DIRENT as u64 {
        return Err(Errno::INVAL);
    }
    let mut done = 0_u64;
    let mut index = 0_u64;
    let mut at = cx.s.name_list.first();
    while at != NONE {
        index = index.wrapping_add(1);
        if index > start {
            let text = cx.s.names.at(at).text.get();
            let mut room = [0; DIRENT_ROOM];
            let entry = dirent(&mut room, text.bytes(&mut [0; LONGEST]), index);
            if done.wrapping_add(entry.len() as u64) > length {
                // A buffer for not even one must not look like the end.
                if done == 0 {
                    return Err(Errno::INVAL);
                }
                break;
            }
            user::write_bytes(&cx.s.memory, cx.space(), buffer.wrapping_add(done), entry)?;
            done = done.wrapping_add(entry.len() as u64);
        }
        at = ByName(&cx.s.names).link(at).next();
    }
    Ok(Outcome::Done(done))
}

/// One entry: inode, opaque id of the next, length of the record, kind, name, zero.
fn dirent<'b>(room: &'b mut [u8; DIRENT_ROOM], name: &[u8], index: u64) -> &'b [u8] {
    let total = DIRENT.wrapping_add(name.len()).wrapping_add(1).next_multiple_of(8);
    let kind = syscall::dirent::DirentKind::Directory as u8;
    let length = (total as u16).to_le_bytes();
    let header = index.to_le_bytes().into_iter().chain(index.to_le_bytes()).chain(length).chain([kind]);
    for (place, byte) in room.iter_mut().zip(header.chain(name.iter().copied())) {
        *place = byte;
    }
    room.get(..total).unwrap_or(&[])
}
