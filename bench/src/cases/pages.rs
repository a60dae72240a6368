//! Mapping memory. It is mapped and zeroed when it is asked for, so the zeroing (512 words a page) is in the figures.
#![forbid(unsafe_code)]

use crate::harness::{Bench, Outcome};
use bare::context::Stack;
use ring_abi::Errno;

const PAGE: u64 = 4096;

pub(crate) fn one(bench: &mut Bench) -> Outcome {
    bench.time("page.map_unmap", 1, || map_unmap(PAGE))
}

pub(crate) fn sixteen(bench: &mut Bench) -> Outcome {
    bench.time("page.map_unmap.16", 1, || map_unmap(PAGE.wrapping_mul(16)))
}

fn map_unmap(length: u64) -> Result<(), Errno> {
    Stack::map(length)?.unmap()
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
