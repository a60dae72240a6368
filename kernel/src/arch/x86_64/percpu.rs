//! What belongs to one CPU: its stack, its descriptor tables, and the few words that the stubs reach through `gs`.

use core::cell::{Cell, UnsafeCell};

use rmm::Frame;

use super::memory;
use super::regs::Regs;
use super::state::StateBlock;
use super::tables::{Gdt, Tss};

/// Bytes of the CPU's one stack.
const STACK_BYTES: usize = 64 * 1024;
/// Bytes at the upper end of the stack: the word that says where the top is, and one more for alignment.
const TOP_BYTES: usize = 16;
/// Bytes below the top.
pub(super) const PAINTED_BYTES: usize = STACK_BYTES - TOP_BYTES;
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
    /// The root that is active.
    root: Cell<Frame>,
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
    /// The most bytes of the stack that the boot used.
    stack_of_boot: Cell<usize>,
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

// SAFETY: every cell is touched only by the CPU that the block belongs to, which runs the kernel with interrupts off.
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
                root: Cell::new(Frame::new(0)),
            },
            gdt: UnsafeCell::new(Gdt::new()),
            tss: UnsafeCell::new(Tss::new()),
            nobody: Regs::new(),
            first_spare: StateBlock::new(),
            stacks,
            stack_of_boot: Cell::new(0),
        }
    }

    /// Points the hot words at the parts of this block, and paints its stack.
    pub(super) fn prepare(&'static self) {
        let [first, ..] = self.small_tops();
        self.hot.last_resort.set(first);
        self.hot.stack_top.set(self.stack_top());
        self.hot.current.set(&raw const self.nobody);
        self.hot.root.set(memory::kernel_root());
        self.set_spare(&self.first_spare);
        self.paint_stack();
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

    /// The root that is active.
    #[inline(always)]
    pub(super) fn root(&self) -> Frame {
        self.hot.root.get()
    }

    /// Notes the root that is about to be active.
    #[inline(always)]
    pub(super) fn set_root(&self, root: Frame) {
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
    }

    /// The most bytes of the stack that the boot used.
    pub(super) fn stack_of_boot(&self) -> usize {
        self.stack_of_boot.get()
    }

    /// The most bytes of the stack that were in use since the boot, or in it while it lasts.
    pub(super) fn stack_high_water(&self) -> usize {
        let words = PAINTED_BYTES / 8;
        // SAFETY: the word lies in this CPU's stack.
        let is_untouched = |index: &usize| unsafe { self.stacks.main.word(*index).read_volatile() } == PAINT;
        words.saturating_sub((0..words).take_while(is_untouched).count()).wrapping_mul(8)
    }
}

/// The first CPU.
static BOOT_CPU: PerCpu = PerCpu::new(&BOOT_STACKS);
static BOOT_STACKS: Stacks = Stacks::new();

/// The CPU that runs this.
#[inline(always)]
pub(super) fn this_cpu() -> &'static PerCpu {
    &BOOT_CPU
}
