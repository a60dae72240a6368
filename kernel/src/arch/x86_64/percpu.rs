//! What belongs to one CPU: its stack, its descriptor tables, and the few words that the stubs reach through `gs`.

use core::arch::asm;
use core::cell::{Cell, UnsafeCell};
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, AtomicU64};

use tickets::Debt;

use crate::arch::{MOST_CPUS, Which};

use super::memory;
use super::regs::Regs;
use super::state::StateBlock;
use super::tables::{Gdt, Tss};
use super::tlb;
use super::watch::Watch;

/// Bytes of the CPU's one stack.
const STACK_BYTES: usize = 64 * 1024;
/// Bytes at the upper end of the stack: the word that says where the top is, and one more for alignment.
const TOP_BYTES: usize = 16;
/// Bytes below the top.
pub(super) const PAINTED_BYTES: usize = STACK_BYTES - TOP_BYTES;
/// Words of the stack that a function may have and not write to: the kernel has no local array of a kibibyte.
const HOLE: usize = 128;
/// Bytes of each of the small stacks, and how many there are.
const SMALL_STACK_BYTES: usize = 4096;
const SMALL_STACKS: usize = 4;
/// What unused stack is painted with.
pub(super) const PAINT: u64 = 0x5a5a_a5a5_0f0f_f0f0;

/// The words that the stubs address by their offsets from `gs`.
#[repr(C)]
pub(super) struct Hot {
    /// Where everything on the CPU's one stack begins. The word there holds this same address.
    pub(super) stack_top: Cell<u64>,
    /// Registers of the context that runs or ran last, or of nobody.
    pub(super) current: Cell<*const Regs>,
    /// The block that the next interrupt or fault fills.
    pub(super) spare: Cell<*const StateBlock>,
    /// A program's register while a stub needs it.
    pub(super) scratch: Cell<u64>,
    /// First address above a small stack, for what ends the kernel.
    pub(super) last_resort: Cell<u64>,
    /// The block that all of this is part of.
    block: Cell<*const PerCpu>,
    /// The address of the root that is active.
    root: Cell<u64>,
}

/// One stack, aligned as calls want it.
#[repr(C, align(4096))]
struct Stack<const BYTES: usize>(UnsafeCell<[u8; BYTES]>);

impl<const BYTES: usize> Stack<BYTES> {
    const fn new() -> Self {
        Self(UnsafeCell::new([0; BYTES]))
    }

    fn bottom(&self) -> u64 {
        self.0.get() as u64
    }

    fn top(&self) -> u64 {
        self.bottom().wrapping_add(BYTES as u64)
    }

    fn word(&self, index: usize) -> *mut u64 {
        self.0.get().cast::<u64>().wrapping_add(index)
    }
}

/// Everything of one CPU.
#[repr(C)]
pub(super) struct PerCpu {
    hot: Hot,
    pub(super) gdt: UnsafeCell<Gdt>,
    pub(super) tss: UnsafeCell<Tss>,
    nobody: Regs,
    first_spare: StateBlock,
    stacks: &'static Stacks,
    /// Its number: the first CPU is 0, the others are counted as they start.
    number: Cell<usize>,
    /// The number under which its interrupt controller is known.
    controller: Cell<u8>,
    /// When it took the kernel's lock, in ticks.
    locked_at: Cell<u64>,
    /// What it owes to those who take translations away.
    debt: Debt,
    /// What it looks at while it polls.
    watch: Watch,
    /// The most bytes of the stack that the boot used.
    stack_of_boot: Cell<usize>,
    /// Words of the stack that are known to have been in use since.
    deepest: Cell<usize>,
}

/// The stacks of one CPU, apart from the rest so that they take no room in the image.
#[repr(C)]
struct Stacks {
    small: [Stack<SMALL_STACK_BYTES>; SMALL_STACKS],
    guard: Stack<4096>,
    main: Stack<STACK_BYTES>,
}

// SAFETY: as for `PerCpu`, whose part they are.
unsafe impl Sync for Stacks {}

impl Stacks {
    const fn new() -> Self {
        Self { small: [const { Stack::new() }; SMALL_STACKS], guard: Stack::new(), main: Stack::new() }
    }
}

// SAFETY: every cell is touched only by the CPU that the block belongs to, which runs the kernel with interrupts off; but for
// the root and how deep the stack was, which others look at while they have the lock, when no owner changes them. The stack's
// words may change while others look whether they were ever written: these read them as volatile, one by one.
unsafe impl Sync for PerCpu {}

impl PerCpu {
    /// Bytes of the CPU's one stack.
    pub(super) const STACK_BYTES: usize = STACK_BYTES;
    /// Bytes of its small stacks together.
    pub(super) const SIDE_STACK_BYTES: usize = SMALL_STACKS * SMALL_STACK_BYTES;

    const fn new(stacks: &'static Stacks) -> Self {
        Self {
            hot: Hot {
                stack_top: Cell::new(0),
                current: Cell::new(core::ptr::null()),
                spare: Cell::new(core::ptr::null()),
                scratch: Cell::new(0),
                last_resort: Cell::new(0),
                block: Cell::new(core::ptr::null()),
                root: Cell::new(0),
            },
            gdt: UnsafeCell::new(Gdt::new()),
            tss: UnsafeCell::new(Tss::new()),
            nobody: Regs::new(),
            first_spare: StateBlock::new(),
            stacks,
            number: Cell::new(0),
            controller: Cell::new(0),
            locked_at: Cell::new(0),
            debt: Debt {
                asked: AtomicU32::new(0),
                answered: AtomicU32::new(0),
                leaving: AtomicU64::new(Debt::NOTHING),
            },
            watch: Watch::new(),
            stack_of_boot: Cell::new(0),
            deepest: Cell::new(0),
        }
    }

    /// Points the hot words at the parts of this block, and paints its stack.
    pub(super) fn prepare(&'static self, number: usize, controller: u8) {
        self.number.set(number);
        self.controller.set(controller);
        self.hot.block.set(self);
        let [first, ..] = self.small_tops();
        self.hot.last_resort.set(first);
        self.hot.stack_top.set(self.stack_top());
        self.hot.current.set(&raw const self.nobody);
        self.hot.root.set(memory::kernel_root().start().raw());
        self.set_spare(&self.first_spare);
        self.paint_stack();
    }

    /// Its number.
    #[inline(always)]
    pub(super) fn number(&self) -> usize {
        self.number.get()
    }

    /// The number under which its interrupt controller is known.
    pub(super) fn controller(&self) -> u8 {
        self.controller.get()
    }

    /// When it took the kernel's lock, in ticks.
    #[inline(always)]
    pub(super) fn locked_at(&self) -> &Cell<u64> {
        &self.locked_at
    }

    /// What it owes to those who take translations away.
    #[inline(always)]
    pub(super) fn debt(&self) -> &Debt {
        &self.debt
    }

    /// Forgets all translations of programs if others have asked for that.
    pub(super) fn answer(&self) {
        self.debt.answer(tlb::forget_all);
    }

    /// What it looks at while it polls.
    pub(super) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Whether it may hold translations of the space with this root.
    pub(super) fn holds(&self, root: u64) -> bool {
        self.root() == root || self.debt.is_leaving(root)
    }

    /// Whether an address lies in its one stack.
    pub(super) fn has_on_stack(&self, address: u64) -> bool {
        (self.stack_bottom()..self.stack_top()).contains(&address)
    }

    /// Where `gs` points while the kernel runs.
    pub(super) fn gs_base(&self) -> u64 {
        &raw const self.hot as u64
    }

    /// First address of the CPU's one stack.
    pub(super) fn stack_bottom(&self) -> u64 {
        self.stacks.main.bottom()
    }

    /// Where everything on the CPU's one stack begins.
    pub(super) fn stack_top(&self) -> u64 {
        self.stacks.main.top().wrapping_sub(TOP_BYTES as u64)
    }

    /// The page below the stack, which is to be taken away.
    pub(super) fn stack_guard(&self) -> u64 {
        self.stacks.guard.bottom()
    }

    /// First addresses above the small stacks, in the order of the interrupt stack table.
    pub(super) fn small_tops(&self) -> [u64; SMALL_STACKS] {
        self.stacks.small.each_ref().map(Stack::top)
    }

    /// Forgets who ran last: that context may run elsewhere from now on.
    pub(super) fn forget_all(&self) {
        self.hot.current.set(&raw const self.nobody);
    }

    /// Forgets that a context ran last.
    pub(super) fn forget(&self, regs: &Regs) {
        if core::ptr::eq(self.hot.current.get(), regs) {
            self.hot.current.set(&raw const self.nobody);
        }
    }

    /// Names the block that the next interrupt or fault fills.
    #[inline(always)]
    pub(super) fn set_spare(&self, block: &StateBlock) {
        self.hot.spare.set(block);
        // SAFETY: this CPU alone uses its segment, at interrupts from programs only, and none come in the kernel.
        let tss = unsafe { &mut *self.tss.get() };
        tss.set_interrupt_stack(block.push_address());
    }

    /// The address of the root that is active, or will be when it leaves the kernel.
    #[inline(always)]
    pub(super) fn root(&self) -> u64 {
        self.hot.root.get()
    }

    /// Notes the root that is about to be active.
    #[inline(always)]
    pub(super) fn set_root(&self, root: u64) {
        self.hot.root.set(root);
    }

    /// Fills the stack with a pattern up to its top; nothing runs on it yet.
    fn paint_stack(&self) {
        for index in 0..PAINTED_BYTES / 8 {
            // SAFETY: the word lies in this CPU's stack, which is unused.
            unsafe { self.stacks.main.word(index).write_volatile(PAINT) }
        }
        // SAFETY: as above; it is the first word that is not painted.
        unsafe { self.stacks.main.word(PAINTED_BYTES / 8).write_volatile(self.stack_top()) }
    }

    /// The boot is over: what it used of the stack is of no more interest to the steps.
    pub(super) fn note_end_of_boot(&self) {
        self.stack_of_boot.set(self.stack_high_water());
        self.deepest.set(0);
    }

    /// The most bytes of the stack that the boot used.
    pub(super) fn stack_of_boot(&self) -> usize {
        self.stack_of_boot.get()
    }

    /// The most bytes of the stack that were in use since the boot, or in it while it lasts.
    ///
    /// It is looked for from where it was found last, so that a step has time for it.
    pub(super) fn stack_high_water(&self) -> usize {
        let words = PAINTED_BYTES / 8;
        let (mut deepest, mut untouched) = (self.deepest.get(), 0_usize);
        while untouched < HOLE
            && let Some(index) = words.checked_sub(deepest.wrapping_add(untouched).wrapping_add(1))
        {
            untouched = untouched.wrapping_add(1);
            // SAFETY: the word lies in this CPU's stack.
            if unsafe { self.stacks.main.word(index).read_volatile() } != PAINT {
                deepest = deepest.wrapping_add(untouched);
                untouched = 0;
            }
        }
        self.deepest.set(deepest);
        deepest.wrapping_mul(8)
    }
}

/// The stacks of the first CPU, and of the others.
static FIRST_STACKS: Stacks = Stacks::new();
static OTHER_STACKS: [Stacks; MOST_CPUS - 1] = [const { Stacks::new() }; MOST_CPUS - 1];

static FIRST: PerCpu = PerCpu::new(&FIRST_STACKS);
static OTHERS: [PerCpu; MOST_CPUS - 1] = others();

const fn others() -> [PerCpu; MOST_CPUS - 1] {
    let mut all = [const { PerCpu::new(&FIRST_STACKS) }; MOST_CPUS - 1];
    let mut rest = all.as_mut_slice();
    let mut stacks = OTHER_STACKS.as_slice();
    while let (Some((cpu, cpus)), Some((own, others))) = (rest.split_first_mut(), stacks.split_first()) {
        cpu.stacks = own;
        (rest, stacks) = (cpus, others);
    }
    all
}

/// The CPU that starts first, and the only one on many machines.
#[inline(always)]
pub(super) fn first_cpu() -> &'static PerCpu {
    &FIRST
}

/// The CPU of this number.
pub(super) fn cpu_of(number: usize) -> Option<&'static PerCpu> {
    match number.checked_sub(1) {
        None => Some(&FIRST),
        Some(index) => OTHERS.get(index),
    }
}

/// All that can be.
pub(super) fn all_cpus() -> impl Iterator<Item = &'static PerCpu> {
    core::iter::once(&FIRST).chain(&OTHERS)
}

/// The CPU that runs this.
#[inline(always)]
pub(super) fn this_cpu() -> &'static PerCpu {
    let block: *const PerCpu;
    // SAFETY: while the kernel runs `gs` leads to the hot words of this CPU, which `prepare` has filled.
    unsafe {
        asm!(
            "mov {block}, gs:[{offset}]",
            block = out(reg) block,
            offset = const offset_of!(Hot, block),
            options(nostack, preserves_flags, readonly, pure),
        )
    }
    // SAFETY: it is one of the blocks above.
    unsafe { &*block }
}

/// The CPU that runs this, one of several: `gs` knows its number, so nothing has to be carried along.
#[derive(Clone, Copy, Debug)]
pub struct ThisOne;

impl Which for ThisOne {
    const MANY: bool = true;

    #[inline(always)]
    fn number(self) -> usize {
        this_cpu().number()
    }
}

/// The pages of the stacks that no CPU uses if there are `cpus` CPUs: the first address, and how many.
pub(super) fn unused_stacks(cpus: usize) -> (u64, usize) {
    let used = cpus.saturating_sub(1);
    let unused = OTHER_STACKS.get(used..).unwrap_or(&[]);
    (unused.as_ptr() as u64, size_of_val(unused) / 4096)
}
