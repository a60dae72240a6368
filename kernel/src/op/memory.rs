//! `Map`, `Unmap`, `Protect`, `Advise`: what a program's addresses mean.
//!
//! What a step's budget allows is done at once; the rest goes on as work, a slice at a time. When the asker
//! is gone meanwhile, a mapping is taken out again, an unmapping and an advice stop where they are, and a change of rights
//! is carried through, since a region has the same rights all over.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::inflight::Op;
use super::state::State;
use super::{OpResult, Outcome, flush, work};
use crate::base::NONE;
use crate::base::budget::Budget;
use crate::context::file::Kind;
use crate::mem::Run;
use crate::mem::advise::{Advice, Advise};
use crate::mem::clear::Clear;
use crate::mem::fill::{Fill, Wanted, Where};
use crate::mem::protect;
use crate::mem::space::{PAGE_BYTES, Space};
use ring_abi::args::{self, CURRENT, Map, Protect, Unmap, map};
use ring_abi::boot::USER_END;
use ring_abi::{Errno, Opcode, Words};
use rmm::PageRights;

/// Bits of the flags that say rights.
const RIGHTS: u64 = map::READ | map::WRITE | map::EXECUTE;
/// Bits of the flags that say where.
const PLACE: u64 = map::FIXED_NOREPLACE | map::GUARD;

/// Maps anonymous zeroed memory.
pub fn map(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = Map::decode(entry)?;
    let wanted = wanted(args.address, args.length, args.flags)?;
    let (id, space) = space_of(cx, args.space)?;
    cx.s.ops.ensure_one(&cx.s.memory)?;
    let mut fill = Fill::start(&cx.s.memory, space, &wanted)?;

    match fill.run(&cx.s.memory, space, cx.budget) {
        Run::Done(result) => flush::finish(cx, Opcode::Map, space, result),
        Run::More => Ok(park(cx, Opcode::Map, id, fill.to_words())),
    }
}

/// What a mapping is to be, as a program says it.
pub(super) fn wanted(address: u64, length: u64, flags: u64) -> Result<Wanted, Errno> {
    if flags & !(RIGHTS | PLACE | map::SHARED | map::PRIVATE | map::POPULATE) != 0 {
        return Err(Errno::INVAL);
    }
    let shared = match flags & (map::SHARED | map::PRIVATE) {
        map::SHARED => true,
        map::PRIVATE => false,
        _ => return Err(Errno::INVAL),
    };
    let at = match flags & PLACE {
        map::FIXED => Where::Replacing(page_number(address)?),
        map::FIXED_NOREPLACE => Where::Free(page_number(address)?),
        open @ (0 | map::GUARD) => match (address / PAGE_BYTES, open != 0) {
            (0, guard) => Where::Anywhere { guard },
            (first, guard) => Where::Near { first, guard },
        },
        _ => return Err(Errno::INVAL),
    };
    let pages = length.div_ceil(PAGE_BYTES);
    let populated = flags & map::POPULATE != 0;
    Ok(Wanted { at, pages, rights: rights(flags & RIGHTS)?, shared, object: NONE, populated })
}

/// Takes mappings away.
pub fn unmap(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = Unmap::decode(entry)?;
    let (first, end) = range(args.address, args.length)?;
    let (id, space) = space_of(cx, args.space)?;
    cx.s.ops.ensure_one(&cx.s.memory)?;
    let mut clear = Clear::start(&cx.s.memory, space, first, end)?;

    match clear.run(&cx.s.memory, space, cx.budget) {
        Run::Done(result) => flush::finish(cx, Opcode::Unmap, space, result),
        Run::More => Ok(park(cx, Opcode::Unmap, id, clear.to_words())),
    }
}

/// Changes what the program may do with pages.
pub fn protect(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = Protect::decode(entry)?;
    if args.rights & !RIGHTS != 0 {
        return Err(Errno::INVAL);
    }
    let rights = rights(args.rights)?;
    let range = range(args.address, args.length)?;
    let (id, space) = space_of(cx, args.space)?;
    cx.s.ops.ensure_one(&cx.s.memory)?;
    let mut change = protect::Protect::start(&cx.s.memory, space, range, rights)?;

    match change.run(&cx.s.memory, space, cx.budget) {
        Run::Done(result) => flush::finish(cx, Opcode::Protect, space, result),
        Run::More => Ok(park(cx, Opcode::Protect, id, change.to_words())),
    }
}

/// Takes an advice about pages.
pub fn advise(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = args::Advise::decode(entry)?;
    let advice = match args.advice {
        args::advice::WILLNEED => Advice::WillNeed,
        args::advice::DONTNEED => Advice::DontNeed,
        _ => return Err(Errno::INVAL),
    };
    let range = range(args.address, args.length)?;
    let (id, space) = space_of(cx, args.space)?;
    cx.s.ops.ensure_one(&cx.s.memory)?;
    let mut change = Advise::start(space, range, advice)?;

    match change.run(&cx.s.memory, space, cx.budget) {
        Run::Done(result) => flush::finish(cx, Opcode::Advise, space, result),
        Run::More => Ok(park(cx, Opcode::Advise, id, change.to_words())),
    }
}

/// Goes on with one of these operations. `false`: it has ended.
pub fn slice(s: &State, id: u32, budget: &Budget) -> bool {
    let op = s.ops.at(id);
    let (memory, space) = (&s.memory, s.memory.space(op.object.get()));
    let run = match op.opcode.get() {
        Opcode::Map => {
            let mut fill = Fill::from_words(words(op));
            if op.is_detached() {
                fill.abandon();
            }
            let run = fill.run(memory, space, budget);
            set_words(op, fill.to_words());
            run
        }
        Opcode::Unmap => {
            let mut clear = Clear::from_words(words(op));
            let gone = op.is_detached();
            let run =
                if gone { clear.stop(memory, Errno::CANCELED) } else { clear.run(memory, space, budget) };
            set_words(op, clear.to_words());
            run
        }
        Opcode::Advise if op.is_detached() => Run::Done(Err(Errno::CANCELED)),
        Opcode::Advise => {
            let mut change = Advise::from_words(words(op));
            let run = change.run(memory, space, budget);
            set_words(op, change.to_words());
            run
        }
        _ => {
            let mut change = protect::Protect::from_words(words(op), memory, space);
            let run = change.run(memory, space, budget);
            set_words(op, change.to_words());
            run
        }
    };
    match run {
        Run::More => true,
        Run::Done(result) => {
            end_work(s, id, result);
            false
        }
    }
}

/// The address space under a handle, or the caller's own: its name and itself.
pub(super) fn space_of<'a>(cx: &Cx<'a>, fd: u64) -> Result<(u32, &'a Space), Errno> {
    if fd == CURRENT {
        return Ok((cx.context.space.get(), cx.space()));
    }
    let id = cx.object(fd, Kind::Space)?;
    Ok((id, cx.s.memory.space(id)))
}

/// Lets an operation go on as work. Its record was ensured.
pub(super) fn park(cx: &Cx<'_>, opcode: Opcode, space_id: u32, words: [u64; 4]) -> Outcome {
    let s = cx.s;
    let Ok(id) = cx.start_op(opcode) else { crate::bug!("an operation's record was ensured") };
    let op = s.ops.at(id);
    op.object.set(space_id);
    set_words(op, words);
    s.memory.hold_space(space_id);
    s.memory.space(space_id).begin_change();
    work::add(s, id);
    Outcome::Parked
}

/// Ends an operation that was work, and lets go of its space.
pub(super) fn end_work(s: &State, id: u32, result: Result<u64, Errno>) {
    let space_id = s.ops.at(id).object.get();
    s.memory.space(space_id).end_change();
    flush::finish_work(s, id, s.memory.space(space_id), result);
    s.release_space(space_id);
}

pub(super) fn words(op: &Op) -> [u64; 4] {
    [op.arg(0), op.arg(1), op.arg(2), op.arg(3)]
}

pub(super) fn set_words(op: &Op, words: [u64; 4]) {
    for (index, word) in words.into_iter().enumerate() {
        op.set_arg(index, word);
    }
}

fn page_number(address: u64) -> Result<u64, Errno> {
    if address & PAGE_BYTES.wrapping_sub(1) == 0 { Ok(address / PAGE_BYTES) } else { Err(Errno::INVAL) }
}

/// First page, and the page after the last.
fn range(address: u64, length: u64) -> Result<(u64, u64), Errno> {
    let first = page_number(address)?;
    let end = address.checked_add(length).filter(|end| *end <= USER_END).ok_or(Errno::INVAL)?;
    Ok((first, end.div_ceil(PAGE_BYTES)))
}

/// What a program may do. Nothing at all is not to be had, nor is writing what can be executed.
fn rights(flags: u64) -> Result<PageRights, Errno> {
    match (flags & map::WRITE != 0, flags & map::EXECUTE != 0) {
        (true, true) => Err(Errno::INVAL),
        (true, false) => Ok(PageRights::ReadWrite),
        (false, true) => Ok(PageRights::ReadExecute),
        (false, false) if flags & map::READ != 0 => Ok(PageRights::Read),
        (false, false) => Err(Errno::INVAL),
    }
}
