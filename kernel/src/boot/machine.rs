//! The way from the machine's start to the first program.
#![forbid(unsafe_code)]

use crate::arch::x86_64::BootInfo;
use crate::entry::machine::KERNEL;
use crate::mem::frames::Memory;

/// Called by the machine when it is set up. The first step follows when this has returned: the kernel was built here, by
/// value, and no step is to start on top of a frame of that size.
pub fn boot(info: &'static BootInfo) {
    let memory = match Memory::new(info.machine, info.infos, info.usable.iter().copied()) {
        Ok(memory) => memory,
        Err(misuse) => crate::bug!("the loader's memory map: {misuse:?}"),
    };
    let kernel = match super::kernel(memory) {
        Ok(kernel) => KERNEL.fill(kernel),
        Err(error) => crate::bug!("no memory for the kernel itself: {error:?}"),
    };
    let s = &kernel.state;
    s.boot_ticks.set(info.entry_ticks);
    let (start, length) = info.blob;
    let word = |index| s.memory.machine.blob_word(start, index);
    if let Err(reason) = super::first::start(s, start, length, word) {
        s.say(format_args!("panic: no first program: {reason:?}"));
        crate::arch::exit(0xfe);
    }
    s.say(format_args!("boot memory={} free={}", s.memory.total(), s.memory.free()));
}
