//! `MapFile`: a daemon's pages in another space.
//!
//! The daemon is asked for pages of its own memory that have the file's contents. When it has answered, a window onto them
//! ([`crate::mem::object`]) gets its region; from then on the daemon is asked no more, unless it answered with no address: then it
//! is asked for pages when they are touched ([`super::page_in`]). The window holds the file, so its daemon hears of a close only
//! after the last page of it was unmapped.
//!
//! In the record, the first argument is the space with the rights and flags above it; the space is held.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::inflight::Op;
use super::state::State;
use super::{OpResult, Outcome, flush, forward, memory, work};
use crate::base::NONE;
use crate::base::budget::{Budget, ENTRY};
use crate::context::file::Kind;
use crate::mem::Run;
use crate::mem::fill::{Fill, Wanted};
use crate::mem::object::Pages;
use crate::mem::space::{END, PAGE_BYTES};
use crate::scheme::link::Link;
use ring_abi::args::{MapFile, map};
use ring_abi::{Errno, Opcode, Words};

/// Rights and flags that a daemon is told.
const TOLD: u64 = map::READ | map::WRITE | map::EXECUTE | map::SHARED | map::PRIVATE;
/// Bytes of the longest file.
const LONGEST: u64 = i64::MAX as u64;

/// Asks the daemon of a file for pages.
pub fn start(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let s = cx.s;
    let args = MapFile::decode(entry)?;
    let wanted = memory::wanted(args.address, args.length, args.flags)?;
    let bytes = wanted.pages.checked_mul(PAGE_BYTES).ok_or(Errno::INVAL)?;
    let end = args.offset.checked_add(bytes).filter(|end| *end <= LONGEST);
    if wanted.pages == 0 || args.offset & PAGE_BYTES.wrapping_sub(1) != 0 || end.is_none() {
        return Err(Errno::INVAL);
    }
    if wanted.pages > END {
        return Err(Errno::NOMEM);
    }
    let (space, _) = memory::space_of(cx, args.space)?;
    let (file_id, file) = cx.file(args.fd)?;
    if file.kind.get() != Kind::Daemon {
        return Err(Errno::NODEV);
    }
    if space_of_daemon(s, s.links.at(file.object.get())) == Some(space) {
        return Err(Errno::DEADLK);
    }
    let kept = [args.fd, args.address, bytes, args.offset, 0];
    let id = forward::start_on(cx, Opcode::MapFile, file_id, file, kept)?;

    s.memory.hold_space(space);
    let op = s.ops.at(id);
    op.set_arg(0, u64::from(space) | args.flags << 32);
    forward::submit(s, cx.ring, id, op).map(|()| Outcome::Parked)
}

/// What the daemon is asked: opcode, and the arguments behind the file.
pub fn question(op: &Op) -> (Opcode, [u64; 3]) {
    (Opcode::MmapPrep, [op.arg(2), op.arg(0) >> 32 & TOLD, op.arg(3)])
}

/// An operation that maps a file ends: lets go of the space.
pub fn let_go(s: &State, op: &Op) {
    s.release_space(op.arg(0) as u32);
}

/// The space of the program that serves a link.
fn space_of_daemon(s: &State, link: &Link) -> Option<u32> {
    let ring = s.rings.get(link.ring.get())?;
    Some(s.contexts.at(ring.owner.get()).space.get())
}

/// The daemon has answered, with the address of its pages and how many there are, or an error.
#[cold]
pub fn prepared(s: &State, id: u32, link: &Link, answer: Result<u64, Errno>, there: u32) {
    s.memory.budget.charge(ENTRY);
    let begun = answer.map_err(not_mapped).and_then(|address| begin(s, s.ops.at(id), link, address, there));
    match begun {
        Ok(fill) => go_on(s, id, fill),
        Err(error) => s.end_op(id, Err(error), 0),
    }
}

/// What a daemon says that does not know the request.
fn not_mapped(error: Errno) -> Errno {
    if matches!(error, Errno::NOSYS | Errno::OPNOTSUPP) { Errno::NODEV } else { error }
}

/// Checks and takes everything that the mapping needs.
fn begin(s: &State, op: &Op, link: &Link, address: u64, there: u32) -> Result<Fill, Errno> {
    let first = address / PAGE_BYTES;
    let flags = op.arg(0) >> 32;
    let wanted = memory::wanted(op.arg(1), op.arg(2), flags)?;
    let end = first.checked_add(wanted.pages).ok_or(Errno::IO)?;
    if address & PAGE_BYTES.wrapping_sub(1) != 0 || end > END {
        return Err(Errno::IO);
    }
    let count = u32::try_from(wanted.pages).map_err(|_| Errno::NOMEM)?;
    let pages = Pages {
        space: space_of_daemon(s, link).ok_or(Errno::IO)?,
        first: (first != 0).then_some(first),
        offset: op.arg(3) / PAGE_BYTES,
        count: if there == 0 { count } else { count.min(there) },
        writable: wanted.shared && flags & map::WRITE != 0,
        file: op.file.get(),
    };
    let object = s.memory.create_window(pages)?;
    s.files.at(op.file.get()).hold(1);
    let fill = Fill::start(&s.memory, s.memory.space(op.arg(0) as u32), &Wanted { object, ..wanted });
    // The region holds it, if there is one.
    s.memory.let_go_object(object);
    if !s.memory.has_no_dying_object() {
        s.step.rearm();
    }
    fill
}

/// The operation is a mapping like others from now on.
fn go_on(s: &State, id: u32, mut fill: Fill) {
    let op = s.ops.at(id);
    let space_id = op.arg(0) as u32;
    let space = s.memory.space(space_id);
    op.opcode.set(Opcode::Map);
    s.let_go(op.file.replace(NONE));
    op.object.set(space_id);
    match fill.run(&s.memory, space, &s.memory.budget) {
        Run::Done(result) => {
            flush::finish_work(s, id, space, result);
            s.release_space(space_id);
        }
        Run::More => {
            memory::set_words(op, fill.to_words());
            space.begin_change();
            work::add(s, id);
        }
    }
}

/// Lets go of files whose windows nobody maps any more. `false`: there is none.
pub fn slice_ended(s: &State, budget: &Budget) -> bool {
    let mut done = false;
    while !s.memory.has_no_dying_object() && budget.spend(ENTRY) {
        if let Some(file) = s.memory.take_dying_object() {
            s.let_go(file);
        }
        done = true;
    }
    done
}
