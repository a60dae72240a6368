//! The first program: from the boot blob to a context that is ready to run.
//!
//! The kernel knows neither ELF nor the initfs. It checks the blob's header, maps its segments with the rights
//! that are named there, and starts a context at the entry.
#![forbid(unsafe_code)]

use crate::arch::Start;
use crate::context::file::Kind;
use crate::op::context::{let_run, set_up};
use crate::op::kernel_scheme::NAMES;
use crate::op::state::{ByName, State};
use crate::ring::place;
use crate::scheme::names::{Target, Text};
use ring_abi::Errno;
use ring_abi::boot::{BadBlob, Header};
use ring_abi::layout::Sizes;
use rmm::PhysAddr;

/// Sizes of the first context's ring: it serves the initfs to everybody through another, and starts init.
const RING: Sizes = Sizes { sq: 5, cq: 6, service: None };

/// Why there is no first program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoFirst {
    /// The blob is refused.
    Blob(BadBlob),
    /// Something failed, most likely for lack of memory.
    Error(Errno),
}

impl From<Errno> for NoFirst {
    fn from(error: Errno) -> Self {
        NoFirst::Error(error)
    }
}

/// Files the names of the schemes that the kernel serves.
pub fn name_kernel_schemes(s: &State) -> Result<(), Errno> {
    for (number, name) in NAMES.iter().enumerate() {
        let id = s.names.take(&s.memory)?;
        let record = s.names.at(id);
        record.text.set(Text::new(name.as_bytes())?);
        record.target.set(Target::Kernel(number as u8));
        s.name_list.push_back(&ByName(&s.names), id);
    }
    Ok(())
}

/// Makes the first context out of the blob at `start` and lets it run. `word` reads the blob's first page.
pub fn start(s: &State, start: PhysAddr, length: u64, word: impl Fn(usize) -> u64) -> Result<(), NoFirst> {
    let header = Header::decode(length, word).map_err(NoFirst::Blob)?;
    let space_id = s.memory.create_first_space()?;
    for segment in header.segments() {
        s.memory.space(space_id).map_segment(&s.memory, start, segment)?;
    }
    let table_id = s.tables.take(&s.memory)?;
    let id = s.contexts.take(&s.memory)?;
    let ring_id = place::make(&s.memory, &s.rings, space_id, RING, id)?;
    let ring = place::address(&s.memory, s.rings.at(ring_id));
    let [first, second] = header.arguments;
    let start = Start { rip: header.entry, rsp: 0, rdi: ring, rsi: first, rdx: second };
    s.contexts.at(id).regs.start(&start);
    set_up(s, id, ring_id, space_id, table_id);
    s.first_context.set(id);

    let context = s.contexts.at(id);
    hand_out(
        s,
        table_id,
        &[(Kind::Namespace, 0), (Kind::Identity, 0), (Kind::Context, id), (Kind::Space, space_id)],
    )?;
    context.refs.set(context.refs.get().wrapping_add(1));
    let_run(s, id, context);
    Ok(())
}

/// Puts the first handles into the first table.
fn hand_out(s: &State, table_id: u32, objects: &[(Kind, u32)]) -> Result<(), Errno> {
    let table = s.tables.at(table_id);
    for (kind, object) in objects {
        let place = table.vacant(&s.memory, &s.chunks)?;
        let file = s.files.take(&s.memory)?;
        s.files.at(file).open(*kind, *object, 0);
        let _ = table.put(&s.chunks, place, file, 0);
    }
    Ok(())
}
