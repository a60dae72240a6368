//! What a test does to the machine, where the hardware and the programs would.

use super::cpu::Processor;
use super::devices::NEVER;
use super::mmu::Mmu;
use super::{Access, FIRST_USABLE, FRAME_BYTES, Machine, PageFault, Regs, StateBlock, UserPtr};
use ring_abi::context::Registers;
use ring_abi::layout::Sizes;
use ring_abi::map::Ring;
use rmm::{Frame, PhysAddr};

/// Memory.
impl Machine {
    /// The frames that the kernel may manage: the first one, and how many.
    pub fn usable(&self) -> (Frame, u32) {
        let all = (self.memory.bytes() / FRAME_BYTES) as u32;
        (Frame::new(FIRST_USABLE), all.saturating_sub(FIRST_USABLE))
    }

    /// Writes physical memory, as a boot loader does.
    pub fn load(&self, at: PhysAddr, bytes: &[u8]) {
        self.memory.write(at.raw(), bytes);
    }

    /// Where the tables of a root, running or not, lead for an address; rights are not looked at.
    pub fn look_up(&self, root: Frame, address: u64) -> Option<UserPtr> {
        if self.linear(root) {
            return Some(self.linear_pointer(address));
        }
        Mmu::look_up(&self.memory, root, address).map(UserPtr::from_raw)
    }

    /// Loads the root of a space, as the kernel does when it resumes a program.
    pub fn activate(&self, root: Frame) {
        self.processor().activate(root);
    }

    /// The root that is loaded.
    pub fn active(&self) -> Option<Frame> {
        self.processor().mmu.active()
    }

    /// Where the running program's access to `address` leads, by the active root's tables or its own
    /// memory. The rest of that page is reached through the same place.
    ///
    /// # Panics
    ///
    /// If the TLB still has a translation that the kernel took away.
    pub fn reach(&self, address: u64, access: Access) -> Result<UserPtr, PageFault> {
        if self.active().is_some_and(|root| self.linear(root)) {
            return Ok(self.linear_pointer(address));
        }
        let processor = self.processor();
        let place = processor.mmu.reach(&self.memory, address, access, processor.owes());
        place.map(UserPtr::from_raw)
    }

    /// Reads the running program's memory.
    pub fn read_virtual(&self, address: u64, bytes: &mut [u8]) -> Result<(), PageFault> {
        let mut at = address;
        for piece in pieces(address, bytes.len()) {
            let place = self.reach(at, Access::Read)?;
            if let Some(target) = bytes.get_mut(piece.clone()) {
                self.read_user(place, target);
            }
            at = at.wrapping_add(piece.len() as u64);
        }
        Ok(())
    }

    /// Writes the running program's memory.
    pub fn write_virtual(&self, address: u64, bytes: &[u8]) -> Result<(), PageFault> {
        let mut at = address;
        for piece in pieces(address, bytes.len()) {
            let place = self.reach(at, Access::Write)?;
            if let Some(source) = bytes.get(piece.clone()) {
                self.write_user(place, source);
            }
            at = at.wrapping_add(piece.len() as u64);
        }
        Ok(())
    }

    /// The running program's view of the ring at one of its addresses; rings are contiguous in memory.
    pub fn ring_of_program(&self, address: u64, sizes: Sizes) -> Result<Ring, PageFault> {
        assert!(address.is_multiple_of(64), "a ring at {address:#x} is not aligned");
        let place = self.reach(address, Access::Write)?;
        Ok(self.ring_at(place.address(), sizes))
    }

    /// Stops the test if the TLB of a CPU that owes no flush has a translation that the kernel took away. Gives the frames
    /// that the others still reach by such translations.
    pub fn audit_tlb(&self) -> Vec<Frame> {
        let audit = |processor: &Processor| processor.mmu.audit(&self.memory, processor.owes());
        self.cpus.iter().flat_map(audit).collect()
    }

    /// How many flushes the kernel has asked for.
    pub fn flushes(&self) -> u64 {
        self.cpus.iter().map(|processor| processor.mmu.flushes()).sum()
    }

    /// Makes a space hosted: its user addresses are host addresses from now on.
    ///
    /// # Safety
    ///
    /// Whoever submits operations in that space must pass only addresses of memory that stays readable (or
    /// writable, as the operation needs) until the operation has completed, and that no reference of Rust
    /// forbids the kernel to touch meanwhile.
    pub unsafe fn host_space(&self, root: Frame) {
        self.memory.open();
        if !self.linear(root) {
            self.hosted.borrow_mut().push(root);
        }
    }

    /// Ends that: the root's frame may become anything again.
    pub fn unhost_space(&self, root: Frame) {
        self.hosted.borrow_mut().retain(|hosted| *hosted != root);
    }

    /// Lets `growths` more table growths succeed, then none; `None` for no limit.
    pub fn fail_after(&self, growths: Option<u64>) {
        self.growths.set(growths);
    }
}

/// Time and devices.
impl Machine {
    /// Lets time pass.
    pub fn advance(&self, nanoseconds: u64) {
        self.devices.now.set(self.now().saturating_add(nanoseconds));
    }

    /// When the timer goes off.
    pub fn timer(&self) -> Option<u64> {
        self.timer_of(self.cpu())
    }

    /// Whether the timer has gone off. If so, it is off: it fires once.
    pub fn take_timer(&self) -> bool {
        let due = self.timer().is_some_and(|deadline| deadline <= self.now());
        if due {
            self.processor().timer.set(NEVER);
        }
        due
    }

    /// Raises an interrupt line.
    pub fn raise_irq(&self, line: u8) {
        self.devices.raise(line);
    }

    /// The next line that interrupts: raised and let through. It is not raised any more.
    pub fn take_irq(&self) -> Option<u8> {
        self.devices.take_irq()
    }

    /// Takes what was printed since the last call.
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&self.devices.printed()).into_owned()
    }

    /// Sends bytes over the serial line, and raises its interrupt.
    pub fn type_in(&self, bytes: &[u8]) {
        self.devices.type_in(bytes);
    }
}

/// What the stubs do.
impl Machine {
    /// Enters by `ring_enter`: keeps what survives a function call, in the current context's registers.
    ///
    /// # Panics
    ///
    /// If the kernel named no current registers.
    pub fn save_at_enter(&self, registers: &Registers) {
        self.current_regs().enter(registers);
    }

    /// Enters by an interrupt or a fault: saves everything into the spare block.
    ///
    /// # Panics
    ///
    /// If the kernel named no spare block, which it must before a program runs.
    pub fn save_at_event(&self, registers: &Registers) {
        let Some(block) = self.processor().spare.get() else { panic!("a program ran without a spare block") };
        // SAFETY: `set_spare` got a reference, and blocks lie in a table that never moves and lives as long
        // as the kernel.
        let block: &StateBlock = unsafe { &*block };
        block.save(registers);
    }

    fn current_regs(&self) -> &Regs {
        let Some(regs) = self.processor().current.get() else { panic!("no context is current") };
        // SAFETY: as in `save_at_event`, for the table of contexts.
        unsafe { &*regs }
    }
}

/// Ranges of a buffer that each lie in one page.
fn pieces(address: u64, length: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let in_page = (address.wrapping_add(start as u64) & 0xfff) as usize;
        let room = FRAME_BYTES.wrapping_sub(in_page);
        let piece = start..length.min(room.saturating_add(start));
        start = piece.end;
        (!piece.is_empty()).then_some(piece)
    })
}
