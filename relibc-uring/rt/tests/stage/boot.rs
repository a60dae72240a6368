//! Boots the kernel on the fake machine and makes its first space a hosted one.

use kernel::arch::Machine;
use kernel::boot;
use kernel::entry::event::{Event, Resume};
use kernel::entry::kernel::Kernel;
use kernel::mem::frames::Memory;
use ring_abi::boot::{HEADER_BYTES, Header, MAX_SEGMENTS, Segment, SegmentRights};
use ring_abi::context::Registers;
use ring_abi::layout::{Sizes, word};
use ring_abi::map::Ring;
use rmm::{Frame, FrameInfo, PhysAddr};
use std::ptr::NonNull;
use std::sync::atomic::Ordering::Relaxed;

/// First instruction of the first program; each further one starts 16 bytes later.
pub const ENTRY: u64 = 0x40_0000;
/// Stack pointer of every program, which none uses.
pub const STACK: u64 = 0x7000_0000;
/// Bytes of the machine's memory.
const MEMORY: usize = 32 << 20;
/// Bytes of the blob: the header and one segment.
const BLOB_BYTES: u64 = 8192;

/// A kernel whose first program runs, and the host address of its ring.
pub fn start() -> (Kernel, u64) {
    let machine = Machine::new(MEMORY);
    let (first, count) = machine.usable();
    let blob_frames = (BLOB_BYTES / 4096) as u32;
    let end = first.number() + count;
    let blob = Frame::new(end - blob_frames).start();
    let words = header().encode();
    for (index, word) in words.into_iter().enumerate() {
        machine.load(PhysAddr::new(blob.raw() + index as u64 * 8), &word.to_le_bytes());
    }
    let infos: Vec<FrameInfo> = (0..end).map(|_| FrameInfo::new()).collect();
    let memory = Memory::new(machine, Vec::leak(infos), [(first, count - blob_frames)]).expect("free frames");
    let kernel = boot::kernel(memory).expect("there is memory");
    let word = |index: usize| words.get(index).copied().unwrap_or(0);
    boot::first::start(&kernel.state, blob, BLOB_BYTES, word).expect("the blob is right");
    let Resume::Context(id) = kernel.step(0, Event::Again) else { panic!("the first program runs") };
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

/// Loads a context's space and registers, as the machine does when it resumes it.
pub fn go_on(kernel: &Kernel, id: u32) -> Registers {
    let s = &kernel.state;
    let machine = &s.memory.machine;
    let context = s.contexts.at(id);
    machine.activate(s.memory.space(context.space.get()).root());
    machine.set_current(&context.regs);
    let block = context.regs.detach();
    let registers = context.regs.resumed(block.map(|block| &s.blocks.at(block).state));
    block.inspect(|block| s.blocks.give(*block));
    registers
}

fn header() -> Header {
    let code = Segment {
        offset: HEADER_BYTES as u64,
        address: ENTRY,
        file_length: 4096,
        memory_length: 4096,
        rights: SegmentRights::ReadExecute,
    };
    Header {
        entry: ENTRY,
        arguments: [ENTRY, STACK],
        length: BLOB_BYTES,
        count: 1,
        segments: [code; MAX_SEGMENTS],
    }
}
