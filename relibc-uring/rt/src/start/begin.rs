//! Makes the runtime of a program's first thread and calls `main`.
#![allow(unsafe_code, reason = "the ring is given by address, and the thread's block lives on its stack")]

use super::{env, exit};
use crate::op::context;
use crate::ring::current::Thread;
use crate::ring::ends::Ends;
use crate::ring::local::Local;
use crate::ring::place::attach;
use core::ptr;

/// Starts a program: `ring` is its first ring, `stack` what lies there at its start (System V).
pub fn begin(ring: usize, stack: usize, main: fn() -> u8) -> ! {
    env::set_stack(stack);
    enter(ring, main)
}

/// Starts the first program, which has no arguments but the two words that the kernel gives it.
pub fn begin_first(ring: usize, words: [usize; 2], main: fn(usize, usize) -> u8) -> ! {
    let [address, length] = words;
    enter(ring, || main(address, length))
}

/// Runs `body` on a thread block that lives in this frame, which is never left.
pub(crate) fn enter(ring: usize, body: impl FnOnce() -> u8) -> ! {
    let ends = attach(ring, 0, None);
    // SAFETY: this frame is never left, so what lies in it lives as long as the program.
    let ends: &'static Ends = unsafe { &*ptr::from_ref(&ends) };
    let thread = Thread::new(Local::new(ends));
    // SAFETY: as above.
    let thread: &'static Thread = unsafe { &*ptr::from_ref(&thread) };
    install(thread);
    exit(inside(body))
}

/// A call of its own, so that nothing in it is done before the base of `fs` is set.
#[inline(never)]
fn inside(body: impl FnOnce() -> u8) -> u8 {
    body()
}

/// Makes `thread` what `fs` leads to.
pub(crate) fn install(thread: &'static Thread) {
    let base = thread.settle();
    context::set_own_base(&thread.local, base);
}
