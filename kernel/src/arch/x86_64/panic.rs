//! The end of the kernel: says what and where, shows how it came to that, and stops the machine.
//!
//! Addresses are printed relative to the image, so that `cargo xtask` can name them; the kernel is built without frame
//! pointers, so the stack is searched for words that can be return addresses.

use core::arch::asm;
use core::fmt;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use super::percpu::all_cpus;
use super::serial;
use super::state::Frame;

/// The status that the host sees for a kernel that died.
pub const EXIT_PANIC: u32 = 0x2a;
/// Lines of trace at most.
const DEEPEST: usize = 32;
/// Words of stack searched at most.
const WORDS: usize = 4096;

unsafe extern "Rust" {
    /// Prints what the kernel last did; defined above this layer.
    safe fn kernel_dump(out: &mut dyn fmt::Write);
}

unsafe extern "C" {
    static __image_start: u8;
    static __text_start: u8;
    static __text_end: u8;
}

/// The address that printed ones are relative to.
pub(super) fn image_start() -> u64 {
    &raw const __image_start as u64
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let stack: u64;
    // SAFETY: reading the stack pointer changes nothing.
    unsafe { asm!("mov {}, rsp", out(reg) stack, options(nomem, nostack, preserves_flags)) }
    match info.location() {
        Some(at) => die(stack, None, format_args!("{} at {}:{}", info.message(), at.file(), at.line())),
        None => die(stack, None, format_args!("{}", info.message())),
    }
}

/// Ends the kernel because of what happened at a frame.
pub(super) fn die_at(frame: &Frame, message: fmt::Arguments<'_>) -> ! {
    die(frame.rsp, Some(frame.rip), message)
}

/// Whether the machine stops.
static OVER: AtomicBool = AtomicBool::new(false);

/// Whether the machine stops: a CPU that is shouted at then stands still.
pub(super) fn is_over() -> bool {
    OVER.load(Ordering::SeqCst)
}

/// From now on the machine stops.
pub(super) fn all_over() {
    OVER.store(true, Ordering::SeqCst);
}

fn die(stack: u64, at: Option<u64>, message: fmt::Arguments<'_>) -> ! {
    static DYING: AtomicBool = AtomicBool::new(false);
    x86_64::instructions::interrupts::disable();
    if is_over() && !DYING.load(Ordering::Relaxed) {
        // Another CPU ends the machine already.
        super::exit::stand_still();
    }
    super::exit::stop_others();
    if DYING.swap(true, Ordering::Relaxed) {
        super::exit::exit(EXIT_PANIC);
    }
    serial::print(format_args!("annulus: panic: {message}\n"));
    for address in at.into_iter().chain(return_addresses(stack)).take(DEEPEST) {
        serial::print(format_args!("annulus: trace +{:#x}\n", address.wrapping_sub(image_start())));
    }
    serial::print(format_args!("annulus: last events\n"));
    kernel_dump(&mut serial::Console);
    super::exit::exit(EXIT_PANIC)
}

/// Words above `stack` that follow a call instruction, as long as they lie in the stack of a CPU: this one's, which is
/// found by that, since `gs` may be the program's.
fn return_addresses(stack: u64) -> impl Iterator<Item = u64> {
    let (start, top) = match all_cpus().find(|cpu| cpu.has_on_stack(stack)) {
        Some(cpu) => (stack & !7, cpu.stack_top()),
        None => (0, 0),
    };
    let words = (top.wrapping_sub(start) / 8) as usize;
    (0..words.min(WORDS)).filter_map(move |index| {
        // SAFETY: the word lies in the stack of a CPU, between its current end and its top.
        let word = unsafe { (start as *const u64).wrapping_add(index).read_volatile() };
        // The call itself is what has a name and a line.
        follows_call(word).then_some(word.wrapping_sub(1))
    })
}

/// Whether the instruction before an address of the kernel's code looks like a call.
fn follows_call(address: u64) -> bool {
    let first = &raw const __text_start as u64;
    let last = &raw const __text_end as u64;
    if address < first.wrapping_add(8) || address > last {
        return false;
    }
    let before = |distance: usize| {
        // SAFETY: eight bytes before the address are still code, and code can be read.
        unsafe { (address as *const u8).wrapping_sub(distance).read() }
    };
    let is_indirect =
        |distance: usize| before(distance) == 0xff && before(distance.wrapping_sub(1)) >> 3 & 7 == 2;
    before(5) == 0xe8 || is_indirect(2) || is_indirect(3) || is_indirect(6) || is_indirect(7)
}
