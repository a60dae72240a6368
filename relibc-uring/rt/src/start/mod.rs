//! From a program's first instruction to its `main`, and what a program without an operating system's
//! library needs around it: memory, output, arguments, an end.
//!
//! A program says [`main!`](crate::main) once, with a function that takes nothing and gives an exit code:
//!
//! ```ignore
//! #![cfg_attr(target_os = "redox", no_std, no_main)]
//! uring::main!(run);
//! fn run() -> u8 { 0 }
//! ```

#[cfg(target_os = "redox")]
mod begin;
pub mod env;
pub mod fork;
#[cfg(target_os = "redox")]
mod heap;
#[cfg(target_os = "redox")]
mod panic;
pub mod print;

#[cfg(target_os = "redox")]
pub use begin::{begin, begin_first};

use crate::op::context;
use ring_abi::args::exit::SPACE;

/// Ends the program.
pub fn exit(code: u8) -> ! {
    // It has no completion: it comes back only if there is no ring.
    let result = context::exit(code, SPACE).wait();
    panic!("the program cannot end: {result:?}");
}

/// Makes a function the program's own: `fn() -> u8`, the exit code.
#[macro_export]
macro_rules! main {
    ($function:path) => {
        #[cfg(target_os = "redox")]
        const MAIN_OF_PROGRAM: fn() -> u8 = $function;
        #[cfg(target_os = "redox")]
        mod start_of_program {
            core::arch::global_asm!(
                ".globl _start",
                "_start:",
                "xor ebp, ebp",
                "mov rsi, rsp",
                "and rsp, -16",
                "call {begin}",
                "ud2",
                begin = sym program,
            );

            extern "C" fn program(ring: usize, stack: usize) -> ! {
                $crate::start::begin(ring, stack, super::MAIN_OF_PROGRAM)
            }
        }

        #[cfg(not(target_os = "redox"))]
        fn main() {
            let _: fn() -> u8 = $function;
            $crate::start::print::on_host();
        }
    };
}

/// As [`main!`](crate::main), for the first program, which the kernel starts without a stack: the function
/// takes address and length of the initfs.
#[macro_export]
macro_rules! first_main {
    ($function:path, $stack_bytes:expr) => {
        #[cfg(target_os = "redox")]
        const MAIN_OF_PROGRAM: fn(usize, usize) -> u8 = $function;
        #[cfg(target_os = "redox")]
        mod start_of_program {
            #[repr(C, align(4096))]
            struct Stack(core::cell::UnsafeCell<[u8; $stack_bytes]>);
            // SAFETY: only the first context uses it, as its stack.
            unsafe impl Sync for Stack {}
            static STACK: Stack = Stack(core::cell::UnsafeCell::new([0; $stack_bytes]));

            core::arch::global_asm!(
                ".globl _start",
                "_start:",
                "xor ebp, ebp",
                "lea rsp, [rip + {stack} + {bytes}]",
                "call {begin}",
                "ud2",
                stack = sym STACK,
                bytes = const $stack_bytes,
                begin = sym program,
            );

            extern "C" fn program(ring: usize, address: usize, length: usize) -> ! {
                $crate::start::begin_first(ring, [address, length], super::MAIN_OF_PROGRAM)
            }
        }

        #[cfg(not(target_os = "redox"))]
        fn main() {
            let _: fn(usize, usize) -> u8 = $function;
            $crate::start::print::on_host();
        }
    };
}
