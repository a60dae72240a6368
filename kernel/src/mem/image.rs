//! The boot image in the first space: segments that are only read are mapped where the loader put them,
//! those that are written are copied.
//!
//! This runs once, before the first step, so it is not sliced.
#![forbid(unsafe_code)]

use super::frames::{Memory, Use};
use super::region::Kind;
use super::space::{PAGE_BYTES, Space, private};
use crate::arch::UserPtr;
use ring_abi::Errno;
use ring_abi::boot::{Segment, SegmentRights};
use rmm::{Frame, Leaf, PageRights, PhysAddr, Tenure, UserFrame};

impl Space {
    /// Maps a segment of the blob that begins at `blob`, a multiple of the page size. The segment was
    /// checked by [`ring_abi::boot::Header::decode`].
    pub fn map_segment(&self, memory: &Memory, blob: PhysAddr, segment: &Segment) -> Result<(), Errno> {
        let first = segment.address / PAGE_BYTES;
        let pages = segment.memory_length.div_ceil(PAGE_BYTES);
        let end = first.wrapping_add(pages);
        if !self.allows(first, end) || !self.regions.is_free(&memory.regions, first, end) {
            return Err(Errno::INVAL);
        }
        let id = memory.regions.take(memory)?;
        let region = memory.regions.at(id);
        let rights = match segment.rights {
            SegmentRights::Read => PageRights::Read,
            SegmentRights::ReadWrite => PageRights::ReadWrite,
            SegmentRights::ReadExecute => PageRights::ReadExecute,
        };
        region.open(first, end, false);
        region.rights.set(rights);
        region.kind.set(if rights == PageRights::ReadWrite { Kind::Private } else { Kind::Image });
        self.insert(memory, id);
        self.chosen(end);
        for page in 0..pages {
            let leaf = leaf(memory, blob, segment, page, rights)?;
            self.add_page(memory, first.wrapping_add(page), leaf)?;
        }
        Ok(())
    }
}

/// The frame that a page of a segment gets.
fn leaf(
    memory: &Memory,
    blob: PhysAddr,
    segment: &Segment,
    page: u64,
    rights: PageRights,
) -> Result<Leaf, Errno> {
    let done = page.wrapping_mul(PAGE_BYTES);
    let bytes = segment.file_length.saturating_sub(done).min(PAGE_BYTES);
    if bytes == 0 {
        let frame = memory.take_user(Use::Program)?;
        memory.zero(frame);
        return Ok(private(frame, rights));
    }
    let place = blob.raw().wrapping_add(segment.offset).wrapping_add(done);
    let number = u32::try_from(place / PAGE_BYTES).map_err(|_| Errno::INVAL)?;
    // Frames that two segments share, or that are free memory, are refused here.
    let image = memory.adopt(Frame::new(number)).map_err(|_| Errno::INVAL)?;
    if rights == PageRights::ReadWrite {
        let leaf = copy(memory, image, bytes, rights);
        memory.release(image);
        return leaf;
    }
    let tail = UserPtr::new(image, 0).add(bytes as usize);
    memory.machine.zero_user(tail, PAGE_BYTES.wrapping_sub(bytes) as usize);
    Ok(Leaf { frame: image, rights, tenure: Tenure::Shared })
}

/// A page of its own with the first bytes of another.
fn copy(memory: &Memory, image: UserFrame, bytes: u64, rights: PageRights) -> Result<Leaf, Errno> {
    let frame = memory.take_user(Use::Program)?;
    memory.zero(frame);
    memory.machine.copy(UserPtr::new(frame, 0), UserPtr::new(image, 0), bytes as usize);
    Ok(private(frame, rights))
}
