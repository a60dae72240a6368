//! Mapping memory, and touching what was mapped. A page is zeroed or copied when it is touched, 512 words of it.
#![forbid(unsafe_code)]

use crate::harness::{Bench, Outcome, ensure};
use bare::context::Stack;
use ring_abi::Errno;
use uring::op::handle::close;
use uring::op::memory::space_fork;

const PAGE: u64 = 4096;
/// Pages that are touched once each: more than there are samples.
const SCENE: u64 = 2048;

pub(crate) fn one(bench: &mut Bench) -> Outcome {
    bench.time("page.map_unmap", 1, || map_unmap(PAGE))
}

pub(crate) fn sixteen(bench: &mut Bench) -> Outcome {
    bench.time("page.map_unmap.16", 1, || map_unmap(PAGE.wrapping_mul(16)))
}

fn map_unmap(length: u64) -> Result<(), Errno> {
    Stack::map(length)?.unmap()
}

/// First writes to pages.
pub(crate) fn first_touch(bench: &mut Bench) -> Outcome {
    touch_each(bench, "fault.anon", Stack::map(SCENE.wrapping_mul(PAGE))?)
}

/// Writes to pages that a copy of the space has too.
pub(crate) fn copy_on_write(bench: &mut Bench) -> Outcome {
    let pages = Stack::map_at_once(SCENE.wrapping_mul(PAGE))?;
    let copy = space_fork().wait()?;
    let outcome = touch_each(bench, "fault.cow", pages);
    close(copy).wait()?;
    outcome
}

/// Each page once, and away with them.
fn touch_each(bench: &mut Bench, name: &str, pages: Stack) -> Outcome {
    let mut page = 0_u64;
    let outcome = bench.time(name, 1, || {
        pages.touch(page);
        page = page.wrapping_add(1);
        Ok(())
    });
    ensure(page <= SCENE, "there are more samples than pages")?;
    pages.unmap()?;
    outcome
}

pub(crate) fn protect(bench: &mut Bench) -> Outcome {
    let page = Stack::map(PAGE)?;
    let outcome = bench.time("page.protect", 1, || {
        page.protect(false)?;
        page.protect(true)
    });
    page.unmap()?;
    outcome
}
