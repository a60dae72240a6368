//! Boots the kernel on the fake machine and makes its first space a hosted one.

pub use super::loader::{ENTRY, STACK, go_on};
use kernel::entry::event::{Event, Resume};
use kernel::entry::kernel::Kernel;
use ring_abi::layout::{Sizes, word};
use ring_abi::map::Ring;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::Relaxed;

/// Bytes of the machine's memory.
const MEMORY: usize = 32 << 20;

/// A kernel whose first program runs, and the host address of its ring.
pub fn start() -> (Kernel, u64) {
    let kernel = super::loader::start(MEMORY);
    let Resume::Context(id) = kernel.step(kernel::arch::Only, Event::Again) else {
        panic!("the first program runs")
    };
    let registers = go_on(&kernel, id);
    let machine = &kernel.state.memory.machine;
    let view = machine.ring_of_program(registers.rdi, Sizes::SMALLEST).expect("a ring is mapped");
    let root = machine.active().expect("a space is loaded");
    // SAFETY: programs of a stage submit through `uring`, which names only memory that stays.
    unsafe { machine.host_space(root) };
    (kernel, view.address() as u64)
}

/// Sizes of the ring at a host address.
pub fn sizes(ring: u64) -> Sizes {
    let base = NonNull::new(std::ptr::with_exposed_provenance_mut(ring as usize)).expect("an address");
    // SAFETY: `start` found a ring there, whose header is read.
    let header = unsafe { Ring::from_raw(base, Sizes::SMALLEST) };
    Sizes::unpack(header.header(word::SIZES).load(Relaxed)).expect("the header says its sizes")
}
