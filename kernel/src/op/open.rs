//! `OpenAt` and `UnlinkAt`: from a path to a file of a daemon, or of a scheme that the kernel serves.
//!
//! An absolute path is resolved as far as the scheme's name; the rest is the daemon's. What lies below a
//! directory's handle is the daemon's altogether.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::inflight::Op;
use super::state::State;
use super::{OpResult, Outcome, forward, kernel_scheme};
use crate::base::NONE;
use crate::base::list::Chain;
use crate::context::file::Kind;
use crate::mem::user;
use crate::op::state::ByName;
use crate::scheme::names::{self, LONGEST, Target, Text};
use ring_abi::args::CURRENT;
use ring_abi::cqe::POSITIONED;
use ring_abi::{Errno, Opcode, Words};

const PREFIX: usize = b"/scheme/".len();
const HEAD: usize = PREFIX + LONGEST + 1;

/// Opens a file, or removes a name, by path.
pub fn start(cx: &Cx<'_>, opcode: Opcode, entry: &impl Words) -> OpResult {
    let args = [entry.arg(0), entry.arg(1), entry.arg(2), entry.arg(3), entry.arg(4)];
    let [fd, buffer, length, flags, capacity] = args;
    if fd != CURRENT {
        return forward::start(cx, opcode, args);
    }
    super::restrict::check_names(cx)?;
    let mut bytes = [0; HEAD];
    let read = (length.min(HEAD as u64)) as usize;
    let head = bytes.get_mut(..read).ok_or(Errno::INVAL)?;
    user::read_bytes(&cx.s.memory, cx.space(), buffer, head)?;
    if opcode == Opcode::OpenAt && matches!(&*head, b"/scheme" | b"/scheme/") {
        return kernel_scheme::open_directory(cx);
    }
    let (name, rest) = names::split(head)?;
    let target = find(cx.s, name)?;
    let skipped = read.wrapping_sub(rest.len()) as u64;
    match target {
        (Target::Kernel(scheme), _) => {
            if opcode != Opcode::OpenAt {
                return Err(Errno::ROFS);
            }
            let all = usize::try_from(length).ok().filter(|&length| length <= HEAD).ok_or(Errno::NOENT)?;
            kernel_scheme::open(
                cx,
                scheme,
                rest.get(..all.wrapping_sub(skipped as usize)).unwrap_or(rest),
                flags,
            )
        }
        (Target::Link(link), root) => {
            let path = [root, buffer.wrapping_add(skipped), length.wrapping_sub(skipped), flags, capacity];
            start_on_root(cx, opcode, link, path, skipped)
        }
        (Target::Free, _) => Err(Errno::NODEV),
    }
}

/// Sends the rest of an absolute path to the scheme's daemon. The request works on no open file: a record
/// for the root is made for it, which goes with the request.
fn start_on_root(cx: &Cx<'_>, opcode: Opcode, link_id: u32, path: [u64; 5], skipped: u64) -> OpResult {
    let s = cx.s;
    let [root, buffer, length, flags, capacity] = path;
    let link = s.links.at(link_id);
    if !link.lives() {
        return Err(Errno::NODEV);
    }
    let file_id = s.files.take(&s.memory)?;
    let file = s.files.at(file_id);
    file.open(Kind::Root, link_id, root);
    link.refs.set(link.refs.get().wrapping_add(1));
    let started = forward::start_on(cx, opcode, file_id, file, [0, buffer, length, flags, capacity]);
    // The operation holds the file now, or nobody does.
    if file.let_go() {
        s.close_file(file_id);
    }
    let id = started?;
    if opcode == Opcode::OpenAt {
        forward::skip(s.ops.at(id), skipped);
    }
    forward::submit(s, cx.ring, id, s.ops.at(id)).map(|()| Outcome::Parked)
}

/// Where a scheme's name leads. `ENODEV` if nowhere.
fn find(s: &State, name: &[u8]) -> Result<(Target, u64), Errno> {
    let text = Text::unchecked(name).ok_or(Errno::NODEV)?;
    match lookup(s, text) {
        Some(id) => {
            let name = s.names.at(id);
            Ok((name.target.get(), name.root.get()))
        }
        None => Err(Errno::NODEV),
    }
}

/// The record of a name.
pub fn lookup(s: &State, text: Text) -> Option<u32> {
    let chain = ByName(&s.names);
    let mut at = s.name_list.first();
    while at != NONE {
        if s.names.at(at).text.get() == text {
            return Some(at);
        }
        at = chain.link(at).next();
    }
    None
}

/// A daemon opened a file: it goes under the asker's lowest free handle.
///
/// The file's record was reserved when the operation started; if there is no free handle now, the daemon is
/// told that its file is closed again.
pub fn finish(s: &State, op: &Op, id: u64, extra: u32) -> Result<u64, Errno> {
    let ring = s.rings.at(op.ring.get());
    let owner = s.contexts.at(ring.owner.get());
    let table = s.tables.at(owner.table.get());
    let file_id = use_reserve(s, op, id);
    s.files.at(file_id).positioned.set(extra & POSITIONED != 0);
    match s.vacant_for(s.slot_of(op), table) {
        Ok(place) => {
            let _ = table.put(&s.chunks, place, file_id, 0);
            Ok(u64::from(place.number()))
        }
        Err(error) => {
            s.let_go(file_id);
            Err(error)
        }
    }
}

/// Makes the file record that an operation reserved lead to a file of its daemon.
pub fn use_reserve(s: &State, op: &Op, id: u64) -> u32 {
    let link_id = op.object.get();
    let link = s.links.at(link_id);
    let file_id = op.arg(0) as u32;
    op.set_arg(0, op.arg(0) | u64::from(NONE));
    s.files.at(file_id).open(Kind::Daemon, link_id, id);
    link.refs.set(link.refs.get().wrapping_add(1));
    file_id
}
