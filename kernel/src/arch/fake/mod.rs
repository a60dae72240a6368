//! A machine made of host memory, for tests: everything the real one has, as values that a test reads and sets.
//!
//! - `memory`: physical memory, one block of host memory.
//! - `cpu`: what each CPU has of its own.
//! - `mmu`: address translation, by the tables that the kernel writes, with a TLB that catches forgotten flushes.
//! - `devices`: the clock, the timer, the serial line and the interrupt lines.
//! - `regs`: what is kept of a stopped program.
//! - `effort`: how much the kernel has touched, in place of a clock.
//! - `slab`, `wired`: tables that grow, and memory that is shared with programs.
//! - `play`: what tests do to the machine, where the hardware and the programs would.
//!
//! A *hosted* space is one whose user addresses are host addresses, so that real code on a host thread can
//! pass its ordinary buffers to the kernel ([`Machine::host_space`]).

mod cpu;
mod devices;
pub mod effort;
mod memory;
mod mmu;
mod play;
mod regs;
mod slab;
mod taken;
mod wired;

pub use cpu::OneOf;
pub use devices::{IRQ_LINES, IRQ_SERIAL, IRQ_TEST};
pub use mmu::{Access, PageFault};
pub use regs::{Regs, Start, StateBlock};
pub use slab::{FrameSource, NoMemory, Slab, near_link};
use taken::Taken;
pub use wired::{UserPtr, Wired};

use crate::arch::LockUse;
use cpu::Processor;
use devices::Devices;
use memory::Memory;
use ring_abi::layout::Sizes;
use ring_abi::map::Ring;
use rmm::{Frame, Page, PhysAddr, TableFrame, UserFrame};
use std::cell::{Cell, RefCell};

/// Frame 0 is nobody's, so that no address of anything is zero.
const KERNEL_HALF: Frame = Frame::new(1);
/// The first frame that the kernel may manage.
const FIRST_USABLE: u32 = 2;
/// Bytes in a frame.
const FRAME_BYTES: usize = 4096;

/// The machine.
#[derive(Debug)]
pub struct Machine {
    memory: Memory,
    cpus: Vec<Processor>,
    cpu: Cell<usize>,
    devices: Devices,
    hosted: RefCell<Vec<Frame>>,
    growths: Cell<Option<u64>>,
}

impl Machine {
    /// A machine with this much memory, all of it zero.
    ///
    /// # Panics
    ///
    /// If that is zero or not a multiple of 2 MiB.
    pub fn new(bytes: usize) -> Machine {
        Machine {
            memory: Memory::new(bytes),
            cpus: vec![Processor::new()],
            cpu: Cell::new(0),
            devices: Devices::new(),
            hosted: RefCell::default(),
            growths: Cell::new(None),
        }
    }

    /// Copies between programs. Neither range leaves its frame, or its contiguous wired memory.
    #[inline]
    pub fn copy(&self, to: UserPtr, from: UserPtr, length: usize) {
        self.memory.copy(to.address().raw(), from.address().raw(), length);
    }

    /// Copies at most 16 bytes; `false`: there are more, and none was copied.
    #[inline]
    pub fn copy_tiny(&self, to: UserPtr, from: UserPtr, length: usize) -> bool {
        let fits = length <= 16;
        if fits {
            self.copy(to, from, length);
        }
        fits
    }

    /// Writes bytes into a program's frame.
    #[inline]
    pub fn write_user(&self, to: UserPtr, bytes: &[u8]) {
        self.memory.write(to.address().raw(), bytes);
    }

    /// Reads bytes of a program's frame.
    #[inline]
    pub fn read_user(&self, from: UserPtr, bytes: &mut [u8]) {
        self.memory.read(from.address().raw(), bytes);
    }

    /// Reads an aligned word, in one piece.
    #[inline]
    pub fn load_u32(&self, at: UserPtr) -> u32 {
        self.memory.load_u32(at.address().raw())
    }

    /// Writes an aligned word, in one piece.
    #[inline]
    pub fn store_u32(&self, at: UserPtr, value: u32) {
        self.memory.store_u32(at.address().raw(), value);
    }

    /// Fills a range with zeros.
    #[inline]
    pub fn zero_user(&self, at: UserPtr, length: usize) {
        self.memory.zero(at.address().raw(), length);
    }

    /// Whether a range is valid UTF-8.
    pub fn is_utf8(&self, at: UserPtr, length: usize) -> bool {
        let mut bytes = vec![0; length];
        self.read_user(at, &mut bytes);
        std::str::from_utf8(&bytes).is_ok()
    }

    /// The root table whose upper half every space shares.
    pub fn kernel_half(&self) -> Frame {
        KERNEL_HALF
    }

    /// The entries of the upper half that every space shares, with their indices: none.
    pub fn kernel_entries(&self) -> impl Iterator<Item = (u16, u64)> {
        std::iter::empty()
    }

    /// Loads the kernel's own root if `root` is active, so that its frame may become anything.
    pub fn leave(&self, root: Frame) {
        self.processor().mmu.leave(root);
        self.hosted.borrow_mut().retain(|hosted| *hosted != root);
    }

    /// Forgets the translation of one page, if `root` is active.
    #[inline]
    pub fn flush_page(&self, root: Frame, page: Page) {
        self.processor().mmu.flush_page(Some(root), page);
    }

    /// Forgets every translation of the lower half, if `root` is active.
    pub fn flush_all(&self, root: Frame) {
        self.processor().mmu.flush_all(Some(root));
    }

    /// Whether the space is hosted: its user addresses are host addresses.
    #[inline]
    pub fn linear(&self, root: Frame) -> bool {
        self.hosted.borrow().contains(&root)
    }

    /// Where a hosted space's address leads. Only for addresses of spaces that are [`linear`](Self::linear).
    #[inline]
    pub fn linear_pointer(&self, address: u64) -> UserPtr {
        UserPtr::from_raw(address.wrapping_sub(self.memory.base()))
    }

    /// The address under which a hosted space has this frame.
    pub fn hosted_address(&self, frame: UserFrame) -> u64 {
        self.memory.base().wrapping_add(frame.frame().start().raw())
    }

    /// Nanoseconds since some point before the start.
    #[inline]
    pub fn now(&self) -> u64 {
        self.devices.now.get()
    }

    /// The raw clock; here, nanoseconds too.
    #[inline]
    pub fn ticks(&self) -> u64 {
        self.devices.now.get()
    }

    /// Ticks in a second.
    pub fn ticks_per_second(&self) -> u64 {
        1_000_000_000
    }

    /// Sets this CPU's one-shot timer, given what the clock was a moment ago; `u64::MAX` for none.
    pub fn set_timer(&self, now: u64, deadline: u64) {
        assert!(now <= self.now(), "that is no reading of the clock");
        self.processor().timer.set(deadline);
    }

    /// Prints on the serial line.
    pub fn serial_write(&self, bytes: &[u8]) {
        self.devices.print(bytes);
    }

    /// A byte that came over the serial line.
    pub fn serial_read(&self) -> Option<u8> {
        self.devices.read_typed()
    }

    /// Whether a byte has come over the serial line.
    pub fn serial_ready(&self) -> bool {
        self.devices.has_typed()
    }

    /// Lets an interrupt line through, or not.
    pub fn irq_enable(&self, line: u8, on: bool) {
        self.devices.enable(line, on);
    }

    /// Raises the test line.
    pub fn raise_test_irq(&self) {
        self.devices.raise(IRQ_TEST);
    }

    /// Nanoseconds from 1970 to the clock's zero.
    pub fn realtime_offset(&self) -> u64 {
        1_700_000_000_000_000_000
    }

    /// How the lock around the kernel's state was used: there is none here, since tests take one step at a time.
    pub fn lock_use(&self) -> LockUse {
        LockUse::default()
    }

    /// The most bytes of the kernel's stack that any step used; not known here.
    pub fn stack_high_water(&self) -> usize {
        0
    }

    /// The most bytes of the kernel's stack that the boot used; not known here.
    pub fn stack_of_boot(&self) -> usize {
        0
    }

    /// Bytes of the kernel's stack.
    pub fn stack_size(&self) -> usize {
        64 << 10
    }

    /// Bytes of the small stacks.
    pub fn side_stack_bytes(&self) -> usize {
        0
    }

    /// Names the registers of the context that runs next.
    #[inline]
    pub fn set_current(&self, regs: &Regs) {
        self.processor().current.set(Some(regs));
    }

    /// Forgets a context that has ended.
    pub fn forget(&self, regs: &Regs) {
        let ours = &self.processor().current;
        if ours.get().is_some_and(|current| core::ptr::eq(current, regs)) {
            ours.set(None);
        }
    }

    /// Names the block that the next interrupt or fault fills.
    #[inline]
    pub fn set_spare(&self, block: &StateBlock) {
        self.processor().spare.set(Some(block));
    }

    /// Copies a full state.
    pub fn copy_state(&self, to: &StateBlock, from: &StateBlock) {
        to.copy_from(from);
    }

    fn ring_at(&self, start: PhysAddr, sizes: Sizes) -> Ring {
        let start = self.memory.within(start.raw(), sizes.bytes());
        // SAFETY: the block holds `sizes.bytes()` bytes there and lives as long as the machine, which the
        // kernel and its tests keep longer than any view. Nobody makes other references into the block, and
        // the callers have checked the alignment.
        unsafe { Ring::from_raw(start, sizes) }
    }

    /// Counts one growth of a table, and says whether it may succeed.
    fn may_grow(&self) -> bool {
        match self.growths.get() {
            None => true,
            Some(0) => false,
            Some(left) => {
                self.growths.set(Some(left.saturating_sub(1)));
                true
            }
        }
    }
}

impl rmm::Machine for Machine {
    #[inline(always)]
    fn read_entry(&self, table: TableFrame, index: u16) -> u64 {
        self.memory.load_u64(entry(table, index))
    }

    #[inline(always)]
    fn write_entry(&self, table: TableFrame, index: u16, value: u64) {
        self.memory.store_u64(entry(table, index), value);
    }

    fn zero_frame(&self, frame: Frame) {
        self.memory.zero(frame.start().raw(), FRAME_BYTES);
    }

    fn flush_page(&self, page: Page) {
        self.processor().mmu.flush_page(None, page);
    }

    fn flush_all(&self) {
        self.processor().mmu.flush_all(None);
    }
}

/// Address of an entry of a table.
fn entry(table: TableFrame, index: u16) -> u64 {
    assert!(index < 512, "no entry {index} in a table");
    table.frame().start().raw() | u64::from(index) << 3
}

#[cfg(test)]
mod tests;
