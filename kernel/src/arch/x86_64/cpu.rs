//! What this CPU can do, and the control registers that make it do so.

use core::arch::x86_64::{__cpuid, __cpuid_count};

use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags, Efer, EferFlags};
use x86_64::registers::xcontrol::{XCr0, XCr0Flags};

/// The largest vector state that a state block has room for: x87, SSE and AVX in the standard format.
pub(super) const VECTOR_BYTES: usize = 832;

/// One required feature: its name, and the CPUID leaf, register (0 to 3 for eax to edx) and bit that show it.
struct Feature {
    name: &'static str,
    leaf: u32,
    register: usize,
    bit: u32,
}

/// Everything the kernel cannot do without.
const REQUIRED: [Feature; 10] = [
    Feature { name: "SSE2", leaf: 1, register: 3, bit: 26 },
    Feature { name: "FXSR", leaf: 1, register: 3, bit: 24 },
    Feature { name: "PGE", leaf: 1, register: 3, bit: 13 },
    Feature { name: "APIC", leaf: 1, register: 3, bit: 9 },
    Feature { name: "XSAVE", leaf: 1, register: 2, bit: 26 },
    Feature { name: "SMEP", leaf: 7, register: 1, bit: 7 },
    Feature { name: "SMAP", leaf: 7, register: 1, bit: 20 },
    Feature { name: "UMIP", leaf: 7, register: 2, bit: 2 },
    Feature { name: "NX", leaf: 0x8000_0001, register: 3, bit: 20 },
    Feature { name: "SYSCALL", leaf: 0x8000_0001, register: 3, bit: 11 },
];

/// The first required feature that this CPU lacks.
pub(super) fn missing_feature() -> Option<&'static str> {
    REQUIRED
        .iter()
        .find(|feature| !has(feature.leaf, feature.register, feature.bit))
        .map(|feature| feature.name)
}

/// Whether the CPU has AVX, the only optional part of the vector state that is kept.
fn has_avx() -> bool {
    has(1, 2, 28)
}

fn has(leaf: u32, register: usize, bit: u32) -> bool {
    let highest = __cpuid(leaf & 0x8000_0000).eax;
    if leaf > highest {
        return false;
    }
    let found = __cpuid_count(leaf, 0);
    let words = [found.eax, found.ebx, found.ecx, found.edx];
    words.get(register).is_some_and(|word| word & (1 << bit) != 0)
}

/// Sets the control registers. Call once on each CPU, after [`missing_feature`] found nothing.
pub(super) fn set_control_registers() {
    let cr0 = Cr0Flags::PROTECTED_MODE_ENABLE
        | Cr0Flags::MONITOR_COPROCESSOR
        | Cr0Flags::EXTENSION_TYPE
        | Cr0Flags::NUMERIC_ERROR
        | Cr0Flags::WRITE_PROTECT
        | Cr0Flags::ALIGNMENT_MASK
        | Cr0Flags::PAGING;
    // SAFETY: protection and paging stay on, and the kernel neither writes read-only pages nor runs vector code but for moves.
    unsafe { Cr0::write(cr0) };

    // FSGSBASE stays off, so the kernel always knows the bases that a program runs with.
    let cr4 = Cr4Flags::PHYSICAL_ADDRESS_EXTENSION
        | Cr4Flags::PAGE_GLOBAL
        | Cr4Flags::OSFXSR
        | Cr4Flags::OSXMMEXCPT_ENABLE
        | Cr4Flags::OSXSAVE
        | Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION
        | Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION
        | Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION;
    // SAFETY: every feature named here was found present, and the kernel neither runs nor reaches user pages directly.
    unsafe { Cr4::write(cr4) };

    let efer = Efer::read() | EferFlags::SYSTEM_CALL_EXTENSIONS | EferFlags::NO_EXECUTE_ENABLE;
    // SAFETY: long mode stays as it is.
    unsafe { Efer::write(efer) };

    let mut state = XCr0Flags::X87 | XCr0Flags::SSE;
    if has_avx() {
        state |= XCr0Flags::AVX;
    }
    // SAFETY: the parts named here are present and OSXSAVE is on.
    unsafe { XCr0::write(state) };
    if has_avx() {
        super::copy::widen();
    }
}

/// The size of the vector state that is switched on now.
pub(super) fn vector_bytes() -> usize {
    __cpuid_count(0xd, 0).ebx as usize
}
