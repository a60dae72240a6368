//! Handles: close, duplicate here or into another table, flags; and making handle tables.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::state::State;
use super::{OpResult, Outcome, tell};
use crate::base::NONE;
use crate::context::context::Context;
use crate::context::file::Kind;
use crate::context::handles::{CLOSE_ON_EXEC, Place, Table};
use ring_abi::args::{CURRENT, Close, HandleDup, HandleFlags, HandleReserve, LOWEST, TableCreate, handle};
use ring_abi::{Errno, Words};

/// What copying a handle is reckoned to cost.
const HANDLE: u32 = 10;

/// Takes a handle away. Operations in flight keep the file.
pub fn close(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = Close::decode(entry)?;
    let file = cx.table().remove(&cx.s.chunks, args.fd)?;

    cx.s.let_go_handle(file);
    Ok(Outcome::Done(0))
}

/// Takes away the handle that a program names which has nothing else to do: what the close completes with.
#[inline(always)]
pub fn close_plain(s: &State, context: &Context, entry: &impl Words) -> u64 {
    let closed =
        Close::decode(entry).and_then(|args| s.tables.at(context.table.get()).remove(&s.chunks, args.fd));
    match closed {
        Ok(id) => {
            let file = s.files.at(id);
            if file.kind.get() != Kind::Daemon {
                s.let_go_handle(id);
            } else if file.let_go() && !tell::close(s, id) {
                s.close_file(id);
            }
            0
        }
        Err(error) => error.to_result(),
    }
}

/// Makes another handle to a file, in the caller's table or in another one.
pub fn dup(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = HandleDup::decode(entry)?;
    if args.flags & !handle::CLOSE_ON_EXEC != 0 {
        return Err(Errno::INVAL);
    }
    let (file_id, file) = cx.file(args.fd)?;
    let table = table_of(cx, args.table)?;
    let place = place(cx.s, table, args.target)?;

    file.hold(1);
    let before = table.put(&cx.s.chunks, place, file_id, args.flags as u32);
    if before != NONE {
        cx.s.let_go_handle(before);
    }
    Ok(Outcome::Done(u64::from(place.number())))
}

fn table_of<'a>(cx: &Cx<'a>, fd: u64) -> Result<&'a Table, Errno> {
    if fd == CURRENT { Ok(cx.table()) } else { Ok(cx.s.tables.at(cx.object(fd, Kind::Table)?)) }
}

fn place(s: &State, table: &Table, target: u64) -> Result<Place, Errno> {
    if target == LOWEST {
        table.vacant(&s.memory, &s.chunks)
    } else {
        table.vacant_at(&s.memory, &s.chunks, target)
    }
}

/// Keeps a number for handles whose entries name it, or gives it back.
pub fn reserve(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = HandleReserve::decode(entry)?;
    let (table, chunks) = (cx.table(), &cx.s.chunks);
    match args.reserve {
        0 => table.unreserve(chunks, args.fd)?,
        1 => {
            let place = place(cx.s, table, args.fd)?;
            table.reserve(chunks, place)?;
            return Ok(Outcome::Done(u64::from(place.number())));
        }
        _ => return Err(Errno::INVAL),
    }
    Ok(Outcome::Done(args.fd))
}

/// Reads or sets a handle's flags; gives those before.
pub fn flags(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = HandleFlags::decode(entry)?;
    let entry = cx.table().entry(&cx.s.chunks, args.fd)?;
    let before = u64::from(entry.flags() & CLOSE_ON_EXEC);
    if args.flags != u64::MAX {
        if args.flags & !handle::CLOSE_ON_EXEC != 0 {
            return Err(Errno::INVAL);
        }
        entry.set_flags(args.flags as u32);
    }
    Ok(Outcome::Done(before))
}

/// Makes a handle table, empty or as a copy of the caller's.
///
/// A table has at most 4096 handles, and the copy goes chunk by chunk within this step, to which it is charged.
pub fn table(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = TableCreate::decode(entry)?;
    if args.copy > 1 {
        return Err(Errno::INVAL);
    }
    let s = cx.s;
    let place = cx.vacant()?;
    s.files.ensure_one(&s.memory)?;
    let id = s.tables.take(&s.memory)?;
    let table = s.tables.at(id);
    if args.copy == 1
        && let Err(error) = reserve_like(cx, table)
    {
        table.give_chunks(&s.chunks);
        s.tables.give(id);
        return Err(error);
    }
    let Ok(file) = s.files.take(&s.memory) else { crate::bug!("a file record was ensured") };

    table.refs.set(1);
    if args.copy == 1 {
        cx.budget.charge(cx.table().count.get().wrapping_mul(HANDLE));
        copy(cx, table);
    }
    s.files.at(file).open(Kind::Table, id, 0);
    Ok(Outcome::Done(cx.put(place, file, 0)))
}

/// Takes memory for every handle number that the caller uses.
fn reserve_like(cx: &Cx<'_>, table: &Table) -> Result<(), Errno> {
    let mut at = 0;
    while let Some((number, _, _)) = cx.table().next(&cx.s.chunks, at) {
        table.vacant_at(&cx.s.memory, &cx.s.chunks, number)?;
        at = (number | 63).wrapping_add(1);
    }
    table.reserve_like(&cx.s.memory, &cx.s.chunks, cx.table())
}

fn copy(cx: &Cx<'_>, table: &Table) {
    let mut at = 0;
    while let Some((number, file, flags)) = cx.table().next(&cx.s.chunks, at) {
        let Ok(place) = table.vacant_at(&cx.s.memory, &cx.s.chunks, number) else { return };
        cx.s.files.at(file).hold(1);
        let before = table.put(&cx.s.chunks, place, file, flags);
        debug_assert_eq!(before, NONE, "a fresh table is empty");
        at = number.wrapping_add(1);
    }
}
