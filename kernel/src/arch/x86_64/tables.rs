//! The descriptor tables: segments, the task state segment, and the table of interrupt gates.

use core::arch::asm;
use core::cell::UnsafeCell;

use x86_64::VirtAddr;
use x86_64::registers::model_specific::{GsBase, KernelGsBase, LStar, SFMask, Star};
use x86_64::registers::rflags::RFlags;

use super::entry;
use super::percpu::PerCpu;

/// Selectors, in the order that `syscall` and `sysret` want.
pub(super) const KERNEL_CODE: u16 = 0x08;
const KERNEL_DATA: u16 = 0x10;
pub(super) const USER_DATA: u16 = 0x18 | 3;
pub(super) const USER_CODE: u16 = 0x20 | 3;
const TASK: u16 = 0x28;

/// The segments of one CPU; the last two words describe its task state segment.
#[repr(C, align(16))]
pub(super) struct Gdt([u64; 7]);

impl Gdt {
    pub(super) const fn new() -> Self {
        // Code: present, type code, readable, accessed, 64 bit. Data: present, writable, accessed.
        Self([
            0,
            0x00af_9b00_0000_ffff,
            0x00cf_9300_0000_ffff,
            0x00cf_f300_0000_ffff,
            0x00af_fb00_0000_ffff,
            0,
            0,
        ])
    }

    fn set_task(&mut self, base: u64) {
        let limit = last_byte::<Tss>() as u64;
        let low = limit | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
        self.0[5] = low;
        self.0[6] = base >> 32;
    }
}

/// The task state segment: where the CPU finds its stacks.
#[repr(C, packed(4))]
pub(super) struct Tss {
    reserved0: u32,
    privilege_stacks: [u64; 3],
    reserved1: u64,
    interrupt_stacks: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    ports: u16,
}

impl Tss {
    pub(super) const fn new() -> Self {
        // The port bitmap lies beyond the limit: programs reach no port.
        Self {
            reserved0: 0,
            privilege_stacks: [0; 3],
            reserved1: 0,
            interrupt_stacks: [0; 7],
            reserved2: 0,
            reserved3: 0,
            ports: size_of::<Self>() as u16,
        }
    }

    /// Where the CPU pushes when a program is interrupted.
    #[inline(always)]
    pub(super) fn set_interrupt_stack(&mut self, top: u64) {
        self.privilege_stacks[0] = top;
    }
}

const _: () = assert!(size_of::<Tss>() == 104);

/// Vectors with a small stack of their own.
const OWN_STACKS: [(u8, u8); 4] =
    [(entry::NMI, 1), (entry::DOUBLE_FAULT, 2), (entry::MACHINE_CHECK, 3), (entry::DEBUG, 4)];

/// One gate: two words.
type Gate = [u64; 2];

#[repr(C, align(4096))]
struct Idt(UnsafeCell<[Gate; 256]>);

// SAFETY: written once by the first CPU before any interrupt can arrive, read by the CPUs afterwards.
unsafe impl Sync for Idt {}

static IDT: Idt = Idt(UnsafeCell::new([[0; 2]; 256]));

/// An interrupt gate to `handler` that programs may use when `privilege` is 3.
fn gate(handler: u64, stack: u8, privilege: u8) -> Gate {
    let kind = 0x8e_u64 | u64::from(privilege) << 5;
    let low = handler & 0xffff
        | u64::from(KERNEL_CODE) << 16
        | u64::from(stack) << 32
        | kind << 40
        | (handler >> 16 & 0xffff) << 48;
    [low, handler >> 32]
}

/// Fills the gates. Call once, on the first CPU.
pub(super) fn fill_gates() {
    let mut gates = [[0; 2]; 256];
    for (vector, slot) in (0..=255_u8).zip(gates.iter_mut()) {
        let stack = OWN_STACKS.iter().find(|(own, _)| *own == vector).map_or(0, |(_, stack)| *stack);
        let privilege = if vector == entry::BREAKPOINT { 3 } else { 0 };
        *slot = gate(entry::stub_address(vector), stack, privilege);
    }
    // SAFETY: the first CPU runs alone and no gate is in use yet.
    unsafe { IDT.0.get().write(gates) }
}

/// The limit of a table, as the CPU counts: the offset of its last byte.
const fn last_byte<T>() -> u16 {
    size_of::<T>().wrapping_sub(1) as u16
}

/// What `lgdt` and `lidt` read.
#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

/// Loads every table on this CPU and names the entry points. Call once on each CPU, interrupts off.
pub(super) fn load(cpu: &'static PerCpu) {
    // SAFETY: this CPU owns its block and nothing else refers to its tables yet.
    let tss = unsafe { &mut *cpu.tss.get() };
    for (slot, top) in tss_stacks(tss).zip(cpu.small_tops()) {
        // SAFETY: `slot` points into the segment borrowed above; it may be unaligned, as the layout is packed.
        unsafe { slot.write_unaligned(top) }
    }
    // SAFETY: as above.
    let gdt = unsafe { &mut *cpu.gdt.get() };
    gdt.set_task(cpu.tss.get() as u64);

    load_segments(&Pointer { limit: last_byte::<Gdt>(), base: cpu.gdt.get() as u64 });
    load_gates(&Pointer { limit: last_byte::<Idt>(), base: IDT.0.get() as u64 });
    set_system_call(cpu);
}

/// The slots of the interrupt stack table that are used.
fn tss_stacks(tss: &mut Tss) -> impl Iterator<Item = *mut u64> + use<> {
    let first = (&raw mut tss.interrupt_stacks).cast::<u64>();
    (0..OWN_STACKS.len()).map(move |index| first.wrapping_add(index))
}

fn load_segments(pointer: &Pointer) {
    // SAFETY: the table is static, and its code and data segments mean what the loader's meant. The far return only
    // reloads the code segment.
    unsafe {
        asm!(
            "lgdt [{pointer}]",
            "mov ds, {data:x}",
            "mov es, {data:x}",
            "mov ss, {data:x}",
            "mov fs, {null:x}",
            "mov gs, {null:x}",
            "push {code}",
            "lea {scratch}, [rip + 2f]",
            "push {scratch}",
            "retfq",
            "2:",
            "ltr {task:x}",
            pointer = in(reg) pointer,
            data = in(reg) u64::from(KERNEL_DATA),
            null = in(reg) 0_u64,
            code = in(reg) u64::from(KERNEL_CODE),
            task = in(reg) u64::from(TASK),
            scratch = out(reg) _,
        );
    }
}

fn load_gates(pointer: &Pointer) {
    // SAFETY: the table is static and filled, and its stubs expect exactly the segments loaded before.
    unsafe { asm!("lidt [{}]", in(reg) pointer, options(readonly, nostack, preserves_flags)) }
}

/// There are other CPUs: from now on `ring_enter` takes the lock on the first one too.
pub(super) fn share_system_call() {
    LStar::write(VirtAddr::new(entry::system_call_of_many as *const () as u64));
}

fn set_system_call(cpu: &'static PerCpu) {
    // `sysret` takes data from +8 and code from +16, `syscall` code from +0 and data from +8.
    // SAFETY: both bases lead to segments of the table that was just loaded.
    unsafe { Star::write_raw(KERNEL_DATA | 3, KERNEL_CODE) };
    let stub = if cpu.number() == 0 { entry::system_call } else { entry::system_call_of_many };
    LStar::write(VirtAddr::new(stub as *const () as u64));
    SFMask::write(
        RFlags::INTERRUPT_FLAG
            | RFlags::DIRECTION_FLAG
            | RFlags::TRAP_FLAG
            | RFlags::ALIGNMENT_CHECK
            | RFlags::NESTED_TASK
            | RFlags::RESUME_FLAG,
    );
    GsBase::write(VirtAddr::new(cpu.gs_base()));
    KernelGsBase::write(VirtAddr::zero());
}
