//! What the loader does before a kernel starts, and the last few instructions on the way out: a machine with a boot blob
//! in its memory, and a context's registers loaded. The stage of the runtime's tests uses it too.

use kernel::arch::Machine;
use kernel::boot;
use kernel::entry::kernel::Kernel;
use kernel::mem::frames::Memory;
use ring_abi::boot::{HEADER_BYTES, Header, MAX_SEGMENTS, Segment, SegmentRights};
use ring_abi::context::Registers;
use rmm::{Frame, FrameInfo, PhysAddr};

/// First instruction of the first program; each further one starts 16 bytes later.
pub const ENTRY: u64 = 0x40_0000;
/// Stack pointer of every program, which none uses.
pub const STACK: u64 = 0x7000_0000;
/// Bytes of the blob: the header and one segment.
const BLOB_BYTES: u64 = 8192;

/// A kernel whose first program is ready to run, on a machine with this many bytes of memory.
///
/// The blob lies at the end of memory; its one segment covers the entries of all programs.
pub fn start(memory: usize) -> Kernel {
    start_on(Machine::new(memory))
}

/// The same on this machine.
pub fn start_on(machine: Machine) -> Kernel {
    let (first, count) = machine.usable();
    let blob_frames = (BLOB_BYTES / 4096) as u32;
    let end = first.number() + count;
    let start = Frame::new(end - blob_frames).start();
    let words = header().encode();
    for (index, word) in words.into_iter().enumerate() {
        machine.load(PhysAddr::new(start.raw() + index as u64 * 8), &word.to_le_bytes());
    }
    let infos: Vec<FrameInfo> = (0..end).map(|_| FrameInfo::new()).collect();
    let usable = [(first, count - blob_frames)];
    let memory = Memory::new(machine, Vec::leak(infos), usable).expect("the frames are free");
    let kernel = boot::kernel(memory).expect("there is memory");
    let word = |index: usize| words.get(index).copied().unwrap_or(0);
    boot::first::start(&kernel.state, start, BLOB_BYTES, word).expect("the blob is right");
    kernel
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

/// Loads a context's space and registers, as the machine does when it resumes it.
pub fn go_on(kernel: &Kernel, id: u32) -> Registers {
    let s = &kernel.state;
    let machine = &s.memory.machine;
    let context = s.contexts.at(id);
    machine.activate(s.memory.space(context.space.get()).root());
    machine.set_current(&context.regs);
    let block = context.regs.detach();
    let registers = context.regs.resumed(block.map(|block| &s.blocks.at(block).state));
    if let Some(block) = block {
        if machine.cpus() > 1 {
            // As on the real machine: until the processor enters again nobody else gets it.
            s.this_cpu().lent.set(block);
        } else {
            s.blocks.give(block);
        }
    }
    registers
}
