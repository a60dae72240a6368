//! The machine as the value that the layers above know, and the way back to programs.

use core::sync::atomic::{AtomicU32, Ordering};

use rmm::{Frame, Page, TableFrame};

use crate::arch::{LockUse, Which};

use super::memory;
use super::percpu::{PerCpu, all_cpus, cpu_of, first_cpu, this_cpu};
use super::regs::Regs;
use super::state::StateBlock;
use super::wired::UserPtr;
use super::{apic, copy, leave, lock, serial, smp, timer, tlb, utf8};

/// This PC. It has no state of its own: there is one, and holding the value is the permission to use it.
#[derive(Clone, Copy, Debug)]
pub struct Machine(());

impl Machine {
    /// The one machine, made when the kernel starts.
    pub(super) const fn new() -> Self {
        Self(())
    }

    /// Copies between two places; neither range leaves its frame or its wired block.
    #[inline(always)]
    pub fn copy(&self, to: UserPtr, from: UserPtr, length: usize) {
        // SAFETY: both places lie in memory that programs own, as their types say, and the caller keeps the ranges
        // inside it; ranges that overlap by a program's choice only spoil that program's bytes.
        unsafe { copy::copy(from.pointer(), to.pointer(), length) }
    }

    /// Copies at most 16 bytes; `false`: there are more, and none was copied. Both places have 16 bytes in their frame
    /// or wired block.
    #[inline(always)]
    pub fn copy_tiny(&self, to: UserPtr, from: UserPtr, length: usize) -> bool {
        // SAFETY: as above.
        unsafe { copy::copy_short(from.pointer(), to.pointer(), length) }
    }

    /// Copies kernel bytes to a program.
    #[inline(always)]
    pub fn write_user(&self, to: UserPtr, bytes: &[u8]) {
        // SAFETY: as above; the slice is readable, and kernel memory never overlaps a program's.
        unsafe { copy::copy(bytes.as_ptr(), to.pointer(), bytes.len()) }
    }

    /// Copies a program's bytes to the kernel.
    #[inline(always)]
    pub fn read_user(&self, from: UserPtr, bytes: &mut [u8]) {
        // SAFETY: as above; the slice is writable.
        unsafe { copy::copy(from.pointer(), bytes.as_mut_ptr(), bytes.len()) }
    }

    /// Reads a word of a program, which must be aligned.
    #[inline(always)]
    pub fn load_u32(&self, at: UserPtr) -> u32 {
        word(at).load(Ordering::SeqCst)
    }

    /// Writes a word of a program, which must be aligned.
    #[inline(always)]
    pub fn store_u32(&self, at: UserPtr, value: u32) {
        word(at).store(value, Ordering::SeqCst);
    }

    /// Zeroes a program's bytes; the range stays in its frame or wired block.
    pub fn zero_user(&self, at: UserPtr, length: usize) {
        // SAFETY: the place lies in memory that a program owns, and the caller keeps the range inside it.
        unsafe { copy::zero_bytes(at.pointer(), length) }
    }

    /// A word of the ramdisk, which the loader wrote and nobody changes before the first program runs.
    pub fn blob_word(&self, start: rmm::PhysAddr, index: usize) -> u64 {
        let place = memory::direct::<u64>(start.raw()).wrapping_add(index);
        // SAFETY: the caller stays inside the ramdisk, which lies in memory under the direct map.
        unsafe { place.read_unaligned() }
    }

    /// Whether a range of a program's bytes is UTF-8 at this moment; the program may change it afterwards.
    pub fn is_utf8(&self, at: UserPtr, length: usize) -> bool {
        utf8::is_utf8(length, |offset, bytes| self.read_user(at.add(offset), bytes))
    }

    /// The root table whose upper half every space shares.
    pub fn kernel_half(&self) -> Frame {
        memory::kernel_root()
    }

    /// The entries of the upper half that every space shares, with their indices.
    pub fn kernel_entries(&self) -> impl Iterator<Item = (u16, u64)> {
        memory::kernel_entries()
    }

    /// Loads the kernel's own root if this CPU has `root` loaded, so that its frame may become anything.
    pub fn leave(&self, root: Frame) {
        let cpu = this_cpu();
        if cpu.root() == root.start().raw() {
            leave_space(cpu);
        }
    }

    /// Makes this CPU forget one page of a space.
    pub fn flush_page(&self, root: Frame, page: Page) {
        if this_cpu().root() == root.start().raw() {
            tlb::forget_page(page.start());
        }
    }

    /// Makes this CPU forget a space.
    pub fn flush_all(&self, root: Frame) {
        if this_cpu().root() == root.start().raw() {
            tlb::forget_all();
        }
    }

    /// Whether addresses of a space are the kernel's own: never on a real machine.
    #[inline(always)]
    pub fn linear(&self, _root: Frame) -> bool {
        false
    }

    /// Where an address of a space that is [`linear`](Self::linear) leads; there are none here.
    #[inline(always)]
    pub fn linear_pointer(&self, _address: u64) -> UserPtr {
        UserPtr::default()
    }

    /// The address under which a space that is [`linear`](Self::linear) has a frame; there are none here.
    pub fn hosted_address(&self, _frame: rmm::UserFrame) -> u64 {
        0
    }

    /// Nanoseconds since the kernel started.
    #[inline(always)]
    pub fn now(&self) -> u64 {
        timer::now()
    }

    /// The time stamp counter.
    #[inline(always)]
    pub fn ticks(&self) -> u64 {
        timer::ticks()
    }

    /// Ticks of the time stamp counter a second, as measured at boot.
    pub fn ticks_per_second(&self) -> u64 {
        timer::ticks_per_second()
    }

    /// Sets the one-shot timer, given what the clock was a moment ago; `u64::MAX` switches it off, the past fires at once,
    /// and a far deadline may fire early.
    #[inline(always)]
    pub fn set_timer(&self, now: u64, deadline: u64) {
        timer::set(now, deadline);
    }

    /// Sends bytes to the debug console.
    pub fn serial_write(&self, bytes: &[u8]) {
        serial::send(bytes);
    }

    /// Takes a received byte from the debug console.
    pub fn serial_read(&self) -> Option<u8> {
        serial::receive()
    }

    /// Whether a received byte waits on the debug console.
    pub fn serial_ready(&self) -> bool {
        serial::is_ready()
    }

    /// Lets interrupts of a line through, or not.
    pub fn irq_enable(&self, line: u8, on: bool) {
        apic::enable_line(line, on);
    }

    /// Interrupts this CPU on the test line, once a program or the idle loop runs.
    pub fn raise_test_irq(&self) {
        apic::raise_test_line();
    }

    /// Nanoseconds since 1970 when the kernel's own clock was zero.
    pub fn realtime_offset(&self) -> u64 {
        timer::realtime_offset()
    }

    /// How many CPUs have started. They have the numbers from 0 on.
    pub fn cpus(&self) -> usize {
        smp::count()
    }

    /// The number of the CPU that runs this.
    #[inline(always)]
    pub fn cpu(&self) -> usize {
        this_cpu().number()
    }

    /// Makes another CPU enter the kernel.
    pub fn poke(&self, cpu: usize) {
        if let Some(cpu) = cpu_of(cpu) {
            apic::poke(cpu.controller());
        }
    }

    /// The other CPUs that may hold translations of the space with this root, as bits: without process identifiers, those
    /// that have it loaded.
    pub fn holders(&self, root: Frame) -> u16 {
        let own = this_cpu().number();
        let others =
            all_cpus().take(smp::count()).filter(|cpu| cpu.number() != own && cpu.holds(root.start().raw()));
        others.fold(0, |mask, cpu| mask | 1_u16.wrapping_shl(cpu.number() as u32))
    }

    /// Those of them that run it now: one that runs nobody has loaded the kernel's own root.
    pub fn runners(&self, root: Frame) -> u16 {
        self.holders(root)
    }

    /// The other CPUs that look at words of rings without the lock, as bits: they reach memory of any program.
    pub fn watchers(&self) -> u16 {
        let own = this_cpu().number();
        let others = all_cpus().take(smp::count()).filter(|cpu| cpu.number() != own && cpu.watch().is_on());
        others.fold(0, |mask, cpu| mask | 1_u16.wrapping_shl(cpu.number() as u32))
    }

    /// Asks another CPU to forget all translations of programs, as soon as it enters the kernel or waits for the lock.
    pub fn ask_to_forget(&self, cpu: usize) {
        if let Some(cpu) = cpu_of(cpu) {
            cpu.debt().ask();
        }
    }

    /// Whether it has done so since it was asked last.
    pub fn has_forgotten(&self, cpu: usize) -> bool {
        cpu_of(cpu).is_none_or(|cpu| cpu.debt().has_answered())
    }

    /// How the lock around the kernel's state was used.
    pub fn lock_use(&self) -> LockUse {
        lock::usage()
    }

    /// The most bytes of its stack that any step of any CPU used.
    pub fn stack_high_water(&self) -> usize {
        all_cpus().take(smp::count()).map(PerCpu::stack_high_water).max().unwrap_or(0)
    }

    /// The most bytes of the first CPU's stack that the boot used.
    pub fn stack_of_boot(&self) -> usize {
        first_cpu().stack_of_boot()
    }

    /// Bytes of the stack of a CPU.
    pub fn stack_size(&self) -> usize {
        PerCpu::STACK_BYTES
    }

    /// Bytes of the small stacks of a CPU.
    pub fn side_stack_bytes(&self) -> usize {
        PerCpu::SIDE_STACK_BYTES
    }

    /// Forgets a context that has ended: nothing of it is kept any more.
    pub fn forget(&self, regs: &Regs) {
        this_cpu().forget(regs);
    }

    /// Names the block that the next interrupt or fault fills.
    #[inline(always)]
    pub fn set_spare(&self, block: &StateBlock) {
        this_cpu().set_spare(block);
    }

    /// Copies a stopped context's complete state.
    pub fn copy_state(&self, to: &StateBlock, from: &StateBlock) {
        to.copy_from(from);
    }
}

impl rmm::Machine for Machine {
    #[inline(always)]
    fn read_entry(&self, table: TableFrame, index: u16) -> u64 {
        memory::read_entry(table.frame().start().raw(), u64::from(index))
    }

    #[inline(always)]
    fn write_entry(&self, table: TableFrame, index: u16, value: u64) {
        memory::write_entry(table.frame().start().raw(), u64::from(index), value);
    }

    fn swap_entry(&self, table: TableFrame, index: u16, value: u64) -> u64 {
        memory::swap_entry(table.frame().start().raw(), u64::from(index), value)
    }

    #[inline(always)]
    fn zero_frame(&self, frame: Frame) {
        memory::zero_frame(frame);
    }

    fn flush_page(&self, page: Page) {
        tlb::forget_page(page.start());
    }

    fn flush_all(&self) {
        tlb::forget_all();
    }
}

/// A program's word; misaligned ones are rounded down, since only a mistake above could have made them.
#[inline(always)]
fn word<'m>(at: UserPtr) -> &'m AtomicU32 {
    let place = at.pointer::<AtomicU32>().map_addr(|address| address & !3);
    // SAFETY: the word lies in memory that programs own, which the kernel only reaches by such accesses and by copies.
    unsafe { &*place }
}

/// Leaves the kernel for a stopped context: as a return from `ring_enter` if it waits there, else with all its state,
/// in the block of that number if it has one.
#[inline(always)]
pub fn resume<'b, W: Which>(
    machine: &Machine,
    which: W,
    regs: &Regs,
    block: impl FnOnce(u32) -> &'b StateBlock,
) -> ! {
    if regs.is_quick() {
        resume_waiter(machine, which, regs)
    }
    resume_other::<W>(regs, block)
}

/// The same for one that waits in `ring_enter`, which returns zero. Of any other context less would come back than it had.
#[inline(always)]
pub fn resume_waiter<W: Which>(_machine: &Machine, _which: W, regs: &Regs) -> ! {
    debug_assert!(regs.is_quick(), "it waits in ring_enter");
    switch_to::<W>(regs);
    // SAFETY: `Regs` keeps only values that cannot fault, the space was just made active, and the context waits in
    // `ring_enter`, as our callers say; registers of any other would be no less valid.
    unsafe { leave::quick(regs) }
}

/// Another context is to run: keeps what the CPU has of the one before, and makes the other's space active. Where there are
/// several CPUs it lets go of the lock between these two: what follows is long for a CPU, and touches nothing of others.
#[inline(always)]
fn switch_to<W: Which>(regs: &Regs) {
    leave::keep_control_words();
    let cpu = if W::MANY { this_cpu() } else { first_cpu() };
    let root = regs.root();
    let loads = cpu.root() != root;
    if !W::MANY {
        if loads {
            cpu.set_root(root);
            memory::activate(root);
        }
        return;
    }
    if loads {
        cpu.debt().will_leave(cpu.root());
        cpu.set_root(root);
    }
    lock::let_go(cpu);
    if loads {
        cpu.debt().leave(|| memory::activate(root));
    }
}

/// Leaves the kernel for the context that entered it with `ring_enter`, which returns `value`.
#[inline(always)]
pub fn back<W: Which>(_machine: &Machine, _which: W, value: u64) -> ! {
    if W::MANY {
        lock::let_go(this_cpu());
    }
    // SAFETY: the context that entered is the one whose registers the stub has stored, and its space is active.
    unsafe { leave::back(value) }
}

/// Goes on with the context that was stopped last, as it was.
#[inline(always)]
pub fn go_on<W: Which>(_machine: &Machine, _which: W) -> ! {
    if W::MANY {
        lock::let_go(this_cpu());
    }
    // SAFETY: the stub has filled the spare block with the state of the context that runs, and its space is active.
    unsafe { leave::stopped() }
}

#[cold]
#[inline(never)]
fn resume_other<'b, W: Which>(regs: &Regs, block: impl FnOnce(u32) -> &'b StateBlock) -> ! {
    if regs.take_result() {
        switch_to::<W>(regs);
        // SAFETY: as in `resume_waiter`.
        unsafe { leave::quick_with_result(regs) }
    }
    let block = regs.detach().map(block);
    switch_to::<W>(regs);
    match block {
        // SAFETY: as in `resume_waiter`, for `StateBlock` too.
        Some(block) => unsafe { leave::full(regs, block) },
        // SAFETY: as in `resume_waiter`, and `Regs::start` made the context fresh.
        None => unsafe { leave::fresh(regs) },
    }
}

/// Lets interrupts in for a moment; one that came is the next event, otherwise the event says that nothing happened.
pub fn again<W: Which>(_machine: &Machine, _which: W) -> ! {
    let_all_go::<W>();
    leave::breathe()
}

/// Loads the kernel's own root.
fn leave_space(cpu: &PerCpu) {
    let own = memory::kernel_root().start().raw();
    cpu.set_root(own);
    memory::activate(own);
    cpu.debt().has_forgotten();
}

/// Waits for an interrupt, which comes in as an event.
pub fn idle<W: Which>(_machine: &Machine, _which: W) -> ! {
    let_all_go::<W>();
    leave::wait()
}

/// Looks at places of programs until a word there has changed, which comes in as an event that says that nothing happened,
/// or an interrupt, which does too. The lock is free meanwhile.
pub fn poll<W: Which>(
    _machine: &Machine,
    _which: W,
    places: impl Iterator<Item = (&'static AtomicU32, u32)>,
) -> ! {
    let cpu = if W::MANY { this_cpu() } else { first_cpu() };
    cpu.watch().begin(places);
    let_all_go::<W>();
    leave::poll()
}

/// This CPU runs nobody for now. Where there are others, they may have what it still keeps: the control words of the
/// context that ran last, and its address space.
fn let_all_go<W: Which>() {
    if W::MANY {
        let cpu = this_cpu();
        leave::keep_control_words();
        cpu.forget_all();
        leave_space(cpu);
        lock::let_go(cpu);
    }
}
