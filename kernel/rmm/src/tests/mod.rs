//! What the crate promises as a whole, on the fake machine.
//!
//! Random tests print the seed of a failing case, and its smallest form.
#![forbid(unsafe_code)]

use std::vec::Vec;

use crate::fake::FakeMachine;
use crate::info::Kind;
use crate::{
    Frame, FrameInfo, Frames, KernelHalf, Leaf, Memory, Owner, Page, PageRights, PageTable, Progress,
    Released, Tenure, UserFrame,
};

mod exhaustion;
mod frames;
mod lend;
mod stale;
mod tables;

const ME: Owner = Owner(7);
const OTHER: Owner = Owner(8);

fn page(number: u64) -> Page {
    Page::new(number).unwrap()
}

/// A machine with `cpus` CPUs, of which only the first has started, and all of `infos` free.
fn memory(infos: &[FrameInfo], cpus: usize) -> Memory<'_, FakeMachine> {
    let frames = Frames::new(infos);
    frames.add_range(Frame::new(0), infos.len() as u32).unwrap();
    Memory::new(FakeMachine::new(cpus), frames)
}

fn space(memory: &Memory<'_, FakeMachine>) -> Option<PageTable> {
    let kernel = KernelHalf::new([(511, 0xabc003)]).unwrap();
    PageTable::new(memory, &kernel, &memory.frames.table_stock(ME, 1)?)
}

/// Maps a fresh frame, or gives everything back.
fn map_new(memory: &Memory<'_, FakeMachine>, table: &PageTable, page: Page) -> Option<UserFrame> {
    let frame = memory.frames.allocate_user(ME)?;
    let missing = table.tables_missing(&memory.machine, page);
    let Some(stock) = memory.frames.table_stock(ME, missing) else {
        assert_eq!(memory.frames.release(frame), Ok(Released::Last(ME)));
        return None;
    };
    table.map(memory, page, leaf(frame), &stock).unwrap();
    assert_eq!((stock.left(), stock.used()), (0, missing));
    Some(frame)
}

fn leaf(frame: UserFrame) -> Leaf {
    Leaf { frame, rights: PageRights::ReadWrite, tenure: Tenure::Private }
}

/// Ends a space and gives everything of it back.
fn destroy(memory: &Memory<'_, FakeMachine>, table: PageTable) {
    memory.machine.load(None);
    let mut stale = table.retire(&memory.frames);
    let mut teardown = loop {
        match stale.passed(&memory.frames) {
            Ok(teardown) => break teardown,
            Err(waiting) => stale = waiting,
        }
        memory.flush_all(0);
    };
    while let Progress::More(more) = teardown.step(memory, &mut 100, |_| ()).unwrap() {
        teardown = more;
    }
}

/// Takes every free frame; the list is in the order of taking.
fn take_all(frames: &Frames<'_>) -> Vec<Frame> {
    std::iter::from_fn(|| frames.allocate_user(OTHER)).map(|frame| frame.frame()).collect()
}

/// Counts what the infos say and compares it with what the allocator says.
fn check(frames: &Frames<'_>) {
    let (mut free, mut stale, mut allocated) = (0_u32, 0_u32, 0_u32);
    for info in frames.pool.infos() {
        match info.kind.get() {
            Kind::Free => free += 1 << info.order.get(),
            Kind::Hot => free += 1,
            Kind::Stale => stale += 1,
            Kind::Kernel => allocated += 1 << info.order.get(),
            Kind::User | Kind::Table => allocated += 1,
            Kind::Inner | Kind::Reserved => {}
        }
    }
    assert_eq!(free, frames.free_count(), "free frames");
    assert_eq!(stale, frames.stale_count(), "stale frames");
    assert_eq!(free + stale + allocated, frames.total(), "all frames");
}
