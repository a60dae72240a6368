//! `sys/maps`: the regions of every address space, a line each.
//!
//! ```text
//! SPACE PID FIRST-END RIGHTS KIND RESIDENT SHARED PRIVATE [+]
//! ```
//!
//! - A space's number, and the process of its first context (0: it has none).
//! - Addresses in hexadecimal, without a guard page. Bytes that have frames; those of them that others have as well; the
//!   others.
//! - `+`: the next line is about the rest of the same region. So no line takes more than a step has time for.
//! - A line of `-` says that there was nothing so far, and perhaps something behind it.
//!
//! An offset is where to go on: `space << 43 | page << 8 | byte of the line`. Nothing is kept between two reads, so each line is true by
//! itself, and all of them together only if nobody changes anything.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::state::State;
use super::window::Window;
use super::{OpResult, Outcome};
use crate::base::budget::Budget;
use crate::base::name::name_of;
use crate::context::file::File;
use crate::mem::region::{Kind, Region};
use crate::mem::space::{PAGE_BYTES, Space};
use crate::mem::tally::Tally;
use core::fmt;
use ring_abi::args::CURSOR;
use rmm::PageRights;

/// Bits of an offset that are a byte of a line, and those above it that are a page.
const BYTE_BITS: u32 = 8;
const PAGE_BITS: u32 = 35;
/// What counting the pages of one line may cost.
const COUNTING: u32 = 3000;
/// Records that are looked at for one line.
const MOST: u32 = 256;
/// What looking at one costs.
const LOOK: u32 = 8;

/// Reads from an offset on, or from the file's cursor.
pub fn read(cx: &Cx<'_>, file: &File, [_, buffer, length, offset, _]: [u64; 5]) -> OpResult {
    let start = if offset == CURSOR { file.cursor.get() } else { offset };
    let mut out = Window::with_keys(cx, BYTE_BITS, start, buffer, length);
    while out.takes_more() {
        let Some(next) = line(cx.s, out.key(), &mut out) else { break };
        if next.is_err() {
            break;
        }
    }
    let (done, end) = out.finish()?;
    if offset == CURSOR {
        file.cursor.set(end);
    }
    Ok(Outcome::Done(done))
}

/// Makes the line of a key. Nothing behind the last one.
fn line(s: &State, key: u64, out: &mut Window<'_, '_>) -> Option<fmt::Result> {
    let (mut number, mut page) = (key >> PAGE_BITS, key & ((1 << PAGE_BITS) - 1));
    for _ in 0..MOST {
        s.memory.budget.charge(LOOK);
        let id = u32::try_from(number).ok().filter(|number| *number < s.memory.spaces.made())?;
        let space_id = name_of::<Space>(id);
        let space = s.memory.space(space_id);
        let found = space.is_live().then(|| space.regions.first_from(&s.memory.regions, page)).flatten();
        match found.map(|region| s.memory.regions.at(region)) {
            Some(region) if region.end() > region.body().max(page) => {
                return Some(region_line(s, (number, space), region, page, out));
            }
            // A guard alone.
            Some(region) => page = region.end(),
            None => (number, page) = (number.wrapping_add(1), 0),
        }
    }
    Some(out.line(number << PAGE_BITS | page, format_args!("-")))
}

fn region_line(
    s: &State,
    (number, space): (u64, &Space),
    region: &Region,
    page: u64,
    out: &mut Window<'_, '_>,
) -> fmt::Result {
    let first = region.body().max(page);
    let budget = Budget::of(COUNTING);
    let tally = space.tally(&s.memory, (first, region.end()), &budget);
    s.memory.budget.charge(COUNTING.wrapping_sub(budget.left_of(COUNTING)));
    let Tally { end, resident, shared } = tally;
    let bytes = |pages: u32| u64::from(pages).wrapping_mul(PAGE_BYTES);
    let pid = s.contexts.get(space.contexts.first()).map_or(0, |context| context.pid.get());
    out.line(
        number << PAGE_BITS | end,
        format_args!(
            "{number} {pid} {:x}-{:x} {} {} {} {} {}{}",
            first.wrapping_mul(PAGE_BYTES),
            end.wrapping_mul(PAGE_BYTES),
            rights(region.rights.get()),
            kind(region),
            bytes(resident),
            bytes(shared),
            bytes(resident.wrapping_sub(shared)),
            if end < region.end() { " +" } else { "" },
        ),
    )
}

fn rights(rights: PageRights) -> &'static str {
    match rights {
        PageRights::Read => "r--",
        PageRights::ReadWrite => "rw-",
        PageRights::ReadExecute => "r-x",
    }
}

/// What a region is: `memory` of its own, `file` with what was written to it being nobody else's, `shared` memory or file, a
/// `ring` or an arena, or the boot `image`.
fn kind(region: &Region) -> &'static str {
    match region.kind.get() {
        Kind::Private if region.object().is_some() => "file",
        Kind::Private => "memory",
        Kind::Shared => "shared",
        Kind::Wired => "ring",
        Kind::Image => "image",
    }
}
