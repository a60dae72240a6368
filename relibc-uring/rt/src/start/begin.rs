//! Makes the runtime of a program's first thread and calls `main`.
#![allow(unsafe_code, reason = "the ring is given by address, and the thread's block lives on its stack")]

use super::{env, exit};
use crate::op::context;
use crate::ring::current::Thread;
use crate::ring::ends::Ends;
use crate::ring::local::Local;
use core::ptr::{self, NonNull};
use ring_abi::layout::{Sizes, word};
use ring_abi::map::Ring;

/// Starts a program: `ring` is its first ring, `stack` what lies there at its start (System V).
pub fn begin(ring: usize, stack: usize, main: fn() -> u8) -> ! {
    env::set_stack(stack);
    enter(ring, || main())
}

/// Starts the first program, which has no arguments but the two words that the kernel gives it.
pub fn begin_first(ring: usize, words: [usize; 2], main: fn(usize, usize) -> u8) -> ! {
    let [address, length] = words;
    enter(ring, || main(address, length))
}

/// Runs `body` on a thread block that lives in this frame, which is never left.
pub(crate) fn enter(ring: usize, body: impl FnOnce() -> u8) -> ! {
    let ends = attach(ring, 0);
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

/// This program's ends of the ring at an address. Its sizes stand in its header.
pub(crate) fn attach(address: usize, number: u64) -> Ends {
    let Some(base) = NonNull::new(ptr::with_exposed_provenance_mut::<u8>(address)) else {
        crate::ring::ends::corrupt()
    };
    // SAFETY: the kernel made a ring here, whose header is readable.
    let header = unsafe { Ring::from_raw(base, Sizes::SMALLEST) };
    let packed = header.header(word::SIZES).load(core::sync::atomic::Ordering::Relaxed);
    let Some(sizes) = Sizes::unpack(packed) else { crate::ring::ends::corrupt() };
    // SAFETY: the kernel made a ring of these sizes here, which stays as long as this context does.
    let ring = unsafe { Ring::from_raw(base, sizes) };
    Ends::new(number, ring, sizes)
}

